#include "services/routing/recall.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

struct recalled {
    struct node_id target;
    enum routing_family family;
    uint64_t at_ms;
    size_t count;
    struct contact nodes[];
};

void recall_done(struct recall *self)
{
    for (unsigned i = 0; i < RECALL_TARGETS_MAX; i++) {
        free(self->targets[i]);
        self->targets[i] = NULL;
    }
}

/* RECALL_TARGETS_MAX: it is not there. */
static unsigned find(const struct recall *self, const struct node_id *target,
                     enum routing_family family)
{
    for (unsigned i = 0; i < RECALL_TARGETS_MAX && self->targets[i] != NULL; i++) {
        if (self->targets[i]->family == family &&
            node_id_equal(&self->targets[i]->target, target)) {
            return i;
        }
    }
    return RECALL_TARGETS_MAX;
}

static bool is_over(const struct recalled *recalled, uint64_t now_ms)
{
    return now_ms - recalled->at_ms > RECALL_MS;
}

/* Every silent node is looked for among all that is kept: most of it need not be looked at. */
static uint64_t mark_of(const struct address *address)
{
    return (uint64_t)1 << (address_hash(address, 0) % 64);
}

static uint64_t marks_of(const struct recalled *recalled)
{
    uint64_t marks = 0;

    for (size_t i = 0; i < recalled->count; i++) {
        marks |= mark_of(&recalled->nodes[i].address);
    }
    return marks;
}

void recall_keep(struct recall *self, const struct node_id *target, enum routing_family family,
                 const struct contact *nodes, size_t count, uint64_t now_ms)
{
    unsigned at = find(self, target, family);

    if (count == 0) {
        return;
    }
    count = count < RECALL_NODES_MAX ? count : RECALL_NODES_MAX;
    struct recalled *recalled = xcalloc(1, sizeof(*recalled) + count * sizeof(*nodes));
    recalled->target = *target;
    recalled->family = family;
    recalled->at_ms = now_ms;
    recalled->count = count;
    memcpy(recalled->nodes, nodes, count * sizeof(*nodes));
    if (at < RECALL_TARGETS_MAX && !is_over(self->targets[at], now_ms)) {
        recalled->at_ms = self->targets[at]->at_ms; /* it began there, not anew */
    }
    at = at < RECALL_TARGETS_MAX ? at : RECALL_TARGETS_MAX - 1;
    free(self->targets[at]);
    memmove(&self->targets[1], &self->targets[0], at * sizeof(struct recalled *));
    memmove(&self->marks[1], &self->marks[0], at * sizeof(self->marks[0]));
    self->targets[0] = recalled;
    self->marks[0] = marks_of(recalled);
}

size_t recall_find(const struct recall *self, const struct node_id *target,
                   enum routing_family family, uint64_t now_ms,
                   struct contact ret_nodes[RECALL_NODES_MAX])
{
    unsigned at = find(self, target, family);

    if (at == RECALL_TARGETS_MAX || is_over(self->targets[at], now_ms)) {
        return 0;
    }
    memcpy(ret_nodes, self->targets[at]->nodes, self->targets[at]->count * sizeof(struct contact));
    return self->targets[at]->count;
}

static void remove_address(struct recalled *recalled, const struct address *address)
{
    size_t kept = 0;

    for (size_t i = 0; i < recalled->count; i++) {
        if (!address_equal(&recalled->nodes[i].address, address)) {
            recalled->nodes[kept++] = recalled->nodes[i];
        }
    }
    recalled->count = kept;
}

void recall_forget(struct recall *self, const struct address *address)
{
    uint64_t mark = mark_of(address);

    for (unsigned i = 0; i < RECALL_TARGETS_MAX && self->targets[i] != NULL; i++) {
        if ((self->marks[i] & mark) != 0) {
            remove_address(self->targets[i], address);
            self->marks[i] = marks_of(self->targets[i]);
        }
    }
}
