/*
 * The methods of the public API, one row each: littlebird.v1 on one side, the internal messages of
 * the service that does the work on the other. No socket: what is to be sent is handed to a
 * callback, so that tests and the fuzzer see what the services would.
 */
#pragma once

#include "libcommon/access.h"
#include "libcommon/status_page.h"
#include "services/gateway/code.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#define API_PROTOCOL_MIN 1
#define API_PROTOCOL_MAX 1
#define API_MESSAGE_MAX                                                                            \
    (2u * 1024 * 1024 - 65536) /* bytes of a payload; internal frames are larger */
#define API_VALUE_MAX     (1024u * 1024)
#define API_KEY_MAX       1024
#define API_TTL_S_MAX     (365u * 24 * 3600) /* what lb-storage takes */
#define API_METHODS_COUNT 37

struct view;
struct Lb__Swarm__Transfer;
struct Littlebird__V1__Transfer;

/* Takes a message at once; it is gone when the callback returns. */
typedef void message_take_fn(void *ctx, const ProtobufCMessage *message);

/*
 * Hand the internal Request to `send`. LB_INVALID or LB_TOO_BIG and *ret_problem (static) when the
 * request cannot be meant.
 */
typedef lb_err ask_fn(const void *request, message_take_fn *send, void *ctx,
                      const char **ret_problem);

/* Hand the public response to `respond`. False: the service answered something else. */
typedef bool translate_fn(const void *reply, message_take_fn *respond, void *ctx);

/* Hand the public response to `respond`. */
typedef void local_fn(const struct view *view, message_take_fn *respond, void *ctx);

/*
 * Where what the request is about stands, so that all requests about it go to one instance of the
 * service (libcommon/owner.h).
 */
typedef uint16_t place_fn(const void *request);

struct method {
    const char *name;
    enum access_level level; /* what a person must be let do for it; ACCESS_CHANGE: not said */
    const ProtobufCMessageDescriptor *request;
    enum service service; /* who does the work; SERVICE_GATEWAY: local */
    local_fn *local;
    ask_fn *ask;
    translate_fn *translate;
    place_fn *place;                         /* NULL: the first instance is asked */
    bool of_all;                             /* lb-swarm: all are asked, see gather.h */
    bool (*may_repeat)(const void *request); /* does carrying it out twice do no harm? */
    lb_err
        done_before; /* the error that means "done already" when it was sent twice; LB_OK: none */
};

extern const struct method api_methods[API_METHODS_COUNT];

/* NULL when there is none of this name. */
const struct method *method_find(const char *name);

/* The public form; borrows everything from it. */
struct Littlebird__V1__Transfer api_transfer(const struct Lb__Swarm__Transfer *from);
