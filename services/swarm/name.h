/*
 * Names from strangers, made safe to print and to create: valid UTF-8 without control characters,
 * line separators and bidirectional overrides. Each byte of what is not becomes "%XX". Pure.
 */
#pragma once

#include "libcommon/bytes.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Write raw made safe, and a NUL. False when size does not suffice; then *ret_text holds what
 * fitted, cut between characters. size > 0.
 */
bool name_make_safe(struct bytes raw, char *ret_text, size_t size);

/* name_make_safe() would change nothing. */
bool name_is_safe(struct bytes raw);
