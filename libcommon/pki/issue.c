/* Certificates: how they are made. What they say is read in certificate.c. */
#include "libcommon/pki/certificate.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define VERSION_3         2
#define REQUEST_VERSION_1 0

#define EXTENSION_TEXT_MAX 320

/* Of a longer network name the root carries the beginning: its key is what counts. */
#define ROOT_NAME_SIZE 25 /* with its NUL */
#define LEAF_NAME_SIZE 9  /* the first digits of its node id, for a person who lists them */

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done) {
        abort();
    }
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void set_name(X509_NAME *name, const char *common_name)
{
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)common_name, -1, -1,
                                    0) == 1);
}

/*
 * RFC 5280, 4.2.1.2, the second way: 0100 and the last 60 bits of the key's SHA-1. Three such stand
 * in what two certificates have, which go into one datagram (CERTIFICATE_PAIR_MAX).
 */
#define KEY_IDENTIFIER_SIZE CERTIFICATE_KEY_ID_SIZE

static void add_key_identifier(X509 *self)
{
    uint8_t digest[EVP_MAX_MD_SIZE], *identifier;
    unsigned size = 0;
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();

    must(octets && X509_pubkey_digest(self, EVP_sha1(), digest, &size) == 1);
    identifier = digest + size - KEY_IDENTIFIER_SIZE;
    identifier[0] = (uint8_t)(0x40 | (identifier[0] & 0x0f));
    must(ASN1_OCTET_STRING_set(octets, identifier, KEY_IDENTIFIER_SIZE) == 1 &&
         X509_add1_ext_i2d(self, NID_subject_key_identifier, octets, 0, X509V3_ADD_DEFAULT) == 1);
    ASN1_OCTET_STRING_free(octets);
}

