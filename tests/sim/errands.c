#include "tests/sim/node.h"

#include "libcommon/memory.h"
#include "services/storage/value.h"
#include "tests/sim/checks.h"
#include "tests/sim/signing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_BITS 8 /* of an errand's number: the node of the spread */

/* ---- life ---- */

static struct errand *errand_new(struct dht_node *node, enum errand_kind kind)
{
    struct errand *self = xcalloc(1, sizeof(*self));

    self->node = node;
    self->kind = kind;
    self->serial = ++node->errands_serial;
    self->next = node->errands;
    self->deadline_ms = node_now_ms(node) + DHT_PUT_MS;
    node->errands = self;
    return self;
}

static void errand_free(struct errand *self)
{
    struct errand **place = &self->node->errands;

    while (*place != self) {
        place = &(*place)->next;
    }
    *place = self->next;
    free(self->item);
    free(self);
}

static struct errand *errand_find(const struct dht_node *node, uint64_t serial)
{
    struct errand *errand = node->errands;

    while (errand != NULL && errand->serial != serial) {
        errand = errand->next;
    }
    return errand;
}

/* ---- lookups ---- */

static void search(struct errand *self, const struct lookup_aim *aim)
{
    struct dht_node *node = self->node;
    uint64_t now_ms = node_now_ms(node);
    const struct search_order order = { .aim = *aim,
                                        .paths = node->dht->options.paths,
                                        .enough = self->kind == ERRAND_GET
                                                      ? node->dht->options.enough
                                                      : 0,
                                        .deadline_ms = now_ms + ROUTER_SEARCH_MS,
                                        .ctx = self };

    self->searching = true;
    lb_err err = router_search(node->router, &order, now_ms);
    if (err != LB_OK) {
        self->searching = false;
        if (self->kind == ERRAND_PUT || self->kind == ERRAND_CHECK) {
            spread_lookup_failed(&self->spread, err, now_ms);
        } else {
            self->ended = true;
        }
    }
}

/* ---- the end ---- */

static void end_check(struct errand *self)
{
    struct dht_node *node = self->node;
    struct spread_result result = spread_result(&self->spread);
    const struct upkeep_check check = { .err = result.err,
                                        .seq = result.seq,
                                        .nodes = result.found,
                                        .holders = result.holders,
                                        .lacking = result.lacking,
                                        .may_drop = result.may_drop,
                                        .gone = store_find(node->store, &self->target,
                                                           node_store_s(node)) == NULL };

    upkeep_checked(node->upkeep, self->ticket, &check, node_store_ms(node));
    node->upkeep_ready = true;
}

static void end_put(struct errand *self)
{
    self->put->result = spread_result(&self->spread);
    self->put->done = true;
}

/* Its spread is over: tell, and free it unless a search still knows it. */
static void end_spread(struct errand *self)
{
    if (self->kind == ERRAND_CHECK) {
        end_check(self);
    } else {
        end_put(self);
    }
    self->ended = true;
    if (!self->searching) {
        errand_free(self);
    }
}

/* ---- storing ---- */

static enum spread_answer answer_of(enum item_verdict verdict)
{
    switch (verdict) {
    case ITEM_ACCEPTED:
        return SPREAD_ACCEPTED;
    case ITEM_CAS_MISMATCH:
    case ITEM_SEQ_TOO_LOW:
        return SPREAD_OUTDATED;
    case ITEM_REFUSED:
        return SPREAD_NO_SPACE;
    default:
        return SPREAD_FAILED;
    }
}

static uint64_t ends_s(const struct errand *self)
{
    uint64_t now_s = node_store_s(self->node);

    if (self->kind == ERRAND_CHECK) {
        return self->ends_s;
    }
    return now_s + (self->ttl_s > 0 ? self->ttl_s : DHT_TTL_S);
}

static enum spread_answer store_here(struct errand *self, const struct spread_action *action)
{
    struct dht_node *node = self->node;
    uint64_t now_s = node_store_s(node);
    struct store_put put = { .item = self->item,
                             .has_cas = action->has_cas,
                             .cas = action->cas,
                             .ends_s = ends_s(self),
                             .now_s = now_s,
                             .first_check_s = now_s };

    if (node->upkeep != NULL) {
        put.first_check_s = upkeep_first_check_s(node->upkeep, now_s);
        node->upkeep_ready = true;
    }
    bool was_here = store_find(node->store, &self->target, now_s) != NULL;
    enum item_verdict verdict = store_put(node->store, &self->target, &put);
    checks_stored(node, &self->target, &put, was_here, verdict);
    return answer_of(verdict);
}

