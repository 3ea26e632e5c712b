#include "services/member/renewal.h"

#include <assert.h>

#define BACKDATE_S     300u              /* CERTIFICATE_BACKDATE_S */
#define RENEW_LATE_S   (90u * 24 * 3600) /* CERTIFICATE_RENEW_LATE_S */
#define MS_PER_S       1000u
#define PAUSE_MAX_MS   (3600u * MS_PER_S)
#define PAUSE_ENDED_MS (120u * MS_PER_S)
#define PAUSE_FIRST_MS (30u * MS_PER_S)
#define PAUSE_LEAST_MS 500u
#define DOUBLINGS_MAX  16u

static uint64_t life_s(const struct renewal *self)
{
    uint64_t begin_s = self->not_before_s + BACKDATE_S;

    return self->not_after_s > begin_s ? self->not_after_s - begin_s : 1;
}

void renewal_set(struct renewal *self, uint64_t not_before_s, uint64_t not_after_s,
                 struct random *random)
{
    uint64_t spread_s;

    *self = (struct renewal){ .not_before_s = not_before_s, .not_after_s = not_after_s };
    spread_s = life_s(self) / 20;
    self->due_s = not_after_s - life_s(self) / 3;
    if (spread_s > 0) {
        self->due_s += random_below(random, spread_s);
    }
}

void renewal_want(struct renewal *self)
{
    self->is_wanted = true;
    self->retry_ms = 0;
}

void renewal_is_void(struct renewal *self)
{
    self->due_s = 0;
}

bool renewal_begin(struct renewal *self, uint64_t now_s, uint64_t now_ms)
{
    bool is_due = now_s >= self->due_s && renewal_health(self, now_s) != RENEWAL_LOST;

    if (self->is_under_way || now_ms < self->retry_ms || !(is_due || self->is_wanted)) {
        return false;
    }
    self->is_under_way = true;
    self->is_wanted = false;
    return true;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* 30 s, then twice as long each time up to an hour; for short lives in proportion. */
static uint64_t pause_ms(const struct renewal *self, uint64_t now_s)
{
    uint64_t life_ms = life_s(self) * MS_PER_S;
    uint64_t first = clamp(life_ms / 20000, PAUSE_LEAST_MS, PAUSE_FIRST_MS);
    uint64_t slowest = now_s < self->not_after_s ? PAUSE_MAX_MS : PAUSE_ENDED_MS;
    uint64_t most = clamp(life_ms / 100, 4 * PAUSE_LEAST_MS, slowest);
    unsigned doublings = self->failures < DOUBLINGS_MAX ? self->failures : DOUBLINGS_MAX;

    return clamp(first << (doublings - 1), first, most);
}

void renewal_failed(struct renewal *self, uint64_t now_s, uint64_t now_ms, struct random *random)
{
    uint64_t pause;

    assert(self->is_under_way);
    self->is_under_way = false;
    self->failures++;
    pause = pause_ms(self, now_s);
    self->retry_ms = now_ms + pause / 2 + random_below(random, pause / 2 + 1);
}

enum renewal_health renewal_health(const struct renewal *self, uint64_t now_s)
{
    if (now_s < self->not_before_s) {
        return RENEWAL_EARLY;
    }
    if (now_s >= self->not_after_s + RENEW_LATE_S) {
        return RENEWAL_LOST;
    }
    if (now_s >= self->not_after_s) {
        return RENEWAL_ENDED;
    }
    return self->failures > 0 && self->not_after_s - now_s < life_s(self) / 6 ? RENEWAL_LATE
                                                                              : RENEWAL_WELL;
}
