#include "services/supervisor/bus.h"

#include "libcommon/clock.h"
#include "libcommon/memory.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <uv.h>

#define ADDRESS    "unix:path=/run/systemd/private"
#define UNITS_PATH "/org/freedesktop/systemd1/unit"
#define MANAGER    "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define PROPERTIES "org.freedesktop.DBus.Properties"

#define CHANGES                                                                                    \
    "type='signal',interface='" PROPERTIES                                                         \
    "',member='PropertiesChanged',path_namespace='" UNITS_PATH "'"

/* One unit. While anything is unanswered a report of its state would be an old one. */
struct watched {
    struct bus *bus;
    enum service service;
    unsigned instance;
    bool asking;     /* for its properties */
    bool stale;      /* they may have changed since */
    unsigned orders; /* unanswered */
};

struct bus {
    const struct bus_events *events;
    void *ctx;
    struct uv_loop_s *loop;
    uv_timer_t *timer;     /* for sd-bus's own timeouts, or for connecting again */
    uv_prepare_t *prepare; /* what sd-bus waits for, before each sleep of the loop */
    uv_poll_t *poll;       /* NULL: not connected */
    sd_bus *connection;
    bool listing, listed;
    bool is_node_up;
    struct watched units[SERVICES_COUNT][STATUS_INSTANCES_MAX];
};

/* ---- units ---- */

/* NULL for a unit that is none of the node's. */
static struct watched *find(struct bus *self, const char *name)
{
    enum service service;
    unsigned instance;

    return unit_parse_name(name, &service, &instance) ? &self->units[service][instance] : NULL;
}

static void forget_units(struct bus *self)
{
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
            self->units[service][i] =
                (struct watched){ .bus = self, .service = (enum service)service, .instance = i };
        }
    }
}

static bool is_word(const char *name, const char *word)
{
    return strcmp(name, word) == 0;
}

static int read_word(sd_bus_message *message, char ret_word[UNIT_WORD_SIZE])
{
    const char *text;
    int failed = sd_bus_message_read(message, "v", "s", &text);

    if (failed >= 0) {
        snprintf(ret_word, UNIT_WORD_SIZE, "%s", text);
    }
    return failed;
}

static int read_ms(sd_bus_message *message, uint64_t *ret_ms)
{
    uint64_t time_us;
    int failed = sd_bus_message_read(message, "v", "t", &time_us);

    if (failed >= 0) {
        *ret_ms = time_us == UINT64_MAX ? 0 : time_us / 1000;
    }
    return failed;
}

static int read_job(sd_bus_message *message, bool *ret_has_job)
{
    uint32_t id;
    const char *path;
    int failed = sd_bus_message_read(message, "v", "(uo)", &id, &path);

    *ret_has_job = failed >= 0 && id != 0;
    return failed;
}

static int read_property(sd_bus_message *message, const char *name, struct unit_report *report)
{
    if (is_word(name, "ActiveState")) {
        return read_word(message, report->active);
    }
    if (is_word(name, "SubState")) {
        return read_word(message, report->sub);
    }
    if (is_word(name, "Result")) {
        return read_word(message, report->result);
    }
    if (is_word(name, "MainPID")) {
        return sd_bus_message_read(message, "v", "u", &report->pid);
    }
    if (is_word(name, "NRestarts")) {
        return sd_bus_message_read(message, "v", "u", &report->restarts);
    }
    if (is_word(name, "ExecMainCode")) {
        return sd_bus_message_read(message, "v", "i", &report->exit_code);
    }
    if (is_word(name, "ExecMainStatus")) {
        return sd_bus_message_read(message, "v", "i", &report->exit_status);
    }
    if (is_word(name, "RestartUSec")) {
        return read_ms(message, &report->restart_ms);
    }
    if (is_word(name, "WatchdogUSec")) {
        return read_ms(message, &report->watchdog_ms);
    }
    if (is_word(name, "StateChangeTimestampMonotonic")) {
        return read_ms(message, &report->changed_ms);
    }
    if (is_word(name, "Job")) {
        return read_job(message, &report->has_job);
    }
    return sd_bus_message_skip(message, "v");
}

static int read_report(sd_bus_message *message, struct unit_report *ret_report)
{
    struct unit_report report = { .pid = 0 };
    const char *name;
    int more = sd_bus_message_enter_container(message, 'a', "{sv}");

    while (more > 0 && (more = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
        more = sd_bus_message_read(message, "s", &name);
        if (more > 0) {
            more = read_property(message, name, &report);
        }
        if (more >= 0) {
            more = sd_bus_message_exit_container(message);
        }
    }
    if (more >= 0) {
        *ret_report = report;
    }
    return more;
}

static void ask(struct watched *unit);

static bool is_any_unanswered(const struct bus *self)
{
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
            if (self->units[service][i].asking || self->units[service][i].stale) {
                return true;
            }
        }
    }
    return false;
}

