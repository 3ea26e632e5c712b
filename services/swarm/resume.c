#include "services/swarm/resume.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC       "LBRESUME"
#define MAGIC_SIZE  8u
#define HEADER_SIZE (MAGIC_SIZE + 4 + 20 + 8 + 4 + 4) /* up to the files */
#define FILE_SIZE   17u                               /* present, size, time */
#define PRESENT     1u

struct resume *resume_new(const uint8_t infohash[20], const struct layout *layout)
{
    struct resume *self = xcalloc(1, sizeof(*self));

    memcpy(self->infohash, infohash, sizeof(self->infohash));
    self->files_count = layout->files_count;
    self->piece_count = layout->piece_count;
    self->files = xcalloc(layout->files_count, sizeof(*self->files));
    self->pieces = xcalloc(bitfield_size(layout->piece_count), 1);
    return self;
}

void resume_free(struct resume **self)
{
    if (*self) {
        free((*self)->files);
        free((*self)->pieces);
        free(*self);
    }
    *self = NULL;
}

static size_t encoded_size(uint32_t files, uint32_t pieces)
{
    return HEADER_SIZE + (size_t)files * FILE_SIZE + bitfield_size(pieces) + SHA256_SIZE;
}

void resume_encode(const struct resume *self, uint8_t **ret_data, size_t *ret_size)
{
    size_t size = encoded_size(self->files_count, self->piece_count);
    uint8_t *data = xmalloc(size), digest[SHA256_SIZE];
    struct writer writer;

    writer_init(&writer, data, size);
    writer_put(&writer, MAGIC, MAGIC_SIZE);
    writer_u32(&writer, RESUME_VERSION);
    writer_put(&writer, self->infohash, sizeof(self->infohash));
    writer_u64(&writer, self->writing_until_s);
    writer_u32(&writer, self->files_count);
    writer_u32(&writer, self->piece_count);
    for (uint32_t i = 0; i < self->files_count; i++) {
        writer_u8(&writer, self->files[i].present ? PRESENT : 0);
        writer_u64(&writer, self->files[i].size);
        writer_u64(&writer, (uint64_t)self->files[i].mtime_ns);
    }
    writer_put(&writer, self->pieces, bitfield_size(self->piece_count));
    sha256(bytes_of(data, writer.size), digest);
    writer_put(&writer, digest, sizeof(digest));
    assert(!writer.overflow && writer.size == size);
    *ret_data = data;
    *ret_size = size;
}

static bool is_whole(struct bytes data)
{
    uint8_t digest[SHA256_SIZE];

    if (data.size < HEADER_SIZE + SHA256_SIZE || data.size > RESUME_SIZE_MAX ||
        memcmp(data.data, MAGIC, MAGIC_SIZE) != 0)
        return false;
    sha256(bytes_of(data.data, data.size - SHA256_SIZE), digest);
    return memcmp(digest, data.data + data.size - SHA256_SIZE, SHA256_SIZE) == 0;
}

static void read_files(const uint8_t *data, struct resume *self)
{
    for (uint32_t i = 0; i < self->files_count; i++, data += FILE_SIZE) {
        self->files[i].present = data[0] == PRESENT;
        self->files[i].size = load_u64(data + 1);
        self->files[i].mtime_ns = (int64_t)load_u64(data + 9);
    }
}

lb_err resume_parse(struct bytes data, const uint8_t infohash[20], const struct layout *layout,
                    struct resume **ret_self)
{
    const uint8_t *fields, *bits;
    struct resume *self;

    if (!is_whole(data))
        return LB_CORRUPT;
    fields = data.data + MAGIC_SIZE;
    if (load_u32(fields) != RESUME_VERSION)
        return LB_UNSUPPORTED;
    if (memcmp(fields + 4, infohash, 20) != 0 || load_u32(fields + 32) != layout->files_count ||
        load_u32(fields + 36) != layout->piece_count)
        return LB_CONFLICT;
    if (data.size != encoded_size(layout->files_count, layout->piece_count))
        return LB_CORRUPT;
    bits = data.data + HEADER_SIZE + (size_t)layout->files_count * FILE_SIZE;
    if (!bitfield_is_valid(bits, bitfield_size(layout->piece_count), layout->piece_count))
        return LB_CORRUPT;
    self = resume_new(infohash, layout);
    self->writing_until_s = load_u64(fields + 24);
    read_files(data.data + HEADER_SIZE, self);
    memcpy(self->pieces, bits, bitfield_size(layout->piece_count));
    *ret_self = self;
    return LB_OK;
}

/* ---- judging ---- */

/* What a file's state says of the pieces that touch it. */
enum standing {
    STANDS,  /* as recorded */
    DIFFERS, /* there, but it may have changed */
    MISSING  /* not there, or too short for these pieces */
};

static bool is_ours(const struct resume *self, const struct resume_file *was,
                    const struct resume_file *is, bool complete)
{
    const int64_t second_ns = 1000000000;

    if (!was->present || was->size != is->size)
        return false;
    if (was->mtime_ns == is->mtime_ns)
        return true;
    /* Our own writes after the record was made: within the lease, and only to what was not whole.
     */
    return !complete && is->mtime_ns > was->mtime_ns &&
           is->mtime_ns / second_ns < (int64_t)self->writing_until_s;
}

static bool is_complete(const struct resume *self, const struct layout *layout, uint32_t file)
{
    uint32_t first, count;

    layout_file_pieces(layout, file, &first, &count);
    for (uint32_t piece = first; piece < first + count; piece++) {
        if (!bitfield_has(self->pieces, piece))
            return false;
    }
    return true;
}

/* One state a file: what does not depend on the piece. */
static enum standing stand_of_file(const struct resume *self, const struct layout *layout,
                                   const struct resume_file *found, uint32_t file)
{
    if (layout->files[file].padding)
        return STANDS;
    if (!found[file].present)
        return MISSING;
    if (!self || !is_ours(self, &self->files[file], &found[file], is_complete(self, layout, file)))
        return DIFFERS;
    return STANDS;
}

static enum standing stand_of_piece(const struct layout *layout, const struct resume_file *found,
                                    const uint8_t *standings, uint32_t piece)
{
    struct layout_cursor cursor = layout_spans(layout, piece, 0, layout_piece_size(layout, piece));
    enum standing worst = STANDS;
    struct layout_span span;

    while (layout_spans_next(&cursor, &span)) {
        enum standing standing = (enum standing)standings[span.file];

        if (!span.padding && found[span.file].size < span.offset + span.size)
            return MISSING;
        if (standing > worst)
            worst = standing;
    }
    return worst;
}

void resume_judge(const struct resume *self, const struct layout *layout,
                  const struct resume_file *found, uint8_t *ret_verified, uint8_t *ret_recheck)
{
    uint8_t *standings = xmalloc(layout->files_count);

    memset(ret_verified, 0, bitfield_size(layout->piece_count));
    memset(ret_recheck, 0, bitfield_size(layout->piece_count));
    for (uint32_t file = 0; file < layout->files_count; file++)
        standings[file] = (uint8_t)stand_of_file(self, layout, found, file);
    for (uint32_t piece = 0; piece < layout->piece_count; piece++) {
        enum standing standing = stand_of_piece(layout, found, standings, piece);

        if (self && !bitfield_has(self->pieces, piece))
            continue;
        if (standing == STANDS)
            bitfield_set(ret_verified, piece);
        else if (standing == DIFFERS)
            bitfield_set(ret_recheck, piece);
    }
    free(standings);
}
