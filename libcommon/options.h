/*
 * The command line that every service shares: lb-routing --dir D --instance 0 --set node.listen=...
 */
#pragma once

#include "libcommon/paths.h"

#include <stdbool.h>

#define OPTIONS_SET_MAX 64 /* --set */

struct options {
    const char *dir; /* NULL: not given; borrowed from argv, as all texts here */
    bool system;
    unsigned instance;
    const char *overrides[OPTIONS_SET_MAX + 1]; /* "section.key=value", NULL-terminated */
};

/*
 * Parse. False when the program is to end now with *ret_exit: after --help and --version (0), or
 * after saying on stderr what is wrong (2).
 */
bool options_parse(struct options *ret_self, const char *service, int argc, char **argv,
                   int *ret_exit);

lb_err options_paths(const struct options *self, struct paths *ret_paths);
