#include "tests/member/member_world.h"

#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "services/member/ask.h"
#include "services/member/parts.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEED 12u

/* ---- the actor: what the shell uses of it ---- */

struct uv_loop_s *actor_loop(const struct actor *self)
{
    return &self->world->loop;
}

const struct paths *actor_paths(const struct actor *self)
{
    return &self->paths;
}

uint64_t actor_now_ms(const struct actor *self)
{
    return uv_now(&self->world->loop);
}

uint64_t actor_random_seed(const struct actor *self)
{
    return SEED + self->number;
}

struct status_counter *actor_counter(struct actor *self, const char *name)
{
    for (unsigned i = 0; i < self->counters_count; i++) {
        if (strcmp(self->counters[i].name, name) == 0) {
            return &self->counters[i];
        }
    }
    assert_true(self->counters_count < MEMBER_COUNTERS_COUNT);
    snprintf(self->counters[self->counters_count].name, STATUS_NAME_SIZE, "%s", name);
    return &self->counters[self->counters_count++];
}

void actor_state(struct actor *self, enum service_state state, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vsnprintf(self->note, sizeof(self->note), format, values);
    va_end(values);
    self->state = state;
}

void actor_stopped(struct actor *self)
{
    self->stopped = true;
}

void actor_free_later(struct actor *self, void *memory)
{
    struct world *world = self->world;

    assert_true(world->later_count < sizeof(world->later) / sizeof(world->later[0]));
    world->later[world->later_count++] = memory;
}

struct link *actor_link(struct actor *self, enum service service, unsigned instance,
                        const ProtobufCMessageDescriptor *reply)
{
    (void)service;
    (void)instance;
    (void)reply;
    return (struct link *)self; /* routing is there, that is all that is asked of it */
}

bool link_is_up(const struct link *self)
{
    return self != NULL;
}

void instances_init(struct instances *self, struct actor *actor, enum service service,
                    const ProtobufCMessageDescriptor *reply)
{
    (void)service;
    (void)reply;
    *self = (struct instances){ .actor = actor, .active = 1 };
}

bool instances_follow(struct instances *self)
{
    (void)self;
    return false;
}

/* ---- calls ---- */

void call_reply(struct call **call, const ProtobufCMessage *reply)
{
    struct call *it = *call;

    assert_false(it->answered);
    it->answered = true;
    it->err = LB_OK;
    it->reply_size = protobuf_c_message_get_packed_size(reply);
    it->reply = xmalloc(it->reply_size + 1);
    protobuf_c_message_pack(reply, it->reply);
    *call = NULL;
}

void call_fail(struct call **call, lb_err err, const char *reason_format, ...)
{
    struct call *it = *call;
    va_list values;

    assert_false(it->answered);
    it->answered = true;
    it->err = err;
    va_start(values, reason_format);
    vsnprintf(it->reason, sizeof(it->reason), reason_format, values);
    va_end(values);
    *call = NULL;
}

void call_lasts(struct call *call)
{
    call->is_kept = true;
}

struct call *world_begin(struct world *world, unsigned node, const Lb__Member__Request *request)
{
    struct call *call = xcalloc(1, sizeof(*call));
    struct member *member = world->nodes[node].member;

    uv_update_time(&world->loop);
    call->node = node;
    call->next = world->open_calls;
    world->open_calls = call;
    assert_non_null(member);
    assert_true((size_t)request->body_case < member_service.handlers_count);
    /* Every member of the oneof is a pointer at the same place. */
    member_service.handlers[request->body_case](member, call, request->calls);
    return call;
}

static void forget_call(struct world *world, struct call *call)
{
    struct call **at = &world->open_calls;

    while (*at != call) {
        at = &(*at)->next;
    }
    *at = call->next;
    free(call->reply);
    free(call);
}

static bool is_answered(void *ctx)
{
    return ((struct call *)ctx)->answered;
}

struct world_answer world_end(struct world *world, struct call *call)
{
    struct world_answer answer = { .err = LB_OK };

