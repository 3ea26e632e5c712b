/*
 * A block device that an image is written to, and what stands guard before it: it is written only
 * when an order names it, when it is a block device, not read-only, large enough, and neither it
 * nor a partition of it is mounted, swap, or part of another device (device mapper, RAID); and it
 * is opened with O_EXCL, so that the kernel lets nobody mount it meanwhile. Each refusal names the
 * device and why.
 *
 * Identity: a line by which the same device is known again, over restarts: the serial number of the
 * disk, or, where there is none, this boot's name of it. An order keeps it, since /dev/sdb may be
 * another disk tomorrow. Shell.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_IDENTITY_SIZE 256u /* with the NUL */
#define DEVICE_PROBLEM_SIZE  512u
#define DEVICE_PARTS_MAX     256u /* partitions; a device with more is refused */

struct device_facts {
    uint64_t size; /* bytes */
    char identity[DEVICE_IDENTITY_SIZE];
};

/*
 * Look at a device without opening it for writing. LB_INVALID: no block device; LB_NOT_FOUND;
 * LB_DENIED: in use, read-only; LB_TOO_BIG: it holds less than size_needed, or has too many
 * partitions; LB_IO.
 */
LB_MUST_CHECK lb_err device_look(const char *path, uint64_t size_needed,
                                 struct device_facts *ret_facts,
                                 char ret_problem[DEVICE_PROBLEM_SIZE]);

/*
 * Look, then open it for reading and writing, for us alone. LB_CONFLICT: it is not the device of
 * this identity.
 */
LB_MUST_CHECK lb_err device_open(const char *path, const char *identity, uint64_t size_needed,
                                 int *ret_fd, uint64_t *ret_size,
                                 char ret_problem[DEVICE_PROBLEM_SIZE]);

/* One line of /proc/self/mountinfo; borrowed from the text. */
struct device_mount {
    unsigned major, minor;
    struct bytes where;
    struct bytes source;
};

/* Take the next line that can be read; false at the end. Pure. */
bool device_next_mount(struct bytes *text, struct device_mount *ret_mount);

/* The same of /proc/swaps: the path. */
bool device_next_swap(struct bytes *text, struct bytes *ret_path);
