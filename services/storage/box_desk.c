#include "services/storage/box_desk.h"

#include "libcommon/clock.h"
#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/pki/certificate.h"
#include "libcommon/pki/sealed.h"
#include "services/storage/messages.h"

#include <assert.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MAX 100            /* bytes, proto/peer.proto */
#define LIFE_MAX_S BOX_KEEP_MAX_S /* of a certificate, whatever it says */
#define NOT_NEAR   "this node is not among the closest to that id"
#define NOT_JOINED "this node does not know yet who is near"
#define IS_SELF    "this is that node itself"
#define IS_LEAVING "this node is leaving"
#define IS_BUSY    "this node has too much to write now"
#define NO_SUCH    "that is not here"

_Static_assert(BOX_MAIL_MAX == SEALED_BYTES_MAX, "a sealed message fits");
_Static_assert(BOX_ID_SIZE == SEALED_ID_SIZE, "so does its name");

struct box_call {
    struct commit commit; /* first: on_committed() */
    struct box_desk *desk;
    struct node_id caller;
    Lb__Peer__Request *request; /* NULL: malformed */
    lb_err err;                 /* it is refused, and why */
    const char *reason;
    bool complete;                             /* MailTaken */
    uint8_t *mail;                             /* to be written */
    X509 *leaf;                                /* likewise */
    uint8_t intermediate[BOX_CERTIFICATE_MAX]; /* that came before its leaf */
    box_call_fn *on_written;
    void *ctx;
    uint64_t now_s;

    /* The answer, while it is put together. */
    Lb__Peer__Refused refused;
    Lb__Peer__MailTaken taken;
    Lb__Peer__MailList list;
    Lb__Peer__MailPart part;
    Lb__Peer__Certificate certificate;
    struct db_head found[BOX_HEADS_MAX];
    Lb__Peer__MailHead heads[BOX_HEADS_MAX];
    Lb__Peer__MailHead *head_pointers[BOX_HEADS_MAX];
    uint8_t reply[BOX_BODY_MAX];
};

/* ---- what all use ---- */

static void refuse(struct box_call *self, lb_err err, const char *reason)
{
    assert(strlen(reason) <= REASON_MAX);
    self->err = err;
    self->reason = reason;
}

static bool take_id(const ProtobufCBinaryData *from, struct node_id *ret_id)
{
    if (from->len != NODE_ID_SIZE)
        return false;
    *ret_id = node_id_from(from->data);
    return true;
}

static bool take_name(const ProtobufCBinaryData *from, uint8_t ret_id[BOX_ID_SIZE])
{
    if (from->len != BOX_ID_SIZE)
        return false;
    memcpy(ret_id, from->data, BOX_ID_SIZE);
    return true;
}

/* Something may be kept here for this node. */
static bool may_keep(struct box_call *self, const struct node_id *recipient)
{
    const struct box_desk *desk = self->desk;

    if (desk->is_leaving)
        refuse(self, LB_UNAVAILABLE, IS_LEAVING);
    else if (desk->upkeep == NULL)
        refuse(self, LB_UNAVAILABLE, NOT_JOINED);
    else if (node_id_equal(recipient, upkeep_self(desk->upkeep)))
        refuse(self, LB_DENIED, IS_SELF);
    else if (!upkeep_is_near(desk->upkeep, upkeep_self(desk->upkeep), recipient, BOX_SLACK))
        refuse(self, LB_DENIED, NOT_NEAR);
    else if (commits_is_busy(desk->commits))
        refuse(self, LB_UNAVAILABLE, IS_BUSY);
    return self->err == LB_OK;
}

static bool is_neighbour(const struct box_call *self, const struct node_id *recipient)
{
    const struct upkeep *upkeep = self->desk->upkeep;

    return upkeep != NULL && upkeep_is_near(upkeep, &self->caller, recipient, BOX_SLACK);
}

