#include "libcommon/page_reader.h"

#include "libcommon/log.h"

#include <stdio.h>
#include <sys/stat.h>

void page_reader_init(struct page_reader *self, const char *folder, const char *name)
{
    *self = (struct page_reader){ 0 };
    snprintf(self->path, sizeof(self->path), "%s/%s", folder, name);
}

void page_reader_done(struct page_reader *self)
{
    page_close(&self->page);
}

/* Does the name lead to another file than the one we mapped. */
static bool is_replaced(const struct page_reader *self)
{
    struct stat now;

    return stat(self->path, &now) == 0 && (now.st_ino != self->inode || now.st_dev != self->device);
}

bool page_reader_map(struct page_reader *self, size_t size_min, page_valid_fn *is_valid)
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
