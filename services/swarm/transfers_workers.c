/*
 * Who has what: taking up what is this worker's, handing over what is not any more.
 *
 * Handing over is stopping: connections end, what came is written and synced, the resume record
 * saved; then the lock is given back and the next owner told, with the addresses of the peers,
 * which it calls at once. It takes the transfer up from the records as after a restart, and hashes
 * nothing that was durable. A worker that nobody told finds what is its own in the catalogue.
 */
#include "libcommon/actor.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/node_id.h"
#include "libcommon/pool.h"
#include "proto/swarm.pb-c.h"
#include "services/swarm/catalogue_shared.h"
#include "services/swarm/workers_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char port_counter[] = "tcp_port";

/* ---- who is who ---- */

struct transfer *workers_find(const struct workers *self, const uint8_t infohash[20])
{
    const struct transfers *transfers = self->transfers;
    for (size_t i = 0; i < transfers->count; i++)
        if (memcmp(transfers->items[i]->infohash, infohash, 20) == 0)
            return transfers->items[i];
    return NULL;
}

unsigned workers_owner(const struct workers *self, const uint8_t infohash[20])
{
    return ownership_of(infohash, self->active);
}

struct link *workers_link(struct workers *self, unsigned worker)
{
    if (self->links[worker] == NULL)
        self->links[worker] = actor_link(self->transfers->actor, SERVICE_SWARM, worker,
                                         &lb__swarm__reply__descriptor);
    return self->links[worker];
}

void passed_peers_add(struct passed_peers *self, const struct address *address)
{
    if (self->count == TRANSFERS_PASSED_PEERS)
        return;
    ProtobufCBinaryData *peer = &self->peers[self->count];
    peer->data = self->bytes[self->count++];
    peer->len = address_to_compact(address, peer->data);
}

/* ---- ports ---- */

/* As the others said in their slots of the status page. */
static void learn_ports(struct workers *self)
{
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
        const struct status_slot *slot = status_page_slot(&self->status, SERVICE_SWARM, i);
        const struct status_counter *port =
            slot != NULL && i != self->instance ? status_slot_find(slot, port_counter) : NULL;
        if (port != NULL)
            self->ports[i] = (uint16_t)atomic_load(&port->value);
    }
}

/* One that was scaled away has no port any more: another program may listen there since. */
static bool has_port(const struct workers *self, unsigned worker, uint16_t port)
{
    const struct status_slot *slot = status_page_slot(&self->status, SERVICE_SWARM, worker);
    return self->ports[worker] == port &&
           (worker < self->active || (slot != NULL && atomic_load(&slot->pid) != 0));
}

bool workers_is_other(const struct workers *self, const struct address *address)
{
    const struct transfers *transfers = self->transfers;
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++)
        for (unsigned k = 0; has_port(self, i, address->port) && k < transfers->own_count; k++)
            if (address_same_ip(&transfers->own[k], address))
                return true;
    return false;
}

/* ---- what is awaited ---- */

static size_t awaited_index(const struct workers *self, const uint8_t infohash[20])
{
    size_t index = 0;
    while (index < self->awaited_count && memcmp(self->awaited[index], infohash, 20) != 0)
        index++;
    return index;
}

static void await_it(struct workers *self, const uint8_t infohash[20])
{
    if (awaited_index(self, infohash) < self->awaited_count)
        return;
    if (self->awaited_count == self->awaited_capacity) {
        self->awaited_capacity = self->awaited_capacity == 0 ? 16 : 2 * self->awaited_capacity;
        self->awaited = xrealloc(self->awaited, self->awaited_capacity * sizeof *self->awaited);
    }
    memcpy(self->awaited[self->awaited_count++], infohash, 20);
    workers_look_in(self, WORKERS_AWAIT_MS);
}

static void await_no_more(struct workers *self, const uint8_t infohash[20])
{
    const size_t index = awaited_index(self, infohash);
    if (index == self->awaited_count)
        return;
    self->awaited_count--;
    memcpy(self->awaited[index], self->awaited[self->awaited_count], 20);
}

