/*
 * Boxes: that what other members keep here (box.h) is on the k closest nodes to each of them,
 * whoever comes and goes. upkeep.h decides when, with a box for a key, as it does for the values;
 * box_spread.h brings a box to others; and box_desk.h is what others ask. Each instance of
 * lb-storage sees to its share of the boxes. Only on a private network: else there is none.
 *
 *     check      a lookup of the recipient, then the heads are offered to the k closest
 *     newcomer   who enters the routing table among the k closest is offered them at once
 *     drain      before the end, to who becomes responsible
 *
 * A check of one holder puts off those of the others (OfferMail.check_s). A box leaves us when we
 * are not among the k closest any more, BOX_SLACK more counted, and k others have all of it: with
 * the same slack it was taken, so that it is not brought back by the next check.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/routing_page.h"

#include <stdbool.h>
#include <stdint.h>

struct boxes; /* opaque */
struct box_desk;
struct storage;

struct boxes *boxes_new(struct storage *storage);
void boxes_free(struct boxes **self);

/* All of the following do nothing when there are none (NULL). */
void boxes_know_self(struct boxes *self, const struct node_id *id);
void boxes_view(struct boxes *self, enum routing_family family, const struct contact *sorted,
                uint32_t count);
void boxes_tick(struct boxes *self);
void boxes_shared(struct boxes *self);
void boxes_drain(struct boxes *self);
bool boxes_are_drained(const struct boxes *self);

/* NULL: there is none. */
struct box_desk *boxes_desk(struct boxes *self);
