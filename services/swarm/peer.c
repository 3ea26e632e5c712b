#include "services/swarm/peer.h"

#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- rates ---- */

void peer_rate_add(struct peer_rate *self, uint64_t bytes)
{
    self->total += bytes;
    self->pending += bytes;
}

void peer_rate_turn(struct peer_rate *self, uint64_t now_ms)
{
    const uint64_t elapsed = now_ms - self->window_ms;
    if (elapsed == 0)
        return;
    const uint64_t sample = self->pending * 1000 / elapsed;
    const uint64_t weight = elapsed < PEER_RATE_WINDOW_MS ? elapsed : PEER_RATE_WINDOW_MS;
    /* At first there is no past to average with. */
    self->per_second = self->total == self->pending
                           ? sample
                           : (sample * weight + self->per_second * (PEER_RATE_WINDOW_MS - weight)) /
                                 PEER_RATE_WINDOW_MS;
    self->pending = 0;
    self->window_ms = now_ms;
}

uint64_t peer_rate_now(const struct peer_rate *self, uint64_t now_ms)
{
    if (self->total != self->pending)
        return self->per_second;
    return self->pending * 1000 / (now_ms - self->window_ms + 1);
}

/* ---- life ---- */

struct peer *peer_new(const struct wire_handshake *hello, const struct address *address,
                      bool outgoing, uint64_t now_ms)
{
    struct peer *self = xcalloc(1, sizeof *self);
    self->address = *address;
    self->listens = *address;
    if (!outgoing)
        self->listens.port = 0;
    memcpy(self->peer_id, hello->peer_id, sizeof self->peer_id);
    self->outgoing = outgoing;
    self->fast = hello->fast;
    self->extended = hello->extended;
    self->choking = true;
    self->am_choking = true;
    self->starting = true;
    window_init(&self->window);
    self->asks_target = PEER_ASKS_MIN;
    self->asks_limit = PEER_ASKS_UNSAID;
    self->block_size = WIRE_BLOCK_SIZE;
    self->joined_ms = now_ms;
    self->received_ms = now_ms;
    self->sent_ms = now_ms;
    self->block_ms = now_ms;
    self->received.window_ms = now_ms;
    self->sent.window_ms = now_ms;
    self->pex_due_ms = now_ms + PEER_PEX_FIRST_MS;
    allowance_init(&self->talk, PEER_TALK_MAX, PEER_TALK_PER_S, now_ms);
    return self;
}

void peer_free(struct peer **self)
{
    if (*self == NULL)
        return;
    limits_flow_done(&(*self)->receiving);
    limits_flow_done(&(*self)->sending);
    free((*self)->pieces);
    free((*self)->asks);
    free((*self)->asks_ms);
    free((*self)->wishes);
    free(*self);
    *self = NULL;
}

/* ---- what it has ---- */

bool peer_has(const struct peer *self, uint32_t piece)
{
    if (self->everything)
        return true;
    return self->pieces != NULL && piece / 8 < self->pieces_size &&
           bitfield_has(self->pieces, piece);
}

static void reserve_pieces(struct peer *self, size_t size)
{
    if (size <= self->pieces_size)
        return;
    self->pieces = xrealloc(self->pieces, size);
    memset(self->pieces + self->pieces_size, 0, size - self->pieces_size);
    self->pieces_size = (uint32_t)size;
}

bool peer_set_piece(struct peer *self, uint32_t piece, uint32_t piece_count)
{
    assert(piece < PICKER_PIECES_MAX);
    if (peer_has(self, piece))
        return false;
    reserve_pieces(self, piece_count != 0 ? bitfield_size(piece_count) : bitfield_size(piece + 1));
    bitfield_set(self->pieces, piece);
    self->pieces_count++;
    return true;
}

void peer_set_pieces(struct peer *self, struct bytes bitfield)
{
    if (bitfield.size == 0)
        return;
    reserve_pieces(self, bitfield.size);
    memcpy(self->pieces, bitfield.data, bitfield.size);
}

void peer_forget_pieces(struct peer *self)
{
    free(self->pieces);
    self->pieces = NULL;
    self->pieces_size = 0;
    self->pieces_count = 0;
    self->everything = false;
    self->wanted = 0;
}

void peer_clear_piece(struct peer *self, uint32_t piece, uint32_t piece_count)
{
    assert(piece < piece_count && peer_has(self, piece));
    if (self->everything) {
        self->everything = false;
        reserve_pieces(self, bitfield_size(piece_count));
        bitfield_set_all(self->pieces, piece_count);
        self->pieces_count = piece_count;
    }
    bitfield_clear(self->pieces, piece);
    self->pieces_count--;
}

bool peer_fit_pieces(struct peer *self, uint32_t piece_count)
{
    if (self->everything || self->pieces == NULL) {
        self->pieces_count = self->everything ? piece_count : 0;
        return true;
    }
    const size_t size = bitfield_size(piece_count);
    if (self->pieces_size > size)
        return false;
    reserve_pieces(self, size);
    if (!bitfield_is_valid(self->pieces, size, piece_count))
        return false;
    self->pieces_count = bitfield_count(self->pieces, piece_count);
    return true;
}

