/* The wire: messages drawn in hexadecimal, streams cut at every byte. */
#include "services/swarm/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static size_t from_hex(const char *hex, uint8_t *ret)
{
    size_t count = 0;
    for (const char *at = hex; *at != '\0'; at++) {
        if (*at == ' ')
            continue;
        const char pair[3] = { at[0], at[1], '\0' };
        ret[count++] = (uint8_t)strtoul(pair, NULL, 16);
        at++;
    }
    return count;
}

/* The reader behind its handshake. */
static struct wire_reader open_reader(void)
{
    struct wire_reader reader;
    wire_reader_init(&reader);
    reader.handshaken = true;
    return reader;
}

static const struct row {
    const char *what, *hex;
    enum wire_verdict verdict;
    struct wire_message message; /* payload.size alone is compared of its payload */
} rows[] = {
    { "nothing is asked to go on", "", WIRE_MORE, { 0 } },
    { "half a length waits", "0000", WIRE_MORE, { 0 } },
    { "a length alone waits", "00000001", WIRE_MORE, { 0 } },
    { "a keep-alive has no id", "00000000", WIRE_MESSAGE, { .kind = WIRE_KEEPALIVE } },
    { "choke", "00000001 00", WIRE_MESSAGE, { .kind = WIRE_CHOKE } },
    { "unchoke", "00000001 01", WIRE_MESSAGE, { .kind = WIRE_UNCHOKE } },
    { "interested", "00000001 02", WIRE_MESSAGE, { .kind = WIRE_INTERESTED } },
    { "not interested", "00000001 03", WIRE_MESSAGE, { .kind = WIRE_NOT_INTERESTED } },
    { "choke with more is bad", "00000002 0000", WIRE_BAD, { 0 } },
    { "have", "00000005 04 00000102", WIRE_MESSAGE, { .kind = WIRE_HAVE, .piece = 0x102 } },
    { "a short have is bad", "00000004 04 000001", WIRE_BAD, { 0 } },
    { "bitfield",
      "00000003 05 ff80",
      WIRE_MESSAGE,
      { .kind = WIRE_BITFIELD, .payload = { .size = 2 } } },
    { "an empty bitfield is for the torrent to judge",
      "00000001 05",
      WIRE_MESSAGE,
      { .kind = WIRE_BITFIELD } },
    { "request",
      "0000000d 06 00000001 00004000 00004000",
      WIRE_MESSAGE,
      { .kind = WIRE_REQUEST, .piece = 1, .offset = 0x4000, .length = 0x4000 } },
    { "a short request is bad", "0000000c 06 00000001 00004000 000040", WIRE_BAD, { 0 } },
    { "a long request is bad", "0000000e 06 00000001 00004000 00004000 00", WIRE_BAD, { 0 } },
    { "piece",
      "0000000c 07 00000001 00004000 aabbcc",
      WIRE_MESSAGE,
      { .kind = WIRE_PIECE, .piece = 1, .offset = 0x4000, .length = 3, .payload = { .size = 3 } } },
    { "a piece without a header is bad", "00000008 07 00000001 000040", WIRE_BAD, { 0 } },
    { "cancel",
      "0000000d 08 00000001 00000000 00004000",
      WIRE_MESSAGE,
      { .kind = WIRE_CANCEL, .piece = 1, .length = 0x4000 } },
    { "port", "00000003 09 1ae1", WIRE_MESSAGE, { .kind = WIRE_PORT, .port = 6881 } },
    { "suggest", "00000005 0d 00000007", WIRE_MESSAGE, { .kind = WIRE_SUGGEST, .piece = 7 } },
    { "have all", "00000001 0e", WIRE_MESSAGE, { .kind = WIRE_HAVE_ALL } },
    { "have none", "00000001 0f", WIRE_MESSAGE, { .kind = WIRE_HAVE_NONE } },
    { "reject",
      "0000000d 10 00000001 00004000 00004000",
      WIRE_MESSAGE,
      { .kind = WIRE_REJECT, .piece = 1, .offset = 0x4000, .length = 0x4000 } },
    { "allowed fast",
      "00000005 11 00000007",
      WIRE_MESSAGE,
      { .kind = WIRE_ALLOWED_FAST, .piece = 7 } },
    { "extended",
      "00000004 14 03 6465",
      WIRE_MESSAGE,
      { .kind = WIRE_EXTENDED, .extended = 3, .payload = { .size = 2 } } },
    { "extended without a number is bad", "00000001 14", WIRE_BAD, { 0 } },
    { "hash request (BEP 52)",
      "00000005 15 01020304",
      WIRE_MESSAGE,
      { .kind = WIRE_HASH_REQUEST, .payload = { .size = 4 } } },
    { "hashes",
      "00000003 16 0102",
      WIRE_MESSAGE,
      { .kind = WIRE_HASHES, .payload = { .size = 2 } } },
    { "hash reject", "00000001 17", WIRE_MESSAGE, { .kind = WIRE_HASH_REJECT } },
    { "an id of a later day is skipped", "00000002 c8 01", WIRE_MESSAGE, { .kind = WIRE_UNKNOWN } },
    { "a length beyond the limit is bad at once", "00040002", WIRE_BAD, { 0 } },
    { "the limit itself waits", "00040001 05", WIRE_MORE, { 0 } },
    { "a block longer than is asked for is bad at once", "0000400a 07", WIRE_BAD, { 0 } },
    { "a block as long as is asked for waits", "00004009 07", WIRE_MORE, { 0 } },
};

