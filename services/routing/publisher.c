#include "services/routing/publisher.h"

#include "libcommon/log.h"
#include "libcommon/routing_page.h"

#include <stdio.h>

static uint64_t next_generation(const struct publisher *self)
{
    const struct routing_page *old = self->old.memory;

    return old == NULL ? 1 : old->generation + 1;
}

/* Our page takes the name; readers of the old one are told to look again. */
static lb_err take_over(struct publisher *self, struct router *router)
{
    struct page fresh = { 0 };
    lb_err err = page_create(&fresh, self->path, sizeof(struct routing_page));

    if (err != LB_OK) {
        return err;
    }
    routing_page_init(fresh.memory, &router->self_id, next_generation(self));
    self->page = fresh;
    self->version = UINT64_MAX;
    return LB_OK;
}

static lb_err give_name(struct publisher *self)
{
    lb_err err = page_publish(&self->page, self->path);

    if (err != LB_OK) {
        page_close(&self->page);
        return err;
    }
    if (self->old.memory != NULL) {
        struct routing_page *old = self->old.memory;
        atomic_store(&old->retired, 1);
        page_close(&self->old);
    }
    return LB_OK;
}

static void publish(struct publisher *self, struct router *router, uint64_t now_ms)
{
    const struct contact *contacts[ROUTING_FAMILIES];
    uint32_t counts[ROUTING_FAMILIES];

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        contacts[i] = router_sorted(router, (enum routing_family)i, &counts[i]);
    }
    routing_page_publish(self->page.memory, contacts, counts);
    self->version = router_version(router);
    self->published_ms = now_ms;
}

static lb_err open_own(struct publisher *self, struct router *router, uint64_t now_ms)
{
    lb_err err = take_over(self, router);

    if (err == LB_OK) {
        publish(self, router, now_ms);
        err = give_name(self);
    }
    return err;
}

/* Its writer has ended, so nothing moves; still it is only a file, so counts are checked. */
static void ask_old_contacts(const struct routing_page *old, struct router *router)
{
    const struct routing_page_copy *copy = &old->copies[atomic_load(&old->version) % 2];

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        const struct routing_page_family *family = &copy->family[i];
        uint32_t count = family->count <= ROUTING_PAGE_CONTACTS_MAX ? family->count : 0;
        for (uint32_t j = 0; j < count && j < SNAPSHOT_CONTACTS_MAX / 2; j++) {
            struct contact contact = family->contacts[j];
            router_add_seed(router, &contact.address);
        }
    }
}

lb_err publisher_open(struct publisher *self, const char *pages_folder, struct router *router,
                      uint64_t now_ms)
{
    *self = (struct publisher){ .started_ms = now_ms, .version = UINT64_MAX };
    snprintf(self->path, sizeof(self->path), "%s/routing.shm", pages_folder);
    if (page_open(&self->old, self->path, sizeof(struct routing_page), true) == LB_OK) {
        const struct routing_page *old = self->old.memory;
        if (!routing_page_is_valid(old, self->old.size)) {
            page_close(&self->old);
        } else if (node_id_equal(&old->self_id, &router->self_id) &&
                   atomic_load(&old->version) > 0) {
            ask_old_contacts(old, router);
            return LB_OK;
        }
    }
    return open_own(self, router, now_ms);
}

uint64_t publisher_update(struct publisher *self, struct router *router, uint64_t now_ms)
{
    if (self->page.memory == NULL) {
        uint64_t due_ms = self->started_ms + PUBLISHER_WAIT_MS;
        if (!router_is_joined(router) && now_ms < due_ms) {
            return due_ms;
        }
        lb_err err = open_own(self, router, now_ms);
        if (err != LB_OK) {
            log_warn("cannot make routing.shm, the old one serves: %s", lb_err_text(err));
            self->started_ms = now_ms;
            return now_ms + PUBLISHER_WAIT_MS;
        }
        return UINT64_MAX;
    }
    if (self->version == router_version(router)) {
        return UINT64_MAX;
    }
    if (now_ms < self->published_ms + PUBLISHER_EVERY_MS) {
        return self->published_ms + PUBLISHER_EVERY_MS;
    }
    publish(self, router, now_ms);
    return UINT64_MAX;
}

void publisher_close(struct publisher *self)
{
    page_close(&self->old);
    page_close(&self->page); /* the file stays: it serves transport until we are back */
}
