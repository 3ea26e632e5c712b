#include "services/swarm/inbox.h"

#include <assert.h>
#include <string.h>
#include <sys/uio.h>

#define STEP (WIRE_PIECE_HEADER + WIRE_BLOCK_SIZE)

void inbox_init(struct inbox *self)
{
    *self = (struct inbox){ .expected = 0 };
    wire_reader_init(&self->reader);
}

void inbox_done(struct inbox *self)
{
    assert(self->place.block == NULL);
    wire_reader_done(&self->reader);
}

void inbox_stop(struct inbox *self, struct inbox_room *room, struct inbox_place *ret_place)
{
    *ret_place = self->place;
    room->begun -= self->place.block != NULL;
    self->place = (struct inbox_place){ .block = NULL };
    self->expected = 0;
}

/* ---- before a read ---- */

/* Bytes of a message begun that are kept; it may be the header of a PIECE if they are few. */
static size_t kept(const struct inbox *self)
{
    return self->reader.size;
}

uint32_t inbox_wants(const struct inbox *self)
{
    if (self->expected == 0 || !self->reader.handshaken)
        return 0;
    const bool adopts = kept(self) >= WIRE_PIECE_HEADER;
    return self->expected < INBOX_PLACES ? self->expected + adopts : INBOX_PLACES;
}

/* A block of which a part is kept goes on where it can stay. */
static void adopt(struct inbox *self, struct inbox_room *room)
{
    uint32_t last = inbox_wants(self);
    while (last > 0 && room->places[last - 1].block == NULL)
        last--;
    if (last == 0 || kept(self) < WIRE_PIECE_HEADER || room->begun >= INBOX_BEGUN_MAX ||
        !wire_reads_block(self->reader.partial, &self->begun))
        return;
    self->place = room->places[last - 1];
    room->places[last - 1] = (struct inbox_place){ .block = NULL };
    self->filled = (uint32_t)(kept(self) - WIRE_PIECE_HEADER);
    memcpy(self->place.data, self->reader.partial + WIRE_PIECE_HEADER, self->filled);
    wire_reader_drop(&self->reader);
    room->begun++;
}

static uint8_t *rest_of(struct inbox_room *room)
{
    return room->buffer + (size_t)room->expected * STEP;
}

struct laying {
    struct iovec *parts;
    int count;
    size_t size;
};

static void lay(struct laying *self, uint8_t *data, size_t size)
{
    self->parts[self->count++] = (struct iovec){ .iov_base = data, .iov_len = size };
    self->size += size;
}

int inbox_lay_out(struct inbox *self, struct inbox_room *room, struct iovec *ret_parts,
                  size_t *ret_size)
{
    struct laying all = { .parts = ret_parts };
    adopt(self, room);
    /* Amid any other message than a block nothing can be guessed. */
    const bool guesses = self->place.block != NULL || kept(self) < WIRE_PIECE_HEADER;
    const uint32_t most = guesses ? inbox_wants(self) : 0;
    room->expected = 0;
    room->kept = 0;
    room->together = false;
    room->surprised = false;
    room->at = 0;
    if (self->place.block != NULL)
        lay(&all, self->place.data + self->filled, WIRE_BLOCK_SIZE - self->filled);
    for (; room->expected < most && room->places[room->expected].block != NULL; room->expected++) {
        uint8_t *header = room->headers[room->expected];
        const size_t here = room->expected == 0 && self->place.block == NULL ? kept(self) : 0;
        if (here > 0)
            memcpy(header, self->reader.partial, here);
        lay(&all, header + here, WIRE_PIECE_HEADER - here);
        lay(&all, room->places[room->expected].data, WIRE_BLOCK_SIZE);
    }
    if (room->expected == 0 && self->place.block == NULL) {
        uint8_t *behind = NULL;
        room->kept = wire_reader_room(&self->reader, &behind);
        if (room->kept > 0)
            lay(&all, behind, room->kept);
    }
    if (room->expected < INBOX_PLACES)
        lay(&all, rest_of(room), INBOX_READ_SIZE);
    *ret_size = all.size;
    return all.count;
}

void inbox_came(struct inbox *self, struct inbox_room *room, size_t size)
{
    const size_t behind = size < room->kept ? size : room->kept;
    wire_reader_filled(&self->reader, behind);
    room->size = size;
    room->left = size - behind;
}

/* ---- after it ---- */

