/*
 * What is done to a node while it is stopped: it becomes a member of a private network, or a
 * coordinator of one.
 */
#pragma once

#include "libcommon/paths.h"
#include "services/cli/args.h"

#include <stdbool.h>
#include <stdint.h>

/* For the option tables, beside SESSION_OPTION_DIR. */
#define OFFLINE_OPTION_SYSTEM                                                                      \
    {                                                                                              \
        "system", NULL,                                                                            \
            "the system's node, which cannot be found by its socket while it is stopped"           \
    }

#define OFFLINE_ADDRESS_SIZE 264 /* HOST:PORT and a NUL, as a token holds it */
#define OFFLINE_HOST_SIZE    65

/* Its folders, made if they are a user's; EXIT_FAILED when it runs. */
int offline_paths(const struct args *args, struct paths *ret_paths);

/* HOST:PORT or [IPV6]:PORT, HOST a name or an address, PORT from 1 to 65535. Pure. */
bool offline_is_address(const char *text);

/* Where others find this node, if it is a coordinator. */
struct offline_reach {
    char address[OFFLINE_ADDRESS_SIZE]; /* its coordinator.listen: HOST:PORT */
    uint16_t node_port;                 /* of node.listen */
};

/*
 * The address is `given` if it is not NULL; else the first of coordinator.listen, and where that is
 * any, the one this machine reaches others from.
 */
int offline_reach(const struct args *args, const struct paths *paths, const char *given,
                  struct offline_reach *ret_reach);

/* This machine's name, for the list of members. */
void offline_host_name(char ret_name[OFFLINE_HOST_SIZE]);

/* How to start the node that these are the folders of, for a person. */
const char *offline_start_text(const struct paths *paths);
