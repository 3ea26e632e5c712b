/*
 * Finding nodes of the same network on the local net: when to announce ourselves, and whom of those
 * heard to join through. The messages are those of local service discovery (libcommon/lsd.h, BEP
 * 14): the infohash is discovery_infohash() of the network's name (of a private one its id, in
 * digits), the port our UDP port. Two words in X-Littlebird say what others need to know:
 *
 *     alone   it knows nobody: one of those who do is to announce itself
 *     client  it answers no queries (BEP 43): nobody is to join through it
 *
 * A node announces itself at its start, then at intervals that double from DISCOVERY_FIRST_MS,
 * while alone to DISCOVERY_ALONE_MS, else to DISCOVERY_MOST_MS. Who hears one that is alone, and is
 * not itself, announces itself after a random part of DISCOVERY_ANSWER_MS, unless somebody else
 * does first (as IGMP reports do, RFC 2236, 3): of a thousand hearers one or two speak. The one
 * that is alone joins through whom it hears; who is not alone takes up those that it does not know
 * with a chance that falls with the size of its table, which is what joins two halves of a net. So
 * N starts cost O(N) multicasts and O(N) queries. Pure; libsodium does the hash.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/lsd.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISCOVERY_START_MS  300u /* the first announcement comes within this time */
#define DISCOVERY_FIRST_MS  4000u
#define DISCOVERY_ALONE_MS  30000u
#define DISCOVERY_MOST_MS   300000u
#define DISCOVERY_ANSWER_MS 1000u
#define DISCOVERY_REST_MS   2000u /* from an announcement of ours to an answer */
#define DISCOVERY_ADDS      4u    /* nodes taken up at once, then one every DISCOVERY_ADD_MS */
#define DISCOVERY_ADD_MS    60000u
#define DISCOVERY_SMALL     8u /* contacts with which the chance of taking up another is a half */

#define DISCOVERY_ALONE  "alone"
#define DISCOVERY_CLIENT "client"

struct random;

struct discovery {
    struct random *random; /* borrowed */
    bool client;           /* we are one */
    bool was_alone;
    uint64_t announce_ms; /* the next announcement */
    uint64_t interval_ms; /* from it to the one after */
    uint64_t answer_ms;   /* the next answer; UINT64_MAX: nobody waits for one */
    uint64_t rested_ms;   /* no answer before */
    uint64_t adds_ms;     /* when DISCOVERY_ADDS may be taken up again */
};

/* What an announcement of another node of this network said. */
struct discovery_heard {
    bool alone, client;
    bool known; /* its address is in our table */
};

/* The first 20 bytes of SHA-256 of "littlebird network " and the network's name. */
void discovery_infohash(const char *network, uint8_t ret_hash[LSD_HASH_SIZE]);

/* random is kept. */
void discovery_init(struct discovery *self, bool client, struct random *random, uint64_t now_ms);

/* contacts: how many the table holds. True: join through it. */
bool discovery_heard(struct discovery *self, const struct discovery_heard *heard, size_t contacts,
                     uint64_t now_ms);

/* True: announce ourselves now. */
bool discovery_next(struct discovery *self, size_t contacts, uint64_t now_ms);

/* When to call discovery_next() again, as long as we hear nothing and the table stays as it is. */
uint64_t discovery_deadline_ms(const struct discovery *self);
