/*
 * Outcomes: who finished and went, so that the origin can tell at the end of the day. A ring: with
 * OUTCOMES_MAX in it a newcomer takes the place of the oldest. Pure; allocates as it grows.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "services/swarm/report.h"

#define OUTCOMES_MAX        4096u
#define OUTCOME_CLIENT_SIZE 33u

struct outcome {
    struct address address;
    char client[OUTCOME_CLIENT_SIZE]; /* what it calls its program; may be "" */
    char host[REPORT_HOST_SIZE];
    uint64_t received_bytes; /* by us from it */
    uint64_t sent_bytes;
    uint64_t finished_ms;
    bool verified;
    bool cooperative;
};

struct outcomes {
    struct outcome *items;
    uint32_t count;
    uint32_t capacity;
    uint32_t oldest; /* once it is full */
    bool changed;    /* since whoever keeps them looked */
};

void outcomes_done(struct outcomes *self);

/* Both clocks at one moment: an outcome counts by the steady one, what is kept by the wall clock.
 */
struct outcomes_clock {
    uint64_t now_ms;
    uint64_t wall_s;
};

/* As they are kept on the disk, at most 1.5 MiB; the caller frees *ret_data. */
void outcomes_encode(const struct outcomes *self, const struct outcomes_clock *clock,
                     uint8_t **ret_data, size_t *ret_size);

/* Added to those there are, as far as they make sense. LB_CORRUPT, LB_TOO_BIG: none was. */
LB_MUST_CHECK lb_err outcomes_parse(struct outcomes *self, struct bytes data,
                                    const struct outcomes_clock *clock);

/*
 * The same host: the same address, or, of one that names itself, the same address but for the port
 * and the same name. NULL: it is not there.
 */
struct outcome *outcomes_find(const struct outcomes *self, const struct address *address,
                              const char *host);

/* One that finished goes: what is known of it already stays, and its bytes are added. */
void outcomes_add(struct outcomes *self, const struct outcome *outcome);
