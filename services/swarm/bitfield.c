#include "services/swarm/bitfield.h"

#include <string.h>

size_t bitfield_size(uint32_t pieces)
{
    return ((size_t)pieces + 7) / 8;
}

static uint8_t mask_of(uint32_t piece)
{
    return (uint8_t)(0x80u >> (piece % 8));
}

void bitfield_set(uint8_t *bits, uint32_t piece)
{
    bits[piece / 8] |= mask_of(piece);
}

void bitfield_clear(uint8_t *bits, uint32_t piece)
{
    bits[piece / 8] &= (uint8_t)~mask_of(piece);
}

void bitfield_set_all(uint8_t *bits, uint32_t pieces)
{
    memset(bits, 0xff, bitfield_size(pieces));
    if (pieces % 8 != 0)
        bits[pieces / 8] = (uint8_t)(0xff00u >> (pieces % 8));
}

uint32_t bitfield_count(const uint8_t *bits, uint32_t pieces)
{
    uint32_t count = 0;

    for (size_t i = 0; i < bitfield_size(pieces); i++)
        count += (uint32_t)__builtin_popcount(bits[i]);
    return count;
}

uint32_t bitfield_next(const uint8_t *bits, uint32_t pieces, uint32_t from)
{
    for (uint32_t piece = from; piece < pieces; piece++) {
        if (piece % 8 == 0 && bits[piece / 8] == 0) {
            piece += 7;
            continue;
        }
        if (bitfield_has(bits, piece))
            return piece;
    }
    return pieces;
}

bool bitfield_is_valid(const uint8_t *bits, size_t size, uint32_t pieces)
{
    if (size != bitfield_size(pieces))
        return false;
    return pieces % 8 == 0 || (bits[pieces / 8] & (0xffu >> (pieces % 8))) == 0;
}
