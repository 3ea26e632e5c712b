#include "services/storage/find.h"

#include "libcommon/memory.h"
#include "services/storage/messages.h"
#include "services/storage/service.h"
#include "services/storage/spread.h"

#include <stdlib.h>

#define PAUSE_MS     100u
#define PAUSE_MAX_MS 1600u

struct find {
    struct storage *storage;
    struct find *before, *after;
    struct find_query query;
    uint64_t deadline_ms;
    uint64_t retry_ms; /* 0: under way */
    uint64_t pause_ms;
    lb_err err; /* set: report it at the next pace */
    find_fn *on_found;
    void *ctx;
};

void find_ask(struct storage *storage, const struct find_query *query, uint64_t deadline_ms,
              reply_fn *on_reply, void *ctx)
{
    uint64_t now_ms = storage_now_ms(storage);
    uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 1;
    Lb__Routing__Request request = LB__ROUTING__REQUEST__INIT;
    Lb__Routing__Lookup lookup = LB__ROUTING__LOOKUP__INIT;

    lookup.target = binary_of_id(&query->target);
    lookup.kind = query->kind;
    lookup.k = SPREAD_K;
    lookup.enough = query->enough;
    if (query->has_seq) {
        lookup.newer_case = LB__ROUTING__LOOKUP__NEWER_SEQ;
        lookup.seq = query->seq;
    }
    lookup.check_s = query->check_s;
    request.body_case = LB__ROUTING__REQUEST__BODY_LOOKUP;
    request.lookup = &lookup;
    link_call(storage->routing, &request.base,
              left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX, on_reply, ctx);
}

static void finish(struct find *self, lb_err err, const Lb__Routing__Found *found)
{
    struct storage *storage = self->storage;

    if (self->before != NULL)
        self->before->after = self->after;
    else
        storage->finds = self->after;
    if (self->after != NULL)
        self->after->before = self->before;
    storage->finds_count--;
    self->on_found(self->ctx, err, found);
    free(self);
}

static void retry_later(struct find *self, lb_err err)
{
    uint64_t now_ms = storage_now_ms(self->storage);

    if (err == LB_CANCELLED || self->storage->is_stopping ||
        now_ms + self->pause_ms >= self->deadline_ms) {
        finish(self, err, NULL);
        return;
    }
    self->retry_ms = now_ms + self->pause_ms;
    if (self->pause_ms < PAUSE_MAX_MS)
        self->pause_ms *= 2;
    storage_need_pace(self->storage, STORAGE_PACE_MS);
}

static void on_reply(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct find *self = ctx;
    const Lb__Routing__Reply *body = reply;

    (void)reason;
    if (err == LB_OK && body->body_case != LB__ROUTING__REPLY__BODY_FOUND)
        err = LB_INTERNAL;
    if (err == LB_OK)
        finish(self, LB_OK, body->found);
    else
        retry_later(self, err);
}

static void ask(struct find *self)
{
    self->retry_ms = 0;
    find_ask(self->storage, &self->query, self->deadline_ms, on_reply, self);
}

void find_start(struct storage *storage, Lb__Routing__Lookup__Kind kind,
                const struct node_id *target, uint64_t deadline_ms, find_fn *on_found, void *ctx)
{
    const struct find_query query = { .kind = kind, .target = *target };

    find_query_start(storage, &query, deadline_ms, on_found, ctx);
}

void find_query_start(struct storage *storage, const struct find_query *query, uint64_t deadline_ms,
                      find_fn *on_found, void *ctx)
{
    struct find *self = xcalloc(1, sizeof *self);

    self->storage = storage;
    self->query = *query;
    self->deadline_ms = deadline_ms;
    self->pause_ms = PAUSE_MS;
    self->on_found = on_found;
    self->ctx = ctx;
    self->after = storage->finds;
    if (self->after != NULL)
        self->after->before = self;
    storage->finds = self;
    storage->finds_count++;
    if (storage->finds_count <= STORAGE_FINDS_MAX) {
        ask(self);
        return;
    }
    self->err = LB_FULL;
    self->retry_ms = 1;
    storage_need_pace(storage, 0);
}

bool find_pace(struct storage *storage)
{
    uint64_t now_ms = storage_now_ms(storage);
    bool waiting = false;

    for (struct find *find = storage->finds, *after; find != NULL; find = after) {
        after = find->after;
        if (find->retry_ms == 0)
            continue;
        if (find->err != LB_OK || storage->is_stopping) {
            finish(find, find->err != LB_OK ? find->err : LB_CANCELLED, NULL);
            waiting = true; /* on_found may have begun another */
            continue;
        }
        if (now_ms >= find->retry_ms)
            ask(find);
        else
            waiting = true;
    }
    return waiting;
}
