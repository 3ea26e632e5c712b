#include "services/swarm/service.h"

#include "libcommon/memory.h"
#include "proto/swarm.pb-c.h"
#include "services/swarm/beneath.h"
#include "services/swarm/create.h"
#include "services/swarm/metainfo.h"
#include "services/swarm/service_inside.h"
#include "services/swarm/transfers.h"
#include "services/swarm/webseed.h"

#include <stdlib.h>
#include <string.h>

static const char no_such_transfer[] = "there is no such transfer";

/* False: it is answered. UNAVAILABLE: the gateway asks again, whoever has it then. */
static bool is_ours(const struct swarm *self, struct call **call,
                    const ProtobufCBinaryData *infohash)
{
    if (!swarm_is_infohash(call, infohash))
        return false;
    if (transfers_answers_for(self->transfers, infohash->data) == LB_OK)
        return true;
    call_fail(call, LB_UNAVAILABLE, "another worker has it, or it passes to another");
    return false;
}

/* Another worker is to have it, and this one has it no more. */
static bool is_elsewhere(const struct swarm *self, const ProtobufCBinaryData *infohash)
{
    return infohash->len == 20 && transfers_is_elsewhere(self->transfers, infohash->data);
}

/* ---- Share ---- */

void swarm_on_shared(void *ctx, lb_err err, const char *reason, const struct transfer *transfer)
{
    struct call *call = ctx;
    if (err != LB_OK) {
        call_fail(&call, err, "%s", reason);
        return;
    }
    struct transfer_status status;
    transfer_status(transfer, &status);
    Lb__Swarm__Shared shared = LB__SWARM__SHARED__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    shared.infohash.data = (uint8_t *)(uintptr_t)status.infohash;
    shared.infohash.len = 20;
    shared.magnet = transfer_magnet(transfer);
    reply.body_case = LB__SWARM__REPLY__BODY_SHARED;
    reply.shared = &shared;
    call_reply(&call, &reply.base);
    free(shared.magnet);
}

static const enum metainfo_kind kinds[] = {
    [LB__SWARM__SHARE__KIND__UNSPECIFIED] = METAINFO_V1,
    [LB__SWARM__SHARE__KIND__V1] = METAINFO_V1,
    [LB__SWARM__SHARE__KIND__V2] = METAINFO_V2,
    [LB__SWARM__SHARE__KIND__HYBRID] = METAINFO_HYBRID,
};

static void on_share(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__Share *share = body;
    if (share->kind < 0 || (size_t)share->kind >= sizeof kinds / sizeof kinds[0]) {
        call_fail(&call, LB_INVALID, "there is no such kind of torrent");
        return;
    }
    const struct transfers_share order = {
        .path = share->path,
        .piece_length = share->piece_length,
        .kind = kinds[share->kind],
        .is_private = share->is_private,
        .web_seeds = (const char *const *)share->web_seeds,
        .web_seeds_count = share->n_web_seeds,
    };
    call_lasts(call); /* it hashes first */
    transfers_share(self->transfers, &order, swarm_on_shared, call);
}

/* ---- Fetch ---- */

static void on_started(void *ctx, lb_err err, const char *reason, const struct transfer *transfer)
{
    struct call *call = ctx;
    if (err != LB_OK) {
        call_fail(&call, err, "%s", reason);
        return;
    }
    struct transfer_status status;
    transfer_status(transfer, &status);
    Lb__Swarm__Started started = LB__SWARM__STARTED__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    started.infohash.data = (uint8_t *)(uintptr_t)status.infohash;
    started.infohash.len = 20;
    reply.body_case = LB__SWARM__REPLY__BODY_STARTED;
    reply.started = &started;
    call_reply(&call, &reply.base);
}

