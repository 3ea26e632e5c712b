/*
 * Shared libraries that are loaded when something first needs them: what most processes never need
 * costs them no memory (DESIGN 7), and need not be installed. Shell.
 */
#pragma once

#include "libcommon/error.h"

#include <stddef.h>

struct library_symbol {
    const char *name;
    void *to; /* the pointer to a function that it is to be */
};

/*
 * Load `file` ("libcurl.so.4") and find all of these in it; it stays until the process ends.
 * LB_UNSUPPORTED: it is not there, or lacks one of them; *ret_problem says it for the log, until
 * the next call.
 */
LB_MUST_CHECK lb_err library_load(const char *file, const struct library_symbol *symbols,
                                  size_t count, const char **ret_problem);
