/* The steps of upkeep.h for boxes, carried out: writes, lookups, and boxes brought to others. */
#include "libcommon/memory.h"
#include "services/storage/boxes_inside.h"
#include "services/storage/find.h"
#include "services/storage/messages.h"

#include <stdlib.h>
#include <string.h>

#define QUERY_MS 10000u /* longest wait for one node; transport gives up long before */
#define FIND_MS  30000u

/* Something asked of another node, or of our own store. */
struct asking {
    struct commit commit; /* first: of a write */
    struct storage *storage;
    uint32_t ticket;        /* of the upkeep, or of the spreading */
    uint32_t place, serial; /* of the bringing */
    bool is_half;           /* of a certificate: the leaf is to follow, to this one */
    struct contact contact;
};

/* ---- writing ---- */

static void on_written(struct commit *commit)
{
    struct asking *asking = (struct asking *)commit;
    struct boxes *self = asking->storage->boxes;
    lb_err err = commit->op.err;

    if (self != NULL && self->upkeep != NULL) {
        upkeep_written(self->upkeep, asking->ticket, err == LB_OK || err == LB_NOT_FOUND,
                       boxes_now_ms(self));
        boxes_wake(self, 0);
    }
    free(asking);
}

static void write_box(struct boxes *self, const struct upkeep_action *action)
{
    struct storage *storage = self->storage;
    struct asking *asking = xcalloc(1, sizeof *asking);
    struct db_op *op = &asking->commit.op;

    asking->storage = storage;
    asking->ticket = action->ticket;
    asking->commit.done = on_written;
    op->kind = action->step == UPKEEP_DROP ? DB_DROP_BOX : DB_SET_BOX;
    op->now_s = storage_now_s(storage);
    op->box = (struct db_box_check){ .recipient = action->target,
                                     .changes = action->seq,
                                     .check_s = action->item.check_s,
                                     .checked_s = action->item.checked_s,
                                     .calm = action->item.calm };
    if (commits_submit(storage->commits, &asking->commit) == LB_OK)
        return;
    upkeep_written(self->upkeep, action->ticket, false, boxes_now_ms(self));
    free(asking);
}

/* ---- what there is here, as box_spread.h asks ---- */

static size_t store_heads(void *ctx, const struct node_id *recipient, const uint8_t *after,
                          struct box_head ret_heads[BOX_HEADS_MAX], bool *ret_more)
{
    struct storage *storage = ctx;
    uint64_t now_s = storage_now_s(storage);
    struct db_head found[BOX_HEADS_MAX];
    size_t count = db_read_heads(storage->db, recipient, after, now_s, found, ret_more);

    for (size_t i = 0; i < count; i++) {
        memcpy(ret_heads[i].id, found[i].id, BOX_ID_SIZE);
        ret_heads[i].size = found[i].record.size;
        ret_heads[i].keep_s = (uint32_t)(found[i].record.ends_s - now_s + 1);
        if (ret_heads[i].keep_s > BOX_KEEP_MAX_S)
            ret_heads[i].keep_s = BOX_KEEP_MAX_S;
    }
    return count;
}

static uint64_t store_certificate_from_s(void *ctx, const struct node_id *recipient)
{
    struct storage *storage = ctx;
    struct box_certificate certificate;

    if (db_read_certificate(storage->db, recipient, storage_now_s(storage), &certificate) != LB_OK)
        return 0;
    return certificate.not_before_s;
}

/* ---- bringing ---- */

static struct bringing *bringing_new(struct boxes *self, const struct upkeep_action *action)
{
    struct box_record box;

    if (db_read_box(self->storage->db, &action->target, storage_now_s(self->storage), &box) !=
        LB_OK)
        return NULL;
    for (size_t i = 0; i < BOXES_BRINGINGS_MAX; i++) {
        struct bringing *bringing = &self->bringings[i];

        if (bringing->boxes != NULL)
            continue;
        *bringing = (struct bringing){ .boxes = self,
                                       .serial = ++self->serial,
                                       .ticket = action->ticket,
                                       .is_check = action->step == UPKEEP_CHECK,
                                       .check_s = action->check_s,
                                       .changes = box.changes,
                                       .recipient = action->target };
        return bringing;
    }
    return NULL;
}

