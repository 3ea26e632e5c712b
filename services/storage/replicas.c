#include "services/storage/replicas.h"

#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/routing_page.h"
#include "services/storage/boxes.h"
#include "services/storage/replicas_inside.h"
#include "services/storage/service.h"

#include <stdlib.h>
#include <string.h>

#define TURN_MAX       64u     /* actions carried out in one turn of the loop */
#define FIGURES_TICKS  5u      /* how often late checks are counted */
#define OVERDUE_MAX    100000u /* and how far: each is a step on the loop's time */
#define MS_PER_S       1000u
#define WRITES_BUSY_MS 1000u

uint64_t replicas_now_ms(const struct storage *storage)
{
    return db_now_ms(storage->db, clock_monotonic_ms());
}

/* ---- the store, as the core asks it ---- */

static struct upkeep_item item_of(const struct node_id *target, const struct item_record *record)
{
    return (struct upkeep_item){ .target = *target,
                                 .seq = record->item.is_mutable ? record->item.seq : 0,
                                 .ends_s = record->ends_s,
                                 .check_s = record->check_s,
                                 .checked_s = record->checked_s,
                                 .calm = record->calm };
}

/* Of our share. */
static bool store_next(void *ctx, const struct node_id *from, struct upkeep_item *ret_item)
{
    struct storage *storage = ctx;
    const struct share *share = &storage->share;
    const struct node_id *first = &share->range.first;
    struct item_record record;
    struct node_id target;

    if (node_id_compare(from, first) > 0)
        first = from;
    if (!share->is_any ||
        db_read_next_item(storage->db, first, storage_now_s(storage), &target, &record) != LB_OK)
        return false;
    if (node_id_compare(&target, &share->range.last) > 0)
        return false;
    *ret_item = item_of(&target, &record);
    return true;
}

static bool store_due(void *ctx, uint32_t skip, struct upkeep_item *ret_item)
{
    struct storage *storage = ctx;
    struct item_record record;
    struct node_id target;

    if (!storage->share.is_any || db_read_check(storage->db, &storage->share.range, skip,
                                                storage_now_s(storage), &target, &record) != LB_OK)
        return false;
    *ret_item = item_of(&target, &record);
    return true;
}

static uint32_t store_overdue(void *ctx, uint64_t before_s)
{
    struct storage *storage = ctx;

    if (!storage->share.is_any)
        return 0;
    return db_read_overdue(storage->db, &storage->share.range, before_s, OVERDUE_MAX);
}

/* ---- the conversation ---- */

static void on_timer(uv_timer_t *timer);

static void arm(struct replicas *self, uint64_t delay_ms)
{
    if (self->upkeep == NULL || self->storage->is_stopping || !self->storage->share.is_any)
        return;
    uv_timer_start(&self->timer, on_timer, delay_ms, 0);
}

void replicas_wake(struct replicas *self)
{
    arm(self, 0);
}

/* May we act? Without the others checks would only fail, and a busy disk has enough to do. */
static bool is_able(const struct replicas *self)
{
    const struct storage *storage = self->storage;

    return link_is_up(storage->routing) && !commits_is_busy(storage->commits);
}

static void on_timer(uv_timer_t *timer)
{
    struct replicas *self = timer->data;
    struct storage *storage = self->storage;
    uint64_t now_ms = replicas_now_ms(storage);
    struct upkeep_action action;
    unsigned turns = 0;
    uint64_t deadline_ms;

    if (!is_able(self) && !self->is_draining) {
        arm(self, WRITES_BUSY_MS);
        return;
    }
    if (db_read_begin(storage->db) != LB_OK)
        return; /* the next tick tries again */
    while (turns++ < TURN_MAX && upkeep_next(self->upkeep, now_ms, &action))
        replicas_carry_out(self, &action);
    db_read_end(storage->db);
    deadline_ms = upkeep_deadline_ms(self->upkeep);
    if (deadline_ms != UINT64_MAX)
        arm(self, deadline_ms > now_ms ? deadline_ms - now_ms : 1);
}

/* ---- the view ---- */

static bool is_valid(const void *memory, size_t size)
{
    return routing_page_is_valid(memory, size);
}

