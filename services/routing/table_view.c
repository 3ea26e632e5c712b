#include "services/routing/table_inside.h"

#include <assert.h>
#include <stdlib.h>

/* ---- what is due ---- */

/* When an entry is to be pinged next. */
static uint64_t entry_due_ms(const struct table_entry *entry)
{
    uint64_t due_ms = entry->seen_ms + TABLE_GOOD_MS;

    if (entry->unanswered > 0) {
        unsigned doublings = entry->unanswered < 8 ? entry->unanswered - 1u : 7u;
        uint64_t wait_ms = (uint64_t)TABLE_RETRY_LEAST_MS << doublings;
        due_ms = entry->failed_ms + (wait_ms < TABLE_RETRY_MOST_MS ? wait_ms : TABLE_RETRY_MOST_MS);
    }
    /* A ping may still be on its way. */
    uint64_t again_ms = entry->asked_ms == 0 ? 0 : entry->asked_ms + TABLE_RETRY_LEAST_MS * 2;
    return due_ms > again_ms ? due_ms : again_ms;
}

static struct table_entry *find_most_due(const struct table *self)
{
    struct table_entry *most = NULL;

    for (unsigned i = 0; i < NODE_ID_BITS; i++) {
        const struct table_bucket *bucket = self->buckets[i];
        for (uint32_t j = 0; bucket != NULL && j < bucket->places.count; j++) {
            struct table_entry *entry = &bucket->places.entries[j];
            if (most == NULL || entry_due_ms(entry) < entry_due_ms(most)) {
                most = entry;
            }
        }
    }
    return most;
}

void table_hasten(struct table *self, const struct table_entry *entry)
{
    uint64_t due_ms = entry_due_ms(entry);

    self->due_ms = due_ms < self->due_ms ? due_ms : self->due_ms;
}

/* Tables are large, and asked for what is due far more often than something is. */
static struct table_entry *look_for_due(struct table *self)
{
    struct table_entry *most = find_most_due(self);

    self->due_ms = most == NULL ? UINT64_MAX : entry_due_ms(most);
    return most;
}

bool table_next_probe(struct table *self, uint64_t now_ms, struct contact *ret_contact)
{
    if (self->due_ms > now_ms) {
        return false;
    }
    struct table_entry *entry = look_for_due(self);
    if (self->due_ms > now_ms) {
        return false;
    }
    entry->asked_ms = now_ms;
    *ret_contact = entry->contact;
    (void)look_for_due(self);
    return true;
}

uint64_t table_probe_deadline_ms(struct table *self)
{
    return self->due_ms;
}

void table_touch(struct table *self, const struct node_id *target, uint64_t now_ms)
{
    unsigned shared = node_id_shared_bits(&self->self_id, target);

    if (shared < NODE_ID_BITS) {
        table_bucket_use(self, shared, now_ms)->refresh_ms = table_draw_refresh_ms(self, now_ms);
    }
}

void table_touch_from(struct table *self, unsigned bucket, uint64_t now_ms)
{
    unsigned depth = table_depth(self);

    for (unsigned i = bucket; i < depth; i++) {
        table_bucket_use(self, i, now_ms)->refresh_ms = table_draw_refresh_ms(self, now_ms);
    }
}

unsigned table_depth(const struct table *self)
{
    for (unsigned i = NODE_ID_BITS; i > 0; i--) {
        if (self->buckets[i - 1] != NULL && self->buckets[i - 1]->places.count > 0) {
            return i;
        }
    }
    return 0;
}

bool table_next_refresh(const struct table *self, uint64_t now_ms, unsigned *ret_bucket)
{
    unsigned depth = table_depth(self);

    for (unsigned i = 0; i < depth; i++) {
        if (self->buckets[i] == NULL || self->buckets[i]->refresh_ms <= now_ms) {
            *ret_bucket = i;
            return true;
        }
    }
    return false;
}

uint64_t table_refresh_deadline_ms(const struct table *self)
{
    unsigned depth = table_depth(self);
    uint64_t deadline_ms = UINT64_MAX;

    for (unsigned i = 0; i < depth; i++) {
        uint64_t due_ms = self->buckets[i] == NULL ? 0 : self->buckets[i]->refresh_ms;
        deadline_ms = due_ms < deadline_ms ? due_ms : deadline_ms;
    }
    return deadline_ms;
}

/* ---- views ---- */

size_t table_good_count(const struct table *self, uint64_t now_ms)
{
    size_t count = 0;

    for (unsigned i = 0; i < NODE_ID_BITS; i++) {
        const struct table_bucket *bucket = self->buckets[i];
        for (uint32_t j = 0; bucket != NULL && j < bucket->places.count; j++) {
            count += table_entry_state(&bucket->places.entries[j], now_ms) == TABLE_GOOD;
        }
    }
    return count;
}

