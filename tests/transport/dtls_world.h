/*
 * Members of one private network, each an end of DTLS, and a network between them that loses,
 * copies and delays, with one virtual clock and one seed.
 *
 * OpenSSL's timers for flights read gettimeofday(): this file has one of its own, and the program
 * that links it gives its time to libssl too. It stands still between two events.
 */
#pragma once

#include "libcommon/random.h"
#include "services/transport/dtls.h"
#include "tests/libcommon/pki_fixture.h"

#include <stdbool.h>
#include <stdint.h>

#define DTLS_ENDS_MAX    16
#define DTLS_PACKETS_MAX 4096
#define DTLS_PACKET_SIZE 1600

struct dtls_net;

struct dtls_end {
    struct dtls_net *net;
    struct address address;
    struct pki_member member;
    struct membership *membership;
    struct secrets secrets;
    struct dtls *dtls;
    unsigned opened;                   /* how often it was told that a session is open */
    unsigned received;                 /* payloads */
    uint8_t payload[DTLS_PACKET_SIZE]; /* the last one */
    size_t payload_size;
    struct node_id payload_node;
    unsigned sent; /* datagrams */
    size_t largest, sent_bytes;
    bool is_cut; /* nothing goes there or comes from there */
};

struct dtls_packet {
    uint64_t at_us;
    struct address from, to;
    size_t size;
    uint8_t data[DTLS_PACKET_SIZE];
};

struct dtls_net {
    struct pki_network pki;
    struct dtls_end ends[DTLS_ENDS_MAX];
    unsigned count;
    struct random random;
    uint64_t now_us;
    uint64_t now_s;
    /* In thousand; delays are even from least to most. */
    unsigned loss, copies;
    uint64_t delay_least_us, delay_most_us;
    struct dtls_packet *packets; /* DTLS_PACKETS_MAX, in no order */
    unsigned packets_count;
    /* Sees every datagram that is sent, before it is lost; may alter it. False: it is taken out. */
    bool (*tap)(void *ctx, struct dtls_packet *packet);
    void *tap_ctx;
};

/* So many members at 10.0.0.1, 10.0.0.2, ...; limits NULL: the default. */
void dtls_net_make(struct dtls_net *self, unsigned count, const struct dtls_limits *limits,
                   uint64_t seed);
void dtls_net_done(struct dtls_net *self);

/* A further end whose certificate has this flaw, as a client and server of ours have it. */
struct dtls_end *dtls_net_add(struct dtls_net *self, enum pki_flaw flaw,
                              const struct dtls_limits *limits);

/* It is another process at the same address now: its sessions are forgotten, its secrets stay. */
void dtls_end_restart(struct dtls_end *self);

/* Until nothing is on its way and nothing is due, or this time has passed. */
void dtls_net_run(struct dtls_net *self, uint64_t for_us);

/* Put a datagram on its way. */
void dtls_net_inject(struct dtls_net *self, const struct address *from, const struct address *to,
                     struct bytes data);

/* Ask for a session and run until it is there: false when it does not come in this time. */
bool dtls_end_open(struct dtls_end *self, struct dtls_end *to, uint64_t for_us);

/* A payload goes there and arrives. */
bool dtls_end_talks(struct dtls_end *self, struct dtls_end *to);

bool dtls_end_has(const struct dtls_end *self, const struct dtls_end *peer);
uint64_t dtls_end_refusals(const struct dtls_end *self, enum certificate_refusal refusal);
void dtls_net_check(const struct dtls_net *self);
