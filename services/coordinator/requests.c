/* What this node's people ask through the gateway (proto/coordinator.proto). */
#include "libcommon/clock.h"
#include "libcommon/crypto.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/join_token.h"
#include "services/coordinator/host_port.h"
#include "services/coordinator/inside.h"

#include <openssl/crypto.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_A_REPLY 500u
#define INVITES_A_REPLY 500u

static bool is_there(struct coordinator *self, struct call **call)
{
    if (self->group != NULL && register_is_founded(self->reg)) {
        return true;
    }
    call_fail(call, self->enlisting != NULL ? LB_UNSUPPORTED : LB_UNAVAILABLE, /* to ask again */
              self->enlisting != NULL
                  ? "this node waits to be added to the coordinators by its operator"
              : self->is_first
                  ? "the network is not begun yet: lb-admin status says why"
                  : "this coordinator has no register yet: it reaches none of the others, or they "
                    "have removed it");
    return false;
}

/* ---- changes that are only done or refused ---- */

struct change {
    struct coordinator *coordinator;
    struct call *call;
};

static void reply_done(struct call **call)
{
    Lb__Coordinator__Done done = LB__COORDINATOR__DONE__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;

    reply.body_case = LB__COORDINATOR__REPLY__BODY_DONE;
    reply.done = &done;
    call_reply(call, &reply.base);
}

static void on_changed(void *ctx, const struct decision *decision)
{
    struct change *change = ctx;

    if (decision->outcome == REGISTER_REFUSED) {
        call_fail(&change->call, decision->err != LB_OK ? decision->err : LB_INTERNAL, "%s",
                  decision->reason);
    } else {
        reply_done(&change->call);
    }
    free(change);
}

/* As long as the caller waits, and a little less. */
static uint32_t limit_ms(const struct call *call)
{
    uint32_t left_ms = call_time_left_ms(call);

    return left_ms < COORDINATOR_LATE_MS ? left_ms : COORDINATOR_LATE_MS;
}

static void change(struct coordinator *self, struct call **call, struct register_command *command)
{
    struct change *it = xcalloc(1, sizeof *it);

    command->now_s = clock_wall_s();
    *it = (struct change){ self, *call };
    *call = NULL;
    proposals_make(self->proposals, command, limit_ms(it->call), on_changed, it);
}

static bool take_node(struct call **call, const ProtobufCBinaryData *node_id,
                      struct node_id *ret_node)
{
    if (node_id->len != NODE_ID_SIZE) {
        call_fail(call, LB_INVALID, "a node id has 20 bytes");
        return false;
    }
    *ret_node = node_id_from(node_id->data);
    return true;
}

static void on_decide(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__Decide *decide = body;
    struct register_command command = { .verb = VERB_DECIDE, .yes = decide->admit };

    if (!is_there(self, &call)) {
        return;
    }
    if (decide->key_digest.len != REGISTER_DIGEST_SIZE) {
        call_fail(&call, LB_INVALID, "the digest of a key has 32 bytes");
        return;
    }
    memcpy(command.key_digest, decide->key_digest.data, sizeof command.key_digest);
    clock_entropy_bytes(command.node.bytes, sizeof command.node.bytes);
    command.not_after_s = issue_not_after(self, clock_wall_s());
    change(self, &call, &command);
}

static void on_revoke(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__Revoke *revoke = body;
    struct register_command command = { .verb = VERB_REVOKE };

    if (is_there(self, &call) && take_node(&call, &revoke->node_id, &command.node)) {
        change(self, &call, &command);
    }
}

static void on_withdraw(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__Withdraw *withdraw = body;
    struct register_command command = { .verb = VERB_WITHDRAW };

    if (!is_there(self, &call)) {
        return;
    }
    if (withdraw->invite.len != REGISTER_INVITE_SIZE) {
        call_fail(&call, LB_INVALID, "the id of an invitation has 6 bytes");
        return;
    }
    memcpy(command.invite, withdraw->invite.data, sizeof command.invite);
    change(self, &call, &command);
}

