#include "services/swarm/plan.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"

#include <assert.h>
#include <stdlib.h>

void plan_init(struct plan *self, uint32_t pieces, uint32_t piece_size, struct random *random)
{
    *self = (struct plan){
        .pieces = pieces,
        .piece_size = piece_size,
        .stale_ms = PLAN_STALE_MS,
        .order = xcalloc(pieces, sizeof *self->order),
        .under_way = xcalloc(pieces, sizeof *self->under_way),
    };
    for (uint32_t i = 0; i < pieces; i++) {
        const uint32_t k = (uint32_t)random_below(random, i + 1);
        self->order[i] = self->order[k];
        self->order[k] = i;
    }
}

void plan_done(struct plan *self)
{
    free(self->order);
    free(self->under_way);
    free(self->gifts);
    *self = (struct plan){ 0 };
}

static void slide_window(struct plan *self, uint64_t now_ms)
{
    const uint64_t elapsed = now_ms - self->window_ms;
    if (elapsed < PLAN_WINDOW_MS)
        return;
    self->came_before = elapsed < 2 * PLAN_WINDOW_MS ? self->came : 0;
    self->came = 0;
    self->window_ms = now_ms;
}

void plan_set_rate(struct plan *self, uint64_t rate)
{
    const uint64_t ms =
        rate == 0 ? 0 : (uint64_t)PLAN_STALE_PIECES * self->piece_size * 1000 / rate;
    self->stale_ms = ms < PLAN_STALE_MS ? PLAN_STALE_MS : ms > 3600000 ? 3600000 : (uint32_t)ms;
}

bool plan_has_room(struct plan *self, uint64_t idle_bytes, uint64_t now_ms)
{
    if (self->ours_count >= PLAN_GIFTS_MAX)
        return false;
    slide_window(self, now_ms);
    uint32_t fresh = 0;
    for (uint32_t i = 0; i < self->gifts_count; i++)
        fresh += self->gifts[i].ours && now_ms - self->gifts[i].given_ms < self->stale_ms;
    const uint32_t came = self->came > self->came_before ? self->came : self->came_before;
    const uint32_t most = came + came / 2;
    return fresh < PLAN_AHEAD_MIN || fresh < most ||
           (uint64_t)self->unasked * self->piece_size < idle_bytes;
}

uint32_t plan_piece(struct plan *self, const uint16_t *available)
{
    for (; self->cursor < self->pieces; self->cursor++) {
        const uint32_t piece = self->order[self->cursor];
        if (available[piece] == 0 && !self->under_way[piece])
            return piece;
    }
    return PLAN_NOBODY;
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* What gifts take with the middle one of those who had some; 0: nobody had. */
static uint32_t usual_ms(const struct plan_peer *peers, uint32_t count)
{
    uint32_t *all = xcalloc(count, sizeof *all);
    uint32_t known = 0;
    for (uint32_t i = 0; i < count; i++)
        if (peers[i].latency_ms != 0)
            all[known++] = peers[i].latency_ms;
    qsort(all, known, sizeof *all, by_size);
    const uint32_t middle = known > 0 ? all[known / 2] : 0;
    free(all);
    return middle;
}

void plan_rank(struct plan_peer *peers, uint32_t count)
{
    const uint32_t usual = count > 0 ? usual_ms(peers, count) : 0;
    for (uint32_t i = 0; i < count; i++)
        peers[i].slow = usual != 0 && peers[i].latency_ms / PLAN_SLOW_FACTOR > usual;
}

static bool goes_before(const struct plan_peer *a, const struct plan_peer *b)
{
    if (a->slow != b->slow)
        return b->slow;
    if (a->under_way != b->under_way)
        return a->under_way < b->under_way;
    return a->given_ms < b->given_ms;
}

uint32_t plan_choose(const struct plan_peer *peers, uint32_t count)
{
    uint32_t chosen = PLAN_NOBODY;
    for (uint32_t i = 0; i < count; i++)
        if (chosen == PLAN_NOBODY || goes_before(&peers[i], &peers[chosen]))
            chosen = i;
    return chosen;
}

static void add(struct plan *self, const struct plan_gift *gift)
{
    if (self->gifts_count == self->gifts_capacity) {
        self->gifts_capacity = self->gifts_capacity == 0 ? 16 : 2 * self->gifts_capacity;
        self->gifts = xrealloc(self->gifts, self->gifts_capacity * sizeof *self->gifts);
    }
    self->gifts[self->gifts_count++] = *gift;
    self->under_way[gift->piece] = gift->ours ? PLAN_GIVEN : PLAN_ASKED;
    self->unasked += gift->ours;
    self->ours_count += gift->ours;
}

void plan_give(struct plan *self, uint32_t piece, uint32_t peer, uint64_t now_ms)
{
    assert(piece < self->pieces && !self->under_way[piece]);
    add(self, &(struct plan_gift){ piece, peer, true, now_ms });
}

static uint32_t count_taken(const struct plan *self, uint32_t peer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->gifts_count; i++)
        count += !self->gifts[i].ours && self->gifts[i].peer == peer;
    return count;
}

void plan_taken(struct plan *self, uint32_t piece, uint32_t peer, uint64_t now_ms)
{
    if (piece < self->pieces && !self->under_way[piece] &&
        self->gifts_count - self->ours_count < PLAN_OTHERS_MAX &&
        count_taken(self, peer) < PLAN_TAKEN_MAX)
        add(self, &(struct plan_gift){ piece, peer, false, now_ms });
}

void plan_asked(struct plan *self, uint32_t piece)
{
    self->unasked -= self->under_way[piece] == PLAN_GIVEN;
    if (self->under_way[piece] == PLAN_GIVEN)
        self->under_way[piece] = PLAN_ASKED;
}

static void take_out(struct plan *self, uint32_t index)
{
    plan_asked(self, self->gifts[index].piece);
    self->ours_count -= self->gifts[index].ours;
    self->under_way[self->gifts[index].piece] = PLAN_WAITING;
    self->gifts[index] = self->gifts[--self->gifts_count];
}

bool plan_came(struct plan *self, uint32_t piece, uint32_t peer, uint64_t now_ms, uint32_t *ret_ms)
{
    if (!self->under_way[piece])
        return false;
    for (uint32_t i = 0; i < self->gifts_count; i++) {
        const struct plan_gift gift = self->gifts[i];
        if (gift.piece != piece)
            continue;
        /* Whoever has it now: there is a copy. */
        take_out(self, i);
        if (gift.peer != peer || !gift.ours)
            return false;
        *ret_ms = (uint32_t)(now_ms - gift.given_ms);
        slide_window(self, now_ms);
        self->came++;
        return true;
    }
    return false;
}

void plan_left(struct plan *self, uint32_t peer)
{
    for (uint32_t i = self->gifts_count; i > 0; i--)
        if (self->gifts[i - 1].peer == peer)
            take_out(self, i - 1);
    self->cursor = 0;
}

void plan_turn(struct plan *self, uint64_t now_ms)
{
    for (uint32_t i = self->gifts_count; i > 0; i--) {
        const uint64_t age_ms = now_ms - self->gifts[i - 1].given_ms;
        if (age_ms >= self->stale_ms)
            plan_asked(self, self->gifts[i - 1].piece);
        if (age_ms < (uint64_t)PLAN_LOST_FACTOR * self->stale_ms)
            continue;
        take_out(self, i - 1);
        self->cursor = 0;
    }
}

uint32_t plan_under_way(const struct plan *self, uint32_t peer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->gifts_count; i++)
        count += self->gifts[i].ours && self->gifts[i].peer == peer;
    return count;
}
