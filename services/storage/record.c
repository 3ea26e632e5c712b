#include "services/storage/record.h"

#include <string.h>

enum { ITEM_FLAG_MUTABLE = 1, ITEM_FLAGS_KNOWN = 1, PEER_FLAG_SEED = 1, PEER_FLAGS_KNOWN = 1 };

/* A cursor over untrusted bytes: errors are collected and tested once. */
struct reader {
    struct bytes rest;
    bool failed;
};

static struct bytes take(struct reader *self, size_t size)
{
    struct bytes taken = { 0 };

    if (self->failed || size > self->rest.size) {
        self->failed = true;
        return taken;
    }
    taken = bytes_of(self->rest.data, size);
    self->rest = bytes_of(self->rest.data + size, self->rest.size - size);
    return taken;
}

static uint8_t take_u8(struct reader *self)
{
    struct bytes taken = take(self, 1);

    return self->failed ? 0 : taken.data[0];
}

static uint64_t take_u64(struct reader *self)
{
    struct bytes taken = take(self, 8);

    return self->failed ? 0 : load_u64(taken.data);
}

static void take_into(struct reader *self, void *ret_data, size_t size)
{
    struct bytes taken = take(self, size);

    if (!self->failed)
        memcpy(ret_data, taken.data, size);
}

static lb_err finish(const struct reader *self)
{
    return self->failed || self->rest.size > 0 ? LB_CORRUPT : LB_OK;
}

static void put_address(struct writer *to, const struct address *address)
{
    uint8_t compact[ADDRESS_COMPACT_V6];
    size_t size = address_to_compact(address, compact);

    writer_u8(to, (uint8_t)size);
    writer_put(to, compact, size);
}

static void take_address(struct reader *self, size_t size, struct address *ret_address)
{
    struct bytes compact = take(self, size);

    if (!self->failed && address_from_compact(compact, ret_address) != LB_OK)
        self->failed = true;
}

bool record_source_equal(const struct record_source *a, const struct record_source *b)
{
    return a->is_self == b->is_self && (a->is_self || address_equal(&a->address, &b->address));
}

/* A size of 0 stands for ourselves. */
static void put_source(struct writer *to, const struct record_source *source)
{
    if (source->is_self)
        writer_u8(to, 0);
    else
        put_address(to, &source->address);
}

static void take_source(struct reader *self, struct record_source *ret_source)
{
    uint8_t size = take_u8(self);

    ret_source->is_self = size == 0;
    if (size > 0)
        take_address(self, size, &ret_source->address);
}

/* ---- items ---- */

void item_record_put(const struct item_record *self, struct writer *to)
{
    const struct item *item = &self->item;

    writer_u8(to, RECORD_VERSION_2);
    writer_u8(to, item->is_mutable ? ITEM_FLAG_MUTABLE : 0);
    writer_u64(to, self->first_s);
    writer_u64(to, self->stored_s);
    writer_u64(to, self->ends_s);
    writer_u64(to, self->check_s);
    writer_u64(to, self->checked_s);
    writer_u8(to, self->calm);
    put_source(to, &self->source);
    if (item->is_mutable) {
        writer_u64(to, item->seq);
        writer_put(to, item->public_key, sizeof item->public_key);
        writer_put(to, item->signature, sizeof item->signature);
    }
    writer_u8(to, (uint8_t)item->salt.size);
    writer_put(to, item->salt.data, item->salt.size);
    writer_u16(to, (uint16_t)item->value.size);
    writer_put(to, item->value.data, item->value.size);
}

static void take_item(struct reader *reader, struct item *ret_item)
{
    struct bytes size;

    if (ret_item->is_mutable) {
        ret_item->seq = take_u64(reader);
        take_into(reader, ret_item->public_key, sizeof ret_item->public_key);
        take_into(reader, ret_item->signature, sizeof ret_item->signature);
    }
    ret_item->salt = take(reader, take_u8(reader));
    size = take(reader, 2);
    ret_item->value = take(reader, reader->failed ? 0 : load_u16(size.data));
}

static bool is_known(uint8_t version)
{
    return version == RECORD_VERSION || version == RECORD_VERSION_2;
}

static void take_upkeep(struct reader *reader, struct item_record *record)
{
    record->ends_s = take_u64(reader);
    record->check_s = take_u64(reader);
    record->checked_s = take_u64(reader);
    record->calm = take_u8(reader);
}

lb_err item_record_get(struct bytes from, struct item_record *ret_self)
{
    struct reader reader = { .rest = from };
    struct item_record record = { 0 };
    uint8_t version = take_u8(&reader);
    uint8_t flags = take_u8(&reader);

    if (reader.failed || !is_known(version) || (flags & ~ITEM_FLAGS_KNOWN) != 0)
        return LB_CORRUPT;
    record.item.is_mutable = (flags & ITEM_FLAG_MUTABLE) != 0;
    record.first_s = take_u64(&reader);
    record.stored_s = take_u64(&reader);
    if (version == RECORD_VERSION_2)
        take_upkeep(&reader, &record);
    take_source(&reader, &record.source);
    take_item(&reader, &record.item);
    if (finish(&reader) != LB_OK || item_check(&record.item) != ITEM_ACCEPTED)
        return LB_CORRUPT;
    *ret_self = record;
    return LB_OK;
}

