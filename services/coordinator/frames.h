/*
 * Messages in a stream: a u32 size, big endian, then so many bytes. Pure; allocates as much as has
 * come of a frame, not what it announces.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

struct frames {
    size_t size_max; /* of one */
    uint8_t *data;
    size_t size, room, taken;
};

void frames_init(struct frames *self, size_t size_max);
void frames_done(struct frames *self);

void frames_add(struct frames *self, struct bytes data);

/* The next whole frame, valid until frames_add. LB_NOT_FOUND: not there yet; LB_TOO_BIG. */
LB_MUST_CHECK lb_err frames_next(struct frames *self, struct bytes *ret_frame);
