#include "services/swarm/bitfield.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

/* Pieces as drawn: 1 here, 0 not; then the bytes of the wire in hexadecimal. */
static const struct row {
    const char *what, *drawn;
    uint8_t bytes[4];
    uint32_t count;
} rows[] = {
    { "none of one", "0", { 0x00 }, 0 },
    { "the first is the high bit", "10000000", { 0x80 }, 1 },
    { "the last of a byte is the low bit", "00000001", { 0x01 }, 1 },
    { "over a byte", "0000000011", { 0x00, 0xc0 }, 2 },
    { "all of nine", "111111111", { 0xff, 0x80 }, 9 },
    { "far ones", "0000000000000000000000001", { 0x00, 0x00, 0x00, 0x80 }, 1 },
};

static void test_row(void **state)
{
    const struct row *row = *state;
    uint32_t pieces = (uint32_t)strlen(row->drawn), next = 0;
    uint8_t bits[4] = { 0 };

    for (uint32_t i = 0; i < pieces; i++) {
        if (row->drawn[i] == '1')
            bitfield_set(bits, i);
    }
    assert_memory_equal(bits, row->bytes, sizeof(bits));
    assert_int_equal(bitfield_count(bits, pieces), row->count);
    assert_true(bitfield_is_valid(bits, bitfield_size(pieces), pieces));
    for (uint32_t i = 0; i < pieces; i++) {
        assert_int_equal(bitfield_has(bits, i), row->drawn[i] == '1');
        if (row->drawn[i] != '1')
            continue;
        assert_int_equal(bitfield_next(bits, pieces, next), i);
        next = i + 1;
    }
    assert_int_equal(bitfield_next(bits, pieces, next), pieces);
    for (uint32_t i = 0; i < pieces; i++)
        bitfield_clear(bits, i);
    assert_int_equal(bitfield_count(bits, pieces), 0);
}

static void spare_bits_are_not_set(void **state)
{
    (void)state;
    for (uint32_t pieces = 1; pieces <= 32; pieces++) {
        uint8_t bits[4] = { 0 };

        bitfield_set_all(bits, pieces);
        assert_int_equal(bitfield_count(bits, pieces), pieces);
        assert_true(bitfield_is_valid(bits, bitfield_size(pieces), pieces));
        assert_false(bitfield_is_valid(bits, bitfield_size(pieces) + 1, pieces));
        if (pieces % 8 == 0)
            continue;
        bits[pieces / 8] |= 1;
        assert_false(bitfield_is_valid(bits, bitfield_size(pieces), pieces));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(spare_bits_are_not_set) };

    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL);
}
