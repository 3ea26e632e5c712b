#include "services/swarm/metainfo.h"

#include "libcommon/bencode.h"
#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- drawing ---- */

/* '@' stands for a piece's hash: 20 bytes. '$' for a NUL, '!' for the byte 0xff. */
static struct bytes draw(const char *text)
{
    size_t size = 0;
    uint8_t *data = xmalloc(20 * strlen(text));

    for (; *text; text++) {
        if (*text == '@') {
            memset(data + size, '#', 20);
            size += 20;
        } else {
            data[size++] = *text == '$' ? 0 : *text == '!' ? 0xff : (uint8_t)*text;
        }
    }
    return bytes_of(data, size);
}

static void undraw(struct bytes *drawn)
{
    free((void *)(uintptr_t)drawn->data);
}

/* "NAME/a=5 NAME/b=7 (padding)=3" */
static void list_files(const struct metainfo *metainfo, char *ret_text, size_t size)
{
    size_t used = 0;

    for (uint32_t i = 0; i < metainfo->layout.files_count; i++) {
        const struct layout_file *file = &metainfo->layout.files[i];

        used += (size_t)snprintf(ret_text + used, size - used, "%s%s=%llu", i ? " " : "",
                                 file->padding ? "(padding)" : metainfo->paths[i],
                                 (unsigned long long)file->length);
    }
}

/* The invariant of layout.h, and that nothing climbs out. */
static void assert_sound(const struct metainfo *self)
{
    const struct layout *layout = &self->layout;
    uint64_t offset = 0;

    assert_true(layout->piece_count >= 1);
    assert_int_equal(layout->piece_length % LAYOUT_BLOCK_SIZE, 0);
    assert_int_equal(layout->piece_count,
                     (layout->length + layout->piece_length - 1) / layout->piece_length);
    for (uint32_t i = 0; i < layout->files_count; i++) {
        assert_int_equal(layout->files[i].offset, offset);
        offset += layout->files[i].length;
        assert_true(layout->files[i].padding || self->paths[i][0]);
        assert_true(self->paths[i][0] != '/');
        assert_null(strstr(self->paths[i], "//"));
        assert_true(strstr(self->paths[i], "/../") == NULL);
    }
    assert_int_equal(offset, layout->length);
}

/* ---- what is read ---- */

#define PIECE         "12:piece lengthi16384e"
#define ONE           PIECE "6:pieces20:@"
#define A_FILE(n)     "d6:lengthi" #n "e4:pathl1:aee"
#define FOLDER(files) "d5:filesl" files "e4:name1:n" ONE "e"

