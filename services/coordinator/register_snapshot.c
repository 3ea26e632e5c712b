/*
 * A snapshot of the register, big endian:
 *
 *     "LBREG" u8 version (2) | u8 founded, u8 waits | name | network id 32
 *     | u64 last serial, next server, deny number, deny made
 *     | u32 count, members by node id | u32 count, waiting by key digest | u32 count, invitations
 *     | u8 count, servers | u8 count, offers | u8 count, former ones
 *
 * Texts and blobs with a u16 size before them. Version 1, which is read, too, had invitations
 * without their uses, when they were made, and the withdrawn ones. It comes from a disk or from
 * another coordinator and is checked as a whole before it counts.
 */
#include "services/coordinator/register_inside.h"

#include "libcommon/memory.h"
#include "services/coordinator/cursor.h"

#include <assert.h>
#include <stdlib.h>

#define MAGIC   "LBREG"
#define VERSION 2

/* Bytes a row takes at most. */
#define HEAD_MAX    256u
#define MEMBER_MAX  (sizeof(struct register_member) + 16)
#define WAITING_MAX (sizeof(struct register_waiting) + 16)
#define INVITE_MAX  64u
#define SERVER_MAX  (sizeof(struct register_server) + 16)
#define FORMER_SIZE (NODE_ID_SIZE + REGISTER_KEY_ID_SIZE + 8 + 1)

/* Bytes it takes at least: so many rows as are announced must be there. */
#define MEMBER_MIN  100u
#define WAITING_MIN 80u
#define INVITE_MIN  50u

/* ---- writing ---- */

static void write_member(struct writer *out, const struct register_member *row)
{
    writer_put(out, row->node.bytes, NODE_ID_SIZE);
    writer_put(out, row->key_digest, sizeof row->key_digest);
    writer_blob(out, row->key.data, row->key.size);
    writer_u64(out, row->serial);
    writer_u64(out, row->issued_s);
    writer_u64(out, row->not_after_s);
    writer_u8(out, row->issued_coordinator);
    writer_u8(out, row->revoked);
    writer_u64(out, row->until_s);
    writer_u64(out, row->admitted_s);
    writer_put(out, row->invite, sizeof row->invite);
    writer_put(out, row->secret, sizeof row->secret);
    writer_text(out, row->host_name);
}

static void write_waiting(struct writer *out, const struct register_waiting *row)
{
    writer_put(out, row->key_digest, sizeof row->key_digest);
    writer_blob(out, row->key.data, row->key.size);
    writer_u64(out, row->since_s);
    writer_u8(out, row->rejected);
    writer_put(out, row->invite, sizeof row->invite);
    writer_put(out, row->secret, sizeof row->secret);
    writer_text(out, row->host_name);
}

static void write_invite(struct writer *out, const struct register_invite *row)
{
    writer_put(out, row->invite, sizeof row->invite);
    writer_put(out, row->secret, sizeof row->secret);
    writer_u32(out, row->uses_left);
    writer_u64(out, row->expires_s);
    writer_u32(out, row->uses);
    writer_u64(out, row->made_s);
    writer_u8(out, row->withdrawn);
}

static void write_server(struct writer *out, const struct register_server *row)
{
    writer_u64(out, row->number);
    writer_put(out, row->node.bytes, NODE_ID_SIZE);
    writer_text(out, row->address);
    writer_u16(out, row->node_port);
    writer_blob(out, row->request, row->request_size);
    writer_blob(out, row->intermediate, row->intermediate_size);
}

static void write_former(struct writer *out, const struct register_former *row)
{
    writer_put(out, row->node.bytes, NODE_ID_SIZE);
    writer_put(out, row->key_id, sizeof row->key_id);
    writer_u64(out, row->until_s);
    writer_u8(out, row->revoked);
}

