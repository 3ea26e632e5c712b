#include "services/transport/dtls.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/transport/dtls_world.h"

#include <string.h>

#define S 1000000u

static void two_members_open_a_session(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 1);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_has(b, a));
    assert_int_equal(a->opened, 1);
    assert_int_equal(b->opened, 1);
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_end_talks(b, a));
    assert_in_range(a->largest, 1, DTLS_MTU);
    assert_in_range(b->largest, 1, DTLS_MTU);
    dtls_net_done(&net);
}

static uint64_t counted(const struct dtls_end *end, enum dtls_counter counter)
{
    return dtls_counters(end->dtls)[counter];
}

static void a_session_is_resumed(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 1);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_unanswered(a->dtls, &b->address));
    assert_false(dtls_end_has(a, b));
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(counted(a, DTLS_COUNT_RESUMED), 1);
    assert_int_equal(counted(b, DTLS_COUNT_RESUMED), 1);
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_end_talks(b, a));
    assert_in_range(a->largest, 1, DTLS_MTU);
    assert_in_range(b->largest, 1, DTLS_MTU);
    dtls_net_done(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_members_open_a_session),
        cmocka_unit_test(a_session_is_resumed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
