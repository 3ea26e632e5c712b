/*
 * Certificates of a private network: what they say, how they are issued, when they count.
 *
 *     root           self-signed, CA, path length 1; its key is the operator's and offline
 *     intermediate   of one coordinator, CA, path length 0; its key is lb-signer's
 *     leaf           of one member (RFC 5280): P-256, digitalSignature, serverAuth and clientAuth,
 *                    SAN URI littlebird://NETWORK-ID/NODE-ID (64 and 40 hexadecimal digits), a
 *                    second one littlebird:coordinator of who is one, and DNS "*", which
 *                    libtorrent wants to see (ssl torrents)
 *
 * A leaf and its intermediate go together into one datagram (proto/peer.proto, PutCertificate), so
 * names are short and key identifiers have 8 bytes.
 *
 * notBefore is 5 minutes before it was issued (THREATS 2.19). Serial numbers are the register's
 * (services/coordinator/register.h): 8 bytes, positive.
 */
#pragma once

#include "libcommon/identity.h"
#include "libcommon/pki/key.h"

#include <openssl/safestack.h>
#include <stdbool.h>
#include <stdint.h>

#define CERTIFICATE_DER_MAX     2048
#define CERTIFICATE_PAIR_MAX    960 /* a leaf and its intermediate, as made here */
#define CERTIFICATE_CHAIN_MAX   2   /* leaf and intermediate, as they are sent */
#define CERTIFICATE_KEY_ID_SIZE 8   /* RFC 5280, 4.2.1.2, the second way */
#define CERTIFICATE_BACKDATE_S  300
#define CERTIFICATE_LEAF_S      (7u * 24 * 3600)
#define CERTIFICATE_CLOCK_OFF_S (24u * 3600) /* of two clocks at a renewal: THREATS 2.19 */

/*
 * So late an expired leaf may still ask for a new one. A class comes back after a summer's holidays
 * and is to go on without a teacher who goes from machine to machine with a token; who asks is
 * known by its key, which stands in the register until a month later (REGISTER_FORGET_S), as does
 * that it was revoked. No other use of an expired leaf is allowed.
 */
#define CERTIFICATE_RENEW_LATE_S (90u * 24 * 3600)

#define CERTIFICATE_TIME_MAX_S 253402300799u /* the last second of 9999, X.509's last */
#define CERTIFICATE_URI        "littlebird://"

#define CERTIFICATE_URI_COORDINATOR "littlebird:coordinator"

enum certificate_role { CERTIFICATE_MEMBER, CERTIFICATE_COORDINATOR };

/* What a leaf says. */
struct certificate_claims {
    uint8_t network[NETWORK_ID_SIZE];
    struct node_id node;
    enum certificate_role role;
    uint8_t issuer[CERTIFICATE_KEY_ID_SIZE]; /* the key identifier of who has signed it */
    uint64_t serial;
    uint64_t not_before_s, not_after_s; /* since 1970 */
};

/*
 * ---- issuing ----
 *
 * LB_INVALID: a key that is not P-256, an issuer that is no CA or not of that key, a serial of 0,
 * or it would never be valid.
 */

LB_MUST_CHECK lb_err certificate_make_root(EVP_PKEY *key, const char *network_name, uint64_t now_s,
                                           uint64_t life_s, X509 **ret_root);
LB_MUST_CHECK lb_err certificate_make_intermediate(const EVP_PKEY *public_key, X509 *root,
                                                   EVP_PKEY *root_key, uint64_t serial,
                                                   uint64_t now_s, uint64_t life_s,
                                                   X509 **ret_intermediate);
/* claims->not_before_s is taken as it stands; a leaf never outlives its intermediate. */
LB_MUST_CHECK lb_err certificate_make_leaf(const EVP_PKEY *public_key,
                                           const struct certificate_claims *claims,
                                           X509 *intermediate, EVP_PKEY *intermediate_key,
                                           X509 **ret_leaf);

/* A signing request (PKCS #10) for this key: it proves that the key is held, and says nothing else.
 */
#define CERTIFICATE_REQUEST_MAX 1024
LB_MUST_CHECK lb_err certificate_request_make(EVP_PKEY *key,
                                              uint8_t ret_der[CERTIFICATE_REQUEST_MAX],
                                              size_t *ret_size);
/* LB_INVALID; LB_CORRUPT: its signature is not by its key, or the key is not P-256. */
LB_MUST_CHECK lb_err certificate_request_parse(struct bytes der, EVP_PKEY **ret_public_key);

/* ---- reading ---- */

/*
 * LB_INVALID: no leaf of ours: no such SAN, several, a CA, a serial of more than 8 bytes, or it
 * does not say by which key it was signed. That this is so, its chain says (certificate_verify()).
 */
LB_MUST_CHECK lb_err certificate_read(const X509 *leaf, struct certificate_claims *ret_claims);

/* The key identifier of an intermediate, by which its leaves name it. LB_INVALID: it has none. */
LB_MUST_CHECK lb_err certificate_key_id(X509 *self, uint8_t ret_id[CERTIFICATE_KEY_ID_SIZE]);

