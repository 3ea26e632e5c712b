/*
 * The canonical priority of a peer (BEP 40): a number that both ends of a connection work out alike
 * from their two addresses, and nobody can choose. Who has few places prefers the greater: then all
 * of a swarm agree who is connected to whom, newcomers find places, and who floods a swarm gets as
 * many as its share of addresses. Pure.
 */
#pragma once

#include "libcommon/address.h"

#include <stddef.h>
#include <stdint.h>

/* CRC32-C (Castagnoli; RFC 3720, B.4). */
uint32_t priority_crc32c(const uint8_t *data, size_t size);

/*
 * Of one family; of two families it is 0. By the addresses with their ends masked away, or, when
 * these are equal, by the ports.
 */
uint32_t priority_of(const struct address *a, const struct address *b);
