#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/metainfo_inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- v1 ---- */

static void put_attributes(struct writer *to, bool executable)
{
    if (!executable)
        return;
    bencode_put_text(to, "attr");
    bencode_put_text(to, "x");
}

static void put_path(struct writer *to, const char *path)
{
    bencode_put_list(to);
    for (;;) {
        const char *end = strchrnul(path, '/');

        bencode_put_string(to, bytes_of(path, (size_t)(end - path)));
        if (!*end)
            break;
        path = end + 1;
    }
    bencode_put_end(to);
}

static void put_file(struct writer *to, const struct metainfo_draft_file *file)
{
    bencode_put_dict(to);
    put_attributes(to, file->executable);
    bencode_put_text(to, "length");
    bencode_put_int(to, (int64_t)file->length);
    bencode_put_text(to, "path");
    put_path(to, file->path);
    bencode_put_end(to);
}

/* BEP 47: the next file begins at a piece. */
static void put_padding(struct writer *to, uint64_t length)
{
    char path[32];

    snprintf(path, sizeof(path), ".pad/%llu", (unsigned long long)length);
    bencode_put_dict(to);
    bencode_put_text(to, "attr");
    bencode_put_text(to, "p");
    bencode_put_text(to, "length");
    bencode_put_int(to, (int64_t)length);
    bencode_put_text(to, "path");
    put_path(to, path);
    bencode_put_end(to);
}

static void put_files(struct writer *to, const struct metainfo_draft *draft)
{
    bencode_put_text(to, "files");
    bencode_put_list(to);
    for (uint32_t i = 0; i < draft->files_count; i++) {
        uint64_t behind = draft->files[i].length % draft->piece_length;

        put_file(to, &draft->files[i]);
        /* Behind the last one, too, as libtorrent and BEP 52's own creator do. */
        if (draft->kind == METAINFO_HYBRID && behind > 0)
            put_padding(to, draft->piece_length - behind);
    }
    bencode_put_end(to);
}

/* ---- v2 ---- */

static void put_leaf(struct writer *to, const struct metainfo_draft_file *file)
{
    bencode_put_dict(to);
    bencode_put_text(to, "");
    bencode_put_dict(to);
    put_attributes(to, file->executable);
    bencode_put_text(to, "length");
    bencode_put_int(to, (int64_t)file->length);
    if (file->length > 0) {
        bencode_put_text(to, "pieces root");
        bencode_put_string(to, bytes_of(file->root, MERKLE_HASH_SIZE));
    }
    bencode_put_end(to);
    bencode_put_end(to);
}

/* Bytes of the folders that both paths lie in, with the '/' behind each. */
static size_t common_folders(const char *a, const char *b)
{
    size_t common = 0;

    for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
        if (a[i] == '/')
            common = i + 1;
    }
    return common;
}

static unsigned count_folders(const char *path)
{
    unsigned count = 0;

    for (; *path; path++)
        count += *path == '/';
    return count;
}

/* The rest of a path: folders are opened, the file stands in the last. */
static void put_branch(struct writer *to, const char *path, const struct metainfo_draft_file *file)
{
    for (const char *end; *(end = strchrnul(path, '/')); path = end + 1) {
        bencode_put_string(to, bytes_of(path, (size_t)(end - path)));
        bencode_put_dict(to);
    }
    bencode_put_text(to, path);
    put_leaf(to, file);
}

static void put_tree(struct writer *to, const struct metainfo_draft *draft)
{
    const char *before = "";

    bencode_put_text(to, "file tree");
    bencode_put_dict(to);
    for (uint32_t i = 0; i < draft->files_count; i++) {
        const char *path = draft->is_folder ? draft->files[i].path : draft->name;
        size_t common = common_folders(before, path);

        for (unsigned left = count_folders(before + common); left > 0; left--)
            bencode_put_end(to);
        put_branch(to, path + common, &draft->files[i]);
        before = path;
    }
    for (unsigned left = count_folders(before); left > 0; left--)
        bencode_put_end(to);
    bencode_put_end(to);
}

/* ---- both ---- */

static void put_info(struct writer *to, const struct metainfo_draft *draft)
{
    const bool v2 = draft->kind & METAINFO_V2, v1 = draft->kind != METAINFO_V2;

    bencode_put_dict(to);
    if (v1 && !draft->is_folder)
        put_attributes(to, draft->files[0].executable);
    if (v2)
        put_tree(to, draft);
    if (v1 && draft->is_folder)
        put_files(to, draft);
    if (v1 && !draft->is_folder) {
        bencode_put_text(to, "length");
        bencode_put_int(to, (int64_t)draft->files[0].length);
    }
    if (v2) {
        bencode_put_text(to, "meta version");
        bencode_put_int(to, 2);
    }
    bencode_put_text(to, "name");
    bencode_put_text(to, draft->name);
    bencode_put_text(to, "piece length");
    bencode_put_int(to, draft->piece_length);
    if (v1) {
        bencode_put_text(to, "pieces");
        bencode_put_string(
            to, bytes_of(draft->piece_hashes, (size_t)draft->piece_count * METAINFO_HASH_SIZE));
    }
    if (draft->is_private) {
        bencode_put_text(to, "private");
        bencode_put_int(to, 1);
    }
    if (draft->ssl_cert.size > 0) {
        bencode_put_text(to, "ssl-cert");
        bencode_put_string(to, draft->ssl_cert);
    }
    bencode_put_end(to);
}

