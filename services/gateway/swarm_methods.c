#include "services/gateway/swarm_methods.h"

#include "libcommon/address.h"
#include "libcommon/memory.h"
#include "libcommon/owner.h"
#include "proto/littlebird/v1/swarm.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "services/gateway/dedupe.h"

#include <stdlib.h>

lb_err swarm_ask_share(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__ShareRequest *from = request;
    Lb__Swarm__Share share = LB__SWARM__SHARE__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    if (from->path[0] != '/') {
        *ret_problem = "path must be absolute";
        return LB_INVALID;
    }
    share.path = from->path;
    if (from->n_web_seeds > API_WEB_SEEDS_MAX) {
        *ret_problem = "more than 64 web seeds";
        return LB_TOO_BIG;
    }
    share.kind =
        (Lb__Swarm__Share__Kind)from->kind; /* the same numbers; see the assertions below */
    share.piece_length = from->piece_length_bytes;
    share.is_private = from->is_private;
    share.web_seeds = from->web_seeds;
    share.n_web_seeds = from->n_web_seeds;
    message.body_case = LB__SWARM__REQUEST__BODY_SHARE;
    message.share = &share;
    send(ctx, &message.base);
    return LB_OK;
}

bool swarm_translate_share(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__ShareResponse response = LITTLEBIRD__V1__SHARE_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_SHARED)
        return false;
    response.infohash = from->shared->infohash;
    response.magnet = from->shared->magnet;
    respond(ctx, &response.base);
    return true;
}

static lb_err check_fetch(const Littlebird__V1__FetchRequest *from, const char **ret_problem)
{
    const bool to_device = from->device[0] != '\0';

    if (to_device && (from->device[0] != '/' || from->folder[0] != '\0')) {
        *ret_problem = "device must be absolute, and folder empty";
        return LB_INVALID;
    }
    if (!to_device && from->folder[0] != '/') {
        *ret_problem = "folder must be absolute";
        return LB_INVALID;
    }
    if (from->base_path[0] != '\0' && from->base_path[0] != '/') {
        *ret_problem = "base_path must be absolute";
        return LB_INVALID;
    }
    if (from->priority > API_PRIORITY_MAX) {
        *ret_problem = "priority is 1 (low) to 3 (high)";
        return LB_INVALID;
    }
    if (from->n_select > API_SELECT_MAX || from->n_peers > API_PEERS_MAX) {
        *ret_problem = "more than 1024 files to select, or more than 64 peers";
        return LB_TOO_BIG;
    }
    return LB_OK;
}

/* The addresses of a request in the form the services use. */
struct compact {
    ProtobufCBinaryData peers[API_PEERS_MAX];
    uint8_t bytes[API_PEERS_MAX][ADDRESS_COMPACT_V6];
};

static lb_err pack_peers(struct compact *self, char *const *texts, size_t count,
                         const char **ret_problem)
{
    for (size_t i = 0; i < count; i++) {
        struct address address;

        if (address_parse(texts[i], &address) != LB_OK || !address_is_usable(&address)) {
            *ret_problem = "peers are ADDRESS:PORT";
            return LB_INVALID;
        }
        self->peers[i].data = self->bytes[i];
        self->peers[i].len = address_to_compact(&address, self->bytes[i]);
    }
    return LB_OK;
}

static lb_err set_source(Lb__Swarm__Fetch *fetch, const Littlebird__V1__FetchRequest *from,
                         const char **ret_problem)
{
    switch (from->source_case) {
    case LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET:
        fetch->source_case = LB__SWARM__FETCH__SOURCE_MAGNET;
        fetch->magnet = from->magnet;
        return LB_OK;
    case LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_METAINFO:
        fetch->source_case = LB__SWARM__FETCH__SOURCE_METAINFO;
        fetch->metainfo = from->metainfo;
        return LB_OK;
    default:
        *ret_problem = "a magnet link or a metainfo is needed";
        return LB_INVALID;
    }
}

