#include "services/swarm/layout.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define K 16384u

/* Three pieces of 32 KiB, the last of 10 bytes: a, two empty files, b over a border, padding, c. */
static const struct layout_file files[] = {
    { .offset = 0, .length = 100 },
    { .offset = 100, .length = 0 },
    { .offset = 100, .length = 0 },
    { .offset = 100, .length = 2 * K },
    { .offset = 2 * K + 100, .length = 900, .padding = true },
    { .offset = 2 * K + 1000, .length = 2 * K - 990 },
    { .offset = 4 * K + 10, .length = 0 },
};
static const struct layout layout = {
    .length = 4 * K + 10, .piece_length = 2 * K, .piece_count = 3, .files_count = 7, .files = files
};

static const struct piece_row {
    const char *what;
    uint32_t piece, size, blocks, last_block;
} piece_rows[] = {
    { "the first piece", 0, 2 * K, 2, K },  { "the second", 1, 2 * K, 2, K },
    { "the last, shorter", 2, 10, 1, 10 },  { "none", 3, 0, 0, 0 },
    { "none by far", UINT32_MAX, 0, 0, 0 },
};

static void test_piece(void **state)
{
    const struct piece_row *row = *state;

    assert_int_equal(layout_piece_size(&layout, row->piece), row->size);
    assert_int_equal(layout_block_count(&layout, row->piece), row->blocks);
    assert_int_equal(layout_block_size(&layout, row->piece, row->blocks - 1), row->last_block);
    assert_int_equal(layout_block_size(&layout, row->piece, row->blocks), 0);
    assert_int_equal(layout_block_size(&layout, row->piece, UINT32_MAX), 0);
}

/* "3+5:100" is 100 bytes of file 3 from its byte 5 on; p: padding. */
static const struct span_row {
    const char *what;
    uint32_t piece, offset, size;
    const char *spans;
} span_rows[] = {
    { "a whole piece", 0, 0, 2 * K, "0+0:100 3+0:32668" },
    { "over padding", 1, 0, 2 * K, "3+32668:100 4+0:900p 5+0:31768" },
    { "the last piece", 2, 0, 10, "5+31768:10" },
    { "one byte", 0, 99, 1, "0+99:1" },
    { "the byte after it, past empty files", 0, 100, 1, "3+0:1" },
    { "within padding", 1, 101, 10, "4+1:10p" },
    { "behind the piece", 2, 0, 11, "" },
    { "nothing", 0, 0, 0, "" },
    { "no such piece", 3, 0, 1, "" },
    { "an offset that wraps", 0, UINT32_MAX, 2, "" },
};

static void test_spans(void **state)
{
    const struct span_row *row = *state;
    struct layout_cursor cursor = layout_spans(&layout, row->piece, row->offset, row->size);
    struct layout_span span;
    char text[256] = "";
    size_t used = 0;

    while (layout_spans_next(&cursor, &span))
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u+%llu:%u%s",
                                 used ? " " : "", span.file, (unsigned long long)span.offset,
                                 span.size, span.padding ? "p" : "");
    assert_string_equal(text, row->spans);
    assert_int_equal(layout_range_is_valid(&layout, row->piece, row->offset, row->size),
                     row->spans[0] != '\0');
}

static const struct file_row {
    const char *what;
    uint32_t file, first, count;
} file_rows[] = {
    { "in one piece", 0, 0, 1 }, { "an empty file", 1, 0, 0 }, { "over a border", 3, 0, 2 },
    { "padding", 4, 1, 1 },      { "to the end", 5, 1, 2 },
};

static void test_file(void **state)
{
    const struct file_row *row = *state;
    uint32_t first, count;

    layout_file_pieces(&layout, row->file, &first, &count);
    assert_int_equal(first, row->first);
    assert_int_equal(count, row->count);
}

/*
 * Aligned, pieces of 32 KiB: a of a piece and 100 bytes, padding, an empty file, b of 5 bytes,
 * padding, c of exactly two pieces, d of a block and a byte, padding behind it.
 */
