#include "services/storage/service.h"

#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/storage/audits.h"
#include "services/storage/boxes.h"
#include "services/storage/errand.h"
#include "services/storage/find.h"
#include "services/storage/local_address.h"
#include "services/storage/replicas.h"
#include "services/storage/watches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS         1000u
#define TICK_HURRY_MS   20u /* while routing is not there: its return is not to be told late */
#define CARE_TICKS      60u /* how often readers and the clock are cared for */
#define SWEEP_BUDGET    512u
#define DEADLINE_MARGIN 250u /* ms between our answer and the caller's patience */
#define REBUILD_LEAST   4096u
#define DRAIN_MS        2000u /* for what programs have asked */
#define HAND_OVER_MS                                                                               \
    4500u /* for handing the keys over, and for all; the actor ends us after 5 s                   \
           */
#define DRAIN_LOOK_MS 10u

static const char *const counter_names[] = {
    [COUNTER_ITEMS] = "items",
    [COUNTER_ITEM_BYTES] = "item_bytes",
    [COUNTER_PEERS] = "announcements",
    [COUNTER_PUBLISHED] = "published",
    [COUNTER_DISK_BYTES] = "disk_bytes",
    [COUNTER_QUESTIONS] = "questions",
    [COUNTER_STORED] = "stored",
    [COUNTER_REFUSED] = "stores_refused",
    [COUNTER_PUTS] = "puts",
    [COUNTER_GETS] = "gets",
    [COUNTER_REPUBLISHED] = "republished",
    [COUNTER_REPAIRED] = "repaired",
    [COUNTER_EXPIRED] = "expired",
    [COUNTER_COMMITS] = "commits",
    [COUNTER_COMMIT_US] = "commit_us",
    [COUNTER_CHECKS] = "checks",
    [COUNTER_CHECKS_FAILED] = "checks_failed",
    [COUNTER_REPLICAS_MIN] = "replicas_min",
    [COUNTER_REPLICAS_MEDIAN] = "replicas_median",
    [COUNTER_OVERDUE] = "checks_overdue",
    [COUNTER_OFFERED] = "keys_offered",
    [COUNTER_HANDED_OVER] = "keys_handed_over",
    [COUNTER_DROPPED] = "keys_dropped",
    [COUNTER_BOX_MAILS] = "box_mails",
    [COUNTER_BOX_BYTES] = "box_bytes",
    [COUNTER_BOX_CERTIFICATES] = "box_certificates",
    [COUNTER_BOX_KEPT] = "box_mails_kept",
    [COUNTER_BOX_REFUSED] = "box_refused",
    [COUNTER_BOX_CHECKS] = "box_checks",
    [COUNTER_BOX_DROPPED] = "boxes_dropped",
    [COUNTER_BOX_PARTS] = "box_parts_sent",
};

/* ---- small things the other files use ---- */

void storage_count(struct storage *self, enum storage_counter counter, uint64_t by)
{
    status_counter_add(self->counters[counter], by);
}

void storage_set_counter(struct storage *self, enum storage_counter counter, uint64_t value)
{
    status_counter_set(self->counters[counter], value);
}

/* The loop's time is milliseconds of CLOCK_MONOTONIC, as is the saved store clock. */
uint64_t storage_now_ms(const struct storage *self)
{
    return actor_now_ms(self->actor);
}

uint64_t storage_now_s(const struct storage *self)
{
    return db_now_s(self->db, clock_monotonic_ms());
}

uint64_t storage_rest_of_life_s(const struct storage *self, const struct item_record *record)
{
    uint64_t now_s = storage_now_s(self);

    return record->ends_s > now_s ? record->ends_s - now_s : 1;
}

uint64_t storage_value_ttl_s(const struct storage *self)
{
    return config_number(actor_config(self->actor), CONFIG_STORAGE_VALUE_TTL) / 1000;
}

lb_err storage_shared_seed(const struct storage *self, struct bytes key,
                           uint8_t ret_seed[ED25519_SEED_SIZE])
{
    const char *name = config_text(actor_config(self->actor), CONFIG_NETWORK);

    return self->is_member ? value_private_seed(self->identity.network, key, ret_seed)
                           : value_shared_seed(name, key, ret_seed);
}