static void bringing_done(struct bringing *bringing)
{
    box_spread_free(&bringing->spread);
    bringing->boxes = NULL;
}

bool boxes_are_bringing(const struct boxes *self)
{
    for (size_t i = 0; i < BOXES_BRINGINGS_MAX; i++) {
        if (self->bringings[i].boxes != NULL)
            return true;
    }
    return false;
}

void boxes_give_up(struct boxes *self)
{
    for (size_t i = 0; i < BOXES_BRINGINGS_MAX; i++)
        bringing_done(&self->bringings[i]);
}

static void start_spread(struct bringing *bringing, const struct contact *nodes, size_t count)
{
    const struct box_spread_options options = {
        .recipient = bringing->recipient,
        .store = { bringing->boxes->storage, store_heads, store_certificate_from_s },
        .nodes = nodes,
        .nodes_count = count,
    };

    bringing->spread = box_spread_new(&options);
    boxes_wake(bringing->boxes, 0);
}

static void tell_upkeep(struct bringing *bringing, lb_err err)
{
    struct boxes *self = bringing->boxes;
    struct box_spread_result result = { 0 };
    struct upkeep_check check = { .err = err, .seq = bringing->changes };
    struct upkeep_answer answer = { .outcome = UPKEEP_DONE };

    if (bringing->spread != NULL)
        result = box_spread_result(bringing->spread);
    check.nodes = result.reached;
    check.holders = result.holders;
    check.lacking = result.lacking;
    /* Of two families each has its own k closest: all of them then. */
    check.may_drop =
        !bringing->self_is_close &&
        !upkeep_is_near(self->upkeep, &self->self_id, &bringing->recipient, BOX_SLACK) &&
        result.holders + result.repaired >= bringing->wanted &&
        (result.reached <= UPKEEP_K || result.lacking == result.repaired);
    if (result.reached == 0)
        answer.outcome = UPKEEP_SILENT;
    else if (result.holders + result.repaired == 0)
        answer.outcome = UPKEEP_REFUSED;
    if (bringing->is_check)
        upkeep_checked(self->upkeep, bringing->ticket, &check, boxes_now_ms(self));
    else
        upkeep_answered(self->upkeep, bringing->ticket, &answer, boxes_now_ms(self));
    bringing_done(bringing);
    boxes_wake(self, 0);
}

/* ---- what is asked of one node ---- */

static struct bringing *bringing_of(const struct asking *asking)
{
    struct boxes *self = asking->storage->boxes;

    if (self == NULL || self->bringings[asking->place].boxes == NULL ||
        self->bringings[asking->place].serial != asking->serial)
        return NULL;
    return &self->bringings[asking->place];
}

static struct asking *asking_new(const struct bringing *bringing)
{
    struct boxes *self = bringing->boxes;
    struct asking *asking = xcalloc(1, sizeof *asking);

    asking->storage = self->storage;
    asking->place = (uint32_t)(bringing - self->bringings);
    asking->serial = bringing->serial;
    return asking;
}

static void read_list(const Lb__Peer__MailList *list, struct bytes ret_lacking[BOX_HEADS_MAX],
                      struct box_answer *answer)
{
    for (size_t i = 0; i < list->n_mails && i < BOX_HEADS_MAX; i++)
        ret_lacking[answer->lacking_count++] = bytes_of_binary(&list->mails[i]->id);
    answer->lacking = ret_lacking;
    answer->wants_certificate = list->wants_certificate;
    answer->outcome = BOX_ANSWERED;
}

/* reply: what the node said; its ids point into it. */
static struct box_answer answer_of(const Lb__Peer__Reply *reply,
                                   struct bytes ret_lacking[BOX_HEADS_MAX])
{
    struct box_answer answer = { .outcome = BOX_REFUSED };

