/*
 * A bounded pool of worker threads for what must not block the event loop: disk and hashing.
 *
 * Each worker is a CZMQ actor; a job travels to it and back over its inproc pipe as one pointer.
 * `work` runs on a worker and touches only the job; `done` runs later on the loop, once for every
 * job, in no stated order. Jobs with the same non-zero `lane` run one after the other in order.
 */
#pragma once

#include "libcommon/error.h"

#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct pool;

/* Embed it first in a struct of your own. Yours from pool_submit's failure or `done` on. */
struct job {
    void (*work)(struct job *job);
    void (*done)(struct job *job, void *ctx);
    void *ctx;
    uint64_t lane; /* 0: any worker */
};

#define POOL_JOBS_MAX 4096

/* workers: 1 to 64. Returns when every worker runs. */
struct pool *pool_new(struct uv_loop_s *loop, unsigned workers);

/* Waits for the jobs under way, calls their `done`, then ends the workers. */
void pool_free(struct pool **self);

/* LB_FULL when POOL_JOBS_MAX jobs are under way: the job was not taken. */
LB_MUST_CHECK lb_err pool_submit(struct pool *self, struct job *job);
size_t pool_pending(const struct pool *self);
unsigned pool_workers(const struct pool *self);
