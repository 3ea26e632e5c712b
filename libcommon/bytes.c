#include "libcommon/bytes.h"

#include <assert.h>
#include <string.h>

struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){ .data = data, .size = size };
}

struct bytes bytes_of_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool bytes_equal_text(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of_text(text));
}

void writer_init(struct writer *self, void *buffer, size_t capacity)
{
    *self = (struct writer){ .data = buffer, .capacity = capacity };
}

void writer_put(struct writer *self, const void *data, size_t size)
{
    assert(self->size <= self->capacity);
    if (self->overflow || size > self->capacity - self->size) {
        self->overflow = true;
        return;
    }
    if (size > 0)
        memcpy(self->data + self->size, data, size);
    self->size += size;
}

void writer_u8(struct writer *self, uint8_t value)
{
    writer_put(self, &value, sizeof(value));
}

void writer_u16(struct writer *self, uint16_t value)
{
    uint8_t data[2];

    store_u16(data, value);
    writer_put(self, data, sizeof(data));
}

void writer_u32(struct writer *self, uint32_t value)
{
    uint8_t data[4];

    store_u32(data, value);
    writer_put(self, data, sizeof(data));
}

void writer_u64(struct writer *self, uint64_t value)
{
    uint8_t data[8];

    store_u64(data, value);
    writer_put(self, data, sizeof(data));
}

uint16_t load_u16(const uint8_t *data)
{
    return (uint16_t)(data[0] << 8 | data[1]);
}

uint32_t load_u32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

uint64_t load_u64(const uint8_t *data)
{
    /* Written out, compilers make one load of it; addresses are hashed for every packet. */
    return (uint64_t)data[0] << 56 | (uint64_t)data[1] << 48 | (uint64_t)data[2] << 40 |
           (uint64_t)data[3] << 32 | (uint64_t)data[4] << 24 | (uint64_t)data[5] << 16 |
           (uint64_t)data[6] << 8 | data[7];
}

void store_u16(uint8_t *ret_data, uint16_t value)
{
    ret_data[0] = (uint8_t)(value >> 8);
    ret_data[1] = (uint8_t)value;
}

void store_u32(uint8_t *ret_data, uint32_t value)
{
    store_u16(ret_data, (uint16_t)(value >> 16));
    store_u16(ret_data + 2, (uint16_t)value);
}

void store_u64(uint8_t *ret_data, uint64_t value)
{
    store_u32(ret_data, (uint32_t)(value >> 32));
    store_u32(ret_data + 4, (uint32_t)value);
}

void hex_encode(const void *data, size_t size, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = data;

    for (size_t i = 0; i < size; i++) {
        ret_text[2 * i] = digits[from[i] >> 4];
        ret_text[2 * i + 1] = digits[from[i] & 15];
    }
    ret_text[2 * size] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

lb_err hex_decode(const char *text, void *ret_data, size_t size)
{
    uint8_t *to = ret_data;

    /* First the whole text, so that a bad one leaves the output untouched; a NUL is no digit. */
    for (size_t i = 0; i < 2 * size; i++) {
        if (hex_digit(text[i]) < 0)
            return LB_INVALID;
    }
    if (text[2 * size] != '\0')
        return LB_INVALID;
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return LB_OK;
}
