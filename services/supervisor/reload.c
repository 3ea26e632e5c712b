#include "services/supervisor/reload.h"

#include "libcommon/actor.h"
#include "libcommon/clock.h"
#include "libcommon/config_reload.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/orders.h"
#include "proto/supervisor.pb-c.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define LOOK_MS   50u
#define NAME_SIZE 32
#define LATE_MAX  (SERVICES_COUNT * STATUS_INSTANCES_MAX)

/* What there is to say about one reading, in lines for a person. */
struct account {
    char lines[CONFIG_KEYS_COUNT + SERVICES_COUNT][CONFIG_CHANGE_SIZE];
    char *applied[CONFIG_KEYS_COUNT], *needs_restart[CONFIG_KEYS_COUNT + SERVICES_COUNT];
    size_t applied_count, needs_restart_count;
    char late_names[LATE_MAX][NAME_SIZE];
    char *late[LATE_MAX];
    size_t late_count;
};

/* A call that waits until all have taken a version over. */
struct waiting {
    struct call *call; /* NULL: a free place */
    struct account *account;
    uint32_t version;
    uint64_t deadline_ms;
};

struct reload {
    struct actor *actor;
    const struct page *page;
    struct waiting waiting[RELOAD_CALLS_MAX];
    uv_timer_t *timer;
};

/* ---- answers ---- */

static void answer(struct call **call, const struct account *account, const char *problem)
{
    Lb__Supervisor__Reloaded reloaded = LB__SUPERVISOR__RELOADED__INIT;
    Lb__Supervisor__Reply reply = LB__SUPERVISOR__REPLY__INIT;

    reloaded.problem = (char *)(uintptr_t)problem;
    if (account != NULL) {
        reloaded.applied = (char **)(uintptr_t)account->applied;
        reloaded.n_applied = account->applied_count;
        reloaded.needs_restart = (char **)(uintptr_t)account->needs_restart;
        reloaded.n_needs_restart = account->needs_restart_count;
        reloaded.late = (char **)(uintptr_t)account->late;
        reloaded.n_late = account->late_count;
    }
    reply.body_case = LB__SUPERVISOR__REPLY__BODY_RELOADED;
    reply.reloaded = &reloaded;
    call_reply(call, &reply.base);
}

static bool serves(const struct status_slot *slot)
{
    return service_state_serves((enum service_state)atomic_load(&slot->state)) &&
           atomic_load(&slot->pid) != 0;
}

/* The services of which a process runs with other values than it would start with now. */
static unsigned find_outdated(const struct page *page, const struct config *now)
{
    unsigned outdated = 0;

    for (int service = 0; service < SERVICES_COUNT; service++) {
        uint64_t digest = config_digest_of(now, (enum service)service);

        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
            const struct status_slot *slot = status_page_slot(page, (enum service)service, i);

            if (serves(slot) && atomic_load(&slot->config_digest) != digest)
                outdated |= 1u << service;
        }
    }
    return outdated;
}

/* Does something remain to be done for it? What was scaled or restarted since is in use. */
static bool waits(const struct page *page, const struct config *now, enum config_key key,
                  unsigned outdated)
{
    unsigned services = config_services(key);

    for (int i = 0; config_effect(key) == CONFIG_SCALED && i < SERVICES_COUNT; i++) {
        if (services == 1u << i)
            return status_page_active(page, (enum service)i) != config_workers(now, key);
    }
    return config_effect(key) != CONFIG_ANEW || (services & outdated) != 0;
}

/* What was changed, used by a restart, and changed back is no change to us. */
static void add_outdated(struct account *self, unsigned outdated)
{
    for (int i = 0; i < SERVICES_COUNT; i++) {
        char *line = self->lines[CONFIG_KEYS_COUNT + i];

        if ((outdated & (1u << i)) == 0)
            continue;
        snprintf(line, CONFIG_CHANGE_SIZE, "%s runs with other values: lb-admin restart %s",
                 service_text((enum service)i), service_text((enum service)i));
        self->needs_restart[self->needs_restart_count++] = line;
    }
}

static struct account *account_of(const struct page *page, const struct config *before,
                                  const struct config *now)
{
    struct account *self = xcalloc(1, sizeof *self);
    unsigned outdated = find_outdated(page, now), told = 0;
    struct config_changes changes;

    config_compare(before, now, &changes);
    for (size_t i = 0; i < changes.count; i++) {
        enum config_key key = changes.keys[i];
        unsigned services = config_services(key) & outdated;
        char *line = self->lines[i];

        config_change_text(before, now, key, services, line);
        if (config_effect(key) == CONFIG_LIVE) {
            self->applied[self->applied_count++] = line;
        } else if (waits(page, now, key, outdated)) {
            self->needs_restart[self->needs_restart_count++] = line;
            told |= services;
        }
    }
    add_outdated(self, outdated & ~told);
    return self;
}

static void log_account(const struct account *self)
{
    log_info("the configuration is read again: %zu changes, %zu of them wait for a restart",
             self->applied_count + self->needs_restart_count, self->needs_restart_count);
    for (size_t i = 0; i < self->applied_count; i++)
        log_info("configuration: %s", self->applied[i]);
    for (size_t i = 0; i < self->needs_restart_count; i++)
        log_warn("configuration, not yet: %s", self->needs_restart[i]);
}

/* ---- waiting for the others ---- */

