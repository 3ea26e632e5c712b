/*
 * What other members ask of the box, as lb.peer.Request, over a real store and its commits: every
 * cell of who may do what, and what is malformed.
 */
#include "services/storage/box_desk.h"

#include "libcommon/clock.h"
#include "libcommon/crypto.h"
#include "services/storage/messages.h"
#include "services/storage/presence.h"
#include "tests/libcommon/pki_fixture.h"
#include "tests/storage/db_world.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define DAY_S     86400u
#define OTHERS    60u /* nodes in the view, with ids 0x04, 0x08 .. 0xf0 */
#define SELF      0x80
#define NEAR      0x84 /* a neighbour of ours */
#define FAR       0x10
#define RECIPIENT 0x81 /* we are among the closest to it */
#define STRANGER  0x12 /* we are not */

static struct world world;
static struct box_desk desk;
static struct presence presence;
static uv_loop_t loop;
static struct pki_network network;

static struct node_id id_of(unsigned byte)
{
    return (struct node_id){ .bytes = { (uint8_t)byte } };
}

static bool no_next(void *ctx, const struct node_id *from, struct upkeep_item *ret_item)
{
    (void)ctx, (void)from, (void)ret_item;
    return false;
}

static bool no_due(void *ctx, uint32_t skip, struct upkeep_item *ret_item)
{
    (void)ctx, (void)skip, (void)ret_item;
    return false;
}

static uint32_t none_overdue(void *ctx, uint64_t before_s)
{
    (void)ctx, (void)before_s;
    return 0;
}

static void make_upkeep(void)
{
    const struct upkeep_options options = { .self_id = id_of(SELF),
                                            .store = { NULL, no_next, no_due, none_overdue },
                                            .check_least_s = 600,
                                            .seed = 1 };
    struct contact view[OTHERS];
    unsigned count = 0;

    desk.upkeep = upkeep_new(&options, world.now_s * 1000);
    for (unsigned i = 0; count < OTHERS; i++) {
        if (4 * i + 4 != SELF)
            view[count++] = (struct contact){ .id = id_of(4 * i + 4),
                                              .address = address_v4(10, 0, 0, 1, 6881) };
    }
    upkeep_view(desk.upkeep, ROUTING_V4, view, count, world.now_s * 1000);
}

static int set_up(void **state)
{
    (void)state;
    world_init(&world, WORLD_MAP);
    presence_init(&presence, world.folder);
    assert_int_equal(uv_loop_init(&loop), 0);
    memset(&desk, 0, sizeof desk);
    desk.db = world.db;
    desk.commits = commits_new(&loop, world.db, &presence);
    desk.root = network.root;
    make_upkeep();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    commits_free(&desk.commits);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    upkeep_free(&desk.upkeep);
    box_drafts_done(&desk.drafts);
    presence_done(&presence);
    world_done(&world);
    return 0;
}

/* ---- asking ---- */

static void on_written(void *ctx)
{
    *(bool *)ctx = true;
}

/* Ask, wait for what is written, and take the answer; the caller frees it. */
static Lb__Peer__Reply *ask_bytes(unsigned caller, struct bytes body)
{
    const struct node_id from = id_of(caller);
    bool is_written = false;
    bool waits;
    struct box_call *call =
        box_call_begin(&desk, &from, body, world.now_s, on_written, &is_written, &waits);
    struct bytes packed;
    Lb__Peer__Reply *reply;

    while (waits && !is_written)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(db_read_begin(world.db), LB_OK);
    packed = box_call_answer(call, world.now_s);
    reply = lb__peer__reply__unpack(NULL, packed.size, packed.data);
    db_read_end(world.db);
    box_call_free(&call);
    assert_non_null(reply);
    return reply;
}

static Lb__Peer__Reply *ask(unsigned caller, const Lb__Peer__Request *request)
{
    uint8_t packed[4096];

    assert_true(lb__peer__request__get_packed_size(request) <= sizeof packed);
    return ask_bytes(caller, bytes_of(packed, lb__peer__request__pack(request, packed)));
}

