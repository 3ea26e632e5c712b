#include "services/swarm/metainfo.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- drawing ---- */

/* '@' stands for a piece's SHA-1, 20 bytes; '&' for a root, 32 bytes. */
static struct bytes draw(const char *text)
{
    uint8_t *data = xmalloc(32 * strlen(text) + 1);
    size_t size = 0;

    for (; *text; text++) {
        const size_t count = *text == '@' ? 20 : *text == '&' ? 32 : 1;

        memset(data + size, *text, count);
        size += count;
    }
    return bytes_of(data, size);
}

static void undraw(struct bytes *drawn)
{
    free((void *)(uintptr_t)drawn->data);
}

/* "v2 NAME/a=5 (padding)=3: 5": the kind, the files, the sizes of pieces. */
static void describe(const struct metainfo *self, char *ret_text, size_t size)
{
    static const char *const kinds[] = { "", "v1", "v2", "both" };
    size_t used = (size_t)snprintf(ret_text, size, "%s", kinds[self->kind]);

    for (uint32_t i = 0; i < self->layout.files_count; i++) {
        const struct layout_file *file = &self->layout.files[i];

        used += (size_t)snprintf(ret_text + used, size - used, " %s%s=%llu",
                                 file->padding ? "(padding)" : self->paths[i],
                                 file->executable ? "*" : "", (unsigned long long)file->length);
    }
    used += (size_t)snprintf(ret_text + used, size - used, ":");
    for (uint32_t i = 0; i < self->layout.piece_count; i++)
        used += (size_t)snprintf(ret_text + used, size - used, " %u",
                                 layout_piece_size(&self->layout, i));
}

#define PIECE      "12:piece lengthi16384e"
#define V2         "12:meta versioni2e4:name1:n" PIECE
#define LEAF(n)    "d0:d6:lengthi" #n "e11:pieces root32:&ee"
#define EMPTY      "d0:d6:lengthi0eee"
#define TREE(tree) "d9:file treed" tree "e" V2 "e"
#define PAD(n)     "d4:attr1:p6:lengthi" #n "e4:pathl4:.pad1:xee"
#define FILE_A(n)  "d6:lengthi" #n "e4:pathl1:aee"
#define FILE_B(n)  "d6:lengthi" #n "e4:pathl1:bee"
#define BOTH(tree, files, hashes)                                                                  \
    "d9:file treed" tree "e5:filesl" files "e" V2 "6:pieces" hashes "e"