/* ---- handing over ---- */

/* Who was connected: the next owner calls them. */
static void remember_peers(struct transfer *transfer)
{
    free(transfer->calls);
    transfer->calls = xcalloc(TRANSFERS_PASSED_PEERS, sizeof *transfer->calls);
    transfer->calls_count = 0;
    if (!transfer->running)
        return;
    const struct torrent *torrent = &transfer->torrent;
    for (uint32_t i = 0; i < torrent->slots; i++)
        if (torrent->peers[i] != NULL && torrent->peers[i]->listens.port != 0 &&
            transfer->calls_count < TRANSFERS_PASSED_PEERS)
            transfer->calls[transfer->calls_count++] = torrent->peers[i]->listens;
}

static void tell_owner(struct workers *self, const struct transfer *transfer)
{
    Lb__Swarm__TakeUp take = LB__SWARM__TAKE_UP__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    struct passed_peers peers = { .count = 0 };
    const unsigned owner = workers_owner(self, transfer->infohash);
    if (owner == self->instance)
        return;
    for (size_t i = 0; i < transfer->calls_count; i++)
        passed_peers_add(&peers, &transfer->calls[i]);
    take.infohash.data = (uint8_t *)(uintptr_t)transfer->infohash;
    take.infohash.len = 20;
    take.peers = peers.peers;
    take.n_peers = peers.count;
    request.body_case = LB__SWARM__REQUEST__BODY_TAKE_UP;
    request.take_up = &take;
    link_tell(workers_link(self, owner), &request.base);
}

struct giving {
    struct workers *workers;
    uint8_t infohash[20];
};

static void on_given(void *ctx, lb_err err)
{
    struct giving *giving = ctx;
    struct workers *self = giving->workers;
    struct transfer *transfer = workers_find(self, giving->infohash);
    (void)err; /* giving back writes nothing */
    free(giving);
    if (transfer == NULL || transfer->place != OWNERSHIP_LEAVING)
        return;
    transfer->place = OWNERSHIP_LEFT;
    transfer->left_ms = transfers_now_ms(self->transfers);
    transfer_log(transfer, "was handed over");
    if (!self->ended)
        tell_owner(self, transfer);
    workers_look_in(self, WORKERS_LOOK_MS);
}

void workers_go_on_handing(struct workers *self, struct transfer *transfer)
{
    if (transfer->place != OWNERSHIP_LEAVING || transfer->storage_closing)
        return;
    struct giving *giving = xcalloc(1, sizeof *giving);
    giving->workers = self;
    memcpy(giving->infohash, transfer->infohash, sizeof giving->infohash);
    transfer->give_wanted =
        catalogue_give(self->transfers->catalogue, transfer->infohash, on_given, giving) != LB_OK;
    if (!transfer->give_wanted)
        return;
    free(giving);
    workers_look_in(self, WORKERS_AWAIT_MS);
}

static void hand_over(struct workers *self, struct transfer *transfer)
{
    struct transfer_status status;
    transfer_status(transfer, &status);
    transfer->left_have_bytes = status.have_bytes;
    workers_unseed(self, transfer);
    remember_peers(transfer);
    transfer->place = OWNERSHIP_LEAVING;
    transfer->load = 0; /* what was being read for it is of no use any more */
    transfer->queue = 0;
    transfer_stop(transfer);
    transfer_set_state(transfer, TRANSFER_CHECKING, "another worker takes it over");
    transfers_look_at_queue(self->transfers);
    workers_go_on_handing(self, transfer);
}

/* ---- taking up ---- */

