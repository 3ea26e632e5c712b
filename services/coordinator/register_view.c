#include "services/coordinator/register_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool register_is_founded(const struct network_register *self)
{
    return self->founded;
}

const char *register_name(const struct network_register *self)
{
    return self->name;
}

const uint8_t *register_network(const struct network_register *self)
{
    return self->network;
}

bool register_waits_for_approval(const struct network_register *self)
{
    return self->waits_for_approval;
}

uint64_t register_last_serial(const struct network_register *self)
{
    return self->last_serial;
}

const struct register_member *register_member(const struct network_register *self,
                                              const struct node_id *node)
{
    return members_find(self, node);
}

const struct register_member *register_member_of_key(const struct network_register *self,
                                                     const uint8_t key_digest[REGISTER_DIGEST_SIZE])
{
    return members_find_key(self, key_digest);
}

size_t register_members_count(const struct network_register *self)
{
    return self->members_count;
}

size_t register_waiting_count(const struct network_register *self)
{
    return self->waiting_count - self->rejected_count;
}

/* ---- coordinators ---- */

size_t register_servers(const struct network_register *self,
                        const struct register_server **ret_servers)
{
    *ret_servers = self->servers;
    return self->servers_count;
}

size_t register_offers(const struct network_register *self,
                       const struct register_server **ret_offers)
{
    *ret_offers = self->offers;
    return self->offers_count;
}

const struct register_server *register_server(const struct network_register *self,
                                              const struct node_id *node)
{
    for (size_t i = 0; i < self->servers_count; i++) {
        if (node_id_equal(&self->servers[i].node, node)) {
            return &self->servers[i];
        }
    }
    return NULL;
}

bool register_is_coordinator(const struct network_register *self, const struct node_id *node)
{
    return register_server(self, node) != NULL;
}

uint64_t register_next_server(const struct network_register *self)
{
    return self->next_server;
}

bool register_is_former(const struct network_register *self,
                        const uint8_t key_id[REGISTER_KEY_ID_SIZE])
{
    for (size_t i = 0; i < self->former_count; i++) {
        if (memcmp(self->former[i].key_id, key_id, REGISTER_KEY_ID_SIZE) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- who is denied ---- */

uint64_t register_deny_number(const struct network_register *self)
{
    return self->deny_number;
}

uint64_t register_deny_made_s(const struct network_register *self)
{
    return self->deny_made_s;
}

size_t register_denied_count(const struct network_register *self, uint64_t now_s)
{
    size_t count = 0;

    for (size_t i = 0; i < self->members_count; i++) {
        count += self->members[i].revoked && self->members[i].until_s > now_s;
    }
    for (size_t i = 0; i < self->former_count; i++) {
        count += self->former[i].revoked && self->former[i].until_s > now_s;
    }
    return count;
}

/* As deny_list_key(). */
static struct node_id row_of_key(const uint8_t key_id[REGISTER_KEY_ID_SIZE])
{
    struct node_id row = { { 0 } };

    memcpy(row.bytes, key_id, REGISTER_KEY_ID_SIZE);
    return row;
}

static int compare_denied(const void *a, const void *b)
{
    return node_id_compare(&((const struct register_denied *)a)->node,
                           &((const struct register_denied *)b)->node);
}

/* Two nodes may have shared a key. */
static size_t each_once(struct register_denied *rows, size_t count)
{
    size_t kept = 0;

    qsort(rows, count, sizeof rows[0], compare_denied);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_denied(&rows[kept - 1], &rows[i]) != 0) {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

size_t register_denied(const struct network_register *self, struct register_denied *ret_rows)
{
    size_t count = 0;

    for (size_t i = 0; i < self->members_count && count < REGISTER_DENIED_MAX; i++) {
        const struct register_member *row = &self->members[self->by_node[i]];

        if (row->revoked && row->until_s > self->deny_made_s) {
            ret_rows[count++] = (struct register_denied){ row->node, row->until_s };
        }
    }
    for (size_t i = 0; i < self->former_count && count < REGISTER_DENIED_MAX; i++) {
        const struct register_former *row = &self->former[i];

        if (row->revoked && row->until_s > self->deny_made_s) {
            ret_rows[count++] = (struct register_denied){ row_of_key(row->key_id), row->until_s };
        }
    }
    return each_once(ret_rows, count);
}

/* ---- invariants ---- */

static void check_members(const struct network_register *self)
{
    for (size_t i = 0; i < self->members_count; i++) {
        const struct register_member *row = &self->members[self->by_node[i]];
        const struct register_member *by_key = &self->members[self->by_key[i]];

        assert(row->serial > 0);
        assert(row->serial <= self->last_serial);
        assert(row->not_after_s > row->issued_s);
        assert(row->until_s >= row->not_after_s);
        if (i > 0) {
            const struct register_member *before = &self->members[self->by_node[i - 1]];
            const struct register_member *key_before = &self->members[self->by_key[i - 1]];

            assert(node_id_compare(&before->node, &row->node) < 0);
            assert(memcmp(key_before->key_digest, by_key->key_digest, REGISTER_DIGEST_SIZE) < 0);
        }
    }
}

static void check_waiting(const struct network_register *self)
{
    size_t rejected = 0;

    for (size_t i = 0; i < self->waiting_count; i++) {
        rejected += self->waiting[i].rejected;
        assert(i == 0 || memcmp(self->waiting[i - 1].key_digest, self->waiting[i].key_digest,
                                REGISTER_DIGEST_SIZE) < 0);
    }
    assert(rejected == self->rejected_count);
}

void register_check(const struct network_register *self)
{
    assert(self->members_count <= REGISTER_MEMBERS_MAX);
    assert(self->waiting_count <= REGISTER_WAITING_MAX);
    assert(self->invites_count <= REGISTER_INVITES_MAX);
    assert(self->servers_count <= REGISTER_SERVERS_MAX);
    assert(self->offers_count <= REGISTER_OFFERS_MAX);
    assert(self->former_count <= REGISTER_FORMER_MAX);
    assert(!self->founded || self->servers_count > 0);
    check_members(self);
    check_waiting(self);
    for (size_t i = 0; i < self->invites_count; i++) {
        assert(self->invites[i].uses <= REGISTER_USES_MAX);
        assert(self->invites[i].uses_left <=
               (self->invites[i].uses != 0 ? self->invites[i].uses : REGISTER_USES_MAX));
        assert(i == 0 || memcmp(self->invites[i - 1].invite, self->invites[i].invite,
                                REGISTER_INVITE_SIZE) < 0);
    }
    for (size_t i = 0; i < self->servers_count; i++) {
        const struct register_member *member = members_find(self, &self->servers[i].node);

        assert(member != NULL);
        assert(!member->revoked);
        assert(self->servers[i].number < self->next_server);
        assert(i == 0 || self->servers[i - 1].number < self->servers[i].number);
    }
}
