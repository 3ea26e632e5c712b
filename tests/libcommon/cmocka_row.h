/*
 * cmocka, and a way to run a table of rows: each row is a struct whose first member is
 * `const char *what`, its name, and becomes a test of its own; the test finds its row in *state.
 */
#pragma once

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ROWS_MAX 512

/* Returns how many failed. */
#define RUN_ROWS(rows, test)                                                                       \
    run_rows(#rows, rows, sizeof(rows) / sizeof((rows)[0]), sizeof((rows)[0]), test)

static inline int run_rows(const char *group, const void *rows, size_t count, size_t row_size,
                           CMUnitTestFunction test)
{
    struct CMUnitTest tests[ROWS_MAX] = { { 0 } };

    for (size_t i = 0; i < count && i < ROWS_MAX; i++) {
        const void *row = (const char *)rows + i * row_size;

        tests[i].name = *(const char *const *)row;
        tests[i].test_func = test;
        tests[i].initial_state = (void *)(uintptr_t)row;
    }
    return _cmocka_run_group_tests(group, tests, count < ROWS_MAX ? count : ROWS_MAX, NULL, NULL);
}
