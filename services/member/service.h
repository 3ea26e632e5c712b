/*
 * lb-member: this node as a member of its private network.
 *
 *     service.c      its life, what it says of itself
 *     coordinators.c what is asked of coordinators: renewal, news (renewal.h decides when)
 *     denied.c       the deny list: from a coordinator, from other nodes, to others (rumour.h)
 *     calls.c        what other nodes ask, through transport
 *     ask.c          what other nodes are asked; lookups
 *     certificates.c our certificate at the nodes closest to us, and others' where they keep theirs
 *     sends.c        a message on its way (sending.h)
 *     receive.c      a message that has come: opened, and into the inbox
 *     boxes.c        what others keep for us (pickup.h)
 *     letters.c      the inbox, as programs ask for it
 *
 * Two threads beside the loop: one writes (the inbox, the deny list), in order; one speaks with
 * coordinators, which blocks. Neither touches what the loop has but by its job.
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/grace.h"
#include "libcommon/identity.h"
#include "libcommon/instances.h"
#include "libcommon/pki/membership.h"
#include "libcommon/random.h"
#include "proto/member.pb-c.h"
#include "services/member/inbox.h"
#include "services/member/parts.h"
#include "services/member/renewal.h"
#include "services/member/rumour.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define MEMBER_SENDS_MAX   64u  /* on their way at once; more answers FULL */
#define MEMBER_RENEWS_MAX  16u  /* callers that wait for one renewal; more answers FULL */
#define MEMBER_WAITS_MAX   32u  /* callers that wait for a message; more answers FULL */
#define MEMBER_BATCHES_MAX 256u /* of other nodes' calls, being answered; more answers FULL */
#define MEMBER_LANE_WRITE  1u   /* of the pool */
#define MEMBER_LANE_ASK    2u

struct boxes;
struct certificates;
struct coordinators;
struct denied;
struct letters;
struct pool;
struct receiving;
struct sends;

struct member {
    struct actor *actor; /* borrowed, as links and counters */
    struct identity identity;
    struct membership *membership;
    struct inbox *inbox;
    struct pool *pool;
    struct link *routing;
    struct instances transports, storages;
    struct random random;
    struct grace grace;
    struct parts parts;

    struct coordinators *coordinators;
    struct denied *denied;
    struct certificates *certificates;
    struct sends *sends;
    struct receiving *receiving;
    struct boxes *boxes;
    struct letters *letters;
    unsigned batches; /* of calls.c */

    uv_timer_t tick; /* every second */
    unsigned ticks;
    bool is_sweeping;
    bool is_stopping;
    struct status_counter *counters[16];
};

enum member_counter {
    MEMBER_RECEIVED,     /* messages, into the inbox */
    MEMBER_NOT_RECEIVED, /* forged, altered, for somebody else, without room */
    MEMBER_SENT,         /* delivered */
    MEMBER_KEPT,         /* left with others */
    MEMBER_NOT_SENT,
    MEMBER_MESSAGES, /* in the inbox */
    MEMBER_MESSAGE_BYTES,
    MEMBER_RENEWED,
    MEMBER_NOT_RENEWED,
    MEMBER_CERTIFICATE_S, /* that our certificate still counts; 0: it has ended */
    MEMBER_DENY_NUMBER,
    MEMBER_DENIED_NODES,
    MEMBER_LISTS_REFUSED, /* deny lists that did not count */
    MEMBER_COUNTERS_COUNT
};

void member_count(struct member *self, enum member_counter counter);
uint64_t member_now_ms(const struct member *self); /* monotonic */

/* Are we on the deny list ourselves? No other node speaks with us, and no renewal helps. */
bool member_is_put_out(const struct member *self);

/* Has something of ours been changed on disk? Called every second, and after we changed it. */
void member_refresh(struct member *self);

handler_fn on_calls, on_send, on_list_inbox, on_read_mail, on_remove_mail, on_new_denied,
    on_get_membership, on_renew_now;

void member_reply_membership(struct member *self, struct call **call);

extern const struct service_definition member_service;
