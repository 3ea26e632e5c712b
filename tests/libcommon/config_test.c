#include "libcommon/config.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char file[80]; /* folder/littlebird.conf */

static void write_file(const char *name, const char *text)
{
    char path[160];
    FILE *to;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    to = fopen(path, "w");
    assert_non_null(to);
    assert_true(fputs(text, to) >= 0);
    assert_int_equal(fclose(to), 0);
}

static void make_folder(void)
{
    char path[160];

    snprintf(folder, sizeof folder, "/tmp/lb-config-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/littlebird.conf", folder);
    snprintf(path, sizeof path, "%s/conf.d", folder);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* The message without the folder's name, which differs each time. */
static const char *without_folder(const char *text)
{
    size_t size = strlen(folder);

    return strncmp(text, folder, size) == 0 ? text + size + 1 : text;
}

/* ---- what is accepted: "KEY is VALUE" ---- */

static const struct accept_row {
    const char *what;
    const char *text;
    enum config_key key;
    uint64_t number;   /* of number types */
    const char *value; /* of texts */
} accept_rows[] = {
    { "nothing: the default", "", CONFIG_NETWORK, 0, "littlebird" },
    { "a text", "[node]\nnetwork = lab 3, second floor\n", CONFIG_NETWORK, 0,
      "lab 3, second floor" },
    { "a text with an equals sign", "[node]\nnetwork = a=b\n", CONFIG_NETWORK, 0, "a=b" },
    { "no line end at the end", "[node]\nnetwork = x", CONFIG_NETWORK, 0, "x" },
    { "lines of Windows", "[node]\r\nnetwork = x\r\n", CONFIG_NETWORK, 0, "x" },
    { "comments and empty lines", "# one\n; two\n\n[node]\n  # three\nnetwork = x ; four\n",
      CONFIG_NETWORK, 0, "x" },
    { "a section that comes twice", "[node]\nnetwork = x\n[swarm]\n[node]\nlog_level = warn\n",
      CONFIG_NETWORK, 0, "x" },
    { "a count", "[transport]\nworkers = 16\n", CONFIG_TRANSPORT_WORKERS, 16, "16" },
    { "workers as the cores are", "[storage]\nworkers = auto\n", CONFIG_STORAGE_WORKERS, 0,
      "auto" },
    { "bytes", "[storage]\nmax_size = 2000000\n", CONFIG_STORAGE_SIZE, 2000000, "2000000" },
    { "bytes with B", "[storage]\nmax_size = 2000000 B\n", CONFIG_STORAGE_SIZE, 2000000, NULL },
    { "decimal megabytes", "[storage]\nmax_size = 10 MB\n", CONFIG_STORAGE_SIZE, 10000000, NULL },
    { "binary megabytes", "[storage]\nmax_size=512MiB\n", CONFIG_STORAGE_SIZE, 536870912, NULL },
    { "the largest size", "[storage]\nmax_size = 1 TiB\n", CONFIG_STORAGE_SIZE, 1099511627776,
      NULL },
    { "milliseconds", "[storage]\nitem_ttl = 60000ms\n", CONFIG_STORAGE_ITEM_TTL, 60000, NULL },
    { "seconds", "[storage]\nitem_ttl = 90s\n", CONFIG_STORAGE_ITEM_TTL, 90000, NULL },
    { "a time without a unit is seconds", "[storage]\nitem_ttl = 90\n", CONFIG_STORAGE_ITEM_TTL,
      90000, NULL },
    { "minutes", "[storage]\nitem_ttl = 5 min\n", CONFIG_STORAGE_ITEM_TTL, 300000, NULL },
    { "hours", "[storage]\nitem_ttl = 2h\n", CONFIG_STORAGE_ITEM_TTL, 7200000, NULL },
    { "days", "[storage]\nitem_ttl = 7d\n", CONFIG_STORAGE_ITEM_TTL, 604800000, NULL },
    { "a week", "[storage]\nitem_ttl = 1w\n", CONFIG_STORAGE_ITEM_TTL, 604800000, NULL },
    { "a mode", "[swarm]\nmode = cooperative\n", CONFIG_SWARM_MODE, 2, "cooperative" },
    { "a level", "[node]\nlog_level = debug\n", CONFIG_LOG_LEVEL, 3, "debug" },
};

static void accepted(void **state)
{
    const struct accept_row *row = *state;
    struct config_problem problem = { "" };
    struct config *config = NULL;

    make_folder();
    write_file("littlebird.conf", row->text);
    if (config_load(&config, file, NULL, &problem) != LB_OK)
        fail_msg("%s", problem.text);
    assert_int_equal(config_number(config, row->key), row->number);
    if (row->value != NULL)
        assert_string_equal(config_text(config, row->key), row->value);
    config_free(&config);
    assert_null(config);
    remove_folder();
}

/* ---- what is refused, and what is said ---- */

static const struct refuse_row {
    const char *what;
    const char *text;
    const char *said;
} refuse_rows[] = {
    { "an unknown key", "[node]\n\nlissten = x\n",
      "littlebird.conf:3: unknown key 'lissten' in [node]" },
    { "a key of another section", "[node]\nworkers = 1\n",
      "littlebird.conf:2: unknown key 'workers' in [node]" },
    { "an unknown section", "[nodes]\nlisten = x\n", "littlebird.conf:1: unknown section [nodes]" },
    { "an unknown section without keys", "[nodes]\n",
      "littlebird.conf:1: unknown section [nodes]" },
    { "a key before any section", "network = x\n",
      "littlebird.conf:1: key 'network' stands before any [section]" },
    { "a line that is no setting", "[node]\nwhat is this\n",
      "littlebird.conf:2: neither [section] nor 'key = value'" },
    { "a key that comes twice", "[node]\nnetwork = x\n[node]\nnetwork = y\n",
      "littlebird.conf:4: 'network' in [node] stands here a second time" },
    { "workers that are neither a number nor auto", "[transport]\nworkers = all\n",
      "littlebird.conf:2: 'all' does not fit 'workers' in [transport]: expected a whole number "
      "from 1 on, or auto" },
    { "no workers at all", "[swarm]\nworkers = 0\n",
      "littlebird.conf:2: '0' does not fit 'workers' in [swarm]: expected a whole number from 1 "
      "on, "
      "or auto" },
    { "too many workers", "[storage]\nworkers = 17\n",
      "littlebird.conf:2: '17' does not fit 'workers' in [storage]: least 1, most 16, or "
      "auto" },
    { "a count that is no number", "[swarm]\nupload_slots = many\n",
      "littlebird.conf:2: 'many' does not fit 'upload_slots' in [swarm]: expected a whole number" },
    { "a count with a unit", "[swarm]\nupload_slots = 1 MB\n",
      "littlebird.conf:2: '1 MB' does not fit 'upload_slots' in [swarm]: expected a whole number" },
    { "an empty count", "[swarm]\nupload_slots =\n",
      "littlebird.conf:2: '' does not fit 'upload_slots' in [swarm]: expected a whole number" },
    { "a negative count", "[swarm]\nupload_slots = -1\n",
      "littlebird.conf:2: '-1' does not fit 'upload_slots' in [swarm]: expected a whole number" },
    { "too few", "[swarm]\nupload_slots = 0\n",
      "littlebird.conf:2: '0' does not fit 'upload_slots' in [swarm]: least 1, most 1000" },
    { "too many", "[swarm]\nupload_slots = 1001\n",
      "littlebird.conf:2: '1001' does not fit 'upload_slots' in [swarm]: least 1, most 1000" },
    { "a number beyond 64 bits", "[swarm]\nupload_slots = 18446744073709551617\n",
      "littlebird.conf:2: '18446744073709551617' does not fit 'upload_slots' in [swarm]: expected "
      "a "
      "whole number" },
    { "a size beyond 64 bits", "[storage]\nmax_size = 18446744073709551615 KiB\n",
      "littlebird.conf:2: '18446744073709551615 KiB' does not fit 'max_size' in [storage]: "
      "expected "
      "a size such as 512 MiB, 10 GB or 4096" },
    { "a size with an unknown unit", "[storage]\nmax_size = 5 parsecs\n",
      "littlebird.conf:2: '5 parsecs' does not fit 'max_size' in [storage]: expected a size such "
      "as "
      "512 MiB, 10 GB or 4096" },
    { "a time with the unit of a size", "[storage]\nitem_ttl = 5 MB\n",
      "littlebird.conf:2: '5 MB' does not fit 'item_ttl' in [storage]: expected a time such as "
      "250ms, 30s, 5 min or 2h" },
    { "a time that is too short", "[storage]\nitem_ttl = 1s\n",
      "littlebird.conf:2: '1s' does not fit 'item_ttl' in [storage]: least 1min, most 1w" },
    { "a time that is too long", "[storage]\nvalue_ttl = 9999d\n",
      "littlebird.conf:2: '9999d' does not fit 'value_ttl' in [storage]: least 1h, most 365d" },
    { "a size that is too small", "[storage]\nmax_size = 3 kB\n",
      "littlebird.conf:2: '3 kB' does not fit 'max_size' in [storage]: least 1 MiB, most 1 TiB" },
    { "a level there is not", "[node]\nlog_level = loud\n",
      "littlebird.conf:2: 'loud' does not fit 'log_level' in [node]: expected error, warn, info or "
      "debug" },
    { "control bytes are not repeated", "[node]\nx\033[31m = 1\n",
      "littlebird.conf:2: unknown key 'x?[31m' in [node]" },
};

static void refused(void **state)
{
    const struct refuse_row *row = *state;
    struct config_problem problem = { "" };
    struct config *config = NULL;

    make_folder();
    write_file("littlebird.conf", row->text);
    assert_int_equal(config_load(&config, file, NULL, &problem), LB_INVALID);
    assert_null(config);
    assert_string_equal(without_folder(problem.text), row->said);
    remove_folder();
}

/* ---- the rest ---- */

static void lists_are_split_at_commas_and_spaces(void **state)
{
    const char *overrides[] = { "node.bootstrap=a:1, b:2  c:3,,d:4", NULL };
    struct config_problem problem;
    struct config *config;

    (void)state;
    assert_int_equal(config_load(&config, NULL, overrides, &problem), LB_OK);
    assert_int_equal(config_list_count(config, CONFIG_BOOTSTRAP), 4);
    assert_string_equal(config_list_item(config, CONFIG_BOOTSTRAP, 0), "a:1");
    assert_string_equal(config_list_item(config, CONFIG_BOOTSTRAP, 3), "d:4");
    assert_null(config_list_item(config, CONFIG_BOOTSTRAP, 4));
    assert_int_equal(config_list_count(config, CONFIG_LISTEN), 2);
    config_free(&config);
}

static void a_list_has_at_most_64_items(void **state)
{
    char text[256] = "node.bootstrap=";
    const char *overrides[] = { text, NULL };
    struct config_problem problem;
    struct config *config;

    (void)state;
    for (int i = 0; i < 65; i++)
        strcat(text, "a ");
    assert_int_equal(config_load(&config, NULL, overrides, &problem), LB_INVALID);
    assert_non_null(strstr(problem.text, "expected at most 64 items"));
}

static void later_files_win_and_the_command_line_last(void **state)
{
    const char *overrides[] = { "swarm.peers_max=4", NULL };
    struct config_problem problem;
    struct config *config;

    (void)state;
    make_folder();
    write_file("littlebird.conf", "[node]\nnetwork = main\n[transport]\nworkers = 2\n"
                                  "[swarm]\npeers_max = 1\n");
    write_file("conf.d/20-b.conf", "[transport]\nworkers = 4\n[swarm]\npeers_max = 3\n");
    write_file("conf.d/10-a.conf", "[transport]\nworkers = 3\n[swarm]\npeers_max = 2\n");
    write_file("conf.d/30-c.conf.old", "this is not read\n");
    assert_int_equal(config_load(&config, file, overrides, &problem), LB_OK);
    assert_string_equal(config_text(config, CONFIG_NETWORK), "main");
    assert_string_equal(without_folder(config_origin(config, CONFIG_NETWORK)), "littlebird.conf:2");
    assert_int_equal(config_number(config, CONFIG_TRANSPORT_WORKERS), 4);
    assert_string_equal(without_folder(config_origin(config, CONFIG_TRANSPORT_WORKERS)),
                        "conf.d/20-b.conf:2");
    assert_int_equal(config_number(config, CONFIG_SWARM_PEERS_MAX), 4);
    assert_string_equal(config_origin(config, CONFIG_SWARM_PEERS_MAX), "command line");
    assert_string_equal(config_origin(config, CONFIG_LISTEN), "default");
    config_free(&config);
    remove_folder();
}

static void a_wrong_override_is_refused(void **state)
{
    static const char *const wrong[] = { "network=x", "node.network", "node.netwrk=x",
                                         "",          ".=",           "transport.workers=many" };
    struct config_problem problem;
    struct config *config;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *overrides[] = { wrong[i], NULL };

        assert_int_equal(config_load(&config, NULL, overrides, &problem), LB_INVALID);
        assert_int_equal(strncmp(problem.text, "command line: ", 14), 0);
    }
}