    world_run_until(world, is_answered, call);
    answer.err = call->err;
    snprintf(answer.reason, sizeof(answer.reason), "%s", call->reason);
    if (call->err == LB_OK) {
        answer.reply = lb__member__reply__unpack(NULL, call->reply_size, call->reply);
        assert_non_null(answer.reply);
    }
    forget_call(world, call);
    return answer;
}

struct world_answer world_ask(struct world *world, unsigned node,
                              const Lb__Member__Request *request)
{
    return world_end(world, world_begin(world, node, request));
}

void world_answer_done(struct world_answer *answer)
{
    if (answer->reply) {
        lb__member__reply__free_unpacked(answer->reply, NULL);
    }
    answer->reply = NULL;
}

/* ---- the network ---- */

struct contact world_contact(const struct world *world, unsigned node)
{
    struct contact contact = { .address = address_v4(10, 0, 0, (uint8_t)(node + 1), 6881) };

    contact.id = world->nodes[node].self.identity.node;
    return contact;
}

static bool find_node(const struct world *world, const struct node_id *id, unsigned *ret_node)
{
    for (unsigned i = 0; i < world->nodes_count; i++) {
        if (node_id_equal(&world->nodes[i].self.identity.node, id)) {
            *ret_node = i;
            return true;
        }
    }
    return false;
}

struct delivery {
    uv_timer_t timer;
    struct delivery *next;
    struct world *world;
    unsigned from, to;
    enum ask_service service;
    bool is_lost;
    uint8_t body[1000];
    size_t size;
    ask_fn *on_answer;
    void *ctx;
    struct call *call; /* to a member, while it is being answered */
};

static void end_delivery(struct delivery *delivery)
{
    struct delivery **at = &delivery->world->deliveries;

    while (*at != delivery) {
        at = &(*at)->next;
    }
    *at = delivery->next;
    uv_close((uv_handle_t *)&delivery->timer, (uv_close_cb)free);
}

static void answer_with(struct delivery *delivery, lb_err err, struct bytes body)
{
    Lb__Peer__Reply *reply = NULL;

    assert_true(body.size <= 1000);
    if (err == LB_OK) {
        reply = lb__peer__reply__unpack(NULL, body.size, body.data);
        assert_non_null(reply);
    }
    if (delivery->on_answer) {
        delivery->on_answer(delivery->ctx, err, reply);
    }
    if (reply) {
        lb__peer__reply__free_unpacked(reply, NULL);
    }
    end_delivery(delivery);
}

/* ---- the stores ---- */

static struct world_mail *find_mail(struct world_node *node, const struct node_id *recipient,
                                    const ProtobufCBinaryData *id)
{
    for (unsigned i = 0; i < node->mails_count; i++) {
        if (node_id_equal(&node->mails[i].recipient, recipient) &&
            memcmp(node->mails[i].id, id->data, INBOX_ID_SIZE) == 0) {
            return &node->mails[i];
        }
    }
    return NULL;
}

static bool is_whole(const struct world_mail *mail)
{
    return mail->has == (UINT64_C(1) << parts_count(mail->size)) - 1;
}

static bool keep(struct world_node *node, const Lb__Peer__MailPart *part)
{
    struct node_id recipient = node_id_from(part->recipient.data);
    struct world_mail *mail = find_mail(node, &recipient, &part->id);

    if (!mail) {
        assert_true(node->mails_count < WORLD_MAILS_MAX);
        mail = &node->mails[node->mails_count++];
        *mail = (struct world_mail){ .recipient = recipient,
                                     .size = part->size,
                                     .data = xcalloc(1, part->size) };
        memcpy(mail->id, part->id.data, INBOX_ID_SIZE);
    }
    memcpy(mail->data + part->offset, part->data.data, part->data.len);
    mail->has |= UINT64_C(1) << (part->offset / PARTS_PART_BYTES);
    return is_whole(mail);
}

