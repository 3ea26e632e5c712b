#include "services/routing/external.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static const struct row {
    const char *what;
    const char *votes; /* one letter a voter, each of a subnet of its own */
    const char *again; /* then each of these by the first voter's subnet */
    char believed;
} rows[] = {
    { "nobody has said", "", "", '-' },
    { "four are too few", "AAAA", "", '-' },
    { "five agree", "AAAAA", "", 'A' },
    { "five of nine are the most", "AAAAABBBB", "", 'A' },
    { "five of ten are not", "AAAAABBBBB", "", '-' },
    { "one subnet has one vote", "A", "AAAAAAAA", '-' },
    { "the last it gave", "AAAAA", "B", '-' },
    { "many liars outvoted by the many", "BBBBBBBAAAAAAAAA", "", 'A' },
    { "the votes of long ago are forgotten", "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBB", "", 'B' },
    { "an address inside a site is no vote", "PPPPPPPP", "", '-' },
};

static void vote(struct external *self, unsigned subnet, char letter)
{
    struct address voter = address_v4(198, 51, (uint8_t)subnet, 1, 6881);
    struct address seen = letter == 'P' ? address_v4(192, 168, 0, 1, 4)
                                        : address_v4(203, 0, 113, (uint8_t)letter, 4000);

    external_vote(self, &voter, &seen);
}

static void is_believed(void **state)
{
    const struct row *row = *state;
    struct external external = { .count = 0 };
    struct address address;

    for (unsigned i = 0; i < strlen(row->votes); i++) {
        vote(&external, i, row->votes[i]);
    }
    for (unsigned i = 0; i < strlen(row->again); i++) {
        vote(&external, 0, row->again[i]);
    }
    if (row->believed == '-') {
        assert_false(external_find(&external, &address));
        return;
    }
    assert_true(external_find(&external, &address));
    assert_int_equal(address.ip[15], row->believed);
    assert_int_equal(address.port, 0);
}

static void a_neighbour_has_no_vote(void **state)
{
    struct external external = { .count = 0 };

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct address voter = address_v4(10, 0, (uint8_t)i, 1, 6881);
        struct address seen = address_v4(203, 0, 113, 7, 4000);
        external_vote(&external, &voter, &seen);
    }
    assert_int_equal(external.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_neighbour_has_no_vote) };

    return RUN_ROWS(rows, is_believed) + cmocka_run_group_tests(tests, NULL, NULL);
}
