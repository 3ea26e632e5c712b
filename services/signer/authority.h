/*
 * The intermediate of this coordinator and its key: what may be signed with it.
 *
 *     ca_folder/root.pem           the network's root: what an intermediate must be signed by
 *     ca_folder/intermediate.key   0600
 *     ca_folder/intermediate.pem   absent until the operator has signed one
 *
 * lb-coordinator asks only for what the register has decided; here it is checked once more as far
 * as that can be done without the register, so that who has taken over lb-coordinator gets no CA,
 * no leaf of another network and none that outlives a week.
 */
#pragma once

#include "libcommon/pki/certificate.h"
#include "libcommon/pki/deny_list.h"

struct authority; /* opaque */

struct authority_problem {
    char text[512]; /* for a person */
};

/* LB_NOT_FOUND, LB_DENIED, LB_CORRUPT, LB_IO; the problem says which file and what to do. */
LB_MUST_CHECK lb_err authority_load(const char *ca_folder, const struct identity *identity,
                                    struct authority **ret_self,
                                    struct authority_problem *ret_problem);
void authority_free(struct authority **self);

X509 *authority_intermediate(const struct authority *self); /* borrowed; NULL: it has none yet */

LB_MUST_CHECK lb_err authority_request(const struct authority *self,
                                       uint8_t ret_der[CERTIFICATE_REQUEST_MAX], size_t *ret_size);

/*
 * For its key, by the network's root, as an intermediate that counts now: then it is kept, in
 * memory and on disk. LB_INVALID; LB_CORRUPT: it is not; *ret_reason: for a person, static.
 */
LB_MUST_CHECK lb_err authority_set_intermediate(struct authority *self, struct bytes der,
                                                uint64_t now_s, const char **ret_reason);

/*
 * A leaf. claims: without the network, which is ours. LB_UNAVAILABLE: there is no intermediate;
 * LB_INVALID: a key or dates that are not signed.
 */
LB_MUST_CHECK lb_err authority_sign_leaf(const struct authority *self, struct bytes public_key,
                                         const struct certificate_claims *claims, uint64_t now_s,
                                         uint8_t ret_der[CERTIFICATE_DER_MAX], size_t *ret_size,
                                         const char **ret_reason);

/* A deny list; rows are sorted in place. The caller frees *ret_data. */
LB_MUST_CHECK lb_err authority_sign_deny_list(const struct authority *self, uint64_t number,
                                              uint64_t made_s, struct deny_row *rows, size_t count,
                                              uint64_t now_s, uint8_t **ret_data, size_t *ret_size,
                                              const char **ret_reason);
