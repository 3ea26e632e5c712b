#include "libcommon/pool.h"

#include "libcommon/memory.h"
#include "libcommon/watch.h"

#include <assert.h>
#include <czmq.h>

#define WORKERS_MAX 64

struct worker {
    struct pool *pool;
    zactor_t *actor;
    struct watch *watch;
    size_t jobs; /* handed over and not yet done */
};

struct pool {
    struct worker workers[WORKERS_MAX];
    unsigned workers_count;
    size_t jobs;
    bool closing;
};

/* ---- on a worker ---- */

/* A job's pointer, worked on and sent back; what is not a pointer is CZMQ's "$TERM". */
static void work(zsock_t *pipe, void *arguments)
{
    void *socket = zsock_resolve(pipe);
    struct job *job;

    (void)arguments;
    zsock_signal(pipe, 0);
    for (;;) {
        int size = zmq_recv(socket, &job, sizeof job, 0);

        if (size < 0 && errno == EINTR)
            continue;
        if (size != (int)sizeof job)
            return;
        job->work(job);
        if (zmq_send(socket, &job, sizeof job, 0) < 0)
            return;
    }
}

/* ---- on the loop ---- */

static void *pipe_of(const struct worker *self)
{
    return zsock_resolve(self->actor);
}

static bool finish_one(struct worker *self, int flags)
{
    struct job *job;

    if (zmq_recv(pipe_of(self), &job, sizeof job, flags) != (int)sizeof job)
        return false;
    self->jobs--;
    self->pool->jobs--;
    job->done(job, job->ctx);
    return true;
}

static bool drain_pipe(void *ctx, void *socket)
{
    (void)socket;
    return finish_one(ctx, ZMQ_DONTWAIT);
}

struct pool *pool_new(struct uv_loop_s *loop, unsigned workers)
{
    struct pool *self = xcalloc(1, sizeof *self);

    assert(workers > 0 && workers <= WORKERS_MAX);
    zsys_handler_set(NULL);              /* signals are the actor's */
    zsys_set_pipehwm(2 * POOL_JOBS_MAX); /* a submit never blocks */
    self->workers_count = workers;
    for (unsigned i = 0; i < workers; i++) {
        struct worker *worker = &self->workers[i];

        worker->pool = self;
        worker->actor = zactor_new(work, NULL);
        if (worker->actor == NULL)
            abort(); /* no thread to be had */
        worker->watch = watch_new_drain(loop, pipe_of(worker), drain_pipe, worker);
    }
    return self;
}

static struct worker *choose_worker(struct pool *self, uint64_t lane)
{
    struct worker *least = &self->workers[0];

    if (lane != 0)
        return &self->workers[lane % self->workers_count];
    for (unsigned i = 1; i < self->workers_count; i++) {
        if (self->workers[i].jobs < least->jobs)
            least = &self->workers[i];
    }
    return least;
}

lb_err pool_submit(struct pool *self, struct job *job)
{
    struct worker *worker = choose_worker(self, job->lane);

    if (self->closing || self->jobs >= POOL_JOBS_MAX)
        return LB_FULL;
    if (zmq_send(pipe_of(worker), &job, sizeof job, ZMQ_DONTWAIT) < 0)
        return LB_FULL;
    worker->jobs++;
    self->jobs++;
    watch_wake(worker->watch);
    return LB_OK;
}

size_t pool_pending(const struct pool *self)
{
    return self->jobs;
}

unsigned pool_workers(const struct pool *self)
{
    return self->workers_count;
}

void pool_free(struct pool **self)
{
    struct pool *pool = *self;

    *self = NULL;
    if (pool == NULL)
        return;
    pool->closing = true;
    for (unsigned i = 0; i < pool->workers_count; i++) {
        struct worker *worker = &pool->workers[i];

        while (worker->jobs > 0) {
            if (!finish_one(worker, 0) && errno != EINTR)
                break;
        }
        watch_free(&worker->watch);
        zactor_destroy(&worker->actor);
    }
    free(pool);
}
