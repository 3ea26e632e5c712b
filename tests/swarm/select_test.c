/* Which files an entry means, and which pieces and bytes these are. */
#include "services/swarm/select.h"

#include "services/swarm/bitfield.h"
#include "services/swarm/metainfo.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define K 16384u

/* Pieces of 16 KiB: |0 ....1|1 pad|3......|3 4 5.| */
static const struct layout_file files[] = {
    { .offset = 0, .length = K - 100 },
    { .offset = K - 100, .length = 200 },
    { .offset = K + 100, .length = K - 100, .padding = true },
    { .offset = 2 * K, .length = K + 10 },
    { .offset = 3 * K + 10, .length = 0 },
    { .offset = 3 * K + 10, .length = 90 },
};
static const char *const paths[] = { "lab/a.iso",         "lab/doc/b.txt", "",
                                     "lab/doc/old/c.iso", "lab/7",         "lab/größe/7" };
static const struct metainfo metainfo = { .layout = { .length = 3 * K + 100,
                                                      .piece_length = K,
                                                      .piece_count = 4,
                                                      .files_count = 6,
                                                      .files = files },
                                          .paths = paths,
                                          .name = "lab",
                                          .is_folder = true };

/* files: those meant; NULL: none, it is refused. */
static const struct row {
    const char *what, *text, *files;
} rows[] = {
    { "nothing said is everything", "", "012345" },
    { "an index", "3", "3" },
    { "indices and a range", "0,3-5", "0345" },
    { "two entries together", "0\n5", "05" },
    { "padding has an index, too", "2", "2" },
    { "an index there is not", "6", NULL },
    { "a range that ends beyond", "4-6", NULL },
    { "a range backwards", "5-4", NULL },
    { "a range without an end", "4-", NULL },
    { "a comma too much", "1,", NULL },
    { "an index that overflows", "4294967296", NULL },
    { "an index far beyond", "99999999999999999999999", NULL },
    { "a whole path", "lab/doc/b.txt", "1" },
    { "a path below the name", "doc/b.txt", "1" },
    { "a name in any folder", "b.txt", "1" },
    { "a folder is all below it", "doc", "13" },
    { "with a slash behind it", "doc/", "13" },
    { "the torrent's own name is all of it", "lab", "01345" },
    { "a file named as an index", "./7", "45" },
    { "a pattern for names", "*.iso", "03" },
    { "a pattern for paths", "doc/*.iso", "3" },
    { "one character", "?.txt", "1" },
    { "one character of two bytes", "gr??e", "5" },
    { "a star for nothing", "a.iso*", "0" },
    { "stars that must give way", "*o*o*.iso", "3" },
    { "everything but what has no name", "*", "01345" },
    { "a part of a name is not it", "iso", NULL },
    { "a part of a folder is not it", "oc/b.txt", NULL },
    { "one of two means nothing", "0\nnone", NULL },
};

static void test_files(void **state)
{
    const struct row *row = *state;
    char entry[SELECT_ENTRY_SIZE] = "", found[7] = "";
    uint8_t bits[1] = { 0 };
    size_t count = 0;
    lb_err err = select_files(row->text, &metainfo, bits, entry);

    assert_int_equal(err, row->files ? LB_OK : LB_NOT_FOUND);
    if (!row->files) {
        assert_string_not_equal(entry, "");
        return;
    }
    for (uint32_t i = 0; i < 6; i++)
        if (bitfield_has(bits, i))
            found[count++] = (char)('0' + i);
    assert_string_equal(found, row->files);
}

/* have and pieces: a letter for each piece, '#' or '.'. */
static const struct piece_row {
    const char *what, *text, *pieces, *have;
    uint64_t bytes, have_bytes;
} piece_rows[] = {
    { "all, nothing is here", "", "####", "....", 2 * K + 200, 0 },
    { "all, all is here", "", "####", "####", 2 * K + 200, 2 * K + 200 },
    { "a file that shares its piece", "0", "#...", "#...", K - 100, K - 100 },
    { "a file over a border", "1", "##..", ".#..", 200, 100 },
    { "padding is nothing", "2", "....", "####", 0, 0 },
    { "an empty file is nothing", "4", "....", "####", 0, 0 },
    { "a long one, half here", "3", "..##", "..#.", K + 10, K },
};

static void test_pieces(void **state)
{
    const struct piece_row *row = *state;
    char entry[SELECT_ENTRY_SIZE];
    uint8_t bits[1] = { 0 }, pieces[1] = { 0 }, have[1] = { 0 };

    assert_int_equal(select_files(row->text, &metainfo, bits, entry), LB_OK);
    select_pieces(&metainfo.layout, bits, pieces);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(bitfield_has(pieces, i), row->pieces[i] == '#');
        if (row->have[i] == '#')
            bitfield_set(have, i);
    }
    assert_int_equal(select_bytes(&metainfo.layout, bits), row->bytes);
    assert_int_equal(select_have_bytes(&metainfo.layout, bits, have), row->have_bytes);
}

static const struct add_row {
    const char *what, *before, *entry;
    lb_err err;
    const char *after;
} add_rows[] = {
    { "the first", "", "a", LB_OK, "a" },
    { "another", "a", "b*", LB_OK, "a\nb*" },
    { "one that is there", "a\nb", "a", LB_OK, "a\nb" },
    { "one that begins alike", "ab", "a", LB_OK, "ab\na" },
    { "none", "a", "", LB_INVALID, "a" },
    { "two in one", "a", "b\nc", LB_INVALID, "a" },
    { "as much as there is room for", "a", "1234567", LB_OK, "a\n1234567" },
    { "more than there is room for", "a", "12345678", LB_FULL, "a" },
};

static void test_add(void **state)
{
    const struct add_row *row = *state;
    char text[10];

    strcpy(text, row->before);
    assert_int_equal(select_add(text, sizeof(text), row->entry), row->err);
    assert_string_equal(text, row->after);
}

static void not_too_many(void **state)
{
    static char text[16 * SELECT_ENTRIES_MAX];
    char entry[16];

    (void)state;
    for (unsigned i = 0; i < SELECT_ENTRIES_MAX; i++) {
        snprintf(entry, sizeof(entry), "f%u", i);
        assert_int_equal(select_add(text, sizeof(text), entry), LB_OK);
    }
    assert_int_equal(select_add(text, sizeof(text), "f"), LB_FULL);
    assert_int_equal(select_add(text, sizeof(text), "f7"), LB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(not_too_many) };

    return RUN_ROWS(rows, test_files) + RUN_ROWS(piece_rows, test_pieces) +
           RUN_ROWS(add_rows, test_add) + cmocka_run_group_tests(tests, NULL, NULL);
}
