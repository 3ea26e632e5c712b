/* Members, their messages and deny lists: the shell of lb-member, whole. */
#include "libcommon/clock.h"
#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/pki/sealed.h"
#include "services/member/ask.h"
#include "tests/member/member_world.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct world world;

#define A 0u
#define B 1u
#define C 2u

/* ---- asking ---- */

static struct world_answer send_text(unsigned from, unsigned to, const char *text)
{
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__Send send = LB__MEMBER__SEND__INIT;

    send.node_id = ask_binary(bytes_of(world.nodes[to].self.identity.node.bytes, NODE_ID_SIZE));
    send.text = ask_binary(bytes_of_text(text));
    request.body_case = LB__MEMBER__REQUEST__BODY_SEND;
    request.send = &send;
    return world_ask(&world, from, &request);
}

static Lb__Member__Request list_request(Lb__Member__ListInbox *list, uint64_t after,
                                        uint32_t wait_ms)
{
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;

    lb__member__list_inbox__init(list);
    list->after = after;
    list->wait_ms = wait_ms;
    request.body_case = LB__MEMBER__REQUEST__BODY_LIST_INBOX;
    request.list_inbox = list;
    return request;
}

static struct world_answer list_inbox(unsigned node, uint64_t after, uint32_t wait_ms)
{
    Lb__Member__ListInbox list;
    Lb__Member__Request request = list_request(&list, after, wait_ms);

    return world_ask(&world, node, &request);
}

/* The inbox of a node: "SENDER:TEXT" each, by number. */
static void assert_inbox(unsigned node, const char *expected)
{
    struct world_answer answer = list_inbox(node, 0, 0);
    char text[4096] = "";
    size_t size = 0;

    assert_int_equal(answer.err, LB_OK);
    for (size_t i = 0; i < answer.reply->inbox->n_mails; i++) {
        const Lb__Member__MailInfo *info = answer.reply->inbox->mails[i];
        Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
        Lb__Member__ReadMail read_mail = LB__MEMBER__READ_MAIL__INIT;
        struct world_answer mail;
        unsigned sender = 99;

        read_mail.number = info->number;
        request.body_case = LB__MEMBER__REQUEST__BODY_READ_MAIL;
        request.read_mail = &read_mail;
        mail = world_ask(&world, node, &request);
        assert_int_equal(mail.err, LB_OK);
        for (unsigned j = 0; j < world.nodes_count; j++) {
            if (memcmp(world.nodes[j].self.identity.node.bytes, info->sender.data, NODE_ID_SIZE) ==
                0) {
                sender = j;
            }
        }
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%c:%.*s", i > 0 ? " " : "",
                                 (char)('A' + sender), (int)mail.reply->mail->text.len,
                                 (const char *)mail.reply->mail->text.data);
        world_answer_done(&mail);
    }
    world_answer_done(&answer);
    assert_string_equal(text, expected);
}

/* ---- waiting ---- */

static bool certificates_are_out(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < world.nodes_count; i++) {
        if (world.nodes[i].member && world.nodes[i].certificate_sizes[i][0] == 0) {
            return false;
        }
    }
    return true;
}

static unsigned kept_for(unsigned node)
{
    unsigned count = 0;

    for (unsigned i = 0; i < world.nodes_count; i++) {
        for (unsigned j = 0; j < world.nodes[i].mails_count; j++) {
            count += node_id_equal(&world.nodes[i].mails[j].recipient,
                                   &world.nodes[node].self.identity.node)
                         ? 1
                         : 0;
        }
    }
    return count;
}

static bool nothing_is_kept(void *ctx)
{
    return kept_for(*(unsigned *)ctx) == 0;
}

static bool b_has_received(void *ctx)
{
    return world_counter(&world, B, "messages_received") >= *(unsigned *)ctx;
}

/* ---- messages ---- */