static void add_extension(X509 *self, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, self, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension && X509_add_ext(self, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

struct draft {
    const EVP_PKEY *public_key;
    const char *common_name;
    uint64_t serial, not_before_s, not_after_s;
};

/* All but its extensions and signature; issuer NULL: it is its own. LB_INVALID: it never counts. */
static lb_err begin(const struct draft *draft, X509 *issuer, X509 **ret_self)
{
    X509 *self;

    if (draft->not_before_s >= draft->not_after_s || draft->not_after_s > CERTIFICATE_TIME_MAX_S ||
        draft->serial == 0) {
        return LB_INVALID;
    }
    self = X509_new();
    must(self && X509_set_version(self, VERSION_3) == 1 &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(self), draft->serial) == 1 &&
         ASN1_TIME_set(X509_getm_notBefore(self), (time_t)draft->not_before_s) &&
         ASN1_TIME_set(X509_getm_notAfter(self), (time_t)draft->not_after_s) &&
         X509_set_pubkey(self, (EVP_PKEY *)draft->public_key) == 1);
    set_name(X509_get_subject_name(self), draft->common_name);
    must(X509_set_issuer_name(self, X509_get_subject_name(issuer ? issuer : self)) == 1);
    *ret_self = self;
    return LB_OK;
}

/* One of ours that issues, with its key; it may have come from elsewhere. */
static bool can_issue(X509 *issuer, EVP_PKEY *key)
{
    bool can;

    ERR_set_mark();
    can = certificate_is_ca(issuer) && X509_get0_subject_key_id(issuer) &&
          X509_check_private_key(issuer, key) == 1;
    ERR_pop_to_mark();
    return can;
}

static void sign(X509 *self, EVP_PKEY *key)
{
    must(X509_sign(self, key, EVP_sha256()) > 0);
}

static uint64_t backdated(uint64_t now_s)
{
    return now_s - smaller(now_s, CERTIFICATE_BACKDATE_S);
}

lb_err certificate_make_root(EVP_PKEY *key, const char *network_name, uint64_t now_s,
                             uint64_t life_s, X509 **ret_root)
{
    char name[ROOT_NAME_SIZE];
    struct draft draft = { .public_key = key,
                           .common_name = name,
                           .not_before_s = backdated(now_s),
                           .not_after_s = now_s + life_s };
    uint8_t digest[32];
    lb_err err;
    X509 *self;

    if (!network_name_is_valid(network_name) || !key_is_p256(key)) {
        return LB_INVALID;
    }
    snprintf(name, sizeof(name), "%.*s", ROOT_NAME_SIZE - 1, network_name);
    /* There is no register yet that counts: any number that is its own. */
    key_digest(key, digest);
    draft.serial = load_u64(digest) >> 1 | 1;
    err = begin(&draft, NULL, &self);
    if (err != LB_OK) {
        return err;
    }
    add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:1");
    add_extension(self, self, NID_key_usage, "critical,keyCertSign");
    add_key_identifier(self);
    sign(self, key);
    *ret_root = self;
    return LB_OK;
}

lb_err certificate_make_intermediate(const EVP_PKEY *public_key, X509 *root, EVP_PKEY *root_key,
                                     uint64_t serial, uint64_t now_s, uint64_t life_s,
                                     X509 **ret_intermediate)
{
    char name[64];
    struct draft draft = { .public_key = public_key, .common_name = name, .serial = serial };
    uint64_t root_before_s, root_after_s;
    lb_err err;
    X509 *self;

    if (!key_is_p256(public_key) || !can_issue(root, root_key) ||
        certificate_dates(root, &root_before_s, &root_after_s) != LB_OK) {
        return LB_INVALID;
    }
    draft.not_before_s = backdated(now_s);
    draft.not_after_s = smaller(now_s + life_s, root_after_s);
    snprintf(name, sizeof(name), "%016llx", (unsigned long long)serial);
    err = begin(&draft, root, &self);
    if (err != LB_OK) {
        return err;
    }
    add_extension(self, root, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(self, root, NID_key_usage, "critical,keyCertSign,digitalSignature");
    add_extension(self, root, NID_ext_key_usage, "serverAuth,clientAuth");
    add_key_identifier(self);
    add_extension(self, root, NID_authority_key_identifier, "keyid:always");
    sign(self, root_key);
    *ret_intermediate = self;
    return LB_OK;
}

static void write_names(const struct certificate_claims *claims, char ret[EXTENSION_TEXT_MAX])
{
    char network[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE];

    hex_encode(claims->network, NETWORK_ID_SIZE, network);
    node_id_format(&claims->node, node);
    snprintf(ret, EXTENSION_TEXT_MAX, "URI:" CERTIFICATE_URI "%s/%s%s,DNS:*", network, node,
             claims->role == CERTIFICATE_COORDINATOR ? ",URI:" CERTIFICATE_URI_COORDINATOR : "");
}

lb_err certificate_make_leaf(const EVP_PKEY *public_key, const struct certificate_claims *claims,
                             X509 *intermediate, EVP_PKEY *intermediate_key, X509 **ret_leaf)
{
    char name[LEAF_NAME_SIZE], names[EXTENSION_TEXT_MAX];
    struct draft draft = { .public_key = public_key,
                           .common_name = name,
                           .serial = claims->serial,
                           .not_before_s = claims->not_before_s };
    uint64_t before_s, after_s;
    lb_err err;
    X509 *self;

    if (!key_is_p256(public_key) || !can_issue(intermediate, intermediate_key) ||
        certificate_dates(intermediate, &before_s, &after_s) != LB_OK) {
        return LB_INVALID;
    }
    draft.not_after_s = smaller(claims->not_after_s, after_s);
    hex_encode(claims->node.bytes, (LEAF_NAME_SIZE - 1) / 2, name);
    err = begin(&draft, intermediate, &self);
    if (err != LB_OK) {
        return err;
    }
    write_names(claims, names);
    add_extension(self, intermediate, NID_key_usage, "critical,digitalSignature,keyAgreement");
    add_extension(self, intermediate, NID_ext_key_usage, "serverAuth,clientAuth");
    add_extension(self, intermediate, NID_subject_alt_name, names);
    add_extension(self, intermediate, NID_authority_key_identifier, "keyid:always");
    sign(self, intermediate_key);
    *ret_leaf = self;
    return LB_OK;
}

lb_err certificate_request_make(EVP_PKEY *key, uint8_t ret_der[CERTIFICATE_REQUEST_MAX],
                                size_t *ret_size)
{
    X509_REQ *request;
    int size;

    if (!key_is_p256(key)) {
        return LB_INVALID;
    }
    request = X509_REQ_new();
    must(request && X509_REQ_set_version(request, REQUEST_VERSION_1) == 1 &&
         X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha256()) > 0);
    size = i2d_X509_REQ(request, NULL);
    must(size > 0 && size <= CERTIFICATE_REQUEST_MAX && i2d_X509_REQ(request, &ret_der) == size);
    X509_REQ_free(request);
    *ret_size = (size_t)size;
    return LB_OK;
}

static lb_err request_key(struct bytes der, EVP_PKEY **ret_public_key)
{
    const uint8_t *at = der.data;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.size);
    EVP_PKEY *key = request ? X509_REQ_get_pubkey(request) : NULL;
    lb_err err = LB_OK;

    if (!request || at != der.data + der.size) {
        err = LB_INVALID;
    } else if (!key || !key_is_p256(key) || X509_REQ_verify(request, key) != 1) {
        err = LB_CORRUPT;
    }
    X509_REQ_free(request);
    if (err != LB_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    *ret_public_key = key;
    return LB_OK;
}

lb_err certificate_request_parse(struct bytes der, EVP_PKEY **ret_public_key)
{
    lb_err err;

    if (der.size == 0 || der.size > CERTIFICATE_REQUEST_MAX) {
        return LB_INVALID;
    }
    ERR_set_mark();
    err = request_key(der, ret_public_key);
    ERR_pop_to_mark();
    return err;
}
