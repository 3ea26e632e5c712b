#include "tests/sim/node.h"

#include "tests/sim/checks.h"
#include "tests/sim/signing.h"

#include <string.h>

#define VIEW_EVERY_MS 500u /* how often storage looks whether the view has changed */

/* ---- other nodes' questions ---- */

static struct responder_outcome refusal(enum item_verdict verdict)
{
    return (struct responder_outcome){ .error = (int32_t)verdict,
                                       .error_text = bytes_of_text(item_verdict_text(verdict)) };
}

/* Another holder sees to the replicas: its get says so. */
static void take_check(struct dht_node *node, const struct krpc_message *message,
                       const struct stored *stored)
{
    struct upkeep_item item = stored->upkeep;

    if (node->upkeep != NULL && (message->present & KRPC_HAS_CHECK) && message->seq >= 0 &&
        item.seq >= (uint64_t)message->seq &&
        upkeep_postpone(node->upkeep, &item, (uint32_t)message->check, node_store_s(node))) {
        store_set(node->store, &item);
    }
}

static struct bytes answer_get(struct dht_node *node, const struct krpc_message *message,
                               const struct responder_ask *ask)
{
    uint64_t now_s = node_store_s(node);
    const struct stored *stored = store_find(node->store, &ask->target, now_s);
    struct responder_outcome outcome = { .error = 0 };
    struct krpc_item krpc;

    if (stored != NULL) {
        bool asked_for_newer = (message->present & KRPC_HAS_SEQ) && message->seq >= 0;
        bool is_newer = stored->item.is_mutable && stored->item.seq > (uint64_t)message->seq;

        take_check(node, message, stored);
        krpc = node_krpc_item(&stored->item, stored->upkeep.ends_s, now_s);
        if (asked_for_newer && !is_newer &&
            (stored->item.is_mutable || (message->present & KRPC_HAS_CHECK))) {
            krpc.value = krpc.signature = bytes_of(NULL, 0);
        }
        outcome.item = &krpc;
        checks_served(node, &ask->target, stored->upkeep.seq);
    }
    return carrier_answer(node->carrier, ask, &outcome, node_now_ms(node));
}

/* A put of what is here, too, says that somebody sees to it: the paper's rule. */
static void postpone(struct dht_node *node, const struct node_id *target)
{
    uint64_t now_s = node_store_s(node);
    const struct stored *stored = store_find(node->store, target, now_s);
    struct upkeep_item item = stored->upkeep;

    if (upkeep_postpone(node->upkeep, &item, node->dht->options.check_least_s, now_s)) {
        store_set(node->store, &item);
    }
}

static enum item_verdict put(struct dht_node *node, const struct krpc_message *message,
                             const struct address *from)
{
    uint64_t now_s = node_store_s(node);
    uint32_t ttl_s = message->ttl > 0 ? (uint32_t)message->ttl : DHT_TTL_S;
    struct item item;

    if (!node_read_item(message, &item)) {
        return ITEM_MALFORMED;
    }
    enum item_verdict verdict = signing_verify(&item);
    if (verdict != ITEM_ACCEPTED) {
        return verdict;
    }
    struct store_put put = { .item = &item,
                             .source = *from,
                             .has_cas = (message->present & KRPC_HAS_CAS) != 0,
                             .cas = message->cas > 0 ? (uint64_t)message->cas : 0,
                             .ends_s = now_s + ttl_s,
                             .now_s = now_s,
                             .first_check_s = now_s };
    struct node_id target = item_target(&item);
    if (node->upkeep != NULL) {
        put.first_check_s = upkeep_first_check_s(node->upkeep, now_s);
        node->upkeep_ready = true;
    }
    const struct stored *stored = store_find(node->store, &target, now_s);
    bool was_here = stored != NULL, was_same = was_here && item_is_same(&stored->item, &item);
    verdict = store_put(node->store, &target, &put);
    checks_stored(node, &target, &put, was_here, verdict);
    if (was_same && verdict == ITEM_ACCEPTED && node->upkeep != NULL) {
        postpone(node, &target);
    }
    return verdict;
}