static void drop(struct world_node *node, const struct node_id *recipient,
                 const Lb__Peer__DropMail *drop_mail)
{
    for (size_t i = 0; i < drop_mail->n_ids && !node->drops_nothing; i++) {
        struct world_mail *mail = find_mail(node, recipient, &drop_mail->ids[i]);

        if (mail) {
            free(mail->data);
            *mail = node->mails[--node->mails_count];
        }
    }
}

static size_t list(struct world_node *node, const struct node_id *recipient,
                   Lb__Peer__MailHead heads[16])
{
    size_t count = 0;

    for (unsigned i = 0; i < node->mails_count && count < 16; i++) {
        struct world_mail *mail = &node->mails[i];

        if (!node_id_equal(&mail->recipient, recipient) || !is_whole(mail)) {
            continue;
        }
        lb__peer__mail_head__init(&heads[count]);
        heads[count].id = ask_binary(bytes_of(mail->id, INBOX_ID_SIZE));
        heads[count].size = mail->size;
        heads[count].keep_s = 60;
        count++;
    }
    return count;
}

static void put_certificate(struct world_node *node, unsigned of, unsigned which,
                            const ProtobufCBinaryData *der)
{
    if (der->len > 0) {
        memcpy(node->certificates[of][which], der->data, der->len);
        node->certificate_sizes[of][which] = der->len;
    }
}

/* As lb-storage of that node would; returns what it says, packed. */
static size_t ask_store(struct world *world, unsigned from, unsigned to,
                        const Lb__Peer__Request *request, uint8_t ret_packed[1000])
{
    struct world_node *node = &world->nodes[to];
    const struct node_id *asker = &world->nodes[from].self.identity.node;
    Lb__Peer__Reply reply = LB__PEER__REPLY__INIT;
    Lb__Peer__MailTaken taken = LB__PEER__MAIL_TAKEN__INIT;
    Lb__Peer__MailList mail_list = LB__PEER__MAIL_LIST__INIT;
    Lb__Peer__MailPart part = LB__PEER__MAIL_PART__INIT;
    Lb__Peer__Certificate certificate = LB__PEER__CERTIFICATE__INIT;
    Lb__Peer__Refused refused = LB__PEER__REFUSED__INIT;
    Lb__Peer__MailHead heads[16];
    Lb__Peer__MailHead *pointers[16];
    char reason[] = "no";
    unsigned of;

    reply.body_case = LB__PEER__REPLY__BODY_MAIL_TAKEN;
    reply.mail_taken = &taken;
    switch (request->body_case) {
    case LB__PEER__REQUEST__BODY_KEEP:
        if (node->keeps_nothing) {
            refused.err = LB_FULL;
            refused.reason = reason;
            reply.body_case = LB__PEER__REPLY__BODY_REFUSED;
            reply.refused = &refused;
            break;
        }
        taken.complete = keep(node, request->keep);
        break;
    case LB__PEER__REQUEST__BODY_DROP_MAIL:
        drop(node, asker, request->drop_mail);
        break;
    case LB__PEER__REQUEST__BODY_LIST_MAIL:
        mail_list.n_mails = list(node, asker, heads);
        for (size_t i = 0; i < mail_list.n_mails; i++) {
            pointers[i] = &heads[i];
        }
        mail_list.mails = pointers;
        reply.body_case = LB__PEER__REPLY__BODY_MAIL_LIST;
        reply.mail_list = &mail_list;
        break;
    case LB__PEER__REQUEST__BODY_GET_MAIL_PART: {
        struct world_mail *mail = find_mail(node, asker, &request->get_mail_part->id);
        uint32_t offset = request->get_mail_part->offset;

        assert_non_null(mail);
        part.recipient = ask_binary(bytes_of(asker->bytes, NODE_ID_SIZE));
        part.id = ask_binary(bytes_of(mail->id, INBOX_ID_SIZE));
        part.size = mail->size;
        part.offset = offset;
        part.data = ask_binary(
            bytes_of(mail->data + offset, parts_size_of(mail->size, offset / PARTS_PART_BYTES)));
        reply.body_case = LB__PEER__REPLY__BODY_MAIL_PART;
        reply.mail_part = &part;
        break;
    }
    case LB__PEER__REQUEST__BODY_PUT_CERTIFICATE:
        put_certificate(node, from, 0, &request->put_certificate->leaf);
        put_certificate(node, from, 1, &request->put_certificate->intermediate);
        taken.complete = request->put_certificate->leaf.len > 0;
        break;
    case LB__PEER__REQUEST__BODY_GET_CERTIFICATE: {
        struct node_id wanted = node_id_from(request->get_certificate->node_id.data);

        /* Together or in two calls: both ways are tried. */
        if (find_node(world, &wanted, &of) && !request->get_certificate->intermediate) {
            certificate.leaf =
                ask_binary(bytes_of(node->certificates[of][0], node->certificate_sizes[of][0]));
        }
        if (find_node(world, &wanted, &of) &&
            (request->get_certificate->intermediate || !world->is_tight)) {
            certificate.intermediate =
                ask_binary(bytes_of(node->certificates[of][1], node->certificate_sizes[of][1]));
        }
        reply.body_case = LB__PEER__REPLY__BODY_CERTIFICATE;
        reply.certificate = &certificate;
        break;
    }
    default:
        fail_msg("a store is not asked for case %d", (int)request->body_case);
    }
    assert_true(lb__peer__reply__get_packed_size(&reply) <= 1000);
    return lb__peer__reply__pack(&reply, ret_packed);
}

