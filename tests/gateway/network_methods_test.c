/* What lb-member and lb-coordinator are asked, and what a client is told of their answers. */
#include "services/gateway/network_methods.h"

#include "proto/coordinator.pb-c.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "proto/member.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(text)      ((ProtobufCBinaryData){ sizeof(text) - 1, (uint8_t *)(uintptr_t)(text) })
#define ZEROS(size)      ((ProtobufCBinaryData){ (size), zeros })
#define TEXT(text)       ((char *)(uintptr_t)(text))
#define NETWORK(name)    "littlebird.v1.NetworkService/" name
#define TWENTY           "abcdefghijklmnopqrst"
#define THIRTY_TWO       "abcdefghijklmnopqrstuvwxyz012345"
#define HOUR_S           3600u
#define PUBLIC_INIT(tag) LITTLEBIRD__V1__##tag##__INIT

static uint8_t zeros[API_MESSAGE_TEXT_MAX + 1];

/* A message as its receiver would unpack it. */
static void keep(void *ctx, const ProtobufCMessage *message)
{
    ProtobufCMessage **kept = ctx;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);

    assert_non_null(packed);
    assert_null(*kept);
    protobuf_c_message_pack(message, packed);
    *kept = protobuf_c_message_unpack(message->descriptor, NULL, size, packed);
    assert_non_null(*kept);
    free(packed);
}

static void *ask(const char *name, const void *request, lb_err expected)
{
    const char *problem = NULL;
    ProtobufCMessage *asked = NULL;

    assert_int_equal(method_find(name)->ask(request, keep, &asked, &problem), expected);
    assert_int_equal(asked != NULL, expected == LB_OK);
    if (expected != LB_OK)
        assert_non_null(problem);
    return asked;
}

static void *translate(const char *name, const void *reply)
{
    ProtobufCMessage *response = NULL;
    bool understood = method_find(name)->translate(reply, keep, &response);

    assert_int_equal(understood, response != NULL);
    return response;
}

