/* Between enrol.c, which asks, and enrol_files.c, which keeps what was answered. */
#pragma once

#include "libcommon/pki/certificate.h"
#include "libcommon/pki/deny_list.h"
#include "libcommon/pki/enrol.h"
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
/* data was parsed before; it replaces only one with a lower number. */
LB_MUST_CHECK lb_err enrol_put_denied(const struct enrol_place *place, struct bytes data,
                                      const struct deny_list *denied, uint64_t number_there);
LB_MUST_CHECK lb_err enrol_put_identity(const struct enrol_place *place,
                                        const struct enrol_admitted *admitted,
                                        const char *network_name);
LB_MUST_CHECK lb_err enrol_put_bootstrap(const struct enrol_place *place,
                                         const struct enrol_report *report);

bool enrol_is_address(const char *text); /* short enough, printable, with a port */