/* What came of it, in a word: "taken", "part", "refused: DENIED" ... */
static const char *word(Lb__Peer__Reply *reply)
{
    static char text[200];

    switch (reply->body_case) {
    case LB__PEER__REPLY__BODY_MAIL_TAKEN:
        snprintf(text, sizeof text, "%s", reply->mail_taken->complete ? "complete" : "taken");
        break;
    case LB__PEER__REPLY__BODY_MAIL_LIST:
        snprintf(text, sizeof text, "%zu mails%s%s", reply->mail_list->n_mails,
                 reply->mail_list->more ? ", more" : "",
                 reply->mail_list->wants_certificate ? ", certificate" : "");
        break;
    case LB__PEER__REPLY__BODY_MAIL_PART:
        snprintf(text, sizeof text, "%zu bytes", reply->mail_part->data.len);
        break;
    case LB__PEER__REPLY__BODY_CERTIFICATE:
        snprintf(text, sizeof text, "%s%s", reply->certificate->leaf.len > 0 ? "leaf" : "none",
                 reply->certificate->intermediate.len > 0 ? ", intermediate" : "");
        break;
    case LB__PEER__REPLY__BODY_REFUSED:
        assert_true(strlen(reply->refused->reason) > 0 && strlen(reply->refused->reason) <= 100);
        snprintf(text, sizeof text, "%s", lb_err_name((lb_err)reply->refused->err));
        break;
    default:
        snprintf(text, sizeof text, "?");
    }
    lb__peer__reply__free_unpacked(reply, NULL);
    return text;
}

/* ---- mail ---- */

struct mail {
    uint8_t id[BOX_ID_SIZE];
    uint8_t recipient[NODE_ID_SIZE];
    uint8_t bytes[BOX_MAIL_MAX];
    uint32_t size;
};

static struct mail mail_to(unsigned recipient, unsigned number, uint32_t size)
{
    struct mail mail = { .recipient = { (uint8_t)recipient }, .size = size };

    for (uint32_t i = 0; i < size; i++)
        mail.bytes[i] = (uint8_t)(number + i * 3);
    sha256(bytes_of(mail.bytes, size), mail.id);
    return mail;
}

static const char *keep(unsigned caller, const struct mail *mail, uint32_t offset)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__MailPart part = LB__PEER__MAIL_PART__INIT;

    part.recipient = binary_of(bytes_of(mail->recipient, NODE_ID_SIZE));
    part.id = binary_of(bytes_of(mail->id, BOX_ID_SIZE));
    part.size = mail->size;
    part.keep_s = DAY_S;
    part.offset = offset;
    part.data = binary_of(bytes_of(mail->bytes + offset, box_part_size(mail->size, offset)));
    request.body_case = LB__PEER__REQUEST__BODY_KEEP;
    request.keep = &part;
    return word(ask(caller, &request));
}

/* All parts; the answer to the last. */
static const char *keep_all(unsigned caller, const struct mail *mail)
{
    const char *said = "";

    for (uint32_t offset = 0; offset < mail->size; offset += BOX_PART_SIZE)
        said = keep(caller, mail, offset);
    return said;
}

static const char *list(unsigned caller)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__ListMail body = LB__PEER__LIST_MAIL__INIT;

    request.body_case = LB__PEER__REQUEST__BODY_LIST_MAIL;
    request.list_mail = &body;
    return word(ask(caller, &request));
}

static Lb__Peer__Reply *read_part(unsigned caller, const struct mail *mail, uint32_t offset)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__GetMailPart body = LB__PEER__GET_MAIL_PART__INIT;

    body.recipient = binary_of(bytes_of(mail->recipient, NODE_ID_SIZE));
    body.id = binary_of(bytes_of(mail->id, BOX_ID_SIZE));
    body.offset = offset;
    request.body_case = LB__PEER__REQUEST__BODY_GET_MAIL_PART;
    request.get_mail_part = &body;
    return ask(caller, &request);
}

