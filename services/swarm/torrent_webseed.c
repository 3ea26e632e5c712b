/*
 * Web seeds as sources of a torrent. Each has a number as peers have, of slots that no peer ever
 * gets, so that the picker and who judges bad pieces treat it like them. It fetches a piece alone;
 * at the end of a fetch peers may take that over.
 *
 * So as not to copy the origin needlessly: while enough peers send us something, it is asked only
 * for what none of them has. The rarest piece, ties at random, is another for each of many that
 * begin together.
 */
#include "libcommon/memory.h"
#include "services/swarm/torrent_inside.h"
#include "services/swarm/webseed.h"

#include <assert.h>
#include <stdlib.h>

static_assert(TORRENT_PEERS_MAX * 3 / 2 + WEBSEEDS_MAX <= TORRENT_SLOTS,
              "no peer's slot is a web seed's");

static uint32_t number_of(uint32_t index)
{
    return TORRENT_SLOTS - WEBSEEDS_MAX + index;
}

static struct torrent_webseed *find(struct torrent *self, uint32_t number)
{
    if (number < number_of(0) || number - number_of(0) >= self->webseeds_count)
        return NULL;
    return &self->webseeds[number - number_of(0)];
}

void torrent_set_webseeds(struct torrent *self, uint32_t count, uint64_t now_ms)
{
    static const struct address nowhere;
    assert(self->webseeds == NULL && count <= WEBSEEDS_MAX);
    self->webseeds = xcalloc(count > 0 ? count : 1, sizeof *self->webseeds);
    self->webseeds_count = count;
    for (uint32_t i = 0; i < count; i++) {
        self->webseeds[i].piece = self->webseeds[i].first = PICKER_NOBODY;
        self->webseeds[i].received.window_ms = now_ms;
        limits_flow_init(&self->webseeds[i].receiving, self->options.limits, number_of(i),
                         LIMITS_RECEIVE, &nowhere);
    }
}

void torrent_webseed_done(struct torrent *self)
{
    for (uint32_t i = 0; i < self->webseeds_count; i++)
        limits_flow_done(&self->webseeds[i].receiving);
    free(self->webseeds);
    self->webseeds = NULL;
    self->webseeds_count = 0;
}

/* ---- asking ---- */

static bool sends(const struct peer *peer)
{
    return peer != NULL && !peer->choking && !peer->snubbed && peer->wanted > 0 &&
           peer->received.per_second > 0;
}

static bool are_enough(const struct torrent *self)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->slots && count < TORRENT_WEBSEED_PEERS; i++)
        count += sends(self->peers[i]);
    return count == TORRENT_WEBSEED_PEERS;
}

/* Some piece is with none of our peers; the rarest stand in front. */
static bool is_one_missing(const struct torrent *self)
{
    const struct picker *picker = &self->picker;
    return picker->order_count > 0 && picker->seeds == 0 &&
           picker->available[picker->order[0]] == 0;
}

static bool may_receive(struct torrent *self, struct torrent_webseed *seed, uint64_t now_ms)
{
    if (!seed->may_receive && !limits_waits(&seed->receiving))
        seed->may_receive =
            limits_take(&seed->receiving, 1, self->picker.shape.piece_size, now_ms) == 1;
    return seed->may_receive;
}

/* One that lies is to cost a piece, not as many as come before the verdict. */
static bool awaits_verdict(const struct torrent *self, struct torrent_webseed *seed)
{
    if (seed->proven || seed->first == PICKER_NOBODY)
        return false;
    seed->proven = picker_has(&self->picker, seed->first);
    return self->picker.state[seed->first] == PICKER_CHECKING;
}

static size_t take_blocks(struct torrent *self, struct picker_view *view, uint32_t piece)
{
    const uint32_t blocks = picker_block_count(&self->picker, piece);
    struct picker_ask *asks = xcalloc(blocks, sizeof *asks);
    view->only = &piece;
    view->only_count = 1;
    const size_t taken = picker_pick(&self->picker, view, asks, blocks);
    free(asks);
    return taken;
}