static void who_is_there_gets_it(void **state)
{
    struct world_answer answer;

    (void)state;
    world_start_all(&world, 12);
    world_run_until(&world, certificates_are_out, NULL);
    answer = send_text(A, B, "hello");
    assert_int_equal(answer.err, LB_OK);
    assert_true(answer.reply->sent->delivered);
    assert_int_equal(answer.reply->sent->id.len, SEALED_ID_SIZE);
    world_answer_done(&answer);
    assert_inbox(B, "A:hello");
    assert_inbox(A, "");
    assert_int_equal(kept_for(B), 0);
    assert_int_equal(world_counter(&world, A, "messages_delivered"), 1);
    world_done(&world);
}

/* Before its certificate is kept by anybody: it gives it itself. */
static void who_has_just_come_can_be_written_to(void **state)
{
    struct world_answer answer;

    (void)state;
    world_start_all(&world, 2);
    answer = send_text(A, B, "already?");
    assert_int_equal(answer.err, LB_OK);
    assert_true(answer.reply->sent->delivered);
    world_answer_done(&answer);
    assert_inbox(B, "A:already?");
    world_done(&world);
}

static void the_longest_and_the_empty_one(void **state)
{
    char *longest = xcalloc(1, SEALED_TEXT_MAX + 2);
    struct world_answer answer;
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__ReadMail read_mail = LB__MEMBER__READ_MAIL__INIT;

    (void)state;
    memset(longest, 'x', SEALED_TEXT_MAX);
    world_start_all(&world, 3);
    world.loses_every = 7;
    world_run_until(&world, certificates_are_out, NULL);
    answer = send_text(A, B, longest);
    assert_int_equal(answer.err, LB_OK);
    assert_true(answer.reply->sent->delivered);
    world_answer_done(&answer);
    answer = send_text(A, B, "");
    assert_int_equal(answer.err, LB_OK);
    world_answer_done(&answer);
    read_mail.number = 1;
    request.body_case = LB__MEMBER__REQUEST__BODY_READ_MAIL;
    request.read_mail = &read_mail;
    answer = world_ask(&world, B, &request);
    assert_int_equal(answer.reply->mail->text.len, SEALED_TEXT_MAX);
    assert_memory_equal(answer.reply->mail->text.data, longest, SEALED_TEXT_MAX);
    world_answer_done(&answer);
    longest[SEALED_TEXT_MAX] = 'x';
    answer = send_text(A, B, longest);
    assert_int_equal(answer.err, LB_TOO_BIG);
    world_answer_done(&answer);
    free(longest);
    world_done(&world);
}

static void who_is_away_finds_it_when_it_comes(void **state)
{
    struct world_answer answer;
    unsigned node = B;

    (void)state;
    world_start_all(&world, 12);
    world.is_tight = true;
    world_run_until(&world, certificates_are_out, NULL);
    world_stop(&world, B);
    answer = send_text(A, B, "first");
    assert_int_equal(answer.err, LB_OK);
    assert_false(answer.reply->sent->delivered);
    assert_int_equal(answer.reply->sent->holders, 8);
    world_answer_done(&answer);
    answer = send_text(C, B, "second");
    assert_int_equal(answer.reply->sent->holders, 8);
    world_answer_done(&answer);
    assert_int_equal(kept_for(B), 16);
    for (unsigned i = 0; i < world.nodes_count; i++) { /* nobody who keeps it can read it */
        for (unsigned j = 0; j < world.nodes[i].mails_count; j++) {
            assert_null(
                memmem(world.nodes[i].mails[j].data, world.nodes[i].mails[j].size, "first", 5));
        }
    }
    world_start(&world, B);
    world_run_until(&world, nothing_is_kept, &node);
    answer = list_inbox(B, 0, 0);
    assert_int_equal(answer.reply->inbox->n_mails, 2);
    world_answer_done(&answer);
    world_done(&world);
}

