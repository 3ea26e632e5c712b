#include "libcommon/pki/join_token.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define FIXED_SIZE (JOIN_INVITE_SIZE + JOIN_SECRET_SIZE + NETWORK_ID_SIZE)
#define RAW_MAX    2048

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---- from what it says to the word and back ---- */

static struct join_token token_of(size_t count)
{
    struct join_token token = { .addresses_count = count };

    for (size_t i = 0; i < NETWORK_ID_SIZE; i++) {
        token.network[i] = (uint8_t)(0xc0 + i);
        token.secret[i % JOIN_SECRET_SIZE] = (uint8_t)(0x10 + i);
        token.invite[i % JOIN_INVITE_SIZE] = (uint8_t)i;
    }
    for (size_t i = 0; i < count && i < JOIN_ADDRESSES_MAX; i++) {
        snprintf(token.addresses[i], JOIN_ADDRESS_SIZE, "host%zu.example:%zu", i, 6891 + i);
    }
    return token;
}

static const struct write_row {
    const char *what;
    size_t count;
    const char *first; /* instead of the first address */
    lb_err err;
} write_rows[] = {
    { "one address", 1, NULL, LB_OK },
    { "four addresses", 4, NULL, LB_OK },
    { "an address of IPv6", 1, "[2001:db8::1]:6891", LB_OK },
    { "no address leads nowhere", 0, NULL, LB_INVALID },
    { "five addresses are too many", 5, NULL, LB_INVALID },
    { "an empty address", 2, "", LB_INVALID },
    { "an address without a port", 1, "host.example", LB_INVALID },
    { "an address with an empty port", 1, "host.example:", LB_INVALID },
    { "an address without a host", 1, ":6891", LB_INVALID },
    { "an address with a space", 1, "host example:1", LB_INVALID },
    { "an address of two lines", 1, "host\n:1", LB_INVALID },
    { "an address with a byte that is no ASCII", 1, "h\xc3\xb6st:1", LB_INVALID },
};

static void writes(void **state)
{
    const struct write_row *row = *state;
    struct join_token token = token_of(row->count), again;
    char text[JOIN_TOKEN_SIZE] = "untouched";

    if (row->first) {
        memset(token.addresses[0], 0, JOIN_ADDRESS_SIZE);
        memcpy(token.addresses[0], row->first, strlen(row->first));
    }
    assert_int_equal(join_token_write(&token, text), row->err);
    if (row->err != LB_OK) {
        assert_string_equal(text, "untouched");
        return;
    }
    assert_int_equal(join_token_parse(text, &again), LB_OK);
    assert_memory_equal(&again, &token, sizeof(token));
}

static void the_longest_has_its_place(void **state)
{
    struct join_token token = token_of(JOIN_ADDRESSES_MAX), again;
    char text[JOIN_TOKEN_SIZE];

    (void)state;
    for (size_t i = 0; i < JOIN_ADDRESSES_MAX; i++) {
        memset(token.addresses[i], 'a', 255);
        memcpy(token.addresses[i] + 253, ":1", 2);
    }
    assert_int_equal(join_token_write(&token, text), LB_OK);
    assert_int_equal(join_token_parse(text, &again), LB_OK);
    assert_memory_equal(&again, &token, sizeof(token));
    memcpy(token.addresses[3] + 253, "a:1", 3); /* one byte more */
    assert_int_equal(join_token_write(&token, text), LB_INVALID);
}

/* ---- words that are none ---- */

static uint8_t check_sum(const uint8_t *data, size_t size)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * 16777619u;
    }
    return (uint8_t)hash;
}

/* Base64url of RFC 4648, the plain way: three bytes at a time. */
static void encode(const uint8_t *raw, size_t size, char *ret_text)
{
    ret_text += sprintf(ret_text, "lb1.");
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i < 3 ? size - i : 3;
        uint32_t group = (uint32_t)raw[i] << 16 | (left > 1 ? (uint32_t)raw[i + 1] << 8 : 0) |
                         (left > 2 ? raw[i + 2] : 0u);

        for (size_t digit = 0; digit <= left; digit++) {
            *ret_text++ = alphabet[group >> (18 - 6 * digit) & 63];
        }
    }
    *ret_text = '\0';
}

/* A part of raw bytes: what stands after the fixed ones. */
static const struct raw_row {
    const char *what, *addresses;
    size_t size;
    lb_err err;
} raw_rows[] = {
    { "one address", "\5a.b:1", 6, LB_OK },
    { "two addresses", "\3a:1\3b:2", 8, LB_OK },
    { "none", "", 0, LB_INVALID },
    { "a size of 0", "\0", 1, LB_INVALID },
    { "a size without its bytes", "\3", 1, LB_INVALID },
    { "a size that goes past the end", "\4a:1", 4, LB_INVALID },
    { "a size that ends before the end", "\3a:12", 5, LB_INVALID },
    { "a NUL inside", "\4a\0:1", 5, LB_INVALID },
    { "a delete", "\4a\x7f:1", 5, LB_INVALID },
    { "five", "\3a:1\3b:2\3c:3\3d:4\3e:5", 20, LB_INVALID },
};