static struct bytes answer_put(struct dht_node *node, const struct krpc_message *message,
                               const struct responder_ask *ask)
{
    enum item_verdict verdict = put(node, message, &ask->from);
    struct responder_outcome outcome = refusal(verdict);

    return carrier_answer(node->carrier, ask, &outcome, node_now_ms(node));
}

static char need_of(struct dht_node *node, const uint8_t *digest)
{
    const struct upkeep_digest offered = { .target = node_id_from(digest),
                                           .seq = load_u64(digest + NODE_ID_SIZE) };
    uint64_t now_s = node_store_s(node);
    const struct stored *stored = store_find(node->store, &offered.target, now_s);
    struct upkeep_item held = stored != NULL ? stored->upkeep : (struct upkeep_item){ .seq = 0 };
    char need = upkeep_need(node->upkeep, &offered, stored != NULL ? &held : NULL,
                            store_seen(node->store, &offered.target),
                            store_has_room(node->store, &offered.target));

    if (stored != NULL && need == UPKEEP_HAS &&
        upkeep_postpone(node->upkeep, &held, node->dht->options.check_least_s, now_s)) {
        store_set(node->store, &held);
    }
    return need;
}

static struct bytes answer_offer(struct dht_node *node, const struct krpc_message *message,
                                 const struct responder_ask *ask)
{
    struct responder_outcome outcome = { .unavailable = node->upkeep == NULL };
    uint8_t need[KRPC_DIGESTS_MAX];
    size_t count = message->offer.size / KRPC_DIGEST_SIZE;

    for (size_t i = 0; i < count && node->upkeep != NULL; i++) {
        need[i] = (uint8_t)need_of(node, message->offer.data + i * KRPC_DIGEST_SIZE);
    }
    outcome.need = bytes_of(need, count);
    return carrier_answer(node->carrier, ask, &outcome, node_now_ms(node));
}

struct bytes holding_answer(struct dht_node *node, const struct krpc_message *message,
                            const struct responder_ask *ask)
{
    static const struct responder_outcome nothing = { .error = 0 };
    static const struct responder_outcome unavailable = { .unavailable = true };

    if (node->store == NULL) {
        return carrier_answer(node->carrier, ask,
                              ask->method == KRPC_PUT || ask->method == KRPC_OFFER ? &unavailable
                                                                                   : &nothing,
                              node_now_ms(node));
    }
    switch (ask->method) {
    case KRPC_GET:
        return answer_get(node, message, ask);
    case KRPC_PUT:
        return answer_put(node, message, ask);
    case KRPC_OFFER:
        return answer_offer(node, message, ask);
    default:
        return carrier_answer(node->carrier, ask, &nothing, node_now_ms(node));
    }
}

/* ---- what upkeep asks of others ---- */

static void could_not_ask(struct dht_node *node, uint32_t ticket)
{
    const struct upkeep_answer answer = { .outcome = UPKEEP_SILENT };

    upkeep_answered(node->upkeep, ticket, &answer, node_store_ms(node));
}

void holding_answered(struct dht_node *node, uint32_t ticket, const struct krpc_message *message)
{
    struct upkeep_answer answer = { .outcome = UPKEEP_SILENT };

    if (node->upkeep == NULL) {
        return;
    }
    if (message != NULL && message->type == KRPC_ERROR) {
        answer.outcome = UPKEEP_REFUSED;
    } else if (message != NULL) {
        answer = (struct upkeep_answer){ .outcome = UPKEEP_DONE,
                                         .littlebird = message->littlebird,
                                         .need = (const char *)message->need.data,
                                         .need_size = message->need.size,
                                         .token = message->token.data,
                                         .token_size = message->token.size,
                                         .has_item = (message->present &
                                                      (KRPC_HAS_VALUE | KRPC_HAS_SEQ)) != 0,
                                         .seq = message->seq > 0 ? (uint64_t)message->seq : 0 };
    }
    upkeep_answered(node->upkeep, ticket, &answer, node_store_ms(node));
    node->upkeep_ready = true;
}

static void ask(struct dht_node *node, const struct upkeep_action *action, struct krpc_query *krpc)
{
    const struct carrier_query query = { .krpc = krpc,
                                         .to = action->contact,
                                         .has_id = true,
                                         .cookie = cookie_of(COOKIE_UPKEEP, action->ticket) };

    if (!node_ask(node, &query)) {
        could_not_ask(node, action->ticket);
    }
}

