#include "tests/sim/checks.h"

#include "libcommon/memory.h"
#include "services/routing/router_inside.h"
#include "tests/sim/node.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_MS    (2u * 300000u) /* tokens.h: two periods */
#define WINDOW_MS   10000u         /* I8 */
#define FACTOR      3u
#define BURST       16384u
#define SEARCHES    64u /* of a node, at once at most */
#define ROUNDS_MORE 4u  /* I5 */

/* What a key stands for: the first word of what is hashed. */
enum fact { FACT_SEQ = 1, FACT_CAS, FACT_TOKEN, FACT_ASKED, FACT_PROVED, FACT_SENT, FACT_GOT };

/* A table of numbers by 64-bit hashes; nothing is ever taken out. */
struct facts {
    struct fact_row {
        uint64_t key, value; /* key 0: free */
    } * rows;
    uint64_t rows_max, count;
};

struct checks {
    struct facts facts;
    uint32_t *disks; /* of each node: how many it has lost */
    bool repeat_put; /* the datagram in hand is a second copy of a put */
    struct node_id repeat_target;
    uint64_t repeat_seq, repeat_content;
};

struct checks *checks_new(struct dht *dht)
{
    struct checks *self = xcalloc(1, sizeof(*self));

    self->facts.rows_max = 1u << 12;
    self->facts.rows = xcalloc(self->facts.rows_max, sizeof(*self->facts.rows));
    self->disks = xcalloc(dht->options.nodes, sizeof(*self->disks));
    return self;
}

void checks_free(struct checks **self)
{
    if (*self == NULL) {
        return;
    }
    free((*self)->facts.rows);
    free((*self)->disks);
    free(*self);
    *self = NULL;
}

/* ---- facts ---- */

static uint64_t hash(uint64_t seed, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, size - i < sizeof(word) ? size - i : sizeof(word));
        seed = (seed ^ word) * 0xbf58476d1ce4e5b9u;
        seed ^= seed >> 29;
    }
    return seed;
}

static uint64_t key_of(enum fact fact, const struct dht_node *node, const void *data, size_t size)
{
    uint64_t head[2] = { (uint64_t)fact << 32 | node->host, 0 };

    head[1] = fact == FACT_SEQ || fact == FACT_CAS ? node->dht->checks->disks[node->host] : 0;
    return hash(hash(0xcbf29ce484222325u, head, sizeof(head)), data, size) | 1;
}

static uint64_t *facts_place(struct facts *self, uint64_t key)
{
    uint64_t at = key >> 1;

    while (self->rows[at % self->rows_max].key != 0 && self->rows[at % self->rows_max].key != key) {
        at++;
    }
    struct fact_row *row = &self->rows[at % self->rows_max];
    self->count += row->key == 0;
    row->key = key;
    return &row->value;
}

static void facts_grow(struct facts *self)
{
    struct facts larger = { .rows_max = 2 * self->rows_max };

    larger.rows = xcalloc(larger.rows_max, sizeof(*larger.rows));
    for (uint64_t i = 0; i < self->rows_max; i++) {
        if (self->rows[i].key != 0) {
            *facts_place(&larger, self->rows[i].key) = self->rows[i].value;
        }
    }
    free(self->rows);
    *self = larger;
}

/* The number of a key, 0 at first. Valid until the next call. */
static uint64_t *fact_of(struct checks *self, uint64_t key)
{
    if (2 * self->facts.count >= self->facts.rows_max) {
        facts_grow(&self->facts);
    }
    return facts_place(&self->facts, key);
}

static uint64_t *fact(struct dht_node *node, enum fact kind, const void *data, size_t size)
{
    return fact_of(node->dht->checks, key_of(kind, node, data, size));
}

static void problem(struct dht_node *node, const char *what)
{
    dht_note_problem(node->dht, node->host, what);
}

/* ---- I2, I3: what is stored ---- */

void checks_served(struct dht_node *node, const struct node_id *target, uint64_t seq)
{
    if (node->dht->checks != NULL && seq < *fact(node, FACT_SEQ, target, sizeof(*target))) {
        problem(node, "I2: a lower sequence number was served than acknowledged");
    }
}

static void check_cas(struct dht_node *node, const struct node_id *target,
                      const struct store_put *put)
{
    uint8_t name[NODE_ID_SIZE + 8];

    memcpy(name, target->bytes, NODE_ID_SIZE);
    store_u64(name + NODE_ID_SIZE, put->cas);
    uint64_t *winner = fact(node, FACT_CAS, name, sizeof(name));
    uint64_t it = hash(put->item->seq, put->item->value.data, put->item->value.size) | 1;
    if (*winner != 0 && *winner != it) {
        problem(node, "I3: two puts won with one CAS number");
    }
    *winner = it;
}

