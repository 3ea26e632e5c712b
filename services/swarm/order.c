#include "services/swarm/order.h"

#include "libcommon/bencode.h"

#include <string.h>

#define TOKENS_MAX 64

static const char *const kinds[] = { [ORDER_FETCH] = "fetch", [ORDER_SHARE] = "share" };

void order_encode(const struct order *self, struct writer *to)
{
    bencode_put_dict(to);
    bencode_put_text(to, "added");
    bencode_put_int(to, (int64_t)self->added_s);
    bencode_put_text(to, "completed");
    bencode_put_int(to, (int64_t)self->completed_s);
    bencode_put_text(to, "folder");
    bencode_put_text(to, self->folder);
    bencode_put_text(to, "infohash");
    bencode_put_string(to, bytes_of(self->infohash, sizeof(self->infohash)));
    bencode_put_text(to, "kind");
    bencode_put_text(to, kinds[self->kind]);
    bencode_put_text(to, "magnet");
    bencode_put_text(to, self->magnet);
    if (self->has_seed_for) {
        bencode_put_text(to, "seed_for");
        bencode_put_int(to, self->seed_for_s);
    }
    bencode_put_text(to, "version");
    bencode_put_int(to, ORDER_VERSION);
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
           read_text(bencode, "magnet", order->magnet, sizeof(order->magnet));
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
    if (version != ORDER_VERSION)
        return LB_UNSUPPORTED;
    if (!read_order(&bencode, &order))
        return LB_CORRUPT;
    *ret_self = order;
    return LB_OK;
}
