#include "services/routing/snapshot.h"

#include <assert.h>
#include <string.h>

#define SNAPSHOT_VERSION 1u

static const char magic[8] = { 'L', 'B', 'R', 'O', 'U', 'T', 'E', 'S' };

static uint64_t fnv1a(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * 0x100000001b3u;
    }
    return hash;
}

size_t snapshot_write(const struct snapshot *self, uint8_t ret_data[SNAPSHOT_SIZE_MAX])
{
    struct writer out;

    assert(self->count <= SNAPSHOT_CONTACTS_MAX);
    writer_init(&out, ret_data, SNAPSHOT_SIZE_MAX);
    writer_put(&out, magic, sizeof(magic));
    writer_u32(&out, SNAPSHOT_VERSION);
    writer_put(&out, self->self_id.bytes, NODE_ID_SIZE);
    writer_u32(&out, (uint32_t)self->count);
    for (size_t i = 0; i < self->count; i++) {
        const struct snapshot_contact *from = &self->contacts[i];
        writer_put(&out, from->contact.id.bytes, NODE_ID_SIZE);
        writer_put(&out, from->contact.address.ip, sizeof(from->contact.address.ip));
        writer_u16(&out, from->contact.address.port);
        writer_u32(&out, from->silent_s);
        writer_u32(&out, from->age_s);
    }
    writer_u64(&out, fnv1a(out.data, out.size));
    assert(!out.overflow);
    return out.size;
}

static struct snapshot_contact read_contact(const uint8_t *at)
{
    struct snapshot_contact contact;

    contact.contact.id = node_id_from(at);
    memcpy(contact.contact.address.ip, at + 20, sizeof(contact.contact.address.ip));
    contact.contact.address.port = load_u16(at + 36);
    contact.silent_s = load_u32(at + 38);
    contact.age_s = load_u32(at + 42);
    return contact;
}

lb_err snapshot_read(struct bytes data, struct snapshot *ret_self)
{
    if (data.size < SNAPSHOT_HEADER_SIZE + 8 || memcmp(data.data, magic, sizeof(magic)) != 0) {
        return LB_CORRUPT;
    }
    if (load_u32(data.data + 8) != SNAPSHOT_VERSION) {
        return LB_UNSUPPORTED;
    }
    uint32_t count = load_u32(data.data + 32);
    if (count > SNAPSHOT_CONTACTS_MAX ||
        data.size != SNAPSHOT_HEADER_SIZE + (size_t)count * SNAPSHOT_RECORD_SIZE + 8 ||
        load_u64(data.data + data.size - 8) != fnv1a(data.data, data.size - 8)) {
        return LB_CORRUPT;
    }
    ret_self->self_id = node_id_from(data.data + 12);
    ret_self->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct snapshot_contact contact =
            read_contact(data.data + SNAPSHOT_HEADER_SIZE + i * SNAPSHOT_RECORD_SIZE);
        if (address_is_usable(&contact.contact.address)) {
            ret_self->contacts[ret_self->count++] = contact;
        }
    }
    return LB_OK;
}
