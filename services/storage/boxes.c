#include "services/storage/boxes.h"

#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/certificate.h"
#include "services/storage/boxes_inside.h"
#include "services/storage/messages.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define TURN_MAX       64u /* steps of the upkeep in one turn of the loop */
#define OVERDUE_MAX    10000u
#define MS_PER_S       1000u
#define WRITES_BUSY_MS 1000u
#define ASK_ROOT_MS    5000u

uint64_t boxes_now_ms(const struct boxes *self)
{
    return db_now_ms(self->storage->db, clock_monotonic_ms());
}

/* ---- the store, as the core asks it ---- */

static struct upkeep_item item_of(const struct node_id *recipient, const struct box_record *box)
{
    return (struct upkeep_item){ .target = *recipient,
                                 .seq = box->changes,
                                 .ends_s = box->ends_s,
                                 .check_s = box->check_s,
                                 .checked_s = box->checked_s,
                                 .calm = box->calm };
}

/* Of our share. */
static bool store_next(void *ctx, const struct node_id *from, struct upkeep_item *ret_item)
{
    struct storage *storage = ctx;
    const struct share *share = &storage->share;
    const struct node_id *first = &share->range.first;
    struct box_record box;
    struct node_id recipient;

    if (node_id_compare(from, first) > 0)
        first = from;
    if (!share->is_any ||
        db_read_next_box(storage->db, first, storage_now_s(storage), &recipient, &box) != LB_OK)
        return false;
    if (node_id_compare(&recipient, &share->range.last) > 0)
        return false;
    *ret_item = item_of(&recipient, &box);
    return true;
}

static bool store_due(void *ctx, uint32_t skip, struct upkeep_item *ret_item)
{
    struct storage *storage = ctx;
    struct box_record box;
    struct node_id recipient;

    if (!storage->share.is_any ||
        db_read_box_check(storage->db, &storage->share.range, skip, storage_now_s(storage),
                          &recipient, &box) != LB_OK)
        return false;
    *ret_item = item_of(&recipient, &box);
    return true;
}

static uint32_t store_overdue(void *ctx, uint64_t before_s)
{
    struct storage *storage = ctx;

    if (!storage->share.is_any)
        return 0;
    return db_read_boxes_overdue(storage->db, &storage->share.range, before_s, OVERDUE_MAX);
}

/* ---- the conversation ---- */

static void on_timer(uv_timer_t *timer);

void boxes_wake(struct boxes *self, uint64_t delay_ms)
{
    if (self->upkeep == NULL || self->storage->is_stopping)
        return;
    if (uv_is_active((uv_handle_t *)&self->timer) && uv_timer_get_due_in(&self->timer) <= delay_ms)
        return;
    uv_timer_start(&self->timer, on_timer, delay_ms, 0);
}

/* Without the others checks would only fail, and a busy disk has enough to do. */
static bool is_able(const struct boxes *self)
{
    const struct storage *storage = self->storage;

    return link_is_up(storage->routing) && !commits_is_busy(storage->commits);
}

static void on_timer(uv_timer_t *timer)
{
    struct boxes *self = timer->data;
    uint64_t now_ms = boxes_now_ms(self);
    struct upkeep_action action;
    unsigned turns = 0;
    uint64_t deadline_ms;

    if (!is_able(self) && !self->is_leaving) {
        boxes_wake(self, WRITES_BUSY_MS);
        return;
    }
    if (db_read_begin(self->storage->db) != LB_OK)
        return; /* the next tick tries again */
    while (turns++ < TURN_MAX && upkeep_next(self->upkeep, now_ms, &action))
        boxes_carry_out(self, &action);
    boxes_bring(self);
    db_read_end(self->storage->db);
    deadline_ms = upkeep_deadline_ms(self->upkeep);
    if (deadline_ms != UINT64_MAX)
        boxes_wake(self, deadline_ms > now_ms ? deadline_ms - now_ms : 1);
}

/* ---- the view ---- */

void boxes_know_self(struct boxes *self, const struct node_id *id)
{
    struct upkeep_options options = { .self_id = *id };

    if (self == NULL || (self->upkeep != NULL && node_id_equal(&self->self_id, id)))
        return;
    options.store = (struct upkeep_store){ self->storage, store_next, store_due, store_overdue };
    options.check_least_s = self->least_s;
    options.seed = random_u64(&self->storage->random);
    upkeep_free(&self->upkeep);
    self->self_id = *id;
    self->upkeep = self->desk.upkeep = upkeep_new(&options, boxes_now_ms(self));
    self->told = (struct upkeep_stats){ 0 };
    boxes_wake(self, 0);
}

void boxes_view(struct boxes *self, enum routing_family family, const struct contact *sorted,
                uint32_t count)
{
    if (self == NULL || self->upkeep == NULL)
        return;
    upkeep_view(self->upkeep, family, sorted, count, boxes_now_ms(self));
    boxes_wake(self, 0);
}

void boxes_shared(struct boxes *self)
{
    if (self == NULL || self->upkeep == NULL)
        return;
    upkeep_shared(self->upkeep, boxes_now_ms(self));
    boxes_wake(self, 0);
}

