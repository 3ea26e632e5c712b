/*
 * Inside the KRPC decoder: what krpc.c (one pass over the datagram) and krpc_check.c (what a
 * message must hold) share.
 */
#pragma once

#include "services/transport/krpc.h"

#define KRPC_BODY_DEPTH  2 /* open inside "a" or "r" */
#define KRPC_VALUE_DEPTH (KRPC_DEPTH_MAX - KRPC_BODY_DEPTH)

/*
 * Set self->method, and self->fault when the arguments are not what it needs. wrong: KRPC_HAS_ bits
 * of known keys that had a value of another kind.
 */
void krpc_check_query(struct krpc_message *self, struct bytes method, uint32_t wrong);

const char *krpc_callee_text(enum krpc_callee callee);

/* False when this is no reply at all; a single malformed result is left out of *self. */
bool krpc_check_reply(struct krpc_message *self, uint32_t wrong);
