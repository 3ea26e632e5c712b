#include "libcommon/random.h"

#include <assert.h>
#include <string.h>

static uint64_t rotate_left(uint64_t value, int by)
{
    return value << by | value >> (64 - by);
}

/* splitmix64 spreads the seed over the state, as the authors of xoshiro advise. */
void random_init(struct random *self, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t mixed = seed += 0x9e3779b97f4a7c15;

        mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
        self->state[i] = mixed ^ mixed >> 31;
    }
}

uint64_t random_u64(struct random *self)
{
    uint64_t *s = self->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t random_below(struct random *self, uint64_t limit)
{
    uint64_t uneven, value;

    assert(limit > 0);
    uneven = (0 - limit) % limit; /* 2^64 mod limit: refused, so that all are as likely */
    do
        value = random_u64(self);
    while (value < uneven);
    return value % limit;
}

void random_bytes(struct random *self, void *ret_data, size_t size)
{
    uint8_t *to = ret_data;

    while (size > 0) {
        uint64_t value = random_u64(self);
        size_t part = size < sizeof(value) ? size : sizeof(value);

        /* Byte by byte, so that a seed gives the same bytes on every machine. */
        for (size_t i = 0; i < part; i++)
            to[i] = (uint8_t)(value >> (8 * i));
        to += part;
        size -= part;
    }
}
