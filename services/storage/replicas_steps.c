/* The steps of upkeep.h, carried out: writes, checks, and what is asked of one node. */
#include "libcommon/memory.h"
#include "services/storage/errand.h"
#include "services/storage/messages.h"
#include "services/storage/replicas_inside.h"
#include "services/storage/service.h"

#include <stdlib.h>
#include <string.h>

#define QUERY_MS 10000u /* longest wait for one node; transport gives up long before */

/* Something asked of another node, or of our own store, for the core. */
struct asking {
    struct commit commit; /* of a write */
    struct storage *storage;
    uint32_t ticket;
};

/* ---- writing ---- */

static void on_written(struct commit *commit)
{
    struct asking *asking = (struct asking *)commit;
    struct storage *storage = asking->storage;
    lb_err err = commit->op.err;

    if (commit->op.kind == DB_DROP && err == LB_OK)
        storage->removed++;
    /* Another version there by now has times of its own. */
    if (storage->replicas != NULL) {
        upkeep_written(storage->replicas->upkeep, asking->ticket,
                       err == LB_OK || err == LB_NOT_FOUND, replicas_now_ms(storage));
        replicas_wake(storage->replicas);
    }
    free(asking);
}

static void write_item(struct replicas *self, const struct upkeep_action *action)
{
    struct storage *storage = self->storage;
    struct asking *asking = xcalloc(1, sizeof *asking);
    struct db_op *op = &asking->commit.op;

    asking->storage = storage;
    asking->ticket = action->ticket;
    asking->commit.done = on_written;
    op->kind = action->step == UPKEEP_DROP ? DB_DROP : DB_SET_CHECK;
    op->now_s = storage_now_s(storage);
    op->check = (struct db_check){ .target = action->target,
                                   .seq = action->seq,
                                   .check_s = action->item.check_s,
                                   .checked_s = action->item.checked_s,
                                   .calm = action->item.calm };
    if (commits_submit(storage->commits, &asking->commit) == LB_OK)
        return;
    upkeep_written(self->upkeep, action->ticket, false, replicas_now_ms(storage));
    free(asking);
}

/* ---- checks ---- */

static void on_checked(void *ctx, const struct errand_result *result)
{
    struct asking *asking = ctx;
    struct storage *storage = asking->storage;
    const struct spread_result *spread = &result->spread;
    const struct upkeep_check check = { .err = spread->err,
                                        .seq = result->item->is_mutable ? spread->seq : 0,
                                        .nodes = spread->found,
                                        .holders = spread->holders,
                                        .lacking = spread->lacking,
                                        .may_drop = spread->may_drop };

    storage_count(storage, COUNTER_REPAIRED, spread->repaired);
    if (storage->replicas != NULL) {
        upkeep_checked(storage->replicas->upkeep, asking->ticket, &check, replicas_now_ms(storage));
        replicas_wake(storage->replicas);
    }
    free(asking);
}

static void check(struct replicas *self, const struct upkeep_action *action)
{
    struct storage *storage = self->storage;
    struct asking *asking = xcalloc(1, sizeof *asking);
    struct errand_options options = {
        .target = action->target, .check_s = action->check_s, .on_done = on_checked, .ctx = asking
    };
    struct upkeep_check result = { .err = LB_FULL };
    struct item_record record;

    asking->storage = storage;
    asking->ticket = action->ticket;
    if (db_read_item(storage->db, &action->target, storage_now_s(storage), &record) != LB_OK) {
        result.gone = true;
    } else {
        options.item = record.item;
        options.ttl_s = storage_rest_of_life_s(storage, &record);
        options.spread =
            (struct spread_options){ .mode = SPREAD_CHECK,
                                     .is_mutable = record.item.is_mutable,
                                     .seq = record.item.seq,
                                     .deadline_ms = storage_now_ms(storage) + STORAGE_TIME_MS };
        if (errand_start(storage, &options) == LB_OK)
            return;
    }
    upkeep_checked(self->upkeep, action->ticket, &result, replicas_now_ms(storage));
    free(asking);
}

/* ---- asking one node ---- */

static struct upkeep_answer answer_of(lb_err err, const Lb__Transport__Reply *reply)
{
    struct upkeep_answer answer = { .outcome = UPKEEP_SILENT };
    const Lb__Transport__Answer *body;

