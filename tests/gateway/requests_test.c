#include "services/gateway/requests.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static struct requests requests;

static int set_up(void **state)
{
    (void)state;
    memset(&requests, 0, sizeof(requests));
    return 0;
}

static struct request *add(uint8_t client, size_t bytes, uint64_t deadline_ms)
{
    struct asker asker = { .identity_size = 1, .identity = { client }, .id_size = 1, .id = { 9 } };
    const char *limit = NULL;
    struct request *request = requests_add(&requests, &asker, bytes, deadline_ms, &limit);

    assert_true((request == NULL) == (limit != NULL));
    return request;
}

static void one_client_has_a_share(void **state)
{
    struct request *last = NULL;

    (void)state;
    for (int i = 0; i < REQUESTS_CLIENT_MAX; i++)
        assert_non_null(last = add(1, 0, 1));
    assert_null(add(1, 0, 1));
    assert_non_null(add(2, 0, 1));
    requests_remove(&requests, last);
    assert_non_null(add(1, 0, 1));
}

static void all_together_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < REQUESTS_MAX; i++)
        assert_non_null(add((uint8_t)(i % 8), 0, 1));
    assert_null(add(100, 0, 1));
}

static void bytes_are_bounded(void **state)
{
    struct request *half;

    (void)state;
    assert_non_null(half = add(1, REQUESTS_BYTES_MAX / 2, 1));
    assert_non_null(add(2, REQUESTS_BYTES_MAX / 2, 1));
    assert_null(add(3, 1, 1));
    requests_remove(&requests, half);
    assert_non_null(add(3, 1, 1));
}

static const struct pause_row {
    const char *what;
    bool may_repeat;
    uint64_t deadline_ms, first_ms, now_ms; /* away since first_ms, asked now */
    bool paused;
} pause_rows[] = {
    { "a service just gone is waited for", true, 60000, 1000, 1000, true },
    { "what may not be repeated is not", false, 60000, 1000, 1000, false },
    { "patience lasts", true, 60000, 1000, 1000 + REQUEST_PATIENCE_MS - 1, true },
    { "patience ends", true, 60000, 1000, 1000 + REQUEST_PATIENCE_MS, false },
    { "the client's deadline comes first", true, 3000, 1000, 3000, false },
};

static void services_that_are_away_are_waited_for(void **state)
{
    const struct pause_row *row = *state;
    struct request *request;

    set_up(NULL);
    request = add(1, 0, row->deadline_ms);
    request_pause(request, true, row->first_ms);
    assert_int_equal(request_pause(request, row->may_repeat, row->now_ms), row->paused);
}

static void due_requests_come_up(void **state)
{
    struct request *asked, *paused, *joined, *due = NULL;

    (void)state;
    asked = add(1, 0, 5000);
    paused = add(1, 0, 5000);
    joined = add(2, 0, 2000);
    assert_false(requests_waiting(&requests));
    assert_true(request_pause(paused, true, 1000));
    joined->state = REQUEST_JOINED;
    joined->dedupe = 3;
    assert_true(requests_waiting(&requests));
    assert_ptr_equal(requests_joined(&requests, 3), joined);
    assert_null(requests_joined(&requests, 4));

    assert_int_equal(requests_next_due(&requests, 1000, &due), DUE_NOTHING);
    assert_int_equal(requests_next_due(&requests, 1000 + REQUEST_PAUSE_MS, &due), DUE_RETRY);
    assert_ptr_equal(due, paused);
    paused->state = REQUEST_ASKED;
    assert_int_equal(requests_next_due(&requests, 2000, &due), DUE_TIMEOUT);
    assert_ptr_equal(due, joined);
    requests_remove(&requests, joined);
    /* Who was asked is ended by the link. */
    assert_int_equal(requests_next_due(&requests, 9000, &due), DUE_NOTHING);
    assert_false(requests_waiting(&requests));
    assert_int_equal(asked->state, REQUEST_ASKED);
}

static void a_paused_request_ends_at_its_deadline(void **state)
{
    struct request *request, *due = NULL;

    (void)state;
    request = add(1, 0, 1010);
    assert_true(request_pause(request, true, 1000));
    assert_int_equal(requests_next_due(&requests, 1009, &due), DUE_NOTHING);
    assert_int_equal(requests_next_due(&requests, 1010, &due), DUE_TIMEOUT);
    assert_ptr_equal(due, request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_client_has_a_share, set_up),
        cmocka_unit_test_setup(all_together_are_bounded, set_up),
        cmocka_unit_test_setup(bytes_are_bounded, set_up),
        cmocka_unit_test_setup(due_requests_come_up, set_up),
        cmocka_unit_test_setup(a_paused_request_ends_at_its_deadline, set_up),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(pause_rows, services_that_are_away_are_waited_for);
}