static void take(struct workers *self, const uint8_t infohash[20])
{
    struct transfers *transfers = self->transfers;
    uint8_t key[20]; /* infohash may be the awaited entry itself */
    memcpy(key, infohash, sizeof key);
    struct transfer *before = workers_find(self, key);
    /* Ordered here a moment ago, and being begun: it is on its way already. */
    if (before == NULL && catalogue_find(transfers->catalogue, key) != NULL) {
        await_no_more(self, key);
        return;
    }
    const lb_err err = catalogue_take(transfers->catalogue, key);
    if (err == LB_EXISTS) {
        await_it(self, key);
        return;
    }
    await_no_more(self, key);
    if (before != NULL)
        transfers_take_out(transfers, before);
    if (err == LB_OK)
        transfer_log(transfers_load_one(transfers, catalogue_find(transfers->catalogue, key),
                                        OWNERSHIP_HELD),
                     "is taken over");
    else if (err != LB_NOT_FOUND)
        log_warn("a transfer cannot be taken over: %s", lb_err_text(err));
}

/* What follows for one transfer from how things are now. */
static void look_at(struct workers *self, const uint8_t infohash[20])
{
    struct transfer *transfer = workers_find(self, infohash);
    const uint64_t now_ms = transfers_now_ms(self->transfers);
    struct ownership_facts facts = {
        .place = OWNERSHIP_ABSENT,
        .ours = workers_owner(self, infohash) == self->instance,
        .ordered = true,
    };
    if (transfer != NULL) {
        facts.place = transfer->place;
        facts.listed = now_ms - transfer->left_ms >= WORKERS_LEFT_MS;
    } else if (awaited_index(self, infohash) < self->awaited_count) {
        facts.place = OWNERSHIP_AWAITED;
    }
    switch (ownership_step(&facts)) {
    case OWNERSHIP_STAY:
        return;
    case OWNERSHIP_TAKE:
        take(self, infohash);
        return;
    case OWNERSHIP_HAND:
        hand_over(self, transfer);
        return;
    case OWNERSHIP_FORGET:
        if (transfer != NULL)
            transfers_take_out(self->transfers, transfer);
        else
            await_no_more(self, infohash);
        return;
    }
}

static void look_at_all(struct workers *self)
{
    struct transfers *transfers = self->transfers;
    const size_t count = transfers->count + self->awaited_count;
    uint8_t(*all)[20] = xcalloc(count + 1, sizeof *all);
    for (size_t i = 0; i < transfers->count; i++)
        memcpy(all[i], transfers->items[i]->infohash, 20);
    for (size_t i = 0; i < self->awaited_count; i++)
        memcpy(all[transfers->count + i], self->awaited[i], 20);
    for (size_t i = 0; i < count; i++)
        look_at(self, all[i]);
    free(all);
}

void transfers_take_up(struct transfers *self, const uint8_t infohash[20],
                       const struct address *peers, size_t peers_count)
{
    struct workers *workers = self->workers;
    if (self->stopping)
        return;
    look_at(workers, infohash);
    struct transfer *transfer = workers_find(workers, infohash);
    if (transfer == NULL || transfer->place != OWNERSHIP_HELD)
        return;
    if (transfer->calls == NULL && peers_count > 0) {
        transfer->calls = xmemdup(peers, peers_count * sizeof *peers);
        transfer->calls_count = peers_count;
    }
    for (size_t i = 0; i < peers_count && transfer->running; i++)
        if (!transfers_is_own(self, &peers[i]))
            torrent_call_address(&transfer->torrent, &peers[i], transfers_now_ms(self));
    transfers_touch(transfer);
}

/* ---- looking through the catalogue ---- */

struct looking {
    struct job job;
    struct workers *workers;
    uint8_t *infohashes;
    size_t count;
};

static void list_work(struct job *job)
{
    struct looking *self = (struct looking *)job;
    const struct catalogue *catalogue = self->workers->transfers->catalogue;
    if (catalogue_list(catalogue, &self->infohashes, &self->count) != LB_OK)
        self->count = 0; /* looked through again soon */
}

static void look_through(struct workers *self);

