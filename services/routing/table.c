#include "services/routing/table_inside.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "libcommon/secure_id.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

static struct table_entry *row_append(struct table_row *row, const struct table_entry *entry)
{
    if (row->count == row->capacity) {
        row->capacity = row->capacity == 0 ? 4 : row->capacity * 2;
        row->entries = xrealloc(row->entries, row->capacity * sizeof(*row->entries));
    }
    row->entries[row->count] = *entry;
    return &row->entries[row->count++];
}

static void row_remove(struct table_row *row, uint32_t index)
{
    assert(index < row->count);
    row->count--;
    memmove(&row->entries[index], &row->entries[index + 1],
            (row->count - index) * sizeof(*row->entries));
}

static struct table_entry *row_find(const struct table_row *row, const struct node_id *id)
{
    for (uint32_t i = 0; i < row->count; i++) {
        if (node_id_equal(&row->entries[i].contact.id, id)) {
            return &row->entries[i];
        }
    }
    return NULL;
}

static uint32_t row_index(const struct table_row *row, const struct table_entry *entry)
{
    return (uint32_t)(entry - row->entries);
}

/* ---- buckets ---- */

void table_init(struct table *self, const struct node_id *self_id, enum routing_family family,
                struct random *random)
{
    *self = (struct table){ .self_id = *self_id, .family = family, .random = random };
    self->due_ms = UINT64_MAX;
    memset(self->top_sizes, TABLE_TOP_SIZE, sizeof(self->top_sizes));
}

void table_done(struct table *self)
{
    for (unsigned i = 0; i < NODE_ID_BITS; i++) {
        if (self->buckets[i] != NULL) {
            free(self->buckets[i]->places.entries);
            free(self->buckets[i]->spares.entries);
            free(self->buckets[i]);
            self->buckets[i] = NULL;
        }
    }
    self->count = 0;
}

unsigned table_bucket_size(const struct table *self, unsigned bucket)
{
    return bucket < TABLE_TOP_LEVELS ? self->top_sizes[bucket] : TABLE_K;
}

/* For a contact that is not ourselves. */
static unsigned bucket_number(const struct table *self, const struct node_id *id)
{
    unsigned shared = node_id_shared_bits(&self->self_id, id);

    assert(shared < NODE_ID_BITS);
    return shared;
}

uint64_t table_draw_refresh_ms(struct table *self, uint64_t now_ms)
{
    /* Jitter, so that nodes which started together do not refresh together. */
    return now_ms + TABLE_REFRESH_MS * 9 / 10 + random_below(self->random, TABLE_REFRESH_MS / 5);
}

struct table_bucket *table_bucket_use(struct table *self, unsigned number, uint64_t now_ms)
{
    if (self->buckets[number] == NULL) {
        self->buckets[number] = xcalloc(1, sizeof(struct table_bucket));
        self->buckets[number]->refresh_ms = table_draw_refresh_ms(self, now_ms);
    }
    return self->buckets[number];
}

bool table_entry_is_bad(const struct table_entry *entry)
{
    return entry->failures >= TABLE_FAILURES_BAD;
}

enum table_state table_entry_state(const struct table_entry *entry, uint64_t now_ms)
{
    if (table_entry_is_bad(entry)) {
        return TABLE_BAD;
    }
    bool fresh = now_ms <= entry->seen_ms || now_ms - entry->seen_ms <= TABLE_GOOD_MS;
    return fresh && entry->unanswered == 0 ? TABLE_GOOD : TABLE_QUESTIONABLE;
}

static struct table_entry *bucket_find_bad(const struct table_bucket *bucket)
{
    for (uint32_t i = 0; i < bucket->places.count; i++) {
        if (table_entry_is_bad(&bucket->places.entries[i])) {
            return &bucket->places.entries[i];
        }
    }
    return NULL;
}

