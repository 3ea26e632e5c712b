/*
 * A request in one line, for the log: " service=swarm instances=3". Numbers, words and identifiers
 * of the request itself; no messages in it, and of no byte that a terminal could mind. No socket.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#define DESCRIBE_SIZE 256 /* with its NUL; what is longer is cut */

/* Returns text. Fields that are not set are left out. */
const char *describe_request(const ProtobufCMessage *request, char ret_text[DESCRIBE_SIZE]);