/* What is longest is kept in one call, and may come in two. */
static void a_coordinator_of_a_long_name(void **state)
{
    char name[NETWORK_NAME_SIZE] = "";
    struct world_answer answer;
    unsigned node = B;

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    world_init_named(&world, 4, name);
    world.is_tight = true;
    pki_member_done(&world.nodes[B].self);
    pki_member_make(&world.network, B + 1, CERTIFICATE_COORDINATOR, PKI_SOUND,
                    &world.nodes[B].self);
    pki_write_folder(&world.network, &world.nodes[B].self,
                     world.nodes[B].actor.paths.member_folder);
    for (unsigned i = 0; i < 4; i++) {
        world_start(&world, i);
    }
    world_run_until(&world, certificates_are_out, NULL);
    world_stop(&world, B);
    answer = send_text(A, B, "long");
    assert_int_equal(answer.err, LB_OK);
    world_answer_done(&answer);
    world_start(&world, B);
    world_run_until(&world, nothing_is_kept, &node);
    assert_inbox(B, "A:long");
    world_done(&world);
}

static void what_is_kept_on_comes_once(void **state)
{
    struct world_answer answer;
    unsigned received = 1;

    (void)state;
    world_start_all(&world, 6);
    world_run_until(&world, certificates_are_out, NULL);
    world_stop(&world, B);
    answer = send_text(A, B, "once");
    world_answer_done(&answer);
    for (unsigned i = 0; i < world.nodes_count; i++) {
        world.nodes[i].drops_nothing = true;
    }
    world_start(&world, B);
    world_run_until(&world, b_has_received, &received);
    world_stop(&world, B);
    world_start(&world, B); /* it asks again, and they still have it */
    world_run_until(&world, certificates_are_out, NULL);
    assert_true(kept_for(B) > 0);
    answer = send_text(A, B, "twice");
    world_answer_done(&answer);
    assert_inbox(B, "A:once A:twice");
    world_done(&world);
}

static void holders_without_room(void **state)
{
    struct world_answer answer;

    (void)state;
    world_start_all(&world, 6);
    world_run_until(&world, certificates_are_out, NULL);
    world_stop(&world, B);
    for (unsigned i = 0; i < world.nodes_count; i++) {
        world.nodes[i].keeps_nothing = i != C;
    }
    answer = send_text(A, B, "x");
    assert_int_equal(answer.err, LB_OK);
    assert_int_equal(answer.reply->sent->holders, 1);
    world_answer_done(&answer);
    world.nodes[C].keeps_nothing = true;
    answer = send_text(A, B, "x");
    assert_int_equal(answer.err, LB_UNAVAILABLE);
    world_answer_done(&answer);
    world_done(&world);
}

static void two_nodes_are_a_network(void **state)
{
    struct world_answer answer;
    unsigned node = B;

    (void)state;
    world_start_all(&world, 2);
    world_run_until(&world, certificates_are_out, NULL);
    world_stop(&world, B);
    answer = send_text(A, B, "kept at home");
    assert_int_equal(answer.err, LB_OK);
    assert_int_equal(answer.reply->sent->holders, 1); /* the sender's own store */
    world_answer_done(&answer);
    world_start(&world, B);
    world_run_until(&world, nothing_is_kept, &node);
    assert_inbox(B, "A:kept at home");
    world_done(&world);
}

static void nobody_of_that_id(void **state)
{
    struct node_id nobody = pki_node(777);
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__Send send = LB__MEMBER__SEND__INIT;
    struct world_answer answer;

    (void)state;
    world_start_all(&world, 4);
    send.node_id = ask_binary(bytes_of(nobody.bytes, NODE_ID_SIZE));
    request.body_case = LB__MEMBER__REQUEST__BODY_SEND;
    request.send = &send;
    answer = world_ask(&world, A, &request);
    assert_int_equal(answer.err, LB_NOT_FOUND);
    world_answer_done(&answer);
    send.node_id.len = 19;
    answer = world_ask(&world, A, &request);
    assert_int_equal(answer.err, LB_INVALID);
    world_answer_done(&answer);
    send.node_id = ask_binary(bytes_of(world.nodes[A].self.identity.node.bytes, NODE_ID_SIZE));
    answer = world_ask(&world, A, &request);
    assert_int_equal(answer.err, LB_INVALID); /* to itself */
    world_answer_done(&answer);
    world_done(&world);
}

