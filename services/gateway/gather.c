#include "services/gateway/gather.h"

#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "services/gateway/fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEFORE_MS        5000
#define GATHERED_MAX     (64u * 1024 * 1024) /* bytes unpacked, of all workers */
#define GATHERED_BUFFER  4096
#define LEFT_OUT_WAIT_MS 1000 /* one that was left out may be gone any moment */

/* One question to all. Their bodies stand packed behind each other: fields that repeat add up. */
struct gathering {
    unsigned awaited;
    reply_fn *on_reply;
    void *ctx;
    lb_err err;
    char reason[MESSAGE_REASON_MAX];
    Lb__Swarm__Reply__BodyCase body_case;
    uint8_t *packed;
    size_t size;
};

struct asked {
    struct gathering *gathering;
    bool counts;
};

void gather_init(struct gather *self, struct instances *instances)
{
    *self = (struct gather){ .instances = instances, .active = instances->active };
}

void gather_follow(struct gather *self)
{
    const unsigned active = self->instances->active;

    if (active < self->active) {
        self->before = self->active;
        self->before_until_ms = actor_now_ms(self->instances->actor) + BEFORE_MS;
    }
    self->active = active;
}

/* ---- one reply of all ---- */

static const ProtobufCMessageDescriptor *descriptor_of(Lb__Swarm__Reply__BodyCase body_case)
{
    return body_case == LB__SWARM__REPLY__BODY_TRANSFERS ? &lb__swarm__transfers__descriptor
                                                         : &lb__swarm__peers__descriptor;
}

static void hand_on(struct gathering *self)
{
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    uint8_t buffer[GATHERED_BUFFER];
    struct message_memory memory;
    ProtobufCMessage *body;

    message_memory_init(&memory, buffer, sizeof(buffer), GATHERED_MAX);
    body =
        message_unpack(descriptor_of(self->body_case), bytes_of(self->packed, self->size), &memory);
    reply.body_case = self->body_case;
    if (!body) {
        self->on_reply(self->ctx, LB_FULL, "all workers together list too much", NULL);
    } else if (self->body_case == LB__SWARM__REPLY__BODY_TRANSFERS) {
        reply.transfers = (Lb__Swarm__Transfers *)body;
        fold_transfers(reply.transfers);
        self->on_reply(self->ctx, LB_OK, "", &reply);
    } else {
        reply.peers = (Lb__Swarm__Peers *)body;
        fold_peers(reply.peers);
        self->on_reply(self->ctx, LB_OK, "", &reply);
    }
    message_memory_done(&memory);
}

static void take(struct gathering *self, const Lb__Swarm__Reply *reply)
{
    const void *body = NULL;
    size_t size;

    message_case(&reply->base, &body);
    if (reply->body_case != LB__SWARM__REPLY__BODY_TRANSFERS &&
        reply->body_case != LB__SWARM__REPLY__BODY_PEERS) {
        self->err = LB_INTERNAL;
        snprintf(self->reason, sizeof(self->reason), "%s", "the service answered something else");
        return;
    }
    self->body_case = reply->body_case;
    size = protobuf_c_message_get_packed_size(body);
    self->packed = xrealloc(self->packed, self->size + size + 1);
    self->size += protobuf_c_message_pack(body, self->packed + self->size);
}

static void on_one(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct asked *asked = ctx;
    struct gathering *self = asked->gathering;
    const bool counts = asked->counts;

    free(asked);
    if (err == LB_OK) {
        take(self, reply);
    } else if (counts && self->err == LB_OK) {
        self->err = err;
        snprintf(self->reason, sizeof(self->reason), "%s", reason ? reason : "");
    }
    if (--self->awaited > 0)
        return;
    if (self->err != LB_OK)
        self->on_reply(self->ctx, self->err, self->reason, NULL);
    else
        hand_on(self);
    free(self->packed);
    free(self);
}

void gather_ask(struct gather *self, const Lb__Swarm__Request *request, uint32_t timeout_ms,
                reply_fn *on_reply, void *ctx)
{
    const struct instances *instances = self->instances;
    struct gathering *gathering = xcalloc(1, sizeof(*gathering));
    const bool wide = actor_now_ms(instances->actor) < self->before_until_ms;
    unsigned count = wide && self->before > instances->active ? self->before : instances->active;

    if (count > instances->linked)
        count = instances->linked;
    *gathering = (struct gathering){ .awaited = count, .on_reply = on_reply, .ctx = ctx };
    for (unsigned i = 0; i < count; i++) {
        struct asked *asked = xcalloc(1, sizeof(*asked));

        *asked = (struct asked){ .gathering = gathering, .counts = i < instances->active };
        link_call(instances->links[i], &request->base,
                  asked->counts || timeout_ms < LEFT_OUT_WAIT_MS ? timeout_ms : LEFT_OUT_WAIT_MS,
                  on_one, asked);
    }
}
