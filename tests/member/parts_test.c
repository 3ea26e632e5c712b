/* Putting messages together: one letter a step, the parts in any order. */
#include "services/member/parts.h"

#include "libcommon/crypto.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 2000u /* three parts: 900, 900, 200 */

struct message {
    uint8_t data[PARTS_MESSAGE_MAX];
    uint32_t size;
    uint8_t id[PARTS_ID_SIZE];
};

static struct message make(uint32_t size, unsigned number)
{
    struct message message = { .size = size };

    for (uint32_t i = 0; i < size; i++) {
        message.data[i] = (uint8_t)(i * 7 + i / 251 + number);
    }
    sha256(bytes_of(message.data, size), message.id);
    return message;
}

static struct node_id node(unsigned number)
{
    struct node_id id = { { 0 } };

    id.bytes[0] = (uint8_t)number;
    id.bytes[1] = (uint8_t)(number >> 8);
    return id;
}

static struct parts_piece piece_of(const struct message *message, unsigned part, unsigned sender)
{
    uint32_t offset = part * PARTS_PART_BYTES;

    return (struct parts_piece){ .sender = node(sender),
                                 .id = bytes_of(message->id, PARTS_ID_SIZE),
                                 .size = message->size,
                                 .offset = offset,
                                 .data = bytes_of(message->data + offset,
                                                  parts_size_of(message->size, part)) };
}

static enum parts_verdict add(struct parts *parts, const struct parts_piece *piece, uint64_t now_ms)
{
    uint8_t *whole = NULL;
    enum parts_verdict verdict = parts_add(parts, piece, now_ms, &whole);

    assert_true((verdict == PARTS_WHOLE) == (whole != NULL));
    free(whole);
    return verdict;
}

/*
 * Steps: 0 1 2 that part; x one whose bytes were altered, y one with a byte too few, z one that
 * says another size, o one at an odd offset, p one past the end, b one with a bad id, t a minute
 * passes. Verdicts: . taken, W whole, ! invalid.
 */
static const struct row {
    const char *what, *steps, *verdicts;
} rows[] = {
    { "in order", "012", "..W" },
    { "backwards", "210", "..W" },
    { "a part that comes twice does no harm", "00112", "....W" },
    { "what is whole may come again", "012012", "..W..W" },
    { "an altered part spoils the whole", "0x2", "..!" },
    { "and then all of it may come again", "0x2012", "..!..W" },
    { "the last of two for one place counts", "x0x12", "....W" },
    { "a part too short is none", "0y12", ".!.W" },
    { "a part at an odd offset is none", "o012", "!..W" },
    { "nor is one past the end", "p012", "!..W" },
    { "an id of 31 bytes is none", "b012", "!..W" },
    { "another size for the same id drops it", "0z12", ".!.." },
    { "what is not whole in a minute is dropped", "01t2", "...." },
};

static enum parts_verdict take_step(struct parts *parts, const struct message *message, char step,
                                    uint64_t *now_ms)
{
    uint8_t altered[PARTS_PART_BYTES];
    struct message shorter = *message;
    struct parts_piece piece =
        piece_of(message, step >= '0' && step <= '2' ? (unsigned)(step - '0') : 1u, 5);

    switch (step) {
    case 'x':
        memcpy(altered, piece.data.data, piece.data.size);
        altered[17] ^= 1;
        piece.data.data = altered;
        return add(parts, &piece, *now_ms);
    case 'y':
        piece.data.size--;
        break;
    case 'z':
        shorter.size--;
        piece = piece_of(&shorter, 1, 5);
        break;
    case 'o':
        piece.offset++;
        break;
    case 'p':
        piece.offset = 3 * PARTS_PART_BYTES;
        break;
    case 'b':
        piece.id.size--;
        break;
    case 't':
        *now_ms += PARTS_LIFE_MS;
        piece = piece_of(message, 0, 77); /* another node's: time is seen when something comes */
        break;
    default:
        break;
    }
    return add(parts, &piece, *now_ms);
}

