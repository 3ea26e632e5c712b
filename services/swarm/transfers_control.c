/* Holding transfers back, and telling them what to do: limits, turns, selections, checks. */
#include "libcommon/actor.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/magnet.h"
#include "services/swarm/queue.h"
#include "services/swarm/select.h"
#include "services/swarm/transfers_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without a peer for so long a fetch no longer takes the place of another. */
#define ALONE_MS 60000u

#define QUEUE_LOOK_MS 1000u

/* ---- limits ---- */

uint32_t transfer_weight(uint32_t priority)
{
    static const uint32_t weights[ORDER_PRIORITY_MAX + 1] = { 2, 1, 2, 4 };
    return weights[priority <= ORDER_PRIORITY_MAX ? priority : 0];
}

void transfers_open_limits(struct transfers *self)
{
    const struct config *config = actor_config(self->actor);
    struct subnet_rate subnets[SUBNET_RATE_MAX];
    unsigned count = 0;
    /* The configuration was checked when it was read. */
    if (subnet_rates_parse(config_text(config, CONFIG_SWARM_SUBNET_LIMITS), subnets, &count) !=
        LB_OK)
        count = 0;
    self->configured[LIMITS_RECEIVE] = config_number(config, CONFIG_SWARM_RECEIVE_LIMIT);
    self->configured[LIMITS_SEND] = config_number(config, CONFIG_SWARM_SEND_LIMIT);
    limits_init(&self->limits, subnets, count, self->own, self->own_count);
    limits_set(&self->limits, LIMITS_RECEIVE, self->configured[LIMITS_RECEIVE],
               transfers_now_ms(self));
    limits_set(&self->limits, LIMITS_SEND, self->configured[LIMITS_SEND], transfers_now_ms(self));
}

void transfers_let_go_on(struct transfers *self, uint64_t now_ms)
{
    struct limits_flow *flow = NULL;
    while ((flow = limits_next(&self->limits, now_ms)) != NULL) {
        struct transfer *transfer = flow->share->ctx;
        torrent_go_on(&transfer->torrent, flow->peer, flow->direction, now_ms);
        transfers_touch(transfer);
    }
}

static void limit_node(struct transfers *self, const struct transfers_limits *limits)
{
    if (limits->has_receive)
        workers_set_limit(self->workers, LIMITS_RECEIVE, limits->receive);
    if (limits->has_send)
        workers_set_limit(self->workers, LIMITS_SEND, limits->send);
}

static void limit_one(struct transfer *self, const struct transfers_limits *limits, uint64_t now_ms)
{
    if (limits->has_receive)
        limits_share_set(&self->share, LIMITS_RECEIVE, limits->receive, now_ms);
    if (limits->has_send)
        limits_share_set(&self->share, LIMITS_SEND, limits->send, now_ms);
    if (limits->priority != 0) {
        self->priority = limits->priority;
        limits_share_weigh(&self->share, transfer_weight(self->priority));
        transfers_look_at_queue(self->owner);
    }
    transfer_save_order(self);
}

lb_err transfers_set_limits(struct transfers *self, const uint8_t *infohash,
                            const struct transfers_limits *limits)
{
    const uint64_t now_ms = transfers_now_ms(self);
    if (limits->priority > ORDER_PRIORITY_MAX || limits->receive > RATE_MAX ||
        limits->send > RATE_MAX || (infohash == NULL && limits->priority != 0))
        return LB_INVALID;
    struct transfer *one = infohash != NULL ? transfers_get(self, infohash) : NULL;
    if (infohash != NULL && one == NULL)
        return LB_NOT_FOUND;
    if (one != NULL)
        limit_one(one, limits, now_ms);
    else
        limit_node(self, limits);
    /* Who waited at the old rate may go on. */
    transfers_arm(self, now_ms);
    return LB_OK;
}

/* ---- turns ---- */

void transfers_look_at_queue(struct transfers *self)
{
    self->queue_due = true;
    transfers_arm(self, transfers_now_ms(self));
}

