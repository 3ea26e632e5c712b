#include "services/cli/args.h"

#include "libcommon/memory.h"
#include "services/cli/exit.h"
#include "services/cli/table.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32 /* of one command, --help and --version included */

/* ---- parsing ---- */

__attribute__((format(printf, 2, 3))) static enum args_outcome wrong(struct args *self,
                                                                     const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(self->problem, sizeof self->problem, format, arguments);
    va_end(arguments);
    return ARGS_WRONG;
}

/* Does this option, as it stands on the command line, take the next word as its value? */
static bool takes_next_word(const struct args_command *command, const char *text)
{
    for (const struct args_option *option = command->options; option->name != NULL; option++) {
        if (option->value != NULL && strcmp(option->name, text + 2) == 0)
            return true;
    }
    return false;
}

/* Where the first word that is no option stands; argc when there is none. */
static int find_word(const struct args_command *command, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0)
            return i;
        if (takes_next_word(command, argv[i]))
            i++;
    }
    return argc;
}

/*
 * Does argv begin with this command? Of a name of two words the second may stand behind options;
 * *ret_second is its place then, else 0.
 */
static bool is_command(const struct args_command *command, int argc, char **argv, int *ret_second)
{
    const char *space = strchr(command->name, ' ');
    size_t first = space != NULL ? (size_t)(space - command->name) : strlen(command->name);
    int second = 0;

    if (strlen(argv[0]) != first || strncmp(argv[0], command->name, first) != 0)
        return false;
    if (space != NULL) {
        second = 1 + find_word(command, argc - 1, argv + 1);
        if (second == argc || strcmp(argv[second], space + 1) != 0)
            return false;
    }
    *ret_second = second;
    return true;
}

/* "members pending" is that command, also where "members" alone is one. */
static const struct args_command *find_command(const struct args_program *program, int argc,
                                               char **argv, int *ret_second)
{
    const struct args_command *found = NULL;
    int second;

    for (const struct args_command *command = program->commands; command->name != NULL; command++) {
        if (!is_command(command, argc, argv, &second) || (found != NULL && second == 0))
            continue;
        found = command;
        *ret_second = second;
    }
    return found;
}

static bool is_in_group(const struct args_command *command, const char *group)
{
    size_t size = strlen(group);

    return strncmp(command->name, group, size) == 0 && command->name[size] == ' ';
}

/* Is it the first word of commands with two? Then --help shows these. */
static bool is_group(const struct args_program *program, const char *word)
{
    for (const struct args_command *command = program->commands; command->name != NULL; command++) {
        if (is_in_group(command, word))
            return true;
    }
    return false;
}

static void make_getopt_table(const struct args_command *command,
                              struct option ret_table[OPTIONS_MAX + 1])
{
    int count = 0;

    memset(ret_table, 0, (OPTIONS_MAX + 1) * sizeof *ret_table);
    for (const struct args_option *option = command->options;
         option->name != NULL && count < OPTIONS_MAX - 2; option++) {
        ret_table[count++] =
            (struct option){ option->name, option->value != NULL ? required_argument : no_argument,
                             NULL, 'o' };
    }
    ret_table[count++] = (struct option){ "help", no_argument, NULL, 'h' };
    ret_table[count++] = (struct option){ "version", no_argument, NULL, 'V' };
}

/* argv[0] stands for the command; its options and words follow, argv[second] is part of its name.
 */
static enum args_outcome parse_options(struct args *self, int argc, char **argv, int second)
{
    struct option table[OPTIONS_MAX + 1];
    int option, index = 0;

    make_getopt_table(self->command, table);
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", table, &index)) != -1) {
        if (option == 'h')
            return ARGS_HELP;
        if (option == 'V')
            return ARGS_VERSION;
        if (option == ':')
            return wrong(self, "%.60s needs a value", argv[optind - 1]);
        if (option != 'o')
            return wrong(self, "unknown or ambiguous option %.60s", argv[optind - 1]);
        if (self->given_count == ARGS_GIVEN_MAX)
            return wrong(self, "more than %d options", ARGS_GIVEN_MAX);
        self->given[self->given_count].name = table[index].name;
        self->given[self->given_count++].value = optarg;
    }
    /* getopt_long() has moved the words to the end, in their order: the name's comes first. */
    for (int i = optind + (second > 0); i < argc; i++) {
        if (self->words_count == ARGS_WORDS_MAX || self->words_count == self->command->most)
            return wrong(self, "unexpected argument '%.60s'", argv[i]);
        self->words[self->words_count++] = argv[i];
    }
    if (self->words_count < self->command->least)
        return wrong(self, "it needs %s", self->command->words);
    return ARGS_RUN;
}

enum args_outcome args_parse(struct args *ret_self, const struct args_program *program, int argc,
                             char **argv)
{
    int second = 0;

    *ret_self = (struct args){ .program = program };
    if (argc < 2)
        return wrong(ret_self, "which command?");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return ARGS_HELP;
    if (strcmp(argv[1], "--version") == 0)
        return ARGS_VERSION;
    if (argv[1][0] == '-')
        return wrong(ret_self, "unknown option %.60s; options come after the command", argv[1]);
    ret_self->command = find_command(program, argc - 1, argv + 1, &second);
    if (ret_self->command != NULL)
        return parse_options(ret_self, argc - 1, argv + 1, second);
    if (!is_group(program, argv[1]))
        return wrong(ret_self, "unknown command '%.60s'", argv[1]);
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        ret_self->group = argv[1];
        return ARGS_HELP;
    }
    return wrong(ret_self, "'%.60s' does what?", argv[1]);
}

