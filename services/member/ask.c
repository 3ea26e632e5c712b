#include "services/member/ask.h"

#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "proto/routing.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/transport.pb-c.h"
#include "services/member/service.h"

#include <stdlib.h>
#include <string.h>

#define CALL_MS      10000u /* transport gives a silent node up long before */
#define OWN_MS       5000u
#define TABLE_MS     5000u
#define BODY_MAX     1000u /* proto/transport.proto, Call */
#define REPLY_MEMORY 8192u
#define REPLY_TAKEN  (64u * 1024)
#define K            8u

struct bytes ask_bytes(const ProtobufCBinaryData *binary)
{
    return bytes_of(binary->data, binary->len);
}

ProtobufCBinaryData ask_binary(struct bytes bytes)
{
    return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.size };
}

/* ---- one call ---- */

struct asking {
    ask_fn *on_answer;
    void *ctx;
};

static void answer(struct asking *self, lb_err err, const ProtobufCBinaryData *body)
{
    uint8_t buffer[REPLY_MEMORY];
    struct message_memory memory;
    const ProtobufCMessage *reply = NULL;

    message_memory_init(&memory, buffer, sizeof(buffer), REPLY_TAKEN);
    if (err == LB_OK) {
        reply = message_unpack(&lb__peer__reply__descriptor, ask_bytes(body), &memory);
        err = reply ? LB_OK : LB_UNSUPPORTED;
    }
    self->on_answer(self->ctx, err, (const Lb__Peer__Reply *)reply);
    message_memory_done(&memory);
    free(self);
}

static void on_called(void *ctx, lb_err err, const char *reason, const void *reply)
{
    const Lb__Transport__Reply *body = reply;

    (void)reason;
    if (err == LB_OK && (body->body_case != LB__TRANSPORT__REPLY__BODY_ANSWER ||
                         body->answer->krpc_error != 0 || body->answer->body.len == 0)) {
        err = LB_UNSUPPORTED;
    }
    answer(ctx, err, err == LB_OK ? &body->answer->body : NULL);
}

static void on_own_answer(void *ctx, lb_err err, const char *reason, const void *reply)
{
    const Lb__Storage__Reply *body = reply;

    (void)reason;
    if (err == LB_OK &&
        (body->body_case != LB__STORAGE__REPLY__BODY_ANSWERS || body->answers->n_outcomes != 1 ||
         body->answers->outcomes[0]->body.len == 0)) {
        err = LB_UNSUPPORTED;
    }
    answer(ctx, err, err == LB_OK ? &body->answers->outcomes[0]->body : NULL);
}

static void ask_own_store(struct member *self, struct bytes packed, struct asking *asking)
{
    const struct address here = address_v4(127, 0, 0, 1, 1);
    uint8_t compact[ADDRESS_COMPACT_V6];
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Questions questions = LB__STORAGE__QUESTIONS__INIT;
    Lb__Storage__Question question = LB__STORAGE__QUESTION__INIT;
    Lb__Storage__Question *one = &question;
    Lb__Storage__Call call = LB__STORAGE__CALL__INIT;

    call.node_id = ask_binary(bytes_of(self->identity.node.bytes, NODE_ID_SIZE));
    call.body = ask_binary(packed);
    question.from = ask_binary(bytes_of(compact, address_to_compact(&here, compact)));
    question.body_case = LB__STORAGE__QUESTION__BODY_CALL;
    question.call = &call;
    questions.n_questions = 1;
    questions.questions = &one;
    request.body_case = LB__STORAGE__REQUEST__BODY_QUESTIONS;
    request.questions = &questions;
    link_call(instances_pick(&self->storages, 0), &request.base, OWN_MS, on_own_answer, asking);
}

static void ask_other(struct member *self, const struct contact *to, enum ask_service service,
                      struct bytes packed, struct asking *asking)
{
    unsigned worker = address_worker(&to->address, self->transports.active);
    uint8_t compact[ADDRESS_COMPACT_V6];
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    Lb__Transport__Query query = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Call call = LB__TRANSPORT__CALL__INIT;