/* ---- our requests ---- */

const struct picker_ask *peer_asks(const struct peer *self)
{
    return self->asks == NULL ? NULL : self->asks + self->asks_head;
}

static void reserve_asks(struct peer *self)
{
    if (self->asks_head + self->asks_count < self->asks_capacity)
        return;
    if (self->asks_head > 0 && self->asks_head >= self->asks_capacity / 2) {
        memmove(self->asks, self->asks + self->asks_head, self->asks_count * sizeof *self->asks);
        memmove(self->asks_ms, self->asks_ms + self->asks_head,
                self->asks_count * sizeof *self->asks_ms);
        self->asks_head = 0;
        return;
    }
    self->asks_capacity = self->asks_capacity == 0 ? 2 * PEER_ASKS_MIN : 2 * self->asks_capacity;
    self->asks = xrealloc(self->asks, self->asks_capacity * sizeof *self->asks);
    self->asks_ms = xrealloc(self->asks_ms, self->asks_capacity * sizeof *self->asks_ms);
}

void peer_ask(struct peer *self, struct picker_ask ask, uint64_t now_ms)
{
    reserve_asks(self);
    /* Who is snubbed has owed us a block for longer than since this one. */
    if (self->asks_count == 0 || (self->asks_count == self->asks_late && !self->snubbed))
        self->block_ms = now_ms;
    self->asks_ms[self->asks_head + self->asks_count] = (uint32_t)now_ms;
    self->asks[self->asks_head + self->asks_count++] = ask;
    window_asked(&self->window, ask, self->asks_count - self->asks_late, now_ms);
}

static uint32_t find_ask(const struct peer *self, struct picker_ask ask)
{
    const struct picker_ask *asks = peer_asks(self);
    for (uint32_t i = 0; i < self->asks_count; i++)
        if (asks[i].piece == ask.piece && asks[i].block == ask.block)
            return i;
    return UINT32_MAX;
}

bool peer_is_asked(const struct peer *self, struct picker_ask ask)
{
    return find_ask(self, ask) != UINT32_MAX;
}

uint32_t peer_ask_age_ms(const struct peer *self, struct picker_ask ask, uint64_t now_ms)
{
    const uint32_t index = find_ask(self, ask);
    return index == UINT32_MAX ? 0 : (uint32_t)now_ms - self->asks_ms[self->asks_head + index];
}

/* What is left of the usual time; once that is over, as long again as it is late by now. */
uint64_t peer_left_ms(const struct peer *self, uint64_t now_ms)
{
    assert(self->asks_count > 0);
    if (self->usual_ms == 0)
        return UINT64_MAX;
    const uint32_t age_ms =
        (uint32_t)now_ms - self->asks_ms[self->asks_head + self->asks_count - 1];
    return age_ms < self->usual_ms ? self->usual_ms - age_ms : age_ms - self->usual_ms;
}

/* Answers come mostly in order, so that what is before the one taken out is short. */
static void remove_ask(struct peer *self, uint32_t index)
{
    struct picker_ask *asks = self->asks + self->asks_head;
    uint32_t *asks_ms = self->asks_ms + self->asks_head;
    window_forget(&self->window, asks[index]);
    memmove(asks + 1, asks, index * sizeof *asks);
    memmove(asks_ms + 1, asks_ms, index * sizeof *asks_ms);
    self->asks_head++;
    self->asks_count--;
    if (index < self->asks_late)
        self->asks_late--;
    if (self->asks_count == 0)
        self->asks_head = 0;
}

enum peer_answer peer_answered(struct peer *self, struct picker_ask ask)
{
    const uint32_t index = find_ask(self, ask);
    if (index == UINT32_MAX) {
        if (self->cancelled == 0)
            return PEER_UNASKED;
        self->cancelled--;
        return PEER_CANCELLED;
    }
    const bool late = index < self->asks_late;
    remove_ask(self, index);
    return late ? PEER_LATE : PEER_ASKED;
}

void peer_block_came(struct peer *self, uint32_t size, uint32_t took_ms, uint64_t now_ms)
{
    const uint32_t past_ms = self->usual_ms != 0 ? self->usual_ms : took_ms;
    self->usual_ms = (past_ms * 3 + took_ms + 2) / 4 + (took_ms == 0);
    peer_rate_add(&self->received, size);
    self->block_ms = now_ms;
    self->snubbed = false;
    self->rejects = 0;
    /* Until its rate is known the window grows with each block, as TCP's does. */
    if (self->starting && self->asks_target < self->asks_limit)
        self->asks_target++;
}

bool peer_cancel_ask(struct peer *self, struct picker_ask ask)
{
    const uint32_t index = find_ask(self, ask);
    if (index == UINT32_MAX)
        return false;
    remove_ask(self, index);
    self->cancelled++;
    return true;
}

