/* What is asked of coordinators, one errand at a time, on a thread of its own (enrol.h blocks). */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct coordinators;
struct member;

struct coordinators *coordinators_new(struct member *member);
void coordinators_tick(struct coordinators *self, uint64_t now_s, uint64_t now_ms);

/* There is another certificate. */
void coordinators_renewed(struct coordinators *self);

/* RenewNow: the call is answered when the renewal has ended. False: too many wait. */
bool coordinators_renew(struct coordinators *self, struct call *call);

/* The errand under way ends, and what waits is cancelled. */
void coordinators_stop(struct coordinators *self);
void coordinators_free(struct coordinators **self);

struct coordinators_view {
    const char *problem;      /* why the last renewal failed; "": it did not */
    const char *news_problem; /* why none had news; "": they had, or were not asked yet */
    bool has_skew;
    int64_t skew_s;       /* our clock less theirs */
    unsigned health;      /* enum renewal_health */
    bool is_out_of_reach; /* there were no news for a day */
};
void coordinators_look(const struct coordinators *self, uint64_t now_s,
                       struct coordinators_view *ret_view);
