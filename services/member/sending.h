/*
 * One sealed message on its way: to the node it is for, and when that is not there, or has no room,
 * to the nodes closest to its id, which keep it.
 *
 * The parts of a node's copy go out a few at a time; it has the message when it says that it is
 * whole and on disk. A node that lost some of it (it was started anew) is given all of it once
 * more. Pure.
 */
#pragma once

#include "libcommon/address.h"
#include "services/member/parts.h"

#include <stdbool.h>
#include <stdint.h>

#define SENDING_HOLDERS_MAX 8u /* k: that many the recipient asks, when it comes */
#define SENDING_WINDOW      4u /* parts under way to one node */
#define SENDING_TRIES_MAX   3u /* of one part */

/* A copy on its way to one node. */
struct carriage {
    struct contact to;
    uint64_t wanted; /* parts that are to be sent, a bit each */
    unsigned under_way;
    uint8_t tries[PARTS_MAX];
    bool is_second; /* all of it is sent for the second time */
    enum { CARRIAGE_GOING, CARRIAGE_THERE, CARRIAGE_FULL, CARRIAGE_REFUSED, CARRIAGE_LOST } state;
};

enum sending_step {
    SENDING_DELIVERS,
    SENDING_KEEPS,
    SENDING_DELIVERED,
    SENDING_KEPT,   /* by at least one */
    SENDING_FAILED, /* nobody has it */
    SENDING_REFUSED /* the node it is for will not have it: nobody is asked to keep it */
};

struct sending {
    uint32_t size;
    enum sending_step step;
    bool was_full; /* the node it is for has no room */
    struct carriage recipient;
    bool has_recipient;
    struct carriage holders[SENDING_HOLDERS_MAX];
    unsigned holders_count;
};

/*
 * size: of the sealed message. closest: the nodes closest to the recipient's id, nearest first; the
 * recipient among them when it is there. An address that is not usable is our own store.
 */
void sending_begin(struct sending *self, uint32_t size, const struct node_id *recipient,
                   const struct contact *closest, unsigned closest_count);

struct sending_action {
    bool is_delivery; /* else it is to be kept */
    unsigned holder;  /* not is_delivery: of holders[]; to be given back */
    struct contact to;
    uint32_t offset, size; /* of the part */
};
bool sending_next(struct sending *self, struct sending_action *ret_action);

enum sending_answer {
    SENDING_TAKEN,
    SENDING_COMPLETE,
    SENDING_NO_ROOM,
    SENDING_REFUSED_IT, /* for good */
    SENDING_SILENT
};
void sending_answered(struct sending *self, const struct sending_action *action,
                      enum sending_answer answer);

bool sending_is_over(const struct sending *self);
unsigned sending_holders(const struct sending *self); /* how many keep it */
