#include "services/member/rumour.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

/* ---- bits ---- */

static bool bit_has(const uint64_t *bits, uint32_t at)
{
    return (bits[at / 64] >> (at % 64) & 1) != 0;
}

static void bit_set(uint64_t *bits, uint32_t at)
{
    bits[at / 64] |= UINT64_C(1) << (at % 64);
}

static void bit_clear(uint64_t *bits, uint32_t at)
{
    bits[at / 64] &= ~(UINT64_C(1) << (at % 64));
}

/* ---- life ---- */

void rumour_init(struct rumour *self, uint64_t number, uint64_t seed, uint64_t now_ms)
{
    *self = (struct rumour){ .number = number };
    random_init(&self->random, seed);
    self->tell_ms = now_ms + random_below(&self->random, RUMOUR_TELL_MS);
}

static void fetch_end(struct rumour_fetch *fetch)
{
    free(fetch->data);
    *fetch = (struct rumour_fetch){ .is_used = false };
}

void rumour_done(struct rumour *self)
{
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        fetch_end(&self->fetches[i]);
    }
}

/* ---- who has what ---- */

static void forget_source(struct rumour *self, unsigned index)
{
    self->sources[index] = self->sources[--self->sources_count];
}

static struct rumour_source *find_source(struct rumour *self, const struct node_id *node)
{
    for (unsigned i = 0; i < self->sources_count; i++) {
        if (node_id_equal(&self->sources[i].from.id, node)) {
            return &self->sources[i];
        }
    }
    return NULL;
}

static bool is_shunned(const struct rumour *self, const struct node_id *node, uint64_t now_ms)
{
    for (unsigned i = 0; i < RUMOUR_SHUNNED_MAX; i++) {
        if (self->shunned[i].until_ms > now_ms && node_id_equal(&self->shunned[i].node, node)) {
            return true;
        }
    }
    return false;
}

/* A free place, or that of one with a lower number; NULL: all are as good. */
static struct rumour_source *place_for(struct rumour *self, uint64_t number)
{
    struct rumour_source *lowest = &self->sources[0];

    if (self->sources_count < RUMOUR_SOURCES_MAX) {
        return &self->sources[self->sources_count++];
    }
    for (unsigned i = 1; i < self->sources_count; i++) {
        if (self->sources[i].number < lowest->number) {
            lowest = &self->sources[i];
        }
    }
    return lowest->number < number ? lowest : NULL;
}

void rumour_heard(struct rumour *self, const struct contact *from, uint64_t number, uint64_t now_ms)
{
    struct rumour_source *source;
    bool is_first = self->sources_count == 0;

    if (number <= self->number || is_shunned(self, &from->id, now_ms)) {
        return;
    }
    source = find_source(self, &from->id);
    if (source != NULL) {
        source->number = number;
        return;
    }
    source = place_for(self, number);
    if (source != NULL) {
        /* The first waits a little: soon others have it too, and not all ask the same one. */
        *source = (struct rumour_source){ .from = *from, .number = number };
        source->not_before_ms =
            is_first ? now_ms + random_below(&self->random, RUMOUR_SPREAD_MS) : now_ms;
    }
}

static void drop_what_is_old(struct rumour *self)
{
    for (unsigned i = self->sources_count; i-- > 0;) {
        if (self->sources[i].number <= self->number) {
            forget_source(self, i);
        }
    }
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        if (self->fetches[i].is_used && self->fetches[i].number <= self->number) {
            fetch_end(&self->fetches[i]);
        }
    }
}

void rumour_set_number(struct rumour *self, uint64_t number, uint64_t now_ms)
{
    (void)now_ms;
    if (number <= self->number) {
        return;
    }
    self->number = number;
    self->tell_all = true;
    drop_what_is_old(self);
}

void rumour_shun(struct rumour *self, const struct node_id *node, uint64_t now_ms)
{
    self->shunned[self->shunned_next].node = *node;
    self->shunned[self->shunned_next].until_ms = now_ms + RUMOUR_SHUN_MS;
    self->shunned_next = (self->shunned_next + 1) % RUMOUR_SHUNNED_MAX;
    for (unsigned i = self->sources_count; i-- > 0;) {
        if (node_id_equal(&self->sources[i].from.id, node)) {
            forget_source(self, i);
        }
    }
}

