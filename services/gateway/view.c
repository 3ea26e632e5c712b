#include "services/gateway/view.h"

#include "libcommon/memory.h"
#include "proto/littlebird/v1/node.pb-c.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool view_process(const struct view *self, enum service service, unsigned instance,
                  struct process *ret_process)
{
    const struct status_slot *slot = status_page_slot(self->status, service, instance);
    enum service_state state = slot ? status_slot_state(slot, self->now_ms) : STATE_ABSENT;

    if (state == STATE_ABSENT)
        return false;
    *ret_process = (struct process){
        .service = service, .instance = instance, .state = state, .pid = atomic_load(&slot->pid)
    };
    return true;
}

/* A process message and what it points to; the notes of the page may change while we read. */
struct shown {
    Littlebird__V1__Process process;
    Littlebird__V1__Counter counters[STATUS_COUNTERS_MAX];
    Littlebird__V1__Counter *pointers[STATUS_COUNTERS_MAX];
    char names[STATUS_COUNTERS_MAX][STATUS_NAME_SIZE];
    char note[STATUS_NOTE_SIZE];
};

static void copy_text(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    to[size - 1] = '\0';
}

static void show_counters(struct shown *self, const struct status_slot *slot)
{
    size_t count = 0;

    for (; count < STATUS_COUNTERS_MAX && slot->counters[count].name[0] != '\0'; count++) {
        Littlebird__V1__Counter *counter = &self->counters[count];

        littlebird__v1__counter__init(counter);
        copy_text(self->names[count], slot->counters[count].name, STATUS_NAME_SIZE);
        counter->name = self->names[count];
        counter->value = atomic_load(&slot->counters[count].value);
        self->pointers[count] = counter;
    }
    self->process.counters = self->pointers;
    self->process.n_counters = count;
}

static void show(struct shown *self, const struct view *view, const struct process *from)
{
    const struct status_slot *slot = status_page_slot(view->status, from->service, from->instance);
    uint64_t since_ms = atomic_load(&slot->since_ms);
    Littlebird__V1__Process *process = &self->process;

    littlebird__v1__process__init(process);
    process->service = (char *)(uintptr_t)service_text(from->service);
    process->instance = from->instance;
    process->state = (char *)(uintptr_t)service_state_text(from->state);
    process->pid = from->pid;
    process->since_ms = from->pid != 0 && view->now_ms > since_ms ? view->now_ms - since_ms : 0;
    process->restarts = atomic_load(&slot->restarts);
    process->queue = atomic_load(&slot->queue);
    process->last_exit = atomic_load(&slot->last_exit);
    copy_text(self->note, slot->note, sizeof(self->note));
    process->note = self->note;
    show_counters(self, slot);
}

void view_process_message(const struct view *self, const struct process *process,
                          message_take_fn *respond, void *ctx)
{
    struct shown shown;

    show(&shown, self, process);
    respond(ctx, &shown.process.base);
}

static ProtobufCBinaryData node_id_of(const struct view *self)
{
    if (!self->node_id)
        return (ProtobufCBinaryData){ 0 };
    return (ProtobufCBinaryData){ .len = NODE_ID_SIZE,
                                  .data = (uint8_t *)(uintptr_t)self->node_id->bytes };
}

/* One that is being started again is still one. */
static bool is_coordinator(const struct view *self)
{
    struct process process;

    return view_process(self, SERVICE_COORDINATOR, 0, &process);
}

bool view_answers(const struct view *self, const struct method *method, struct answer *ret_refusal)
{
    bool of_register = method->service == SERVICE_COORDINATOR;

    if (!of_register && method->service != SERVICE_MEMBER)
        return true;
    if (!self->member) {
        *ret_refusal = answer_error(LB_UNSUPPORTED, "%s",
                                    "this node is of the open network: littlebird join makes it a "
                                    "member of a private one, lb-admin network create begins one");
        return false;
    }
    if (!of_register || is_coordinator(self))
        return true;
    *ret_refusal =
        answer_error(LB_UNAVAILABLE,
                     "this node is no coordinator of the network %s: ask on one, lb-admin status "
                     "names them",
                     self->member->network_name);
    ret_refusal->retry_after_ms = 0;
    return false;
}