/* ---- to lb-member of another node ---- */

static struct call *hand_over(struct world *world, unsigned from, unsigned to, struct bytes body)
{
    struct contact caller = world_contact(world, from);
    uint8_t compact[ADDRESS_COMPACT_V6];
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__Calls calls = LB__MEMBER__CALLS__INIT;
    Lb__Member__Call call = LB__MEMBER__CALL__INIT;
    Lb__Member__Call *one = &call;

    call.node_id = ask_binary(bytes_of(caller.id.bytes, NODE_ID_SIZE));
    call.address = ask_binary(bytes_of(compact, address_to_compact(&caller.address, compact)));
    call.body = ask_binary(body);
    calls.n_calls = 1;
    calls.calls = &one;
    request.body_case = LB__MEMBER__REQUEST__BODY_CALLS;
    request.calls = &calls;
    return world_begin(world, to, &request);
}

static void on_look(uv_timer_t *timer)
{
    struct delivery *delivery = timer->data;
    struct call *call = delivery->call;
    Lb__Member__Reply *reply = NULL;

    if (!call->answered) {
        uv_timer_start(timer, on_look, 1, 0);
        return;
    }
    if (call->err == LB_OK) {
        reply = lb__member__reply__unpack(NULL, call->reply_size, call->reply);
    }
    if (reply && reply->answers->n_bodies == 1 && reply->answers->bodies[0].len > 0) {
        answer_with(delivery, LB_OK, ask_bytes(&reply->answers->bodies[0]));
    } else {
        answer_with(delivery, LB_TIMEOUT, bytes_of(NULL, 0));
    }
    if (reply) {
        lb__member__reply__free_unpacked(reply, NULL);
    }
    forget_call(delivery->world, call);
}

static void on_arrived(uv_timer_t *timer)
{
    struct delivery *delivery = timer->data;
    struct world *world = delivery->world;
    uint8_t packed[1000];
    Lb__Peer__Request *request;
    size_t size;

    if (delivery->is_lost || !world->nodes[delivery->to].member) {
        answer_with(delivery, LB_TIMEOUT, bytes_of(NULL, 0));
        return;
    }
    if (delivery->service == ASK_MEMBER) {
        delivery->call = hand_over(world, delivery->from, delivery->to,
                                   bytes_of(delivery->body, delivery->size));
        on_look(timer);
        return;
    }
    request = lb__peer__request__unpack(NULL, delivery->size, delivery->body);
    assert_non_null(request);
    size = ask_store(world, delivery->from, delivery->to, request, packed);
    lb__peer__request__free_unpacked(request, NULL);
    answer_with(delivery, LB_OK, bytes_of(packed, size));
}

