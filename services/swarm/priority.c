#include "services/swarm/priority.h"

#include <string.h>

#define CASTAGNOLI_REVERSED 0x82f63b78u

uint32_t priority_crc32c(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? CASTAGNOLI_REVERSED : 0);
    }
    return ~crc;
}

static uint32_t by_ports(const struct address *a, const struct address *b)
{
    const uint16_t low = a->port < b->port ? a->port : b->port;
    const uint16_t high = a->port < b->port ? b->port : a->port;
    const uint8_t data[4] = { (uint8_t)(low >> 8), (uint8_t)low, (uint8_t)(high >> 8),
                              (uint8_t)high };
    return priority_crc32c(data, sizeof data);
}

/*
 * How many bytes stay whole: `least`, and one more than what is equal beyond that; of the others
 * every second bit goes.
 */
static void mask(const uint8_t *ip, const uint8_t *other, size_t size, size_t least,
                 uint8_t *ret_masked)
{
    size_t whole = least;
    if (memcmp(ip, other, least) == 0)
        for (whole = least + 1; whole < size && memcmp(ip, other, whole) == 0;)
            whole++;
    for (size_t i = 0; i < size; i++)
        ret_masked[i] = i < whole ? ip[i] : ip[i] & 0x55;
}

uint32_t priority_of(const struct address *a, const struct address *b)
{
    const bool v4 = address_is_v4(a);
    if (v4 != address_is_v4(b))
        return 0;
    if (address_same_ip(a, b))
        return by_ports(a, b);
    const size_t size = v4 ? 4 : 16;
    const uint8_t *ip_a = a->ip + (v4 ? 12 : 0);
    const uint8_t *ip_b = b->ip + (v4 ? 12 : 0);
    /* In order, the smaller first, as they stand before the masking. */
    const bool in_order = memcmp(ip_a, ip_b, size) < 0;
    uint8_t data[32];
    mask(ip_a, ip_b, size, v4 ? 2 : 6, data + (in_order ? 0 : size));
    mask(ip_b, ip_a, size, v4 ? 2 : 6, data + (in_order ? size : 0));
    return priority_crc32c(data, 2 * size);
}