/* The description when it is read; else what the problem says. */
static const struct parse_row {
    const char *what, *info;
    lb_err err;
    const char *found;
} parse_rows[] = {
    { "one file", TREE("1:n" LEAF(5)), LB_OK, "v2 n=5 (padding)=16379: 5" },
    { "one file of two pieces", TREE("1:n" LEAF(16385)), LB_OK,
      "v2 n=16385 (padding)=16383: 16384 1" },
    { "one file has its own name", TREE("1:x" LEAF(5)), LB_OK, "v2 x=5 (padding)=16379: 5" },
    { "a folder", TREE("1:a" LEAF(5) "1:b" LEAF(16384)), LB_OK,
      "v2 n/a=5 (padding)=16379 n/b=16384: 5 16384" },
    { "a folder of one file in a folder", TREE("1:ad1:b" LEAF(5) "e"), LB_OK,
      "v2 n/a/b=5 (padding)=16379: 5" },
    { "an empty file between two", TREE("1:a" LEAF(5) "1:b" EMPTY "1:c" LEAF(1)), LB_OK,
      "v2 n/a=5 (padding)=16379 n/b=0 n/c=1 (padding)=16383: 5 1" },
    { "a short piece in the middle", TREE("1:a" LEAF(16390) "1:b" LEAF(16384)), LB_OK,
      "v2 n/a=16390 (padding)=16378 n/b=16384: 16384 6 16384" },
    { "the order of the tree, sorted or not", TREE("1:b" LEAF(16384) "1:a" LEAF(16384)), LB_OK,
      "v2 n/b=16384 n/a=16384: 16384 16384" },
    { "an executable file", TREE("1:nd0:d4:attr2:hx6:lengthi5e11:pieces root32:&ee"), LB_OK,
      "v2 n*=5 (padding)=16379: 5" },
    { "a root for an empty file is not looked at", TREE("1:a" LEAF(0) "1:b" LEAF(5)), LB_OK,
      "v2 n/a=0 n/b=5 (padding)=16379: 5" },
    { "neither pieces nor a tree", "d4:name1:n" PIECE "e", LB_INVALID, "length" },
    { "a version that is none", "d9:file treed1:n" LEAF(5) "e12:meta versioni1e4:name1:n" PIECE "e",
      LB_INVALID, "meta version" },
    { "a later version", "d9:file treed1:n" LEAF(5) "e12:meta versioni3e4:name1:n" PIECE "e",
      LB_UNSUPPORTED, "version 3" },
    { "a later version that is nonsense besides", "d12:meta versioni3ee", LB_UNSUPPORTED,
      "version 3" },
    { "a version that is a text",
      "d9:file treed1:n" LEAF(5) "e12:meta version1:24:name1:n" PIECE "e", LB_INVALID,
      "meta version" },
    { "no tree", "d" V2 "e", LB_INVALID, "no file tree" },
    { "an empty tree", TREE(""), LB_INVALID, "no content" },
    { "an empty file alone", TREE("1:n" EMPTY), LB_INVALID, "no content" },
    { "an empty folder", TREE("1:ade1:b" LEAF(5)), LB_INVALID, "an empty folder" },
    { "a tree that is a file", TREE("0:d6:lengthi5ee"), LB_INVALID, "empty name" },
    { "a file that is a folder", TREE("1:ad0:d6:lengthi5e11:pieces root32:&e1:b" LEAF(5) "e"),
      LB_INVALID, "a folder, too" },
    { "a folder that is a file", TREE("1:ad1:b" LEAF(5) "0:d6:lengthi5eee"), LB_INVALID,
      "empty name" },
    { "a file without a root", TREE("1:nd0:d6:lengthi5eee"), LB_INVALID, "pieces root" },
    { "a root of 20 bytes", TREE("1:nd0:d6:lengthi5e11:pieces root20:@ee"), LB_INVALID,
      "pieces root" },
    { "a file without a length", TREE("1:nd0:d11:pieces root32:&ee"), LB_INVALID, "length" },
    { "a length below zero", TREE("1:nd0:d6:lengthi-1eee"), LB_INVALID, "length" },
    { "a file that is a number", TREE("1:ni5e"), LB_INVALID, "empty folder" },
    { "properties that are a number", TREE("1:nd0:i5ee"), LB_INVALID, "a folder, too" },
    { "a symlink", TREE("1:nd0:d4:attr1:l6:lengthi0eee"), LB_UNSUPPORTED, "symlink" },
    { "a symlink without the attribute", TREE("1:nd0:d6:lengthi0e12:symlink pathl1:aeee"),
      LB_UNSUPPORTED, "symlink" },
    { "padding in the tree", TREE("1:nd0:d4:attr1:p6:lengthi5e11:pieces root32:&ee"), LB_INVALID,
      "padding" },
    { "the name ..", TREE("2:..d1:a" LEAF(5) "e"), LB_INVALID, "\"..\"" },
    { "a / in a name", TREE("3:a/b" LEAF(5) "1:c" LEAF(5)), LB_INVALID, "\"/\"" },
    { "two of one name", TREE("1:a" LEAF(5) "1:a" LEAF(5)), LB_INVALID, "two files" },
    { "pieces of no power of two",
      "d9:file treed1:n" LEAF(5) "e12:meta versioni2e4:name1:n12:piece lengthi49152ee", LB_INVALID,
      "power of two" },
    { "more pieces than their hashes may be", TREE("1:n" LEAF(4294967297)), LB_TOO_BIG,
      "262144 pieces of version 2" },

    { "a hybrid of one file", "d9:file treed1:n" LEAF(5) "e6:lengthi5e" V2 "6:pieces20:@e", LB_OK,
      "both n=5: 5" },
    { "a hybrid",
      BOTH("1:a" LEAF(5) "1:b" LEAF(16385), FILE_A(5) PAD(16379) FILE_B(16385), "60:@@@"), LB_OK,
      "both n/a=5 (padding)=16379 n/b=16385: 5 16384 1" },
    { "a hybrid padded at its end",
      BOTH("1:a" LEAF(5) "1:b" LEAF(1), FILE_A(5) PAD(16379) FILE_B(1) PAD(16383), "40:@@"), LB_OK,
      "both n/a=5 (padding)=16379 n/b=1 (padding)=16383: 5 1" },
    { "padding in two parts",
      BOTH("1:a" LEAF(5) "1:b" LEAF(1), FILE_A(5) PAD(300) PAD(16079) FILE_B(1), "40:@@"), LB_OK,
      "both n/a=5 (padding)=300 (padding)=16079 n/b=1: 5 1" },
    { "a hybrid with empty files", BOTH("1:a" EMPTY "1:b" LEAF(5), FILE_A(0) FILE_B(5), "20:@"),
      LB_OK, "both n/a=0 n/b=5: 5" },
    { "no padding", BOTH("1:a" LEAF(5) "1:b" LEAF(1), FILE_A(5) FILE_B(1), "20:@"), LB_INVALID,
      "n/b does not begin at a piece" },
    { "a piece of padding too much",
      BOTH("1:a" LEAF(5) "1:b" LEAF(1), FILE_A(5) PAD(32763) FILE_B(1), "60:@@@"), LB_INVALID,
      "n/b does not begin at a piece" },
    { "a piece of padding at the end", BOTH("1:a" LEAF(5), FILE_A(5) PAD(16380), "40:@@"),
      LB_INVALID, "padding alone" },
    { "padding first", BOTH("1:a" LEAF(5), PAD(16384) FILE_A(5), "40:@@"), LB_INVALID,
      "n/a does not begin" },
    { "two lengths of one file", BOTH("1:a" LEAF(6), FILE_A(5), "20:@"), LB_INVALID,
      "n/a has two lengths" },
    { "two names of one file", BOTH("1:b" LEAF(5), FILE_A(5), "20:@"), LB_INVALID,
      "n/b where v1 has n/a" },
    { "another order", BOTH("1:b" LEAF(5) "1:a" LEAF(1), FILE_A(1) PAD(16383) FILE_B(5), "40:@@"),
      LB_INVALID, "n/b where v1 has n/a" },
    { "a file in v1 alone", BOTH("1:a" LEAF(5), FILE_A(5) PAD(16379) FILE_B(1), "40:@@"),
      LB_INVALID, "n/b is in v1 alone" },
    { "a file in v2 alone", BOTH("1:a" LEAF(5) "1:b" LEAF(1), FILE_A(5), "20:@"), LB_INVALID,
      "n/b is in v2 alone" },
    { "v1 of one file, v2 of a folder",
      "d9:file treed1:a" LEAF(5) "1:b" LEAF(5) "e6:lengthi5e" V2 "6:pieces20:@e", LB_INVALID,
      "a where v1 has n" },
    { "a hybrid without a tree", "d6:lengthi5e" V2 "6:pieces20:@e", LB_INVALID, "no file tree" },
    { "a hybrid with a piece too few",
      BOTH("1:a" LEAF(5) "1:b" LEAF(1), FILE_A(5) PAD(16379) FILE_B(1), "20:@"), LB_INVALID,
      "2 pieces but 20" },
};

