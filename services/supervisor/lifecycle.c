#include "services/supervisor/lifecycle.h"

#include <assert.h>
#include <stddef.h>
#include <sysexits.h>

typedef enum life_order action_fn(struct lifecycle *self, int32_t detail, uint64_t now_ms);

static void forget_the_past(struct lifecycle *self)
{
    self->restarted_count = 0;
    self->on_probation = false;
}

void lifecycle_init(struct lifecycle *self, uint64_t watchdog_ms, uint64_t seed)
{
    *self = (struct lifecycle){ .state = LIFE_STOPPED,
                                .deadline_ms = LIFECYCLE_NEVER,
                                .watchdog_ms = watchdog_ms };
    random_init(&self->random, seed);
}

static enum life_order spawn(struct lifecycle *self, uint64_t now_ms)
{
    self->state = LIFE_STARTING;
    self->generation++;
    self->deadline_ms = now_ms + LIFECYCLE_START_LIMIT_MS;
    return LIFE_DO_SPAWN;
}

static enum life_order respawn(struct lifecycle *self, uint64_t now_ms)
{
    self->restarts++;
    return spawn(self, now_ms);
}

/* A restart that nobody asked for: it counts. */
static enum life_order recover(struct lifecycle *self, uint64_t now_ms)
{
    self->restarted_ms[self->restarted_count % LIFECYCLE_BURST] = now_ms;
    self->restarted_count++;
    return respawn(self, now_ms);
}

/* Half of the delay is certain, so that it is a delay; half is jitter, so that nodes part. */
static uint64_t backoff_ms(struct lifecycle *self)
{
    uint64_t delay_ms = LIFECYCLE_BACKOFF_MS;

    if (self->restarted_count == 0) {
        return 0;
    }
    for (uint32_t i = 1; i < self->restarted_count && delay_ms < LIFECYCLE_BACKOFF_MAX_MS; i++) {
        delay_ms *= 2;
    }
    if (delay_ms > LIFECYCLE_BACKOFF_MAX_MS) {
        delay_ms = LIFECYCLE_BACKOFF_MAX_MS;
    }
    return delay_ms / 2 + random_below(&self->random, delay_ms / 2 + 1);
}

static bool restarted_too_often(const struct lifecycle *self, uint64_t now_ms)
{
    if (self->restarted_count < LIFECYCLE_BURST) {
        return false;
    }
    return now_ms - self->restarted_ms[self->restarted_count % LIFECYCLE_BURST] <
           LIFECYCLE_BURST_WINDOW_MS;
}

static enum life_order on_start(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    return spawn(self, now_ms);
}

static void await_beat(struct lifecycle *self, uint64_t now_ms)
{
    self->deadline_ms = self->watchdog_ms == 0 ? LIFECYCLE_NEVER : now_ms + self->watchdog_ms;
}

static enum life_order on_ready(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    self->state = LIFE_READY;
    self->ready_since_ms = now_ms;
    await_beat(self, now_ms);
    return LIFE_DO_NOTHING;
}

static enum life_order on_beat(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    await_beat(self, now_ms);
    return LIFE_DO_NOTHING;
}

/* Nobody asked for this end. */
static enum life_order on_crash(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    uint64_t delay_ms;

    if (detail == EX_NOPERM || detail == EX_CONFIG) {
        self->state = LIFE_REFUSED;
        self->deadline_ms = LIFECYCLE_NEVER;
        return LIFE_DO_NOTHING;
    }
    if (self->on_probation || restarted_too_often(self, now_ms)) {
        self->state = LIFE_FAILED;
        self->deadline_ms = now_ms + LIFECYCLE_FAILED_RETRY_MS;
        return LIFE_DO_NOTHING;
    }
    delay_ms = backoff_ms(self);
    if (delay_ms == 0) {
        return recover(self, now_ms);
    }
    self->state = LIFE_BACKOFF;
    self->deadline_ms = now_ms + delay_ms;
    return LIFE_DO_NOTHING;
}

static enum life_order on_crash_of_ready(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    if (now_ms - self->ready_since_ms >= LIFECYCLE_STABLE_MS) {
        forget_the_past(self);
    }
    return on_crash(self, detail, now_ms);
}

/* Also again and again: SIGKILL waits while a process sits in the kernel. */
static enum life_order on_overdue(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    self->deadline_ms = now_ms + LIFECYCLE_STOP_LIMIT_MS;
    return LIFE_DO_KILL;
}

static enum life_order on_silence(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    if (self->state == LIFE_READY && now_ms - self->ready_since_ms >= LIFECYCLE_STABLE_MS) {
        forget_the_past(self);
    }
    self->state = LIFE_HUNG;
    if (detail == LIFECYCLE_STOPPED) {
        return on_overdue(self, detail, now_ms);
    }
    self->deadline_ms = now_ms + LIFECYCLE_ABORT_GRACE_MS;
    return LIFE_DO_ABORT;
}

static enum life_order on_backoff_over(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    return recover(self, now_ms);
}

static enum life_order on_retry(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    self->on_probation = true;
    return recover(self, now_ms);
}

