/*
 * A random choice of the infohashes whose peers are stored, for who indexes the DHT (BEP 51).
 *
 * Made from a walk over them (reservoir sampling, Vitter 1985, algorithm R) and kept for
 * SAMPLES_INTERVAL_S: whoever asks again sooner gets the same and so gains nothing. As long as all
 * of them fit in it is made anew for every question. Pure.
 */
#pragma once

#include "libcommon/node_id.h"
#include "libcommon/random.h"

#include <stdbool.h>
#include <stdint.h>

#define SAMPLES_MAX 20u /* libtorrent gives as many */
#define SAMPLES_INTERVAL_S                                                                         \
    1800u /* BEP 51: 0 to 21600; peers announce themselves about as often                          \
           */

/* One that is {0} is due. */
struct samples {
    uint8_t infohashes[SAMPLES_MAX][NODE_ID_SIZE];
    uint32_t count;
    uint64_t seen;  /* infohashes walked over */
    uint64_t total; /* how many there are; set by who walks */
    uint64_t until_s;
};

bool samples_are_due(const struct samples *self, uint64_t now_s);
void samples_begin(struct samples *self, uint64_t now_s);
void samples_see(struct samples *self, const uint8_t infohash[NODE_ID_SIZE], struct random *random);
