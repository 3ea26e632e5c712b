/*
 * Following a shared-memory page whose writer may come again: the file of a name is mapped, and
 * mapped anew when the name leads to another file. While there is nothing new to map, the old page
 * goes on serving.
 */
#pragma once

#include "libcommon/page.h"
#include "libcommon/paths.h"

#include <stdbool.h>
#include <sys/types.h>

struct page_reader {
    char path[PATHS_SIZE + 16];
    struct page page; /* its memory is NULL until a valid one was there */
    dev_t device;
    ino_t inode;
};

typedef bool page_valid_fn(const void *memory, size_t size);

/* name: of a file in that folder, "routing.shm". */
void page_reader_init(struct page_reader *self, const char *folder, const char *name);
void page_reader_done(struct page_reader *self);

/* Map the file if it is another one: true, and what pointed into the old page is not valid any
 * more. size_min: smaller ones are not mapped, nor are those that are not valid. */
bool page_reader_map(struct page_reader *self, size_t size_min, page_valid_fn *is_valid);
