#include "services/routing/lookup_inside.h"

#include <assert.h>

/* ---- the end ---- */

bool lookup_may_ask_more(const struct lookup *self)
{
    return self->queries < LOOKUP_QUERIES_MAX;
}

/* Whether the end must wait for this candidate. */
static bool is_open(const struct lookup *self, const struct candidate *candidate)
{
    switch (candidate->state) {
    case CANDIDATE_NEW:
        return lookup_may_ask_more(self);
    case CANDIDATE_ASKED:
        return true;
    case CANDIDATE_SLOW:
        return !candidate->suspect;
    default:
        return false;
    }
}

/* How many count without those who are crowded out; at most k. */
static unsigned count_apart(const struct lookup *self)
{
    struct crowd crowd;
    unsigned count = 0;

    crowd_init(&crowd, 0, self->aim.are_certified);
    for (uint16_t i = 0; i < self->count && count < self->aim.k; i++) {
        const struct candidate *candidate = lookup_known(self, &self->candidates[self->order[i]]);
        if (lookup_is_result(candidate) && crowd_admits(&crowd, &candidate->contact.address)) {
            crowd_count(&crowd, &candidate->contact.address);
            count++;
        }
    }
    return count;
}

void lookup_crowd(const struct lookup *self, struct crowd *ret_crowd)
{
    crowd_init(ret_crowd, self->are_few ? self->aim.k - count_apart(self) : 0,
               self->aim.are_certified);
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
    const struct candidate *near; /* likewise the LOOKUP_NEAR-th */
    unsigned results;
    bool asking;  /* somebody is to be asked, or may still answer soon */
    bool waiting; /* a slow one is still waited for */
    bool crowded; /* somebody does not count for the others of its subnet */
};

static struct front look_at_front(const struct lookup *self)
{
    struct front front = { .last = NULL };
    struct crowd crowd;

    lookup_crowd(self, &crowd);
    for (uint16_t i = 0; i < self->count && front.results < self->aim.k && !front.asking; i++) {
        const struct candidate *candidate = lookup_known(self, &self->candidates[self->order[i]]);
        bool open = is_open(self, candidate);
        if (!crowd_admits(&crowd, &candidate->contact.address)) {
            front.crowded = true;
        } else if (lookup_is_result(candidate)) {
            crowd_count(&crowd, &candidate->contact.address);
            front.last = candidate;
            front.near = front.results < LOOKUP_NEAR ? candidate : front.near;
            front.results++;
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
    struct crowd crowd;

    lookup_crowd(self, &crowd);
    for (uint16_t i = 0; i < self->count && asked < LOOKUP_WITNESSES; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (!lookup_is_result(candidate) || !crowd_admits(&crowd, &candidate->contact.address)) {
            continue;
        }
        crowd_count(&crowd, &candidate->contact.address);
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

    if (front->last == NULL || !lookup_may_ask_more(self)) {
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
        proof_begin(&self->proof, node_id_shared_bits(target, far) + 1,
                    node_id_shared_bits(target, &front->near->contact.id));
    }
    unsigned bits = node_id_shared_bits(target, last);
    if (!is_last) {
        bits = self->proof.bits > 0 ? self->proof.bits - 1 : 0;
    }
    bool is_wider = bits < self->proof.bits;
    proof_widen(&self->proof, bits);
    return is_wider;
}

/*
 * Too few have subnets of their own: the others of them count too. Where it is not even half of k,
 * as in a campus behind one prefix, nobody is looked for who might have one.
 */
static bool turns_out_few(const struct lookup *self, const struct front *front, unsigned enough)
{
    return front->crowded && front->results < enough && !self->are_few;
}

void lookup_check_end(struct lookup *self)
{
    struct front front = look_at_front(self);

    if (self->finished || front.asking || is_proving(self)) {
        return;
    }
    if (turns_out_few(self, &front, self->aim.k / 2)) {
        self->are_few = true;
        front = look_at_front(self);
    }
    if (front.asking || prove(self, &front)) {
        return;
    }
    if (turns_out_few(self, &front, self->aim.k)) {
        self->are_few = true;
        lookup_check_end(self);
    } else {
        self->finished = !front.waiting;
    }
}

/* The result that is nearest to an id; NULL: there is none. */
static const struct candidate *find_near(const struct lookup *self, const struct node_id *id)
{
    const struct candidate *near = NULL;

    for (uint16_t i = 0; i < self->count; i++) {
        const struct candidate *candidate = &self->candidates[self->order[i]];
        if (lookup_is_result(candidate) &&
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

static struct parts_view view_parts(const struct lookup *self, const struct front *front)
{
    return (struct parts_view){ self->answers, self->proof.count, self->proof.asks, front->asking };
}

static bool is_same_view(const struct parts_view *a, const struct parts_view *b)
{
    return a->answers == b->answers && a->count == b->count && a->asks == b->asks &&
           a->asking == b->asking;
}

bool lookup_next_part(struct lookup *self, uint64_t now_ms, struct query *ret_query)
{
    struct front front;
    struct parts_view view;
    unsigned index = 0;

    if (self->proof.count == 0) {
        return false;
    }
    front = look_at_front(self);
    if (front.results == self->aim.k) {
        proof_prune(&self->proof, &front.last->contact.id);
    }
    view = view_parts(self, &front);
    if (is_same_view(&view, &self->parts_seen)) {
        return false; /* liars leave many parts, and this is asked after every query */
    }
    while (index < self->proof.count && self->proof.asks < PROOF_ASKS_MAX &&
           lookup_may_ask_more(self)) {
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
    self->parts_seen = view_parts(self, &front);
    return false;
}

/* A node that has just answered does so again soon, or is not waited for. */
void lookup_give_up_parts(struct lookup *self, uint64_t now_ms)
{
    if (self->proof_open > 0 && self->proof_asked_ms + self->slow_ms <= now_ms) {
        self->proof_open = 0;
        lookup_check_end(self);
    }
}
