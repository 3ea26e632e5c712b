#include "tests/sim/dht.h"

#include "libcommon/closest.h"
#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Transport's part: a query is sent twice before its node counts as silent. */
#define TRY_MS        700u
#define TRIES         2u
#define COOKIE_ROUTER UINT64_MAX

static void node_pump(struct dht_node *self);

/* ---- messages ---- */

static size_t message_size(const struct message *message)
{
    return offsetof(struct message, contacts) +
           message->contacts_count * sizeof(message->contacts[0]);
}

static void send_message(struct dht_node *self, const struct address *to,
                         const struct message *message)
{
    struct address from = world_address(self->host);

    world_send(self->dht->world, self->host, &from, to, message, message_size(message));
}

/* ---- transactions ---- */

static struct transaction *transaction_find(struct dht_node *self, uint32_t number)
{
    uint32_t index = number % ROUTER_FLIGHTS_MAX;

    if (index >= self->transactions_count || !self->transactions[index].used ||
        self->transactions[index].serial != number / ROUTER_FLIGHTS_MAX) {
        return NULL;
    }
    return &self->transactions[index];
}

static struct transaction *transaction_add(struct dht_node *self)
{
    uint32_t index = 0;

    if (self->transactions_used == self->transactions_count) {
        index = self->transactions_count;
        self->transactions_count = self->transactions_count == 0 ? 8 : self->transactions_count * 2;
        self->transactions =
            xrealloc(self->transactions, self->transactions_count * sizeof(*self->transactions));
        memset(&self->transactions[index], 0,
               (self->transactions_count - index) * sizeof(*self->transactions));
    }
    while (self->transactions[index].used) {
        index++;
    }
    struct transaction *transaction = &self->transactions[index];
    transaction->used = true;
    transaction->serial = (transaction->serial + 1) % (UINT32_MAX / ROUTER_FLIGHTS_MAX);
    transaction->tries = 0;
    transaction->message.transaction = transaction->serial * ROUTER_FLIGHTS_MAX + index;
    self->transactions_used++;
    return transaction;
}

static void transaction_try(struct dht_node *self, struct transaction *transaction)
{
    transaction->tries++;
    self->dht->queries_sent++;
    send_message(self, &transaction->to, &transaction->message);
    world_timer(self->dht->world, self->host, world_now_ms(self->dht->world) + TRY_MS,
                transaction->message.transaction);
}

static void send_query(struct dht_node *self, const struct query *query)
{
    struct transaction *transaction = transaction_add(self);

    transaction->ticket = query->ticket;
    transaction->to = query->to;
    transaction->sent_ms = world_now_ms(self->dht->world);
    transaction->message.type = query->method == QUERY_PING ? MESSAGE_PING : MESSAGE_FIND_NODE;
    transaction->message.contacts_count = 0;
    transaction->message.sender = self->id;
    transaction->message.target = query->target;
    transaction_try(self, transaction);
}

static void transaction_end(struct dht_node *self, struct transaction *transaction,
                            const struct reply *reply)
{
    uint32_t ticket = transaction->ticket;

    transaction->used = false;
    self->transactions_used--;
    router_reply(self->router, ticket, reply, world_now_ms(self->dht->world));
}

/* ---- one node ---- */

static void check_node(struct dht_node *self)
{
    struct dht *dht = self->dht;

    if (dht->options.check_every == 0 || dht->steps++ % dht->options.check_every != 0 ||
        dht->problem != NULL) {
        return;
    }
    dht->problem = router_check(self->router);
    dht->problem_node = self->host;
}

static void take_result(struct dht_node *self, struct search *search)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    uint32_t truth[LOOKUP_K_MAX];
    struct dht_lookup *lookup = search->order.ctx;
    struct search_effort effort = search_effort(search);

    size_t count = search_closest(search, closest);
    size_t expected =
        dht_oracle(self->dht, self->host, &search->order.aim.target, search->order.aim.k, truth);
    lookup->done = true;
    lookup->expected = (uint32_t)expected;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < expected; j++) {
            lookup->found += node_id_equal(&closest[i]->contact.id, &self->dht->nodes[truth[j]].id);
        }
    }
    lookup->exact = count == expected && lookup->found == expected;
    lookup->rounds = effort.rounds;
    lookup->queries = effort.queries;
    lookup->elapsed_ms = world_now_ms(self->dht->world) - lookup->started_ms;
}