static const char *drop(unsigned caller, const struct mail *mail)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__DropMail body = LB__PEER__DROP_MAIL__INIT;
    ProtobufCBinaryData id = binary_of(bytes_of(mail->id, BOX_ID_SIZE));

    body.ids = &id;
    body.n_ids = 1;
    request.body_case = LB__PEER__REQUEST__BODY_DROP_MAIL;
    request.drop_mail = &body;
    return word(ask(caller, &request));
}

static const char *offer(unsigned caller, const struct mail *mail, uint64_t certificate_from_s)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__OfferMail body = LB__PEER__OFFER_MAIL__INIT;
    Lb__Peer__MailHead head = LB__PEER__MAIL_HEAD__INIT;
    Lb__Peer__MailHead *heads = &head;

    head.id = binary_of(bytes_of(mail->id, BOX_ID_SIZE));
    head.size = mail->size;
    head.keep_s = DAY_S;
    body.recipient = binary_of(bytes_of(mail->recipient, NODE_ID_SIZE));
    body.mails = &heads;
    body.n_mails = 1;
    body.certificate_from_s = certificate_from_s;
    body.check_s = 3600;
    request.body_case = LB__PEER__REQUEST__BODY_OFFER_MAIL;
    request.offer_mail = &body;
    return word(ask(caller, &request));
}

static void a_mail_is_kept_listed_read_and_dropped(void **state)
{
    struct mail mail = mail_to(RECIPIENT, 1, 2000);
    Lb__Peer__Reply *part;

    (void)state;
    assert_string_equal(keep(FAR, &mail, 900), "taken");
    assert_string_equal(keep(FAR, &mail, 0), "taken");
    assert_string_equal(list(RECIPIENT), "0 mails");
    assert_string_equal(keep(FAR, &mail, 1800), "complete");
    assert_string_equal(keep(FAR, &mail, 0), "complete"); /* asked again */
    assert_string_equal(list(RECIPIENT), "1 mails");
    part = read_part(RECIPIENT, &mail, 1800);
    assert_int_equal(part->body_case, LB__PEER__REPLY__BODY_MAIL_PART);
    assert_int_equal(part->mail_part->size, 2000);
    assert_memory_equal(part->mail_part->data.data, mail.bytes + 1800, 200);
    assert_string_equal(word(part), "200 bytes");
    assert_string_equal(drop(RECIPIENT, &mail), "complete");
    assert_string_equal(list(RECIPIENT), "0 mails");
    assert_string_equal(word(read_part(RECIPIENT, &mail, 0)), "NOT_FOUND");
    assert_string_equal(offer(NEAR, &mail, 0), "0 mails"); /* it had it */
    assert_string_equal(keep(FAR, &mail, 0), "complete");
    assert_string_equal(list(RECIPIENT), "0 mails");
}

static void the_largest_mail_goes_through(void **state)
{
    struct mail mail = mail_to(RECIPIENT, 2, BOX_MAIL_MAX);
    uint8_t bytes[BOX_MAIL_MAX];

    (void)state;
    assert_string_equal(keep_all(FAR, &mail), "complete");
    for (uint32_t offset = 0; offset < mail.size; offset += BOX_PART_SIZE) {
        Lb__Peer__Reply *part = read_part(RECIPIENT, &mail, offset);

        memcpy(bytes + offset, part->mail_part->data.data, part->mail_part->data.len);
        lb__peer__reply__free_unpacked(part, NULL);
    }
    assert_memory_equal(bytes, mail.bytes, sizeof bytes);
}

/* Who may do what with a mail for RECIPIENT that is here. */
static const struct may_row {
    const char *what;
    unsigned caller;
    const char *list, *read, *offer, *drop;
    bool is_dropped;
} may_rows[] = {
    { "its recipient", RECIPIENT, "1 mails", "900 bytes", "0 mails", "complete", true },
    { "another holder", NEAR, "0 mails", "900 bytes", "0 mails", "complete", false },
    { "a member far away", FAR, "0 mails", "DENIED", "0 mails", "complete", false },
    { "its sender", STRANGER, "0 mails", "DENIED", "0 mails", "complete", false },
};