static void on_fetch(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__Fetch *fetch = body;
    struct address peers[TRANSFERS_PASSED_PEERS];
    struct transfers_fetch order = {
        .folder = fetch->folder,
        .select = (const char *const *)fetch->select,
        .select_count = fetch->n_select,
        .priority = fetch->priority,
        .peers = peers,
        .peers_count = fetch->n_peers,
    };
    if (!swarm_read_peers(fetch->peers, fetch->n_peers, peers)) {
        call_fail(&call, LB_INVALID, "at most 64 addresses, each of 6 or 18 bytes");
        return;
    }
    order.device = fetch->device;
    order.base = fetch->base_path;
    order.verify = fetch->verify;
    switch (fetch->source_case) {
    case LB__SWARM__FETCH__SOURCE_MAGNET:
        order.magnet = fetch->magnet;
        break;
    case LB__SWARM__FETCH__SOURCE_METAINFO:
        order.metainfo = bytes_of(fetch->metainfo.data, fetch->metainfo.len);
        break;
    default:
        call_fail(&call, LB_INVALID, "a magnet link or a .torrent file is needed");
        return;
    }
    if (fetch->seeding_case == LB__SWARM__FETCH__SEEDING_SEED_FOR_S) {
        order.has_seed_for = true;
        order.seed_for_s = fetch->seed_for_s;
    }
    call_lasts(call); /* it writes the order to the disk, and looks at what is there */
    if (!swarm_fetch_elsewhere(self, &call, fetch, &order))
        transfers_fetch(self->transfers, &order, on_started, call);
}

/* ---- List ---- */

static const Lb__Swarm__Transfer__State states[] = {
    [TRANSFER_CHECKING] = LB__SWARM__TRANSFER__STATE__CHECKING,
    [TRANSFER_METADATA] = LB__SWARM__TRANSFER__STATE__METADATA,
    [TRANSFER_FETCHING] = LB__SWARM__TRANSFER__STATE__FETCHING,
    [TRANSFER_SEEDING] = LB__SWARM__TRANSFER__STATE__SEEDING,
    [TRANSFER_PAUSED] = LB__SWARM__TRANSFER__STATE__PAUSED,
    [TRANSFER_FAILED] = LB__SWARM__TRANSFER__STATE__FAILED,
};

static void describe(const struct transfer *transfer, Lb__Swarm__Transfer *ret)
{
    struct transfer_status status;
    transfer_status(transfer, &status);
    lb__swarm__transfer__init(ret);
    ret->infohash.data = (uint8_t *)(uintptr_t)status.infohash;
    ret->infohash.len = 20;
    ret->name = (char *)(uintptr_t)status.name;
    ret->path = transfer_path(transfer);
    ret->state = states[status.state];
    ret->size_bytes = status.size_bytes;
    ret->have_bytes = status.have_bytes;
    ret->received_bytes = status.received_bytes;
    ret->sent_bytes = status.sent_bytes;
    ret->receive_rate = status.receive_rate;
    ret->send_rate = status.send_rate;
    ret->peers = status.peers;
    ret->seeds = status.seeds;
    ret->note = (char *)(uintptr_t)status.note;
    ret->magnet = transfer_magnet(transfer);
    ret->wasted_bytes = status.wasted_bytes;
    ret->wanted_bytes = status.wanted_bytes;
    ret->priority = status.priority;
    ret->queue = status.queue;
    ret->receive_limit = status.receive_limit;
    ret->send_limit = status.send_limit;
    ret->verified_s = status.verified_s;
    ret->reused_bytes = status.reused_bytes;
    ret->copies_permille = status.copies_permille;
    ret->finished = status.finished;
    ret->checked_bytes = status.checked_bytes;
    ret->damaged_bytes = status.damaged_bytes;
    ret->passing = status.passing;
    ret->mirror = status.mirror;
}

static void reply_list(struct call **call, const struct transfer *const *chosen, size_t count)
{
    Lb__Swarm__Transfers transfers = LB__SWARM__TRANSFERS__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    Lb__Swarm__Transfer *items = xcalloc(count + 1, sizeof *items);
    transfers.transfers = xcalloc(count + 1, sizeof(Lb__Swarm__Transfer *));
    transfers.n_transfers = count;
    for (size_t i = 0; i < count; i++) {
        describe(chosen[i], &items[i]);
        transfers.transfers[i] = &items[i];
    }
    reply.body_case = LB__SWARM__REPLY__BODY_TRANSFERS;
    reply.transfers = &transfers;
    call_reply(call, &reply.base);
    for (size_t i = 0; i < count; i++) {
        free(items[i].path);
        free(items[i].magnet);
    }
    free(transfers.transfers);
    free(items);
}

static void on_list(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__List *list = body;
    if (list->infohash.len == 0) {
        const size_t count = transfers_count(self->transfers);
        const struct transfer **all = xcalloc(count + 1, sizeof(const struct transfer *));
        for (size_t i = 0; i < count; i++)
            all[i] = transfers_at(self->transfers, i);
        reply_list(&call, all, count);
        free(all);
        return;
    }
    if (list->of_all && is_elsewhere(self, &list->infohash)) {
        const struct transfer *mirror = transfers_mirror(self->transfers, list->infohash.data);
        reply_list(&call, &mirror, mirror != NULL ? 1 : 0);
        return;
    }
    if (!is_ours(self, &call, &list->infohash))
        return;
    const struct transfer *one = transfers_find(self->transfers, list->infohash.data);
    reply_list(&call, &one, one != NULL ? 1 : 0);
}