/* Send what the router wants sent, take what it has finished, set its timer. */
static void node_pump(struct dht_node *self)
{
    uint64_t now_ms = world_now_ms(self->dht->world);
    struct search *search;
    struct query query;
    bool again = true;

    while (again) {
        again = false;
        while (router_next(self->router, now_ms, &query)) {
            send_query(self, &query);
        }
        while ((search = router_finished(self->router, now_ms)) != NULL) {
            take_result(self, search);
            search_free(&search);
            again = true;
        }
    }
    if (self->joined_ms == 0 && router_is_joined(self->router)) {
        self->joined_ms = now_ms;
    }
    uint64_t due_ms = router_deadline_ms(self->router);
    due_ms = due_ms > now_ms ? due_ms : now_ms + 1;
    if (due_ms < self->timer_ms || self->timer_ms <= now_ms) {
        self->timer_ms = due_ms;
        world_timer(self->dht->world, self->host, due_ms, COOKIE_ROUTER);
    }
    check_node(self);
}

static void answer_query(struct dht_node *self, const struct address *from,
                         const struct message *query)
{
    struct message answer = { .transaction = query->transaction,
                              .type = MESSAGE_ANSWER,
                              .sender = self->id };
    uint32_t indices[DHT_CONTACTS_MAX], count;

    if (query->type == MESSAGE_FIND_NODE) {
        const struct contact *sorted = router_sorted(self->router, ROUTING_V4, &count);
        size_t found = closest_find(sorted, count, &query->target, DHT_CONTACTS_MAX, indices);
        for (size_t i = 0; i < found; i++) {
            answer.contacts[i] = sorted[indices[i]];
        }
        answer.contacts_count = (uint8_t)found;
    }
    self->dht->answers_sent++;
    send_message(self, from, &answer);
}

static void take_answer(struct dht_node *self, const struct address *from,
                        const struct message *answer)
{
    struct transaction *transaction = transaction_find(self, answer->transaction);

    if (transaction == NULL || !address_equal(&transaction->to, from)) {
        return;
    }
    uint64_t passed_ms = world_now_ms(self->dht->world) - transaction->sent_ms;
    struct reply reply = { .outcome = REPLY_ANSWERED,
                           .id = answer->sender,
                           .nodes = answer->contacts,
                           .nodes_count = answer->contacts_count,
                           .rtt_us = (uint32_t)passed_ms * 1000 + 1 };
    transaction_end(self, transaction, &reply);
}

static void honest_receive(void *ctx, const struct address *from, const void *data, size_t size)
{
    struct dht_node *self = ctx;
    struct message message;

    if (self->router == NULL || size > sizeof(message)) {
        return;
    }
    memcpy(&message, data, size);
    if (message.type == MESSAGE_ANSWER) {
        take_answer(self, from, &message);
    } else {
        struct contact contact = { .id = message.sender, .address = *from };
        answer_query(self, from, &message);
        router_sighting(self->router, SIGHTING_QUERIED, &contact, 0,
                        world_now_ms(self->dht->world));
    }
    node_pump(self);
}

static void honest_timer(void *ctx, uint64_t cookie)
{
    struct dht_node *self = ctx;

    if (self->router == NULL) {
        return;
    }
    if (cookie == COOKIE_ROUTER) {
        if (world_now_ms(self->dht->world) == self->timer_ms) {
            node_pump(self);
        }
        return;
    }
    struct transaction *transaction = transaction_find(self, (uint32_t)cookie);
    if (transaction == NULL) {
        return;
    }
    if (transaction->tries < TRIES) {
        transaction_try(self, transaction);
        return;
    }
    struct reply reply = { .outcome = REPLY_SILENT };
    transaction_end(self, transaction, &reply);
    node_pump(self);
}

static const struct behaviour honest = { .receive = honest_receive, .timer = honest_timer };

/* ---- the network ---- */

struct dht *dht_new(const struct dht_options *options)
{
    struct dht *self = xcalloc(1, sizeof(*self));

