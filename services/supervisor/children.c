#include "services/supervisor/children.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void add(struct children *self, const struct roster_row *row, unsigned instance)
{
    struct child *child = &self->of[row->service][instance];

    assert(instance == self->count[row->service] && instance < STATUS_INSTANCES_MAX);
    child_init(child, &self->surroundings, row, instance,
               status_page_slot(self->page, row->service, instance));
    lifecycle_init(&child->life, self->watchdog_ms, clock_entropy());
    self->count[row->service]++;
}

void children_set(struct children *self, enum service service, unsigned instances)
{
    const struct roster_row *row = roster_find(service);

    assert(row);
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
        if (i < instances) {
            add(self, row, i);
        } else { /* what another run left there is no news */
            status_slot_clear(status_page_slot(self->page, service, i));
        }
    }
}

static struct child *find(struct children *self, enum service service, unsigned instance)
{
    assert((unsigned)service < SERVICES_COUNT && instance < self->count[service]);
    return &self->of[service][instance];
}

/* The status page's order of services is that of the roster (roster_test). */
struct child *children_next(struct children *self, const struct child *before)
{
    unsigned service = before ? before->row->service : 0;
    unsigned instance = before ? before->instance + 1 : 0;

    for (; service < SERVICES_COUNT; service++, instance = 0) {
        if (instance < self->count[service]) {
            return &self->of[service][instance];
        }
    }
    return NULL;
}

struct child *children_by_pid(struct children *self, pid_t pid)
{
    struct child *child = NULL;

    while (pid > 0 && (child = children_next(self, child)) != NULL) {
        if (child->pid == pid) {
            return child;
        }
    }
    return NULL;
}

unsigned children_running(const struct children *self)
{
    unsigned running = 0;

    for (unsigned service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < self->count[service]; i++) {
            if (lifecycle_has_process(&self->of[service][i].life)) {
                running |= 1u << service;
            }
        }
    }
    return running;
}

uint64_t children_deadline_ms(const struct children *self)
{
    uint64_t due_ms = LIFECYCLE_NEVER;

    for (unsigned service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < self->count[service]; i++) {
            uint64_t deadline_ms = lifecycle_deadline_ms(&self->of[service][i].life);

            due_ms = deadline_ms < due_ms ? deadline_ms : due_ms;
        }
    }
    return due_ms;
}

/* ---- as in manager.h ---- */

lb_err children_start(struct children *self, enum service service, unsigned instance,
                      const char **ret_problem)
{
    if (instance == self->count[service]) {
        lb_err err = sockets_add(self->sockets, service, instance, self->paths, &self->problem);

        if (err != LB_OK) {
            *ret_problem = self->problem.text;
            return err;
        }
        add(self, roster_find(service), instance);
    }
    child_tell(find(self, service, instance), LIFE_ON_START, 0);
    return LB_OK;
}

void children_restart(struct children *self, enum service service, unsigned instance)
{
    child_tell(find(self, service, instance), LIFE_ON_RESTART, 0);
}

void children_stop(struct children *self, enum service service, unsigned instance)
{
    if (instance < self->count[service]) { /* else it could not be started */
        child_tell(find(self, service, instance), LIFE_ON_STOP, 0);
    }
}

void children_release(struct children *self, enum service service, unsigned instance)
{
    if (instance < self->count[service]) {
        assert(instance + 1 == self->count[service]);
        assert(find(self, service, instance)->pid == 0);
        self->count[service]--;
        sockets_remove(self->sockets, service, instance);
        status_slot_clear(status_page_slot(self->page, service, instance));
    }
}

void children_steer(struct children *self, enum service service, unsigned active)
{
    if (service == SERVICE_TRANSPORT && sockets_steer(self->sockets, active) != LB_OK) {
        log_error("cannot share datagrams out among %u transport workers: %s", active,
                  strerror(errno));
    }
}

enum manager_condition children_look(const struct children *self, enum service service,
                                     unsigned instance, uint32_t *ret_generation)
{
    const struct child *child = &self->of[service][instance];

    if (instance >= self->count[service]) {
        return MANAGER_ENDED;
    }
    *ret_generation = child->life.generation;
    switch (child->life.state) {
    case LIFE_STOPPED:
        return MANAGER_ENDED;
    case LIFE_READY:
        return MANAGER_READY;
    case LIFE_FAILED:
    case LIFE_REFUSED:
        return MANAGER_FAILED;
    default:
        return MANAGER_BUSY;
    }
}