    if (reply == NULL)
        return answer;
    if (reply->body_case == LB__PEER__REPLY__BODY_MAIL_LIST) {
        read_list(reply->mail_list, ret_lacking, &answer);
    } else if (reply->body_case == LB__PEER__REPLY__BODY_MAIL_TAKEN) {
        answer.outcome = BOX_ANSWERED;
        answer.complete = reply->mail_taken->complete;
    } else if (reply->body_case == LB__PEER__REPLY__BODY_REFUSED &&
               reply->refused->err == (int32_t)LB_CONFLICT) {
        answer.outcome = BOX_ANSWERED; /* it has a newer certificate */
    }
    return answer;
}

static bool send_leaf(struct bringing *bringing, const struct asking *asking);

static void on_answered(void *ctx, lb_err err, const char *reason, const void *message)
{
    struct asking *asking = ctx;
    struct bringing *bringing = bringing_of(asking);
    const Lb__Transport__Reply *reply = message;
    struct box_answer answer = { .outcome = BOX_SILENT };
    struct bytes lacking[BOX_HEADS_MAX];
    Lb__Peer__Reply *said = NULL;

    (void)reason;
    if (err == LB_OK && reply->body_case == LB__TRANSPORT__REPLY__BODY_ANSWER) {
        const Lb__Transport__Answer *body = reply->answer;

        if (body->krpc_error == 0 && body->body.len <= BOX_BODY_MAX)
            said = lb__peer__reply__unpack(NULL, body->body.len, body->body.data);
        answer = answer_of(said, lacking);
    }
    if (bringing != NULL && bringing->spread != NULL) {
        if (!asking->is_half || answer.outcome != BOX_ANSWERED || !send_leaf(bringing, asking))
            box_spread_answered(bringing->spread, asking->ticket, &answer);
        boxes_wake(bringing->boxes, 0);
    }
    if (said != NULL)
        lb__peer__reply__free_unpacked(said, NULL);
    free(asking);
}

/* is_half: of a certificate, and the other one is to follow. */
static void send_call(struct bringing *bringing, const struct box_action *action,
                      const Lb__Peer__Request *body, bool is_half)
{
    struct storage *storage = bringing->boxes->storage;
    const struct contact *contact = &action->contact;
    uint8_t compact[ADDRESS_COMPACT_V6];
    uint8_t packed[BOX_BODY_MAX];
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    Lb__Transport__Query query = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Call call = LB__TRANSPORT__CALL__INIT;
    struct asking *asking = asking_new(bringing);

    asking->ticket = action->ticket;
    asking->is_half = is_half;
    asking->contact = *contact;
    call.to = LB__TRANSPORT__CALL__TO__TO_STORAGE;
    call.body = binary_of(bytes_of(packed, lb__peer__request__pack(body, packed)));
    query.address = binary_of(bytes_of(compact, address_to_compact(&contact->address, compact)));
    query.node_id = binary_of_id(&contact->id);
    query.method_case = LB__TRANSPORT__QUERY__METHOD_CALL;
    query.call = &call;
    request.body_case = LB__TRANSPORT__REQUEST__BODY_QUERY;
    request.query = &query;
    link_call(storage_transport(storage, &contact->address), &request.base, QUERY_MS, on_answered,
              asking);
}

static void send_offer(struct bringing *bringing, const struct box_action *action)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__OfferMail body = LB__PEER__OFFER_MAIL__INIT;
    Lb__Peer__MailHead heads[BOX_HEADS_MAX];
    Lb__Peer__MailHead *pointers[BOX_HEADS_MAX];

    for (size_t i = 0; i < action->heads_count; i++) {
        lb__peer__mail_head__init(&heads[i]);
        heads[i].id = binary_of(bytes_of(action->heads[i].id, BOX_ID_SIZE));
        heads[i].size = action->heads[i].size;
        heads[i].keep_s = action->heads[i].keep_s;
        pointers[i] = &heads[i];
    }
    body.recipient = binary_of_id(&bringing->recipient);
    body.mails = pointers;
    body.n_mails = action->heads_count;
    body.certificate_from_s = action->certificate_from_s;
    body.check_s = bringing->is_check ? bringing->check_s : 0;
    request.body_case = LB__PEER__REQUEST__BODY_OFFER_MAIL;
    request.offer_mail = &body;
    send_call(bringing, action, &request, false);
}

