#include "services/routing/lookup_inside.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct lookup *lookup_new(const struct node_id *self_id, const struct lookup_aim *aim,
                          enum routing_family family)
{
    assert(aim->k >= 1);
    assert(aim->k <= LOOKUP_K_MAX);
    struct lookup *self = xcalloc(1, sizeof(*self));
    self->self_id = *self_id;
    self->aim = *aim;
    self->family = family;
    self->parallel = LOOKUP_ALPHA;
    self->slow_ms = 1000;
    proof_init(&self->proof, &aim->target);
    self->candidates = xcalloc(LOOKUP_CANDIDATES_MAX, sizeof(*self->candidates));
    return self;
}

void lookup_free(struct lookup **self)
{
    if (*self == NULL) {
        return;
    }
    findings_done(&(*self)->findings);
    free((*self)->candidates);
    free(*self);
    *self = NULL;
}

void lookup_set_slow(struct lookup *self, uint64_t slow_ms)
{
    self->slow_ms = slow_ms;
}

/* ---- candidates ---- */

uint16_t lookup_find_rank(const struct lookup *self, const struct node_id *id, bool *ret_there)
{
    uint16_t low = 0, high = self->count;

    *ret_there = false;
    while (low < high) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        const struct node_id *there = &self->candidates[self->order[middle]].contact.id;
        int order = node_id_compare_distance(&self->aim.target, there, id);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0) {
            low = (uint16_t)(middle + 1);
        } else {
            high = middle;
        }
    }
    return low;
}

/* It is to be asked there, or was. */
static bool stands_at(const struct candidate *candidate, const struct address *address)
{
    bool any = address_equal(&candidate->contact.address, address);

    for (unsigned i = 0; i < candidate->others_tried && !any; i++) {
        any = address_equal(&candidate->others[i], address);
    }
    return any;
}

static bool has_address(const struct lookup *self, const struct address *address)
{
    for (uint16_t i = 0; i < self->count; i++) {
        if (stands_at(&self->candidates[self->order[i]], address)) {
            return true;
        }
    }
    return false;
}

void lookup_order_insert(struct lookup *self, uint16_t rank, uint16_t index)
{
    memmove(&self->order[rank + 1], &self->order[rank],
            (size_t)(self->count - rank) * sizeof(self->order[0]));
    self->order[rank] = index;
    self->count++;
}

void lookup_order_remove(struct lookup *self, uint16_t rank)
{
    self->count--;
    memmove(&self->order[rank], &self->order[rank + 1],
            (size_t)(self->count - rank) * sizeof(self->order[0]));
}

/* A free index for a candidate of this rank, taken from the farthest unasked one if need be. */
static bool make_room(struct lookup *self, uint16_t rank, uint16_t *ret_index)
{
    if (self->count < LOOKUP_CANDIDATES_MAX) {
        *ret_index = self->count; /* indices are handed out in order and only ever swapped */
        return true;
    }
    for (uint16_t i = self->count; i > rank; i--) {
        uint16_t index = self->order[i - 1];
        if (self->candidates[index].state == CANDIDATE_NEW) {
            lookup_order_remove(self, (uint16_t)(i - 1));
            *ret_index = index;
            return true;
        }
    }
    return false;
}

static void ask_elsewhere(struct candidate *candidate)
{
    struct address *next = &candidate->others[candidate->others_tried++];
    struct address tried = candidate->contact.address;

    candidate->contact.address = *next;
    *next = tried;
    candidate->state = CANDIDATE_NEW;
    candidate->suspect = candidate->no_values = false;
    candidate->unsent = 0;
}

void lookup_missed(struct lookup *self, struct candidate *candidate)
{
    candidate->state = CANDIDATE_FAILED;
    while (candidate->state == CANDIDATE_FAILED &&
           candidate->others_tried < candidate->others_count) {
        if (has_address(self, &candidate->others[candidate->others_tried])) {
            candidate->others_tried++; /* by now somebody else was named there */
        } else {
            ask_elsewhere(candidate);
        }
    }
}