/* Bytes of this slot's header that were there before the read. */
static size_t header_begun(const struct inbox *self, const struct inbox_room *room)
{
    return room->at == 0 ? kept(self) : 0;
}

/* The guess was wrong, or ends here: what is left, in one piece. */
static void put_together(struct inbox *self, struct inbox_room *room)
{
    size_t laid = 0;
    for (uint32_t i = room->at; i < room->expected; i++)
        laid += STEP;
    const size_t begun = room->at < room->expected ? header_begun(self, room) : 0;
    laid -= begun;
    size_t left = room->left < laid ? room->left : laid;
    uint8_t *to = rest_of(room) - laid;
    /* What is short of the whole layout ends where it ends: nothing lies behind it. */
    room->data = bytes_of(to, room->left);
    room->together = true;
    for (uint32_t i = room->at; left > 0; i++) {
        const size_t here = i == room->at ? begun : 0;
        size_t take = WIRE_PIECE_HEADER - here;
        if (take > left)
            take = left;
        memcpy(to, room->headers[i] + here, take);
        to += take;
        left -= take;
        take = left < WIRE_BLOCK_SIZE ? left : WIRE_BLOCK_SIZE;
        memcpy(to, room->places[i].data, take);
        to += take;
        left -= take;
    }
    room->left = 0;
}

static enum wire_verdict deliver_block(struct inbox *self, struct wire_message *ret_message,
                                       struct inbox_place *ret_place)
{
    *ret_message = self->begun;
    ret_message->payload = bytes_of(self->place.data, WIRE_BLOCK_SIZE);
    *ret_place = self->place;
    self->place = (struct inbox_place){ .block = NULL };
    return WIRE_MESSAGE;
}

/* The block begun, as far as it came. */
static bool go_on(struct inbox *self, struct inbox_room *room)
{
    const size_t missing = WIRE_BLOCK_SIZE - self->filled;
    const size_t take = room->left < missing ? room->left : missing;
    self->filled += (uint32_t)take;
    room->left -= take;
    if (self->filled < WIRE_BLOCK_SIZE)
        return false;
    room->begun--;
    return true;
}

/* False: it is no block, or there is no place for one that is not whole. */
static bool take_slot(struct inbox *self, struct inbox_room *room)
{
    const size_t needed = WIRE_PIECE_HEADER - header_begun(self, room);
    if (room->left < needed || !wire_reads_block(room->headers[room->at], &self->begun) ||
        room->begun >= INBOX_BEGUN_MAX)
        return false;
    if (room->at == 0)
        wire_reader_drop(&self->reader);
    room->left -= needed;
    self->place = room->places[room->at];
    room->places[room->at] = (struct inbox_place){ .block = NULL };
    self->filled = 0;
    room->begun++;
    room->at++;
    return true;
}

/* As many as came this time and as many again; none beyond where it was wrong. */
static void guess(struct inbox *self, const struct inbox_room *room)
{
    const uint32_t before = room->at;
    uint32_t expected = (uint32_t)(room->size / STEP);
    if (expected > 0)
        expected = 2 * expected + 2;
    if (room->surprised && expected > before + 1)
        expected = before + 1;
    self->expected = expected < INBOX_PLACES ? expected : INBOX_PLACES;
}

enum wire_verdict inbox_next(struct inbox *self, struct inbox_room *room,
                             struct wire_message *ret_message, struct wire_handshake *ret_hello,
                             struct inbox_place *ret_place)
{
    *ret_place = (struct inbox_place){ .block = NULL };
    while (!room->together) {
        if (self->place.block != NULL && go_on(self, room))
            return deliver_block(self, ret_message, ret_place);
        if (self->place.block == NULL && room->at < room->expected && room->left > 0 &&
            take_slot(self, room))
            continue;
        room->surprised = room->at < room->expected && room->left >= WIRE_PIECE_HEADER;
        put_together(self, room);
    }
    const enum wire_verdict verdict =
        wire_reader_next(&self->reader, &room->data, ret_message, ret_hello);
    if (verdict == WIRE_MORE)
        guess(self, room);
    return verdict;
}

bool inbox_put_back(struct inbox_room *room, const struct inbox_place *place)
{
    for (uint32_t i = 0; i < INBOX_PLACES; i++) {
        if (room->places[i].block != NULL)
            continue;
        room->places[i] = *place;
        return true;
    }
    return false;
}
