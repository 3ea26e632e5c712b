/*
 * Shared-memory files in the run folder, mapped MAP_SHARED.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>

struct page {
    void *memory; /* NULL when not mapped */
    size_t size;
};

/*
 * A fresh zeroed file under a temporary name, mapped for writing, space reserved (posix_fallocate,
 * so that a full disk is LB_NO_SPACE here and not SIGBUS later). page_publish() gives it its name.
 */
LB_MUST_CHECK lb_err page_create(struct page *ret_self, const char *path, size_t size);

/*
 * For a file that may be written, in a folder where none may be made: map it, grown to size if it
 * is shorter (never cut: others may have mapped it), with what is in it.
 */
LB_MUST_CHECK lb_err page_adopt(struct page *ret_self, const char *path, size_t size);

/* Rename the temporary file over path: readers that open it from now on find this one. Who may read
 * and write what was there before may do so with this one. */
LB_MUST_CHECK lb_err page_publish(struct page *self, const char *path);

/* Map an existing file, read-only unless writable. LB_NOT_FOUND, LB_CORRUPT when shorter than
 * size_min. */
LB_MUST_CHECK lb_err page_open(struct page *ret_self, const char *path, size_t size_min,
                               bool writable);
void page_close(struct page *self);
