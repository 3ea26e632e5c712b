/*
 * DTLS 1.2 sessions with the members of a private network: who may have one, and what one costs.
 *
 * Records go in with their source and the time; out come KRPC payloads of whom a certificate names,
 * and records to send. OpenSSL sees no socket: each session reads what it is handed and writes to
 * dtls_world.send(). An association is what we share with one address: a session that is open, one
 * that is being made, or both. The conversation is
 *
 *     dtls_input()     one datagram in; perhaps a payload out
 *     dtls_reach()     is there a session with this address? Else one is being made
 *     dtls_send()      a payload into the session
 *     dtls_next()      what is due: a flight again, a handshake given up, an idle session closed
 *     dtls_deadline()  when to call that again
 *     dtls_care()      at each heartbeat: a new certificate, who is denied now, what has expired
 *
 * Before a peer has brought its cookie back nothing is kept of it (hello.h). After the handshake
 * membership_check_peer() says who it is; until then all is hostile and dropped without a word.
 *
 * When both ends open at once the hello with the smaller random is answered and the other given up:
 * both ends see both. A handshake of a peer that has a session replaces it when it is done, not
 * before (RFC 6347, 4.2.8). A record that belongs to no session is of a peer that has one with who
 * we were before a restart: we open one ourselves, once a second a peer.
 *
 * Sessions cost 60 to 80 kB, so there are few of them, and who was not heard of longest gives way,
 * and is told. One node has DTLS_NODE_SESSIONS_MAX at most, so that no member can take the place of
 * the others. No I/O and no clock of its own, but OpenSSL allocates, and its timers for flights
 * that were lost read gettimeofday().
 */
#pragma once

#include "libcommon/pki/membership.h"
#include "services/transport/datagram.h"
#include "services/transport/secrets.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTLS_MTU               1200u /* bytes of a datagram of a handshake */
#define DTLS_RECORD_OVERHEAD   37u   /* header 13, AES-GCM nonce 8 and tag 16 */
#define DTLS_NODE_SESSIONS_MAX 4u    /* of one node; the one used longest ago gives way */
#define DTLS_TICKETS_MAX       1024u /* addresses whose session can be resumed */

/* What is refused for one of these is counted, and may be tried again. */
struct dtls_limits {
    uint32_t sessions_max;      /* open; the one used longest ago gives way */
    uint32_t handshakes_max;    /* under way, of those that come and as many of ours: more wait */
    uint32_t handshakes_ip_max; /* of these, that come from one IP address */
    uint32_t handshakes_s_max;  /* begun in a second, of either direction */
    uint32_t recoveries_max;    /* of ours, begun for a record that belongs to no session */
    uint64_t idle_us;           /* then a session is closed */
    uint64_t handshake_us;      /* then a handshake is given up */
    uint64_t silence_us;        /* ... when nothing at all was heard */
};

#define DTLS_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        .sessions_max = 1024, .handshakes_max = 64, .handshakes_ip_max = 5,                        \
        .handshakes_s_max = 200, .recoveries_max = 16, .idle_us = 900000000,                       \
        .handshake_us = 10000000, .silence_us = 2500000                                            \
    }

/*
 * X(NAME, text): shown in the status page, and behind them "tls_" and the text of each of
 * CERTIFICATE_REFUSALS. SESSIONS and UNDER_WAY are how many there are now.
 */
#define DTLS_COUNTERS(X)                                                                           \
    X(SESSIONS, "tls_sessions")                                                                    \
    X(UNDER_WAY, "tls_under_way")                                                                  \
    X(HANDSHAKES, "tls_handshakes") /* that came to an open session, the resumed among them */     \
    X(RESUMED, "tls_resumed")                                                                      \
    X(TIMED_OUT, "tls_timed_out")     /* handshakes given up */                                    \
    X(CHALLENGED, "tls_challenged")   /* hellos without a cookie that counts */                    \
    X(PLAIN, "tls_plain")             /* KRPC outside DTLS: refused */                             \
    X(MALFORMED, "tls_malformed")     /* no DTLS record, or a hello that cannot be read */         \
    X(STRAY, "tls_stray")             /* records that belong to nothing here */                    \
    X(FORGED, "tls_forged")           /* records of a session that it could not make sense of */   \
    X(EVICTED, "tls_evicted")         /* sessions that gave way to others */                       \
    X(MANY_NOW, "tls_many_now")       /* handshakes refused: handshakes_max */                     \
    X(MANY_IP, "tls_many_ip")         /* ... handshakes_ip_max */                                  \
    X(MANY_SECOND, "tls_many_second") /* ... handshakes_s_max */                                   \
    X(UNSENT, "tls_unsent")           /* payloads for whom there was no session */

