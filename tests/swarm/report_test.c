/* Reports: what is read of them, what is made of it, and who finished. */
#include "services/swarm/outcomes.h"
#include "services/swarm/report.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static const struct read_row {
    const char *what, *text;
    lb_err err;
    struct report report;
} read_rows[] = {
    { "all of it",
      "d4:havei7e4:host3:pc75:statei3e8:verifiedi1e3:whyi4ee",
      LB_OK,
      { REPORT_VERIFYING, REPORT_WHY_DISK, true, 7, "pc7" } },
    { "nothing of it", "de", LB_OK, { 0 } },
    { "keys that come later", "d4:havei7e6:uptimei3ee", LB_OK, { .have_bytes = 7 } },
    { "a state there is not", "d5:statei4ee", LB_OK, { 0 } },
    { "a reason there is not", "d3:whyi9ee", LB_OK, { 0 } },
    { "below nothing", "d4:havei-1ee", LB_OK, { 0 } },
    { "a number that is a text", "d4:have1:7e", LB_OK, { 0 } },
    { "a name that moves the cursor", "d4:host4:a\x1b[Ae", LB_OK, { .host = "a%1B[A" } },
    { "a name that is a number", "d4:hosti7ee", LB_OK, { 0 } },
    { "no dictionary", "le", LB_INVALID, { 0 } },
    { "cut", "d4:have", LB_INVALID, { 0 } },
    { "empty", "", LB_INVALID, { 0 } },
};

static void test_read(void **state)
{
    const struct read_row *row = *state;
    struct report report = { 0 };

    assert_int_equal(report_read(bytes_of_text(row->text), &report), row->err);
    assert_true(report_same(&report, &row->report));
    assert_int_equal(report.have_bytes, row->report.have_bytes);
}

static void what_is_written_is_read(void **state)
{
    struct report report = { REPORT_COMPLETE, REPORT_WHY_LIMITED, true, INT64_MAX, "" }, again;
    uint8_t buffer[REPORT_MESSAGE_MAX];
    struct writer writer;

    (void)state;
    memset(report.host, 'h', REPORT_HOST_SIZE - 1);
    writer_init(&writer, buffer, sizeof(buffer));
    report_put(&writer, &report);
    assert_false(writer.overflow);
    assert_int_equal(report_read(bytes_of(buffer, writer.size), &again), LB_OK);
    assert_true(report_same(&report, &again));
    assert_true(again.have_bytes == INT64_MAX);
}

static void a_long_one_is_not_read(void **state)
{
    char text[REPORT_MESSAGE_MAX + 2];
    struct report report;

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "d4:host500:", 11);
    assert_int_equal(report_read(bytes_of(text, sizeof(text)), &report), LB_TOO_BIG);
    text[511] = 'e';
    assert_int_equal(report_read(bytes_of(text, 512), &report), LB_OK);
    assert_int_equal(strlen(report.host), REPORT_HOST_SIZE - 1);
}

/* What a node sees of itself: c complete, p paused, d disk behind, l limited; then its peers. */
static const struct self_row {
    const char *what, *flags;
    uint32_t useful, serving, silent;
    enum report_why why;
} self_rows[] = {
    { "who has everything lacks nothing", "cpdl", 0, 0, 0, REPORT_WHY_NONE },
    { "paused hides the rest", "pdl", 0, 0, 0, REPORT_WHY_PAUSED },
    { "its disk, before a limit", "dl", 3, 3, 0, REPORT_WHY_DISK },
    { "a limit", "l", 3, 3, 0, REPORT_WHY_LIMITED },
    { "nobody has what it lacks", "", 0, 0, 0, REPORT_WHY_NO_PEERS },
    { "nobody gives it a place", "", 3, 0, 0, REPORT_WHY_CHOKED },
    { "all who might are silent", "", 3, 2, 2, REPORT_WHY_SILENT },
    { "one sends", "", 3, 2, 1, REPORT_WHY_LINK },
};

