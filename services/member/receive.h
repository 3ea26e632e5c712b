/* A sealed message that has come: opened, and put into the inbox. */
#pragma once

#include "services/member/inbox.h"

#include <stddef.h>
#include <stdint.h>

struct member;
struct receiving;

enum received {
    RECEIVED_IN,     /* on disk, or had been */
    RECEIVED_BAD,    /* for somebody else, altered, forged: it never will count */
    RECEIVED_DENIED, /* by who does not count now, or too old, or from the future */
    RECEIVED_FULL,
    RECEIVED_NOT /* the disk, or the end of the process: another time */
};

/* Called once, later; from inside only when POOL_JOBS_MAX jobs are under way. */
typedef void received_fn(void *ctx, enum received received);

struct receiving *receiving_new(struct member *member);
void receiving_free(struct receiving **self);

/* Takes sealed. id: its SHA-256, which the caller has compared. */
void receive(struct member *self, uint8_t *sealed, size_t size, const uint8_t id[INBOX_ID_SIZE],
             received_fn *on_received, void *ctx);

/*
 * May this node hand over another whole message now? Opening one takes a millisecond: each node may
 * in bursts of RECEIVE_BURST, and RECEIVE_PER_S after that. Counts it.
 */
#define RECEIVE_BURST   256u
#define RECEIVE_PER_S   16u
#define RECEIVE_CALLERS 64u /* that are remembered; the one longest quiet is forgotten */
bool receive_may(struct member *self, const struct node_id *from);
