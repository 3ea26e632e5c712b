#include "services/transport/pages.h"

#include "libcommon/log.h"
#include "libcommon/presence_page.h"
#include "libcommon/routing_page.h"

#include <stdio.h>
#include <sys/stat.h>

void pages_init(struct pages *self, const char *run_folder)
{
    *self = (struct pages){ 0 };
    snprintf(self->routing_reader.path, sizeof(self->routing_reader.path), "%s/routing.shm",
             run_folder);
    snprintf(self->presence_reader.path, sizeof(self->presence_reader.path), "%s/presence.shm",
             run_folder);
}

void pages_done(struct pages *self)
{
    page_close(&self->routing_reader.page);
    page_close(&self->presence_reader.page);
    self->routing = NULL;
    self->presence = NULL;
}

/* Does the name lead to another file than the one we mapped. */
static bool is_replaced(const struct page_reader *self)
{
    struct stat now;

    return stat(self->path, &now) == 0 && (now.st_ino != self->inode || now.st_dev != self->device);
}

typedef bool valid_fn(const void *memory, size_t size);

static bool routing_is_valid(const void *memory, size_t size)
{
    return routing_page_is_valid(memory, size);
}

static bool presence_is_valid(const void *memory, size_t size)
{
    return presence_page_is_valid(memory, size);
}

/* Map the file of this name if it is another one; false when there is nothing new. */
static bool map(struct page_reader *self, size_t size_min, valid_fn *is_valid)
{
    struct page fresh = { 0 };
    struct stat now;

    if (self->page.memory && !is_replaced(self))
        return false;
    if (stat(self->path, &now) != 0 || page_open(&fresh, self->path, size_min, false) != LB_OK)
        return false;
    if (!is_valid(fresh.memory, fresh.size)) {
        log_debug("page not valid path=%s", self->path);
        page_close(&fresh);
        return false;
    }
    page_close(&self->page);
    self->page = fresh;
    self->device = now.st_dev;
    self->inode = now.st_ino;
    log_info("page mapped path=%s", self->path);
    return true;
}

static bool is_stale(const struct pages *self)
{
    return !self->routing || !self->presence ||
           atomic_load_explicit(&self->routing->retired, memory_order_relaxed) != 0 ||
           atomic_load_explicit(&self->presence->retired, memory_order_relaxed) != 0;
}

bool pages_check(struct pages *self, uint64_t now_ms)
{
    bool changed;

    if (now_ms < self->look_ms && (now_ms < self->retry_ms || !is_stale(self)))
        return false;
    self->retry_ms = now_ms + PAGES_RETRY_MS;
    self->look_ms = now_ms + PAGES_LOOK_MS;
    changed = map(&self->routing_reader, sizeof(struct routing_page), routing_is_valid);
    changed |= map(&self->presence_reader, sizeof(struct presence_page), presence_is_valid);
    self->routing = self->routing_reader.page.memory;
    self->presence = self->presence_reader.page.memory;
    return changed;
}
