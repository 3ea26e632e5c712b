#include "libcommon/owner.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static struct node_id id_at(unsigned place, uint8_t rest)
{
    struct node_id id;

    memset(id.bytes, rest, sizeof id.bytes);
    id.bytes[0] = (uint8_t)(place >> 8);
    id.bytes[1] = (uint8_t)place;
    return id;
}

static const struct row {
    const char *what;
    unsigned place, instances, owner;
} rows[] = {
    { "one owns the first", 0x0000, 1, 0 },
    { "and the last", 0xffff, 1, 0 },
    { "of two the first owns the lower half", 0x7fff, 2, 0 },
    { "the second the upper one", 0x8000, 2, 1 },
    { "of three the first a third", 0x5555, 3, 0 },
    { "rounded up", 0x5556, 3, 1 },
    { "the last owns the end", 0xffff, 3, 2 },
    { "of sixteen each has a first digit", 0xb123, 16, 11 },
};

static void row_of(void **state)
{
    const struct row *row = *state;
    struct node_id low = id_at(row->place, 0), high = id_at(row->place, 0xff);

    assert_int_equal(owner_of(&low, row->instances), row->owner);
    assert_int_equal(owner_of(&high, row->instances), row->owner);
}

/* The parts follow each other without a gap, from the first id to the last, and differ by one. */
static void parts_cover_everything(void **state)
{
    (void)state;
    for (unsigned instances = 1; instances <= 16; instances++) {
        unsigned next = 0;

        for (unsigned i = 0; i < instances; i++) {
            struct node_id first, last, before, after;
            unsigned from, to;

            owner_range(i, instances, &first, &last);
            from = (unsigned)(first.bytes[0] << 8 | first.bytes[1]);
            to = (unsigned)(last.bytes[0] << 8 | last.bytes[1]);
            before = id_at(from, 0);
            after = id_at(to, 0xff);
            assert_int_equal(from, next);
            assert_true(node_id_equal(&first, &before) && node_id_equal(&last, &after));
            assert_int_equal(owner_of(&first, instances), i);
            assert_int_equal(owner_of(&last, instances), i);
            assert_in_range(to - from + 1, 65536 / instances, 65536 / instances + 1);
            next = to + 1;
        }
        assert_int_equal(next, 65536);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(parts_cover_everything) };

    return RUN_ROWS(rows, row_of) + cmocka_run_group_tests(tests, NULL, NULL);
}