static void on_committed(struct commit *commit)
{
    struct box_call *self = (struct box_call *)commit;
    lb_err err = commit->op.err;

    if (err == LB_OK && commit->op.kind == DB_KEEP_MAIL) {
        self->complete = true;
        self->desk->kept++;
    } else if (err == LB_OK) {
        self->complete = true;
        self->desk->certified += commit->op.kind == DB_PUT_CERTIFICATE;
    } else if (self->err != LB_OK) {
        ; /* a check has said why */
    } else if (err == LB_FULL && commit->op.kind == DB_KEEP_MAIL) {
        refuse(self, LB_FULL, box_limit_text(commit->op.keep.limit));
    } else {
        refuse(self, err, err == LB_CONFLICT ? "a newer one is here" : lb_err_text(err));
    }
    self->on_written(self->ctx);
}

/* False: it was refused. */
static bool submit(struct box_call *self, enum db_op_kind kind, bool (*check)(struct commit *))
{
    self->commit.done = on_committed;
    self->commit.check = check;
    self->commit.op.kind = kind;
    self->commit.op.now_s = self->now_s;
    if (commits_submit(self->desk->commits, &self->commit) == LB_OK)
        return true;
    refuse(self, LB_UNAVAILABLE, IS_BUSY);
    return false;
}

/* ---- keep ---- */

/* On the commits' thread. */
static bool has_its_name(struct commit *commit)
{
    struct box_call *self = (struct box_call *)commit;
    const struct db_keep *keep = &commit->op.keep;
    uint8_t digest[SHA256_SIZE];

    sha256(keep->data, digest);
    if (memcmp(digest, keep->mail.id, sizeof digest) == 0)
        return true;
    commit->op.err = LB_CORRUPT;
    refuse(self, LB_CORRUPT, "these parts do not make the mail of that id");
    return false;
}

static bool take_part(struct box_call *self, const Lb__Peer__MailPart *from,
                      struct box_part *ret_part)
{
    const char *reason = "a mail has a recipient of 20 bytes and an id of 32";
    lb_err err = LB_INVALID;

    *ret_part = (struct box_part){ .size = from->size,
                                   .keep_s = from->keep_s,
                                   .offset = from->offset,
                                   .data = bytes_of_binary(&from->data) };
    if (take_id(&from->recipient, &ret_part->mail.recipient) &&
        take_name(&from->id, ret_part->mail.id))
        err = box_part_check(ret_part, &reason);
    if (err != LB_OK)
        refuse(self, err, reason);
    return err == LB_OK;
}

/* The first part of a mail: is the whole wanted at all? */
static bool is_whole_wanted(struct box_call *self, const struct box_part *part)
{
    struct box_desk *desk = self->desk;
    const struct box_mail *mail = &part->mail;
    enum box_limit limit = BOX_ROOM;
    struct box_mail_record record;
    struct bytes data;

    if (db_read_begin(desk->db) != LB_OK) {
        refuse(self, LB_IO, "the store cannot be read");
        return false;
    }
    self->complete = db_read_mail(desk->db, mail, self->now_s, &record, &data) == LB_OK;
    if (!self->complete)
        limit = db_read_admits(desk->db, &mail->recipient, &self->caller,
                               is_neighbour(self, &mail->recipient), part->size);
    db_read_end(desk->db);
    if (limit != BOX_ROOM)
        refuse(self, LB_FULL, box_limit_text(limit));
    else if (!self->complete && !db_has_room(desk->db))
        refuse(self, LB_NO_SPACE, lb_err_text(LB_NO_SPACE));
    return !self->complete && self->err == LB_OK;
}

static bool begin_keep(struct box_call *self)
{
    struct box_desk *desk = self->desk;
    struct db_keep *keep = &self->commit.op.keep;
    struct box_part part;
    bool is_whole;

    if (!take_part(self, self->request->keep, &part) || !may_keep(self, &part.mail.recipient))
        return false;
    if (!box_drafts_has(&desk->drafts, &part.mail, &self->caller) && !is_whole_wanted(self, &part))
        return false;
    if (box_drafts_add(&desk->drafts, &part, &self->caller, self->now_s * 1000, &is_whole,
                       &self->mail, &keep->keep_s) != LB_OK) {
        refuse(self, LB_CONFLICT, "the parts of a mail differ in what they say of its size");
        return false;
    }
    if (!is_whole)
        return false;
    keep->mail = part.mail;
    keep->data = bytes_of(self->mail, part.size);
    keep->sender = self->caller;
    keep->is_neighbour = is_neighbour(self, &part.mail.recipient);
    keep->check_s = upkeep_first_check_s(desk->upkeep, self->now_s);
    return submit(self, DB_KEEP_MAIL, has_its_name);
}

