/* The actor: frames that make no sense, or are too big. */
#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "proto/common.pb-c.h"
#include "tests/libcommon/actor_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

struct raw {
    void *context;
    void *socket;
};

static void raw_open(struct raw *self)
{
    char endpoint[256];
    int limit_ms = LIMIT_S * 1000;

    self->context = zmq_ctx_new();
    self->socket = zmq_socket(self->context, ZMQ_DEALER);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/run/storage-0.sock", world_folder);
    zmq_setsockopt(self->socket, ZMQ_RCVTIMEO, &limit_ms, sizeof limit_ms);
    zmq_setsockopt(self->socket, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    zmq_setsockopt(self->socket, ZMQ_RECONNECT_IVL, &(int){ 20 }, sizeof(int));
    assert_int_equal(zmq_connect(self->socket, endpoint), 0);
}

static void raw_close(struct raw *self)
{
    zmq_close(self->socket);
    zmq_ctx_term(self->context);
}

static void raw_send(struct raw *self, const char *const *frames, const size_t *sizes, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(zmq_send(self->socket, frames[i], sizes[i], i + 1 < count ? ZMQ_SNDMORE : 0) >=
                    0);
}

/* The next answer: its call id, and its error in *ret_err. */
static uint64_t raw_receive(struct raw *self, lb_err *ret_err)
{
    uint8_t header[4096], body[4096], buffer[1024];
    struct message_memory memory;
    struct message_header fields;
    int header_size = zmq_recv(self->socket, header, sizeof header, 0);
    int body_size = zmq_recv(self->socket, body, sizeof body, 0);

    assert_true(header_size > 0 && body_size >= 0);
    message_memory_init(&memory, buffer, sizeof buffer, MESSAGE_MEMORY_MAX);
    assert_int_equal(message_header_unpack(bytes_of(header, (size_t)header_size), &memory, &fields),
                     LB_OK);
    *ret_err = fields.err;
    message_memory_done(&memory);
    return fields.call_id;
}

#define HEADER_1 "\x08\x01" /* call_id = 1 */
#define HEADER_0 ""         /* no reply is wanted */
#define GET_X    "\x1a\x03\x0a\x01x"

#define ANSWERED_BY(err) true, err
#define NOT_ANSWERED     false, LB_OK

static const struct frame_row {
    const char *what;
    int count;
    const char *frames[4];
    size_t sizes[4];
    bool answered;
    lb_err err;
} frame_rows[] = {
    { "a request", 2, { HEADER_1, GET_X }, { 2, 5 }, ANSWERED_BY(LB_OK) },
    { "one-way", 2, { HEADER_0, GET_X }, { 0, 5 }, NOT_ANSWERED },
    { "a header that is none", 2, { "\xff\xff", GET_X }, { 2, 5 }, NOT_ANSWERED },
    { "a header cut short", 2, { "\x08", GET_X }, { 1, 5 }, NOT_ANSWERED },
    { "no body", 1, { HEADER_1 }, { 2 }, ANSWERED_BY(LB_INVALID) },
    { "three frames", 3, { HEADER_1, GET_X, GET_X }, { 2, 5, 5 }, ANSWERED_BY(LB_INVALID) },
    { "four frames", 4, { HEADER_1, "", "", GET_X }, { 2, 0, 0, 5 }, ANSWERED_BY(LB_INVALID) },
    { "an empty body", 2, { HEADER_1, "" }, { 2, 0 }, ANSWERED_BY(LB_UNSUPPORTED) },
    { "a body that is none", 2, { HEADER_1, "\x1a\x7f\x0a" }, { 2, 3 }, ANSWERED_BY(LB_INVALID) },
    { "a case from the future",
      2,
      { HEADER_1, "\xfa\x3e\x00" },
      { 2, 3 },
      ANSWERED_BY(LB_UNSUPPORTED) },
    { "one empty frame", 1, { "" }, { 0 }, NOT_ANSWERED },
    { "two cases at once: the last counts",
      2,
      { HEADER_1, GET_X "\x2a\x00" },
      { 2, 7 },
      ANSWERED_BY(LB_OK) },
};

/* Each row is followed by a good request, so that silence is seen without waiting for it. */
static void malformed_frames_cost_their_sender_an_error(void **state)
{
    static const char *const marker[] = { "\x08\x02", GET_X };
    static const size_t marker_sizes[] = { 2, 5 };
    pid_t server = world_start_server();
    struct raw raw;

    (void)state;
    raw_open(&raw);
    for (size_t i = 0; i < sizeof frame_rows / sizeof frame_rows[0]; i++) {
        const struct frame_row *row = &frame_rows[i];
        lb_err err;
        uint64_t id;

        raw_send(&raw, row->frames, row->sizes, row->count);
        raw_send(&raw, marker, marker_sizes, 2);
        id = raw_receive(&raw, &err);
        if (row->answered) {
            if (id != 1 || err != row->err)
                fail_msg("%s: id %d, %s", row->what, (int)id, lb_err_name(err));
            id = raw_receive(&raw, &err);
        }
        if (id != 2 || err != LB_OK)
            fail_msg("%s: then id %d, %s", row->what, (int)id, lb_err_name(err));
    }
    raw_close(&raw);
    world_kill_server(server);
}

/* A frame beyond the limit ends its connection, which then comes back; the server stays. */
static void a_frame_that_is_too_big_ends_its_connection_only(void **state)
{
    pid_t server = world_start_server();
    char *big = xcalloc(1, ACTOR_MESSAGE_MAX + 1);
    const char *frames[] = { HEADER_1, big };
    const size_t sizes[] = { 2, ACTOR_MESSAGE_MAX + 1 };
    struct raw raw;

    (void)state;
    raw_open(&raw);
    raw_send(&raw, frames, sizes, 2);
    world_run_client(client_get_hello, server);
    assert_int_equal(client.err, LB_OK);
    raw_close(&raw);
    free(big);
    world_kill_server(server);
}

static void the_errors_of_messages_are_those_of_functions(void **state)
{
    (void)state; /* the numbers are held equal by static assertions in message.c */
#define LB_ONE(name, number, sentence) +1
    assert_int_equal(lb__err__descriptor.n_values, LB_ERRORS(LB_ONE));
#undef LB_ONE
}

/* Two megabytes that would unpack into a hundred are refused. */
static void empty_submessages_do_not_fill_the_memory(void **state)
{
    uint8_t buffer[64];
    struct message_memory memory;
    size_t size = 2 * 1024 * 1024 - 16;
    uint8_t *packed = xmalloc(size);

    (void)state;
    for (size_t i = 0; i < size; i += 2) {
        packed[i] = 0x0a;
        packed[i + 1] = 0;
    }
    message_memory_init(&memory, buffer, sizeof buffer, MESSAGE_MEMORY_MAX);
    assert_null(
        message_unpack(&lb__storage__questions__descriptor, bytes_of(packed, size), &memory));
    assert_true(memory.taken <= MESSAGE_MEMORY_MAX);
    message_memory_done(&memory);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_frames_cost_their_sender_an_error),
        cmocka_unit_test(a_frame_that_is_too_big_ends_its_connection_only),
        cmocka_unit_test(the_errors_of_messages_are_those_of_functions),
        cmocka_unit_test(empty_submessages_do_not_fill_the_memory),
    };

    return cmocka_run_group_tests_name("actor_frames", tests, world_make_folder,
                                       world_remove_folder);
}