lb_err swarm_ask_fetch(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__FetchRequest *from = request;
    Lb__Swarm__Fetch fetch = LB__SWARM__FETCH__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;
    struct compact compact;
    lb_err err = check_fetch(from, ret_problem);

    if (err != LB_OK)
        return err;
    if (set_source(&fetch, from, ret_problem) != LB_OK ||
        pack_peers(&compact, from->peers, from->n_peers, ret_problem) != LB_OK)
        return LB_INVALID;
    if (from->seeding_case == LITTLEBIRD__V1__FETCH_REQUEST__SEEDING_SEED_FOR_S) {
        fetch.seeding_case = LB__SWARM__FETCH__SEEDING_SEED_FOR_S;
        fetch.seed_for_s = from->seed_for_s;
    }
    fetch.folder = from->folder;
    fetch.device = from->device;
    fetch.base_path = from->base_path;
    fetch.verify = from->verify;
    fetch.priority = from->priority;
    fetch.select = from->select;
    fetch.n_select = from->n_select;
    fetch.peers = compact.peers;
    fetch.n_peers = from->n_peers;
    message.body_case = LB__SWARM__REQUEST__BODY_FETCH;
    message.fetch = &fetch;
    send(ctx, &message.base);
    return LB_OK;
}

bool swarm_translate_fetch(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__FetchResponse response = LITTLEBIRD__V1__FETCH_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_STARTED)
        return false;
    response.infohash = from->started->infohash;
    respond(ctx, &response.base);
    return true;
}

lb_err swarm_ask_list(const void *request, message_take_fn *send, void *ctx,
                      const char **ret_problem)
{
    const Littlebird__V1__ListTransfersRequest *from = request;
    Lb__Swarm__List list = LB__SWARM__LIST__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    (void)ret_problem;
    list.infohash = from->infohash;
    list.of_all = true;
    message.body_case = LB__SWARM__REQUEST__BODY_LIST;
    message.list = &list;
    send(ctx, &message.base);
    return LB_OK;
}

/* The public enums were given the internal numbers. */
_Static_assert((int)LITTLEBIRD__V1__TRANSFER__STATE__STATE_CHECKING ==
                   (int)LB__SWARM__TRANSFER__STATE__CHECKING,
               "checking");
_Static_assert((int)LITTLEBIRD__V1__TRANSFER__STATE__STATE_METADATA ==
                   (int)LB__SWARM__TRANSFER__STATE__METADATA,
               "metadata");
_Static_assert((int)LITTLEBIRD__V1__TRANSFER__STATE__STATE_FETCHING ==
                   (int)LB__SWARM__TRANSFER__STATE__FETCHING,
               "fetching");
_Static_assert((int)LITTLEBIRD__V1__TRANSFER__STATE__STATE_SEEDING ==
                   (int)LB__SWARM__TRANSFER__STATE__SEEDING,
               "seeding");
_Static_assert((int)LITTLEBIRD__V1__TRANSFER__STATE__STATE_PAUSED ==
                   (int)LB__SWARM__TRANSFER__STATE__PAUSED,
               "paused");
_Static_assert((int)LITTLEBIRD__V1__TRANSFER__STATE__STATE_FAILED ==
                   (int)LB__SWARM__TRANSFER__STATE__FAILED,
               "failed");
_Static_assert(
    (int)LITTLEBIRD__V1__SHARE_REQUEST__KIND__KIND_HYBRID == (int)LB__SWARM__SHARE__KIND__HYBRID &&
        (int)LITTLEBIRD__V1__SHARE_REQUEST__KIND__KIND_V1 == (int)LB__SWARM__SHARE__KIND__V1 &&
        (int)LITTLEBIRD__V1__SHARE_REQUEST__KIND__KIND_V2 == (int)LB__SWARM__SHARE__KIND__V2,
    "kinds");

struct Littlebird__V1__Transfer api_transfer(const struct Lb__Swarm__Transfer *from)
{
    Littlebird__V1__Transfer transfer = LITTLEBIRD__V1__TRANSFER__INIT;

