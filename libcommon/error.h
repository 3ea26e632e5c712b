/*
 * Errors: one list of codes for functions, internal messages and exit codes.
 *
 * A fallible function returns lb_err and leaves its ret_ outputs untouched on failure. The list is
 * written once, here; proto/common.proto's enum Err is held equal to it by static assertions in
 * message.c.
 */
#pragma once

/* X(name, number, sentence) */
#define LB_ERRORS(X)                                                                               \
    X(OK, 0, "no error")                                                                           \
    X(INVALID, 1, "malformed or out of bounds")                                                    \
    X(NOT_FOUND, 2, "not found")                                                                   \
    X(TIMEOUT, 3, "no answer in time")                                                             \
    X(UNAVAILABLE, 4, "the service is not there now")                                              \
    X(UNSUPPORTED, 5, "not supported")                                                             \
    X(DENIED, 6, "not allowed")                                                                    \
    X(EXISTS, 7, "exists already")                                                                 \
    X(CONFLICT, 8, "another version stands")                                                       \
    X(FULL, 9, "a limit is reached")                                                               \
    X(CORRUPT, 10, "data fails its check")                                                         \
    X(IO, 11, "the operating system refused")                                                      \
    X(NO_SPACE, 12, "the disk is full")                                                            \
    X(TOO_BIG, 13, "too big")                                                                      \
    X(CANCELLED, 14, "cancelled")                                                                  \
    X(INTERNAL, 15, "internal fault")

#define LB_ERROR_ENUM(name, number, sentence) LB_##name = (number),
enum lb_err_code { LB_ERRORS(LB_ERROR_ENUM) };
#undef LB_ERROR_ENUM

typedef enum lb_err_code lb_err;

#define LB_MUST_CHECK __attribute__((warn_unused_result))

/* The sentence of a code, static; an unknown number reads "unknown error". */
const char *lb_err_text(lb_err err);

/* The name of a code without its prefix ("NOT_FOUND"), static. */
const char *lb_err_name(lb_err err);

/*
 * Of a call on a file that failed: NOT_FOUND, DENIED (EACCES, EPERM, EROFS, ELOOP), NO_SPACE
 * (ENOSPC, EDQUOT), else IO.
 */
lb_err lb_err_of_errno(int number);