static bool call_is_answered(void *ctx)
{
    return ((struct call *)ctx)->answered;
}

static void who_waits_hears_of_it(void **state)
{
    Lb__Member__ListInbox list;
    Lb__Member__Request request = list_request(&list, 0, 30000);
    struct world_answer answer;
    struct call *call;

    (void)state;
    world_start_all(&world, 3);
    world_run_until(&world, certificates_are_out, NULL);
    call = world_begin(&world, B, &request);
    assert_false(call->answered);
    assert_true(call->is_kept);
    answer = send_text(A, B, "news");
    world_answer_done(&answer);
    world_run_until(&world, call_is_answered, call);
    answer = world_end(&world, call);
    assert_int_equal(answer.reply->inbox->n_mails, 1);
    world_answer_done(&answer);
    answer = list_inbox(B, 1, 20); /* and who waits in vain, too */
    assert_int_equal(answer.err, LB_OK);
    assert_int_equal(answer.reply->inbox->n_mails, 0);
    world_answer_done(&answer);
    world_done(&world);
}

static void so_many_may_wait(void **state)
{
    Lb__Member__ListInbox list;
    Lb__Member__Request request = list_request(&list, 0, 30000);
    struct call *calls[MEMBER_WAITS_MAX];
    struct world_answer answer;

    (void)state;
    world_start_all(&world, 1);
    for (unsigned i = 0; i < MEMBER_WAITS_MAX; i++) {
        calls[i] = world_begin(&world, A, &request);
    }
    answer = world_ask(&world, A, &request);
    assert_int_equal(answer.err, LB_FULL);
    world_answer_done(&answer);
    world_stop(&world, A); /* who waits is answered at the end */
    for (unsigned i = 0; i < MEMBER_WAITS_MAX; i++) {
        answer = world_end(&world, calls[i]);
        assert_int_equal(answer.err, LB_OK);
        world_answer_done(&answer);
    }
    world_done(&world);
}

static void a_removed_one_is_gone(void **state)
{
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__RemoveMail remove_mail = LB__MEMBER__REMOVE_MAIL__INIT;
    struct world_answer answer;

    (void)state;
    world_start_all(&world, 2);
    world_run_until(&world, certificates_are_out, NULL);
    answer = send_text(A, B, "x");
    world_answer_done(&answer);
    remove_mail.number = 1;
    request.body_case = LB__MEMBER__REQUEST__BODY_REMOVE_MAIL;
    request.remove_mail = &remove_mail;
    answer = world_ask(&world, B, &request);
    assert_int_equal(answer.err, LB_OK);
    world_answer_done(&answer);
    answer = world_ask(&world, B, &request);
    assert_int_equal(answer.err, LB_NOT_FOUND);
    world_answer_done(&answer);
    assert_inbox(B, "");
    world_done(&world);
}

/* ---- forged and altered ---- */

enum trick {
    SOUND,
    BACKWARDS,
    EACH_TWICE,
    BY_ANOTHER,       /* A's message for B, handed over by C */
    ALTERED,          /* a byte; its id fits */
    WRONG_ID,         /* its id does not */
    FOR_C_TO_B,       /* sealed for C, handed to B as B's */
    TO_C_AT_B,        /* marked as C's, handed to B */
    OF_OTHER_NETWORK, /* its sender is of another one */
    TOO_BIG,
    TWICE /* all of it, again */
};

static const struct trick_row {
    const char *what;
    enum trick trick;
    lb_err refused; /* LB_OK: taken */
    const char *inbox;
} tricks[] = {
    { "as it should be", SOUND, LB_OK, "A:text" },
    { "its parts backwards", BACKWARDS, LB_OK, "A:text" },
    { "each part twice", EACH_TWICE, LB_OK, "A:text" },
    { "handed over by another: it is still from whom it is from", BY_ANOTHER, LB_OK, "A:text" },
    { "altered on its way", ALTERED, LB_CORRUPT, "" },
    { "under an id that is not its own", WRONG_ID, LB_INVALID, "" },
    { "one for somebody else, passed on", FOR_C_TO_B, LB_CORRUPT, "" },
    { "one that says it is for somebody else", TO_C_AT_B, LB_DENIED, "" },
    { "its sender is of another network", OF_OTHER_NETWORK, LB_DENIED, "" },
    { "larger than any message is", TOO_BIG, LB_INVALID, "" },
    { "again", TWICE, LB_OK, "A:text" },
};

