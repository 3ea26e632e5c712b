/*
 * Holes: zeros of a file that take no room on the disk. They are not read to be hashed, and zeros
 * that come from peers become holes (lseek(2) SEEK_DATA, fallocate(2) FALLOC_FL_PUNCH_HOLE). Works
 * on regular files and block devices; where the kernel knows no holes all is data, and zeros are
 * written. The position of a descriptor is changed and means nothing. Shell.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeros shorter than this stay as they are when they read as zeros already. */
#define HOLES_MIN   (64u * 1024)
#define HOLES_ALIGN 4096u /* of direct reads: no block of a disk is larger */

struct piece_hasher;
struct stat;

bool holes_are_zeros(const uint8_t *data, size_t size);

/* It takes less room than its size: looking for holes pays. */
bool holes_are_in(const struct stat *file);

/* The first run of data from `from` on, cut at `end`; false: up to there it reads as zeros. */
bool holes_next_data(int fd, uint64_t from, uint64_t end, uint64_t *ret_begin, uint64_t *ret_end);

/* Make a range read as zeros; it lies inside the file. -1 with errno left set. */
int holes_make(int fd, uint64_t offset, uint64_t size);

/* A range of a file. */
struct holes_range {
    int fd;
    bool sparse; /* holes_are_in() */
    bool direct; /* opened with O_DIRECT: buffer and buffer_size are multiples of HOLES_ALIGN */
    uint64_t offset;
    uint64_t size;
    uint8_t *buffer; /* of the caller */
    size_t buffer_size;
};

/*
 * Add the bytes of a range to a hash, holes without reading them. *ret_read counts what was read.
 * LB_NOT_FOUND: the file is shorter; LB_IO with errno left set.
 */
LB_MUST_CHECK lb_err holes_hash(struct piece_hasher *hasher, const struct holes_range *range,
                                uint64_t *ret_read);

/*
 * The same file once more, so that reading it asks the disk and not the page cache: O_DIRECT, or
 * where the file system has none (tmpfs) the cached pages are dropped first. *ret_direct says
 * which; -1 with errno left set.
 */
int holes_open_direct(int fd, bool *ret_direct);
