#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/create_inside.h"
#include "services/swarm/holes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (1024u * 1024)

/* The file is still what the walk found. */
static lb_err check_file(struct step *self, uint32_t file, int fd)
{
    const struct found *was = &self->create->files[file];
    struct stat is;

    if (fstat(fd, &is) < 0)
        return create_fail_errno(self, was->path, errno);
    if ((uint64_t)is.st_size != was->size || create_mtime(&is) != was->mtime_ns || is.st_nlink == 0)
        return create_fail(self, LB_CONFLICT, "%s changed while it was hashed", was->path);
    return LB_OK;
}

static lb_err close_file(struct step *self)
{
    lb_err err = LB_OK;

    if (self->fd >= 0) {
        err = check_file(self, self->file, self->fd);
        close(self->fd);
    }
    self->fd = -1;
    self->file = UINT32_MAX;
    return err;
}

static lb_err open_file(struct step *self, uint32_t file)
{
    const char *path = self->create->files[file].path;
    struct stat found;
    lb_err err;

    if (self->file == file)
        return LB_OK;
    err = close_file(self);
    if (err != LB_OK)
        return err;
    if (beneath_open(self->create->root_fd, path, false, false, &self->fd, &found) != LB_OK)
        return create_fail_errno(self, path, errno);
    self->file = file;
    self->sparse = holes_are_in(&found);
    return check_file(self, file, self->fd);
}

static lb_err hash_span(struct step *self, const struct layout_span *span)
{
    const char *path = self->create->files[span->file].path;
    struct holes_range range = { .fd = self->fd,
                                 .sparse = self->sparse,
                                 .offset = span->offset,
                                 .size = span->size,
                                 .buffer = self->buffer,
                                 .buffer_size = READ_BYTES };
    uint64_t read_bytes = 0;
    lb_err err = holes_hash(self->hasher, &range, &read_bytes);

    if (err == LB_IO)
        return create_fail_errno(self, path, errno);
    if (err != LB_OK)
        return create_fail(self, LB_CONFLICT, "%s changed while it was hashed", path);
    self->hashed_bytes += span->size;
    return LB_OK;
}

/* The whole piece is a hole of one file: its hash is known. */
static bool hash_hole(struct step *self, const struct layout_span *span,
                      struct piece_hash *ret_hash)
{
    const uint32_t size = self->create->layout.piece_length;
    uint64_t begin, end;

    if (!self->sparse || !self->create->sparse || span->size != size ||
        holes_next_data(self->fd, span->offset, span->offset + span->size, &begin, &end))
        return false;
    *ret_hash = self->create->zero_hash;
    self->hashed_bytes += span->size;
    return true;
}

static lb_err hash_spans(struct step *self, uint32_t piece, struct piece_hash *ret_hash)
{
    const struct layout *layout = &self->create->layout;
    const uint32_t size = layout_piece_size(layout, piece);
    struct layout_cursor cursor = layout_spans(layout, piece, 0, size);
    struct layout_span span;

    piece_hasher_begin(self->hasher, piece_tree_height(layout, piece));
    while (layout_spans_next(&cursor, &span)) {
        lb_err err = open_file(self, span.file);

        if (err == LB_OK && hash_hole(self, &span, ret_hash))
            return LB_OK;
        if (err == LB_OK)
            err = hash_span(self, &span);
        if (err != LB_OK)
            return err;
    }
    piece_hasher_finish(self->hasher, layout_padded_size(layout, piece) - size, ret_hash);
    return LB_OK;
}

static lb_err hash_piece(struct step *self, uint32_t piece)
{
    struct create *create = self->create;
    struct piece_hash hash;
    lb_err err = hash_spans(self, piece, &hash);

    if (err != LB_OK)
        return err;
    if (create->kind & METAINFO_V1)
        memcpy(create->hashes + (size_t)piece * METAINFO_HASH_SIZE, hash.sha1, sizeof(hash.sha1));
    if (create->kind & METAINFO_V2)
        memcpy(create->piece_roots + (size_t)piece * MERKLE_HASH_SIZE, hash.root,
               sizeof(hash.root));
    return LB_OK;
}

void create_work_hash(struct job *job)
{
    struct step *self = (struct step *)job;

    self->buffer = xmalloc(READ_BYTES);
    self->hasher = piece_hasher_new(self->create->kind);
    for (uint32_t i = 0; i < self->count && self->err == LB_OK && !self->create->cancelled; i++)
        self->err = hash_piece(self, self->first + i);
    if (self->err == LB_OK)
        self->err = close_file(self);
    else if (self->fd >= 0)
        close(self->fd);
    piece_hasher_free(&self->hasher);
    free(self->buffer);
}