struct parcel {
    uint8_t *data;
    size_t size;
    uint8_t id[SEALED_ID_SIZE];
    struct node_id recipient;
};

static Lb__Peer__Reply *hand(const struct parcel *parcel, unsigned from, unsigned part,
                             uint32_t size)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__MailPart message = LB__PEER__MAIL_PART__INIT;
    uint32_t offset = part * PARTS_PART_BYTES;

    message.recipient = ask_binary(bytes_of(parcel->recipient.bytes, NODE_ID_SIZE));
    message.id = ask_binary(bytes_of(parcel->id, sizeof(parcel->id)));
    message.size = size;
    message.keep_s = 60;
    message.offset = offset;
    message.data =
        ask_binary(bytes_of(parcel->data + offset, parts_size_of((uint32_t)parcel->size, part)));
    request.body_case = LB__PEER__REQUEST__BODY_DELIVER;
    request.deliver = &message;
    return world_call(&world, from, B, &request);
}

/* All of it; what the last answer said: LB_OK, whole, or why not. LB_TIMEOUT: not whole. */
static lb_err hand_all(const struct parcel *parcel, unsigned from, enum trick trick)
{
    unsigned count = parts_count((uint32_t)parcel->size);
    lb_err err = LB_TIMEOUT;

    for (unsigned i = 0; i < count * (trick == EACH_TWICE ? 2 : 1); i++) {
        unsigned part = trick == EACH_TWICE ? i / 2 : trick == BACKWARDS ? count - 1 - i : i;
        uint32_t size = trick == TOO_BIG ? PARTS_MESSAGE_MAX + 1 : (uint32_t)parcel->size;
        Lb__Peer__Reply *reply = hand(parcel, from, part, size);

        if (reply->body_case == LB__PEER__REPLY__BODY_REFUSED) {
            err = (lb_err)reply->refused->err;
        } else {
            assert_int_equal(reply->body_case, LB__PEER__REPLY__BODY_MAIL_TAKEN);
            err = reply->mail_taken->complete ? LB_OK : LB_TIMEOUT;
        }
        lb__peer__reply__free_unpacked(reply, NULL);
    }
    return err;
}

static void seal(enum trick trick, struct parcel *ret_parcel)
{
    struct pki_network other;
    struct pki_member stranger;
    const struct pki_member *sender = &world.nodes[A].self;
    const struct pki_member *recipient = &world.nodes[trick == FOR_C_TO_B ? C : B].self;

    if (trick == OF_OTHER_NETWORK) {
        pki_network_make(&other, "lab", world.network.now_s);
        pki_member_make(&other, 1, CERTIFICATE_MEMBER, PKI_SOUND, &stranger);
        sender = &stranger;
    }
    assert_int_equal(sealed_make(bytes_of_text("text"), sender->leaf, sender->intermediate,
                                 sender->key, recipient->leaf, clock_wall_s(), &ret_parcel->data,
                                 &ret_parcel->size),
                     LB_OK);
    if (trick == OF_OTHER_NETWORK) {
        pki_member_done(&stranger);
        pki_network_done(&other);
    }
    if (trick == ALTERED) {
        ret_parcel->data[ret_parcel->size / 2] ^= 1;
    }
    sha256(bytes_of(ret_parcel->data, ret_parcel->size), ret_parcel->id);
    if (trick == WRONG_ID) {
        ret_parcel->id[5] ^= 1;
    }
    ret_parcel->recipient = world.nodes[trick == TO_C_AT_B ? C : B].self.identity.node;
}