static void lines_that_are_too_long_or_hold_a_nul_are_refused(void **state)
{
    char text[3000] = "[node]\nnetwork = ";
    struct config_problem problem;
    struct config *config;
    FILE *to;

    (void)state;
    make_folder();
    memset(text + strlen(text), 'x', 2500);
    write_file("littlebird.conf", text);
    assert_int_equal(config_load(&config, file, NULL, &problem), LB_INVALID);
    assert_string_equal(without_folder(problem.text),
                        "littlebird.conf:2: the line is too long or no text");
    text[17 + 1500] = '\0'; /* and one that is long but not too long */
    write_file("littlebird.conf", text);
    assert_int_equal(config_load(&config, file, NULL, &problem), LB_OK);
    assert_int_equal(strlen(config_text(config, CONFIG_NETWORK)), 1500);
    config_free(&config);
    to = fopen(file, "w");
    assert_non_null(to);
    fwrite("[node]\nnetwork = a\0b\n", 1, 21, to);
    fclose(to);
    assert_int_equal(config_load(&config, file, NULL, &problem), LB_INVALID);
    remove_folder();
}

static void a_missing_file_is_no_error_a_folder_is(void **state)
{
    struct config_problem problem;
    struct config *config;

    (void)state;
    make_folder();
    assert_int_equal(config_load(&config, file, NULL, &problem), LB_OK);
    config_free(&config);
    assert_int_equal(config_load(&config, folder, NULL, &problem), LB_IO);
    assert_non_null(strstr(problem.text, "directory"));
    remove_folder();
}

static void every_key_has_a_default_that_fits_and_a_help(void **state)
{
    struct config_problem problem;
    struct config *config;

    (void)state;
    assert_int_equal(config_load(&config, NULL, NULL, &problem), LB_OK);
    for (int key = 0; key < CONFIG_KEYS_COUNT; key++) {
        assert_string_equal(config_text(config, (enum config_key)key),
                            config_default((enum config_key)key));
        assert_true(strlen(config_help((enum config_key)key)) > 0);
        assert_true(strlen(config_section_name((enum config_key)key)) > 0);
        assert_true(strlen(config_key_name((enum config_key)key)) > 0);
    }
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_split_at_commas_and_spaces),
        cmocka_unit_test(a_list_has_at_most_64_items),
        cmocka_unit_test(later_files_win_and_the_command_line_last),
        cmocka_unit_test(a_wrong_override_is_refused),
        cmocka_unit_test(lines_that_are_too_long_or_hold_a_nul_are_refused),
        cmocka_unit_test(a_missing_file_is_no_error_a_folder_is),
        cmocka_unit_test(every_key_has_a_default_that_fits_and_a_help),
    };

    return RUN_ROWS(accept_rows, accepted) + RUN_ROWS(refuse_rows, refused) +
           cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
