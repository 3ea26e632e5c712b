/*
 * Two ends of DTLS in one process, with what each costs kept apart: bench-dtls's handshakes and
 * memory. Datagrams go from one to the other as fast as they are taken.
 */
#pragma once

#include "services/transport/dtls.h"

#include <stdint.h>

#define ENDS_QUEUE 64

struct ends_side {
    struct ends *ends;
    struct dtls *dtls;
    struct address address;
    uint64_t cpu_ns;    /* of its calls */
    int64_t heap_bytes; /* that they left allocated */
};

struct ends {
    struct ends_side client, server;
    struct secrets secrets;
    uint64_t now_us;
    unsigned count;
    struct ends_datagram {
        bool to_server;
        struct address from;
        size_t size;
        uint8_t data[2048];
    } queue[ENDS_QUEUE];
};

/* Memberships are borrowed. No limit is in the way. */
void ends_open(struct ends *self, struct membership *client, struct membership *server);
void ends_close(struct ends *self);

/* Another client in its place, at another address. */
void ends_another_client(struct ends *self, struct membership *client, const struct address *at);

/* A session from the client to the server; exits when it does not come to be. */
void ends_shake_hands(struct ends *self);

/* Both ends forget it. */
void ends_forget(struct ends *self);