static struct table_entry *bucket_find_questionable(const struct table_bucket *bucket,
                                                    uint64_t now_ms)
{
    struct table_entry *oldest = NULL;

    for (uint32_t i = 0; i < bucket->places.count; i++) {
        struct table_entry *entry = &bucket->places.entries[i];
        if (table_entry_state(entry, now_ms) == TABLE_QUESTIONABLE &&
            (oldest == NULL || entry->seen_ms < oldest->seen_ms)) {
            oldest = entry;
        }
    }
    return oldest;
}

static void place_remove(struct table *self, struct table_bucket *bucket, uint32_t index)
{
    self->silent_count -= bucket->places.entries[index].unanswered > 0;
    row_remove(&bucket->places, index);
    self->count--;
    self->version++;
}

static void place_append(struct table *self, struct table_bucket *bucket,
                         const struct table_entry *entry)
{
    row_append(&bucket->places, entry);
    table_hasten(self, entry);
    self->count++;
    self->version++;
}

/* Of those whose id fits its address, then of the others, the one that answered last. */
static uint32_t find_best_spare(const struct table_bucket *bucket)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < bucket->spares.count; i++) {
        const struct table_entry *a = &bucket->spares.entries[i];
        const struct table_entry *b = &bucket->spares.entries[best];
        if (a->misfit != b->misfit ? b->misfit : a->answered_ms > b->answered_ms) {
            best = i;
        }
    }
    return best;
}

/* Give free places, and those of bad contacts, to the best spares. */
static void bucket_promote(struct table *self, unsigned number)
{
    struct table_bucket *bucket = self->buckets[number];

    while (bucket != NULL && bucket->spares.count > 0) {
        struct table_entry *bad = bucket_find_bad(bucket);
        if (bucket->places.count >= table_bucket_size(self, number) && bad == NULL) {
            return;
        }
        if (bucket->places.count >= table_bucket_size(self, number)) {
            place_remove(self, bucket, row_index(&bucket->places, bad));
        }
        uint32_t best = find_best_spare(bucket);
        place_append(self, bucket, &bucket->spares.entries[best]);
        row_remove(&bucket->spares, best);
    }
}

/* ---- limits ---- */

bool table_is_limited(const struct table *self, const struct address *address)
{
    return !self->are_certified && !address_is_private(address);
}

/* Two contacts that may not both be in the table. */
bool table_addresses_clash(const struct table *self, const struct address *a,
                           const struct address *b)
{
    return table_is_limited(self, a) ? address_same_ip(a, b) : address_equal(a, b);
}

static bool row_has_subnet(const struct table_row *row, const struct contact *contact)
{
    for (uint32_t i = 0; i < row->count; i++) {
        const struct table_entry *entry = &row->entries[i];
        if (!table_entry_is_bad(entry) && !node_id_equal(&entry->contact.id, &contact->id) &&
            address_same_subnet(&entry->contact.address, &contact->address)) {
            return true;
        }
    }
    return false;
}

static bool subnet_is_full(const struct table *self, const struct contact *contact)
{
    if (!table_is_limited(self, &contact->address)) {
        return false;
    }
    const struct table_bucket *bucket = self->buckets[bucket_number(self, &contact->id)];
    return bucket != NULL &&
           (row_has_subnet(&bucket->places, contact) || row_has_subnet(&bucket->spares, contact));
}

bool table_is_acceptable(const struct table *self, const struct contact *contact)
{
    return !node_id_equal(&contact->id, &self->self_id) && address_is_usable(&contact->address) &&
           address_is_v4(&contact->address) == (self->family == ROUTING_V4);
}

/* Where an entry stands; entry is NULL when there is none. */
struct place {
    struct table_entry *entry;
    struct table_row *row;
    unsigned bucket;
    bool is_spare;
};

static struct place find_in_row(const struct table *self, struct table_row *row,
                                const struct contact *contact, unsigned bucket, bool is_spare)
{
    for (uint32_t i = 0; i < row->count; i++) {
        struct table_entry *entry = &row->entries[i];
        if (address_same_ip(&entry->contact.address, &contact->address) &&
            !node_id_equal(&entry->contact.id, &contact->id) &&
            table_addresses_clash(self, &entry->contact.address, &contact->address)) {
            return (struct place){ entry, row, bucket, is_spare };
        }
    }
    return (struct place){ NULL, NULL, 0, false };
}