/* `files` when it is read; else what the problem says. */
static const struct parse_row {
    const char *what, *info;
    lb_err err;
    const char *files;
} parse_rows[] = {
    { "one file", "d6:lengthi5e4:name1:n" ONE "e", LB_OK, "n=5" },
    { "one file of two pieces", "d6:lengthi16385e4:name1:n" PIECE "6:pieces40:@@e", LB_OK,
      "n=16385" },
    { "exactly one piece", "d6:lengthi16384e4:name1:n" ONE "e", LB_OK, "n=16384" },
    { "keys in no order", "d6:pieces20:@" PIECE "4:name1:n6:lengthi5ee", LB_OK, "n=5" },
    { "unknown keys", "d6:lengthi5e4:name1:n" ONE "6:sourceli1ed1:ai2eeee", LB_OK, "n=5" },
    { "a folder", FOLDER("d6:lengthi5e4:pathl1:a1:bee" A_FILE(7)), LB_INVALID,
      "is a file and a folder" },
    { "a folder with a folder in it",
      FOLDER("d6:lengthi5e4:pathl1:a1:bee"
             "d6:lengthi7e4:pathl1:cee"),
      LB_OK, "n/a/b=5 n/c=7" },
    { "an empty file beside another", FOLDER(A_FILE(5) "d6:lengthi0e4:pathl1:bee"), LB_OK,
      "n/a=5 n/b=0" },
    { "a piece length that is no power of two",
      "d6:lengthi5e4:name1:n12:piece lengthi49152e6:pieces20:@e", LB_OK, "n=5" },
    { "padding",
      FOLDER(A_FILE(5) "d4:attr1:p6:lengthi9e4:pathl4:.pad1:9eed6:lengthi1e4:pathl1:bee"), LB_OK,
      "n/a=5 (padding)=9 n/b=1" },
    { "padding without a path, twice",
      FOLDER(A_FILE(5) "d4:attr2:px6:lengthi9eed4:attr1:p6:lengthi9ee"), LB_OK,
      "n/a=5 (padding)=9 (padding)=9" },
    { "other attributes", FOLDER("d4:attr2:hx6:lengthi5e4:pathl1:aee"), LB_OK, "n/a=5" },
    { "a name in UTF-8", "d6:lengthi5e4:name3:\xe2\x82\xac" ONE "e", LB_OK, "\xe2\x82\xac=5" },
    { "a name that is no UTF-8", "d6:lengthi5e4:name2:a!" ONE "e", LB_OK, "a%FF=5" },
    { "a name with a line feed", "d6:lengthi5e4:name2:a\n" ONE "e", LB_OK, "a%0A=5" },
    { "the UTF-8 name beside another", "d6:lengthi5e4:name1:!10:name.utf-81:n" ONE "e", LB_OK,
      "n=5" },
    { "three dots", "d6:lengthi5e4:name3:..." ONE "e", LB_OK, "...=5" },
    { "a file tree without a version", "d9:file treede6:lengthi5e4:name1:n" ONE "e", LB_OK, "n=5" },

    { "no dictionary", "l4:namee", LB_INVALID, "no dictionary" },
    { "nothing", "", LB_INVALID, "not a bencoded" },
    { "cut", "d6:lengthi5e4:name1:n" PIECE "6:pieces20:", LB_INVALID, "not a bencoded" },
    { "trailing bytes", "d6:lengthi5e4:name1:n" ONE "ex", LB_INVALID, "not a bencoded" },
    { "a file tree alone without a version", "d9:file treede4:name1:n" PIECE "e", LB_INVALID,
      "no meta version" },
    { "no name", "d6:lengthi5e" ONE "e", LB_INVALID, "no name" },
    { "a name that is a number", "d6:lengthi5e4:namei1e" ONE "e", LB_INVALID, "no name" },
    { "an empty name", "d6:lengthi5e4:name0:" ONE "e", LB_INVALID, "empty name" },
    { "the name ..", "d6:lengthi5e4:name2:.." ONE "e", LB_INVALID, "\"..\"" },
    { "the name .", "d6:lengthi5e4:name1:." ONE "e", LB_INVALID, "\".\"" },
    { "a / in the name", "d6:lengthi5e4:name4:/etc" ONE "e", LB_INVALID, "\"/\"" },
    { "a NUL in the name", "d6:lengthi5e4:name2:a$" ONE "e", LB_INVALID, "NUL" },
    { ".. in a path", FOLDER("d6:lengthi5e4:pathl2:..1:aee"), LB_INVALID, "\"..\"" },
    { "an empty name in a path", FOLDER("d6:lengthi5e4:pathl1:a0:ee"), LB_INVALID, "empty name" },
    { "a / in a path", FOLDER("d6:lengthi5e4:pathl3:a/bee"), LB_INVALID, "\"/\"" },
    { "an empty path", FOLDER("d6:lengthi5e4:pathlee"), LB_INVALID, "without a path" },
    { "no path", FOLDER("d6:lengthi5ee"), LB_INVALID, "without a path" },
    { "a number in a path", FOLDER("d6:lengthi5e4:pathli1eee"), LB_INVALID, "empty name" },
    { "a path that is a text", FOLDER("d6:lengthi5e4:path1:ae"), LB_INVALID, "without a path" },
    { "two files of one name", FOLDER(A_FILE(5) A_FILE(6)), LB_INVALID, "two files named n/a" },
    { "two that are one once made safe",
      FOLDER("d6:lengthi5e4:pathl1:!eed6:lengthi5e4:pathl3:%FFee"), LB_INVALID, "two files" },
    { "a folder where a file is",
      FOLDER(A_FILE(5) "d6:lengthi5e4:pathl2:a-eed6:lengthi5e4:pathl1:a1:bee"), LB_INVALID,
      "n/a is a file and a folder" },
    { "a symlink", FOLDER(A_FILE(5) "d4:attr1:l6:lengthi0e4:pathl1:be12:symlink pathl1:aee"),
      LB_UNSUPPORTED, "symlink" },
    { "a symlink without the attribute",
      FOLDER(A_FILE(5) "d6:lengthi0e4:pathl1:be12:symlink pathl1:aee"), LB_UNSUPPORTED, "symlink" },
    { "the one file is a symlink", "d4:attr1:l6:lengthi5e4:name1:n" ONE "e", LB_UNSUPPORTED,
      "symlink" },
    { "both a length and files", "d5:filesl" A_FILE(5) "e6:lengthi5e4:name1:n" ONE "e", LB_INVALID,
      "both" },
    { "neither a length nor files", "d4:name1:n" ONE "e", LB_INVALID, "length" },
    { "files that are no list", "d5:filesi1e4:name1:n" ONE "e", LB_INVALID, "no list" },
    { "a file that is a text", FOLDER("1:a"), LB_INVALID, "without a path" },
    { "no file at all", FOLDER(""), LB_INVALID, "no content" },
    { "only empty files", "d5:filesl" A_FILE(0) "e4:name1:n" PIECE "6:pieces0:e", LB_INVALID,
      "no content" },
    { "an empty file alone", "d6:lengthi0e4:name1:n" PIECE "6:pieces0:e", LB_INVALID,
      "no content" },
    { "a length below zero", "d6:lengthi-5e4:name1:n" ONE "e", LB_INVALID, "length" },
    { "a length that is a text", "d6:length1:54:name1:n" ONE "e", LB_INVALID, "length" },
    { "a length over 2^56", "d6:lengthi72057594037927937e4:name1:n" ONE "e", LB_TOO_BIG, "2^56" },
    { "lengths that add up to more than 64 bits",
      FOLDER("d6:lengthi9223372036854775807e4:pathl1:aee"
             "d6:lengthi9223372036854775807e4:pathl1:bee"
             "d6:lengthi7e4:pathl1:cee"),
      LB_TOO_BIG, "2^56" },
    { "more pieces than 2^21", "d6:lengthi72057594037927936e4:name1:n" ONE "e", LB_TOO_BIG,
      "pieces" },
    { "no piece length", "d6:lengthi5e4:name1:n6:pieces20:@e", LB_INVALID, "no piece length" },
    { "a piece length of zero", "d6:lengthi5e4:name1:n12:piece lengthi0e6:pieces20:@e",
      LB_UNSUPPORTED, "pieces of 0" },
    { "a piece length below zero", "d6:lengthi5e4:name1:n12:piece lengthi-16384e6:pieces20:@e",
      LB_UNSUPPORTED, "pieces of -16384" },
    { "pieces of 256 MiB", "d6:lengthi5e4:name1:n12:piece lengthi268435456e6:pieces20:@e",
      LB_UNSUPPORTED, "pieces of 268435456" },
    { "an odd piece length", "d6:lengthi5e4:name1:n12:piece lengthi16385e6:pieces20:@e",
      LB_UNSUPPORTED, "16385" },
    { "a piece too few", "d6:lengthi16385e4:name1:n" ONE "e", LB_INVALID, "2 pieces but 20" },
    { "a piece too many", "d6:lengthi5e4:name1:n" PIECE "6:pieces40:@@e", LB_INVALID,
      "1 pieces but 40" },
    { "hashes cut", "d6:lengthi5e4:name1:n" PIECE "6:pieces19:0123456789012345678e", LB_INVALID,
      "1 pieces but 19" },
    { "no hashes", "d6:lengthi5e4:name1:n" PIECE "e", LB_INVALID, "1 pieces but 0" },
};

