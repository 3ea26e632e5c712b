#include "services/swarm/order.h"

#include "libcommon/bencode.h"

#include <string.h>

#define TOKENS_MAX 64

static const char *const kinds[] = { [ORDER_FETCH] = "fetch", [ORDER_SHARE] = "share" };

static void put_number(struct writer *to, const char *key, uint64_t number)
{
    bencode_put_text(to, key);
    bencode_put_int(to, (int64_t)number);
}

static void put_text(struct writer *to, const char *key, const char *text)
{
    bencode_put_text(to, key);
    bencode_put_text(to, text);
}

/* What is as if it had not been said is left out. */
static void put_text_if_any(struct writer *to, const char *key, const char *text)
{
    if (text[0] != '\0')
        put_text(to, key, text);
}

static void put_number_if_any(struct writer *to, const char *key, uint64_t number)
{
    if (number != 0)
        put_number(to, key, number);
}

void order_encode(const struct order *self, struct writer *to)
{
    bencode_put_dict(to);
    put_number(to, "added", self->added_s);
    put_text_if_any(to, "base", self->base);
    put_number(to, "completed", self->completed_s);
    put_text_if_any(to, "device", self->device);
    put_text(to, "folder", self->folder);
    put_text_if_any(to, "identity", self->identity);
    bencode_put_text(to, "infohash");
    bencode_put_string(to, bytes_of(self->infohash, sizeof(self->infohash)));
    put_text(to, "kind", kinds[self->kind]);
    put_text(to, "magnet", self->magnet);
    put_number_if_any(to, "priority", self->priority);
    put_number_if_any(to, "receive_limit", self->receive_limit);
    if (self->has_seed_for)
        put_number(to, "seed_for", self->seed_for_s);
    put_text_if_any(to, "select", self->select);
    put_number_if_any(to, "send_limit", self->send_limit);
    put_number_if_any(to, "verified", self->verified_s);
    put_number_if_any(to, "verify", self->verify);
    put_number(to, "version", ORDER_VERSION);
    bencode_put_end(to);
}

static bool read_number(const struct bencode *bencode, const char *key, uint64_t max,
                        uint64_t *ret_number)
{
    int64_t number;

    if (!bencode_int(bencode, bencode_find(bencode, 0, key), &number) || number < 0 ||
        (uint64_t)number > max)
        return false;
    *ret_number = (uint64_t)number;
    return true;
}

static bool read_text(const struct bencode *bencode, const char *key, char *ret_text, size_t size)
{
    uint32_t token = bencode_find_type(bencode, 0, key, BENCODE_STRING);
    struct bytes text = bencode_string(bencode, token);

    if (token == BENCODE_NONE || text.size >= size ||
        (text.size > 0 && memchr(text.data, '\0', text.size)))
        return false;
    if (text.size > 0)
        memcpy(ret_text, text.data, text.size);
    ret_text[text.size] = '\0';
    return true;
}

static bool is_there(const struct bencode *bencode, const char *key)
{
    return bencode_find(bencode, 0, key) != BENCODE_NONE;
}

/* What came after version 1: absent, it stays as it is. */
static bool read_later(const struct bencode *bencode, struct order *order)
{
    struct {
        const char *key;
        uint64_t max, *number;
    } numbers[] = {
        { "receive_limit", INT64_MAX, &order->receive_limit },
        { "send_limit", INT64_MAX, &order->send_limit },
        { "verified", INT64_MAX, &order->verified_s },
    };
    struct {
        const char *key;
        char *text;
        size_t size;
    } texts[] = {
        { "base", order->base, sizeof(order->base) },
        { "device", order->device, sizeof(order->device) },
        { "identity", order->identity, sizeof(order->identity) },
        { "select", order->select, sizeof(order->select) },
    };
    uint64_t priority = ORDER_PRIORITY, verify = 0;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (is_there(bencode, numbers[i].key) &&
            !read_number(bencode, numbers[i].key, numbers[i].max, numbers[i].number))
            return false;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (is_there(bencode, texts[i].key) &&
            !read_text(bencode, texts[i].key, texts[i].text, texts[i].size))
            return false;
    if (is_there(bencode, "priority") &&
        (!read_number(bencode, "priority", ORDER_PRIORITY_MAX, &priority) || priority == 0))
        return false;
    if (is_there(bencode, "verify") && !read_number(bencode, "verify", 1, &verify))
        return false;
    order->priority = (uint32_t)priority;
    order->verify = verify != 0;
    return (order->base[0] == '\0' || order->base[0] == '/') &&
           (order->device[0] == '\0' || order->device[0] == '/');
}

static bool read_kind(const struct bencode *bencode, enum order_kind *ret_kind)
{
    struct bytes kind =
        bencode_string(bencode, bencode_find_type(bencode, 0, "kind", BENCODE_STRING));

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (bytes_equal_text(kind, kinds[i])) {
            *ret_kind = (enum order_kind)i;
            return true;
        }
    }
    return false;
}

static bool read_order(const struct bencode *bencode, struct order *order)
{
    struct bytes infohash =
        bencode_string(bencode, bencode_find_type(bencode, 0, "infohash", BENCODE_STRING));
    uint64_t seed_for = 0;

    order->has_seed_for = bencode_find(bencode, 0, "seed_for") != BENCODE_NONE;
    if (order->has_seed_for && !read_number(bencode, "seed_for", UINT32_MAX, &seed_for))
        return false;
    order->seed_for_s = (uint32_t)seed_for;
    if (infohash.size != sizeof(order->infohash))
        return false;
    memcpy(order->infohash, infohash.data, sizeof(order->infohash));
    return read_kind(bencode, &order->kind) &&
           read_number(bencode, "added", INT64_MAX, &order->added_s) &&
           read_number(bencode, "completed", INT64_MAX, &order->completed_s) &&
           read_text(bencode, "folder", order->folder, sizeof(order->folder)) &&
           order->folder[0] == '/' &&
           read_text(bencode, "magnet", order->magnet, sizeof(order->magnet)) &&
           read_later(bencode, order);
}

lb_err order_parse(struct bytes data, struct order *ret_self)
{
    struct bencode_limits limits = { .depth_max = 2, .strict_order = true };
    struct bencode_token tokens[TOKENS_MAX];
    struct order order = { 0 };
    struct bencode bencode;
    uint64_t version;

    if (data.size > ORDER_SIZE_MAX ||
        bencode_parse(&bencode, data, tokens, TOKENS_MAX, limits, NULL) != LB_OK ||
        !read_number(&bencode, "version", INT64_MAX, &version))
        return LB_CORRUPT;
    if (version == 0 || version > ORDER_VERSION)
        return LB_UNSUPPORTED;
    if (!read_order(&bencode, &order))
        return LB_CORRUPT;
    *ret_self = order;
    return LB_OK;
}
