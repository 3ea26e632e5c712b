#include "services/storage/box_spread.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NODE_BITS          8u
#define PART_BITS          8u
#define SERIAL_BITS        16u
#define BURST_PART         4u /* of a second's parts may go at once */
#define MILLI              1000u
#define BOX_LEAVING_FASTER 4u

enum place_state {
    PLACE_WAITING,
    PLACE_TO_OFFER,
    PLACE_OFFERED,
    PLACE_TO_CERTIFY,
    PLACE_CERTIFYING,
    PLACE_MAILING,
    PLACE_ENDED
};

/* One node that the box is brought to. */
struct place {
    struct contact contact;
    enum place_state state;
    uint16_t serial; /* of what is on its way: a step, or the parts of one mail */
    unsigned under_way, silences;
    bool has_answered, lacked, failed;
    bool has_offered, more; /* the heads up to `after`; there are others behind */
    uint8_t after[BOX_ID_SIZE];
    size_t count; /* heads that were offered, then those of them that it lacks */
    struct box_head heads[BOX_HEADS_MAX];
    size_t next;      /* of them: the mail that is brought now */
    uint64_t to_send; /* a bit for each of its parts */
    bool is_through;  /* that mail is complete, refused or gone */
    unsigned tries;
};

struct box_spread {
    struct node_id recipient;
    struct box_store store;
    struct place *places;
    size_t count;
};

struct box_spread *box_spread_new(const struct box_spread_options *options)
{
    struct box_spread *self = xcalloc(1, sizeof *self);

    assert(options->nodes_count <= BOX_SPREAD_NODES_MAX);
    self->recipient = options->recipient;
    self->store = options->store;
    self->count = options->nodes_count;
    self->places = xcalloc(self->count + 1, sizeof *self->places);
    for (size_t i = 0; i < self->count; i++)
        self->places[i].contact = options->nodes[i];
    return self;
}

void box_spread_free(struct box_spread **self)
{
    if (*self == NULL)
        return;
    free((*self)->places);
    free(*self);
    *self = NULL;
}

/* ---- out ---- */

static void act(struct box_spread *self, struct place *place, enum box_step step, unsigned part,
                struct box_action *ret_action)
{
    uint32_t index = (uint32_t)(place - self->places);

    place->under_way++;
    ret_action->step = step;
    ret_action->ticket =
        index | part << NODE_BITS | (uint32_t)place->serial << (NODE_BITS + PART_BITS);
    ret_action->contact = place->contact;
}

/* All of these heads are seen to: the next ones, or the end. */
static void end_batch(struct place *place)
{
    place->serial++;
    place->state = place->more ? PLACE_TO_OFFER : PLACE_ENDED;
}

static void begin_mail(struct place *place)
{
    place->serial++;
    place->state = PLACE_MAILING;
    if (place->next == place->count) {
        end_batch(place);
        return;
    }
    place->to_send = (UINT64_C(1) << box_parts(place->heads[place->next].size)) - 1;
    place->is_through = false;
}

static bool next_offer(struct box_spread *self, struct place *place, struct box_action *ret_action)
{
    const struct box_store *store = &self->store;
    const uint8_t *after = place->has_offered ? place->after : NULL;
    size_t count = store->heads(store->ctx, &self->recipient, after, place->heads, &place->more);
    uint64_t from_s = after == NULL ? store->certificate_from_s(store->ctx, &self->recipient) : 0;

    if (count == 0 && from_s == 0) {
        place->more = false;
        end_batch(place);
        return false;
    }
    place->count = ret_action->heads_count = count;
    memcpy(ret_action->heads, place->heads, count * sizeof *place->heads);
    ret_action->certificate_from_s = from_s;
    place->state = PLACE_OFFERED;
    act(self, place, BOX_OFFER, 0, ret_action);
    return true;
}

static unsigned lowest_bit(uint64_t bits)
{
    unsigned bit = 0;

    while ((bits >> bit & 1) == 0)
        bit++;
    return bit;
}

static bool next_part(struct box_spread *self, struct place *place, struct box_action *ret_action)
{
    unsigned part;

    if (place->is_through || place->to_send == 0 || place->under_way >= BOX_SPREAD_WINDOW)
        return false;
    part = lowest_bit(place->to_send);
    place->to_send &= place->to_send - 1;
    ret_action->mail = place->heads[place->next];
    ret_action->offset = part * BOX_PART_SIZE;
    act(self, place, BOX_PART, part, ret_action);
    return true;
}

static bool next_of(struct box_spread *self, struct place *place, struct box_action *ret_action)
{
    switch (place->state) {
    case PLACE_TO_OFFER:
        return next_offer(self, place, ret_action);
    case PLACE_TO_CERTIFY:
        place->state = PLACE_CERTIFYING;
        act(self, place, BOX_CERTIFICATE, 0, ret_action);
        return true;
    case PLACE_MAILING:
        return next_part(self, place, ret_action);
    default:
        return false;
    }
}

static void begin_more(struct box_spread *self)
{
    unsigned active = 0;

    for (size_t i = 0; i < self->count && active < BOX_SPREAD_ACTIVE; i++) {
        struct place *place = &self->places[i];

        if (place->state == PLACE_WAITING)
            place->state = PLACE_TO_OFFER;
        active += place->state != PLACE_ENDED;
    }
}

bool box_spread_next(struct box_spread *self, struct box_action *ret_action)
{
    size_t ended = self->count;

    /* One that ends here, since nothing is left to offer, makes room for another. */
    while (!box_spread_is_done(self) && ended > 0) {
        begin_more(self);
        for (size_t i = 0; i < self->count; i++) {
            if (next_of(self, &self->places[i], ret_action))
                return true;
        }
        ended--;
    }
    return false;
}

