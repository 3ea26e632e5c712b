/*
 * What comes before a DTLS session: which datagram is what, and the cookie that a peer must bring
 * back before anything is kept of it (RFC 6347, 4.2.1).
 *
 * A session costs 77 kB and a handshake a millisecond, so nobody gets one who has not shown that it
 * receives what is sent to its address. The answer to a first ClientHello is made of that hello
 * alone: HMAC-SHA256 over the address, the hello's parameters and the number of the current minute,
 * under a key that all workers of the node share. The minute before counts too: two secrets that
 * follow each other, and nothing to keep. The answer is never longer than the hello.
 *
 * Everything that is read here is a stranger's. Pure; libsodium does the HMAC.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

#define RECORD_HEADER_SIZE 13u
#define HELLO_KEY_SIZE     32
#define HELLO_COOKIE_SIZE  32u
#define HELLO_RANDOM_SIZE  32u
#define HELLO_PERIOD_MS    60000u
#define HELLO_VERIFY_SIZE  60u /* bytes of a HelloVerifyRequest of ours */

enum record_kind {
    RECORD_NONE,        /* no DTLS record, or one that cannot be what it says */
    RECORD_KRPC,        /* none either: it begins as KRPC outside DTLS does */
    RECORD_HELLO,       /* a ClientHello, in the clear */
    RECORD_HANDSHAKE,   /* another part of a handshake, in the clear */
    RECORD_CLEAR_ALERT, /* an alert that anybody could have sent */
    RECORD_PROTECTED    /* whatever it is, it is encrypted */
};

/* By the first record of a datagram. */
enum record_kind record_kind(struct bytes datagram);

/* Of one that is RECORD_PROTECTED, too. */
bool record_is_handshake(struct bytes datagram);

/* Views into the datagram. */
struct hello {
    bool is_old;             /* its sender knows nothing above DTLS 1.0 */
    const uint8_t *sequence; /* of the record: 6 bytes */
    struct bytes random;     /* HELLO_RANDOM_SIZE */
    struct bytes session;    /* 0 to 32 bytes */
    struct bytes cookie;     /* 0 to 255 bytes; empty: none yet */
    struct bytes ciphers, compressions;
};

/*
 * A datagram that is RECORD_HELLO. LB_INVALID: malformed, in several fragments, or shorter than
 * HELLO_VERIFY_SIZE.
 */
LB_MUST_CHECK lb_err hello_read(struct bytes datagram, struct hello *ret_self);

struct hello_key {
    uint8_t bytes[HELLO_KEY_SIZE];
};

/* Does it bring the cookie that was sent to this address? now_ms is monotonic. */
bool hello_is_proved(const struct hello *self, const struct hello_key *key,
                     const struct address *from, uint64_t now_ms);

/* What to answer a hello that is not proved. */
void hello_verify_request(const struct hello *self, const struct hello_key *key,
                          const struct address *from, uint64_t now_ms,
                          uint8_t ret_datagram[HELLO_VERIFY_SIZE]);
