/*
 * A corpus of bad torrents: each row is a whole .torrent file that somebody might publish, and is
 * refused, or read with its names made safe. Of those that are read every file is then made on the
 * disk, in a folder with another beside it: nothing may appear outside (THREATS row 11).
 */
#include "services/swarm/metainfo.h"

#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "tests/libcommon/cmocka_row.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- drawing ---- */

/* The number after '{'; *at is then where the text to repeat begins. */
static size_t read_count(const char **at)
{
    size_t count = 0;

    for (++*at; **at != ':'; ++*at)
        count = 10 * count + (size_t)(**at - '0');
    ++*at;
    return count;
}

/*
 * '@' stands for a SHA-1 (20 bytes), '&' for a SHA-256, '$' for a NUL, '!' for the byte 0xff;
 * "{9:ab}" for nine times "ab".
 */
static void draw(struct writer *to, const char *text, const char *end)
{
    for (; text < end; text++) {
        if (*text == '{') {
            size_t count = read_count(&text);
            const char *stop = strchr(text, '}');

            while (count-- > 0)
                draw(to, text, stop);
            text = stop;
        } else if (*text == '@' || *text == '&') {
            for (unsigned i = 0; i < (*text == '@' ? 20 : 32); i++)
                writer_put(to, "#", 1);
        } else {
            const char byte = (char)(*text == '$' ? 0 : *text == '!' ? 0xff : *text);

            writer_put(to, &byte, 1);
        }
    }
}

#define A50            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A250           A50 A50 A50 A50 A50
#define PIECE          "12:piece lengthi16384e"
#define ONE            PIECE "6:pieces20:@"
#define TORRENT(info)  "d4:info" info "e"
#define CONTENT(keys)  TORRENT("d6:lengthi5e4:name1:n" keys "e")
#define NAMED(name)    TORRENT("d6:lengthi5e4:name" name ONE "e")
#define FOLDER(files)  TORRENT("d5:filesl" files "e4:name1:n" ONE "e")
#define AT(path)       FOLDER("d6:lengthi5e4:pathl" path "ee")
#define FILE_(n, path) "d6:lengthi" #n "e4:pathl" path "ee"
#define TREE(tree)     TORRENT("d9:file treed" tree "e12:meta versioni2e4:name1:n" PIECE "e")
#define LEAF           "d0:d6:lengthi5e11:pieces root32:&ee"
#define LEAF_OF(keys)  "d0:d" keys "ee"

