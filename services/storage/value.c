#include "services/storage/value.h"

#include "libcommon/bencode.h"
#include "services/storage/item.h"
#include "services/storage/tree.h"

#include <string.h>

/* With their NUL. */
static const char shared_domain[] = "littlebird shared key 1";
static const char private_domain[] = "littlebird private key 1";

lb_err value_shared_seed(const char *network, struct bytes key, uint8_t ret_seed[ED25519_SEED_SIZE])
{
    uint8_t buffer[sizeof shared_domain + 4 + VALUE_NETWORK_MAX + VALUE_KEY_MAX];
    size_t network_size = strnlen(network, VALUE_NETWORK_MAX + 1);
    struct writer writer;

    if (network_size > VALUE_NETWORK_MAX || key.size == 0 || key.size > VALUE_KEY_MAX)
        return LB_INVALID;
    writer_init(&writer, buffer, sizeof buffer);
    writer_put(&writer, shared_domain, sizeof shared_domain);
    writer_u32(&writer, (uint32_t)network_size);
    writer_put(&writer, network, network_size);
    writer_put(&writer, key.data, key.size);
    sha256(bytes_of(buffer, writer.size), ret_seed);
    return LB_OK;
}

lb_err value_private_seed(const uint8_t network[NETWORK_ID_SIZE], struct bytes key,
                          uint8_t ret_seed[ED25519_SEED_SIZE])
{
    uint8_t buffer[sizeof private_domain + NETWORK_ID_SIZE + VALUE_KEY_MAX];
    struct writer writer;

    if (key.size == 0 || key.size > VALUE_KEY_MAX)
        return LB_INVALID;
    writer_init(&writer, buffer, sizeof buffer);
    writer_put(&writer, private_domain, sizeof private_domain);
    writer_put(&writer, network, NETWORK_ID_SIZE);
    writer_put(&writer, key.data, key.size);
    sha256(bytes_of(buffer, writer.size), ret_seed);
    return LB_OK;
}

struct bytes value_removal(void)
{
    return bytes_of_text("d9:lbremovedi1ee");
}

enum value_kind value_unwrap(struct bytes value, struct bytes *ret_raw)
{
    struct bencode_token token;
    const struct bencode_limits limits = { .depth_max = 1, .strict_order = false };
    struct bencode parsed;

    *ret_raw = value;
    if (bencode_parse(&parsed, value, &token, 1, limits, NULL) == LB_OK &&
        token.type == BENCODE_STRING) {
        *ret_raw = bencode_string(&parsed, 0);
        return VALUE_PLAIN;
    }
    if (bytes_equal(value, value_removal()))
        return VALUE_REMOVED;
    return tree_is_root(value) ? VALUE_TREE : VALUE_FOREIGN;
}

lb_err value_next_seq(uint64_t highest_seq, uint64_t wall_ms, uint64_t *ret_seq)
{
    if (highest_seq >= ITEM_SEQ_MAX)
        return LB_FULL;
    *ret_seq = wall_ms > highest_seq && wall_ms <= ITEM_SEQ_MAX ? wall_ms : highest_seq + 1;
    return LB_OK;
}