static void test_self(void **state)
{
    const struct self_row *row = *state;
    const struct report_self view = {
        .complete = strchr(row->flags, 'c') != NULL,
        .paused = strchr(row->flags, 'p') != NULL,
        .disk_behind = strchr(row->flags, 'd') != NULL,
        .limited = strchr(row->flags, 'l') != NULL,
        .useful = row->useful,
        .serving = row->serving,
        .silent = row->silent,
    };

    assert_int_equal(report_why_self(&view), row->why);
}

/* f finished, i interested, c choked by us, l held back by us, s snubbed, b blocks on their way. */
static const struct peer_row {
    const char *what, *flags;
    enum report_why said, why;
} peer_rows[] = {
    { "who finished", "filsb", REPORT_WHY_DISK, REPORT_WHY_NONE },
    { "what it says counts", "ib", REPORT_WHY_DISK, REPORT_WHY_DISK },
    { "but not that its link is slow, when we hold it back", "il", REPORT_WHY_LINK,
      REPORT_WHY_LIMITED },
    { "what it says of its disk counts more", "il", REPORT_WHY_DISK, REPORT_WHY_DISK },
    { "silent about itself, and without a place", "ic", REPORT_WHY_UNSAID, REPORT_WHY_CHOKED },
    { "and it does not want one", "c", REPORT_WHY_UNSAID, REPORT_WHY_NONE },
    { "asked, and sending nothing", "s", REPORT_WHY_UNSAID, REPORT_WHY_SILENT },
    { "it takes as much as goes through", "ib", REPORT_WHY_UNSAID, REPORT_WHY_LINK },
    { "it asks for nothing", "i", REPORT_WHY_UNSAID, REPORT_WHY_NONE },
};

static void test_peer(void **state)
{
    const struct peer_row *row = *state;
    const struct report_view view = {
        .said = row->said,
        .complete = strchr(row->flags, 'f') != NULL,
        .interested = strchr(row->flags, 'i') != NULL,
        .am_choking = strchr(row->flags, 'c') != NULL,
        .limited = strchr(row->flags, 'l') != NULL,
        .snubbed = strchr(row->flags, 's') != NULL,
        .sending = strchr(row->flags, 'b') != NULL,
    };

    assert_int_equal(report_why_peer(&view), row->why);
}

static void who_finished_is_kept_once(void **state)
{
    struct outcomes outcomes = { 0 };
    struct outcome one = { .address = address_v4(10, 0, 0, 1, 6881), .sent_bytes = 5 };
    const struct address elsewhere = address_v4(10, 0, 0, 1, 7000);

    (void)state;
    one.finished_ms = 7;
    outcomes_add(&outcomes, &one);
    one.verified = true;
    one.finished_ms = 9;
    strcpy(one.host, "pc1");
    outcomes_add(&outcomes, &one);
    assert_int_equal(outcomes.count, 1);
    assert_int_equal(outcomes.items[0].sent_bytes, 10);
    assert_int_equal(outcomes.items[0].finished_ms, 7);
    assert_true(outcomes.items[0].verified);
    assert_null(outcomes_find(&outcomes, &elsewhere, ""));
    assert_null(outcomes_find(&outcomes, &elsewhere, "pc2"));
    assert_non_null(outcomes_find(&outcomes, &elsewhere, "pc1"));
    outcomes_done(&outcomes);
}

static void the_oldest_gives_way(void **state)
{
    struct outcomes outcomes = { 0 };
    const struct address first = address_v4(10, 0, 0, 0, 1);
    const struct address second = address_v4(10, 0, 0, 1, 1);

    (void)state;
    for (uint32_t i = 0; i <= OUTCOMES_MAX; i++) {
        const struct outcome one = {
            .address = address_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, 1),
        };

        outcomes_add(&outcomes, &one);
    }
    assert_int_equal(outcomes.count, OUTCOMES_MAX);
    assert_null(outcomes_find(&outcomes, &first, ""));
    assert_non_null(outcomes_find(&outcomes, &second, ""));
    outcomes_done(&outcomes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_long_one_is_not_read),
        cmocka_unit_test(who_finished_is_kept_once),
        cmocka_unit_test(the_oldest_gives_way),
    };

    return RUN_ROWS(read_rows, test_read) + RUN_ROWS(self_rows, test_self) +
           RUN_ROWS(peer_rows, test_peer) + cmocka_run_group_tests(tests, NULL, NULL);
}
