/*
 * Files below one folder and nowhere else: whatever a path from a torrent says, and whoever
 * replaces folders by symlinks meanwhile, nothing outside is opened or made. The kernel decides it
 * (openat2(2), Linux 5.6; where a sandbox refuses that, openat(2) with O_NOFOLLOW for each
 * component), not string handling. Shell; every call may wait for the disk.
 *
 * Paths are relative, '/' between components. On failure errno is left set: ELOOP or EXDEV for a
 * symlink or a way out.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

struct stat;

/*
 * Keep this folder of the node's own (its state, its keys) out of all torrents: from now on nothing
 * in it is opened here, however a path leads there. Who may ask a node to share may not read its
 * keys by that. Called at the start of the process, before any thread; BENEATH_KEPT_MAX folders. A
 * folder that is not there needs no keeping.
 */
#define BENEATH_KEPT_MAX 4
void beneath_keep_out(const char *folder);

/* The folder itself, by an absolute path; symlinks on the way to it are the user's own choice. */
LB_MUST_CHECK lb_err beneath_open_root(const char *folder, int *ret_fd);

/*
 * Open a regular file. writable: O_RDWR, else O_RDONLY. create: make it and the folders before it
 * when missing (0666 and 0777 less the umask). LB_DENIED for a symlink, a special file or EACCES,
 * LB_NOT_FOUND, LB_NO_SPACE, LB_IO. *ret_stat is of the file opened.
 */
LB_MUST_CHECK lb_err beneath_open(int root_fd, const char *path, bool writable, bool create,
                                  int *ret_fd, struct stat *ret_stat);

/* A folder, for reading its names; the caller closes it. */
LB_MUST_CHECK lb_err beneath_open_folder(int root_fd, const char *path, int *ret_fd);

/* A regular file, looked at without opening it for anything; otherwise as beneath_open(). */
LB_MUST_CHECK lb_err beneath_stat(int root_fd, const char *path, struct stat *ret_stat);

/* Whatever lies there, the last component itself when it is a symlink. */
LB_MUST_CHECK lb_err beneath_look(int root_fd, const char *path, struct stat *ret_stat);

/* NO_SPACE, NOT_FOUND, DENIED (also for a symlink or a file in the way), FULL, else IO. */
lb_err beneath_error(int number);
