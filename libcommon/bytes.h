/*
 * Byte strings: a borrowed view, a bounded writer, and hexadecimal. Pure.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed run of bytes, not terminated. data may be NULL when size is 0. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

struct bytes bytes_of(const void *data, size_t size);
struct bytes bytes_of_text(const char *text); /* without its NUL */
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_text(struct bytes a, const char *text);

/*
 * Append to a fixed buffer. Errors are collected: once something did not fit, `overflow` is set,
 * nothing more is written and one test at the end is enough.
 */
struct writer {
    uint8_t *data;
    size_t capacity;
    size_t size;
    bool overflow;
};

void writer_init(struct writer *self, void *buffer, size_t capacity);
void writer_put(struct writer *self, const void *data, size_t size);
void writer_u8(struct writer *self, uint8_t value);
void writer_u16(struct writer *self, uint16_t value); /* big endian */
void writer_u32(struct writer *self, uint32_t value);
void writer_u64(struct writer *self, uint64_t value);

uint16_t load_u16(const uint8_t *data); /* big endian */
uint32_t load_u32(const uint8_t *data);
uint64_t load_u64(const uint8_t *data);
void store_u16(uint8_t *ret_data, uint16_t value);
void store_u32(uint8_t *ret_data, uint32_t value);
void store_u64(uint8_t *ret_data, uint64_t value);

/* Write 2 * size lower-case digits and a NUL. */
void hex_encode(const void *data, size_t size, char *ret_text);

/* Exactly 2 * size digits, either case, then the end of text; else LB_INVALID. */
LB_MUST_CHECK lb_err hex_decode(const char *text, void *ret_data, size_t size);
