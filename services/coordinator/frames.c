#include "services/coordinator/frames.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_SIZE 4u

void frames_init(struct frames *self, size_t size_max)
{
    *self = (struct frames){ .size_max = size_max };
}

void frames_done(struct frames *self)
{
    free(self->data);
    *self = (struct frames){ .size_max = self->size_max };
}

void frames_add(struct frames *self, struct bytes data)
{
    if (self->taken > 0) {
        self->size -= self->taken;
        memmove(self->data, self->data + self->taken, self->size);
        self->taken = 0;
    }
    if (self->size + data.size > self->room) {
        self->room = (self->size + data.size) * 2;
        self->data = xrealloc(self->data, self->room);
    }
    if (data.size > 0) {
        memcpy(self->data + self->size, data.data, data.size);
    }
    self->size += data.size;
}

lb_err frames_next(struct frames *self, struct bytes *ret_frame)
{
    size_t left = self->size - self->taken;
    size_t size;

    if (left < HEAD_SIZE) {
        return LB_NOT_FOUND;
    }
    size = load_u32(self->data + self->taken);
    if (size > self->size_max) {
        return LB_TOO_BIG;
    }
    if (left - HEAD_SIZE < size) {
        return LB_NOT_FOUND;
    }
    *ret_frame = bytes_of(self->data + self->taken + HEAD_SIZE, size);
    self->taken += HEAD_SIZE + size;
    return LB_OK;
}