    if (err != LB_OK || reply->body_case != LB__TRANSPORT__REPLY__BODY_ANSWER)
        return answer;
    body = reply->answer;
    answer.outcome = body->krpc_error == 0 ? UPKEEP_DONE : UPKEEP_REFUSED;
    answer.littlebird = body->littlebird;
    answer.need = (const char *)body->need.data;
    answer.need_size = body->need.len;
    answer.token = body->token.data;
    answer.token_size = body->token.len;
    answer.has_item = body->item != NULL;
    answer.seq = body->item != NULL ? body->item->seq : 0;
    return answer;
}

static void on_answered(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct asking *asking = ctx;
    struct replicas *self = asking->storage->replicas;
    struct upkeep_answer answer = answer_of(err, reply);

    (void)reason;
    if (self != NULL) {
        upkeep_answered(self->upkeep, asking->ticket, &answer, replicas_now_ms(self->storage));
        replicas_wake(self);
    }
    free(asking);
}

static void send_query(struct replicas *self, const struct upkeep_action *action,
                       Lb__Transport__Query *query)
{
    struct storage *storage = self->storage;
    const struct contact *contact = &action->contact;
    uint8_t compact[ADDRESS_COMPACT_V6];
    size_t compact_size = address_to_compact(&contact->address, compact);
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    struct asking *asking = xcalloc(1, sizeof *asking);

    asking->storage = storage;
    asking->ticket = action->ticket;
    query->address = binary_of(bytes_of(compact, compact_size));
    query->node_id = binary_of_id(&contact->id);
    request.body_case = LB__TRANSPORT__REQUEST__BODY_QUERY;
    request.query = query;
    link_call(storage_transport(storage, &contact->address), &request.base, QUERY_MS, on_answered,
              asking);
}

static void ping(struct replicas *self, const struct upkeep_action *action)
{
    Lb__Transport__Query query = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Ping body = LB__TRANSPORT__PING__INIT;

    query.method_case = LB__TRANSPORT__QUERY__METHOD_PING;
    query.ping = &body;
    send_query(self, action, &query);
}

static void offer(struct replicas *self, const struct upkeep_action *action)
{
    uint8_t digests[UPKEEP_DIGESTS_MAX * REPLICAS_DIGEST_SIZE];
    Lb__Transport__Query query = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Offer body = LB__TRANSPORT__OFFER__INIT;

    for (size_t i = 0; i < action->digests_count; i++) {
        uint8_t *digest = digests + i * REPLICAS_DIGEST_SIZE;

        memcpy(digest, action->digests[i].target.bytes, NODE_ID_SIZE);
        store_u64(digest + NODE_ID_SIZE, action->digests[i].seq);
    }
    body.digests = binary_of(bytes_of(digests, action->digests_count * REPLICAS_DIGEST_SIZE));
    query.method_case = LB__TRANSPORT__QUERY__METHOD_OFFER;
    query.offer = &body;
    send_query(self, action, &query);
}

static void get(struct replicas *self, const struct upkeep_action *action)
{
    Lb__Transport__Query query = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Get body = LB__TRANSPORT__GET__INIT;

    body.target = binary_of_id(&action->target);
    query.method_case = LB__TRANSPORT__QUERY__METHOD_GET;
    query.get = &body;
    send_query(self, action, &query);
}

static void put(struct replicas *self, const struct upkeep_action *action)
{
    struct storage *storage = self->storage;
    Lb__Transport__Query query = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Put body = LB__TRANSPORT__PUT__INIT;
    const struct upkeep_answer gone = { .outcome = UPKEEP_REFUSED };
    struct item_record record;
    Lb__Item item;

    if (db_read_item(storage->db, &action->target, storage_now_s(storage), &record) != LB_OK) {
        upkeep_answered(self->upkeep, action->ticket, &gone, replicas_now_ms(storage));
        return;
    }
    item_to_message(&record.item, &item);
    item.ttl_s = message_ttl(storage_rest_of_life_s(storage, &record));
    body.item = &item;
    body.token = binary_of(bytes_of(action->token, action->token_size));
    query.method_case = LB__TRANSPORT__QUERY__METHOD_PUT;
    query.put = &body;
    send_query(self, action, &query);
}

/* ---- all of them ---- */

typedef void act_fn(struct replicas *self, const struct upkeep_action *action);

static act_fn *const acts[UPKEEP_STEPS] = {
    [UPKEEP_CHECK] = check,     [UPKEEP_PING] = ping, [UPKEEP_OFFER] = offer,
    [UPKEEP_GET] = get,         [UPKEEP_PUT] = put,   [UPKEEP_SET] = write_item,
    [UPKEEP_DROP] = write_item,
};

void replicas_carry_out(struct replicas *self, const struct upkeep_action *action)
{
    acts[action->step](self, action);
}
