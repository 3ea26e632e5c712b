/* What is printed for a person: units, tables, progress; and JSON for programs. */
#include "proto/littlebird/v1/storage.pb-c.h"
#include "services/cli/json.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/transfers.h"
#include "services/cli/units.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

static const struct unit_row {
    const char *what;
    const char *(*format)(uint64_t number, char ret_text[UNITS_SIZE]);
    uint64_t number;
    const char *text;
} unit_rows[] = {
    { "no bytes", units_bytes, 0, "0 B" },
    { "bytes", units_bytes, 1023, "1023 B" },
    { "a KiB", units_bytes, 1024, "1.0 KiB" },
    { "one digit after the point", units_bytes, 1536, "1.5 KiB" },
    { "three digits", units_bytes, 512 * 1024, "512 KiB" },
    { "almost a hundred", units_bytes, 102348, "99.9 KiB" },
    { "a hundred", units_bytes, 102400, "100 KiB" },
    { "almost a MiB", units_bytes, 1024 * 1024 - 1, "1.0 MiB" },
    { "5 GB", units_bytes, 5000000000, "4.7 GiB" },
    { "all there is", units_bytes, UINT64_MAX, "16.0 EiB" },
    { "a rate", units_rate, 12900000, "12.3 MiB/s" },
    { "no time", units_duration, 0, "0s" },
    { "seconds", units_duration, 59, "59s" },
    { "minutes", units_duration, 60, "1m 0s" },
    { "an hour less a second", units_duration, 3599, "59m 59s" },
    { "hours", units_duration, 2 * 3600 + 14 * 60 + 59, "2h 14m" },
    { "days", units_duration, 3 * 86400 + 4 * 3600, "3d 4h" },
    { "all the time there is", units_duration, UINT64_MAX, "213503982334601d 7h" },
};

static void unit(void **state)
{
    const struct unit_row *row = *state;
    char text[UNITS_SIZE];

    assert_string_equal(row->format(row->number, text), row->text);
}

static const struct percent_row {
    const char *what;
    uint64_t part, whole;
    const char *text;
} percent_rows[] = {
    { "nothing of nothing", 0, 0, "-" },
    { "nothing", 0, 7, "0.0 %" },
    { "a third", 1, 3, "33.3 %" },
    { "all but one is not all", 999999999, 1000000000, "99.9 %" },
    { "all", 7, 7, "100 %" },
};

static void percent(void **state)
{
    const struct percent_row *row = *state;
    char text[UNITS_SIZE];

    assert_string_equal(units_percent(row->part, row->whole, text), row->text);
}

/* ---- tables ---- */

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    static const struct table_column columns[] = {
        { "NAME", false }, { "N", true }, { "NOTE", false }, { NULL, false }
    };
    struct table *table = table_new(columns);
    char text[500] = "";
    FILE *to = fmemopen(text, sizeof text, "w");

    (void)state;
    table_add(table, "%s", "Übung");
    table_add(table, "%d", 7);
    table_add(table, "%s", "");
    table_add(table, "%s", "x");
    table_add(table, "%d", 1234);
    table_add(table, "%s", "bad\033[31m\nline");
    table_print(table, to);
    table_free(&table);
    assert_null(table);
    fclose(to);
    assert_string_equal(text, "NAME      N  NOTE\n"
                              "Übung     7\n"
                              "x      1234  bad?[31m?line\n");
}

static void control_bytes_are_replaced(void **state)
{
    char text[] = "a\tb\x7f\xc2\x9b"
                  "31m \xc3\xa4";

    (void)state;
    table_sanitize(text);
    assert_string_equal(text, "a?b??\x9b"
                              "31m \xc3\xa4");
}

/* ---- what a terminal is given ---- */

static const struct text_row {
    const char *what, *text;
    size_t size;
    bool utf8, harmless;
} text_rows[] = {
    { "nothing", "", 0, true, true },
    { "words", "What is a leaf?", 15, true, true },
    { "lines and tabs", "a\tb\n", 4, true, true },
    { "letters of two bytes", "\xc3\xa4", 2, true, true },
    { "half a letter", "\xc3", 1, false, false },
    { "a letter in too many bytes", "\xc0\xaf", 2, false, false },
    { "bytes", "\xff\xfe", 2, false, false },
    { "NUL", "a\0b", 3, false, false },
    { "an escape sequence", "\033[31m", 5, true, false },
    { "carriage return, that hides what stands before it", "a\rb", 3, true, false },
    { "delete", "\x7f", 1, true, false },
    { "a control character of two bytes", "\xc2\x9b", 2, true, false },
};