uint32_t peer_asks_wanted(const struct peer *self)
{
    uint32_t target = self->cooperates ? self->window.target : self->asks_target;
    /* What is given has its measure by who gives. */
    if (self->plans)
        target = self->asks_limit;
    if (self->snubbed)
        target = 1;
    if (target > self->asks_limit)
        target = self->asks_limit;
    const uint32_t under_way = self->asks_count - self->asks_late;
    const uint32_t wanted = under_way < target ? target - under_way : 0;
    /* What was given back to the picker still stands in its queue: beyond its limit it rejects. */
    const uint32_t room =
        self->asks_count < self->asks_limit ? self->asks_limit - self->asks_count : 0;
    return wanted < room ? wanted : room;
}

/* ---- its requests ---- */

bool peer_wish_add(struct peer *self, const struct peer_wish *wish)
{
    if (self->wishes_count == PEER_WISHES_MAX)
        return false;
    if (self->wishes_count == self->wishes_capacity) {
        const uint32_t capacity = self->wishes_capacity == 0 ? 16 : 2 * self->wishes_capacity;
        struct peer_wish *wishes = xcalloc(capacity, sizeof *wishes);
        for (uint32_t i = 0; i < self->wishes_count; i++)
            wishes[i] = self->wishes[(self->wishes_head + i) % self->wishes_capacity];
        free(self->wishes);
        self->wishes = wishes;
        self->wishes_head = 0;
        self->wishes_capacity = capacity;
    }
    self->wishes[(self->wishes_head + self->wishes_count++) % self->wishes_capacity] = *wish;
    return true;
}

bool peer_wish_remove(struct peer *self, const struct peer_wish *wish)
{
    for (uint32_t i = 0; i < self->wishes_count; i++) {
        const struct peer_wish *at = &self->wishes[(self->wishes_head + i) % self->wishes_capacity];
        if (at->piece != wish->piece || at->offset != wish->offset || at->length != wish->length)
            continue;
        for (uint32_t k = i; k + 1 < self->wishes_count; k++)
            self->wishes[(self->wishes_head + k) % self->wishes_capacity] =
                self->wishes[(self->wishes_head + k + 1) % self->wishes_capacity];
        self->wishes_count--;
        return true;
    }
    return false;
}

bool peer_wish_next(struct peer *self, struct peer_wish *ret_wish)
{
    if (self->wishes_count == 0)
        return false;
    *ret_wish = self->wishes[self->wishes_head];
    self->wishes_head = (self->wishes_head + 1) % self->wishes_capacity;
    self->wishes_count--;
    return true;
}

uint64_t peer_send_ahead(const struct peer *self)
{
    /* Nothing is known of its rate before the first second: give it the whole room. */
    if (self->sent.total == self->sent.pending)
        return PEER_SEND_AHEAD_MAX;
    const uint64_t ahead = self->sent.per_second * PEER_SEND_AHEAD_MS / 1000;
    if (ahead < PEER_SEND_AHEAD_MIN)
        return PEER_SEND_AHEAD_MIN;
    return ahead > PEER_SEND_AHEAD_MAX ? PEER_SEND_AHEAD_MAX : ahead;
}

/* ---- time ---- */

static void size_window(struct peer *self)
{
    const uint64_t before = self->received.per_second;
    const uint64_t fits = before * PEER_ASKS_DELAY_MS / 1000 / self->block_size;
    /* Blocks came for a whole turn and the rate no longer asks for what the window grew to. */
    if (self->starting && fits < self->asks_target && self->received.total > 0)
        self->starting = false;
    if (self->starting && fits <= self->asks_target)
        return;
    uint64_t target = fits;
    if (target < PEER_ASKS_MIN)
        target = PEER_ASKS_MIN;
    if (target > PEER_ASKS_MAX)
        target = PEER_ASKS_MAX;
    self->asks_target = (uint32_t)target;
}

enum peer_health peer_turn(struct peer *self, uint64_t now_ms)
{
    peer_rate_turn(&self->received, now_ms);
    peer_rate_turn(&self->sent, now_ms);
    size_window(self);
    if (now_ms - self->received_ms >= PEER_IDLE_MS)
        return PEER_DEAD;
    /* Also when it chokes us: then it owes a reject for each (BEP 6), or we forgot them. */
    const bool owes = self->asks_count > 0;
    if (owes && now_ms - self->block_ms >= PEER_BLOCK_MS)
        return PEER_DEAD;
    const uint64_t patience_ms = self->received.total > 0 ? PEER_SNUB_MS : PEER_SNUB_NEW_MS;
    /* And once more: what it is asked for on trial is not to wait for it either. */
    if (self->asks_count > self->asks_late && now_ms - self->block_ms >= patience_ms) {
        self->snubbed = true;
        return PEER_SNUBBED;
    }
    return now_ms - self->sent_ms >= PEER_KEEPALIVE_MS ? PEER_KEEPALIVE_DUE : PEER_WELL;
}
