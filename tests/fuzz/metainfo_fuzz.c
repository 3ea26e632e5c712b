/*
 * metainfo: a .torrent file, or a bare info dictionary with its own hash. Whatever is read keeps
 * the invariant of layout.h, no path climbs, and each byte of content lies in exactly one span.
 */
#include "services/swarm/metainfo.h"

#include "libcommon/crypto.h"

#include <assert.h>
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
    assert(self->piece_hashes >= self->info.data &&
           self->piece_hashes + (size_t)layout->piece_count * METAINFO_HASH_SIZE <=
               self->info.data + self->info.size);
    for (uint32_t i = 0; i < layout->files_count; i++) {
        if (!layout->files[i].padding)
            check_path(self->paths[i]);
    }
    for (uint32_t piece = 0; piece < layout->piece_count; piece++) {
        struct layout_cursor cursor =
            layout_spans(layout, piece, 0, layout_piece_size(layout, piece));
        struct layout_span span;

        while (layout_spans_next(&cursor, &span)) {
            assert(layout->files[span.file].offset + span.offset == at);
            at += span.size;
        }
    }
    assert(at == layout->length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metainfo *metainfo = NULL;
    struct metainfo_problem problem = { "" };
    uint8_t infohash[SHA1_SIZE];

    if (metainfo_parse(bytes_of(data, size), &metainfo, &problem) == LB_OK)
        check(metainfo);
    else
        assert(problem.text[0] && !metainfo);
    metainfo_free(&metainfo);
    sha1(bytes_of(data, size), infohash);
    if (metainfo_parse_info(bytes_of(data, size), infohash, &metainfo, NULL) == LB_OK)
        check(metainfo);
    metainfo_free(&metainfo);
    return 0;
}
