#include "services/transport/krpc_inside.h"

#include "libcommon/bencode.h"

#include <assert.h>
#include <string.h>

/* "v" of the envelope: two letters for the program, two bytes for its version (BEP 5, BEP 20). */
#define VERSION "1:v4:LB\0\1"

#define put_literal(to, text) writer_put((to), (text), sizeof(text) - 1)

static void put_key_string(struct writer *to, const char *key, struct bytes content)
{
    if (content.size == 0)
        return;
    bencode_put_text(to, key);
    bencode_put_string(to, content);
}

static void put_key_int(struct writer *to, const char *key, uint64_t number)
{
    bencode_put_text(to, key);
    bencode_put_int(to, (int64_t)number);
}

static void put_key_raw(struct writer *to, const char *key, struct bytes encoded)
{
    if (encoded.size == 0)
        return;
    bencode_put_text(to, key);
    writer_put(to, encoded.data, encoded.size);
}

/*
 * Up to the dictionary of the body. Short runs are gathered first: one bounds check for each, not
 * for each part of it.
 */
static void put_begin(struct writer *to, const struct address *requestor, char body)
{
    uint8_t head[34] = "d2:ip6:";
    size_t size = 7;

    if (!requestor) {
        size = 1;
    } else {
        size_t compact;

        if (!address_is_v4(requestor)) {
            memcpy(head + 5, "18:", 3);
            size = 8;
        }
        compact = address_to_compact(requestor, head + size);
        size += compact;
    }
    head[size++] = '1';
    head[size++] = ':';
    head[size++] = (uint8_t)body;
    head[size++] = 'd';
    writer_put(to, head, size);
}

static void put_id(struct writer *to, const struct node_id *id)
{
    uint8_t text[7 + NODE_ID_SIZE] = "2:id20:";

    memcpy(text + 7, id->bytes, NODE_ID_SIZE);
    writer_put(to, text, sizeof(text));
}

/* The end of a reply's body; "t", "v", "y" and the end of the message. */
static void put_finish(struct writer *to, struct bytes transaction, char type)
{
    uint8_t tail[64] = "e1:t";
    size_t size = 4, from = type == 'r' ? 0 : 1;

    assert(transaction.size > 0 && transaction.size <= KRPC_TRANSACTION_MAX);
    if (transaction.size > 9)
        tail[size++] = (uint8_t)('0' + transaction.size / 10);
    tail[size++] = (uint8_t)('0' + transaction.size % 10);
    tail[size++] = ':';
    memcpy(tail + size, transaction.data, transaction.size);
    size += transaction.size;
    memcpy(tail + size, VERSION "1:y1:", sizeof(VERSION "1:y1:") - 1);
    size += sizeof(VERSION "1:y1:") - 1;
    tail[size++] = (uint8_t)type;
    tail[size++] = 'e';
    writer_put(to, tail + from, size - from);
}

/* The "208:" before a string. */
static void put_length(struct writer *to, size_t size)
{
    char text[24];
    size_t at = sizeof(text);

    text[--at] = ':';
    do
        text[--at] = (char)('0' + size % 10);
    while ((size /= 10) > 0);
    writer_put(to, text + at, sizeof(text) - at);
}

static size_t finished(const struct writer *to)
{
    return to->overflow ? 0 : to->size;
}

/* Compact node info: 26 or 38 bytes each (BEP 5, BEP 32). */
static void put_nodes(struct writer *to, const struct contact *nodes, size_t count, bool v4)
{
    size_t ip_size = v4 ? 4 : 16, size = count * (NODE_ID_SIZE + ip_size + 2);
    uint8_t *at;

    bencode_put_text(to, v4 ? "nodes" : "nodes6");
    put_length(to, size);
    if (to->overflow || size > to->capacity - to->size) {
        to->overflow = true;
        return;
    }
    at = to->data + to->size;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, nodes[i].id.bytes, NODE_ID_SIZE);
        memcpy(at + NODE_ID_SIZE, nodes[i].address.ip + 16 - ip_size, ip_size);
        at += NODE_ID_SIZE + ip_size;
        at[0] = (uint8_t)(nodes[i].address.port >> 8); /* a call would cost as much as the copies */
        at[1] = (uint8_t)nodes[i].address.port;
        at += 2;
    }
    to->size += size;
}

static void put_values(struct writer *to, const struct bytes *values, size_t count)
{
    if (count == 0)
        return;
    bencode_put_text(to, "values");
    bencode_put_list(to);
    for (size_t i = 0; i < count; i++)
        bencode_put_string(to, values[i]);
    bencode_put_end(to);
}

/* "samples" stands there even if there is none: it tells that we know the method (BEP 51). */
static void put_samples(struct writer *to, const struct krpc_samples *samples)
{
    put_key_int(to, "num", samples->total);
    bencode_put_text(to, "samples");
    bencode_put_string(to, samples->infohashes);
}

static void put_ttl(struct writer *to, const struct krpc_item *item)
{
    if (item->ttl_s > 0)
        put_key_int(to, "ttl", item->ttl_s);
}

