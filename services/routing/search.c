#include "services/routing/search.h"

#include <stdlib.h>

void search_free(struct search **self)
{
    if (*self == NULL) {
        return;
    }
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        lookup_free(&(*self)->lookups[i]);
    }
    free(*self);
    *self = NULL;
}

bool search_is_finished(const struct search *self, uint64_t now_ms)
{
    if (now_ms >= self->order.deadline_ms) {
        return true;
    }
    bool finished = self->started;
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        finished = finished && (self->lookups[i] == NULL || lookup_is_finished(self->lookups[i]));
    }
    return finished;
}

size_t search_closest(const struct search *self,
                      const struct candidate *ret_closest[SEARCH_CLOSEST_MAX])
{
    const struct candidate *found[ROUTING_FAMILIES][LOOKUP_K_MAX];
    size_t counts[ROUTING_FAMILIES] = { 0 }, taken[ROUTING_FAMILIES] = { 0 };
    size_t count = 0;

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        if (self->lookups[i] != NULL) {
            counts[i] = lookup_closest(self->lookups[i], found[i], LOOKUP_K_MAX);
        }
    }
    while (taken[0] < counts[0] || taken[1] < counts[1]) {
        int order =
            taken[0] == counts[0] ? 1
            : taken[1] == counts[1]
                ? -1
                : node_id_compare_distance(&self->order.aim.target, &found[0][taken[0]]->contact.id,
                                           &found[1][taken[1]]->contact.id);
        ret_closest[count++] = order <= 0 ? found[0][taken[0]] : found[1][taken[1]];
        taken[0] += order <= 0;
        taken[1] += order >= 0;
    }
    return count;
}

bool search_self_is_close(const struct search *self)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    size_t count = search_closest(self, closest);

    return count < self->order.aim.k ||
           node_id_compare_distance(&self->order.aim.target, &self->self_id,
                                    &closest[self->order.aim.k - 1]->contact.id) < 0;
}

struct search_effort search_effort(const struct search *self)
{
    struct search_effort effort = { 0, 0, 0 };

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        const struct lookup *lookup = self->lookups[i];
        if (lookup != NULL) {
            effort.queries += lookup->queries;
            effort.answers += lookup->answers;
            effort.rounds = lookup->rounds > effort.rounds ? lookup->rounds : effort.rounds;
        }
    }
    return effort;
}