/* The first time that nothing is unanswered any more. */
static void settle(struct bus *self)
{
    if (self->listing && !self->listed && !is_any_unanswered(self)) {
        self->listed = true;
        self->events->listed(self->ctx, self->is_node_up);
    }
}

static int on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct watched *unit = userdata;
    struct bus *self = unit->bus;
    struct unit_report report;

    (void)error;
    unit->asking = false;
    if (!sd_bus_message_is_method_error(message, NULL) && unit->orders == 0 &&
        read_report(message, &report) >= 0) {
        self->events->report(self->ctx, unit->service, unit->instance, &report);
    }
    if (unit->stale) {
        ask(unit);
    }
    settle(self);
    return 0;
}

static void ask(struct watched *unit)
{
    char name[UNIT_NAME_SIZE];
    char *path = NULL;

    unit->stale = true;
    if (unit->asking || unit->orders > 0) {
        return; /* the answer asks again */
    }
    unit_service_name(unit->service, unit->instance, name);
    if (sd_bus_path_encode(UNITS_PATH, name, &path) >= 0 &&
        sd_bus_call_method_async(unit->bus->connection, NULL, NULL, path, PROPERTIES, "GetAll",
                                 on_properties, unit, "s", "") >= 0) {
        unit->asking = true;
        unit->stale = false;
    }
    free(path);
}

static int on_change(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct bus *self = userdata;
    char *name = NULL;
    struct watched *unit = NULL;

    (void)error;
    if (sd_bus_path_decode(sd_bus_message_get_path(message), UNITS_PATH, &name) > 0) {
        unit = find(self, name);
    }
    if (unit) {
        ask(unit);
    }
    free(name);
    return 0;
}

static int on_list(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct bus *self = userdata;
    const char *name, *active;
    int more = sd_bus_message_is_method_error(message, NULL)
                   ? -1
                   : sd_bus_message_enter_container(message, 'a', "(ssssssouso)");

    (void)error;
    while (more > 0 &&
           (more = sd_bus_message_read(message, "(ssssssouso)", &name, NULL, NULL, &active, NULL,
                                       NULL, NULL, NULL, NULL, NULL)) > 0) {
        struct watched *unit = find(self, name);

        if (unit) {
            ask(unit);
        } else if (is_word(name, UNIT_TARGET)) {
            self->is_node_up = is_word(active, "active");
        }
    }
    self->listing = true;
    settle(self);
    return 0;
}

/* ---- the connection ---- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_connection(struct bus *self)
{
    if (self->poll) {
        uv_close((uv_handle_t *)self->poll, free_handle);
        self->poll = NULL;
    }
    self->connection = sd_bus_close_unref(self->connection);
    self->listing = false;
    self->listed = false;
    self->is_node_up = false;
    forget_units(self);
}

static void on_retry(uv_timer_t *timer);

static void lose(struct bus *self, int failed)
{
    close_connection(self);
    uv_timer_start(self->timer, on_retry, BUS_RETRY_MS, 0);
    self->events->lost(self->ctx, strerror(-failed));
}

static void process(struct bus *self)
{
    int more;

    while (self->connection && (more = sd_bus_process(self->connection, NULL)) != 0) {
        if (more < 0) {
            lose(self, more);
            return;
        }
    }
}

static void on_timeout(uv_timer_t *timer)
{
    process(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    process(poll->data);
}

/* What it waits for changes with each call and each answer. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct bus *self = prepare->data;
    uint64_t due_us;
    int events;

    if (!self->connection) {
        return;
    }
    process(self); /* what was queued since goes out now */
    if (!self->connection) {
        return;
    }
    events = sd_bus_get_events(self->connection);
    uv_poll_start(self->poll,
                  (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0),
                  on_ready);
    if (sd_bus_get_timeout(self->connection, &due_us) > 0 && due_us != UINT64_MAX) {
        uint64_t now_us = clock_monotonic_ms() * 1000;

        uv_timer_start(self->timer, on_timeout, due_us > now_us ? (due_us - now_us) / 1000 + 1 : 0,
                       0);
    } else {
        uv_timer_stop(self->timer);
    }
}

static int list_units(struct bus *self)
{
    static const char member[] = "ListUnitsByPatterns";
    int failed = sd_bus_call_method_async(self->connection, NULL, NULL, MANAGER, member, on_list,
                                          self, "asas", 0, 2, "littlebird-*.service", UNIT_TARGET);

    return failed;
}

