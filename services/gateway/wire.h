/*
 * A look at packed messages before they are unpacked and after they are packed. protobuf-c keeps
 * strings as C strings, so a NUL would cut one silently, and it takes any bytes for a string while
 * other languages refuse a whole message for one that is not UTF-8.
 */
#pragma once

#include "libcommon/bytes.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_FIELDS_MAX 1024 /* of one request: none needs more than ten */

/* Well formed, at most WIRE_FIELDS_MAX fields, every string UTF-8 without NUL. */
bool wire_is_clean(const ProtobufCMessageDescriptor *descriptor, struct bytes packed);

/* Make every string of a message we packed UTF-8: what is not becomes '?'. */
void wire_clean(const ProtobufCMessageDescriptor *descriptor, uint8_t *packed, size_t size);

/* How many bytes from the start are UTF-8 (RFC 3629) without NUL. */
size_t wire_utf8_prefix(const uint8_t *text, size_t size);
