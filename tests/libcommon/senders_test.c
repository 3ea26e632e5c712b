/* Who sent a message, as remembered from one to the next. Time is given; the page is a real one. */
#include "libcommon/senders.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/lb-senders-test-XXXXXX";
static struct page page;
static struct senders senders;

static void set_pid(enum service service, unsigned instance, uint32_t pid)
{
    atomic_store(&status_page_slot(&page, service, instance)->pid, pid);
}

/* A process of our own user, at this moment. */
static enum access_role role_of(uint32_t pid, uint64_t now_ms)
{
    char address[80];
    struct sender sender;

    snprintf(address, sizeof address, "localhost:%u:%u:%u", (unsigned)geteuid(),
             (unsigned)getegid(), (unsigned)pid);
    sender = senders_identify(&senders, address, now_ms);
    assert_int_equal(sender.peer.uid, geteuid());
    assert_int_equal(sender.peer.pid, pid);
    return sender.role;
}

static int begin(void **state)
{
    struct paths paths = { .run_folder = "" };

    (void)state;
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++)
            set_pid((enum service)service, i, 0);
    }
    senders_init(&senders, &paths, SERVICE_STORAGE, &page);
    return 0;
}

static void a_service_is_known_by_its_pid(void **state)
{
    (void)state;
    set_pid(SERVICE_TRANSPORT, 3, 700);
    assert_int_equal(role_of(700, 1000), ACCESS_TRANSPORT);
    assert_int_equal(role_of(701, 1000), ACCESS_ADMIN);
    set_pid(SERVICE_SWARM, 0, 701); /* it had not said so yet */
    assert_int_equal(role_of(701, 1000), ACCESS_SWARM);
    assert_int_equal(role_of(700, 1000), ACCESS_TRANSPORT);
}

static void what_it_sent_before_it_ended_is_still_its_own(void **state)
{
    (void)state;
    set_pid(SERVICE_TRANSPORT, 0, 700);
    assert_int_equal(role_of(700, 1000), ACCESS_TRANSPORT);
    assert_int_equal(role_of(700, 5000), ACCESS_TRANSPORT);
    set_pid(SERVICE_TRANSPORT, 0, 0);
    assert_int_equal(role_of(700, 5000 + SENDERS_GONE_MS), ACCESS_TRANSPORT);
    assert_int_equal(role_of(700, 5001 + SENDERS_GONE_MS), ACCESS_ADMIN);
}

static void a_pid_that_is_anothers_by_now_is_anothers_at_once(void **state)
{
    (void)state;
    set_pid(SERVICE_TRANSPORT, 0, 700);
    assert_int_equal(role_of(700, 1000), ACCESS_TRANSPORT);
    set_pid(SERVICE_TRANSPORT, 0, 800);
    set_pid(SERVICE_SWARM, 0, 700);
    assert_int_equal(role_of(700, 1001), ACCESS_SWARM);
    assert_int_equal(role_of(800, 1001), ACCESS_TRANSPORT);
}

static void there_may_be_more_services_than_are_remembered(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3 * STATUS_INSTANCES_MAX; i++)
        set_pid((enum service)(SERVICE_TRANSPORT + i / STATUS_INSTANCES_MAX),
                i % STATUS_INSTANCES_MAX, 1000 + i);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 3 * STATUS_INSTANCES_MAX; i++)
            assert_int_equal(role_of(1000 + i, 1000), SERVICE_TRANSPORT + i / STATUS_INSTANCES_MAX);
    }
}

static void who_cannot_be_told_is_a_stranger(void **state)
{
    static const char *const addresses[] = { NULL, "", "localhost", "192.0.2.1",
                                             "localhost:4000000:4000000:700" };

    (void)state;
    set_pid(SERVICE_TRANSPORT, 0, 700);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        assert_int_equal(senders_identify(&senders, addresses[i], 1000).role, ACCESS_STRANGER);
}

static bool said(uint32_t uid, enum access_role role, uint64_t now_ms, uint32_t unsaid)
{
    struct sender sender = { .peer = { .uid = uid }, .role = role };
    uint32_t count = UINT32_MAX;

    if (!senders_say_denied(&senders, &sender, now_ms, &count))
        return false;
    assert_int_equal(count, unsaid);
    return true;
}

static void denials_are_said_once_a_minute(void **state)
{
    (void)state;
    assert_true(said(7, ACCESS_USER, 1000, 0));
    assert_false(said(7, ACCESS_USER, 1001, 0));
    assert_false(said(7, ACCESS_USER, 1000 + SENDERS_DENIALS_MS - 1, 0));
    assert_true(said(7, ACCESS_STRANGER, 1001, 0)); /* another role is another sender */
    assert_true(said(8, ACCESS_USER, 1001, 0));
    assert_true(said(7, ACCESS_USER, 1000 + SENDERS_DENIALS_MS, 2));
    assert_true(said(7, ACCESS_USER, 1000 + 3 * SENDERS_DENIALS_MS, 0));
}

static void not_many_senders_fill_the_log(void **state)
{
    unsigned lines = 0;

    (void)state;
    for (uint32_t uid = 1; uid <= 10000; uid++)
        lines += said(uid, ACCESS_STRANGER, 1000, 0);
    assert_int_equal(lines, SENDERS_DENIALS_MAX);
    assert_true(said(20000, ACCESS_STRANGER, 1000 + SENDERS_DENIALS_MS, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_service_is_known_by_its_pid, begin),
        cmocka_unit_test_setup(what_it_sent_before_it_ended_is_still_its_own, begin),
        cmocka_unit_test_setup(a_pid_that_is_anothers_by_now_is_anothers_at_once, begin),
        cmocka_unit_test_setup(there_may_be_more_services_than_are_remembered, begin),
        cmocka_unit_test_setup(who_cannot_be_told_is_a_stranger, begin),
        cmocka_unit_test_setup(denials_are_said_once_a_minute, begin),
        cmocka_unit_test_setup(not_many_senders_fill_the_log, begin),
    };
    char command[128];
    int failed;

    if (mkdtemp(folder) == NULL || status_page_open(&page, folder, true) != LB_OK)
        return 1;
    failed = cmocka_run_group_tests_name("senders", tests, NULL, NULL);
    page_close(&page);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? failed : 1;
}
