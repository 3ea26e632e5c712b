/*
 * Events for front ends, on RUN/events.sock (proto/littlebird/v1/event.proto).
 *
 * Somebody has to be listening: only then is lb-swarm asked once a second and the status page
 * looked at, and what differs from the look before is published. When the first subscriber of a
 * topic comes, everything there is is published once, and the topic's sequence number skips one, so
 * that who came back after a while sees that something was missed. A transfer that is gone is
 * published once more in STATE_UNSPECIFIED.
 */
#pragma once

#include "libcommon/actor.h"

struct gather;
struct publisher;

/* Borrows all of them; swarm's replies come before publisher_free(). */
LB_MUST_CHECK lb_err publisher_new(struct publisher **ret_self, struct actor *actor,
                                   struct gather *swarm, const struct page *status);

/* Must follow the end of the links: no reply is under way. */
void publisher_free(struct publisher **self);
