#include "services/supervisor/child.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/supervisor/process.h"
#include "services/supervisor/sockets.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

void child_init(struct child *self, const struct child_surroundings *surroundings,
                const struct roster_row *row, unsigned instance, struct status_slot *slot)
{
    *self = (struct child){
        .surroundings = surroundings, .row = row, .instance = instance, .slot = slot
    };
    status_slot_clear(slot);
}

/* ---- the status page ---- */

enum service_state child_state(const struct child *self)
{
    switch (self->life.state) {
    case LIFE_STOPPED:
        return self->life.generation == 0 ? STATE_ABSENT : STATE_STOPPED;
    case LIFE_STARTING:
        return STATE_STARTING;
    case LIFE_READY: /* the service itself writes which of the two */
        return atomic_load(&self->slot->state) == STATE_DEGRADED ? STATE_DEGRADED : STATE_READY;
    case LIFE_HUNG:
        return STATE_HUNG;
    case LIFE_DRAINING:
    case LIFE_RESTARTING:
        return STATE_DRAINING;
    case LIFE_BACKOFF:
        return STATE_BACKOFF;
    default:
        return STATE_FAILED;
    }
}

/* A service that is ready writes its state itself: READY or DEGRADED. */
static void publish_state(const struct child *self, uint64_t now_ms)
{
    struct status_slot *slot = self->slot;
    uint32_t state = (uint32_t)child_state(self);
    uint32_t before = STATE_STARTING;

    if (self->life.state == LIFE_READY) {
        if (atomic_compare_exchange_strong(&slot->state, &before, state)) {
            atomic_store(&slot->since_ms, now_ms);
        }
    } else if (atomic_exchange(&slot->state, state) != state) {
        atomic_store(&slot->since_ms, now_ms);
    }
}

static void publish(struct child *self, uint64_t now_ms)
{
    struct status_slot *slot = self->slot;
    bool waits = self->life.state == LIFE_BACKOFF || self->life.state == LIFE_FAILED;

    publish_state(self, now_ms);
    atomic_store(&slot->pid, (uint32_t)self->pid);
    atomic_store(&slot->restarts, self->life.restarts);
    atomic_store(&slot->last_exit, self->life.last_exit);
    atomic_store(&slot->next_start_ms, waits ? self->life.deadline_ms : 0);
    if (self->pid == 0) {
        atomic_store(&slot->queue, 0);
        atomic_store(&slot->backlog_ms, 0);
    }
}

/* ---- its process ---- */

static lb_err find_program(const struct child *self, char ret_path[PATH_MAX])
{
    const char *const folders[] = { self->surroundings->program_folder, LB_LIBEXEC_FOLDER };

    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        int size = snprintf(ret_path, PATH_MAX, "%s/%s", folders[i], self->row->program);

        if (size > 0 && size < PATH_MAX && access(ret_path, F_OK) == 0) {
            return LB_OK;
        }
    }
    return LB_NOT_FOUND;
}

static size_t collect_sockets(const struct child *self, int ret_fds[PROCESS_SOCKETS_MAX],
                              const char *ret_names[PROCESS_SOCKETS_MAX])
{
    const struct sockets *sockets = self->surroundings->sockets;
    size_t count = 0;

    for (size_t i = 0; i < sockets->count && count < PROCESS_SOCKETS_MAX; i++) {
        const struct kept_socket *kept = &sockets->kept[i];

        if (kept->service == self->row->service && kept->instance == self->instance) {
            ret_fds[count] = kept->fd;
            ret_names[count++] = kept->name;
        }
    }
    return count;
}

/* Our own command line, so that every program of a node reads the same configuration. */
static void collect_arguments(const struct child *self, const char *instance,
                              const char *ret_arguments[PROCESS_ARGUMENTS_MAX])
{
    char *const *ours = self->surroundings->arguments;
    size_t count = 0;

    ret_arguments[count++] = self->row->program;
    for (size_t i = 0; ours[i] && count < PROCESS_ARGUMENTS_MAX - 5; i++) {
        ret_arguments[count++] = ours[i];
    }
    ret_arguments[count++] = "--set";
    ret_arguments[count++] = self->surroundings->sockets->listen_override;
    ret_arguments[count++] = "--instance";
    ret_arguments[count++] = instance;
    ret_arguments[count] = NULL;
}

