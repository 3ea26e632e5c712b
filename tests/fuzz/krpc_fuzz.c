/*
 * KRPC: the decoder, which reads datagrams in one pass of its own, sees in every one what the
 * general bencode reader sees; and what it read comes back the same when it is written and read
 * again.
 */
#include "services/transport/krpc.h"

#include "libcommon/bencode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX KRPC_RECEIVE_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bencode_token tokens[TOKENS_MAX];

static bool parse(struct bytes data, uint32_t depth_max, struct bencode *ret_parsed)
{
    const struct bencode_limits limits = { .depth_max = depth_max };

    return bencode_parse(ret_parsed, data, tokens, TOKENS_MAX, limits, NULL) == LB_OK;
}

enum kind { STRING, INT, LIST, ANY };

/* A member that is there holds what stands under its key. */
static void compare_field(const struct bencode *parsed, uint32_t body, const char *key,
                          enum kind kind, const void *member)
{
    uint32_t token = bencode_find(parsed, body, key);
    int64_t number = 0;

    switch (kind) {
    case STRING:
        assert(bytes_equal(bencode_string(parsed, token), *(const struct bytes *)member));
        break;
    case INT:
        assert(bencode_int(parsed, token, &number));
        assert(number == *(const int64_t *)member);
        break;
    case LIST:
    case ANY:
        assert(bytes_equal(bencode_raw(parsed, token), *(const struct bytes *)member));
        break;
    }
}

