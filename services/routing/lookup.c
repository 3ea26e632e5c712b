#include "services/routing/lookup.h"

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

/* Where in the order an id belongs; *ret_there when it stands there already. */
static uint16_t find_rank(const struct lookup *self, const struct node_id *id, bool *ret_there)
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

static bool has_address(const struct lookup *self, const struct address *address)
{
    for (uint16_t i = 0; i < self->count; i++) {
        if (address_equal(&self->candidates[self->order[i]].contact.address, address)) {
            return true;
        }
    }
    return false;
}

static void order_insert(struct lookup *self, uint16_t rank, uint16_t index)
{
    memmove(&self->order[rank + 1], &self->order[rank],
            (size_t)(self->count - rank) * sizeof(self->order[0]));
    self->order[rank] = index;
    self->count++;
}

static void order_remove(struct lookup *self, uint16_t rank)
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
            order_remove(self, (uint16_t)(i - 1));
            *ret_index = index;
            return true;
        }
    }
    return false;
}

/* Returns whether it now stands among the k nearest. */
static bool add_candidate(struct lookup *self, const struct contact *contact, unsigned round)
{
    bool there;
    uint16_t index;

    if (node_id_equal(&contact->id, &self->self_id) || !address_is_usable(&contact->address) ||
        address_is_v4(&contact->address) != (self->family == ROUTING_V4)) {
        return false;
    }
    uint16_t rank = find_rank(self, &contact->id, &there);
    if (there || has_address(self, &contact->address) || !make_room(self, rank, &index)) {
        return false;
    }
    self->candidates[index] = (struct candidate){ .contact = *contact, .round = (uint16_t)round };
    order_insert(self, rank, index);
    return rank < self->aim.k;
}

void lookup_seed(struct lookup *self, const struct contact *contact)
{
    (void)add_candidate(self, contact, 1);
}

/* ---- the end ---- */

static bool may_ask_more(const struct lookup *self)
{
    return self->queries < LOOKUP_QUERIES_MAX;
}

/* Whether the end must wait for this candidate. */
static bool is_open(const struct lookup *self, const struct candidate *candidate)
{
    switch (candidate->state) {
    case CANDIDATE_NEW:
        return may_ask_more(self);
    case CANDIDATE_ASKED:
        return true;
    case CANDIDATE_SLOW:
        return !candidate->suspect;
    default:
        return false;
    }
}

static bool is_result(const struct candidate *candidate)
{
    return candidate->state == CANDIDATE_ANSWERED && !candidate->no_values;
}

static bool is_proving(const struct lookup *self)
{
    return self->proof.count > 0 || self->proof_open > 0;
}

/*
 * What stands before the k-th result. Slow ones are passed over: what they would hide is looked for
 * while we wait for them.
 */
struct front {
    const struct candidate *last; /* the k-th result, or the last there is */
    unsigned results;
    bool asking;  /* somebody is to be asked, or may still answer soon */
    bool waiting; /* a slow one is still waited for */
};

static struct front look_at_front(const struct lookup *self)
{
    struct front front = { .last = NULL };

    for (uint16_t i = 0; i < self->count && front.results < self->aim.k && !front.asking; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        bool open = is_open(self, candidate);
        if (is_result(candidate)) {
            front.results++;
            front.last = candidate;
        } else if (open && candidate->state != CANDIDATE_SLOW) {
            front.asking = true;
        } else {
            front.waiting |= open;
        }
    }
    return front;
}

/*
 * The farthest that the nearest results named: all up to there is known. Of several the one that
 * named the nearest, since a newcomer may know few. NULL: there was room in their answers, so all
 * are known.
 */
static const struct node_id *find_far(const struct lookup *self)
{
    const struct node_id *far = NULL;
    unsigned asked = 0;

    for (uint16_t i = 0; i < self->count && asked < LOOKUP_WITNESSES; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (!is_result(candidate)) {
            continue;
        }
        asked++;
        if (candidate->is_full &&
            (far == NULL ||
             node_id_compare_distance(&self->aim.target, &candidate->far, far) < 0)) {
            far = &candidate->far;
        }
    }
    return far;
}

/* Whether parts of the id space are still to be looked through (proof.h). */
static bool prove(struct lookup *self, const struct front *front)
{
    const struct node_id *target = &self->aim.target;

    if (front->last == NULL || !may_ask_more(self)) {
        return false;
    }
    bool is_last = front->results == self->aim.k;
    const struct node_id *last = &front->last->contact.id;
    if (!self->proving) {
        const struct node_id *far = find_far(self);
        if (far == NULL || (is_last && node_id_compare_distance(target, last, far) <= 0)) {
            return false;
        }
        self->proving = true;
        proof_begin(&self->proof, node_id_shared_bits(target, far) + 1);
    }
    unsigned bits = node_id_shared_bits(target, last);
    if (!is_last) {
        bits = self->proof.bits > 0 ? self->proof.bits - 1 : 0;
    }
    bool is_wider = bits < self->proof.bits;
    proof_widen(&self->proof, bits);
    return is_wider;
}

static void check_end(struct lookup *self)
{
    struct front front = look_at_front(self);

    if (!self->finished && !front.asking && !is_proving(self) && !prove(self, &front)) {
        self->finished = !front.waiting;
    }
}

void lookup_start(struct lookup *self)
{
    check_end(self);
}

bool lookup_is_finished(const struct lookup *self)
{
    return self->finished;
}

