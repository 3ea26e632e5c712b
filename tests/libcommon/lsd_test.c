#include "libcommon/lsd.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define FIRST "BT-SEARCH * HTTP/1.1\r\n"
#define HASH  "Infohash: 00112233445566778899aabbccddeeff01234567\r\n"
#define PORT  "Port: 6881\r\n"
#define END   "\r\n\r\n"

/* What is read, drawn: "port, hashes, cookie, remark", or "no". */
static const struct row {
    const char *what, *text, *read;
} rows[] = {
    { "as BEP 14 writes it", FIRST "Host: 239.192.152.143:6771\r\n" PORT HASH "cookie: abc\r\n" END,
      "6881 1 abc " },
    { "without a cookie", FIRST PORT HASH END, "6881 1  " },
    { "names in any case, values between spaces",
      FIRST "PORT:   6881  \r\ninfohash:00112233445566778899AABBCCDDEEFF01234567\r\nCookie:\tx\r\n",
      "6881 1 x " },
    { "lines without CR", "BT-SEARCH * HTTP/1.1\nPort: 1\n" HASH "\n", "1 1  " },
    { "no empty line at the end", FIRST PORT "Infohash: 00112233445566778899aabbccddeeff01234567",
      "6881 1  " },
    { "nothing after the empty line counts", FIRST PORT HASH "\r\nPort: x\r\n", "6881 1  " },
    { "several infohashes", FIRST PORT HASH HASH HASH END, "6881 3  " },
    { "what is ours", FIRST PORT HASH "X-Littlebird: alone client\r\n" END,
      "6881 1  alone client" },
    { "unknown headers are passed over", FIRST "A: b:c\r\n" PORT HASH END, "6881 1  " },
    { "a cookie of another's bytes is none", FIRST PORT HASH "cookie: \1\2\r\n" END, "6881 1  " },
    { "another request", "GET / HTTP/1.1\r\n" PORT HASH END, "no" },
    { "nothing", "", "no" },
    { "no port", FIRST HASH END, "no" },
    { "no infohash", FIRST PORT END, "no" },
    { "port 0", FIRST "Port: 0\r\n" HASH END, "no" },
    { "port 65536", FIRST "Port: 65536\r\n" HASH END, "no" },
    { "port 99999999999999999999", FIRST "Port: 99999999999999999999\r\n" HASH END, "no" },
    { "a port that is none", FIRST "Port: 68x1\r\n" HASH END, "no" },
    { "an empty port", FIRST "Port:\r\n" HASH END, "no" },
    { "an infohash too short", FIRST PORT "Infohash: 0011\r\n" END, "no" },
    { "an infohash of no digits",
      FIRST PORT "Infohash: 00112233445566778899aabbccddeeff0123456g\r\n" END, "no" },
    { "a line without a colon", FIRST PORT HASH "what\r\n" END, "no" },
};

static void is_read(void **state)
{
    const struct row *row = *state;
    struct lsd_message message;
    char drawn[256] = "no";

    if (lsd_decode(bytes_of_text(row->text), &message) == LB_OK)
        snprintf(drawn, sizeof(drawn), "%u %zu %.*s %.*s", (unsigned)message.port,
                 message.hashes_count, (int)message.cookie.size,
                 message.cookie.size > 0 ? (const char *)message.cookie.data : "",
                 (int)message.remark.size,
                 message.remark.size > 0 ? (const char *)message.remark.data : "");
    assert_string_equal(drawn, row->read);
}

static void what_is_written_is_read(void **state)
{
    struct lsd_message message = { .port = 6881,
                                   .hashes_count = LSD_HASHES_MAX,
                                   .cookie = bytes_of_text("0123456789abcdef"),
                                   .remark = bytes_of_text("alone") };
    struct lsd_message read;
    uint8_t data[LSD_SIZE_MAX];
    size_t size;

    (void)state;
    for (size_t i = 0; i < LSD_HASHES_MAX; i++)
        message.hashes[i][0] = (uint8_t)(i + 1);
    for (int over_v6 = 0; over_v6 < 2; over_v6++) {
        message.over_v6 = over_v6;
        size = lsd_encode(&message, data, sizeof(data));
        assert_in_range(size, 1, LSD_SIZE_MAX);
        assert_int_equal(lsd_decode(bytes_of(data, size), &read), LB_OK);
        assert_int_equal(read.port, 6881);
        assert_memory_equal(read.hashes, message.hashes, sizeof(read.hashes));
        assert_true(bytes_equal(read.cookie, message.cookie));
        assert_true(bytes_equal(read.remark, message.remark));
        for (size_t less = 0; less < size; less++)
            assert_int_equal(lsd_encode(&message, data, less), 0);
    }
}

static void the_message_of_the_spec_is_written(void **state)
{
    const struct lsd_message message = { .port = 6881,
                                         .hashes = { { 0, 0x11, 0x22 } },
                                         .hashes_count = 1,
                                         .cookie = bytes_of_text("c") };
    uint8_t data[LSD_SIZE_MAX];

    (void)state;
    assert_true(
        bytes_equal_text(bytes_of(data, lsd_encode(&message, data, sizeof(data))),
                         "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n"
                         "Infohash: 0011220000000000000000000000000000000000\r\ncookie: c\r\n"
                         "\r\n\r\n"));
}

static void words_of_the_remark_are_whole(void **state)
{
    const struct lsd_message message = { .remark = bytes_of_text("alone  clients x") };
    const struct lsd_message none = { .port = 1 };

    (void)state;
    assert_true(lsd_remarks(&message, "alone"));
    assert_true(lsd_remarks(&message, "clients"));
    assert_true(lsd_remarks(&message, "x"));
    assert_false(lsd_remarks(&message, "client"));
    assert_false(lsd_remarks(&message, "one"));
    assert_false(lsd_remarks(&none, "alone"));
}

static void too_long_a_message_is_none(void **state)
{
    static char text[LSD_SIZE_MAX + 2] = FIRST PORT HASH "A: ";
    size_t used = strlen(text);
    struct lsd_message message;

    (void)state;
    memset(text + used, 'x', sizeof(text) - 1 - used);
    assert_int_equal(lsd_decode(bytes_of(text, LSD_SIZE_MAX), &message), LB_OK);
    assert_int_equal(lsd_decode(bytes_of(text, LSD_SIZE_MAX + 1), &message), LB_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_message_of_the_spec_is_written),
        cmocka_unit_test(words_of_the_remark_are_whole),
        cmocka_unit_test(too_long_a_message_is_none),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, is_read);
}