bool certificate_is_ca(const X509 *self);
bool certificate_key_is_p256(const X509 *self); /* as key_is_p256() */

/* The network whose root this is, or would be: its key's digest. LB_INVALID: it has no key. */
LB_MUST_CHECK lb_err certificate_network(const X509 *root, uint8_t ret_network[NETWORK_ID_SIZE]);

/* Since 1970. LB_INVALID: no dates, or before 1970. */
LB_MUST_CHECK lb_err certificate_dates(const X509 *self, uint64_t *ret_not_before_s,
                                       uint64_t *ret_not_after_s);

LB_MUST_CHECK lb_err certificate_from_der(struct bytes der, X509 **ret_self);
LB_MUST_CHECK lb_err certificate_to_der(const X509 *self, uint8_t ret_der[CERTIFICATE_DER_MAX],
                                        size_t *ret_size);

/*
 * As PEM, which people read: one or two certificates. LB_CORRUPT: none or more, or another's text;
 * *ret_second is NULL when there is one.
 */
#define CERTIFICATE_PEM_MAX 6144
LB_MUST_CHECK lb_err certificate_from_pem(struct bytes text, X509 **ret_first, X509 **ret_second);
/* second may be NULL. LB_TOO_BIG. */
LB_MUST_CHECK lb_err certificate_to_pem(const X509 *first, const X509 *second,
                                        char ret_text[CERTIFICATE_PEM_MAX], size_t *ret_size);

/*
 * X(NAME, text): why a certificate does not count; each with a counter of its own in transport and
 * swarm ("tls_" before the text). THREATS 3.5 names the thirteen; the last five are the session's
 * and counted by who holds that.
 */
#define CERTIFICATE_REFUSALS(X)                                                                    \
    X(NONE, "no_certificate")                                                                      \
    X(SELF_SIGNED, "self_signed")                                                                  \
    X(OTHER_CA, "other_ca")                                                                        \
    X(EXPIRED, "expired")                                                                          \
    X(NOT_YET_VALID, "not_yet_valid")                                                              \
    X(REVOKED, "revoked")                                                                          \
    X(WRONG_USAGE, "wrong_usage")                                                                  \
    X(WRONG_ID, "wrong_id")                                                                        \
    X(CA_AS_LEAF, "ca_as_leaf")                                                                    \
    X(WEAK, "weak")                 /* a key or digest below security level 2 */                   \
    X(OLD_PROTOCOL, "old_protocol") /* below DTLS 1.2 or TLS 1.3 */                                \
    X(RESUMED_REVOKED, "resumed_revoked")                                                          \
    X(RENEGOTIATED, "renegotiated")                                                                \
    X(NO_NEWS, "no_news") /* for a day, and it is new: membership_admit() */                       \
    X(OTHER, "other_failure")

#define CERTIFICATE_REFUSAL_ENUM(name, text) REFUSED_##name,
enum certificate_refusal {
    CERTIFICATE_REFUSALS(CERTIFICATE_REFUSAL_ENUM) CERTIFICATE_REFUSALS_COUNT,
    REFUSED_NOT = CERTIFICATE_REFUSALS_COUNT
};
#undef CERTIFICATE_REFUSAL_ENUM

const char *certificate_refusal_text(enum certificate_refusal refusal);

/* OpenSSL's X509_V_ERR_..., after SSL_get_verify_result() or certificate_verify(). */
enum certificate_refusal certificate_refusal_of(int verify_error);

struct deny_list;
STACK_OF(X509);

/*
 * The whole check of a peer's leaf, for everybody but TLS itself: the chain up to root, at now_s,
 * its use, its claims' network, and that its node is not denied. chain: what the peer sent beside
 * the leaf, DER; denied may be NULL. REFUSED_NOT and *ret_claims when it counts.
 */
enum certificate_refusal certificate_verify(X509 *leaf, STACK_OF(X509) * chain, X509 *root,
                                            const struct deny_list *denied, uint64_t now_s,
                                            struct certificate_claims *ret_claims);

/*
 * Its two halves, for who needs one of them. The chain: up to root, at now_s, every key and digest
 * of security level 2; purpose is an X509_PURPOSE_..., or 0. The claims: its own use, key, network
 * and dates, and that it is not denied; its chain was verified before (at resumption a session
 * keeps the leaf alone).
 */
enum certificate_refusal certificate_verify_chain(X509 *self, STACK_OF(X509) * chain, X509 *root,
                                                  int purpose, uint64_t now_s);
enum certificate_refusal certificate_verify_claims(X509 *leaf, X509 *root,
                                                   const struct deny_list *denied, uint64_t now_s,
                                                   struct certificate_claims *ret_claims);

/* What may have changed since claims were verified: their end, and who is denied. */
enum certificate_refusal certificate_still_counts(const struct certificate_claims *claims,
                                                  const struct deny_list *denied, uint64_t now_s);
