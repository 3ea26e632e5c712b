/* What the workers of a node ask of each other. */
#include "libcommon/memory.h"
#include "services/swarm/service_inside.h"

#include <stdlib.h>

#define FETCH_MS 30000u /* when who asks does not say */

bool swarm_is_infohash(struct call **call, const ProtobufCBinaryData *infohash)
{
    if (infohash->len == 20)
        return true;
    call_fail(call, LB_INVALID, "an infohash has 20 bytes");
    return false;
}

bool swarm_read_peers(const ProtobufCBinaryData *peers, size_t count, struct address *ret_peers)
{
    if (count > TRANSFERS_PASSED_PEERS)
        return false;
    for (size_t i = 0; i < count; i++)
        if (address_from_compact(bytes_of(peers[i].data, peers[i].len), &ret_peers[i]) != LB_OK)
            return false;
    return true;
}

/* ---- a fetch for another ---- */

static void on_fetch_reply(void *ctx, lb_err err, const char *reason, const void *message)
{
    struct call *call = ctx;
    const Lb__Swarm__Reply *reply = message;
    if (err == LB_OK)
        call_reply(&call, &reply->base);
    else
        call_fail(&call, err == LB_CANCELLED ? LB_UNAVAILABLE : err, "%s",
                  reason != NULL ? reason : lb_err_text(err));
}

bool swarm_fetch_elsewhere(struct swarm *self, struct call **call, const Lb__Swarm__Fetch *fetch,
                           const struct transfers_fetch *order)
{
    struct link *owner = transfers_fetch_elsewhere(self->transfers, order);
    if (owner == NULL)
        return false;
    if (fetch->forwarded) {
        call_fail(call, LB_UNAVAILABLE, "the number of workers is changing");
        return true;
    }
    Lb__Swarm__Fetch passed = *fetch;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    const uint32_t left_ms = call_time_left_ms(*call);
    passed.forwarded = true;
    request.body_case = LB__SWARM__REQUEST__BODY_FETCH;
    request.fetch = &passed;
    link_call(owner, &request.base, left_ms == UINT32_MAX ? FETCH_MS : left_ms, on_fetch_reply,
              *call);
    *call = NULL;
    return true;
}

/* ---- handing over ---- */

void swarm_on_take_up(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__TakeUp *take = body;
    struct address peers[TRANSFERS_PASSED_PEERS];
    if (take->infohash.len == 20 && swarm_read_peers(take->peers, take->n_peers, peers))
        transfers_take_up(self->transfers, take->infohash.data, peers, take->n_peers);
    call_done(&call);
}

void swarm_on_adopt(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__Adopt *adopt = body;
    if (!swarm_is_infohash(&call, &adopt->infohash))
        return;
    if (transfers_answers_for(self->transfers, adopt->infohash.data) != LB_OK) {
        call_fail(&call, LB_UNAVAILABLE, "it is another worker's, or passes to this one");
        return;
    }
    call_lasts(call); /* until it is seeded and announced */
    transfers_adopt(self->transfers, adopt->infohash.data, adopt->folder, adopt->from,
                    swarm_on_shared, call);
}

/* ---- mirrors ---- */

void swarm_on_seed(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__Seed *seed = body;
    struct address peers[TRANSFERS_PASSED_PEERS];
    if (!swarm_is_infohash(&call, &seed->infohash))
        return;
    if (!swarm_read_peers(seed->peers, seed->n_peers, peers)) {
        call_fail(&call, LB_INVALID, "at most %u addresses, each of 6 or 18 bytes",
                  TRANSFERS_PASSED_PEERS);
        return;
    }
    Lb__Swarm__Seeding seeding = LB__SWARM__SEEDING__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    seeding.send_rate = transfers_seed(self->transfers, seed->infohash.data, peers, seed->n_peers);
    reply.body_case = LB__SWARM__REPLY__BODY_SEEDING;
    reply.seeding = &seeding;
    call_reply(&call, &reply.base);
}

void swarm_on_unseed(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    const Lb__Swarm__Unseed *unseed = body;
    if (unseed->infohash.len == 20)
        transfers_unseed(self->transfers, unseed->infohash.data);
    call_done(&call);
}

/* ---- parts of the limits ---- */

void swarm_on_allot(void *ctx, struct call *call, const void *body)
{
    struct swarm *self = ctx;
    Lb__Swarm__Allotment allotment = LB__SWARM__ALLOTMENT__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    transfers_allot(self->transfers, body, &allotment);
    reply.body_case = LB__SWARM__REPLY__BODY_ALLOTMENT;
    reply.allotment = &allotment;
    call_reply(&call, &reply.base);
    free(allotment.rates);
}
