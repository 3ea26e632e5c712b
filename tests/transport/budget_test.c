#include "services/transport/budget.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

/*
 * Replies of 100 bytes. Each letter asks for one: a, b two IPv4 sources; 6, 7 two addresses of one
 * IPv6 /64, 8 another /64; p one inside the site; a dot lets 100 ms pass, '~' an hour. Below it
 * what happened: y sent, n not. A source has 1000 bytes a second and 300 at once, all together 2000
 * and 600.
 */
static const struct row {
    const char *what, *asks, *sent;
} rows[] = {
    { "a burst is allowed", "aaa", "yyy" },
    { "and no more", "aaaaa", "yyynn" },
    { "100 ms buy one reply", "aaaa.aa", "yyyn yn" },
    { "silence buys no more than a burst", "aaa~aaaa", "yyy yyyn" },
    { "refused asking is no ban", "aaaaaaaaaaaaaaaaaaaa...aaaa", "yyynnnnnnnnnnnnnnnnn   yyyn" },
    { "another source is not affected", "aaaaabbb", "yyynnyyy" },
    { "but all together are bounded", "aaabbb888", "yyyyyynnn" },
    { "addresses of one /64 share", "66677", "yyynn" },
    { "another /64 has its own", "66677888", "yyynnyyy" },
    { "nothing is charged inside a site", "pppppppppppppppppppp", "yyyyyyyyyyyyyyyyyyyy" },
};

static struct address source(char letter)
{
    struct address address = { .ip = { 0x20, 1, 0xd, 0xb8 }, .port = 1000 };

    switch (letter) {
    case 'a':
        return address_v4(192, 0, 2, 1, 1000);
    case 'b':
        return address_v4(192, 0, 2, 2, 1000);
    case 'p':
        return address_v4(10, 0, 0, 1, 1000);
    default:
        address.ip[7] = letter == '8';
        address.ip[15] = (uint8_t)letter;
        return address;
    }
}

static void pays(void **state)
{
    const struct row *row = *state;
    const struct budget_limits limits = { .sources_max = 16,
                                          .source_rate = 1000,
                                          .source_burst = 300,
                                          .total_rate = 2000,
                                          .total_burst = 600 };
    uint64_t now_ms = 4294967000u; /* wraps soon */
    struct budget budget;
    char sent[64] = "";

    budget_init(&budget, limits, 1, now_ms);
    for (size_t i = 0; row->asks[i]; i++) {
        struct address to = source(row->asks[i]);

        if (row->asks[i] == '.' || row->asks[i] == '~') {
            now_ms += row->asks[i] == '.' ? 100 : 3600000;
            sent[i] = ' ';
        } else {
            sent[i] = budget_take(&budget, &to, 100, now_ms) ? 'y' : 'n';
        }
    }
    assert_string_equal(sent, row->sent);
    budget_done(&budget);
}

/* Whatever is forged, what leaves is bounded (THREATS 2.6); and memory is what init() took. */
static void forged_sources_draw_no_more_than_the_total(void **state)
{
    const struct budget_limits limits = { .sources_max = 16,
                                          .source_rate = 1000,
                                          .source_burst = 300,
                                          .total_rate = 2000,
                                          .total_burst = 600 };
    struct budget budget;
    size_t bytes = 0;

    (void)state;
    budget_init(&budget, limits, 1, 0);
    for (uint32_t i = 0; i < 100000; i++) {
        struct address to = address_v4(8, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 53);

        bytes += budget_take(&budget, &to, 100, i / 10) ? 100u : 0u;
    }
    assert_in_range(bytes, 20000, 20000 + 600);
    budget_done(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forged_sources_draw_no_more_than_the_total),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, pays);
}