    transfer.infohash = from->infohash;
    transfer.name = from->name;
    transfer.path = from->path;
    transfer.state = (Littlebird__V1__Transfer__State)from->state;
    transfer.size_bytes = from->size_bytes;
    transfer.have_bytes = from->have_bytes;
    transfer.received_bytes = from->received_bytes;
    transfer.sent_bytes = from->sent_bytes;
    transfer.receive_rate = from->receive_rate;
    transfer.send_rate = from->send_rate;
    transfer.peers = from->peers;
    transfer.seeds = from->seeds;
    transfer.note = from->note;
    transfer.magnet = from->magnet;
    transfer.wasted_bytes = from->wasted_bytes;
    transfer.reused_bytes = from->reused_bytes;
    transfer.wanted_bytes = from->wanted_bytes;
    transfer.priority = from->priority;
    transfer.queue_place = from->queue;
    transfer.receive_limit = from->receive_limit;
    transfer.send_limit = from->send_limit;
    transfer.finished = from->finished;
    transfer.verified_s = from->verified_s;
    transfer.copies_permille = from->copies_permille;
    transfer.checked_bytes = from->checked_bytes;
    transfer.damaged_bytes = from->damaged_bytes;
    return transfer;
}

bool swarm_translate_list(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__ListTransfersResponse response = LITTLEBIRD__V1__LIST_TRANSFERS_RESPONSE__INIT;
    Littlebird__V1__Transfer *transfers;
    size_t count;

    if (from->body_case != LB__SWARM__REPLY__BODY_TRANSFERS)
        return false;
    count = from->transfers->n_transfers;
    transfers = xcalloc(count, sizeof(*transfers));
    response.transfers = xcalloc(count, sizeof(*response.transfers));
    response.n_transfers = count;
    for (size_t i = 0; i < count; i++) {
        transfers[i] = api_transfer(from->transfers->transfers[i]);
        response.transfers[i] = &transfers[i];
    }
    respond(ctx, &response.base);
    free(response.transfers);
    free(transfers);
    return true;
}

lb_err swarm_ask_remove(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    const Littlebird__V1__RemoveTransferRequest *from = request;
    Lb__Swarm__Remove remove = LB__SWARM__REMOVE__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    (void)ret_problem;
    remove.infohash = from->infohash;
    message.body_case = LB__SWARM__REQUEST__BODY_REMOVE;
    message.remove = &remove;
    send(ctx, &message.base);
    return LB_OK;
}

bool swarm_translate_remove(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__RemoveTransferResponse response =
        LITTLEBIRD__V1__REMOVE_TRANSFER_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_REMOVED)
        return false;
    respond(ctx, &response.base);
    return true;
}

lb_err swarm_ask_metainfo(const void *request, message_take_fn *send, void *ctx,
                          const char **ret_problem)
{
    const Littlebird__V1__GetMetainfoRequest *from = request;
    Lb__Swarm__GetMetainfo get = LB__SWARM__GET_METAINFO__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    (void)ret_problem;
    get.infohash = from->infohash;
    message.body_case = LB__SWARM__REQUEST__BODY_GET_METAINFO;
    message.get_metainfo = &get;
    send(ctx, &message.base);
    return LB_OK;
}

bool swarm_translate_metainfo(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__GetMetainfoResponse response = LITTLEBIRD__V1__GET_METAINFO_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_METAINFO)
        return false;
    response.metainfo = from->metainfo->metainfo;
    respond(ctx, &response.base);
    return true;
}

/* ---- peers and files of one ---- */