static bool is_fetching(const struct transfer *self)
{
    return self->running && self->kind == ORDER_FETCH && !self->torrent.complete &&
           (self->queue > 0 || self->state == TRANSFER_FETCHING ||
            self->state == TRANSFER_METADATA || self->state == TRANSFER_CHECKING);
}

static bool is_idle(struct transfer *self, uint64_t now_ms)
{
    if (self->torrent.peers_count > 0)
        self->alone_ms = now_ms;
    return self->queue == 0 && now_ms - self->alone_ms >= ALONE_MS;
}

static void set_place(struct transfer *self, uint32_t place, uint64_t now_ms)
{
    snprintf(self->turn_note, sizeof self->turn_note, "waits: place %u", place);
    if ((place > 0) == (self->queue > 0)) {
        self->queue = place;
        return;
    }
    self->queue = place;
    self->alone_ms = now_ms;
    if (!self->running)
        return;
    if (self->state == TRANSFER_FETCHING || self->state == TRANSFER_METADATA)
        torrent_pause(&self->torrent, place > 0, now_ms);
    transfer_log(self, place > 0 ? "waits for its turn" : "has its turn");
    transfers_touch(self);
}

struct queue_item *transfers_queue_items(const struct transfers *self, uint64_t now_ms)
{
    struct queue_item *items = xcalloc(self->count + 1, sizeof *items);
    for (size_t i = 0; i < self->count; i++) {
        struct transfer *transfer = self->items[i];
        items[i] = (struct queue_item){
            .priority = transfer->priority,
            .added_s = transfer->added_s,
            .fetching = is_fetching(transfer),
            .ctx = transfer,
        };
        items[i].idle = items[i].fetching && is_idle(transfer, now_ms);
        memcpy(items[i].infohash, transfer->infohash, sizeof items[i].infohash);
    }
    return items;
}

void transfers_order_queue(struct transfers *self, uint64_t now_ms)
{
    const uint32_t active_max =
        (uint32_t)config_number(actor_config(self->actor), CONFIG_SWARM_ACTIVE_MAX);
    if (!self->queue_due && (active_max == 0 || now_ms < self->queue_ms))
        return;
    self->queue_due = false;
    self->queue_ms = now_ms + QUEUE_LOOK_MS;
    struct queue_item *items = transfers_queue_items(self, now_ms);
    queue_order(items, self->count, active_max > 0 ? workers_places(self->workers, active_max) : 0);
    for (size_t i = 0; i < self->count; i++)
        set_place(items[i].ctx, items[i].place, now_ms);
    free(items);
}

/* ---- selections ---- */

/* Who says nothing takes what the link selects (BEP 53). */
static lb_err add_from_link(const char *link, char *selection)
{
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    lb_err err = LB_OK;
    if (magnet_parse(link, magnet) == LB_OK && magnet->select[0] != '\0')
        err = select_add(selection, ORDER_SELECT_SIZE, magnet->select);
    free(magnet);
    return err;
}

lb_err transfers_read_selection(const struct transfers_fetch *fetch,
                                const struct metainfo *metainfo, char **ret_selection,
                                char **ret_reason)
{
    char *selection = xcalloc(1, ORDER_SELECT_SIZE);
    char *entry = xcalloc(1, SELECT_ENTRY_SIZE);
    lb_err err = LB_OK;
    for (size_t i = 0; i < fetch->select_count && err == LB_OK; i++)
        err = select_add(selection, ORDER_SELECT_SIZE, fetch->select[i]);
    if (fetch->select_count == 0 && fetch->magnet != NULL)
        err = add_from_link(fetch->magnet, selection);
    if (err != LB_OK)
        *ret_reason = xasprintf("a selection has at most %u entries and %u bytes, none of them "
                                "empty or of two lines",
                                SELECT_ENTRIES_MAX, ORDER_SELECT_SIZE - 1);
    if (err == LB_OK && metainfo != NULL) {
        uint8_t *files = xcalloc(bitfield_size(metainfo->layout.files_count), 1);
        err = select_files(selection, metainfo, files, entry);
        if (err != LB_OK)
            *ret_reason = xasprintf("no file is meant by '%s'", entry);
        free(files);
    }
    free(entry);
    if (err == LB_OK)
        *ret_selection = selection;
    else
        free(selection);
    return err;
}

