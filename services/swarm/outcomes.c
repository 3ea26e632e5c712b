#include "services/swarm/outcomes.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

void outcomes_done(struct outcomes *self)
{
    free(self->items);
    *self = (struct outcomes){ 0 };
}

struct outcome *outcomes_find(const struct outcomes *self, const struct address *address,
                              const char *host)
{
    for (uint32_t i = 0; i < self->count; i++) {
        struct outcome *item = &self->items[i];
        const bool same_name = host[0] != '\0' && strcmp(item->host, host) == 0;
        if (address_equal(&item->address, address) ||
            (same_name && address_same_ip(&item->address, address)))
            return item;
    }
    return NULL;
}

static struct outcome *new_place(struct outcomes *self)
{
    if (self->count == OUTCOMES_MAX) {
        struct outcome *place = &self->items[self->oldest];
        self->oldest = (self->oldest + 1) % OUTCOMES_MAX;
        return place;
    }
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 16 : 2 * self->capacity;
        self->items = xrealloc(self->items, self->capacity * sizeof *self->items);
    }
    return &self->items[self->count++];
}

void outcomes_add(struct outcomes *self, const struct outcome *outcome)
{
    self->changed = true;
    struct outcome *known = outcomes_find(self, &outcome->address, outcome->host);
    if (known == NULL) {
        *new_place(self) = *outcome;
        return;
    }
    known->received_bytes += outcome->received_bytes;
    known->sent_bytes += outcome->sent_bytes;
    known->verified |= outcome->verified;
    known->cooperative |= outcome->cooperative;
    if (outcome->host[0] != '\0')
        memcpy(known->host, outcome->host, sizeof known->host);
    if (outcome->client[0] != '\0')
        memcpy(known->client, outcome->client, sizeof known->client);
}
