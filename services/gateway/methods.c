#include "services/gateway/methods.h"

#include "proto/littlebird/v1/dht.pb-c.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "proto/littlebird/v1/swarm.pb-c.h"
#include "proto/supervisor.pb-c.h"
#include "services/gateway/dht_methods.h"
#include "services/gateway/network_methods.h"
#include "services/gateway/storage_methods.h"
#include "services/gateway/swarm_methods.h"
#include "services/gateway/view.h"

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

static lb_err ask_set_log_level(const void *request, message_take_fn *send, void *ctx,
                                const char **ret_problem)
{
    const Littlebird__V1__SetLogLevelRequest *from = request;
    Lb__Supervisor__SetLogLevel set = LB__SUPERVISOR__SET_LOG_LEVEL__INIT;
    Lb__Supervisor__Request message = LB__SUPERVISOR__REQUEST__INIT;

    if (check_service(from->service, ret_problem) != LB_OK)
        return LB_INVALID;
    if ((unsigned)from->level > LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__LEVEL__LEVEL_DEBUG) {
        *ret_problem = "there is no such level";
        return LB_INVALID;
    }
    set.service = from->service;
    if (from->which_case == LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__WHICH_INSTANCE) {
        set.which_case = LB__SUPERVISOR__SET_LOG_LEVEL__WHICH_INSTANCE;
        set.instance = from->instance;
    }
    set.level = (uint32_t)from->level;
    set.seconds = from->seconds;
    message.body_case = LB__SUPERVISOR__REQUEST__BODY_SET_LOG_LEVEL;
    message.set_log_level = &set;
    send(ctx, &message.base);
    return LB_OK;
}

