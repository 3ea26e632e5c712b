#include "services/storage/item.h"

#include "libcommon/bencode.h"

#include <assert.h>
#include <string.h>

/* The shortest values are two bytes ("le", "0:"), and a list around them costs two more. */
#define VALUE_TOKENS_MAX (ITEM_VALUE_MAX / 2 + 1)

const char *item_verdict_text(enum item_verdict verdict)
{
    switch (verdict) {
    case ITEM_ACCEPTED:
        return "";
    case ITEM_REFUSED:
        return "not stored here";
    case ITEM_MALFORMED:
        return "malformed item";
    case ITEM_VALUE_TOO_BIG:
        return "value too big";
    case ITEM_BAD_SIGNATURE:
        return "invalid signature";
    case ITEM_SALT_TOO_BIG:
        return "salt too big";
    case ITEM_CAS_MISMATCH:
        return "CAS mismatch, read the value and try again";
    case ITEM_SEQ_TOO_LOW:
        return "sequence number not greater than current";
    }
    return "not stored";
}

struct node_id item_mutable_target(const uint8_t public_key[ED25519_KEY_SIZE], struct bytes salt)
{
    uint8_t buffer[ED25519_KEY_SIZE + ITEM_SALT_MAX];
    struct writer writer;
    uint8_t digest[SHA1_SIZE];

    writer_init(&writer, buffer, sizeof buffer);
    writer_put(&writer, public_key, ED25519_KEY_SIZE);
    writer_put(&writer, salt.data, salt.size);
    assert(!writer.overflow);
    sha1(bytes_of(buffer, writer.size), digest);
    return node_id_from(digest);
}

struct node_id item_target(const struct item *self)
{
    uint8_t digest[SHA1_SIZE];

    if (self->is_mutable)
        return item_mutable_target(self->public_key, self->salt);
    sha1(self->value, digest);
    return node_id_from(digest);
}

void item_signing_buffer(const struct item *self, struct writer *to)
{
    if (self->salt.size > 0) {
        bencode_put_text(to, "salt");
        bencode_put_string(to, self->salt);
    }
    bencode_put_text(to, "seq");
    bencode_put_int(to, (int64_t)self->seq);
    bencode_put_text(to, "v");
    writer_put(to, self->value.data, self->value.size);
}

static bool value_is_well_formed(struct bytes value)
{
    struct bencode_token tokens[VALUE_TOKENS_MAX];
    const struct bencode_limits limits = { .depth_max = ITEM_DEPTH_MAX, .strict_order = false };
    struct bencode parsed;

    return bencode_parse(&parsed, value, tokens, VALUE_TOKENS_MAX, limits, NULL) == LB_OK;
}

enum item_verdict item_check(const struct item *self)
{
    if (self->value.size > ITEM_VALUE_MAX)
        return ITEM_VALUE_TOO_BIG;
    if (self->salt.size > ITEM_SALT_MAX)
        return ITEM_SALT_TOO_BIG;
    if (self->is_mutable ? self->seq > ITEM_SEQ_MAX : self->salt.size > 0)
        return ITEM_MALFORMED;
    return value_is_well_formed(self->value) ? ITEM_ACCEPTED : ITEM_MALFORMED;
}

enum item_verdict item_verify(const struct item *self)
{
    enum item_verdict verdict = item_check(self);
    uint8_t buffer[ITEM_SIGNED_MAX];
    struct writer writer;

    if (verdict != ITEM_ACCEPTED || !self->is_mutable)
        return verdict;
    writer_init(&writer, buffer, sizeof buffer);
    item_signing_buffer(self, &writer);
    assert(!writer.overflow);
    if (!ed25519_verify(self->public_key, bytes_of(buffer, writer.size), self->signature))
        return ITEM_BAD_SIGNATURE;
    return ITEM_ACCEPTED;
}

bool item_is_valid_at(const struct item *self, const struct node_id *target)
{
    struct node_id own;

    if (item_check(self) != ITEM_ACCEPTED)
        return false;
    own = item_target(self);
    return node_id_equal(&own, target) && item_verify(self) == ITEM_ACCEPTED;
}

void item_sign(struct item *self, const uint8_t seed[ED25519_SEED_SIZE])
{
    uint8_t buffer[ITEM_SIGNED_MAX];
    struct writer writer;

    assert(self->is_mutable && item_check(self) == ITEM_ACCEPTED);
    writer_init(&writer, buffer, sizeof buffer);
    item_signing_buffer(self, &writer);
    assert(!writer.overflow);
    ed25519_public_key(seed, self->public_key);
    ed25519_sign(seed, bytes_of(buffer, writer.size), self->signature);
}

static int compare_values(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, common); /* no value is empty */

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

bool item_is_newer(const struct item *a, const struct item *b)
{
    if (a->seq != b->seq)
        return a->seq > b->seq;
    return compare_values(a->value, b->value) > 0;
}

bool item_is_same(const struct item *a, const struct item *b)
{
    if (a->is_mutable != b->is_mutable || !bytes_equal(a->value, b->value))
        return false;
    return !a->is_mutable || (a->seq == b->seq && bytes_equal(a->salt, b->salt) &&
                              memcmp(a->public_key, b->public_key, ED25519_KEY_SIZE) == 0);
}

enum item_verdict item_judge(const struct item_offer *offer, const struct item *stored,
                             uint64_t seen_seq)
{
    const struct item *item = offer->item;

    if (!item->is_mutable)
        return ITEM_ACCEPTED;
    if (stored == NULL)
        return item->seq < seen_seq ? ITEM_SEQ_TOO_LOW : ITEM_ACCEPTED;
    if (item_is_same(item, stored) && (!offer->has_cas || offer->same_sender))
        return ITEM_ACCEPTED;
    if (offer->has_cas && offer->cas != stored->seq)
        return ITEM_CAS_MISMATCH;
    return item->seq > stored->seq || item_is_same(item, stored) ? ITEM_ACCEPTED : ITEM_SEQ_TOO_LOW;
}
