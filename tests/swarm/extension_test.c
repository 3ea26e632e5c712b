/* Extension messages as real clients send them, and metainfo put together from parts. */
#include "services/swarm/extension.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct hello_row {
    const char *what, *payload;
    lb_err err;
    struct extension_handshake expected;
} hello_rows[] = {
    { "an empty dictionary says nothing", "de", LB_OK, { 0 } },
    { "metadata and pex",
      "d1:md11:ut_metadatai3e6:ut_pexi1eee",
      LB_OK,
      { .ut_metadata = 3, .ut_pex = 1 } },
    { "pieces that got lost", "d1:md11:lt_donthavei7eee", LB_OK, { .donthave = 7 } },
    { "all of it, unordered",
      "d4:reqqi250e1:md11:ut_metadatai2ee1:pi6881e13:metadata_sizei99ee",
      LB_OK,
      { .ut_metadata = 2, .requests_max = 250, .port = 6881, .metadata_size = 99 } },
    { "an extension turned off", "d1:md11:ut_metadatai0eee", LB_OK, { 0 } },
    { "a number out of bounds counts as none",
      "d1:md11:ut_metadatai256ee1:pi65536e4:reqqi-1ee",
      LB_OK,
      { 0 } },
    { "metadata over 10 MiB counts as none", "d13:metadata_sizei10485761ee", LB_OK, { 0 } },
    { "metadata of 10 MiB", "d13:metadata_sizei10485760ee", LB_OK, { .metadata_size = 10485760 } },
    { "upload only", "d11:upload_onlyi1ee", LB_OK, { .upload_only = true } },
    { "m that is no dictionary", "d1:mi1ee", LB_OK, { 0 } },
    { "a list is refused", "le", LB_INVALID, { 0 } },
    { "nothing is refused", "", LB_INVALID, { 0 } },
    { "half a dictionary is refused", "d1:m", LB_INVALID, { 0 } },
    { "deep nesting is refused", "d1:alllllllllleeeeeeeeeee", LB_TOO_BIG, { 0 } },
};

static void test_hello(void **state)
{
    const struct hello_row *row = *state;
    struct extension_handshake hello;
    assert_int_equal(extension_read_handshake(bytes_of_text(row->payload), &hello), row->err);
    if (row->err != LB_OK)
        return;
    assert_int_equal(hello.ut_metadata, row->expected.ut_metadata);
    assert_int_equal(hello.ut_pex, row->expected.ut_pex);
    assert_int_equal(hello.donthave, row->expected.donthave);
    assert_int_equal(hello.port, row->expected.port);
    assert_int_equal(hello.requests_max, row->expected.requests_max);
    assert_int_equal(hello.metadata_size, row->expected.metadata_size);
    assert_int_equal(hello.upload_only, row->expected.upload_only);
}

static void test_hello_round_trip(void **state)
{
    (void)state;
    const struct extension_handshake sent = {
        .ut_metadata = 1,
        .ut_pex = 2,
        .donthave = 3,
        .upload_only = true,
        .port = 6881,
        .requests_max = 500,
        .metadata_size = 31337,
        .yourip = bytes_of("\x7f\0\0\x01", 4),
        .version = bytes_of_text("Littlebird 0.1.0"),
    };
    uint8_t buffer[EXTENSION_MESSAGE_MAX];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_handshake(&writer, &sent);
    assert_false(writer.overflow);
    struct extension_handshake read;
    assert_int_equal(extension_read_handshake(bytes_of(buffer, writer.size), &read), LB_OK);
    assert_int_equal(read.ut_metadata, 1);
    assert_int_equal(read.ut_pex, 2);
    assert_int_equal(read.donthave, 3);
    assert_true(read.upload_only);
    assert_int_equal(read.port, 6881);
    assert_int_equal(read.requests_max, 500);
    assert_int_equal(read.metadata_size, 31337);
    assert_true(bytes_equal(read.yourip, sent.yourip));
    assert_true(bytes_equal(read.version, sent.version));
}

