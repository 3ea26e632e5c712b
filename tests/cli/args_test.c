#include "services/cli/args.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

/* A program with one command of each shape. */
static int run_nothing(const struct args *args)
{
    (void)args;
    return 0;
}

static const struct args_option options[] = {
    { "dir", "D", "a folder" },
    { "json", NULL, "print JSON" },
    { "listen", "ADDR", "again and again" },
    { NULL, NULL, NULL },
};

static const struct args_command commands[] = {
    { "up", "", 0, 0, "Start it. And more.", options, run_nothing },
    { "put", "KEY [VALUE|-]", 1, 2, "Store it.", options, run_nothing },
    { "config check", "[FILE]", 0, 1, "Check it.", options, run_nothing },
    { "config show", "", 0, 0, "Show it.", options, run_nothing },
    { "list", "", 0, 0, "List it.", options, run_nothing },
    { "list all", "[FILE]", 0, 1, "List all of it.", options, run_nothing },
    { NULL, NULL, 0, 0, NULL, NULL, NULL },
};

static const struct args_program program = { "bird", "Sings.", commands };

/* "put a --dir x" to an argument vector; the parts are of `text`. */
static int split(char *text, char *ret_argv[20])
{
    int argc = 0;

    ret_argv[argc++] = (char *)(uintptr_t) "bird";
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        ret_argv[argc++] = word;
    ret_argv[argc] = NULL;
    return argc;
}

static const struct parse_row {
    const char *what, *line;
    enum args_outcome outcome;
    const char *command; /* NULL: none */
    const char *said;    /* the problem, or the words joined by '|' */
} parse_rows[] = {
    { "a command alone", "up", ARGS_RUN, "up", "" },
    { "a word", "put a", ARGS_RUN, "put", "a" },
    { "two words", "put a b", ARGS_RUN, "put", "a|b" },
    { "options between the words", "put a --dir x b --json", ARGS_RUN, "put", "a|b" },
    { "a dash is a word", "put a -", ARGS_RUN, "put", "a|-" },
    { "words after two dashes", "put -- --a --b", ARGS_RUN, "put", "--a|--b" },
    { "a command of two words", "config check f", ARGS_RUN, "config check", "f" },
    { "another of the same first word", "config show", ARGS_RUN, "config show", "" },
    { "options inside a command of two words", "config --dir check --json check f", ARGS_RUN,
      "config check", "f" },
    { "a command that begins another", "list", ARGS_RUN, "list", "" },
    { "the other", "list all f", ARGS_RUN, "list all", "f" },
    { "a word that is no command's second", "list some", ARGS_WRONG, "list",
      "unexpected argument 'some'" },
    { "the help of one that begins another", "list --help", ARGS_HELP, "list", "" },
    { "help", "--help", ARGS_HELP, NULL, "" },
    { "help as a word", "help", ARGS_HELP, NULL, "" },
    { "help of a command", "put --help", ARGS_HELP, "put", "" },
    { "help of a command, after its words", "put a --help", ARGS_HELP, "put", "" },
    { "help of half a command", "config --help", ARGS_HELP, NULL, "" },
    { "version", "--version", ARGS_VERSION, NULL, "" },
    { "version of a command", "up --version", ARGS_VERSION, "up", "" },
    { "nothing", "", ARGS_WRONG, NULL, "which command?" },
    { "an unknown command", "sing", ARGS_WRONG, NULL, "unknown command 'sing'" },
    { "half a command", "config", ARGS_WRONG, NULL, "'config' does what?" },
    { "half a command and another word", "config sing", ARGS_WRONG, NULL, "'config' does what?" },
    { "an option before the command", "--dir x up", ARGS_WRONG, NULL,
      "unknown option --dir; options come after the command" },
    { "an unknown option", "up --loud", ARGS_WRONG, "up", "unknown or ambiguous option --loud" },
    { "an unknown short option", "up -q", ARGS_WRONG, "up", "unknown or ambiguous option -q" },
    { "an option without its value", "up --dir", ARGS_WRONG, "up", "--dir needs a value" },
    { "a value for an option that has none", "up --json=yes", ARGS_WRONG, "up",
      "unknown or ambiguous option --json=yes" },
    { "a word too many", "up now", ARGS_WRONG, "up", "unexpected argument 'now'" },
    { "three words for two", "put a b c", ARGS_WRONG, "put", "unexpected argument 'c'" },
    { "a word too few", "put --json", ARGS_WRONG, "put", "it needs KEY [VALUE|-]" },
};

static void parse(void **state)
{
    const struct parse_row *row = *state;
    char line[200], words[200] = "", *argv[20];
    struct args args;

    strcpy(line, row->line);
    assert_int_equal(args_parse(&args, &program, split(line, argv), argv), row->outcome);
    if (row->command == NULL)
        assert_null(args.command);
    else
        assert_string_equal(args.command->name, row->command);
    for (unsigned i = 0; row->outcome == ARGS_RUN && i < args.words_count; i++) {
        strcat(words, i > 0 ? "|" : "");
        strcat(words, args.words[i]);
    }
    assert_string_equal(row->outcome == ARGS_WRONG ? args.problem : words, row->said);
}