/* safe: the files it has when it is read all the same, NULL: it is refused. */
static const struct row {
    const char *what, *torrent, *safe;
} rows[] = {
    /* Not bencoded, or hardly. */
    { "nothing", "", NULL },
    { "one byte", "d", NULL },
    { "an HTML page", "<html><body>404 Not Found</body></html>", NULL },
    { "NULs", "{1000:$}", NULL },
    { "the byte 255", "{1000:!}", NULL },
    { "a list", "l4:infodee", NULL },
    { "a number", "i1e", NULL },
    { "a text", "4:info", NULL },
    { "an empty dictionary", "de", NULL },
    { "two dictionaries", CONTENT(ONE) "de", NULL },
    { "a byte too many", CONTENT(ONE) "\n", NULL },
    { "an end too few", "d4:infod6:lengthi5e4:name1:n" ONE "e", NULL },
    { "a key without a value", "d4:infod6:lengthi5e4:name1:n" ONE "e1:xe", NULL },
    { "a key that is a number", "di1e1:x4:infod6:lengthi5e4:name1:n" ONE "ee", NULL },
    { "a number without an end", TORRENT("d6:lengthi5"), NULL },
    { "a number without digits", TORRENT("d6:lengthie4:name1:n" ONE "e"), NULL },
    { "a number with a leading zero", TORRENT("d6:lengthi05e4:name1:n" ONE "e"), NULL },
    { "zero below zero", TORRENT("d6:lengthi-0e4:name1:n" ONE "e"), NULL },
    { "a number with a plus", TORRENT("d6:lengthi+5e4:name1:n" ONE "e"), NULL },
    { "a number with a point", TORRENT("d6:lengthi5.0e4:name1:n" ONE "e"), NULL },
    { "a number in hexadecimal", TORRENT("d6:lengthi0x5e4:name1:n" ONE "e"), NULL },
    { "a number with a space", TORRENT("d6:lengthi 5e4:name1:n" ONE "e"), NULL },
    { "a number of a thousand digits", TORRENT("d6:lengthi{1000:9}e4:name1:n" ONE "e"), NULL },
    { "a number just over 64 bits", TORRENT("d6:lengthi18446744073709551621e4:name1:n" ONE "e"),
      NULL },
    { "a number just over 63 bits", TORRENT("d6:lengthi9223372036854775808e4:name1:n" ONE "e"),
      NULL },
    { "a text longer than the file", TORRENT("d6:lengthi5e4:name99:n" ONE "e"), NULL },
    { "a text of 2^32 bytes", TORRENT("d6:lengthi5e4:name4294967297:n" ONE "e"), NULL },
    { "a text of 2^64 bytes", TORRENT("d6:lengthi5e4:name18446744073709551617:n" ONE "e"), NULL },
    { "a text of less than no bytes", TORRENT("d6:lengthi5e4:name-1:n" ONE "e"), NULL },
    { "a text's length with a leading zero", TORRENT("d6:lengthi5e4:name01:n" ONE "e"), NULL },
    { "a text without its colon", TORRENT("d6:lengthi5e4:name1n" ONE "e"), NULL },

    /* Bombs. */
    { "lists, a thousand deep", "{1000:l}{1000:e}", NULL },
    { "lists, a million deep", "{1000000:l}", NULL },
    { "dictionaries, a thousand deep", "{1000:d1:a}de{1000:e}", NULL },
    { "lists, 40 deep, in a key nobody knows", CONTENT(ONE "1:x{40:l}{40:e}"), NULL },
    { "two million numbers", "d1:xl{2000000:i1e}ee", NULL },
    { "two million empty lists", "d1:xl{2000000:le}ee", NULL },
    { "eleven million bytes", "d1:x11000000:{11000000:x}e", NULL },
    { "a file tree, 40 deep",
      TREE("{40:1:ad}"
           "1:n" LEAF "{40:e}"),
      NULL },

    /* What is missing, or of another kind. */
    { "no info", "d8:announce3:udpe", NULL },
    { "an info that is a list", "d4:infolee", NULL },
    { "an info that is a number", "d4:infoi1ee", NULL },
    { "an info that is a text", "d4:info2:dee", NULL },
    { "an empty info", TORRENT("de"), NULL },
    { "no name", TORRENT("d6:lengthi5e" ONE "e"), NULL },
    { "a name that is a number", TORRENT("d6:lengthi5e4:namei7e" ONE "e"), NULL },
    { "a name that is a list", TORRENT("d6:lengthi5e4:namel1:ne" ONE "e"), NULL },
    { "no piece length", TORRENT("d6:lengthi5e4:name1:n6:pieces20:@e"), NULL },
    { "no hashes", CONTENT(PIECE), NULL },
    { "hashes that are a number", CONTENT(PIECE "6:piecesi20e"), NULL },
    { "hashes that are a list", CONTENT(PIECE "6:piecesl20:@e"), NULL },
    { "neither a length nor files", TORRENT("d4:name1:n" ONE "e"), NULL },
    { "both a length and files",
      TORRENT("d5:filesl" FILE_(5, "1:a") "e6:lengthi5e4:name1:n" ONE "e"), NULL },
    { "a length that is a text", TORRENT("d6:length1:54:name1:n" ONE "e"), NULL },
    { "a length that is a list", TORRENT("d6:lengthli5ee4:name1:n" ONE "e"), NULL },
    { "files that are a text", TORRENT("d5:files1:a4:name1:n" ONE "e"), NULL },
    { "files that are a dictionary", TORRENT("d5:filesd1:ai5ee4:name1:n" ONE "e"), NULL },
    { "a file that is a number", FOLDER("i5e"), NULL },
    { "a file that is a list", FOLDER("l1:ae"), NULL },
    { "a file without a length", FOLDER("d4:pathl1:aee"), NULL },
    { "a file without a path", FOLDER("d6:lengthi5ee"), NULL },
    { "a path that is a text", FOLDER("d6:lengthi5e4:path1:ae"), NULL },
    { "a path that is a number", FOLDER("d6:lengthi5e4:pathi1ee"), NULL },
    { "a path of a list in a list", AT("l1:ae"), NULL },
    { "a path of a number", AT("i1e"), NULL },

    /* Sizes. */
    { "a length of zero", TORRENT("d6:lengthi0e4:name1:n" PIECE "6:pieces0:e"), NULL },
    { "a length below zero", TORRENT("d6:lengthi-5e4:name1:n" ONE "e"), NULL },
    { "the lowest length of 64 bits", TORRENT("d6:lengthi-9223372036854775808e4:name1:n" ONE "e"),
      NULL },
    { "the highest length of 64 bits", TORRENT("d6:lengthi9223372036854775807e4:name1:n" ONE "e"),
      NULL },
    { "a length over 2^56", TORRENT("d6:lengthi72057594037927937e4:name1:n" ONE "e"), NULL },
    { "one length of several below zero", FOLDER(FILE_(10, "1:a") FILE_(-5, "1:b")), NULL },
    { "lengths that add up to 2^64 and five",
      FOLDER(FILE_(9223372036854775807, "1:a") FILE_(9223372036854775807, "1:b") FILE_(7, "1:c")),
      NULL },
    { "lengths that add up to more than 2^56",
      FOLDER(FILE_(72057594037927936, "1:a") FILE_(72057594037927936, "1:b")), NULL },
    { "padding of 2^63 bytes", FOLDER("d4:attr1:p6:lengthi9223372036854775807ee" FILE_(5, "1:a")),
      NULL },
    { "65,536 empty files of one name", FOLDER("{65536:d6:lengthi0e4:pathl1:aee}"), NULL },
    { "more files than there may be", FOLDER("{70000:d6:lengthi0e4:pathl1:aee}"), NULL },
    { "only empty files", TORRENT("d5:filesl" FILE_(0, "1:a") "e4:name1:n" PIECE "6:pieces0:e"),
      NULL },
    { "no file at all", FOLDER(""), NULL },
    { "pieces of no bytes", CONTENT("12:piece lengthi0e6:pieces20:@"), NULL },
    { "pieces of less than no bytes", CONTENT("12:piece lengthi-16384e6:pieces20:@"), NULL },
    { "pieces of one byte", CONTENT("12:piece lengthi1e6:pieces100:{5:@}"), NULL },
    { "pieces of 16,383 bytes", CONTENT("12:piece lengthi16383e6:pieces20:@"), NULL },
    { "pieces of 16,385 bytes", CONTENT("12:piece lengthi16385e6:pieces20:@"), NULL },
    { "pieces of 256 MiB", CONTENT("12:piece lengthi268435456e6:pieces20:@"), NULL },
    { "pieces of 2^32 and 16,384 bytes", CONTENT("12:piece lengthi4294983680e6:pieces20:@"), NULL },
    { "pieces of 2^63 bytes", CONTENT("12:piece lengthi9223372036854775807e6:pieces20:@"), NULL },
    { "a piece length that is a text", CONTENT("12:piece length5:163846:pieces20:@"), NULL },
    { "a hash too few", TORRENT("d6:lengthi16385e4:name1:n" ONE "e"), NULL },
    { "a hash too many", CONTENT(PIECE "6:pieces40:@@"), NULL },
    { "a hash cut", CONTENT(PIECE "6:pieces19:{19:#}"), NULL },
    { "a hash and a byte", CONTENT(PIECE "6:pieces21:@#"), NULL },
    { "hashes of no bytes", CONTENT(PIECE "6:pieces0:"), NULL },
    { "more pieces than 2^21", TORRENT("d6:lengthi72057594037927936e4:name1:n" ONE "e"), NULL },

    /* Names that would lead out. */
    { "the name ..", NAMED("2:.."), NULL },
    { "the name .", NAMED("1:."), NULL },
    { "an empty name", NAMED("0:"), NULL },
    { "an absolute name", NAMED("11:/etc/passwd"), NULL },
    { "a name with a slash", NAMED("3:a/b"), NULL },
    { "a name that is a slash", NAMED("1:/"), NULL },
    { "a name that climbs", NAMED("9:../../etc"), NULL },
    { "a name with a NUL", NAMED("8:a$/../..b"), NULL },
    { "a name that is a NUL", NAMED("1:$"), NULL },
    { "a folder named ..", TORRENT("d5:filesl" FILE_(5, "1:a") "e4:name2:.." ONE "e"), NULL },
    { "a folder named /", TORRENT("d5:filesl" FILE_(5, "1:a") "e4:name1:/" ONE "e"), NULL },
    { "the UTF-8 name climbs", TORRENT("d6:lengthi5e4:name1:n10:name.utf-85:../up" ONE "e"), NULL },
    { "the UTF-8 name is ..", TORRENT("d6:lengthi5e4:name1:n10:name.utf-82:.." ONE "e"), NULL },
    { "a path of ..", AT("2:.."), NULL },
    { "a path that climbs once", AT("2:..1:a"), NULL },
    { "a path that climbs at its end", AT("1:a2:.."), NULL },
    { "a path that goes down and climbs twice", AT("1:a2:..2:..1:b"), NULL },
    { "a path that climbs a hundred times", AT("{100:2:..}3:etc"), NULL },
    { "a path with . in it", AT("1:.1:a"), NULL },
    { "a path with a slash in it", AT("4:a/.."), NULL },
    { "an absolute path in a path", AT("11:/etc/passwd"), NULL },
    { "a path with a NUL", AT("5:..$/a"), NULL },
    { "an empty path", AT(""), NULL },
    { "a path of an empty name", AT("0:"), NULL },
    { "a path with an empty name in it", AT("1:a0:1:b"), NULL },
    { "a path that ends in an empty name", AT("1:a0:"), NULL },
    { "the UTF-8 path climbs", FOLDER("d6:lengthi5e4:pathl1:ae10:path.utf-8l2:..1:aee"), NULL },
    { "a second file that climbs", FOLDER(FILE_(5, "1:a") FILE_(5, "2:..1:b")), NULL },
    { "a tree with ..", TREE("2:..d1:a" LEAF "e"), NULL },
    { "a tree with .", TREE("1:.d1:a" LEAF "e"), NULL },
    { "a tree with a slash", TREE("4:a/..d1:a" LEAF "e"), NULL },
    { "a tree with a NUL", TREE("2:a$d1:a" LEAF "e"), NULL },
    { "a tree with an empty name", TREE("1:ad0:d1:b" LEAF "ee"), NULL },

    /* Too long, too deep. */
    { "a name of 256 bytes", NAMED("256:{256:a}"), NULL },
    { "a name that is too long once made safe", NAMED("100:{100:!}"), NULL },
    { "a name of 10,000 bytes", NAMED("10000:{10000:a}"), NULL },
    { "a path of 33 names", AT("{33:1:a}"), NULL },
    { "a path of 10,000 names", AT("{10000:1:a}"), NULL },
    { "a path longer than a path may be", AT("{13:250:" A250 "}"), NULL },

    /* Twice the same, and what cannot be beside each other. */
    { "two files of one name", FOLDER(FILE_(5, "1:a") FILE_(6, "1:a")), NULL },
    { "a name a thousand times", FOLDER("{1000:d6:lengthi1e4:pathl1:aee}"), NULL },
    { "two that are one once made safe", FOLDER(FILE_(5, "1:!") FILE_(5, "3:%FF")), NULL },
    { "a file where a folder is needed", FOLDER(FILE_(5, "1:a") FILE_(5, "1:a1:b")), NULL },
    { "a folder where a file is needed", FOLDER(FILE_(5, "1:a1:b") FILE_(5, "1:a")), NULL },
    { "a file in a file in a file", FOLDER(FILE_(5, "1:a1:b1:c") FILE_(5, "1:a1:b")), NULL },
    { "a tree's file that is a folder, too", TREE("1:ad0:d6:lengthi0ee1:b" LEAF "e"), NULL },
    { "a tree that names one file twice", TREE("1:a" LEAF "1:a" LEAF), NULL },
    { "a symlink", FOLDER("d4:attr1:l6:lengthi0e4:pathl1:ae12:symlink pathl2:..eee"), NULL },
    { "a symlink that stays inside",
      FOLDER(FILE_(5, "1:a") "d4:attr1:l6:lengthi0e4:pathl1:be12:symlink pathl1:aee"), NULL },
    { "a symlink without its attribute",
      FOLDER(FILE_(5, "1:a") "d6:lengthi0e4:pathl1:be12:symlink pathl1:aee"), NULL },
    { "a symlink to nowhere", FOLDER(FILE_(5, "1:a") "d4:attr1:l6:lengthi0e4:pathl1:bee"), NULL },
    { "the one file is a symlink", TORRENT("d4:attr1:l6:lengthi5e4:name1:n" ONE "e"), NULL },
    { "a tree with a symlink", TREE("1:a" LEAF_OF("4:attr1:l12:symlink pathl2:..ee")), NULL },

    /* Version 2. */
    { "a version nobody knows", TORRENT("d12:meta versioni99e4:name1:n" PIECE "e"), NULL },
    { "a version below zero", TORRENT("d12:meta versioni-2e4:name1:n" PIECE "e"), NULL },
    { "version 2 without a tree", TORRENT("d12:meta versioni2e4:name1:n" PIECE "e"), NULL },
    { "a tree without a version", TORRENT("d9:file treed1:n" LEAF "e4:name1:n" PIECE "e"), NULL },
    { "a tree that is a list", TORRENT("d9:file treel1:ne12:meta versioni2e4:name1:n" PIECE "e"),
      NULL },
    { "an empty tree", TREE(""), NULL },
    { "a tree of folders without files", TREE("1:ad1:bd1:cdeee"), NULL },
    { "a tree's file without a root", TREE("1:n" LEAF_OF("6:lengthi5e")), NULL },
    { "a root that is too short", TREE("1:n" LEAF_OF("6:lengthi5e11:pieces root20:@")), NULL },
    { "a root that is too long", TREE("1:n" LEAF_OF("6:lengthi5e11:pieces root33:&#")), NULL },
    { "a root that is a number", TREE("1:n" LEAF_OF("6:lengthi5e11:pieces rooti5e")), NULL },
    { "a tree's file of less than no bytes", TREE("1:n" LEAF_OF("6:lengthi-5e11:pieces root32:&")),
      NULL },
    { "a tree's file of 2^63 bytes",
      TREE("1:n" LEAF_OF("6:lengthi9223372036854775807e11:pieces root32:&")), NULL },
    { "a hybrid whose two sides name other files",
      TORRENT("d9:file treed1:n" LEAF "e6:lengthi5e12:meta versioni2e4:name1:x" ONE "e"), NULL },
    { "a hybrid whose two sides have other lengths",
      TORRENT("d9:file treed1:n" LEAF "e6:lengthi6e12:meta versioni2e4:name1:n" ONE "e"), NULL },

    /* Read, and made safe. */
    { "a name that is no UTF-8", NAMED("2:a!"), "a%FF" },
    { "a name with a line feed", NAMED("3:a\nb"), "a%0Ab" },
    { "a name with an escape sequence", NAMED("6:\x1b[31ma"), "%1B[31ma" },
    { "a name with a backspace", NAMED("3:a\bb"), "a%08b" },
    { "a name that runs backwards",
      NAMED("10:a\xe2\x80\xae"
            "gpj.sh"),
      "a%E2%80%AEgpj.sh" },
    { "a name that is overlong UTF-8", NAMED("2:\xc0\xaf"), "%C0%AF" },
    { "a surrogate", NAMED("3:\xed\xa0\x80"), "%ED%A0%80" },
    { "a backslash", NAMED("7:..\\..\\a"), "..\\..\\a" },
    { "a drive of another system", NAMED("4:C:\\a"), "C:\\a" },
    { "three dots", NAMED("3:..."), "..." },
    { "a name that begins with a tilde", NAMED("5:~root"), "~root" },
    { "a name that begins with a dash", NAMED("6:--help"), "--help" },
    { "a name of a shell's", NAMED("8:a;rm -rf"), "a;rm -rf" },
    { "a path of three dots", AT("3:...3:...1:a"), "n/.../.../a" },
    { "255 bytes", NAMED("255:{255:a}"), "" },
    { "a path of 32 names", AT("{32:1:a}"), "" },
    { "a key twice: the first counts",
      TORRENT("d6:lengthi5e6:lengthi9e4:name1:n4:name2:.." ONE "e"), "n" },
    { "thousands of trackers",
      "d8:announce3:udp13:announce-listl{5000:l3:udpe}e4:info"
      "d6:lengthi5e4:name1:n" ONE "ee",
      "n" },
};

