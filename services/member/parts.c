#include "services/member/parts.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(PARTS_MAX <= 64, "the parts of a message fit the bits of one word");

unsigned parts_count(uint32_t size)
{
    return size > PARTS_MESSAGE_MAX ? 0 : (size + PARTS_PART_BYTES - 1) / PARTS_PART_BYTES;
}

uint32_t parts_size_of(uint32_t size, unsigned part)
{
    uint32_t offset = part * PARTS_PART_BYTES;

    if (offset >= size) {
        return 0;
    }
    return size - offset < PARTS_PART_BYTES ? size - offset : PARTS_PART_BYTES;
}

static void open_end(struct parts_open *open)
{
    free(open->data);
    *open = (struct parts_open){ .is_used = false };
}

void parts_done(struct parts *self)
{
    for (unsigned i = 0; i < PARTS_OPEN_MAX; i++) {
        open_end(&self->open[i]);
    }
}

static bool is_sound(const struct parts_piece *piece)
{
    unsigned part = piece->offset / PARTS_PART_BYTES;

    return piece->id.size == PARTS_ID_SIZE && piece->offset % PARTS_PART_BYTES == 0 &&
           part < parts_count(piece->size) && piece->data.size == parts_size_of(piece->size, part);
}

static struct parts_open *find(struct parts *self, const struct parts_piece *piece)
{
    for (unsigned i = 0; i < PARTS_OPEN_MAX; i++) {
        struct parts_open *open = &self->open[i];

        if (open->is_used && node_id_equal(&open->sender, &piece->sender) &&
            memcmp(open->id, piece->id.data, PARTS_ID_SIZE) == 0) {
            return open;
        }
    }
    return NULL;
}

static struct parts_open *free_place(struct parts *self, const struct node_id *sender,
                                     uint64_t now_ms)
{
    struct parts_open *free_one = NULL;
    unsigned of_sender = 0;

    for (unsigned i = 0; i < PARTS_OPEN_MAX; i++) {
        struct parts_open *open = &self->open[i];

        if (open->is_used && now_ms >= open->end_ms) {
            open_end(open);
        }
        if (!open->is_used) {
            free_one = free_one != NULL ? free_one : open;
        } else if (node_id_equal(&open->sender, sender)) {
            of_sender++;
        }
    }
    return of_sender < PARTS_OPEN_PER_SENDER_MAX ? free_one : NULL;
}

static struct parts_open *begin(struct parts *self, const struct parts_piece *piece,
                                uint64_t now_ms)
{
    struct parts_open *open = free_place(self, &piece->sender, now_ms);

    if (open != NULL) {
        *open = (struct parts_open){ .is_used = true,
                                     .sender = piece->sender,
                                     .size = piece->size,
                                     .end_ms = now_ms + PARTS_LIFE_MS,
                                     .data = xmalloc(piece->size) };
        memcpy(open->id, piece->id.data, PARTS_ID_SIZE);
    }
    return open;
}

static bool is_whole(const struct parts_open *open)
{
    unsigned count = parts_count(open->size);

    return open->has == (count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1);
}

static bool is_what_it_says(const struct parts_open *open)
{
    uint8_t digest[SHA256_SIZE];

    sha256(bytes_of(open->data, open->size), digest);
    return memcmp(digest, open->id, PARTS_ID_SIZE) == 0;
}

enum parts_verdict parts_add(struct parts *self, const struct parts_piece *piece, uint64_t now_ms,
                             uint8_t **ret_whole)
{
    struct parts_open *open;
    enum parts_verdict verdict = PARTS_TAKEN;

    if (!is_sound(piece)) {
        return PARTS_INVALID;
    }
    open = find(self, piece);
    if (open == NULL) {
        open = begin(self, piece, now_ms);
    }
    if (open == NULL) {
        return PARTS_FULL;
    }
    if (open->size != piece->size) {
        open_end(open);
        return PARTS_INVALID;
    }
    memcpy(open->data + piece->offset, piece->data.data, piece->data.size);
    open->has |= UINT64_C(1) << (piece->offset / PARTS_PART_BYTES);
    if (!is_whole(open)) {
        return PARTS_TAKEN;
    }
    if (is_what_it_says(open)) {
        *ret_whole = open->data;
        open->data = NULL;
        verdict = PARTS_WHOLE;
    } else {
        verdict = PARTS_INVALID;
    }
    open_end(open);
    return verdict;
}