/* ---- Remove ---- */

static void on_removed(void *ctx, lb_err err, const char *reason, const struct transfer *transfer)
{
    struct call *call = ctx;
    (void)transfer;
    if (err != LB_OK) {
        call_fail(&call, err, "%s", reason);
        return;
    }
    Lb__Swarm__Removed removed = LB__SWARM__REMOVED__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    reply.body_case = LB__SWARM__REPLY__BODY_REMOVED;
    reply.removed = &removed;
    call_reply(&call, &reply.base);
}

static void on_remove(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__Remove *remove = body;
    if (is_ours(self, &call, &remove->infohash))
        transfers_remove(self->transfers, remove->infohash.data, on_removed, call);
}

/* ---- AddPeer ---- */

static void on_add_peer(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__AddPeer *add = body;
    struct address address;
    if (!is_ours(self, &call, &add->infohash))
        return;
    if (address_from_compact(bytes_of(add->address.data, add->address.len), &address) != LB_OK) {
        call_fail(&call, LB_INVALID, "an address has 6 or 18 bytes");
        return;
    }
    const lb_err err = transfers_add_peer(self->transfers, add->infohash.data, &address);
    if (err != LB_OK) {
        call_fail(&call, err, "%s",
                  err == LB_NOT_FOUND     ? no_such_transfer
                  : err == LB_UNAVAILABLE ? "the transfer is not running now"
                                          : "that is no address of another peer");
        return;
    }
    Lb__Swarm__PeerAdded added = LB__SWARM__PEER_ADDED__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    reply.body_case = LB__SWARM__REPLY__BODY_PEER_ADDED;
    reply.peer_added = &added;
    call_reply(&call, &reply.base);
}

/* ---- GetMetainfo ---- */

static void on_get_metainfo(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__GetMetainfo *get = body;
    if (!is_ours(self, &call, &get->infohash))
        return;
    const struct transfer *transfer = transfers_find(self->transfers, get->infohash.data);
    const struct metainfo *known = transfer != NULL ? transfer_metainfo(transfer) : NULL;
    if (known == NULL) {
        call_fail(&call, LB_NOT_FOUND, "%s",
                  transfer == NULL ? no_such_transfer : "its metainfo is not known yet");
        return;
    }
    uint8_t *data = NULL;
    size_t size = 0;
    metainfo_write_torrent(known, 0, &data, &size);
    Lb__Swarm__Metainfo metainfo = LB__SWARM__METAINFO__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    metainfo.metainfo.data = data;
    metainfo.metainfo.len = size;
    reply.body_case = LB__SWARM__REPLY__BODY_METAINFO;
    reply.metainfo = &metainfo;
    call_reply(&call, &reply.base);
    free(data);
}

/* ---- ListPeers ---- */

/* A peer of a reply, and its address in the form of the wire. */
struct peer_row {
    Lb__Swarm__Peer peer;
    uint8_t address[ADDRESS_COMPACT_V6];
};

static void describe_peer(const struct transfer_peer *from, struct peer_row *row)
{
    Lb__Swarm__Peer *peer = &row->peer;
    lb__swarm__peer__init(peer);
    peer->address.data = row->address;
    peer->address.len = address_to_compact(&from->address, row->address);
    peer->client = (char *)(uintptr_t)from->client;
    peer->host = (char *)(uintptr_t)from->host;
    peer->have_bytes = from->have_bytes;
    peer->received_bytes = from->received_bytes;
    peer->sent_bytes = from->sent_bytes;
    peer->receive_rate = from->receive_rate;
    peer->send_rate = from->send_rate;
    peer->why = (Lb__Swarm__Peer__Why)from->why; /* the same numbers */
    peer->connected = from->connected;
    peer->finished_s = from->finished_s;
    peer->verified = from->verified;
    peer->cooperative = from->cooperative;
}

static const Lb__Swarm__WebSeed__State webseed_states[] = {
    [WEBSEED_IDLE] = LB__SWARM__WEB_SEED__STATE__IDLE,
    [WEBSEED_FETCHING] = LB__SWARM__WEB_SEED__STATE__FETCHING,
    [WEBSEED_RESTING] = LB__SWARM__WEB_SEED__STATE__RESTING,
    [WEBSEED_DROPPED] = LB__SWARM__WEB_SEED__STATE__DROPPED,
};