static void answer_taken(struct box_call *self, Lb__Peer__Reply *reply)
{
    lb__peer__mail_taken__init(&self->taken);
    self->taken.complete = self->complete;
    reply->body_case = LB__PEER__REPLY__BODY_MAIL_TAKEN;
    reply->mail_taken = &self->taken;
}

/* ---- drop ---- */

static bool begin_drop(struct box_call *self)
{
    const Lb__Peer__DropMail *body = self->request->drop_mail;
    struct db_drop_mail *drop = &self->commit.op.drop_mail;

    drop->recipient = self->caller;
    drop->count = body->n_ids;
    for (size_t i = 0; i < body->n_ids && i < BOX_HEADS_MAX; i++) {
        if (!take_name(&body->ids[i], drop->ids[i]))
            drop->count = 0;
    }
    if (drop->count == 0 || drop->count > BOX_HEADS_MAX) {
        refuse(self, LB_INVALID, "1 to 16 ids of 32 bytes are dropped at once");
        return false;
    }
    return submit(self, DB_DROP_MAIL, NULL);
}

/* ---- certificates ---- */

/* The life of a certificate, as an age: it is the last that the wall clock has to say. */
static uint64_t life_s(const struct certificate_claims *claims)
{
    uint64_t wall_s = clock_wall_s();
    uint64_t rest_s = claims->not_after_s > wall_s ? claims->not_after_s - wall_s : 0;

    return rest_s < LIFE_MAX_S ? rest_s : LIFE_MAX_S;
}

/* On the commits' thread. */
static bool is_certified(struct commit *commit)
{
    struct box_call *self = (struct box_call *)commit;
    struct db_certify *certify = &commit->op.certify;
    STACK_OF(X509) *chain = sk_X509_new_null();
    enum certificate_refusal refusal = REFUSED_OTHER;
    struct certificate_claims claims;
    X509 *intermediate = NULL;

    if (chain != NULL &&
        certificate_from_der(certify->certificate.intermediate, &intermediate) == LB_OK &&
        sk_X509_push(chain, intermediate) > 0)
        refusal =
            certificate_verify(self->leaf, chain, self->desk->root, NULL, clock_wall_s(), &claims);
    sk_X509_free(chain);
    X509_free(intermediate);
    if (refusal == REFUSED_NOT && node_id_equal(&claims.node, &certify->node))
        return true;
    commit->op.err = LB_CORRUPT;
    refuse(self, LB_CORRUPT,
           refusal == REFUSED_NOT ? "another node's" : certificate_refusal_text(refusal));
    return false;
}

static struct box_half *find_half(struct box_desk *desk, const struct node_id *caller)
{
    for (size_t i = 0; i < BOX_HALVES_MAX; i++) {
        if (desk->halves[i].size > 0 && node_id_equal(&desk->halves[i].caller, caller))
            return &desk->halves[i];
    }
    return NULL;
}

/* The caller's own place, a free one, or the oldest. */
static struct box_half *take_half(struct box_desk *desk, const struct node_id *caller)
{
    struct box_half *half = find_half(desk, caller);

    for (size_t i = 0; i < BOX_HALVES_MAX && half == NULL; i++) {
        if (desk->halves[i].size == 0)
            half = &desk->halves[i];
    }
    if (half != NULL)
        return half;
    half = &desk->halves[0];
    for (size_t i = 1; i < BOX_HALVES_MAX; i++) {
        if (desk->halves[i].since_s < half->since_s)
            half = &desk->halves[i];
    }
    return half;
}

static void keep_half(struct box_call *self, struct bytes intermediate)
{
    struct box_half *half = take_half(self->desk, &self->caller);

    *half = (struct box_half){ .caller = self->caller,
                               .since_s = self->now_s,
                               .size = intermediate.size };
    memcpy(half->intermediate, intermediate.data, intermediate.size);
}

