/*
 * One question to a coordinator (proto/join.proto) over TLS 1.3, ALPN "lb-join/1".
 *
 * Nothing is sent before the handshake has shown that the other end is a coordinator of the network
 * whose root's key has this digest (THREATS 2.17): its chain, with the root as its last
 * certificate, is checked inside the handshake, and one that fails ends it.
 *
 * It blocks, for as long as it is told, so it runs in a program of its own or on a pool's thread.
 * Memory of one conversation is bounded by JOIN_REPLY_MAX.
 */
#pragma once

#include "libcommon/identity.h"
#include "libcommon/pki/certificate.h"
#include "libcommon/pki/deny_list.h"
#include "proto/join.pb-c.h"

#include <stdbool.h>

#define JOIN_ALPN        "lb-join/1"
#define JOIN_REQUEST_MAX (64u * 1024)                       /* bytes of a frame's body */
#define JOIN_REPLY_MAX   (DENY_LIST_BYTES_MAX + 32u * 1024) /* may carry a whole deny list */
#define JOIN_CONNECT_MS  4000u                              /* for each address of a name */

/* Whom to believe, and as whom to ask. All borrowed. */
struct join_client_options {
    uint8_t network[NETWORK_ID_SIZE]; /* SHA-256 of the root's key */
    const struct deny_list *denied;   /* NULL: none is known */
    /* Of who is a member: its trust anchor, and what it shows in the handshake. NULL: who joins has
     * none of it. */
    X509 *root;
    EVP_PKEY *key;
    X509 *leaf;
    X509 *intermediate;
    /* Take a coordinator whose certificate ended, or begins, within so many seconds: one's own
     * clock may be wrong (THREATS 2.19). */
    uint64_t clock_slack_s;
    uint64_t deadline_ms; /* of clock_monotonic_ms() */
    int cancel_fd;        /* gives up, with LB_CANCELLED, as soon as it can be read; -1: none */
};

struct join_client_problem {
    char text[400]; /* for a person: what was wrong at that address */
};

/*
 * address: HOST:PORT or [IPV6]:PORT. LB_OK: *ret_reply is what it said; free it with
 * lb__join__reply__free_unpacked(). LB_UNAVAILABLE: nobody can be reached there, or it hung up.
 * LB_DENIED: who answers is no coordinator of this network; it was told nothing. LB_TIMEOUT,
 * LB_CANCELLED. LB_CORRUPT: what it answered is no reply. LB_INVALID: no such address.
 */
LB_MUST_CHECK lb_err join_client_ask(const struct join_client_options *options, const char *address,
                                     const Lb__Join__Request *request, Lb__Join__Reply **ret_reply,
                                     struct join_client_problem *ret_problem);
