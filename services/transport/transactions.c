#include "services/transport/transactions.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WAYS        4 /* entries of a set of round-trip times */
#define LATE_FOR_US 60000000u
#define RTT_MAX_US  4000000u /* longer ones are stalls: they count as this */

#define WORKER_SHIFT 28 /* the worker stands in the first bits of an id */

_Static_assert(TRANSACTIONS_WORKERS == 1u << (32 - WORKER_SHIFT), "each worker has a number");

struct transaction {
    struct transaction_end end;
    uint8_t *datagram; /* NULL: the slot is free */
    uint32_t size;
    uint32_t id;
    uint32_t heap_index;
    bool last_try;
    bool once;
    bool is_held;     /* was not sent, and is not */
    bool is_due;      /* to be sent, as if for the first time */
    uint64_t sent_us; /* the first copy */
    uint64_t deadline_us;
};

struct rtt_entry {
    struct address address; /* port 0: free */
    uint32_t srtt_us;
    uint32_t rttvar_us;
    uint32_t used_ms; /* wraps; compared by difference */
};

struct late_entry {
    struct transaction_end end; /* expected.address.port 0: free */
    uint32_t id;
    uint64_t sent_us;
};

static bool is_power_of_two(uint32_t value)
{
    return value > 0 && (value & (value - 1)) == 0;
}

void transactions_init(struct transactions *self, struct transactions_limits limits,
                       struct random *random)
{
    assert(is_power_of_two(limits.queries_max) && limits.queries_max <= TRANSACTIONS_MAX);
    assert(is_power_of_two(limits.rtts_max) && limits.rtts_max >= WAYS);
    assert(limits.worker < TRANSACTIONS_WORKERS);
    if (limits.late_max == 0)
        limits.late_max = TRANSACTIONS_LATE_MAX;
    *self = (struct transactions){ .random = random, .limits = limits };
    self->slots = xcalloc(limits.queries_max, sizeof(*self->slots));
    self->free_slots = xcalloc(limits.queries_max, sizeof(*self->free_slots));
    self->heap = xcalloc(limits.queries_max, sizeof(*self->heap));
    self->table = xcalloc(2 * (size_t)limits.queries_max, sizeof(*self->table));
    self->rtts = xcalloc(limits.rtts_max, sizeof(*self->rtts));
    self->late = xcalloc(limits.late_max, sizeof(*self->late));
    for (uint32_t i = 0; i < limits.queries_max; i++)
        self->free_slots[i] = limits.queries_max - 1 - i;
}

void transactions_done(struct transactions *self)
{
    struct transaction_end end;

    while (self->slots && transactions_cancel(self, &end))
        ;
    free(self->slots);
    free(self->free_slots);
    free(self->heap);
    free(self->table);
    free(self->rtts);
    free(self->late);
    *self = (struct transactions){ 0 };
}

/* ---- round-trip times ---- */

static struct rtt_entry *rtt_set(const struct transactions *self, const struct address *address)
{
    uint32_t sets = self->limits.rtts_max / WAYS;

    return &self->rtts[WAYS * (address_hash(address, 0) & (sets - 1))];
}

static struct rtt_entry *rtt_find(const struct transactions *self, const struct address *address)
{
    struct rtt_entry *set = rtt_set(self, address);

    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].address.port != 0 && address_equal(&set[i].address, address))
            return &set[i];
    }
    return NULL;
}

/* A free one, else the one used longest ago. */
static struct rtt_entry *rtt_victim(const struct transactions *self, const struct address *address,
                                    uint32_t now_ms)
{
    struct rtt_entry *set = rtt_set(self, address), *victim = &set[0];

    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].address.port == 0)
            return &set[i];
        if (now_ms - set[i].used_ms > now_ms - victim->used_ms)
            victim = &set[i];
    }
    return victim;
}

/* RFC 6298, 2.2 and 2.3. */
static void smooth(uint32_t *srtt_us, uint32_t *rttvar_us, bool is_first, uint32_t sample)
{
    uint32_t srtt = *srtt_us;

    if (is_first) {
        *srtt_us = sample;
        *rttvar_us = sample / 2;
        return;
    }
    *rttvar_us = (3 * *rttvar_us + (srtt > sample ? srtt - sample : sample - srtt)) / 4;
    *srtt_us = (7 * srtt + sample) / 8;
}

