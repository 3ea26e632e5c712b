#include "services/swarm/name.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static const struct row {
    const char *what, *raw, *safe;
} rows[] = {
    { "plain", "a-b.iso", "a-b.iso" },
    { "nothing", "", "" },
    { "two bytes", "\xc3\xa9", "\xc3\xa9" },
    { "three bytes", "\xe2\x82\xac", "\xe2\x82\xac" },
    { "four bytes", "\xf0\x9f\x90\xa6", "\xf0\x9f\x90\xa6" },
    { "the last code point", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
    { "behind the last code point", "\xf4\x90\x80\x80", "%F4%90%80%80" },
    { "a surrogate", "\xed\xa0\x80", "%ED%A0%80" },
    { "a slash written too long", "\xc0\xaf", "%C0%AF" },
    { "three bytes for one", "\xe0\x80\xaf", "%E0%80%AF" },
    { "four bytes for three", "\xf0\x82\x82\xac", "%F0%82%82%AC" },
    { "a byte that begins nothing", "a\xff", "a%FF" },
    { "a rest without a beginning", "\x80z", "%80z" },
    { "a character cut", "a\xe2\x82", "a%E2%82" },
    { "a character cut by another", "\xe2z\x82", "%E2z%82" },
    { "escape and delete", "\x1b[2J\x7f", "%1B[2J%7F" },
    { "a control character of two bytes", "\xc2\x85", "%C2%85" },
    { "a line separator", "\xe2\x80\xa8", "%E2%80%A8" },
    { "a bidirectional override",
      "txt.\xe2\x80\xae"
      "exe",
      "txt.%E2%80%AEexe" },
    { "a bidirectional isolate", "\xe2\x81\xa6", "%E2%81%A6" },
    { "a mark that Hebrew needs", "\xe2\x80\x8f", "\xe2\x80\x8f" },
    { "a percent stays", "100%", "100%" },
};

static void test_row(void **state)
{
    const struct row *row = *state;
    struct bytes raw = bytes_of_text(row->raw);
    char text[64];

    assert_true(name_make_safe(raw, text, sizeof(text)));
    assert_string_equal(text, row->safe);
    assert_int_equal(name_is_safe(raw), strcmp(row->raw, row->safe) == 0);
    assert_true(name_is_safe(bytes_of_text(text)));
}

static void what_does_not_fit_is_cut_between_characters(void **state)
{
    static const char *const cut[] = { "", "a", "a", "a", "a\xe2\x82\xac", "a\xe2\x82\xac" };
    char text[8];

    (void)state;
    for (size_t size = 1; size <= 6; size++) {
        assert_int_equal(name_make_safe(bytes_of_text("a\xe2\x82\xac"), text, size), size >= 5);
        assert_string_equal(text, cut[size - 1]);
    }
    assert_false(name_make_safe(bytes_of_text("a\xff"), text, 4));
    assert_string_equal(text, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_cut_between_characters),
    };

    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL);
}
