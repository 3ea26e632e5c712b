/*
 * Transfers: a batch of keys on its way to one node. Of our kind: the digests in one offer, then a
 * put of each that it wants, with the token of its answer. Of another kind: key by key a get, which
 * gives a token, and a put when it lacks the key. Who it is, a ping tells first.
 */
#include "libcommon/memory.h"
#include "services/storage/upkeep_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t free_place(const struct upkeep *self, size_t limit)
{
    for (size_t i = 0; i < limit; i++) {
        if (self->transfers[i] == NULL)
            return i;
    }
    return SIZE_MAX;
}

struct upkeep_transfer *upkeep_transfer_new(struct upkeep *self, const struct contact *contact,
                                            enum routing_family family, size_t limit)
{
    size_t place = free_place(self, limit);
    struct upkeep_transfer *transfer;

    if (place == SIZE_MAX)
        return NULL;
    transfer = xcalloc(1, sizeof *transfer);
    transfer->serial = ++self->serial;
    transfer->contact = *contact;
    transfer->family = family;
    self->transfers[place] = transfer;
    return transfer;
}

void upkeep_transfer_free(struct upkeep *self, size_t place)
{
    free(self->transfers[place]);
    self->transfers[place] = NULL;
}

void upkeep_transfer_add(struct upkeep_transfer *transfer, const struct upkeep_item *item)
{
    assert(transfer->state == TRANSFER_FILLING && transfer->count < UPKEEP_DIGESTS_MAX);
    transfer->digests[transfer->count++] =
        (struct upkeep_digest){ .target = item->target, .seq = item->seq };
}

/* ---- out ---- */

static void through(struct upkeep_transfer *transfer)
{
    transfer->state = TRANSFER_FILLING;
    transfer->count = transfer->next = 0;
    transfer->has_token = false;
}

static void act(struct upkeep_transfer *transfer, enum upkeep_step step, uint32_t ticket,
                struct upkeep_action *ret_action)
{
    transfer->under_way++;
    ret_action->step = step;
    ret_action->ticket = ticket;
    ret_action->contact = transfer->contact;
    if (step == UPKEEP_GET || step == UPKEEP_PUT) {
        ret_action->target = transfer->digests[transfer->next].target;
        ret_action->seq = transfer->digests[transfer->next].seq;
    }
    if (step == UPKEEP_PUT) {
        ret_action->token_size = transfer->token_size;
        memcpy(ret_action->token, transfer->token, transfer->token_size);
    }
}

static bool next_ready(struct upkeep *self, struct upkeep_transfer *transfer, uint32_t ticket,
                       uint64_t now_ms, struct upkeep_action *ret_action)
{
    if (transfer->kind == TRANSFER_FOREIGN) {
        transfer->state = TRANSFER_ASKING;
        return false;
    }
    if (!upkeep_take_offer(self, now_ms))
        return false;
    if (transfer->kind == TRANSFER_UNKNOWN) {
        transfer->state = TRANSFER_PINGED;
        act(transfer, UPKEEP_PING, ticket, ret_action);
        return true;
    }
    transfer->state = TRANSFER_OFFERED;
    act(transfer, UPKEEP_OFFER, ticket, ret_action);
    ret_action->digests_count = transfer->count;
    memcpy(ret_action->digests, transfer->digests, transfer->count * sizeof *transfer->digests);
    self->stats.offers++;
    self->stats.offered += transfer->count;
    return true;
}

static bool next_put(struct upkeep *self, struct upkeep_transfer *transfer, uint32_t ticket,
                     uint64_t now_ms, struct upkeep_action *ret_action)
{
    while (transfer->next < transfer->count && !transfer->wanted[transfer->next])
        transfer->next++;
    if (transfer->next == transfer->count) {
        if (transfer->under_way == 0)
            through(transfer);
        return false;
    }
    if (transfer->under_way >= UPKEEP_PUTS_MAX || !upkeep_take_put(self, now_ms))
        return false;
    act(transfer, UPKEEP_PUT, ticket, ret_action);
    transfer->next++;
    return true;
}