static void list_done(struct job *job, void *ctx)
{
    struct looking *looking = (struct looking *)job;
    struct workers *self = ctx;
    self->listing = false;
    for (size_t i = 0; i < looking->count && !self->stopping; i++)
        look_at(self, looking->infohashes + 20 * i);
    free(looking->infohashes);
    free(looking);
    if (self->list_again && !self->stopping)
        look_through(self);
}

static void look_through(struct workers *self)
{
    self->list_again = self->listing;
    if (self->listing)
        return;
    self->list_ms = transfers_now_ms(self->transfers);
    struct looking *looking = xcalloc(1, sizeof *looking);
    looking->workers = self;
    looking->job = (struct job){ .work = list_work, .done = list_done, .ctx = self };
    self->listing = pool_submit(self->transfers->pool, &looking->job) == LB_OK;
    if (self->listing)
        return;
    free(looking);
    self->list_again = true;
}

/* ---- time ---- */

static bool something_passes(const struct workers *self)
{
    const struct transfers *transfers = self->transfers;
    for (size_t i = 0; i < transfers->count; i++)
        if (transfers->items[i]->place != OWNERSHIP_HELD)
            return true;
    return self->awaited_count > 0;
}

static void try_giving(struct workers *self)
{
    const struct transfers *transfers = self->transfers;
    for (size_t i = 0; i < transfers->count; i++)
        if (transfers->items[i]->give_wanted)
            workers_go_on_handing(self, transfers->items[i]);
}

static void look_now_and_then(struct workers *self, uint64_t now_ms)
{
    if (now_ms - self->looked_ms < WORKERS_LOOK_MS)
        return;
    self->looked_ms = now_ms;
    learn_ports(self);
    look_at_all(self);
    workers_look_at_mirrors(self, now_ms);
    workers_look_at_allotments(self, now_ms);
    if (self->list_again || now_ms - self->list_ms >= WORKERS_LIST_MS)
        look_through(self);
}

static void on_timer(uv_timer_t *timer)
{
    struct workers *self = timer->data;
    const uint64_t now_ms = transfers_now_ms(self->transfers);
    if (self->stopping)
        return;
    try_giving(self);
    if (self->awaited_count > 0)
        look_at_all(self);
    const bool adopting = workers_go_on_adopting(self, now_ms);
    look_now_and_then(self, now_ms);
    if (self->awaited_count > 0 || adopting)
        workers_look_in(self, WORKERS_AWAIT_MS);
    else if (self->active > 1 || something_passes(self) || now_ms < self->unsettled_until_ms)
        workers_look_in(self, WORKERS_LOOK_MS);
}

void workers_look_in(struct workers *self, uint64_t ms)
{
    if (self->stopping)
        return;
    if (!uv_is_active((uv_handle_t *)self->timer) || uv_timer_get_due_in(self->timer) > ms)
        uv_timer_start(self->timer, on_timer, ms, 0);
}

/* ---- growing and shrinking ---- */

void transfers_scaled(struct transfers *transfers)
{
    struct workers *self = transfers->workers;
    const unsigned active = actor_active(transfers->actor, SERVICE_SWARM);
    (void)instances_follow(&transfers->storages);
    if (active == self->active || transfers->stopping)
        return;
    log_info("workers=%u were=%u this=%u", active, self->active, self->instance);
    self->active = active;
    self->unsettled_until_ms = transfers_now_ms(transfers) + WORKERS_UNSETTLED_MS;
    if (self->instance >= active) {
        transfers_cancel_orders(transfers);
        workers_drop_mirrors(self);
    }
    workers_begin_allotting(self);
    look_at_all(self);
    look_through(self);
    workers_look_in(self, WORKERS_AWAIT_MS);
}

lb_err transfers_answers_for(const struct transfers *transfers, const uint8_t infohash[20])
{
    const struct workers *self = transfers->workers;
    const struct transfer *here = transfers_get(transfers, infohash);
    if (here != NULL)
        return here->place == OWNERSHIP_HELD ? LB_OK : LB_UNAVAILABLE;
    if (workers_owner(self, infohash) != self->instance ||
        awaited_index(self, infohash) < self->awaited_count)
        return LB_UNAVAILABLE;
    return LB_OK;
}