static void test_parse(void **state)
{
    const struct parse_row *row = *state;
    struct bytes info = draw(row->info);
    struct metainfo_problem problem = { "" };
    struct metainfo *metainfo = NULL;
    uint8_t v1[20], v2[32], *data = NULL;
    char found[512];
    size_t size = 0;

    /* Within a .torrent file. */
    metainfo_write_torrent(&(struct metainfo){ .info = info }, 0, &data, &size);
    assert_int_equal(metainfo_parse(bytes_of(data, size), &metainfo, &problem), row->err);
    free(data);
    if (row->err != LB_OK) {
        assert_non_null(strstr(problem.text, row->found));
        undraw(&info);
        return;
    }
    describe(metainfo, found, sizeof(found));
    assert_string_equal(found, row->found);
    sha1(info, v1);
    sha256(info, v2);
    assert_memory_equal(metainfo->infohash, metainfo->kind == METAINFO_V2 ? v2 : v1, 20);
    assert_memory_equal(metainfo->infohash_v2, v2, 32);
    metainfo_free(&metainfo);

    /* By its v2 hash: then v1 is not looked at. */
    assert_int_equal(metainfo_parse_info(info, v2, &metainfo, NULL), LB_OK);
    assert_int_equal(metainfo->kind, METAINFO_V2);
    assert_memory_equal(metainfo->infohash, v2, 20);
    metainfo_free(&metainfo);
    undraw(&info);
}