bool box_spread_is_done(const struct box_spread *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->places[i].state != PLACE_ENDED)
            return false;
    }
    return true;
}

/* ---- in ---- */

/* Of the heads that were offered, those that it lacks; ids that were not are left out. */
static void keep_lacking(struct place *place, const struct box_answer *answer)
{
    size_t kept = 0;

    for (size_t i = 0; i < place->count; i++) {
        bool lacks = false;

        for (size_t j = 0; j < answer->lacking_count && !lacks; j++)
            lacks = bytes_equal(answer->lacking[j], bytes_of(place->heads[i].id, BOX_ID_SIZE));
        if (lacks)
            place->heads[kept++] = place->heads[i];
    }
    place->count = kept;
}

static void on_offer(struct place *place, const struct box_answer *answer)
{
    if (answer->outcome != BOX_ANSWERED) {
        place->lacked = place->failed = true; /* it does not want to be a holder */
        place->state = PLACE_ENDED;
        return;
    }
    place->has_offered = true;
    if (place->count > 0)
        memcpy(place->after, place->heads[place->count - 1].id, BOX_ID_SIZE);
    keep_lacking(place, answer);
    place->lacked |= place->count > 0 || answer->wants_certificate;
    place->next = 0;
    place->tries = 0;
    if (answer->wants_certificate) {
        place->serial++;
        place->state = PLACE_TO_CERTIFY;
    } else {
        begin_mail(place);
    }
}

static void end_mail(struct place *place)
{
    place->tries = 0;
    place->next++;
    begin_mail(place);
}

static void on_part(struct place *place, const struct box_answer *answer)
{
    if (answer->outcome == BOX_REFUSED)
        place->failed = true;
    if (answer->outcome != BOX_ANSWERED || answer->complete)
        place->is_through = true;
}

/* All answers to a mail's parts are in: is it through, or to be sent once more? */
static void settle_mail(struct place *place)
{
    if (place->state != PLACE_MAILING || place->under_way > 0)
        return;
    if (place->is_through) {
        end_mail(place);
    } else if (place->to_send == 0 && ++place->tries < BOX_SPREAD_TRIES) {
        begin_mail(place);
    } else if (place->to_send == 0) {
        place->failed = true;
        end_mail(place);
    }
}

/* Datagrams get lost: the same once more. */
static void on_silence(struct place *place, unsigned part)
{
    if (++place->silences >= BOX_SPREAD_SILENCES) {
        place->failed = true;
        place->state = PLACE_ENDED;
    } else if (place->state == PLACE_OFFERED) {
        place->state = PLACE_TO_OFFER;
    } else if (place->state == PLACE_CERTIFYING) {
        place->state = PLACE_TO_CERTIFY;
    } else if (place->state == PLACE_MAILING) {
        place->to_send |= UINT64_C(1) << part;
    }
}

static void on_answer(struct place *place, const struct box_answer *answer)
{
    switch (place->state) {
    case PLACE_OFFERED:
        on_offer(place, answer);
        break;
    case PLACE_CERTIFYING:
        place->failed |= answer->outcome == BOX_REFUSED;
        begin_mail(place);
        break;
    case PLACE_MAILING:
        on_part(place, answer);
        break;
    default:
        break;
    }
}

void box_spread_answered(struct box_spread *self, uint32_t ticket, const struct box_answer *answer)
{
    size_t index = ticket & ((1u << NODE_BITS) - 1);
    unsigned part = ticket >> NODE_BITS & ((1u << PART_BITS) - 1);
    struct place *place;

    if (index >= self->count)
        return;
    place = &self->places[index];
    if (place->under_way == 0 || place->state == PLACE_ENDED ||
        place->serial != ticket >> (NODE_BITS + PART_BITS))
        return;
    place->under_way--;
    if (answer->outcome == BOX_SILENT) {
        on_silence(place, part);
    } else {
        place->silences = 0;
        place->has_answered |= answer->outcome != BOX_GONE;
        on_answer(place, answer);
    }
    settle_mail(place);
}

struct box_spread_result box_spread_result(const struct box_spread *self)
{
    struct box_spread_result result = { 0 };

    for (size_t i = 0; i < self->count; i++) {
        const struct place *place = &self->places[i];

        result.reached += place->has_answered;
        result.holders += place->has_answered && !place->lacked && !place->failed;
        result.lacking += place->has_answered && (place->lacked || place->failed);
        result.repaired += place->has_answered && place->lacked && !place->failed;
    }
    return result;
}

/* ---- pace ---- */

bool box_pace_may(struct box_pace *self, bool is_leaving, uint64_t now_ms, uint64_t *ret_wait_ms)
{
    uint64_t rate_s = is_leaving ? BOX_LEAVING_FASTER * BOX_PARTS_S : BOX_PARTS_S;
    uint64_t burst_milli = rate_s * MILLI / BURST_PART;
    uint64_t passed_ms = now_ms > self->at_ms ? now_ms - self->at_ms : 0;
    uint64_t paid_milli = passed_ms < MILLI ? passed_ms * rate_s : rate_s * MILLI;

    self->owed_milli = self->owed_milli > paid_milli ? self->owed_milli - paid_milli : 0;
    self->at_ms = now_ms;
    if (self->owed_milli + MILLI <= burst_milli)
        return true;
    *ret_wait_ms = (self->owed_milli + MILLI - burst_milli) / rate_s + 1;
    return false;
}

void box_pace_take(struct box_pace *self)
{
    self->owed_milli += MILLI;
}
