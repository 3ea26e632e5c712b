/* What the files of dtls.h share. */
#pragma once

#include "services/transport/dtls.h"

#include <openssl/ssl.h>

/* An end of one session. */
struct dtls_session {
    struct dtls *dtls;               /* borrowed */
    struct association *association; /* borrowed */
    SSL *ssl;
    struct bytes input; /* what it reads next */
    bool is_server;
    bool is_recovery; /* begun for a record that belonged to no session */
    bool heard;       /* something of a handshake has come from there */
    bool is_silent;   /* what it writes goes nowhere: it has failed */
    uint64_t began_us;
    uint64_t flight_us;               /* its last flight is due again; UINT64_MAX: never */
    struct certificate_claims claims; /* once it is open */
};

/* What we share with one address. */
struct association {
    struct address peer;
    struct datagram_local local;       /* where its last datagram came to */
    struct dtls_session *live;         /* open; NULL: none */
    struct dtls_session *fresh;        /* under way; NULL: none */
    struct association *chain;         /* the next of its place in the table */
    struct association *older, *newer; /* those that are open, by when they were used */
    uint64_t used_us;
};

struct dtls_ticket {
    struct address peer; /* port 0: free */
    uint8_t *session;    /* DER, with its master key */
    size_t size;
};

#define DTLS_STRAYS 256u /* a power of two: peers whose strays are told apart */

struct dtls {
    struct membership *membership;
    const struct secrets *secrets;
    struct dtls_world world;
    struct dtls_limits limits;
    uint64_t seed;
    uint64_t now_s;
    SSL_CTX *context;
    BIO_METHOD *method;

    struct association **table;
    uint32_t table_mask;
    struct association *oldest, *newest; /* of those that are open */
    struct dtls_session **under_way;     /* twice handshakes_max */
    uint32_t under_way_count;
    uint64_t second; /* the one that `begun` counts in */
    uint32_t begun;
    uint64_t strays[DTLS_STRAYS]; /* when a record of such a peer made us open one, us */
    struct dtls_ticket *tickets;  /* DTLS_TICKETS_MAX, by the address */
    uint64_t counters[DTLS_COUNTERS_COUNT];
};

/* ---- dtls_table.c: associations ---- */

struct association *dtls_find(const struct dtls *self, const struct address *peer); /* or NULL */
struct association *dtls_find_or_add(struct dtls *self, const struct address *peer);

/* One with neither session is freed. */
void dtls_drop_if_empty(struct dtls *self, struct association *association);

/* Its open session was used; it has just become open. */
void dtls_use(struct dtls *self, struct association *association, uint64_t now_us);
void dtls_link_newest(struct dtls *self, struct association *association);

/* End one of its sessions; the association stays, empty or not. tell: the other end, too. */
void dtls_end_live(struct dtls *self, struct association *association, bool tell);
void dtls_end_fresh(struct dtls *self, struct association *association);

/* ... and it is freed if it is empty then. */
void dtls_close_live(struct dtls *self, struct association *association);
void dtls_give_up(struct dtls *self, struct association *association);

/* May another handshake begin? If not, why not is counted. */
bool dtls_may_begin(struct dtls *self, const struct address *peer, bool is_server, uint64_t now_us);
uint32_t dtls_count_recoveries(const struct dtls *self);
void dtls_begin(struct dtls *self, struct association *association, bool is_server,
                uint64_t now_us);
void dtls_take_off(struct dtls *self,
                   const struct dtls_session *session); /* it is under way no more */

/* ---- dtls_session.c: one session ---- */

BIO_METHOD *dtls_bio_method(void);

/* Never NULL. */
struct dtls_session *dtls_session_new(struct dtls *dtls, struct association *association,
                                      bool is_server, uint64_t now_us);
void dtls_session_free(struct dtls_session **self); /* without a word */

enum dtls_progress { DTLS_WAITS, DTLS_DONE, DTLS_FAILED };

/* A step of its handshake, with what came in or to begin. */
enum dtls_progress dtls_session_shake(struct dtls_session *self, struct bytes datagram,
                                      uint64_t now_us);

/* The first of one that comes: this hello has brought its cookie. */
enum dtls_progress dtls_session_accept(struct dtls_session *self, struct bytes hello,
                                       uint64_t now_us);

/* Its flight is due again. */
enum dtls_progress dtls_session_again(struct dtls_session *self, uint64_t now_us);

/* Its own hello's, or that of the peer's. */
void dtls_session_random(const struct dtls_session *self, uint8_t ret_random[HELLO_RANDOM_SIZE]);

/* The payload of a datagram: its size, 0: there is none; *ret_closed: the session is over. */
size_t dtls_session_read(struct dtls_session *self, struct bytes datagram, uint8_t *ret_payload,
                         size_t capacity, bool *ret_closed);
bool dtls_session_write(struct dtls_session *self, struct bytes payload);

/* Tell the other end that it is over. */
void dtls_session_goodbye(struct dtls_session *self);

/* ---- dtls_tickets.c: resumption ---- */

/* Give out tickets, and take those that another worker or who we were gave. */
void dtls_tickets_enable(struct dtls *self, SSL_CTX *context);

/* Begin with what we know of this peer, if anything. */
void dtls_tickets_use(struct dtls *self, const struct dtls_session *session);
void dtls_tickets_keep(struct dtls *self, const struct dtls_session *session);
void dtls_tickets_forget(struct dtls *self, const struct address *peer);
void dtls_tickets_done(struct dtls *self);
