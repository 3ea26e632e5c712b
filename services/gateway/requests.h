/*
 * The calls of clients under way: who is to be answered, until when, and what is to be tried again.
 *
 * A request is ASKED (a service has it), PAUSED (its service is away; it is asked again at
 * retry_ms) or JOINED (another request under the same idempotency key will be answered for both).
 * Requests in total, requests of one client and bytes kept are bounded; beyond that the client is
 * told RESOURCE_EXHAUSTED. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUESTS_MAX          1024
#define REQUESTS_CLIENT_MAX   256 /* of one connection */
#define REQUESTS_BYTES_MAX    (64u * 1024 * 1024)
#define REQUESTS_IDENTITY_MAX 255 /* ZeroMQ's */
#define REQUESTS_ID_MAX       16

#define REQUEST_PAUSE_MS    25    /* between two tries */
#define REQUEST_PATIENCE_MS 10000 /* how long a service may be away before the client is told */

enum request_state { REQUEST_FREE, REQUEST_ASKED, REQUEST_PAUSED, REQUEST_JOINED };

/* Who asked, as the answer needs it. */
struct asker {
    uint8_t identity[REQUESTS_IDENTITY_MAX];
    uint8_t identity_size;
    uint8_t id_size;
    uint8_t id[REQUESTS_ID_MAX];
};

struct request {
    enum request_state state;
    struct asker asker;
    uint64_t deadline_ms;
    uint64_t retry_ms;   /* PAUSED */
    uint64_t give_up_ms; /* set by the first pause */
    uint32_t sent;       /* how often a service was asked */
    uint32_t dedupe;     /* its entry, or DEDUPE_NONE */
    size_t bytes;
    void *work; /* the owner's */
};

struct requests {
    struct request slots[REQUESTS_MAX];
    uint32_t count;
    size_t bytes;
};

/* NULL when a limit is reached; *ret_limit says which, for a person. The request is ASKED. */
struct request *requests_add(struct requests *self, const struct asker *asker, size_t bytes,
                             uint64_t deadline_ms, const char **ret_limit);
void requests_remove(struct requests *self, struct request *request);

/*
 * Its service is away. True: it is PAUSED now. False: it waited long enough. may_repeat: it does no
 * harm to carry it out twice, or it was not sent at all.
 */
bool request_pause(struct request *self, bool may_repeat, uint64_t now_ms);

enum request_due { DUE_NOTHING, DUE_RETRY, DUE_TIMEOUT };

/*
 * The next PAUSED or JOINED request that something is due for; ask until DUE_NOTHING, and settle
 * each before the next call. (ASKED ones are ended by their link's timeout.)
 */
enum request_due requests_next_due(struct requests *self, uint64_t now_ms,
                                   struct request **ret_request);

/* Does anything wait that requests_next_due() must be asked for? */
bool requests_waiting(const struct requests *self);

/* A request JOINED to this entry, or NULL. */
struct request *requests_joined(struct requests *self, uint32_t dedupe);
