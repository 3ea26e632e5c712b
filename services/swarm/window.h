/*
 * The window of a cooperating peer: how many requests to keep under way with it.
 *
 * One request at a time is timed. While answers come within WINDOW_DELAY_MS of the quickest there
 * ever was, the window grows: by as much again at first, then by an eighth; beyond that it shrinks
 * by a quarter. So a link is kept busy by a short queue, whatever its rate and its round trip, and
 * whatever else is asked for goes to whoever is free first. Source: the idea of LEDBAT (RFC 6817),
 * counted in requests. Pure.
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
    struct picker_ask timed;
    uint64_t timed_ms;
    uint32_t least_ms; /* the quickest answer; UINT32_MAX: none yet */
};

void window_init(struct window *self);
void window_asked(struct window *self, struct picker_ask ask, uint64_t now_ms);

/* Answered by its block. most: what the peer takes. */
void window_came(struct window *self, struct picker_ask ask, uint32_t most, uint64_t now_ms);

/* It will not be answered, or not for us. */
void window_forget(struct window *self, struct picker_ask ask);