    self->options = *options;
    self->world = world_new(&options->world);
    random_init(&self->random, options->world.seed ^ 0x5ce7a210u);
    self->nodes = xcalloc(options->nodes, sizeof(*self->nodes));
    for (uint32_t i = 0; i < options->nodes; i++) {
        self->nodes[i].dht = self;
        self->nodes[i].id = node_id_random(&self->random);
        self->nodes[i].host = world_add(self->world, &honest, &self->nodes[i]);
        world_set_up(self->world, i, false);
    }
    return self;
}

static void node_clear(struct dht_node *self)
{
    router_free(&self->router);
    free(self->transactions);
    self->transactions = NULL;
    self->transactions_count = self->transactions_used = 0;
    self->timer_ms = 0;
    self->joined_ms = 0;
}

void dht_free(struct dht **self)
{
    if (*self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*self)->options.nodes; i++) {
        node_clear(&(*self)->nodes[i]);
    }
    free((*self)->nodes);
    world_free(&(*self)->world);
    free(*self);
    *self = NULL;
}

void dht_start(struct dht *self, uint32_t number, const struct address *bootstrap,
               const struct snapshot *snapshot)
{
    struct dht_node *node = &self->nodes[number];
    uint64_t now_ms = world_now_ms(self->world);

    assert(node->router == NULL);
    node->router = router_new(&node->id, random_u64(&self->random), bootstrap != NULL, now_ms);
    if (self->options.top_sizes[0] != 0) {
        memcpy(node->router->tables[ROUTING_V4].top_sizes, self->options.top_sizes,
               TABLE_TOP_LEVELS);
    }
    if (bootstrap != NULL) {
        router_add_bootstrap(node->router, bootstrap);
    }
    if (snapshot != NULL) {
        router_load(node->router, snapshot);
    }
    node->started_ms = now_ms;
    world_set_up(self->world, number, true);
    node_pump(node);
}

void dht_kill(struct dht *self, uint32_t number)
{
    world_set_up(self->world, number, false);
    node_clear(&self->nodes[number]);
}

bool dht_is_live(const struct dht *self, uint32_t number)
{
    return self->nodes[number].router != NULL;
}

void dht_run(struct dht *self, uint64_t duration_ms)
{
    uint64_t until_ms = world_now_ms(self->world) + duration_ms;

    while (world_step(self->world, until_ms)) {
    }
}

static int compare_times(const void *a, const void *b)
{
    uint64_t time_a = *(const uint64_t *)a, time_b = *(const uint64_t *)b;

    return (time_a > time_b) - (time_a < time_b);
}

void dht_start_all(struct dht *self, uint64_t settle_ms)
{
    struct address first = world_address(0);
    uint64_t start_ms = world_now_ms(self->world);
    uint32_t others = self->options.nodes - 1;
    uint64_t *times = xcalloc(self->options.nodes, sizeof(*times));

    dht_start(self, 0, NULL, NULL);
    for (uint32_t i = 0; i < others; i++) {
        times[i] = start_ms + random_below(&self->random, self->options.spread_ms + 1);
    }
    if (others > 0) {
        qsort(times, others, sizeof(*times), compare_times);
    }
    for (uint32_t i = 0; i < others; i++) {
        dht_run(self, times[i] - world_now_ms(self->world));
        dht_start(self, i + 1, &first, NULL);
    }
    free(times);
    dht_run(self, settle_ms);
}

void dht_kill_some(struct dht *self, uint32_t percent)
{
    uint32_t left = (uint32_t)((uint64_t)self->options.nodes * percent / 100);

    while (left > 0) {
        uint32_t victim = (uint32_t)random_below(&self->random, self->options.nodes);
        if (dht_is_live(self, victim)) {
            dht_kill(self, victim);
            left--;
        }
    }
}

/* ---- judging ---- */

size_t dht_oracle(const struct dht *self, uint32_t origin, const struct node_id *target, size_t k,
                  uint32_t *ret_nodes)
{
    size_t count = 0;

    for (uint32_t i = 0; i < self->options.nodes; i++) {
        if (i == origin || !dht_is_live(self, i)) {
            continue;
        }
        size_t at = count < k ? count++ : k;
        while (at > 0 && node_id_compare_distance(target, &self->nodes[i].id,
                                                  &self->nodes[ret_nodes[at - 1]].id) < 0) {
            if (at < k) {
                ret_nodes[at] = ret_nodes[at - 1];
            }
            at--;
        }
        if (at < k) {
            ret_nodes[at] = i;
        }
    }
    return count;
}