static void drop(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- lb-member ---- */

static const struct send_row {
    const char *what;
    size_t id_size, text_size;
    uint32_t keep_s;
    lb_err err;
} send_rows[] = {
    { "a message", 20, 5, 0, LB_OK },
    { "the largest one, kept as long as may be", 20, 32 * 1024, 30 * 24 * HOUR_S, LB_OK },
    { "an empty one", 20, 0, 0, LB_INVALID },
    { "one byte too many", 20, 32 * 1024 + 1, 0, LB_TOO_BIG },
    { "kept for too long", 20, 5, 30 * 24 * HOUR_S + 1, LB_INVALID },
    { "to half a node", 10, 5, 0, LB_INVALID },
    { "to nobody", 0, 5, 0, LB_INVALID },
};

static void send_is_checked(void **state)
{
    const struct send_row *row = *state;
    Littlebird__V1__SendMessageRequest request = PUBLIC_INIT(SEND_MESSAGE_REQUEST);
    Lb__Member__Request *asked;

    request.node_id = ZEROS(row->id_size);
    request.text = ZEROS(row->text_size);
    request.keep_s = row->keep_s;
    asked = ask(NETWORK("SendMessage"), &request, row->err);
    if (row->err != LB_OK)
        return;
    assert_int_equal(asked->body_case, LB__MEMBER__REQUEST__BODY_SEND);
    assert_int_equal(asked->send->node_id.len, row->id_size);
    assert_int_equal(asked->send->text.len, row->text_size);
    assert_int_equal(asked->send->keep_s, row->keep_s);
    drop(asked);
}

/* Carried out twice it would arrive twice. */
static void a_message_is_sent_once(void **state)
{
    (void)state;
    assert_false(method_find(NETWORK("SendMessage"))->may_repeat(NULL));
}

static void sent_is_told(void **state)
{
    Lb__Member__Sent sent = LB__MEMBER__SENT__INIT;
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Littlebird__V1__SendMessageResponse *response;

    (void)state;
    assert_null(translate(NETWORK("SendMessage"), &reply));
    sent.id = BYTES(THIRTY_TWO);
    sent.holders = 8;
    reply.body_case = LB__MEMBER__REPLY__BODY_SENT;
    reply.sent = &sent;
    response = translate(NETWORK("SendMessage"), &reply);
    assert_memory_equal(response->message_id.data, THIRTY_TWO, 32);
    assert_false(response->delivered);
    assert_int_equal(response->holders, 8);
    drop(response);
}

static void the_inbox_waits_half_a_minute_at_most(void **state)
{
    Littlebird__V1__ListMessagesRequest request = PUBLIC_INIT(LIST_MESSAGES_REQUEST);
    Lb__Member__Request *asked;

    (void)state;
    request.after = 7;
    request.wait_ms = 30000;
    asked = ask(NETWORK("ListMessages"), &request, LB_OK);
    assert_int_equal(asked->list_inbox->after, 7);
    assert_int_equal(asked->list_inbox->wait_ms, 30000);
    drop(asked);
    request.wait_ms++;
    ask(NETWORK("ListMessages"), &request, LB_INVALID);
}

static void messages_are_told(void **state)
{
    Lb__Member__MailInfo info = LB__MEMBER__MAIL_INFO__INIT;
    Lb__Member__MailInfo *mails[] = { &info };
    Lb__Member__Inbox inbox = LB__MEMBER__INBOX__INIT;
    Lb__Member__Mail mail = LB__MEMBER__MAIL__INIT;
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Littlebird__V1__ListMessagesResponse *list;
    Littlebird__V1__ReadMessageResponse *read;

    (void)state;
    info.number = 3;
    info.sender = BYTES(TWENTY);
    info.sent_s = 1000;
    info.received_s = 1001;
    info.size = 4;
    inbox.mails = mails;
    inbox.n_mails = 1;
    inbox.more = 1;
    reply.body_case = LB__MEMBER__REPLY__BODY_INBOX;
    reply.inbox = &inbox;
    list = translate(NETWORK("ListMessages"), &reply);
    assert_int_equal(list->n_messages, 1);
    assert_int_equal(list->messages[0]->number, 3);
    assert_int_equal(list->messages[0]->sent_s, 1000);
    assert_true(list->more);
    drop(list);
    assert_null(translate(NETWORK("ReadMessage"), &reply));
    reply.body_case = LB__MEMBER__REPLY__BODY_MAIL;
    reply.mail = &mail;
    assert_null(translate(NETWORK("ReadMessage"), &reply)); /* without its head */
    mail.info = &info;
    mail.text = BYTES("te\0t");
    read = translate(NETWORK("ReadMessage"), &reply);
    assert_memory_equal(read->message->sender.data, TWENTY, 20);
    assert_int_equal(read->text.len, 4);
    drop(read);
}

static void a_message_is_removed(void **state)
{
    Littlebird__V1__RemoveMessageRequest request = PUBLIC_INIT(REMOVE_MESSAGE_REQUEST);
    Lb__Member__Done done = LB__MEMBER__DONE__INIT;
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Request *asked;

    (void)state;
    request.number = 9;
    asked = ask(NETWORK("RemoveMessage"), &request, LB_OK);
    assert_int_equal(asked->remove_mail->number, 9);
    drop(asked);
    assert_null(translate(NETWORK("RemoveMessage"), &reply));
    reply.body_case = LB__MEMBER__REPLY__BODY_DONE;
    reply.done = &done;
    drop(translate(NETWORK("RemoveMessage"), &reply));
    assert_int_equal(method_find(NETWORK("RemoveMessage"))->done_before, LB_NOT_FOUND);
}

static void membership_is_told(void **state)
{
    Littlebird__V1__GetMembershipRequest request = PUBLIC_INIT(GET_MEMBERSHIP_REQUEST);
    Lb__Member__Membership membership = LB__MEMBER__MEMBERSHIP__INIT;
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Littlebird__V1__GetMembershipResponse *response;
    Littlebird__V1__RenewResponse *renewed;
    char *coordinators[] = { TEXT("192.0.2.1:6891") };

    (void)state;
    drop(ask(NETWORK("GetMembership"), &request, LB_OK));
    assert_null(translate(NETWORK("GetMembership"), &reply));
    membership.network_name = TEXT("lab");
    membership.network = BYTES(THIRTY_TWO);
    membership.node_id = BYTES(TWENTY);
    membership.serial = 5;
    membership.not_after_s = 1234;
    membership.deny_number = 2;
    membership.skew_s = -90;
    membership.coordinators = coordinators;
    membership.n_coordinators = 1;
    membership.problem = TEXT("the clock is off");
    reply.body_case = LB__MEMBER__REPLY__BODY_MEMBERSHIP;
    reply.membership = &membership;
    response = translate(NETWORK("GetMembership"), &reply);
    assert_string_equal(response->network_name, "lab");
    assert_memory_equal(response->network_id.data, THIRTY_TWO, 32);
    assert_int_equal(response->skew_s, -90);
    assert_string_equal(response->coordinators[0], "192.0.2.1:6891");
    assert_string_equal(response->problem, "the clock is off");
    drop(response);
    renewed = translate(NETWORK("Renew"), &reply);
    assert_int_equal(renewed->serial, 5);
    assert_int_equal(renewed->not_after_s, 1234);
    drop(renewed);
}

/* ---- lb-coordinator ---- */

static const struct invite_row {
    const char *what;
    uint32_t uses, ttl_s;
    size_t addresses;
    const char *address;
    lb_err err;
    uint32_t asked_uses, asked_ttl_s;
} invite_rows[] = {
    { "one node within a day, when nothing is said", 0, 0, 0, "", LB_OK, 1, 24 * HOUR_S },
    { "a class", 30, HOUR_S, 1, "192.0.2.1:6891", LB_OK, 30, HOUR_S },
    { "as much as may be", 10000, 30 * 24 * HOUR_S, 4, "h:1", LB_OK, 10000, 30 * 24 * HOUR_S },
    { "too many uses", 10001, 0, 0, "", LB_INVALID, 0, 0 },
    { "too short", 1, 59, 0, "", LB_INVALID, 0, 0 },
    { "too long", 1, 30 * 24 * HOUR_S + 1, 0, "", LB_INVALID, 0, 0 },
    { "an address too many", 1, 0, 5, "h:1", LB_INVALID, 0, 0 },
    { "an empty address", 1, 0, 1, "", LB_INVALID, 0, 0 },
};

static void invite_is_checked(void **state)
{
    const struct invite_row *row = *state;
    Littlebird__V1__InviteRequest request = PUBLIC_INIT(INVITE_REQUEST);
    char *addresses[5];
    Lb__Coordinator__Request *asked;

    for (size_t i = 0; i < 5; i++)
        addresses[i] = TEXT(row->address);
    request.uses = row->uses;
    request.ttl_s = row->ttl_s;
    request.addresses = addresses;
    request.n_addresses = row->addresses;
    asked = ask(NETWORK("Invite"), &request, row->err);
    if (row->err != LB_OK)
        return;
    assert_int_equal(asked->body_case, LB__COORDINATOR__REQUEST__BODY_INVITE);
    assert_int_equal(asked->invite->uses, row->asked_uses);
    assert_int_equal(asked->invite->ttl_s, row->asked_ttl_s);
    assert_int_equal(asked->invite->n_addresses, row->addresses);
    drop(asked);
}

static const struct invitation_row {
    const char *what;
    size_t id_size;
    lb_err listed_after, withdrawn;
} invitation_rows[] = {
    { "no id: the first page", 0, LB_OK, LB_INVALID },
    { "an id of 6 bytes", 6, LB_OK, LB_OK },
    { "an id that was cut", 5, LB_INVALID, LB_INVALID },
    { "the id of a node", 20, LB_INVALID, LB_INVALID },
};

static void an_invitation_is_named(void **state)
{
    const struct invitation_row *row = *state;
    Littlebird__V1__ListInvitationsRequest list = PUBLIC_INIT(LIST_INVITATIONS_REQUEST);
    Littlebird__V1__WithdrawInvitationRequest withdraw = PUBLIC_INIT(WITHDRAW_INVITATION_REQUEST);
    Lb__Coordinator__Request *asked;

    list.after = withdraw.invitation_id = ZEROS(row->id_size);
    asked = ask(NETWORK("ListInvitations"), &list, row->listed_after);
    if (row->listed_after == LB_OK) {
        assert_int_equal(asked->list_invites->after.len, row->id_size);
        drop(asked);
    }
    asked = ask(NETWORK("WithdrawInvitation"), &withdraw, row->withdrawn);
    if (row->withdrawn == LB_OK) {
        assert_int_equal(asked->withdraw->invite.len, row->id_size);
        drop(asked);
    }
}

static void invitations_are_told(void **state)
{
    Lb__Coordinator__Invitation invitation = LB__COORDINATOR__INVITATION__INIT;
    Lb__Coordinator__Invitation *invitations[] = { &invitation };
    Lb__Coordinator__Invites list = LB__COORDINATOR__INVITES__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    Littlebird__V1__ListInvitationsResponse *response;

    (void)state;
    assert_null(translate(NETWORK("ListInvitations"), &reply));
    invitation.invite = BYTES("sixsix");
    invitation.uses_left = 29;
    invitation.uses = 30;
    invitation.made_s = 7;
    invitation.expires_s = 99;
    invitation.withdrawn = 1;
    list.invites = invitations;
    list.n_invites = 1;
    list.more = 1;
    reply.body_case = LB__COORDINATOR__REPLY__BODY_INVITES;
    reply.invites = &list;
    response = translate(NETWORK("ListInvitations"), &reply);
    assert_int_equal(response->n_invitations, 1);
    assert_memory_equal(response->invitations[0]->invitation_id.data, "sixsix", 6);
    assert_int_equal(response->invitations[0]->uses_left, 29);
    assert_int_equal(response->invitations[0]->uses, 30);
    assert_int_equal(response->invitations[0]->made_s, 7);
    assert_int_equal(response->invitations[0]->expires_s, 99);
    assert_true(response->invitations[0]->withdrawn);
    assert_true(response->more);
    drop(response);
}

static void a_token_is_told(void **state)
{
    Lb__Coordinator__Token token = LB__COORDINATOR__TOKEN__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    Littlebird__V1__InviteResponse *response;

    (void)state;
    assert_null(translate(NETWORK("Invite"), &reply));
    token.token = TEXT("lb1.abc");
    token.expires_s = 99;
    token.invite = BYTES("sixsix");
    reply.body_case = LB__COORDINATOR__REPLY__BODY_TOKEN;
    reply.token = &token;
    response = translate(NETWORK("Invite"), &reply);
    assert_string_equal(response->token, "lb1.abc");
    assert_int_equal(response->expires_s, 99);
    assert_memory_equal(response->invitation_id.data, "sixsix", 6);
    drop(response);
}

static const struct page_row {
    const char *what;
    bool pending;
    size_t after_size;
    lb_err err;
} page_rows[] = {
    { "members from the first", false, 0, LB_OK },
    { "members after a node", false, 20, LB_OK },
    { "members after a key", false, 32, LB_INVALID },
    { "who waits, from the first", true, 0, LB_OK },
    { "who waits, after a key", true, 32, LB_OK },
    { "who waits, after a node", true, 20, LB_INVALID },
};

static void a_page_begins_after(void **state)
{
    const struct page_row *row = *state;
    Littlebird__V1__ListMembersRequest request = PUBLIC_INIT(LIST_MEMBERS_REQUEST);
    Lb__Coordinator__Request *asked;

    request.pending = row->pending;
    request.after = ZEROS(row->after_size);
    asked = ask(NETWORK("ListMembers"), &request, row->err);
    if (row->err != LB_OK)
        return;
    assert_int_equal(asked->list_members->pending, row->pending);
    assert_int_equal(asked->list_members->after.len, row->after_size);
    drop(asked);
}

static void members_are_told(void **state)
{
    Lb__Coordinator__Member member = LB__COORDINATOR__MEMBER__INIT;
    Lb__Coordinator__Member *members[] = { &member };
    Lb__Coordinator__Members list = LB__COORDINATOR__MEMBERS__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    Littlebird__V1__ListMembersResponse *response;

    (void)state;
    assert_null(translate(NETWORK("ListMembers"), &reply));
    member.node_id = BYTES(TWENTY);
    member.host_name = TEXT("pc-07");
    member.fingerprint = TEXT("4f1a-92c3-0b7e-55d0");
    member.serial = 11;
    member.revoked = 1;
    member.key_digest = BYTES(THIRTY_TWO);
    list.members = members;
    list.n_members = 1;
    list.more = 1;
    reply.body_case = LB__COORDINATOR__REPLY__BODY_MEMBERS;
    reply.members = &list;
    response = translate(NETWORK("ListMembers"), &reply);
    assert_string_equal(response->members[0]->host_name, "pc-07");
    assert_string_equal(response->members[0]->fingerprint, "4f1a-92c3-0b7e-55d0");
    assert_int_equal(response->members[0]->serial, 11);
    assert_true(response->members[0]->revoked);
    assert_false(response->members[0]->coordinator);
    assert_int_equal(response->members[0]->key_digest.len, 32);
    assert_true(response->more);
    drop(response);
}

static void who_waits_is_decided_by_a_key(void **state)
{
    Littlebird__V1__DecideMemberRequest request = PUBLIC_INIT(DECIDE_MEMBER_REQUEST);
    Lb__Coordinator__Request *asked;

    (void)state;
    request.key_digest = BYTES(TWENTY);
    ask(NETWORK("DecideMember"), &request, LB_INVALID);
    request.key_digest = BYTES(THIRTY_TWO);
    request.admit = 1;
    asked = ask(NETWORK("DecideMember"), &request, LB_OK);
    assert_true(asked->decide->admit);
    assert_memory_equal(asked->decide->key_digest.data, THIRTY_TWO, 32);
    drop(asked);
}

static void who_is_put_out_is_a_node(void **state)
{
    Littlebird__V1__RevokeMemberRequest revoke = PUBLIC_INIT(REVOKE_MEMBER_REQUEST);
    Littlebird__V1__RemoveCoordinatorRequest remove = PUBLIC_INIT(REMOVE_COORDINATOR_REQUEST);
    Lb__Coordinator__Request *asked;

    (void)state;
    ask(NETWORK("RevokeMember"), &revoke, LB_INVALID);
    revoke.node_id = BYTES(TWENTY);
    asked = ask(NETWORK("RevokeMember"), &revoke, LB_OK);
    assert_memory_equal(asked->revoke->node_id.data, TWENTY, 20);
    drop(asked);
    ask(NETWORK("RemoveCoordinator"), &remove, LB_INVALID);
    remove.node_id = BYTES(TWENTY);
    asked = ask(NETWORK("RemoveCoordinator"), &remove, LB_OK);
    assert_memory_equal(asked->remove_server->node_id.data, TWENTY, 20);
    drop(asked);
}

static void a_coordinator_comes_with_its_intermediate(void **state)
{
    Littlebird__V1__AddCoordinatorRequest request = PUBLIC_INIT(ADD_COORDINATOR_REQUEST);
    Lb__Coordinator__Request *asked;

    (void)state;
    request.node_id = BYTES(TWENTY);
    ask(NETWORK("AddCoordinator"), &request, LB_INVALID);
    request.intermediate = ZEROS(API_CERTIFICATE_MAX + 1);
    ask(NETWORK("AddCoordinator"), &request, LB_INVALID);
    request.intermediate = ZEROS(API_CERTIFICATE_MAX);
    asked = ask(NETWORK("AddCoordinator"), &request, LB_OK);
    assert_int_equal(asked->add_server->intermediate.len, API_CERTIFICATE_MAX);
    drop(asked);
    request.node_id = BYTES("short");
    ask(NETWORK("AddCoordinator"), &request, LB_INVALID);
}

static void done_is_told(void **state)
{
    static const char *const names[] = { NETWORK("DecideMember"), NETWORK("RevokeMember"),
                                         NETWORK("AddCoordinator"), NETWORK("RemoveCoordinator"),
                                         NETWORK("WithdrawInvitation") };
    Lb__Coordinator__Done done = LB__COORDINATOR__DONE__INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;

        assert_null(translate(names[i], &reply));
        reply.body_case = LB__COORDINATOR__REPLY__BODY_DONE;
        reply.done = &done;
        drop(translate(names[i], &reply));
    }
}

