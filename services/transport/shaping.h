/*
 * Keeps one source from taking what all could have (overload.h): counts datagrams and questions for
 * storage while there are more than can be answered, and applies the rules that follow, to
 * datagrams by the sockets' gates, to questions here. Looks every OVERLOAD_PERIOD_MS while a socket
 * is busy or something is being counted, and not at all otherwise.
 */
#pragma once

#include "services/transport/overload.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define SHAPING_PORTS 2

struct transport;

/* Questions that read, and those that store: storage answers these at a pace of their own. */
struct shaping_questions {
    struct overload overload;
    struct overload_period period; /* of now */
};

struct shaping {
    struct transport *transport; /* borrowed */
    struct overload datagrams;
    struct shaping_questions questions[2];
    uint64_t taken, reads, short_reads; /* at the end of the last period */
    uint32_t dropped[SHAPING_PORTS];
    bool gate_refused; /* said once */
    uv_timer_t timer;
    bool running, open;
};

void shaping_init(struct shaping *self, struct transport *transport);
void shaping_close(struct shaping *self, uv_close_cb on_closed); /* the timer's data is transport */
void shaping_done(struct shaping *self);

/* At the end of a turn of the loop. */
void shaping_look(struct shaping *self);

/* May this question go to storage? It is counted; one that is refused is answered without it. */
bool shaping_admits(struct shaping *self, bool stores, const struct address *from);

/* So many questions that were admitted could not be asked after all: storage had enough to do. */
void shaping_refused(struct shaping *self, bool stores, unsigned count);
