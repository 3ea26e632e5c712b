/* A membership in TLS and DTLS. */
#include "libcommon/pki/membership_inside.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define SECURITY_LEVEL 2
#define CIPHERS_1_2                                                                                \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
#define CIPHERS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS      "X25519:P-256"

/*
 * Bytes of a Certificate message: a leaf, an intermediate and, from a coordinator, the root.
 * OpenSSL makes room for so much at the first fragment of a DTLS handshake message, its default is
 * 100 kB.
 */
#define CHAIN_BYTES_MAX 8192

_Static_assert(CHAIN_BYTES_MAX > (CERTIFICATE_CHAIN_MAX + 1) * (CERTIFICATE_DER_MAX + 8),
               "all fit");

_Static_assert(NETWORK_ID_SIZE <= SSL_MAX_SID_CTX_LENGTH, "a session id context holds the network");

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done) {
        abort();
    }
}

/* ---- contexts ---- */

static bool is_datagram(const SSL_METHOD *method)
{
    return method == DTLS_method() || method == DTLS_client_method() ||
           method == DTLS_server_method();
}

static SSL_CTX *bare_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    int least = is_datagram(method) ? DTLS1_2_VERSION : TLS1_3_VERSION;

    must(context && SSL_CTX_set_min_proto_version(context, least) == 1 &&
         SSL_CTX_set_max_proto_version(context, least) == 1);
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    must(SSL_CTX_set_cipher_list(context, CIPHERS_1_2) == 1 &&
         SSL_CTX_set_ciphersuites(context, CIPHERS_1_3) == 1 &&
         SSL_CTX_set1_groups_list(context, GROUPS) == 1);
    SSL_CTX_set_options(context,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    must(SSL_CTX_set_num_tickets(context, 0) == 1);
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_verify_depth(context, CERTIFICATE_CHAIN_MAX);
    SSL_CTX_set_max_cert_list(context, CHAIN_BYTES_MAX);
    return context;
}

SSL_CTX *membership_joiner_context(const SSL_METHOD *method)
{
    SSL_CTX *context = bare_context(method);

    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    return context;
}

/* An intermediate in the store helps to build a chain; what it must end in is the root. */
static void set_trust(SSL_CTX *context, const struct membership *self)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);

    must(X509_STORE_add_cert(store, self->root) == 1 &&
         X509_STORE_add_cert(store, self->intermediate) == 1);
    for (size_t i = 0; i < self->others_count; i++) {
        must(X509_STORE_add_cert(store, self->others[i]) == 1);
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

SSL_CTX *membership_new_context(const struct membership *self, const SSL_METHOD *method)
{
    SSL_CTX *context = bare_context(method);

    must(SSL_CTX_use_certificate(context, self->leaf) == 1 &&
         SSL_CTX_use_PrivateKey(context, self->key) == 1 &&
         SSL_CTX_add1_chain_cert(context, self->intermediate) == 1 &&
         SSL_CTX_set_session_id_context(context, self->identity.network, NETWORK_ID_SIZE) == 1);
    set_trust(context, self);
    return context;
}

/* ---- peers ---- */

/* What the peer sent, and the intermediates that we know. */
static enum certificate_refusal verify_sent(const struct membership *self, SSL *ssl, X509 *leaf,
                                            uint64_t now_s, struct certificate_claims *ret_claims)
{
    STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);
    STACK_OF(X509) *chain = sent ? sk_X509_dup(sent) : sk_X509_new_null();
    enum certificate_refusal refusal;

    must(chain && sk_X509_push(chain, self->intermediate) > 0);
    for (size_t i = 0; i < self->others_count; i++) {
        must(sk_X509_push(chain, self->others[i]) > 0);
    }
    refusal = certificate_verify(leaf, chain, self->root, self->denied, now_s, ret_claims);
    sk_X509_free(chain);
    return refusal;
}

/*
 * Did the handshake verify the chain, or that in which the ticket was made (which keeps the leaf
 * and what came of its chain; the leaf does not outlive what it was made by)? To do it twice would
 * cost a tenth of a handshake.
 */
static bool chain_was_verified(const SSL *ssl)
{
    return (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0 &&
           SSL_get_verify_result(ssl) == X509_V_OK;
}

enum certificate_refusal membership_check_peer(const struct membership *self, SSL *ssl,
                                               uint64_t now_s,
                                               struct certificate_claims *ret_claims)
{
    X509 *leaf = SSL_get0_peer_certificate(ssl);
    enum certificate_refusal refusal;

    if (!leaf) {
        return REFUSED_NONE;
    }
    refusal = chain_was_verified(ssl)
                  ? certificate_verify_claims(leaf, self->root, self->denied, now_s, ret_claims)
                  : verify_sent(self, ssl, leaf, now_s, ret_claims);
    return refusal == REFUSED_REVOKED && SSL_session_reused(ssl) ? REFUSED_RESUMED_REVOKED
                                                                 : refusal;
}

static enum certificate_refusal refusal_of_reason(int reason)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return REFUSED_NONE;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return REFUSED_OLD_PROTOCOL;
    case SSL_R_NO_RENEGOTIATION:
        return REFUSED_RENEGOTIATED;
    case SSL_R_EE_KEY_TOO_SMALL:
    case SSL_R_CA_KEY_TOO_SMALL:
    case SSL_R_CA_MD_TOO_WEAK:
        return REFUSED_WEAK;
    default:
        return REFUSED_OTHER;
    }
}

enum certificate_refusal membership_handshake_refusal(const SSL *ssl)
{
    unsigned long error = ERR_peek_error();
    int verify_error = (int)SSL_get_verify_result(ssl);
    enum certificate_refusal refusal = REFUSED_OTHER;

    if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
        refusal = ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED
                      ? certificate_refusal_of(verify_error)
                      : refusal_of_reason(ERR_GET_REASON(error));
    }
    ERR_clear_error();
    return refusal == REFUSED_NOT ? REFUSED_OTHER : refusal;
}

bool membership_is_renegotiation(int where, int ret)
{
    return (where & SSL_CB_ALERT) != 0 && (where & SSL_CB_WRITE) != 0 &&
           (ret & 0xff) == SSL_AD_NO_RENEGOTIATION;
}