/* ---- layers ---- */

/* A folder of two files, of pieces of 32 KiB: "big" of 5 blocks (3 pieces), "small" of 2 blocks. */
struct content {
    uint8_t leaves[7][MERKLE_HASH_SIZE];
    uint8_t pieces[3][MERKLE_HASH_SIZE]; /* of big */
    uint8_t big[MERKLE_HASH_SIZE], small[MERKLE_HASH_SIZE];
    struct metainfo *metainfo;
};

static void draw_content(struct content *self)
{
    struct metainfo_draft_file files[] = {
        { .path = "big", .length = 5 * 16384, .root = self->big },
        { .path = "small", .length = 16385, .root = self->small },
    };
    const struct metainfo_draft draft = { .kind = METAINFO_V2,
                                          .name = "n",
                                          .files = files,
                                          .files_count = 2,
                                          .piece_length = 32768,
                                          .is_folder = true };
    uint8_t *info = NULL, hash[32];
    size_t size = 0;

    for (unsigned i = 0; i < 7; i++)
        memset(self->leaves[i], 'a' + (int)i, MERKLE_HASH_SIZE);
    merkle_root(self->leaves[0], 2, 0, 1, self->pieces[0]);
    merkle_root(self->leaves[2], 2, 0, 1, self->pieces[1]);
    merkle_root(self->leaves[4], 1, 0, 1, self->pieces[2]);
    merkle_root(self->leaves[0], 5, 0, 3, self->big);
    merkle_root(self->leaves[5], 2, 0, 1, self->small);
    assert_int_equal(metainfo_write_info(&draft, &info, &size, NULL), LB_OK);
    sha256(bytes_of(info, size), hash);
    assert_int_equal(metainfo_parse_info(bytes_of(info, size), hash, &self->metainfo, NULL), LB_OK);
    free(info);
}

static void layers_are_given_by_peers(void **state)
{
    struct content content;
    uint8_t roots[4][MERKLE_HASH_SIZE];

    (void)state;
    draw_content(&content);
    assert_true(metainfo_lacks_layers(content.metainfo));
    assert_null(metainfo_piece_root(content.metainfo, 0));
    assert_memory_equal(metainfo_piece_root(content.metainfo, 3), content.small, 32);
    assert_int_equal(metainfo_piece_height(content.metainfo, 3), 1);

    memcpy(roots, content.pieces, sizeof(content.pieces));
    roots[1][0] ^= 1;
    assert_int_equal(metainfo_give_piece_roots(content.metainfo, roots[0]), LB_CORRUPT);
    assert_true(metainfo_lacks_layers(content.metainfo));
    roots[1][0] ^= 1;
    assert_int_equal(metainfo_give_piece_roots(content.metainfo, roots[0]), LB_OK);
    assert_false(metainfo_lacks_layers(content.metainfo));
    for (uint32_t i = 0; i < 3; i++) {
        assert_memory_equal(metainfo_piece_root(content.metainfo, i), content.pieces[i], 32);
        assert_int_equal(metainfo_piece_height(content.metainfo, i), 1);
    }
    metainfo_free(&content.metainfo);
}

