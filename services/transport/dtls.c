#include "services/transport/dtls_inside.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_S    1000000u
#define US_PER_MS   1000u
#define PAYLOAD_MAX 1500 /* bytes: the buffer for what a session sends is a tenth then */
/* Of those a membership speaks, the ones whose records hello.h knows the least size of. */
#define CIPHERS "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"

static const char *const counter_texts[] = {
#define DTLS_COUNTER_TEXT(name, text) [DTLS_COUNT_##name] = text,
    DTLS_COUNTERS(DTLS_COUNTER_TEXT)
#undef DTLS_COUNTER_TEXT
};

void dtls_counter_text(unsigned counter, char ret_text[DTLS_COUNTER_TEXT_SIZE])
{
    if (counter < DTLS_COUNT_REFUSALS)
        snprintf(ret_text, DTLS_COUNTER_TEXT_SIZE, "%s", counter_texts[counter]);
    else
        snprintf(
            ret_text, DTLS_COUNTER_TEXT_SIZE, "tls_%s",
            certificate_refusal_text((enum certificate_refusal)(counter - DTLS_COUNT_REFUSALS)));
}

const uint64_t *dtls_counters(const struct dtls *self)
{
    return self->counters;
}

static void count_refusal(struct dtls *self, enum certificate_refusal refusal)
{
    assert(refusal < CERTIFICATE_REFUSALS_COUNT);
    self->counters[DTLS_COUNT_REFUSALS + refusal]++;
}

/* ---- life ---- */

/* What a session that is open says by itself: a new handshake inside of it is refused. */
static void on_event(const SSL *ssl, int where, int value)
{
    const struct dtls_session *session = SSL_get_app_data(ssl);

    if (membership_is_renegotiation(where, value))
        count_refusal(session->dtls, REFUSED_RENEGOTIATED);
}

/* It was, before there was an SSL object: on_hello(). */
static int cookie_is_good(SSL *ssl, const unsigned char *cookie, unsigned size)
{
    (void)ssl;
    (void)cookie;
    (void)size;
    return 1;
}

static void make_context(struct dtls *self)
{
    SSL_CTX_free(self->context); /* sessions hold what they need of it */
    self->context = membership_new_context(self->membership, DTLS_method());
    dtls_tickets_enable(self, self->context);
    if (SSL_CTX_set_cipher_list(self->context, CIPHERS) != 1 ||
        SSL_CTX_set_max_send_fragment(self->context, PAYLOAD_MAX) != 1)
        abort();
    SSL_CTX_set_cookie_verify_cb(self->context, cookie_is_good);
    SSL_CTX_set_info_callback(self->context, on_event);
}

static uint32_t power_of_two(uint32_t least)
{
    uint32_t power = 1;

    while (power < least)
        power *= 2;
    return power;
}

struct dtls *dtls_new(const struct dtls_settings *settings)
{
    struct dtls *self = xcalloc(1, sizeof(*self));

    *self = (struct dtls){ .membership = settings->membership,
                           .secrets = settings->secrets,
                           .world = settings->world,
                           .limits = settings->limits,
                           .seed = settings->seed,
                           .now_s = settings->now_s,
                           .method = dtls_bio_method() };
    self->table_mask = power_of_two(2 * self->limits.sessions_max) - 1;
    self->table = xcalloc(self->table_mask + 1, sizeof(*self->table));
    self->under_way = xcalloc(2 * (size_t)self->limits.handshakes_max, sizeof(*self->under_way));
    self->tickets = xcalloc(DTLS_TICKETS_MAX, sizeof(*self->tickets));
    make_context(self);
    return self;
}

void dtls_close_all(struct dtls *self)
{
    while (self->under_way_count > 0)
        dtls_give_up(self, self->under_way[0]->association);
    while (self->oldest)
        dtls_close_live(self, self->oldest);
}

void dtls_free(struct dtls **self_)
{
    struct dtls *self = *self_;

    *self_ = NULL;
    if (!self)
        return;
    for (struct association *at = self->oldest; at; at = at->newer)
        at->live->is_silent = true;
    dtls_close_all(self);
    dtls_tickets_done(self);
    SSL_CTX_free(self->context);
    BIO_meth_free(self->method);
    free(self->tickets);
    free(self->under_way);
    free(self->table);
    free(self);
}

/* ---- the end of a handshake ---- */

static void refuse(struct dtls *self, struct association *association,
                   enum certificate_refusal refusal)
{
    count_refusal(self, refusal);
    association->fresh->is_silent = true;
    dtls_tickets_forget(self, &association->peer);
    dtls_give_up(self, association);
}