static void test_trick(void **state)
{
    const struct trick_row *row = *state;
    struct parcel parcel;
    lb_err err;

    world_start_all(&world, 3);
    seal(row->trick, &parcel);
    err = hand_all(&parcel, row->trick == BY_ANOTHER ? C : A, row->trick);
    if (row->trick == TWICE) {
        assert_int_equal(err, LB_OK);
        err = hand_all(&parcel, A, row->trick);
    }
    assert_int_equal(err, row->refused);
    assert_inbox(B, row->inbox);
    free(parcel.data);
    world_done(&world);
}

static void what_is_not_asked_of_it_is_refused(void **state)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__ListMail list_mail = LB__PEER__LIST_MAIL__INIT;
    Lb__Peer__Reply *reply;

    (void)state;
    world_start_all(&world, 2);
    request.body_case = LB__PEER__REQUEST__BODY_LIST_MAIL;
    request.list_mail = &list_mail;
    reply = world_call(&world, A, B, &request);
    assert_int_equal(reply->body_case, LB__PEER__REPLY__BODY_REFUSED);
    assert_int_equal(reply->refused->err, LB_UNSUPPORTED);
    lb__peer__reply__free_unpacked(reply, NULL);
    world_done(&world);
}

/* ---- the deny list ---- */

static struct world_answer new_denied(unsigned node, const uint8_t *list, size_t size)
{
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__NewDenied denied = LB__MEMBER__NEW_DENIED__INIT;

    denied.denied = ask_binary(bytes_of(list, size));
    request.body_case = LB__MEMBER__REQUEST__BODY_NEW_DENIED;
    request.new_denied = &denied;
    return world_ask(&world, node, &request);
}

static bool knows_it_is_put_out(void *ctx)
{
    (void)ctx;
    return strstr(world.nodes[B].actor.note, "put out of lab") != NULL;
}

static void a_list_reaches_all(void **state)
{
    struct node_id put_out[200];
    struct world_answer answer;
    uint64_t number = 5;
    uint8_t *list;
    size_t size;

    (void)state;
    world_start_all(&world, 12);
    for (unsigned i = 0; i < 200; i++) {
        put_out[i] = pki_node(500 + i);
    }
    put_out[0] = world.nodes[B].self.identity.node;
    world_run_until(&world, certificates_are_out, NULL);
    list = pki_deny_list(&world.network, number, put_out, 200, &size);
    answer = new_denied(A, list, size);
    assert_int_equal(answer.err, LB_OK);
    assert_int_equal(answer.reply->body_case, LB__MEMBER__REPLY__BODY_DONE);
    world_answer_done(&answer);
    assert_int_equal(world_counter(&world, A, "deny_number"), 5); /* on disk when it was answered */
    world_await_denied(&world, number);
    for (unsigned i = 0; i < world.nodes_count; i++) {
        assert_int_equal(world_counter(&world, i, "denied_nodes"), 200);
    }
    answer = send_text(A, B, "x"); /* nothing is sealed for who was put out */
    assert_int_equal(answer.err, LB_DENIED);
    world_answer_done(&answer);
    answer = send_text(B, A, "x"); /* and it is told that nobody takes what it writes */
    assert_int_equal(answer.err, LB_DENIED);
    assert_non_null(strstr(answer.reason, "put out"));
    world_answer_done(&answer);
    world_run_until(&world, knows_it_is_put_out, NULL);
    assert_int_equal(world.nodes[B].actor.state, STATE_DEGRADED);
    answer = new_denied(A, list, size); /* the same again is nothing new */
    assert_int_equal(answer.err, LB_OK);
    world_answer_done(&answer);
    free(list);
    world_done(&world);
}

