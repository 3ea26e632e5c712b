/*
 * The property: whatever the table and the target, exactly what a sort of the whole table by
 * distance would give, in that order.
 */
#include "libcommon/closest.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 2000

static struct contact table[COUNT_MAX];
static uint64_t keys[COUNT_MAX]; /* of table */
static struct contact by_distance[COUNT_MAX];
static struct node_id sort_target;

static int compare_id(const void *a, const void *b)
{
    const struct contact *x = a, *y = b;

    return node_id_compare(&x->id, &y->id);
}

static int compare_distance(const void *a, const void *b)
{
    const struct contact *x = a, *y = b;

    return node_id_compare_distance(&sort_target, &x->id, &y->id);
}

/* Sort and drop doubles; returns how many are left. */
static size_t make_table(size_t count)
{
    size_t kept = 0;

    qsort(table, count, sizeof(table[0]), compare_id);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !node_id_equal(&table[kept - 1].id, &table[i].id))
            table[kept++] = table[i];
    }
    for (size_t i = 0; i < kept; i++)
        keys[i] = closest_key(&table[i].id);
    return kept;
}

/* In whatever order: those found are the first of by_distance, each once. */
static void check_any(size_t count, const struct node_id *target, size_t k, bool keyed)
{
    uint32_t indices[COUNT_MAX + 1];
    size_t found = keyed ? closest_find_keyed(table, keys, count, target, k, indices)
                         : closest_find_any(table, count, target, k, indices);
    bool seen[COUNT_MAX] = { false };

    assert_int_equal(found, k < count ? k : count);
    for (size_t i = 0; i < found; i++) {
        assert_true(indices[i] < count && !seen[indices[i]]);
        seen[indices[i]] = true;
        assert_true(node_id_compare_distance(target, &table[indices[i]].id,
                                             &by_distance[found - 1].id) <= 0);
    }
}

static void check(size_t count, const struct node_id *target, size_t k)
{
    uint32_t indices[COUNT_MAX + 1];
    size_t found = closest_find(table, count, target, k, indices);

    check_any(count, target, k, false);
    check_any(count, target, k, true);
    assert_int_equal(found, k < count ? k : count);
    for (size_t i = 0; i < found; i++) {
        assert_true(indices[i] < count);
        assert_true(node_id_equal(&table[indices[i]].id, &by_distance[i].id));
    }
}

/* Against brute force, for a target and several k. */
static void check_target(size_t count, const struct node_id *target)
{
    static const size_t ks[] = { 0, 1, 2, 8, 20, 32 };

    sort_target = *target;
    memcpy(by_distance, table, count * sizeof(table[0]));
    qsort(by_distance, count, sizeof(table[0]), compare_distance);
    for (size_t i = 0; i < sizeof(ks) / sizeof(ks[0]); i++)
        check(count, target, ks[i]);
    check(count, target, count);
    check(count, target, count + 1);
}

/* How the ids of a table lie. */
enum shape { UNIFORM, KADEMLIA, CLUSTERED, DENSE };

static struct node_id draw(enum shape shape, const struct node_id *centre, struct random *random)
{
    struct node_id id;

    switch (shape) {
    case UNIFORM:
        break;
    case KADEMLIA: /* about as many in each bucket, as a real table has */
        return node_id_random_in_bucket(centre, (unsigned)random_below(random, 20), random);
    case CLUSTERED: /* any common prefix, up to ids that differ in the last bit only */
        return node_id_random_in_bucket(centre, (unsigned)random_below(random, 160), random);
    case DENSE: /* the last 11 bits count: nearly every id there is */
        id = *centre;
        id.bytes[18] = (uint8_t)random_below(random, 8);
        id.bytes[19] = (uint8_t)random_below(random, 256);
        return id;
    }
    return node_id_random(random);
}

static void check_table(enum shape shape, size_t wanted, unsigned targets, struct random *random)
{
    struct node_id centre = node_id_random(random);
    size_t count;

    for (size_t i = 0; i < wanted; i++)
        table[i] = (struct contact){ .id = draw(shape, &centre, random) };
    count = make_table(wanted);
    check_target(count, &centre);
    for (unsigned i = 0; i < targets; i++) {
        struct node_id any = node_id_random(random), like = draw(shape, &centre, random);

        check_target(count, &any);
        check_target(count, &like);
        if (count > 0)
            check_target(count, &table[random_below(random, count)].id);
    }
}

static const struct row {
    const char *what;
    enum shape shape;
    size_t count_max; /* sizes drawn from 0 to this */
    unsigned tables;
    unsigned targets;
} rows[] = {
    { "tiny tables, uniform", UNIFORM, 4, 400, 3 },
    { "tiny tables, clustered", CLUSTERED, 4, 400, 3 },
    { "class-room sizes, uniform", UNIFORM, 60, 1000, 3 },
    { "class-room sizes, as Kademlia fills them", KADEMLIA, 60, 1000, 3 },
    { "class-room sizes, clustered", CLUSTERED, 60, 500, 3 },
    { "class-room sizes, dense", DENSE, 60, 300, 3 },
    { "up to 300, as Kademlia fills them", KADEMLIA, 300, 100, 3 },
    { "up to 2000, uniform", UNIFORM, 2000, 15, 3 },
    { "up to 2000, as Kademlia fills them", KADEMLIA, 2000, 15, 3 },
    { "up to 2000, clustered", CLUSTERED, 2000, 15, 3 },
    { "up to 2000, dense", DENSE, 2000, 15, 3 },
};

static void equals_brute_force(void **state)
{
    const struct row *row = *state;
    struct random random;

    random_init(&random, 42);
    for (unsigned i = 0; i < row->tables; i++)
        check_table(row->shape, (size_t)random_below(&random, row->count_max + 1), row->targets,
                    &random);
}

/* The sizes at which a common Python implementation misses contacts. */
static void class_rooms_are_exact(void **state)
{
    static const size_t sizes[] = { 1, 7, 8, 9, 20, 25, 30, 32, 50, 100, 300, 1000, 2000 };
    struct random random;

    (void)state;
    random_init(&random, 7);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_table(UNIFORM, sizes[i], 10, &random);
}

/* A page read while it is written: any bytes, any order; the walk ends and stays inside. */
static void disorder_does_no_harm(void **state)
{
    struct random random;
    uint32_t indices[32];

    (void)state;
    random_init(&random, 8);
    for (unsigned i = 0; i < 300; i++) {
        size_t count = (size_t)random_below(&random, 200);
        struct node_id target = node_id_random(&random);
        bool same = i % 3 == 0;

        for (size_t c = 0; c < count; c++)
            table[c].id = same ? target : node_id_random(&random);
        size_t found = closest_find(table, count, &target, 32, indices);
        for (size_t f = 0; f < found; f++)
            assert_true(indices[f] < count);
        found = closest_find_any(table, count, &target, 32, indices);
        for (size_t f = 0; f < found; f++)
            assert_true(indices[f] < count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_rooms_are_exact),
        cmocka_unit_test(disorder_does_no_harm),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, equals_brute_force);
}