uint64_t storage_deadline_ms(const struct storage *self, const struct call *call)
{
    uint32_t left_ms = call_time_left_ms(call);
    uint32_t margin_ms = left_ms / 10 < DEADLINE_MARGIN ? left_ms / 10 : DEADLINE_MARGIN;

    if (left_ms == UINT32_MAX)
        return storage_now_ms(self) + STORAGE_TIME_MS;
    return storage_now_ms(self) + left_ms - margin_ms;
}

struct link *storage_transport(const struct storage *self, const struct address *address)
{
    return instances_pick(&self->transports, address_worker(address, self->transports.active));
}

static void on_pace(uv_timer_t *timer)
{
    struct storage *self = timer->data;
    bool errands_wait = errand_pace(self);
    bool finds_wait = find_pace(self);
    bool watches_wait = watches_pace(self);

    audits_pace(self);
    if (errands_wait || finds_wait || watches_wait)
        storage_need_pace(self, STORAGE_PACE_MS);
}

void storage_need_pace(struct storage *self, uint64_t delay_ms)
{
    if (self->is_stopping)
        return;
    if (uv_is_active((uv_handle_t *)&self->pace) && uv_timer_get_due_in(&self->pace) <= delay_ms)
        return;
    uv_timer_start(&self->pace, on_pace, delay_ms, 0);
}

/* ---- care ---- */

static bool is_anything_expired(struct storage *self)
{
    uint64_t now_s = storage_now_s(self);
    bool expired;

    if (db_read_begin(self->db) != LB_OK)
        return false;
    expired = db_read_is_due(self->db, DUE_ITEM, NULL, now_s) ||
              db_read_is_due(self->db, DUE_PEER, NULL, now_s) ||
              db_read_is_due(self->db, DUE_SEEN, NULL, now_s) ||
              db_read_is_due(self->db, DUE_MAIL, NULL, now_s) ||
              db_read_is_due(self->db, DUE_CERTIFICATE, NULL, now_s);
    db_read_end(self->db);
    return expired;
}

static void on_swept(struct commit *commit);

static void begin_sweep(struct storage *self)
{
    struct db_op *op = &self->sweep_commit.op;

    self->sweep_commit = (struct commit){ .done = on_swept, .ctx = self };
    op->kind = DB_SWEEP;
    op->now_s = storage_now_s(self);
    op->sweep.budget = SWEEP_BUDGET;
    self->is_sweeping = commits_submit(self->commits, &self->sweep_commit) == LB_OK;
}

/* A store that was off for a week has all of it to sweep: one budget after the other. */
static void on_swept(struct commit *commit)
{
    struct storage *self = commit->ctx;

    self->is_sweeping = false;
    if (commit->op.err != LB_OK)
        return;
    storage_count(self, COUNTER_EXPIRED, commit->op.sweep.removed);
    self->removed += commit->op.sweep.removed;
    if (commit->op.sweep.more && !self->is_asked_to_stop)
        begin_sweep(self);
}

static void sweep(struct storage *self)
{
    if (!self->is_sweeping && is_anything_expired(self))
        begin_sweep(self);
}

/* Of the whole store: one instance tells it, so that the counters of all can be added up. */
static void tell_stats(struct storage *self, const struct db_stats *stats)
{
    storage_set_counter(self, COUNTER_ITEMS, stats->items);
    storage_set_counter(self, COUNTER_ITEM_BYTES, stats->item_bytes);
    storage_set_counter(self, COUNTER_PEERS, stats->peers);
    storage_set_counter(self, COUNTER_PUBLISHED, stats->published);
    storage_set_counter(self, COUNTER_DISK_BYTES, stats->disk_bytes);
}

static void count_store(struct storage *self)
{
    struct commits_stats commits = commits_stats(self->commits);
    struct db_stats stats;

    if (db_read_begin(self->db) != LB_OK)
        return;
    db_read_stats(self->db, &stats);
    db_read_end(self->db);
    if (actor_instance(self->actor) == 0)
        tell_stats(self, &stats);
    storage_set_counter(self, COUNTER_COMMITS, commits.commits);
    storage_set_counter(self, COUNTER_COMMIT_US, commits.last_us);
    if (self->removed > REBUILD_LEAST && self->removed > (stats.items + stats.peers) / 2) {
        self->removed = 0;
        commits_rebuild_presence(self->commits);
    }
}