static lb_err spawn(struct child *self)
{
    char program[PATH_MAX];
    char instance[16];
    char notify[sizeof(struct sockaddr_un) + 32];
    char watchdog[64];
    const char *environment[] = { notify, watchdog, "LB_PARENT_DEATH=stop", NULL };
    const char *arguments[PROCESS_ARGUMENTS_MAX];
    int fds[PROCESS_SOCKETS_MAX];
    const char *names[PROCESS_SOCKETS_MAX];
    struct process_start start = { .program = program,
                                   .arguments = arguments,
                                   .environment = environment,
                                   .sockets = fds,
                                   .socket_names = names };
    lb_err err = find_program(self, program);

    if (err != LB_OK) {
        errno = ENOENT;
        return err;
    }
    snprintf(instance, sizeof instance, "%u", self->instance);
    snprintf(notify, sizeof notify, "NOTIFY_SOCKET=%s", self->surroundings->notify_socket);
    snprintf(watchdog, sizeof watchdog, "WATCHDOG_USEC=%llu",
             (unsigned long long)self->life.watchdog_ms * 1000);
    collect_arguments(self, instance, arguments);
    start.sockets_count = collect_sockets(self, fds, names);
    return process_spawn(&start, &self->pid);
}

static void start_process(struct child *self)
{
    stall_init(&self->stall, self->surroundings->stuck_ms);
    atomic_store(&self->slot->overdue_ms, 0);
    atomic_store(&self->slot->heartbeat_ms, 0);
    status_slot_note(self->slot, "%s", "");
    if (spawn(self) == LB_OK) {
        log_debug("%s-%u started pid=%ld", service_text(self->row->service), self->instance,
                  (long)self->pid);
        return;
    }
    log_error("cannot start %s: %s", self->row->program, strerror(errno));
    child_tell(self, LIFE_ON_EXIT, EX_OSERR);
}

static void send_signal(const struct child *self, int number)
{
    if (number != SIGTERM) {
        log_warn("%s-%u pid=%ld is sent SIG%s", service_text(self->row->service), self->instance,
                 (long)self->pid, sigabbrev_np(number));
    }
    if (self->pid > 0 && kill(self->pid, number) != 0) {
        log_error("cannot signal pid=%ld: %s", (long)self->pid, strerror(errno));
    }
}

/* ---- what happens to it ---- */

static void note_end(struct child *self)
{
    int32_t end = self->life.last_exit;

    if (end < 0) {
        const char *name = sigabbrev_np(-end);

        status_slot_note(self->slot, "ended by signal %d (%s)", -end, name ? name : "?");
    } else {
        status_slot_note(self->slot, "ended with code %d%s", end,
                         self->life.state == LIFE_REFUSED ? ", which is not retried; see the log"
                                                          : "");
    }
}

static void log_end(const struct child *self, uint64_t now_ms)
{
    const char *service = service_text(self->row->service);
    const char *note = self->slot->note;
    double wait_s = (double)(self->life.deadline_ms - now_ms) / 1000.0;

    switch (self->life.state) {
    case LIFE_REFUSED:
        log_error("%s-%u failed: %s", service, self->instance, note);
        break;
    case LIFE_FAILED:
        log_error("%s-%u failed: %s, too often; again in %.0f s", service, self->instance, note,
                  wait_s);
        break;
    case LIFE_BACKOFF:
        log_warn("%s-%u %s; again in %.1f s", service, self->instance, note, wait_s);
        break;
    case LIFE_STARTING:
        log_warn("%s-%u %s; started again", service, self->instance, note);
        break;
    default:
        log_debug("%s-%u %s", service, self->instance, note);
        break;
    }
}

