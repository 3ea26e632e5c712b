#include "services/member/sending.h"

#include <assert.h>

/* ---- one copy ---- */

static uint64_t all_parts(uint32_t size)
{
    unsigned count = parts_count(size);

    return count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

static void carriage_begin(struct carriage *self, const struct contact *to, uint32_t size)
{
    *self = (struct carriage){ .to = *to, .wanted = all_parts(size), .state = CARRIAGE_GOING };
}

static bool carriage_next(struct carriage *self, unsigned *ret_part)
{
    if (self->state != CARRIAGE_GOING || self->under_way >= SENDING_WINDOW || self->wanted == 0) {
        return false;
    }
    for (unsigned part = 0; part < PARTS_MAX; part++) {
        if ((self->wanted >> part & 1) != 0) {
            self->wanted &= ~(UINT64_C(1) << part);
            self->under_way++;
            *ret_part = part;
            return true;
        }
    }
    return false;
}

/* All of it was taken and nobody said that it is whole: some was lost there. */
static void once_more(struct carriage *self, uint32_t size)
{
    if (self->is_second) {
        self->state = CARRIAGE_LOST;
        return;
    }
    self->is_second = true;
    self->wanted = all_parts(size);
}

static void carriage_answered(struct carriage *self, uint32_t size, unsigned part,
                              enum sending_answer answer)
{
    assert(self->under_way > 0 && part < PARTS_MAX);
    self->under_way--;
    if (self->state != CARRIAGE_GOING) {
        return;
    }
    switch (answer) {
    case SENDING_COMPLETE:
        self->state = CARRIAGE_THERE;
        return;
    case SENDING_NO_ROOM:
        self->state = CARRIAGE_FULL;
        return;
    case SENDING_REFUSED_IT:
        self->state = CARRIAGE_REFUSED;
        return;
    case SENDING_SILENT:
        if (++self->tries[part] >= SENDING_TRIES_MAX) {
            self->state = CARRIAGE_LOST;
            return;
        }
        self->wanted |= UINT64_C(1) << part;
        return;
    case SENDING_TAKEN:
        if (self->wanted == 0 && self->under_way == 0) {
            once_more(self, size);
        }
        return;
    }
}

/* ---- all copies ---- */

static void begin_keeping(struct sending *self)
{
    self->step = self->holders_count > 0 ? SENDING_KEEPS : SENDING_FAILED;
}

void sending_begin(struct sending *self, uint32_t size, const struct node_id *recipient,
                   const struct contact *closest, unsigned closest_count)
{
    assert(parts_count(size) > 0);
    *self = (struct sending){ .size = size };
    for (unsigned i = 0; i < closest_count; i++) {
        if (node_id_equal(&closest[i].id, recipient)) {
            carriage_begin(&self->recipient, &closest[i], size);
            self->has_recipient = true;
        } else if (self->holders_count < SENDING_HOLDERS_MAX) {
            carriage_begin(&self->holders[self->holders_count++], &closest[i], size);
        }
    }
    self->step = SENDING_DELIVERS;
    if (!self->has_recipient) {
        begin_keeping(self);
    }
}

static void fill(const struct sending *self, const struct carriage *carriage, unsigned part,
                 struct sending_action *ret_action)
{
    ret_action->to = carriage->to;
    ret_action->offset = part * PARTS_PART_BYTES;
    ret_action->size = parts_size_of(self->size, part);
}

bool sending_next(struct sending *self, struct sending_action *ret_action)
{
    unsigned part;

    *ret_action = (struct sending_action){ .is_delivery = self->step == SENDING_DELIVERS };
    if (self->step == SENDING_DELIVERS) {
        if (!carriage_next(&self->recipient, &part)) {
            return false;
        }
        fill(self, &self->recipient, part, ret_action);
        return true;
    }
    for (unsigned i = 0; self->step == SENDING_KEEPS && i < self->holders_count; i++) {
        if (carriage_next(&self->holders[i], &part)) {
            ret_action->holder = i;
            fill(self, &self->holders[i], part, ret_action);
            return true;
        }
    }
    return false;
}

static void end_delivery(struct sending *self)
{
    switch (self->recipient.state) {
    case CARRIAGE_GOING:
        return;
    case CARRIAGE_THERE:
        self->step = SENDING_DELIVERED;
        return;
    case CARRIAGE_REFUSED:
        self->step = SENDING_REFUSED;
        return;
    case CARRIAGE_FULL:
        self->was_full = true;
        break;
    case CARRIAGE_LOST:
        break;
    }
    begin_keeping(self);
}

static void end_keeping(struct sending *self)
{
    for (unsigned i = 0; i < self->holders_count; i++) {
        if (self->holders[i].state == CARRIAGE_GOING) {
            return;
        }
    }
    self->step = sending_holders(self) > 0 ? SENDING_KEPT : SENDING_FAILED;
}

void sending_answered(struct sending *self, const struct sending_action *action,
                      enum sending_answer answer)
{
    unsigned part = action->offset / PARTS_PART_BYTES;

    if (action->is_delivery) {
        carriage_answered(&self->recipient, self->size, part, answer);
        if (self->step == SENDING_DELIVERS) {
            end_delivery(self);
        }
        return;
    }
    assert(action->holder < self->holders_count);
    carriage_answered(&self->holders[action->holder], self->size, part, answer);
    if (self->step == SENDING_KEEPS) {
        end_keeping(self);
    }
}

bool sending_is_over(const struct sending *self)
{
    return self->step >= SENDING_DELIVERED;
}

unsigned sending_holders(const struct sending *self)
{
    unsigned count = 0;

    for (unsigned i = 0; i < self->holders_count; i++) {
        count += self->holders[i].state == CARRIAGE_THERE ? 1 : 0;
    }
    return count;
}