/* One member does not take the places of the others. */
static void limit_node(struct dtls *self, const struct node_id *node)
{
    struct association *first = NULL;
    unsigned count = 0;

    for (struct association *at = self->newest; at; at = at->older) {
        if (!node_id_equal(&at->live->claims.node, node))
            continue;
        count++;
        first = at;
    }
    if (count < DTLS_NODE_SESSIONS_MAX)
        return;
    self->counters[DTLS_COUNT_EVICTED]++;
    dtls_close_live(self, first);
}

static void make_room(struct dtls *self, const struct node_id *node)
{
    limit_node(self, node);
    if (self->counters[DTLS_COUNT_SESSIONS] < self->limits.sessions_max)
        return;
    self->counters[DTLS_COUNT_EVICTED]++;
    dtls_close_live(self, self->oldest);
}

static void open_session(struct dtls *self, struct association *association, uint64_t now_us)
{
    struct dtls_session *session = association->fresh;
    struct address peer = association->peer;

    dtls_take_off(self, session);
    if (association->live)
        dtls_end_live(self, association, false); /* the other end has the new one already */
    make_room(self, &session->claims.node);      /* it has fresh, so it is not dropped */
    association->fresh = NULL;
    association->live = session;
    association->used_us = now_us;
    dtls_link_newest(self, association);
    self->counters[DTLS_COUNT_SESSIONS]++;
    self->counters[DTLS_COUNT_HANDSHAKES]++;
    if (SSL_session_reused(session->ssl))
        self->counters[DTLS_COUNT_RESUMED]++;
    if (!session->is_server)
        dtls_tickets_keep(self, session);
    self->world.opened(self->world.ctx, &peer);
}

static void finish(struct dtls *self, struct association *association, uint64_t now_us)
{
    struct dtls_session *session = association->fresh;
    enum certificate_refusal refusal =
        membership_check_peer(self->membership, session->ssl, self->now_s, &session->claims);

    if (refusal == REFUSED_NOT &&
        node_id_equal(&session->claims.node, &membership_identity(self->membership)->node))
        refusal = REFUSED_WRONG_ID; /* ourselves, or who has stolen our key */
    if (refusal == REFUSED_NOT)
        refusal = membership_admit(self->membership, &session->claims,
                                   SSL_session_reused(session->ssl), self->now_s);
    if (refusal != REFUSED_NOT)
        refuse(self, association, refusal);
    else
        open_session(self, association, now_us);
}

static void follow(struct dtls *self, struct association *association, enum dtls_progress progress,
                   uint64_t now_us)
{
    switch (progress) {
    case DTLS_WAITS:
        break;
    case DTLS_DONE:
        finish(self, association, now_us);
        break;
    case DTLS_FAILED:
        refuse(self, association, membership_handshake_refusal(association->fresh->ssl));
        break;
    }
}

/* ---- handshakes of ours ---- */

static bool connect_to(struct dtls *self, const struct address *peer,
                       const struct datagram_local *local, bool is_recovery, uint64_t now_us)
{
    struct association *association;

    if (!dtls_may_begin(self, peer, false, now_us))
        return false;
    association = dtls_find_or_add(self, peer);
    if (local)
        association->local = *local;
    dtls_begin(self, association, false, now_us);
    association->fresh->is_recovery = is_recovery;
    dtls_tickets_use(self, association->fresh);
    follow(self, association, dtls_session_shake(association->fresh, bytes_of(NULL, 0), now_us),
           now_us);
    return true;
}

enum dtls_reach dtls_reach(struct dtls *self, const struct address *to,
                           const struct node_id *expected, uint64_t now_us)
{
    const struct association *association = dtls_find(self, to);

    if (expected && deny_list_has(membership_denied(self->membership), expected))
        return DTLS_OTHER;
    if (association && association->live)
        return expected && !node_id_equal(&association->live->claims.node, expected) ? DTLS_OTHER
                                                                                     : DTLS_OPEN;
    if (association)
        return DTLS_OPENING;
    return connect_to(self, to, NULL, false, now_us) ? DTLS_OPENING : DTLS_BUSY;
}

bool dtls_send(struct dtls *self, const struct address *to, const struct datagram_local *local,
               struct bytes payload, uint64_t now_us)
{
    struct association *association = dtls_find(self, to);

    if (!association || !association->live) {
        self->counters[DTLS_COUNT_UNSENT]++;
        return false;
    }
    if (local)
        association->local = *local;
    dtls_use(self, association, now_us);
    return dtls_session_write(association->live, payload);
}

