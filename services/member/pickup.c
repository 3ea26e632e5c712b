#include "services/member/pickup.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool is_fetching(const struct pickup *self)
{
    return self->mail < self->mails_count && self->mails[self->mail].state == PICKUP_FETCHING;
}

static void end_fetch(struct pickup *self)
{
    free(self->data);
    self->data = NULL;
    self->wanted = self->has = 0;
    self->under_way = 0;
    self->losses = 0;
    self->fetch++;
}

void pickup_begin(struct pickup *self, const struct contact *closest, unsigned closest_count)
{
    *self = (struct pickup){ .mail = UINT32_MAX };
    for (unsigned i = 0; i < closest_count && i < PICKUP_HOLDERS_MAX; i++) {
        self->holders[self->holders_count++].at = closest[i];
    }
}

void pickup_done(struct pickup *self)
{
    end_fetch(self);
    *self = (struct pickup){ .mail = UINT32_MAX };
}

/* ---- lists ---- */

/* By id and size: who lies about the size has a message of its own, which nobody can give. */
static struct pickup_mail *find_mail(struct pickup *self, const struct pickup_listed *listed)
{
    for (unsigned i = 0; i < self->mails_count; i++) {
        if (self->mails[i].size == listed->size &&
            memcmp(self->mails[i].id, listed->id.data, PARTS_ID_SIZE) == 0) {
            return &self->mails[i];
        }
    }
    return NULL;
}

static void take_listed(struct pickup *self, unsigned holder, const struct pickup_listed *listed)
{
    struct pickup_mail *mail;

    if (listed->id.size != PARTS_ID_SIZE || parts_count(listed->size) == 0) {
        return;
    }
    mail = find_mail(self, listed);
    if (mail == NULL) {
        if (self->holders[holder].named >= PICKUP_MAILS_MAX / self->holders_count) {
            self->is_cut = self->holders[holder].is_cut = true;
            return;
        }
        assert(self->mails_count < PICKUP_MAILS_MAX);
        self->holders[holder].named++;
        mail = &self->mails[self->mails_count++];
        *mail = (struct pickup_mail){ .size = listed->size,
                                      .state = listed->is_known ? PICKUP_HAVE : PICKUP_WANTED };
        memcpy(mail->id, listed->id.data, PARTS_ID_SIZE);
    }
    mail->holders |= UINT32_C(1) << holder;
    mail->keep_s = listed->keep_s > mail->keep_s ? listed->keep_s : mail->keep_s;
}

void pickup_listed(struct pickup *self, unsigned index, const struct pickup_listed *listed,
                   unsigned count, bool more)
{
    struct pickup_holder *holder = &self->holders[index];

    assert(index < self->holders_count && holder->state == PICKUP_LISTING);
    for (unsigned i = 0; i < count; i++) {
        take_listed(self, index, &listed[i]);
    }
    holder->pages++;
    holder->state = PICKUP_LISTED;
    if (more && count > 0 && listed[count - 1].id.size == PARTS_ID_SIZE &&
        holder->pages < PICKUP_PAGES_MAX && !holder->is_cut) {
        memcpy(holder->after, listed[count - 1].id.data, PARTS_ID_SIZE);
        holder->has_after = true;
        holder->state = PICKUP_TO_LIST;
    }
}

void pickup_silent(struct pickup *self, unsigned holder)
{
    assert(holder < self->holders_count);
    self->holders[holder].state = PICKUP_SILENT;
}

/* ---- fetching, one after the other ---- */

static bool choose_holder(const struct pickup *self, const struct pickup_mail *mail,
                          unsigned *ret_holder)
{
    for (unsigned i = 0; i < self->holders_count; i++) {
        if ((mail->holders & ~mail->failed) >> i & 1) {
            *ret_holder = i;
            return true;
        }
    }
    return false;
}

static void begin_fetch(struct pickup *self)
{
    for (unsigned i = 0; i < self->mails_count && !self->is_full; i++) {
        struct pickup_mail *mail = &self->mails[i];
        unsigned count = parts_count(mail->size);
        unsigned holder;

        if (mail->state != PICKUP_WANTED) {
            continue;
        }
        if (!choose_holder(self, mail, &holder)) {
            mail->state = PICKUP_LEFT;
            continue;
        }
        end_fetch(self);
        mail->state = PICKUP_FETCHING;
        self->mail = i;
        self->from = holder;
        self->wanted = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
        self->data = xmalloc(mail->size);
        return;
    }
}

static void fail_fetch(struct pickup *self)
{
    struct pickup_mail *mail = &self->mails[self->mail];

    mail->failed |= UINT32_C(1) << self->from;
    mail->state = PICKUP_WANTED;
    end_fetch(self);
}

static bool ask_part(struct pickup *self, struct pickup_action *ret_action)
{
    if (!is_fetching(self) || self->under_way >= PICKUP_WINDOW || self->wanted == 0) {
        return false;
    }
    for (unsigned part = 0; part < PARTS_MAX; part++) {
        if ((self->wanted >> part & 1) == 0) {
            continue;
        }
        self->wanted &= ~(UINT64_C(1) << part);
        self->under_way++;
        ret_action->kind = PICKUP_GET_PART;
        ret_action->holder = self->from;
        ret_action->to = self->holders[self->from].at;
        ret_action->mail = self->mail;
        ret_action->fetch = self->fetch;
        ret_action->offset = part * PARTS_PART_BYTES;
        memcpy(ret_action->id, self->mails[self->mail].id, PARTS_ID_SIZE);
        return true;
    }
    return false;
}

void pickup_part(struct pickup *self, const struct pickup_action *action, uint32_t size,
                 struct bytes data)
{
    unsigned part = action->offset / PARTS_PART_BYTES;
    const struct pickup_mail *mail;

