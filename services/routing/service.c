#include "services/routing/service.h"

#include "libcommon/config.h"
#include "libcommon/identity.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/secure_id.h"
#include "proto/routing.pb-c.h"
#include "proto/transport.pb-c.h"
#include "services/routing/answers.h"
#include "services/routing/queries.h"

#include <stdlib.h>
#include <string.h>

#define SIGHTINGS_MAX  64 /* proto/routing.proto */
#define TELL_EVERY_MS  1000u
#define ANSWER_LEFT_MS 100u /* of the caller's time, for the way back */
#define FORGET_MAX     64   /* proto/routing.proto */
#define MEMBER_PATHS   4u   /* THREATS 2.3: S/Kademlia, on private networks */

/* ---- requests ---- */

static struct bytes view(ProtobufCBinaryData from)
{
    return bytes_of(from.data, from.len);
}

static void take_sighting(struct routing *self, const Lb__Routing__Sighting *from)
{
    struct contact contact;
    uint64_t now_ms = actor_now_ms(self->actor);

    if (from->contact == NULL || from->contact->node_id.len != NODE_ID_SIZE ||
        address_from_compact(view(from->contact->address), &contact.address) != LB_OK) {
        return;
    }
    contact.id = node_id_from(from->contact->node_id.data);
    switch (from->kind) {
    case LB__ROUTING__SIGHTING__KIND__QUERIED:
        router_sighting(self->router, SIGHTING_QUERIED, &contact, 0, now_ms);
        break;
    case LB__ROUTING__SIGHTING__KIND__ANSWERED:
        router_sighting(self->router, SIGHTING_ANSWERED, &contact, from->rtt_us, now_ms);
        break;
    case LB__ROUTING__SIGHTING__KIND__SILENT:
        router_sighting(self->router, SIGHTING_SILENT, &contact, 0, now_ms);
        break;
    default:
        break;
    }
}

static void on_sightings(void *ctx, struct call *call, const void *body)
{
    struct routing *self = ctx;
    const Lb__Routing__Sightings *sightings = body;

    for (size_t i = 0; i < sightings->n_sightings && i < SIGHTINGS_MAX; i++) {
        take_sighting(self, sightings->sightings[i]);
    }
    call_done(&call);
}

static void on_forget(void *ctx, struct call *call, const void *body)
{
    struct routing *self = ctx;
    const Lb__Routing__Forget *forget = body;

    for (size_t i = 0; i < forget->n_node_ids && i < FORGET_MAX; i++) {
        if (forget->node_ids[i].len == NODE_ID_SIZE) {
            struct node_id id = node_id_from(forget->node_ids[i].data);
            router_forget(self->router, &id);
        }
    }
    call_done(&call);
}

static bool read_kind(Lb__Routing__Lookup__Kind from, enum lookup_kind *ret_kind)
{
    switch (from) {
    case LB__ROUTING__LOOKUP__KIND__NODES:
        *ret_kind = LOOKUP_NODES;
        return true;
    case LB__ROUTING__LOOKUP__KIND__PEERS:
        *ret_kind = LOOKUP_PEERS;
        return true;
    case LB__ROUTING__LOOKUP__KIND__VALUE:
        *ret_kind = LOOKUP_VALUE;
        return true;
    default:
        return false;
    }
}

static bool read_aim(const Lb__Routing__Lookup *from, struct lookup_aim *ret_aim)
{
    if (from->target.len != NODE_ID_SIZE || from->k > SEARCH_K_MAX ||
        !read_kind(from->kind, &ret_aim->kind)) {
        return false;
    }
    ret_aim->target = node_id_from(from->target.data);
    ret_aim->k = from->k == 0 ? TABLE_K : from->k;
    ret_aim->has_seq = from->newer_case == LB__ROUTING__LOOKUP__NEWER_SEQ;
    ret_aim->seq = ret_aim->has_seq ? from->seq : 0;
    ret_aim->check_s = from->check_s;
    return true;
}

