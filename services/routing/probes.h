/*
 * The contacts to be pinged: a short queue without duplicates, emptied at a bounded rate, so that
 * no flood of spoofed queries makes us a source of pings. Pure.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROBES_QUEUE_MAX                                                                           \
    64u /* what comes when it is full is dropped; it will be heard of again                        \
         */
#define PROBES_PER_S 50u
#define PROBES_BURST 32u

enum probe_reason {
    PROBE_MET,      /* another node told us of it */
    PROBE_HEARD,    /* it sent us a query */
    PROBE_ENTRY,    /* it is in the table and due */
    PROBE_CHALLENGE /* another address, rival, answers with its id */
};

struct probe {
    struct contact contact;
    struct contact rival; /* PROBE_CHALLENGE */
    enum probe_reason reason;
    uint64_t not_before_ms;
};

struct probes {
    struct probe *queue; /* allocated at first use */
    size_t count;
    uint64_t credit; /* thousandths of a ping */
    uint64_t credit_ms;
};

void probes_init(struct probes *self, uint64_t now_ms);
void probes_done(struct probes *self);

/* Whether it was taken: not when its address is there already, nor when the queue is full. */
bool probes_add(struct probes *self, const struct probe *probe);
bool probes_next(struct probes *self, uint64_t now_ms, struct probe *ret_probe);
uint64_t probes_deadline_ms(const struct probes *self);

/* No ping for a node of this id, nor for its sake. */
void probes_forget(struct probes *self, const struct node_id *id);

/* Give back what could not be sent. */
void probes_return(struct probes *self, const struct probe *probe);