static void may(void **state)
{
    const struct may_row *row = *state;
    struct mail mail = mail_to(RECIPIENT, 3, 1000);
    void *nothing = NULL;

    (void)set_up(&nothing);
    assert_string_equal(keep_all(STRANGER, &mail), "complete");
    assert_string_equal(list(row->caller), row->list);
    assert_string_equal(word(read_part(row->caller, &mail, 0)), row->read);
    assert_string_equal(offer(row->caller, &mail, 0), row->offer);
    assert_string_equal(drop(row->caller, &mail), row->drop); /* of its own box */
    assert_string_equal(list(RECIPIENT), row->is_dropped ? "0 mails" : "1 mails");
    (void)tear_down(&nothing);
}

static void a_mail_for_somebody_far_is_not_kept(void **state)
{
    struct mail mail = mail_to(STRANGER, 1, 100);

    (void)state;
    assert_string_equal(keep(FAR, &mail, 0), "DENIED");
    assert_string_equal(offer(FAR, &mail, 0), "DENIED");
}

static void a_node_does_not_keep_its_own_mail(void **state)
{
    struct mail mail = mail_to(SELF, 1, 100);

    (void)state;
    assert_string_equal(keep(FAR, &mail, 0), "DENIED");
    assert_string_equal(offer(NEAR, &mail, 0), "DENIED");
}

static void what_is_lacking_is_wanted(void **state)
{
    struct mail mail = mail_to(RECIPIENT, 4, 100);

    (void)state;
    assert_string_equal(offer(NEAR, &mail, 5), "1 mails, certificate");
    assert_string_equal(keep_all(NEAR, &mail), "complete");
    assert_string_equal(offer(NEAR, &mail, 0), "0 mails");
}

/* The check of one holder puts ours off. */
static void an_offer_puts_our_check_off(void **state)
{
    struct mail mail = mail_to(RECIPIENT, 5, 100);
    const struct node_id recipient = id_of(RECIPIENT);
    struct box_record before;
    struct box_record after;

    (void)state;
    assert_string_equal(keep_all(FAR, &mail), "complete");
    assert_int_equal(db_read_begin(world.db), LB_OK);
    assert_int_equal(db_read_box(world.db, &recipient, world.now_s, &before), LB_OK);
    db_read_end(world.db);
    assert_string_equal(offer(NEAR, &mail, 0), "0 mails");
    while (!commits_is_idle(desk.commits))
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(db_read_begin(world.db), LB_OK);
    assert_int_equal(db_read_box(world.db, &recipient, world.now_s, &after), LB_OK);
    db_read_end(world.db);
    assert_true(after.check_s >= before.check_s + 2000);
}

/* Its parts make something else: nothing of it is kept, and the true one still can be. */
static void a_mail_that_is_not_what_its_name_says_is_refused(void **state)
{
    struct mail mail = mail_to(RECIPIENT, 6, 1000);
    struct mail forged = mail;

    (void)state;
    forged.bytes[950] ^= 1;
    assert_string_equal(keep(NEAR, &forged, 0), "taken");
    assert_string_equal(keep(FAR, &mail, 0), "taken");
    assert_string_equal(keep(NEAR, &forged, 900), "CORRUPT");
    assert_string_equal(list(RECIPIENT), "0 mails");
    assert_string_equal(keep(FAR, &mail, 900), "complete");
    assert_string_equal(list(RECIPIENT), "1 mails");
}

static void a_sender_has_its_limit(void **state)
{
    const char *said = "complete";
    unsigned kept = 0;

    (void)state;
    for (unsigned i = 0; i < 100 && strcmp(said, "complete") == 0; i++) {
        struct mail mail = mail_to(RECIPIENT, i, 40);

        said = keep_all(FAR, &mail);
        kept += strcmp(said, "complete") == 0;
    }
    assert_string_equal(said, "FULL");
    assert_int_equal(kept, 28); /* of 128 KiB, db_box_test.c */
    assert_int_equal(desk.kept, 28);
    assert_true(desk.refused > 0);
}