static void is_gone(struct bringing *bringing, uint32_t ticket)
{
    const struct box_answer answer = { .outcome = BOX_GONE };

    box_spread_answered(bringing->spread, ticket, &answer);
}

/*
 * Both in one call, if they fit; else the intermediate, and once that is there the leaf: is_second.
 */
static void send_certificate_half(struct bringing *bringing, const struct box_action *action,
                                  bool is_second)
{
    struct storage *storage = bringing->boxes->storage;
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__PutCertificate body = LB__PEER__PUT_CERTIFICATE__INIT;
    struct box_certificate certificate;
    bool is_whole;

    if (db_read_certificate(storage->db, &bringing->recipient, storage_now_s(storage),
                            &certificate) != LB_OK) {
        is_gone(bringing, action->ticket);
        return;
    }
    is_whole = certificate.leaf.size + certificate.intermediate.size <= BOX_CERTIFICATE_MAX;
    if (is_whole || is_second)
        body.leaf = binary_of(certificate.leaf);
    if (is_whole || !is_second)
        body.intermediate = binary_of(certificate.intermediate);
    request.body_case = LB__PEER__REQUEST__BODY_PUT_CERTIFICATE;
    request.put_certificate = &body;
    send_call(bringing, action, &request, !is_whole && !is_second);
}

/* Out of an answer, so outside of a read. False: the store cannot be read. */
static bool send_leaf(struct bringing *bringing, const struct asking *asking)
{
    struct db *db = bringing->boxes->storage->db;
    const struct box_action action = { .ticket = asking->ticket, .contact = asking->contact };

    if (db_read_begin(db) != LB_OK)
        return false;
    send_certificate_half(bringing, &action, true);
    db_read_end(db);
    return true;
}

static void send_certificate(struct bringing *bringing, const struct box_action *action)
{
    send_certificate_half(bringing, action, false);
}

static void send_part(struct bringing *bringing, const struct box_action *action)
{
    struct storage *storage = bringing->boxes->storage;
    struct box_mail mail = { .recipient = bringing->recipient };
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__MailPart body = LB__PEER__MAIL_PART__INIT;
    struct box_mail_record record;
    struct bytes data;

    memcpy(mail.id, action->mail.id, BOX_ID_SIZE);
    if (db_read_mail(storage->db, &mail, storage_now_s(storage), &record, &data) != LB_OK ||
        record.is_dropped || record.size != action->mail.size) {
        is_gone(bringing, action->ticket);
        return;
    }
    body.recipient = binary_of_id(&bringing->recipient);
    body.id = binary_of(bytes_of(mail.id, BOX_ID_SIZE));
    body.size = record.size;
    body.keep_s = action->mail.keep_s;
    body.offset = action->offset;
    body.data =
        binary_of(bytes_of(data.data + action->offset, box_part_size(record.size, action->offset)));
    request.body_case = LB__PEER__REQUEST__BODY_KEEP;
    request.keep = &body;
    bringing->boxes->parts++;
    send_call(bringing, action, &request, false);
}

static bool bring_one(struct bringing *bringing)
{
    static void (*const sends[])(struct bringing * bringing, const struct box_action *action) = {
        [BOX_OFFER] = send_offer,
        [BOX_CERTIFICATE] = send_certificate,
        [BOX_PART] = send_part,
    };
    struct boxes *self = bringing->boxes;
    struct box_action action;
    uint64_t wait_ms = 0;

    if (!box_pace_may(&self->pace, self->is_leaving, boxes_now_ms(self), &wait_ms)) {
        boxes_wake(self, wait_ms);
        return false;
    }
    if (!box_spread_next(bringing->spread, &action))
        return false;
    box_pace_take(&self->pace);
    sends[action.step](bringing, &action);
    return true;
}