struct bytes ask_bytes(const ProtobufCBinaryData *binary)
{
    return bytes_of(binary->data, binary->len);
}

ProtobufCBinaryData ask_binary(struct bytes bytes)
{
    return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.size };
}

void ask_node(struct member *self, const struct contact *to, enum ask_service service,
              const Lb__Peer__Request *request, ask_fn *on_answer, void *ctx)
{
    struct actor *actor = self->actor;
    struct world *world = actor->world;
    struct delivery *delivery = xcalloc(1, sizeof(*delivery));

    assert_true(lb__peer__request__get_packed_size(request) <= sizeof(delivery->body));
    delivery->world = world;
    delivery->from = actor->number;
    delivery->service = service;
    delivery->on_answer = on_answer;
    delivery->ctx = ctx;
    delivery->size = lb__peer__request__pack(request, delivery->body);
    if (!address_is_usable(&to->address)) {
        assert_int_equal(service, ASK_STORAGE);
        delivery->to = actor->number;
    } else {
        assert_true(find_node(world, &to->id, &delivery->to));
        world->calls++;
        delivery->is_lost = world->loses_every != 0 && world->calls % world->loses_every == 0;
    }
    delivery->next = world->deliveries;
    world->deliveries = delivery;
    uv_timer_init(&world->loop, &delivery->timer);
    delivery->timer.data = delivery;
    uv_timer_start(&delivery->timer, on_arrived, 0, 0);
}

static void ignore(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    (void)ctx;
    (void)err;
    (void)reply;
}

void ask_tell_all(struct member *self, const Lb__Peer__Request *request)
{
    struct world *world = self->actor->world;

    for (unsigned i = 0; i < world->nodes_count; i++) {
        struct contact to = world_contact(world, i);

        if (i != self->actor->number && world->nodes[i].member) {
            ask_node(self, &to, ASK_MEMBER, request, ignore, NULL);
        }
    }
}

/* ---- lookups ---- */

struct lookup {
    uv_timer_t timer;
    struct lookup *next;
    struct world *world;
    unsigned from;
    struct contact closest[ASK_CLOSEST_MAX];
    unsigned count;
    closest_fn *on_closest;
    any_fn *on_any;
    void *ctx;
};

static void answer_lookup(struct lookup *lookup, lb_err err)
{
    struct lookup **at = &lookup->world->lookups;

    while (*at != lookup) {
        at = &(*at)->next;
    }
    *at = lookup->next;
    uv_timer_stop(&lookup->timer);
    if (lookup->on_closest) {
        lookup->on_closest(lookup->ctx, err, lookup->closest, err == LB_OK ? lookup->count : 0);
    } else {
        err = err == LB_OK && lookup->count == 0 ? LB_NOT_FOUND : err;
        lookup->on_any(lookup->ctx, err, err == LB_OK ? &lookup->closest[0] : NULL);
    }
    uv_close((uv_handle_t *)&lookup->timer, (uv_close_cb)free);
}

static void on_looked_up(uv_timer_t *timer)
{
    answer_lookup(timer->data, LB_OK);
}

static struct lookup *lookup_new(struct member *self)
{
    struct lookup *lookup = xcalloc(1, sizeof(*lookup));

    lookup->world = self->actor->world;
    lookup->from = self->actor->number;
    lookup->next = lookup->world->lookups;
    lookup->world->lookups = lookup;
    uv_timer_init(&lookup->world->loop, &lookup->timer);
    lookup->timer.data = lookup;
    uv_timer_start(&lookup->timer, on_looked_up, 0, 0);
    return lookup;
}

