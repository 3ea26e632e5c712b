/* What follows from addresses alone: canonical priorities (BEP 40) and fast sets (BEP 6). */
#include "services/swarm/fast_set.h"
#include "services/swarm/priority.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_crc32c(void **state)
{
    (void)state;
    uint8_t data[32];
    /* RFC 3720, B.4. */
    memset(data, 0, sizeof data);
    assert_int_equal(priority_crc32c(data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(priority_crc32c(data, sizeof data), 0x62a8ab43);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(priority_crc32c(data, sizeof data), 0x46dd794e);
}

/* Two ends, and the bytes that are summed: their addresses, masked and in order. */
static const struct priority_row {
    const char *what, *a, *b;
    uint8_t size;
    uint8_t summed[32];
} priority_rows[] = {
    { "different /16 (the first example)",
      "123.213.32.10:1",
      "98.76.54.32:1",
      8,
      { 0x62, 0x4c, 0x14, 0x00, 0x7b, 0xd5, 0x00, 0x00 } },
    { "the same /16",
      "123.213.32.10:1",
      "123.213.99.234:1",
      8,
      { 0x7b, 0xd5, 0x20, 0x00, 0x7b, 0xd5, 0x63, 0x40 } },
    { "the same /24 (the second example)",
      "123.213.32.234:1",
      "123.213.32.10:1",
      8,
      { 0x7b, 0xd5, 0x20, 0x0a, 0x7b, 0xd5, 0x20, 0xea } },
    { "the same address, by ports",
      "10.0.0.1:6882",
      "10.0.0.1:6881",
      4,
      { 0x1a, 0xe1, 0x1a, 0xe2 } },
    { "IPv6, different /48",
      "[2001:db8:1:ffff::ff]:1",
      "[2001:db8:2:ffff::ff]:1",
      32,
      { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0x55, 0x55, [15] = 0x55, 0x20, 0x01, 0x0d, 0xb8, 0, 2, 0x55,
        0x55, [31] = 0x55 } },
    { "IPv6, the same /48",
      "[2001:db8:1:ffff::ff]:1",
      "[2001:db8:1:aaff::ff]:1",
      32,
      { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0xaa, 0x55, [15] = 0x55, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0xff,
        0x55, [31] = 0x55 } },
    { "IPv6, the same /56",
      "[2001:db8:1:ff0f::ff]:1",
      "[2001:db8:1:ff0e::ff]:1",
      32,
      { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0xff, 0x0e, [15] = 0x55, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0xff,
        0x0f, [31] = 0x55 } },
};

static void test_priority(void **state)
{
    const struct priority_row *row = *state;
    struct address a;
    struct address b;
    assert_int_equal(address_parse(row->a, &a), LB_OK);
    assert_int_equal(address_parse(row->b, &b), LB_OK);
    const uint32_t expected = priority_crc32c(row->summed, row->size);
    assert_int_equal(priority_of(&a, &b), expected);
    assert_int_equal(priority_of(&b, &a), expected);
}

static void test_examples(void **state)
{
    (void)state;
    const struct address client = address_v4(123, 213, 32, 10, 0);
    const struct address far = address_v4(98, 76, 54, 32, 0);
    const struct address near = address_v4(123, 213, 32, 234, 0);
    struct address other_family;
    assert_int_equal(priority_of(&client, &far), 0xec2d7224);
    assert_int_equal(priority_of(&client, &near), 0x99568189);
    assert_int_equal(address_parse("[2001:db8::1]:1", &other_family), LB_OK);
    assert_int_equal(priority_of(&client, &other_family), 0);
}

/* The example of BEP 6. */
static void test_fast_set(void **state)
{
    (void)state;
    static const uint32_t expected[] = { 1059, 431, 808, 1217, 287, 376, 1188, 353, 508 };
    const struct address address = address_v4(80, 4, 4, 200, 6881);
    struct address v6;
    uint8_t infohash[20];
    uint32_t pieces[FAST_SET_SIZE];
    memset(infohash, 0xaa, sizeof infohash);
    assert_int_equal(fast_set(infohash, &address, 1313, pieces, 7), 7);
    assert_memory_equal(pieces, expected, 7 * sizeof pieces[0]);
    assert_int_equal(fast_set(infohash, &address, 1313, pieces, 9), 9);
    assert_memory_equal(pieces, expected, 9 * sizeof pieces[0]);
    assert_int_equal(fast_set(infohash, &address, 3, pieces, FAST_SET_SIZE), 3);
    assert_int_equal(pieces[0] + pieces[1] + pieces[2], 0 + 1 + 2);
    assert_int_equal(address_parse("[2001:db8::1]:1", &v6), LB_OK);
    assert_int_equal(fast_set(infohash, &v6, 1313, pieces, 7), 0);
}

int main(void)
{
    enum { ROWS = sizeof priority_rows / sizeof priority_rows[0] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_fast_set),
    };
    enum { OTHERS = sizeof others / sizeof others[0] };
    struct CMUnitTest tests[ROWS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        tests[count++] = (struct CMUnitTest){ priority_rows[i].what, test_priority, NULL, NULL,
                                              (void *)(uintptr_t)&priority_rows[i] };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("priority", tests, count, NULL, NULL);
}