static void a_message_of_who_was_put_out_is_refused(void **state)
{
    struct world_answer answer;
    struct parcel parcel;
    uint8_t *list;
    size_t size;

    (void)state;
    world_start_all(&world, 3);
    list = pki_deny_list(&world.network, 1, &world.nodes[A].self.identity.node, 1, &size);
    answer = new_denied(B, list, size);
    assert_int_equal(answer.err, LB_OK);
    world_answer_done(&answer);
    seal(SOUND, &parcel);
    assert_int_equal(hand_all(&parcel, C, SOUND), LB_DENIED);
    assert_inbox(B, "");
    free(parcel.data);
    free(list);
    world_done(&world);
}

static void lists_that_do_not_count(void **state)
{
    struct pki_network other;
    struct node_id put_out = pki_node(9);
    struct world_answer answer;
    uint8_t *list;
    size_t size;

    (void)state;
    world_start_all(&world, 2);
    pki_network_make(&other, "lab", world.network.now_s);
    list = pki_deny_list(&other, 9, &put_out, 1, &size);
    answer = new_denied(A, list, size);
    assert_int_equal(answer.err, LB_CORRUPT);
    world_answer_done(&answer);
    free(list);
    list = pki_deny_list(&world.network, 3, &put_out, 1, &size);
    list[60] ^= 1; /* altered */
    answer = new_denied(A, list, size);
    assert_true(answer.err == LB_CORRUPT || answer.err == LB_INVALID);
    world_answer_done(&answer);
    answer = new_denied(A, list, 0);
    assert_int_equal(answer.err, LB_INVALID);
    world_answer_done(&answer);
    assert_int_equal(world_counter(&world, A, "deny_number"), 0);
    assert_int_equal(world_counter(&world, A, "deny_lists_refused"), 2);
    pki_network_done(&other);
    free(list);
    world_done(&world);
}

static bool is_number(void *ctx)
{
    return world_counter(&world, B, "deny_number") == *(uint64_t *)ctx;
}

static void who_comes_back_hears_of_it(void **state)
{
    struct node_id put_out = pki_node(9);
    struct world_answer answer;
    uint64_t number = 4;
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__DenyNumber told = LB__PEER__DENY_NUMBER__INIT;
    Lb__Peer__Reply *reply;
    uint8_t *list;
    size_t size;

    (void)state;
    world_start_all(&world, 3);
    world_stop(&world, B);
    list = pki_deny_list(&world.network, number, &put_out, 1, &size);
    answer = new_denied(A, list, size);
    world_answer_done(&answer);
    world_start(&world, B);
    assert_int_equal(world_counter(&world, B, "deny_number"), 0);
    told.number = number; /* what A tells a random node every 20 s */
    request.body_case = LB__PEER__REQUEST__BODY_DENY_NUMBER;
    request.deny_number = &told;
    reply = world_call(&world, A, B, &request);
    assert_int_equal(reply->deny_number->number, 0);
    lb__peer__reply__free_unpacked(reply, NULL);
    world_run_until(&world, is_number, &number);
    world_stop(&world, B);
    world_start(&world, B);
    assert_int_equal(world_counter(&world, B, "deny_number"), 4); /* it is on disk */
    free(list);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_there_gets_it),
        cmocka_unit_test(who_has_just_come_can_be_written_to),
        cmocka_unit_test(the_longest_and_the_empty_one),
        cmocka_unit_test(who_is_away_finds_it_when_it_comes),
        cmocka_unit_test(a_coordinator_of_a_long_name),
        cmocka_unit_test(what_is_kept_on_comes_once),
        cmocka_unit_test(holders_without_room),
        cmocka_unit_test(two_nodes_are_a_network),
        cmocka_unit_test(nobody_of_that_id),
        cmocka_unit_test(who_waits_hears_of_it),
        cmocka_unit_test(so_many_may_wait),
        cmocka_unit_test(a_removed_one_is_gone),
        cmocka_unit_test(what_is_not_asked_of_it_is_refused),
        cmocka_unit_test(a_list_reaches_all),
        cmocka_unit_test(a_message_of_who_was_put_out_is_refused),
        cmocka_unit_test(lists_that_do_not_count),
        cmocka_unit_test(who_comes_back_hears_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) + RUN_ROWS(tricks, test_trick);
}