static bool next_foreign(struct upkeep *self, struct upkeep_transfer *transfer, uint32_t ticket,
                         uint64_t now_ms, struct upkeep_action *ret_action)
{
    if (transfer->under_way > 0)
        return false;
    if (transfer->next == transfer->count) {
        through(transfer);
        return false;
    }
    if (!upkeep_take_put(self, now_ms))
        return false;
    act(transfer, transfer->has_token ? UPKEEP_PUT : UPKEEP_GET, ticket, ret_action);
    self->stats.offered += !transfer->has_token;
    return true;
}

bool upkeep_transfer_next(struct upkeep *self, size_t place, uint64_t now_ms,
                          struct upkeep_action *ret_action)
{
    struct upkeep_transfer *transfer = self->transfers[place];
    uint32_t ticket = upkeep_ticket(transfer->serial, (unsigned)(UPKEEP_CHECKS_MAX + place));

    if (transfer->state == TRANSFER_READY && next_ready(self, transfer, ticket, now_ms, ret_action))
        return true;
    if (transfer->state == TRANSFER_PUTTING)
        return next_put(self, transfer, ticket, now_ms, ret_action);
    if (transfer->state == TRANSFER_ASKING)
        return next_foreign(self, transfer, ticket, now_ms, ret_action);
    return false;
}

/* ---- in ---- */

/* Datagrams get lost, so the same is asked again, but a put: the next pass finds it was not made.
 */
static void on_silence(const struct upkeep *self, struct upkeep_transfer *transfer)
{
    unsigned silences_max = self->is_draining ? 1 : UPKEEP_SILENCES_MAX;

    if (++transfer->silences >= silences_max)
        transfer->state = TRANSFER_DEAD;
    else if (transfer->state == TRANSFER_PINGED || transfer->state == TRANSFER_OFFERED)
        transfer->state = TRANSFER_READY;
}

static bool take_token(struct upkeep_transfer *transfer, const struct upkeep_answer *answer)
{
    if (answer->token_size == 0 || answer->token_size > sizeof transfer->token)
        return false;
    transfer->token_size = answer->token_size;
    memcpy(transfer->token, answer->token, answer->token_size);
    return true;
}

static void on_ping(struct upkeep_transfer *transfer, const struct upkeep_answer *answer)
{
    transfer->kind = answer->littlebird ? TRANSFER_LITTLEBIRD : TRANSFER_FOREIGN;
    transfer->state = TRANSFER_READY;
}

static void on_offer(struct upkeep_transfer *transfer, const struct upkeep_answer *answer)
{
    bool is_sound = answer->outcome == UPKEEP_DONE && answer->need_size == transfer->count;
    bool has_token = is_sound && take_token(transfer, answer);

    transfer->state = TRANSFER_PUTTING;
    transfer->next = 0;
    for (size_t i = 0; i < transfer->count; i++)
        transfer->wanted[i] = has_token && answer->need[i] == UPKEEP_WANTS;
}

static void on_get(struct upkeep_transfer *transfer, const struct upkeep_answer *answer)
{
    bool lacks = !answer->has_item || answer->seq < transfer->digests[transfer->next].seq;

    transfer->has_token = answer->outcome == UPKEEP_DONE && lacks && take_token(transfer, answer);
    if (!transfer->has_token)
        transfer->next++;
}

static void on_put(struct upkeep *self, struct upkeep_transfer *transfer,
                   const struct upkeep_answer *answer)
{
    self->stats.handed_over += answer->outcome == UPKEEP_DONE;
    if (transfer->state != TRANSFER_ASKING)
        return;
    transfer->has_token = false;
    transfer->next++;
}

void upkeep_answered(struct upkeep *self, uint32_t ticket, const struct upkeep_answer *answer,
                     uint64_t now_ms)
{
    struct upkeep_transfer *transfer = upkeep_transfer_of(self, ticket);

    (void)now_ms;
    if (transfer == NULL || transfer->under_way == 0)
        return;
    transfer->under_way--;
    upkeep_wake(self, 0);
    if (transfer->state == TRANSFER_DEAD)
        return;
    if (answer->outcome == UPKEEP_SILENT) {
        on_silence(self, transfer);
        return;
    }
    transfer->silences = 0;
    if (transfer->state == TRANSFER_PINGED)
        on_ping(transfer, answer);
    else if (transfer->state == TRANSFER_OFFERED)
        on_offer(transfer, answer);
    else if (transfer->state == TRANSFER_ASKING && !transfer->has_token)
        on_get(transfer, answer);
    else
        on_put(self, transfer, answer);
}