static void send_offer(struct dht_node *node, const struct upkeep_action *action)
{
    uint8_t digests[KRPC_DIGESTS_MAX * KRPC_DIGEST_SIZE];
    struct krpc_query krpc = { .method = KRPC_OFFER };

    for (size_t i = 0; i < action->digests_count; i++) {
        uint8_t *at = digests + i * KRPC_DIGEST_SIZE;
        memcpy(at, action->digests[i].target.bytes, NODE_ID_SIZE);
        store_u64(at + NODE_ID_SIZE, action->digests[i].seq);
    }
    krpc.offer = bytes_of(digests, action->digests_count * KRPC_DIGEST_SIZE);
    ask(node, action, &krpc);
}

static void send_put(struct dht_node *node, const struct upkeep_action *action)
{
    uint64_t now_s = node_store_s(node);
    const struct stored *stored = store_find(node->store, &action->target, now_s);

    if (stored == NULL) {
        could_not_ask(node, action->ticket);
        return;
    }
    struct krpc_query krpc = { .method = KRPC_PUT,
                               .token = bytes_of(action->token, action->token_size),
                               .item =
                                   node_krpc_item(&stored->item, stored->upkeep.ends_s, now_s) };
    ask(node, action, &krpc);
}

static void act(struct dht_node *node, const struct upkeep_action *action)
{
    struct krpc_query krpc = { .method = KRPC_PING, .target = action->target };

    switch (action->step) {
    case UPKEEP_CHECK:
        errand_begin_check(node, action);
        break;
    case UPKEEP_PING:
        ask(node, action, &krpc);
        break;
    case UPKEEP_OFFER:
        send_offer(node, action);
        break;
    case UPKEEP_GET:
        krpc.method = KRPC_GET;
        ask(node, action, &krpc);
        break;
    case UPKEEP_PUT:
        send_put(node, action);
        break;
    case UPKEEP_SET:
        store_set(node->store, &action->item);
        upkeep_written(node->upkeep, action->ticket, true, node_store_ms(node));
        break;
    case UPKEEP_DROP:
        store_drop(node->store, &action->target, action->seq);
        upkeep_written(node->upkeep, action->ticket, true, node_store_ms(node));
        break;
    case UPKEEP_STEPS:
        break;
    }
}

/* ---- its time ---- */

static void show_view(struct dht_node *node)
{
    uint64_t version = router_version(node->router), now_ms = node_now_ms(node);
    uint32_t count;

    if (version == node->view_version || now_ms < node->view_ms + VIEW_EVERY_MS) {
        return;
    }
    const struct contact *sorted = router_sorted(node->router, ROUTING_V4, &count);
    node->view_version = version;
    node->view_ms = now_ms;
    upkeep_view(node->upkeep, ROUTING_V4, sorted, count, node_store_ms(node));
    node->upkeep_ready = true;
}

bool holding_pump(struct dht_node *node)
{
    struct upkeep_action action;
    bool any = false;

    if (node->upkeep == NULL) {
        return false;
    }
    show_view(node);
    if (!node->upkeep_ready && upkeep_deadline_ms(node->upkeep) > node_store_ms(node)) {
        return false;
    }
    node->upkeep_ready = false;
    store_sweep(node->store, node_store_s(node));
    while (upkeep_next(node->upkeep, node_store_ms(node), &action)) {
        act(node, &action);
        any = true;
    }
    return any;
}

uint64_t holding_deadline_ms(const struct dht_node *node)
{
    if (node->upkeep == NULL) {
        return UINT64_MAX;
    }
    uint64_t lag_ms = node_store_ms(node) - node_now_ms(node);
    uint64_t due_ms = upkeep_deadline_ms(node->upkeep);
    due_ms = due_ms == UINT64_MAX ? due_ms : due_ms > lag_ms ? due_ms - lag_ms : 0;
    if (node->view_version != router_version(node->router) &&
        node->view_ms + VIEW_EVERY_MS < due_ms) {
        due_ms = node->view_ms + VIEW_EVERY_MS;
    }
    return due_ms;
}
