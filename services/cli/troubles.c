#include "services/cli/troubles.h"

#include "services/cli/target.h"
#include "services/cli/units.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

/* What the rules look at. */
struct world {
    bool serving[SERVICES_COUNT]; /* some instance serves */
    bool is_system;
    bool has_supervisor;
};

__attribute__((format(printf, 2, 3))) static void advise(struct trouble *trouble,
                                                         const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(trouble->advice, sizeof trouble->advice, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 2, 3))) static void say(struct trouble *trouble, const char *format,
                                                      ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(trouble->what, sizeof trouble->what, format, arguments);
    va_end(arguments);
}

/* Where its log is: "journalctl -u littlebird-swarm@0", or the file's name. */
static const char *log_of(const struct world *world, const struct process *row, char ret_text[64])
{
    bool is_one = row->service == SERVICE_SUPERVISOR || row->service == SERVICE_ROUTING ||
                  row->service == SERVICE_GATEWAY || service_is_optional(row->service);

    if (!world->is_system)
        snprintf(ret_text, 64, "littlebird.log");
    else if (is_one)
        snprintf(ret_text, 64, "journalctl -u littlebird-%s", service_text(row->service));
    else
        snprintf(ret_text, 64, "journalctl -u littlebird-%s@%u", service_text(row->service),
                 row->instance);
    return ret_text;
}

/* ---- one rule for each kind of row; they say what, and what to do ---- */

static void on_failed(const struct world *world, const struct process *row, const char *name,
                      struct trouble *trouble)
{
    char log[64];

    say(trouble, "%s has failed: %s", name, row->note);
    if (row->last_exit == EX_CONFIG)
        advise(trouble, "lb-admin config check; then lb-admin restart %s", name);
    else if (row->last_exit == EX_NOPERM)
        advise(trouble, "see %s for what it may not; then lb-admin restart %s",
               log_of(world, row, log), name);
    else
        advise(trouble, "see %s for why; then lb-admin restart %s", log_of(world, row, log), name);
}

static void on_hung(const struct world *world, const struct process *row, const char *name,
                    struct trouble *trouble)
{
    char duration[UNITS_SIZE], restart[TROUBLE_TEXT_SIZE];

    if (row->service != SERVICE_SUPERVISOR)
        snprintf(restart, sizeof restart, "lb-admin restart %s", name);
    else
        snprintf(restart, sizeof restart, "%s",
                 world->is_system ? "systemctl restart littlebird-supervisor"
                                  : "littlebird down, then littlebird up");
    if (row->stopped) {
        say(trouble, "%s hangs: its process %u is stopped by a signal", name, row->pid);
        advise(trouble, "kill -CONT %u, or %s", row->pid, restart);
        return;
    }
    say(trouble, "%s hangs: no sign of life for %s", name,
        units_duration(row->heartbeat_age_ms / 1000, duration));
    advise(trouble, "its manager starts it again; if not: %s", restart);
}

static void on_gone(const struct world *world, const struct process *row, const char *name,
                    struct trouble *trouble)
{
    (void)row;
    say(trouble, "%s does not run", name);
    if (world->is_system)
        advise(trouble, "systemctl start littlebird.target");
    else if (world->has_supervisor)
        advise(trouble, "lb-admin restart %s", name);
    else
        advise(trouble, "nobody restarts it: littlebird down, then littlebird up");
}

static void on_backoff(const struct world *world, const struct process *row, const char *name,
                       struct trouble *trouble)
{
    char log[64];

    say(trouble, "%s ended and is to be started again: %s", name, row->note);
    if (row->restarts > 1)
        advise(trouble, "see %s for why it ended", log_of(world, row, log));
}

static void on_starting(const struct world *world, const struct process *row, const char *name,
                        struct trouble *trouble)
{
    char duration[UNITS_SIZE], log[64];

    say(trouble, "%s has been starting for %s", name,
        units_duration(row->since_ms / 1000, duration));
    if (row->since_ms > TROUBLE_START_MS)
        advise(trouble, "see %s for what it waits for", log_of(world, row, log));
}

static void on_draining(const struct world *world, const struct process *row, const char *name,
                        struct trouble *trouble)
{
    (void)world;
    (void)row;
    say(trouble, "%s is being stopped", name);
}

static void on_degraded(const struct world *world, const struct process *row, const char *name,
                        struct trouble *trouble)
{
    (void)world;
    say(trouble, "%s: %s", name, row->note);
    if (row->service == SERVICE_ROUTING)
        advise(trouble, "is a bootstrap node up, and does UDP get through? lb-admin peers");
    else if (row->service == SERVICE_SWARM)
        advise(trouble, "littlebird list says which");
    else if (row->service == SERVICE_COORDINATOR && strstr(row->note, "the disk is") != NULL)
        advise(trouble, "make room where the node keeps its data: 8 MiB and more");
    else if (row->service == SERVICE_COORDINATOR && strstr(row->note, "coordinator renew") != NULL)
        advise(trouble, "lb-admin coordinator renew --root-key FILE, the key from the drawer");
    else if (row->service == SERVICE_COORDINATOR)
        advise(trouble,
               "lb-admin coordinator status; do the others run, and does TCP get through?");
    else if (row->service == SERVICE_MEMBER && strstr(row->note, "put out") != NULL)
        advise(trouble, "ask who runs the network; back in only by another token, see "
                        "littlebird-network(7)");
    else if (row->service == SERVICE_MEMBER)
        advise(trouble, "is the clock right, and is a coordinator up? lb-admin renew");
}