static const struct metadata_row {
    const char *what, *payload;
    lb_err err;
    struct extension_metadata expected; /* of data the size alone */
} metadata_rows[] = {
    { "a request",
      "d8:msg_typei0e5:piecei7ee",
      LB_OK,
      { .type = EXTENSION_METADATA_REQUEST, .part = 7 } },
    { "data behind the dictionary",
      "d8:msg_typei1e5:piecei0e10:total_sizei5eehello",
      LB_OK,
      { .type = EXTENSION_METADATA_DATA, .total_size = 5, .data = { .size = 5 } } },
    { "a reject",
      "d8:msg_typei2e5:piecei1ee",
      LB_OK,
      { .type = EXTENSION_METADATA_REJECT, .part = 1 } },
    { "a type of a later day", "d8:msg_typei3e5:piecei1ee", LB_UNSUPPORTED, { 0 } },
    { "no type", "d5:piecei1ee", LB_INVALID, { 0 } },
    { "no part", "d8:msg_typei0ee", LB_INVALID, { 0 } },
    { "a negative part", "d8:msg_typei0e5:piecei-1ee", LB_INVALID, { 0 } },
    { "a part beyond 10 MiB", "d8:msg_typei0e5:piecei641ee", LB_INVALID, { 0 } },
    { "no dictionary", "i1e", LB_INVALID, { 0 } },
};

static void test_metadata(void **state)
{
    const struct metadata_row *row = *state;
    struct extension_metadata message;
    assert_int_equal(extension_read_metadata(bytes_of_text(row->payload), &message), row->err);
    if (row->err != LB_OK)
        return;
    assert_int_equal(message.type, row->expected.type);
    assert_int_equal(message.part, row->expected.part);
    assert_int_equal(message.total_size, row->expected.total_size);
    assert_int_equal(message.data.size, row->expected.data.size);
    uint8_t buffer[EXTENSION_MESSAGE_MAX];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_metadata(&writer, &message);
    assert_int_equal(writer.size, strlen(row->payload));
    assert_memory_equal(buffer, row->payload, writer.size);
}

static void test_assembly(void **state)
{
    (void)state;
    enum { SIZE = 2 * 16384 + 10 };
    static uint8_t whole[SIZE];
    for (size_t i = 0; i < SIZE; i++)
        whole[i] = (uint8_t)(i * 13);
    struct metadata metadata;
    metadata_init(&metadata);
    uint32_t part = 0;
    assert_false(metadata_next(&metadata, &part));
    assert_int_equal(metadata_start(&metadata, EXTENSION_METADATA_MAX + 1), LB_TOO_BIG);
    assert_int_equal(metadata_start(&metadata, 0), LB_INVALID);
    assert_int_equal(metadata_start(&metadata, SIZE), LB_OK);
    assert_int_equal(metadata_start(&metadata, 5), LB_OK); /* the first stands */
    assert_int_equal(metadata.size, SIZE);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(metadata_next(&metadata, &part));
        assert_int_equal(part, i);
    }
    assert_false(metadata_next(&metadata, &part));
    metadata_give_back(&metadata, 1);
    metadata_give_back(&metadata, 99);
    assert_true(metadata_next(&metadata, &part));
    assert_int_equal(part, 1);

    struct extension_metadata message = { .part = 2, .total_size = SIZE };
    message.data = bytes_of(whole + 2 * 16384, 11);
    assert_false(metadata_take(&metadata, &message)); /* too long */
    message.data.size = 10;
    message.total_size = SIZE + 1;
    assert_false(metadata_take(&metadata, &message)); /* of another size */
    message.total_size = SIZE;
    message.part = 3;
    assert_false(metadata_take(&metadata, &message)); /* there is none */
    message.part = 2;
    assert_true(metadata_take(&metadata, &message));
    assert_false(metadata_take(&metadata, &message)); /* twice */
    for (uint32_t i = 0; i < 2; i++) {
        assert_false(metadata_complete(&metadata));
        message.part = i;
        message.data = bytes_of(whole + (size_t)i * 16384, 16384);
        assert_true(metadata_take(&metadata, &message));
    }
    assert_true(metadata_complete(&metadata));
    assert_memory_equal(metadata_bytes(&metadata).data, whole, SIZE);
    metadata_done(&metadata);
}

