/* JSON output: public messages as they are, field by field under their names in proto/. */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/*
 * Bytes become hexadecimal digits, enums their name without its first word in lower case
 * ("seeding"), a message that is not set null. The caller owns the result.
 */
json_t *json_of_message(const ProtobufCMessage *message);

/* As json_string(), but bytes that are not UTF-8 become '?'. */
json_t *json_text(const char *text);

/* One line on stdout (indented on a terminal); takes the value. */
void json_print(json_t *value);
