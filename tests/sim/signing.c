#include "tests/sim/signing.h"

#include <assert.h>
#include <string.h>

static uint64_t hash_bytes(uint64_t hash, struct bytes data)
{
    for (size_t i = 0; i < data.size; i++) {
        hash = (hash ^ data.data[i]) * 0x100000001b3u; /* FNV-1a */
    }
    return hash;
}

static void make(const struct item *item, uint8_t ret_signature[ED25519_SIGN_SIZE])
{
    uint8_t buffer[ITEM_SIGNED_MAX];
    struct writer writer;

    writer_init(&writer, buffer, sizeof(buffer));
    item_signing_buffer(item, &writer);
    assert(!writer.overflow);
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, bytes_of(item->public_key, ED25519_KEY_SIZE));
    hash = hash_bytes(hash, bytes_of(buffer, writer.size));
    for (size_t i = 0; i < ED25519_SIGN_SIZE; i += sizeof(hash)) {
        store_u64(ret_signature + i, hash);
    }
}

void signing_sign(struct item *self)
{
    assert(self->is_mutable);
    make(self, self->signature);
}

enum item_verdict signing_verify(const struct item *self)
{
    enum item_verdict verdict = item_check(self);
    uint8_t signature[ED25519_SIGN_SIZE];

    if (verdict != ITEM_ACCEPTED || !self->is_mutable) {
        return verdict;
    }
    make(self, signature);
    return memcmp(signature, self->signature, sizeof(signature)) == 0 ? ITEM_ACCEPTED
                                                                      : ITEM_BAD_SIGNATURE;
}

bool signing_is_valid_at(const struct item *self, const struct node_id *target)
{
    if (signing_verify(self) != ITEM_ACCEPTED) {
        return false;
    }
    struct node_id own = item_target(self);
    return node_id_equal(&own, target);
}
