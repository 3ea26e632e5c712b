#include "services/gateway/methods.h"

#include "libcommon/address.h"
#include "libcommon/memory.h"
#include "proto/littlebird/v1/dht.pb-c.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "proto/littlebird/v1/swarm.pb-c.h"
#include "proto/routing.pb-c.h"
#include "proto/supervisor.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "services/gateway/storage_methods.h"
#include "services/gateway/view.h"

#include <stdlib.h>
#include <string.h>

/* ---- NodeService: by lb-supervisor; what is local stands in view.c ---- */

static lb_err check_service(const char *name, const char **ret_problem)
{
    enum service service;

    if (service_parse(name, &service) == LB_OK)
        return LB_OK;
    *ret_problem = "there is no service of this name";
    return LB_INVALID;
}

static lb_err ask_restart(const void *request, message_take_fn *send, void *ctx,
                          const char **ret_problem)
{
    const Littlebird__V1__RestartServiceRequest *from = request;
    Lb__Supervisor__Restart restart = LB__SUPERVISOR__RESTART__INIT;
    Lb__Supervisor__Request message = LB__SUPERVISOR__REQUEST__INIT;

    if (check_service(from->service, ret_problem) != LB_OK)
        return LB_INVALID;
    restart.service = from->service;
    if (from->which_case == LITTLEBIRD__V1__RESTART_SERVICE_REQUEST__WHICH_INSTANCE) {
        restart.which_case = LB__SUPERVISOR__RESTART__WHICH_INSTANCE;
        restart.instance = from->instance;
    }
    message.body_case = LB__SUPERVISOR__REQUEST__BODY_RESTART;
    message.restart = &restart;
    send(ctx, &message.base);
    return LB_OK;
}

static lb_err ask_scale(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    const Littlebird__V1__ScaleServiceRequest *from = request;
    Lb__Supervisor__Scale scale = LB__SUPERVISOR__SCALE__INIT;
    Lb__Supervisor__Request message = LB__SUPERVISOR__REQUEST__INIT;

    if (check_service(from->service, ret_problem) != LB_OK)
        return LB_INVALID;
    scale.service = from->service;
    scale.instances = from->instances;
    message.body_case = LB__SUPERVISOR__REQUEST__BODY_SCALE;
    message.scale = &scale;
    send(ctx, &message.base);
    return LB_OK;
}

static lb_err ask_stop(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    Lb__Supervisor__Stop stop = LB__SUPERVISOR__STOP__INIT;
    Lb__Supervisor__Request message = LB__SUPERVISOR__REQUEST__INIT;

    (void)request;
    (void)ret_problem;
    message.body_case = LB__SUPERVISOR__REQUEST__BODY_STOP;
    message.stop = &stop;
    send(ctx, &message.base);
    return LB_OK;
}

static bool is_done(const void *reply)
{
    const Lb__Supervisor__Reply *from = reply;

    return from->body_case == LB__SUPERVISOR__REPLY__BODY_DONE;
}