static void rtt_sample(struct transactions *self, const struct address *address, uint64_t rtt_us,
                       uint64_t now_us)
{
    uint32_t now_ms = (uint32_t)(now_us / 1000);
    uint32_t sample = rtt_us < RTT_MAX_US ? (uint32_t)rtt_us : RTT_MAX_US;
    struct rtt_entry *entry = rtt_find(self, address);

    bool is_new = !entry;

    if (is_new) {
        entry = rtt_victim(self, address, now_ms);
        *entry = (struct rtt_entry){ .address = *address };
    }
    smooth(&entry->srtt_us, &entry->rttvar_us, is_new, sample);
    smooth(&self->all_srtt_us, &self->all_rttvar_us, self->all_samples == 0, sample);
    self->all_samples += self->all_samples < TRANSACTIONS_SAMPLES_LEAST;
    entry->used_ms = now_ms;
}

uint32_t transactions_wait_us(const struct transactions *self, const struct address *address)
{
    const struct rtt_entry *entry = rtt_find(self, address);
    /* Half of all patience at most, so that the second copy has its chance. */
    uint32_t most = entry ? TRANSACTIONS_PATIENCE_US / 2 : TRANSACTIONS_WAIT_FIRST_US;
    uint32_t wait = self->all_srtt_us + 4 * self->all_rttvar_us;

    if (!entry && self->all_samples < TRANSACTIONS_SAMPLES_LEAST)
        return TRANSACTIONS_WAIT_FIRST_US;
    if (entry)
        wait = entry->srtt_us + 4 * entry->rttvar_us;
    if (wait < TRANSACTIONS_WAIT_MIN_US)
        return TRANSACTIONS_WAIT_MIN_US;
    return wait < most ? wait : most;
}

/* ---- ids: open addressing with linear probing ---- */

static uint32_t table_mask(const struct transactions *self)
{
    return 2 * self->limits.queries_max - 1;
}

/* The place of this id, or the empty place where it would go. */
static uint32_t table_place(const struct transactions *self, uint32_t id)
{
    uint32_t mask = table_mask(self), place = id & mask;

    while (self->table[place] != 0 && self->slots[self->table[place] - 1].id != id)
        place = (place + 1) & mask;
    return place;
}

/* Entries behind the hole move up when their own place is not past it. */
static void table_remove(struct transactions *self, uint32_t hole)
{
    uint32_t mask = table_mask(self);

    for (uint32_t at = (hole + 1) & mask; self->table[at] != 0; at = (at + 1) & mask) {
        uint32_t home = self->slots[self->table[at] - 1].id & mask;

        if (((at - home) & mask) >= ((at - hole) & mask)) {
            self->table[hole] = self->table[at];
            hole = at;
        }
    }
    self->table[hole] = 0;
}

/* ---- deadlines: a binary heap ---- */

static uint64_t heap_key(const struct transactions *self, uint32_t index)
{
    return self->slots[self->heap[index]].deadline_us;
}

static void heap_set(struct transactions *self, uint32_t index, uint32_t slot)
{
    self->heap[index] = slot;
    self->slots[slot].heap_index = index;
}

static void heap_swap(struct transactions *self, uint32_t a, uint32_t b)
{
    uint32_t slot = self->heap[a];

    heap_set(self, a, self->heap[b]);
    heap_set(self, b, slot);
}

/* Put the slot at index where its deadline belongs. */
static void heap_fix(struct transactions *self, uint32_t index)
{
    while (index > 0 && heap_key(self, index) < heap_key(self, (index - 1) / 2)) {
        heap_swap(self, index, (index - 1) / 2);
        index = (index - 1) / 2;
    }
    for (;;) {
        uint32_t least = index;

        for (uint32_t child = 2 * index + 1; child <= 2 * index + 2; child++) {
            if (child < self->count && heap_key(self, child) < heap_key(self, least))
                least = child;
        }
        if (least == index)
            return;
        heap_swap(self, index, least);
        index = least;
    }
}

static void heap_remove(struct transactions *self, uint32_t index)
{
    self->count--;
    if (index == self->count)
        return;
    heap_set(self, index, self->heap[self->count]);
    heap_fix(self, index);
}

/* ---- transactions ---- */

