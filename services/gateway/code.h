/*
 * The outcome of a public call: codes equal to google.rpc.Code, made from our own errors. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

/* google/rpc/code.proto; those we use. */
enum code {
    CODE_OK = 0,
    CODE_CANCELLED = 1,
    CODE_INVALID_ARGUMENT = 3,
    CODE_DEADLINE_EXCEEDED = 4,
    CODE_NOT_FOUND = 5,
    CODE_ALREADY_EXISTS = 6,
    CODE_PERMISSION_DENIED = 7,
    CODE_RESOURCE_EXHAUSTED = 8,
    CODE_FAILED_PRECONDITION = 9,
    CODE_ABORTED = 10,
    CODE_UNIMPLEMENTED = 12,
    CODE_INTERNAL = 13,
    CODE_UNAVAILABLE = 14,
    CODE_DATA_LOSS = 15
};

enum code code_of(lb_err err);

/* May the same call go well a moment later, without anything else being changed? */
bool code_is_passing(enum code code);

#define ANSWER_TEXT_SIZE 256

/* What a client is told. payload: the packed response when code is OK, else empty; borrowed. */
struct answer {
    enum code code;
    lb_err reason;
    uint32_t retry_after_ms;
    char text[ANSWER_TEXT_SIZE];
    struct bytes payload;
};

struct answer answer_ok(struct bytes payload);
struct answer answer_error(lb_err err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