static void on_clock_saved(struct commit *commit)
{
    struct storage *self = commit->ctx;

    self->is_saving_clock = false;
}

static lb_err now_moment(struct store_moment *ret_moment)
{
    char text[64] = "";
    size_t digits = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size;
    char hex[2 * STORE_CLOCK_BOOT_SIZE + 1] = "";

    ret_moment->monotonic_ms = clock_monotonic_ms();
    ret_moment->wall_ms = clock_wall_s() * 1000;
    if (fd < 0)
        return LB_IO;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    for (ssize_t i = 0; i < size && digits < sizeof hex - 1; i++) {
        if (text[i] != '-' && text[i] != '\n')
            hex[digits++] = text[i];
    }
    return hex_decode(hex, ret_moment->boot_id, STORE_CLOCK_BOOT_SIZE);
}

static void save_clock(struct storage *self)
{
    struct db_op *op = &self->clock_commit.op;

    if (self->is_saving_clock)
        return;
    self->clock_commit = (struct commit){ .done = on_clock_saved, .ctx = self };
    op->kind = DB_SAVE_CLOCK;
    if (now_moment(&op->moment) == LB_OK)
        self->is_saving_clock = commits_submit(self->commits, &self->clock_commit) == LB_OK;
}

static void tell_state(struct storage *self)
{
    bool finds_routing = link_is_up(self->routing);

    if (grace_lasts(&self->grace, finds_routing, storage_now_ms(self)))
        actor_state(self->actor, STATE_STARTING, "looking for routing");
    else if (!finds_routing)
        actor_state(self->actor, STATE_DEGRADED,
                    "routing is not there: what is stored here is served, nothing else is found");
    else if (self->key_err != LB_OK)
        actor_state(self->actor, STATE_DEGRADED, "no node key (%s): put --own is refused",
                    lb_err_text(self->key_err));
    else if (replicas_overdue(self) > 0)
        actor_state(self->actor, STATE_READY, "checks are late: %u keys overdue",
                    replicas_overdue(self));
    else if (!db_has_room(self->db))
        actor_state(self->actor, STATE_READY, "the disk is nearly full: nothing new is kept");
    else
        actor_state(self->actor, STATE_READY, "%s", "");
}

static void do_tick(struct storage *self)
{
    count_store(self);
    watches_tick(self);
    replicas_tick(self);
    boxes_tick(self->boxes);
    republish_tick(self);
    if (actor_instance(self->actor) == 0) {
        sweep(self);
        if (self->ticks % CARE_TICKS == CARE_TICKS - 1) {
            db_check_readers(self->db);
            save_clock(self);
        }
    }
    self->ticks++;
}

static void on_tick(uv_timer_t *timer)
{
    struct storage *self = timer->data;

    tell_state(self);
    if (storage_now_ms(self) >= self->tick_ms) {
        self->tick_ms = storage_now_ms(self) + TICK_MS;
        do_tick(self);
    }
    uv_timer_start(timer, on_tick, link_is_up(self->routing) ? TICK_MS : TICK_HURRY_MS, 0);
}

/* ---- statistics ---- */

void on_get_stats(void *ctx, struct call *call, const void *body)
{
    struct storage *self = ctx;
    Lb__Storage__Reply message = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Stats stats = LB__STORAGE__STATS__INIT;
    struct db_stats db;

    (void)body;
    if (db_read_begin(self->db) != LB_OK) {
        call_fail(&call, LB_IO, "the store cannot be read");
        return;
    }
    db_read_stats(self->db, &db);
    db_read_end(self->db);
    stats.items = db.items;
    stats.item_bytes = db.item_bytes;
    stats.announcements = db.peers;
    stats.disk_bytes = db.disk_bytes;
    message.body_case = LB__STORAGE__REPLY__BODY_STATS;
    message.stats = &stats;
    call_reply(&call, &message.base);
}

/* ---- life ---- */

