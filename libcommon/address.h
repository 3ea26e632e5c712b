/*
 * A UDP or TCP address. IPv4 is kept in its IPv6-mapped form (::ffff:a.b.c.d), so that one type
 * serves both; the compact form of BEP 5 and BEP 32 is its wire form. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ADDRESS_COMPACT_V4 6
#define ADDRESS_COMPACT_V6 18
#define ADDRESS_TEXT_SIZE  54 /* "[" 45 "]:" 65535 NUL */

struct sockaddr;
struct sockaddr_storage;

struct address {
    uint8_t ip[16];
    uint16_t port; /* host order */
};

/* A DHT node: who it says it is and where. Five words, and copied as such. */
struct contact {
    _Alignas(8) struct node_id id;
    struct address address;
};

static inline bool address_is_v4(const struct address *self)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

    return memcmp(self->ip, mapped, sizeof(mapped)) == 0;
}

static inline bool address_same_ip(const struct address *a, const struct address *b)
{
    return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static inline bool address_equal(const struct address *a, const struct address *b)
{
    return a->port == b->port && address_same_ip(a, b);
}

/* One /24, or in IPv6 one /64. */
bool address_same_subnet(const struct address *a, const struct address *b);
uint64_t address_hash(const struct address *self, uint64_t seed);

/* Not a place to send to: port 0, multicast, unspecified, IPv4 broadcast. */
bool address_is_usable(const struct address *self);

bool address_is_loopback(const struct address *self);

/* Loopback, RFC 1918, link local, unique local: inside a site. */
bool address_is_private(const struct address *self);

struct address address_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port);

/* 6 bytes or 18 bytes; any other size is LB_INVALID. */
LB_MUST_CHECK lb_err address_from_compact(struct bytes compact, struct address *ret_address);

/* Returns 6 or 18, the bytes written. */
size_t address_to_compact(const struct address *self, uint8_t ret_compact[ADDRESS_COMPACT_V6]);

LB_MUST_CHECK lb_err address_from_sockaddr(const struct sockaddr *from,
                                           struct address *ret_address);

/* For an IPv4 socket when the address is IPv4, else for an IPv6 one. Returns the length. */
unsigned address_to_sockaddr(const struct address *self, struct sockaddr_storage *ret_to);

/* "1.2.3.4:5" or "[::1]:5"; numeric only. LB_INVALID otherwise. */
LB_MUST_CHECK lb_err address_parse(const char *text, struct address *ret_address);
void address_format(const struct address *self, char ret_text[ADDRESS_TEXT_SIZE]);

/*
 * Which of `workers` (at least 1) transport workers receives datagrams from this address: the same
 * sum as the kernel's steering program (listen.c writes it in classic BPF). By IP alone, not by
 * port. In 32-bit unsigned arithmetic, A the accumulator, every word as BPF_LD|BPF_W|BPF_ABS loads
 * it (network order read as a number):
 *
 *     IPv4: A = the source address            (offset 12 of the IP header)
 *     IPv6: A = w0 ^ w1 ^ w2 ^ w3, its words  (offsets 8, 12, 16, 20 of the IPv6 header)
 *     A ^= A >> 16
 *     A *= ADDRESS_WORKER_MUL_1
 *     A ^= A >> 15
 *     A *= ADDRESS_WORKER_MUL_2
 *     A ^= A >> 16
 *     worker = A % workers
 */
#define ADDRESS_WORKER_MUL_1 0x7feb352du
#define ADDRESS_WORKER_MUL_2 0x846ca68bu
unsigned address_worker(const struct address *self, unsigned workers);