static const struct layout_file aligned_files[] = {
    { .offset = 0, .length = 2 * K + 100 },
    { .offset = 2 * K + 100, .length = 2 * K - 100, .padding = true },
    { .offset = 4 * K, .length = 0 },
    { .offset = 4 * K, .length = 5 },
    { .offset = 4 * K + 5, .length = 2 * K - 5, .padding = true },
    { .offset = 6 * K, .length = 4 * K },
    { .offset = 10 * K, .length = K + 1 },
    { .offset = 11 * K + 1, .length = K - 1, .padding = true },
};
static const struct layout aligned = { .length = 12 * K,
                                       .piece_length = 2 * K,
                                       .piece_count = 6,
                                       .files_count = 8,
                                       .files = aligned_files,
                                       .aligned = true };

static const struct aligned_row {
    const char *what;
    uint32_t piece, file, size, blocks, padded;
    const char *spans;
} aligned_rows[] = {
    { "a whole piece of the first file", 0, 0, 2 * K, 2, 2 * K, "0+0:32768" },
    { "its last bytes, without the padding", 1, 0, 100, 1, 2 * K, "0+32768:100" },
    { "a small file behind an empty one", 2, 3, 5, 1, 2 * K, "3+0:5" },
    { "a file of whole pieces", 3, 5, 2 * K, 2, 2 * K, "5+0:32768" },
    { "and its end", 4, 5, 2 * K, 2, 2 * K, "5+32768:32768" },
    { "the last file, of a block and a byte", 5, 6, K + 1, 2, 2 * K, "6+0:16385" },
};

static void test_aligned(void **state)
{
    const struct aligned_row *row = *state;
    const uint32_t size = layout_piece_size(&aligned, row->piece);
    struct layout_cursor cursor = layout_spans(&aligned, row->piece, 0, size);
    struct layout_span span;
    char text[64] = "";

    assert_int_equal(size, row->size);
    assert_int_equal(layout_block_count(&aligned, row->piece), row->blocks);
    assert_int_equal(layout_padded_size(&aligned, row->piece), row->padded);
    assert_int_equal(layout_piece_file(&aligned, row->piece), row->file);
    assert_true(layout_range_is_valid(&aligned, row->piece, size - 1, 1));
    assert_false(layout_range_is_valid(&aligned, row->piece, size, 1));
    assert_true(layout_spans_next(&cursor, &span));
    snprintf(text, sizeof(text), "%u+%llu:%u", span.file, (unsigned long long)span.offset,
             span.size);
    assert_string_equal(text, row->spans);
    assert_false(layout_spans_next(&cursor, &span));
}

/* Against the slow way: byte by byte. */
static void spans_cover_each_byte_once(void **state)
{
    struct random random;

    (void)state;
    random_init(&random, 11);
    for (unsigned round = 0; round < 200; round++) {
        struct layout_file many[40];
        struct layout made = { .piece_length = K, .files_count = 40, .files = many };
        uint64_t at = 0;

        for (uint32_t i = 0; i < 40; i++) {
            many[i] = (struct layout_file){ .offset = made.length,
                                            .length = random_below(&random, 4) == 0
                                                          ? 0
                                                          : random_below(&random, 3000) };
            made.length += many[i].length;
        }
        if (made.length == 0)
            continue;
        made.piece_count = (uint32_t)((made.length + K - 1) / K);
        for (uint32_t piece = 0; piece < made.piece_count; piece++) {
            struct layout_cursor cursor =
                layout_spans(&made, piece, 0, layout_piece_size(&made, piece));
            struct layout_span span;

            while (layout_spans_next(&cursor, &span)) {
                assert_true(span.size > 0 && span.offset + span.size <= many[span.file].length);
                assert_int_equal(many[span.file].offset + span.offset, at);
                at += span.size;
            }
        }
        assert_int_equal(at, made.length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(spans_cover_each_byte_once) };
    int failed = 0;

    failed += RUN_ROWS(piece_rows, test_piece);
    failed += RUN_ROWS(span_rows, test_spans);
    failed += RUN_ROWS(file_rows, test_file);
    failed += RUN_ROWS(aligned_rows, test_aligned);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
