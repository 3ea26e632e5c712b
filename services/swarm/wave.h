/*
 * Waves: who goes first for a piece that few have, among peers that cooperate.
 *
 * If all ask the one holder of a new piece at once, all get it at the same late moment and nobody
 * could help. So each has a place in line, by a hash of the piece and itself, and the first few
 * for each holder go; when they have it there are more holders, and the next go. A piece is through
 * in the logarithm of the number of peers. More go at once where there are many, as it takes each
 * generation a while to hear of the one before; and fewer to a holder that is slow, whose uplink is
 * not to carry what others soon can. Places are drawn by everybody for itself, so a line may begin
 * with a gap, or with somebody slow: when a piece has had no new holder for WAVE_MS, twice as many
 * may go, and so on. Source: Mundinger, Weber, Weiss 2008. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WAVE_FANOUT      3u /* at least */
#define WAVE_FANOUT_MOST 8u
#define WAVE_FANOUT_SLOW 2u
#define WAVE_PART        3u /* of those in line, for each holder */
#define WAVE_MS          500u

struct wave {
    uint64_t key;            /* of ourselves */
    uint32_t peers;          /* that stand in line; 0 or 1: no line */
    bool slow;               /* the holder that would be asked */
    const uint32_t *held_ms; /* of each piece: when it had a new holder, as below */
    uint32_t now_ms;         /* the clock's low bits */
};

/* Is it our turn for a piece with so many holders? */
bool wave_has_come(const struct wave *self, uint32_t piece, uint32_t holders);
