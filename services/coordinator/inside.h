/* lb-coordinator's own: what its parts share. See service.h. */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/pki/membership.h"
#include "proto/coordinator.pb-c.h"
#include "proto/join.pb-c.h"
#include "services/coordinator/group.h"
#include "services/coordinator/proposals.h"
#include "services/coordinator/raft_wire.h"
#include "services/coordinator/register.h"

#include <uv.h>

#define COORDINATOR_TICK_MS   100u
#define COORDINATOR_LATE_MS   10000u /* how long a request waits for a majority */
#define COORDINATOR_REPLY_MAX (512u * 1024)
#define COORDINATOR_ASKED_MAX (64u * 1024)
#define COORDINATOR_SKEW_S    60u /* clocks may differ by so much; then it is said */

struct door;
struct enlisting;

/*
 * The coordinators as the register had them last, from a file (files.h): after a start the register
 * is as old as its snapshot until a majority has been found, and these are whom to look for.
 */
struct known_server {
    uint64_t number;
    struct node_id node;
    uint8_t key_digest[REGISTER_DIGEST_SIZE]; /* zeros: not known yet */
    char address[REGISTER_ADDRESS_SIZE];
};

struct coordinator {
    struct actor *actor;
    struct identity identity;
    char own_folder[PATHS_SIZE + 16]; /* register_folder/own */
    char raft_folder[PATHS_SIZE + 16];
    struct membership *own;
    SSL_CTX *serving, *asking; /* with the certificate of `own` */

    uint64_t number; /* of ours in the group; 0: none yet */
    char address[REGISTER_ADDRESS_SIZE];
    struct known_server known[REGISTER_SERVERS_MAX];
    size_t known_count;

    struct network_register *reg;
    struct raft_wire *wire;
    struct group *group; /* NULL: not of a group yet */
    struct proposals *proposals;
    struct door *door;
    struct enlisting *enlisting; /* NULL: we are of the group, or have not offered ourselves */
    bool is_first, founding;     /* `first` is there; its command is being proposed */
    char not_founded[200];       /* why not, as it was said last */

    struct link *signer, *member;
    uint8_t request[CERTIFICATE_REQUEST_MAX]; /* of the signer's key */
    size_t request_size;
    uint8_t intermediate[CERTIFICATE_DER_MAX];
    size_t intermediate_size; /* 0: not known yet, or none */
    uint64_t intermediate_from_s, intermediate_until_s;
    uint64_t ended_said_s; /* the end that was said in the log */
    bool asks_key, sets_intermediate;
    uint64_t set_again_s; /* not before */

    uint8_t *denied; /* signed by us; NULL: none yet */
    size_t denied_size;
    uint64_t denied_number, denied_told;    /* told: to lb-member */
    uint64_t making_denied, telling_denied; /* the numbers under way */
    bool makes_denied, tells_denied;

    bool renews;            /* our own certificate */
    uint64_t renew_again_s; /* not before */
    uint64_t sweep_again_s;
    uint64_t lines_checked_s;

    uint64_t minute_s; /* of certificates counted in it */
    unsigned minute_count;
    bool minute_said;

    uv_timer_t tick;
    uint64_t refused_said_ms;
    bool stopping, group_closed;

    struct status_counter *certificates, *joins, *refused, *forwarded, *connections, *turned_away,
        *raft_messages, *raft_appends, *raft_refused, *requests_tls, *members;
};

/* ---- issue.c ---- */

/* What was decided about somebody, in full: the answer of our register or of the leader's. */
struct issued {
    struct bytes leaf; /* DER, valid during the call */
    lb_err err;        /* else why not */
    const char *reason;
};
typedef void issued_fn(void *ctx, const struct issued *issued);

/* Have the leaf signed that the register has decided on; issued is called later, once. */
void issue_leaf(struct coordinator *self, struct bytes public_key, const struct decision *decision,
                issued_fn *issued, void *ctx);

/* Can we sign at all? *ret_reason: for who asks, static. */
bool issue_can(const struct coordinator *self, uint64_t now_s, const char **ret_reason);

/* Hand lb-signer an intermediate; what it has then is in self->intermediate soon. */
void issue_set_intermediate(struct coordinator *self, struct bytes der);

/* When a certificate that is asked for now would end. */
uint64_t issue_not_after(const struct coordinator *self, uint64_t now_s);

/* All that is to be done now and then: key, deny list, own certificate, sweep. */
void issue_tick(struct coordinator *self, uint64_t now_s);

/* ---- service.c ---- */

/* Contexts anew, with the certificate of `own` as it is now. */
void coordinator_new_contexts(struct coordinator *self);

/* The address of a server, from the register or the file; NULL: not known. */
const char *coordinator_address_of(const struct coordinator *self, uint64_t number);

/* A new certificate of our own: written, and used from now on. */
LB_MUST_CHECK lb_err coordinator_take_leaf(struct coordinator *self, struct bytes leaf,
                                           struct bytes intermediate);

/*
 * Who is at the other end, one of the coordinators? Also one whose certificate has ended, if the
 * register has it as a coordinator with this very key: after a holiday all of theirs have, and only
 * together can they make new ones. Likewise one whose certificate was signed by a coordinator that
 * was put out meanwhile.
 */
bool coordinator_check_peer(struct coordinator *self, SSL *ssl,
                            struct certificate_claims *ret_claims);

void coordinator_say_state(struct coordinator *self, uint64_t now_s); /* state.c */

/*
 * Was it refused only because who has signed it was put out? Then *ret_claims; by its key the
 * register knows whether it is that node.
 */
bool coordinator_is_issuer_denied(const struct coordinator *self, const X509 *shown,
                                  enum certificate_refusal refusal,
                                  struct certificate_claims *ret_claims);

/* Has become one of the group: start Raft. LB_OK, or the process cannot go on. */
LB_MUST_CHECK lb_err coordinator_start_group(struct coordinator *self, bool is_first);

/* Is what our clock says plausible beside another one's? Seconds ours is ahead of it. */
int64_t coordinator_skew_s(uint64_t now_s, uint64_t theirs_s);

/* ---- requests.c ---- */

extern handler_fn *const coordinator_handlers[LB__COORDINATOR__REQUEST__BODY_SET_POLICY + 1];