/* What came with the leaf, or before it; empty: nothing did. */
static struct bytes intermediate_of(struct box_call *self, struct bytes given)
{
    struct box_half *half = find_half(self->desk, &self->caller);

    if (given.size > 0)
        return given;
    if (half == NULL || half->since_s + BOX_HALF_S < self->now_s)
        return given;
    memcpy(self->intermediate, half->intermediate, half->size);
    given = bytes_of(self->intermediate, half->size);
    half->size = 0;
    return given;
}

static bool begin_certificate(struct box_call *self)
{
    const Lb__Peer__PutCertificate *body = self->request->put_certificate;
    struct db_certify *certify = &self->commit.op.certify;
    struct bytes leaf = bytes_of_binary(&body->leaf);
    struct bytes intermediate = bytes_of_binary(&body->intermediate);
    struct certificate_claims claims;

    if (leaf.size == 0 && intermediate.size > 0 && intermediate.size <= BOX_CERTIFICATE_MAX) {
        keep_half(self, intermediate);
        return false;
    }
    intermediate = intermediate_of(self, intermediate);
    if (leaf.size > BOX_CERTIFICATE_MAX || intermediate.size == 0 ||
        intermediate.size > BOX_CERTIFICATE_MAX ||
        certificate_from_der(leaf, &self->leaf) != LB_OK ||
        certificate_read(self->leaf, &claims) != LB_OK) {
        refuse(self, LB_INVALID, "no certificate of a member and its intermediate");
        return false;
    }
    if (self->desk->root == NULL) {
        refuse(self, LB_UNAVAILABLE, NOT_JOINED);
        return false;
    }
    if (!may_keep(self, &claims.node))
        return false;
    certify->node = claims.node;
    certify->check_s = upkeep_first_check_s(self->desk->upkeep, self->now_s);
    certify->certificate = (struct box_certificate){ .not_before_s = claims.not_before_s,
                                                     .serial = claims.serial,
                                                     .ends_s = self->now_s + life_s(&claims),
                                                     .leaf = leaf,
                                                     .intermediate = intermediate };
    return submit(self, DB_PUT_CERTIFICATE, is_certified);
}

static void answer_certificate(struct box_call *self, Lb__Peer__Reply *reply)
{
    const Lb__Peer__GetCertificate *body = self->request->get_certificate;
    Lb__Peer__Certificate *certificate = &self->certificate;
    struct box_certificate found;
    struct node_id node;

    if (!take_id(&body->node_id, &node)) {
        refuse(self, LB_INVALID, "a node id has 20 bytes");
        return;
    }
    lb__peer__certificate__init(certificate);
    reply->body_case = LB__PEER__REPLY__BODY_CERTIFICATE;
    reply->certificate = certificate;
    if (db_read_certificate(self->desk->db, &node, self->now_s, &found) != LB_OK)
        return;
    if (!body->intermediate)
        certificate->leaf = binary_of(found.leaf);
    if (body->intermediate || found.leaf.size + found.intermediate.size <= BOX_CERTIFICATE_MAX)
        certificate->intermediate = binary_of(found.intermediate);
}

/* ---- lists and parts ---- */

static uint32_t rest_s(const struct box_call *self, const struct box_mail_record *record)
{
    uint64_t rest_s = record->ends_s > self->now_s ? record->ends_s - self->now_s : 1;

    return (uint32_t)(rest_s < BOX_KEEP_MAX_S ? rest_s : BOX_KEEP_MAX_S);
}

static void add_head(struct box_call *self, const uint8_t id[BOX_ID_SIZE], uint32_t size,
                     uint32_t keep_s)
{
    Lb__Peer__MailHead *head = &self->heads[self->list.n_mails];

    lb__peer__mail_head__init(head);
    head->id = binary_of(bytes_of(id, BOX_ID_SIZE));
    head->size = size;
    head->keep_s = keep_s;
    self->head_pointers[self->list.n_mails++] = head;
}

static void begin_list(struct box_call *self, Lb__Peer__Reply *reply)
{
    lb__peer__mail_list__init(&self->list);
    self->list.mails = self->head_pointers;
    reply->body_case = LB__PEER__REPLY__BODY_MAIL_LIST;
    reply->mail_list = &self->list;
}

