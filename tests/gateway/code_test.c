#include "services/gateway/code.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

/* The numbers are those of google/rpc/code.proto. */
static const struct row {
    const char *what;
    lb_err err;
    int code;
    bool passing;
} rows[] = {
    { "OK is 0", LB_OK, 0, false },
    { "INVALID is INVALID_ARGUMENT", LB_INVALID, 3, false },
    { "TOO_BIG is INVALID_ARGUMENT", LB_TOO_BIG, 3, false },
    { "TIMEOUT is DEADLINE_EXCEEDED", LB_TIMEOUT, 4, true },
    { "NOT_FOUND is NOT_FOUND", LB_NOT_FOUND, 5, false },
    { "EXISTS is ALREADY_EXISTS", LB_EXISTS, 6, false },
    { "DENIED is PERMISSION_DENIED", LB_DENIED, 7, false },
    { "FULL is RESOURCE_EXHAUSTED", LB_FULL, 8, true },
    { "NO_SPACE is RESOURCE_EXHAUSTED", LB_NO_SPACE, 8, true },
    { "CONFLICT is ABORTED", LB_CONFLICT, 10, false },
    { "UNSUPPORTED is UNIMPLEMENTED", LB_UNSUPPORTED, 12, false },
    { "IO is INTERNAL", LB_IO, 13, false },
    { "INTERNAL is INTERNAL", LB_INTERNAL, 13, false },
    { "UNAVAILABLE is UNAVAILABLE", LB_UNAVAILABLE, 14, true },
    { "CORRUPT is DATA_LOSS", LB_CORRUPT, 15, false },
    { "CANCELLED is CANCELLED", LB_CANCELLED, 1, true },
    { "what is unknown is INTERNAL", (lb_err)99, 13, false },
};

static void code_follows_the_error(void **state)
{
    const struct row *row = *state;

    assert_int_equal(code_of(row->err), row->code);
    assert_int_equal(code_is_passing(code_of(row->err)), row->passing);
}

static void a_long_text_is_cut(void **state)
{
    char text[2 * ANSWER_TEXT_SIZE];
    struct answer answer;

    (void)state;
    memset(text, 'x', sizeof(text));
    answer = answer_error(LB_UNAVAILABLE, "%.*s", (int)sizeof(text), text);
    assert_int_equal(strlen(answer.text), ANSWER_TEXT_SIZE - 1);
    assert_true(answer.retry_after_ms > 0);
    assert_int_equal(answer.payload.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_long_text_is_cut) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, code_follows_the_error);
}