static lb_err open_db(struct storage *self)
{
    const struct config *config = actor_config(self->actor);
    char folder[PATHS_SIZE + 16];
    struct store_moment now = { { 0 }, 0, 0 };
    const struct db_options options = {
        .folder = folder,
        .map_bytes = config_number(config, CONFIG_STORAGE_SIZE),
        .item_ttl_s = config_number(config, CONFIG_STORAGE_ITEM_TTL) / 1000,
        .peer_ttl_s = config_number(config, CONFIG_STORAGE_PEER_TTL) / 1000,
    };
    lb_err err;

    snprintf(folder, sizeof folder, "%s/storage", actor_paths(self->actor)->state_folder);
    if (now_moment(&now) != LB_OK)
        log_warn("boot id not known: ages of stored things are kept by the wall clock");
    err = db_open(&self->db, &options, &now);
    if (err == LB_CORRUPT && actor_instance(self->actor) == 0) {
        log_error("%s/data.mdb is damaged: set aside as data.mdb.damaged, beginning anew", folder);
        err = db_set_aside(folder); /* LB_EXISTS: until the others have met the damage too */
        if (err == LB_OK)
            err = db_open(&self->db, &options, &now);
    }
    if (err == LB_UNSUPPORTED) {
        log_error("%s was written by a newer version of lb-storage", folder);
        return LB_INVALID; /* restarting will not help */
    }
    if (err != LB_OK)
        log_error("cannot open %s: %s%s%s", folder, lb_err_text(err), errno != 0 ? ": " : "",
                  errno != 0 ? strerror(errno) : "");
    return err;
}

static void open_presence(struct storage *self)
{
    lb_err err;

    presence_init(&self->presence, actor_paths(self->actor)->pages_folder);
    if (actor_instance(self->actor) > 0 && presence_open(&self->presence) == LB_OK)
        return;
    err = presence_build(&self->presence, self->db);
    if (err != LB_OK && presence_open(&self->presence) != LB_OK)
        log_warn("no presence page (%s): transport asks for every target", lb_err_text(err));
}

static void open_links(struct storage *self)
{
    self->routing = actor_link(self->actor, SERVICE_ROUTING, 0, &lb__routing__reply__descriptor);
    instances_init(&self->transports, self->actor, SERVICE_TRANSPORT,
                   &lb__transport__reply__descriptor);
}

static void open_local_address(struct storage *self)
{
    const struct config *config = actor_config(self->actor);

    self->local_address = local_address_new();
    for (size_t i = 0; i < config_list_count(config, CONFIG_LISTEN); i++) {
        struct address address;

        if (address_parse(config_list_item(config, CONFIG_LISTEN, i), &address) == LB_OK)
            local_address_listen(self->local_address, &address);
    }
}

static void open_timers(struct storage *self)
{
    uv_timer_init(actor_loop(self->actor), &self->tick);
    uv_timer_init(actor_loop(self->actor), &self->pace);
    self->tick.data = self->pace.data = self;
    uv_timer_start(&self->tick, on_tick, 0, 0);
}

/* Whether we are a member must be known: else what members keep here would go to strangers. */
static lb_err learn_membership(struct storage *self)
{
    lb_err err = identity_load(actor_paths(self->actor), &self->identity);

    self->is_member = err == LB_OK;
    if (err == LB_OK || err == LB_NOT_FOUND)
        return LB_OK;
    log_error("the file identity cannot be used, so it is not known whether this node is a member "
              "of a private network: %s",
              lb_err_text(err));
    return err == LB_DENIED ? LB_DENIED : LB_INVALID;
}

static lb_err storage_start(struct actor *actor, void **ret_ctx)
{
    struct storage *self = xcalloc(1, sizeof *self);
    lb_err err;

    self->actor = actor;
    err = learn_membership(self);
    if (err == LB_OK)
        err = open_db(self);
    if (err != LB_OK) {
        free(self);
        return err;
    }
    for (size_t i = 0; i < sizeof counter_names / sizeof *counter_names; i++)
        self->counters[i] = actor_counter(actor, counter_names[i]);
    random_init(&self->random, actor_random_seed(actor));
    self->key_err = node_key_load(actor_paths(actor)->state_folder, &self->key);
    if (self->key_err != LB_OK)
        log_error("keys/node.key: %s", lb_err_text(self->key_err));
    open_presence(self);
    self->commits = commits_new(actor_loop(actor), self->db, &self->presence);
    open_links(self);
    (void)share_follow(self);
    self->replicas = replicas_new(self);
    self->boxes = self->is_member ? boxes_new(self) : NULL;
    open_local_address(self);
    open_timers(self);
    grace_init(&self->grace, storage_now_ms(self));
    tell_state(self);
    *ret_ctx = self;
    return LB_OK;
}