static void on_set_policy(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__SetPolicy *policy = body;
    struct register_command command = { .verb = VERB_SET_POLICY,
                                        .yes = policy->waits_for_approval };

    if (is_there(self, &call)) {
        change(self, &call, &command);
    }
}

/* For the key that was offered, by our root, and it counts now: else nobody could use it. */
static const char *wrong_intermediate(const struct coordinator *self,
                                      const struct register_server *server,
                                      const ProtobufCBinaryData *der)
{
    const char *wrong = NULL;
    X509 *intermediate;
    EVP_PKEY *key;

    if (server == NULL) {
        return "that node has not offered itself";
    }
    if (der->len > REGISTER_CERTIFICATE_MAX ||
        certificate_from_der(bytes_of(der->data, der->len), &intermediate) != LB_OK) {
        return "no certificate";
    }
    if (certificate_request_parse(bytes_of(server->request, server->request_size), &key) != LB_OK) {
        X509_free(intermediate);
        return "what that node has offered is no key";
    }
    if (EVP_PKEY_eq(X509_get0_pubkey(intermediate), key) != 1) {
        wrong = "it is for another key than that node has offered";
    } else if (X509_check_ca(intermediate) != 1 ||
               certificate_verify_chain(intermediate, NULL, membership_root(self->own), 0,
                                        clock_wall_s()) != REFUSED_NOT) {
        wrong = "it is not signed by the root of this network, or does not count now";
    }
    key_free(&key);
    X509_free(intermediate);
    return wrong;
}

static const struct register_server *server_or_offer(const struct coordinator *self,
                                                     const struct node_id *node)
{
    const struct register_server *offers, *server = register_server(self->reg, node);
    size_t count = register_offers(self->reg, &offers);

    for (size_t i = 0; server == NULL && i < count; i++) {
        if (node_id_equal(&offers[i].node, node)) {
            server = &offers[i];
        }
    }
    return server;
}

static void on_add_server(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__AddServer *add = body;
    struct register_command command = { .verb = VERB_ADD_SERVER };
    const char *wrong;

    if (!is_there(self, &call) || !take_node(&call, &add->node_id, &command.node)) {
        return;
    }
    wrong = wrong_intermediate(self, server_or_offer(self, &command.node), &add->intermediate);
    if (wrong != NULL) {
        call_fail(&call, LB_INVALID, "%s", wrong);
        return;
    }
    command.intermediate = bytes_of(add->intermediate.data, add->intermediate.len);
    change(self, &call, &command);
}

/* Which it is, and when it ends. */
static bool take_intermediate(const struct register_server *server,
                              struct register_command *command)
{
    X509 *intermediate;
    uint64_t from_s;
    bool taken;

    if (server == NULL ||
        certificate_from_der(bytes_of(server->intermediate, server->intermediate_size),
                             &intermediate) != LB_OK) {
        return false;
    }
    taken = certificate_key_id(intermediate, command->key_id) == LB_OK &&
            certificate_dates(intermediate, &from_s, &command->not_after_s) == LB_OK;
    X509_free(intermediate);
    return taken;
}

static void on_remove_server(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__RemoveServer *remove = body;
    struct register_command command = { .verb = VERB_REMOVE_SERVER };

    if (!is_there(self, &call) || !take_node(&call, &remove->node_id, &command.node)) {
        return;
    }
    if (!take_intermediate(register_server(self->reg, &command.node), &command)) {
        call_fail(&call, LB_NOT_FOUND, "that node is no coordinator");
        return;
    }
    change(self, &call, &command);
}

/* ---- invitations ---- */

struct inviting {
    struct call *call;
    uint64_t expires_s;
    struct join_token token;
};

