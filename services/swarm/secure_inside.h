/*
 * What the files of secure.h share: secure.c (a stream's life, its handshake, reading and writing),
 * secure_bio.c (what goes between OpenSSL and the stream beneath). Not for others.
 */
#pragma once

#include "services/swarm/secure.h"

#include <openssl/ssl.h>

#define RECORD_ROOM  (SECURE_RECORD_SIZE + 256u) /* a record with what is around it */
#define OUT_SIZE     (SECURE_BURST_MAX + 2 * RECORD_ROOM)
#define UNSENT_MAX   (SECURE_BURST_MAX + 4 * RECORD_ROOM)
#define HEAD_SIZE    5u /* of a record */
#define IS_HANDSHAKE 22 /* content type, RFC 8446 5.1 */
#define HEX_SIZE     41

struct secure {
    struct membership *membership;
    secure_knows_fn *knows;
    void *ctx;
    SSL_CTX *context;
    BIO_METHOD *method;

    /* Of the stream being read, or written, and empty in between. */
    uint8_t in[SECURE_READ_SIZE];
    size_t in_at, in_size;
    uint8_t out[OUT_SIZE];
    size_t out_size;
    uint8_t record[SECURE_RECORD_SIZE];

    size_t streams; /* that were not closed yet */
    bool freed;
};

struct secure_stream {
    struct secure *owner;
    struct stream lower;
    SSL *ssl; /* NULL: who calls has not said anything yet */
    bool outgoing;
    bool open;
    bool ended;  /* by the other side */
    bool failed; /* it is over; refusal says why */
    unsigned refusal;
    uint8_t infohash[20];
    struct certificate_claims peer;
    uint8_t head[HEAD_SIZE]; /* the first bytes of who calls, until OpenSSL takes them */
    uint32_t head_at, head_size;
    uint32_t burst;
    uint32_t extra; /* messages of the handshake after it */
    uint64_t received;
    uint8_t *unsent; /* encrypted, and not taken by the kernel */
    size_t unsent_at, unsent_size;
};

/* It is over; the first reason counts. */
void secure_refuse(struct secure_stream *self, unsigned refusal);

/* NULL: OpenSSL has no memory. A BIO's data is its stream. */
BIO_METHOD *secure_make_method(void);

/* One read of the kernel's for each of ours. False: nothing is there, or no more will be. */
bool secure_fill(struct secure_stream *self, size_t size_max);

/*
 * What was encrypted: to the kernel, or behind what it has not taken yet; and that again. False: it
 * is broken.
 */
bool secure_send_out(struct secure_stream *self);
bool secure_send_unsent(struct secure_stream *self);
bool secure_has_unsent(const struct secure_stream *self);
bool secure_would_wait(void);