/* The core is made when our own id is known, and anew when it is another. */
static void know_self(struct replicas *self, const struct routing_page *page)
{
    struct storage *storage = self->storage;
    const struct upkeep_options options = {
        .self_id = page->self_id,
        .store = { storage, store_next, store_due, store_overdue },
        .check_least_s = self->least_s,
        .seed = random_u64(&storage->random),
    };

    if (self->upkeep != NULL && node_id_equal(&self->self_id, &page->self_id))
        return;
    commits_set_own_id(storage->commits, &page->self_id); /* it decides what gives way */
    upkeep_free(&self->upkeep);
    self->self_id = page->self_id;
    self->upkeep = upkeep_new(&options, replicas_now_ms(storage));
    self->told = (struct upkeep_stats){ 0 };
    replicas_wake(self);
}

static void look_at_table(struct replicas *self)
{
    const struct routing_page *page;
    uint64_t now_ms = replicas_now_ms(self->storage);
    uint64_t version;
    uint32_t count;

    if (page_reader_map(&self->reader, sizeof *page, is_valid))
        self->seen_version = 0;
    page = self->reader.page.memory;
    if (page == NULL)
        return;
    know_self(self, page);
    boxes_know_self(self->storage->boxes, &page->self_id);
    version = routing_page_version(page);
    if (version == self->seen_version)
        return;
    for (unsigned f = 0; f < ROUTING_FAMILIES; f++) {
        if (!routing_page_contacts(page, (enum routing_family)f, self->contacts, &count))
            return; /* the next tick tries again */
        upkeep_view(self->upkeep, (enum routing_family)f, self->contacts, count, now_ms);
        boxes_view(self->storage->boxes, (enum routing_family)f, self->contacts, count);
    }
    self->seen_version = version;
    replicas_wake(self);
}

static void tell_figures(struct replicas *self)
{
    struct storage *storage = self->storage;
    struct upkeep_stats stats = upkeep_stats(self->upkeep);

    storage_count(storage, COUNTER_CHECKS, stats.checks - self->told.checks);
    storage_count(storage, COUNTER_CHECKS_FAILED, stats.failed - self->told.failed);
    storage_count(storage, COUNTER_OFFERED, stats.offered - self->told.offered);
    storage_count(storage, COUNTER_HANDED_OVER, stats.handed_over - self->told.handed_over);
    storage_count(storage, COUNTER_DROPPED, stats.dropped - self->told.dropped);
    storage_set_counter(storage, COUNTER_REPLICAS_MIN, stats.replicas_min);
    storage_set_counter(storage, COUNTER_REPLICAS_MEDIAN, stats.replicas_median);
    self->told = stats;
    if (self->ticks++ % FIGURES_TICKS != 0 || db_read_begin(storage->db) != LB_OK)
        return;
    self->overdue = store_overdue(storage, upkeep_late_s(self->upkeep, storage_now_s(storage)));
    db_read_end(storage->db);
    storage_set_counter(storage, COUNTER_OVERDUE, self->overdue);
}

void replicas_tick(struct storage *storage)
{
    struct replicas *self = storage->replicas;

    look_at_table(self);
    if (self->upkeep == NULL)
        return;
    tell_figures(self);
    if (!uv_is_active((uv_handle_t *)&self->timer))
        replicas_wake(self);
}

uint32_t replicas_overdue(struct storage *storage)
{
    return storage->replicas->overdue;
}

uint32_t replicas_overdue_in_all(struct storage *storage)
{
    struct replicas *self = storage->replicas;
    uint32_t overdue;

    if (self->upkeep == NULL || db_read_begin(storage->db) != LB_OK)
        return self->overdue;
    overdue = db_read_overdue(storage->db, NULL,
                              upkeep_late_s(self->upkeep, storage_now_s(storage)), OVERDUE_MAX);
    db_read_end(storage->db);
    return overdue;
}

void replicas_shared(struct storage *storage)
{
    struct replicas *self = storage->replicas;

    if (self->upkeep == NULL)
        return;
    upkeep_shared(self->upkeep, replicas_now_ms(storage));
    if (storage->share.is_any)
        replicas_wake(self);
    else
        uv_timer_stop(&self->timer);
}

/* ---- what others say ---- */

void replicas_set_times(struct storage *storage, struct db_put *put)
{
    struct replicas *self = storage->replicas;
    uint64_t now_s = storage_now_s(storage);

    put->check_s =
        self->upkeep != NULL ? upkeep_first_check_s(self->upkeep, now_s) : now_s + self->least_s;
    put->silence_s = UPKEEP_SILENCE * UPKEEP_MOST * self->least_s;
}

/* Nobody waits for it: what could not be written costs a check too many. */
static void on_noted(struct commit *commit)
{
    free(commit);
}

