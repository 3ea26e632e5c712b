#include "services/storage/store_clock.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define HOUR_MS 3600000ll

/* What happened between the moment the clock was saved and the next start; how old things became.
 */
static const struct row {
    const char *what;
    char boot_before, boot_after;
    long long monotonic_ms; /* the monotonic clock moved by this; a new boot begins at 5000 */
    long long wall_ms;      /* the wall clock moved by this */
    long long aged_ms;
} rows[] = {
    { "a restart of the service", 'a', 'a', 60000, 60000, 60000 },
    { "... while the wall clock was set back an hour", 'a', 'a', 60000, -HOUR_MS, 60000 },
    { "... while the wall clock leapt a day ahead", 'a', 'a', 60000, 24 * HOUR_MS, 60000 },
    { "... at once", 'a', 'a', 0, 0, 0 },
    { "a reboot of ten minutes", 'a', 'b', 0, 600000, 600000 },
    { "a reboot, and the wall clock is behind now", 'a', 'b', 0, -5 * HOUR_MS, 0 },
    { "a week switched off counts as the bound", 'a', 'b', 0, 168 * HOUR_MS, HOUR_MS },
    { "a machine without a clock that was set years ahead", 'a', 'b', 0, 500000 * HOUR_MS,
      HOUR_MS },
};

static struct store_moment moment(char boot, long long monotonic_ms, long long wall_ms)
{
    struct store_moment at = { .monotonic_ms = (uint64_t)monotonic_ms,
                               .wall_ms = (uint64_t)wall_ms };

    memset(at.boot_id, boot, sizeof at.boot_id);
    return at;
}

static void things_age(void **state)
{
    const struct row *row = *state;
    const long long began_ms = 1000000;
    const long long wall_ms = 1000 * HOUR_MS;
    struct store_moment before = moment(row->boot_before, began_ms, wall_ms);
    struct store_moment after = moment(
        row->boot_after, row->boot_before == row->boot_after ? began_ms + row->monotonic_ms : 5000,
        wall_ms + row->wall_ms);
    struct store_clock saved;
    struct store_clock read;
    struct store_clock resumed;
    uint8_t buffer[STORE_CLOCK_RECORD];
    struct writer writer;

    store_clock_begin(&saved, &before);
    writer_init(&writer, buffer, sizeof buffer);
    store_clock_put(&saved, &writer);
    assert_false(writer.overflow);
    assert_int_equal(store_clock_get(bytes_of(buffer, writer.size), &read), LB_OK);
    store_clock_resume(&resumed, &read, &after, HOUR_MS);
    assert_int_equal(resumed.store_ms - saved.store_ms, row->aged_ms);
    assert_int_equal(store_clock_s(&resumed, after.monotonic_ms + 7000) * 1000,
                     resumed.store_ms / 1000 * 1000 + 7000);
}

static void two_instances_agree(void **state)
{
    struct store_moment start = moment('a', 1000, 5000);
    struct store_moment saved_at = moment('a', 61000, 65000);
    struct store_moment second = moment('a', 91000, 95000);
    struct store_clock first;
    struct store_clock saved;
    struct store_clock other;

    (void)state;
    store_clock_begin(&first, &start);
    saved = first;
    store_clock_advance(&saved, &saved_at);
    store_clock_resume(&other, &saved, &second, HOUR_MS);
    assert_int_equal(store_clock_s(&first, 200000), store_clock_s(&other, 200000));
}

static void it_never_runs_backwards(void **state)
{
    struct store_moment start = moment('a', 1000, 5000);
    struct store_clock clock;

    (void)state;
    store_clock_begin(&clock, &start);
    assert_int_equal(store_clock_s(&clock, 0), store_clock_s(&clock, 1000));
}

static void a_damaged_record_is_refused(void **state)
{
    struct store_moment start = moment('a', 1000, 5000);
    struct store_clock clock;
    struct store_clock back;
    uint8_t buffer[STORE_CLOCK_RECORD];
    struct writer writer;

    (void)state;
    store_clock_begin(&clock, &start);
    writer_init(&writer, buffer, sizeof buffer);
    store_clock_put(&clock, &writer);
    assert_int_equal(store_clock_get(bytes_of(buffer, writer.size - 1), &back), LB_CORRUPT);
    buffer[1] = 0xff; /* so late that sums would overflow */
    assert_int_equal(store_clock_get(bytes_of(buffer, writer.size), &back), LB_CORRUPT);
    buffer[0] = 9;
    assert_int_equal(store_clock_get(bytes_of(buffer, writer.size), &back), LB_CORRUPT);
    assert_int_equal(store_clock_get(bytes_of(NULL, 0), &back), LB_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_instances_agree),
        cmocka_unit_test(it_never_runs_backwards),
        cmocka_unit_test(a_damaged_record_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, things_age);
}