static void on_invited(void *ctx, const struct decision *decision)
{
    struct inviting *it = ctx;
    Lb__Coordinator__Token token = LB__COORDINATOR__TOKEN__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    char text[JOIN_TOKEN_SIZE];

    if (decision->outcome == REGISTER_REFUSED) {
        call_fail(&it->call, decision->err != LB_OK ? decision->err : LB_INTERNAL, "%s",
                  decision->reason);
    } else if (join_token_write(&it->token, text) != LB_OK) {
        call_fail(&it->call, LB_INVALID, "no token can hold these addresses");
    } else {
        token.token = text;
        token.expires_s = it->expires_s;
        token.invite = (ProtobufCBinaryData){ sizeof it->token.invite, it->token.invite };
        reply.body_case = LB__COORDINATOR__REPLY__BODY_TOKEN;
        reply.token = &token;
        call_reply(&it->call, &reply.base);
    }
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(it, sizeof *it);
    free(it);
}

/* Those that were asked for, else ours first, then the other coordinators'. */
static bool take_addresses(const struct coordinator *self, const Lb__Coordinator__Invite *invite,
                           struct join_token *token)
{
    const struct register_server *servers;
    size_t count = register_servers(self->reg, &servers);
    char host[JOIN_ADDRESS_SIZE], port[HOST_PORT_PORT_SIZE];

    for (size_t i = 0; i < invite->n_addresses; i++) {
        if (token->addresses_count == JOIN_ADDRESSES_MAX ||
            !host_port_split(invite->addresses[i], host, sizeof host, port)) {
            return false;
        }
        snprintf(token->addresses[token->addresses_count++], JOIN_ADDRESS_SIZE, "%s",
                 invite->addresses[i]);
    }
    if (invite->n_addresses > 0) {
        return true;
    }
    for (int ours = 1; ours >= 0; ours--) {
        for (size_t i = 0; i < count && token->addresses_count < JOIN_ADDRESSES_MAX; i++) {
            if ((servers[i].number == self->number) == (ours == 1)) {
                snprintf(token->addresses[token->addresses_count++], JOIN_ADDRESS_SIZE, "%s",
                         servers[i].address);
            }
        }
    }
    return true;
}

static void on_invite(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__Invite *invite = body;
    struct register_command command = { .verb = VERB_INVITE, .now_s = clock_wall_s() };
    struct inviting *it;

    if (!is_there(self, &call)) {
        return;
    }
    it = xcalloc(1, sizeof *it);
    if (!take_addresses(self, invite, &it->token)) {
        free(it);
        call_fail(&call, LB_INVALID, "a token holds 1 to 4 addresses HOST:PORT");
        return;
    }
    clock_entropy_bytes(it->token.invite, sizeof it->token.invite);
    clock_entropy_bytes(it->token.secret, sizeof it->token.secret);
    memcpy(it->token.network, self->identity.network, sizeof it->token.network);
    memcpy(command.invite, it->token.invite, sizeof command.invite);
    sha256(bytes_of(it->token.secret, sizeof it->token.secret), command.secret);
    command.uses = invite->uses;
    command.expires_s = it->expires_s = command.now_s + invite->ttl_s;
    it->call = call;
    proposals_make(self->proposals, &command, limit_ms(call), on_invited, it);
}

static void set_invitation(Lb__Coordinator__Invitation *row, const struct register_invite *invite)
{
    lb__coordinator__invitation__init(row);
    row->invite = (ProtobufCBinaryData){ REGISTER_INVITE_SIZE, (uint8_t *)invite->invite };
    row->uses_left = invite->uses_left;
    row->expires_s = invite->expires_s;
    row->uses = invite->uses;
    row->made_s = invite->made_s;
    row->withdrawn = invite->withdrawn;
}

