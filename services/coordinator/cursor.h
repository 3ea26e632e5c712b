/*
 * Reading what a struct writer wrote: a cursor over borrowed bytes. Errors are collected: once
 * something was not there, `failed` is set and all that is read is 0. Pure.
 */
#pragma once

#include "libcommon/bytes.h"

#include <string.h>

struct cursor {
    const uint8_t *data;
    size_t left;
    bool failed;
};

/* size bytes; NULL when there are not so many. */
static inline const uint8_t *cursor_take(struct cursor *self, size_t size)
{
    const uint8_t *taken = self->data;

    if (self->failed || size > self->left) {
        self->failed = true;
        return NULL;
    }
    self->data += size;
    self->left -= size;
    return taken;
}

static inline void cursor_copy(struct cursor *self, void *ret_data, size_t size)
{
    const uint8_t *taken = cursor_take(self, size);

    if (taken != NULL)
        memcpy(ret_data, taken, size);
    else
        memset(ret_data, 0, size);
}

static inline uint8_t cursor_u8(struct cursor *self)
{
    const uint8_t *taken = cursor_take(self, 1);

    return taken != NULL ? taken[0] : 0;
}

static inline uint16_t cursor_u16(struct cursor *self)
{
    const uint8_t *taken = cursor_take(self, 2);

    return taken != NULL ? load_u16(taken) : 0;
}

static inline uint32_t cursor_u32(struct cursor *self)
{
    const uint8_t *taken = cursor_take(self, 4);

    return taken != NULL ? load_u32(taken) : 0;
}

static inline uint64_t cursor_u64(struct cursor *self)
{
    const uint8_t *taken = cursor_take(self, 8);

    return taken != NULL ? load_u64(taken) : 0;
}

/* 0 or 1. */
static inline bool cursor_bool(struct cursor *self)
{
    uint8_t value = cursor_u8(self);

    if (value > 1)
        self->failed = true;
    return value == 1;
}

/* With its u16 size, at most `most` bytes. */
static inline struct bytes cursor_blob(struct cursor *self, size_t most)
{
    size_t size = cursor_u16(self);
    const uint8_t *taken = NULL;

    if (size > most)
        self->failed = true;
    taken = cursor_take(self, size);
    return taken != NULL ? bytes_of(taken, size) : bytes_of(NULL, 0);
}

/* Likewise, into room for `capacity` bytes with its NUL; a text holds no control characters. */
static inline void cursor_text(struct cursor *self, char *ret_text, size_t capacity)
{
    struct bytes text = cursor_blob(self, capacity - 1);

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            self->failed = true;
    }
    if (text.size > 0)
        memcpy(ret_text, text.data, text.size);
    memset(ret_text + text.size, 0, capacity - text.size);
}

static inline void writer_blob(struct writer *self, const void *data, size_t size)
{
    writer_u16(self, (uint16_t)size);
    writer_put(self, data, size);
}

static inline void writer_text(struct writer *self, const char *text)
{
    writer_blob(self, text, strlen(text));
}
