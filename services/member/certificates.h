/*
 * Certificates by node id: our own is kept at the nodes closest to our id, at the start, every hour
 * and at each renewal; another node's is fetched from itself or from where it keeps its own, and
 * counts only if its chain, its time and its id do, and the node is not denied.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"
#include "libcommon/pki/certificate.h"
#include "proto/peer.pb-c.h"

#include <openssl/types.h>
#include <stdint.h>

struct certificates;
struct member;

struct certificates *certificates_new(struct member *member);
void certificates_free(struct certificates **self);
void certificates_tick(struct certificates *self, uint64_t now_ms);
void certificates_renewed(struct certificates *self); /* ours is another: put it out soon */

/* Ours, for who asks us; points into itself. False: it does not fit into one answer. */
struct certificates_own {
    Lb__Peer__Certificate message;
    uint8_t leaf[CERTIFICATE_DER_MAX];
    uint8_t intermediate[CERTIFICATE_DER_MAX];
};
bool certificates_own(const struct certificates *self, bool intermediate_only,
                      struct certificates_own *ret_own);

/*
 * The leaf of a node, from one of these nodes. Called once; from inside when it is known already or
 * nobody can be asked. leaf is borrowed; NULL unless err is LB_OK. LB_NOT_FOUND: none of them has
 * one. LB_DENIED: the one there is does not count (it has ended, or the network has put that node
 * out).
 */
typedef void certificate_fn(void *ctx, lb_err err, X509 *leaf);
void certificates_get(struct certificates *self, const struct node_id *node,
                      const struct contact *closest, unsigned count, certificate_fn *on_got,
                      void *ctx);
