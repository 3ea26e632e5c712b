/*
 * The window of a cooperating peer: how many requests to keep under way with it.
 *
 * One request at a time is timed. As long as what is under way with all peers is little for our
 * downlink, a window that is used to the full grows: by answers within WINDOW_DELAY_MS of the
 * quickest there ever was at first by as much again, then by an eighth; by slower ones by one, to
 * its fair share: what is little, divided by all who have something for us. When it is little no
 * more, a slower answer shrinks it by a quarter, used or not, and a quick one moves it towards its
 * share. Without that who was asked first would keep what it has, and the others would be asked for
 * as good as nothing; and many bursts on their way at once overflow the queues. So a link is kept
 * busy by a short queue, whatever its rate and its round trip, and whatever else is asked for goes
 * to whoever is free first. Source: the idea of LEDBAT (RFC 6817), counted in requests. Pure.
 */
#pragma once

#include "services/swarm/picker.h"

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_MIN      1u
#define WINDOW_DELAY_MS 100u

struct window {
    uint32_t target; /* requests */
    bool starting;
    bool timing;
    bool full; /* it was, since what is timed was asked for */
    struct picker_ask timed;
    uint64_t timed_ms;
    uint32_t least_ms; /* the quickest answer; UINT32_MAX: none yet */
};

/* What is under way with all peers, beside what our downlink takes. */
struct window_load {
    bool little;   /* it does not keep it busy */
    uint32_t fair; /* what would, divided by those who have something: requests, 1 at least */
};

void window_init(struct window *self);

/* Begin anew with a peer whose round trip is known. */
void window_restart(struct window *self);

/* under_way: requests, with this one. */
void window_asked(struct window *self, struct picker_ask ask, uint32_t under_way, uint64_t now_ms);

/* This request is the one that is timed. */
bool window_times(const struct window *self, struct picker_ask ask);

/* It was answered by its block. most: what the peer takes. */
void window_came(struct window *self, uint32_t most, struct window_load load, uint64_t now_ms);

/* It will not be answered, or not for us. */
void window_forget(struct window *self, struct picker_ask ask);