static uint32_t fresh_id(struct transactions *self)
{
    uint32_t id;

    do
        id = ((uint32_t)random_u64(self->random) & ((1u << WORKER_SHIFT) - 1)) |
             self->limits.worker << WORKER_SHIFT;
    while (self->table[table_place(self, id)] != 0);
    return id;
}

static void slot_free(struct transactions *self, struct transaction *slot)
{
    uint32_t index = (uint32_t)(slot - self->slots);

    table_remove(self, table_place(self, slot->id));
    heap_remove(self, slot->heap_index);
    free(slot->datagram);
    *slot = (struct transaction){ 0 };
    self->free_slots[self->limits.queries_max - 1 - self->count] = index;
}

static uint32_t first_wait_us(const struct transactions *self, const struct address *address,
                              bool is_only)
{
    return is_only ? TRANSACTIONS_PATIENCE_US : transactions_wait_us(self, address);
}

lb_err transactions_start(struct transactions *self, const struct transaction_start *start,
                          uint64_t now_us, struct bytes *ret_datagram)
{
    uint8_t datagram[KRPC_SEND_MAX], id_bytes[KRPC_OWN_TRANSACTION];
    uint32_t index, id, wait;
    struct transaction *slot;
    size_t size;

    assert(self->limits.size_max <= sizeof(datagram));
    if (self->count == self->limits.queries_max)
        return LB_FULL;
    id = fresh_id(self);
    store_u32(id_bytes, id);
    size = krpc_encode_query(start->query, id_bytes, datagram,
                             self->limits.size_max ? self->limits.size_max : sizeof(datagram));
    if (size == 0)
        return LB_TOO_BIG;
    index = self->free_slots[self->limits.queries_max - 1 - self->count];
    slot = &self->slots[index];
    wait = first_wait_us(self, &start->to->address, start->once || start->is_held);
    *slot = (struct transaction){ .end = { .ctx = start->ctx,
                                           .method = start->query->method,
                                           .expected = *start->to,
                                           .has_id = start->has_id },
                                  .datagram = xmemdup(datagram, size),
                                  .size = (uint32_t)size,
                                  .id = id,
                                  .last_try = start->once || start->is_held,
                                  .once = start->once,
                                  .is_held = start->is_held,
                                  .sent_us = now_us,
                                  .deadline_us = now_us + wait };
    self->table[table_place(self, id)] = index + 1;
    heap_set(self, self->count++, index);
    heap_fix(self, slot->heap_index);
    *ret_datagram = bytes_of(slot->datagram, slot->size);
    return LB_OK;
}

static struct late_entry *late_place(const struct transactions *self, uint32_t id)
{
    return &self->late[id % self->limits.late_max];
}

static enum transaction_match match_late(struct transactions *self, uint32_t id,
                                         const struct address *from, uint64_t now_us,
                                         struct transaction_end *ret_end)
{
    struct late_entry *late = late_place(self, id);
    uint64_t rtt_us = now_us - late->sent_us;

    if (late->end.expected.address.port == 0 || late->id != id || rtt_us > LATE_FOR_US ||
        !address_equal(&late->end.expected.address, from))
        return TRANSACTION_STRANGE;
    rtt_sample(self, from, rtt_us, now_us);
    *ret_end = late->end;
    ret_end->rtt_us = (uint32_t)rtt_us;
    *late = (struct late_entry){ 0 };
    return TRANSACTION_LATE;
}

unsigned transactions_worker(struct bytes id)
{
    return id.size == KRPC_OWN_TRANSACTION ? load_u32(id.data) >> WORKER_SHIFT
                                           : TRANSACTIONS_WORKERS;
}

enum transaction_match transactions_answer(struct transactions *self, struct bytes id_bytes,
                                           const struct address *from, uint64_t now_us,
                                           struct transaction_end *ret_end)
{
    uint32_t id, entry;
    struct transaction *slot;

    if (id_bytes.size != KRPC_OWN_TRANSACTION)
        return TRANSACTION_STRANGE;
    id = load_u32(id_bytes.data);
    entry = self->table[table_place(self, id)];
    if (entry == 0)
        return match_late(self, id, from, now_us, ret_end);
    slot = &self->slots[entry - 1];
    if (!address_equal(&slot->end.expected.address, from))
        return TRANSACTION_STRANGE;
    *ret_end = slot->end;
    ret_end->rtt_us = (uint32_t)(now_us - slot->sent_us);
    /*
     * After a second copy one cannot say which was answered. Karn's rule takes no sample then, and
     * so never learns of a node that has become slow; we take the longer time, and a packet lost
     * makes us a little more patient for a while.
     */
    rtt_sample(self, from, ret_end->rtt_us, now_us);
    slot_free(self, slot);
    return TRANSACTION_ANSWERED;
}

