/*
 * Extension messages: the handshake of BEP 10, metadata exchange (BEP 9) and peer exchange (BEP
 * 11), read and written, and the metainfo assembled from its 16 KiB parts.
 *
 * Everything read is bounded and unordered keys are accepted (real clients send them). Sources: BEP
 * 9, 10, 11, 21 (upload_only), 54. Pure; only struct metadata allocates.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXTENSION_METADATA_MAX  (10u * 1024 * 1024) /* bytes of an info dictionary */
#define EXTENSION_METADATA_PART 16384u
#define EXTENSION_PEX_MAX       50u   /* addresses in one message, each way (BEP 11) */
#define EXTENSION_MESSAGE_MAX   2048u /* what our own messages need, without a metadata part */
#define EXTENSION_VERSION_SIZE  32u

/* The numbers under which we receive; the other side chooses its own. */
enum extension_id {
    EXTENSION_HANDSHAKE = 0,
    EXTENSION_UT_METADATA = 1,
    EXTENSION_UT_PEX = 2,
    EXTENSION_DONTHAVE = 3, /* BEP 54, "lt_donthave": the piece, 4 bytes */
    EXTENSION_LB_PLAN = 4,  /* plan_message.h */
    EXTENSION_LB_REPORT = 5 /* report.h */
};

struct extension_handshake {
    uint8_t ut_metadata; /* the sender's numbers; 0: does not take part */
    uint8_t ut_pex;
    uint8_t lb_plan;
    uint8_t lb_report;
    uint8_t donthave;
    bool upload_only;       /* BEP 21 */
    uint16_t port;          /* the sender's listening port, 0: not said */
    uint32_t requests_max;  /* reqq: requests it takes at once, 0: not said */
    uint32_t metadata_size; /* 0: not said, or out of bounds */
    struct bytes yourip;    /* 4 or 16 bytes: how it sees us; borrowed */
    struct bytes version;   /* borrowed, cut to EXTENSION_VERSION_SIZE */
};

LB_MUST_CHECK lb_err extension_read_handshake(struct bytes payload,
                                              struct extension_handshake *ret_handshake);
void extension_put_handshake(struct writer *to, const struct extension_handshake *handshake);

enum extension_metadata_type {
    EXTENSION_METADATA_REQUEST = 0,
    EXTENSION_METADATA_DATA = 1,
    EXTENSION_METADATA_REJECT = 2
};

struct extension_metadata {
    enum extension_metadata_type type;
    uint32_t part;
    uint32_t total_size; /* DATA: of the whole */
    struct bytes data;   /* DATA: the part; borrowed */
};

/* LB_UNSUPPORTED for a type that came later than BEP 9: skip it. */
LB_MUST_CHECK lb_err extension_read_metadata(struct bytes payload,
                                             struct extension_metadata *ret_message);
void extension_put_metadata(struct writer *to, const struct extension_metadata *message);

struct extension_pex {
    uint32_t added_count;
    uint32_t dropped_count;
    struct address added[EXTENSION_PEX_MAX];
    uint8_t flags[EXTENSION_PEX_MAX]; /* of added: EXTENSION_PEX_SEED ... */
    struct address dropped[EXTENSION_PEX_MAX];
};

#define EXTENSION_PEX_SEED      0x02u
#define EXTENSION_PEX_REACHABLE 0x10u

/* Addresses beyond the maximum, and unusable ones, are left out. */
LB_MUST_CHECK lb_err extension_read_pex(struct bytes payload, struct extension_pex *ret_pex);
void extension_put_pex(struct writer *to, const struct extension_pex *pex);

/*
 * An info dictionary on its way in. One size at a time: the first claimed; when what was assembled
 * has another hash, it starts again.
 */
struct metadata {
    uint32_t size;  /* 0: not known yet */
    uint32_t parts; /* how many it has */
    uint32_t have;
    uint8_t *data;
    uint8_t *states; /* of each part: 0 missing, 1 asked for, 2 here */
};

void metadata_init(struct metadata *self);
void metadata_done(struct metadata *self);

/* A size was claimed; ignored when one stands. LB_TOO_BIG over EXTENSION_METADATA_MAX. */
LB_MUST_CHECK lb_err metadata_start(struct metadata *self, uint32_t size);

/* The next part to ask for; it is then asked for. False when none is left. */
bool metadata_next(struct metadata *self, uint32_t *ret_part);

/* That part will not come: it may be asked for again. */
void metadata_give_back(struct metadata *self, uint32_t part);

/* False when the message does not fit (size, part, length), or came twice: nothing is taken. */
bool metadata_take(struct metadata *self, const struct extension_metadata *message);
bool metadata_complete(const struct metadata *self);
struct bytes metadata_bytes(const struct metadata *self);
