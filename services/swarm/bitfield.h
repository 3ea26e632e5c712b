/*
 * One bit a piece, in the order of the wire: piece 0 is the high bit of byte 0 (BEP 3). The spare
 * bits of the last byte are zero. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes for so many pieces. */
size_t bitfield_size(uint32_t pieces);

/* In place: the picker asks it of every piece it looks at. */
static inline bool bitfield_has(const uint8_t *bits, uint32_t piece)
{
    return bits[piece / 8] & (0x80u >> (piece % 8));
}

void bitfield_set(uint8_t *bits, uint32_t piece);
void bitfield_clear(uint8_t *bits, uint32_t piece);

/* Set the bits of all pieces and no spare one. */
void bitfield_set_all(uint8_t *bits, uint32_t pieces);
uint32_t bitfield_count(const uint8_t *bits, uint32_t pieces);

/* The first piece from `from` on whose bit is set; pieces when there is none. */
uint32_t bitfield_next(const uint8_t *bits, uint32_t pieces, uint32_t from);

/* size fits and no spare bit is set. */
bool bitfield_is_valid(const uint8_t *bits, size_t size, uint32_t pieces);