bool transfers_is_elsewhere(const struct transfers *transfers, const uint8_t infohash[20])
{
    const struct workers *self = transfers->workers;
    const struct transfer *here = transfers_get(transfers, infohash);
    return here != NULL ? here->place == OWNERSHIP_MIRROR || here->place == OWNERSHIP_LEFT
                        : workers_owner(self, infohash) != self->instance;
}

struct link *transfers_fetch_elsewhere(const struct transfers *transfers,
                                       const struct transfers_fetch *fetch)
{
    struct workers *self = transfers->workers;
    struct metainfo_problem problem = { "" };
    struct metainfo *metainfo = NULL;
    uint8_t infohash[20];
    if (self->active == 1 || transfers_read_source(fetch, infohash, &metainfo, &problem) != LB_OK)
        return NULL;
    metainfo_free(&metainfo);
    const unsigned owner = workers_owner(self, infohash);
    return owner != self->instance && transfers_answers_for(transfers, infohash) != LB_OK
               ? workers_link(self, owner)
               : NULL;
}

/* ---- life ---- */

/* At start, so that what is this worker's is there when it is READY. */
static lb_err take_own(struct workers *self)
{
    uint8_t *infohashes = NULL;
    size_t count = 0;
    const lb_err err = catalogue_list(self->transfers->catalogue, &infohashes, &count);
    for (size_t i = 0; i < count && err == LB_OK; i++)
        if (workers_owner(self, infohashes + 20 * i) == self->instance &&
            catalogue_take(self->transfers->catalogue, infohashes + 20 * i) == LB_EXISTS)
            await_it(self, infohashes + 20 * i);
    free(infohashes);
    return err;
}

lb_err workers_open(struct transfers *transfers)
{
    struct actor *actor = transfers->actor;
    struct workers *self = xcalloc(1, sizeof *self);
    transfers->workers = self;
    self->transfers = transfers;
    self->instance = actor_instance(actor);
    self->active = actor_active(actor, SERVICE_SWARM);
    self->timer = xcalloc(1, sizeof *self->timer);
    self->timer->data = self;
    uv_timer_init(actor_loop(actor), self->timer);
    char *folder = xasprintf("%s/swarm", actor_paths(actor)->state_folder);
    lb_err err =
        catalogue_open_shared(&transfers->catalogue, folder, self->instance, transfers->pool);
    if (err == LB_OK)
        err = take_own(self);
    if (err != LB_OK)
        log_error("cannot open the catalogue %s: %s", folder, strerror(errno));
    free(folder);
    return err;
}

void workers_opened(struct workers *self)
{
    struct actor *actor = self->transfers->actor;
    const uint64_t now_ms = transfers_now_ms(self->transfers);
    self->port = actor_counter(actor, port_counter);
    status_counter_set(self->port, self->transfers->port);
    if (status_page_open(&self->status, actor_paths(actor)->run_folder, false) != LB_OK)
        log_warn("the status page cannot be read: other workers may be called as peers");
    learn_ports(self);
    workers_open_allot(self);
    workers_begin_allotting(self);
    self->list_ms = now_ms;
    self->unsettled_until_ms = now_ms + WORKERS_UNSETTLED_MS;
    workers_look_in(self, WORKERS_AWAIT_MS);
}

void workers_stop(struct workers *self)
{
    self->stopping = true;
    uv_timer_stop(self->timer);
}

void workers_end(struct workers *self)
{
    if (self == NULL)
        return;
    workers_stop(self);
    self->ended = true;
}

static void free_timer(uv_handle_t *timer)
{
    free(timer);
}

void workers_free(struct workers **self)
{
    struct workers *freed = *self;
    *self = NULL;
    if (freed == NULL)
        return;
    uv_close((uv_handle_t *)freed->timer, free_timer);
    page_close(&freed->status);
    workers_free_allot(freed);
    free(freed->awaited);
    free(freed);
}
