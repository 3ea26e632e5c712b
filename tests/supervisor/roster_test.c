#include "services/supervisor/roster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define BIT(name) (1u << SERVICE_##name)
#define ALL       (BIT(ROUTING) | BIT(STORAGE) | BIT(TRANSPORT) | BIT(SWARM) | BIT(GATEWAY))

static void every_service_but_the_supervisor_has_one_row(void **state)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    (void)state;
    assert_int_equal(count, SERVICES_COUNT - 1);
    for (int service = 0; service < SERVICES_COUNT; service++) {
        const struct roster_row *row = roster_find((enum service)service);

        assert_true((row != NULL) == (service != SERVICE_SUPERVISOR));
        if (row) {
            assert_true(row >= rows && row < rows + count);
            assert_int_equal(strncmp(row->program, "lb-", 3), 0);
        }
    }
}

static void a_service_needs_only_what_stands_above_it(void **state)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);
    unsigned above = 0;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].needs & ~above, 0);
        above |= 1u << rows[i].service;
    }
}

static void the_order_is_that_of_the_status_page(void **state)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    (void)state;
    for (size_t i = 1; i < count; i++) {
        assert_true(rows[i - 1].service < rows[i].service);
    }
}

static const struct row {
    const char *what;
    enum service service;
    unsigned running;
    bool may_stop;
} rows[] = {
    { "the gateway goes first", SERVICE_GATEWAY, ALL, true },
    { "the swarm waits for the gateway", SERVICE_SWARM, ALL, false },
    { "then it goes", SERVICE_SWARM, ALL & ~BIT(GATEWAY), true },
    { "storage waits for the swarm", SERVICE_STORAGE, ALL & ~BIT(GATEWAY), false },
    { "transport waits until storage has handed its keys over", SERVICE_TRANSPORT,
      BIT(ROUTING) | BIT(STORAGE) | BIT(TRANSPORT), false },
    { "then it goes", SERVICE_TRANSPORT, BIT(ROUTING) | BIT(TRANSPORT), true },
    { "routing waits for transport", SERVICE_ROUTING, BIT(ROUTING) | BIT(TRANSPORT), false },
    { "routing waits for storage", SERVICE_ROUTING, BIT(ROUTING) | BIT(STORAGE), false },
    { "routing goes last", SERVICE_ROUTING, BIT(ROUTING), true },
    { "a dead gateway holds nobody up", SERVICE_SWARM, BIT(SWARM) | BIT(ROUTING), true },
};

static void who_may_stop(void **state)
{
    const struct row *row = *state;

    assert_int_equal(roster_may_stop(row->service, row->running), row->may_stop);
}

static void everybody_stops_in_the_end(void **state)
{
    unsigned running = ALL;
    int rounds = 0;

    (void)state;
    while (running != 0) {
        unsigned before = running;

        for (int service = 0; service < SERVICES_COUNT; service++) {
            if ((before & (1u << service)) && roster_may_stop((enum service)service, before)) {
                running &= ~(1u << service);
            }
        }
        assert_true(++rounds <= SERVICES_COUNT);
    }
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(every_service_but_the_supervisor_has_one_row),
        cmocka_unit_test(a_service_needs_only_what_stands_above_it),
        cmocka_unit_test(the_order_is_that_of_the_status_page),
        cmocka_unit_test(everybody_stops_in_the_end),
    };
    struct CMUnitTest stops[sizeof rows / sizeof rows[0]];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stops[i] = (struct CMUnitTest){ .name = rows[i].what,
                                        .test_func = who_may_stop,
                                        .initial_state = (void *)&rows[i] };
    }
    return cmocka_run_group_tests_name("who may stop", stops, NULL, NULL) +
           cmocka_run_group_tests_name("roster", others, NULL, NULL);
}