static void check_message(const struct row *row, const struct wire_message *message)
{
    assert_int_equal(message->kind, row->message.kind);
    assert_int_equal(message->piece, row->message.piece);
    assert_int_equal(message->offset, row->message.offset);
    assert_int_equal(message->length, row->message.length);
    assert_int_equal(message->port, row->message.port);
    assert_int_equal(message->extended, row->message.extended);
    assert_int_equal(message->payload.size, row->message.payload.size);
}

/* Whole, and cut in two at every byte: the same comes out. */
static void test_row(void **state)
{
    const struct row *row = *state;
    uint8_t data[64];
    const size_t size = from_hex(row->hex, data);
    for (size_t cut = 0; cut <= size; cut++) {
        struct wire_reader reader = open_reader();
        struct wire_message message;
        struct wire_handshake hello;
        struct bytes first = bytes_of(data, cut);
        struct bytes second = bytes_of(data + cut, size - cut);
        enum wire_verdict verdict = wire_reader_next(&reader, &first, &message, &hello);
        if (verdict == WIRE_MORE) {
            assert_int_equal(first.size, 0);
            verdict = wire_reader_next(&reader, &second, &message, &hello);
        }
        assert_int_equal(verdict, row->verdict);
        if (verdict == WIRE_MESSAGE) {
            check_message(row, &message);
            assert_int_equal(second.size, cut == size ? 0 : second.size);
        }
        wire_reader_done(&reader);
    }
}

/* What is written is what is read. */
static void test_round_trip(void **state)
{
    const struct row *row = *state;
    uint8_t data[64];
    uint8_t written[64];
    const size_t size = from_hex(row->hex, data);
    if (row->verdict != WIRE_MESSAGE || row->message.kind == WIRE_UNKNOWN)
        return;
    struct wire_reader reader = open_reader();
    struct wire_message message;
    struct wire_handshake hello;
    struct bytes from = bytes_of(data, size);
    assert_int_equal(wire_reader_next(&reader, &from, &message, &hello), WIRE_MESSAGE);
    struct writer writer;
    writer_init(&writer, written, sizeof written);
    wire_put(&writer, &message);
    assert_int_equal(writer.size, wire_size(&message));
    if (message.kind == WIRE_PIECE)
        writer_put(&writer, message.payload.data, message.payload.size);
    assert_int_equal(writer.size, size);
    assert_memory_equal(written, data, size);
    wire_reader_done(&reader);
}

static void test_handshake(void **state)
{
    (void)state;
    struct wire_handshake hello = { .fast = true, .extended = true, .dht = false };
    memset(hello.infohash, 0x11, sizeof hello.infohash);
    memset(hello.peer_id, 0x22, sizeof hello.peer_id);
    uint8_t data[WIRE_HANDSHAKE_SIZE + 5];
    struct writer writer;
    writer_init(&writer, data, sizeof data);
    wire_put_handshake(&writer, &hello);
    assert_int_equal(writer.size, WIRE_HANDSHAKE_SIZE);
    wire_put(&writer, &(struct wire_message){ .kind = WIRE_HAVE_ALL });

    struct wire_reader reader;
    struct wire_message message;
    struct wire_handshake read = { 0 };
    struct bytes from = bytes_of(data, writer.size);
    wire_reader_init(&reader);
    assert_int_equal(wire_reader_next(&reader, &from, &message, &read), WIRE_HANDSHAKE);
    assert_memory_equal(read.infohash, hello.infohash, 20);
    assert_memory_equal(read.peer_id, hello.peer_id, 20);
    assert_true(read.fast && read.extended && !read.dht);
    assert_int_equal(wire_reader_next(&reader, &from, &message, &read), WIRE_MESSAGE);
    assert_int_equal(message.kind, WIRE_HAVE_ALL);
    wire_reader_done(&reader);

    data[1] = 'b';
    from = bytes_of(data, writer.size);
    wire_reader_init(&reader);
    assert_int_equal(wire_reader_next(&reader, &from, &message, &read), WIRE_BAD);
    wire_reader_done(&reader);
}