/* One that was begun, and that nobody works on any more: the rest of it. */
static uint32_t pick_left(struct torrent *self, uint32_t number)
{
    const struct picker *picker = &self->picker;
    struct picker_view view = { .peer = number, .proven = true };
    for (uint32_t slot = picker->open_first; slot != PICKER_NOBODY;
         slot = picker->open[slot].next) {
        const uint32_t piece = picker->open[slot].piece;
        if (picker->open[slot].asked == 0 && take_blocks(self, &view, piece) > 0) {
            picker_own(&self->picker, piece, number); /* or it could not let go of it */
            return piece;
        }
    }
    return PICKER_NOBODY;
}

static uint32_t pick_piece(struct torrent *self, uint32_t number)
{
    struct picker_view view = { .peer = number, .alone = true, .proven = true };
    struct picker_ask first;
    if (picker_pick(&self->picker, &view, &first, 1) == 0)
        return pick_left(self, number);
    (void)take_blocks(self, &view, first.piece);
    return first.piece;
}

static enum torrent_webseed_why why_not(struct torrent *self, struct torrent_webseed *seed,
                                        uint64_t now_ms)
{
    if (awaits_verdict(self, seed))
        return TORRENT_WEBSEED_VERDICT;
    if (self->picker.order_count == 0 && self->picker.open_first == PICKER_NOBODY)
        return TORRENT_WEBSEED_NOTHING;
    if (are_enough(self) && !is_one_missing(self))
        return TORRENT_WEBSEED_ENOUGH;
    return may_receive(self, seed, now_ms) ? TORRENT_WEBSEED_ASKED : TORRENT_WEBSEED_LIMITED;
}

bool torrent_webseed_take(struct torrent *self, uint32_t index, uint64_t now_ms,
                          uint32_t *ret_piece)
{
    if (index >= self->webseeds_count || !self->has_metainfo || self->paused || self->complete)
        return false;
    struct torrent_webseed *seed = &self->webseeds[index];
    if (seed->dropped || seed->piece != PICKER_NOBODY)
        return false;
    seed->why = why_not(self, seed, now_ms);
    if (seed->why != TORRENT_WEBSEED_ASKED)
        return false;
    seed->piece = pick_piece(self, number_of(index));
    if (seed->piece == PICKER_NOBODY) {
        seed->why = TORRENT_WEBSEED_NOTHING;
        return false;
    }
    seed->may_receive = false;
    seed->released = false;
    seed->begun_ms = now_ms;
    *ret_piece = seed->piece;
    return true;
}

void torrent_webseed_go_on(struct torrent *self, uint32_t number, uint64_t now_ms)
{
    struct torrent_webseed *seed = find(self, number);
    if (seed == NULL)
        return;
    if (!self->complete && !seed->dropped)
        (void)may_receive(self, seed, now_ms);
    if (!limits_waits(&seed->receiving))
        limits_forget(&seed->receiving);
}

/* ---- taking ---- */

static const struct picker_open *open_of(const struct torrent *self, uint32_t piece)
{
    const uint8_t state = self->picker.state[piece];
    return state == PICKER_OPEN ? &self->picker.open[self->picker.position[piece]] : NULL;
}

enum torrent_verdict torrent_webseed_block(struct torrent *self, uint32_t index, uint32_t block,
                                           uint64_t now_ms)
{
    struct torrent_webseed *seed = &self->webseeds[index];
    if (seed->dropped || seed->piece == PICKER_NOBODY)
        return TORRENT_DONE;
    const struct picker_ask ask = { seed->piece, block };
    const uint32_t size = picker_block_size(&self->picker, ask.piece, block);
    peer_rate_add(&self->received, size);
    peer_rate_add(&seed->received, size);
    const unsigned asked = picker_asked(&self->picker, ask);
    const enum picker_verdict verdict = picker_receive(&self->picker, ask, number_of(index));
    if (verdict == PICKER_TWICE || verdict == PICKER_UNWANTED) {
        self->stats.wasted_bytes += size;
        return TORRENT_DONE;
    }
    if (asked > (seed->released ? 0u : 1u))
        torrent_fetch_cancel(self, NULL, ask, now_ms);
    if (verdict == PICKER_COMPLETE)
        torrent_suspect_whole(self, ask.piece, now_ms);
    return TORRENT_TAKE;
}

