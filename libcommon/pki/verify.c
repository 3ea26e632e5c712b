/* Certificates: when they count. */
#include "libcommon/pki/certificate.h"
#include "libcommon/pki/deny_list.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* Keys of at least 112 bits, no SHA-1 (SSL_CTX_set_security_level(3)). */
#define AUTH_LEVEL 2

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done) {
        abort();
    }
}

enum certificate_refusal certificate_refusal_of(int verify_error)
{
    switch (verify_error) {
    case X509_V_OK:
        return REFUSED_NOT;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return REFUSED_SELF_SIGNED;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
    case X509_V_ERR_AKID_SKID_MISMATCH:
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
        return REFUSED_OTHER_CA;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return REFUSED_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return REFUSED_NOT_YET_VALID;
    case X509_V_ERR_CERT_REVOKED:
        return REFUSED_REVOKED;
    case X509_V_ERR_INVALID_PURPOSE:
        return REFUSED_WRONG_USAGE;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return REFUSED_WEAK;
    default:
        return REFUSED_OTHER;
    }
}

enum certificate_refusal certificate_verify_chain(X509 *self, STACK_OF(X509) * chain, X509 *root,
                                                  int purpose, uint64_t now_s)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param = X509_VERIFY_PARAM_new();
    STACK_OF(X509) *anchors = sk_X509_new_null();
    int error;

    must(context && param && anchors && sk_X509_push(anchors, root) == 1);
    ERR_set_mark();
    must(X509_STORE_CTX_init(context, NULL, self, chain) == 1);
    X509_STORE_CTX_set0_trusted_stack(context, anchors);
    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set_depth(param, CERTIFICATE_CHAIN_MAX);
    X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
    must(purpose == 0 || X509_VERIFY_PARAM_set_purpose(param, purpose) == 1);
    X509_STORE_CTX_set0_param(context, param);
    if (X509_verify_cert(context) == 1) {
        error = X509_V_OK;
    } else {
        error = X509_STORE_CTX_get_error(context);
        error = error != X509_V_OK ? error : X509_V_ERR_UNSPECIFIED; /* when it could not begin */
    }
    ERR_pop_to_mark();
    X509_STORE_CTX_free(context);
    sk_X509_free(anchors);
    return certificate_refusal_of(error);
}

/* What the chain does not say: these are the leaf's own. */
static enum certificate_refusal check_leaf(X509 *leaf)
{
    bool usable;

    if (certificate_is_ca(leaf)) {
        return REFUSED_CA_AS_LEAF;
    }
    if (!certificate_key_is_p256(leaf)) {
        return REFUSED_WEAK;
    }
    ERR_set_mark();
    usable = X509_check_purpose(leaf, X509_PURPOSE_SSL_SERVER, 0) == 1 &&
             X509_check_purpose(leaf, X509_PURPOSE_SSL_CLIENT, 0) == 1 &&
             (X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE) != 0;
    ERR_pop_to_mark();
    return usable ? REFUSED_NOT : REFUSED_WRONG_USAGE;
}

enum certificate_refusal certificate_still_counts(const struct certificate_claims *claims,
                                                  const struct deny_list *denied, uint64_t now_s)
{
    if (now_s >= claims->not_after_s) { /* as X509_cmp_time() */
        return REFUSED_EXPIRED;
    }
    return deny_list_has(denied, &claims->node) || deny_list_has_key(denied, claims->issuer)
               ? REFUSED_REVOKED
               : REFUSED_NOT;
}

enum certificate_refusal certificate_verify_claims(X509 *leaf, X509 *root,
                                                   const struct deny_list *denied, uint64_t now_s,
                                                   struct certificate_claims *ret_claims)
{
    struct certificate_claims claims;
    uint8_t network[NETWORK_ID_SIZE];
    enum certificate_refusal refusal = check_leaf(leaf);

    if (refusal != REFUSED_NOT) {
        return refusal;
    }
    if (certificate_network(root, network) != LB_OK || certificate_read(leaf, &claims) != LB_OK ||
        memcmp(claims.network, network, NETWORK_ID_SIZE) != 0) {
        return REFUSED_WRONG_ID;
    }
    if (now_s < claims.not_before_s) {
        return REFUSED_NOT_YET_VALID;
    }
    refusal = certificate_still_counts(&claims, denied, now_s);
    if (refusal == REFUSED_NOT) {
        *ret_claims = claims;
    }
    return refusal;
}

enum certificate_refusal certificate_verify(X509 *leaf, STACK_OF(X509) * chain, X509 *root,
                                            const struct deny_list *denied, uint64_t now_s,
                                            struct certificate_claims *ret_claims)
{
    enum certificate_refusal refusal =
        certificate_verify_chain(leaf, chain, root, X509_PURPOSE_SSL_SERVER, now_s);

    if (refusal == REFUSED_WRONG_USAGE && certificate_is_ca(leaf)) {
        return REFUSED_CA_AS_LEAF;
    }
    return refusal != REFUSED_NOT
               ? refusal
               : certificate_verify_claims(leaf, root, denied, now_s, ret_claims);
}
