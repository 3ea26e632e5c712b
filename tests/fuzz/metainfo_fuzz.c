/*
 * metainfo: a .torrent file, or a bare info dictionary with its own hash, of v1, v2 or both.
 * Whatever is read keeps the invariant of layout.h, no path climbs, and each byte of content lies
 * in exactly one span; what is written of it is read as the same.
 */
#include "services/swarm/metainfo.h"

#include "libcommon/crypto.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        size_t length;

        at += *at == '/';
        length = strcspn(at, "/");
        assert(length > 0 && length <= METAINFO_COMPONENT_MAX);
        assert(strncmp(at, "..", length) != 0 || length > 2);
    }
}

static void check(const struct metainfo *self)
{
    const struct layout *layout = &self->layout;
    uint64_t at = 0;

    assert(layout->piece_count >= 1 && layout->piece_length % LAYOUT_BLOCK_SIZE == 0);
    if (self->kind & METAINFO_V1)
        assert(self->piece_hashes >= self->info.data &&
               self->piece_hashes + (size_t)layout->piece_count * METAINFO_HASH_SIZE <=
                   self->info.data + self->info.size);
    assert(layout->aligned == ((self->kind & METAINFO_V2) != 0));
    for (uint32_t i = 0; i < layout->files_count; i++) {
        if (!layout->files[i].padding)
            check_path(self->paths[i]);
    }
    for (uint32_t piece = 0; piece < layout->piece_count; piece++) {
        struct layout_cursor cursor =
            layout_spans(layout, piece, 0, layout_piece_size(layout, piece));
        struct layout_span span;

        while (layout_spans_next(&cursor, &span)) {
            assert(layout->aligned || layout->files[span.file].offset + span.offset == at);
            assert(!layout->aligned || !layout->files[span.file].padding);
            at += span.size;
        }
        if (layout->aligned) {
            (void)metainfo_piece_root(self, piece);
            (void)metainfo_piece_height(self, piece);
        }
    }
    assert(at == layout->content_length);
}

static void check_written(const struct metainfo *self)
{
    struct metainfo *again = NULL;
    uint8_t *data = NULL;
    size_t size = 0;

    metainfo_write_torrent(self, 0, &data, &size);
    assert(metainfo_parse_as(bytes_of(data, size), self->infohash, &again, NULL) == LB_OK);
    assert(again->kind == self->kind && again->has_piece_roots == self->has_piece_roots);
    metainfo_free(&again);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metainfo *metainfo = NULL;
    struct metainfo_problem problem = { "" };
    uint8_t infohash[SHA256_SIZE];

    if (metainfo_parse(bytes_of(data, size), &metainfo, &problem) == LB_OK) {
        check(metainfo);
        check_written(metainfo);
    } else {
        assert(problem.text[0] && !metainfo);
    }
    metainfo_free(&metainfo);
    sha1(bytes_of(data, size), infohash);
    if (metainfo_parse_info(bytes_of(data, size), infohash, &metainfo, NULL) == LB_OK)
        check(metainfo);
    metainfo_free(&metainfo);
    sha256(bytes_of(data, size), infohash);
    if (metainfo_parse_info(bytes_of(data, size), infohash, &metainfo, NULL) == LB_OK)
        check(metainfo);
    metainfo_free(&metainfo);
    return 0;
}