/* ---- what is made of it ---- */

static char outside[256]; /* a folder of the test's own; "inside" in it is where files are made */

static int forget(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static unsigned beside;

static int count_beside(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    beside += walk->level > 0 && strncmp(path + strlen(outside), "/inside", 7) != 0;
    return 0;
}

/* A file for each path, with its folders; whatever it says, all of them are below `inside`. */
static void make_all(const struct metainfo *metainfo)
{
    char *inside = xasprintf("%s/inside", outside);
    int root = -1;

    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(beneath_open_root(inside, &root), LB_OK);
    for (uint32_t i = 0; i < metainfo->layout.files_count; i++) {
        struct stat info;
        int fd = -1;

        if (metainfo->layout.files[i].padding)
            continue;
        assert_int_equal(beneath_open(root, metainfo->paths[i], true, true, &fd, &info), LB_OK);
        close(fd);
    }
    close(root);
    beside = 0;
    assert_int_equal(nftw(outside, count_beside, 16, FTW_PHYS), 0);
    assert_int_equal(beside, 0);
    assert_int_equal(nftw(inside, forget, 16, FTW_PHYS | FTW_DEPTH), 0);
    free(inside);
}

static void test_row(void **state)
{
    const size_t capacity = 12u * 1024 * 1024;
    const struct row *row = *state;
    struct metainfo_problem problem = { "" };
    struct metainfo *metainfo = NULL;
    struct writer torrent;
    lb_err err;

    writer_init(&torrent, xmalloc(capacity), capacity);
    draw(&torrent, row->torrent, row->torrent + strlen(row->torrent));
    assert_false(torrent.overflow);
    err = metainfo_parse(bytes_of(torrent.data, torrent.size), &metainfo, &problem);
    assert_int_equal(err == LB_OK, row->safe != NULL);
    assert_int_equal(metainfo != NULL, row->safe != NULL);
    if (err != LB_OK) {
        assert_true(err == LB_INVALID || err == LB_TOO_BIG || err == LB_UNSUPPORTED);
        assert_int_not_equal(problem.text[0], '\0');
    } else {
        if (row->safe[0] != '\0')
            assert_string_equal(metainfo->paths[0], row->safe);
        make_all(metainfo);
    }
    metainfo_free(&metainfo);
    free(torrent.data);
}

int main(void)
{
    const char *folder = getenv("TMPDIR");
    int failed;

    _Static_assert(sizeof(rows) / sizeof(rows[0]) >= 120, "the corpus has its size");
    snprintf(outside, sizeof(outside), "%s/lb-bad-XXXXXX", folder ? folder : "/tmp");
    if (!mkdtemp(outside))
        return 1;
    failed = RUN_ROWS(rows, test_row);
    rmdir(outside);
    return failed;
}