void register_snapshot(const struct network_register *self, uint8_t **ret_data, size_t *ret_size)
{
    size_t room = HEAD_MAX + self->members_count * MEMBER_MAX + self->waiting_count * WAITING_MAX +
                  self->invites_count * INVITE_MAX +
                  (self->servers_count + self->offers_count) * SERVER_MAX +
                  self->former_count * FORMER_SIZE;
    uint8_t *data = xmalloc(room);
    struct writer out;

    writer_init(&out, data, room);
    writer_put(&out, MAGIC, sizeof MAGIC - 1);
    writer_u8(&out, VERSION);
    writer_u8(&out, self->founded);
    writer_u8(&out, self->waits_for_approval);
    writer_text(&out, self->name);
    writer_put(&out, self->network, sizeof self->network);
    writer_u64(&out, self->last_serial);
    writer_u64(&out, self->next_server);
    writer_u64(&out, self->deny_number);
    writer_u64(&out, self->deny_made_s);
    writer_u32(&out, (uint32_t)self->members_count);
    for (size_t i = 0; i < self->members_count; i++) {
        write_member(&out, &self->members[self->by_node[i]]);
    }
    writer_u32(&out, (uint32_t)self->waiting_count);
    for (size_t i = 0; i < self->waiting_count; i++) {
        write_waiting(&out, &self->waiting[i]);
    }
    writer_u32(&out, (uint32_t)self->invites_count);
    for (size_t i = 0; i < self->invites_count; i++) {
        write_invite(&out, &self->invites[i]);
    }
    writer_u8(&out, (uint8_t)self->servers_count);
    for (size_t i = 0; i < self->servers_count; i++) {
        write_server(&out, &self->servers[i]);
    }
    writer_u8(&out, (uint8_t)self->offers_count);
    for (size_t i = 0; i < self->offers_count; i++) {
        write_server(&out, &self->offers[i]);
    }
    writer_u8(&out, (uint8_t)self->former_count);
    for (size_t i = 0; i < self->former_count; i++) {
        write_former(&out, &self->former[i]);
    }
    assert(!out.overflow);
    *ret_data = data;
    *ret_size = out.size;
}

/* ---- reading ---- */

static void read_key(struct cursor *in, struct register_key *ret_key)
{
    struct bytes key = cursor_blob(in, REGISTER_KEY_MAX);

    if (key.size == 0) {
        in->failed = true;
        return;
    }
    ret_key->size = (uint8_t)key.size;
    memcpy(ret_key->data, key.data, key.size);
}

static void read_member(struct cursor *in, struct register_member *row)
{
    cursor_copy(in, row->node.bytes, NODE_ID_SIZE);
    cursor_copy(in, row->key_digest, sizeof row->key_digest);
    read_key(in, &row->key);
    row->serial = cursor_u64(in);
    row->issued_s = cursor_u64(in);
    row->not_after_s = cursor_u64(in);
    row->issued_coordinator = cursor_bool(in);
    row->revoked = cursor_bool(in);
    row->until_s = cursor_u64(in);
    row->admitted_s = cursor_u64(in);
    cursor_copy(in, row->invite, sizeof row->invite);
    cursor_copy(in, row->secret, sizeof row->secret);
    cursor_text(in, row->host_name, sizeof row->host_name);
}

static bool is_member_sound(const struct network_register *self, const struct register_member *row)
{
    return row->serial > 0 && row->serial <= self->last_serial &&
           row->not_after_s > row->issued_s && row->until_s >= row->not_after_s;
}

/* Rows that each take `least` bytes; 0 when there cannot be so many. */
static size_t read_count(struct cursor *in, size_t most, size_t least)
{
    size_t count = cursor_u32(in);

    if (in->failed || count > most || count > in->left / least) {
        in->failed = true;
        return 0;
    }
    return count;
}

static int compare_keys(const void *a, const void *b, void *members)
{
    const struct register_member *rows = members;

    return memcmp(rows[*(const uint32_t *)a].key_digest, rows[*(const uint32_t *)b].key_digest,
                  REGISTER_DIGEST_SIZE);
}

