/*
 * The inbox: whatever pieces a stream comes in, the same messages come out; and blocks in a row are
 * received where they may stay.
 */
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/inbox.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define STREAM_MAX 400u
#define BITFIELD   40000u

/*
 * One letter a message: B a whole block, s the short last one of a piece, h a HAVE, f a bitfield of
 * 40 kB.
 */
struct stream {
    uint8_t *bytes;
    size_t size, at;
    const char *messages;
    uint32_t next;   /* message that is to come */
    uint32_t direct; /* of the blocks, received where they stay */
};

static uint8_t byte_of(uint32_t message, uint32_t at)
{
    return (uint8_t)(message * 31 + at * 7 + at / 256);
}

static struct wire_message message_of(const struct stream *self, uint32_t i, uint8_t *payload)
{
    const char letter = self->messages[i];
    struct wire_message message = { .kind = WIRE_HAVE, .piece = i };
    uint32_t size = letter == 'B' ? WIRE_BLOCK_SIZE : letter == 's' ? 1000 : BITFIELD;
    if (letter == 'h')
        return message;
    for (uint32_t k = 0; k < size; k++)
        payload[k] = byte_of(i, k);
    message.kind = letter == 'f' ? WIRE_BITFIELD : WIRE_PIECE;
    message.length = letter == 'f' ? 0 : size;
    message.offset = letter == 'f' ? 0 : 3 * WIRE_BLOCK_SIZE;
    message.piece = letter == 'f' ? 0 : i;
    message.payload = bytes_of(payload, size);
    return message;
}

static void write_stream(struct stream *self, const char *messages)
{
    static uint8_t payload[BITFIELD];
    const uint32_t count = (uint32_t)strlen(messages);
    struct writer writer;
    struct wire_handshake hello = { .fast = true };
    *self = (struct stream){ .messages = messages };
    self->bytes = xmalloc(WIRE_HANDSHAKE_SIZE + count * (BITFIELD + WIRE_HEADER_MAX));
    writer_init(&writer, self->bytes, WIRE_HANDSHAKE_SIZE + count * (BITFIELD + WIRE_HEADER_MAX));
    wire_put_handshake(&writer, &hello);
    for (uint32_t i = 0; i < count; i++) {
        const struct wire_message message = message_of(self, i, payload);
        wire_put(&writer, &message);
        if (message.kind == WIRE_PIECE)
            writer_put(&writer, payload, message.payload.size);
    }
    assert_false(writer.overflow);
    self->size = writer.size;
}

static void fill(struct inbox_room *room, uint32_t wanted)
{
    for (uint32_t i = 0; i < wanted; i++)
        if (room->places[i].block == NULL) {
            room->places[i].data = xmalloc(WIRE_BLOCK_SIZE);
            room->places[i].block = room->places[i].data;
        }
}

static size_t scatter(struct stream *self, const struct iovec *parts, int count, size_t most)
{
    size_t done = 0;
    for (int i = 0; i < count && done < most && self->at < self->size; i++) {
        size_t take = parts[i].iov_len < most - done ? parts[i].iov_len : most - done;
        if (take > self->size - self->at)
            take = self->size - self->at;
        memcpy(parts[i].iov_base, self->bytes + self->at, take);
        self->at += take;
        done += take;
    }
    return done;
}

static void check_message(struct stream *self, const struct wire_message *message)
{
    static uint8_t payload[BITFIELD];
    const struct wire_message expected = message_of(self, self->next++, payload);
    assert_int_equal(message->kind, expected.kind);
    assert_int_equal(message->piece, expected.piece);
    assert_int_equal(message->offset, expected.offset);
    assert_int_equal(message->length, expected.length);
    assert_int_equal(message->payload.size, expected.payload.size);
    if (expected.payload.size > 0)
        assert_memory_equal(message->payload.data, payload, expected.payload.size);
}

/* One read of at most `most` bytes; kept: blocks are taken, else put back. */
static void read_once(struct stream *self, struct inbox *inbox, struct inbox_room *room,
                      size_t most, bool keeps)
{
    struct iovec parts[INBOX_PARTS_MAX];
    struct wire_message message;
    struct wire_handshake hello;
    struct inbox_place place;
    enum wire_verdict verdict;
    size_t size = 0;
    fill(room, inbox_wants(inbox));
    const int count = inbox_lay_out(inbox, room, parts, &size);
    assert_in_range(count, 1, INBOX_PARTS_MAX);
    inbox_came(inbox, room, scatter(self, parts, count, most < size ? most : size));
    while ((verdict = inbox_next(inbox, room, &message, &hello, &place)) != WIRE_MORE) {
        assert_int_not_equal(verdict, WIRE_BAD);
        if (verdict == WIRE_MESSAGE)
            check_message(self, &message);
        if (place.block == NULL)
            continue;
        assert_ptr_equal(message.payload.data, place.data);
        self->direct++;
        if (keeps || !inbox_put_back(room, &place))
            free(place.block);
    }
}