/* Its id is known already, and said to be at this address. */
static void add_address(struct candidate *candidate, const struct address *address)
{
    if (candidate->state == CANDIDATE_ANSWERED ||
        candidate->others_count == LOOKUP_ADDRESSES_MAX - 1) {
        return;
    }
    for (unsigned i = 0; i < candidate->others_count; i++) {
        if (address_equal(&candidate->others[i], address)) {
            return;
        }
    }
    candidate->others[candidate->others_count++] = *address;
    if (candidate->state == CANDIDATE_FAILED) {
        ask_elsewhere(candidate);
    }
}

bool lookup_add(struct lookup *self, const struct contact *contact, unsigned round)
{
    bool there;
    uint16_t index;

    if (node_id_equal(&contact->id, &self->self_id) || !address_is_usable(&contact->address) ||
        address_is_v4(&contact->address) != (self->family == ROUTING_V4)) {
        return false;
    }
    uint16_t rank = lookup_find_rank(self, &contact->id, &there);
    if (has_address(self, &contact->address)) {
        return false;
    }
    if (there) {
        add_address(&self->candidates[self->order[rank]], &contact->address);
        return false;
    }
    if (!make_room(self, rank, &index)) {
        return false;
    }
    self->candidates[index] = (struct candidate){ .contact = *contact, .round = (uint16_t)round };
    lookup_order_insert(self, rank, index);
    return rank < self->aim.k;
}

/* ---- other paths ---- */

void lookup_share(struct lookup *self, struct lookup *const *paths, unsigned paths_count)
{
    self->paths = paths;
    self->paths_count = paths_count;
}

/* Whoever stands at this address. */
static const struct candidate *find_contact(const struct lookup *self,
                                            const struct address *address)
{
    for (uint16_t i = 0; i < self->count; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (stands_at(candidate, address)) {
            return candidate;
        }
    }
    return NULL;
}

const struct candidate *lookup_known(const struct lookup *self, const struct candidate *candidate)
{
    static const struct candidate failed = { .state = CANDIDATE_FAILED };

    for (unsigned i = 0; i < self->paths_count && candidate->state == CANDIDATE_NEW; i++) {
        const struct lookup *path = self->paths[i];
        const struct candidate *other =
            path == NULL || path == self ? NULL : find_contact(path, &candidate->contact.address);
        if (other == NULL) {
            continue;
        }
        if (!address_equal(&other->contact.address, &candidate->contact.address)) {
            return &failed; /* nobody was there */
        }
        if (other->state != CANDIDATE_NEW) {
            return other;
        }
    }
    return candidate;
}

void lookup_seed(struct lookup *self, const struct contact *contact)
{
    (void)lookup_add(self, contact, 1);
}

void lookup_expect_near(struct lookup *self)
{
    self->parallel = LOOKUP_PARALLEL_MAX;
}

void lookup_start(struct lookup *self)
{
    lookup_check_end(self);
}

bool lookup_is_finished(const struct lookup *self)
{
    return self->finished;
}

size_t lookup_closest(const struct lookup *self, const struct candidate **ret_closest, size_t max)
{
    size_t count = 0;
    size_t most = max < self->aim.k ? max : self->aim.k;
    struct crowd crowd;

    lookup_crowd(self, &crowd);
    for (uint16_t i = 0; i < self->count && count < most; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (lookup_is_result(candidate) && crowd_admits(&crowd, &candidate->contact.address)) {
            crowd_count(&crowd, &candidate->contact.address);
            ret_closest[count++] = candidate;
        }
    }
    return count;
}

/* ---- asking ---- */

/* Queries that lost their slot; returns how many hold one, and in all how many are on their way. */
static unsigned update_slots(struct lookup *self, uint64_t now_ms, unsigned *ret_unanswered)
{
    unsigned holding = 0, slow = 0;
    bool changed = false;

    for (uint16_t i = 0; i < self->count; i++) {
        struct candidate *candidate = &self->candidates[self->order[i]];
        if (candidate->state == CANDIDATE_ASKED && candidate->asked_ms + self->slow_ms <= now_ms) {
            candidate->state = CANDIDATE_SLOW;
            changed = true;
        }
        holding += candidate->state == CANDIDATE_ASKED;
        slow += candidate->state == CANDIDATE_SLOW;
    }
    if (changed) {
        lookup_check_end(self);
    }
    *ret_unanswered = holding + slow;
    return holding;
}

