#include "services/routing/external.h"

void external_vote(struct external *self, const struct address *voter, const struct address *seen)
{
    unsigned at = 0;

    if (address_is_private(seen) || address_is_private(voter)) {
        return;
    }
    while (at < self->count && !address_same_subnet(&self->votes[at].voter, voter)) {
        at++;
    }
    if (at == EXTERNAL_VOTES_MAX) {
        at = self->next;
        self->next = (self->next + 1) % EXTERNAL_VOTES_MAX;
    } else if (at == self->count) {
        self->count++;
    }
    self->votes[at].voter = *voter;
    self->votes[at].seen = *seen;
    self->votes[at].seen.port = 0;
}

bool external_find(const struct external *self, struct address *ret_address)
{
    for (unsigned i = 0; i < self->count; i++) {
        unsigned same = 0;
        for (unsigned j = 0; j < self->count; j++) {
            same += address_equal(&self->votes[i].seen, &self->votes[j].seen);
        }
        if (same >= EXTERNAL_VOTES_LEAST && same * 2 > self->count) {
            *ret_address = self->votes[i].seen;
            return true;
        }
    }
    return false;
}