static void store_there(struct errand *self, const struct spread_action *action)
{
    struct dht_node *node = self->node;
    const struct spread_node *to = &self->spread.nodes[action->node];
    struct krpc_query krpc = { .method = KRPC_PUT,
                               .token = bytes_of(to->token, to->token_size),
                               .item = node_krpc_item(self->item, ends_s(self), node_store_s(node)),
                               .has_cas = action->has_cas,
                               .cas = action->cas };

    if (self->kind == ERRAND_PUT && self->ttl_s == 0) {
        krpc.item.ttl_s = 0;
    }
    const struct carrier_query query = {
        .krpc = &krpc,
        .to = to->contact,
        .has_id = true,
        .once = action->has_cas,
        .cookie = cookie_of(COOKIE_ERRAND, self->serial << PLACE_BITS | action->node)
    };
    if (!node_ask(node, &query)) {
        spread_answered(&self->spread, action->node, SPREAD_FAILED);
    }
}

static void sign(struct errand *self, uint64_t seq)
{
    self->item->seq = seq;
    signing_sign(self->item);
    spread_signed(&self->spread);
}

static void look_up(struct errand *self)
{
    struct lookup_aim aim = { .kind = LOOKUP_VALUE, .target = self->target, .k = SPREAD_K };

    if (self->kind == ERRAND_CHECK) {
        aim.has_seq = true;
        aim.seq = self->spread.seq;
        aim.check_s = self->check_s;
    }
    search(self, &aim);
}

/* Returns with the errand freed when it has come to its end. */
static void step(struct errand *self)
{
    struct spread_action action;

    if (self->ended) {
        return;
    }
    while (spread_next(&self->spread, node_now_ms(self->node), &action)) {
        if (action.step == SPREAD_LOOK_UP) {
            look_up(self);
        } else if (action.step == SPREAD_SIGN) {
            sign(self, action.seq);
        } else if (action.node == SPREAD_SELF) {
            spread_answered(&self->spread, SPREAD_SELF, store_here(self, &action));
        } else {
            store_there(self, &action);
        }
    }
    if (spread_is_done(&self->spread)) {
        end_spread(self);
    }
}

void errand_answered(struct dht_node *node, uint64_t number, const struct krpc_message *message)
{
    struct errand *self = errand_find(node, number >> PLACE_BITS);
    enum spread_answer answer = SPREAD_FAILED;

    if (self == NULL || self->ended) {
        return;
    }
    if (message == NULL || message->error_code == KRPC_ERROR_SERVER) {
        answer = SPREAD_BUSY;
    } else if (message->type == KRPC_REPLY) {
        answer = SPREAD_ACCEPTED;
    } else if (message->error_code == KRPC_ERROR_PROTOCOL) {
        answer = SPREAD_STALE;
    } else if (message->error_code == KRPC_ERROR_CAS || message->error_code == KRPC_ERROR_SEQ) {
        answer = SPREAD_OUTDATED;
    }
    spread_answered(&self->spread, number & ((1u << PLACE_BITS) - 1), answer);
    step(self);
}

/* ---- what a lookup has found ---- */

struct newest {
    struct item item; /* points into the search, or the store */
    bool found;
    uint32_t ttl_s;
};

static struct item item_of(const struct found_item *from)
{
    struct item item = { .value = from->value,
                         .salt = from->salt,
                         .is_mutable = from->public_key.size == ED25519_KEY_SIZE &&
                                       from->signature.size == ED25519_SIGN_SIZE,
                         .seq = from->seq };

    if (item.is_mutable) {
        memcpy(item.public_key, from->public_key.data, ED25519_KEY_SIZE);
        memcpy(item.signature, from->signature.data, ED25519_SIGN_SIZE);
    } else {
        item.seq = 0;
    }
    return item;
}

static void offer_newest(struct newest *newest, const struct item *item, uint32_t ttl_s)
{
    if (!newest->found || item_is_newer(item, &newest->item)) {
        *newest = (struct newest){ .item = *item, .found = true, .ttl_s = ttl_s };
    }
}

/* The newest valid version that was returned, or stands here. */
static struct newest find_newest(const struct errand *self, const struct search *search)
{
    const struct dht_node *node = self->node;
    struct newest newest = { .found = false };

    for (unsigned l = 0; l < SEARCH_LOOKUPS_MAX; l++) {
        const struct lookup *lookup = search->lookups[l];
        for (size_t i = 0; lookup != NULL && i < lookup->findings.items_count; i++) {
            const struct found_item *found = &lookup->findings.items[i]->item;
            struct item item = item_of(found);
            if (signing_is_valid_at(&item, &self->target)) {
                offer_newest(&newest, &item, found->ttl_s);
            }
        }
    }
    const struct stored *stored =
        node->store != NULL ? store_find(node->store, &self->target, node_store_s(node)) : NULL;
    if (stored != NULL) {
        offer_newest(&newest, &stored->item, 0);
    }
    return newest;
}