static void answer_list(struct box_call *self, Lb__Peer__Reply *reply)
{
    const Lb__Peer__ListMail *body = self->request->list_mail;
    uint8_t after[BOX_ID_SIZE];
    bool has_after = take_name(&body->after, after);
    bool more;
    size_t count;

    if (!has_after && body->after.len > 0) {
        refuse(self, LB_INVALID, "the id of a mail has 32 bytes");
        return;
    }
    begin_list(self, reply);
    count = db_read_heads(self->desk->db, &self->caller, has_after ? after : NULL, self->now_s,
                          self->found, &more);
    for (size_t i = 0; i < count; i++)
        add_head(self, self->found[i].id, self->found[i].record.size,
                 rest_s(self, &self->found[i].record));
    self->list.more = more;
}

static void answer_part(struct box_call *self, Lb__Peer__Reply *reply)
{
    const Lb__Peer__GetMailPart *body = self->request->get_mail_part;
    struct box_mail_record record;
    struct box_mail mail;
    struct bytes data;

    if (!take_id(&body->recipient, &mail.recipient) || !take_name(&body->id, mail.id)) {
        refuse(self, LB_INVALID, "a mail has a recipient of 20 bytes and an id of 32");
        return;
    }
    if (!node_id_equal(&self->caller, &mail.recipient) && !is_neighbour(self, &mail.recipient)) {
        refuse(self, LB_DENIED, "another node's mail");
        return;
    }
    if (db_read_mail(self->desk->db, &mail, self->now_s, &record, &data) != LB_OK ||
        record.is_dropped || body->offset >= record.size || body->offset % BOX_PART_SIZE != 0) {
        refuse(self, LB_NOT_FOUND, NO_SUCH);
        return;
    }
    lb__peer__mail_part__init(&self->part);
    self->part.recipient = body->recipient;
    self->part.id = body->id;
    self->part.size = record.size;
    self->part.keep_s = rest_s(self, &record);
    self->part.offset = body->offset;
    self->part.data =
        binary_of(bytes_of(data.data + body->offset, box_part_size(record.size, body->offset)));
    reply->body_case = LB__PEER__REPLY__BODY_MAIL_PART;
    reply->mail_part = &self->part;
}

/* ---- offers ---- */

/* Nobody waits for it: what could not be written costs a check too many. */
static void on_noted(struct commit *commit)
{
    free(commit);
}

/* Another holder sees to the replicas: our own check is put off. */
static void hear(struct box_call *self, const struct node_id *recipient, uint32_t check_s)
{
    struct box_desk *desk = self->desk;
    struct box_record box;
    struct upkeep_item item;
    struct commit *commit;

    if (check_s == 0 || db_read_box(desk->db, recipient, self->now_s, &box) != LB_OK)
        return;
    item = (struct upkeep_item){ .target = *recipient,
                                 .ends_s = box.ends_s,
                                 .check_s = box.check_s,
                                 .checked_s = box.checked_s,
                                 .calm = box.calm };
    if (commits_is_busy(desk->commits) ||
        !upkeep_postpone(desk->upkeep, &item, check_s, self->now_s))
        return;
    commit = xcalloc(1, sizeof *commit);
    commit->done = on_noted;
    commit->op.kind = DB_SET_BOX;
    commit->op.now_s = self->now_s;
    commit->op.box = (struct db_box_check){ .recipient = *recipient,
                                            .changes = box.changes,
                                            .check_s = item.check_s,
                                            .checked_s = item.checked_s,
                                            .calm = item.calm };
    if (commits_submit(desk->commits, commit) != LB_OK)
        free(commit);
}