static void read_members(struct network_register *self, struct cursor *in)
{
    size_t count = read_count(in, REGISTER_MEMBERS_MAX, MEMBER_MIN);

    if (count == 0) {
        return;
    }
    self->members = xcalloc(count, sizeof *self->members);
    self->by_node = xcalloc(count, sizeof *self->by_node);
    self->by_key = xcalloc(count, sizeof *self->by_key);
    self->members_room = count;
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct register_member *row = &self->members[i];

        read_member(in, row);
        self->by_node[i] = self->by_key[i] = (uint32_t)i;
        self->members_count = i + 1;
        if (!is_member_sound(self, row) ||
            (i > 0 && node_id_compare(&row[-1].node, &row->node) >= 0)) {
            in->failed = true;
        }
    }
    qsort_r(self->by_key, self->members_count, sizeof *self->by_key, compare_keys, self->members);
    for (size_t i = 1; i < self->members_count; i++) {
        if (compare_keys(&self->by_key[i - 1], &self->by_key[i], self->members) == 0) {
            in->failed = true;
        }
    }
}

static void read_waiting(struct network_register *self, struct cursor *in)
{
    size_t count = read_count(in, REGISTER_WAITING_MAX, WAITING_MIN);

    self->waiting = xcalloc(count + 1, sizeof *self->waiting);
    self->waiting_room = count + 1;
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct register_waiting *row = &self->waiting[i];

        cursor_copy(in, row->key_digest, sizeof row->key_digest);
        read_key(in, &row->key);
        row->since_s = cursor_u64(in);
        row->rejected = cursor_bool(in);
        cursor_copy(in, row->invite, sizeof row->invite);
        cursor_copy(in, row->secret, sizeof row->secret);
        cursor_text(in, row->host_name, sizeof row->host_name);
        self->waiting_count = i + 1;
        self->rejected_count += row->rejected;
        if (i > 0 && memcmp(row[-1].key_digest, row->key_digest, REGISTER_DIGEST_SIZE) >= 0) {
            in->failed = true;
        }
        if (members_find_key(self, row->key_digest) != NULL) {
            in->failed = true;
        }
    }
}

static void read_invite(struct cursor *in, unsigned version, struct register_invite *row)
{
    cursor_copy(in, row->invite, sizeof row->invite);
    cursor_copy(in, row->secret, sizeof row->secret);
    row->uses_left = cursor_u32(in);
    row->expires_s = cursor_u64(in);
    if (version > 1) {
        row->uses = cursor_u32(in);
        row->made_s = cursor_u64(in);
        row->withdrawn = cursor_bool(in);
    }
}

static bool is_invite_sound(const struct register_invite *row)
{
    return row->uses <= REGISTER_USES_MAX &&
           row->uses_left <= (row->uses != 0 ? row->uses : REGISTER_USES_MAX);
}

static void read_invites(struct network_register *self, struct cursor *in, unsigned version)
{
    size_t count = read_count(in, REGISTER_INVITES_MAX, INVITE_MIN);

    self->invites = xcalloc(count + 1, sizeof *self->invites);
    self->invites_room = count + 1;
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct register_invite *row = &self->invites[i];

        read_invite(in, version, row);
        self->invites_count = i + 1;
        if (!is_invite_sound(row) ||
            (i > 0 && memcmp(row[-1].invite, row->invite, REGISTER_INVITE_SIZE) >= 0)) {
            in->failed = true;
        }
    }
}

static void read_server(struct cursor *in, struct register_server *row)
{
    struct bytes blob;

    row->number = cursor_u64(in);
    cursor_copy(in, row->node.bytes, NODE_ID_SIZE);
    cursor_text(in, row->address, sizeof row->address);
    row->node_port = cursor_u16(in);
    blob = cursor_blob(in, sizeof row->request);
    row->request_size = (uint16_t)blob.size;
    if (blob.size > 0) {
        memcpy(row->request, blob.data, blob.size);
    }
    blob = cursor_blob(in, sizeof row->intermediate);
    row->intermediate_size = (uint16_t)blob.size;
    if (blob.size > 0) {
        memcpy(row->intermediate, blob.data, blob.size);
    }
}