static void note(struct storage *storage, const struct upkeep_item *item)
{
    struct commit *commit;

    if (commits_is_busy(storage->commits) || storage->is_stopping)
        return;
    commit = xcalloc(1, sizeof *commit);
    commit->done = on_noted;
    commit->op.kind = DB_SET_CHECK;
    commit->op.now_s = storage_now_s(storage);
    commit->op.check = (struct db_check){ .target = item->target,
                                          .seq = item->seq,
                                          .check_s = item->check_s,
                                          .checked_s = item->checked_s,
                                          .calm = item->calm };
    if (commits_submit(storage->commits, commit) != LB_OK)
        free(commit);
}

void replicas_heard(struct storage *storage, const struct node_id *target,
                    const struct item_record *record, uint32_t chk_s)
{
    struct replicas *self = storage->replicas;
    struct upkeep_item item = item_of(target, record);

    if (self->upkeep != NULL && record->check_s > 0 &&
        upkeep_postpone(self->upkeep, &item, chk_s, storage_now_s(storage)))
        note(storage, &item);
}

static char need_of(struct storage *storage, const struct upkeep_digest *digest, bool has_room)
{
    struct replicas *self = storage->replicas;
    uint64_t now_s = storage_now_s(storage);
    struct item_record record;
    struct upkeep_item held;
    char need;

    if (self->upkeep == NULL || storage->is_draining)
        return UPKEEP_DECLINES;
    if (db_read_item(storage->db, &digest->target, now_s, &record) != LB_OK)
        return upkeep_need(self->upkeep, digest, NULL,
                           db_read_seen(storage->db, &digest->target, now_s), has_room);
    held = item_of(&digest->target, &record);
    need = upkeep_need(self->upkeep, digest, &held, 0, has_room);
    if (need == UPKEEP_HAS)
        replicas_heard(storage, &digest->target, &record, 0);
    return need;
}

void replicas_answer_offer(struct storage *storage, const uint8_t *digests, size_t count,
                           uint8_t *ret_need)
{
    bool has_room = db_has_room(storage->db) && !commits_is_busy(storage->commits);

    for (size_t i = 0; i < count; i++) {
        const uint8_t *bytes = digests + i * REPLICAS_DIGEST_SIZE;
        const struct upkeep_digest digest = { .target = node_id_from(bytes),
                                              .seq = load_u64(bytes + NODE_ID_SIZE) };

        ret_need[i] = (uint8_t)need_of(storage, &digest, has_room);
    }
}

/* ---- life ---- */

struct replicas *replicas_new(struct storage *storage)
{
    struct replicas *self = xcalloc(1, sizeof *self);
    const struct config *config = actor_config(storage->actor);

    self->storage = storage;
    self->least_s = config_number(config, CONFIG_STORAGE_CHECK_INTERVAL) / MS_PER_S;
    self->contacts = xcalloc(ROUTING_PAGE_CONTACTS_MAX, sizeof *self->contacts);
    page_reader_init(&self->reader, actor_paths(storage->actor)->pages_folder, "routing.shm");
    uv_timer_init(actor_loop(storage->actor), &self->timer);
    self->timer.data = self;
    return self;
}

static void on_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void replicas_free(struct replicas **self)
{
    struct replicas *replicas = *self;

    if (replicas == NULL)
        return;
    *self = NULL;
    upkeep_free(&replicas->upkeep);
    page_reader_done(&replicas->reader);
    free(replicas->contacts);
    uv_close((uv_handle_t *)&replicas->timer, on_closed);
}

void replicas_drain(struct storage *storage)
{
    struct replicas *self = storage->replicas;

    if (self->upkeep == NULL || !storage->share.is_any)
        return;
    self->is_draining = true;
    upkeep_drain(self->upkeep);
    replicas_wake(self);
}

bool replicas_are_drained(const struct storage *storage)
{
    const struct replicas *self = storage->replicas;

    return !self->is_draining || upkeep_is_drained(self->upkeep);
}

void replicas_log_drain(const struct storage *storage)
{
    const struct replicas *self = storage->replicas;
    struct upkeep_stats stats;

    if (!self->is_draining)
        return;
    stats = upkeep_stats(self->upkeep);
    log_info("keys %s: %llu offered, %llu taken",
             upkeep_is_drained(self->upkeep) ? "handed over" : "not all handed over in time",
             (unsigned long long)(stats.offered - self->told.offered),
             (unsigned long long)(stats.handed_over - self->told.handed_over));
}
