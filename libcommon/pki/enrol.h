/*
 * A node becomes a member, and stays one: the member's side of proto/join.proto, with the files it
 * leaves in paths.member_folder (libcommon/pki/membership.h) and paths.identity_file.
 *
 * For `littlebird join` and lb-member. It blocks (join_client.h); several coordinators are tried
 * one after the other, then those a coordinator names as the leader.
 *
 * Whatever moment it is killed at, it may be done again: the key is made first and used again, so
 * the register answers with the same certificate; the identity, which makes the node a member, is
 * written last. Files are written as the owner of member_folder also when root joins.
 */
#pragma once

#include "libcommon/identity.h"
#include "libcommon/pki/join_token.h"
#include "libcommon/pki/key.h"

#include <stdbool.h>
#include <stdint.h>

#define ENROL_COORDINATORS_MAX 16
#define ENROL_BOOTSTRAP_MAX    16
#define ENROL_SKEW_WARN_S      60 /* a clock off by more is told (THREATS 2.19) */

struct enrol_place {
    const char *member_folder; /* made, 0700, if it is not there and its parent is */
    const char *identity_file;
    const char *bootstrap_file; /* HOST:PORT a line, of nodes that may be asked first; NULL: none */
};

struct enrol_limits {
    uint64_t deadline_ms; /* of clock_monotonic_ms(); UINT64_MAX: none */
    int cancel_fd;        /* ends it, with LB_CANCELLED, as soon as it can be read; -1: none */
};

/* What came of it, whatever was returned. */
struct enrol_report {
    char text[600];                      /* for a person: why not, and what to do; "" after LB_OK */
    char coordinator[JOIN_ADDRESS_SIZE]; /* who answered; "": nobody */
    bool has_skew;
    int64_t skew_s;                                         /* our clock less the coordinator's */
    char fingerprint[KEY_FINGERPRINT_SIZE];                 /* of our key */
    char bootstrap[ENROL_BOOTSTRAP_MAX][JOIN_ADDRESS_SIZE]; /* joined: HOST:PORT of nodes, UDP */
    unsigned bootstrap_count;
};

struct enrol_joining {
    struct join_token token;
    const char *host_name; /* for the operator's list; cut to 64 bytes */
    /* It waits for an operator's approval, asks again after so long; may be NULL. */
    void (*on_pending)(void *ctx, const char *fingerprint, unsigned ask_again_s);
    /* No coordinator has answered so far, and why: they are asked again; once; may be NULL. */
    void (*on_waiting)(void *ctx, const char *why);
    void *ctx;
};

/*
 * LB_OK: the node is a member from its next start on. LB_EXISTS: it is one already. LB_DENIED: a
 * coordinator refused, or who answers at those addresses is none of this network (it was not told
 * the secret). LB_UNAVAILABLE: none can be reached, or the group has no majority. LB_TIMEOUT: it
 * still waits for approval. LB_CANCELLED, LB_CORRUPT (what was sent does not count), LB_IO,
 * LB_NO_SPACE.
 */
LB_MUST_CHECK lb_err enrol_join(const struct enrol_place *place,
                                const struct enrol_joining *joining,
                                const struct enrol_limits *limits, struct enrol_report *ret_report);

/*
 * A new certificate for the same key, written to member_folder together with the coordinators and
 * the deny list of that moment. Ours may have expired (CERTIFICATE_RENEW_LATE_S ago). As
 * above; LB_DENIED: the network has put this node out, or its certificate is too old to be renewed.
 */
LB_MUST_CHECK lb_err enrol_renew(const struct enrol_place *place, const struct enrol_limits *limits,
                                 struct enrol_report *ret_report);

/* The coordinators and a newer deny list, if there is one, into member_folder. As above. */
LB_MUST_CHECK lb_err enrol_get_news(const struct enrol_place *place,
                                    const struct enrol_limits *limits,
                                    struct enrol_report *ret_report);