static void assert_read_as(const struct metainfo *metainfo, struct bytes info, const char *files)
{
    uint8_t infohash[20];
    char found[512];

    sha1(info, infohash);
    assert_memory_equal(metainfo->infohash, infohash, 20);
    assert_true(bytes_equal(metainfo->info, info));
    list_files(metainfo, found, sizeof(found));
    assert_string_equal(found, files);
    assert_sound(metainfo);
}

static void test_parse(void **state)
{
    const struct parse_row *row = *state;
    struct bytes info = draw(row->info), torrent;
    struct metainfo *metainfo = NULL;
    struct metainfo_problem problem = { "" };
    uint8_t infohash[20], *data;
    size_t size;
    lb_err err;

    sha1(info, infohash);
    err = metainfo_parse_info(info, infohash, &metainfo, &problem);
    if (err == LB_OK)
        assert_read_as(metainfo, info, row->files);
    else
        assert_non_null(strstr(problem.text, row->files));
    assert_int_equal(err, row->err);
    metainfo_free(&metainfo);

    /* The same within a .torrent file. */
    metainfo_write_torrent(&(struct metainfo){ .info = info }, 1700000000, &data, &size);
    torrent = bytes_of(data, size);
    err = metainfo_parse(torrent, &metainfo, NULL);
    if (row->err == LB_OK) {
        assert_int_equal(err, LB_OK);
        assert_read_as(metainfo, info, row->files);
    } else {
        assert_int_not_equal(err, LB_OK);
        assert_null(metainfo);
    }
    metainfo_free(&metainfo);
    free(data);
    undraw(&info);
}