static void on_lookup(void *ctx, struct call *call, const void *body)
{
    struct routing *self = ctx;
    const Lb__Routing__Lookup *from = body;
    uint64_t now_ms = actor_now_ms(self->actor);
    uint32_t left_ms = call_time_left_ms(call);
    struct search_order order = { .paths = from->paths, .enough = from->enough, .ctx = call };

    if (!read_aim(from, &order.aim) || from->paths > SEARCH_PATHS_MAX) {
        call_fail(&call, LB_INVALID,
                  "a lookup has a target of 20 bytes, a kind, k up to %u, and up to %u paths",
                  SEARCH_K_MAX, SEARCH_PATHS_MAX);
        return;
    }
    if (self->stopping) {
        call_fail(&call, LB_UNAVAILABLE, "routing is stopping");
        return;
    }
    uint64_t for_ms = left_ms > 2 * ANSWER_LEFT_MS ? left_ms - ANSWER_LEFT_MS : left_ms / 2;
    order.deadline_ms = now_ms + for_ms;
    lb_err err = router_search(self->router, &order, now_ms);
    if (err != LB_OK) {
        call_fail(&call, err, "%u lookups are running", ROUTER_LOOKUPS_MAX);
    }
}

static void on_get_table(void *ctx, struct call *call, const void *body)
{
    struct routing *self = ctx;

    (void)body;
    answers_table(&call, self->router, actor_now_ms(self->actor));
}

static void on_add_node(void *ctx, struct call *call, const void *body)
{
    struct routing *self = ctx;
    const Lb__Routing__AddNode *from = body;
    struct address address;

    if (address_from_compact(view(from->address), &address) != LB_OK ||
        !address_is_usable(&address)) {
        call_fail(&call, LB_INVALID, "address must be 6 or 18 bytes of a host");
        return;
    }
    lb_err err = self->stopping ? LB_UNAVAILABLE : router_introduce(self->router, &address, call);
    if (err != LB_OK) {
        call_fail(&call, err, "no more nodes can be tried now");
    }
}

static handler_fn *const handlers[] = {
    [LB__ROUTING__REQUEST__BODY_SIGHTINGS] = on_sightings,
    [LB__ROUTING__REQUEST__BODY_LOOKUP] = on_lookup,
    [LB__ROUTING__REQUEST__BODY_GET_TABLE] = on_get_table,
    [LB__ROUTING__REQUEST__BODY_ADD_NODE] = on_add_node,
    [LB__ROUTING__REQUEST__BODY_FORGET] = on_forget,
};

/* ---- what the router finished ---- */

static void answer_search(struct routing *self, struct search *search)
{
    struct call *call = search->order.ctx;

    if (search_effort(search).answers == 0 && !instances_are_up(&self->transports) &&
        router_view(self->router).contacts > 0) {
        call_fail(&call, LB_UNAVAILABLE, "transport is not there");
        return;
    }
    answers_found(&call, search, config_number(actor_config(self->actor), CONFIG_CLIENT) != 0,
                  actor_now_ms(self->actor));
}

static void answer_intro(const struct intro *intro)
{
    struct call *call = intro->ctx;
    Lb__Routing__Added added = LB__ROUTING__ADDED__INIT;
    Lb__Routing__Reply reply = LB__ROUTING__REPLY__INIT;

    if (intro->state != INTRO_ANSWERED) {
        call_fail(&call, LB_TIMEOUT, "nobody answered there");
        return;
    }
    added.node_id.data = (uint8_t *)(uintptr_t)intro->id.bytes;
    added.node_id.len = NODE_ID_SIZE;
    reply.body_case = LB__ROUTING__REPLY__BODY_ADDED;
    reply.added = &added;
    call_reply(&call, &reply.base);
}

/* Returns whether anything ended. */
static bool take_finished(struct routing *self, uint64_t now_ms)
{
    struct search *search;
    struct intro intro;
    bool any = false;

    while ((search = router_finished(self->router, now_ms)) != NULL) {
        answer_search(self, search);
        search_free(&search);
        any = true;
    }
    while (router_introduced(self->router, &intro)) {
        answer_intro(&intro);
        any = true;
    }
    return any;
}