/* ---- fetching ---- */

static struct rumour_fetch *fetch_from(struct rumour *self, const struct node_id *node)
{
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        if (self->fetches[i].is_used && node_id_equal(&self->fetches[i].from.id, node)) {
            return &self->fetches[i];
        }
    }
    return NULL;
}

/* Is this number being fetched from somebody, and not for long? */
static bool is_coming(const struct rumour *self, uint64_t number, uint64_t now_ms)
{
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        const struct rumour_fetch *fetch = &self->fetches[i];

        if (fetch->is_used && fetch->number == number &&
            now_ms < fetch->begin_ms + RUMOUR_OTHER_MS) {
            return true;
        }
    }
    return false;
}

/* Any one of those with the highest number that may be asked now. */
static struct rumour_source *choose_source(struct rumour *self, uint64_t now_ms)
{
    struct rumour_source *best = NULL;
    unsigned equals = 0;

    for (unsigned i = 0; i < self->sources_count; i++) {
        struct rumour_source *source = &self->sources[i];

        if (source->not_before_ms > now_ms || fetch_from(self, &source->from.id) != NULL ||
            is_coming(self, source->number, now_ms) ||
            (best != NULL && source->number < best->number)) {
            continue;
        }
        equals = best != NULL && source->number == best->number ? equals + 1 : 1;
        if (random_below(&self->random, equals) == 0) {
            best = source;
        }
    }
    return best;
}

static void begin_fetches(struct rumour *self, uint64_t now_ms)
{
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        struct rumour_source *source;

        if (self->fetches[i].is_used) {
            continue;
        }
        source = choose_source(self, now_ms);
        if (source == NULL) {
            return;
        }
        self->fetches[i] = (struct rumour_fetch){ .is_used = true,
                                                  .from = source->from,
                                                  .number = source->number,
                                                  .begin_ms = now_ms,
                                                  .end_ms = now_ms + RUMOUR_FETCH_MS };
    }
}

/* It did not answer, or has it no more. */
static void pause_source(struct rumour *self, struct rumour_fetch *fetch, uint64_t now_ms)
{
    struct rumour_source *source = find_source(self, &fetch->from.id);

    if (source != NULL) {
        source->not_before_ms = now_ms + RUMOUR_PAUSE_MS;
    }
    fetch_end(fetch);
}

static void blame(struct rumour *self, struct rumour_fetch *fetch, uint64_t now_ms)
{
    rumour_shun(self, &fetch->from.id, now_ms);
    fetch_end(fetch);
}

static void end_slow_fetches(struct rumour *self, uint64_t now_ms)
{
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        if (self->fetches[i].is_used && now_ms >= self->fetches[i].end_ms) {
            blame(self, &self->fetches[i], now_ms);
        }
    }
}

/* The first part alone says how many there are. */
static bool next_part(struct rumour_fetch *fetch, uint32_t *ret_part)
{
    uint32_t parts = fetch->data != NULL ? fetch->parts : 1;

    if (fetch->under_way >= RUMOUR_WINDOW) {
        return false;
    }
    for (uint32_t part = 0; part < parts; part++) {
        if (!bit_has(fetch->has, part) && !bit_has(fetch->asked, part)) {
            *ret_part = part;
            return true;
        }
    }
    return false;
}

static bool ask_part(struct rumour *self, struct rumour_action *ret_action)
{
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        struct rumour_fetch *fetch = &self->fetches[i];
        uint32_t part;

        if (!fetch->is_used || !next_part(fetch, &part)) {
            continue;
        }
        bit_set(fetch->asked, part);
        fetch->under_way++;
        *ret_action = (struct rumour_action){ .kind = RUMOUR_GET_PART,
                                              .to = fetch->from,
                                              .number = fetch->number,
                                              .offset = part * RUMOUR_PART_BYTES };
        return true;
    }
    return false;
}

/* How many bytes this part has in a list of that size; 0: there is no such part. */
static uint32_t part_size(uint32_t size, uint32_t offset)
{
    if (size == 0 || size > RUMOUR_LIST_MAX || offset >= size || offset % RUMOUR_PART_BYTES != 0) {
        return 0;
    }
    return size - offset < RUMOUR_PART_BYTES ? size - offset : RUMOUR_PART_BYTES;
}

