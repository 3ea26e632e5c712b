#include "services/coordinator/register_inside.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 64u

static size_t more_room(size_t room)
{
    return room == 0 ? ROOM_FIRST : room * 2;
}

/* ---- members ---- */

static int compare_node(const struct register_member *row, const void *node)
{
    return memcmp(row->node.bytes, node, NODE_ID_SIZE);
}

static int compare_key(const struct register_member *row, const void *key_digest)
{
    return memcmp(row->key_digest, key_digest, REGISTER_DIGEST_SIZE);
}

/* The first place in `order` whose row is not before the wanted one. */
static size_t place(const struct network_register *self, const uint32_t *order, const void *wanted,
                    int (*compare)(const struct register_member *row, const void *wanted))
{
    size_t low = 0, high = self->members_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(&self->members[order[middle]], wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct register_member *
find(const struct network_register *self, const uint32_t *order, const void *wanted,
     int (*compare)(const struct register_member *row, const void *wanted))
{
    size_t at = place(self, order, wanted, compare);

    if (at == self->members_count || compare(&self->members[order[at]], wanted) != 0) {
        return NULL;
    }
    return &self->members[order[at]];
}

struct register_member *members_find(const struct network_register *self,
                                     const struct node_id *node)
{
    return find(self, self->by_node, node->bytes, compare_node);
}

struct register_member *members_find_key(const struct network_register *self,
                                         const uint8_t key_digest[REGISTER_DIGEST_SIZE])
{
    return find(self, self->by_key, key_digest, compare_key);
}

size_t register_members(const struct network_register *self, const struct node_id *after,
                        const struct register_member **ret_members, size_t most, bool *ret_more)
{
    size_t at = after != NULL ? place(self, self->by_node, after->bytes, compare_node) : 0;
    size_t count = 0;

    if (after != NULL && at < self->members_count &&
        compare_node(&self->members[self->by_node[at]], after->bytes) == 0) {
        at++;
    }
    for (; at < self->members_count && count < most; at++) {
        ret_members[count++] = &self->members[self->by_node[at]];
    }
    *ret_more = at < self->members_count;
    return count;
}

static void insert(uint32_t *order, size_t count, size_t at, uint32_t row)
{
    memmove(&order[at + 1], &order[at], (count - at) * sizeof *order);
    order[at] = row;
}

struct register_member *members_add(struct network_register *self,
                                    const struct register_member *row)
{
    uint32_t last = (uint32_t)self->members_count;
    size_t at_node = place(self, self->by_node, row->node.bytes, compare_node);
    size_t at_key = place(self, self->by_key, row->key_digest, compare_key);

    assert(self->members_count < REGISTER_MEMBERS_MAX);
    assert(members_find(self, &row->node) == NULL);
    assert(members_find_key(self, row->key_digest) == NULL);
    if (self->members_count == self->members_room) {
        self->members_room = more_room(self->members_room);
        self->members = xrealloc(self->members, self->members_room * sizeof *self->members);
        self->by_node = xrealloc(self->by_node, self->members_room * sizeof *self->by_node);
        self->by_key = xrealloc(self->by_key, self->members_room * sizeof *self->by_key);
    }
    self->members[last] = *row;
    insert(self->by_node, self->members_count, at_node, last);
    insert(self->by_key, self->members_count, at_key, last);
    self->members_count++;
    return &self->members[last];
}

/* Those places that were kept, by what they have become. */
static void renumber(uint32_t *order, size_t count, const uint32_t *places)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (places[order[i]] != UINT32_MAX) {
            order[kept++] = places[order[i]];
        }
    }
}

void members_keep(struct network_register *self, uint64_t now_s,
                  bool (*is_kept)(const struct network_register *self,
                                  const struct register_member *row, uint64_t now_s))
{
    uint32_t *places = xcalloc(self->members_count + 1, sizeof *places);
    uint32_t kept = 0;

    for (size_t i = 0; i < self->members_count; i++) {
        places[i] = UINT32_MAX;
        if (is_kept(self, &self->members[i], now_s)) {
            places[i] = kept;
            if (kept != i) {
                self->members[kept] = self->members[i];
            }
            kept++;
        }
    }
    renumber(self->by_node, self->members_count, places);
    renumber(self->by_key, self->members_count, places);
    self->members_count = kept;
    free(places);
}

/* ---- who waits ---- */

