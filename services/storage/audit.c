#include "services/storage/audit.h"

#include "libcommon/memory.h"
#include "services/storage/spread.h"

#include <assert.h>
#include <stdlib.h>

#define ROOM_LEAST 64u

void audit_init(struct audit *self, uint32_t sample_max, uint64_t seed)
{
    *self = (struct audit){ .keys_max = sample_max > 0 && sample_max < AUDIT_KEYS_MAX
                                            ? sample_max
                                            : AUDIT_KEYS_MAX };
    random_init(&self->random, seed);
}

void audit_done(struct audit *self)
{
    free(self->keys);
    *self = (struct audit){ 0 };
}

/* ---- the sample ---- */

static struct audit_key *add_key(struct audit *self)
{
    if (self->keys_count == self->keys_room) {
        self->keys_room = self->keys_room > 0 ? 2 * self->keys_room : ROOM_LEAST;
        self->keys = xrealloc(self->keys, self->keys_room * sizeof *self->keys);
    }
    return &self->keys[self->keys_count++];
}

void audit_offer(struct audit *self, const struct node_id *target, uint64_t seq)
{
    const struct audit_key key = { .target = *target, .seq = seq };
    uint64_t place;

    assert(self->next == 0);
    self->held++;
    if (self->keys_count < self->keys_max) {
        *add_key(self) = key;
        return;
    }
    place = random_below(&self->random, self->held);
    if (place < self->keys_count)
        self->keys[place] = key;
}

/* ---- counting ---- */

bool audit_next(struct audit *self, size_t *ret_index)
{
    if (self->next == self->keys_count)
        return false;
    *ret_index = self->next++;
    self->keys[*ret_index].state = AUDIT_ASKED;
    self->asked_count++;
    return true;
}

static struct audit_key *come_back(struct audit *self, size_t index, enum audit_state state)
{
    struct audit_key *key = &self->keys[index];

    assert(index < self->next && key->state == AUDIT_ASKED);
    self->asked_count--;
    key->state = state;
    return key;
}

void audit_counted(struct audit *self, size_t index, unsigned replicas, unsigned nodes)
{
    come_back(self, index, AUDIT_COUNTED)->replicas = replicas;
    if (nodes > self->nodes_max)
        self->nodes_max = nodes;
}

void audit_failed(struct audit *self, size_t index)
{
    come_back(self, index, AUDIT_FAILED);
}

void audit_gone(struct audit *self, size_t index)
{
    come_back(self, index, AUDIT_GONE);
    self->held--;
}

void audit_give_up(struct audit *self)
{
    for (; self->next < self->keys_count; self->next++)
        self->keys[self->next].state = AUDIT_FAILED;
}

bool audit_is_done(const struct audit *self)
{
    return self->next == self->keys_count && self->asked_count == 0;
}

/* ---- the sum ---- */

/* Those that were counted first, the fewest replicas first among them, then by target. */
static int compare_keys(const void *a_pointer, const void *b_pointer)
{
    const struct audit_key *a = a_pointer;
    const struct audit_key *b = b_pointer;

    if ((a->state == AUDIT_COUNTED) != (b->state == AUDIT_COUNTED))
        return a->state == AUDIT_COUNTED ? -1 : 1;
    if (a->state == AUDIT_COUNTED && a->replicas != b->replicas)
        return a->replicas < b->replicas ? -1 : 1;
    return node_id_compare(&a->target, &b->target);
}

static void draw_sum(const struct audit *self, struct audit_sum *sum)
{
    sum->held = self->held;
    sum->wanted = self->nodes_max < SPREAD_K ? self->nodes_max : SPREAD_K;
    for (size_t i = 0; i < self->keys_count; i++) {
        const struct audit_key *key = &self->keys[i];

        sum->failed += key->state == AUDIT_FAILED;
        if (key->state != AUDIT_COUNTED)
            continue;
        sum->counted++;
        sum->short_count += key->replicas < sum->wanted;
        if (sum->rows_count < AUDIT_ROWS_MAX)
            sum->rows[sum->rows_count++] = key;
    }
}

void audit_sum(struct audit *self, struct audit_sum *ret_sum)
{
    assert(audit_is_done(self));
    *ret_sum = (struct audit_sum){ 0 };
    if (self->keys_count > 0)
        qsort(self->keys, self->keys_count, sizeof *self->keys, compare_keys);
    draw_sum(self, ret_sum);
    if (ret_sum->counted == 0)
        return;
    ret_sum->replicas_min = self->keys[0].replicas;
    ret_sum->replicas_median = self->keys[(ret_sum->counted - 1) / 2].replicas;
}
