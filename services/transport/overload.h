/*
 * Who is heard less while more is asked than can be answered.
 *
 * When the kernel has to drop datagrams because the worker does not keep up, it drops from all
 * alike, and whoever sends ten times what can be answered leaves everybody a tenth. So while that
 * lasts, what arrives is counted by source, and at the end of every period of OVERLOAD_PERIOD_MS
 * the most that one source may have is found: the share by which all that ask for less get what
 * they ask for and the others get as much each (max-min fairness; Bertsekas and Gallager, Data
 * Networks, 6.5.2). A source above it gets a rule: a part of its datagrams, chosen by chance, is
 * heard. It is shaping, never a ban: every rule leaves a source the share, and all are gone with
 * the first period in which everything could have been answered. While there are rules, a little
 * less is shared out than can be answered, so that the queue stays short: who waits in a full one
 * waits for all of it, and what comes out of it tells of rules that are gone. So a queue that
 * stays full is thrown away (`stale`).
 *
 * Two things are shared out so: datagrams, where a period has taken what was read from the sockets,
 * the kernel dropped the rest, and gate.h applies the rules; and questions to storage, where taken
 * is what was asked, the rest was answered without storage, and overload_admits() applies them.
 *
 * A source is an address; of public IPv6 a /64. Counting is Space-Saving (Metwally, Agrawal and El
 * Abbadi 2005) in sets of OVERLOAD_WAYS: of each count the part that was taken over from others is
 * known, and only the rest is held against a source, so forged addresses do not make anybody look
 * heavy. Against a flood from as many forged sources as packets nothing is done here; budget.h
 * keeps what it can draw small. Pure; allocates in init().
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stdint.h>

#define OVERLOAD_PERIOD_MS   100u
#define OVERLOAD_SOURCES_MAX 1024u
#define OVERLOAD_WAYS        8u
#define OVERLOAD_RULES_MAX   128u /* the heaviest; the others are heard as they are */
#define OVERLOAD_CALM        20u  /* periods without overload until nothing is counted any more */

struct random;

struct overload_source {
    struct address source; /* port 0; of a /64 the rest 0 */
    uint32_t count;        /* 0: free */
    uint32_t inherited;    /* of these, taken over from the source that stood here before */
};

struct overload_rule {
    struct address source;
    double arrivals; /* of a period, smoothed: how many it is believed to send */
    uint32_t keep;   /* of 2^32 datagrams so many are heard */
    uint8_t size;    /* bytes of source.ip that count: 16, or 8 for a /64 */
};

struct overload {
    bool counting; /* only then overload_count() need be called */
    uint64_t seed;
    struct overload_source *sources; /* sets of OVERLOAD_WAYS */
    struct overload_rule rules[OVERLOAD_RULES_MAX];
    unsigned rules_count;
    double ceiling;  /* what was taken of a period in which there was too much */
    double capacity; /* what is shared out of a period */
    unsigned calm;   /* periods since the last overloaded one */
    bool stale;      /* what waits in a full queue came by other rules: throw it away */
};

/* What happened in a period. */
struct overload_period {
    uint64_t taken;   /* counted one by one while .counting */
    uint64_t dropped; /* by rules and for lack of room */
    bool busy;        /* there was hardly ever nothing to do */
};

void overload_init(struct overload *self, uint64_t seed);
void overload_done(struct overload *self);

void overload_count(struct overload *self, const struct address *from);

/* A period is over. True when the rules changed. */
bool overload_end_period(struct overload *self, const struct overload_period *period);

/* By the rules: is this one heard? For what the kernel's filter does not see. */
bool overload_admits(const struct overload *self, const struct address *from,
                     struct random *random);
