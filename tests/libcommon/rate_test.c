#include "libcommon/rate.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define WRONG UINT64_MAX

static const struct row {
    const char *what, *text;
    uint64_t rate;
} rows[] = {
    { "bytes", "4096", 4096 },
    { "none in words", "none", 0 },
    { "none in digits", "0", 0 },
    { "bits of a network", "10 Mbit/s", 1250000 },
    { "without a second", "10Mbit", 1250000 },
    { "bytes with a unit", "5 MB/s", 5000000 },
    { "binary ones", "1 MiB/s", 1048576 },
    { "with a point", "1.5 MB/s", 1500000 },
    { "more digits than count", "1.2345678 MB", 1234000 },
    { "a bit is not nothing", "1 bit/s", 1 },
    { "the most", "1024 GiB/s", RATE_MAX },
    { "over the most", "1025 GiB/s", WRONG },
    { "a number that overflows", "99999999999999999999", WRONG },
    { "a product that overflows", "99999999999999999 Gbit", WRONG },
    { "a point without digits", "1. MB", WRONG },
    { "no digits", "MB/s", WRONG },
    { "a unit there is not", "1 Mb/s", WRONG },
    { "a minute", "1 MB/min", WRONG },
    { "only a second", "1/s", WRONG },
    { "below nothing", "-1", WRONG },
    { "nothing", "", WRONG },
    { "something behind it", "1 MB/s x", WRONG },
};

static void test_rate(void **state)
{
    const struct row *row = *state;
    uint64_t rate = 77;

    if (row->rate == WRONG) {
        assert_int_equal(rate_parse(row->text, &rate), LB_INVALID);
        assert_int_equal(rate, 77);
        return;
    }
    assert_int_equal(rate_parse(row->text, &rate), LB_OK);
    assert_int_equal(rate, row->rate);
}

/* address: one to look for in the first; inside: whether it is. */
static const struct subnet_row {
    const char *what, *text;
    lb_err err;
    unsigned count;
    const char *address;
    bool inside;
} subnet_rows[] = {
    { "none", "", LB_OK, 0, NULL, false },
    { "one", "10.2.0.0/16 20Mbit", LB_OK, 1, "10.2.255.1:1", true },
    { "not beside it", "10.2.0.0/16 20Mbit", LB_OK, 1, "10.3.0.1:1", false },
    { "a border within a byte", "10.2.128.0/17 1 MB/s", LB_OK, 1, "10.2.128.1:1", true },
    { "and below that border", "10.2.128.0/17 1 MB/s", LB_OK, 1, "10.2.127.1:1", false },
    { "everything of IPv4", "0.0.0.0/0 1 MB/s", LB_OK, 1, "9.9.9.9:1", true },
    { "is not IPv6", "0.0.0.0/0 1 MB/s", LB_OK, 1, "[2001:db8::1]:1", false },
    { "one host", "10.2.0.7/32 1", LB_OK, 1, "10.2.0.7:1", true },
    { "IPv6", "fd00:2::/32 1 MB/s", LB_OK, 1, "[fd00:2:3::1]:1", true },
    { "two", "10.2.0.0/16 20 Mbit/s,  fd00::/8 5 MB/s ", LB_OK, 2, NULL, false },
    { "no rate", "10.2.0.0/16", LB_INVALID, 0, NULL, false },
    { "a rate of nothing", "10.2.0.0/16 0", LB_INVALID, 0, NULL, false },
    { "no prefix", "10.2.0.0 1MB", LB_INVALID, 0, NULL, false },
    { "a prefix too long", "10.2.0.0/33 1MB", LB_INVALID, 0, NULL, false },
    { "a prefix that is none", "10.2.0.0/x 1MB", LB_INVALID, 0, NULL, false },
    { "an empty prefix", "10.2.0.0/ 1MB", LB_INVALID, 0, NULL, false },
    { "a name", "lab/16 1MB", LB_INVALID, 0, NULL, false },
    { "a comma too much", "10.2.0.0/16 1MB,", LB_INVALID, 0, NULL, false },
    { "two commas", "10.2.0.0/16 1MB,,10.3.0.0/16 1MB", LB_INVALID, 0, NULL, false },
};

static void test_subnets(void **state)
{
    const struct subnet_row *row = *state;
    struct subnet_rate rates[SUBNET_RATE_MAX];
    struct address address;
    unsigned count = 0;

    assert_int_equal(subnet_rates_parse(row->text, rates, &count), row->err);
    assert_int_equal(count, row->count);
    if (!row->address)
        return;
    assert_int_equal(address_parse(row->address, &address), LB_OK);
    assert_int_equal(subnet_has(&rates[0].subnet, &address), row->inside);
}

static void not_too_many(void **state)
{
    char text[16 * (SUBNET_RATE_MAX + 1)] = "";
    struct subnet_rate rates[SUBNET_RATE_MAX];
    unsigned count;

    (void)state;
    for (unsigned i = 0; i < SUBNET_RATE_MAX; i++)
        strcat(text, i == 0 ? "10.0.0.0/8 1" : ",10.0.0.0/8 1");
    assert_int_equal(subnet_rates_parse(text, rates, &count), LB_OK);
    assert_int_equal(count, SUBNET_RATE_MAX);
    strcat(text, ",10.0.0.0/8 1");
    assert_int_equal(subnet_rates_parse(text, rates, &count), LB_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(not_too_many) };

    return RUN_ROWS(rows, test_rate) + RUN_ROWS(subnet_rows, test_subnets) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
