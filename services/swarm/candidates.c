#include "services/swarm/candidates.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/priority.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void candidates_init(struct candidates *self)
{
    *self = (struct candidates){ 0 };
}

void candidates_done(struct candidates *self)
{
    free(self->items);
    free(self->banned);
    *self = (struct candidates){ 0 };
}

struct candidate *candidates_find(const struct candidates *self, const struct address *address)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (address_equal(&self->items[i].address, address))
            return &self->items[i];
    return NULL;
}

static void set_state(struct candidates *self, struct candidate *item, enum candidate_state state)
{
    self->connecting -= item->state == CANDIDATE_CONNECTING;
    self->connecting += state == CANDIDATE_CONNECTING;
    item->state = state;
}

static void remove_item(struct candidates *self, struct candidate *item)
{
    set_state(self, item, CANDIDATE_IDLE);
    *item = self->items[--self->count];
}

/* The idle one that failed most, at least once; NULL when all are of use. */
static struct candidate *worst(const struct candidates *self)
{
    struct candidate *found = NULL;
    for (uint32_t i = 0; i < self->count; i++) {
        struct candidate *item = &self->items[i];
        if (item->state != CANDIDATE_IDLE || item->failures == 0)
            continue;
        if (found == NULL || item->failures > found->failures)
            found = item;
    }
    return found;
}

static struct candidate *new_item(struct candidates *self)
{
    if (self->count == CANDIDATES_MAX) {
        struct candidate *victim = worst(self);
        if (victim == NULL)
            return NULL;
        remove_item(self, victim);
    }
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 8 : 2 * self->capacity;
        self->items = xrealloc(self->items, self->capacity * sizeof *self->items);
    }
    return &self->items[self->count++];
}

void candidates_set_here(struct candidates *self, const struct address *here)
{
    self->here[!address_is_v4(here)] = *here;
}

static uint64_t rank(const struct candidates *self, const struct address *address)
{
    const struct address *here = &self->here[!address_is_v4(address)];
    if (here->port == 0)
        return 0;
    const uint64_t near = address_same_subnet(here, address);
    return near << 32 | priority_of(here, address);
}

bool candidates_add(struct candidates *self, const struct address *address, bool seed)
{
    if (!address_is_usable(address) || candidates_is_banned(self, address, NULL))
        return false;
    struct candidate *known = candidates_find(self, address);
    if (known != NULL) {
        known->seed |= seed;
        return false;
    }
    struct candidate *item = new_item(self);
    if (item == NULL)
        return false;
    *item = (struct candidate){ .address = *address, .seed = seed, .rank = rank(self, address) };
    return true;
}

static bool may_try(const struct candidate *item, bool skip_seeds)
{
    return item->state == CANDIDATE_IDLE && !item->own && !(skip_seeds && item->seed);
}

static bool comes_before(const struct candidate *a, const struct candidate *b)
{
    return a->failures != b->failures ? a->failures < b->failures : a->rank > b->rank;
}

bool candidates_next(struct candidates *self, bool skip_seeds, struct random *random,
                     uint64_t now_ms, struct address *ret_address)
{
    struct candidate *best = NULL;
    uint64_t ties = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        struct candidate *item = &self->items[i];
        if (!may_try(item, skip_seeds) || item->next_try_ms > now_ms)
            continue;
        if (best == NULL || comes_before(item, best)) {
            best = item;
            ties = 1;
        } else if (!comes_before(best, item) && random_below(random, ++ties) == 0) {
            best = item;
        }
    }
    if (best == NULL)
        return false;
    set_state(self, best, CANDIDATE_CONNECTING);
    *ret_address = best->address;
    return true;
}

uint64_t candidates_deadline_ms(const struct candidates *self, bool skip_seeds)
{
    uint64_t earliest = UINT64_MAX;
    for (uint32_t i = 0; i < self->count; i++)
        if (may_try(&self->items[i], skip_seeds) && self->items[i].next_try_ms < earliest)
            earliest = self->items[i].next_try_ms;
    return earliest;
}

void candidates_connected(struct candidates *self, const struct address *address)
{
    struct candidate *item = candidates_find(self, address);
    if (item != NULL)
        set_state(self, item, CANDIDATE_CONNECTED);
}

void candidates_left(struct candidates *self, const struct address *address, uint64_t stayed_ms,
                     uint64_t now_ms)
{
    struct candidate *item = candidates_find(self, address);
    if (item == NULL)
        return;
    set_state(self, item, CANDIDATE_IDLE);
    item->failures = stayed_ms >= CANDIDATES_STAY_MS ? 0 : (uint8_t)(item->failures + 1);
    if (item->failures >= CANDIDATES_TRIES_MAX) {
        remove_item(self, item);
        return;
    }
    const unsigned doublings = item->failures > 0 ? item->failures - 1u : 0;
    uint64_t wait = (uint64_t)CANDIDATES_BACKOFF_MS << doublings;
    if (wait > CANDIDATES_BACKOFF_MAX_MS)
        wait = CANDIDATES_BACKOFF_MAX_MS;
    item->next_try_ms = now_ms + wait;
}

void candidates_remove(struct candidates *self, const struct address *address)
{
    struct candidate *item = candidates_find(self, address);
    if (item != NULL)
        remove_item(self, item);
}

void candidates_own(struct candidates *self, const struct address *address)
{
    struct candidate *item = candidates_find(self, address);
    if (item == NULL)
        return;
    set_state(self, item, CANDIDATE_IDLE);
    item->own = true;
}

void candidates_ban(struct candidates *self, const struct address *address,
                    const uint8_t peer_id[20])
{
    if (self->banned == NULL)
        self->banned = xcalloc(CANDIDATES_BANNED_MAX, sizeof *self->banned);
    struct candidate_ban *ban = &self->banned[self->banned_count++ % CANDIDATES_BANNED_MAX];
    ban->address = *address;
    memcpy(ban->peer_id, peer_id, sizeof ban->peer_id);
    candidates_remove(self, address);
}

bool candidates_is_banned(const struct candidates *self, const struct address *address,
                          const uint8_t *peer_id)
{
    uint32_t count = self->banned_count;
    if (count > CANDIDATES_BANNED_MAX)
        count = CANDIDATES_BANNED_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const struct candidate_ban *ban = &self->banned[i];
        if (peer_id != NULL && memcmp(ban->peer_id, peer_id, sizeof ban->peer_id) == 0)
            return true;
        if (address_is_loopback(address) ? address_equal(&ban->address, address)
                                         : address_same_ip(&ban->address, address))
            return true;
    }
    return false;
}