    call.to = service == ASK_MEMBER ? LB__TRANSPORT__CALL__TO__TO_MEMBER
                                    : LB__TRANSPORT__CALL__TO__TO_STORAGE;
    call.body = ask_binary(packed);
    query.address = ask_binary(bytes_of(compact, address_to_compact(&to->address, compact)));
    query.node_id = ask_binary(bytes_of(to->id.bytes, NODE_ID_SIZE));
    query.method_case = LB__TRANSPORT__QUERY__METHOD_CALL;
    query.call = &call;
    request.body_case = LB__TRANSPORT__REQUEST__BODY_QUERY;
    request.query = &query;
    link_call(instances_pick(&self->transports, worker), &request.base, CALL_MS, on_called, asking);
}

/* No request of ours is longer than BODY_MAX: parts have 900 bytes. */
static struct bytes pack(const Lb__Peer__Request *request, uint8_t buffer[BODY_MAX])
{
    if (lb__peer__request__get_packed_size(request) > BODY_MAX) {
        abort();
    }
    return bytes_of(buffer, lb__peer__request__pack(request, buffer));
}

void ask_node(struct member *self, const struct contact *to, enum ask_service service,
              const Lb__Peer__Request *request, ask_fn *on_answer, void *ctx)
{
    struct asking *asking = xcalloc(1, sizeof(*asking));
    uint8_t buffer[BODY_MAX];
    struct bytes packed = pack(request, buffer);

    *asking = (struct asking){ .on_answer = on_answer, .ctx = ctx };
    if (service == ASK_STORAGE && !address_is_usable(&to->address)) {
        ask_own_store(self, packed, asking);
    } else {
        ask_other(self, to, service, packed, asking);
    }
}

static void on_told_all(void *ctx, lb_err err, const char *reason, const void *reply)
{
    (void)ctx;
    (void)err;
    (void)reason;
    (void)reply;
}

void ask_tell_all(struct member *self, const Lb__Peer__Request *request)
{
    uint8_t buffer[BODY_MAX];
    Lb__Transport__Request message = LB__TRANSPORT__REQUEST__INIT;
    Lb__Transport__CallAll call_all = LB__TRANSPORT__CALL_ALL__INIT;
    Lb__Transport__Call call = LB__TRANSPORT__CALL__INIT;

    call.to = LB__TRANSPORT__CALL__TO__TO_MEMBER;
    call.body = ask_binary(pack(request, buffer));
    call_all.call = &call;
    message.body_case = LB__TRANSPORT__REQUEST__BODY_CALL_ALL;
    message.call_all = &call_all;
    for (unsigned i = 0; i < self->transports.active; i++) {
        link_call(self->transports.links[i], &message.base, OWN_MS, on_told_all, NULL);
    }
}

/* ---- lookups ---- */

struct looking {
    struct member *member;
    struct node_id target;
    closest_fn *on_found;
    void *ctx;
};

static bool take_contact(const Lb__Contact *message, struct contact *ret_contact)
{
    if (!message || message->node_id.len != NODE_ID_SIZE ||
        address_from_compact(ask_bytes(&message->address), &ret_contact->address) != LB_OK ||
        !address_is_usable(&ret_contact->address)) {
        return false;
    }
    ret_contact->id = node_id_from(message->node_id.data);
    return true;
}

/* Our own store, where it belongs among the others. */
static unsigned insert_own(const struct member *self, const struct node_id *target,
                           struct contact *closest, unsigned count)
{
    const struct contact own = { .id = self->identity.node };
    unsigned at = count;

    while (at > 0 && node_id_compare_distance(target, &own.id, &closest[at - 1].id) < 0) {
        closest[at] = closest[at - 1];
        at--;
    }
    closest[at] = own;
    return count + 1;
}