static void storage_scaled(void *ctx)
{
    struct storage *self = ctx;

    (void)instances_follow(&self->transports);
    if (share_follow(self)) {
        replicas_shared(self);
        boxes_shared(self->boxes);
    }
    db_check_readers(self->db);
}

/* ---- the end ---- */

static void begin_to_leave(struct storage *self)
{
    self->is_draining = true;
    replicas_drain(self);
    boxes_drain(self->boxes);
}

/* What programs have asked for, and more time for it when nobody is in a hurry. */
static bool is_busy(const struct storage *self, uint64_t drained_ms)
{
    unsigned asked = self->puttings_count + self->gettings_count;

    if (!link_is_up(self->routing) || drained_ms >= HAND_OVER_MS)
        return false;
    if (!self->share.is_any)
        return asked + self->errands_count + self->finds_count > 0;
    return asked > 0 && drained_ms < DRAIN_MS;
}

/*
 * What is acknowledged is on disk already; what is under way may finish within a moment, and others
 * get the keys that they become responsible for. But when other instances go on serving our keys,
 * they stay on this node, and nothing is refused meanwhile.
 */
static void on_drained(uv_timer_t *timer)
{
    struct storage *self = timer->data;
    uint64_t drained_ms = storage_now_ms(self) - self->drain_ms;
    bool is_drained = replicas_are_drained(self) && boxes_are_drained(self->boxes);
    bool hands_over = !is_drained && drained_ms < HAND_OVER_MS;
    bool writes = !commits_is_idle(self->commits) && drained_ms < HAND_OVER_MS;

    if (!self->is_draining && drained_ms < SHARE_LOOK_MS)
        return;
    if (!self->is_draining && share_is_leaving(self)) {
        begin_to_leave(self);
        return;
    }
    if (is_busy(self, drained_ms) || hands_over || writes)
        return;
    replicas_log_drain(self);
    actor_stopped(self->actor);
}

static void storage_stop(void *ctx)
{
    struct storage *self = ctx;

    if (actor_instance(self->actor) == 0)
        save_clock(self);
    watches_cancel(self);
    audits_cancel(self);
    self->is_asked_to_stop = true;
    self->drain_ms = storage_now_ms(self);
    if (actor_active(self->actor, SERVICE_STORAGE) == 1 && self->share.is_any)
        begin_to_leave(self);
    uv_timer_start(&self->tick, on_drained, 0, DRAIN_LOOK_MS);
}

/* The actor has cancelled all that was asked of others; what is left is here. */
static void storage_free(void *ctx)
{
    struct storage *self = ctx;

    self->is_stopping = true;
    watches_cancel(self);
    audits_cancel(self);
    commits_free(&self->commits);
    errands_cancel(self);
    (void)find_pace(self);
    replicas_free(&self->replicas);
    boxes_free(&self->boxes);
    puts_cancel(self);
    presence_done(&self->presence);
    db_close(&self->db);
    local_address_free(&self->local_address);
    free(self->answer_memory);
    uv_close((uv_handle_t *)&self->tick, NULL);
    uv_close((uv_handle_t *)&self->pace, NULL);
    actor_free_later(self->actor, self);
}

static handler_fn *const handlers[] = {
    [LB__STORAGE__REQUEST__BODY_QUESTIONS] = on_questions,
    [LB__STORAGE__REQUEST__BODY_PUT] = on_put,
    [LB__STORAGE__REQUEST__BODY_GET] = on_get,
    [LB__STORAGE__REQUEST__BODY_ANNOUNCE] = on_announce,
    [LB__STORAGE__REQUEST__BODY_GET_STATS] = on_get_stats,
    [LB__STORAGE__REQUEST__BODY_REMOVE] = on_remove,
    [LB__STORAGE__REQUEST__BODY_AUDIT] = on_audit,
};

const struct service_definition storage_definition = {
    .service = SERVICE_STORAGE,
    .request = &lb__storage__request__descriptor,
    .reply = &lb__storage__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof handlers / sizeof *handlers,
    .start = storage_start,
    .stop = storage_stop,
    .free = storage_free,
    .scaled = storage_scaled,
};