static size_t read_nodes(const struct search *search, struct spread_node ret[SPREAD_NODES_MAX])
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    size_t count = search_closest(search, closest);

    count = count < SPREAD_NODES_MAX ? count : SPREAD_NODES_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct candidate *candidate = closest[i];
        ret[i] = (struct spread_node){ .contact = candidate->contact,
                                       .token_size = candidate->token_size,
                                       .has_item = candidate->has_item,
                                       .item_seq = candidate->item_seq,
                                       .littlebird = candidate->littlebird };
        memcpy(ret[i].token, candidate->token, candidate->token_size);
    }
    return count;
}

/* A newer version stands somewhere: that one is brought to all. */
static void take_over(struct errand *self, const struct newest *newest)
{
    uint64_t now_s = node_store_s(self->node);

    if (newest->found && newest->item.is_mutable && newest->item.seq > self->item->seq) {
        free(self->item);
        self->item = store_copy(&newest->item);
        self->ends_s = now_s + (newest->ttl_s > 0 ? newest->ttl_s : DHT_TTL_S);
    }
}

static void spread_found_here(struct errand *self, const struct search *search)
{
    struct dht_node *node = self->node;
    struct spread_node nodes[SPREAD_NODES_MAX];
    struct newest newest = find_newest(self, search);
    const struct stored *stored = store_find(node->store, &self->target, node_store_s(node));
    const struct spread_found found = { .nodes = nodes,
                                        .nodes_count = read_nodes(search, nodes),
                                        .self_is_close = search_self_is_close(search),
                                        .has_item = newest.found,
                                        .highest_seq = newest.item.seq,
                                        .self_has_item = stored != NULL,
                                        .self_seq = stored != NULL ? stored->upkeep.seq : 0 };
    uint64_t next_seq;

    if (value_next_seq(newest.found ? newest.item.seq : 0,
                       world_wall_ms(node->dht->world, node->host), &next_seq) != LB_OK) {
        spread_give_up(&self->spread, LB_FULL);
        return;
    }
    if (self->kind == ERRAND_CHECK) {
        take_over(self, &newest);
    }
    spread_found(&self->spread, &found, next_seq);
}

static void end_get(struct errand *self, const struct search *search)
{
    struct dht_get *get = self->get;
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    struct newest newest = find_newest(self, search);

    get->done = true;
    get->queries = search_effort(search).queries;
    get->elapsed_ms = node_now_ms(self->node) - get->started_ms;
    if (!newest.found) {
        return;
    }
    get->found = true;
    get->seq = newest.item.is_mutable ? newest.item.seq : 0;
    get->content = dht_item_content(&newest.item);
    size_t count = search_closest(search, closest);
    for (size_t i = 0; i < count; i++) {
        get->holders += closest[i]->has_item && closest[i]->item_seq == get->seq;
    }
}

static void end_lookup(struct errand *self, const struct search *search)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    uint32_t truth[LOOKUP_K_MAX];
    struct dht *dht = self->node->dht;
    struct dht_lookup *lookup = self->lookup;
    struct search_effort effort = search_effort(search);

    size_t count = search_closest(search, closest);
    size_t expected = dht_oracle(dht, self->node->host, &self->target, search->order.aim.k, truth);
    for (size_t i = 0; i < expected; i++) {
        const struct dht_node *node = &dht->nodes[truth[i]];
        if (node->role != ROLE_HONEST) {
            continue;
        }
        lookup->expected++;
        for (size_t j = 0; j < count; j++) {
            lookup->found += node_id_equal(&closest[j]->contact.id, &node->id);
        }
    }
    lookup->done = true;
    lookup->exact = lookup->found == lookup->expected;
    lookup->rounds = effort.rounds;
    lookup->queries = effort.queries;
    lookup->elapsed_ms = node_now_ms(self->node) - lookup->started_ms;
}

void errand_found(struct errand *self, const struct search *search)
{
    self->searching = false;
    checks_search(self->node, search);
    if (self->ended) {
        errand_free(self);
        return;
    }
    switch (self->kind) {
    case ERRAND_LOOKUP:
        end_lookup(self, search);
        errand_free(self);
        break;
    case ERRAND_GET:
        end_get(self, search);
        errand_free(self);
        break;
    case ERRAND_PUT:
    case ERRAND_CHECK:
        spread_found_here(self, search);
        step(self);
        break;
    }
}

/* ---- time ---- */

