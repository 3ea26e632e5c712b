#include "libcommon/bytes.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static void writer_keeps_what_fits(void **state)
{
    uint8_t buffer[7];
    struct writer writer;

    (void)state;
    writer_init(&writer, buffer, sizeof(buffer));
    writer_u8(&writer, 1);
    writer_u16(&writer, 0x0203);
    writer_u32(&writer, 0x04050607);
    assert_false(writer.overflow);
    assert_memory_equal(buffer, "\1\2\3\4\5\6\7", 7);
    writer_u8(&writer, 8);
    assert_true(writer.overflow);
    assert_int_equal(writer.size, 7);
}

static void writer_stays_shut_after_an_overflow(void **state)
{
    uint8_t buffer[4] = { 0 };
    struct writer writer;

    (void)state;
    writer_init(&writer, buffer, sizeof(buffer));
    writer_u64(&writer, UINT64_MAX);
    writer_u8(&writer, 1);
    assert_true(writer.overflow);
    assert_int_equal(writer.size, 0);
    assert_int_equal(buffer[0], 0);
}

static void writer_takes_nothing(void **state)
{
    struct writer writer;

    (void)state;
    writer_init(&writer, NULL, 0);
    writer_put(&writer, NULL, 0);
    assert_false(writer.overflow);
    writer_u8(&writer, 1);
    assert_true(writer.overflow);
}

static void numbers_are_big_endian(void **state)
{
    uint8_t data[8];

    (void)state;
    store_u64(data, 0x0102030405060708);
    assert_memory_equal(data, "\1\2\3\4\5\6\7\10", 8);
    assert_true(load_u64(data) == 0x0102030405060708);
    assert_int_equal(load_u32(data), 0x01020304);
    assert_int_equal(load_u16(data + 6), 0x0708);
    memset(data, 0xff, sizeof(data));
    assert_true(load_u64(data) == UINT64_MAX);
    assert_true(load_u32(data) == UINT32_MAX);
}

static void bytes_compare_by_content(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_of(NULL, 0), bytes_of_text("")));
    assert_true(bytes_equal_text(bytes_of("abc", 3), "abc"));
    assert_false(bytes_equal_text(bytes_of("abc", 3), "ab"));
    assert_false(bytes_equal_text(bytes_of("abc", 3), "abd"));
}

static const struct hex_row {
    const char *what, *text;
    size_t size;
    lb_err err;
    const char *bytes;
} hex_rows[] = {
    { "hex: either case is read", "00fFAb", 3, LB_OK, "\x00\xff\xab" },
    { "hex: nothing is nothing", "", 0, LB_OK, "" },
    { "hex: too short is refused", "00ff", 3, LB_INVALID, NULL },
    { "hex: too long is refused", "00ff00ff", 3, LB_INVALID, NULL },
    { "hex: half a byte is refused", "00ff0", 3, LB_INVALID, NULL },
    { "hex: other letters are refused", "00fg00", 3, LB_INVALID, NULL },
    { "hex: a sign is refused", "+0-0 0", 3, LB_INVALID, NULL },
};

static void hex_is_read(void **state)
{
    const struct hex_row *row = *state;
    uint8_t data[8] = "untouch";
    char text[17];

    assert_int_equal(hex_decode(row->text, data, row->size), row->err);
    if (row->err != LB_OK) {
        assert_memory_equal(data, "untouch", 8);
        return;
    }
    assert_memory_equal(data, row->bytes, row->size);
    hex_encode(data, row->size, text);
    assert_int_equal(strcasecmp(text, row->text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writer_keeps_what_fits),
        cmocka_unit_test(writer_stays_shut_after_an_overflow),
        cmocka_unit_test(writer_takes_nothing),
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(bytes_compare_by_content),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(hex_rows, hex_is_read);
}
