/* The exit codes of littlebird and lb-admin (DESIGN 6). */
#pragma once

#include <sysexits.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_RUNNING = 3,
    EXIT_NOT_FOUND = 4,
    EXIT_PARTLY = 5,
    EXIT_CONFIG = EX_CONFIG, /* the configuration is wrong */
    EXIT_INTERRUPTED = 130   /* Ctrl-C, as shells say it */
};