static bool is_spreading(const struct errand *self)
{
    return !self->ended && (self->kind == ERRAND_PUT || self->kind == ERRAND_CHECK);
}

static uint64_t deadline_ms(const struct errand *self)
{
    if (!is_spreading(self)) {
        return UINT64_MAX;
    }
    uint64_t due_ms = spread_deadline_ms(&self->spread);
    return due_ms < self->deadline_ms ? due_ms : self->deadline_ms;
}

void errands_pump(struct dht_node *node)
{
    struct errand *next;

    for (struct errand *errand = node->errands; errand != NULL; errand = next) {
        next = errand->next;
        if (node_now_ms(node) < deadline_ms(errand)) {
            continue;
        }
        if (node_now_ms(node) >= errand->deadline_ms) {
            spread_give_up(&errand->spread, LB_TIMEOUT);
        }
        step(errand);
    }
}

uint64_t errands_deadline_ms(const struct dht_node *node)
{
    uint64_t due_ms = UINT64_MAX;

    for (const struct errand *errand = node->errands; errand != NULL; errand = errand->next) {
        uint64_t its_ms = deadline_ms(errand);
        due_ms = its_ms < due_ms ? its_ms : due_ms;
    }
    return due_ms;
}

void errands_abandon(struct dht_node *node)
{
    while (node->errands != NULL) {
        struct errand *errand = node->errands;
        if (errand->lookup != NULL) {
            errand->lookup->done = true;
        }
        if (errand->get != NULL) {
            errand->get->done = true;
        }
        if (errand->put != NULL && !errand->put->done) {
            errand->put->done = true;
            errand->put->result = (struct spread_result){ .err = LB_CANCELLED };
        }
        errand_free(errand);
    }
}

/* ---- beginnings ---- */

void dht_begin_lookup(struct dht *self, struct dht_lookup *lookup)
{
    struct dht_node *node = &self->nodes[lookup->origin];
    struct errand *errand = errand_new(node, ERRAND_LOOKUP);
    const struct lookup_aim aim = { .kind = LOOKUP_NODES,
                                    .target = lookup->target,
                                    .k = self->options.k == 0 ? TABLE_K : self->options.k };

    lookup->started_ms = world_now_ms(self->world);
    errand->lookup = lookup;
    errand->target = lookup->target;
    search(errand, &aim);
    assert(errand->searching);
    node_pump(node);
}

void dht_begin_get(struct dht *self, uint32_t origin, struct dht_get *get)
{
    struct dht_node *node = &self->nodes[origin];
    struct errand *errand = errand_new(node, ERRAND_GET);
    const struct lookup_aim aim = { .kind = LOOKUP_VALUE, .target = get->target, .k = SPREAD_K };

    get->done = get->found = false;
    get->started_ms = world_now_ms(self->world);
    errand->get = get;
    errand->target = get->target;
    search(errand, &aim);
    assert(errand->searching);
    node_pump(node);
}

void dht_begin_put(struct dht *self, uint32_t origin, struct dht_put *put)
{
    struct dht_node *node = &self->nodes[origin];
    struct errand *errand = errand_new(node, ERRAND_PUT);
    const struct spread_options options = { .mode = put->is_mutable ? SPREAD_VERSION : SPREAD_FIXED,
                                            .is_mutable = put->is_mutable,
                                            .has_cas = put->has_cas,
                                            .cas = put->cas,
                                            .deadline_ms = errand->deadline_ms,
                                            .is_patient = true };

    put->done = false;
    errand->put = put;
    errand->item = dht_make_item(put->name, put->content, put->is_mutable, 1, put->size);
    errand->target = put->target = item_target(errand->item);
    errand->ttl_s = put->ttl_s;
    spread_init(&errand->spread, &options);
    step(errand);
    node_pump(node);
}

void errand_begin_check(struct dht_node *node, const struct upkeep_action *action)
{
    const struct stored *stored = store_find(node->store, &action->target, node_store_s(node));

    if (stored == NULL) {
        const struct upkeep_check check = { .err = LB_OK, .gone = true };
        upkeep_checked(node->upkeep, action->ticket, &check, node_store_ms(node));
        return;
    }
    struct errand *errand = errand_new(node, ERRAND_CHECK);
    const struct spread_options options = { .mode = SPREAD_CHECK,
                                            .is_mutable = stored->item.is_mutable,
                                            .seq = stored->upkeep.seq,
                                            .deadline_ms = errand->deadline_ms,
                                            .is_patient = true };
    errand->item = store_copy(&stored->item);
    errand->target = action->target;
    errand->ends_s = stored->upkeep.ends_s;
    errand->ticket = action->ticket;
    errand->check_s = action->check_s;
    spread_init(&errand->spread, &options);
    step(errand);
}
