/*
 * What other nodes are asked: one lb_call to one of them, and lookups of the closest to an id.
 * Callbacks come once each, never from inside, with LB_CANCELLED when the process ends.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "proto/peer.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define ASK_CLOSEST_MAX 17u /* k of each family, and our own store */

struct member;

enum ask_service { ASK_MEMBER, ASK_STORAGE };

/* reply is NULL unless err is LB_OK; gone when this returns. LB_UNSUPPORTED: it is no reply. */
typedef void ask_fn(void *ctx, lb_err err, const Lb__Peer__Reply *reply);

/*
 * A node whose address is not usable is this one: its own store is asked, as it would be by another
 * node (ASK_STORAGE only).
 */
void ask_node(struct member *self, const struct contact *to, enum ask_service service,
              const Lb__Peer__Request *request, ask_fn *on_answer, void *ctx);

/* DenyNumber to every node there is a session with. */
void ask_tell_all(struct member *self, const Lb__Peer__Request *request);

/*
 * The nodes closest to target, the nearest first; our own store among them, its address not usable,
 * if it belongs there. closest is gone when this returns.
 */
typedef void closest_fn(void *ctx, lb_err err, const struct contact *closest, unsigned count);
void ask_closest(struct member *self, const struct node_id *target, uint32_t timeout_ms,
                 closest_fn *on_found, void *ctx);

/* Any good node of the routing table. LB_NOT_FOUND: there is none. */
typedef void any_fn(void *ctx, lb_err err, const struct contact *node);
void ask_for_any(struct member *self, any_fn *on_found, void *ctx);

struct bytes ask_bytes(const ProtobufCBinaryData *binary);
ProtobufCBinaryData ask_binary(struct bytes bytes);