/* ---- state ---- */

static void tell_counters(struct routing *self, uint64_t now_ms)
{
    const struct router_stats *stats = &self->router->stats;
    const uint64_t values[ROUTING_COUNTERS_COUNT] = {
        [ROUTING_COUNT_CONTACTS] = router_view(self->router).contacts,
        [ROUTING_COUNT_GOOD] = router_good_count(self->router, now_ms),
        [ROUTING_COUNT_ADDED] = stats->added,
        [ROUTING_COUNT_FORGOTTEN] = stats->forgotten,
        [ROUTING_COUNT_CONFLICTS] = stats->conflicts,
        [ROUTING_COUNT_LOOKUPS] = stats->lookups,
        [ROUTING_COUNT_RUNNING] = self->router->searches_asked,
        [ROUTING_COUNT_REFRESHES] = stats->refreshes,
        [ROUTING_COUNT_PROBES] = stats->probes,
        [ROUTING_COUNT_QUERIES] = stats->queries,
        [ROUTING_COUNT_ANSWERS] = stats->answers,
        [ROUTING_COUNT_SILENT] = stats->silent,
        [ROUTING_COUNT_UNSENT] = stats->unsent,
        [ROUTING_COUNT_RTT] = self->router->rtt_us,
    };

    for (unsigned i = 0; i < ROUTING_COUNTERS_COUNT; i++) {
        status_counter_set(self->counters[i], values[i]);
    }
}

static void tell_state(struct routing *self, const struct join_view *view, bool up)
{
    struct actor *actor = self->actor;
    const char *client = config_number(actor_config(actor), CONFIG_CLIENT) != 0 ? "client, " : "";

    if (!up) {
        actor_state(actor, STATE_DEGRADED, "no transport");
    } else if (view->live == 0 && self->names.count > 0) {
        actor_state(actor, STATE_DEGRADED, "alone, looking for bootstrap %s",
                    self->names.entries[0]);
    } else if (view->live == 0 && !router_is_joined(self->router)) {
        actor_state(actor, STATE_DEGRADED, "alone, asking the nodes known before");
    } else if (view->live == 0) {
        actor_state(actor, STATE_READY, "%salone", client);
    } else if (!router_is_joined(self->router)) {
        actor_state(actor, STATE_DEGRADED, "%sjoining, contacts: %zu", client, view->contacts);
    } else {
        actor_state(actor, STATE_READY, "%scontacts: %zu", client, view->contacts);
    }
}

/* BEP 42: from the next start on our id fits the public address that others see us at. */
static void check_id(struct routing *self, uint64_t now_ms)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address address;

    if (self->id_changes || !router_is_misfit(self->router, &address)) {
        return;
    }
    struct node_id id = secure_id_random(&address, &self->router->random);
    self->id_changes = keeper_change_id(&self->keeper, &id, now_ms);
    if (self->id_changes) {
        address_format(&address, text);
        log_info("the node id does not fit our public address %s, it changes with the next start",
                 text);
    }
}

/* State and counters, when they changed, at most once a second but for what changes the state. */
static uint64_t tell(struct routing *self, uint64_t now_ms)
{
    struct join_view view = router_view(self->router);
    bool up = instances_are_up(&self->transports);
    uint64_t key = (up ? 1u : 0u) | (view.live > 0 ? 2u : 0u) |
                   (router_is_joined(self->router) ? 4u : 0u) | (uint64_t)view.contacts << 3;

    key |= self->router->stats.queries << 32;
    if (key == self->told_view) {
        return UINT64_MAX;
    }
    if ((key & 7u) == (self->told_view & 7u) && now_ms < self->told_ms + TELL_EVERY_MS) {
        return self->told_ms + TELL_EVERY_MS;
    }
    self->told_view = key;
    self->told_ms = now_ms;
    check_id(self, now_ms);
    tell_state(self, &view, up);
    tell_counters(self, now_ms);
    return UINT64_MAX;
}

/* ---- once a turn of the loop ---- */

