#include "libcommon/bencode.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define TOKENS_MAX 16
#define DEPTH_MAX  4

/* Parsed with 16 tokens, 4 levels, keys in any order unless `strict`. */
static const struct parse_row {
    const char *what, *text;
    lb_err err;
    uint32_t tokens;
    bool strict;
} parse_rows[] = {
    { "a number", "i42e", LB_OK, 1, false },
    { "zero", "i0e", LB_OK, 1, false },
    { "a number below zero", "i-42e", LB_OK, 1, false },
    { "the greatest number", "i9223372036854775807e", LB_OK, 1, false },
    { "the least number", "i-9223372036854775808e", LB_OK, 1, false },
    { "one more than the greatest", "i9223372036854775808e", LB_INVALID, 0, false },
    { "one less than the least", "i-9223372036854775809e", LB_INVALID, 0, false },
    { "a number that would wrap", "i18446744073709551617e", LB_INVALID, 0, false },
    { "no digits", "ie", LB_INVALID, 0, false },
    { "a sign alone", "i-e", LB_INVALID, 0, false },
    { "minus zero", "i-0e", LB_INVALID, 0, false },
    { "a leading zero", "i042e", LB_INVALID, 0, false },
    { "two zeros", "i00e", LB_INVALID, 0, false },
    { "a plus sign", "i+1e", LB_INVALID, 0, false },
    { "a space", "i 1e", LB_INVALID, 0, false },
    { "a fraction", "i1.5e", LB_INVALID, 0, false },
    { "a number without an end", "i42", LB_INVALID, 0, false },
    { "an i alone", "i", LB_INVALID, 0, false },

    { "a string", "4:spam", LB_OK, 1, false },
    { "the empty string", "0:", LB_OK, 1, false },
    { "a string cut short", "4:spa", LB_INVALID, 0, false },
    { "a string without its colon", "4", LB_INVALID, 0, false },
    { "a length with a leading zero", "04:spam", LB_INVALID, 0, false },
    { "a length below zero", "-1:a", LB_INVALID, 0, false },
    { "a length that would wrap", "18446744073709551620:spam", LB_INVALID, 0, false },
    { "a length of nearly 2^63", "9223372036854775807:spam", LB_INVALID, 0, false },
    { "no length", ":spam", LB_INVALID, 0, false },

    { "the empty list", "le", LB_OK, 1, false },
    { "a list of all kinds", "li1e1:ali2eed1:bi3eee", LB_OK, 8, false },
    { "a list without an end", "li1e", LB_INVALID, 0, false },
    { "an end too many", "lee", LB_INVALID, 0, false },
    { "an end alone", "e", LB_INVALID, 0, false },

    { "the empty dictionary", "de", LB_OK, 1, false },
    { "a dictionary", "d1:ai1e1:bi2ee", LB_OK, 5, false },
    { "a key without a value", "d1:ae", LB_INVALID, 0, false },
    { "a number as key", "di1ei2ee", LB_INVALID, 0, false },
    { "a list as key", "dlei2ee", LB_INVALID, 0, false },
    { "a dictionary as key", "ddei2ee", LB_INVALID, 0, false },
    { "keys unsorted, and that is accepted", "d1:bi1e1:ai2ee", LB_OK, 5, false },
    { "keys unsorted, and that is refused", "d1:bi1e1:ai2ee", LB_INVALID, 0, true },
    { "a key twice, and that is accepted", "d1:ai1e1:ai2ee", LB_OK, 5, false },
    { "a key twice, and that is refused", "d1:ai1e1:ai2ee", LB_INVALID, 0, true },
    { "a shorter key stands first", "d1:ai1e2:aai2ee", LB_OK, 5, true },
    { "a longer key stands first", "d2:aai1e1:ai2ee", LB_INVALID, 0, true },
    { "keys are compared as unsigned bytes", "d1:zi1e1:\xffi2ee", LB_OK, 5, true },
    { "each dictionary has an order of its own", "d1:bd1:aleee", LB_OK, 5, true },
    { "the empty key", "d0:i1ee", LB_OK, 3, true },
    { "the empty key stands first", "d0:i1e1:ai2ee", LB_OK, 5, true },

    { "nothing", "", LB_INVALID, 0, false },
    { "something else", "x", LB_INVALID, 0, false },
    { "a tail", "i1ex", LB_INVALID, 0, false },
    { "a second value", "i1ei2e", LB_INVALID, 0, false },

    { "four levels are allowed", "lllleeee", LB_OK, 4, false },
    { "five are not", "llllleeeee", LB_TOO_BIG, 0, false },
    { "sixteen values are allowed", "li1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ee", LB_OK, 16,
      false },
    { "seventeen are not", "li1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ee", LB_TOO_BIG, 0,
      false },
};

