/*
 * Certificates by node id: our own is kept at the nodes closest to our id, at the start, every hour
 * and at each renewal; another node's is fetched from itself or from where it keeps its own, and
 * counts only if its chain, its time and its id do, and the node is not denied.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"

#include <openssl/types.h>
#include <stdint.h>

struct certificates;
struct member;

struct certificates *certificates_new(struct member *member);
void certificates_free(struct certificates **self);
void certificates_tick(struct certificates *self, uint64_t now_ms);
void certificates_renewed(struct certificates *self); /* ours is another: put it out soon */

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
