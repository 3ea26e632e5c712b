#include "services/gateway/code.h"

#include <stdarg.h>
#include <stdio.h>

#define RETRY_AFTER_MS 1000 /* what clients are advised while a service is away */

enum code code_of(lb_err err)
{
    switch (err) {
    case LB_OK:
        return CODE_OK;
    case LB_INVALID:
    case LB_TOO_BIG:
        return CODE_INVALID_ARGUMENT;
    case LB_NOT_FOUND:
        return CODE_NOT_FOUND;
    case LB_TIMEOUT:
        return CODE_DEADLINE_EXCEEDED;
    case LB_UNAVAILABLE:
        return CODE_UNAVAILABLE;
    case LB_UNSUPPORTED:
        return CODE_UNIMPLEMENTED;
    case LB_DENIED:
        return CODE_PERMISSION_DENIED;
    case LB_EXISTS:
        return CODE_ALREADY_EXISTS;
    case LB_CONFLICT:
        return CODE_ABORTED;
    case LB_FULL:
    case LB_NO_SPACE:
        return CODE_RESOURCE_EXHAUSTED;
    case LB_CORRUPT:
        return CODE_DATA_LOSS;
    case LB_CANCELLED:
        return CODE_CANCELLED;
    case LB_IO:
    case LB_INTERNAL:
        break;
    }
    return CODE_INTERNAL;
}

bool code_is_passing(enum code code)
{
    return code == CODE_UNAVAILABLE || code == CODE_DEADLINE_EXCEEDED ||
           code == CODE_RESOURCE_EXHAUSTED || code == CODE_CANCELLED;
}

struct answer answer_ok(struct bytes payload)
{
    return (struct answer){ .code = CODE_OK, .reason = LB_OK, .payload = payload };
}

struct answer answer_error(lb_err err, const char *format, ...)
{
    struct answer answer = { .code = code_of(err), .reason = err };
    va_list arguments;

    if (err == LB_UNAVAILABLE)
        answer.retry_after_ms = RETRY_AFTER_MS;
    va_start(arguments, format);
    vsnprintf(answer.text, sizeof(answer.text), format, arguments);
    va_end(arguments);
    return answer;
}
