/*
 * The TLS door of a coordinator: coordinator.listen, for those who join, members, and other
 * coordinators (proto/join.proto, raft_wire.h). Anybody may knock, so all is bounded.
 */
#pragma once

#include "libcommon/error.h"

#include <stdint.h>

#define DOOR_CONNECTIONS_MAX 1024u
#define DOOR_PER_IP_MAX      256u   /* or /64: a class may sit behind one; others are turned away */
#define DOOR_IDLE_MS         30000u /* without a request */
#define DOOR_BACKLOG         512

struct coordinator;
struct door; /* opaque */

/* Sockets that were handed over, or else bound here. LB_IO, LB_DENIED, LB_INVALID. */
LB_MUST_CHECK lb_err door_open(struct coordinator *coordinator, struct door **ret_self);
void door_close(struct door **self);

void door_tick(struct door *self, uint64_t now_ms);