static void describe_source(struct transfer_source *from, Lb__Swarm__WebSeed *seed)
{
    lb__swarm__web_seed__init(seed);
    seed->host = from->host;
    seed->state = webseed_states[from->state];
    seed->received_bytes = from->received_bytes;
    seed->receive_rate = from->receive_rate;
    seed->why = from->why;
}

/* transfer: NULL for none. */
static void reply_peers(struct call **call, const struct transfer *transfer)
{
    struct transfer_peer *known = NULL;
    const size_t count = transfer != NULL ? transfer_peers(transfer, &known) : 0;
    Lb__Swarm__Peers peers = LB__SWARM__PEERS__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    struct peer_row *rows = xcalloc(count + 1, sizeof *rows);
    struct transfer_source *sources = NULL;
    Lb__Swarm__WebSeed seeds[WEBSEEDS_MAX];
    Lb__Swarm__WebSeed *all_seeds[WEBSEEDS_MAX];
    peers.n_web_seeds = transfer != NULL ? transfer_sources(transfer, &sources) : 0;
    peers.web_seeds = all_seeds;
    for (size_t i = 0; i < peers.n_web_seeds; i++) {
        describe_source(&sources[i], &seeds[i]);
        all_seeds[i] = &seeds[i];
    }
    peers.peers = xcalloc(count + 1, sizeof(Lb__Swarm__Peer *));
    peers.n_peers = count;
    for (size_t i = 0; i < count; i++) {
        describe_peer(&known[i], &rows[i]);
        peers.peers[i] = &rows[i].peer;
    }
    reply.body_case = LB__SWARM__REPLY__BODY_PEERS;
    reply.peers = &peers;
    call_reply(call, &reply.base);
    free(sources);
    free(peers.peers);
    free(rows);
    free(known);
}

static void on_list_peers(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__ListPeers *list = body;
    if (list->of_all && is_elsewhere(self, &list->infohash)) {
        reply_peers(&call, transfers_mirror(self->transfers, list->infohash.data));
        return;
    }
    if (!is_ours(self, &call, &list->infohash))
        return;
    const struct transfer *transfer = transfers_find(self->transfers, list->infohash.data);
    if (transfer == NULL)
        call_fail(&call, LB_NOT_FOUND, "%s", no_such_transfer);
    else
        reply_peers(&call, transfer);
}

/* ---- ListFiles ---- */

static void reply_files(struct call **call, const struct transfer *transfer)
{
    const uint32_t count = transfer_files_count(transfer);
    Lb__Swarm__Files files = LB__SWARM__FILES__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    Lb__Swarm__File *items = xcalloc(count + 1, sizeof *items);
    files.files = xcalloc(count + 1, sizeof(Lb__Swarm__File *));
    for (uint32_t i = 0; i < count; i++) {
        struct transfer_file file;
        transfer_file(transfer, i, &file);
        if (file.path[0] == '\0')
            continue; /* padding */
        Lb__Swarm__File *item = &items[files.n_files];
        lb__swarm__file__init(item);
        item->index = i;
        item->path = (char *)(uintptr_t)file.path;
        item->size_bytes = file.size_bytes;
        item->have_bytes = file.have_bytes;
        item->selected = file.selected;
        files.files[files.n_files++] = item;
    }
    reply.body_case = LB__SWARM__REPLY__BODY_FILES;
    reply.files = &files;
    call_reply(call, &reply.base);
    free(files.files);
    free(items);
}

static void on_list_files(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__ListFiles *list = body;
    if (!is_ours(self, &call, &list->infohash))
        return;
    const struct transfer *transfer = transfers_find(self->transfers, list->infohash.data);
    if (transfer == NULL)
        call_fail(&call, LB_NOT_FOUND, "%s", no_such_transfer);
    else if (transfer_metainfo(transfer) == NULL)
        call_fail(&call, LB_UNAVAILABLE, "its files are not known yet");
    else
        reply_files(&call, transfer);
}

/* ---- SetLimits ---- */

