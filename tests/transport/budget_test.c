#include "services/transport/budget.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

/*
 * Replies to queries of 10 bytes, of 130 bytes, so that each costs 100. Each letter asks for one:
 * a, b two IPv4 addresses of a /24, c one of another; 6, 7 two of an IPv6 /64, 8 of another /64 and
 * 9 of another /56; p one inside the site. Capitals have proved themselves. A dot lets 100 ms pass,
 * '~' an hour. Below it what happened: y sent, n not. A stranger has 1000 bytes a second and 300 at
 * once, one that is known 2000 and 600, a subnet 2000 and 1000, all together 4000 and 2600.
 */
static const struct row {
    const char *what, *asks, *sent;
} rows[] = {
    { "a burst is allowed", "aaa", "yyy" },
    { "and no more", "aaaaa", "yyynn" },
    { "100 ms buy one reply", "aaaa.aa", "yyyn yn" },
    { "silence buys no more than a burst", "aaa~aaaa", "yyy yyyn" },
    { "refused asking is no ban", "aaaaaaaaaaaaaaaaaaaa...aaaa", "yyynnnnnnnnnnnnnnnnn   yyyn" },
    { "another address is not affected", "aaaccc", "yyyyyy" },
    { "but its subnet is bounded, to half for strangers", "aaabbb", "yyyyyn" },
    { "who has proved itself has more", "AAAAAAA", "yyyyyyn" },
    { "and the whole of its subnet", "aaabbbAAAAAA", "yyyyynyyyyyn" },
    { "but not after an hour", "A~aaaa", "y yyyn" },
    { "strangers leave half of all to those", "aaabbccc8889999", "yyyyyyyyyynnnnn" },
    { "who then have it, up to their subnets' share", "aaabbccc8889999BBBBBBCCCC",
      "yyyyyyyyyynnnnnyyyyynyyyy" },
    { "addresses of one /64 share", "66677", "yyynn" },
    { "another /64 has its own", "666778888", "yyynnyynn" },
    { "and another /56 is another subnet", "66688999", "yyyyyyyy" },
    { "nothing is charged inside a site", "pppppppppppppppppppp", "yyyyyyyyyyyyyyyyyyyy" },
};

static const struct budget_limits limits = {
    .strangers_max = 16,
    .known_max = 16,
    .subnets_max = 64,
    .stranger = { 1000, 300 },
    .known = { 2000, 600 },
    .subnet = { 2000, 1000 },
    .total = { 4000, 2600 },
};

static struct address source(char letter)
{
    struct address address = { .ip = { 0x20, 1, 0xd, 0xb8 }, .port = 1000 };

    switch (letter) {
    case 'a':
    case 'A':
        return address_v4(192, 0, 2, 1, 1000);
    case 'b':
    case 'B':
        return address_v4(192, 0, 2, 2, 1000);
    case 'c':
    case 'C':
        return address_v4(198, 51, 100, 7, 1000);
    case 'p':
        return address_v4(10, 0, 0, 1, 1000);
    default:
        address.ip[6] = letter == '9';
        address.ip[7] = letter == '8';
        address.ip[15] = (uint8_t)letter;
        return address;
    }
}

static void pays(void **state)
{
    const struct row *row = *state;
    uint64_t now_ms = 4294967000u;
    struct budget budget;
    char sent[64] = "";
    size_t room;

    budget_init(&budget, limits, 7);
    for (size_t i = 0; row->asks[i]; i++) {
        struct address to = source(row->asks[i]);

        if (row->asks[i] == '.' || row->asks[i] == '~') {
            now_ms += row->asks[i] == '.' ? 100 : 3600000;
            sent[i] = ' ';
            continue;
        }
        if (row->asks[i] >= 'A' && row->asks[i] <= 'C')
            budget_prove(&budget, &to, now_ms);
        room = budget_room(&budget, &to, 10, now_ms);
        sent[i] = budget_take(&budget, &to, 130, 10, now_ms) ? 'y' : 'n';
        assert_int_equal(room >= 130, sent[i] == 'y');
    }
    assert_string_equal(sent, row->sent);
    budget_done(&budget);
}

/* Of a reply of three times the query nothing is paid for but in the total. */
static void a_short_reply_is_free(void **state)
{
    const struct address a = source('a');
    struct budget budget;

    (void)state;
    budget_init(&budget, limits, 7);
    for (int i = 0; i < 13; i++)
        assert_true(budget_take(&budget, &a, 100, 34, 0));
    assert_false(budget_take(&budget, &a, 100, 34, 0)); /* the strangers' half of the total */
    assert_int_equal(budget_room(&budget, &a, 34, 25), 100);
    assert_true(budget_take(&budget, &a, 300, 0, 1000));
    assert_int_equal(budget_room(&budget, &a, 34, 1000), 102);
    budget_done(&budget);
}