static bool translate_restarted(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__RestartServiceResponse response =
        LITTLEBIRD__V1__RESTART_SERVICE_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

static bool translate_scaled(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__ScaleServiceResponse response = LITTLEBIRD__V1__SCALE_SERVICE_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

static bool translate_stopping(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__StopResponse response = LITTLEBIRD__V1__STOP_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

/* ---- SwarmService: by lb-swarm ---- */

static lb_err ask_share(const void *request, message_take_fn *send, void *ctx,
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
    share.kind =
        (Lb__Swarm__Share__Kind)from->kind; /* the same numbers; see the assertions below */
    message.body_case = LB__SWARM__REQUEST__BODY_SHARE;
    message.share = &share;
    send(ctx, &message.base);
    return LB_OK;
}

static bool translate_shared(const void *reply, message_take_fn *respond, void *ctx)
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

static lb_err ask_fetch(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    const Littlebird__V1__FetchRequest *from = request;
    Lb__Swarm__Fetch fetch = LB__SWARM__FETCH__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    *ret_problem = "folder must be absolute";
    if (from->folder[0] != '/')
        return LB_INVALID;
    switch (from->source_case) {
    case LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET:
        fetch.source_case = LB__SWARM__FETCH__SOURCE_MAGNET;
        fetch.magnet = from->magnet;
        break;
    case LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_METAINFO:
        fetch.source_case = LB__SWARM__FETCH__SOURCE_METAINFO;
        fetch.metainfo = from->metainfo;
        break;
    default:
        *ret_problem = "a magnet link or a metainfo is needed";
        return LB_INVALID;
    }
    fetch.folder = from->folder;
    if (from->seeding_case == LITTLEBIRD__V1__FETCH_REQUEST__SEEDING_SEED_FOR_S) {
        fetch.seeding_case = LB__SWARM__FETCH__SEEDING_SEED_FOR_S;
        fetch.seed_for_s = from->seed_for_s;
    }
    message.body_case = LB__SWARM__REQUEST__BODY_FETCH;
    message.fetch = &fetch;
    send(ctx, &message.base);
    return LB_OK;
}

static bool translate_started(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__FetchResponse response = LITTLEBIRD__V1__FETCH_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_STARTED)
        return false;
    response.infohash = from->started->infohash;
    respond(ctx, &response.base);
    return true;
}

static lb_err ask_list(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__ListTransfersRequest *from = request;
    Lb__Swarm__List list = LB__SWARM__LIST__INIT;
    Lb__Swarm__Request message = LB__SWARM__REQUEST__INIT;

    (void)ret_problem;
    list.infohash = from->infohash;
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
    return transfer;
}

static bool translate_transfers(const void *reply, message_take_fn *respond, void *ctx)
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

static lb_err ask_remove(const void *request, message_take_fn *send, void *ctx,
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

static bool translate_removed(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__RemoveTransferResponse response =
        LITTLEBIRD__V1__REMOVE_TRANSFER_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_REMOVED)
        return false;
    respond(ctx, &response.base);
    return true;
}

static lb_err ask_metainfo(const void *request, message_take_fn *send, void *ctx,
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

static bool translate_metainfo(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Swarm__Reply *from = reply;
    Littlebird__V1__GetMetainfoResponse response = LITTLEBIRD__V1__GET_METAINFO_RESPONSE__INIT;

    if (from->body_case != LB__SWARM__REPLY__BODY_METAINFO)
        return false;
    response.metainfo = from->metainfo->metainfo;
    respond(ctx, &response.base);
    return true;
}

/* ---- DhtService: by lb-routing ---- */

static lb_err ask_lookup(const void *request, message_take_fn *send, void *ctx,
                         const char **ret_problem)
{
    const Littlebird__V1__LookupRequest *from = request;
    Lb__Routing__Lookup lookup = LB__ROUTING__LOOKUP__INIT;
    Lb__Routing__Request message = LB__ROUTING__REQUEST__INIT;

    if (from->target.len != NODE_ID_SIZE) {
        *ret_problem = "target must be 20 bytes";
        return LB_INVALID;
    }
    lookup.target = from->target;
    lookup.kind = LB__ROUTING__LOOKUP__KIND__NODES;
    message.body_case = LB__ROUTING__REQUEST__BODY_LOOKUP;
    message.lookup = &lookup;
    send(ctx, &message.base);
    return LB_OK;
}

/* Nodes of a response, and the memory they need. */
struct nodes {
    Littlebird__V1__DhtNode *nodes;
    Littlebird__V1__DhtNode **pointers;
    char (*texts)[ADDRESS_TEXT_SIZE];
};

static struct nodes nodes_new(size_t count)
{
    return (struct nodes){ .nodes = xcalloc(count, sizeof(Littlebird__V1__DhtNode)),
                           .pointers = xcalloc(count, sizeof(Littlebird__V1__DhtNode *)),
                           .texts = xcalloc(count, ADDRESS_TEXT_SIZE) };
}

static void nodes_free(struct nodes *self)
{
    free(self->nodes);
    free(self->pointers);
    free(self->texts);
}

/* An address that is none stays empty. */
static Littlebird__V1__DhtNode *nodes_set(struct nodes *self, size_t index,
                                          const Lb__Contact *contact)
{
    Littlebird__V1__DhtNode *node = &self->nodes[index];
    struct address address;

    littlebird__v1__dht_node__init(node);
    self->pointers[index] = node;
    if (!contact)
        return node;
    node->node_id = contact->node_id;
    if (address_from_compact(bytes_of(contact->address.data, contact->address.len), &address) ==
        LB_OK) {
        address_format(&address, self->texts[index]);
        node->address = self->texts[index];
    }
    return node;
}

static bool translate_found(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Routing__Reply *from = reply;
    Littlebird__V1__LookupResponse response = LITTLEBIRD__V1__LOOKUP_RESPONSE__INIT;
    const Lb__Routing__Found *found = from->found;
    struct nodes nodes;

    if (from->body_case != LB__ROUTING__REPLY__BODY_FOUND)
        return false;
    nodes = nodes_new(found->n_closest);
    for (size_t i = 0; i < found->n_closest; i++)
        nodes_set(&nodes, i, found->closest[i]->contact);
    response.closest = nodes.pointers;
    response.n_closest = found->n_closest;
    response.queries = found->queries;
    response.answers = found->answers;
    response.rounds = found->rounds;
    response.elapsed_ms = found->elapsed_ms;
    respond(ctx, &response.base);
    nodes_free(&nodes);
    return true;
}

static lb_err ask_table(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    Lb__Routing__GetTable get = LB__ROUTING__GET_TABLE__INIT;
    Lb__Routing__Request message = LB__ROUTING__REQUEST__INIT;

    (void)request;
    (void)ret_problem;
    message.body_case = LB__ROUTING__REQUEST__BODY_GET_TABLE;
    message.get_table = &get;
    send(ctx, &message.base);
    return LB_OK;
}

static const char *entry_state_text(Lb__Routing__Entry__State state)
{
    switch (state) {
    case LB__ROUTING__ENTRY__STATE__GOOD:
        return "good";
    case LB__ROUTING__ENTRY__STATE__QUESTIONABLE:
        return "questionable";
    case LB__ROUTING__ENTRY__STATE__BAD:
        return "bad";
    case LB__ROUTING__ENTRY__STATE__REPLACEMENT:
        return "replacement";
    default:
        return "";
    }
}

static bool translate_table(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Routing__Reply *from = reply;
    Littlebird__V1__GetTableResponse response = LITTLEBIRD__V1__GET_TABLE_RESPONSE__INIT;
    const Lb__Routing__Table *table = from->table;
    struct nodes nodes;

    if (from->body_case != LB__ROUTING__REPLY__BODY_TABLE)
        return false;
    nodes = nodes_new(table->n_entries);
    for (size_t i = 0; i < table->n_entries; i++) {
        const Lb__Routing__Entry *entry = table->entries[i];
        Littlebird__V1__DhtNode *node = nodes_set(&nodes, i, entry->contact);

        node->state = (char *)(uintptr_t)entry_state_text(entry->state);
        node->bucket = entry->bucket;
        node->rtt_us = entry->rtt_us;
        node->last_answer_s = entry->last_answer_s;
        node->age_s = entry->age_s;
    }
    response.node_id = table->node_id;
    response.nodes = nodes.pointers;
    response.n_nodes = table->n_entries;
    response.joined = table->joined;
    respond(ctx, &response.base);
    nodes_free(&nodes);
    return true;
}

/* ---- the table ---- */

static bool always(const void *request)
{
    (void)request;
    return true;
}

static bool never(const void *request)
{
    (void)request;
    return false;
}

const struct method api_methods[API_METHODS_COUNT] = {
    { .name = "littlebird.v1.NodeService/GetServerInfo",
      .request = &littlebird__v1__get_server_info_request__descriptor,
      .service = SERVICE_GATEWAY,
      .local = view_server_info },
    { .name = "littlebird.v1.NodeService/GetStatus",
      .request = &littlebird__v1__get_status_request__descriptor,
      .service = SERVICE_GATEWAY,
      .local = view_status },
    { .name = "littlebird.v1.NodeService/RestartService",
      .request = &littlebird__v1__restart_service_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_restart,
      .translate = translate_restarted,
      .may_repeat = never },
    { .name = "littlebird.v1.NodeService/ScaleService",
      .request = &littlebird__v1__scale_service_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_scale,
      .translate = translate_scaled,
      .may_repeat = always },
    { .name = "littlebird.v1.NodeService/Stop",
      .request = &littlebird__v1__stop_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_stop,
      .translate = translate_stopping,
      .may_repeat = never },
    { .name = "littlebird.v1.StorageService/Put",
      .request = &littlebird__v1__put_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_put,
      .translate = storage_translate_put,
      .may_repeat = storage_put_may_repeat },
    { .name = "littlebird.v1.StorageService/Get",
      .request = &littlebird__v1__get_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_get,
      .translate = storage_translate_get,
      .may_repeat = always },
    { .name = "littlebird.v1.StorageService/Remove",
      .request = &littlebird__v1__remove_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_remove,
      .translate = storage_translate_remove,
      .may_repeat = storage_remove_may_repeat,
      .done_before = LB_NOT_FOUND },
    { .name = "littlebird.v1.StorageService/AuditKeys",
      .request = &littlebird__v1__audit_keys_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_audit,
      .translate = storage_translate_audit,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/Share",
      .request = &littlebird__v1__share_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = ask_share,
      .translate = translate_shared,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/Fetch",
      .request = &littlebird__v1__fetch_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = ask_fetch,
      .translate = translate_started,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/ListTransfers",
      .request = &littlebird__v1__list_transfers_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = ask_list,
      .translate = translate_transfers,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/RemoveTransfer",
      .request = &littlebird__v1__remove_transfer_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = ask_remove,
      .translate = translate_removed,
      .may_repeat = always,
      .done_before = LB_NOT_FOUND },
    { .name = "littlebird.v1.SwarmService/GetMetainfo",
      .request = &littlebird__v1__get_metainfo_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = ask_metainfo,
      .translate = translate_metainfo,
      .may_repeat = always },
    { .name = "littlebird.v1.DhtService/Lookup",
      .request = &littlebird__v1__lookup_request__descriptor,
      .service = SERVICE_ROUTING,
      .ask = ask_lookup,
      .translate = translate_found,
      .may_repeat = always },
    { .name = "littlebird.v1.DhtService/GetTable",
      .request = &littlebird__v1__get_table_request__descriptor,
      .service = SERVICE_ROUTING,
      .ask = ask_table,
      .translate = translate_table,
      .may_repeat = always },
};

const struct method *method_find(const char *name)
{
    for (size_t i = 0; i < API_METHODS_COUNT; i++) {
        if (strcmp(api_methods[i].name, name) == 0)
            return &api_methods[i];
    }
    return NULL;
}
