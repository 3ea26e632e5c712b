#include "services/storage/spread.h"

#include <assert.h>
#include <string.h>

#define SELF_PLACE SPREAD_NODES_MAX

static void begin_round(struct spread *self, enum spread_purpose purpose)
{
    self->state = SPREAD_LOOKING;
    self->purpose = purpose;
    self->asked = false;
    self->wait_until_ms = 0;
    self->round++;
}

void spread_init(struct spread *self, const struct spread_options *options)
{
    *self =
        (struct spread){ .options = *options, .seq = options->seq, .pause_ms = SPREAD_PAUSE_MS };
    begin_round(self, SPREAD_FIRST);
    self->asked = options->mode == SPREAD_REPAIR; /* its lookup was made before */
}

static void end(struct spread *self, lb_err err)
{
    self->state = SPREAD_ENDED;
    self->err = err;
}

/* ---- what a round came to ---- */

static bool is_acknowledged(const struct spread *self, size_t place)
{
    return self->places[place] == SPREAD_ANSWERED && self->answers[place] == SPREAD_ACCEPTED;
}

/* Once a vote was won the put has succeeded, whatever becomes of the rest. */
static lb_err err_unless_won(const struct spread *self, lb_err err)
{
    return self->won_acknowledged > 0 ? LB_OK : err;
}

static unsigned count_answers(const struct spread *self, enum spread_answer answer)
{
    unsigned count = 0;

    for (size_t i = 0; i <= SELF_PLACE; i++)
        count += self->places[i] == SPREAD_ANSWERED && self->answers[i] == answer;
    return count;
}

static bool is_all_answered(const struct spread *self)
{
    for (size_t i = 0; i <= SELF_PLACE; i++) {
        if (self->places[i] == SPREAD_ASKED)
            return false;
    }
    return true;
}

static lb_err err_when_nowhere(const struct spread *self)
{
    if (count_answers(self, SPREAD_OUTDATED) > 0)
        return LB_CONFLICT;
    if (count_answers(self, SPREAD_NO_SPACE) > 0)
        return LB_NO_SPACE;
    return LB_UNAVAILABLE;
}

static void end_version_round(struct spread *self)
{
    unsigned accepted = count_answers(self, SPREAD_ACCEPTED);
    unsigned outdated = count_answers(self, SPREAD_OUTDATED);

    if (self->purpose == SPREAD_CONVERGE) {
        end(self, LB_OK);
    } else if (outdated == 0) {
        end(self, accepted > 0 ? LB_OK : err_when_nowhere(self));
    } else if (self->options.has_cas && accepted <= outdated) {
        end(self, LB_CONFLICT);
    } else if (self->round >= SPREAD_ROUNDS_MAX) {
        end(self, accepted > 0 ? LB_OK : LB_CONFLICT);
    } else if (self->options.has_cas) {
        self->won_acknowledged = accepted;
        begin_round(self, SPREAD_CONVERGE);
    } else {
        begin_round(self, SPREAD_AGAIN);
    }
}

static void try_again(struct spread *self, uint64_t now_ms)
{
    bool busy = count_answers(self, SPREAD_BUSY) > 0;

    begin_round(self, SPREAD_TOKENS);
    if (busy)
        self->wait_until_ms = now_ms + SPREAD_BUSY_MS;
}

/* Is there somebody worth a second try? A vote is over when it is over. */
static bool is_incomplete(const struct spread *self, uint64_t now_ms)
{
    bool busy = self->options.is_patient && !self->options.has_cas &&
                now_ms + SPREAD_BUSY_MS < self->options.deadline_ms &&
                count_answers(self, SPREAD_BUSY) > 0;

    return self->purpose == SPREAD_FIRST && self->options.mode != SPREAD_REPAIR &&
           (busy || count_answers(self, SPREAD_STALE) > 0);
}