static const struct state_row {
    const char *what;
    bool knows_nobody, leaves;
    const char *keep, *list;
} state_rows[] = {
    { "a node that has not joined keeps nothing", true, false, "UNAVAILABLE", "1 mails" },
    { "nor does one that leaves", false, true, "UNAVAILABLE", "1 mails" },
};

static void state_of_node(void **state)
{
    const struct state_row *row = *state;
    struct mail old = mail_to(RECIPIENT, 7, 100);
    struct mail mail = mail_to(RECIPIENT, 8, 100);
    void *nothing = NULL;

    (void)set_up(&nothing);
    assert_string_equal(keep_all(FAR, &old), "complete");
    desk.is_leaving = row->leaves;
    if (row->knows_nobody)
        upkeep_free(&desk.upkeep);
    assert_string_equal(keep(FAR, &mail, 0), row->keep);
    assert_string_equal(offer(NEAR, &mail, 0), row->keep);
    assert_string_equal(list(RECIPIENT), row->list);
    (void)tear_down(&nothing);
}

/* ---- certificates ---- */

/* A member near us: certificates are kept by who is among the closest. */
static void member_near(enum pki_flaw flaw, struct pki_member *ret_member)
{
    for (unsigned number = 1;; number++) {
        struct node_id id = pki_node(number);

        if (!upkeep_is_near(desk.upkeep, upkeep_self(desk.upkeep), &id, BOX_SLACK))
            continue;
        pki_member_make(&network, number, CERTIFICATE_MEMBER, flaw, ret_member);
        return;
    }
}

/* One of the two, as it goes where both do not fit into one call. */
static const char *put_half(unsigned caller, X509 *certificate, bool is_leaf, size_t cut)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__PutCertificate body = LB__PEER__PUT_CERTIFICATE__INIT;
    uint8_t der[CERTIFICATE_DER_MAX];
    size_t size;

    assert_int_equal(certificate_to_der(certificate, der, &size), LB_OK);
    if (is_leaf)
        body.leaf = binary_of(bytes_of(der, size - cut));
    else
        body.intermediate = binary_of(bytes_of(der, size));
    request.body_case = LB__PEER__REQUEST__BODY_PUT_CERTIFICATE;
    request.put_certificate = &body;
    return word(ask(caller, &request));
}

static const char *put_certificate(X509 *leaf, X509 *intermediate, size_t cut)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__PutCertificate body = LB__PEER__PUT_CERTIFICATE__INIT;
    uint8_t ders[2][CERTIFICATE_DER_MAX];

    assert_int_equal(certificate_to_der(leaf, ders[0], &body.leaf.len), LB_OK);
    assert_int_equal(certificate_to_der(intermediate, ders[1], &body.intermediate.len), LB_OK);
    body.leaf.data = ders[0];
    body.intermediate.data = ders[1];
    body.leaf.len -= cut;
    request.body_case = LB__PEER__REQUEST__BODY_PUT_CERTIFICATE;
    request.put_certificate = &body;
    return word(ask(FAR, &request));
}

static const char *get_half(const struct node_id *node, bool intermediate)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__GetCertificate body = LB__PEER__GET_CERTIFICATE__INIT;

    body.node_id = binary_of_id(node);
    body.intermediate = intermediate;
    request.body_case = LB__PEER__REQUEST__BODY_GET_CERTIFICATE;
    request.get_certificate = &body;
    return word(ask(STRANGER, &request));
}

static const char *get_certificate(const struct node_id *node)
{
    return get_half(node, false);
}