static void on_set_limits(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__SetLimits *set = body;
    const struct transfers_limits limits = {
        .has_receive = set->receive_case == LB__SWARM__SET_LIMITS__RECEIVE_RECEIVE_LIMIT,
        .has_send = set->send_case == LB__SWARM__SET_LIMITS__SEND_SEND_LIMIT,
        .receive = set->receive_limit,
        .send = set->send_limit,
        .priority = set->priority,
    };
    if (set->infohash.len != 0 && !is_ours(self, &call, &set->infohash))
        return;
    const lb_err err = transfers_set_limits(
        self->transfers, set->infohash.len != 0 ? set->infohash.data : NULL, &limits);
    if (err != LB_OK) {
        call_fail(&call, err, "%s",
                  err == LB_NOT_FOUND ? no_such_transfer
                                      : "a rate is at most 1 TiB/s; priorities are 1 to 3, and of "
                                        "one transfer");
        return;
    }
    Lb__Swarm__LimitsSet done = LB__SWARM__LIMITS_SET__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    reply.body_case = LB__SWARM__REPLY__BODY_LIMITS_SET;
    reply.limits_set = &done;
    call_reply(&call, &reply.base);
}

/* ---- Check ---- */

static void on_check(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__Check *check = body;
    if (!is_ours(self, &call, &check->infohash))
        return;
    const lb_err err = transfers_check(self->transfers, check->infohash.data);
    if (err != LB_OK) {
        call_fail(&call, err, "%s",
                  err == LB_NOT_FOUND ? no_such_transfer : "the transfer is not running now");
        return;
    }
    Lb__Swarm__Checked checked = LB__SWARM__CHECKED__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    reply.body_case = LB__SWARM__REPLY__BODY_CHECKED;
    reply.checked = &checked;
    call_reply(&call, &reply.base);
}

static handler_fn *const handlers[] = {
    [LB__SWARM__REQUEST__BODY_SHARE] = on_share,
    [LB__SWARM__REQUEST__BODY_FETCH] = on_fetch,
    [LB__SWARM__REQUEST__BODY_LIST] = on_list,
    [LB__SWARM__REQUEST__BODY_REMOVE] = on_remove,
    [LB__SWARM__REQUEST__BODY_ADD_PEER] = on_add_peer,
    [LB__SWARM__REQUEST__BODY_GET_METAINFO] = on_get_metainfo,
    [LB__SWARM__REQUEST__BODY_LIST_PEERS] = on_list_peers,
    [LB__SWARM__REQUEST__BODY_SET_LIMITS] = on_set_limits,
    [LB__SWARM__REQUEST__BODY_CHECK] = on_check,
    [LB__SWARM__REQUEST__BODY_LIST_FILES] = on_list_files,
    [LB__SWARM__REQUEST__BODY_TAKE_UP] = swarm_on_take_up,
    [LB__SWARM__REQUEST__BODY_ADOPT] = swarm_on_adopt,
    [LB__SWARM__REQUEST__BODY_SEED] = swarm_on_seed,
    [LB__SWARM__REQUEST__BODY_UNSEED] = swarm_on_unseed,
    [LB__SWARM__REQUEST__BODY_ALLOT] = swarm_on_allot,
};

/* ---- life ---- */

static lb_err start(struct actor *actor, void **ret_ctx)
{
    struct swarm *self = xcalloc(1, sizeof *self);
    self->actor = actor;
    beneath_keep_out(actor_paths(actor)->state_folder);
    beneath_keep_out(actor_paths(actor)->private_folder);
    const lb_err err = transfers_new(actor, &self->transfers);
    if (err != LB_OK) {
        free(self);
        return err;
    }
    *ret_ctx = self;
    actor_state(actor, STATE_READY, "%s", "");
    return LB_OK;
}

static void on_stopped(void *ctx)
{
    struct swarm *self = ctx;
    actor_stopped(self->actor);
}

static void stop(void *ctx)
{
    struct swarm *self = ctx;
    transfers_stop(self->transfers, on_stopped, self);
}

static void scaled(void *ctx)
{
    struct swarm *self = ctx;
    transfers_scaled(self->transfers);
}

static void done(void *ctx)
{
    struct swarm *self = ctx;
    transfers_free(&self->transfers);
    free(self);
}

static void reload(void *ctx, const struct config *now)
{
    struct swarm *self = ctx;
    (void)now; /* actor_config() is the same */
    transfers_reload(self->transfers);
}

const struct service_definition swarm_service = {
    .service = SERVICE_SWARM,
    .request = &lb__swarm__request__descriptor,
    .reply = &lb__swarm__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof handlers / sizeof handlers[0],
    .start = start,
    .stop = stop,
    .free = done,
    .scaled = scaled,
    .reload = reload,
};
