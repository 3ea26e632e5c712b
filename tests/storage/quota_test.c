/* Who may store how much, on the disk itself (policy.h; THREATS 2, row 5). */
#include "tests/storage/db_fixture.h"

#include <stdio.h>
#include <string.h>

/* Own values of one publisher, each under a salt and from a /24 of its own. */
static unsigned publish_many(unsigned publisher, unsigned count)
{
    enum { TOGETHER = 100 };
    static uint8_t buffers[TOGETHER][ITEM_VALUE_MAX];
    static char salts[TOGETHER][16];
    struct db_op ops[TOGETHER];
    unsigned stored = 0;

    for (unsigned i = 0; i < count; i++) {
        unsigned place = i % TOGETHER;
        struct item item = world_item(i, 900, buffers[place]);
        char source[32];

        item.is_mutable = true;
        item.seq = 1;
        memcpy(item.public_key, &publisher, sizeof publisher);
        snprintf(salts[place], sizeof salts[place], "%u", i);
        item.salt = bytes_of_text(salts[place]);
        snprintf(source, sizeof source, "11.%u.%u.1:6881", i / 250, i % 250);
        ops[place] = world_put_op(&world, &item, source);
        if (place + 1 < TOGETHER && i + 1 < count)
            continue;
        world_apply_list(&world, ops, place + 1);
        for (unsigned k = 0; k <= place; k++)
            stored += ops[k].err == LB_OK;
    }
    return stored;
}

static void a_publisher_has_one_share_wherever_it_puts_from(void **state)
{
    (void)state;
    assert_in_range(publish_many(1, 1600), 500, 1400); /* an eighth of 60 % of the map */
    assert_int_equal(publish_many(2, 10), 10);
}

static void many_sources_together_do_not_grow_the_store(void **state)
{
    unsigned stored = 0;

    (void)state;
    world.own_id_known = true;
    for (unsigned i = 0; i < 50; i++) {
        char source[32];

        snprintf(source, sizeof source, "12.0.%u.1:6881", i);
        stored += world_put_many(&world, 200 * i, 200, 900, source);
    }
    assert_in_range(stored, 4000, 10000); /* most were let in ... */
    assert_in_range(world_stats(&world).item_bytes, 1, WORLD_MAP / 100 * 62); /* ... and gave way */
}

/* Whoever claims a year takes no more space and no better place than who claims nothing. */
static void a_long_life_is_no_protection(void **state)
{
    enum { YEAR_S = 365 * 24 * 3600, FAR = 0xf0 };
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item far;
    struct db_op op;
    unsigned number = 100000;

    (void)state;
    world.own_id_known = true; /* all zero bits */
    do {
        far = world_item(number++, 900, buffer);
    } while (item_target(&far).bytes[0] < FAR);
    op = world_put_op(&world, &far, "14.0.0.1:1");
    op.put.ttl_s = YEAR_S;
    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
    world.now_s += 10 * WORLD_ITEM_TTL_S;
    assert_true(world_has(&world, &far));
    (void)world_put_many(&world, 0, 1500, 900, "self");
    assert_false(world_has(&world, &far));
}

static void who_refreshes_does_not_take_the_space_over(void **state)
{
    enum { FILL = 700 };
    unsigned stored;

    (void)state;
    stored = world_put_many(&world, 0, FILL, 900, "66.6.6.6:6");
    assert_in_range(stored, 50, 600);
    assert_int_equal(world_put_many(&world, 0, stored / 2, 900, "13.0.0.1:1"), stored / 2);
    assert_int_equal(world_put_many(&world, FILL, 20, 900, "66.6.6.6:6"), 0);
    assert_int_equal(world_put_many(&world, 2 * FILL, 20, 900, "13.0.0.1:1"), 20);
}

static void what_has_ended_is_counted_no_more(void **state)
{
    unsigned first;

    (void)state;
    first = world_put_many(&world, 0, 700, 900, "66.6.6.6:6");
    for (unsigned round = 1; round < 3; round++) {
        world.now_s += WORLD_ITEM_TTL_S + 1;
        assert_int_equal(world_sweep(&world), first);
        assert_int_equal(world_put_many(&world, 1000 * round, 700, 900, "66.6.6.6:6"), first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(set_up, a_publisher_has_one_share_wherever_it_puts_from),
        IN(set_up, many_sources_together_do_not_grow_the_store),
        IN(set_up_small, a_long_life_is_no_protection),
        IN(set_up, who_refreshes_does_not_take_the_space_over),
        IN(set_up, what_has_ended_is_counted_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
