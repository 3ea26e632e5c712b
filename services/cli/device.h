/* A block device that is to be written to: what it is, and whether that is meant. */
#pragma once

#include "services/cli/args.h"

#include <sys/types.h>

#define DEVICE_LINE_SIZE 256

/* "/dev/sdb (14.9 GiB, SanDisk Ultra)"; what is not known is left out. */
void device_describe(const char *path, dev_t number, char ret_line[DEVICE_LINE_SIZE]);

/*
 * Ask on the terminal, unless --yes was given. EXIT_DONE when it is meant, EXIT_USAGE when there is
 * nobody to ask, else EXIT_FAILED; said on stderr.
 */
int device_confirm(const struct args *args, const char *path, dev_t number);
