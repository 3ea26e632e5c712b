/* Certificates: what they say. Whether one counts is decided in verify.c. */
#include "libcommon/pki/certificate.h"

#include "libcommon/crypto.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define URI_NETWORK_SIZE (2 * NETWORK_ID_SIZE)
#define URI_NODE_SIZE    (2 * NODE_ID_SIZE)
#define URI_SIZE_MAX     (sizeof(CERTIFICATE_URI) + URI_NETWORK_SIZE + 1 + URI_NODE_SIZE)

lb_err certificate_from_der(struct bytes der, X509 **ret_self)
{
    const uint8_t *at = der.data;
    X509 *self;

    if (der.size == 0 || der.size > CERTIFICATE_DER_MAX) {
        return LB_INVALID;
    }
    ERR_set_mark();
    self = d2i_X509(NULL, &at, (long)der.size);
    ERR_pop_to_mark();
    if (!self || at != der.data + der.size) {
        X509_free(self);
        return LB_INVALID;
    }
    *ret_self = self;
    return LB_OK;
}

lb_err certificate_to_der(const X509 *self, uint8_t ret_der[CERTIFICATE_DER_MAX], size_t *ret_size)
{
    int size = i2d_X509(self, NULL);

    if (size <= 0 || size > CERTIFICATE_DER_MAX) {
        ERR_clear_error();
        return LB_TOO_BIG;
    }
    *ret_size = (size_t)i2d_X509(self, &ret_der);
    return LB_OK;
}

static bool seconds_of(const ASN1_TIME *time, uint64_t *ret_s)
{
    struct tm tm = { 0 };
    time_t seconds;

    if (ASN1_TIME_to_tm(time, &tm) != 1) {
        return false;
    }
    seconds = timegm(&tm);
    if (seconds < 0) {
        return false;
    }
    *ret_s = (uint64_t)seconds;
    return true;
}

lb_err certificate_dates(const X509 *self, uint64_t *ret_not_before_s, uint64_t *ret_not_after_s)
{
    uint64_t before_s, after_s;
    bool good;

    ERR_set_mark();
    good = seconds_of(X509_get0_notBefore(self), &before_s) &&
           seconds_of(X509_get0_notAfter(self), &after_s);
    ERR_pop_to_mark();
    if (!good) {
        return LB_INVALID;
    }
    *ret_not_before_s = before_s;
    *ret_not_after_s = after_s;
    return LB_OK;
}

static bool read_serial(const X509 *leaf, uint64_t *ret_serial)
{
    return ASN1_INTEGER_get_uint64(ret_serial, X509_get0_serialNumber(leaf)) == 1 &&
           *ret_serial != 0;
}

struct uris {
    struct bytes node, coordinator;
    unsigned nodes, coordinators; /* how many of each */
};

/* The URIs of the names, each kind once. Of other names only DNS may be there (libtorrent's). */
static bool sort_names(const GENERAL_NAMES *names, struct uris *ret_uris)
{
    struct bytes uri;
    int type;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const ASN1_STRING *text = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

        if (type == GEN_DNS) {
            continue;
        }
        if (type != GEN_URI) {
            return false;
        }
        uri = bytes_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
        if (uri.size == URI_SIZE_MAX - 1) {
            ret_uris->node = uri;
            ret_uris->nodes++;
        } else {
            ret_uris->coordinator = uri;
            ret_uris->coordinators++;
        }
    }
    return ret_uris->nodes == 1 && ret_uris->coordinators <= 1;
}

/* Written again it must be the same bytes: one spelling for each id. */
static bool read_node_uri(struct bytes uri, struct certificate_claims *ret_claims)
{
    const size_t network_at = strlen(CERTIFICATE_URI);
    const size_t node_at = network_at + URI_NETWORK_SIZE + 1;
    char network[URI_NETWORK_SIZE + 1] = "", node[URI_NODE_SIZE + 1] = "", again[URI_SIZE_MAX];

    memcpy(network, uri.data + network_at, URI_NETWORK_SIZE);
    memcpy(node, uri.data + node_at, URI_NODE_SIZE);
    if (hex_decode(network, ret_claims->network, NETWORK_ID_SIZE) != LB_OK ||
        node_id_parse(node, &ret_claims->node) != LB_OK) {
        return false;
    }
    hex_encode(ret_claims->network, NETWORK_ID_SIZE, network);
    node_id_format(&ret_claims->node, node);
    snprintf(again, sizeof(again), CERTIFICATE_URI "%s/%s", network, node);
    return bytes_equal_text(uri, again);
}