static int compare_contacts(const void *a, const void *b)
{
    return node_id_compare(&((const struct contact *)a)->id, &((const struct contact *)b)->id);
}

size_t table_sorted(const struct table *self, struct contact *ret_contacts)
{
    size_t count = 0;

    for (unsigned i = 0; i < NODE_ID_BITS; i++) {
        const struct table_bucket *bucket = self->buckets[i];
        for (uint32_t j = 0; bucket != NULL && j < bucket->places.count; j++) {
            if (!table_entry_is_bad(&bucket->places.entries[j])) {
                assert(count < self->count);
                ret_contacts[count++] = bucket->places.entries[j].contact;
            }
        }
    }
    if (count > 1) {
        qsort(ret_contacts, count, sizeof(*ret_contacts), compare_contacts);
    }
    return count;
}

void table_each(const struct table *self, uint64_t now_ms, table_visit_fn *visit, void *ctx)
{
    for (unsigned i = 0; i < NODE_ID_BITS; i++) {
        const struct table_bucket *bucket = self->buckets[i];
        for (uint32_t j = 0; bucket != NULL && j < bucket->places.count; j++) {
            const struct table_entry *entry = &bucket->places.entries[j];
            visit(ctx, i, table_entry_state(entry, now_ms), entry);
        }
        for (uint32_t j = 0; bucket != NULL && j < bucket->spares.count; j++) {
            visit(ctx, i, TABLE_SPARE, &bucket->spares.entries[j]);
        }
    }
}

/* ---- invariants ---- */

static const char *check_pair(const struct table *self, const struct table_entry *a,
                              const struct table_entry *b, bool same_bucket)
{
    if (node_id_equal(&a->contact.id, &b->contact.id)) {
        return "an id stands twice";
    }
    if (table_addresses_clash(self, &a->contact.address, &b->contact.address)) {
        return "an address stands twice";
    }
    if (same_bucket && table_is_limited(self, &a->contact.address) && !table_entry_is_bad(a) &&
        !table_entry_is_bad(b) && address_same_subnet(&a->contact.address, &b->contact.address)) {
        return "a public subnet stands twice in a bucket";
    }
    return NULL;
}

static const struct table_entry *bucket_entry(const struct table_bucket *bucket, uint32_t index)
{
    return index < bucket->places.count ? &bucket->places.entries[index]
                                        : &bucket->spares.entries[index - bucket->places.count];
}

static uint32_t bucket_entries(const struct table_bucket *bucket)
{
    return bucket == NULL ? 0 : bucket->places.count + bucket->spares.count;
}

/* Entry against all that follow it. */
static const char *check_entry(const struct table *self, unsigned number, uint32_t index)
{
    const struct table_entry *entry = bucket_entry(self->buckets[number], index);
    const char *problem = NULL;

    if (!table_is_acceptable(self, &entry->contact)) {
        return "an entry is ourselves, unusable or of the other family";
    }
    if (node_id_shared_bits(&self->self_id, &entry->contact.id) != number) {
        return "an entry stands in the wrong bucket";
    }
    if (entry->answered_ms == 0 && entry->entered_ms != 0) {
        return "an entry never answered";
    }
    for (unsigned i = number; i < NODE_ID_BITS && problem == NULL; i++) {
        uint32_t from = i == number ? index + 1 : 0;
        for (uint32_t j = from; j < bucket_entries(self->buckets[i]) && problem == NULL; j++) {
            problem = check_pair(self, entry, bucket_entry(self->buckets[i], j), i == number);
        }
    }
    return problem;
}

static uint32_t count_silent(const struct table_bucket *bucket)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < bucket->places.count; i++) {
        count += bucket->places.entries[i].unanswered > 0;
    }
    return count;
}

const char *table_check(const struct table *self)
{
    uint32_t count = 0, silent = 0;

    for (unsigned i = 0; i < NODE_ID_BITS; i++) {
        const struct table_bucket *bucket = self->buckets[i];
        if (bucket == NULL) {
            continue;
        }
        count += bucket->places.count;
        silent += count_silent(bucket);
        if (bucket->places.count > table_bucket_size(self, i)) {
            return "a bucket is too full";
        }
        if (bucket->spares.count > TABLE_SPARES_MAX) {
            return "a replacement list is too long";
        }
        if (bucket->spares.count > 0 && bucket->places.count < table_bucket_size(self, i)) {
            return "a spare waits beside a free place";
        }
        for (uint32_t j = 0; j < bucket_entries(bucket); j++) {
            const char *problem = check_entry(self, i, j);
            if (problem != NULL) {
                return problem;
            }
        }
    }
    return count == self->count && silent == self->silent_count ? NULL : "a count is wrong";
}