/* ---- the file around it ---- */

#define INFO "4:infod6:lengthi5e4:name1:n" ONE "e"

static const struct torrent_row {
    const char *what, *torrent;
    lb_err err;
} torrent_rows[] = {
    { "info alone", "d" INFO "e", LB_OK },
    { "with trackers and more",
      "d8:announce3:udp13:announce-listll1:aee7:comment1:x" INFO "5:nodesll1:ai1eeee", LB_OK },
    { "no info", "d8:announce3:udpe", LB_INVALID },
    { "an info that is a text", "d4:info3:abce", LB_INVALID },
    { "no dictionary", "4:info", LB_INVALID },
    { "nothing", "", LB_INVALID },
    { "trailing bytes", "d" INFO "ee", LB_INVALID },
};

static void test_torrent(void **state)
{
    const struct torrent_row *row = *state;
    struct bytes torrent = draw(row->torrent);
    struct metainfo *metainfo = NULL;

    assert_int_equal(metainfo_parse(torrent, &metainfo, NULL), row->err);
    assert_int_equal(metainfo != NULL, row->err == LB_OK);
    metainfo_free(&metainfo);
    undraw(&torrent);
}

static void another_infohash_is_refused(void **state)
{
    struct bytes info = draw("d6:lengthi5e4:name1:n" ONE "e");
    struct metainfo *metainfo = NULL;
    uint8_t infohash[20];

    (void)state;
    sha1(info, infohash);
    infohash[19] ^= 1;
    assert_int_equal(metainfo_parse_info(info, infohash, &metainfo, NULL), LB_CORRUPT);
    assert_null(metainfo);
    undraw(&info);
}

static const struct private_row {
    const char *what, *ending;
    bool is_private;
} private_rows[] = {
    { "no flag", "", false },
    { "the flag", "7:privatei1e", true },
    { "the flag put down", "7:privatei0e", false },
    { "a flag that is a text", "7:private1:1", false },
};

static void test_private(void **state)
{
    const struct private_row *row = *state;
    char text[200];
    struct bytes info;
    struct metainfo *metainfo = NULL;
    uint8_t infohash[20];

    snprintf(text, sizeof(text), "d6:lengthi5e4:name1:n" ONE "%se", row->ending);
    info = draw(text);
    sha1(info, infohash);
    assert_int_equal(metainfo_parse_info(info, infohash, &metainfo, NULL), LB_OK);
    assert_int_equal(metainfo->is_private, row->is_private);
    metainfo_free(&metainfo);
    undraw(&info);
}

static const struct network_row {
    const char *what, *ending, *ssl_cert;
} network_rows[] = {
    { "a torrent of the open network", "", "" },
    { "one of a private network", "8:ssl-cert4:ROOT", "ROOT" },
    { "an empty certificate is none, as libtorrent has it", "8:ssl-cert0:", "" },
    { "a certificate that is a number is none", "8:ssl-certi1e", "" },
};

static void test_network(void **state)
{
    const struct network_row *row = *state;
    char text[200];
    struct bytes info;
    struct metainfo *metainfo = NULL;
    uint8_t infohash[20];

    snprintf(text, sizeof(text), "d6:lengthi5e4:name1:n" ONE "%se", row->ending);
    info = draw(text);
    sha1(info, infohash);
    assert_int_equal(metainfo_parse_info(info, infohash, &metainfo, NULL), LB_OK);
    assert_true(bytes_equal_text(metainfo->ssl_cert, row->ssl_cert));
    metainfo_free(&metainfo);
    undraw(&info);
}

/* ---- limits: at each, and one over ---- */

struct limit {
    uint32_t files, depth, component, nesting;
    size_t filler; /* bytes of an unknown key */
};