static void begin_lookup(struct dht *self, struct dht_lookup *lookup)
{
    struct dht_node *node = &self->nodes[lookup->origin];
    uint64_t now_ms = world_now_ms(self->world);

    lookup->started_ms = now_ms;
    const struct search_order order = {
        .aim = { .kind = LOOKUP_NODES, .target = lookup->target, .k = TABLE_K },
        .deadline_ms = now_ms + ROUTER_SEARCH_MS,
        .ctx = lookup
    };
    lb_err err = router_search(node->router, &order, now_ms);
    assert(err == LB_OK);
    node_pump(node);
}

void dht_look_up(struct dht *self, uint32_t origin, const struct node_id *target,
                 struct dht_lookup *ret_lookup)
{
    *ret_lookup = (struct dht_lookup){ .target = *target, .origin = origin };
    begin_lookup(self, ret_lookup);
    while (!ret_lookup->done && world_step(self->world, UINT64_MAX)) {
    }
}

static void summarise(const struct dht_lookup *lookups, struct dht_report *report)
{
    uint64_t *elapsed = xcalloc(report->lookups, sizeof(*elapsed));
    uint64_t rounds = 0, queries = 0;

    for (uint32_t i = 0; i < report->lookups; i++) {
        elapsed[i] = lookups[i].elapsed_ms;
        rounds += lookups[i].rounds;
        queries += lookups[i].queries;
        report->exact += lookups[i].exact;
        report->found += lookups[i].found;
        report->expected += lookups[i].expected;
        report->rounds_max =
            lookups[i].rounds > report->rounds_max ? lookups[i].rounds : report->rounds_max;
        report->queries_max =
            lookups[i].queries > report->queries_max ? lookups[i].queries : report->queries_max;
    }
    qsort(elapsed, report->lookups, sizeof(*elapsed), compare_times);
    report->elapsed_p50_ms = elapsed[report->lookups / 2];
    report->elapsed_p95_ms = elapsed[report->lookups * 95 / 100];
    report->elapsed_p99_ms = elapsed[report->lookups * 99 / 100];
    report->rounds_mean_tenths = (uint32_t)(rounds * 10 / report->lookups);
    report->queries_mean_tenths = (uint32_t)(queries * 10 / report->lookups);
    free(elapsed);
}

static void summarise_joins(const struct dht *self, struct dht_report *report)
{
    uint64_t *joins = xcalloc(self->options.nodes, sizeof(*joins));
    uint32_t count = 0;

    for (uint32_t i = 0; i < self->options.nodes; i++) {
        const struct dht_node *node = &self->nodes[i];
        report->live += dht_is_live(self, i);
        if (!dht_is_live(self, i)) {
            continue;
        }
        if (node->joined_ms == 0) {
            report->unjoined++;
        } else {
            joins[count++] = node->joined_ms - node->started_ms;
        }
    }
    if (count > 0) {
        qsort(joins, count, sizeof(*joins), compare_times);
        report->joined_p50_ms = joins[count / 2];
        report->joined_max_ms = joins[count - 1];
    }
    free(joins);
}

/* One lookup each 10 ms, so that they all see the network in about the same state. */
#define MEASURE_EVERY_MS 10u

void dht_measure(struct dht *self, uint32_t lookups, struct dht_report *ret_report)
{
    struct dht_lookup *all = xcalloc(lookups, sizeof(*all));

    *ret_report = (struct dht_report){ .lookups = lookups };
    for (uint32_t i = 0; i < lookups; i++) {
        do {
            all[i].origin = (uint32_t)random_below(&self->random, self->options.nodes);
        } while (!dht_is_live(self, all[i].origin));
        all[i].target = node_id_random(&self->random);
        begin_lookup(self, &all[i]);
        dht_run(self, MEASURE_EVERY_MS);
    }
    for (uint32_t i = 0; i < lookups; i++) {
        while (!all[i].done && world_step(self->world, UINT64_MAX)) {
        }
    }
    summarise(all, ret_report);
    summarise_joins(self, ret_report);
    free(all);
}
