/*
 * How coordinators speak Raft: libraft's own bytes inside mutual TLS 1.3. libraft's TCP transport
 * authenticates nobody, and who reaches it can vote and append entries, and so is the authority
 * (THREATS 0.1). This one gives it a local socket pair whose other half is pumped through TLS.
 *
 * Whoever connects shows a certificate of this network with the coordinator's role, and says first
 *
 *     u64 its server number | u16 size, its address HOST:PORT
 *
 * which must be the one that the register has for the node of the certificate. A number that the
 * register does not know yet is taken from who is a coordinator by its certificate: who was away
 * while others were added could otherwise never be told of them. A number that was given out once
 * and is no longer in the register is refused.
 */
#pragma once

#include "libcommon/pki/certificate.h"
#include "services/coordinator/secure.h"

#include <raft/uv.h>

#define RAFT_WIRE_ADDRESS_MAX 263

/* What it asks of the coordinator. */
struct raft_wire_world {
    SSL_CTX *(*context)(void *ctx); /* to connect with, borrowed */
    /* Who is there, by the certificate; false: nobody we trust now. */
    bool (*check)(void *ctx, SSL *ssl, struct certificate_claims *ret_claims);
    /* May this node have that number? */
    bool (*is_server)(void *ctx, const struct node_id *node, uint64_t number);
    void (*on_refused)(void *ctx, const char *why);
    void *ctx;
};

struct raft_wire; /* opaque */

struct raft_wire *raft_wire_new(struct uv_loop_s *loop, const struct raft_wire_world *world);
/* After libraft has closed it. What is still open is closed. */
void raft_wire_free(struct raft_wire **self);

struct raft_uv_transport *raft_wire_transport(struct raft_wire *self);

/* An accepted connection whose ALPN is SECURE_ALPN_RAFT, just open. Takes it. */
void raft_wire_adopt(struct raft_wire *self, struct secure **secure);

/* Those whose node is denied now, or no coordinator any more, are closed. Returns how many. */
unsigned raft_wire_check_all(struct raft_wire *self);