static void on_list_invites(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__ListInvites *asks = body;
    const struct register_invite *found[INVITES_A_REPLY];
    Lb__Coordinator__Invitation rows[INVITES_A_REPLY], *pointers[INVITES_A_REPLY];
    Lb__Coordinator__Invites list = LB__COORDINATOR__INVITES__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    bool more;

    if (!is_there(self, &call)) {
        return;
    }
    if (asks->after.len != 0 && asks->after.len != REGISTER_INVITE_SIZE) {
        call_fail(&call, LB_INVALID, "after is the id of an invitation, of 6 bytes");
        return;
    }
    list.n_invites = register_invites(self->reg, asks->after.len > 0 ? asks->after.data : NULL,
                                      found, INVITES_A_REPLY, &more);
    for (size_t i = 0; i < list.n_invites; i++) {
        set_invitation(&rows[i], found[i]);
        pointers[i] = &rows[i];
    }
    list.invites = pointers;
    list.more = more;
    reply.body_case = LB__COORDINATOR__REPLY__BODY_INVITES;
    reply.invites = &list;
    call_reply(&call, &reply.base);
}

/* ---- members ---- */

struct members_reply {
    Lb__Coordinator__Member rows[MEMBERS_A_REPLY], *pointers[MEMBERS_A_REPLY];
    char fingerprints[MEMBERS_A_REPLY][KEY_FINGERPRINT_SIZE];
    Lb__Coordinator__Members list;
};

static Lb__Coordinator__Member *add_row(struct members_reply *self,
                                        const uint8_t key_digest[REGISTER_DIGEST_SIZE],
                                        const char *host_name)
{
    size_t at = self->list.n_members++;
    Lb__Coordinator__Member *row = &self->rows[at];

    lb__coordinator__member__init(row);
    self->pointers[at] = row;
    key_fingerprint_of(key_digest, self->fingerprints[at]);
    row->fingerprint = self->fingerprints[at];
    row->host_name = (char *)host_name;
    row->key_digest = (ProtobufCBinaryData){ REGISTER_DIGEST_SIZE, (uint8_t *)key_digest };
    return row;
}

static void list_waiting(const struct coordinator *self, const uint8_t *after,
                         struct members_reply *reply)
{
    const struct register_waiting *found[MEMBERS_A_REPLY];
    bool more;
    size_t count = register_waiting(self->reg, after, found, MEMBERS_A_REPLY, &more);

    for (size_t i = 0; i < count; i++) {
        add_row(reply, found[i]->key_digest, found[i]->host_name)->admitted_s = found[i]->since_s;
    }
    reply->list.more = more;
}

static void list_admitted(const struct coordinator *self, const uint8_t *after,
                          struct members_reply *reply)
{
    const struct register_member *found[MEMBERS_A_REPLY];
    struct node_id node = after != NULL ? node_id_from(after) : (struct node_id){ { 0 } };
    bool more;
    size_t count =
        register_members(self->reg, after != NULL ? &node : NULL, found, MEMBERS_A_REPLY, &more);

    for (size_t i = 0; i < count; i++) {
        Lb__Coordinator__Member *row = add_row(reply, found[i]->key_digest, found[i]->host_name);

        row->node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, (uint8_t *)found[i]->node.bytes };
        row->serial = found[i]->serial;
        row->admitted_s = found[i]->admitted_s;
        row->not_after_s = found[i]->not_after_s;
        row->revoked = found[i]->revoked;
        row->coordinator = register_is_coordinator(self->reg, &found[i]->node);
    }
    reply->list.more = more;
}

static void on_list_members(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    const Lb__Coordinator__ListMembers *asks = body;
    size_t after_size = asks->pending ? REGISTER_DIGEST_SIZE : NODE_ID_SIZE;
    const uint8_t *after = asks->after.len > 0 ? asks->after.data : NULL;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    struct members_reply *members;

    if (!is_there(self, &call)) {
        return;
    }
    if (asks->after.len != 0 && asks->after.len != after_size) {
        call_fail(&call, LB_INVALID,
                  "after is a node id of 20 bytes, or of those that wait the "
                  "digest of a key of 32");
        return;
    }
    members = xcalloc(1, sizeof *members);
    lb__coordinator__members__init(&members->list);
    members->list.members = members->pointers;
    if (asks->pending) {
        list_waiting(self, after, members);
    } else {
        list_admitted(self, after, members);
    }
    reply.body_case = LB__COORDINATOR__REPLY__BODY_MEMBERS;
    reply.members = &members->list;
    call_reply(&call, &reply.base);
    free(members);
}

