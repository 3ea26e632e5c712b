#include "libcommon/clock.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static uint64_t read_us(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) != 0)
        abort();
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_monotonic_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_s(void)
{
    return read_us(CLOCK_REALTIME) / 1000000;
}

uint64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

uint64_t clock_entropy(void)
{
    uint64_t value;

    clock_entropy_bytes(&value, sizeof value);
    return value;
}

void clock_entropy_bytes(void *ret_data, unsigned size)
{
    /* At most 256 bytes a time cannot be interrupted (getrandom(2)). */
    for (unsigned done = 0; done < size;) {
        unsigned part = size - done < 256 ? size - done : 256;
        ssize_t got = getrandom((char *)ret_data + done, part, 0);

        if (got < 0)
            abort(); /* no entropy, no safe way on */
        done += (unsigned)got;
    }
}