static void end(struct stream *self, struct inbox *inbox, struct inbox_room *room)
{
    struct inbox_place place;
    inbox_stop(inbox, room, &place);
    free(place.block);
    inbox_done(inbox);
    assert_int_equal(room->begun, 0);
    for (uint32_t i = 0; i < INBOX_PLACES; i++)
        free(room->places[i].block);
    free(room);
    free(self->bytes);
}

static const struct row {
    const char *what;
    const char *stream;
    uint32_t read_size; /* of each read, at most */
    uint32_t direct;    /* blocks that were not copied */
} rows[] = {
    { "small reads are never laid out", "BBBBBBBBBBBBBBBB", 4000, 0 },
    { "of blocks in a row all but the first read's go where they stay",
      "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", 50000, 61 },
    { "large reads are laid out as large",
      "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", 1000000, 34 },
    { "a word between blocks costs those behind it in that read",
      "BBBBBBBBBBBBBBBBhBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", 70000, 42 },
    { "where blocks are rare nothing is laid out for long", "hBhBhBhBhBhBhBhBhBhBhBhBhBhBhBhB",
      70000, 3 },
    { "short blocks are copied", "ssssssssssssssssssssssssssssssssssssssss", 30000, 0 },
    { "amid another message nothing is guessed", "BBBBffffBBBBffffBBBB", 30000, 10 },
};

static void test_row(void **state)
{
    const struct row *row = *state;
    struct inbox inbox;
    struct inbox_room *room = xcalloc(1, sizeof *room);
    struct stream stream;
    write_stream(&stream, row->stream);
    inbox_init(&inbox);
    while (stream.at < stream.size)
        read_once(&stream, &inbox, room, row->read_size, true);
    assert_int_equal(stream.next, strlen(row->stream));
    assert_int_equal(stream.direct, row->direct);
    end(&stream, &inbox, room);
}

static void draw_messages(struct random *random, char *ret_messages)
{
    static const char letters[] = "BBBBBBBBBhsf";
    const uint64_t kinds = 1 + random_below(random, sizeof letters - 1);
    const uint64_t count = 1 + random_below(random, 80);
    for (uint64_t i = 0; i < count; i++)
        ret_messages[i] = letters[random_below(random, kinds)];
    ret_messages[count] = '\0';
}

/* Reads of any size, from bytes to more than there is room for. */
static void test_any(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        char messages[STREAM_MAX];
        struct random random;
        struct inbox inbox;
        struct inbox_room *room = xcalloc(1, sizeof *room);
        struct stream stream;
        random_init(&random, seed);
        draw_messages(&random, messages);
        write_stream(&stream, messages);
        inbox_init(&inbox);
        while (stream.at < stream.size)
            read_once(&stream, &inbox, room,
                      1 + random_below(&random, 1ull << (4 + random_below(&random, 17))),
                      random_below(&random, 3) > 0);
        assert_int_equal(stream.next, strlen(messages));
        end(&stream, &inbox, room);
    }
}

/* A place is not held for ever by each of many peers that stop amid a block. */
static void test_begun(void **state)
{
    (void)state;
    static struct inbox inboxes[2 * INBOX_BEGUN_MAX];
    struct inbox_room *room = xcalloc(1, sizeof *room);
    struct stream stream;
    write_stream(&stream, "BBBBBBBB");
    for (uint32_t i = 0; i < 2 * INBOX_BEGUN_MAX; i++) {
        inbox_init(&inboxes[i]);
        stream.at = stream.next = 0;
        for (int k = 0; k < 3; k++)
            read_once(&stream, &inboxes[i], room, 30000, true);
    }
    assert_int_equal(room->begun, INBOX_BEGUN_MAX);
    for (uint32_t i = 1; i < 2 * INBOX_BEGUN_MAX; i++) {
        struct inbox_place place;
        inbox_stop(&inboxes[i], room, &place);
        free(place.block);
        inbox_done(&inboxes[i]);
    }
    end(&stream, &inboxes[0], room);
}

static void test_bad(void **state)
{
    (void)state;
    struct inbox inbox;
    struct inbox_room *room = xcalloc(1, sizeof *room);
    struct stream stream;
    struct iovec parts[INBOX_PARTS_MAX];
    struct wire_message message;
    struct wire_handshake hello;
    struct inbox_place place;
    enum wire_verdict verdict;
    size_t size = 0;
    write_stream(&stream, "BBBBBBBB");
    inbox_init(&inbox);
    for (int i = 0; i < 3; i++)
        read_once(&stream, &inbox, room, 30000, true);
    memset(stream.bytes + stream.at, 0xff, stream.size - stream.at);
    do {
        fill(room, inbox_wants(&inbox));
        const int count = inbox_lay_out(&inbox, room, parts, &size);
        inbox_came(&inbox, room, scatter(&stream, parts, count, 30000));
        while ((verdict = inbox_next(&inbox, room, &message, &hello, &place)) == WIRE_MESSAGE)
            free(place.block);
    } while (verdict == WIRE_MORE && stream.at < stream.size);
    assert_int_equal(verdict, WIRE_BAD);
    end(&stream, &inbox, room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_begun),
        cmocka_unit_test(test_bad),
    };
    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL);
}