#define SAME_WHY(name)                                                                             \
    _Static_assert((int)LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_##name ==                          \
                       (int)LB__SWARM__PEER__WHY__##name,                                          \
                   #name)
SAME_WHY(NONE);
SAME_WHY(CHOKED);
SAME_WHY(LINK);
SAME_WHY(DISK);
SAME_WHY(NO_PEERS);
SAME_WHY(PAUSED);
SAME_WHY(SILENT);
SAME_WHY(LIMITED);

lb_err swarm_ask_peers(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__ListTransferPeersRequest *from = request;
    Lb__Swarm__ListPeers list = LB__SWARM__LIST_PEERS__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    (void)ret_problem;
    list.infohash = from->infohash;
    list.of_all = true;
    message.body_case = LB__SWARM__REQUEST__BODY_LIST_PEERS;
    message.list_peers = &list;
    send(ctx, &message.base);
    return LB_OK;
}

/* A peer of a response, and the text of its address. */
struct peer_row {
    Littlebird__V1__TransferPeer peer;
    char address[ADDRESS_TEXT_SIZE];
};

static void set_peer(struct peer_row *self, const Lb__Swarm__Peer *from)
{
    Littlebird__V1__TransferPeer *peer = &self->peer;
    struct address address;

    littlebird__v1__transfer_peer__init(peer);
    if (address_from_compact(bytes_of(from->address.data, from->address.len), &address) == LB_OK) {
        address_format(&address, self->address);
        peer->address = self->address;
    }
    peer->client = from->client;
    peer->have_bytes = from->have_bytes;
    peer->received_bytes = from->received_bytes;
    peer->sent_bytes = from->sent_bytes;
    peer->receive_rate = from->receive_rate;
    peer->send_rate = from->send_rate;
    peer->why = (Littlebird__V1__TransferPeer__Why)from->why;
    peer->connected = from->connected;
    peer->finished_s = from->finished_s;
    peer->verified = from->verified;
    peer->cooperative = from->cooperative;
    peer->host = from->host;
}

#define SAME_STATE(name)                                                                           \
    static_assert((int)LITTLEBIRD__V1__WEB_SEED__STATE__STATE_##name ==                            \
                      (int)LB__SWARM__WEB_SEED__STATE__##name,                                     \
                  "handed on as it is")
SAME_STATE(IDLE);
SAME_STATE(FETCHING);
SAME_STATE(RESTING);
SAME_STATE(DROPPED);

static void set_web_seed(Littlebird__V1__WebSeed *self, const Lb__Swarm__WebSeed *from)
{
    littlebird__v1__web_seed__init(self);
    self->host = from->host;
    self->state = (Littlebird__V1__WebSeed__State)from->state;
    self->received_bytes = from->received_bytes;
    self->receive_rate = from->receive_rate;
    self->why = from->why;
}

bool swarm_translate_peers(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__ListTransferPeersResponse response =
        LITTLEBIRD__V1__LIST_TRANSFER_PEERS_RESPONSE__INIT;
    Littlebird__V1__WebSeed *seeds;
    struct peer_row *rows;
    size_t count;

    if (from->body_case != LB__SWARM__REPLY__BODY_PEERS)
        return false;
    count = from->peers->n_peers;
    rows = xcalloc(count, sizeof(*rows));
    response.peers = xcalloc(count, sizeof(*response.peers));
    response.n_peers = count;
    for (size_t i = 0; i < count; i++) {
        set_peer(&rows[i], from->peers->peers[i]);
        response.peers[i] = &rows[i].peer;
    }
    response.n_web_seeds = from->peers->n_web_seeds;
    seeds = xcalloc(response.n_web_seeds, sizeof(*seeds));
    response.web_seeds = xcalloc(response.n_web_seeds, sizeof(*response.web_seeds));
    for (size_t i = 0; i < response.n_web_seeds; i++) {
        set_web_seed(&seeds[i], from->peers->web_seeds[i]);
        response.web_seeds[i] = &seeds[i];
    }
    respond(ctx, &response.base);
    free(response.web_seeds);
    free(seeds);
    free(response.peers);
    free(rows);
    return true;
}

lb_err swarm_ask_files(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__ListTransferFilesRequest *from = request;
    Lb__Swarm__ListFiles list = LB__SWARM__LIST_FILES__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    (void)ret_problem;
    list.infohash = from->infohash;
    message.body_case = LB__SWARM__REQUEST__BODY_LIST_FILES;
    message.list_files = &list;
    send(ctx, &message.base);
    return LB_OK;
}

bool swarm_translate_files(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__ListTransferFilesResponse response =
        LITTLEBIRD__V1__LIST_TRANSFER_FILES_RESPONSE__INIT;
    Littlebird__V1__TransferFile *files;
    size_t count;

    if (from->body_case != LB__SWARM__REPLY__BODY_FILES)
        return false;
    count = from->files->n_files;
    files = xcalloc(count, sizeof(*files));
    response.files = xcalloc(count, sizeof(*response.files));
    response.n_files = count;
    for (size_t i = 0; i < count; i++) {
        const Lb__Swarm__File *file = from->files->files[i];

        littlebird__v1__transfer_file__init(&files[i]);
        files[i].index = file->index;
        files[i].path = file->path;
        files[i].size_bytes = file->size_bytes;
        files[i].have_bytes = file->have_bytes;
        files[i].selected = file->selected;
        response.files[i] = &files[i];
    }
    respond(ctx, &response.base);
    free(response.files);
    free(files);
    return true;
}

/* ---- limits and checks ---- */

lb_err swarm_ask_limits(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    const Littlebird__V1__SetTransferLimitsRequest *from = request;
    Lb__Swarm__SetLimits set = LB__SWARM__SET_LIMITS__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    if (from->priority > API_PRIORITY_MAX) {
        *ret_problem = "priority is 1 (low) to 3 (high)";
        return LB_INVALID;
    }
    set.infohash = from->infohash;
    if (from->receive_case == LITTLEBIRD__V1__SET_TRANSFER_LIMITS_REQUEST__RECEIVE_RECEIVE_LIMIT) {
        set.receive_case = LB__SWARM__SET_LIMITS__RECEIVE_RECEIVE_LIMIT;
        set.receive_limit = from->receive_limit;
    }
    if (from->send_case == LITTLEBIRD__V1__SET_TRANSFER_LIMITS_REQUEST__SEND_SEND_LIMIT) {
        set.send_case = LB__SWARM__SET_LIMITS__SEND_SEND_LIMIT;
        set.send_limit = from->send_limit;
    }
    set.priority = from->priority;
    message.body_case = LB__SWARM__REQUEST__BODY_SET_LIMITS;
    message.set_limits = &set;
    send(ctx, &message.base);
    return LB_OK;
}

bool swarm_translate_limits(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__SetTransferLimitsResponse response =
        LITTLEBIRD__V1__SET_TRANSFER_LIMITS_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_LIMITS_SET)
        return false;
    respond(ctx, &response.base);
    return true;
}