/* ---- peers ---- */

/* FNV-1a with a final mix, 32 bits. It is part of the stored format: do not change it. */
static uint32_t spread_hash(struct bytes compact)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < compact.size; i++)
        hash = (hash ^ compact.data[i]) * 16777619u;
    hash ^= hash >> 16;
    hash *= 0x85ebca6bu;
    return hash ^ (hash >> 13);
}

void peer_record_put_head(const struct address *peer, struct writer *to)
{
    uint8_t compact[ADDRESS_COMPACT_V6];
    size_t size = address_to_compact(peer, compact);

    writer_u32(to, spread_hash(bytes_of(compact, size)));
    put_address(to, peer);
}

void peer_record_put(const struct peer_record *self, struct writer *to)
{
    peer_record_put_head(&self->peer, to);
    writer_u8(to, RECORD_VERSION);
    writer_u8(to, self->seed ? PEER_FLAG_SEED : 0);
    writer_u64(to, self->announced_s);
    put_source(to, &self->source);
}

static bool is_unspecified(const struct address *address)
{
    struct address none = address_v4(0, 0, 0, 0, 0);

    return address_same_ip(address, &none);
}

lb_err peer_record_get(struct bytes from, struct peer_record *ret_self)
{
    struct reader reader = { .rest = from };
    struct peer_record record = { 0 };
    uint8_t flags;

    take(&reader, 4);
    take_address(&reader, take_u8(&reader), &record.peer);
    if (take_u8(&reader) != RECORD_VERSION)
        return LB_CORRUPT;
    flags = take_u8(&reader);
    record.announced_s = take_u64(&reader);
    take_source(&reader, &record.source);
    if (finish(&reader) != LB_OK || (flags & ~PEER_FLAGS_KNOWN) != 0)
        return LB_CORRUPT;
    record.seed = (flags & PEER_FLAG_SEED) != 0;
    record.is_self = is_unspecified(&record.peer);
    *ret_self = record;
    return LB_OK;
}

/* ---- publications, seen, quotas, due ---- */

void publication_record_put(const struct publication_record *self, struct writer *to)
{
    writer_u8(to, RECORD_VERSION_2);
    writer_u64(to, self->version);
    writer_u64(to, self->due_s);
    writer_u8(to, self->tries);
    writer_u64(to, self->renewed_s);
    writer_put(to, self->item.data, self->item.size);
}

lb_err publication_record_get(struct bytes from, struct publication_record *ret_self)
{
    struct reader reader = { .rest = from };
    struct publication_record record = { 0 };
    struct item_record item;
    uint8_t version = take_u8(&reader);

    if (!is_known(version))
        return LB_CORRUPT;
    record.version = take_u64(&reader);
    record.due_s = take_u64(&reader);
    record.tries = take_u8(&reader);
    if (version == RECORD_VERSION_2)
        record.renewed_s = take_u64(&reader);
    record.item = reader.rest;
    if (reader.failed || item_record_get(record.item, &item) != LB_OK)
        return LB_CORRUPT;
    *ret_self = record;
    return LB_OK;
}

/* Two numbers behind a version: seen and quotas. */
static void put_pair(struct writer *to, uint64_t first, uint64_t second)
{
    writer_u8(to, RECORD_VERSION);
    writer_u64(to, first);
    writer_u64(to, second);
}

static lb_err get_pair(struct bytes from, uint64_t *ret_first, uint64_t *ret_second)
{
    struct reader reader = { .rest = from };
    uint8_t version = take_u8(&reader);
    uint64_t first = take_u64(&reader);
    uint64_t second = take_u64(&reader);

    if (version != RECORD_VERSION || finish(&reader) != LB_OK)
        return LB_CORRUPT;
    *ret_first = first;
    *ret_second = second;
    return LB_OK;
}

void seen_record_put(const struct seen_record *self, struct writer *to)
{
    put_pair(to, self->seq, self->until_s);
}

lb_err seen_record_get(struct bytes from, struct seen_record *ret_self)
{
    return get_pair(from, &ret_self->seq, &ret_self->until_s);
}

void quota_record_put(const struct quota_record *self, struct writer *to)
{
    put_pair(to, self->count, self->bytes);
}

lb_err quota_record_get(struct bytes from, struct quota_record *ret_self)
{
    return get_pair(from, &ret_self->count, &ret_self->bytes);
}

void due_record_put(const struct due_record *self, struct writer *to)
{
    writer_u8(to, (uint8_t)self->kind);
    writer_u64(to, self->due_s);
    writer_put(to, self->id.data, self->id.size);
}

lb_err due_record_get(struct bytes from, struct due_record *ret_self)
{
    struct reader reader = { .rest = from };
    uint8_t kind = take_u8(&reader);
    uint64_t due_s = take_u64(&reader);

    if (reader.failed || kind == 0 || kind >= DUE_KINDS || reader.rest.size < NODE_ID_SIZE ||
        reader.rest.size > RECORD_DUE_ID_MAX)
        return LB_CORRUPT;
    *ret_self = (struct due_record){ .kind = kind, .due_s = due_s, .id = reader.rest };
    return LB_OK;
}
