#include "libcommon/random.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

/* The first outputs from the state 1, 2, 3, 4, computed by hand from the published algorithm. */
static void sequence_is_the_published_one(void **state)
{
    static const uint64_t expected[] = { 11520, 0, 1509978240, 1215971899390074240 };
    struct random random = { { 1, 2, 3, 4 } };

    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_true(random_u64(&random) == expected[i]);
}

/* splitmix64 from 0: its published first output. */
static void seed_is_spread(void **state)
{
    struct random random;

    (void)state;
    random_init(&random, 0);
    assert_true(random.state[0] == 0xe220a8397b1dcdaf);
    assert_true(random.state[1] == 0x6e789e6aa1b965f4);
}

static void below_stays_below(void **state)
{
    struct random random;
    unsigned seen[6] = { 0 };

    (void)state;
    random_init(&random, 2);
    for (int i = 0; i < 6000; i++)
        seen[random_below(&random, 6)]++;
    for (int i = 0; i < 6; i++)
        assert_in_range(seen[i], 850, 1150);
    for (int i = 0; i < 100; i++) {
        assert_true(random_below(&random, 1) == 0);
        assert_true(random_below(&random, UINT64_MAX) < UINT64_MAX);
    }
}

static void bytes_fill_exactly(void **state)
{
    struct random a, b;
    uint8_t first[33], second[33];

    (void)state;
    random_init(&a, 3);
    random_init(&b, 3);
    for (size_t size = 0; size < sizeof(first); size++) {
        memset(first, 0xee, sizeof(first));
        random_bytes(&a, first, size);
        random_bytes(&b, second, size);
        assert_memory_equal(first, second, size);
        assert_int_equal(first[size], 0xee);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequence_is_the_published_one),
        cmocka_unit_test(seed_is_spread),
        cmocka_unit_test(below_stays_below),
        cmocka_unit_test(bytes_fill_exactly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
