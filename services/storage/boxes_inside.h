/*
 * What the files of boxes.h share: boxes.c, the store as upkeep.h sees it and when it is asked;
 * boxes_steps.c, what it wants done. Not for others.
 */
#pragma once

#include "proto/peer.pb-c.h"
#include "services/storage/box_desk.h"
#include "services/storage/box_spread.h"
#include "services/storage/boxes.h"
#include "services/storage/service.h"
#include "services/storage/upkeep.h"

#include <uv.h>

/* As many as upkeep.h has under way at most, so there is always a place. */
#define BOXES_BRINGINGS_MAX (UPKEEP_CHECKS_MAX + UPKEEP_DRAINS_MAX * UPKEEP_PUTS_MAX)

/* A box on its way to others: to the k closest (a check), or to one node. */
struct bringing {
    struct boxes *boxes; /* NULL: a free place */
    uint32_t serial;     /* tells one in this place from the next */
    uint32_t ticket;     /* of upkeep.h */
    bool is_check, self_is_close;
    unsigned wanted; /* holders: k, less one when the recipient itself is among the k closest */
    uint32_t check_s;
    uint64_t changes; /* the box as it was */
    struct node_id recipient;
    struct box_spread *spread; /* NULL: the k closest are being looked up */
};

struct boxes {
    struct storage *storage;
    struct box_desk desk;
    bool is_asking_root;
    struct upkeep *upkeep; /* NULL: our own id is not known yet */
    struct node_id self_id;
    uint64_t least_s;
    uv_timer_t timer;
    bool is_leaving;
    struct bringing bringings[BOXES_BRINGINGS_MAX];
    uint32_t serial;
    struct box_pace pace;
    uint64_t parts; /* sent */
    struct upkeep_stats told;
    uint64_t told_kept, told_refused, told_parts;
};

/* The time by which upkeep.h counts. */
uint64_t boxes_now_ms(const struct boxes *self);

/* Ask in the next turn, or after so long, what is to be done. */
void boxes_wake(struct boxes *self, uint64_t delay_ms);

/* ---- boxes_steps.c; between db_read_begin() and db_read_end() ---- */

void boxes_carry_out(struct boxes *self, const struct upkeep_action *action);

/* Send what may be sent of what is on its way. */
void boxes_bring(struct boxes *self);
bool boxes_are_bringing(const struct boxes *self);

/* Free what is on its way. */
void boxes_give_up(struct boxes *self);
