/*
 * When this node's certificate is renewed: at two thirds of its life, spread over a twentieth more
 * so that a class that joined in one minute does not come back in one; then again and again until
 * it is done, slower each time, but no slower than every two minutes once it has ended: a class
 * that comes back from its holidays before its coordinator does is not to wait for long after that.
 *
 * Certificates live by the real time (now_s, since 1970), pauses by the monotonic one (now_ms).
 * Pure.
 */
#pragma once

#include "libcommon/random.h"

#include <stdbool.h>
#include <stdint.h>

struct renewal {
    uint64_t not_before_s, not_after_s;
    uint64_t due_s;
    uint64_t retry_ms; /* not before, after a failure; 0: none */
    unsigned failures; /* in a row */
    bool is_under_way;
    bool is_wanted; /* somebody has asked for it */
};

/* There is a (new) certificate. */
void renewal_set(struct renewal *self, uint64_t not_before_s, uint64_t not_after_s,
                 struct random *random);

/* Now, whatever the time. */
void renewal_want(struct renewal *self);

/* It does not count any more, who has signed it was put out: due from now on. */
void renewal_is_void(struct renewal *self);

/* True: begin it; renewal_failed() or renewal_set() follows. */
bool renewal_begin(struct renewal *self, uint64_t now_s, uint64_t now_ms);
void renewal_failed(struct renewal *self, uint64_t now_s, uint64_t now_ms, struct random *random);

enum renewal_health {
    RENEWAL_WELL,
    RENEWAL_LATE,  /* it has failed, and less than a sixth of its life is left */
    RENEWAL_ENDED, /* other nodes refuse it; a coordinator may still renew it */
    RENEWAL_LOST,  /* it ended over 90 days ago: this node has to join again */
    RENEWAL_EARLY  /* it has not begun: the clock here is wrong */
};
enum renewal_health renewal_health(const struct renewal *self, uint64_t now_s);