/* An entry with another id whose address clashes with contact's. */
static struct place find_by_address(const struct table *self, const struct contact *contact)
{
    struct place place = { NULL, NULL, 0, false };

    for (unsigned i = 0; i < NODE_ID_BITS && place.entry == NULL; i++) {
        struct table_bucket *bucket = self->buckets[i];
        if (bucket == NULL) {
            continue;
        }
        place = find_in_row(self, &bucket->places, contact, i, false);
        if (place.entry == NULL) {
            place = find_in_row(self, &bucket->spares, contact, i, true);
        }
    }
    return place;
}

static struct place find_by_id(const struct table *self, const struct node_id *id)
{
    unsigned number = bucket_number(self, id);
    struct table_bucket *bucket = self->buckets[number];
    struct place place = { NULL, NULL, number, false };

    if (bucket == NULL) {
        return place;
    }
    place.entry = row_find(&bucket->places, id);
    place.row = &bucket->places;
    if (place.entry == NULL) {
        place.entry = row_find(&bucket->spares, id);
        place.row = &bucket->spares;
        place.is_spare = true;
    }
    return place;
}

static void place_drop(struct table *self, const struct place *place)
{
    struct table_bucket *bucket = self->buckets[place->bucket];
    uint32_t index = row_index(place->row, place->entry);

    if (place->is_spare) {
        row_remove(&bucket->spares, index);
    } else {
        place_remove(self, bucket, index);
        bucket_promote(self, place->bucket);
    }
}

/* ---- what happens to contacts ---- */

static void entry_answered(struct table *self, struct table_entry *entry, uint32_t rtt_us,
                           uint64_t now_ms)
{
    if (table_entry_is_bad(entry)) {
        self->version++;
    }
    self->silent_count -= entry->unanswered > 0; /* spares are never silent: they are dropped */
    entry->answered_ms = entry->seen_ms = now_ms;
    entry->failures = entry->unanswered = 0;
    entry->failed_ms = 0;
    table_hasten(self, entry);
    entry->rtt_us = entry->rtt_us == 0 ? rtt_us : (entry->rtt_us / 4) * 3 + rtt_us / 4;
}

/* Contact's id is known; returns false when it now has to find a place as a new one. */
static bool answered_known(struct table *self, const struct contact *contact, uint32_t rtt_us,
                           uint64_t now_ms, struct contact *ret_probe,
                           enum table_verdict *ret_verdict)
{
    struct place held = find_by_id(self, &contact->id);

    if (held.entry == NULL) {
        return false;
    }
    if (address_equal(&held.entry->contact.address, &contact->address)) {
        entry_answered(self, held.entry, rtt_us, now_ms);
        bucket_promote(self, held.bucket);
        *ret_verdict = TABLE_KEPT;
        return true;
    }
    if (held.is_spare) {
        place_drop(self, &held);
        return false;
    }
    if (table_entry_is_bad(held.entry)) {
        place_remove(self, self->buckets[held.bucket], row_index(held.row, held.entry));
        return false; /* no spare moves up: the place is the newcomer's */
    }
    *ret_probe = held.entry->contact;
    *ret_verdict = TABLE_CONFLICT;
    return true;
}

/* The last of those that came whose id does not fit its address; NULL: there is none. */
static struct table_entry *row_find_misfit(const struct table_row *row)
{
    for (uint32_t i = row->count; i > 0; i--) {
        if (row->entries[i - 1].misfit) {
            return &row->entries[i - 1];
        }
    }
    return NULL;
}

static void spare_append(struct table_bucket *bucket, const struct table_entry *entry)
{
    if (bucket->spares.count >= TABLE_SPARES_MAX) {
        const struct table_entry *misfit = row_find_misfit(&bucket->spares);
        if (misfit == NULL && entry->misfit) {
            return;
        }
        /* The one that waits longest is the least certain. */
        row_remove(&bucket->spares, misfit == NULL ? 0 : row_index(&bucket->spares, misfit));
    }
    row_append(&bucket->spares, entry);
}