static const struct flaw_row {
    const char *what;
    enum pki_flaw flaw;
    const char *put, *get;
} flaw_rows[] = {
    { "a sound one is kept and given to anybody", PKI_SOUND, "complete", "leaf, intermediate" },
    { "one that has expired", PKI_EXPIRED, "CORRUPT", "none" },
    { "one that does not count yet", PKI_NOT_YET_VALID, "CORRUPT", "none" },
    { "one of another root", PKI_OTHER_CA, "CORRUPT", "none" },
    { "one that signed itself", PKI_SELF_SIGNED, "INVALID", "none" },
    { "one of another use", PKI_WRONG_USAGE, "CORRUPT", "none" },
    { "one of another network", PKI_OTHER_NETWORK, "CORRUPT", "none" },
    { "one without an id", PKI_NO_ID, "INVALID", "none" },
    { "one with two", PKI_TWO_IDS, "INVALID", "none" },
    { "a certificate authority", PKI_CA_AS_LEAF, "INVALID", "none" },
    { "a weak key", PKI_WEAK_KEY, "CORRUPT", "none" },
    { "a weak digest", PKI_WEAK_DIGEST, "CORRUPT", "none" },
};

static void flaw(void **state)
{
    const struct flaw_row *row = *state;
    struct pki_member member;
    void *nothing = NULL;

    (void)set_up(&nothing);
    member_near(row->flaw, &member);
    assert_string_equal(put_certificate(member.leaf, member.intermediate, 0), row->put);
    assert_string_equal(get_certificate(&member.identity.node), row->get);
    pki_member_done(&member);
    (void)tear_down(&nothing);
}

static void the_newer_certificate_stays(void **state)
{
    struct pki_member member;
    X509 *old;

    (void)state;
    member_near(PKI_SOUND, &member);
    old = X509_dup(member.leaf);
    assert_string_equal(put_certificate(member.leaf, member.intermediate, 0), "complete");
    pki_member_renew(&network, &member, network.now_s + 60);
    assert_string_equal(put_certificate(member.leaf, member.intermediate, 0), "complete");
    assert_string_equal(put_certificate(old, member.intermediate, 0), "CONFLICT");
    assert_string_equal(put_certificate(member.leaf, member.intermediate, 0), "complete");
    X509_free(old);
    pki_member_done(&member);
}

/* In two calls: each caller's own, once, and not after ten minutes. */
static void halves_of_certificates_do_not_mix(void **state)
{
    struct pki_member member;

    (void)state;
    member_near(PKI_SOUND, &member);
    assert_string_equal(put_half(FAR, member.intermediate, false, 0), "taken");
    assert_string_equal(put_half(NEAR, member.leaf, true, 0), "INVALID");
    world.now_s += BOX_HALF_S + 1;
    assert_string_equal(put_half(FAR, member.leaf, true, 0), "INVALID");
    for (unsigned caller = 1; caller <= BOX_HALVES_MAX; caller++, world.now_s++)
        assert_string_equal(put_half(caller, member.intermediate, false, 0), "taken");
    assert_string_equal(put_half(FAR, member.intermediate, false, 0), "taken");
    assert_string_equal(put_half(1, member.leaf, true, 0), "INVALID"); /* it gave way */
    assert_string_equal(put_half(2, member.leaf, true, 0), "complete");
    assert_string_equal(put_half(2, member.leaf, true, 0), "INVALID");
    assert_string_equal(get_half(&member.identity.node, true), "none, intermediate");
    pki_member_done(&member);
}

static void a_certificate_is_malformed_far_or_not_to_be_judged(void **state)
{
    struct pki_member member;
    struct pki_member far;
    unsigned number = 1;

    (void)state;
    member_near(PKI_SOUND, &member);
    for (struct node_id id = pki_node(number);
         upkeep_is_near(desk.upkeep, upkeep_self(desk.upkeep), &id, BOX_SLACK);
         id = pki_node(number))
        number++;
    pki_member_make(&network, number, CERTIFICATE_MEMBER, PKI_SOUND, &far);
    assert_string_equal(put_certificate(member.leaf, member.intermediate, 1), "INVALID");
    assert_string_equal(put_certificate(far.leaf, far.intermediate, 0), "DENIED");
    desk.root = NULL;
    assert_string_equal(put_certificate(member.leaf, member.intermediate, 0), "UNAVAILABLE");
    pki_member_done(&far);
    pki_member_done(&member);
}