uint32_t torrent_webseed_first(const struct torrent *self, uint32_t index)
{
    const struct torrent_webseed *seed = &self->webseeds[index];
    const struct picker_open *open = open_of(self, seed->piece);
    uint32_t first = 0;
    while (open != NULL && first < open->blocks && open->block[first].here)
        first++;
    return first;
}

bool torrent_webseed_is_done(const struct torrent *self, uint32_t index)
{
    const struct torrent_webseed *seed = &self->webseeds[index];
    return seed->dropped || seed->piece == PICKER_NOBODY || open_of(self, seed->piece) == NULL;
}

/* ---- letting go ---- */

/* What is missing of its piece is free for all. A piece begun anew by others is not its any more.
 */
static void release(struct torrent *self, uint32_t number, struct torrent_webseed *seed)
{
    const uint32_t piece = seed->piece;
    const struct picker_open *open = open_of(self, piece);
    if (seed->released || open == NULL || open->owner != number)
        return;
    seed->released = true;
    self->refill = true;
    self->endgame = false;
    picker_disown(&self->picker, number);
    const uint32_t blocks = open->blocks;
    for (uint32_t i = 0; i < blocks && (open = open_of(self, piece)) != NULL; i++)
        if (!open->block[i].here)
            picker_give_back(&self->picker, (struct picker_ask){ piece, i });
}

void torrent_webseed_end(struct torrent *self, uint32_t index, uint64_t now_ms)
{
    (void)now_ms;
    struct torrent_webseed *seed = &self->webseeds[index];
    if (seed->piece == PICKER_NOBODY)
        return;
    release(self, number_of(index), seed);
    seed->first = seed->piece;
    seed->piece = PICKER_NOBODY;
}

bool torrent_webseed_convict(struct torrent *self, uint32_t number, uint64_t now_ms)
{
    struct torrent_webseed *seed = find(self, number);
    if (seed == NULL)
        return false;
    torrent_webseed_end(self, number - number_of(0), now_ms);
    self->stats.banned += !seed->dropped;
    seed->dropped = true;
    return true;
}

/* ---- time ---- */

bool torrent_webseed_is_busy(const struct torrent *self)
{
    for (uint32_t i = 0; i < self->webseeds_count; i++)
        if (self->webseeds[i].piece != PICKER_NOBODY)
            return true;
    return false;
}

static bool has_other(const struct torrent *self, uint32_t piece)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL && !self->peers[i]->choking && !self->peers[i]->snubbed &&
            peer_has(self->peers[i], piece))
            return true;
    return false;
}

/* Another web seed has nothing to do, and this one, as it goes, is far from the end of its piece.
 */
static bool has_other_webseed(const struct torrent *self, const struct torrent_webseed *seed)
{
    const struct picker_open *open = open_of(self, seed->piece);
    if (open == NULL || (uint64_t)(open->blocks - open->here) * LAYOUT_BLOCK_SIZE <=
                            seed->received.per_second * TORRENT_WEBSEED_SLOW_S)
        return false;
    for (uint32_t i = 0; i < self->webseeds_count; i++)
        if (!self->webseeds[i].dropped && self->webseeds[i].piece == PICKER_NOBODY)
            return true;
    return false;
}

/* The last pieces are not left to a web seed that takes its time, when others could send them. */
void torrent_webseed_turn(struct torrent *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->webseeds_count; i++) {
        struct torrent_webseed *seed = &self->webseeds[i];
        peer_rate_turn(&seed->received, now_ms);
        if (seed->piece != PICKER_NOBODY && now_ms - seed->begun_ms >= TORRENT_TURN_MS &&
            self->picker.order_count == 0 &&
            (has_other(self, seed->piece) || has_other_webseed(self, seed)))
            release(self, number_of(i), seed);
    }
}
