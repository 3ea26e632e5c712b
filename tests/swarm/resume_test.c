#include "services/swarm/resume.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define K     16384u
#define SPAN  1000000000ll /* ns of a second */
#define SINCE 1700000000ll /* when the record was made, s */

/* Six pieces. Files: 0 in pieces 0-2, 1 in 2-3, padding in 3, 2 in 4-5, 3 empty. */
static const struct layout_file files[] = {
    { .offset = 0, .length = 2 * K + 8000 },
    { .offset = 2 * K + 8000, .length = K },
    { .offset = 3 * K + 8000, .length = K - 8000, .padding = true },
    { .offset = 4 * K, .length = K + 100 },
    { .offset = 5 * K + 100, .length = 0 },
};
static const struct layout layout = {
    .length = 5 * K + 100, .piece_length = K, .piece_count = 6, .files_count = 5, .files = files
};
static const uint8_t infohash[20] = { 1, 2, 3 };

/*
 * One letter a file but the padding. Recorded: f full. Found: = the same, t another time (5 s
 * later), T another time after the lease, e earlier, s shorter by one byte, . gone. Pieces: 1
 * recorded. Judged: v verified, c to be checked, . neither.
 */
static const struct row {
    const char *what, *pieces, *found, *judged;
    bool record;
} rows[] = {
    { "nothing changed", "111111", "====", "vvvvvv", true },
    { "some pieces", "101010", "====", "v.v.v.", true },
    { "no record and all files", "", "====", "cccccc", false },
    { "no record and no file", "", "....", "......", false },
    { "no record and a file short of one byte", "", "s===", "cc.ccc", false },
    { "no record and one file", "", "..=.", "....cc", false },
    { "a whole file changed", "111111", "t===", "cccvvv", true },
    { "a whole file changed among others", "111111", "=t==", "vvccvv", true },
    { "a file we were writing changed within the lease", "011100", "t===", ".vvv..", true },
    { "a file we were writing changed after it", "011100", "T===", ".ccv..", true },
    { "a file we were writing got older", "011100", "e===", ".ccv..", true },
    { "a file we were writing got shorter", "011100", "s===", ".c.v..", true },
    { "a file is gone", "111111", ".===", "...vvv", true },
    { "the empty file is gone", "111111", "===.", "vvvvvv", true },
    { "the empty file changed", "111111", "===t", "vvvvvv", true },
};

static void find(char letter, struct resume_file *file)
{
    switch (letter) {
    case 't':
        file->mtime_ns += 5 * SPAN;
        break;
    case 'T':
        file->mtime_ns += (RESUME_LEASE_S + 1) * SPAN;
        break;
    case 'e':
        file->mtime_ns -= 1;
        break;
    case 's':
        file->size--;
        break;
    case '.':
        *file = (struct resume_file){ 0 };
        break;
    default:
        break;
    }
}

static struct resume *record_of(const char *pieces)
{
    struct resume *record = resume_new(infohash, &layout);

    for (uint32_t i = 0; i < layout.files_count; i++)
        record->files[i] = (struct resume_file){ .present = !files[i].padding,
                                                 .size = files[i].length,
                                                 .mtime_ns = SINCE * SPAN };
    for (uint32_t i = 0; pieces[i]; i++) {
        if (pieces[i] == '1')
            bitfield_set(record->pieces, i);
    }
    record->writing_until_s = (uint64_t)SINCE + RESUME_LEASE_S;
    return record;
}

static void test_judge(void **state)
{
    const struct row *row = *state;
    struct resume *record = record_of(row->pieces);
    struct resume_file found[5];
    uint8_t verified[1], recheck[1];
    const char *letter = row->found;
    char judged[7] = "......";

    memcpy(found, record->files, sizeof(found));
    for (uint32_t i = 0; i < 5; i++) {
        if (!files[i].padding)
            find(*letter++, &found[i]);
    }
    resume_judge(row->record ? record : NULL, &layout, found, verified, recheck);
    for (uint32_t i = 0; i < 6; i++) {
        assert_false(bitfield_has(verified, i) && bitfield_has(recheck, i));
        if (bitfield_has(verified, i))
            judged[i] = 'v';
        else if (bitfield_has(recheck, i))
            judged[i] = 'c';
    }
    assert_string_equal(judged, row->judged);
    resume_free(&record);
}

static void what_is_written_is_read(void **state)
{
    struct resume *record = record_of("101101"), *again = NULL;
    uint8_t *data;
    size_t size;

    (void)state;
    record->files[2].mtime_ns = -5;
    resume_encode(record, &data, &size);
    assert_int_equal(resume_parse(bytes_of(data, size), infohash, &layout, &again), LB_OK);
    assert_int_equal(again->writing_until_s, record->writing_until_s);
    assert_memory_equal(again->pieces, record->pieces, 1);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(again->files[i].present, record->files[i].present);
        assert_int_equal(again->files[i].size, record->files[i].size);
        assert_int_equal(again->files[i].mtime_ns, record->files[i].mtime_ns);
    }
    resume_free(&again);
    resume_free(&record);
    free(data);
}

/* Every cut and every flipped bit. */
static void damage_is_found(void **state)
{
    struct resume *record = record_of("111111"), *again = NULL;
    uint8_t *data;
    size_t size;

    (void)state;
    resume_encode(record, &data, &size);
    for (size_t i = 0; i < size; i++) {
        uint8_t *cut = xmemdup(data, i);

        assert_int_equal(resume_parse(bytes_of(cut, i), infohash, &layout, &again), LB_CORRUPT);
        free(cut);
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(resume_parse(bytes_of(data, size), infohash, &layout, &again),
                             LB_CORRUPT);
            data[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(resume_parse(bytes_of(NULL, 0), infohash, &layout, &again), LB_CORRUPT);
    assert_null(again);
    resume_free(&record);
    free(data);
}

/* What fits its checksum, and still is not ours. */
static const struct foreign_row {
    const char *what;
    size_t at; /* of the byte set */
    uint8_t byte;
    lb_err err;
} foreign_rows[] = {
    { "a later version", 11, 2, LB_UNSUPPORTED },
    { "another torrent", 12, 9, LB_CONFLICT },
    { "more files", 43, 6, LB_CONFLICT },
    { "very many files", 40, 0xff, LB_CONFLICT },
    { "more pieces", 47, 9, LB_CONFLICT },
    { "a spare bit is set", 48 + 5 * 17, 0xff, LB_CORRUPT },
};

static void test_foreign(void **state)
{
    const struct foreign_row *row = *state;
    struct resume *record = record_of("111111"), *again = NULL;
    uint8_t *data;
    size_t size;

    resume_encode(record, &data, &size);
    data[row->at] = row->byte;
    sha256(bytes_of(data, size - SHA256_SIZE), data + size - SHA256_SIZE);
    assert_int_equal(resume_parse(bytes_of(data, size), infohash, &layout, &again), row->err);
    assert_null(again);
    resume_free(&record);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(damage_is_found),
    };
    int failed = 0;

    failed += RUN_ROWS(rows, test_judge);
    failed += RUN_ROWS(foreign_rows, test_foreign);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
