#include "services/routing/lookup_inside.h"

#include <assert.h>
#include <string.h>

/* ---- answers ---- */

/* Somebody else than we were told lives there. Returns false when that one is known already. */
static bool rename_candidate(struct lookup *self, struct candidate *candidate,
                             const struct node_id *id)
{
    bool there;
    uint16_t old_rank = lookup_find_rank(self, &candidate->contact.id, &there);

    assert(there);
    if (node_id_equal(id, &self->self_id)) {
        return false;
    }
    (void)lookup_find_rank(self, id, &there);
    if (there) {
        return false;
    }
    uint16_t index = self->order[old_rank];
    lookup_order_remove(self, old_rank);
    candidate->contact.id = *id;
    lookup_order_insert(self, lookup_find_rank(self, id, &there), index);
    return true;
}

/* Who was expected at a candidate's address may live where else it is said to. */
static void look_elsewhere(struct lookup *self, struct candidate *candidate,
                           const struct node_id *expected)
{
    struct candidate before = *candidate;

    candidate->others_count = candidate->others_tried; /* there nobody is to be asked again */
    for (unsigned i = before.others_tried; i < before.others_count; i++) {
        struct contact contact = { .id = *expected, .address = before.others[i] };
        (void)lookup_add(self, &contact, before.round);
    }
}

static void take_token(struct candidate *candidate, struct bytes token)
{
    candidate->token_size = 0;
    if (token.size > 0 && token.size <= LOOKUP_TOKEN_MAX) {
        memcpy(candidate->token, token.data, token.size);
        candidate->token_size = (uint8_t)token.size;
    }
}

static void take_item(struct lookup *self, struct candidate *candidate,
                      const struct found_item *item)
{
    bool is_sent = item->value.size > 0;

    if (!is_sent || findings_item_fits(item)) {
        candidate->has_item = true;
        candidate->item_seq = item->seq;
        candidate->item = findings_add_item(&self->findings, item);
    }
}

static size_t nodes_taken(const struct reply *reply)
{
    return reply->nodes_count < LOOKUP_REPLY_NODES_MAX ? reply->nodes_count
                                                       : LOOKUP_REPLY_NODES_MAX;
}

static void take_far(struct lookup *self, struct candidate *candidate, const struct reply *reply)
{
    size_t count = nodes_taken(reply);

    candidate->is_full = count >= PROOF_ANSWER_FULL;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 ||
            node_id_compare_distance(&self->aim.target, &reply->nodes[i].id, &candidate->far) > 0) {
            candidate->far = reply->nodes[i].id;
        }
    }
}

static void take_nodes(struct lookup *self, const struct reply *reply, unsigned round)
{
    bool nearer = false;

    for (size_t i = 0; i < nodes_taken(reply); i++) {
        nearer |= lookup_add(self, &reply->nodes[i], round + 1);
    }
    /* Nothing nearer: the end is in sight, ask what is left of the k nearest together. */
    self->parallel = nearer ? LOOKUP_ALPHA : LOOKUP_PARALLEL_MAX;
}

static void take_answer(struct lookup *self, struct candidate *candidate, const struct reply *reply)
{
    struct node_id expected = candidate->contact.id;
    bool is_other = !node_id_equal(&reply->id, &expected);

    if (is_other && !rename_candidate(self, candidate, &reply->id)) {
        lookup_missed(self, candidate);
        return;
    }
    candidate->state = CANDIDATE_ANSWERED;
    if (is_other) {
        look_elsewhere(self, candidate, &expected);
    }
    candidate->littlebird = reply->littlebird;
    self->answers++;
    take_token(candidate, reply->token);
    if (self->aim.kind == LOOKUP_PEERS) {
        for (size_t i = 0; i < reply->peers_count; i++) {
            findings_add_peer(&self->findings, &reply->peers[i]);
        }
    }
    if (self->aim.kind == LOOKUP_VALUE && reply->item != NULL) {
        take_item(self, candidate, reply->item);
    }
    take_nodes(self, reply, candidate->round);
    take_far(self, candidate, reply);
}

static void part_reply(struct lookup *self, unsigned ask, const struct reply *reply)
{
    self->proof_open -= self->proof_open > 0;
    if (reply->outcome == REPLY_ANSWERED) {
        self->answers++;
        take_nodes(self, reply, self->proof_rounds[ask]);
        proof_answered(&self->proof, ask, &reply->id, reply->nodes, nodes_taken(reply));
    }
    lookup_check_end(self);
}

void lookup_reply(struct lookup *self, uint32_t ticket, const struct reply *reply)
{
    if (self->finished) {
        return;
    }
    if ((ticket & LOOKUP_PROOF) != 0) {
        part_reply(self, ticket & ~LOOKUP_PROOF, reply);
        return;
    }
    assert(ticket < LOOKUP_CANDIDATES_MAX);
    struct candidate *candidate = &self->candidates[ticket];
    if (candidate->state != CANDIDATE_ASKED && candidate->state != CANDIDATE_SLOW) {
        return;
    }
    switch (reply->outcome) {
    case REPLY_ANSWERED:
        take_answer(self, candidate, reply);
        break;
    case REPLY_REFUSED:
        /* It may still know nodes: BEP 44 is not everywhere. */
        if (candidate->no_values || self->aim.kind == LOOKUP_NODES) {
            lookup_missed(self, candidate);
        } else {
            candidate->state = CANDIDATE_NEW;
            candidate->no_values = true;
        }
        break;
    case REPLY_UNSENT:
        self->queries -= self->queries > 0;
        candidate->state = CANDIDATE_NEW;
        if (++candidate->unsent > LOOKUP_UNSENT_MAX) {
            lookup_missed(self, candidate);
        }
        break;
    case REPLY_SILENT:
    case REPLY_UNREACHABLE:
        lookup_missed(self, candidate);
        break;
    }
    lookup_check_end(self);
}
