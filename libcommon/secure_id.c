#include "libcommon/secure_id.h"

#include "libcommon/random.h"

#include <stddef.h>

/* CRC-32C (Castagnoli), bit by bit: at most 8 bytes. */
static uint32_t crc32c(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* BEP 42, "Node ID restriction": the first 21 bits of an id whose last byte is `last`. */
static uint32_t prefix_of(const struct address *address, uint8_t last)
{
    static const uint8_t mask_v4[4] = { 0x03, 0x0f, 0x3f, 0xff };
    static const uint8_t mask_v6[8] = { 0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff };
    bool is_v4 = address_is_v4(address);
    const uint8_t *mask = is_v4 ? mask_v4 : mask_v6;
    const uint8_t *ip = is_v4 ? address->ip + 12 : address->ip;
    size_t size = is_v4 ? sizeof(mask_v4) : sizeof(mask_v6);
    uint8_t octets[8];

    for (size_t i = 0; i < size; i++)
        octets[i] = ip[i] & mask[i];
    octets[0] |= (uint8_t)((last & 7u) << 5);
    return crc32c(octets, size) & 0xfffff800u;
}

bool secure_id_fits(const struct node_id *id, const struct address *address)
{
    uint32_t prefix = (uint32_t)id->bytes[0] << 24 | (uint32_t)id->bytes[1] << 16 |
                      (uint32_t)(id->bytes[2] & 0xf8u) << 8;

    return address_is_private(address) || prefix == prefix_of(address, id->bytes[NODE_ID_SIZE - 1]);
}

struct node_id secure_id_random(const struct address *address, struct random *random)
{
    struct node_id id = node_id_random(random);

    if (!address_is_private(address)) {
        uint32_t prefix = prefix_of(address, id.bytes[NODE_ID_SIZE - 1]);
        id.bytes[0] = (uint8_t)(prefix >> 24);
        id.bytes[1] = (uint8_t)(prefix >> 16);
        id.bytes[2] = (uint8_t)((prefix >> 8 & 0xf8u) | (id.bytes[2] & 0x07u));
    }
    return id;
}