/* ---- help ---- */

static void print_usage(const struct args_program *program, const struct args_command *command,
                        FILE *to)
{
    fprintf(to, "usage: %s %s%s%s", program->name, command->name,
            command->words[0] != '\0' ? " " : "", command->words);
    for (const struct args_option *option = command->options; option->name != NULL; option++)
        fprintf(to, " [--%s%s%s]", option->name, option->value != NULL ? " " : "",
                option->value != NULL ? option->value : "");
    fprintf(to, "\n");
}

static void print_command_help(const struct args_program *program,
                               const struct args_command *command, FILE *to)
{
    char name[64];

    print_usage(program, command, to);
    fprintf(to, "%s\n", command->help);
    for (const struct args_option *option = command->options; option->name != NULL; option++) {
        snprintf(name, sizeof name, "--%s%s%s", option->name, option->value != NULL ? " " : "",
                 option->value != NULL ? option->value : "");
        fprintf(to, "  %-24s %s\n", name, option->help);
    }
}

static void print_group_help(const struct args_program *program, const char *group, FILE *to)
{
    const char *between = "";

    for (const struct args_command *command = program->commands; command->name != NULL; command++) {
        if (!is_in_group(command, group))
            continue;
        fputs(between, to);
        print_command_help(program, command, to);
        between = "\n";
    }
}

/* The first sentence of a command's help; a point inside a word does not end it. */
static int first_sentence(const char *help)
{
    const char *end = help;

    while (*end != '\0' && *end != '\n' && *end != ';' &&
           !(*end == '.' && (end[1] == '\0' || end[1] == ' ' || end[1] == '\n')))
        end++;
    return (int)(end - help);
}

static void print_program_help(const struct args_program *program, FILE *to)
{
    char name[64];

    fprintf(to, "usage: %s COMMAND [--help]\n%s\n", program->name, program->summary);
    for (const struct args_command *command = program->commands; command->name != NULL; command++) {
        snprintf(name, sizeof name, "%s %s", command->name, command->words);
        fprintf(to, "  %-28s %.*s\n", name, first_sentence(command->help), command->help);
    }
    fprintf(to, "Without --dir: $LITTLEBIRD_DIR, else the system's node, else your own.\n"
                "Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 not found, 5 partly,\n"
                "130 interrupted.\n");
}

void args_print_help(const struct args *self, FILE *to)
{
    if (self->command != NULL)
        print_command_help(self->program, self->command, to);
    else if (self->group != NULL)
        print_group_help(self->program, self->group, to);
    else
        print_program_help(self->program, to);
}

/* ---- for commands ---- */

bool args_has(const struct args *self, const char *name)
{
    for (unsigned i = 0; i < self->given_count; i++) {
        if (strcmp(self->given[i].name, name) == 0)
            return true;
    }
    return false;
}

const char *args_value(const struct args *self, const char *name)
{
    const char *value = NULL;

    for (unsigned i = 0; i < self->given_count; i++) {
        if (strcmp(self->given[i].name, name) == 0)
            value = self->given[i].value;
    }
    return value;
}

const char *args_value_at(const struct args *self, const char *name, unsigned index)
{
    for (unsigned i = 0; i < self->given_count; i++) {
        if (strcmp(self->given[i].name, name) == 0 && index-- == 0)
            return self->given[i].value;
    }
    return NULL;
}

char *args_joined(const struct args *self, const char *name)
{
    char *joined = NULL;

    for (unsigned i = 0; i < self->given_count; i++) {
        char *before = joined;

        if (strcmp(self->given[i].name, name) != 0)
            continue;
        joined = xasprintf("%s%s%s", before != NULL ? before : "", before != NULL ? "," : "",
                           self->given[i].value);
        free(before);
    }
    return joined;
}

static void complain(const struct args *self, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void complain(const struct args *self, const char *format, va_list arguments)
{
    char text[1024];

    vsnprintf(text, sizeof text, format, arguments);
    table_sanitize(text);
    fprintf(stderr, "%s %s: %s\n", self->program->name, self->command->name, text);
}

int args_usage(const struct args *self, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(self, format, arguments);
    va_end(arguments);
    return EXIT_USAGE;
}

int args_failed(const struct args *self, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(self, format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

bool args_number(const char *text, uint64_t most, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (text[0] == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, (uint64_t)10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
            return false;
    }
    if (number > most)
        return false;
    *ret_number = number;
    return true;
}

static int report_wrong(struct args *self)
{
    const char *space = self->command != NULL ? " " : "";
    const char *command = self->command != NULL ? self->command->name : "";

    table_sanitize(self->problem);
    fprintf(stderr, "%s%s%s: %s (see %s%s%s --help)\n", self->program->name, space, command,
            self->problem, self->program->name, space, command);
    return EXIT_USAGE;
}

/* What was printed has arrived: a full disk or a closed pipe is a failure like any other. */
static int flush_output(const char *program, int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "%s: cannot write the output\n", program);
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

int args_main(const struct args_program *program, int argc, char **argv)
{
    struct args args;
    int code = EXIT_DONE;

    switch (args_parse(&args, program, argc, argv)) {
    case ARGS_HELP:
        args_print_help(&args, stdout);
        break;
    case ARGS_VERSION:
        printf("%s %s\n", program->name, LB_VERSION);
        break;
    case ARGS_WRONG:
        return report_wrong(&args);
    case ARGS_RUN:
        code = args.command->run(&args);
        break;
    }
    return flush_output(program->name, code);
}
