#include "libcommon/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9; /* the finalizer of splitmix64 */
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

uint64_t address_hash(const struct address *self, uint64_t seed)
{
    uint64_t hash = mix(seed ^ load_u64(self->ip));

    hash = mix(hash ^ load_u64(self->ip + 8));
    return mix(hash ^ self->port);
}

bool address_is_usable(const struct address *self)
{
    static const uint8_t unspecified[16];

    if (self->port == 0)
        return false;
    if (address_is_v4(self)) {
        uint32_t ip = load_u32(self->ip + 12);

        return ip >> 28 != 14 && ip != 0 && ip != UINT32_MAX;
    }
    return self->ip[0] != 0xff && memcmp(self->ip, unspecified, sizeof(unspecified)) != 0;
}

bool address_same_subnet(const struct address *a, const struct address *b)
{
    /* IPv4 stands mapped in bytes 12 to 15: its /24 ends after 15 bytes. */
    return memcmp(a->ip, b->ip, address_is_v4(a) ? 15 : 8) == 0;
}

bool address_is_loopback(const struct address *self)
{
    static const uint8_t loopback[16] = { [15] = 1 };

    return address_is_v4(self) ? self->ip[12] == 127
                               : memcmp(self->ip, loopback, sizeof(loopback)) == 0;
}

bool address_is_private(const struct address *self)
{
    if (address_is_loopback(self))
        return true;
    if (address_is_v4(self)) {
        const uint8_t *ip = self->ip + 12;

        return ip[0] == 10 || (ip[0] == 172 && ip[1] >> 4 == 1) || (ip[0] == 192 && ip[1] == 168) ||
               (ip[0] == 169 && ip[1] == 254);
    }
    return (self->ip[0] & 0xfe) == 0xfc || (self->ip[0] == 0xfe && self->ip[1] >> 6 == 2);
}

static struct address from_v4(const uint8_t ip[4], uint16_t port)
{
    struct address address = { .port = port };

    memcpy(address.ip, mapped_prefix, sizeof(mapped_prefix));
    memcpy(address.ip + 12, ip, 4);
    return address;
}

static struct address from_v6(const uint8_t ip[16], uint16_t port)
{
    struct address address = { .port = port };

    memcpy(address.ip, ip, 16);
    return address;
}

struct address address_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return from_v4((const uint8_t[4]){ a, b, c, d }, port);
}

lb_err address_from_compact(struct bytes compact, struct address *ret_address)
{
    if (compact.size == ADDRESS_COMPACT_V4)
        *ret_address = from_v4(compact.data, load_u16(compact.data + 4));
    else if (compact.size == ADDRESS_COMPACT_V6)
        *ret_address = from_v6(compact.data, load_u16(compact.data + 16));
    else
        return LB_INVALID;
    return LB_OK;
}

size_t address_to_compact(const struct address *self, uint8_t ret_compact[ADDRESS_COMPACT_V6])
{
    if (address_is_v4(self)) {
        memcpy(ret_compact, self->ip + 12, 4);
        store_u16(ret_compact + 4, self->port);
        return ADDRESS_COMPACT_V4;
    }
    memcpy(ret_compact, self->ip, 16);
    store_u16(ret_compact + 16, self->port);
    return ADDRESS_COMPACT_V6;
}

lb_err address_from_sockaddr(const struct sockaddr *from, struct address *ret_address)
{
    if (from->sa_family == AF_INET) {
        struct sockaddr_in v4;
        uint8_t ip[4];

        memcpy(&v4, from, sizeof(v4));
        memcpy(ip, &v4.sin_addr, sizeof(ip));
        *ret_address = from_v4(ip, ntohs(v4.sin_port));
        return LB_OK;
    }
    if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;

        memcpy(&v6, from, sizeof(v6));
        *ret_address = from_v6(v6.sin6_addr.s6_addr, ntohs(v6.sin6_port));
        return LB_OK;
    }
    return LB_INVALID;
}

unsigned address_to_sockaddr(const struct address *self, struct sockaddr_storage *ret_to)
{
    memset(ret_to, 0, sizeof(*ret_to));
    if (address_is_v4(self)) {
        struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(self->port) };

        memcpy(&v4.sin_addr, self->ip + 12, 4);
        memcpy(ret_to, &v4, sizeof(v4));
        return sizeof(v4);
    }
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(self->port) };

    memcpy(&v6.sin6_addr, self->ip, 16);
    memcpy(ret_to, &v6, sizeof(v6));
    return sizeof(v6);
}

/* 1 to 5 digits up to the end of text. */
static bool parse_port(const char *text, uint16_t *ret_port)
{
    unsigned port = 0;
    size_t digits = 0;

    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 6; digits++)
        port = 10 * port + (unsigned)(text[digits] - '0');
    if (digits == 0 || digits > 5 || text[digits] != '\0' || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

lb_err address_parse(const char *text, struct address *ret_address)
{
    bool bracketed = text[0] == '[';
    const char *host = text + bracketed;
    const char *end = bracketed ? strchr(host, ']') : strchr(host, ':');
    char copy[INET6_ADDRSTRLEN];
    uint8_t ip[16];
    uint16_t port;

    if (!end || (size_t)(end - host) >= sizeof(copy))
        return LB_INVALID;
    memcpy(copy, host, (size_t)(end - host));
    copy[end - host] = '\0';
    if (bracketed && *++end != ':')
        return LB_INVALID;
    if (!parse_port(end + 1, &port) || inet_pton(bracketed ? AF_INET6 : AF_INET, copy, ip) != 1)
        return LB_INVALID;
    *ret_address = bracketed ? from_v6(ip, port) : from_v4(ip, port);
    return LB_OK;
}

void address_format(const struct address *self, char ret_text[ADDRESS_TEXT_SIZE])
{
    bool v4 = address_is_v4(self);
    char ip[INET6_ADDRSTRLEN];

    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? self->ip + 12 : self->ip, ip, sizeof(ip));
    snprintf(ret_text, ADDRESS_TEXT_SIZE, v4 ? "%s:%u" : "[%s]:%u", ip, (unsigned)self->port);
}

unsigned address_worker(const struct address *self, unsigned workers)
{
    uint32_t sum = load_u32(self->ip + 12);

    assert(workers > 0);
    if (!address_is_v4(self))
        sum ^= load_u32(self->ip) ^ load_u32(self->ip + 4) ^ load_u32(self->ip + 8);
    sum ^= sum >> 16;
    sum *= ADDRESS_WORKER_MUL_1;
    sum ^= sum >> 15;
    sum *= ADDRESS_WORKER_MUL_2;
    sum ^= sum >> 16;
    return sum % workers;
}
