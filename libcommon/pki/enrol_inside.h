/* Between enrol.c, which joins, enrol_renew.c, enrol_ask.c, which asks, and enrol_files.c, which
 * keeps what was answered. */
#pragma once

#include "libcommon/pki/certificate.h"
#include "libcommon/pki/deny_list.h"
#include "libcommon/pki/enrol.h"
#include "libcommon/pki/join_client.h"
#include "libcommon/pki/membership.h"
#include "proto/join.pb-c.h"

/* An Admitted that was verified. */
struct enrol_admitted {
    X509 *leaf, *intermediate, *root;
    struct certificate_claims claims;
    struct deny_list *denied; /* NULL: none yet */
};
void enrol_admitted_done(struct enrol_admitted *self);

/*
 * Is it for this key, of this network, and does it count? By the coordinator's clock, if it said
 * what that is: ours may be wrong. LB_CORRUPT.
 */
LB_MUST_CHECK lb_err enrol_verify(const Lb__Join__Admitted *message, const EVP_PKEY *key,
                                  const uint8_t network[NETWORK_ID_SIZE],
                                  struct enrol_admitted *ret_self);

/*
 * All that touches member_folder is done as the user it belongs to, when we are root: nothing that
 * user puts there can lead root elsewhere. Between these two.
 */
struct enrol_user {
    bool is_other;
};
LB_MUST_CHECK lb_err enrol_enter(const struct enrol_place *place, struct enrol_user *ret_user);
void enrol_leave(const struct enrol_user *user);

/* The key of this node: made if there is none. */
LB_MUST_CHECK lb_err enrol_own_key(const struct enrol_place *place, EVP_PKEY **ret_key);

LB_MUST_CHECK lb_err enrol_put_root(const struct enrol_place *place,
                                    const struct enrol_admitted *admitted);
LB_MUST_CHECK lb_err enrol_put_certificate(const struct enrol_place *place,
                                           const struct enrol_admitted *admitted);
/* Those that are no HOST:PORT are left out; none at all leaves the file as it is. */
LB_MUST_CHECK lb_err enrol_put_coordinators(const struct enrol_place *place, char *const *addresses,
                                            size_t count);
/* before: what is there; NULL: nothing. */
LB_MUST_CHECK lb_err enrol_put_intermediates(const struct enrol_place *place,
                                             const struct membership *before, X509 *root,
                                             const ProtobufCBinaryData *ders, size_t count,
                                             uint64_t now_s);
/* data was parsed before; it replaces only one that it follows (deny_list_follows()). */
LB_MUST_CHECK lb_err enrol_put_denied(const struct enrol_place *place, struct bytes data,
                                      const struct deny_list *denied, const struct deny_list *held);
LB_MUST_CHECK lb_err enrol_put_identity(const struct enrol_place *place,
                                        const struct enrol_admitted *admitted,
                                        const char *network_name);
LB_MUST_CHECK lb_err enrol_put_bootstrap(const struct enrol_place *place,
                                         const struct enrol_report *report);

bool enrol_is_address(const char *text); /* short enough, printable, with a port */

/* ---- asking ---- */

#define ENROL_HINTS_MAX 4u /* leaders named by others, in one round */

/* One errand to the coordinators. */
struct enrol_errand {
    const struct enrol_limits *limits;
    struct enrol_report *report;
    struct join_client_options options;
    const Lb__Join__Request *request;
    char addresses[ENROL_COORDINATORS_MAX + ENROL_HINTS_MAX][JOIN_ADDRESS_SIZE];
    size_t addresses_count, own_count;              /* without hints */
    lb_err worst;                                   /* of a round in which none answered */
    void (*on_waiting)(void *ctx, const char *why); /* after the first such round; NULL: nobody */
    void *ctx;
};

/* One more, if it is an address and not there already; at most max. */
void enrol_add_address(struct enrol_errand *self, const char *address, size_t max);

/*
 * Each in turn, and all again for as long as this patience and the limits last: a group that is
 * choosing a leader has one in a moment. LB_OK: *ret_reply, to be freed; else the report says why.
 */
LB_MUST_CHECK lb_err enrol_ask(struct enrol_errand *self, uint64_t patience_ms,
                               Lb__Join__Reply **ret_reply);
/* LB_TIMEOUT: the deadline is here. LB_CANCELLED. */
LB_MUST_CHECK lb_err enrol_pause(struct enrol_errand *self, uint64_t ms);

/* Words for the report; they return err, or LB_DENIED. */
lb_err enrol_say(struct enrol_report *report, lb_err err, const char *text);
lb_err enrol_say_file(struct enrol_report *report, lb_err err, const char *where);
lb_err enrol_say_refused(struct enrol_report *report, const Lb__Join__Refused *refused);
void enrol_note_clock(struct enrol_report *report, uint64_t now_s);

ProtobufCBinaryData enrol_binary(const void *data, size_t size);
