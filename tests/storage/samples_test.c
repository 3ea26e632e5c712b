#include "services/storage/samples.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define NOW_S 1000u

static void see_many(struct samples *self, unsigned count, struct random *random)
{
    uint8_t infohash[NODE_ID_SIZE] = { 0 };

    samples_begin(self, NOW_S);
    for (unsigned i = 0; i < count; i++) {
        infohash[0] = (uint8_t)(i >> 8);
        infohash[1] = (uint8_t)i;
        samples_see(self, infohash, random);
    }
    self->total = count;
}

static unsigned number_of(const struct samples *self, unsigned index)
{
    return (unsigned)self->infohashes[index][0] << 8 | self->infohashes[index][1];
}

/* How many are in the sample, and when it is made anew. */
static const struct row {
    const char *what;
    unsigned seen;
    uint32_t count;
    bool due_at_once; /* else after the interval */
} rows[] = {
    { "of none there is none", 0, 0, true },
    { "of one it is that one", 1, 1, true },
    { "as many as fit are all there", SAMPLES_MAX, SAMPLES_MAX, true },
    { "of one more, one is left out", SAMPLES_MAX + 1, SAMPLES_MAX, false },
    { "of many it is a few", 1000, SAMPLES_MAX, false },
};

static void is_sampled(void **state)
{
    const struct row *row = *state;
    bool there[1000] = { false };
    struct random random;
    struct samples samples;

    random_init(&random, 1);
    see_many(&samples, row->seen, &random);
    assert_int_equal(samples.count, row->count);
    for (unsigned i = 0; i < samples.count; i++) {
        assert_true(number_of(&samples, i) < row->seen);
        assert_false(there[number_of(&samples, i)]);
        there[number_of(&samples, i)] = true;
    }
    assert_int_equal(samples_are_due(&samples, NOW_S), row->due_at_once);
    assert_int_equal(samples_are_due(&samples, NOW_S + SAMPLES_INTERVAL_S - 1), row->due_at_once);
    assert_true(samples_are_due(&samples, NOW_S + SAMPLES_INTERVAL_S));
}

static void the_first_sample_is_due(void **state)
{
    const struct samples samples = { .count = 0 };

    (void)state;
    assert_true(samples_are_due(&samples, 0));
}

/* Each of 100 comes with probability 1/5: over 2000 samples 400 times, standard deviation 18. */
static void all_have_the_same_chance(void **state)
{
    unsigned times[100] = { 0 };
    struct random random;
    struct samples samples;

    (void)state;
    random_init(&random, 7);
    for (unsigned round = 0; round < 2000; round++) {
        see_many(&samples, 100, &random);
        for (unsigned i = 0; i < samples.count; i++)
            times[number_of(&samples, i)]++;
    }
    for (unsigned i = 0; i < 100; i++)
        assert_in_range(times[i], 310, 490);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_sample_is_due),
        cmocka_unit_test(all_have_the_same_chance),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, is_sampled);
}