lb_err swarm_ask_check(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__CheckTransferRequest *from = request;
    Lb__Swarm__Check check = LB__SWARM__CHECK__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    (void)ret_problem;
    check.infohash = from->infohash;
    message.body_case = LB__SWARM__REQUEST__BODY_CHECK;
    message.check = &check;
    send(ctx, &message.base);
    return LB_OK;
}

bool swarm_translate_check(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__CheckTransferResponse response = LITTLEBIRD__V1__CHECK_TRANSFER_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_CHECKED)
        return false;
    respond(ctx, &response.base);
    return true;
}

/* ---- which worker ---- */

const ProtobufCBinaryData *swarm_infohash(const void *request)
{
    const ProtobufCMessage *message = request;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "infohash");

    if (field == NULL || field->type != PROTOBUF_C_TYPE_BYTES)
        return NULL;
    return (const ProtobufCBinaryData *)(const void *)((const char *)request + field->offset);
}

uint16_t swarm_place(const void *request)
{
    const ProtobufCBinaryData *infohash = swarm_infohash(request);

    return infohash != NULL && infohash->len >= 2 ? owner_place(infohash->data) : 0;
}

uint16_t swarm_place_share(const void *request)
{
    const Littlebird__V1__ShareRequest *share = request;

    return (uint16_t)dedupe_fingerprint(bytes_of(NULL, 0), bytes_of_text(share->path));
}
