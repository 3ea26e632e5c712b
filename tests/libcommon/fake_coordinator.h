/*
 * A coordinator for tests, on a thread: TLS 1.3 on a loopback port, a script of what it answers,
 * and a record of every byte it has seen, decrypted. It can also be an impostor.
 */
#pragma once

#include "proto/join.pb-c.h"
#include "tests/libcommon/pki_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Who it is. */
enum fake_kind {
    FAKE_SOUND,
    FAKE_OTHER_CA,    /* of a network of its own, with the same name: a man in the middle */
    FAKE_OTHER_LEAF,  /* the same, with the true root behind its chain */
    FAKE_MEMBER,      /* of the network, but no coordinator */
    FAKE_EXPIRED,     /* for an hour */
    FAKE_WITHOUT_ALPN /* speaks TLS only */
};

#define FAKE_SEEN_MAX 65536

struct fake_coordinator {
    struct pki_network *network; /* in whose name certificates are made; borrowed */
    struct pki_network own;      /* an impostor's */
    struct pki_member self;
    enum fake_kind kind;

    /*
     * One letter a connection, the last for all that follow. A admitted; P pending; R refused for
     * good; U refused for now; L refused, leader named; H hangs up; G garbage; B a frame too big;
     * O a certificate for another key; X one of another network; N news; W nothing, until the other
     * end goes.
     */
    const char *script;
    const char *leader;
    unsigned node;         /* pki_node() of who is admitted */
    int64_t clock_off_s;   /* what its clock says, less the true time */
    const uint8_t *denied; /* in Admitted and News; borrowed */
    size_t denied_size;
    const uint8_t *intermediate; /* a further one, in Admitted and News; borrowed */
    size_t intermediate_size;
    uint64_t issued_s; /* notBefore and 300 s; 0: now */

    int listener;
    char address[32];
    pthread_t thread;
    SSL_CTX *context;

    /* To be looked at once it has ended. */
    unsigned connections, handshakes;
    uint8_t seen[FAKE_SEEN_MAX]; /* all that came, decrypted */
    size_t seen_size;
    uint8_t key_digests[16][32]; /* of those it was asked to certify, each once */
    unsigned keys_count;
    bool saw_certificate; /* the asker's, in the last handshake */
};

/* Fill in network, kind, script, leader, node ... first. */
void fake_coordinator_start(struct fake_coordinator *self);
void fake_coordinator_end(struct fake_coordinator *self);

bool fake_coordinator_has_seen(const struct fake_coordinator *self, const void *data, size_t size);