static bool read_names(const GENERAL_NAMES *names, struct certificate_claims *ret_claims)
{
    struct uris uris = { .nodes = 0, .coordinators = 0 };

    if (!sort_names(names, &uris) || !read_node_uri(uris.node, ret_claims)) {
        return false;
    }
    if (uris.coordinators == 0) {
        ret_claims->role = CERTIFICATE_MEMBER;
        return true;
    }
    ret_claims->role = CERTIFICATE_COORDINATOR;
    return bytes_equal_text(uris.coordinator, CERTIFICATE_URI_COORDINATOR);
}

bool certificate_is_ca(const X509 *self)
{
    bool is;

    /* It caches what it finds in the certificate, under a lock of its own. */
    ERR_set_mark();
    is = X509_check_ca((X509 *)self) != 0;
    ERR_pop_to_mark();
    return is;
}

/*
 * Its SubjectPublicKeyInfo as it stands in it, OPENSSL_free()'d by the caller; size 0: there is
 * none, or of no key. Taken from its key it would be encoded anew, which costs 60 us.
 */
static struct bytes public_key_of(const X509 *self)
{
    uint8_t *der = NULL;
    int size = 0;

    ERR_set_mark();
    if (X509_get0_pubkey(self)) {
        size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(self), &der);
    }
    ERR_pop_to_mark();
    return bytes_of(der, (size_t)size);
}

lb_err certificate_network(const X509 *root, uint8_t ret_network[NETWORK_ID_SIZE])
{
    struct bytes key = public_key_of(root);

    if (key.size == 0) {
        return LB_INVALID;
    }
    sha256(key, ret_network);
    OPENSSL_free((void *)(uintptr_t)key.data);
    return LB_OK;
}

bool certificate_key_is_p256(const X509 *self)
{
    /* RFC 5480: id-ecPublicKey, secp256r1, then an uncompressed point. */
    static const uint8_t head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };
    struct bytes key = public_key_of(self);
    bool is = key.size == KEY_PUBLIC_SIZE && memcmp(key.data, head, sizeof(head)) == 0;

    OPENSSL_free((void *)(uintptr_t)key.data);
    return is;
}

static lb_err take_key_id(const ASN1_OCTET_STRING *id, uint8_t ret_id[CERTIFICATE_KEY_ID_SIZE])
{
    if (!id || ASN1_STRING_length(id) != CERTIFICATE_KEY_ID_SIZE) {
        return LB_INVALID;
    }
    memcpy(ret_id, ASN1_STRING_get0_data(id), CERTIFICATE_KEY_ID_SIZE);
    return LB_OK;
}

lb_err certificate_key_id(X509 *self, uint8_t ret_id[CERTIFICATE_KEY_ID_SIZE])
{
    lb_err err;

    ERR_set_mark();
    err = take_key_id(X509_get0_subject_key_id(self), ret_id);
    ERR_pop_to_mark();
    return err;
}

static bool read_leaf(const X509 *leaf, struct certificate_claims *ret_claims)
{
    /* NULL as well when there are several such extensions. */
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool good =
        names && read_names(names, ret_claims) && read_serial(leaf, &ret_claims->serial) &&
        /* It caches what it finds, as certificate_is_ca(). */
        take_key_id(X509_get0_authority_key_id((X509 *)leaf), ret_claims->issuer) == LB_OK &&
        certificate_dates(leaf, &ret_claims->not_before_s, &ret_claims->not_after_s) == LB_OK;

    GENERAL_NAMES_free(names);
    return good;
}

lb_err certificate_read(const X509 *leaf, struct certificate_claims *ret_claims)
{
    struct certificate_claims claims = { .role = CERTIFICATE_MEMBER };
    bool good;

    ERR_set_mark();
    good = !certificate_is_ca(leaf) && read_leaf(leaf, &claims);
    ERR_pop_to_mark();
    if (!good) {
        return LB_INVALID;
    }
    *ret_claims = claims;
    return LB_OK;
}

#define CERTIFICATE_REFUSAL_TEXT(name, text) [REFUSED_##name] = (text),
static const char *const refusal_texts[] = { CERTIFICATE_REFUSALS(CERTIFICATE_REFUSAL_TEXT) };

const char *certificate_refusal_text(enum certificate_refusal refusal)
{
    return refusal < CERTIFICATE_REFUSALS_COUNT ? refusal_texts[refusal] : "not_refused";
}