static void parses(void **state)
{
    const struct parse_row *row = *state;
    const struct bencode_limits limits = { .depth_max = DEPTH_MAX, .strict_order = row->strict };
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode parsed = { .count = 999 };

    assert_int_equal(
        bencode_parse(&parsed, bytes_of_text(row->text), tokens, TOKENS_MAX, limits, NULL),
        row->err);
    if (row->err != LB_OK) {
        assert_int_equal(parsed.count, 999);
        return;
    }
    assert_int_equal(parsed.count, row->tokens);
    assert_int_equal(tokens[0].next, row->tokens);
    assert_true(bytes_equal_text(bencode_raw(&parsed, 0), row->text));
}

/* Every prefix of a good value is a bad one, and reading it stays inside. */
static void cut_anywhere_is_malformed(void **state)
{
    const char *text = "d1:ad2:id3:abce1:lli-1e0:ee";
    const struct bencode_limits limits = { .depth_max = 8 };
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode parsed;

    (void)state;
    assert_int_equal(bencode_parse(&parsed, bytes_of_text(text), tokens, TOKENS_MAX, limits, NULL),
                     LB_OK);
    for (size_t size = 0; size < strlen(text); size++)
        assert_int_equal(
            bencode_parse(&parsed, bytes_of(text, size), tokens, TOKENS_MAX, limits, NULL),
            LB_INVALID);
}

static struct bencode parse_good(const char *text, struct bencode_token tokens[TOKENS_MAX])
{
    const struct bencode_limits limits = { .depth_max = 8 };
    struct bencode parsed;

    assert_int_equal(bencode_parse(&parsed, bytes_of_text(text), tokens, TOKENS_MAX, limits, NULL),
                     LB_OK);
    return parsed;
}

static void values_are_found(void **state)
{
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode d = parse_good("d1:ad2:id3:abce4:listli7e1:xe1:ni-9ee", tokens);
    uint32_t list = bencode_find_type(&d, 0, "list", BENCODE_LIST);
    uint32_t first = bencode_first(&d, list);
    uint32_t second = bencode_after(&d, list, first);
    int64_t number = 0;

    (void)state;
    assert_true(bytes_equal_text(
        bencode_string(&d, bencode_find(&d, bencode_find(&d, 0, "a"), "id")), "abc"));
    assert_true(bencode_int(&d, bencode_find(&d, 0, "n"), &number));
    assert_int_equal(number, -9);
    assert_true(bencode_int(&d, first, &number));
    assert_int_equal(number, 7);
    assert_true(bytes_equal_text(bencode_string(&d, second), "x"));
    assert_int_equal(bencode_after(&d, list, second), BENCODE_NONE);
    assert_true(bytes_equal_text(bencode_raw(&d, list), "li7e1:xe"));
    assert_int_equal(bencode_find(&d, 0, "id"), BENCODE_NONE);
    assert_int_equal(bencode_find_type(&d, 0, "a", BENCODE_LIST), BENCODE_NONE);
}

/* A value that equals a key's name is not taken for the key. */
static void values_are_no_keys(void **state)
{
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode d = parse_good("d1:a1:b1:ci1ee", tokens);

    (void)state;
    assert_int_equal(bencode_find(&d, 0, "b"), BENCODE_NONE);
}

