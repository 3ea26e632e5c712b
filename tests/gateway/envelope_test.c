#include "services/gateway/envelope.h"

#include "proto/littlebird/v1/header.pb-c.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define GET  "littlebird.v1.StorageService/Get"
#define LONG "0123456789012345678901234567890123456789012345678901234567890123"

static const struct row {
    const char *what;
    uint32_t protocol;
    const char *method;
    const char *id;
    const char *key;
    const char *payload;
    int code;
    const char *reason;
} rows[] = {
    { "a call", 1, GET, "1", "", "\x0a\x01k", 0, "" },
    { "the empty payload is a message too", 1, GET, "1", "", "", 0, "" },
    { "an id of 16 bytes", 1, GET, "0123456789abcdef", "", "", 0, "" },
    { "no id", 1, GET, "", "", "", CODE_INVALID_ARGUMENT, "INVALID" },
    { "an id of 17 bytes", 1, GET, "0123456789abcdefg", "", "", CODE_INVALID_ARGUMENT, "INVALID" },
    { "protocol 0", 0, GET, "1", "", "", CODE_FAILED_PRECONDITION, "UNSUPPORTED" },
    { "protocol 2", 2, GET, "1", "", "", CODE_FAILED_PRECONDITION, "UNSUPPORTED" },
    { "a key of 64 bytes", 1, GET, "1", LONG, "", 0, "" },
    { "a key of 65 bytes", 1, GET, "1", LONG "x", "", CODE_INVALID_ARGUMENT, "INVALID" },
    { "no method", 1, "", "1", "", "", CODE_UNIMPLEMENTED, "UNSUPPORTED" },
    { "an unknown method", 1, "littlebird.v1.StorageService/Steal", "1", "", "", CODE_UNIMPLEMENTED,
      "UNSUPPORTED" },
    { "a method longer than any", 1, LONG LONG LONG, "1", "", "", CODE_UNIMPLEMENTED,
      "UNSUPPORTED" },
    { "a payload that is none", 1, GET, "1", "", "\x0a\x05k", CODE_INVALID_ARGUMENT, "INVALID" },
    { "a payload with a wrong type", 1, GET, "1", "", "\x08\x01", CODE_INVALID_ARGUMENT,
      "INVALID" },
};

static size_t pack_header(const struct row *row, uint8_t *ret_packed)
{
    Littlebird__V1__Header header = LITTLEBIRD__V1__HEADER__INIT;

    header.protocol = row->protocol;
    header.method = (char *)(uintptr_t)row->method;
    header.request_id.len = strlen(row->id);
    header.request_id.data = (uint8_t *)(uintptr_t)row->id;
    header.idempotency_key = (char *)(uintptr_t)row->key;
    return littlebird__v1__header__pack(&header, ret_packed);
}

static void opens(void **state)
{
    const struct row *row = *state;
    struct envelope envelope;
    struct asker asker = { .identity_size = 1 };
    struct answer refusal = { .code = CODE_OK };
    uint8_t packed[1024], answer[ENVELOPE_HEADER_MAX];
    size_t size = pack_header(row, packed);
    bool opened = envelope_open(&envelope, bytes_of(packed, size), bytes_of_text(row->payload),
                                &asker, &refusal);
    Littlebird__V1__Header *back;

    assert_int_equal(opened, row->code == 0);
    assert_int_equal(refusal.code, row->code);
    if (opened) {
        assert_string_equal(envelope.method->name, row->method);
        assert_int_equal(envelope.timeout_ms, ENVELOPE_TIMEOUT_MS);
        assert_true(bytes_equal_text(envelope.idempotency_key, row->key));
    }
    size = envelope_answer(&asker, &refusal, answer);
    back = littlebird__v1__header__unpack(NULL, size, answer);
    assert_non_null(back);
    assert_int_equal(back->status->code, row->code);
    assert_string_equal(back->status->reason, row->reason);
    if (strlen(row->id) <= REQUESTS_ID_MAX)
        assert_true(
            bytes_equal_text(bytes_of(back->request_id.data, back->request_id.len), row->id));
    littlebird__v1__header__free_unpacked(back, NULL);
    envelope_done(&envelope);
}

static void a_request_keeps_its_bytes(void **state)
{
    const struct row row = { "", 1, GET, "1", "", "", 0, "" };
    uint8_t header[256], payload[] = "\x0a\x04spam";
    struct envelope envelope;
    struct asker asker = { .identity_size = 1 };
    struct answer refusal;
    size_t size = pack_header(&row, header);

    (void)state;
    assert_true(
        envelope_open(&envelope, bytes_of(header, size), bytes_of(payload, 6), &asker, &refusal));
    memset(header, 0, sizeof(header));
    memset(payload, 0, sizeof(payload));
    assert_string_equal(((const Littlebird__V1__GetRequest *)envelope.request)->key, "spam");
    envelope_done(&envelope);
}

static void noise_is_refused(void **state)
{
    uint8_t noise[ENVELOPE_HEADER_MAX + 1];
    struct envelope envelope;
    struct asker asker = { .identity_size = 1 };
    struct answer refusal;

    (void)state;
    memset(noise, 0xff, sizeof(noise));
    assert_false(
        envelope_open(&envelope, bytes_of(noise, 20), bytes_of(NULL, 0), &asker, &refusal));
    assert_int_equal(refusal.code, CODE_INVALID_ARGUMENT);
    assert_int_equal(asker.id_size, 0);
    envelope_done(&envelope);
    assert_false(envelope_open(&envelope, bytes_of(noise, sizeof(noise)), bytes_of(NULL, 0), &asker,
                               &refusal));
    envelope_done(&envelope);
}

static void payloads_are_bounded(void **state)
{
    const struct row row = { "", 1, GET, "1", "", "", 0, "" };
    uint8_t *payload = calloc(1, API_MESSAGE_MAX + 1);
    uint8_t header[256];
    size_t size = pack_header(&row, header);
    struct envelope envelope;
    struct asker asker = { .identity_size = 1 };
    struct answer refusal;

    (void)state;
    assert_non_null(payload);
    assert_false(envelope_open(&envelope, bytes_of(header, size),
                               bytes_of(payload, API_MESSAGE_MAX + 1), &asker, &refusal));
    assert_int_equal(refusal.reason, LB_TOO_BIG);
    envelope_done(&envelope);
    free(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_keeps_its_bytes),
        cmocka_unit_test(noise_is_refused),
        cmocka_unit_test(payloads_are_bounded),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, opens);
}