static size_t waiting_place(const struct network_register *self,
                            const uint8_t key_digest[REGISTER_DIGEST_SIZE])
{
    size_t low = 0, high = self->waiting_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(self->waiting[middle].key_digest, key_digest, REGISTER_DIGEST_SIZE) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct register_waiting *waiting_find(const struct network_register *self,
                                      const uint8_t key_digest[REGISTER_DIGEST_SIZE])
{
    size_t at = waiting_place(self, key_digest);

    if (at == self->waiting_count ||
        memcmp(self->waiting[at].key_digest, key_digest, REGISTER_DIGEST_SIZE) != 0) {
        return NULL;
    }
    return &self->waiting[at];
}

void waiting_add(struct network_register *self, const struct register_waiting *row)
{
    size_t at = waiting_place(self, row->key_digest);

    assert(self->waiting_count < REGISTER_WAITING_MAX);
    if (self->waiting_count == self->waiting_room) {
        self->waiting_room = more_room(self->waiting_room);
        self->waiting = xrealloc(self->waiting, self->waiting_room * sizeof *self->waiting);
    }
    memmove(&self->waiting[at + 1], &self->waiting[at],
            (self->waiting_count - at) * sizeof *self->waiting);
    self->waiting[at] = *row;
    self->waiting_count++;
    self->rejected_count += row->rejected;
}

void waiting_remove(struct network_register *self, struct register_waiting *row)
{
    size_t at = (size_t)(row - self->waiting);

    assert(at < self->waiting_count);
    self->rejected_count -= row->rejected;
    self->waiting_count--;
    memmove(row, row + 1, (self->waiting_count - at) * sizeof *row);
}

size_t register_waiting(const struct network_register *self,
                        const uint8_t after[REGISTER_DIGEST_SIZE],
                        const struct register_waiting **ret_waiting, size_t most, bool *ret_more)
{
    size_t at = after != NULL ? waiting_place(self, after) : 0;
    size_t count = 0;

    *ret_more = false;
    for (; at < self->waiting_count; at++) {
        const struct register_waiting *row = &self->waiting[at];

        if (row->rejected ||
            (after != NULL && memcmp(row->key_digest, after, REGISTER_DIGEST_SIZE) == 0)) {
            continue;
        }
        if (count == most) {
            *ret_more = true;
            break;
        }
        ret_waiting[count++] = row;
    }
    return count;
}

/* ---- invitations ---- */

static size_t invites_place(const struct network_register *self,
                            const uint8_t invite[REGISTER_INVITE_SIZE])
{
    size_t low = 0, high = self->invites_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(self->invites[middle].invite, invite, REGISTER_INVITE_SIZE) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct register_invite *invites_find(const struct network_register *self,
                                     const uint8_t invite[REGISTER_INVITE_SIZE])
{
    size_t at = invites_place(self, invite);

    if (at == self->invites_count ||
        memcmp(self->invites[at].invite, invite, REGISTER_INVITE_SIZE) != 0) {
        return NULL;
    }
    return &self->invites[at];
}

void invites_add(struct network_register *self, const struct register_invite *row)
{
    size_t at = invites_place(self, row->invite);

    assert(self->invites_count < REGISTER_INVITES_MAX);
    if (self->invites_count == self->invites_room) {
        self->invites_room = more_room(self->invites_room);
        self->invites = xrealloc(self->invites, self->invites_room * sizeof *self->invites);
    }
    memmove(&self->invites[at + 1], &self->invites[at],
            (self->invites_count - at) * sizeof *self->invites);
    self->invites[at] = *row;
    self->invites_count++;
}

void invites_forget_withdrawn(struct network_register *self)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->invites_count; i++) {
        if (!self->invites[i].withdrawn) {
            self->invites[kept++] = self->invites[i];
        }
    }
    self->invites_count = kept;
}

size_t register_invites(const struct network_register *self,
                        const uint8_t after[REGISTER_INVITE_SIZE],
                        const struct register_invite **ret_invites, size_t most, bool *ret_more)
{
    size_t at = after != NULL ? invites_place(self, after) : 0;
    size_t count = 0;

    if (after != NULL && at < self->invites_count &&
        memcmp(self->invites[at].invite, after, REGISTER_INVITE_SIZE) == 0) {
        at++;
    }
    while (at + count < self->invites_count && count < most) {
        ret_invites[count] = &self->invites[at + count];
        count++;
    }
    *ret_more = at + count < self->invites_count;
    return count;
}

/* ---- coordinators ---- */

struct register_server *servers_find(struct register_server *servers, size_t count,
                                     const struct node_id *node)
{
    for (size_t i = 0; i < count; i++) {
        if (node_id_equal(&servers[i].node, node)) {
            return &servers[i];
        }
    }
    return NULL;
}

void tables_clear(struct network_register *self)
{
    free(self->members);
    free(self->by_node);
    free(self->by_key);
    free(self->waiting);
    free(self->invites);
    memset(self, 0, sizeof *self);
}
