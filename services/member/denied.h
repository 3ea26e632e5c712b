/* The deny list of this node: from its coordinator or other nodes, verified, on disk, to others. */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "proto/peer.pb-c.h"

#include <stdint.h>

struct call;
struct denied;
struct member;

struct denied *denied_new(struct member *member);
void denied_free(struct denied **self);

/* The list on disk is another: told to all, if its number is higher. */
void denied_changed(struct denied *self);

/* Another node said which number it has. */
void denied_heard(struct denied *self, const struct contact *from, uint64_t number);
uint64_t denied_number(const struct denied *self);

/* A part of ours; false: it has another number, or there is no such part. Borrowed until the next
 * turn. */
bool denied_part(const struct denied *self, uint64_t number, uint32_t offset,
                 Lb__Peer__DenyPart *ret_part);

/* NewDenied: the call is answered once the list is on disk. */
void denied_take(struct denied *self, struct call *call, struct bytes list);