static void on_timer(uv_timer_t *timer)
{
    struct routing *self = timer->data;

    self->timer_ms = UINT64_MAX; /* the turn of the loop does the rest */
}

static void arm(struct routing *self, uint64_t due_ms, uint64_t now_ms)
{
    if (due_ms == self->timer_ms) {
        return;
    }
    self->timer_ms = due_ms;
    if (due_ms == UINT64_MAX) {
        uv_timer_stop(&self->timer);
    } else {
        uv_timer_start(&self->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 1, 0);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void on_prepare(uv_prepare_t *handle)
{
    struct routing *self = handle->data;
    uint64_t now_ms = actor_now_ms(self->actor);
    struct query query;
    bool again = true;

    queries_learn_families(self);
    while (again) {
        while (router_next(self->router, now_ms, &query)) {
            queries_send(self, &query);
        }
        again = take_finished(self, now_ms);
    }
    uint64_t due_ms = router_deadline_ms(self->router);
    due_ms = earlier(due_ms, publisher_update(&self->publisher, self->router, now_ms));
    due_ms = earlier(due_ms, keeper_update(&self->keeper, handle->loop, self->router, now_ms));
    due_ms = earlier(due_ms, names_update(&self->names, now_ms));
    due_ms = earlier(due_ms, tell(self, now_ms));
    arm(self, due_ms, now_ms);
}

/* ---- life ---- */

static void open_counters(struct routing *self)
{
#define ROUTING_COUNTER_NAME(name, text) [ROUTING_COUNT_##name] = text,
    static const char *const names[] = { ROUTING_COUNTERS(ROUTING_COUNTER_NAME) };
#undef ROUTING_COUNTER_NAME

    for (unsigned i = 0; i < ROUTING_COUNTERS_COUNT; i++) {
        self->counters[i] = actor_counter(self->actor, names[i]);
    }
}

static void open_handles(struct routing *self)
{
    struct uv_loop_s *loop = actor_loop(self->actor);

    uv_timer_init(loop, &self->timer);
    uv_prepare_init(loop, &self->prepare);
    self->timer.data = self->prepare.data = self;
    self->timer_ms = UINT64_MAX;
    uv_prepare_start(&self->prepare, on_prepare);
}

/* The public address that is to be listened at, if the configuration names one. */
static bool find_public_address(const struct config *config, struct address *ret_address)
{
    struct address address;

    for (size_t i = 0; i < config_list_count(config, CONFIG_LISTEN); i++) {
        if (address_parse(config_list_item(config, CONFIG_LISTEN, i), &address) != LB_OK) {
            continue;
        }
        address.port = 1; /* a port may be chosen later; the id does not depend on it */
        if (address_is_usable(&address) && !address_is_private(&address)) {
            *ret_address = address;
            return true;
        }
    }
    return false;
}

/* Our id, and the contacts of the last time: those of our membership, if we have one. */
static lb_err learn_self(struct routing *self, struct node_id *ret_id,
                         struct snapshot *ret_snapshot)
{
    const struct paths *paths = actor_paths(self->actor);
    uint64_t now_ms = actor_now_ms(self->actor);
    struct identity identity;
    struct address address;
    lb_err err = identity_load(paths, &identity);

    if (err == LB_OK) {
        self->is_member = true;
        *ret_id = identity.node;
        keeper_open_member(&self->keeper, paths->state_folder, ret_id, now_ms, ret_snapshot);
        log_info("member of the private network %s", identity.network_name);
        return LB_OK;
    }
    if (err != LB_NOT_FOUND) {
        log_error("the file identity cannot be used, so it is not known whether this node is a "
                  "member of a private network: %s",
                  lb_err_text(err));
        return err == LB_DENIED ? LB_DENIED : LB_INVALID; /* starting again will not help */
    }
    bool is_public = find_public_address(actor_config(self->actor), &address);
    err = keeper_open(&self->keeper, paths->state_folder, is_public ? &address : NULL, now_ms,
                      ret_id, ret_snapshot);
    if (err != LB_OK) {
        log_error("cannot keep the node id in %s: %s", paths->state_folder, lb_err_text(err));
    }
    return err;
}

/* Disjoint paths of a lookup: as configured, else MEMBER_PATHS on a private network. */
static void take_paths(struct routing *self, const struct config *config)
{
    bool is_set = strcmp(config_origin(config, CONFIG_ROUTING_PATHS), "default") != 0;

    self->router->paths = self->is_member && !is_set
                              ? MEMBER_PATHS
                              : (unsigned)config_number(config, CONFIG_ROUTING_PATHS);
}

static lb_err routing_start(struct actor *actor, void **ret_ctx)
{
    struct routing *self = xcalloc(1, sizeof(*self));
    struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));
    const struct paths *paths = actor_paths(actor);
    uint64_t now_ms = actor_now_ms(actor);
    char text[NODE_ID_TEXT_SIZE];
    struct node_id id;

    *ret_ctx = self;
    self->actor = actor;
    self->told_view = UINT64_MAX;
    open_counters(self);
    open_handles(self);
    instances_init(&self->transports, actor, SERVICE_TRANSPORT, &lb__transport__reply__descriptor);
    lb_err err = learn_self(self, &id, snapshot);
    if (err != LB_OK) {
        goto out;
    }
    node_id_format(&id, text);
    log_info("node id=%s, %zu contacts from the snapshot", text, snapshot->count);
    names_read(&self->names, self);
    self->router = router_new(&id, actor_random_seed(actor), self->names.count > 0, now_ms);
    if (self->is_member) {
        router_trust_ids(self->router);
    }
    take_paths(self, actor_config(actor));
    names_open(&self->names);
    err = publisher_open(&self->publisher, paths->pages_folder, self->router, now_ms);
    if (err != LB_OK) {
        log_error("cannot make %s: %s", self->publisher.path, lb_err_text(err));
        goto out;
    }
    router_load(self->router, snapshot);
    actor_state(actor, STATE_DEGRADED, "no transport");
out:
    free(snapshot);
    return err;
}