/*
 * The bound of THREATS 2.6, as a property: random queries of random length from a victim's forged
 * address among those of a thousand others, each answered as long as it may be; in no window of
 * 10 s do more than 3 times its bytes and 16 KiB go to the victim.
 */
#define STEPS     60000u
#define WINDOW_MS 10000u

static void a_stranger_draws_three_times_its_bytes_and_16_kib(void **state)
{
    static uint64_t in[STEPS + 1], out[STEPS + 1], at_ms[STEPS + 1]; /* sums before each step */
    const struct address victim = address_v4(203, 0, 113, 5, 53);
    const struct budget_limits usual = BUDGET_LIMITS_DEFAULT;
    struct budget budget;
    struct random random;
    uint64_t now_ms = 12345, most = 0;

    (void)state;
    random_init(&random, 5);
    budget_init(&budget, usual, 1);
    for (size_t i = 0, begin = 0; i < STEPS; i++) {
        size_t asked = random_below(&random, 8) == 0 ? 30 + random_below(&random, 200) : 0, size;
        struct address other =
            address_v4(8, 8, (uint8_t)random_u64(&random), (uint8_t)random_u64(&random), 53);

        at_ms[i] = now_ms;
        budget_take(&budget, &other, 400, 100, now_ms);
        size = asked > 0 ? budget_room(&budget, &victim, asked, now_ms) : 0;
        size = size < 1452 ? size : 1452;
        if (size > 0)
            assert_true(budget_take(&budget, &victim, size, asked, now_ms));
        in[i + 1] = in[i] + asked;
        out[i + 1] = out[i] + size;
        while (now_ms - at_ms[begin] > WINDOW_MS)
            begin++;
        for (size_t from = begin; from <= i; from++) {
            uint64_t excess = out[i + 1] - out[from] - 3 * (in[i + 1] - in[from]);

            if ((int64_t)excess > (int64_t)most)
                most = excess;
        }
        now_ms += random_below(&random, 100) < 98 ? random_below(&random, 120) : 3000;
    }
    assert_in_range(most, 8192, 16384);
    budget_done(&budget);
}

/* Whatever is forged, what leaves is bounded; and memory is what init() took. */
static void forged_addresses_draw_no_more_than_half_of_the_total(void **state)
{
    struct budget budget;
    size_t bytes = 0;

    (void)state;
    budget_init(&budget, limits, 1);
    for (uint32_t i = 0; i < 100000; i++) {
        struct address to = address_v4(8, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 53);

        bytes += budget_take(&budget, &to, 100, 40, i / 10) ? 100u : 0u;
    }
    assert_in_range(bytes, 40000, 40000 + 1300); /* 10 s */
    budget_done(&budget);
}

/* A flood of forged queries of one address leaves its own a reply each: never a ban. */
static void forged_queries_cost_an_address_length_only(void **state)
{
    const struct budget_limits usual = BUDGET_LIMITS_DEFAULT;
    const struct address a = source('a');
    struct budget budget;

    (void)state;
    budget_init(&budget, usual, 1);
    for (uint64_t now_ms = 0; now_ms < 20000; now_ms++) {
        for (int i = 0; i < 4; i++)
            (void)budget_take(&budget, &a, budget_room(&budget, &a, 60, now_ms), 60, now_ms);
        assert_true(budget_take(&budget, &a, 300, 100, now_ms));
    }
    budget_done(&budget);
}

static void of_too_many_known_the_longest_ago_is_forgotten(void **state)
{
    struct budget_limits few = limits;
    struct budget budget;
    unsigned known = 0;

    (void)state;
    few.known_max = 4;
    few.subnet = few.total = (struct budget_rate){ 1000000, 1000000 };
    budget_init(&budget, few, 1);
    for (uint8_t i = 1; i <= 8; i++) {
        struct address address = address_v4(8, 8, i, 1, 1000);

        budget_prove(&budget, &address, i);
        budget_prove(&budget, &address, i);
    }
    for (uint8_t i = 1; i <= 8; i++) {
        struct address address = address_v4(8, 8, i, 1, 1000);

        if (budget_room(&budget, &address, 0, 10) == 600)
            known |= 1u << i;
    }
    assert_int_equal(known, 0x1e0);
    budget_done(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_reply_is_free),
        cmocka_unit_test(a_stranger_draws_three_times_its_bytes_and_16_kib),
        cmocka_unit_test(forged_addresses_draw_no_more_than_half_of_the_total),
        cmocka_unit_test(forged_queries_cost_an_address_length_only),
        cmocka_unit_test(of_too_many_known_the_longest_ago_is_forgotten),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, pays);
}
