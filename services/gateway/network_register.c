/* NetworkService, what lb-coordinator is asked: the register, the group. */
#include "services/gateway/network_methods.h"

#include "libcommon/memory.h"
#include "proto/coordinator.pb-c.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "services/gateway/network_inside.h"

#include <stdlib.h>
#include <string.h>

static bool is_done(const void *reply)
{
    return ((const Lb__Coordinator__Reply *)reply)->body_case == LB__COORDINATOR__REPLY__BODY_DONE;
}

/* ---- invitations ---- */

static lb_err check_invite(const Littlebird__V1__InviteRequest *from, const char **ret_problem)
{
    if (from->uses > API_INVITE_USES_MAX)
        return refuse(LB_INVALID, "uses is more than 10000", ret_problem);
    if (from->ttl_s != 0 &&
        (from->ttl_s < API_INVITE_TTL_S_MIN || from->ttl_s > API_INVITE_TTL_S_MAX))
        return refuse(LB_INVALID, "ttl_s is from 60 to 30 days", ret_problem);
    if (from->n_addresses > API_INVITE_ADDRESSES_MAX)
        return refuse(LB_INVALID, "a token holds at most 4 addresses", ret_problem);
    for (size_t i = 0; i < from->n_addresses; i++) {
        size_t size = strlen(from->addresses[i]);

        if (size == 0 || size > API_INVITE_ADDRESS_MAX)
            return refuse(LB_INVALID, "an address has 1 to 263 bytes", ret_problem);
    }
    return LB_OK;
}