static void put_raw(struct writer *to, const char *text)
{
    writer_put(to, text, strlen(text));
}

static lb_err parse_limit(struct limit limit)
{
    size_t capacity = METAINFO_SIZE_MAX + 4096;
    uint8_t *data = xmalloc(capacity), infohash[20];
    char name[300];
    struct writer writer;
    struct metainfo *metainfo = NULL;
    lb_err err;

    writer_init(&writer, data, capacity);
    put_raw(&writer, "d5:filesl");
    for (uint32_t i = 0; i < limit.files; i++) {
        put_raw(&writer, "d6:lengthi1e4:pathl");
        for (uint32_t j = 1; j < limit.depth; j++)
            bencode_put_text(&writer, "f");
        snprintf(name, sizeof(name), "%0*u", (int)limit.component, i);
        bencode_put_text(&writer, name);
        put_raw(&writer, "ee");
    }
    put_raw(&writer, "e4:name1:n12:piece lengthi16777216e6:pieces20:");
    put_raw(&writer, "####################");
    bencode_put_text(&writer, "unknown");
    for (uint32_t i = 0; i < limit.nesting; i++)
        bencode_put_list(&writer);
    if (limit.filler > 0) {
        struct bytes filler = bytes_of(xcalloc(1, limit.filler), limit.filler);

        bencode_put_string(&writer, filler);
        undraw(&filler);
    }
    for (uint32_t i = 0; i < limit.nesting; i++)
        bencode_put_end(&writer);
    if (limit.nesting == 0 && limit.filler == 0)
        bencode_put_int(&writer, 0);
    bencode_put_end(&writer);
    assert_false(writer.overflow);
    sha1(bytes_of(data, writer.size), infohash);
    err = metainfo_parse_info(bytes_of(data, writer.size), infohash, &metainfo, NULL);
    metainfo_free(&metainfo);
    free(data);
    return err;
}

static const struct limit_row {
    const char *what;
    struct limit limit;
    lb_err err;
} limit_rows[] = {
    { "65536 files", { 65536, 1, 5, 0, 0 }, LB_OK },
    { "65537 files", { 65537, 1, 5, 0, 0 }, LB_TOO_BIG },
    { "a name of 255 bytes", { 1, 1, 255, 0, 0 }, LB_OK },
    { "a name of 256 bytes", { 1, 1, 256, 0, 0 }, LB_TOO_BIG },
    { "a path of 32 names", { 1, 32, 5, 0, 0 }, LB_OK },
    { "a path of 33 names", { 1, 33, 5, 0, 0 }, LB_TOO_BIG },
    { "31 lists in the dictionary", { 1, 1, 5, 31, 0 }, LB_OK },
    { "32 lists in the dictionary", { 1, 1, 5, 32, 0 }, LB_TOO_BIG },
    { "nearly 10 MiB", { 1, 1, 5, 0, METAINFO_SIZE_MAX - 200 }, LB_OK },
    { "more than 10 MiB", { 1, 1, 5, 0, METAINFO_SIZE_MAX }, LB_TOO_BIG },
};

static void test_limit(void **state)
{
    const struct limit_row *row = *state;

    assert_int_equal(parse_limit(row->limit), row->err);
}

/* Each prefix and each single changed byte of a good one: an answer, and never more than the data.
 */
static void damage_gets_an_answer(void **state)
{
    struct bytes good = draw("d" INFO "e");

    (void)state;
    for (size_t size = 0; size < good.size; size++) {
        uint8_t *cut = xmemdup(good.data, size);
        struct metainfo *metainfo = NULL;

        assert_int_not_equal(metainfo_parse(bytes_of(cut, size), &metainfo, NULL), LB_OK);
        free(cut);
    }
    for (size_t at = 0; at < good.size; at++) {
        uint8_t *changed = xmemdup(good.data, good.size);

        for (unsigned bit = 0; bit < 8; bit++) {
            struct metainfo *metainfo = NULL;

            changed[at] ^= (uint8_t)(1u << bit);
            if (metainfo_parse(bytes_of(changed, good.size), &metainfo, NULL) == LB_OK)
                assert_sound(metainfo);
            metainfo_free(&metainfo);
            changed[at] ^= (uint8_t)(1u << bit);
        }
        free(changed);
    }
    undraw(&good);
}

/* ---- writing ---- */