static void the_group_is_told(void **state)
{
    Littlebird__V1__GetCoordinatorsRequest request = PUBLIC_INIT(GET_COORDINATORS_REQUEST);
    Lb__Coordinator__GroupServer server = LB__COORDINATOR__GROUP_SERVER__INIT;
    Lb__Coordinator__GroupServer *servers[] = { &server };
    Lb__Coordinator__Group group = LB__COORDINATOR__GROUP__INIT;
    Lb__Coordinator__Reply reply = LB__COORDINATOR__REPLY__INIT;
    Littlebird__V1__GetCoordinatorsResponse *response;

    (void)state;
    drop(ask(NETWORK("GetCoordinators"), &request, LB_OK));
    assert_null(translate(NETWORK("GetCoordinators"), &reply));
    server.server = 1;
    server.address = TEXT("192.0.2.1:6891");
    server.voter = 1;
    server.lag = 3;
    group.servers = servers;
    group.n_servers = 1;
    group.network_name = TEXT("lab");
    group.leader = 1;
    group.term = 4;
    group.committed = 70;
    group.applied = 69;
    group.members = 12;
    group.deny_number = 2;
    group.waits_for_approval = 1;
    group.intermediate_until_s = 5000;
    reply.body_case = LB__COORDINATOR__REPLY__BODY_GROUP;
    reply.group = &group;
    response = translate(NETWORK("GetCoordinators"), &reply);
    assert_string_equal(response->coordinators[0]->address, "192.0.2.1:6891");
    assert_int_equal(response->coordinators[0]->lag, 3);
    assert_int_equal(response->term, 4);
    assert_int_equal(response->committed, 70);
    assert_int_equal(response->applied, 69);
    assert_int_equal(response->members, 12);
    assert_true(response->waits_for_approval);
    assert_int_equal(response->intermediate_until_s, 5000);
    drop(response);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_sent_once),
        cmocka_unit_test(sent_is_told),
        cmocka_unit_test(the_inbox_waits_half_a_minute_at_most),
        cmocka_unit_test(messages_are_told),
        cmocka_unit_test(a_message_is_removed),
        cmocka_unit_test(membership_is_told),
        cmocka_unit_test(a_token_is_told),
        cmocka_unit_test(invitations_are_told),
        cmocka_unit_test(members_are_told),
        cmocka_unit_test(who_waits_is_decided_by_a_key),
        cmocka_unit_test(who_is_put_out_is_a_node),
        cmocka_unit_test(a_coordinator_comes_with_its_intermediate),
        cmocka_unit_test(done_is_told),
        cmocka_unit_test(the_group_is_told),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(send_rows, send_is_checked) +
           RUN_ROWS(invite_rows, invite_is_checked) +
           RUN_ROWS(invitation_rows, an_invitation_is_named) +
           RUN_ROWS(page_rows, a_page_begins_after);
}