static void raw_addresses(void **state)
{
    const struct raw_row *row = *state;
    uint8_t raw[RAW_MAX] = { 1, 2, 3 };
    struct join_token token;
    char text[2 * RAW_MAX];
    size_t size = FIXED_SIZE + row->size;

    memcpy(raw + FIXED_SIZE, row->addresses, row->size);
    raw[size] = check_sum(raw, size);
    encode(raw, size + 1, text);
    assert_int_equal(join_token_parse(text, &token), row->err);
}

static const struct text_row {
    const char *what, *text;
} text_rows[] = {
    { "nothing", "" },
    { "its beginning alone", "lb1." },
    { "another version", "lb2.AAAA" },
    { "a link", "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567" },
    { "few bytes", "lb1.AAAA" },
    { "a space", "lb1.AAAA AAAA" },
    { "padding", "lb1.AAA=" },
    { "digits of ordinary base64", "lb1.AA+/" },
    { "a byte that is no ASCII", "lb1.\xc3\xa9" },
};

static void texts(void **state)
{
    const struct text_row *row = *state;
    struct join_token token, untouched;

    memset(&token, 0x55, sizeof(token));
    untouched = token;
    assert_int_equal(join_token_parse(row->text, &token), LB_INVALID);
    assert_memory_equal(&token, &untouched, sizeof(token));
}

static void one_that_was_cut_is_none(void **state)
{
    struct join_token token = token_of(2), again;
    char text[JOIN_TOKEN_SIZE];
    unsigned taken = 0;

    (void)state;
    assert_int_equal(join_token_write(&token, text), LB_OK);
    for (size_t size = strlen(text); size-- > 0;) {
        text[size] = '\0';
        taken += join_token_parse(text, &again) == LB_OK;
    }
    assert_int_equal(taken, 0);
}

static void one_that_was_mistyped_is_none(void **state)
{
    struct join_token token = token_of(1), again;
    char text[JOIN_TOKEN_SIZE], typed[JOIN_TOKEN_SIZE];
    unsigned taken = 0;

    (void)state;
    assert_int_equal(join_token_write(&token, text), LB_OK);
    for (size_t at = 0; text[at]; at++) {
        for (const char *digit = alphabet; *digit; digit++) {
            memcpy(typed, text, sizeof(typed));
            typed[at] = *digit;
            taken += strcmp(typed, text) != 0 && join_token_parse(typed, &again) == LB_OK;
        }
    }
    /* A byte of check sum lets one of 256 pass; what passes here names no other network or address
     * unnoticed: the secret or the root's digest does not hold. */
    assert_in_range(taken, 0, strlen(text) * 63 / 128);
}

static void one_of_too_many_bytes_is_none(void **state)
{
    char text[4 * RAW_MAX];
    struct join_token token;

    (void)state;
    memset(text, 'A', sizeof(text));
    memcpy(text, "lb1.", 4);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(join_token_parse(text, &token), LB_INVALID);
}

/* The bits after the last byte, and a digit alone, would be other words for the same token. */
static void each_token_is_one_word(void **state)
{
    uint8_t raw[RAW_MAX] = { 0 };
    struct join_token token;
    char text[2 * RAW_MAX];

    (void)state;
    for (size_t name = 1; name <= 3; name++) {
        size_t size = FIXED_SIZE + 1 + name + 2, length;

        raw[FIXED_SIZE] = (uint8_t)(name + 2);
        memset(raw + FIXED_SIZE + 1, 'a', name);
        memcpy(raw + FIXED_SIZE + 1 + name, ":1", 2);
        raw[size] = check_sum(raw, size);
        encode(raw, size + 1, text);
        assert_int_equal(join_token_parse(text, &token), LB_OK);
        length = strlen(text);
        if ((size + 1) % 3 != 0) {
            text[length - 1] = alphabet[strchr(alphabet, text[length - 1]) - alphabet + 1];
        } else {
            memcpy(text + length, "A", 2);
        }
        assert_int_equal(join_token_parse(text, &token), LB_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(the_longest_has_its_place),
        cmocka_unit_test(one_that_was_cut_is_none),
        cmocka_unit_test(one_that_was_mistyped_is_none),
        cmocka_unit_test(one_of_too_many_bytes_is_none),
        cmocka_unit_test(each_token_is_one_word),
    };

    return RUN_ROWS(write_rows, writes) + RUN_ROWS(raw_rows, raw_addresses) +
           RUN_ROWS(text_rows, texts) + cmocka_run_group_tests(others, NULL, NULL);
}