static void what_is_written_is_canonical(void **state)
{
    static const struct metainfo_draft_file files[] = { { .path = "a", .length = 5 },
                                                        { .path = "b/c", .length = 16384 } };
    uint8_t hashes[40], *data = NULL;
    struct metainfo_draft draft = { .name = "n",
                                    .files = files,
                                    .files_count = 2,
                                    .piece_length = 16384,
                                    .piece_count = 2,
                                    .piece_hashes = hashes,
                                    .is_folder = true,
                                    .is_private = true };
    struct bytes expected = draw("d5:filesld6:lengthi5e4:pathl1:aeed6:lengthi16384e4:pathl1:b1:ceee"
                                 "4:name1:n" PIECE "6:pieces40:@@7:privatei1ee");
    size_t size = 0;

    (void)state;
    memset(hashes, '#', sizeof(hashes));
    assert_int_equal(metainfo_write_info(&draft, &data, &size, NULL), LB_OK);
    assert_true(bytes_equal(bytes_of(data, size), expected));
    free(data);
    undraw(&expected);

    draft = (struct metainfo_draft){ .name = "n",
                                     .files = files,
                                     .files_count = 1,
                                     .piece_length = 16384,
                                     .piece_count = 1,
                                     .piece_hashes = hashes };
    expected = draw("d6:lengthi5e4:name1:n" ONE "e");
    assert_int_equal(metainfo_write_info(&draft, &data, &size, NULL), LB_OK);
    assert_true(bytes_equal(bytes_of(data, size), expected));
    free(data);
    undraw(&expected);

    draft.is_private = true;
    draft.ssl_cert = bytes_of_text("ROOT");
    expected = draw("d6:lengthi5e4:name1:n" ONE "7:privatei1e8:ssl-cert4:ROOTe");
    assert_int_equal(metainfo_write_info(&draft, &data, &size, NULL), LB_OK);
    assert_true(bytes_equal(bytes_of(data, size), expected));
    free(data);
    undraw(&expected);
}

static const struct draft_row {
    const char *what, *name, *path;
    uint64_t length;
    uint32_t piece_count;
    lb_err err;
} draft_rows[] = {
    { "a good one", "n", "a", 5, 1, LB_OK },
    { "a bad name", "..", "a", 5, 1, LB_INVALID },
    { "a path that climbs", "n", "a/../b", 5, 1, LB_INVALID },
    { "an absolute path", "n", "/a", 5, 1, LB_INVALID },
    { "no content", "n", "a", 0, 0, LB_INVALID },
    { "too many hashes", "n", "a", 5, 2, LB_INVALID },
};

static void test_draft(void **state)
{
    const struct draft_row *row = *state;
    struct metainfo_draft_file file = { .path = row->path, .length = row->length };
    uint8_t hashes[40] = { 0 }, *data = NULL;
    struct metainfo_draft draft = { .name = row->name,
                                    .files = &file,
                                    .files_count = 1,
                                    .piece_length = 16384,
                                    .piece_count = row->piece_count,
                                    .piece_hashes = hashes,
                                    .is_folder = true };
    size_t size;

    assert_int_equal(metainfo_write_info(&draft, &data, &size, NULL), row->err);
    assert_int_equal(data != NULL, row->err == LB_OK);
    free(data);
}

static void references_are_counted(void **state)
{
    struct bytes torrent = draw("d" INFO "e");
    struct metainfo *metainfo = NULL, *second;

    (void)state;
    assert_int_equal(metainfo_parse(torrent, &metainfo, NULL), LB_OK);
    second = metainfo_keep(metainfo);
    metainfo_free(&metainfo);
    assert_null(metainfo);
    assert_string_equal(second->name, "n");
    metainfo_free(&second);
    metainfo_free(&second);
    undraw(&torrent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_infohash_is_refused),
        cmocka_unit_test(damage_gets_an_answer),
        cmocka_unit_test(what_is_written_is_canonical),
        cmocka_unit_test(references_are_counted),
    };
    int failed = 0;

    failed += RUN_ROWS(parse_rows, test_parse);
    failed += RUN_ROWS(torrent_rows, test_torrent);
    failed += RUN_ROWS(private_rows, test_private);
    failed += RUN_ROWS(network_rows, test_network);
    failed += RUN_ROWS(limit_rows, test_limit);
    failed += RUN_ROWS(draft_rows, test_draft);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