size_t krpc_encode_reply(const struct krpc_reply *reply, uint8_t *ret_data, size_t capacity)
{
    static const struct krpc_item none;
    const struct krpc_item *item = reply->item ? reply->item : &none;
    bool is_sent = item->value.size > 0;
    struct writer to;

    writer_init(&to, ret_data, capacity);
    put_begin(&to, reply->to, 'r');
    put_key_string(&to, "BFpe", reply->peers_filter);
    put_key_string(&to, "BFsd", reply->seeds_filter);
    put_key_string(&to, "b", reply->body);
    put_id(&to, reply->id);
    if (reply->samples)
        put_key_int(&to, "interval", reply->samples->interval_s);
    if (is_sent)
        put_key_string(&to, "k", item->key);
    put_key_string(&to, "need", reply->need);
    if (reply->with_nodes)
        put_nodes(&to, reply->nodes, reply->nodes_count, true);
    if (reply->with_nodes6)
        put_nodes(&to, reply->nodes6, reply->nodes6_count, false);
    if (reply->samples)
        put_samples(&to, reply->samples);
    if (item->key.size > 0 || (reply->item && !is_sent))
        put_key_int(&to, "seq", item->seq);
    if (is_sent)
        put_key_string(&to, "sig", item->signature);
    put_key_string(&to, "token", reply->token);
    put_ttl(&to, item);
    put_key_raw(&to, "v", item->value);
    put_values(&to, reply->values, reply->values_count);
    put_finish(&to, reply->transaction, 'r');
    return finished(&to);
}

size_t krpc_encode_error(struct bytes transaction, const struct address *to_address, int32_t code,
                         struct bytes text, uint8_t *ret_data, size_t capacity)
{
    struct writer to;

    if (text.size > KRPC_ERROR_TEXT_MAX)
        text.size = KRPC_ERROR_TEXT_MAX;
    writer_init(&to, ret_data, capacity);
    writer_u8(&to, 'd');
    put_literal(&to, "1:e");
    bencode_put_list(&to);
    bencode_put_int(&to, code);
    bencode_put_string(&to, text);
    bencode_put_end(&to);
    if (to_address) {
        uint8_t compact[ADDRESS_COMPACT_V6];

        put_key_string(&to, "ip", bytes_of(compact, address_to_compact(to_address, compact)));
    }
    put_finish(&to, transaction, 'e');
    return finished(&to);
}

static void put_want(struct writer *to, const struct krpc_query *query)
{
    if (!query->want_v4 && !query->want_v6)
        return;
    bencode_put_text(to, "want");
    bencode_put_list(to);
    if (query->want_v4)
        bencode_put_text(to, "n4");
    if (query->want_v6)
        bencode_put_text(to, "n6");
    bencode_put_end(to);
}

static void put_target(struct writer *to, const struct krpc_query *query)
{
    put_key_string(to, "target", bytes_of(query->target.bytes, NODE_ID_SIZE));
    put_want(to, query);
}

static void put_announce(struct writer *to, const struct krpc_query *query)
{
    put_key_string(to, "info_hash", bytes_of(query->target.bytes, NODE_ID_SIZE));
    put_key_int(to, "port", query->port);
    if (query->seed)
        put_key_int(to, "seed", 1);
    put_key_string(to, "token", query->token);
}

static void put_item(struct writer *to, const struct krpc_query *query)
{
    const struct krpc_item *item = &query->item;
    bool is_mutable = item->key.size > 0;

    put_key_string(to, "k", item->key);
    if (is_mutable) {
        put_key_string(to, "salt", item->salt);
        put_key_int(to, "seq", item->seq);
        put_key_string(to, "sig", item->signature);
    }
    put_key_string(to, "token", query->token);
    put_ttl(to, item);
    put_key_raw(to, "v", item->value);
}

/* The arguments whose keys come before "id". */
static void put_first_arguments(struct writer *to, const struct krpc_query *query)
{
    if (query->method == KRPC_CALL) {
        bencode_put_text(to, "b");
        bencode_put_string(to, query->body);
    }
    if (query->method == KRPC_PUT && query->has_cas)
        put_key_int(to, "cas", query->cas);
    if (query->method == KRPC_GET && query->check_s > 0)
        put_key_int(to, "chk", query->check_s);
}

/* The arguments after "id", in the order of their keys. */
static void put_arguments(struct writer *to, const struct krpc_query *query)
{
    switch (query->method) {
    case KRPC_GET:
        if (query->has_seq)
            put_key_int(to, "seq", query->seq);
        put_target(to, query);
        break;
    case KRPC_FIND_NODE:
    case KRPC_SAMPLE_INFOHASHES:
        put_target(to, query);
        break;
    case KRPC_GET_PEERS:
        put_key_string(to, "info_hash", bytes_of(query->target.bytes, NODE_ID_SIZE));
        put_want(to, query);
        break;
    case KRPC_ANNOUNCE_PEER:
        put_announce(to, query);
        break;
    case KRPC_PUT:
        put_item(to, query);
        break;
    case KRPC_OFFER:
        put_key_string(to, "offer", query->offer);
        break;
    case KRPC_CALL:
        put_key_string(to, "to", bytes_of_text(krpc_callee_text(query->callee)));
        break;
    default:
        break;
    }
}

size_t krpc_encode_query(const struct krpc_query *query,
                         const uint8_t transaction[KRPC_OWN_TRANSACTION], uint8_t *ret_data,
                         size_t capacity)
{
    struct writer to;

    assert(query->method < KRPC_UNKNOWN);
    writer_init(&to, ret_data, capacity);
    put_begin(&to, NULL, 'a');
    put_first_arguments(&to, query);
    put_id(&to, query->id);
    put_arguments(&to, query);
    put_literal(&to, "e1:q");
    bencode_put_text(&to, krpc_method_text(query->method));
    if (query->read_only)
        put_literal(&to, "2:roi1e");
    put_finish(&to, bytes_of(transaction, KRPC_OWN_TRANSACTION), 'q');
    return finished(&to);
}