/* In routing's order: nearest first. */
static unsigned take_closest(const struct looking *looking, const Lb__Routing__Found *found,
                             struct contact ret_closest[ASK_CLOSEST_MAX])
{
    unsigned count = 0;

    for (size_t i = 0; i < found->n_closest && count < ASK_CLOSEST_MAX - 1; i++) {
        count += take_contact(found->closest[i]->contact, &ret_closest[count]) ? 1 : 0;
    }
    return found->self_is_close ? insert_own(looking->member, &looking->target, ret_closest, count)
                                : count;
}

static void on_closest(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct looking *looking = ctx;
    const Lb__Routing__Reply *body = reply;
    struct contact closest[ASK_CLOSEST_MAX];
    unsigned count = 0;

    (void)reason;
    if (err == LB_OK && body->body_case != LB__ROUTING__REPLY__BODY_FOUND) {
        err = LB_INTERNAL;
    }
    if (err == LB_OK) {
        count = take_closest(looking, body->found, closest);
    }
    looking->on_found(looking->ctx, err, closest, count);
    free(looking);
}

void ask_closest(struct member *self, const struct node_id *target, uint32_t timeout_ms,
                 closest_fn *on_found, void *ctx)
{
    struct looking *looking = xcalloc(1, sizeof(*looking));
    Lb__Routing__Request request = LB__ROUTING__REQUEST__INIT;
    Lb__Routing__Lookup lookup = LB__ROUTING__LOOKUP__INIT;

    *looking =
        (struct looking){ .member = self, .target = *target, .on_found = on_found, .ctx = ctx };
    lookup.target = ask_binary(bytes_of(target->bytes, NODE_ID_SIZE));
    lookup.kind = LB__ROUTING__LOOKUP__KIND__NODES;
    lookup.k = K;
    request.body_case = LB__ROUTING__REQUEST__BODY_LOOKUP;
    request.lookup = &lookup;
    link_call(self->routing, &request.base, timeout_ms, on_closest, looking);
}

/* ---- any node ---- */

struct choosing {
    struct member *member;
    any_fn *on_found;
    void *ctx;
};

/* Each good one as likely as the others. */
static bool choose(struct random *random, const Lb__Routing__Table *table, struct contact *ret_node)
{
    unsigned good = 0;

    for (size_t i = 0; i < table->n_entries; i++) {
        const Lb__Routing__Entry *entry = table->entries[i];
        struct contact contact;

        if (entry->state == LB__ROUTING__ENTRY__STATE__GOOD &&
            take_contact(entry->contact, &contact) && random_below(random, ++good) == 0) {
            *ret_node = contact;
        }
    }
    return good > 0;
}

static void on_table(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct choosing *choosing = ctx;
    const Lb__Routing__Reply *body = reply;
    struct contact node;

    (void)reason;
    if (err == LB_OK && body->body_case != LB__ROUTING__REPLY__BODY_TABLE) {
        err = LB_INTERNAL;
    }
    if (err == LB_OK && !choose(&choosing->member->random, body->table, &node)) {
        err = LB_NOT_FOUND;
    }
    choosing->on_found(choosing->ctx, err, err == LB_OK ? &node : NULL);
    free(choosing);
}

void ask_for_any(struct member *self, any_fn *on_found, void *ctx)
{
    struct choosing *choosing = xcalloc(1, sizeof(*choosing));
    Lb__Routing__Request request = LB__ROUTING__REQUEST__INIT;
    Lb__Routing__GetTable get_table = LB__ROUTING__GET_TABLE__INIT;

    *choosing = (struct choosing){ .member = self, .on_found = on_found, .ctx = ctx };
    request.body_case = LB__ROUTING__REQUEST__BODY_GET_TABLE;
    request.get_table = &get_table;
    link_call(self->routing, &request.base, TABLE_MS, on_table, choosing);
}