void checks_stored(struct dht_node *node, const struct node_id *target, const struct store_put *put,
                   bool was_here, enum item_verdict verdict)
{
    if (node->dht->checks == NULL || verdict != ITEM_ACCEPTED) {
        return;
    }
    if (put->source.port != 0) {
        uint64_t given_ms = *fact(node, FACT_TOKEN, put->source.ip, sizeof(put->source.ip));
        if (given_ms == 0 || node_now_ms(node) - given_ms > TOKEN_MS) {
            problem(node, "I7: a token was accepted that was not given lately");
        }
        *fact(node, FACT_PROVED, put->source.ip, sizeof(put->source.ip)) = 1;
    }
    if (!put->item->is_mutable) {
        return;
    }
    uint64_t *highest = fact(node, FACT_SEQ, target, sizeof(*target));
    if (put->item->seq < *highest) {
        problem(node, "I2: a lower sequence number was accepted than acknowledged");
    }
    *highest = put->item->seq;
    /* What stands there already, with its own number as CAS, is a refresh and wins nothing. */
    if (put->has_cas && was_here && put->item->seq > put->cas) {
        check_cas(node, target, put);
    }
}

void checks_disk_lost(struct dht_node *node)
{
    if (node->dht->checks != NULL) {
        node->dht->checks->disks[node->host]++;
    }
}

/* ---- I7, I8: what is sent ---- */

/* Adds to the bytes of this window of ten seconds from or to an address; returns their sum. */
static uint64_t add_bytes(struct dht_node *node, enum fact kind, const struct address *address,
                          size_t size)
{
    uint64_t window = node_now_ms(node) / WINDOW_MS;
    uint64_t *sum = fact(node, kind, address->ip, sizeof(address->ip));

    if (*sum >> 32 != window) {
        *sum = window << 32;
    }
    *sum += size;
    return *sum & UINT32_MAX;
}

static void check_bytes(struct dht_node *node, const struct address *to, size_t size)
{
    if (address_is_private(to) || *fact(node, FACT_PROVED, to->ip, sizeof(to->ip)) != 0) {
        return;
    }
    uint64_t got = add_bytes(node, FACT_GOT, to, 0);
    if (add_bytes(node, FACT_SENT, to, size) > FACTOR * got + BURST) {
        problem(node, "I8: too many bytes to an address that has not proved itself");
    }
}

void checks_sent(struct dht_node *node, const struct address *to, struct bytes datagram)
{
    struct krpc_message message;

    if (node->dht->checks == NULL || krpc_decode(datagram, &message) != LB_OK) {
        return;
    }
    if (message.type == KRPC_REPLY && message.token.size > 0) {
        *fact(node, FACT_TOKEN, to->ip, sizeof(to->ip)) = node_now_ms(node);
    }
    if (message.type != KRPC_QUERY) {
        check_bytes(node, to, datagram.size);
    }
}

/* ---- I9: second copies ---- */

static void note_repeat(struct dht_node *node, const struct krpc_message *message)
{
    struct checks *self = node->dht->checks;
    struct item item;

    if (message->type != KRPC_QUERY || message->method != KRPC_PUT || message->fault != 0 ||
        node->store == NULL || !node_read_item(message, &item)) {
        return;
    }
    self->repeat_target = item_target(&item);
    const struct stored *stored = store_find(node->store, &self->repeat_target, node_store_s(node));
    if (stored == NULL) {
        return;
    }
    self->repeat_put = true;
    self->repeat_seq = stored->upkeep.seq;
    self->repeat_content = hash(1, stored->item.value.data, stored->item.value.size);
}

void checks_receive(struct dht_node *node, const struct address *from, struct bytes datagram)
{
    struct krpc_message message;

    if (node->dht->checks == NULL || krpc_decode(datagram, &message) != LB_OK) {
        return;
    }
    if (!address_is_private(from)) {
        (void)add_bytes(node, FACT_GOT, from, datagram.size);
    }
    if (world_is_repeat(node->dht->world)) {
        note_repeat(node, &message);
    }
}

void checks_answered(struct dht_node *node, const struct address *from)
{
    if (node->dht->checks != NULL) {
        *fact(node, FACT_PROVED, from->ip, sizeof(from->ip)) = 1;
    }
}