static void text(void **state)
{
    const struct text_row *row = *state;
    const uint8_t *bytes = (const uint8_t *)row->text;

    assert_int_equal(text_is_utf8(bytes, row->size), row->utf8);
    assert_int_equal(text_is_harmless(bytes, row->size), row->harmless);
}

/* ---- progress ---- */

static Littlebird__V1__Transfer transfer_of(Littlebird__V1__Transfer__State state, const char *name)
{
    Littlebird__V1__Transfer transfer = LITTLEBIRD__V1__TRANSFER__INIT;

    transfer.state = state;
    transfer.name = (char *)(uintptr_t)name;
    return transfer;
}

static void progress_is_one_line(void **state)
{
    Littlebird__V1__Transfer transfer =
        transfer_of(LITTLEBIRD__V1__TRANSFER__STATE__STATE_FETCHING, "lab\n.iso");
    char line[TRANSFER_LINE_SIZE];

    (void)state;
    transfer.size_bytes = 1000 * 1024;
    transfer.have_bytes = 250 * 1024;
    transfer.receive_rate = 10 * 1024;
    transfer.peers = 3;
    transfer_format_progress(&transfer, line);
    assert_string_equal(line,
                        "lab?.iso  25.0 %  250 KiB of 1000 KiB  10.0 KiB/s  3 peers  1m 16s left");
    transfer = transfer_of(LITTLEBIRD__V1__TRANSFER__STATE__STATE_METADATA, "");
    transfer.note = (char *)(uintptr_t) "no peer yet";
    transfer_format_progress(&transfer, line);
    assert_string_equal(line, "the description  no peer yet  0 peers");
    transfer.note = (char *)(uintptr_t) "";
    transfer.peers = 1;
    transfer_format_progress(&transfer, line);
    assert_string_equal(line, "the description  looking for it  1 peer");
    transfer.state = LITTLEBIRD__V1__TRANSFER__STATE__STATE_PAUSED;
    transfer.note = (char *)(uintptr_t) "No space left on device";
    transfer_format_progress(&transfer, line);
    assert_string_equal(line, "the description  paused: No space left on device  1 peer");
    transfer.state = (Littlebird__V1__Transfer__State)99;
    assert_string_equal(transfer_state_text(&transfer), "unknown");
}

/* ---- JSON ---- */

static void expect_json(const ProtobufCMessage *message, const char *expected)
{
    json_t *value = json_of_message(message);
    char *text = json_dumps(value, JSON_COMPACT);

    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
    json_decref(value);
}

static void messages_become_json_by_their_descriptors(void **state)
{
    Littlebird__V1__Transfer transfer =
        transfer_of(LITTLEBIRD__V1__TRANSFER__STATE__STATE_SEEDING, "a\"\xff");
    Littlebird__V1__Transfer *transfers[] = { &transfer };
    Littlebird__V1__ListTransfersResponse list = LITTLEBIRD__V1__LIST_TRANSFERS_RESPONSE__INIT;
    Littlebird__V1__GetRequest get = LITTLEBIRD__V1__GET_REQUEST__INIT;
    uint8_t bytes[] = { 0x00, 0xab };

    (void)state;
    transfer.infohash = (ProtobufCBinaryData){ sizeof bytes, bytes };
    transfer.size_bytes = 5000000000;
    list.n_transfers = 1;
    list.transfers = transfers;
    expect_json(&list.base,
                "{\"transfers\":[{\"infohash\":\"00ab\",\"name\":\"a\\\"?\",\"path\":\"\","
                "\"state\":\"seeding\",\"size_bytes\":5000000000,\"have_bytes\":0,"
                "\"received_bytes\":0,\"sent_bytes\":0,\"receive_rate\":0,\"send_rate\":0,"
                "\"peers\":0,\"seeds\":0,\"note\":\"\",\"magnet\":\"\",\"wasted_bytes\":0,"
                "\"reused_bytes\":0,\"wanted_bytes\":0,\"priority\":0,\"queue_place\":0,"
                "\"receive_limit\":0,\"send_limit\":0,\"finished\":0,\"verified_s\":0,"
                "\"copies_permille\":0,\"checked_bytes\":0,\"damaged_bytes\":0}]}");
    get.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_TARGET; /* only the member that is set */
    get.target = (ProtobufCBinaryData){ sizeof bytes, bytes };
    expect_json(&get.base, "{\"target\":\"00ab\",\"public_key\":\"\",\"own\":false}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(control_bytes_are_replaced),
        cmocka_unit_test(progress_is_one_line),
        cmocka_unit_test(messages_become_json_by_their_descriptors),
    };

    return RUN_ROWS(unit_rows, unit) + RUN_ROWS(percent_rows, percent) + RUN_ROWS(text_rows, text) +
           cmocka_run_group_tests_name("print", tests, NULL, NULL);
}