static void the_missing_is_answered_everywhere(void **state)
{
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode d = parse_good("li1ee", tokens);
    const uint32_t missing[] = { BENCODE_NONE, 2, 1 };
    int64_t number = 5;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(bencode_find(&d, missing[i], "a"), BENCODE_NONE);
        assert_int_equal(bencode_find_type(&d, missing[i], "a", BENCODE_INT), BENCODE_NONE);
        assert_int_equal(bencode_first(&d, missing[i]), BENCODE_NONE);
        assert_int_equal(bencode_after(&d, missing[i], missing[i]), BENCODE_NONE);
        assert_int_equal(bencode_string(&d, missing[i]).size, 0);
    }
    assert_int_equal(bencode_after(&d, 0, BENCODE_NONE), BENCODE_NONE);
    assert_int_equal(bencode_after(&d, 0, 0), BENCODE_NONE);
    assert_false(bencode_int(&d, BENCODE_NONE, &number));
    assert_false(bencode_int(&d, 0, &number));
    assert_int_equal(number, 5);
    assert_int_equal(bencode_raw(&d, BENCODE_NONE).size, 0);
    assert_int_equal(bencode_find(&d, 0, "a"), BENCODE_NONE);
    d = parse_good("le", tokens);
    assert_int_equal(bencode_first(&d, 0), BENCODE_NONE);
}

/* Refused by its size alone. */
static void two_gibibytes_are_too_much(void **state)
{
    const struct bencode_limits limits = { .depth_max = 8 };
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode parsed;

    (void)state;
    assert_int_equal(bencode_parse(&parsed, bytes_of("le", ((size_t)1 << 31) + 1), tokens,
                                   TOKENS_MAX, limits, NULL),
                     LB_TOO_BIG);
}

static void the_end_of_a_value_is_told(void **state)
{
    const struct bencode_limits limits = { .depth_max = 8 };
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode parsed;
    size_t used = 0;

    (void)state;
    assert_int_equal(
        bencode_parse(&parsed, bytes_of_text("d1:ai1eepiece"), tokens, TOKENS_MAX, limits, &used),
        LB_OK);
    assert_int_equal(used, 8);
}

static void depth_is_64_at_most(void **state)
{
    const struct bencode_limits limits = { .depth_max = 1000 };
    struct bencode_token tokens[80];
    struct bencode parsed;
    char text[132];

    (void)state;
    memset(text, 'l', 65);
    memset(text + 65, 'e', 65);
    assert_int_equal(bencode_parse(&parsed, bytes_of(text + 1, 128), tokens, 80, limits, NULL),
                     LB_OK);
    assert_int_equal(bencode_parse(&parsed, bytes_of(text, 130), tokens, 80, limits, NULL),
                     LB_TOO_BIG);
}

static void writes_what_it_reads(void **state)
{
    char buffer[128];
    struct writer to;

    (void)state;
    writer_init(&to, buffer, sizeof(buffer));
    bencode_put_dict(&to);
    bencode_put_text(&to, "a");
    bencode_put_int(&to, INT64_MIN);
    bencode_put_text(&to, "b");
    bencode_put_list(&to);
    bencode_put_int(&to, INT64_MAX);
    bencode_put_int(&to, 0);
    bencode_put_string(&to, bytes_of(NULL, 0));
    bencode_put_string(&to, bytes_of("0123456789", 10));
    bencode_put_end(&to);
    bencode_put_end(&to);
    assert_false(to.overflow);
    assert_true(bytes_equal_text(
        bytes_of(buffer, to.size),
        "d1:ai-9223372036854775808e1:bli9223372036854775807ei0e0:10:0123456789ee"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere_is_malformed),
        cmocka_unit_test(values_are_found),
        cmocka_unit_test(values_are_no_keys),
        cmocka_unit_test(the_missing_is_answered_everywhere),
        cmocka_unit_test(two_gibibytes_are_too_much),
        cmocka_unit_test(the_end_of_a_value_is_told),
        cmocka_unit_test(depth_is_64_at_most),
        cmocka_unit_test(writes_what_it_reads),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(parse_rows, parses);
}
