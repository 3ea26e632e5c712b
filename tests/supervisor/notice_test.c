#include "services/supervisor/notice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What was understood: r ready, s stopping, b beat, x broken, f store, and the status. */
static const struct row {
    const char *what;
    const char *datagram;
    const char *understood;
    const char *status; /* NULL: none */
} rows[] = {
    { "READY", "READY=1", "r", NULL },
    { "a line end is no line", "READY=1\n", "r", NULL },
    { "several lines", "READY=1\nSTATUS=serving\nWATCHDOG=1\n", "rb", "serving" },
    { "STOPPING", "STOPPING=1", "s", NULL },
    { "a beat", "WATCHDOG=1", "b", NULL },
    { "a broken invariant", "WATCHDOG=trigger", "x", NULL },
    { "a descriptor to keep", "FDSTORE=1\nFDNAME=lock", "f", NULL },
    { "READY=0 is not READY", "READY=0", "", NULL },
    { "READY=11 is not READY", "READY=11", "", NULL },
    { "unknown keys are passed over", "MAINPID=1\nERRNO=5\nREADY=1", "r", NULL },
    { "a line without '=' is passed over", "hello\n\n\nWATCHDOG=1", "b", NULL },
    { "an empty status is one", "STATUS=", "", "" },
    { "the last status counts", "STATUS=a\nSTATUS=b", "", "b" },
    { "control bytes are hidden", "STATUS=a\x1b[2Jb\x7f", "", "a?[2Jb?" },
    { "an empty datagram says nothing", "", "", NULL },
};

static void a_datagram(void **state)
{
    const struct row *row = *state;
    struct notice notice;
    char understood[8];

    notice_parse(&notice, row->datagram, strlen(row->datagram));
    snprintf(understood, sizeof understood, "%s%s%s%s%s", notice.ready ? "r" : "",
             notice.stopping ? "s" : "", notice.beat ? "b" : "", notice.broken ? "x" : "",
             notice.store ? "f" : "");
    assert_string_equal(understood, row->understood);
    assert_int_equal(notice.has_status, row->status != NULL);
    assert_string_equal(notice.status, row->status ? row->status : "");
}

static void a_long_status_is_cut(void **state)
{
    char datagram[600] = "STATUS=";
    struct notice notice;

    (void)state;
    memset(datagram + 7, 'a', sizeof datagram - 7);
    notice_parse(&notice, datagram, sizeof datagram);
    assert_int_equal(strlen(notice.status), NOTICE_STATUS_SIZE - 1);
}

static void a_zero_byte_ends_nothing(void **state)
{
    static const char datagram[] = "STATUS=a\0b\nREADY=1";
    struct notice notice;

    (void)state;
    notice_parse(&notice, datagram, sizeof datagram - 1);
    assert_true(notice.ready);
    assert_string_equal(notice.status, "a?b");
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(a_long_status_is_cut),
        cmocka_unit_test(a_zero_byte_ends_nothing),
    };
    struct CMUnitTest datagrams[sizeof rows / sizeof rows[0]];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        datagrams[i] = (struct CMUnitTest){ .name = rows[i].what,
                                            .test_func = a_datagram,
                                            .initial_state = (void *)&rows[i] };
    }
    return cmocka_run_group_tests_name("datagrams", datagrams, NULL, NULL) +
           cmocka_run_group_tests_name("others", others, NULL, NULL);
}
