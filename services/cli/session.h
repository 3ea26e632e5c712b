/*
 * What most commands begin with: which node is meant, does it run, and its API. What goes wrong is
 * said on stderr here; commands hand the exit code on.
 */
#pragma once

#include "libcommon/paths.h"
#include "services/cli/args.h"
#include "services/cli/client.h"

#define SESSION_TIMEOUT_MS 60000u

/* For the option tables. */
#define SESSION_OPTION_DIR                                                                         \
    {                                                                                              \
        "dir", "D", "the node's folder"                                                            \
    }
#define SESSION_OPTION_JSON                                                                        \
    {                                                                                              \
        "json", NULL, "print JSON; bytes are hexadecimal digits"                                   \
    }
#define SESSION_OPTIONS_END                                                                        \
    {                                                                                              \
        NULL, NULL, NULL                                                                           \
    }

struct session {
    const struct args *args;
    struct paths paths;
    struct client *client;
    bool json;
};

/* The folders of the node that --dir and the environment name. EXIT_DONE or an exit code. */
int session_paths(const struct args *args, struct paths *ret_paths);

/* And its API; EXIT_NOT_RUNNING when it does not run. */
int session_open(struct session *ret_self, const struct args *args);
void session_close(struct session *self);

/* Ctrl-C ends calls from now on (with EXIT_INTERRUPTED) instead of the program. */
void session_catch_interrupt(void);
bool session_interrupted(void);

/* Call; what went wrong is said. EXIT_DONE and *ret_response, as client_call() has it. */
int session_call(struct session *self, const struct client_call *call, const void **ret_response);

/* The exit code of a call's outcome, with its words on stderr. */
int session_failed(struct session *self, lb_err err);
