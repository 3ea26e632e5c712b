#include "libcommon/bencode.h"
#include "services/transport/krpc_inside.h"

#include <string.h>

#define VALUE_TOKENS (KRPC_VALUE_MAX / 2 + 2) /* a token has two bytes or more */

static const struct method {
    const char *text;
    uint8_t size;
    uint32_t needs, reads; /* KRPC_HAS_ bits */
} methods[] = {
#define KRPC_METHOD_ROW(name, text, needs, reads)                                                  \
    [KRPC_##name] = { text, sizeof(text) - 1, KRPC_HAS_ID | (needs), reads },
    KRPC_METHODS(KRPC_METHOD_ROW)
#undef KRPC_METHOD_ROW
};

const char *krpc_method_text(enum krpc_method method)
{
    return method < KRPC_UNKNOWN ? methods[method].text : "unknown";
}

static enum krpc_method find_method(struct bytes text)
{
    for (enum krpc_method i = 0; i < KRPC_UNKNOWN; i++) {
        if (methods[i].size == text.size && memcmp(methods[i].text, text.data, text.size) == 0)
            return i;
    }
    return KRPC_UNKNOWN;
}

bool krpc_value_is_strict(struct bytes value)
{
    struct bencode_token tokens[VALUE_TOKENS];
    struct bencode_limits limits = { .depth_max = KRPC_VALUE_DEPTH, .strict_order = true };
    struct bencode parsed;

    return bencode_parse(&parsed, value, tokens, VALUE_TOKENS, limits, NULL) == LB_OK;
}

bool krpc_offer_is_valid(struct bytes digests)
{
    if (digests.size == 0 || digests.size % KRPC_DIGEST_SIZE != 0 ||
        digests.size > KRPC_DIGESTS_MAX * KRPC_DIGEST_SIZE)
        return false;
    for (size_t at = NODE_ID_SIZE; at < digests.size; at += KRPC_DIGEST_SIZE) {
        if (digests.data[at] & 0x80) /* above 2^63 - 1 */
            return false;
    }
    return true;
}

/* ---- queries ---- */

static void set_fault(struct krpc_message *self, int32_t code, const char *text)
{
    self->fault = code;
    self->fault_text = text;
}

static bool is_seconds(int64_t number)
{
    return number >= 1 && number <= INT32_MAX;
}

static void check_put(struct krpc_message *self)
{
    bool is_mutable = self->present & KRPC_HAS_KEY;

    if (self->value.size > KRPC_VALUE_MAX)
        set_fault(self, KRPC_ERROR_VALUE_SIZE, "v is too big");
    else if (self->salt.size > KRPC_SALT_MAX)
        set_fault(self, KRPC_ERROR_SALT_SIZE, "salt is too big");
    else if (!krpc_value_is_strict(self->value))
        set_fault(self, KRPC_ERROR_PROTOCOL, "v is not strictly bencoded");
    else if (is_mutable && self->key.size != KRPC_KEY_SIZE)
        set_fault(self, KRPC_ERROR_PROTOCOL, "k must have 32 bytes");
    else if (is_mutable && self->signature.size != KRPC_SIGNATURE_SIZE)
        set_fault(self, KRPC_ERROR_PROTOCOL, "sig must have 64 bytes");
    else if (is_mutable && (!(self->present & KRPC_HAS_SEQ) || self->seq < 0 || self->cas < 0))
        set_fault(self, KRPC_ERROR_PROTOCOL, "seq must be a number from 0");
    else if ((self->present & KRPC_HAS_TTL) && !is_seconds(self->ttl))
        set_fault(self, KRPC_ERROR_PROTOCOL, "ttl must be 1 to 2147483647");
}

/* As the target; an argument of that name, which such a query has no use for, is forgotten. */
static void take_info_hash(struct krpc_message *self)
{
    self->target = self->info_hash;
    self->present &= ~(uint32_t)KRPC_HAS_TARGET;
}

static const char *const callees[] = {
    [KRPC_CALLEE_MEMBER] = "member", [KRPC_CALLEE_STORAGE] = "storage"
};

enum krpc_callee krpc_callee(const struct krpc_message *self)
{
    for (enum krpc_callee i = KRPC_CALLEE_MEMBER; i <= KRPC_CALLEE_STORAGE; i++) {
        if (bytes_equal_text(self->to, callees[i]))
            return i;
    }
    return KRPC_CALLEE_NONE;
}

const char *krpc_callee_text(enum krpc_callee callee)
{
    return callees[callee];
}

static void check_call(struct krpc_message *self)
{
    if (krpc_callee(self) == KRPC_CALLEE_NONE)
        set_fault(self, KRPC_ERROR_PROTOCOL, "to must be member or storage");
    else if (self->body.size > KRPC_CALL_MAX)
        set_fault(self, KRPC_ERROR_PROTOCOL, "b has at most 1000 bytes");
}

/* What each method asks of its arguments beyond having them. */
static void check_arguments(struct krpc_message *self)
{
    switch (self->method) {
    case KRPC_PING:
        return;
    case KRPC_PUT:
        check_put(self);
        return;
    case KRPC_OFFER:
        if (!krpc_offer_is_valid(self->offer))
            set_fault(self, KRPC_ERROR_PROTOCOL, "offer must be 1 to 40 digests of 28 bytes");
        return;
    case KRPC_CALL:
        check_call(self);
        return;
    default:
        break;
    }
    if (self->method == KRPC_GET_PEERS || self->method == KRPC_ANNOUNCE_PEER)
        take_info_hash(self);
    if (self->target.size != NODE_ID_SIZE)
        set_fault(self, KRPC_ERROR_PROTOCOL, "target or info_hash must have 20 bytes");
    else if (self->method == KRPC_ANNOUNCE_PEER && self->implied_port == 0 &&
             (self->port < 1 || self->port > UINT16_MAX))
        set_fault(self, KRPC_ERROR_PROTOCOL, "port must be 1 to 65535");
    else if (self->method == KRPC_GET && (self->present & KRPC_HAS_CHECK) &&
             !is_seconds(self->check))
        set_fault(self, KRPC_ERROR_PROTOCOL, "chk must be 1 to 2147483647");
}

static bool has_wrong_type(const struct krpc_message *self, uint32_t wrong)
{
    return wrong & (methods[self->method].needs | methods[self->method].reads);
}

/*
 * libtorrent, "Mainline DHT extensions", "forward compatibility"; BEP 51 counts on it: a method
 * that is not known and has a target or an infohash is answered as find_node, so that what is new
 * finds its way past nodes that are not. Other arguments may be anything.
 */
static void check_unknown(struct krpc_message *self)
{
    if (self->target.size != NODE_ID_SIZE)
        take_info_hash(self);
    if (self->id.size != NODE_ID_SIZE || self->target.size != NODE_ID_SIZE)
        set_fault(self, KRPC_ERROR_METHOD, "method unknown");
}

void krpc_check_query(struct krpc_message *self, struct bytes method, uint32_t wrong)
{
    self->method = find_method(method);
    if (self->method == KRPC_UNKNOWN)
        check_unknown(self);
    else if (has_wrong_type(self, wrong))
        set_fault(self, KRPC_ERROR_PROTOCOL, "an argument has the wrong type");
    else if (~self->present & methods[self->method].needs)
        set_fault(self, KRPC_ERROR_PROTOCOL, "an argument is missing");
    else if (self->id.size != NODE_ID_SIZE)
        set_fault(self, KRPC_ERROR_PROTOCOL, "id must have 20 bytes");
    else if (self->token.size > KRPC_TOKEN_MAX)
        set_fault(self, KRPC_ERROR_PROTOCOL, "token is too long");
    else
        check_arguments(self);
}

/* ---- replies ---- */

/* A reply that gets one of these wrong is not to be trusted with the rest. */
#define REPLY_BASE                                                                                 \
    (KRPC_HAS_ID | KRPC_HAS_NODES | KRPC_HAS_NODES6 | KRPC_HAS_TOKEN | KRPC_HAS_VALUES |           \
     KRPC_HAS_KEY | KRPC_HAS_SIGNATURE | KRPC_HAS_SEQ)

static void keep_if(struct krpc_message *self, bool is_well_formed, struct bytes *member,
                    uint32_t bit)
{
    if (is_well_formed)
        return;
    *member = bytes_of(NULL, 0);
    self->present &= ~bit;
}

static void keep_number_if(struct krpc_message *self, bool is_well_formed, int64_t *member,
                           uint32_t bit)
{
    if (is_well_formed)
        return;
    *member = 0;
    self->present &= ~bit;
}

static bool is_need(struct bytes need)
{
    for (size_t i = 0; i < need.size; i++) {
        if (need.data[i] < KRPC_NEED_HAS || need.data[i] > KRPC_NEED_REFUSES)
            return false;
    }
    return need.size > 0 && need.size <= KRPC_DIGESTS_MAX;
}

/* What has the wrong size in one result does not spoil the others. */
bool krpc_check_reply(struct krpc_message *self, uint32_t wrong)
{
    if ((wrong & REPLY_BASE) || self->id.size != NODE_ID_SIZE)
        return false;
    keep_if(self, self->nodes.size % (NODE_ID_SIZE + ADDRESS_COMPACT_V4) == 0, &self->nodes,
            KRPC_HAS_NODES);
    keep_if(self, self->nodes6.size % (NODE_ID_SIZE + ADDRESS_COMPACT_V6) == 0, &self->nodes6,
            KRPC_HAS_NODES6);
    keep_if(self, self->token.size <= KRPC_TOKEN_MAX, &self->token, KRPC_HAS_TOKEN);
    keep_if(self, self->value.size <= KRPC_VALUE_MAX, &self->value, KRPC_HAS_VALUE);
    keep_if(self, self->key.size == KRPC_KEY_SIZE, &self->key, KRPC_HAS_KEY);
    keep_if(self, self->signature.size == KRPC_SIGNATURE_SIZE, &self->signature,
            KRPC_HAS_SIGNATURE);
    keep_if(self, self->seeds_filter.size == KRPC_FILTER_SIZE, &self->seeds_filter,
            KRPC_HAS_SEEDS_FILTER);
    keep_if(self, self->peers_filter.size == KRPC_FILTER_SIZE, &self->peers_filter,
            KRPC_HAS_PEERS_FILTER);
    keep_if(self, is_need(self->need), &self->need, KRPC_HAS_NEED);
    keep_if(self, self->body.size <= KRPC_CALL_MAX, &self->body, KRPC_HAS_BODY);
    keep_if(self, self->samples.size % NODE_ID_SIZE == 0, &self->samples, KRPC_HAS_SAMPLES);
    keep_number_if(self, self->total >= 0, &self->total, KRPC_HAS_TOTAL);
    keep_number_if(self, self->interval >= 0, &self->interval, KRPC_HAS_INTERVAL);
    keep_number_if(self, is_seconds(self->ttl), &self->ttl, KRPC_HAS_TTL);
    return true;
}