bool dtls_unanswered(struct dtls *self, const struct address *peer)
{
    struct association *association = dtls_find(self, peer);

    if (association && association->live) {
        dtls_end_live(self, association, false);
        dtls_drop_if_empty(self, association);
        return true;
    }
    return !association || !association->fresh->heard;
}

/* Who was steered here from another worker, or spoke to who we were before. */
static void recover(struct dtls *self, const struct dtls_datagram *datagram, uint64_t now_us)
{
    uint64_t *last = &self->strays[address_hash(datagram->from, self->seed) & (DTLS_STRAYS - 1)];

    self->counters[DTLS_COUNT_STRAY]++;
    if (datagram->data.size < DTLS_RECORD_OVERHEAD || (*last > 0 && now_us - *last < US_PER_S) ||
        dtls_count_recoveries(self) >= self->limits.recoveries_max)
        return;
    *last = now_us;
    (void)connect_to(self, datagram->from, datagram->local, true, now_us);
}

/* ---- handshakes that come ---- */

/*
 * Both ends have begun. The smaller random wins, and both ends see both; the other end's hello that
 * is sent again is its own.
 */
static bool wins(const struct dtls_session *ours, const struct hello *hello)
{
    uint8_t random[HELLO_RANDOM_SIZE];

    dtls_session_random(ours, random);
    return memcmp(random, hello->random.data, HELLO_RANDOM_SIZE) < 0;
}

static bool is_the_same(const struct dtls_session *session, const struct hello *hello)
{
    uint8_t random[HELLO_RANDOM_SIZE];

    dtls_session_random(session, random);
    return session->is_server && memcmp(random, hello->random.data, HELLO_RANDOM_SIZE) == 0;
}

static void accept_from(struct dtls *self, const struct dtls_datagram *datagram, uint64_t now_us)
{
    struct association *association;

    if (!dtls_may_begin(self, datagram->from, true, now_us))
        return;
    association = dtls_find_or_add(self, datagram->from);
    association->local = *datagram->local;
    if (association->fresh)
        dtls_end_fresh(self, association);
    dtls_begin(self, association, true, now_us);
    follow(self, association, dtls_session_accept(association->fresh, datagram->data, now_us),
           now_us);
}

static void on_proved(struct dtls *self, const struct dtls_datagram *datagram,
                      const struct hello *hello, uint64_t now_us)
{
    struct association *association = dtls_find(self, datagram->from);
    struct dtls_session *fresh = association ? association->fresh : NULL;

    if (fresh && is_the_same(fresh, hello))
        follow(self, association, dtls_session_shake(fresh, datagram->data, now_us), now_us);
    else if (!fresh && association && is_the_same(association->live, hello))
        self->counters[DTLS_COUNT_STRAY]++; /* a copy that came late */
    else if (!fresh || fresh->is_server || !wins(fresh, hello))
        accept_from(self, datagram, now_us);
}

static void on_hello(struct dtls *self, const struct dtls_datagram *datagram, uint64_t now_us)
{
    uint8_t request[HELLO_VERIFY_SIZE];
    struct hello hello;

    if (hello_read(datagram->data, &hello) != LB_OK) {
        self->counters[DTLS_COUNT_MALFORMED]++;
    } else if (hello.is_old) {
        count_refusal(self, REFUSED_OLD_PROTOCOL);
    } else if (hello_is_proved(&hello, &self->secrets->hello, datagram->from, now_us / US_PER_MS)) {
        on_proved(self, datagram, &hello, now_us);
    } else {
        self->counters[DTLS_COUNT_CHALLENGED]++;
        hello_verify_request(&hello, &self->secrets->hello, datagram->from, now_us / US_PER_MS,
                             request);
        self->world.send(self->world.ctx, datagram->from, datagram->local,
                         bytes_of(request, sizeof(request)));
    }
}

/* ---- datagrams ---- */

static size_t read_live(struct dtls *self, struct association *association,
                        const struct dtls_datagram *datagram, uint64_t now_us, uint8_t *ret_payload,
                        size_t capacity)
{
    bool is_closed;
    size_t size =
        dtls_session_read(association->live, datagram->data, ret_payload, capacity, &is_closed);

    if (size > 0) {
        association->local = *datagram->local;
        dtls_use(self, association, now_us);
    } else if (is_closed) {
        dtls_end_live(self, association, false);
        dtls_drop_if_empty(self, association);
    } else {
        self->counters[DTLS_COUNT_FORGED]++;
    }
    return size;
}

