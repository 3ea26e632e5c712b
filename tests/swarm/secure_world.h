/*
 * Secure streams without sockets: two ends of a pipe in memory that takes and gives as much at once
 * as a test says, and a rogue, who speaks TLS by OpenSSL and keeps to no rule of ours.
 */
#pragma once

#include "services/swarm/secure.h"
#include "tests/libcommon/pki_fixture.h"

#include <openssl/ssl.h>

#define PIPE_SIZE (4u * 1024 * 1024)

struct pipe {
    uint8_t *data;
    size_t at, size;
    size_t take_max; /* of one write; 0: it is full */
    size_t give_max; /* of one read */
    bool ended;
};

/* Ends 0 and 1; what end i writes, end 1 - i reads. */
struct secure_world {
    struct pki_network network;
    struct pki_member members[2];
    struct membership *memberships[2];
    struct secure *secures[2];
    struct pipe pipes[2]; /* by who writes */
    struct stream streams[2];
    uint8_t infohash[20]; /* what is known here */
};

void world_init(struct secure_world *self);
void world_init_aged(struct secure_world *self, uint64_t age_s); /* of their certificates */
void world_done(struct secure_world *self);

/* End `end` of the pipe, with TLS around it; infohash NULL: it is called. */
void world_open(struct secure_world *self, unsigned end, const uint8_t *infohash);

/* Until neither end has anything to say. */
void world_handshake(struct secure_world *self, enum stream_opening ret_opening[2]);

/* Both ends, 0 calls. */
void world_join(struct secure_world *self);

/* Revoke the member at this end, for the other. */
void world_revoke(struct secure_world *self, unsigned end);

/*
 * The other end of the pipe is OpenSSL itself: `ssl` (taken), against our stream at end 0. Returns
 * what became of ours.
 */
struct rogue {
    struct secure_world *world;
    SSL *ssl;
    BIO *in, *out;
};
void rogue_init(struct rogue *self, struct secure_world *world, SSL_CTX *context, bool calls,
                const char *name);
void rogue_done(struct rogue *self);
enum stream_opening rogue_handshake(struct rogue *self);

/* Bytes from OpenSSL to our stream, and back. */
void rogue_pump(struct rogue *self);
void pipe_put(struct pipe *self, const void *data, size_t size);