/* It serves, but not as it should. */
static bool on_slow(const struct process *row, const char *name, struct trouble *trouble)
{
    char duration[UNITS_SIZE];

    if (row->heartbeat_age_ms > TROUBLE_SILENT_MS) {
        say(trouble, "%s has given no sign of life for %s", name,
            units_duration(row->heartbeat_age_ms / 1000, duration));
        return true;
    }
    if (row->backlog_ms <= TROUBLE_BACKLOG_MS)
        return false;
    say(trouble, "%s has requests that wait since %s, %u of them", name,
        units_duration(row->backlog_ms / 1000, duration), row->queue);
    return true;
}

typedef void rule_fn(const struct world *world, const struct process *row, const char *name,
                     struct trouble *trouble);

static rule_fn *const rules[STATES_COUNT] = {
    [STATE_STARTING] = on_starting, [STATE_DEGRADED] = on_degraded, [STATE_DRAINING] = on_draining,
    [STATE_BACKOFF] = on_backoff,   [STATE_FAILED] = on_failed,     [STATE_HUNG] = on_hung,
};

/* ---- the node ---- */

/* Was its process there and ended without a word? Stopped in order is no trouble by itself. */
static bool is_gone(const struct process *row)
{
    return row->state == STATE_STOPPED && row->killed;
}

static bool judge(const struct world *world, const struct process *row, struct trouble *trouble)
{
    char name[TARGET_NAME_SIZE];

    target_format(row->service, row->instance, name);
    if (is_gone(row))
        on_gone(world, row, name, trouble);
    else if (rules[row->state] != NULL)
        rules[row->state](world, row, name, trouble);
    else if (row->state != STATE_READY || !on_slow(row, name, trouble))
        return false;
    trouble->weight = world->serving[row->service] ? TROUBLE_WARNING : TROUBLE_CRITICAL;
    return true;
}

static void add(struct troubles *self, const struct trouble *trouble)
{
    size_t at = self->count;

    if (self->count == TROUBLES_MAX)
        return;
    while (at > 0 && self->list[at - 1].weight < trouble->weight) {
        self->list[at] = self->list[at - 1];
        at--;
    }
    self->list[at] = *trouble;
    self->count++;
}

static bool is_told(const struct process *rows, size_t count, enum service service)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].service == service && (rows[i].state != STATE_STOPPED || rows[i].killed))
            return true;
    }
    return false;
}

static bool is_listed(const struct process *rows, size_t count, enum service service)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].service == service)
            return true;
    }
    return false;
}

/* Services that nothing is known of and that every node has, or that were stopped in order while
 * others go on. */
static void add_missing(struct troubles *self, const struct world *world,
                        const struct process *rows, size_t count)
{
    for (int i = 0; i < SERVICES_COUNT; i++) {
        struct process row = { .service = (enum service)i };
        struct trouble trouble = { .weight = TROUBLE_CRITICAL };

        if (world->serving[i] || is_told(rows, count, (enum service)i) ||
            (service_is_optional((enum service)i) && !is_listed(rows, count, (enum service)i)))
            continue;
        on_gone(world, &row, service_text((enum service)i), &trouble);
        add(self, &trouble);
    }
}

static void add_not_running(struct troubles *self, bool is_system)
{
    struct trouble trouble = { .weight = TROUBLE_CRITICAL };

    say(&trouble, "the node is not running");
    advise(&trouble, is_system ? "systemctl start littlebird.target" : "littlebird up");
    add(self, &trouble);
}

void troubles_find(struct troubles *ret_self, const struct process *rows, size_t count,
                   bool is_system)
{
    struct world world = { .serving = { [SERVICE_SUPERVISOR] = true }, .is_system = is_system };
    bool any = false;

    ret_self->count = 0;
    for (size_t i = 0; i < count; i++) {
        any |= rows[i].alive;
        world.serving[rows[i].service] |= rows[i].alive && service_state_serves(rows[i].state);
        world.has_supervisor |= rows[i].service == SERVICE_SUPERVISOR && rows[i].alive;
    }
    if (!any) {
        add_not_running(ret_self, is_system);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct trouble trouble = { .weight = TROUBLE_NONE };

        if (judge(&world, &rows[i], &trouble))
            add(ret_self, &trouble);
    }
    add_missing(ret_self, &world, rows, count);
}

enum trouble_weight troubles_worst(const struct troubles *self)
{
    return self->count > 0 ? self->list[0].weight : TROUBLE_NONE;
}