/* Versions only grow, and wrap after 2^32 reloads. */
static bool has_reached(uint32_t seen, uint32_t version)
{
    return (int32_t)(seen - version) >= 0;
}

/* Those that serve and have not taken it over; `over`: those that could not are among them. */
static size_t find_late(const struct page *page, uint32_t version, bool over,
                        struct account *account)
{
    size_t count = 0;

    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
            const struct status_slot *slot = status_page_slot(page, (enum service)service, i);
            bool refused = has_reached(atomic_load(&slot->config_refused), version) &&
                           atomic_load(&slot->config_refused) != 0;

            if (!serves(slot) || has_reached(atomic_load(&slot->config_version), version) ||
                (refused && !over))
                continue;
            snprintf(account->late_names[count], NAME_SIZE, "%s-%u%s",
                     service_text((enum service)service), i, refused ? " (see its log)" : "");
            account->late[count] = account->late_names[count];
            count++;
        }
    }
    return count;
}

static void log_outcome(const struct account *self)
{
    for (size_t i = 0; i < self->late_count; i++)
        log_warn("the configuration was not taken over by %s", self->late[i]);
    if (self->late_count == 0)
        log_info("the configuration is taken over by all");
}

static void end_waiting(struct reload *self, struct waiting *waiting)
{
    struct account *account = waiting->account;

    account->late_count = find_late(self->page, waiting->version, true, account);
    log_outcome(account);
    if (waiting->call != NULL)
        answer(&waiting->call, account, "");
    free(account);
    *waiting = (struct waiting){ NULL, NULL, 0, 0 };
}

static void on_timer(uv_timer_t *timer)
{
    struct reload *self = timer->data;
    uint64_t now_ms = clock_monotonic_ms();
    bool waits = false;

    for (size_t i = 0; i < RELOAD_CALLS_MAX; i++) {
        struct waiting *waiting = &self->waiting[i];

        if (waiting->account == NULL)
            continue;
        if (now_ms >= waiting->deadline_ms ||
            find_late(self->page, waiting->version, false, waiting->account) == 0)
            end_waiting(self, waiting);
        else
            waits = true;
    }
    if (!waits)
        uv_timer_stop(self->timer);
}

static struct waiting *free_place(struct reload *self)
{
    for (size_t i = 0; i < RELOAD_CALLS_MAX; i++) {
        if (self->waiting[i].account == NULL)
            return &self->waiting[i];
    }
    return NULL;
}

/* ---- reading ---- */

/* Those who wait for an earlier version wait for this one instead: the files it meant are gone. */
static void supersede(struct reload *self, uint32_t version, uint64_t deadline_ms)
{
    for (size_t i = 0; i < RELOAD_CALLS_MAX; i++) {
        self->waiting[i].version = version;
        self->waiting[i].deadline_ms = deadline_ms;
    }
}

/* call: NULL for SIGHUP. */
static void apply(struct reload *self, struct call *call, struct account *account, uint64_t digest)
{
    struct waiting *waiting = free_place(self);

    assert(waiting != NULL);
    log_account(account);
    waiting->call = call;
    waiting->account = account;
    supersede(self, orders_publish_config(self->page, digest),
              clock_monotonic_ms() + RELOAD_WAIT_MS);
    uv_timer_start(self->timer, on_timer, LOOK_MS, LOOK_MS);
}

static void reload(struct reload *self, struct call *call, bool dry_run)
{
    struct config_problem problem;
    struct config *now = NULL;
    struct account *account;
    uint64_t digest = 0;

    if (actor_read_config(self->actor, &now, &digest, &problem) != LB_OK) {
        log_error("%s; the configuration stays as it was", problem.text);
        if (call != NULL)
            answer(&call, NULL, problem.text);
        return;
    }
    account = account_of(self->page, actor_config(self->actor), now);
    config_free(&now);
    if (dry_run) {
        answer(&call, account, "");
        free(account);
        return;
    }
    apply(self, call, account, digest);
}

void reload_ask(struct reload *self, struct call *call, bool dry_run)
{
    if (!dry_run && free_place(self) == NULL) {
        call_fail(&call, LB_FULL, "%d reloads are under way", RELOAD_CALLS_MAX);
        return;
    }
    reload(self, call, dry_run);
}

void reload_hangup(struct reload *self)
{
    if (free_place(self) == NULL) {
        log_warn("%d reloads are under way: SIGHUP is ignored", RELOAD_CALLS_MAX);
        return;
    }
    reload(self, NULL, false);
}

/* ---- life ---- */

struct reload *reload_new(struct actor *actor, const struct page *page)
{
    struct reload *self = xcalloc(1, sizeof *self);
    int failed;

    self->actor = actor;
    self->page = page;
    self->timer = xcalloc(1, sizeof *self->timer);
    self->timer->data = self;
    failed = uv_timer_init(actor_loop(actor), self->timer);
    assert(failed == 0);
    return self;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void reload_free(struct reload **self)
{
    struct reload *freed = *self;

    *self = NULL;
    if (freed == NULL)
        return;
    for (size_t i = 0; i < RELOAD_CALLS_MAX; i++) {
        if (freed->waiting[i].account != NULL)
            end_waiting(freed, &freed->waiting[i]);
    }
    uv_close((uv_handle_t *)freed->timer, on_closed);
    free(freed);
}