#define DTLS_COUNTER_ENUM(name, text) DTLS_COUNT_##name,
enum dtls_counter {
    DTLS_COUNTERS(DTLS_COUNTER_ENUM) DTLS_COUNT_REFUSALS,
    DTLS_COUNTERS_COUNT = DTLS_COUNT_REFUSALS + CERTIFICATE_REFUSALS_COUNT
};
#undef DTLS_COUNTER_ENUM

#define DTLS_COUNTER_TEXT_SIZE 24
void dtls_counter_text(unsigned counter, char ret_text[DTLS_COUNTER_TEXT_SIZE]);

struct dtls; /* opaque */

/* What it asks of its owner, from within any of the functions below but the const ones. */
struct dtls_world {
    void *ctx;
    /* A datagram; local: from where it is to leave. */
    void (*send)(void *ctx, const struct address *to, const struct datagram_local *local,
                 struct bytes datagram);
    /* There is a session with this address now: what was to go there can. */
    void (*opened)(void *ctx, const struct address *peer);
};

struct dtls_settings {
    struct membership *membership; /* borrowed for its life */
    const struct secrets *secrets; /* likewise */
    struct dtls_world world;
    struct dtls_limits limits;
    uint64_t seed; /* of the table */
    uint64_t now_s;
};

struct dtls *dtls_new(const struct dtls_settings *settings);
void dtls_free(struct dtls **self); /* says good-bye to nobody; dtls_close_all() does */

struct dtls_datagram {
    const struct address *from;
    const struct datagram_local *local; /* where it came to */
    struct bytes data;
};

/*
 * One datagram. The size of the payload that it held, in ret_payload, and in *ret_node who it is
 * of; 0: none. At most one a datagram: what is behind it is dropped.
 */
size_t dtls_input(struct dtls *self, const struct dtls_datagram *datagram, uint64_t now_us,
                  uint8_t *ret_payload, size_t capacity, struct node_id *ret_node);

enum dtls_reach {
    DTLS_OPEN,
    DTLS_OPENING, /* opened() will tell, or nobody is there */
    DTLS_OTHER,   /* the node there is not the one that is meant, or that one is denied */
    DTLS_BUSY     /* as many are being opened as may be */
};

/* expected: whom we mean to speak to; NULL: whoever is there. */
enum dtls_reach dtls_reach(struct dtls *self, const struct address *to,
                           const struct node_id *expected, uint64_t now_us);

/* False, and counted: there is no session with this address. local NULL: as it last came. */
bool dtls_send(struct dtls *self, const struct address *to, const struct datagram_local *local,
               struct bytes payload, uint64_t now_us);

bool dtls_has(const struct dtls *self, const struct address *peer); /* a session that is open */

/*
 * What we asked there was not answered. The session is forgotten, since that node may have
 * forgotten it before; with the next question it begins anew. False: that node has been heard in a
 * handshake which is not over yet, so its silence does not count.
 */
bool dtls_unanswered(struct dtls *self, const struct address *peer);

void dtls_next(struct dtls *self, uint64_t now_us);
uint64_t dtls_deadline_us(const struct dtls *self); /* UINT64_MAX: none */

/* news: of membership_refresh(). Who is denied now and what has expired is closed. */
void dtls_care(struct dtls *self, unsigned news, uint64_t now_s);

/* With every node that has an open session, once for each session. ctx is passed on. */
void dtls_each(const struct dtls *self,
               void (*each)(void *ctx, const struct address *peer, const struct node_id *node),
               void *ctx);

/* Close them all, and tell them. */
void dtls_close_all(struct dtls *self);

const uint64_t *dtls_counters(const struct dtls *self); /* DTLS_COUNTERS_COUNT of them */

/* All invariants, for tests: asserts. */
void dtls_check(const struct dtls *self);

/*
 * Has this OpenSSL the security fixes of 2026? Its version number does not tell, Debian's patches
 * not counted; but a forged record of 17 bytes ends a session of those before 3.0.22-1~deb12u1
 * (CVE-2026-75806; hello.h keeps such records from it). Makes a session with ourselves and tries.
 * LB_UNSUPPORTED: it has not.
 */
LB_MUST_CHECK lb_err dtls_probe(const struct membership *membership);