static void test_row(void **state)
{
    const struct row *row = *state;
    static struct parts parts;
    struct message message = make(SIZE, 1);
    uint64_t now_ms = 1000;

    for (size_t i = 0; row->steps[i] != '\0'; i++) {
        static const char letters[] = {
            [PARTS_TAKEN] = '.', [PARTS_WHOLE] = 'W', [PARTS_INVALID] = '!', [PARTS_FULL] = 'F'
        };

        assert_int_equal(letters[take_step(&parts, &message, row->steps[i], &now_ms)],
                         row->verdicts[i]);
    }
    parts_done(&parts);
}

static void every_size_is_put_together(void **state)
{
    static const uint32_t sizes[] = { 1, 899, 900, 901, 1800, 40000, PARTS_MESSAGE_MAX };
    static struct parts parts;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct message message = make(sizes[i], 3);
        unsigned count = parts_count(sizes[i]);

        for (unsigned part = count; part-- > 0;) {
            struct parts_piece piece = piece_of(&message, part, 5);
            uint8_t *whole = NULL;

            assert_int_equal(parts_add(&parts, &piece, 0, &whole),
                             part > 0 ? PARTS_TAKEN : PARTS_WHOLE);
            if (whole != NULL) {
                assert_memory_equal(whole, message.data, sizes[i]);
            }
            free(whole);
        }
    }
    assert_int_equal(parts_count(0), 0);
    assert_int_equal(parts_count(PARTS_MESSAGE_MAX + 1), 0);
}

static void a_node_begins_four_at_once(void **state)
{
    static struct parts parts;
    struct message others = make(SIZE, 200);
    struct parts_piece piece;

    (void)state;
    for (unsigned i = 0; i < PARTS_OPEN_PER_SENDER_MAX + 1; i++) {
        struct message message = make(SIZE, i);

        piece = piece_of(&message, 0, 5);
        assert_int_equal(add(&parts, &piece, 0),
                         i < PARTS_OPEN_PER_SENDER_MAX ? PARTS_TAKEN : PARTS_FULL);
    }
    piece = piece_of(&others, 0, 6);
    assert_int_equal(add(&parts, &piece, 0), PARTS_TAKEN); /* another node may */
    others = make(SIZE, 4);
    piece = piece_of(&others, 0, 5);
    assert_int_equal(add(&parts, &piece, PARTS_LIFE_MS), PARTS_TAKEN); /* and it, a minute later */
    parts_done(&parts);
}

static void all_of_them_begin_sixty_four(void **state)
{
    static struct parts parts;
    struct message message = make(SIZE, 1);

    (void)state;
    for (unsigned i = 0; i <= PARTS_OPEN_MAX; i++) {
        struct parts_piece piece = piece_of(&message, 0, 1000 + i);

        assert_int_equal(add(&parts, &piece, 0), i < PARTS_OPEN_MAX ? PARTS_TAKEN : PARTS_FULL);
    }
    parts_done(&parts);
}

/* One node cannot finish, or spoil, what another hands over. */
static void two_nodes_hand_over_the_same_message(void **state)
{
    static struct parts parts;
    struct message message = make(SIZE, 1);
    struct parts_piece mine[3];
    struct parts_piece other = piece_of(&message, 1, 6);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        mine[i] = piece_of(&message, i, 5);
    }
    assert_int_equal(add(&parts, &mine[0], 0), PARTS_TAKEN);
    assert_int_equal(add(&parts, &other, 0), PARTS_TAKEN);
    assert_int_equal(add(&parts, &mine[2], 0), PARTS_TAKEN);
    assert_int_equal(add(&parts, &mine[1], 0), PARTS_WHOLE);
    parts_done(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_is_put_together),
        cmocka_unit_test(a_node_begins_four_at_once),
        cmocka_unit_test(all_of_them_begin_sixty_four),
        cmocka_unit_test(two_nodes_hand_over_the_same_message),
    };

    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL);
}