lb_err network_ask_invite(const void *request, message_take_fn *send, void *ctx,
                          const char **ret_problem)
{
    const Littlebird__V1__InviteRequest *from = request;
    Lb__Coordinator__Invite invite = LB__COORDINATOR__INVITE__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;
    lb_err err = check_invite(from, ret_problem);

    if (err != LB_OK)
        return err;
    invite.uses = from->uses == 0 ? 1 : from->uses;
    invite.ttl_s = from->ttl_s == 0 ? API_INVITE_TTL_S : from->ttl_s;
    invite.addresses = from->addresses;
    invite.n_addresses = from->n_addresses;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_INVITE;
    message.invite = &invite;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_invite(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Coordinator__Reply *from = reply;
    Littlebird__V1__InviteResponse response = LITTLEBIRD__V1__INVITE_RESPONSE__INIT;

    if (from->body_case != LB__COORDINATOR__REPLY__BODY_TOKEN)
        return false;
    response.token = from->token->token;
    response.expires_s = from->token->expires_s;
    response.invitation_id = from->token->invite;
    respond(ctx, &response.base);
    return true;
}

lb_err network_ask_invitations(const void *request, message_take_fn *send, void *ctx,
                               const char **ret_problem)
{
    const Littlebird__V1__ListInvitationsRequest *from = request;
    Lb__Coordinator__ListInvites list = LB__COORDINATOR__LIST_INVITES__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;

    if (from->after.len != 0 && from->after.len != API_INVITATION_ID_SIZE)
        return refuse(LB_INVALID, "after is an invitation_id, of 6 bytes", ret_problem);
    list.after = from->after;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_LIST_INVITES;
    message.list_invites = &list;
    send(ctx, &message.base);
    return LB_OK;
}

/* The public form; borrows everything from it. */
static Littlebird__V1__Invitation invitation_of(const Lb__Coordinator__Invitation *from)
{
    Littlebird__V1__Invitation invitation = LITTLEBIRD__V1__INVITATION__INIT;

    invitation.invitation_id = from->invite;
    invitation.uses_left = from->uses_left;
    invitation.uses = from->uses;
    invitation.made_s = from->made_s;
    invitation.expires_s = from->expires_s;
    invitation.withdrawn = from->withdrawn;
    return invitation;
}

bool network_translate_invitations(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Coordinator__Reply *from = reply;
    const Lb__Coordinator__Invites *list = from->invites;
    Littlebird__V1__ListInvitationsResponse response =
        LITTLEBIRD__V1__LIST_INVITATIONS_RESPONSE__INIT;
    Littlebird__V1__Invitation *invitations, **pointers;

    if (from->body_case != LB__COORDINATOR__REPLY__BODY_INVITES)
        return false;
    invitations = xcalloc(list->n_invites, sizeof(*invitations));
    pointers = xcalloc(list->n_invites, sizeof(*pointers));
    for (size_t i = 0; i < list->n_invites; i++) {
        invitations[i] = invitation_of(list->invites[i]);
        pointers[i] = &invitations[i];
    }
    response.invitations = pointers;
    response.n_invitations = list->n_invites;
    response.more = list->more;
    respond(ctx, &response.base);
    free(invitations);
    free(pointers);
    return true;
}

lb_err network_ask_withdraw(const void *request, message_take_fn *send, void *ctx,
                            const char **ret_problem)
{
    const Littlebird__V1__WithdrawInvitationRequest *from = request;
    Lb__Coordinator__Withdraw withdraw = LB__COORDINATOR__WITHDRAW__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;

    if (from->invitation_id.len != API_INVITATION_ID_SIZE)
        return refuse(LB_INVALID, "invitation_id must be 6 bytes", ret_problem);
    withdraw.invite = from->invitation_id;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_WITHDRAW;
    message.withdraw = &withdraw;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_withdrawn(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__WithdrawInvitationResponse response =
        LITTLEBIRD__V1__WITHDRAW_INVITATION_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

/* ---- members ---- */

lb_err network_ask_members(const void *request, message_take_fn *send, void *ctx,
                           const char **ret_problem)
{
    const Littlebird__V1__ListMembersRequest *from = request;
    Lb__Coordinator__ListMembers list = LB__COORDINATOR__LIST_MEMBERS__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;

    if (from->after.len != 0 &&
        from->after.len != (from->pending ? API_KEY_DIGEST_SIZE : NODE_ID_SIZE))
        return refuse(LB_INVALID, "after is a node id, or of those that wait a key_digest",
                      ret_problem);
    list.pending = from->pending;
    list.after = from->after;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_LIST_MEMBERS;
    message.list_members = &list;
    send(ctx, &message.base);
    return LB_OK;
}

/* The public form; borrows everything from it. */
static Littlebird__V1__Member member_of(const Lb__Coordinator__Member *from)
{
    Littlebird__V1__Member member = LITTLEBIRD__V1__MEMBER__INIT;

    member.node_id = from->node_id;
    member.host_name = from->host_name;
    member.fingerprint = from->fingerprint;
    member.serial = from->serial;
    member.admitted_s = from->admitted_s;
    member.not_after_s = from->not_after_s;
    member.revoked = from->revoked;
    member.coordinator = from->coordinator;
    member.key_digest = from->key_digest;
    return member;
}

bool network_translate_members(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Coordinator__Reply *from = reply;
    const Lb__Coordinator__Members *list = from->members;
    Littlebird__V1__ListMembersResponse response = LITTLEBIRD__V1__LIST_MEMBERS_RESPONSE__INIT;
    Littlebird__V1__Member *members, **pointers;

    if (from->body_case != LB__COORDINATOR__REPLY__BODY_MEMBERS)
        return false;
    members = xcalloc(list->n_members, sizeof(*members));
    pointers = xcalloc(list->n_members, sizeof(*pointers));
    for (size_t i = 0; i < list->n_members; i++) {
        members[i] = member_of(list->members[i]);
        pointers[i] = &members[i];
    }
    response.members = pointers;
    response.n_members = list->n_members;
    response.more = list->more;
    respond(ctx, &response.base);
    free(members);
    free(pointers);
    return true;
}

lb_err network_ask_decide(const void *request, message_take_fn *send, void *ctx,
                          const char **ret_problem)
{
    const Littlebird__V1__DecideMemberRequest *from = request;
    Lb__Coordinator__Decide decide = LB__COORDINATOR__DECIDE__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;

    if (from->key_digest.len != API_KEY_DIGEST_SIZE)
        return refuse(LB_INVALID, "key_digest must be 32 bytes", ret_problem);
    decide.key_digest = from->key_digest;
    decide.admit = from->admit;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_DECIDE;
    message.decide = &decide;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_decided(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__DecideMemberResponse response = LITTLEBIRD__V1__DECIDE_MEMBER_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

lb_err network_ask_revoke(const void *request, message_take_fn *send, void *ctx,
                          const char **ret_problem)
{
    const Littlebird__V1__RevokeMemberRequest *from = request;
    Lb__Coordinator__Revoke revoke = LB__COORDINATOR__REVOKE__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;
    lb_err err = check_node_id(&from->node_id, ret_problem);

    if (err != LB_OK)
        return err;
    revoke.node_id = from->node_id;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_REVOKE;
    message.revoke = &revoke;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_revoked(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__RevokeMemberResponse response = LITTLEBIRD__V1__REVOKE_MEMBER_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

/* ---- the group ---- */

lb_err network_ask_group(const void *request, message_take_fn *send, void *ctx,
                         const char **ret_problem)
{
    Lb__Coordinator__GetGroup get = LB__COORDINATOR__GET_GROUP__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;

    (void)request;
    (void)ret_problem;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_GET_GROUP;
    message.get_group = &get;
    send(ctx, &message.base);
    return LB_OK;
}

/* The public form; borrows everything from it. */
static Littlebird__V1__Coordinator coordinator_of(const Lb__Coordinator__GroupServer *from)
{
    Littlebird__V1__Coordinator coordinator = LITTLEBIRD__V1__COORDINATOR__INIT;

    coordinator.server = from->server;
    coordinator.address = from->address;
    coordinator.node_id = from->node_id;
    coordinator.voter = from->voter;
    coordinator.lag = from->lag;
    coordinator.request = from->request;
    return coordinator;
}

static void fill_group(Littlebird__V1__GetCoordinatorsResponse *response,
                       const Lb__Coordinator__Group *group)
{
    response->network_name = group->network_name;
    response->network_id = group->network;
    response->server = group->server;
    response->leader = group->leader;
    response->term = group->term;
    response->committed = group->committed;
    response->applied = group->applied;
    response->members = group->members;
    response->pending = group->pending;
    response->deny_number = group->deny_number;
    response->waits_for_approval = group->waits_for_approval;
    response->intermediate_until_s = group->intermediate_until_s;
}

bool network_translate_group(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Coordinator__Reply *from = reply;
    const Lb__Coordinator__Group *group = from->group;
    Littlebird__V1__GetCoordinatorsResponse response =
        LITTLEBIRD__V1__GET_COORDINATORS_RESPONSE__INIT;
    Littlebird__V1__Coordinator *coordinators, **pointers;

    if (from->body_case != LB__COORDINATOR__REPLY__BODY_GROUP)
        return false;
    coordinators = xcalloc(group->n_servers, sizeof(*coordinators));
    pointers = xcalloc(group->n_servers, sizeof(*pointers));
    for (size_t i = 0; i < group->n_servers; i++) {
        coordinators[i] = coordinator_of(group->servers[i]);
        pointers[i] = &coordinators[i];
    }
    fill_group(&response, group);
    response.coordinators = pointers;
    response.n_coordinators = group->n_servers;
    respond(ctx, &response.base);
    free(coordinators);
    free(pointers);
    return true;
}

lb_err network_ask_add_server(const void *request, message_take_fn *send, void *ctx,
                              const char **ret_problem)
{
    const Littlebird__V1__AddCoordinatorRequest *from = request;
    Lb__Coordinator__AddServer add = LB__COORDINATOR__ADD_SERVER__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;
    lb_err err = check_node_id(&from->node_id, ret_problem);

    if (err != LB_OK)
        return err;
    if (from->intermediate.len == 0 || from->intermediate.len > API_CERTIFICATE_MAX)
        return refuse(LB_INVALID, "intermediate is a certificate, DER, of at most 2048 bytes",
                      ret_problem);
    add.node_id = from->node_id;
    add.intermediate = from->intermediate;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_ADD_SERVER;
    message.add_server = &add;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_server_added(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__AddCoordinatorResponse response =
        LITTLEBIRD__V1__ADD_COORDINATOR_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}

lb_err network_ask_remove_server(const void *request, message_take_fn *send, void *ctx,
                                 const char **ret_problem)
{
    const Littlebird__V1__RemoveCoordinatorRequest *from = request;
    Lb__Coordinator__RemoveServer body = LB__COORDINATOR__REMOVE_SERVER__INIT;
    Lb__Coordinator__Request message = LB__COORDINATOR__REQUEST__INIT;
    lb_err err = check_node_id(&from->node_id, ret_problem);

    if (err != LB_OK)
        return err;
    body.node_id = from->node_id;
    message.body_case = LB__COORDINATOR__REQUEST__BODY_REMOVE_SERVER;
    message.remove_server = &body;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_server_removed(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__RemoveCoordinatorResponse response =
        LITTLEBIRD__V1__REMOVE_COORDINATOR_RESPONSE__INIT;

    if (is_done(reply))
        respond(ctx, &response.base);
    return is_done(reply);
}