/* A part of a handshake: of the one under way, else what an open session was sent again. */
static void on_handshake(struct dtls *self, struct association *association,
                         const struct dtls_datagram *datagram, uint64_t now_us)
{
    uint8_t unused[256];
    bool is_closed;

    if (association && association->fresh) {
        association->local = *datagram->local;
        follow(self, association, dtls_session_shake(association->fresh, datagram->data, now_us),
               now_us);
    } else if (association) {
        (void)dtls_session_read(association->live, datagram->data, unused, sizeof(unused),
                                &is_closed);
    } else {
        self->counters[DTLS_COUNT_STRAY]++;
    }
}

size_t dtls_input(struct dtls *self, const struct dtls_datagram *datagram, uint64_t now_us,
                  uint8_t *ret_payload, size_t capacity, struct node_id *ret_node)
{
    struct association *association = dtls_find(self, datagram->from);

    switch (record_kind(datagram->data)) {
    case RECORD_NONE:
        self->counters[DTLS_COUNT_MALFORMED]++;
        return 0;
    case RECORD_KRPC:
        self->counters[DTLS_COUNT_PLAIN]++;
        return 0;
    case RECORD_HELLO:
        on_hello(self, datagram, now_us);
        return 0;
    case RECORD_CLEAR_ALERT: /* a handshake that has failed there comes to its end here by time */
        self->counters[DTLS_COUNT_STRAY]++;
        return 0;
    case RECORD_HANDSHAKE:
        on_handshake(self, association, datagram, now_us);
        return 0;
    case RECORD_PROTECTED:
        break;
    }
    if (!association) {
        recover(self, datagram, now_us);
        return 0;
    }
    if (association->fresh && association->fresh->heard && record_is_handshake(datagram->data)) {
        on_handshake(self, association, datagram, now_us);
        return 0;
    }
    if (!association->live) { /* data that overtook the handshake, or a stranger's */
        self->counters[DTLS_COUNT_STRAY]++;
        return 0;
    }
    *ret_node = association->live->claims.node;
    return read_live(self, association, datagram, now_us, ret_payload, capacity);
}

/* ---- time ---- */

static uint64_t given_up_us(const struct dtls *self, const struct dtls_session *session)
{
    uint64_t patience = session->heard ? self->limits.handshake_us : self->limits.silence_us;

    return session->began_us + patience;
}

static uint64_t due_us(const struct dtls *self, const struct dtls_session *session)
{
    uint64_t end_us = given_up_us(self, session);

    return session->flight_us < end_us ? session->flight_us : end_us;
}

void dtls_next(struct dtls *self, uint64_t now_us)
{
    for (uint32_t i = self->under_way_count; i-- > 0;) {
        struct dtls_session *session = self->under_way[i];

        if (given_up_us(self, session) <= now_us) {
            self->counters[DTLS_COUNT_TIMED_OUT]++;
            dtls_tickets_forget(self, &session->association->peer);
            dtls_give_up(self, session->association);
        } else if (session->flight_us <= now_us) {
            follow(self, session->association, dtls_session_again(session, now_us), now_us);
        }
    }
    while (self->oldest && self->oldest->used_us + self->limits.idle_us <= now_us)
        dtls_close_live(self, self->oldest);
}

uint64_t dtls_deadline_us(const struct dtls *self)
{
    uint64_t deadline_us = self->oldest ? self->oldest->used_us + self->limits.idle_us : UINT64_MAX;

    for (uint32_t i = 0; i < self->under_way_count; i++) {
        uint64_t at_us = due_us(self, self->under_way[i]);

        if (at_us < deadline_us)
            deadline_us = at_us;
    }
    return deadline_us;
}

void dtls_care(struct dtls *self, unsigned news, uint64_t now_s)
{
    struct association *at = self->oldest, *next;

    self->now_s = now_s;
    if (news & MEMBERSHIP_NEW_CERTIFICATE) {
        dtls_tickets_done(self); /* they say what the certificate before did */
        make_context(self);
    } else if (news & MEMBERSHIP_NEW_INTERMEDIATES) {
        make_context(self);
    }
    for (; at; at = next) {
        enum certificate_refusal refusal =
            certificate_still_counts(&at->live->claims, membership_denied(self->membership), now_s);

        next = at->newer;
        if (refusal == REFUSED_NOT)
            continue;
        count_refusal(self, refusal);
        dtls_tickets_forget(self, &at->peer);
        dtls_close_live(self, at);
    }
}
