/* The clocks, for shells only; cores are given the time. */
#pragma once

#include <stdint.h>

uint64_t clock_monotonic_ms(void);
uint64_t clock_monotonic_us(void);
uint64_t clock_wall_s(void);  /* seconds since 1970 */
uint64_t clock_wall_ms(void); /* milliseconds since then */

/* 64 bits from the kernel, for seeding struct random. */
uint64_t clock_entropy(void);
void clock_entropy_bytes(void *ret_data, unsigned size);