/* ---- the group ---- */

#define GROUP_ROWS_MAX (REGISTER_SERVERS_MAX + REGISTER_OFFERS_MAX)

static void set_server(Lb__Coordinator__GroupServer *row, const struct register_server *server)
{
    lb__coordinator__group_server__init(row);
    row->server = server->number;
    row->address = (char *)server->address;
    row->node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, (uint8_t *)server->node.bytes };
    row->request = (ProtobufCBinaryData){ server->request_size, (uint8_t *)server->request };
}

static void on_get_group(void *ctx, struct call *call, const void *body)
{
    struct coordinator *self = ctx;
    Lb__Coordinator__GroupServer rows[GROUP_ROWS_MAX], *pointers[GROUP_ROWS_MAX];
    Lb__Coordinator__Group group = LB__COORDINATOR__GROUP__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    const struct register_server *servers, *offers;
    struct group_view view;
    size_t count, offers_count;

    (void)body;
    if (!is_there(self, &call)) {
        return;
    }
    count = register_servers(self->reg, &servers);
    offers_count = register_offers(self->reg, &offers);
    group_look(self->group, &view);
    for (size_t i = 0; i < count + offers_count; i++) {
        bool is_server = i < count;
        bool voter = false;

        pointers[i] = &rows[i];
        set_server(&rows[i], is_server ? &servers[i] : &offers[i - count]);
        if (is_server) {
            group_look_server(self->group, servers[i].number, &voter, &rows[i].lag);
            rows[i].voter = voter;
        }
    }
    group.network_name = (char *)register_name(self->reg);
    group.network =
        (ProtobufCBinaryData){ NETWORK_ID_SIZE, (uint8_t *)register_network(self->reg) };
    group.server = view.number;
    group.leader = view.leader;
    group.term = view.term;
    group.index = view.last_index;
    group.committed = view.committed;
    group.applied = view.applied;
    group.servers = pointers;
    group.n_servers = count + offers_count;
    group.members = register_members_count(self->reg);
    group.pending = register_waiting_count(self->reg);
    group.deny_number = register_deny_number(self->reg);
    group.waits_for_approval = register_waits_for_approval(self->reg);
    group.intermediate_until_s = self->intermediate_until_s;
    reply.body_case = LB__COORDINATOR__REPLY__BODY_GROUP;
    reply.group = &group;
    call_reply(&call, &reply.base);
}

handler_fn *const coordinator_handlers[] = {
    [LB__COORDINATOR__REQUEST__BODY_INVITE] = on_invite,
    [LB__COORDINATOR__REQUEST__BODY_LIST_MEMBERS] = on_list_members,
    [LB__COORDINATOR__REQUEST__BODY_DECIDE] = on_decide,
    [LB__COORDINATOR__REQUEST__BODY_REVOKE] = on_revoke,
    [LB__COORDINATOR__REQUEST__BODY_GET_GROUP] = on_get_group,
    [LB__COORDINATOR__REQUEST__BODY_ADD_SERVER] = on_add_server,
    [LB__COORDINATOR__REQUEST__BODY_REMOVE_SERVER] = on_remove_server,
    [LB__COORDINATOR__REQUEST__BODY_LIST_INVITES] = on_list_invites,
    [LB__COORDINATOR__REQUEST__BODY_WITHDRAW] = on_withdraw,
    [LB__COORDINATOR__REQUEST__BODY_SET_POLICY] = on_set_policy,
};