/* The one closest to target that is there and was not taken; -1: there is none. */
static int next_closest(const struct world *world, const struct node_id *target, const bool *taken)
{
    int best = -1;

    for (unsigned i = 0; i < world->nodes_count; i++) {
        const struct world_node *node = &world->nodes[i];

        if (!taken[i] && node->member &&
            (best < 0 || node_id_compare_distance(target, &node->self.identity.node,
                                                  &world->nodes[best].self.identity.node) < 0)) {
            best = (int)i;
        }
    }
    return best;
}

/* The 8 closest others, and our own store when it is nearer than one of them. */
void ask_closest(struct member *self, const struct node_id *target, uint32_t timeout_ms,
                 closest_fn *on_found, void *ctx)
{
    struct world *world = self->actor->world;
    struct lookup *lookup = lookup_new(self);
    bool taken[WORLD_NODES_MAX] = { false };
    unsigned others = 0;
    int best;

    (void)timeout_ms;
    lookup->on_closest = on_found;
    lookup->ctx = ctx;
    while (others < 8 && (best = next_closest(world, target, taken)) >= 0) {
        taken[best] = true;
        lookup->closest[lookup->count] = world_contact(world, (unsigned)best);
        if ((unsigned)best == self->actor->number) {
            lookup->closest[lookup->count].address = (struct address){ .port = 0 };
        } else {
            others++;
        }
        lookup->count++;
    }
}

void ask_for_any(struct member *self, any_fn *on_found, void *ctx)
{
    struct world *world = self->actor->world;
    struct lookup *lookup = lookup_new(self);
    unsigned other = (self->actor->number + 1) % world->nodes_count;

    lookup->on_any = on_found;
    lookup->ctx = ctx;
    if (other != self->actor->number && world->nodes[other].member) {
        lookup->closest[lookup->count++] = world_contact(world, other);
    }
}

static bool is_called(void *ctx)
{
    return ((struct call *)ctx)->answered;
}

Lb__Peer__Reply *world_call(struct world *world, unsigned from, unsigned to,
                            const Lb__Peer__Request *request)
{
    uint8_t body[1024];
    struct call *call;
    Lb__Member__Reply *reply;
    Lb__Peer__Reply *answer;

    call = hand_over(world, from, to, bytes_of(body, lb__peer__request__pack(request, body)));
    world_run_until(world, is_called, call);
    assert_int_equal(call->err, LB_OK);
    reply = lb__member__reply__unpack(NULL, call->reply_size, call->reply);
    assert_non_null(reply);
    assert_int_equal(reply->answers->n_bodies, 1);
    answer = lb__peer__reply__unpack(NULL, reply->answers->bodies[0].len,
                                     reply->answers->bodies[0].data);
    lb__member__reply__free_unpacked(reply, NULL);
    forget_call(world, call);
    return answer;
}

/* ---- life ---- */

static void set_paths(struct world *world, unsigned number)
{
    struct paths *paths = &world->nodes[number].actor.paths;

    snprintf(paths->state_folder, PATHS_SIZE, "%s/%u", world->folder, number);
    snprintf(paths->member_folder, PATHS_SIZE, "%s/%u/member", world->folder, number);
    snprintf(paths->identity_file, PATHS_SIZE, "%s/%u/identity", world->folder, number);
    assert_int_equal(mkdir(paths->state_folder, 0700), 0);
    assert_int_equal(mkdir(paths->member_folder, 0700), 0);
}

void world_init(struct world *world, unsigned nodes)
{
    world_init_named(world, nodes, "lab");
}

