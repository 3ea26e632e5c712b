#include "services/storage/store_clock.h"

#include <string.h>

#define VERSION     1
#define RECORD_SIZE (1u + 8u + STORE_CLOCK_BOOT_SIZE + 8u + 8u)
#define BEGIN_MS    (400ull * 24 * 3600 * 1000) /* longer than any time to live */

void store_clock_begin(struct store_clock *self, const struct store_moment *now)
{
    self->store_ms = BEGIN_MS;
    self->at = *now;
}

static uint64_t pause_ms(const struct store_moment *saved, const struct store_moment *now,
                         uint64_t gap_max_ms)
{
    uint64_t gap_ms;

    if (memcmp(saved->boot_id, now->boot_id, STORE_CLOCK_BOOT_SIZE) == 0)
        return now->monotonic_ms > saved->monotonic_ms ? now->monotonic_ms - saved->monotonic_ms
                                                       : 0;
    gap_ms = now->wall_ms > saved->wall_ms ? now->wall_ms - saved->wall_ms : 0;
    return gap_ms < gap_max_ms ? gap_ms : gap_max_ms;
}

void store_clock_resume(struct store_clock *self, const struct store_clock *saved,
                        const struct store_moment *now, uint64_t gap_max_ms)
{
    self->store_ms = saved->store_ms + pause_ms(&saved->at, now, gap_max_ms);
    self->at = *now;
}

uint64_t store_clock_ms(const struct store_clock *self, uint64_t monotonic_ms)
{
    uint64_t since_ms =
        monotonic_ms > self->at.monotonic_ms ? monotonic_ms - self->at.monotonic_ms : 0;

    return self->store_ms + since_ms;
}

uint64_t store_clock_s(const struct store_clock *self, uint64_t monotonic_ms)
{
    return store_clock_ms(self, monotonic_ms) / 1000;
}

void store_clock_advance(struct store_clock *self, const struct store_moment *now)
{
    self->store_ms = store_clock_ms(self, now->monotonic_ms);
    self->at = *now;
}

void store_clock_put(const struct store_clock *self, struct writer *to)
{
    writer_u8(to, VERSION);
    writer_u64(to, self->store_ms);
    writer_put(to, self->at.boot_id, STORE_CLOCK_BOOT_SIZE);
    writer_u64(to, self->at.monotonic_ms);
    writer_u64(to, self->at.wall_ms);
}

lb_err store_clock_get(struct bytes from, struct store_clock *ret_self)
{
    const uint8_t *data = from.data;

    if (from.size != RECORD_SIZE || data[0] != VERSION)
        return LB_CORRUPT;
    ret_self->store_ms = load_u64(data + 1);
    memcpy(ret_self->at.boot_id, data + 9, STORE_CLOCK_BOOT_SIZE);
    ret_self->at.monotonic_ms = load_u64(data + 9 + STORE_CLOCK_BOOT_SIZE);
    ret_self->at.wall_ms = load_u64(data + 17 + STORE_CLOCK_BOOT_SIZE);
    if (ret_self->store_ms < BEGIN_MS || ret_self->store_ms > UINT64_MAX / 2)
        return LB_CORRUPT;
    return LB_OK;
}