static void answer_offer(struct box_call *self, Lb__Peer__Reply *reply)
{
    const Lb__Peer__OfferMail *body = self->request->offer_mail;
    struct db *db = self->desk->db;
    struct box_certificate certificate;
    struct box_mail mail;

    if (!take_id(&body->recipient, &mail.recipient) || body->n_mails > BOX_HEADS_MAX) {
        refuse(self, LB_INVALID, "an offer has a recipient of 20 bytes and up to 16 mails");
        return;
    }
    if (!may_keep(self, &mail.recipient))
        return;
    begin_list(self, reply);
    for (size_t i = 0; i < body->n_mails; i++) {
        const Lb__Peer__MailHead *head = body->mails[i];
        struct box_mail_record record;
        struct bytes data;

        if (take_name(&head->id, mail.id) && head->size > 0 && head->size <= BOX_MAIL_MAX &&
            db_read_mail(db, &mail, self->now_s, &record, &data) == LB_NOT_FOUND)
            add_head(self, head->id.data, head->size, head->keep_s);
    }
    if (body->certificate_from_s > 0)
        self->list.wants_certificate =
            db_read_certificate(db, &mail.recipient, self->now_s, &certificate) != LB_OK ||
            certificate.not_before_s < body->certificate_from_s;
    hear(self, &mail.recipient, body->check_s);
}

/* ---- a call ---- */

/* NULL: it writes nothing; true: on_written follows. */
typedef bool begin_fn(struct box_call *self);
typedef void answer_fn(struct box_call *self, Lb__Peer__Reply *reply);

/* What is not here is for lb-member. */
static const struct desk_row {
    begin_fn *begin;
    answer_fn *answer;
} rows[] = {
    [LB__PEER__REQUEST__BODY_KEEP] = { begin_keep, answer_taken },
    [LB__PEER__REQUEST__BODY_LIST_MAIL] = { NULL, answer_list },
    [LB__PEER__REQUEST__BODY_GET_MAIL_PART] = { NULL, answer_part },
    [LB__PEER__REQUEST__BODY_DROP_MAIL] = { begin_drop, answer_taken },
    [LB__PEER__REQUEST__BODY_PUT_CERTIFICATE] = { begin_certificate, answer_taken },
    [LB__PEER__REQUEST__BODY_GET_CERTIFICATE] = { NULL, answer_certificate },
    [LB__PEER__REQUEST__BODY_OFFER_MAIL] = { NULL, answer_offer },
};

static const struct desk_row *row_of(const struct box_call *self)
{
    size_t number = self->request != NULL ? (size_t)self->request->body_case : 0;

    return number < sizeof rows / sizeof *rows && rows[number].answer != NULL ? &rows[number]
                                                                              : NULL;
}

struct box_call *box_call_begin(struct box_desk *desk, const struct node_id *caller,
                                struct bytes body, uint64_t now_s, box_call_fn *on_written,
                                void *ctx, bool *ret_waits)
{
    struct box_call *self = xcalloc(1, sizeof *self);
    const struct desk_row *row;

    self->desk = desk;
    self->caller = *caller;
    self->on_written = on_written;
    self->ctx = ctx;
    self->now_s = now_s;
    if (body.size <= BOX_BODY_MAX)
        self->request = lb__peer__request__unpack(NULL, body.size, body.data);
    row = row_of(self);
    desk->calls++;
    if (self->request == NULL)
        refuse(self, LB_INVALID, "this is no request");
    else if (row == NULL)
        refuse(self, LB_UNSUPPORTED, "this is not asked of a holder");
    *ret_waits = row != NULL && row->begin != NULL && row->begin(self);
    return self;
}

struct bytes box_call_answer(struct box_call *self, uint64_t now_s)
{
    Lb__Peer__Reply reply = LB__PEER__REPLY__INIT;
    const struct desk_row *row = row_of(self);

    self->now_s = now_s;
    if (self->err == LB_OK)
        row->answer(self, &reply);
    if (self->err != LB_OK) {
        self->desk->refused++;
        lb__peer__refused__init(&self->refused);
        self->refused.err = (int32_t)self->err;
        self->refused.reason = (char *)(uintptr_t)self->reason;
        reply.body_case = LB__PEER__REPLY__BODY_REFUSED;
        reply.refused = &self->refused;
    }
    assert(lb__peer__reply__get_packed_size(&reply) <= sizeof self->reply);
    return bytes_of(self->reply, lb__peer__reply__pack(&reply, self->reply));
}

void box_call_free(struct box_call **self)
{
    struct box_call *call = *self;

    if (call == NULL)
        return;
    if (call->request != NULL)
        lb__peer__request__free_unpacked(call->request, NULL);
    X509_free(call->leaf);
    free(call->mail);
    free(call);
    *self = NULL;
}