/* Numbers rise, and the node of each is a member that was not revoked. */
static void read_servers(struct network_register *self, struct cursor *in)
{
    size_t count = cursor_u8(in);

    if (count > REGISTER_SERVERS_MAX || (self->founded && count == 0)) {
        in->failed = true;
        return;
    }
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct register_server *row = &self->servers[i];
        const struct register_member *member;

        read_server(in, row);
        member = members_find(self, &row->node);
        if (member == NULL || member->revoked || row->number >= self->next_server ||
            register_is_coordinator(self, &row->node) || (i > 0 && row[-1].number >= row->number)) {
            in->failed = true;
        }
        self->servers_count = i + 1;
    }
}

static void read_offers(struct network_register *self, struct cursor *in)
{
    size_t count = cursor_u8(in);

    if (count > REGISTER_OFFERS_MAX) {
        in->failed = true;
        return;
    }
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct register_server *row = &self->offers[i];

        read_server(in, row);
        if (row->number != 0 || row->request_size == 0 ||
            register_is_coordinator(self, &row->node) ||
            servers_find(self->offers, i, &row->node) != NULL) {
            in->failed = true;
        }
        self->offers_count = i + 1;
    }
}

static void read_former(struct network_register *self, struct cursor *in)
{
    size_t count = cursor_u8(in);

    if (count > REGISTER_FORMER_MAX) {
        in->failed = true;
        return;
    }
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct register_former *row = &self->former[i];

        cursor_copy(in, row->node.bytes, NODE_ID_SIZE);
        cursor_copy(in, row->key_id, sizeof row->key_id);
        row->until_s = cursor_u64(in);
        row->revoked = cursor_bool(in);
        self->former_count = i + 1;
    }
}

static void read_all(struct network_register *self, struct cursor *in, unsigned version)
{
    self->founded = cursor_bool(in);
    self->waits_for_approval = cursor_bool(in);
    cursor_text(in, self->name, sizeof self->name);
    cursor_copy(in, self->network, sizeof self->network);
    self->last_serial = cursor_u64(in);
    self->next_server = cursor_u64(in);
    self->deny_number = cursor_u64(in);
    self->deny_made_s = cursor_u64(in);
    read_members(self, in);
    read_waiting(self, in);
    read_invites(self, in, version);
    read_servers(self, in);
    read_offers(self, in);
    read_former(self, in);
    if (in->left != 0 || self->next_server == 0 || (self->founded && self->name[0] == '\0') ||
        (!self->founded && self->members_count + self->waiting_count + self->invites_count +
                                   self->servers_count + self->offers_count + self->former_count >
                               0)) {
        in->failed = true;
    }
}

lb_err register_restore(struct network_register *self, struct bytes snapshot)
{
    struct cursor in = { .data = snapshot.data, .left = snapshot.size };
    const uint8_t *magic = cursor_take(&in, sizeof MAGIC - 1);
    unsigned version;
    struct network_register *fresh;
    lb_err err = LB_OK;

    if (magic == NULL || memcmp(magic, MAGIC, sizeof MAGIC - 1) != 0) {
        return LB_CORRUPT;
    }
    version = cursor_u8(&in);
    if (version == 0 || version > VERSION) {
        return in.failed ? LB_CORRUPT : LB_UNSUPPORTED;
    }
    fresh = register_new();
    read_all(fresh, &in, version);
    if (in.failed) {
        err = LB_CORRUPT;
    } else {
        struct network_register old = *self;

        *self = *fresh;
        *fresh = old;
    }
    register_free(&fresh);
    return err;
}