static bool is_sound(const struct rumour_fetch *fetch, const struct rumour_part *part)
{
    return part->data.size == part_size(part->size, part->offset) &&
           (fetch->data == NULL || part->size == fetch->size);
}

static void keep_part(struct rumour_fetch *fetch, const struct rumour_part *part)
{
    uint32_t index = part->offset / RUMOUR_PART_BYTES;

    if (fetch->data == NULL) {
        fetch->size = part->size;
        fetch->parts = (part->size + RUMOUR_PART_BYTES - 1) / RUMOUR_PART_BYTES;
        fetch->data = xmalloc(part->size);
    }
    if (!bit_has(fetch->has, index)) {
        memcpy(fetch->data + part->offset, part->data.data, part->data.size);
        bit_set(fetch->has, index);
        fetch->got++;
    }
}

static void lose_part(struct rumour *self, struct rumour_fetch *fetch, uint32_t index,
                      uint64_t now_ms)
{
    bit_clear(fetch->asked, index);
    if (++fetch->losses >= (fetch->data != NULL ? RUMOUR_LOSSES_MAX : RUMOUR_FIRST_MAX)) {
        pause_source(self, fetch, now_ms);
    }
}

bool rumour_take(struct rumour *self, const struct rumour_part *part, uint64_t now_ms,
                 uint8_t **ret_list, size_t *ret_size)
{
    struct rumour_fetch *fetch = fetch_from(self, &part->from);
    uint32_t index = part->offset / RUMOUR_PART_BYTES;

    if (fetch == NULL || fetch->number != part->number || index >= RUMOUR_PARTS_MAX ||
        !bit_has(fetch->asked, index)) {
        return false; /* of a fetch that has ended */
    }
    if (fetch->under_way > 0) {
        fetch->under_way--;
    }
    if (part->data.size == 0) {
        lose_part(self, fetch, index, now_ms);
        return false;
    }
    if (!is_sound(fetch, part)) {
        blame(self, fetch, now_ms);
        return false;
    }
    keep_part(fetch, part);
    fetch->losses = 0;
    if (fetch->got < fetch->parts) {
        return false;
    }
    *ret_list = fetch->data;
    *ret_size = fetch->size;
    fetch->data = NULL;
    pause_source(self, fetch, now_ms); /* until it is known what it was worth */
    return true;
}

/* ---- what is to be done ---- */

bool rumour_next(struct rumour *self, uint64_t now_ms, struct rumour_action *ret_action)
{
    end_slow_fetches(self, now_ms);
    if (self->tell_all && now_ms >= self->all_ms) {
        self->tell_all = false;
        self->all_ms = now_ms + RUMOUR_ALL_MS;
        *ret_action = (struct rumour_action){ .kind = RUMOUR_TELL_ALL, .number = self->number };
        return true;
    }
    begin_fetches(self, now_ms);
    if (ask_part(self, ret_action)) {
        return true;
    }
    if (now_ms >= self->tell_ms) {
        self->tell_ms = now_ms + RUMOUR_TELL_MS;
        *ret_action = (struct rumour_action){ .kind = RUMOUR_TELL_ONE, .number = self->number };
        return true;
    }
    return false;
}

/* The earlier of two, of which those that have passed do not count: they wait for something else.
 */
static uint64_t sooner(uint64_t deadline_ms, uint64_t at_ms, uint64_t now_ms)
{
    return at_ms > now_ms && at_ms < deadline_ms ? at_ms : deadline_ms;
}

uint64_t rumour_deadline_ms(const struct rumour *self, uint64_t now_ms)
{
    uint64_t deadline = self->tell_ms;

    if (self->tell_all) {
        deadline = sooner(deadline, self->all_ms, now_ms);
    }
    for (unsigned i = 0; i < self->sources_count; i++) {
        deadline = sooner(deadline, self->sources[i].not_before_ms, now_ms);
    }
    for (unsigned i = 0; i < RUMOUR_FETCHES_MAX; i++) {
        if (self->fetches[i].is_used) {
            deadline = sooner(deadline, self->fetches[i].begin_ms + RUMOUR_OTHER_MS, now_ms);
            deadline = sooner(deadline, self->fetches[i].end_ms, now_ms);
        }
    }
    return deadline;
}
