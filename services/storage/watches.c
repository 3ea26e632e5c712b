#include "services/storage/watches.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/storage/find.h"
#include "services/storage/gets.h"
#include "services/storage/service.h"

#include <stdlib.h>

#define LOOK_MS     1000u
#define LOOK_MAX_MS 30000u

/* It may outlive its watch. */
struct watch_look {
    struct getting *watch; /* NULL: answered meanwhile */
};

/* It waits no longer; it still counts as a watch until it is answered. */
static void unlink_watch(struct getting *self)
{
    struct storage *storage = self->storage;

    if (self->look != NULL)
        self->look->watch = NULL;
    self->look = NULL;
    if (self->before != NULL)
        self->before->after = self->after;
    else
        storage->watches = self->after;
    if (self->after != NULL)
        self->after->before = self->before;
}

static bool is_newer(const struct getting *self)
{
    return self->version.is_there && self->version.item.seq > self->after_seq;
}

static void answer(struct getting *self)
{
    unlink_watch(self);
    getting_answer(self);
}

static void fail(struct getting *self, lb_err err, const char *reason)
{
    unlink_watch(self);
    getting_fail(self, err, reason);
}

/* By up to a quarter sooner. */
static void look_later(struct getting *self)
{
    struct storage *storage = self->storage;
    uint64_t jitter_ms = random_u64(&storage->random) % (self->pause_ms / 4 + 1);

    self->look_ms = storage_now_ms(storage) + self->pause_ms - jitter_ms;
    self->pause_ms = self->pause_ms * 2 < LOOK_MAX_MS ? self->pause_ms * 2 : LOOK_MAX_MS;
}

static void on_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct watch_look *look = ctx;
    struct getting *self = look->watch;

    free(look);
    if (self == NULL)
        return;
    self->look = NULL;
    if (err == LB_OK)
        version_take_found(self->storage, &self->wanted, found, &self->version);
    if (err == LB_CANCELLED)
        fail(self, LB_UNAVAILABLE, "the service is stopping");
    else if (is_newer(self))
        answer(self);
    else
        look_later(self);
}

static void look_up(struct getting *self)
{
    const struct find_query query = { .kind = LB__ROUTING__LOOKUP__KIND__VALUE,
                                      .target = self->wanted.target,
                                      .has_seq = true,
                                      .seq = self->after_seq };

    self->look = xcalloc(1, sizeof *self->look);
    self->look->watch = self;
    find_query_start(self->storage, &query, self->deadline_ms, on_found, self->look);
}

/* A glance at the numbers, before anything is verified. */
static bool has_newer_here(const struct getting *self)
{
    struct storage *storage = self->storage;
    struct item_record record;
    bool has_newer = false;

    if (db_read_begin(storage->db) != LB_OK)
        return false;
    if (db_read_item(storage->db, &self->wanted.target, storage_now_s(storage), &record) == LB_OK)
        has_newer = record.item.seq > self->after_seq;
    if (db_read_published(storage->db, &self->wanted.target, &record) == LB_OK)
        has_newer = has_newer || record.item.seq > self->after_seq;
    db_read_end(storage->db);
    return has_newer;
}

/* True when it was answered. */
static bool look_here(struct getting *self)
{
    if (!has_newer_here(self))
        return false;
    version_look_here(self->storage, &self->wanted, &self->version);
    if (!is_newer(self))
        return false;
    answer(self);
    return true;
}

void watch_start(struct getting *self, uint64_t after_seq)
{
    struct storage *storage = self->storage;

    self->after_seq = after_seq;
    self->pause_ms = LOOK_MS;
    self->after = storage->watches;
    if (self->after != NULL)
        self->after->before = self;
    storage->watches = self;
    if (look_here(self))
        return;
    look_up(self);
    storage_need_pace(storage, STORAGE_PACE_MS);
}

void watches_stored(struct storage *storage, const struct node_id *target)
{
    for (struct getting *watch = storage->watches, *after; watch != NULL; watch = after) {
        after = watch->after;
        if (node_id_equal(&watch->wanted.target, target))
            (void)look_here(watch);
    }
}

void watches_tick(struct storage *storage)
{
    uint64_t now_ms = storage_now_ms(storage);

    for (struct getting *watch = storage->watches, *after; watch != NULL; watch = after) {
        after = watch->after;
        if (look_here(watch))
            continue;
        if (now_ms >= watch->deadline_ms)
            fail(watch, LB_TIMEOUT, "no newer version came");
        else if (watch->look == NULL && now_ms >= watch->look_ms)
            look_up(watch);
    }
}

bool watches_pace(struct storage *storage)
{
    uint64_t last_commit;

    if (storage->watches == NULL || actor_active(storage->actor, SERVICE_STORAGE) == 1)
        return false;
    last_commit = db_last_commit(storage->db);
    if (last_commit == storage->watched_commit)
        return true;
    storage->watched_commit = last_commit;
    for (struct getting *watch = storage->watches, *after; watch != NULL; watch = after) {
        after = watch->after;
        (void)look_here(watch);
    }
    return true;
}

void watches_cancel(struct storage *storage)
{
    for (struct getting *watch = storage->watches, *after; watch != NULL; watch = after) {
        after = watch->after;
        fail(watch, LB_UNAVAILABLE, "the service is stopping");
    }
}