static void compare(const struct bencode *parsed, const struct krpc_message *message)
{
    static const char *const types[] = {
        [KRPC_QUERY] = "q", [KRPC_REPLY] = "r", [KRPC_ERROR] = "e"
    };
    uint32_t a = bencode_find_type(parsed, 0, "a", BENCODE_DICT);
    uint32_t r = bencode_find_type(parsed, 0, "r", BENCODE_DICT);
    uint32_t body = a != BENCODE_NONE ? a : r;

    assert(bytes_equal(bencode_string(parsed, bencode_find(parsed, 0, "t")), message->transaction));
    assert(bytes_equal_text(bencode_string(parsed, bencode_find(parsed, 0, "y")),
                            types[message->type]));
    if (message->type == KRPC_QUERY && message->method != KRPC_UNKNOWN)
        assert(bytes_equal_text(bencode_string(parsed, bencode_find(parsed, 0, "q")),
                                krpc_method_text(message->method)));
#define COMPARE(name, member, key, kind)                                                           \
    if (message->present & KRPC_HAS_##name)                                                        \
        compare_field(parsed, body, key, kind, &message->member);
    KRPC_FIELDS(COMPARE)
#undef COMPARE
}

/* What a query of this method says is the same in both. */
static void compare_query(const struct krpc_message *before, const struct krpc_message *after)
{
    switch (before->method) {
    case KRPC_PING:
        return;
    case KRPC_PUT:
        assert(bytes_equal(after->value, before->value) && bytes_equal(after->key, before->key));
        assert(after->key.size == 0 || after->seq == before->seq);
        assert(after->ttl == before->ttl);
        return;
    case KRPC_OFFER:
        assert(bytes_equal(after->offer, before->offer));
        return;
    case KRPC_CALL:
        assert(bytes_equal(after->body, before->body) && bytes_equal(after->to, before->to));
        return;
    case KRPC_GET:
        assert(after->seq == (before->seq >= 0 ? before->seq : 0));
        assert(after->check == before->check);
        break;
    default:
        break;
    }
    assert(bytes_equal(after->target, before->target));
}

static void write_query(const struct krpc_message *message)
{
    const struct node_id id = node_id_from(message->id.data);
    struct krpc_query query = {
        .method = message->method,
        .id = &id,
        .want_v4 = message->want_v4,
        .want_v6 = message->want_v6,
        .token = message->token,
        .port = (uint16_t)message->port,
        .seed = message->seed == 1,
        .item = { .value = message->value,
                  .key = message->key,
                  .salt = message->key.size > 0 ? message->salt : bytes_of(NULL, 0),
                  .signature = message->signature,
                  .seq = (uint64_t)message->seq,
                  .ttl_s = (uint32_t)message->ttl },
        .has_cas = message->key.size > 0 && (message->present & KRPC_HAS_CAS),
        .cas = (uint64_t)message->cas,
        .has_seq = (message->present & KRPC_HAS_SEQ) && message->seq >= 0,
        .seq = (uint64_t)message->seq,
        .check_s = (uint32_t)message->check,
        .read_only = message->read_only,
        .offer = message->offer,
        .callee = krpc_callee(message),
        .body = message->body,
    };
    uint8_t again[KRPC_SEND_MAX];
    struct krpc_message read;
    size_t size;

    if (message->target.size == NODE_ID_SIZE)
        query.target = node_id_from(message->target.data);
    if (message->token.size == 0 || (query.method == KRPC_ANNOUNCE_PEER && query.port == 0))
        query.token = bytes_of_text("token");
    if (query.port == 0)
        query.port = 1;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", again, sizeof(again));
    assert(size > 0);
    assert(krpc_decode(bytes_of(again, size), &read) == LB_OK);
    assert(read.type == KRPC_QUERY && read.method == message->method && read.fault == 0);
    assert(bytes_equal(read.id, message->id));
    assert(read.littlebird && read.read_only == message->read_only);
    compare_query(message, &read);
}

static void write_reply(const struct krpc_message *message)
{
    const struct node_id id = node_id_from(message->id.data);
    struct krpc_item item = { .value = message->value,
                              .key = message->key,
                              .signature = message->signature,
                              .seq = message->seq >= 0 ? (uint64_t)message->seq : 0,
                              .ttl_s = (uint32_t)message->ttl };
    const struct krpc_samples samples = { .infohashes = message->samples,
                                          .total = (uint64_t)message->total,
                                          .interval_s = (uint32_t)message->interval };
    struct contact nodes[32];
    struct krpc_reply reply = { .transaction = message->transaction,
                                .id = &id,
                                .nodes = nodes,
                                .with_nodes = true,
                                .token = message->token,
                                .item = &item,
                                .need = message->need,
                                .body = message->body,
                                .samples = &samples };
    uint8_t again[2 * KRPC_RECEIVE_MAX];
    struct krpc_message read;
    struct contact contact;
    struct address peer;
    size_t size, offset = 0;

    while (reply.nodes_count < 32 && krpc_next_node(message, 4, &offset, &nodes[reply.nodes_count]))
        reply.nodes_count++;
    offset = 0;
    while (krpc_next_node(message, 6, &offset, &contact))
        assert(address_is_usable(&contact.address));
    offset = 0;
    while (krpc_next_peer(message, &offset, &peer))
        assert(address_is_usable(&peer));
    size = krpc_encode_reply(&reply, again, sizeof(again));
    assert(size > 0);
    if (size > KRPC_RECEIVE_MAX)
        return;
    assert(krpc_decode(bytes_of(again, size), &read) == LB_OK);
    assert(read.type == KRPC_REPLY && bytes_equal(read.id, message->id));
    assert(bytes_equal(read.transaction, message->transaction));
    assert(bytes_equal(read.token, message->token) && bytes_equal(read.value, message->value));
    assert(read.nodes.size == reply.nodes_count * 26);
    assert(read.value.size > 0 || read.seq == (int64_t)item.seq); /* stored, not sent */
    assert(read.ttl == message->ttl && bytes_equal(read.need, message->need));
    assert(bytes_equal(read.samples, message->samples) && read.total == message->total);
    assert(read.interval == (int64_t)samples.interval_s);
}

/* What the general reader takes is passed over under a key that nobody knows. */
static void pass_over(struct bytes value)
{
    static const char head[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:x";
    static const char tail[] = "1:y1:qe";
    uint8_t datagram[KRPC_RECEIVE_MAX];
    struct krpc_message message;
    struct writer to;

    writer_init(&to, datagram, sizeof(datagram));
    writer_put(&to, head, sizeof(head) - 1);
    writer_put(&to, value.data, value.size);
    writer_put(&to, tail, sizeof(tail) - 1);
    if (!to.overflow)
        assert(krpc_decode(bytes_of(datagram, to.size), &message) == LB_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct krpc_message message;
    struct bencode parsed;

    if (krpc_decode(bytes_of(data, size), &message) == LB_OK) {
        bool is_bencode = parse(bytes_of(data, size), KRPC_DEPTH_MAX, &parsed);

        assert(is_bencode);
        compare(&parsed, &message);
        if (message.type == KRPC_QUERY && message.fault == 0 && message.method != KRPC_UNKNOWN)
            write_query(&message);
        if (message.type == KRPC_REPLY)
            write_reply(&message);
    }
    if (size <= KRPC_RECEIVE_MAX && parse(bytes_of(data, size), KRPC_DEPTH_MAX - 1, &parsed))
        pass_over(bytes_of(data, size));
    return 0;
}