static void end_round(struct spread *self, uint64_t now_ms)
{
    unsigned accepted = count_answers(self, SPREAD_ACCEPTED);

    if (self->options.mode == SPREAD_CHECK)
        end(self, LB_OK);
    else if (is_incomplete(self, now_ms))
        try_again(self, now_ms);
    else if (self->options.mode == SPREAD_VERSION)
        end_version_round(self);
    else
        end(self, accepted > 0 ? LB_OK : err_when_nowhere(self));
}

/* ---- what was found ---- */

static bool lacks_it(const struct spread *self, const struct spread_node *node)
{
    return !node->has_item || (self->options.is_mutable && node->item_seq < self->seq);
}

static bool is_to_store(const struct spread *self, const struct spread_node *node)
{
    if (node->token_size == 0)
        return false;
    switch (self->options.mode) {
    case SPREAD_REPAIR:
        return lacks_it(self, node);
    case SPREAD_CHECK:
        return lacks_it(self, node) || !node->littlebird;
    default:
        return true;
    }
}

static bool has_contact(const struct spread_node *nodes, size_t count,
                        const struct contact *contact, size_t *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (node_id_equal(&nodes[i].contact.id, &contact->id) &&
            address_equal(&nodes[i].contact.address, &contact->address)) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static void set_place(struct spread *self, size_t place, bool ask, bool acknowledged)
{
    self->places[place] = ask && !acknowledged ? SPREAD_UNASKED : SPREAD_ANSWERED;
    self->answers[place] = acknowledged ? SPREAD_ACCEPTED : SPREAD_FAILED;
}

static void add_node(struct spread *self, const struct spread_node *node, bool acknowledged)
{
    set_place(self, self->nodes_count, true, acknowledged);
    self->nodes[self->nodes_count++] = *node;
}

/*
 * Take the list of a new lookup. keep: those who have acknowledged this very version are not asked
 * again, and count even if the lookup found others this time.
 */
static void take_nodes(struct spread *self, const struct spread_found *found, bool keep)
{
    struct spread_node old[SPREAD_NODES_MAX];
    bool acknowledged[SPREAD_NODES_MAX] = { false };
    size_t old_count = keep ? self->nodes_count : 0;
    bool self_done = keep && is_acknowledged(self, SELF_PLACE);

    memcpy(old, self->nodes, sizeof old);
    for (size_t i = 0; i < old_count; i++)
        acknowledged[i] = is_acknowledged(self, i);
    self->nodes_count = 0;
    for (size_t i = 0; i < found->nodes_count && i < SPREAD_NODES_MAX; i++) {
        size_t at = 0;
        bool known = has_contact(old, old_count, &found->nodes[i].contact, &at);

        if (is_to_store(self, &found->nodes[i]))
            add_node(self, &found->nodes[i], known && acknowledged[at]);
        if (known)
            acknowledged[at] = false;
    }
    for (size_t i = 0; i < old_count && self->nodes_count < SPREAD_NODES_MAX; i++) {
        if (acknowledged[i])
            add_node(self, &old[i], true);
    }
    for (size_t i = self->nodes_count; i < SPREAD_NODES_MAX; i++)
        set_place(self, i, false, false);
    set_place(self, SELF_PLACE, found->self_is_close, self_done);
    self->self_is_close = found->self_is_close || self_done;
    self->self_has_item = found->self_has_item;
    self->self_seq = found->self_seq;
}

static void store_same(struct spread *self, const struct spread_found *found)
{
    take_nodes(self, found, self->round > 1);
    self->state = SPREAD_STORING;
}

/* Our own store is asked only for what it lacks, when it should have it or has an older version. */
static void check(struct spread *self, const struct spread_found *found)
{
    bool is_newer = self->options.is_mutable && found->has_item && found->highest_seq > self->seq;
    bool self_lacks;

    if (is_newer)
        self->seq = found->highest_seq;
    self_lacks = !found->self_has_item || (self->options.is_mutable && found->self_seq < self->seq);
    take_nodes(self, found, false);
    set_place(self, SELF_PLACE, self_lacks && (found->self_is_close || found->self_has_item),
              false);
    self->found = (unsigned)found->nodes_count;
    for (size_t i = 0; i < found->nodes_count; i++) {
        self->lacking += lacks_it(self, &found->nodes[i]);
        self->keepers += !lacks_it(self, &found->nodes[i]) && found->nodes[i].littlebird;
    }
    self->holders = self->found - self->lacking;
    self->state = SPREAD_STORING;
}

static void choose_next(struct spread *self, const struct spread_found *found, uint64_t next_seq)
{
    take_nodes(self, found, false);
    self->state = SPREAD_CHOOSING;
    self->asked = false;
    self->seq = next_seq;
}

static bool is_cas_broken(const struct spread *self, const struct spread_found *found)
{
    if (!self->options.has_cas || self->purpose != SPREAD_FIRST)
        return false;
    if (self->options.cas == 0)
        return found->has_item && !found->is_removal;
    return !found->has_item || found->highest_seq != self->options.cas;
}

void spread_found(struct spread *self, const struct spread_found *found, uint64_t next_seq)
{
    bool stands_higher =
        self->options.is_mutable && found->has_item && found->highest_seq > self->seq;

    assert(self->state == SPREAD_LOOKING && self->asked);
    if (self->options.mode == SPREAD_CHECK)
        check(self, found);
    else if (self->options.mode != SPREAD_VERSION && stands_higher)
        end(self, LB_CONFLICT);
    else if (self->options.mode != SPREAD_VERSION ||
             (self->purpose == SPREAD_TOKENS && !stands_higher))
        store_same(self, found);
    else if (self->purpose == SPREAD_CONVERGE && stands_higher)
        end(self, LB_OK); /* somebody has built on our version already */
    else if (self->purpose == SPREAD_TOKENS && self->options.has_cas)
        end(self, count_answers(self, SPREAD_ACCEPTED) > 0 ? LB_OK : LB_CONFLICT);
    else if (is_cas_broken(self, found))
        end(self, LB_CONFLICT);
    else
        choose_next(self, found, next_seq);
}

void spread_lookup_failed(struct spread *self, lb_err err, uint64_t now_ms)
{
    assert(self->state == SPREAD_LOOKING && self->asked && err != LB_OK);
    if (now_ms + self->pause_ms >= self->options.deadline_ms) {
        end(self, err_unless_won(self, err));
        return;
    }
    self->asked = false;
    self->wait_until_ms = now_ms + self->pause_ms;
    if (self->pause_ms < SPREAD_PAUSE_MAX_MS)
        self->pause_ms *= 2;
}

void spread_signed(struct spread *self)
{
    assert(self->state == SPREAD_CHOOSING && self->asked);
    self->state = SPREAD_STORING;
    self->asked = false;
}

void spread_answered(struct spread *self, size_t node, enum spread_answer answer)
{
    size_t place = node == SPREAD_SELF ? SELF_PLACE : node;

    if (self->state != SPREAD_STORING)
        return; /* given up meanwhile */
    assert(place <= SELF_PLACE && self->places[place] == SPREAD_ASKED);
    self->places[place] = SPREAD_ANSWERED;
    self->answers[place] = answer;
}

void spread_give_up(struct spread *self, lb_err err)
{
    if (self->state != SPREAD_ENDED)
        end(self, err_unless_won(self, err));
}

/* ---- what to do ---- */

static void cas_for(const struct spread *self, size_t place, struct spread_action *ret_action)
{
    if (self->options.mode != SPREAD_VERSION || !self->options.has_cas)
        return;
    ret_action->has_cas = true;
    if (place == SELF_PLACE)
        ret_action->cas = self->self_has_item ? self->self_seq : 0;
    else if (self->nodes[place].has_item)
        ret_action->cas = self->nodes[place].item_seq;
}

static bool next_store(struct spread *self, struct spread_action *ret_action)
{
    for (size_t i = 0; i <= SELF_PLACE; i++) {
        /* Our own store first: what the network has, we have. */
        size_t place = i == 0 ? SELF_PLACE : i - 1;

        if (self->places[place] != SPREAD_UNASKED)
            continue;
        self->places[place] = SPREAD_ASKED;
        *ret_action = (struct spread_action){ .step = SPREAD_STORE,
                                              .seq = self->seq,
                                              .node = place == SELF_PLACE ? SPREAD_SELF : place };
        cas_for(self, place, ret_action);
        return true;
    }
    return false;
}

bool spread_next(struct spread *self, uint64_t now_ms, struct spread_action *ret_action)
{
    if (self->state == SPREAD_STORING) {
        if (next_store(self, ret_action))
            return true;
        if (!is_all_answered(self))
            return false;
        end_round(self, now_ms);
    }
    if (self->state == SPREAD_ENDED || self->asked)
        return false;
    if (self->state == SPREAD_LOOKING && now_ms < self->wait_until_ms)
        return false;
    self->asked = true;
    *ret_action = (struct spread_action){
        .step = self->state == SPREAD_LOOKING ? SPREAD_LOOK_UP : SPREAD_SIGN,
        .seq = self->seq,
    };
    return true;
}

uint64_t spread_deadline_ms(const struct spread *self)
{
    return self->state == SPREAD_LOOKING && !self->asked ? self->wait_until_ms : UINT64_MAX;
}

bool spread_is_done(const struct spread *self)
{
    return self->state == SPREAD_ENDED;
}

static bool is_repaired(const struct spread *self, size_t node)
{
    return is_acknowledged(self, node) && lacks_it(self, &self->nodes[node]);
}

static unsigned count_repaired(const struct spread *self)
{
    unsigned repaired = 0;

    for (size_t i = 0; i < self->nodes_count; i++)
        repaired += is_repaired(self, i);
    return repaired;
}

/* Nodes of our kind that have it now. */
static unsigned count_keepers(const struct spread *self)
{
    unsigned keepers = self->keepers;

    for (size_t i = 0; i < self->nodes_count; i++)
        keepers += self->nodes[i].littlebird && is_repaired(self, i);
    return keepers;
}

/*
 * A copy that outlived a newer version, on a node that was away: those who saw that one refuse ours
 * by its number. Most have to: one alone could make us forget what is true.
 */
static bool is_superseded(const struct spread *self)
{
    unsigned outdated = 0;

    for (size_t i = 0; i < self->nodes_count; i++)
        outdated += self->places[i] == SPREAD_ANSWERED && self->answers[i] == SPREAD_OUTDATED;
    return self->options.is_mutable && outdated > self->found / 2;
}

static void add_check(const struct spread *self, struct spread_result *result)
{
    result->found = self->found;
    result->holders = self->holders;
    result->lacking = self->lacking;
    result->repaired = count_repaired(self);
    result->superseded = is_superseded(self);
    result->may_drop = !self->self_is_close && result->holders + result->repaired >= SPREAD_K &&
                       count_keepers(self) >= SPREAD_KEEPERS &&
                       /* Of two families each has its own k closest: all of them then. */
                       (self->found <= SPREAD_K || result->lacking == result->repaired);
    result->may_drop = result->may_drop || result->superseded;
}

struct spread_result spread_result(const struct spread *self)
{
    struct spread_result result = { .err = self->err, .seq = self->seq };

    assert(self->state == SPREAD_ENDED);
    result.acknowledged = count_answers(self, SPREAD_ACCEPTED);
    if (result.acknowledged < self->won_acknowledged)
        result.acknowledged = self->won_acknowledged;
    for (size_t i = 0; i < self->nodes_count; i++)
        result.asked += self->places[i] != SPREAD_UNASKED;
    result.asked += self->self_is_close;
    if (self->options.mode == SPREAD_CHECK && self->err == LB_OK)
        add_check(self, &result);
    return result;
}