/* ---- what makes no sense ---- */

static void what_makes_no_sense_is_refused(void **state)
{
    static const uint8_t noise[BOX_BODY_MAX + 1] = { 0xff, 0xff, 0xff };
    struct mail mail = mail_to(RECIPIENT, 9, 1000);
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__DenyNumber number = LB__PEER__DENY_NUMBER__INIT;
    Lb__Peer__DropMail none = LB__PEER__DROP_MAIL__INIT;
    Lb__Peer__ListMail after = LB__PEER__LIST_MAIL__INIT;
    Lb__Peer__GetCertificate certificate = LB__PEER__GET_CERTIFICATE__INIT;
    Lb__Peer__OfferMail offered = LB__PEER__OFFER_MAIL__INIT;
    Lb__Peer__PutCertificate empty = LB__PEER__PUT_CERTIFICATE__INIT;
    Lb__Peer__GetMailPart part = LB__PEER__GET_MAIL_PART__INIT;

    (void)state;
    assert_string_equal(word(ask_bytes(FAR, bytes_of(noise, 3))), "INVALID");
    assert_string_equal(word(ask_bytes(FAR, bytes_of(noise, sizeof noise))), "INVALID");
    assert_string_equal(word(ask_bytes(FAR, bytes_of(noise, 0))), "UNSUPPORTED");
    request.body_case = LB__PEER__REQUEST__BODY_DENY_NUMBER; /* that is for lb-member */
    request.deny_number = &number;
    assert_string_equal(word(ask(FAR, &request)), "UNSUPPORTED");
    request.body_case = LB__PEER__REQUEST__BODY_DROP_MAIL;
    request.drop_mail = &none;
    assert_string_equal(word(ask(FAR, &request)), "INVALID");
    after.after = binary_of(bytes_of(noise, 31));
    request.body_case = LB__PEER__REQUEST__BODY_LIST_MAIL;
    request.list_mail = &after;
    assert_string_equal(word(ask(FAR, &request)), "INVALID");
    request.body_case = LB__PEER__REQUEST__BODY_GET_CERTIFICATE;
    request.get_certificate = &certificate;
    assert_string_equal(word(ask(FAR, &request)), "INVALID");
    request.body_case = LB__PEER__REQUEST__BODY_OFFER_MAIL;
    request.offer_mail = &offered;
    assert_string_equal(word(ask(FAR, &request)), "INVALID");
    request.body_case = LB__PEER__REQUEST__BODY_PUT_CERTIFICATE;
    request.put_certificate = &empty;
    assert_string_equal(word(ask(FAR, &request)), "INVALID");
    request.body_case = LB__PEER__REQUEST__BODY_GET_MAIL_PART;
    request.get_mail_part = &part;
    assert_string_equal(word(ask(FAR, &request)), "INVALID");
    mail.size = BOX_MAIL_MAX + 1;
    assert_string_equal(keep(FAR, &mail, 0), "TOO_BIG");
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(a_mail_is_kept_listed_read_and_dropped),
        WITH(the_largest_mail_goes_through),
        WITH(a_mail_for_somebody_far_is_not_kept),
        WITH(a_node_does_not_keep_its_own_mail),
        WITH(what_is_lacking_is_wanted),
        WITH(an_offer_puts_our_check_off),
        WITH(a_mail_that_is_not_what_its_name_says_is_refused),
        WITH(a_sender_has_its_limit),
        WITH(the_newer_certificate_stays),
        WITH(halves_of_certificates_do_not_mix),
        WITH(a_certificate_is_malformed_far_or_not_to_be_judged),
        WITH(what_makes_no_sense_is_refused),
    };
    int failed;

    pki_network_make(&network, "lab", clock_wall_s());
    failed = RUN_ROWS(may_rows, may) + RUN_ROWS(state_rows, state_of_node) +
             RUN_ROWS(flaw_rows, flaw) + cmocka_run_group_tests(tests, NULL, NULL);
    pki_network_done(&network);
    return failed;
}