static int open_connection(struct bus *self)
{
    int failed = sd_bus_new(&self->connection);
    uv_poll_t *poll;

    if (failed >= 0) {
        failed = sd_bus_set_address(self->connection, ADDRESS);
    }
    if (failed >= 0) {
        failed = sd_bus_start(self->connection);
    }
    if (failed >= 0) {
        failed = sd_bus_add_match(self->connection, NULL, CHANGES, on_change, self);
    }
    if (failed >= 0) {
        failed = list_units(self);
    }
    if (failed < 0) {
        return failed;
    }
    poll = xcalloc(1, sizeof *poll);
    poll->data = self;
    failed = uv_poll_init(self->loop, poll, sd_bus_get_fd(self->connection));
    if (failed != 0) {
        free(poll);
        return failed;
    }
    self->poll = poll;
    return 0;
}

static void on_retry(uv_timer_t *timer)
{
    struct bus *self = timer->data;
    int failed = open_connection(self);

    if (failed < 0) {
        lose(self, failed);
    }
}

struct bus *bus_new(struct uv_loop_s *loop, const struct bus_events *events, void *ctx)
{
    struct bus *self = xcalloc(1, sizeof *self);

    self->events = events;
    self->ctx = ctx;
    self->loop = loop;
    forget_units(self);
    self->timer = xcalloc(1, sizeof *self->timer);
    self->prepare = xcalloc(1, sizeof *self->prepare);
    self->timer->data = self;
    self->prepare->data = self;
    uv_timer_init(loop, self->timer);
    uv_prepare_init(loop, self->prepare);
    uv_prepare_start(self->prepare, on_prepare);
    uv_timer_start(self->timer, on_retry, 0, 0);
    return self;
}

void bus_free(struct bus **self)
{
    struct bus *freed = *self;

    *self = NULL;
    if (!freed) {
        return;
    }
    close_connection(freed);
    uv_close((uv_handle_t *)freed->timer, free_handle);
    uv_close((uv_handle_t *)freed->prepare, free_handle);
    free(freed);
}

bool bus_is_up(const struct bus *self)
{
    return self->listed;
}

void bus_look(struct bus *self, enum service service, unsigned instance)
{
    if (self->connection) {
        ask(&self->units[service][instance]);
    }
}

/* ---- orders ---- */

static void refuse(struct watched *unit, const char *why)
{
    unit->bus->events->refused(unit->bus->ctx, unit->service, unit->instance, why);
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct watched *unit = userdata;
    const sd_bus_error *refusal = sd_bus_message_get_error(message);

    (void)error;
    unit->orders--;
    if (refusal) {
        refuse(unit, refusal->message ? refusal->message : refusal->name);
    }
    ask(unit);
    return 0;
}

/* A method of the manager about the unit called name: (s) NAME, MODE. */
static void order(struct watched *unit, const char *method, const char *name)
{
    struct bus *self = unit->bus;
    int failed;

    if (!self->listed) {
        refuse(unit, "systemd does not answer");
        return;
    }
    failed = sd_bus_call_method_async(self->connection, NULL, NULL, MANAGER, method, on_answer,
                                      unit, "ss", name, "replace");
    if (failed < 0) {
        refuse(unit, strerror(-failed));
    } else {
        unit->orders++;
    }
}

/* Starts by request are not counted among those that are too many. An unloaded unit has none. */
static void forget_failures(struct watched *unit, const char *name)
{
    if (unit->bus->listed) {
        (void)sd_bus_call_method_async(unit->bus->connection, NULL, NULL, MANAGER,
                                       "ResetFailedUnit", NULL, NULL, "s", name);
    }
}

static void begin(struct watched *unit, const char *method)
{
    char name[UNIT_NAME_SIZE];

    unit_service_name(unit->service, unit->instance, name);
    forget_failures(unit, name);
    order(unit, method, name);
}

void bus_start(struct bus *self, enum service service, unsigned instance)
{
    begin(&self->units[service][instance], "StartUnit");
}

void bus_restart(struct bus *self, enum service service, unsigned instance)
{
    begin(&self->units[service][instance], "RestartUnit");
}

void bus_stop(struct bus *self, enum service service, unsigned instance)
{
    char name[UNIT_NAME_SIZE];

    unit_socket_name(service, instance, name);
    order(&self->units[service][instance], "StopUnit", name);
}

void bus_stop_node(struct bus *self)
{
    order(&self->units[SERVICE_SUPERVISOR][0], "StopUnit", UNIT_TARGET);
}

void bus_kill(struct bus *self, enum service service, unsigned instance, int number)
{
    struct watched *unit = &self->units[service][instance];
    char name[UNIT_NAME_SIZE];

    unit_service_name(service, instance, name);
    if (self->listed &&
        sd_bus_call_method_async(self->connection, NULL, NULL, MANAGER, "KillUnit", on_answer, unit,
                                 "ssi", name, "main", number) >= 0) {
        unit->orders++;
    }
}
