#include "services/transport/pages.h"

#include "libcommon/presence_page.h"
#include "libcommon/routing_page.h"

void pages_init(struct pages *self, const char *pages_folder)
{
    *self = (struct pages){ 0 };
    page_reader_init(&self->routing_reader, pages_folder, "routing.shm");
    page_reader_init(&self->presence_reader, pages_folder, "presence.shm");
}

void pages_done(struct pages *self)
{
    page_reader_done(&self->routing_reader);
    page_reader_done(&self->presence_reader);
    self->routing = NULL;
    self->presence = NULL;
}

static bool routing_is_valid(const void *memory, size_t size)
{
    return routing_page_is_valid(memory, size);
}

static bool presence_is_valid(const void *memory, size_t size)
{
    return presence_page_is_valid(memory, size);
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
    changed = page_reader_map(&self->routing_reader, sizeof(struct routing_page), routing_is_valid);
    changed |=
        page_reader_map(&self->presence_reader, sizeof(struct presence_page), presence_is_valid);
    self->routing = self->routing_reader.page.memory;
    self->presence = self->presence_reader.page.memory;
    return changed;
}