    if (!is_fetching(self) || action->fetch != self->fetch) {
        return;
    }
    mail = &self->mails[self->mail];
    self->under_way--;
    if (data.size == 0 && ++self->losses <= PICKUP_LOSSES_MAX) {
        self->wanted |= UINT64_C(1) << part;
        return;
    }
    if (size != mail->size || data.size != parts_size_of(mail->size, part)) {
        fail_fetch(self);
        return;
    }
    memcpy(self->data + action->offset, data.data, data.size);
    self->has |= UINT64_C(1) << part;
}

static bool store(struct pickup *self, struct pickup_action *ret_action)
{
    struct pickup_mail *mail;
    uint8_t digest[SHA256_SIZE];

    if (!is_fetching(self) || self->wanted != 0 || self->under_way > 0) {
        return false;
    }
    mail = &self->mails[self->mail];
    sha256(bytes_of(self->data, mail->size), digest);
    if (memcmp(digest, mail->id, PARTS_ID_SIZE) != 0) {
        fail_fetch(self);
        return false;
    }
    mail->state = PICKUP_STORING;
    ret_action->kind = PICKUP_STORE;
    ret_action->mail = self->mail;
    memcpy(ret_action->id, mail->id, PARTS_ID_SIZE);
    ret_action->data = self->data;
    ret_action->size = mail->size;
    ret_action->keep_s = mail->keep_s;
    self->data = NULL;
    end_fetch(self);
    return true;
}

void pickup_stored(struct pickup *self, unsigned mail, enum pickup_stored stored)
{
    assert(mail < self->mails_count && self->mails[mail].state == PICKUP_STORING);
    self->mails[mail].state =
        stored == PICKUP_IS_IN || stored == PICKUP_IS_VOID ? PICKUP_HAVE : PICKUP_LEFT;
    self->taken += stored == PICKUP_IS_IN;
    self->is_full = self->is_full || stored == PICKUP_NO_ROOM;
}

/* ---- dropping ---- */

static bool is_any_listing(const struct pickup *self)
{
    for (unsigned i = 0; i < self->holders_count; i++) {
        if (self->holders[i].state < PICKUP_LISTED) {
            return true;
        }
    }
    return false;
}

static bool is_to_drop(const struct pickup *self, const struct pickup_mail *mail, unsigned holder)
{
    return mail->state == PICKUP_HAVE && self->holders[holder].state == PICKUP_LISTED &&
           ((mail->holders & ~mail->dropped) >> holder & 1) != 0;
}

/* What a holder is to drop, up to 16 at once; told once, whatever it answers: it lists them again
 * when it did not hear it. */
static void collect(struct pickup *self, unsigned holder, struct pickup_action *ret_action)
{
    for (unsigned i = 0; i < self->mails_count && ret_action->ids_count < PICKUP_DROP_MAX; i++) {
        struct pickup_mail *mail = &self->mails[i];

        if (is_to_drop(self, mail, holder)) {
            mail->dropped |= UINT32_C(1) << holder;
            memcpy(ret_action->ids[ret_action->ids_count++], mail->id, PARTS_ID_SIZE);
        }
    }
}

static bool drop(struct pickup *self, struct pickup_action *ret_action)
{
    for (unsigned i = 0; i < self->holders_count; i++) {
        struct pickup_holder *holder = &self->holders[i];

        if (holder->is_dropping) {
            continue;
        }
        collect(self, i, ret_action);
        if (ret_action->ids_count > 0) {
            holder->is_dropping = true;
            ret_action->kind = PICKUP_DROP;
            ret_action->holder = i;
            ret_action->to = holder->at;
            return true;
        }
    }
    return false;
}

void pickup_dropped(struct pickup *self, unsigned holder)
{
    assert(holder < self->holders_count);
    self->holders[holder].is_dropping = false;
}

/* ---- what is to be done ---- */

static bool list(struct pickup *self, struct pickup_action *ret_action)
{
    for (unsigned i = 0; i < self->holders_count; i++) {
        struct pickup_holder *holder = &self->holders[i];

        if (holder->state == PICKUP_TO_LIST) {
            holder->state = PICKUP_LISTING;
            ret_action->kind = PICKUP_LIST;
            ret_action->holder = i;
            ret_action->to = holder->at;
            ret_action->after = holder->has_after ? holder->after : NULL;
            return true;
        }
    }
    return false;
}

bool pickup_next(struct pickup *self, struct pickup_action *ret_action)
{
    *ret_action = (struct pickup_action){ .kind = PICKUP_LIST };
    if (list(self, ret_action)) {
        return true;
    }
    if (is_any_listing(self)) {
        return false; /* then it is known who has what */
    }
    if (store(self, ret_action)) {
        return true;
    }
    if (!is_fetching(self)) {
        begin_fetch(self);
    }
    return ask_part(self, ret_action) || drop(self, ret_action);
}

static bool is_open(const struct pickup *self, const struct pickup_mail *mail)
{
    for (unsigned i = 0; i < self->holders_count; i++) {
        if (is_to_drop(self, mail, i)) {
            return true;
        }
    }
    return mail->state == PICKUP_STORING || mail->state == PICKUP_FETCHING ||
           (mail->state == PICKUP_WANTED && !self->is_full);
}

bool pickup_is_over(const struct pickup *self)
{
    for (unsigned i = 0; i < self->holders_count; i++) {
        if (self->holders[i].is_dropping) {
            return false;
        }
    }
    for (unsigned i = 0; i < self->mails_count; i++) {
        if (is_open(self, &self->mails[i])) {
            return false;
        }
    }
    return !is_any_listing(self);
}