void view_server_info(const struct view *self, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__GetServerInfoResponse response = LITTLEBIRD__V1__GET_SERVER_INFO_RESPONSE__INIT;
    char *names[API_METHODS_COUNT];
    struct answer refusal;

    for (size_t i = 0; i < API_METHODS_COUNT; i++) {
        if (view_answers(self, &api_methods[i], &refusal))
            names[response.n_methods++] = (char *)(uintptr_t)api_methods[i].name;
    }
    response.version = (char *)(uintptr_t)LB_VERSION;
    response.protocol_min = API_PROTOCOL_MIN;
    response.protocol_max = API_PROTOCOL_MAX;
    response.methods = names;
    response.node_id = node_id_of(self);
    response.message_bytes_max = API_MESSAGE_MAX;
    response.value_bytes_max = API_VALUE_MAX;
    respond(ctx, &response.base);
}

size_t view_processes(const struct view *self, struct process ret_processes[VIEW_PROCESSES_MAX])
{
    size_t count = 0;

    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned instance = 0; instance < STATUS_INSTANCES_MAX; instance++)
            count += view_process(self, (enum service)service, instance, &ret_processes[count]);
    }
    return count;
}

static bool is_flawless(const struct process *process)
{
    return process->state == STATE_READY || process->state == STATE_STOPPED;
}

/* "storage is failed: ended with code 1" */
static void say_why(const struct view *self, const struct process *process,
                    char ret_why[VIEW_WHY_SIZE])
{
    const struct status_slot *slot =
        status_page_slot(self->status, process->service, process->instance);
    char note[STATUS_NOTE_SIZE];

    copy_text(note, slot->note, sizeof(note));
    snprintf(ret_why, VIEW_WHY_SIZE, "%s-%u is %s%s%s", service_text(process->service),
             process->instance, service_state_text(process->state), note[0] != '\0' ? ": " : "",
             note);
}

/*
 * Down: a service that carries the node has no process that serves. Degraded: some process is not
 * as it should be. The supervisor is no part of it: a node whose services were started by hand, or
 * by systemd alone, is well without it.
 */
static enum view_level level_of(const struct view *self, const struct process *processes,
                                size_t count, char ret_why[VIEW_WHY_SIZE])
{
    bool serving[SERVICES_COUNT] = { [SERVICE_SUPERVISOR] = true };
    bool seen[SERVICES_COUNT] = { false };
    enum view_level level = VIEW_WELL;

    ret_why[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        serving[processes[i].service] |= service_state_serves(processes[i].state);
        seen[processes[i].service] = true;
    }
    for (size_t i = 0; i < count; i++) {
        bool hinders = !serving[processes[i].service];

        if (is_flawless(&processes[i]) && !hinders)
            continue;
        if (level == VIEW_WELL || hinders)
            say_why(self, &processes[i], ret_why);
        level = VIEW_DEGRADED;
        if (hinders)
            return VIEW_DOWN;
    }
    for (int service = 0; service < SERVICES_COUNT; service++) {
        if (!serving[service] && (seen[service] || !service_is_optional((enum service)service))) {
            snprintf(ret_why, VIEW_WHY_SIZE, "%s does not run",
                     service_text((enum service)service));
            return VIEW_DOWN;
        }
    }
    return level;
}

enum view_level view_level(const struct view *self, char ret_why[VIEW_WHY_SIZE])
{
    struct process processes[VIEW_PROCESSES_MAX];

    return level_of(self, processes, view_processes(self, processes), ret_why);
}

void view_status(const struct view *self, message_take_fn *respond, void *ctx)
{
    static const Littlebird__V1__GetStatusResponse__Level levels[] = {
        [VIEW_WELL] = LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_WELL,
        [VIEW_DEGRADED] = LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DEGRADED,
        [VIEW_DOWN] = LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN,
    };
    Littlebird__V1__GetStatusResponse response = LITTLEBIRD__V1__GET_STATUS_RESPONSE__INIT;
    struct process processes[VIEW_PROCESSES_MAX];
    Littlebird__V1__Process *pointers[VIEW_PROCESSES_MAX];
    size_t count = view_processes(self, processes);
    struct shown *shown;
    char why[VIEW_WHY_SIZE];

    shown = xcalloc(count, sizeof(*shown));
    for (size_t i = 0; i < count; i++) {
        show(&shown[i], self, &processes[i]);
        pointers[i] = &shown[i].process;
    }
    response.level = levels[level_of(self, processes, count, why)];
    response.processes = pointers;
    response.n_processes = count;
    response.node_id = node_id_of(self);
    respond(ctx, &response.base);
    free(shown);
}