lb_err metainfo_write_info(const struct metainfo_draft *draft, uint8_t **ret_data, size_t *ret_size,
                           struct metainfo_problem *ret_problem)
{
    struct metainfo *read_back = NULL;
    struct writer writer;
    uint8_t *data;
    lb_err err;

    assert(draft->is_folder || draft->files_count == 1);
    data = xmalloc(METAINFO_SIZE_MAX);
    writer_init(&writer, data, METAINFO_SIZE_MAX);
    put_info(&writer, draft);
    if (writer.overflow)
        err =
            metainfo_complain(ret_problem, LB_TOO_BIG, "the metainfo would be larger than 10 MiB");
    else
        err = metainfo_parse_copy(bytes_of(data, writer.size), NULL, &read_back, ret_problem);
    metainfo_free(&read_back);
    if (err != LB_OK) {
        free(data);
        return err;
    }
    *ret_data = xrealloc(data, writer.size);
    *ret_size = writer.size;
    return LB_OK;
}

/* ---- the .torrent file ---- */

static int compare_root_places(const void *a, const void *b)
{
    return memcmp(**(const uint8_t *const *const *)a, **(const uint8_t *const *const *)b,
                  MERKLE_HASH_SIZE);
}

/* A file longer than a piece. */
static bool has_layer(const struct metainfo *self, uint32_t file)
{
    return self->roots[file] && self->layout.files[file].length > self->layout.piece_length;
}

static struct bytes layer_of(const struct metainfo *self, uint32_t file)
{
    uint32_t first, count;

    layout_file_pieces(&self->layout, file, &first, &count);
    return bytes_of(self->piece_roots + (size_t)first * MERKLE_HASH_SIZE,
                    (size_t)count * MERKLE_HASH_SIZE);
}

/* In the order of the roots; files that are the same have one. */
static void put_layers(struct writer *to, const struct metainfo *self)
{
    const uint32_t files = self->layout.files_count;
    const uint8_t *const **sorted = xcalloc(files, sizeof(*sorted));
    const uint8_t *const *before = NULL;
    uint32_t count = 0;

    for (uint32_t i = 0; i < files; i++) {
        if (has_layer(self, i))
            sorted[count++] = &self->roots[i];
    }
    if (count > 0)
        qsort(sorted, count, sizeof(*sorted), compare_root_places);
    bencode_put_text(to, "piece layers");
    bencode_put_dict(to);
    for (uint32_t i = 0; i < count; before = sorted[i++]) {
        if (before && memcmp(*before, *sorted[i], MERKLE_HASH_SIZE) == 0)
            continue;
        bencode_put_string(to, bytes_of(*sorted[i], MERKLE_HASH_SIZE));
        bencode_put_string(to, layer_of(self, (uint32_t)(sorted[i] - self->roots)));
    }
    bencode_put_end(to);
    free(sorted);
}

/* Bytes of all layers, with what stands around each. */
static size_t layers_size(const struct metainfo *self)
{
    size_t size = 0;

    for (uint32_t i = 0; self->has_piece_roots && i < self->layout.files_count; i++) {
        if (has_layer(self, i))
            size += layer_of(self, i).size + MERKLE_HASH_SIZE + 32;
    }
    return size;
}

static size_t web_seeds_size(const struct metainfo *self)
{
    size_t size = 0;

    for (uint32_t i = 0; i < self->web_seeds.count; i++)
        size += strlen(self->web_seeds.items[i]) + 8;
    return size;
}

static void put_web_seeds(struct writer *to, const struct metainfo *self)
{
    bencode_put_text(to, "url-list");
    bencode_put_list(to);
    for (uint32_t i = 0; i < self->web_seeds.count; i++)
        bencode_put_text(to, self->web_seeds.items[i]);
    bencode_put_end(to);
}

void metainfo_write_torrent(const struct metainfo *self, uint64_t created_s, uint8_t **ret_data,
                            size_t *ret_size)
{
    size_t capacity = self->info.size + layers_size(self) + web_seeds_size(self) +
                      256; /* what is around it is shorter */
    uint8_t *data = xmalloc(capacity);
    struct writer writer;

    writer_init(&writer, data, capacity);
    bencode_put_dict(&writer);
    bencode_put_text(&writer, "created by");
    bencode_put_text(&writer, "Littlebird " LB_VERSION);
    if (created_s > 0) {
        bencode_put_text(&writer, "creation date");
        bencode_put_int(&writer, (int64_t)created_s);
    }
    bencode_put_text(&writer, "info");
    writer_put(&writer, self->info.data, self->info.size);
    if (self->has_piece_roots)
        put_layers(&writer, self);
    if (self->web_seeds.count > 0)
        put_web_seeds(&writer, self);
    bencode_put_end(&writer);
    assert(!writer.overflow);
    *ret_data = data;
    *ret_size = writer.size;
}