char *transfers_join_selections(const char *one, const char *other)
{
    char *joined = xcalloc(1, ORDER_SELECT_SIZE);
    lb_err err = LB_OK;
    if (one[0] == '\0' || other[0] == '\0')
        return joined;
    snprintf(joined, ORDER_SELECT_SIZE, "%s", one);
    char *entries = xstrdup(other);
    char *rest = NULL;
    for (char *entry = strtok_r(entries, "\n", &rest); entry != NULL && err == LB_OK;
         entry = strtok_r(NULL, "\n", &rest))
        err = select_add(joined, ORDER_SELECT_SIZE, entry);
    free(entries);
    if (err == LB_OK)
        return joined;
    free(joined);
    return NULL;
}

lb_err transfer_apply_selection(struct transfer *self, char **ret_reason)
{
    const struct layout *layout = &self->metainfo->layout;
    free(self->files);
    self->files = NULL;
    if (self->select[0] == '\0') {
        storage_select(self->storage, NULL);
        torrent_select(&self->torrent, NULL, transfers_now_ms(self->owner));
        return LB_OK;
    }
    char *entry = xcalloc(1, SELECT_ENTRY_SIZE);
    self->files = xcalloc(bitfield_size(layout->files_count), 1);
    const lb_err err = select_files(self->select, self->metainfo, self->files, entry);
    if (err == LB_OK) {
        uint8_t *pieces = xcalloc(bitfield_size(layout->piece_count), 1);
        select_pieces(layout, self->files, pieces);
        storage_select(self->storage, self->files);
        torrent_select(&self->torrent, pieces, transfers_now_ms(self->owner));
        free(pieces);
    } else {
        *ret_reason = xasprintf("no file is meant by '%s'", entry);
    }
    free(entry);
    return err;
}

/* ---- checks ---- */

void transfer_count_checked(struct transfer *self, uint32_t piece, bool good)
{
    const uint32_t size = layout_piece_size(&self->metainfo->layout, piece);
    self->checked_bytes += size;
    if (!good && self->check_asked)
        self->damaged_bytes += size;
    if (self->check_asked)
        snprintf(self->note, sizeof self->note, "%llu %% of what is on disk compared",
                 (unsigned long long)(self->checked_bytes * 100 / self->check_bytes));
}

lb_err transfers_check(struct transfers *self, const uint8_t infohash[20])
{
    struct transfer *transfer = transfers_get(self, infohash);
    if (transfer == NULL)
        return LB_NOT_FOUND;
    if (!transfer->running || !transfer->opened || transfer->stop_wanted)
        return LB_UNAVAILABLE;
    /* What a fetch has not got is not looked for: it is hashed when it comes. */
    const bool all = transfer->kind == ORDER_SHARE;
    const uint64_t bytes =
        all ? transfer->metainfo->layout.content_length : torrent_have_bytes(&transfer->torrent);
    if (bytes == 0)
        return LB_OK;
    const lb_err err =
        storage_check(transfer->storage, all ? NULL : storage_have(transfer->storage));
    if (err == LB_EXISTS)
        return LB_OK;
    if (err != LB_OK)
        return err;
    transfer->checked_bytes = 0;
    transfer->damaged_bytes = 0;
    transfer->check_bytes = bytes;
    transfer->check_asked = true;
    transfer_set_state(transfer, TRANSFER_CHECKING, "reading and comparing what is on disk");
    transfer_log(transfer, "is checked");
    return LB_OK;
}
