/*
 * One swarm worker among those of its node: shared by transfers_workers.c, transfers_adopt.c,
 * transfers_bases.c, transfers_mirror.c and transfers_allot.c. Not for others.
 *
 * While there is one worker and nothing passes, nothing of this runs. Otherwise one timer looks
 * once a second at who is hot, at what was not taken yet and at the parts of the limits, and more
 * often while something is awaited that another worker still holds.
 */
#pragma once

#include "libcommon/page.h"
#include "libcommon/status_page.h"
#include "services/swarm/apportion.h"
#include "services/swarm/transfers_inside.h"

#define WORKERS_LOOK_MS  1000u
#define WORKERS_AWAIT_MS 50u   /* while something is awaited */
#define WORKERS_LEFT_MS  2000u /* so long what left is listed here: a new owner has it by then */
#define WORKERS_LIST_MS                                                                            \
    10000u /* how often the catalogue is looked through, for what was missed                       \
            */
#define WORKERS_UNSETTLED_MS 60000u /* after a change, also when one worker is left */

#define ALLOT_LIMITS_MAX  ((1u + LIMITS_SUBNETS_MAX) * LIMITS_DIRECTIONS)
#define ALLOT_FETCHES_MAX 256u

/* Of worker 0: what each worker said last. */
struct allot_book {
    struct apportion_claim claims[ALLOT_LIMITS_MAX][STATUS_INSTANCES_MAX];
    struct queue_item *fetches[STATUS_INSTANCES_MAX];
    size_t fetches_count[STATUS_INSTANCES_MAX];
};

struct allot {
    uint64_t totals[ALLOT_LIMITS_MAX];      /* the node's; known to worker 0 */
    uint64_t used_before[ALLOT_LIMITS_MAX]; /* when its rate was taken last */
    uint64_t asked_ms;
    uint32_t places;         /* fetches that may run here */
    bool under_way;          /* a question to worker 0 */
    struct allot_book *book; /* worker 0, while there are others */
};

struct workers {
    struct transfers *transfers;
    unsigned instance;
    unsigned active;
    struct link *links[STATUS_INSTANCES_MAX];
    struct page status;
    struct status_counter *port;
    uint16_t ports[STATUS_INSTANCES_MAX]; /* of the others; 0: not known */
    uint8_t (*awaited)[20];
    size_t awaited_count, awaited_capacity;
    bool listing; /* a job looks through the catalogue */
    bool list_again;
    uint64_t list_ms;
    uint64_t unsettled_until_ms;
    uint64_t looked_ms;
    bool stopping; /* draining: what leaves is still handed over, nothing is taken */
    bool ended;    /* nobody is told anything any more */
    struct uv_timer_s *timer;
    struct allot allot;
};

/* By its key alone. */
struct transfer *workers_find(const struct workers *self, const uint8_t infohash[20]);
unsigned workers_owner(const struct workers *self, const uint8_t infohash[20]);
struct link *workers_link(struct workers *self, unsigned worker);

/* Call the timer so soon. */
void workers_look_in(struct workers *self, uint64_t ms);

/* Addresses for a message: compact ones and what points to them. */
struct passed_peers {
    ProtobufCBinaryData peers[TRANSFERS_PASSED_PEERS];
    uint8_t bytes[TRANSFERS_PASSED_PEERS][ADDRESS_COMPACT_V6];
    size_t count;
};
void passed_peers_add(struct passed_peers *self, const struct address *address);

/* ---- transfers_adopt.c ---- */

/* Ask again those owners that could not answer; true: some are still to be asked. */
bool workers_go_on_adopting(struct workers *self, uint64_t now_ms);

/* ---- transfers_mirror.c ---- */

void workers_look_at_mirrors(struct workers *self, uint64_t now_ms);
void workers_drop_mirrors(struct workers *self);

/* ---- transfers_allot.c ---- */

void workers_open_allot(struct workers *self);

/* The number of workers, or the limits of the node, have changed. */
void workers_begin_allotting(struct workers *self);
void workers_look_at_allotments(struct workers *self, uint64_t now_ms);
void workers_free_allot(struct workers *self);