/* What lifecycle_event() wants to know of a process that may hang; asked for only then. */
static int32_t look_whether_stopped(const struct child *self, enum life_event event,
                                    uint64_t now_ms)
{
    bool may_hang = event == LIFE_ON_BROKEN || event == LIFE_ON_STUCK ||
                    (event == LIFE_ON_TIMER && now_ms >= self->life.deadline_ms);

    return may_hang && self->pid > 0 && process_is_stopped(self->pid) ? LIFECYCLE_STOPPED : 0;
}

/* Recursion through start_process() is two deep at most: a second failed start backs off. */
void child_tell(struct child *self, enum life_event event, int32_t detail)
{
    uint64_t now_ms = clock_monotonic_ms();
    enum life_order order;

    if (event == LIFE_ON_EXIT) {
        self->pid = 0;
    } else {
        detail = look_whether_stopped(self, event, now_ms);
    }
    order = lifecycle_event(&self->life, event, detail, now_ms);
    if (event == LIFE_ON_EXIT) {
        note_end(self);
        log_end(self, now_ms);
    }
    self->was_ready = self->was_ready || self->life.state == LIFE_READY;
    publish(self, now_ms);
    switch (order) {
    case LIFE_DO_NOTHING:
        return;
    case LIFE_DO_SPAWN:
        start_process(self);
        break;
    case LIFE_DO_TERM:
        send_signal(self, SIGTERM);
        break;
    case LIFE_DO_ABORT:
        send_signal(self, SIGABRT);
        break;
    case LIFE_DO_KILL:
        send_signal(self, SIGKILL);
        break;
    }
    atomic_store(&self->slot->pid, (uint32_t)self->pid); /* its state is its own from here on */
}

/* Only of one whose loop beats: else the watchdog strikes. */
static void look_whether_stuck(struct child *self)
{
    uint32_t overdue_ms = atomic_load(&self->slot->overdue_ms);

    if (self->life.state == LIFE_READY &&
        stall_look(&self->stall, atomic_load(&self->slot->answered), overdue_ms,
                   clock_monotonic_ms())) {
        log_error("%s-%u is stuck: its loop runs, but it has answered nothing for %.0f s, and its "
                  "oldest request is overdue by %.0f s",
                  service_text(self->row->service), self->instance,
                  (double)self->stall.limit_ms / 1000.0, (double)overdue_ms / 1000.0);
        child_tell(self, LIFE_ON_STUCK, 0);
    }
}

void child_take_notice(struct child *self, const struct notice *notice)
{
    const char *service = service_text(self->row->service);

    if (notice->has_status) { /* the note in its slot it writes itself */
        log_debug("%s-%u says: %s", service, self->instance, notice->status);
    }
    if (notice->store) {
        log_warn("%s-%u asked to keep a descriptor, which is not supported", service,
                 self->instance);
    }
    if (notice->ready && self->life.state == LIFE_STARTING) {
        child_tell(self, LIFE_ON_READY, 0);
        log_info("%s-%u is ready pid=%ld", service, self->instance, (long)self->pid);
    }
    if (notice->beat) {
        child_tell(self, LIFE_ON_BEAT, 0);
        look_whether_stuck(self);
    }
    if (notice->broken) {
        child_tell(self, LIFE_ON_BROKEN, 0);
    }
}

void child_reap(struct child *self)
{
    int status;

    if (self->pid > 0 && waitpid(self->pid, &status, WNOHANG) == self->pid) {
        child_tell(self, LIFE_ON_EXIT,
                   WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
    }
}

void child_kill(struct child *self)
{
    if (self->pid > 0) {
        send_signal(self, SIGKILL);
        waitpid(self->pid, NULL, 0);
        self->pid = 0;
        self->life.state = LIFE_STOPPED;
        publish(self, clock_monotonic_ms());
    }
}

bool child_has_settled(const struct child *self)
{
    return self->was_ready || self->life.state == LIFE_FAILED || self->life.state == LIFE_REFUSED;
}