void world_init_named(struct world *world, unsigned nodes, const char *name)
{
    memset(world, 0, sizeof(*world));
    assert_true(nodes <= WORLD_NODES_MAX);
    snprintf(world->folder, sizeof(world->folder), "/tmp/lb-member-test-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(uv_loop_init(&world->loop), 0);
    pki_network_make(&world->network, name, (uint64_t)time(NULL));
    world->nodes_count = nodes;
    for (unsigned i = 0; i < nodes; i++) {
        struct world_node *node = &world->nodes[i];

        node->actor.world = world;
        node->actor.number = i;
        pki_member_make(&world->network, i + 1, CERTIFICATE_MEMBER, PKI_SOUND, &node->self);
        set_paths(world, i);
        pki_write_folder(&world->network, &node->self, node->actor.paths.member_folder);
        pki_write_identity(&node->self, node->actor.paths.identity_file);
    }
}

void world_start(struct world *world, unsigned number)
{
    struct world_node *node = &world->nodes[number];
    void *ctx = NULL;

    uv_update_time(&world->loop);
    assert_null(node->member);
    node->actor.counters_count = 0;
    memset(node->actor.counters, 0, sizeof(node->actor.counters));
    assert_int_equal(member_service.start(&node->actor, &ctx), LB_OK);
    node->member = ctx;
}

/* As the actor does when its loop has ended: what it has asked is cancelled. */
static void cancel_asked(struct world *world, unsigned number)
{
    for (struct delivery *it = world->deliveries; it; it = it->next) {
        ask_fn *on_answer = it->on_answer;

        if (it->from == number && on_answer) {
            it->on_answer = NULL;
            on_answer(it->ctx, LB_CANCELLED, NULL);
        }
    }
    for (struct lookup *it = world->lookups, *next; it; it = next) {
        next = it->next;
        if (it->from == number) {
            answer_lookup(it, LB_CANCELLED);
        }
    }
}

/* And what it was asked, and has not answered, ends. */
static void end_calls(struct world *world, unsigned number)
{
    for (struct call *it = world->open_calls; it; it = it->next) {
        if (it->node == number && !it->answered) {
            it->answered = true;
            it->err = LB_CANCELLED;
        }
    }
}

void world_stop(struct world *world, unsigned number)
{
    struct world_node *node = &world->nodes[number];

    node->actor.stopped = false;
    member_service.stop(node->member);
    assert_true(node->actor.stopped);
    cancel_asked(world, number);
    member_service.free(node->member);
    node->member = NULL;
    end_calls(world, number);
}

void world_run_until(struct world *world, world_fn *is_done, void *ctx)
{
    uint64_t until_ms = clock_monotonic_ms() + WORLD_LIMIT_MS;

    while (!is_done(ctx)) {
        assert_true(clock_monotonic_ms() < until_ms);
        uv_run(&world->loop, UV_RUN_ONCE);
    }
}

static void remove_all(const char *folder)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

void world_done(struct world *world)
{
    for (unsigned i = 0; i < world->nodes_count; i++) {
        if (world->nodes[i].member) {
            world_stop(world, i);
        }
    }
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    for (unsigned i = 0; i < world->later_count; i++) {
        free(world->later[i]);
    }
    for (unsigned i = 0; i < world->nodes_count; i++) {
        pki_member_done(&world->nodes[i].self);
        for (unsigned j = 0; j < world->nodes[i].mails_count; j++) {
            free(world->nodes[i].mails[j].data);
        }
    }
    pki_network_done(&world->network);
    remove_all(world->folder);
}

void world_start_all(struct world *world, unsigned nodes)
{
    world_init(world, nodes);
    for (unsigned i = 0; i < nodes; i++) {
        world_start(world, i);
    }
}

uint64_t world_counter(struct world *world, unsigned node, const char *name)
{
    return atomic_load(&actor_counter(&world->nodes[node].actor, name)->value);
}

struct awaited {
    struct world *world;
    uint64_t number;
};

static bool all_have_it(void *ctx)
{
    const struct awaited *awaited = ctx;

    for (unsigned i = 0; i < awaited->world->nodes_count; i++) {
        if (awaited->world->nodes[i].member &&
            world_counter(awaited->world, i, "deny_number") != awaited->number) {
            return false;
        }
    }
    return true;
}

void world_await_denied(struct world *world, uint64_t number)
{
    struct awaited awaited = { world, number };

    world_run_until(world, all_have_it, &awaited);
}
