#include "services/swarm/holes.h"

#include "services/swarm/piece_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZEROS_SIZE (64u * 1024)

static const uint8_t zeros[ZEROS_SIZE];

bool holes_are_zeros(const uint8_t *data, size_t size)
{
    /* Each byte equals the one before it, and the first is 0. */
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

bool holes_are_in(const struct stat *file)
{
    const uint64_t unit = 512; /* of st_blocks, stat(2) */

    return (uint64_t)file->st_blocks * unit < (uint64_t)file->st_size;
}

bool holes_next_data(int fd, uint64_t from, uint64_t end, uint64_t *ret_begin, uint64_t *ret_end)
{
    off_t begin = lseek(fd, (off_t)from, SEEK_DATA), hole;

    if (begin < 0 && errno != ENXIO)
        begin = (off_t)from; /* holes are not known here */
    if (begin < 0 || (uint64_t)begin >= end)
        return false;
    hole = lseek(fd, begin, SEEK_HOLE);
    if (hole < 0 || (uint64_t)hole > end)
        hole = (off_t)end;
    *ret_begin = (uint64_t)begin;
    *ret_end = (uint64_t)hole;
    return true;
}

static int write_zeros(int fd, uint64_t offset, uint64_t size)
{
    while (size > 0) {
        ssize_t done =
            pwrite(fd, zeros, size < ZEROS_SIZE ? (size_t)size : ZEROS_SIZE, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        offset += (uint64_t)done;
        size -= (uint64_t)done;
    }
    return 0;
}

static int change(int fd, int mode, uint64_t offset, uint64_t size)
{
    int done;

    do
        done = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    while (done < 0 && errno == EINTR);
    return done;
}

/*
 * On a block device FALLOC_FL_PUNCH_HOLE succeeds only when the device promises zeros afterwards;
 * FALLOC_FL_ZERO_RANGE has the kernel write them where it cannot (block/fops.c,
 * blkdev_fallocate()).
 */
int holes_make(int fd, uint64_t offset, uint64_t size)
{
    uint64_t begin, end;

    if (size < HOLES_MIN && !holes_next_data(fd, offset, offset + size, &begin, &end))
        return 0;
    if (size < HOLES_MIN)
        return write_zeros(fd, offset, size);
    if (change(fd, FALLOC_FL_PUNCH_HOLE, offset, size) == 0 ||
        change(fd, FALLOC_FL_ZERO_RANGE, offset, size) == 0)
        return 0;
    return write_zeros(fd, offset, size);
}

static lb_err add_data(struct piece_hasher *hasher, const struct holes_range *range, uint64_t begin,
                       uint64_t end)
{
    while (begin < end) {
        /* A direct read begins and ends between blocks of the disk; the rest of it is left. */
        size_t before = range->direct ? (size_t)(begin % HOLES_ALIGN) : 0;
        size_t want = before + end - begin < range->buffer_size ? (size_t)(before + end - begin)
                                                                : range->buffer_size;
        size_t whole = range->direct ? (want + HOLES_ALIGN - 1) / HOLES_ALIGN * HOLES_ALIGN : want;
        ssize_t got = pread(range->fd, range->buffer, whole, (off_t)(begin - before));
        size_t size;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return LB_IO;
        size = (size_t)got < want ? (size_t)got : want;
        if (size <= before)
            return LB_NOT_FOUND;
        piece_hasher_add(hasher, bytes_of(range->buffer + before, size - before));
        begin += size - before;
    }
    return LB_OK;
}

lb_err holes_hash(struct piece_hasher *hasher, const struct holes_range *range, uint64_t *ret_read)
{
    uint64_t at = range->offset, stop = range->offset + range->size, begin = at, end = stop;

    while (at < stop) {
        bool data = !range->sparse || holes_next_data(range->fd, at, stop, &begin, &end);
        lb_err err = LB_OK;

        if (!data)
            begin = end = stop;
        piece_hasher_add_zeros(hasher, begin - at);
        err = add_data(hasher, range, begin, end);
        if (err != LB_OK)
            return err;
        *ret_read += end - begin;
        at = end;
    }
    return LB_OK;
}

int holes_open_direct(int fd, bool *ret_direct)
{
    char path[64];
    int again;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    *ret_direct = again >= 0;
    if (again >= 0 || errno != EINVAL)
        return again;
    again = open(path, O_RDONLY | O_CLOEXEC);
    if (again >= 0) {
        (void)fdatasync(again); /* a page that is dirty is not dropped */
        (void)posix_fadvise(again, 0, 0, POSIX_FADV_DONTNEED);
    }
    return again;
}