/* ---- the root, which is not ours to read where services run as several users ---- */

/* Its key says whose it is: the network id is that key's digest. */
static bool is_root(const struct boxes *self, X509 *root)
{
    uint8_t digest[NETWORK_ID_SIZE];
    EVP_PKEY *key = X509_get0_pubkey(root);

    if (key == NULL)
        return false;
    key_digest(key, digest);
    return memcmp(digest, self->storage->identity.network, sizeof digest) == 0;
}

static void on_root(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct boxes *self = ((struct storage *)ctx)->boxes;
    const Lb__Transport__Reply *body = reply;
    X509 *root = NULL;

    (void)reason;
    if (self == NULL)
        return;
    self->is_asking_root = false;
    if (err != LB_OK || body->body_case != LB__TRANSPORT__REPLY__BODY_TRUST ||
        certificate_from_der(bytes_of_binary(&body->trust->root), &root) != LB_OK)
        return;
    if (is_root(self, root)) {
        self->desk.root = root;
    } else {
        log_error("transport's root certificate is not that of network %s",
                  self->storage->identity.network_name);
        X509_free(root);
    }
}

static void ask_root(struct boxes *self)
{
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    Lb__Transport__GetTrust body = LB__TRANSPORT__GET_TRUST__INIT;
    struct link *transport = instances_pick(&self->storage->transports, 0);

    if (self->desk.root != NULL || self->is_asking_root || !link_is_up(transport))
        return;
    self->is_asking_root = true;
    request.body_case = LB__TRANSPORT__REQUEST__BODY_GET_TRUST;
    request.get_trust = &body;
    link_call(transport, &request.base, ASK_ROOT_MS, on_root, self->storage);
}

/* ---- every second ---- */

static void tell_figures(struct boxes *self)
{
    struct storage *storage = self->storage;
    struct db_box_stats stats;

    storage_count(storage, COUNTER_BOX_KEPT, self->desk.kept - self->told_kept);
    storage_count(storage, COUNTER_BOX_REFUSED, self->desk.refused - self->told_refused);
    storage_count(storage, COUNTER_BOX_PARTS, self->parts - self->told_parts);
    self->told_kept = self->desk.kept;
    self->told_refused = self->desk.refused;
    self->told_parts = self->parts;
    if (self->upkeep != NULL) {
        struct upkeep_stats now = upkeep_stats(self->upkeep);

        storage_count(storage, COUNTER_BOX_CHECKS, now.checks - self->told.checks);
        storage_count(storage, COUNTER_BOX_DROPPED, now.dropped - self->told.dropped);
        self->told = now;
    }
    if (actor_instance(storage->actor) != 0 || db_read_begin(storage->db) != LB_OK)
        return;
    db_read_box_stats(storage->db, &stats);
    db_read_end(storage->db);
    storage_set_counter(storage, COUNTER_BOX_MAILS, stats.mails);
    storage_set_counter(storage, COUNTER_BOX_BYTES, stats.bytes);
    storage_set_counter(storage, COUNTER_BOX_CERTIFICATES, stats.certificates);
}

void boxes_tick(struct boxes *self)
{
    if (self == NULL)
        return;
    ask_root(self);
    box_drafts_expire(&self->desk.drafts, storage_now_s(self->storage) * MS_PER_S);
    tell_figures(self);
    if (!uv_is_active((uv_handle_t *)&self->timer))
        boxes_wake(self, 0);
}

/* ---- life ---- */

struct boxes *boxes_new(struct storage *storage)
{
    struct boxes *self = xcalloc(1, sizeof *self);
    const struct config *config = actor_config(storage->actor);

    self->storage = storage;
    self->least_s = config_number(config, CONFIG_STORAGE_CHECK_INTERVAL) / MS_PER_S;
    self->desk.db = storage->db;
    self->desk.commits = storage->commits;
    uv_timer_init(actor_loop(storage->actor), &self->timer);
    self->timer.data = self;
    return self;
}

static void on_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void boxes_free(struct boxes **self)
{
    struct boxes *boxes = *self;

    if (boxes == NULL)
        return;
    *self = NULL;
    boxes_give_up(boxes);
    upkeep_free(&boxes->upkeep);
    box_drafts_done(&boxes->desk.drafts);
    X509_free(boxes->desk.root);
    uv_close((uv_handle_t *)&boxes->timer, on_closed);
}

void boxes_drain(struct boxes *self)
{
    if (self == NULL)
        return;
    self->desk.is_leaving = true;
    if (self->upkeep == NULL || !self->storage->share.is_any)
        return;
    self->is_leaving = true;
    boxes_give_up(self);
    upkeep_drain(self->upkeep);
    boxes_wake(self, 0);
}

bool boxes_are_drained(const struct boxes *self)
{
    return self == NULL || !self->is_leaving ||
           (upkeep_is_drained(self->upkeep) && !boxes_are_bringing(self));
}

struct box_desk *boxes_desk(struct boxes *self)
{
    return self != NULL ? &self->desk : NULL;
}
