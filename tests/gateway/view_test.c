#include "services/gateway/view.h"

#include "proto/littlebird/v1/node.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define NOW_MS 1000000u

static struct status_page memory;
static const struct page page = { .memory = &memory, .size = sizeof(memory) };
static const struct view view = { .status = &page, .now_ms = NOW_MS };

static void keep(void *ctx, const ProtobufCMessage *message)
{
    ProtobufCMessage **kept = ctx;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);

    assert_non_null(packed);
    protobuf_c_message_pack(message, packed);
    *kept = protobuf_c_message_unpack(message->descriptor, NULL, size, packed);
    assert_non_null(*kept);
    free(packed);
}

static struct status_slot *run(enum service service, unsigned instance, enum service_state state)
{
    struct status_slot *slot = status_page_slot(&page, service, instance);

    slot->pid = 100 + (unsigned)service;
    slot->state = state;
    slot->heartbeat_ms = NOW_MS - 400;
    slot->since_ms = NOW_MS - 60000;
    return slot;
}

/*
 * One letter a service: supervisor, routing, transport, storage, swarm, gateway, and on a private
 * network signer, coordinator, member: r ready, d degraded, s starting, f failed, b backoff, x
 * stopped, h no heartbeat, . absent.
 */
static const struct level_row {
    const char *what, *services;
    Littlebird__V1__GetStatusResponse__Level level;
} level_rows[] = {
    { "all ready", "rrrrrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_WELL },
    { "started by hand", ".rrrrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_WELL },
    { "one degraded", "rrdrrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DEGRADED },
    { "the supervisor gone", "frrrrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DEGRADED },
    { "one starting", "rrsrrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
    { "one failed", "rrrrfr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
    { "one hung", "rrhrrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
    { "one stopped", "rrrxrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
    { "one never started", "rrr.rr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
    { "a member", "rrrrrr..r", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_WELL },
    { "a member whose lb-member failed", "rrrrrr..f",
      LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
    { "a coordinator", "rrrrrrrrr", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_WELL },
    { "a coordinator that misses something", "rrrrrrrdr",
      LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DEGRADED },
    { "a coordinator whose signer was stopped", "rrrrrrxrr",
      LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
    { "nothing at all", "......", LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DOWN },
};

/* Of those that only some nodes have there is nothing where the row is shorter. */
static char letter_of(const char *services, enum service service)
{
    const enum service optional = SERVICE_SIGNER;
    const size_t everywhere = strlen("srtdwg");

    if (!service_is_optional(service))
        return services[service < optional ? service : everywhere - 1];
    return strlen(services) > everywhere ? services[everywhere + service - optional] : '.';
}

static void draw(const char *services)
{
    memset(&memory, 0, sizeof(memory));
    for (int service = 0; service < SERVICES_COUNT; service++) {
        switch (letter_of(services, (enum service)service)) {
        case 'r':
            run((enum service)service, 0, STATE_READY);
            break;
        case 'd':
            run((enum service)service, 0, STATE_DEGRADED);
            break;
        case 's':
            run((enum service)service, 0, STATE_STARTING);
            break;
        case 'f':
            run((enum service)service, 0, STATE_FAILED);
            break;
        case 'b':
            run((enum service)service, 0, STATE_BACKOFF);
            break;
        case 'x':
            run((enum service)service, 0, STATE_STOPPED);
            break;
        case 'h':
            run((enum service)service, 0, STATE_READY)->heartbeat_ms = NOW_MS - VIEW_HUNG_MS - 1;
            break;
        default:
            break;
        }
    }
}

static void level_is_told(void **state)
{
    const struct level_row *row = *state;
    ProtobufCMessage *kept = NULL;

    draw(row->services);
    view_status(&view, keep, &kept);
    assert_int_equal(((Littlebird__V1__GetStatusResponse *)kept)->level, row->level);
    protobuf_c_message_free_unpacked(kept, NULL);
}

static void a_second_instance_carries_the_service(void **state)
{
    ProtobufCMessage *kept = NULL;
    Littlebird__V1__GetStatusResponse *status;

    (void)state;
    draw("rrbrrrrrr");
    run(SERVICE_TRANSPORT, 1, STATE_READY);
    view_status(&view, keep, &kept);
    status = (Littlebird__V1__GetStatusResponse *)kept;
    assert_int_equal(status->level, LITTLEBIRD__V1__GET_STATUS_RESPONSE__LEVEL__LEVEL_DEGRADED);
    assert_int_equal(status->n_processes, SERVICES_COUNT + 1);
    protobuf_c_message_free_unpacked(kept, NULL);
}

static void a_process_is_shown(void **state)
{
    ProtobufCMessage *kept = NULL;
    struct status_slot *slot;
    struct process process;
    Littlebird__V1__Process *shown;

    (void)state;
    draw("......");
    assert_false(view_process(&view, SERVICE_STORAGE, 0, &process));
    assert_false(view_process(&view, SERVICE_STORAGE, STATUS_INSTANCES_MAX, &process));
    slot = run(SERVICE_STORAGE, 2, STATE_DEGRADED);
    slot->restarts = 3;
    slot->last_exit = -9;
    slot->queue = 4;
    memset(slot->note, 'n', sizeof(slot->note)); /* torn: no end */
    status_counter_add(status_slot_counter(slot, "puts"), 17);
    assert_true(view_process(&view, SERVICE_STORAGE, 2, &process));
    view_process_message(&view, &process, keep, &kept);
    shown = (Littlebird__V1__Process *)kept;
    assert_string_equal(shown->service, "storage");
    assert_int_equal(shown->instance, 2);
    assert_string_equal(shown->state, "degraded");
    assert_int_equal(shown->since_ms, 60000);
    assert_int_equal(shown->restarts, 3);
    assert_int_equal(shown->last_exit, -9);
    assert_int_equal(shown->queue, 4);
    assert_int_equal(strlen(shown->note), STATUS_NOTE_SIZE - 1);
    assert_int_equal(shown->n_counters, 1);
    assert_string_equal(shown->counters[0]->name, "puts");
    assert_int_equal(shown->counters[0]->value, 17);
    protobuf_c_message_free_unpacked(kept, NULL);
}

static void the_server_introduces_itself(void **state)
{
    const struct node_id id = { { 1, 2, 3 } };
    struct view known = view;
    ProtobufCMessage *kept = NULL;
    Littlebird__V1__GetServerInfoResponse *info;

    (void)state;
    view_server_info(&view, keep, &kept);
    info = (Littlebird__V1__GetServerInfoResponse *)kept;
    assert_int_equal(info->node_id.len, 0);
    assert_int_equal(info->n_methods, API_METHODS_COUNT - 15); /* all but NetworkService */
    assert_string_equal(info->version, LB_VERSION);
    assert_int_equal(info->protocol_max, 1);
    assert_int_equal(info->value_bytes_max, 1024 * 1024);
    protobuf_c_message_free_unpacked(kept, NULL);

    known.node_id = &id;
    view_server_info(&known, keep, &kept);
    info = (Littlebird__V1__GetServerInfoResponse *)kept;
    assert_memory_equal(info->node_id.data, id.bytes, NODE_ID_SIZE);
    protobuf_c_message_free_unpacked(kept, NULL);
}

/*
 * Which of NetworkService answer where: of the member alone, as SendMessage, or of the register, as
 * Invite.
 */
static const struct answer_row {
    const char *what, *services; /* as above */
    bool is_member;
    enum code member, of_register;
} answer_rows[] = {
    { "on the open network nothing does", "rrrrrr", false, CODE_UNIMPLEMENTED, CODE_UNIMPLEMENTED },
    { "a member has no register", "rrrrrr..r", true, CODE_OK, CODE_UNAVAILABLE },
    { "a coordinator has all", "rrrrrrrrr", true, CODE_OK, CODE_OK },
    { "also while its register is started again", "rrrrrrrbr", true, CODE_OK, CODE_OK },
    { "also while lb-member is", "rrrrrrrrb", true, CODE_OK, CODE_OK },
};

static enum code answers(const struct view *seen, const char *name)
{
    struct answer refusal = answer_ok(bytes_of(NULL, 0));
    bool does = view_answers(seen, method_find(name), &refusal);

    assert_int_equal(does, refusal.code == CODE_OK);
    assert_int_equal(refusal.retry_after_ms, 0); /* it would be the same again */
    assert_int_equal(does, refusal.text[0] == '\0');
    return refusal.code;
}

static void answers_where_it_can(void **state)
{
    const struct answer_row *row = *state;
    const struct identity identity = { .network_name = "lab" };
    struct view seen = view;
    ProtobufCMessage *kept = NULL;
    int count = API_METHODS_COUNT;

    draw(row->services);
    seen.member = row->is_member ? &identity : NULL;
    assert_int_equal(answers(&seen, "littlebird.v1.StorageService/Get"), CODE_OK);
    assert_int_equal(answers(&seen, "littlebird.v1.NetworkService/SendMessage"), row->member);
    assert_int_equal(answers(&seen, "littlebird.v1.NetworkService/Invite"), row->of_register);
    assert_int_equal(answers(&seen, "littlebird.v1.NetworkService/WithdrawInvitation"),
                     row->of_register);
    count -= (row->member == CODE_OK ? 0 : 6) + (row->of_register == CODE_OK ? 0 : 9);
    view_server_info(&seen, keep, &kept);
    assert_int_equal(((Littlebird__V1__GetServerInfoResponse *)kept)->n_methods, count);
    protobuf_c_message_free_unpacked(kept, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_instance_carries_the_service),
        cmocka_unit_test(a_process_is_shown),
        cmocka_unit_test(the_server_introduces_itself),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(level_rows, level_is_told) +
           RUN_ROWS(answer_rows, answers_where_it_can);
}
