#include "libcommon/identity.h"

#include "libcommon/paths.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NETWORK "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define NODE    "0123456789abcdef0123456789abcdef01234567"
#define FIRST   "littlebird member 1\n"
#define GOOD    FIRST "network lab-3\nnetwork-id " NETWORK "\nnode-id " NODE "\n"

static const struct parse_row {
    const char *what, *text;
    lb_err err;
} parse_rows[] = {
    { "a whole one is read", GOOD, LB_OK },
    { "nothing is none", "", LB_INVALID },
    { "one of a later format is not guessed at",
      "littlebird member 2\nnetwork lab\nnetwork-id " NETWORK "\nnode-id " NODE "\n", LB_INVALID },
    { "one that ends before its last newline was cut",
      FIRST "network lab-3\nnetwork-id " NETWORK "\nnode-id " NODE, LB_INVALID },
    { "one without a node was cut", FIRST "network lab-3\nnetwork-id " NETWORK "\n", LB_INVALID },
    { "anything after it is refused", GOOD "\n", LB_INVALID },
    { "the order is fixed", FIRST "network lab-3\nnode-id " NODE "\nnetwork-id " NETWORK "\n",
      LB_INVALID },
    { "a network needs a name", FIRST "network \nnetwork-id " NETWORK "\nnode-id " NODE "\n",
      LB_INVALID },
    { "a name has no spaces", FIRST "network a b\nnetwork-id " NETWORK "\nnode-id " NODE "\n",
      LB_INVALID },
    { "a network id of 63 digits is none",
      FIRST "network lab-3\nnetwork-id 0112233445566778899aabbccddeeff00112233445566778899aabbccdd"
            "eeff\nnode-id " NODE "\n",
      LB_INVALID },
    { "a network id of 65 digits is none",
      FIRST "network lab-3\nnetwork-id 0" NETWORK "\nnode-id " NODE "\n", LB_INVALID },
    { "a network id has no letter g",
      FIRST "network lab-3\nnetwork-id g0112233445566778899aabbccddeeff00112233445566778899aabbccd"
            "deeff\nnode-id " NODE "\n",
      LB_INVALID },
    { "a node id of 39 digits is none",
      FIRST "network lab-3\nnetwork-id " NETWORK
            "\nnode-id 123456789abcdef0123456789abcdef01234567\n",
      LB_INVALID },
};

static void parses(void **state)
{
    const struct parse_row *row = *state;
    struct identity identity, untouched;
    char text[IDENTITY_FILE_MAX];

    memset(&identity, 0x55, sizeof(identity));
    untouched = identity;
    assert_int_equal(identity_parse(bytes_of_text(row->text), &identity), row->err);
    if (row->err != LB_OK) {
        assert_memory_equal(&identity, &untouched, sizeof(identity));
        return;
    }
    assert_int_equal(identity_write(&identity, text), strlen(row->text));
    assert_string_equal(text, row->text);
}

static void no_nul_inside(void **state)
{
    struct identity identity;
    char text[sizeof(GOOD)] = GOOD;

    (void)state;
    text[sizeof(FIRST) - 1 + strlen("network la")] = '\0';
    assert_int_equal(identity_parse(bytes_of(text, sizeof(text) - 1), &identity), LB_INVALID);
}

static const struct name_row {
    const char *what, *name;
    bool valid;
} name_rows[] = {
    { "letters and digits", "Lab3", true },
    { "a digit first", "3lab", true },
    { "dashes, underscores and dots later", "a-b_c.d", true },
    { "one letter", "x", true },
    { "none", "", false },
    { "a dash first", "-lab", false },
    { "a dot first", ".lab", false },
    { "a slash", "a/b", false },
    { "a letter with an accent", "caf\xc3\xa9", false },
    { "63 bytes", "a23456789012345678901234567890123456789012345678901234567890123", true },
    { "64 bytes", "a234567890123456789012345678901234567890123456789012345678901234", false },
};

static void names(void **state)
{
    const struct name_row *row = *state;

    assert_int_equal(network_name_is_valid(row->name), row->valid);
}

static const struct file_row {
    const char *what, *text; /* NULL: no file */
    unsigned mode;
    lb_err err;
} file_rows[] = {
    { "no file: the open network", NULL, 0, LB_NOT_FOUND },
    { "all may read it", GOOD, 0644, LB_OK },
    { "its group may not write it", GOOD, 0664, LB_DENIED },
    { "others may not write it", GOOD, 0646, LB_DENIED },
    { "one that was cut is not the open network", FIRST, 0644, LB_INVALID },
};

static void files(void **state)
{
    const struct file_row *row = *state;
    char folder[] = "/tmp/identity-XXXXXX", path[64];
    struct paths paths = { 0 };
    struct identity identity;
    FILE *file;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/identity", folder);
    snprintf(paths.identity_file, sizeof(paths.identity_file), "%s", path);
    if (row->text) {
        file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(row->text, file) >= 0 && fclose(file) == 0);
        assert_int_equal(chmod(path, row->mode), 0);
    }
    assert_int_equal(identity_load(&paths, &identity), row->err);
    (void)unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void too_long_is_invalid(void **state)
{
    char folder[] = "/tmp/identity-XXXXXX", path[64];
    struct paths paths = { 0 };
    struct identity identity;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/identity", folder);
    snprintf(paths.identity_file, sizeof(paths.identity_file), "%s", path);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, GOOD "%0*d", IDENTITY_FILE_MAX, 0) > 0 && fclose(file) == 0);
    assert_int_equal(identity_load(&paths, &identity), LB_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0); /* and a folder is no file */
    assert_int_equal(identity_load(&paths, &identity), LB_DENIED);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(identity_load(&paths, &identity), LB_DENIED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(no_nul_inside),
        cmocka_unit_test(too_long_is_invalid),
    };

    return RUN_ROWS(parse_rows, parses) + RUN_ROWS(name_rows, names) + RUN_ROWS(file_rows, files) +
           cmocka_run_group_tests(others, NULL, NULL);
}
