/* Members and their coordinators: renewal, news and clocks, by the shell of lb-member, whole. */
#include "libcommon/clock.h"
#include "tests/libcommon/fake_coordinator.h"
#include "tests/member/member_world.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct world world;

#define A 0u

static void use_coordinator(unsigned node, const char *address)
{
    char line[64];

    snprintf(line, sizeof(line), "%s\n", address);
    assert_int_equal(membership_put_file(world.nodes[node].actor.paths.member_folder,
                                         "coordinators", bytes_of(line, strlen(line)), 0644),
                     LB_OK);
}

static struct world_answer renew(unsigned node)
{
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__RenewNow renew_now = LB__MEMBER__RENEW_NOW__INIT;

    request.body_case = LB__MEMBER__REQUEST__BODY_RENEW_NOW;
    request.renew_now = &renew_now;
    return world_ask(&world, node, &request);
}

static void renewed_when_it_is_asked_for(void **state)
{
    static struct fake_coordinator coordinator;
    struct node_id put_out = pki_node(9);
    struct world_answer answer;
    uint64_t number = 8;
    uint8_t *list;
    size_t size;

    (void)state;
    world_start_all(&world, 3);
    list = pki_deny_list(&world.network, number, &put_out, 1, &size);
    coordinator = (struct fake_coordinator){ .network = &world.network,
                                             .script = "A",
                                             .node = A + 1,
                                             .denied = list,
                                             .denied_size = size,
                                             .clock_off_s = -300 };
    fake_coordinator_start(&coordinator);
    use_coordinator(A, coordinator.address);
    answer = renew(A);
    assert_int_equal(answer.err, LB_OK);
    assert_int_equal(answer.reply->membership->serial, 77);
    assert_int_equal(answer.reply->membership->deny_number, 8);
    assert_true(answer.reply->membership->skew_s >= 299);
    assert_string_equal(answer.reply->membership->problem, "");
    assert_string_equal(answer.reply->membership->network_name, "lab");
    world_answer_done(&answer);
    fake_coordinator_end(&coordinator);
    world_await_denied(&world, number); /* the list came with it, and goes on */
    free(list);
    world_done(&world);
}

static void not_renewed_it_says_why(void **state)
{
    static struct fake_coordinator coordinator;
    struct world_answer answer;

    (void)state;
    world_start_all(&world, 1);
    coordinator = (struct fake_coordinator){ .network = &world.network, .script = "R" };
    fake_coordinator_start(&coordinator);
    use_coordinator(A, coordinator.address);
    answer = renew(A);
    assert_int_equal(answer.err, LB_DENIED);
    assert_non_null(strstr(answer.reason, "used up"));
    world_answer_done(&answer);
    assert_int_equal(world_counter(&world, A, "renewals_failed"), 1);
    fake_coordinator_end(&coordinator);
    world_done(&world);
}

static bool says(void *ctx)
{
    return strstr(world.nodes[A].actor.note, ctx) != NULL;
}

static void one_that_has_ended_is_renewed_at_once(void **state)
{
    static struct fake_coordinator coordinator;
    char text[] = "certificate until";

    (void)state;
    world_init(&world, 1);
    pki_member_renew(&world.network, &world.nodes[A].self,
                     world.network.now_s - CERTIFICATE_LEAF_S - 3600);
    pki_write_folder(&world.network, &world.nodes[A].self,
                     world.nodes[A].actor.paths.member_folder);
    coordinator =
        (struct fake_coordinator){ .network = &world.network, .script = "A", .node = A + 1 };
    fake_coordinator_start(&coordinator);
    use_coordinator(A, coordinator.address);
    world_start(&world, A);
    assert_non_null(strstr(world.nodes[A].actor.note, "ended"));
    assert_int_equal(world.nodes[A].actor.state, STATE_DEGRADED);
    world_run_until(&world, says, text);
    assert_int_equal(world.nodes[A].actor.state, STATE_READY);
    assert_int_equal(world_counter(&world, A, "renewals"), 1);
    fake_coordinator_end(&coordinator);
    world_done(&world);
}

/* The certificate is of two days ago, and there was no news for 25 hours. */
static void age(unsigned node)
{
    const char *folder = world.nodes[node].actor.paths.member_folder;

    pki_member_renew(&world.network, &world.nodes[node].self, world.network.now_s - 48 * 3600);
    pki_write_folder(&world.network, &world.nodes[node].self, folder);
    assert_int_equal(membership_put_reached(folder, clock_wall_s() - 25 * 3600), LB_OK);
}

static void a_day_without_a_coordinator_is_said(void **state)
{
    static struct fake_coordinator coordinator;
    char text[] = "no coordinator was reached for a day";
    char well[] = "certificate until";

    (void)state;
    world_init(&world, 1);
    age(A);
    use_coordinator(A, "127.0.0.1:1");
    world_start(&world, A);
    world_run_until(&world, says, text);
    assert_int_equal(world.nodes[A].actor.state, STATE_DEGRADED);
    world_stop(&world, A);
    coordinator = (struct fake_coordinator){ .network = &world.network, .script = "N" };
    fake_coordinator_start(&coordinator);
    use_coordinator(A, coordinator.address);
    world_start(&world, A); /* it is not forgotten, and asked at once */
    world_run_until(&world, says, text);
    world_run_until(&world, says, well); /* who has no majority has news all the same */
    assert_int_equal(world.nodes[A].actor.state, STATE_READY);
    fake_coordinator_end(&coordinator);
    world_done(&world);
}

/* What a coordinator's clock is behind ours, and what status says then. */
static const struct clock_row {
    const char *what;
    int64_t behind_s;
    const char *says;
    enum service_state state;
} clock_rows[] = {
    { "half a minute is nothing", 30, "deny list 0", STATE_READY },
    { "five minutes are shown, and it goes on", 300, "; the clock is ", STATE_READY },
    { "half an hour is told", 1800, "the clock here is 30 min ahead of", STATE_DEGRADED },
    { "25 hours are told", 25 * 3600, "the clock here is 25 h ahead of", STATE_DEGRADED },
    { "25 hours late are told", -25 * 3600 - 60, "the clock here is 25 h behind", STATE_DEGRADED },
};

static void test_clock(void **state)
{
    const struct clock_row *row = *state;
    static struct fake_coordinator coordinator;
    char text[64];

    world_init(&world, 1);
    age(A); /* so that it asks at once */
    coordinator = (struct fake_coordinator){ .network = &world.network,
                                             .script = "N",
                                             .clock_off_s = -row->behind_s };
    fake_coordinator_start(&coordinator);
    use_coordinator(A, coordinator.address);
    world_start(&world, A);
    snprintf(text, sizeof(text), "%s", row->says);
    world_run_until(&world, says, text);
    assert_int_equal(world.nodes[A].actor.state, row->state);
    fake_coordinator_end(&coordinator);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renewed_when_it_is_asked_for),
        cmocka_unit_test(not_renewed_it_says_why),
        cmocka_unit_test(one_that_has_ended_is_renewed_at_once),
        cmocka_unit_test(a_day_without_a_coordinator_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) + RUN_ROWS(clock_rows, test_clock);
}
