/* The associations: by address, by when they were used; and how many there may be. */
#include "services/transport/dtls_inside.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>

#define US_PER_S 1000000u

/* ---- the table ---- */

static struct association **place_of(const struct dtls *self, const struct address *peer)
{
    struct association **place = &self->table[address_hash(peer, self->seed) & self->table_mask];

    while (*place && !address_equal(&(*place)->peer, peer))
        place = &(*place)->chain;
    return place;
}

struct association *dtls_find(const struct dtls *self, const struct address *peer)
{
    return *place_of(self, peer);
}

bool dtls_has(const struct dtls *self, const struct address *peer)
{
    const struct association *association = dtls_find(self, peer);

    return association && association->live;
}

struct association *dtls_find_or_add(struct dtls *self, const struct address *peer)
{
    struct association **place = place_of(self, peer);

    if (!*place) {
        *place = xcalloc(1, sizeof(**place));
        (*place)->peer = *peer;
    }
    return *place;
}

/* One with neither session is of no use. */
void dtls_drop_if_empty(struct dtls *self, struct association *association)
{
    struct association **place = place_of(self, &association->peer);

    if (association->live || association->fresh)
        return;
    *place = association->chain;
    free(association);
}

static void unlink_live(struct dtls *self, struct association *association)
{
    *(association->older ? &association->older->newer : &self->oldest) = association->newer;
    *(association->newer ? &association->newer->older : &self->newest) = association->older;
    association->older = association->newer = NULL;
}

void dtls_link_newest(struct dtls *self, struct association *association)
{
    association->older = self->newest;
    association->newer = NULL;
    *(self->newest ? &self->newest->newer : &self->oldest) = association;
    self->newest = association;
}

void dtls_use(struct dtls *self, struct association *association, uint64_t now_us)
{
    association->used_us = now_us;
    if (self->newest == association)
        return;
    unlink_live(self, association);
    dtls_link_newest(self, association);
}

/* The association stays, and its owner drops it if it is empty. */
void dtls_end_live(struct dtls *self, struct association *association, bool tell)
{
    if (tell)
        dtls_session_goodbye(association->live);
    unlink_live(self, association);
    dtls_session_free(&association->live);
    self->counters[DTLS_COUNT_SESSIONS]--;
}

void dtls_close_live(struct dtls *self, struct association *association)
{
    dtls_end_live(self, association, true);
    dtls_drop_if_empty(self, association);
}

void dtls_take_off(struct dtls *self, const struct dtls_session *session)
{
    for (uint32_t i = 0; i < self->under_way_count; i++) {
        if (self->under_way[i] != session)
            continue;
        self->under_way[i] = self->under_way[--self->under_way_count];
        self->counters[DTLS_COUNT_UNDER_WAY] = self->under_way_count;
        return;
    }
}

void dtls_end_fresh(struct dtls *self, struct association *association)
{
    dtls_take_off(self, association->fresh);
    dtls_session_free(&association->fresh);
}

void dtls_give_up(struct dtls *self, struct association *association)
{
    dtls_end_fresh(self, association);
    dtls_drop_if_empty(self, association);
}

/* ---- limits ---- */

static uint32_t count_under_way(const struct dtls *self, bool are_servers)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < self->under_way_count; i++)
        count += self->under_way[i]->is_server == are_servers;
    return count;
}

static uint32_t count_from(const struct dtls *self, const struct address *ip)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < self->under_way_count; i++)
        count += self->under_way[i]->is_server &&
                 address_same_ip(&self->under_way[i]->association->peer, ip);
    return count;
}

uint32_t dtls_count_recoveries(const struct dtls *self)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < self->under_way_count; i++)
        count += self->under_way[i]->is_recovery;
    return count;
}

static bool has_begun_many(struct dtls *self, uint64_t now_us)
{
    if (self->second != now_us / US_PER_S) {
        self->second = now_us / US_PER_S;
        self->begun = 0;
    }
    return self->begun >= self->limits.handshakes_s_max;
}

/* May another handshake begin? If not, why not is counted. */
bool dtls_may_begin(struct dtls *self, const struct address *peer, bool is_server, uint64_t now_us)
{
    enum dtls_counter why;

    if (count_under_way(self, is_server) >= self->limits.handshakes_max)
        why = DTLS_COUNT_MANY_NOW;
    else if (is_server && count_from(self, peer) >= self->limits.handshakes_ip_max)
        why = DTLS_COUNT_MANY_IP;
    else if (has_begun_many(self, now_us))
        why = DTLS_COUNT_MANY_SECOND;
    else
        return true;
    self->counters[why]++;
    return false;
}

void dtls_begin(struct dtls *self, struct association *association, bool is_server, uint64_t now_us)
{
    assert(!association->fresh);
    association->fresh = dtls_session_new(self, association, is_server, now_us);
    self->under_way[self->under_way_count++] = association->fresh;
    self->counters[DTLS_COUNT_UNDER_WAY] = self->under_way_count;
    self->begun++;
}

void dtls_each(const struct dtls *self,
               void (*each)(void *ctx, const struct address *peer, const struct node_id *node),
               void *ctx)
{
    for (const struct association *at = self->newest; at; at = at->older)
        each(ctx, &at->peer, &at->live->claims.node);
}

void dtls_check(const struct dtls *self)
{
    uint64_t live = 0;
    uint32_t fresh = 0;

    for (uint32_t i = 0; i <= self->table_mask; i++) {
        for (const struct association *at = self->table[i]; at; at = at->chain) {
            assert(at->live || at->fresh);
            assert(dtls_find(self, &at->peer) == at);
            live += at->live != NULL;
            fresh += at->fresh != NULL;
        }
    }
    for (const struct association *at = self->oldest; at; at = at->newer) {
        assert(at->live && (at->newer ? at->newer->older == at : self->newest == at));
        live--;
    }
    assert(live == 0 && fresh == self->under_way_count);
    assert(self->counters[DTLS_COUNT_SESSIONS] <= self->limits.sessions_max);
    assert(count_under_way(self, true) <= self->limits.handshakes_max);
    assert(count_under_way(self, false) <= self->limits.handshakes_max);
}