static void test_pex(void **state)
{
    (void)state;
    struct extension_pex sent = { .added_count = 2, .dropped_count = 1 };
    sent.added[0] = address_v4(10, 0, 0, 1, 6881);
    sent.flags[0] = EXTENSION_PEX_SEED;
    assert_int_equal(address_parse("[2001:db8::1]:7000", &sent.added[1]), LB_OK);
    sent.dropped[0] = address_v4(10, 0, 0, 9, 1);
    uint8_t buffer[4096];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_pex(&writer, &sent);
    assert_false(writer.overflow);
    struct extension_pex read;
    assert_int_equal(extension_read_pex(bytes_of(buffer, writer.size), &read), LB_OK);
    assert_int_equal(read.added_count, 2);
    assert_true(address_equal(&read.added[0], &sent.added[0]));
    assert_int_equal(read.flags[0], EXTENSION_PEX_SEED);
    assert_true(address_equal(&read.added[1], &sent.added[1]));
    assert_int_equal(read.dropped_count, 1);
    assert_true(address_equal(&read.dropped[0], &sent.dropped[0]));
}

/* A full message fits what we give it, however the addresses are; more than the maximum is cut. */
static void test_pex_bounds(void **state)
{
    (void)state;
    struct extension_pex sent = { .added_count = EXTENSION_PEX_MAX,
                                  .dropped_count = EXTENSION_PEX_MAX };
    for (uint32_t i = 0; i < EXTENSION_PEX_MAX; i++) {
        assert_int_equal(address_parse("[2001:db8::1]:7000", &sent.added[i]), LB_OK);
        sent.dropped[i] = sent.added[i];
    }
    uint8_t buffer[4096];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_pex(&writer, &sent);
    assert_false(writer.overflow);

    char text[2000];
    size_t at = (size_t)sprintf(text, "d5:added600:");
    for (int i = 0; i < 100; i++, at += 6)
        memcpy(text + at, "\x0a\0\0\1\x1a\xe1", 6);
    text[at++] = 'e';
    struct extension_pex read;
    assert_int_equal(extension_read_pex(bytes_of(text, at), &read), LB_OK);
    assert_int_equal(read.added_count, EXTENSION_PEX_MAX);
    /* What is no place to connect to is left out; a remainder of bytes too. */
    assert_int_equal(extension_read_pex(bytes_of("d5:added8:\x0a\0\0\1\0\0zze", 19), &read), LB_OK);
    assert_int_equal(read.added_count, 0);
}

int main(void)
{
    enum {
        HELLOS = sizeof hello_rows / sizeof hello_rows[0],
        METADATAS = sizeof metadata_rows / sizeof metadata_rows[0],
        OTHERS = 4
    };
    struct CMUnitTest tests[HELLOS + METADATAS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < HELLOS; i++)
        tests[count++] = (struct CMUnitTest){ hello_rows[i].what, test_hello, NULL, NULL,
                                              (void *)(uintptr_t)&hello_rows[i] };
    for (size_t i = 0; i < METADATAS; i++)
        tests[count++] = (struct CMUnitTest){ metadata_rows[i].what, test_metadata, NULL, NULL,
                                              (void *)(uintptr_t)&metadata_rows[i] };
    const struct CMUnitTest others[OTHERS] = {
        cmocka_unit_test(test_hello_round_trip),
        cmocka_unit_test(test_assembly),
        cmocka_unit_test(test_pex),
        cmocka_unit_test(test_pex_bounds),
    };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("extension", tests, count, NULL, NULL);
}
