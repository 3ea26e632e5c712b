/* Text from outside: what may be printed on a terminal, and what the API takes. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* UTF-8 (RFC 3629) without NUL: what a string of the API may be. */
bool text_is_utf8(const uint8_t *text, size_t size);

/* UTF-8 without control characters but tabs and line ends: a terminal shows it and does no more. */
bool text_is_harmless(const uint8_t *text, size_t size);

/*
 * Make it harmless, in place: what is no UTF-8, and control characters but tabs and line ends,
 * become '?'.
 */
void text_make_harmless(uint8_t *text, size_t size);

/* "" for one, "s" for any other number. */
const char *text_plural(uint64_t number);