static lb_err ask_reload(const void *request, message_take_fn *send, void *ctx,
                         const char **ret_problem)
{
    const Littlebird__V1__ReloadRequest *from = request;
    Lb__Supervisor__Reload reload = LB__SUPERVISOR__RELOAD__INIT;
    Lb__Supervisor__Request message = LB__SUPERVISOR__REQUEST__INIT;

    (void)ret_problem;
    reload.dry_run = from->dry_run;
    message.body_case = LB__SUPERVISOR__REQUEST__BODY_RELOAD;
    message.reload = &reload;
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

static bool translate_log_level_set(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__SetLogLevelResponse response = LITTLEBIRD__V1__SET_LOG_LEVEL_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

static bool translate_reloaded(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Supervisor__Reply *from = reply;
    Littlebird__V1__ReloadResponse response = LITTLEBIRD__V1__RELOAD_RESPONSE__INIT;

    if (from->body_case != LB__SUPERVISOR__REPLY__BODY_RELOADED)
        return false;
    response.n_needs_restart = from->reloaded->n_needs_restart;
    response.needs_restart = from->reloaded->needs_restart;
    response.problem = from->reloaded->problem;
    response.n_applied = from->reloaded->n_applied;
    response.applied = from->reloaded->applied;
    response.n_late = from->reloaded->n_late;
    response.late = from->reloaded->late;
    respond(ctx, &response.base);
    return true;
}

static bool translate_stopping(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__StopResponse response = LITTLEBIRD__V1__STOP_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
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
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__get_server_info_request__descriptor,
      .service = SERVICE_GATEWAY,
      .local = view_server_info },
    { .name = "littlebird.v1.NodeService/GetStatus",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__get_status_request__descriptor,
      .service = SERVICE_GATEWAY,
      .local = view_status },
    { .name = "littlebird.v1.NodeService/RestartService",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__restart_service_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_restart,
      .translate = translate_restarted,
      .may_repeat = never },
    { .name = "littlebird.v1.NodeService/ScaleService",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__scale_service_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_scale,
      .translate = translate_scaled,
      .may_repeat = always },
    { .name = "littlebird.v1.NodeService/SetLogLevel",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__set_log_level_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_set_log_level,
      .translate = translate_log_level_set,
      .may_repeat = always },
    { .name = "littlebird.v1.NodeService/Reload",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__reload_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_reload,
      .translate = translate_reloaded,
      .may_repeat = always },
    { .name = "littlebird.v1.NodeService/Stop",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__stop_request__descriptor,
      .service = SERVICE_SUPERVISOR,
      .ask = ask_stop,
      .translate = translate_stopping,
      .may_repeat = never },
    { .name = "littlebird.v1.StorageService/Put",
      .level = ACCESS_USE,
      .request = &littlebird__v1__put_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_put,
      .translate = storage_translate_put,
      .place = storage_place_put,
      .may_repeat = storage_put_may_repeat },
    { .name = "littlebird.v1.StorageService/Get",
      .level = ACCESS_USE,
      .request = &littlebird__v1__get_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_get,
      .translate = storage_translate_get,
      .place = storage_place_get,
      .may_repeat = always },
    { .name = "littlebird.v1.StorageService/Remove",
      .level = ACCESS_USE,
      .request = &littlebird__v1__remove_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_remove,
      .translate = storage_translate_remove,
      .place = storage_place_remove,
      .may_repeat = storage_remove_may_repeat,
      .done_before = LB_NOT_FOUND },
    { .name = "littlebird.v1.StorageService/AuditKeys",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__audit_keys_request__descriptor,
      .service = SERVICE_STORAGE,
      .ask = storage_ask_audit,
      .translate = storage_translate_audit,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/Share",
      .level = ACCESS_USE,
      .request = &littlebird__v1__share_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_share,
      .translate = swarm_translate_share,
      .place = swarm_place_share,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/Fetch",
      .level = ACCESS_USE,
      .request = &littlebird__v1__fetch_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_fetch,
      .translate = swarm_translate_fetch,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/ListTransfers",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__list_transfers_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_list,
      .translate = swarm_translate_list,
      .of_all = true,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/RemoveTransfer",
      .level = ACCESS_USE,
      .request = &littlebird__v1__remove_transfer_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_remove,
      .translate = swarm_translate_remove,
      .place = swarm_place,
      .may_repeat = always,
      .done_before = LB_NOT_FOUND },
    { .name = "littlebird.v1.SwarmService/GetMetainfo",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__get_metainfo_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_metainfo,
      .translate = swarm_translate_metainfo,
      .place = swarm_place,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/ListTransferPeers",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__list_transfer_peers_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_peers,
      .translate = swarm_translate_peers,
      .of_all = true,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/ListTransferFiles",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__list_transfer_files_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_files,
      .translate = swarm_translate_files,
      .place = swarm_place,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/SetTransferLimits",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__set_transfer_limits_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_limits,
      .translate = swarm_translate_limits,
      .place = swarm_place,
      .may_repeat = always },
    { .name = "littlebird.v1.SwarmService/CheckTransfer",
      .level = ACCESS_USE,
      .request = &littlebird__v1__check_transfer_request__descriptor,
      .service = SERVICE_SWARM,
      .ask = swarm_ask_check,
      .translate = swarm_translate_check,
      .place = swarm_place,
      .may_repeat = always },
    { .name = "littlebird.v1.DhtService/Lookup",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__lookup_request__descriptor,
      .service = SERVICE_ROUTING,
      .ask = dht_ask_lookup,
      .translate = dht_translate_lookup,
      .may_repeat = always },
    { .name = "littlebird.v1.DhtService/GetTable",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__get_table_request__descriptor,
      .service = SERVICE_ROUTING,
      .ask = dht_ask_table,
      .translate = dht_translate_table,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/GetMembership",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__get_membership_request__descriptor,
      .service = SERVICE_MEMBER,
      .ask = network_ask_membership,
      .translate = network_translate_membership,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/SendMessage",
      .level = ACCESS_USE,
      .request = &littlebird__v1__send_message_request__descriptor,
      .service = SERVICE_MEMBER,
      .ask = network_ask_send,
      .translate = network_translate_sent,
      .may_repeat = never },
    { .name = "littlebird.v1.NetworkService/ListMessages",
      .level = ACCESS_LOOK,
      .request = &littlebird__v1__list_messages_request__descriptor,
      .service = SERVICE_MEMBER,
      .ask = network_ask_list,
      .translate = network_translate_list,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/ReadMessage",
      .level = ACCESS_USE,
      .request = &littlebird__v1__read_message_request__descriptor,
      .service = SERVICE_MEMBER,
      .ask = network_ask_read,
      .translate = network_translate_read,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/RemoveMessage",
      .level = ACCESS_USE,
      .request = &littlebird__v1__remove_message_request__descriptor,
      .service = SERVICE_MEMBER,
      .ask = network_ask_remove,
      .translate = network_translate_removed,
      .may_repeat = always,
      .done_before = LB_NOT_FOUND },
    { .name = "littlebird.v1.NetworkService/Renew",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__renew_request__descriptor,
      .service = SERVICE_MEMBER,
      .ask = network_ask_renew,
      .translate = network_translate_renewed,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/Invite",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__invite_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_invite,
      .translate = network_translate_invite,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/ListInvitations",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__list_invitations_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_invitations,
      .translate = network_translate_invitations,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/WithdrawInvitation",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__withdraw_invitation_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_withdraw,
      .translate = network_translate_withdrawn,
      .may_repeat = always,
      .done_before = LB_EXISTS },
    { .name = "littlebird.v1.NetworkService/ListMembers",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__list_members_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_members,
      .translate = network_translate_members,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/DecideMember",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__decide_member_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_decide,
      .translate = network_translate_decided,
      .may_repeat = always,
      .done_before = LB_NOT_FOUND },
    { .name = "littlebird.v1.NetworkService/RevokeMember",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__revoke_member_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_revoke,
      .translate = network_translate_revoked,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/GetCoordinators",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__get_coordinators_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_group,
      .translate = network_translate_group,
      .may_repeat = always },
    { .name = "littlebird.v1.NetworkService/AddCoordinator",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__add_coordinator_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_add_server,
      .translate = network_translate_server_added,
      .may_repeat = always,
      .done_before = LB_EXISTS },
    { .name = "littlebird.v1.NetworkService/RemoveCoordinator",
      .level = ACCESS_CHANGE,
      .request = &littlebird__v1__remove_coordinator_request__descriptor,
      .service = SERVICE_COORDINATOR,
      .ask = network_ask_remove_server,
      .translate = network_translate_server_removed,
      .may_repeat = always,
      .done_before = LB_NOT_FOUND },
};

const struct method *method_find(const char *name)
{
    for (size_t i = 0; i < API_METHODS_COUNT; i++) {
        if (strcmp(api_methods[i].name, name) == 0)
            return &api_methods[i];
    }
    return NULL;
}