static void remember_late(struct transactions *self, const struct transaction *slot)
{
    struct late_entry *late = late_place(self, slot->id);

    *late = (struct late_entry){ .end = slot->end, .id = slot->id, .sent_us = slot->sent_us };
    late->end.ctx = NULL;
}

/* Twice as long as the first time, within bounds; late timers do not shorten it to nothing. */
static uint64_t last_deadline_us(const struct transaction *slot, uint64_t now_us)
{
    uint64_t wait = 2 * (slot->deadline_us - slot->sent_us);
    uint64_t most = slot->sent_us + TRANSACTIONS_PATIENCE_US;
    uint64_t least = now_us + TRANSACTIONS_WAIT_LAST_US;

    if (now_us + wait < least)
        return least;
    if (now_us + wait > most)
        return most > least ? most : least;
    return now_us + wait;
}

void transactions_opened(struct transactions *self, const struct address *address, uint64_t now_us)
{
    for (uint32_t i = 0; self->count > 0 && i < self->limits.queries_max; i++) {
        struct transaction *slot = &self->slots[i];

        if (!slot->datagram || !address_equal(&slot->end.expected.address, address) ||
            (slot->once && !slot->is_held))
            continue;
        slot->is_held = false;
        slot->is_due = true;
        slot->deadline_us = now_us < slot->deadline_us ? now_us : slot->deadline_us;
        heap_fix(self, slot->heap_index);
    }
}

/* The time of an answer counts from here, and all of its tries. */
static void send_first(struct transactions *self, struct transaction *slot, uint64_t now_us)
{
    slot->is_due = false;
    slot->last_try = slot->once;
    slot->sent_us = now_us;
    slot->deadline_us = now_us + first_wait_us(self, &slot->end.expected.address, slot->once);
    heap_fix(self, slot->heap_index);
}

enum transaction_event transactions_next(struct transactions *self, uint64_t now_us,
                                         struct transaction_end *ret_end,
                                         struct bytes *ret_datagram)
{
    struct transaction *slot;

    if (self->count == 0 || heap_key(self, 0) > now_us)
        return TRANSACTION_NOTHING;
    slot = &self->slots[self->heap[0]];
    *ret_end = slot->end;
    if (slot->is_due) {
        *ret_datagram = bytes_of(slot->datagram, slot->size);
        send_first(self, slot, now_us);
        return TRANSACTION_RESEND;
    }
    if (slot->last_try) {
        remember_late(self, slot);
        slot_free(self, slot);
        return TRANSACTION_SILENT;
    }
    slot->last_try = true;
    slot->deadline_us = last_deadline_us(slot, now_us);
    heap_fix(self, 0);
    *ret_datagram = bytes_of(slot->datagram, slot->size);
    return TRANSACTION_RESEND;
}

bool transactions_cancel(struct transactions *self, struct transaction_end *ret_end)
{
    struct transaction *slot;

    if (self->count == 0)
        return false;
    slot = &self->slots[self->heap[0]];
    *ret_end = slot->end;
    slot_free(self, slot);
    return true;
}

uint64_t transactions_deadline_us(const struct transactions *self)
{
    return self->count > 0 ? heap_key(self, 0) : UINT64_MAX;
}

void transactions_check(const struct transactions *self)
{
    uint32_t listed = 0;

    assert(self->count <= self->limits.queries_max);
    for (uint32_t i = 0; i < self->count; i++) {
        const struct transaction *slot = &self->slots[self->heap[i]];

        assert(slot->datagram && slot->heap_index == i);
        assert(i == 0 || heap_key(self, (i - 1) / 2) <= slot->deadline_us);
        assert(self->table[table_place(self, slot->id)] == self->heap[i] + 1);
    }
    for (uint32_t i = 0; i <= table_mask(self); i++)
        listed += self->table[i] != 0;
    assert(listed == self->count);
}