/* Nobody shall wait for what we will not finish. */
static void fail_calls(struct routing *self)
{
    struct search *search;
    struct intro intro;

    while ((search = router_drop_search(self->router)) != NULL) {
        struct call *call = search->order.ctx;
        call_fail(&call, LB_UNAVAILABLE, "routing is stopping");
        search_free(&search);
    }
    while (router_drop_intro(self->router, &intro)) {
        struct call *call = intro.ctx;
        call_fail(&call, LB_UNAVAILABLE, "routing is stopping");
    }
}

static void routing_stop(void *ctx)
{
    struct routing *self = ctx;

    self->stopping = true;
    uv_prepare_stop(&self->prepare);
    uv_timer_stop(&self->timer);
    fail_calls(self);
    keeper_close(&self->keeper, actor_loop(self->actor), self->router, actor_now_ms(self->actor));
    actor_stopped(self->actor);
}

static void routing_scaled(void *ctx)
{
    struct routing *self = ctx;

    (void)instances_follow(&self->transports);
}

static void routing_free(void *ctx)
{
    struct routing *self = ctx;

    self->stopping = true;
    if (self->router != NULL) {
        fail_calls(self);
    }
    publisher_close(&self->publisher);
    uv_close((uv_handle_t *)&self->timer, NULL);
    uv_close((uv_handle_t *)&self->prepare, NULL);
    router_free(&self->router);
    names_done(&self->names);
    actor_free_later(self->actor, self);
}

static void routing_reload(void *ctx, const struct config *now)
{
    struct routing *self = ctx;

    take_paths(self, now); /* of new lookups */
}

const struct service_definition routing_service = {
    .service = SERVICE_ROUTING,
    .request = &lb__routing__request__descriptor,
    .reply = &lb__routing__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof(handlers) / sizeof(handlers[0]),
    .start = routing_start,
    .stop = routing_stop,
    .free = routing_free,
    .scaled = routing_scaled,
    .reload = routing_reload,
};