/* A contact whose id fits its address gets the place of one whose id does not (BEP 42). */
static bool displace_misfit(struct table *self, struct table_bucket *bucket,
                            const struct table_entry *entry)
{
    struct table_entry *misfit = entry->misfit ? NULL : row_find_misfit(&bucket->places);

    if (misfit == NULL) {
        return false;
    }
    struct table_entry displaced = *misfit;
    place_remove(self, bucket, row_index(&bucket->places, misfit));
    place_append(self, bucket, entry);
    if (displaced.unanswered == 0) {
        spare_append(bucket, &displaced);
    }
    return true;
}

static enum table_verdict place_new(struct table *self, const struct table_entry *entry,
                                    uint64_t now_ms, struct contact *ret_probe)
{
    unsigned number = bucket_number(self, &entry->contact.id);
    struct table_bucket *bucket = table_bucket_use(self, number, now_ms);
    struct table_entry *bad = bucket_find_bad(bucket);

    if (bucket->places.count < table_bucket_size(self, number)) {
        place_append(self, bucket, entry);
        return TABLE_ADDED;
    }
    if (bad != NULL) {
        place_remove(self, bucket, row_index(&bucket->places, bad));
        place_append(self, bucket, entry);
        return TABLE_ADDED;
    }
    if (displace_misfit(self, bucket, entry)) {
        return TABLE_ADDED;
    }
    spare_append(bucket, entry);
    struct table_entry *questionable = bucket_find_questionable(bucket, now_ms);
    if (questionable == NULL) {
        return TABLE_WAITING;
    }
    *ret_probe = questionable->contact;
    return TABLE_PROBE;
}

enum table_verdict table_answered(struct table *self, const struct contact *contact,
                                  uint32_t rtt_us, uint64_t now_ms, struct contact *ret_probe)
{
    enum table_verdict verdict;

    if (!table_is_acceptable(self, contact)) {
        return TABLE_REFUSED;
    }
    self->answered_ms = now_ms;
    if (answered_known(self, contact, rtt_us, now_ms, ret_probe, &verdict)) {
        return verdict;
    }
    for (;;) {
        struct place other = find_by_address(self, contact);
        if (other.entry == NULL) {
            break;
        }
        /* The very address answers under a new id: the old one is gone. Else one per public IP. */
        if (!address_equal(&other.entry->contact.address, &contact->address) &&
            !table_entry_is_bad(other.entry)) {
            bucket_promote(self, bucket_number(self, &contact->id));
            return TABLE_REFUSED;
        }
        place_drop(self, &other);
    }
    if (subnet_is_full(self, contact)) {
        bucket_promote(self, bucket_number(self, &contact->id));
        return TABLE_REFUSED;
    }
    struct table_entry entry = { .contact = *contact,
                                 .misfit = !self->are_certified &&
                                           !secure_id_fits(&contact->id, &contact->address),
                                 .rtt_us = rtt_us,
                                 .entered_ms = now_ms,
                                 .answered_ms = now_ms,
                                 .seen_ms = now_ms };
    return place_new(self, &entry, now_ms, ret_probe);
}

static bool clashes_with_live(const struct table *self, const struct contact *contact)
{
    struct place other = find_by_address(self, contact);

    /* The same address under another id is worth a question; another port of one public IP is not.
     */
    return other.entry != NULL && !table_entry_is_bad(other.entry) &&
           !address_equal(&other.entry->contact.address, &contact->address);
}