void checks_received(struct dht_node *node)
{
    struct checks *self = node->dht->checks;

    if (self == NULL || !self->repeat_put) {
        return;
    }
    self->repeat_put = false;
    const struct stored *stored = store_find(node->store, &self->repeat_target, node_store_s(node));
    if (stored == NULL || stored->upkeep.seq != self->repeat_seq ||
        hash(1, stored->item.value.data, stored->item.value.size) != self->repeat_content) {
        problem(node, "I9: the second copy of a put changed what was stored");
    }
}

/* ---- I5: lookups ---- */

void checks_query(struct dht_node *node, const struct query *query)
{
    if (node->dht->checks == NULL) {
        return;
    }
    const struct flight *flight = router_flight_find(node->router, query->ticket);
    /* Those who have answered are asked again, for other parts (proof.h). */
    if (flight->purpose != FLIGHT_LOOKUP || (flight->lookup_ticket & LOOKUP_PROOF) != 0) {
        return;
    }
    /* A place for each of the last SEARCHES searches, that the next ones take. */
    uint8_t name[4 + 16 + 2];
    store_u32(name,
              flight->search_serial % SEARCHES * KRPC_METHODS_COUNT + (uint32_t)query->method);
    memcpy(name + 4, query->to.ip, 16);
    store_u16(name + 20, query->to.port);
    uint64_t *asked = fact(node, FACT_ASKED, name, sizeof(name));
    uint64_t search = node->started_ms << 32 | flight->search_serial;
    if (*asked == search) {
        problem(node, "I5: a lookup asked a node twice");
    }
    *asked = search;
}

static unsigned log2_ceiling(uint32_t number)
{
    unsigned bits = 0;

    while ((1u << bits) < number) {
        bits++;
    }
    return bits;
}

void checks_search(struct dht_node *node, const struct search *search)
{
    struct dht *dht = node->dht;
    struct search_effort effort = search_effort(search);

    if (dht->checks == NULL) {
        return;
    }
    if (effort.queries > LOOKUP_QUERIES_MAX) {
        problem(node, "I5: a lookup sent too many queries");
    }
    if (dht->hostile_count == 0 && effort.rounds > log2_ceiling(dht->options.nodes) + ROUNDS_MORE) {
        problem(node, "I5: a lookup took too many rounds");
    }
}

/* ---- I4, I6: a node as it stands ---- */

static bool was_true(const struct dht *dht, const struct contact *contact)
{
    for (uint32_t i = 0; i < dht->options.nodes; i++) {
        const struct dht_node *node = &dht->nodes[i];
        bool lies = node->role == ROLE_CLAIMING;
        if (!lies && !node_id_equal(&node->id, &contact->id)) {
            continue;
        }
        for (uint32_t j = 0; j < node->addresses_count; j++) {
            if (address_equal(&node->addresses[j], &contact->address)) {
                return true;
            }
        }
    }
    return false;
}

static void check_entry(void *ctx, unsigned bucket, enum table_state state,
                        const struct table_entry *entry)
{
    struct dht_node *node = ctx;

    (void)bucket;
    (void)state;
    if (!was_true(node->dht, &entry->contact)) {
        problem(node, "I4: a contact stands in the table that never was");
    }
}

static const char *check_flights(const struct dht_node *node)
{
    uint32_t open = 0;

    for (unsigned i = 0; i < COOKIE_KINDS; i++) {
        open += node->open[i];
    }
    if (carrier_count(node->carrier) != open) {
        return "I6: queries on their way are not accounted for";
    }
    if (node->open[COOKIE_ROUTER] != node->router->flights_used) {
        return "I6: the router waits for queries that are not on their way";
    }
    return NULL;
}

static void walk(struct dht_node *node)
{
    const char *what = router_check(node->router);

    if (what == NULL && node->dht->checks != NULL) {
        carrier_check(node->carrier);
        what = check_flights(node);
        for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
            table_each(&node->router->tables[i], node_now_ms(node), check_entry, node);
        }
        if (what == NULL && node->store != NULL) {
            what = store_check(node->store);
        }
        if (what == NULL && node->upkeep != NULL) {
            what = upkeep_broken(node->upkeep);
        }
    }
    if (what != NULL) {
        problem(node, what);
    }
}

void checks_node(struct dht_node *node)
{
    struct dht *dht = node->dht;

    if (dht->options.check_every != 0 && dht->steps++ % dht->options.check_every == 0 &&
        dht->problem == NULL) {
        walk(node);
    }
}

bool checks_is_quiet(const struct dht_node *node)
{
    return carrier_count(node->carrier) == 0 && node->router->flights_used == 0 &&
           node->errands == NULL;
}
