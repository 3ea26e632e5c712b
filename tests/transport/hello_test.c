#include "services/transport/hello.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

/* A ClientHello of a client that knows DTLS 1.2, as OpenSSL sends its first one, cut after the
 * suites. */
static const char hello_hex[] = "16fefd0000000000000007" /* the record: its sequence is 7 */
                                "003b"
                                "0100002f000000000000002f"
                                "fefd" /* the version */
                                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
                                "00"       /* no session */
                                "00"       /* no cookie */
                                "0002c02b" /* one suite */
                                "0100"     /* no compression */
                                "00030017"
                                "00";

static size_t make_hello(uint8_t *ret_data)
{
    size_t size = (sizeof(hello_hex) - 1) / 2;

    assert_int_equal(hex_decode(hello_hex, ret_data, size), LB_OK);
    return size;
}

/* One byte of that hello is another. */
static const struct row {
    const char *what;
    unsigned place;
    uint8_t byte;
    enum record_kind kind;
    bool is_read;
} rows[] = {
    { "the hello itself", 0, 22, RECORD_HELLO, true },
    { "a later part of a handshake", 13, 11, RECORD_HANDSHAKE, false },
    { "a change of the cipher", 0, 20, RECORD_HANDSHAKE, false },
    { "an alert in the clear", 0, 21, RECORD_CLEAR_ALERT, false },
    { "data in the clear", 0, 23, RECORD_NONE, false },
    { "a record of the next epoch", 4, 1, RECORD_PROTECTED, false },
    { "another type of record", 0, 24, RECORD_NONE, false },
    { "TLS instead of DTLS", 1, 3, RECORD_NONE, false },
    { "KRPC", 0, 'd', RECORD_KRPC, false },
    { "a record longer than the datagram", 12, 0x3c, RECORD_NONE, false },
    { "a record shorter than the hello", 12, 0x3a, RECORD_HELLO, false },
    { "a message longer than the record", 16, 0x30, RECORD_HELLO, false },
    { "a fragment that is not the first", 21, 1, RECORD_HELLO, false },
    { "a fragment that is not the whole", 24, 0x2e, RECORD_HELLO, false },
    { "a session that is too long", 59, 33, RECORD_HELLO, false },
    { "a cookie beyond the end", 60, 255, RECORD_HELLO, false },
    { "suites beyond the end", 61, 1, RECORD_HELLO, false },
    { "compressions beyond the end", 65, 255, RECORD_HELLO, false },
};

static void is_told_apart(void **state)
{
    const struct row *row = *state;
    uint8_t data[128];
    size_t size = make_hello(data);
    struct hello hello;

    data[row->place] = row->byte;
    assert_int_equal(record_kind(bytes_of(data, size)), row->kind);
    assert_int_equal(hello_read(bytes_of(data, size), &hello), row->is_read ? LB_OK : LB_INVALID);
}

static void what_it_says_is_read(void **state)
{
    uint8_t data[128];
    size_t size = make_hello(data);
    struct hello hello;

    (void)state;
    assert_int_equal(hello_read(bytes_of(data, size), &hello), LB_OK);
    assert_false(hello.is_old);
    assert_int_equal(hello.sequence[5], 7);
    assert_int_equal(hello.random.size, HELLO_RANDOM_SIZE);
    assert_int_equal(hello.random.data[31], 0x1f);
    assert_int_equal(hello.cookie.size, 0);
    assert_int_equal(hello.ciphers.size, 2);
    data[26] = 0xff; /* DTLS 1.0 */
    assert_int_equal(hello_read(bytes_of(data, size), &hello), LB_OK);
    assert_true(hello.is_old);
}

/* However it is cut, nothing is read past its end (the sanitizers look). */
static void no_part_of_it_is_one(void **state)
{
    uint8_t data[128];
    size_t size = make_hello(data);
    struct hello hello;

    (void)state;
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut ? cut : 1);

        memcpy(part, data, cut);
        (void)record_kind(bytes_of(part, cut));
        assert_int_equal(hello_read(bytes_of(part, cut), &hello), LB_INVALID);
        free(part);
    }
}

static const struct hello_key key = { { 1, 2, 3 } }, other_key = { { 1, 2, 4 } };
static const struct address asker = { .ip = { [10] = 0xff, 0xff, 10, 0, 0, 9 }, .port = 6881 };

/* Put the cookie of a HelloVerifyRequest into the hello. */
static void bring(struct hello *hello, const uint8_t request[HELLO_VERIFY_SIZE])
{
    hello->cookie = bytes_of(request + HELLO_VERIFY_SIZE - HELLO_COOKIE_SIZE, HELLO_COOKIE_SIZE);
}

static void a_cookie_counts_once_and_where_it_was_given(void **state)
{
    const struct address other_port = { .ip = { [10] = 0xff, 0xff, 10, 0, 0, 9 }, .port = 6882 };
    const struct address other_ip = { .ip = { [10] = 0xff, 0xff, 10, 0, 0, 8 }, .port = 6881 };
    uint8_t data[128], request[HELLO_VERIFY_SIZE];
    size_t size = make_hello(data);
    struct hello hello;
    uint64_t now_ms = 100 * HELLO_PERIOD_MS;

    (void)state;
    assert_int_equal(hello_read(bytes_of(data, size), &hello), LB_OK);
    assert_false(hello_is_proved(&hello, &key, &asker, now_ms));
    hello_verify_request(&hello, &key, &asker, now_ms, request);
    assert_true(sizeof(request) <= size);
    assert_memory_equal(request + 5, hello.sequence, 6);
    bring(&hello, request);
    assert_true(hello_is_proved(&hello, &key, &asker, now_ms));
    assert_true(hello_is_proved(&hello, &key, &asker, now_ms + HELLO_PERIOD_MS));
    assert_false(hello_is_proved(&hello, &key, &asker, now_ms + 2 * HELLO_PERIOD_MS));
    assert_false(hello_is_proved(&hello, &key, &other_port, now_ms));
    assert_false(hello_is_proved(&hello, &key, &other_ip, now_ms));
    assert_false(hello_is_proved(&hello, &other_key, &asker, now_ms));
    data[30]++; /* of its random */
    assert_false(hello_is_proved(&hello, &key, &asker, now_ms));
    data[30]--;
    data[64]++; /* of its suites */
    assert_false(hello_is_proved(&hello, &key, &asker, now_ms));
}

static void a_cookie_that_was_altered_does_not_count(void **state)
{
    uint8_t data[128], request[HELLO_VERIFY_SIZE];
    size_t size = make_hello(data);
    struct hello hello;

    (void)state;
    assert_int_equal(hello_read(bytes_of(data, size), &hello), LB_OK);
    hello_verify_request(&hello, &key, &asker, 0, request);
    bring(&hello, request);
    for (unsigned bit = 0; bit < 8 * HELLO_COOKIE_SIZE; bit++) {
        uint8_t *byte = &request[HELLO_VERIFY_SIZE - HELLO_COOKIE_SIZE + bit / 8];

        *byte ^= (uint8_t)(1u << bit % 8);
        assert_false(hello_is_proved(&hello, &key, &asker, 0));
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    hello.cookie.size--;
    assert_false(hello_is_proved(&hello, &key, &asker, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says_is_read),
        cmocka_unit_test(no_part_of_it_is_one),
        cmocka_unit_test(a_cookie_counts_once_and_where_it_was_given),
        cmocka_unit_test(a_cookie_that_was_altered_does_not_count),
    };

    return (RUN_ROWS(rows, is_told_apart) + cmocka_run_group_tests(tests, NULL, NULL)) != 0;
}
