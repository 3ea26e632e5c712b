/*
 * certificates: whatever a peer or a joiner sends is read or refused, and leaves OpenSSL's queue of
 * errors as it was. The first byte chooses what the rest is: 'c' a certificate, 'n' the value of
 * its subjectAltName, 'r' a signing request, 'p' PEM, 'k' a public key.
 */
#include "libcommon/pki/certificate.h"

#include "tests/libcommon/pki_fixture.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#define NOW_S 1800000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pki_network network;

static void look_at(X509 *certificate)
{
    struct certificate_claims claims;
    uint8_t der[CERTIFICATE_DER_MAX], id[NETWORK_ID_SIZE];
    size_t size;

    (void)!certificate_read(certificate, &claims);
    (void)!certificate_network(certificate, id);
    (void)!certificate_to_der(certificate, der, &size);
    /* It would have to be signed by a key that was made a moment ago. */
    assert(certificate_verify(certificate, NULL, network.root, NULL, NOW_S, &claims) !=
           REFUSED_NOT);
    assert(certificate_verify(network.intermediate, NULL, certificate, NULL, NOW_S, &claims) !=
           REFUSED_NOT);
}

static void as_certificate(struct bytes data)
{
    X509 *certificate = NULL;

    if (certificate_from_der(data, &certificate) == LB_OK) {
        look_at(certificate);
    }
    X509_free(certificate);
}

static void as_names(struct bytes data)
{
    struct certificate_claims claims;
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;
    X509 *leaf = X509_new();

    assert(leaf && value && ASN1_OCTET_STRING_set(value, data.data, (int)data.size) == 1);
    extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
    assert(extension && X509_add_ext(leaf, extension, -1) == 1);
    assert(ASN1_INTEGER_set(X509_get_serialNumber(leaf), 5) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(leaf), NOW_S) &&
           ASN1_TIME_set(X509_getm_notAfter(leaf), NOW_S + 1));
    (void)!certificate_read(leaf, &claims);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    X509_free(leaf);
}

static void as_request(struct bytes data)
{
    EVP_PKEY *key = NULL;

    assert(certificate_request_parse(data, &key) != LB_OK || key_is_p256(key));
    key_free(&key);
}

static void as_pem(struct bytes data)
{
    X509 *first = NULL, *second = NULL;

    if (certificate_from_pem(data, &first, &second) == LB_OK) {
        look_at(first);
    }
    X509_free(first);
    X509_free(second);
}

static void as_key(struct bytes data)
{
    uint8_t der[KEY_PUBLIC_SIZE];
    EVP_PKEY *key = NULL;

    if (key_public_parse(data, &key) == LB_OK) {
        key_public(key, der);
        assert(bytes_equal(bytes_of(der, sizeof(der)), data)); /* one encoding a key */
    }
    key_free(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        char choice;
        void (*read)(struct bytes data);
    } readers[] = { { 'c', as_certificate },
                    { 'n', as_names },
                    { 'r', as_request },
                    { 'p', as_pem },
                    { 'k', as_key } };

    if (!network.root) {
        pki_network_make(&network, "lab", NOW_S);
    }
    for (size_t i = 0; size > 0 && i < sizeof(readers) / sizeof(readers[0]); i++) {
        if (data[0] == (uint8_t)readers[i].choice) {
            readers[i].read(bytes_of(data + 1, size - 1));
        }
    }
    assert(ERR_peek_error() == 0);
    return 0;
}
