#include "services/storage/presence.h"

#include "libcommon/presence_page.h"
#include "services/storage/db.h"

#include <stdatomic.h>
#include <stdio.h>

void presence_init(struct presence *self, const char *pages_folder)
{
    *self = (struct presence){ 0 };
    snprintf(self->path, sizeof self->path, "%s/presence.shm", pages_folder);
}

void presence_done(struct presence *self)
{
    page_close(&self->page);
    page_close(&self->fresh);
}

lb_err presence_open(struct presence *self)
{
    struct page page = { 0 };
    lb_err err = page_open(&page, self->path, sizeof(struct presence_page), true);

    if (err != LB_OK)
        return err;
    if (!presence_page_is_valid(page.memory, page.size)) {
        page_close(&page);
        return LB_CORRUPT;
    }
    page_close(&self->page);
    self->page = page;
    return LB_OK;
}

static void add_found(void *ctx, const struct node_id *target)
{
    struct presence *self = ctx;

    presence_page_add(self->fresh.memory, target);
    self->targets++;
}

/* The old page is the one under the name, made by whomever; then the new one takes the name. */
static lb_err publish(void *ctx)
{
    struct presence *self = ctx;
    struct page old = { 0 };
    lb_err found = page_open(&old, self->path, sizeof(struct presence_page), true);
    lb_err err = page_publish(&self->fresh, self->path);

    if (found == LB_OK && err == LB_OK && presence_page_is_valid(old.memory, old.size))
        atomic_store(&((struct presence_page *)old.memory)->retired, 1);
    page_close(&old);
    return err;
}

lb_err presence_build(struct presence *self, struct db *db)
{
    lb_err err = page_create(&self->fresh, self->path, sizeof(struct presence_page));

    if (err != LB_OK)
        return err;
    self->targets = 0;
    presence_page_init(self->fresh.memory);
    err = db_each_target(db, add_found, publish, self);
    if (err == LB_OK) {
        page_close(&self->page);
        self->page = self->fresh;
        self->fresh = (struct page){ 0 };
    }
    page_close(&self->fresh);
    return err;
}

static bool is_retired(const struct presence *self)
{
    const struct presence_page *page = self->page.memory;

    return atomic_load(&page->retired) != 0;
}

void presence_add(struct presence *self, const struct node_id *target)
{
    if (self->page.memory == NULL)
        return;
    presence_page_add(self->page.memory, target);
    if (is_retired(self) && presence_open(self) == LB_OK)
        presence_page_add(self->page.memory, target);
}