static void layers_stand_in_the_torrent_file(void **state)
{
    struct content content;
    struct metainfo *again = NULL;
    struct metainfo_problem problem;
    uint8_t *data = NULL;
    size_t size = 0;

    (void)state;
    draw_content(&content);
    assert_int_equal(metainfo_give_piece_roots(content.metainfo, content.pieces[0]), LB_OK);
    metainfo_write_torrent(content.metainfo, 0, &data, &size);
    assert_int_equal(metainfo_parse(bytes_of(data, size), &again, NULL), LB_OK);
    assert_false(metainfo_lacks_layers(again));
    assert_memory_equal(metainfo_piece_root(again, 2), content.pieces[2], 32);
    metainfo_free(&again);

    /* A layer that is not that of the root makes the file invalid (BEP 52). */
    for (size_t i = 0; i + 32 <= size; i++)
        if (memcmp(data + i, content.pieces[1], 32) == 0)
            data[i] ^= 1;
    assert_int_equal(metainfo_parse(bytes_of(data, size), &again, &problem), LB_INVALID);
    assert_non_null(strstr(problem.text, "n/big"));
    free(data);
    metainfo_free(&content.metainfo);
}

/* ---- writing ---- */

static void what_is_written_is_canonical(void **state)
{
    static const uint8_t root[] = "&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&";
    static const uint8_t hashes[] = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@"
                                    "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@";
    static const struct metainfo_draft_file files[] = {
        { .path = "a/b/c", .length = 5, .root = root },
        { .path = "a/b/d", .length = 0 },
        { .path = "a/e", .length = 16384, .executable = true, .root = root },
        { .path = "a-f", .length = 16385, .root = root },
    };
    struct metainfo_draft draft = { .kind = METAINFO_V2,
                                    .name = "n",
                                    .files = files,
                                    .files_count = 4,
                                    .piece_length = 16384,
                                    .piece_count = 4,
                                    .piece_hashes = hashes,
                                    .is_folder = true };
#define WRITTEN_TREE                                                                               \
    "9:file treed1:ad1:bd1:c" LEAF(                                                                \
        5) "1:d" EMPTY                                                                             \
           "e1:ed0:d4:attr1:x6:lengthi16384e11:pieces root32:&eee3:a-f" LEAF(16385) "e"
    struct bytes expected = draw("d" WRITTEN_TREE V2 "e");
    uint8_t *data = NULL;
    size_t size = 0;

    (void)state;
    assert_int_equal(metainfo_write_info(&draft, &data, &size, NULL), LB_OK);
    assert_true(bytes_equal(bytes_of(data, size), expected));
    free(data);
    undraw(&expected);

    draft.kind = METAINFO_HYBRID;
    expected = draw("d" WRITTEN_TREE "5:filesl"
                    "d6:lengthi5e4:pathl1:a1:b1:cee"
                    "d4:attr1:p6:lengthi16379e4:pathl4:.pad5:16379ee"
                    "d6:lengthi0e4:pathl1:a1:b1:dee"
                    "d4:attr1:x6:lengthi16384e4:pathl1:a1:eee"
                    "d6:lengthi16385e4:pathl3:a-fee"
                    "d4:attr1:p6:lengthi16383e4:pathl4:.pad5:16383eee" V2 "6:pieces80:@@@@e");
    assert_int_equal(metainfo_write_info(&draft, &data, &size, NULL), LB_OK);
    assert_true(bytes_equal(bytes_of(data, size), expected));
    free(data);
    undraw(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_given_by_peers),
        cmocka_unit_test(layers_stand_in_the_torrent_file),
        cmocka_unit_test(what_is_written_is_canonical),
    };
    int failed = 0;

    failed += RUN_ROWS(parse_rows, test_parse);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