size_t lookup_closest(const struct lookup *self, const struct candidate **ret_closest, size_t max)
{
    size_t count = 0;
    size_t most = max < self->aim.k ? max : self->aim.k;

    for (uint16_t i = 0; i < self->count && count < most; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (is_result(candidate)) {
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
        check_end(self);
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

    for (uint16_t i = 0; i < self->count && live < self->aim.k; i++) {
        struct candidate *candidate = &self->candidates[self->order[i]];
        if (candidate->state == CANDIDATE_NEW) {
            return candidate;
        }
        live += candidate->state == CANDIDATE_ASKED || is_result(candidate);
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

/* The result that is nearest to an id; NULL: there is none. */
static const struct candidate *find_near(const struct lookup *self, const struct node_id *id)
{
    const struct candidate *near = NULL;

    for (uint16_t i = 0; i < self->count; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (is_result(candidate) &&
            (near == NULL ||
             node_id_compare_distance(id, &candidate->contact.id, &near->contact.id) < 0)) {
            near = candidate;
        }
    }
    return near;
}

/*
 * Who is to be asked for a part: a result inside it; outside only when nobody else is being asked
 * who might turn out to be inside. NULL: nobody now.
 */
static const struct candidate *find_teller(const struct lookup *self, const struct part *part,
                                           bool is_asking)
{
    const struct candidate *near = find_near(self, &part->id);

    if (near == NULL || proof_is_inside(part, &near->contact.id)) {
        return near;
    }
    return is_asking || part->again ? NULL : near;
}

static bool next_part(struct lookup *self, uint64_t now_ms, struct query *ret_query)
{
    struct front front = look_at_front(self);
    unsigned index = 0;

    if (front.results == self->aim.k) {
        proof_prune(&self->proof, &front.last->contact.id);
    }
    while (index < self->proof.count && self->proof.asks < PROOF_ASKS_MAX && may_ask_more(self)) {
        const struct candidate *teller = find_teller(self, &self->proof.parts[index], front.asking);
        if (teller == NULL && !front.asking) {
            proof_settle(&self->proof, index);
            continue;
        }
        if (teller == NULL) {
            index++;
            continue;
        }
        unsigned ask = proof_ask(&self->proof, index);
        self->queries++;
        self->proof_open++;
        self->proof_asked_ms = now_ms;
        self->proof_rounds[ask] = teller->round;
        *ret_query = (struct query){ .ticket = ask | LOOKUP_PROOF,
                                     .method = QUERY_FIND_NODE,
                                     .to = teller->contact.address,
                                     .id = teller->contact.id,
                                     .target = self->proof.asked[ask].id };
        return true;
    }
    if (!front.asking) {
        self->proof.count = 0; /* enough was asked */
    }
    return false;
}

/* A node that has just answered does so again soon, or is not waited for. */
static void give_up_parts(struct lookup *self, uint64_t now_ms)
{
    if (self->proof_open > 0 && self->proof_asked_ms + self->slow_ms <= now_ms) {
        self->proof_open = 0;
        check_end(self);
    }
}

bool lookup_next(struct lookup *self, uint64_t now_ms, struct query *ret_query)
{
    unsigned unanswered;

    if (self->finished) {
        return false;
    }
    unsigned holding = update_slots(self, now_ms, &unanswered);
    give_up_parts(self, now_ms);
    if (next_part(self, now_ms, ret_query)) {
        return true;
    }
    check_end(self); /* the last of these may just have been passed over */
    if (next_part(self, now_ms, ret_query)) {
        return true; /* and others come up in their place */
    }
    if (self->finished || holding >= self->parallel || unanswered >= LOOKUP_UNANSWERED_MAX ||
        !may_ask_more(self)) {
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

/* ---- answers ---- */

/* Somebody else than we were told lives there. Returns false when that one is known already. */
static bool rename_candidate(struct lookup *self, struct candidate *candidate,
                             const struct node_id *id)
{
    bool there;
    uint16_t old_rank = find_rank(self, &candidate->contact.id, &there);

    assert(there);
    if (node_id_equal(id, &self->self_id)) {
        return false;
    }
    (void)find_rank(self, id, &there);
    if (there) {
        return false;
    }
    uint16_t index = self->order[old_rank];
    order_remove(self, old_rank);
    candidate->contact.id = *id;
    order_insert(self, find_rank(self, id, &there), index);
    return true;
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

    if (!is_sent || findings_add_item(&self->findings, item)) {
        candidate->has_item = true;
        candidate->item_seq = item->seq;
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
        nearer |= add_candidate(self, &reply->nodes[i], round + 1);
    }
    /* Nothing nearer: the end is in sight, ask what is left of the k nearest together. */
    self->parallel = nearer ? LOOKUP_ALPHA : LOOKUP_PARALLEL_MAX;
}

static void take_answer(struct lookup *self, struct candidate *candidate, const struct reply *reply)
{
    if (!node_id_equal(&reply->id, &candidate->contact.id) &&
        !rename_candidate(self, candidate, &reply->id)) {
        candidate->state = CANDIDATE_FAILED;
        return;
    }
    candidate->state = CANDIDATE_ANSWERED;
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
    check_end(self);
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
        candidate->state = candidate->no_values || self->aim.kind == LOOKUP_NODES ? CANDIDATE_FAILED
                                                                                  : CANDIDATE_NEW;
        candidate->no_values = true;
        break;
    case REPLY_UNSENT:
        self->queries -= self->queries > 0;
        candidate->state = CANDIDATE_NEW;
        if (++candidate->unsent > LOOKUP_UNSENT_MAX) {
            candidate->state = CANDIDATE_FAILED;
        }
        break;
    case REPLY_SILENT:
    case REPLY_UNREACHABLE:
        candidate->state = CANDIDATE_FAILED;
        break;
    }
    check_end(self);
}
