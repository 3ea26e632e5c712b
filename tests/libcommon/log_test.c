#include "libcommon/log.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What log_x(format, text) writes to stderr. */
static size_t written(void (*log)(const char *format, ...), const char *text, char *ret_line,
                      size_t size)
{
    int pipe_fds[2], stderr_before = dup(STDERR_FILENO);
    ssize_t got;

    assert_int_equal(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    log("%s", text);
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    close(pipe_fds[1]);
    got = read(pipe_fds[0], ret_line, size - 1);
    close(pipe_fds[0]);
    assert_true(got >= 0);
    ret_line[got] = '\0';
    return (size_t)got;
}

static const struct line_row {
    const char *what;
    void (*log)(const char *format, ...);
    enum log_level level;
    const char *text;
    const char *line; /* with LB_LOG_PRIORITY=1 */
} line_rows[] = {
    { "an error", log_error, LOG_LEVEL_INFO, "no disk", "<3>routing: no disk\n" },
    { "a warning", log_warn, LOG_LEVEL_INFO, "again", "<4>routing: again\n" },
    { "an information", log_info, LOG_LEVEL_INFO, "ready", "<6>routing: ready\n" },
    { "a detail", log_debug, LOG_LEVEL_DEBUG, "packet", "<7>routing: packet\n" },
    { "a detail that is not wanted", log_debug, LOG_LEVEL_INFO, "packet", "" },
    { "a warning that is not wanted", log_warn, LOG_LEVEL_ERROR, "again", "" },
    { "an error is always wanted", log_error, LOG_LEVEL_ERROR, "no disk", "<3>routing: no disk\n" },
    { "a line end cannot forge a line", log_info, LOG_LEVEL_INFO, "a\n<0>kernel: b",
      "<6>routing: a?<0>kernel: b\n" },
    { "an escape cannot paint a terminal", log_info, LOG_LEVEL_INFO, "\033[2J\r\t\x7f",
      "<6>routing: ?[2J???\n" },
    { "UTF-8 stays", log_info, LOG_LEVEL_INFO, "Schüler", "<6>routing: Schüler\n" },
};

static void line(void **state)
{
    const struct line_row *row = *state;
    char text[2000];

    setenv("LB_LOG_PRIORITY", "1", 1);
    log_init("routing", row->level);
    written(row->log, row->text, text, sizeof text);
    assert_string_equal(text, row->line);
}

static void a_line_has_at_most_1000_bytes(void **state)
{
    char text[3000], got[3000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    setenv("LB_LOG_PRIORITY", "1", 1);
    log_init("routing", LOG_LEVEL_INFO);
    assert_int_equal(written(log_info, text, got, sizeof got), 1000);
    assert_int_equal(got[999], '\n');
}

static void without_a_manager_the_time_stands_first(void **state)
{
    unsigned year, month, day, hour, minute, second, ms;
    char got[200], level[16], who[16];

    (void)state;
    unsetenv("LB_LOG_PRIORITY");
    unsetenv("JOURNAL_STREAM");
    log_init("routing", LOG_LEVEL_INFO);
    written(log_warn, "x", got, sizeof got);
    assert_int_equal(sscanf(got, "%u-%u-%u %u:%u:%u.%u %15s %15[^:]: x", &year, &month, &day, &hour,
                            &minute, &second, &ms, level, who),
                     9);
    assert_string_equal(level, "warn");
    assert_string_equal(who, "routing");
}

static void levels_are_parsed(void **state)
{
    enum log_level level = LOG_LEVEL_WARN;

    (void)state;
    assert_int_equal(log_level_parse("debug", &level), LB_OK);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse("Debug", &level), LB_INVALID);
    assert_int_equal(log_level_parse("", &level), LB_INVALID);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_at_most_1000_bytes),
        cmocka_unit_test(without_a_manager_the_time_stands_first),
        cmocka_unit_test(levels_are_parsed),
    };

    return RUN_ROWS(line_rows, line) + cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