/* A stream of blocks in reads of any size: every byte arrives, most of them where they lie. */
static void test_stream_of_blocks(void **state)
{
    (void)state;
    enum { BLOCKS = 5 };
    static uint8_t stream[BLOCKS * (WIRE_PIECE_HEADER + WIRE_BLOCK_SIZE)];
    struct writer writer;
    writer_init(&writer, stream, sizeof stream);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const struct wire_message piece = {
            .kind = WIRE_PIECE, .piece = i, .offset = i * WIRE_BLOCK_SIZE, .length = WIRE_BLOCK_SIZE
        };
        wire_put(&writer, &piece);
        for (uint32_t k = 0; k < WIRE_BLOCK_SIZE; k++)
            writer_u8(&writer, (uint8_t)(k * 31 + i));
    }
    assert_int_equal(writer.size, sizeof stream);
    static const size_t reads[] = { 1, 7, 4096, 16397, 20000, 50000, sizeof stream };
    for (size_t r = 0; r < sizeof reads / sizeof reads[0]; r++) {
        struct wire_reader reader = open_reader();
        uint32_t seen = 0;
        size_t at = 0;
        while (at < sizeof stream) {
            size_t left = sizeof stream - at < reads[r] ? sizeof stream - at : reads[r];
            /* As the connection does: the rest of a begun message straight behind it. */
            uint8_t *room = NULL;
            size_t in_room = wire_reader_room(&reader, &room);
            if (in_room > left)
                in_room = left;
            if (in_room > 0)
                memcpy(room, stream + at, in_room);
            wire_reader_filled(&reader, in_room);
            struct bytes data = bytes_of(stream + at + in_room, left - in_room);
            at += left;
            struct wire_message message;
            struct wire_handshake hello;
            while (wire_reader_next(&reader, &data, &message, &hello) == WIRE_MESSAGE) {
                assert_int_equal(message.kind, WIRE_PIECE);
                assert_int_equal(message.piece, seen);
                assert_int_equal(message.length, WIRE_BLOCK_SIZE);
                for (uint32_t k = 0; k < WIRE_BLOCK_SIZE; k += 97)
                    assert_int_equal(message.payload.data[k], (uint8_t)(k * 31 + seen));
                seen++;
            }
        }
        assert_int_equal(seen, BLOCKS);
        wire_reader_done(&reader);
    }
}

/* A claim of a long message takes no memory before its bytes come. */
static void test_claims_take_no_memory(void **state)
{
    (void)state;
    struct wire_reader reader = open_reader();
    struct wire_message message;
    struct wire_handshake hello;
    const uint8_t claim[] = { 0x00, 0x04, 0x00, 0x00, WIRE_BITFIELD, 0, 0 };
    struct bytes data = bytes_of(claim, sizeof claim);
    assert_int_equal(wire_reader_next(&reader, &data, &message, &hello), WIRE_MORE);
    assert_in_range(reader.capacity, 1, 1024);
    uint8_t *room = NULL;
    assert_in_range(wire_reader_room(&reader, &room), 1, 2 * WIRE_BLOCK_SIZE);
    wire_reader_done(&reader);
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof rows[0], OTHERS = 3 };
    struct CMUnitTest tests[2 * ROWS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        void *row = (void *)(uintptr_t)&rows[i];
        tests[count++] = (struct CMUnitTest){ rows[i].what, test_row, NULL, NULL, row };
        tests[count++] = (struct CMUnitTest){ rows[i].what, test_round_trip, NULL, NULL, row };
    }
    const struct CMUnitTest others[OTHERS] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_stream_of_blocks),
        cmocka_unit_test(test_claims_take_no_memory),
    };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("wire", tests, count, NULL, NULL);
}
