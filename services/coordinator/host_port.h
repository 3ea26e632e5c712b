/* "HOST:PORT" of coordinators: a name or a numeric address. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HOST_PORT_PORT_SIZE 6

/*
 * "[::1]:5" gives "::1" and "5". False when it is none: no host, a port that is no number from 1 to
 * 65535, a blank, or a host that does not fit.
 */
bool host_port_split(const char *text, char *ret_host, size_t host_size,
                     char ret_port[HOST_PORT_PORT_SIZE]);