/*
 * The nearest unasked one among the k nearest that may still answer soon. Slow ones do not count,
 * so that those behind them, needed should they stay silent, are asked meanwhile.
 */
static struct candidate *find_next(struct lookup *self)
{
    unsigned live = 0;
    struct crowd crowd;

    lookup_crowd(self, &crowd);
    for (uint16_t i = 0; i < self->count && live < self->aim.k; i++) {
        struct candidate *candidate = &self->candidates[self->order[i]];
        const struct candidate *known = lookup_known(self, candidate);
        if (!crowd_admits(&crowd, &candidate->contact.address)) {
            continue;
        }
        if (known->state == CANDIDATE_NEW) {
            return candidate;
        }
        if (lookup_is_result(known)) {
            crowd_count(&crowd, &candidate->contact.address);
        }
        live += known->state == CANDIDATE_ASKED || lookup_is_result(known);
    }
    return NULL;
}

static enum query_method method_of(const struct lookup *self, const struct candidate *candidate)
{
    if (candidate->no_values || self->aim.kind == LOOKUP_NODES) {
        return QUERY_FIND_NODE;
    }
    return self->aim.kind == LOOKUP_PEERS ? QUERY_GET_PEERS : QUERY_GET;
}

bool lookup_next(struct lookup *self, uint64_t now_ms, struct query *ret_query)
{
    unsigned unanswered;

    if (self->finished) {
        return false;
    }
    unsigned holding = update_slots(self, now_ms, &unanswered);
    lookup_give_up_parts(self, now_ms);
    if (lookup_next_part(self, now_ms, ret_query)) {
        return true;
    }
    lookup_check_end(self); /* the last of these may just have been passed over */
    if (lookup_next_part(self, now_ms, ret_query)) {
        return true; /* and others come up in their place */
    }
    if (self->finished || holding >= self->parallel || unanswered >= LOOKUP_UNANSWERED_MAX ||
        !lookup_may_ask_more(self)) {
        return false;
    }
    struct candidate *candidate = find_next(self);
    if (candidate == NULL) {
        return false;
    }
    candidate->state = CANDIDATE_ASKED;
    candidate->asked_ms = now_ms;
    self->queries++;
    if (candidate->round > self->rounds) {
        self->rounds = candidate->round;
    }
    /* Whoever answers there is welcome: a liar may have told us a wrong id with a true address. */
    *ret_query = (struct query){ .ticket = (uint32_t)(candidate - self->candidates),
                                 .method = method_of(self, candidate),
                                 .to = candidate->contact.address,
                                 .id = candidate->contact.id,
                                 .target = self->aim.target,
                                 .has_seq = self->aim.has_seq,
                                 .seq = self->aim.seq,
                                 .check_s = self->aim.check_s };
    return true;
}

void lookup_suspect(struct lookup *self, uint32_t ticket)
{
    if ((ticket & LOOKUP_PROOF) == 0) {
        assert(ticket < LOOKUP_CANDIDATES_MAX);
        self->candidates[ticket].suspect = true;
    }
}

uint64_t lookup_deadline_ms(const struct lookup *self)
{
    uint64_t deadline_ms = UINT64_MAX;

    if (self->finished) {
        return deadline_ms;
    }
    for (uint16_t i = 0; i < self->count; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (candidate->state == CANDIDATE_ASKED &&
            candidate->asked_ms + self->slow_ms < deadline_ms) {
            deadline_ms = candidate->asked_ms + self->slow_ms;
        }
    }
    if (self->proof_open > 0 && self->proof_asked_ms + self->slow_ms < deadline_ms) {
        deadline_ms = self->proof_asked_ms + self->slow_ms;
    }
    return deadline_ms;
}
