#include "services/swarm/create.h"

#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/swarm/beneath.h"
#include "services/swarm/create_inside.h"
#include "services/swarm/name.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_BYTES         (16u * 1024 * 1024) /* of one hash job */
#define REQUEST_PIECE_MAX (16u * 1024 * 1024)

lb_err create_fail(struct step *self, lb_err err, const char *format, ...)
{
    char text[2 * CREATE_PROBLEM_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    self->err = err;
    name_make_safe(bytes_of_text(text), self->problem, sizeof(self->problem));
    return err;
}

lb_err create_fail_errno(struct step *self, const char *path, int number)
{
    char text[128];

    return create_fail(self, beneath_error(number), "%s: %s", path,
                       strerror_r(number, text, sizeof(text)));
}

int64_t create_mtime(const struct stat *found)
{
    return (int64_t)found->st_mtim.tv_sec * 1000000000 + found->st_mtim.tv_nsec;
}

uint32_t create_piece_length(enum metainfo_kind kind, uint64_t length)
{
    const uint64_t few = 4096, many = 65536;
    uint32_t piece_length = METAINFO_PIECE_LENGTH_MIN;

    if (kind == METAINFO_HYBRID)
        piece_length *= 2;
    while (piece_length < 4u * 1024 * 1024 && length > few * piece_length)
        piece_length *= 2;
    while (piece_length < METAINFO_PIECE_LENGTH_MAX && length > many * piece_length)
        piece_length *= 2;
    return piece_length;
}

/* ---- on the loop ---- */

static void create_free(struct create *create)
{
    if (create->root_fd >= 0)
        close(create->root_fd);
    for (uint32_t i = 0; i < create->files_count; i++)
        free(create->files[i].path);
    metainfo_free(&create->known);
    free(create->known_record);
    free((void *)create->ssl_cert.data);
    free(create->files);
    free(create->layout_files);
    free(create->hashes);
    free(create->piece_roots);
    free(create);
}

static void advance(struct create *create);

static struct step *step_new(struct create *create, void (*work)(struct job *),
                             void (*done)(struct job *, void *))
{
    struct step *step = xcalloc(1, sizeof(*step));

    step->create = create;
    step->job.work = work;
    step->job.done = done;
    step->fd = -1;
    step->file = UINT32_MAX;
    return step;
}

/* A step that the pool does not take ends the whole: what runs is awaited. */
static void start(struct step *step)
{
    struct create *create = step->create;
    lb_err err = pool_submit(create->pool, &step->job);

    if (err == LB_OK) {
        create->running++;
        return;
    }
    free(step);
    create->err = err;
    snprintf(create->problem, sizeof(create->problem), "too much is being done already");
}

static void take_outcome(struct step *step)
{
    struct create *create = step->create;

    create->running--;
    create->hashed_bytes += step->hashed_bytes;
    if (step->err == LB_OK || create->err != LB_OK)
        return;
    create->err = step->err;
    memcpy(create->problem, step->problem, sizeof(create->problem));
}

static void finish(struct create *create, struct create_result *result)
{
    if (result) {
        memcpy(result->folder, create->folder, sizeof(result->folder));
        result->empty_folders = create->empty_folders;
        result->unchanged = create->unchanged;
        if (create->unchanged)
            metainfo_keep(result->metainfo);
        create->done(create->ctx, LB_OK, result, NULL);
    } else {
        create->done(create->ctx, create->err, NULL, create->problem);
    }
    create_free(create);
}

static void finished_end(struct job *job, void *ctx)
{
    struct step *step = (struct step *)job;
    struct create *create = step->create;

    (void)ctx;
    take_outcome(step);
    finish(create, step->err == LB_OK ? &step->result : NULL);
    free(step);
}

static void finished_step(struct job *job, void *ctx)
{
    struct step *step = (struct step *)job;
    struct create *create = step->create;

    (void)ctx;
    take_outcome(step);
    free(step);
    create->walked = true;
    advance(create);
}

static void start_run(struct create *create)
{
    uint32_t count = RUN_BYTES / create->layout.piece_length;
    uint32_t left = create->layout.piece_count - create->next;
    struct step *step = step_new(create, create_work_hash, finished_step);

    if (count == 0)
        count = 1;
    step->first = create->next;
    step->count = count < left ? count : left;
    create->next += step->count;
    start(step);
}

static void advance(struct create *create)
{
    bool all = create->unchanged || create->next == create->layout.piece_count;

    if (create->cancelled && create->err == LB_OK) {
        create->err = LB_CANCELLED;
        snprintf(create->problem, sizeof(create->problem), "cancelled");
    }
    while (create->err == LB_OK && !all && create->running < CREATE_JOBS) {
        start_run(create);
        all = create->next == create->layout.piece_count;
    }
    if (create->running > 0)
        return;
    if (create->err == LB_OK)
        start(step_new(create, create_work_write, finished_end));
    if (create->err != LB_OK)
        finish(create, NULL);
}

/* "/a/b/" is "/a" and "b". */
static lb_err split_path(const char *path, struct create *create)
{
    size_t size = strlen(path), name;

    while (size > 1 && path[size - 1] == '/')
        size--;
    for (name = size; name > 0 && path[name - 1] != '/'; name--)
        ;
    if (path[0] != '/' || name == size || size >= sizeof(create->folder) ||
        size - name >= sizeof(create->name))
        return LB_INVALID;
    memcpy(create->name, path + name, size - name);
    while (name > 1 && path[name - 1] == '/')
        name--;
    memcpy(create->folder, path, name);
    return metainfo_component_is_safe(create->name) ? LB_OK : LB_INVALID;
}

static bool is_piece_length(uint32_t length)
{
    return length == 0 || (length >= METAINFO_PIECE_LENGTH_MIN && length <= REQUEST_PIECE_MAX &&
                           (length & (length - 1)) == 0);
}

lb_err create_start(struct pool *pool, const struct create_request *request, create_fn *done,
                    void *ctx, struct create **ret_self)
{
    struct create *self = xcalloc(1, sizeof(*self));
    lb_err err = split_path(request->path, self);

    self->root_fd = -1;
    if (err == LB_OK && !is_piece_length(request->piece_length))
        err = LB_INVALID;
    self->pool = pool;
    self->done = done;
    self->ctx = ctx;
    self->piece_length = request->piece_length;
    self->kind = request->kind != 0 ? request->kind : METAINFO_V1;
    self->is_private = request->is_private;
    if (request->ssl_cert.size > 0)
        self->ssl_cert = bytes_of(xmemdup(request->ssl_cert.data, request->ssl_cert.size),
                                  request->ssl_cert.size);
    if (err == LB_OK && request->known && request->known_resume) {
        self->known = metainfo_keep(request->known);
        resume_encode(request->known_resume, &self->known_record, &self->known_record_size);
    }
    if (err == LB_OK)
        start(step_new(self, create_work_walk, finished_step));
    if (err == LB_OK)
        err = self->err;
    if (err == LB_OK)
        *ret_self = self;
    else
        create_free(self);
    return err;
}

void create_cancel(struct create *self)
{
    self->cancelled = true;
}

void create_progress(const struct create *self, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = self->hashed_bytes;
    *ret_total = self->walked ? self->content_size : 0;
}