static void options_are_found_by_name(void **state)
{
    char line[] = "up --dir one --listen a --json --listen=b --dir two", *argv[20];
    struct args args;
    char *joined;

    (void)state;
    assert_int_equal(args_parse(&args, &program, split(line, argv), argv), ARGS_RUN);
    assert_string_equal(args_value(&args, "dir"), "two");
    assert_true(args_has(&args, "json"));
    assert_null(args_value(&args, "json"));
    assert_false(args_has(&args, "detach"));
    joined = args_joined(&args, "listen");
    assert_string_equal(joined, "a,b");
    free(joined);
    assert_null(args_joined(&args, "detach"));
}

static void there_is_a_limit_to_options(void **state)
{
    char *argv[ARGS_GIVEN_MAX + 3] = { (char *)(uintptr_t) "bird", (char *)(uintptr_t) "up" };
    struct args args;

    (void)state;
    for (int i = 0; i < ARGS_GIVEN_MAX + 1; i++)
        argv[2 + i] = (char *)(uintptr_t) "--json";
    assert_int_equal(args_parse(&args, &program, ARGS_GIVEN_MAX + 2, argv), ARGS_RUN);
    assert_int_equal(args_parse(&args, &program, ARGS_GIVEN_MAX + 3, argv), ARGS_WRONG);
}

static void help_says_all_there_is(void **state)
{
    char line[] = "put --help", *argv[20], text[2000] = "";
    struct args args;
    FILE *to = fmemopen(text, sizeof text, "w");

    (void)state;
    args_parse(&args, &program, split(line, argv), argv);
    args_print_help(&args, to);
    fclose(to);
    assert_string_equal(text, "usage: bird put KEY [VALUE|-] [--dir D] [--json] [--listen ADDR]\n"
                              "Store it.\n"
                              "  --dir D                  a folder\n"
                              "  --json                   print JSON\n"
                              "  --listen ADDR            again and again\n");
    args.command = NULL;
    to = fmemopen(text, sizeof text, "w");
    args_print_help(&args, to);
    fclose(to);
    assert_non_null(strstr(text, "usage: bird COMMAND"));
    assert_non_null(strstr(text, "  config check [FILE]          Check it\n"));
    assert_non_null(strstr(text, "  up                           Start it\n"));
}

static void print_help_of(const char *line, char *ret_text, size_t size)
{
    char words[100], *argv[20];
    struct args args;
    FILE *to = fmemopen(ret_text, size, "w");

    strcpy(words, line);
    assert_int_equal(args_parse(&args, &program, split(words, argv), argv), ARGS_HELP);
    args_print_help(&args, to);
    fclose(to);
}

static void help_of_a_first_word_is_that_of_its_commands(void **state)
{
    char text[2000] = "";

    (void)state;
    print_help_of("config --help", text, sizeof text);
    assert_string_equal(text, "usage: bird config check [FILE] [--dir D] [--json] [--listen ADDR]\n"
                              "Check it.\n"
                              "  --dir D                  a folder\n"
                              "  --json                   print JSON\n"
                              "  --listen ADDR            again and again\n"
                              "\n"
                              "usage: bird config show [--dir D] [--json] [--listen ADDR]\n"
                              "Show it.\n"
                              "  --dir D                  a folder\n"
                              "  --json                   print JSON\n"
                              "  --listen ADDR            again and again\n");
}

static const struct number_row {
    const char *what, *text;
    uint64_t most;
    bool is_number;
    uint64_t number;
} number_rows[] = {
    { "zero", "0", 9, true, 0 },
    { "the most", "9", 9, true, 9 },
    { "more", "10", 9, false, 0 },
    { "all of 64 bits", "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
    { "one more", "18446744073709551616", UINT64_MAX, false, 0 },
    { "nothing", "", 9, false, 0 },
    { "a sign", "-1", 9, false, 0 },
    { "a space", " 1", 9, false, 0 },
    { "a unit", "1k", 9999, false, 0 },
};

static void number(void **state)
{
    const struct number_row *row = *state;
    uint64_t number = 0;

    assert_int_equal(args_number(row->text, row->most, &number), row->is_number);
    assert_int_equal(number, row->number);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_found_by_name),
        cmocka_unit_test(there_is_a_limit_to_options),
        cmocka_unit_test(help_says_all_there_is),
        cmocka_unit_test(help_of_a_first_word_is_that_of_its_commands),
    };

    return RUN_ROWS(parse_rows, parse) + RUN_ROWS(number_rows, number) +
           cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