void boxes_bring(struct boxes *self)
{
    for (size_t i = 0; i < BOXES_BRINGINGS_MAX; i++) {
        struct bringing *bringing = &self->bringings[i];

        if (bringing->boxes == NULL || bringing->spread == NULL)
            continue;
        while (bring_one(bringing)) {
        }
        if (box_spread_is_done(bringing->spread))
            tell_upkeep(bringing, LB_OK);
    }
}

/* ---- steps ---- */

static void on_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct asking *asking = ctx;
    struct bringing *bringing = bringing_of(asking);
    struct contact nodes[BOX_SPREAD_NODES_MAX];
    size_t count = 0;

    free(asking);
    if (bringing == NULL)
        return;
    if (err != LB_OK) {
        tell_upkeep(bringing, err);
        return;
    }
    bringing->wanted = UPKEEP_K;
    bringing->self_is_close = found->self_is_close;
    for (size_t i = 0; i < found->n_closest && count < BOX_SPREAD_NODES_MAX; i++) {
        if (contact_from_message(found->closest[i]->contact, &nodes[count]) != LB_OK)
            continue;
        if (node_id_equal(&nodes[count].id, &bringing->recipient))
            bringing->wanted = UPKEEP_K - 1;
        else
            count++;
    }
    start_spread(bringing, nodes, count);
}

static void check(struct boxes *self, const struct upkeep_action *action)
{
    struct storage *storage = self->storage;
    struct bringing *bringing = bringing_new(self, action);
    const struct upkeep_check gone = { .gone = true };

    if (bringing == NULL) {
        upkeep_checked(self->upkeep, action->ticket, &gone, boxes_now_ms(self));
        return;
    }
    find_start(storage, LB__ROUTING__LOOKUP__KIND__NODES, &action->target,
               storage_now_ms(storage) + FIND_MS, on_found, asking_new(bringing));
}

/* All of a private network are of our kind. */
static void ping(struct boxes *self, const struct upkeep_action *action)
{
    const struct upkeep_answer answer = { .outcome = UPKEEP_DONE, .littlebird = true };

    upkeep_answered(self->upkeep, action->ticket, &answer, boxes_now_ms(self));
}

/* What of a box it lacks is asked when that box is brought. */
static void offer(struct boxes *self, const struct upkeep_action *action)
{
    static const uint8_t token[1] = { 0 };
    char need[UPKEEP_DIGESTS_MAX];
    const struct upkeep_answer answer = { .outcome = UPKEEP_DONE,
                                          .littlebird = true,
                                          .need = need,
                                          .need_size = action->digests_count,
                                          .token = token,
                                          .token_size = sizeof token };

    memset(need, UPKEEP_WANTS, sizeof need);
    upkeep_answered(self->upkeep, action->ticket, &answer, boxes_now_ms(self));
}

static void put(struct boxes *self, const struct upkeep_action *action)
{
    bool is_owner = node_id_equal(&action->contact.id, &action->target);
    struct bringing *bringing = is_owner ? NULL : bringing_new(self, action);
    const struct upkeep_answer gone = { .outcome = UPKEEP_REFUSED };

    if (bringing == NULL)
        upkeep_answered(self->upkeep, action->ticket, &gone, boxes_now_ms(self));
    else
        start_spread(bringing, &action->contact, 1);
}

/* Never: it is for nodes of another kind. */
static void get(struct boxes *self, const struct upkeep_action *action)
{
    const struct upkeep_answer none = { .outcome = UPKEEP_REFUSED };

    upkeep_answered(self->upkeep, action->ticket, &none, boxes_now_ms(self));
}

typedef void act_fn(struct boxes *self, const struct upkeep_action *action);

static act_fn *const acts[UPKEEP_STEPS] = {
    [UPKEEP_CHECK] = check, [UPKEEP_PING] = ping,     [UPKEEP_OFFER] = offer,    [UPKEEP_GET] = get,
    [UPKEEP_PUT] = put,     [UPKEEP_SET] = write_box, [UPKEEP_DROP] = write_box,
};

void boxes_carry_out(struct boxes *self, const struct upkeep_action *action)
{
    acts[action->step](self, action);
}