static enum life_order on_restart_of_running(struct lifecycle *self, int32_t detail,
                                             uint64_t now_ms)
{
    (void)detail;
    forget_the_past(self);
    self->state = LIFE_RESTARTING;
    self->deadline_ms = now_ms + LIFECYCLE_STOP_LIMIT_MS;
    return LIFE_DO_TERM;
}

static enum life_order on_restart_of_absent(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    forget_the_past(self);
    return respawn(self, now_ms);
}

static enum life_order on_exit_to_restart(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    return respawn(self, now_ms);
}

static enum life_order on_stop_of_running(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    self->state = LIFE_DRAINING;
    self->deadline_ms = now_ms + LIFECYCLE_STOP_LIMIT_MS;
    return LIFE_DO_TERM;
}

/* It was told to end before; its deadline stands. */
static enum life_order on_stop_of_ending(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    (void)now_ms;
    self->state = LIFE_DRAINING;
    return LIFE_DO_NOTHING;
}

static enum life_order on_end(struct lifecycle *self, int32_t detail, uint64_t now_ms)
{
    (void)detail;
    (void)now_ms;
    self->state = LIFE_STOPPED;
    self->deadline_ms = LIFECYCLE_NEVER;
    return LIFE_DO_NOTHING;
}

static action_fn *const actions[LIFE_STATES_COUNT][LIFE_EVENTS_COUNT] = {
    [LIFE_STOPPED] = {
        [LIFE_ON_START] = on_start,
        [LIFE_ON_RESTART] = on_restart_of_absent,
    },
    [LIFE_STARTING] = {
        [LIFE_ON_READY] = on_ready,
        [LIFE_ON_BROKEN] = on_silence,
        [LIFE_ON_EXIT] = on_crash,
        [LIFE_ON_TIMER] = on_silence,
        [LIFE_ON_RESTART] = on_restart_of_running,
        [LIFE_ON_STOP] = on_stop_of_running,
    },
    [LIFE_READY] = {
        [LIFE_ON_BEAT] = on_beat,
        [LIFE_ON_BROKEN] = on_silence,
        [LIFE_ON_STUCK] = on_silence,
        [LIFE_ON_EXIT] = on_crash_of_ready,
        [LIFE_ON_TIMER] = on_silence,
        [LIFE_ON_RESTART] = on_restart_of_running,
        [LIFE_ON_STOP] = on_stop_of_running,
    },
    [LIFE_HUNG] = {
        [LIFE_ON_EXIT] = on_crash,
        [LIFE_ON_TIMER] = on_overdue,
        [LIFE_ON_STOP] = on_stop_of_ending,
    },
    [LIFE_DRAINING] = {
        [LIFE_ON_EXIT] = on_end,
        [LIFE_ON_TIMER] = on_overdue,
    },
    [LIFE_RESTARTING] = {
        [LIFE_ON_EXIT] = on_exit_to_restart,
        [LIFE_ON_TIMER] = on_overdue,
        [LIFE_ON_STOP] = on_stop_of_ending,
    },
    [LIFE_BACKOFF] = {
        [LIFE_ON_TIMER] = on_backoff_over,
        [LIFE_ON_RESTART] = on_restart_of_absent,
        [LIFE_ON_STOP] = on_end,
    },
    [LIFE_FAILED] = {
        [LIFE_ON_TIMER] = on_retry,
        [LIFE_ON_RESTART] = on_restart_of_absent,
        [LIFE_ON_STOP] = on_end,
    },
    [LIFE_REFUSED] = {
        [LIFE_ON_RESTART] = on_restart_of_absent,
        [LIFE_ON_STOP] = on_end,
    },
};

enum life_order lifecycle_event(struct lifecycle *self, enum life_event event, int32_t detail,
                                uint64_t now_ms)
{
    action_fn *action;

    assert(self->state < LIFE_STATES_COUNT);
    assert(event < LIFE_EVENTS_COUNT);
    action = actions[self->state][event];
    if (!action || (event == LIFE_ON_TIMER && now_ms < self->deadline_ms)) {
        return LIFE_DO_NOTHING;
    }
    if (event == LIFE_ON_EXIT) {
        self->last_exit = detail;
    }
    return action(self, detail, now_ms);
}

uint64_t lifecycle_deadline_ms(const struct lifecycle *self)
{
    return self->deadline_ms;
}

bool lifecycle_has_process(const struct lifecycle *self)
{
    switch (self->state) {
    case LIFE_STARTING:
    case LIFE_READY:
    case LIFE_HUNG:
    case LIFE_DRAINING:
    case LIFE_RESTARTING:
        return true;
    default:
        return false;
    }
}

#define LIFE_TEXT(name, text) text,

const char *life_state_text(enum life_state state)
{
    static const char *const texts[] = { LIFE_STATES(LIFE_TEXT) };

    assert(state < LIFE_STATES_COUNT);
    return texts[state];
}

const char *life_event_text(enum life_event event)
{
    static const char *const texts[] = { LIFE_EVENTS(LIFE_TEXT) };

    assert(event < LIFE_EVENTS_COUNT);
    return texts[event];
}
