/*
 * Command lines: a program is a table of commands, a command a table of options; parsing, the help
 * and the messages about what is wrong all come from these tables.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ARGS_GIVEN_MAX 64 /* options on one command line */
#define ARGS_WORDS_MAX 4

struct args;

struct args_option {
    const char *name;  /* without "--"; NULL ends the table */
    const char *value; /* what its value is called; NULL: it has none */
    const char *help;
};

struct args_command {
    const char *name;     /* one word, or two as in "config check" */
    const char *words;    /* "KEY [VALUE|-]" */
    unsigned least, most; /* words */
    const char *help;
    const struct args_option *options;
    int (*run)(const struct args *args); /* returns the exit code */
};

struct args_program {
    const char *name;
    const char *summary;
    const struct args_command *commands; /* a name of NULL ends the table */
};

/* A command line, taken apart. Texts are borrowed from argv. */
struct args {
    const struct args_program *program;
    const struct args_command *command;
    const char *group; /* with no command: the first word of some, whose help was asked for */
    struct {
        const char *name, *value;
    } given[ARGS_GIVEN_MAX];
    unsigned given_count;
    const char *words[ARGS_WORDS_MAX];
    unsigned words_count;
    char problem[256];
};

enum args_outcome { ARGS_RUN, ARGS_HELP, ARGS_VERSION, ARGS_WRONG };

/*
 * On ARGS_WRONG, problem says what. On ARGS_HELP, command is NULL for a group of commands, and group
 * too for the program as a whole.
 */
enum args_outcome args_parse(struct args *ret_self, const struct args_program *program, int argc,
                             char **argv);
void args_print_help(const struct args *self, FILE *to);

/* The whole of main(). */
int args_main(const struct args_program *program, int argc, char **argv);

bool args_has(const struct args *self, const char *name);
/* The last value given, or NULL. */
const char *args_value(const struct args *self, const char *name);
/* The value given at the index-th time; NULL: not so often. */
const char *args_value_at(const struct args *self, const char *name, unsigned index);
/* All values given, joined by commas; NULL when none. The caller frees. */
char *args_joined(const struct args *self, const char *name);

/* "littlebird put: ..." on stderr; returns the exit code 2. */
int args_usage(const struct args *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "littlebird put: ..." on stderr; returns the exit code 1. */
int args_failed(const struct args *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A whole number; false when it is none. */
bool args_number(const char *text, uint64_t most, uint64_t *ret_number);