enum table_verdict table_heard(struct table *self, const struct contact *contact, uint64_t now_ms,
                               struct contact *ret_probe)
{
    if (!table_is_acceptable(self, contact)) {
        return TABLE_REFUSED;
    }
    struct place held = find_by_id(self, &contact->id);
    bool same =
        held.entry != NULL && address_equal(&held.entry->contact.address, &contact->address);
    if (same && !table_entry_is_bad(held.entry)) {
        held.entry->seen_ms = now_ms;
        return TABLE_KEPT;
    }
    if (!same && (clashes_with_live(self, contact) || subnet_is_full(self, contact))) {
        return TABLE_REFUSED;
    }
    const struct table_bucket *bucket = self->buckets[bucket_number(self, &contact->id)];
    if (held.entry == NULL && bucket != NULL && bucket->spares.count >= TABLE_SPARES_MAX &&
        bucket_find_bad(bucket) == NULL && bucket_find_questionable(bucket, now_ms) == NULL) {
        return TABLE_REFUSED;
    }
    *ret_probe = *contact;
    return TABLE_PROBE;
}

bool table_has_place(const struct table *self, const struct contact *contact, uint64_t now_ms)
{
    (void)now_ms;
    if (!table_is_acceptable(self, contact)) {
        return false;
    }
    unsigned number = bucket_number(self, &contact->id);
    const struct table_bucket *bucket = self->buckets[number];
    if (bucket != NULL) {
        if (bucket->places.count >= table_bucket_size(self, number) &&
            bucket_find_bad(bucket) == NULL) {
            return false;
        }
        if (row_find(&bucket->places, &contact->id) != NULL ||
            row_find(&bucket->spares, &contact->id) != NULL) {
            return false;
        }
    }
    return find_by_address(self, contact).entry == NULL && !subnet_is_full(self, contact);
}

enum table_verdict table_silent(struct table *self, const struct contact *contact, uint64_t now_ms)
{
    if (!table_is_acceptable(self, contact)) {
        return TABLE_UNKNOWN;
    }
    struct place held = find_by_id(self, &contact->id);
    if (held.entry == NULL || !address_equal(&held.entry->contact.address, &contact->address)) {
        return TABLE_UNKNOWN;
    }
    if (held.is_spare) {
        place_drop(self, &held);
        return TABLE_UNKNOWN;
    }
    struct table_entry *entry = held.entry;
    if (entry->failed_ms != 0 && now_ms - entry->failed_ms < TABLE_FAILURE_GAP_MS) {
        return TABLE_KEPT;
    }
    bool others_answer = self->answered_ms > entry->failed_ms;
    if (entry->failures == 0 || (others_answer && entry->failures < UINT8_MAX)) {
        entry->failures++;
        self->version += table_entry_is_bad(entry);
    }
    self->silent_count += entry->unanswered == 0;
    if (entry->unanswered < UINT8_MAX) {
        entry->unanswered++;
    }
    entry->failed_ms = now_ms;
    table_hasten(self, entry);
    if (!table_entry_is_bad(entry)) {
        return TABLE_KEPT;
    }
    if (others_answer && now_ms - entry->answered_ms > TABLE_FORGET_MS) {
        place_drop(self, &held);
        return TABLE_UNKNOWN;
    }
    bucket_promote(self, held.bucket);
    return find_by_id(self, &contact->id).entry == NULL ? TABLE_UNKNOWN : TABLE_KEPT;
}

void table_lost_challenge(struct table *self, const struct contact *contact, uint64_t now_ms)
{
    if (!table_is_acceptable(self, contact)) {
        return;
    }
    struct place held = find_by_id(self, &contact->id);
    if (held.entry == NULL || !address_equal(&held.entry->contact.address, &contact->address) ||
        held.is_spare) {
        return;
    }
    self->silent_count += held.entry->unanswered == 0;
    held.entry->failures = TABLE_FAILURES_BAD;
    held.entry->unanswered = TABLE_FAILURES_BAD;
    held.entry->failed_ms = now_ms;
    table_hasten(self, held.entry);
    self->version++;
}

bool table_forget(struct table *self, const struct node_id *id, struct contact *ret_contact)
{
    struct place held;

    if (node_id_equal(id, &self->self_id)) {
        return false;
    }
    held = find_by_id(self, id);
    if (held.entry == NULL) {
        return false;
    }
    *ret_contact = held.entry->contact;
    place_drop(self, &held);
    return true;
}
