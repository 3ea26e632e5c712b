#include "services/gateway/wire.h"

#include "proto/littlebird/v1/event.pb-c.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static const struct utf8_row {
    const char *what, *text;
    size_t good; /* bytes from the start */
} utf8_rows[] = {
    { "nothing", "", 0 },
    { "ASCII", "spam", 4 },
    { "two bytes", "\xc3\xa9x", 3 },
    { "three bytes", "\xe2\x82\xac", 3 },
    { "four bytes", "\xf0\x9f\x90\xa6", 4 },
    { "the last code point", "\xf4\x8f\xbf\xbf", 4 },
    { "above the last", "\xf4\x90\x80\x80", 0 },
    { "a surrogate", "a\xed\xa0\x80", 1 },
    { "before the surrogates", "\xed\x9f\xbf", 3 },
    { "two bytes for one", "\xc1\xbf", 0 },
    { "three bytes for two", "\xe0\x9f\xbf", 0 },
    { "four bytes for three", "\xf0\x8f\xbf\xbf", 0 },
    { "a continuation alone", "ab\x80", 2 },
    { "cut short", "ab\xe2\x82", 2 },
    { "interrupted", "\xe2\x82z", 0 },
    { "Latin-1", "Gr\xfc\xdf", 2 },
    { "no such byte", "\xff", 0 },
};

static void utf8_is_told(void **state)
{
    const struct utf8_row *row = *state;

    assert_int_equal(wire_utf8_prefix((const uint8_t *)row->text, strlen(row->text)), row->good);
}

/* As a PutRequest: 1 key, 2 value, 3 own, 4 cas. */
static const struct put_row {
    const char *what;
    size_t size;
    const char *packed;
    bool clean;
} put_rows[] = {
    { "the empty message", 0, "", true },
    { "a key", 6, "\x0a\x04spam", true },
    { "a NUL in a key", 6, "\x0a\x04sp\0m", false },
    { "a NUL in a value", 6, "\x12\x04sp\0m", true },
    { "a key that is no UTF-8", 6, "\x0a\x04sp\xfcm", false },
    { "a value that is no UTF-8", 6, "\x12\x04sp\xfcm", true },
    { "a length beyond the end", 6, "\x0a\x05spam", false },
    { "a huge length", 11, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fx", false },
    { "a number", 3, "\x18\x80\x01", true },
    { "a number without an end", 3, "\x18\x80\x80", false },
    { "a number of eleven bytes", 12, "\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", false },
    { "an unknown field", 2, "\x78\x01", true },
    { "an unknown field of 8 bytes", 9, "\x79--------", true },
    { "an unknown field of 4 bytes", 5, "\x7d----", true },
    { "4 bytes cut short", 4, "\x7d---", false },
    { "field 0", 2, "\x00\x01", false },
    { "a group", 2, "\x7b\x7c", false },
    { "a field number too high", 6, "\x80\x80\x80\x80\x10\x00", false },
};

static void requests_are_looked_at(void **state)
{
    const struct put_row *row = *state;
    struct bytes packed = bytes_of(row->packed, row->size);

    assert_int_equal(wire_is_clean(&littlebird__v1__put_request__descriptor, packed), row->clean);
}

static void fields_are_counted(void **state)
{
    uint8_t packed[2 * (WIRE_FIELDS_MAX + 1)];

    (void)state;
    for (size_t i = 0; i < sizeof(packed); i += 2)
        memcpy(packed + i, "\x78\x01", 2);
    assert_true(wire_is_clean(&littlebird__v1__put_request__descriptor,
                              bytes_of(packed, 2 * WIRE_FIELDS_MAX)));
    assert_false(
        wire_is_clean(&littlebird__v1__put_request__descriptor, bytes_of(packed, sizeof(packed))));
}

static void answers_are_made_readable(void **state)
{
    Littlebird__V1__Transfer transfer = LITTLEBIRD__V1__TRANSFER__INIT;
    Littlebird__V1__Event event = LITTLEBIRD__V1__EVENT__INIT, *back;
    uint8_t packed[256], infohash[20];
    size_t size;

    (void)state;
    memset(infohash, 0xff, sizeof(infohash));
    transfer.infohash.data = infohash;
    transfer.infohash.len = sizeof(infohash);
    transfer.name = (char *)(uintptr_t) "Gr\xfc\xdf\xe2\x82\xac";
    event.body_case = LITTLEBIRD__V1__EVENT__BODY_TRANSFER;
    event.transfer = &transfer;
    size = littlebird__v1__event__pack(&event, packed);
    wire_clean(&littlebird__v1__event__descriptor, packed, size);
    back = littlebird__v1__event__unpack(NULL, size, packed);
    assert_non_null(back);
    assert_string_equal(back->transfer->name, "Gr??\xe2\x82\xac");
    assert_memory_equal(back->transfer->infohash.data, infohash, sizeof(infohash));
    littlebird__v1__event__free_unpacked(back, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_counted),
        cmocka_unit_test(answers_are_made_readable),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(utf8_rows, utf8_is_told);
    return failed + RUN_ROWS(put_rows, requests_are_looked_at);
}
