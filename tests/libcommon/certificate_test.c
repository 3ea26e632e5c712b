/* Certificates: what is issued is read again; what is not one of ours is not read. */
#include "libcommon/pki/certificate.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/pki_fixture.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S    1800000000u
#define HOUR_S   3600u
#define NETWORK  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define NODE     "0123456789abcdef0123456789abcdef01234567"
#define OTHER    "f123456789abcdef0123456789abcdef01234567"
#define URI(a)   "URI:littlebird://" a
#define OURS     URI(NETWORK "/" NODE)
#define ROLE     "URI:littlebird:coordinator"
#define ANY_ROLE CERTIFICATE_MEMBER

/* ---- certificate -> id ---- */

static void add_extension(X509 *self, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(self, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* A certificate with these names, valid for an hour, signed by its own key. */
static X509 *with_names(const char *names)
{
    EVP_PKEY *key = key_new();
    X509 *self = X509_new();

    assert_true(X509_set_version(self, 2) == 1 && X509_set_pubkey(self, key) == 1 &&
                ASN1_INTEGER_set(X509_get_serialNumber(self), 5) == 1 &&
                ASN1_TIME_set(X509_getm_notBefore(self), NOW_S) &&
                ASN1_TIME_set(X509_getm_notAfter(self), NOW_S + HOUR_S));
    if (names) {
        add_extension(self, NID_subject_alt_name, names);
    }
    add_extension(self, NID_authority_key_identifier, "DER:300a80080102030405060708");
    assert_true(X509_sign(self, key, EVP_sha256()) > 0);
    key_free(&key);
    return self;
}

static const struct names_row {
    const char *what, *names;
    lb_err err;
    enum certificate_role role;
} names_rows[] = {
    { "a node", OURS, LB_OK, CERTIFICATE_MEMBER },
    { "a node, with libtorrent's DNS name", OURS ",DNS:*", LB_OK, CERTIFICATE_MEMBER },
    { "a coordinator", OURS "," ROLE ",DNS:*", LB_OK, CERTIFICATE_COORDINATOR },
    { "in the other order", "DNS:*," ROLE "," OURS, LB_OK, CERTIFICATE_COORDINATOR },
    { "no names at all", NULL, LB_INVALID, ANY_ROLE },
    { "a DNS name alone", "DNS:*", LB_INVALID, ANY_ROLE },
    { "a role without a node", ROLE, LB_INVALID, ANY_ROLE },
    { "two nodes", OURS "," URI(NETWORK "/" OTHER), LB_INVALID, ANY_ROLE },
    { "the same node twice", OURS "," OURS, LB_INVALID, ANY_ROLE },
    { "a role twice", OURS "," ROLE "," ROLE, LB_INVALID, ANY_ROLE },
    { "a role that is not known", OURS ",URI:littlebird:admin", LB_INVALID, ANY_ROLE },
    { "another URI beside it", OURS ",URI:http://example.org/", LB_INVALID, ANY_ROLE },
    { "an address beside it", OURS ",IP:10.0.0.1", LB_INVALID, ANY_ROLE },
    { "a mail address beside it", OURS ",email:a@example.org", LB_INVALID, ANY_ROLE },
    { "another scheme", "URI:littleburd://" NETWORK "/" NODE, LB_INVALID, ANY_ROLE },
    { "capital digits are another spelling",
      URI("00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff/" NODE), LB_INVALID,
      ANY_ROLE },
    { "a capital digit in the node too", URI(NETWORK "/0123456789ABCDEF0123456789abcdef01234567"),
      LB_INVALID, ANY_ROLE },
    { "a network id with a letter g",
      URI("g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff/" NODE), LB_INVALID,
      ANY_ROLE },
    { "a node id with a letter g", URI(NETWORK "/g123456789abcdef0123456789abcdef01234567"),
      LB_INVALID, ANY_ROLE },
    { "another byte than the slash", URI(NETWORK "." NODE), LB_INVALID, ANY_ROLE },
    { "a node id of 39 digits", URI(NETWORK "/123456789abcdef0123456789abcdef01234567"), LB_INVALID,
      ANY_ROLE },
    { "a node id of 41 digits", URI(NETWORK "/00123456789abcdef0123456789abcdef01234567"),
      LB_INVALID, ANY_ROLE },
    { "a path below it", OURS "/more", LB_INVALID, ANY_ROLE },
};

static void reads_names(void **state)
{
    const struct names_row *row = *state;
    X509 *leaf = with_names(row->names);
    struct certificate_claims claims, untouched;
    char node[NODE_ID_TEXT_SIZE], network[2 * NETWORK_ID_SIZE + 1];

    memset(&claims, 0x55, sizeof(claims));
    untouched = claims;
    assert_int_equal(certificate_read(leaf, &claims), row->err);
    if (row->err == LB_OK) {
        node_id_format(&claims.node, node);
        hex_encode(claims.network, NETWORK_ID_SIZE, network);
        assert_string_equal(node, NODE);
        assert_string_equal(network, NETWORK);
        assert_int_equal(claims.role, row->role);
        assert_int_equal(claims.serial, 5);
        assert_int_equal(claims.not_before_s, NOW_S);
        assert_int_equal(claims.not_after_s, NOW_S + HOUR_S);
    } else {
        assert_memory_equal(&claims, &untouched, sizeof(claims));
    }
    X509_free(leaf);
    assert_int_equal(ERR_peek_error(), 0);
}

/* What is changed in a certificate that is read well. */
enum change {
    SERIAL_0,
    SERIAL_NEGATIVE,
    SERIAL_8_BYTES,
    SERIAL_9_BYTES,
    NAMES_TWICE,
    NAMES_BROKEN,
    A_CA,
    BEFORE_1970,
    ENDS_BEFORE_1970,
    NO_DATE,
    NUL_INSIDE,
    NO_ISSUER,
    LONG_ISSUER
};

static const struct change_row {
    const char *what;
    enum change change;
    lb_err err;
} change_rows[] = {
    { "a serial of 0 is none", SERIAL_0, LB_INVALID },
    { "a negative serial is none", SERIAL_NEGATIVE, LB_INVALID },
    { "a serial of 64 bits is one", SERIAL_8_BYTES, LB_OK },
    { "a serial of 65 bits is not ours", SERIAL_9_BYTES, LB_INVALID },
    { "names in two extensions", NAMES_TWICE, LB_INVALID },
    { "names that are no ASN.1", NAMES_BROKEN, LB_INVALID },
    { "a CA is no leaf", A_CA, LB_INVALID },
    { "one that began before 1970", BEFORE_1970, LB_INVALID },
    { "one that ended before 1970", ENDS_BEFORE_1970, LB_INVALID },
    { "one that begins on no date", NO_DATE, LB_INVALID },
    { "a NUL in place of a digit", NUL_INSIDE, LB_INVALID },
    { "one that does not say who has signed it", NO_ISSUER, LB_INVALID },
    { "one that names its signer in 9 bytes", LONG_ISSUER, LB_INVALID },
};

static void set_serial(X509 *self, const char *decimal)
{
    BIGNUM *number = NULL;

    assert_true(BN_dec2bn(&number, decimal) > 0);
    assert_non_null(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(self)));
    BN_free(number);
}

static void change_names(X509 *self, size_t at, uint8_t byte)
{
    X509_EXTENSION *extension = X509_get_ext(self, 0);
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_dup(X509_EXTENSION_get_data(extension));
    uint8_t *data = (uint8_t *)(uintptr_t)ASN1_STRING_get0_data(octets);

    data[at] = byte;
    assert_int_equal(X509_EXTENSION_set_data(extension, octets), 1);
    ASN1_OCTET_STRING_free(octets);
}

static void drop_issuer(X509 *self)
{
    X509_EXTENSION_free(
        X509_delete_ext(self, X509_get_ext_by_NID(self, NID_authority_key_identifier, -1)));
}

static X509 *changed(enum change change)
{
    X509 *self = with_names(OURS), *again;
    EVP_PKEY *key = key_new();
    uint8_t der[CERTIFICATE_DER_MAX];
    size_t size;

    switch (change) {
    case SERIAL_0:
        set_serial(self, "0");
        break;
    case SERIAL_NEGATIVE:
        set_serial(self, "-5");
        break;
    case SERIAL_8_BYTES:
        set_serial(self, "18446744073709551615");
        break;
    case SERIAL_9_BYTES:
        set_serial(self, "18446744073709551616");
        break;
    case NAMES_TWICE:
        add_extension(self, NID_subject_alt_name, OURS);
        break;
    case NAMES_BROKEN:
        change_names(self, 1, 0x7f);
        break;
    case A_CA:
        add_extension(self, NID_basic_constraints, "critical,CA:TRUE");
        break;
    case BEFORE_1970:
        assert_int_equal(ASN1_TIME_set_string(X509_getm_notBefore(self), "19690101000000Z"), 1);
        break;
    case ENDS_BEFORE_1970:
        assert_int_equal(ASN1_TIME_set_string(X509_getm_notAfter(self), "19690101000000Z"), 1);
        break;
    case NO_DATE:
        assert_int_equal(ASN1_STRING_set(X509_getm_notBefore(self), "2630aa010000Z", -1), 1);
        break;
    case NUL_INSIDE:
        change_names(self, 30, '\0');
        break;
    case NO_ISSUER:
        drop_issuer(self);
        break;
    case LONG_ISSUER:
        drop_issuer(self);
        add_extension(self, NID_authority_key_identifier, "DER:300b8009010203040506070809");
        break;
    }
    assert_true(X509_sign(self, key, EVP_sha256()) > 0);
    key_free(&key);
    /* As it comes from the wire: nothing that is cached in memory counts. */
    assert_int_equal(certificate_to_der(self, der, &size), LB_OK);
    X509_free(self);
    assert_int_equal(certificate_from_der(bytes_of(der, size), &again), LB_OK);
    return again;
}

static void reads_the_rest(void **state)
{
    const struct change_row *row = *state;
    struct certificate_claims claims;
    X509 *leaf = changed(row->change);

    assert_int_equal(certificate_read(leaf, &claims), row->err);
    X509_free(leaf);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- issuing ---- */

static void a_leaf_says_what_it_was_made_of(void **state)
{
    struct pki_network network;
    struct pki_member member;
    struct certificate_claims claims;

    (void)state;
    pki_network_make(&network, "lab", NOW_S);
    for (int role = CERTIFICATE_MEMBER; role <= CERTIFICATE_COORDINATOR; role++) {
        pki_member_make(&network, 3, (enum certificate_role)role, PKI_SOUND, &member);
        assert_int_equal(certificate_read(member.leaf, &claims), LB_OK);
        assert_memory_equal(claims.network, network.id, NETWORK_ID_SIZE);
        assert_true(node_id_equal(&claims.node, &member.identity.node));
        assert_int_equal(claims.role, role);
        assert_int_equal(claims.serial, network.serial);
        assert_int_equal(claims.not_before_s, NOW_S - CERTIFICATE_BACKDATE_S);
        assert_int_equal(claims.not_after_s, NOW_S + CERTIFICATE_LEAF_S);
        pki_member_done(&member);
    }
    pki_network_done(&network);
    assert_int_equal(ERR_peek_error(), 0);
}

static void nothing_outlives_who_made_it(void **state)
{
    struct certificate_claims claims = { .serial = 1,
                                         .not_before_s = NOW_S,
                                         .not_after_s = NOW_S + 365u * 24 * HOUR_S };
    EVP_PKEY *root_key = key_new(), *key = key_new();
    X509 *root, *intermediate, *leaf = NULL;
    uint64_t before_s, after_s;

    (void)state;
    assert_int_equal(certificate_make_root(root_key, "lab", NOW_S, 48 * HOUR_S, &root), LB_OK);
    assert_int_equal(certificate_make_intermediate(key, root, root_key, 1, NOW_S + HOUR_S,
                                                   90 * 24 * HOUR_S, &intermediate),
                     LB_OK);
    assert_int_equal(certificate_dates(intermediate, &before_s, &after_s), LB_OK);
    assert_int_equal(before_s, NOW_S + HOUR_S - CERTIFICATE_BACKDATE_S);
    assert_int_equal(after_s, NOW_S + 48 * HOUR_S);
    assert_int_equal(certificate_make_leaf(key, &claims, intermediate, key, &leaf), LB_OK);
    assert_int_equal(certificate_dates(leaf, &before_s, &after_s), LB_OK);
    assert_int_equal(after_s, NOW_S + 48 * HOUR_S);
    X509_free(leaf);

    claims.not_before_s = NOW_S + 48 * HOUR_S; /* when its intermediate has ended */
    assert_int_equal(certificate_make_leaf(key, &claims, intermediate, key, &leaf), LB_INVALID);
    X509_free(intermediate);
    assert_int_equal(certificate_make_intermediate(key, root, root_key, 1, NOW_S + 49 * HOUR_S,
                                                   HOUR_S, &intermediate),
                     LB_INVALID);
    X509_free(root);
    key_free(&root_key);
    key_free(&key);
    assert_int_equal(ERR_peek_error(), 0);
}

static void only_p256_and_the_right_key_make_any(void **state)
{
    const struct certificate_claims claims = { .serial = 1,
                                               .not_before_s = NOW_S,
                                               .not_after_s = NOW_S + HOUR_S };
    struct certificate_claims no_serial = claims;
    EVP_PKEY *rsa = EVP_RSA_gen(2048), *p384 = EVP_EC_gen("P-384"), *key = key_new();
    struct pki_network network;
    struct pki_member member;
    X509 *made = NULL;

    (void)state;
    pki_network_make(&network, "lab", NOW_S);
    no_serial.serial = 0;
    assert_int_equal(certificate_make_root(rsa, "lab", NOW_S, HOUR_S, &made), LB_INVALID);
    assert_int_equal(certificate_make_root(p384, "lab", NOW_S, HOUR_S, &made), LB_INVALID);
    assert_int_equal(certificate_make_root(key, "no name", NOW_S, HOUR_S, &made), LB_INVALID);
    assert_int_equal(
        certificate_make_intermediate(rsa, network.root, network.root_key, 1, NOW_S, HOUR_S, &made),
        LB_INVALID);
    assert_int_equal(certificate_make_intermediate(key, network.root, key, 1, NOW_S, HOUR_S, &made),
                     LB_INVALID);
    assert_int_equal(
        certificate_make_leaf(p384, &claims, network.intermediate, network.intermediate_key, &made),
        LB_INVALID);
    assert_int_equal(certificate_make_leaf(key, &claims, network.intermediate, key, &made),
                     LB_INVALID);
    assert_int_equal(certificate_make_leaf(key, &no_serial, network.intermediate,
                                           network.intermediate_key, &made),
                     LB_INVALID);
    pki_member_make(&network, 1, CERTIFICATE_COORDINATOR, PKI_SOUND, &member);
    assert_int_equal(certificate_make_leaf(key, &claims, member.leaf, member.key, &made),
                     LB_INVALID); /* a leaf issues nothing */
    assert_int_equal(
        certificate_make_intermediate(key, member.leaf, member.key, 1, NOW_S, HOUR_S, &made),
        LB_INVALID);
    pki_member_done(&member);
    assert_null(made);
    key_free(&rsa);
    key_free(&p384);
    key_free(&key);
    pki_network_done(&network);
    assert_int_equal(ERR_peek_error(), 0);
}

/* The longest there are: two go into one datagram. */
static void the_longest_pair_has_its_place(void **state)
{
    const char *name = "a23456789012345678901234567890123456789012345678901234567890123";
    struct certificate_claims claims = { .role = CERTIFICATE_COORDINATOR,
                                         .serial = INT64_MAX,
                                         .not_before_s = NOW_S,
                                         .not_after_s = NOW_S + HOUR_S };
    EVP_PKEY *root_key = key_new(), *key = key_new();
    uint8_t der[CERTIFICATE_DER_MAX];
    X509 *root, *intermediate, *leaf;
    size_t leaf_size, intermediate_size, leaf_max = 0, intermediate_max = 0;

    (void)state;
    assert_int_equal(certificate_make_root(root_key, name, NOW_S, 24 * HOUR_S, &root), LB_OK);
    for (int i = 0; i < 64; i++) { /* an ECDSA signature has 70 to 72 bytes */
        assert_int_equal(certificate_make_intermediate(key, root, root_key, INT64_MAX - 1, NOW_S,
                                                       HOUR_S, &intermediate),
                         LB_OK);
        assert_int_equal(certificate_make_leaf(key, &claims, intermediate, key, &leaf), LB_OK);
        assert_int_equal(certificate_to_der(leaf, der, &leaf_size), LB_OK);
        assert_int_equal(certificate_to_der(intermediate, der, &intermediate_size), LB_OK);
        leaf_max = leaf_size > leaf_max ? leaf_size : leaf_max;
        intermediate_max =
            intermediate_size > intermediate_max ? intermediate_size : intermediate_max;
        X509_free(leaf);
        X509_free(intermediate);
    }
    assert_in_range(leaf_max + intermediate_max, 1, CERTIFICATE_PAIR_MAX);
    X509_free(root);
    key_free(&root_key);
    key_free(&key);
}

/* ---- requests ---- */

enum request_change {
    AS_MADE,
    CUT_BY_ONE,
    ONE_BYTE_MORE,
    ONE_BIT_OF_ITS_SIGNATURE,
    ONE_BIT_OF_ITS_KEY,
    OF_AN_RSA_KEY,
    OF_P384,
    COMPRESSED,
    TOO_LONG,
    NOTHING
};

static const struct request_row {
    const char *what;
    enum request_change change;
    lb_err err;
} request_rows[] = {
    { "a request proves its key", AS_MADE, LB_OK },
    { "one that was cut", CUT_BY_ONE, LB_INVALID },
    { "one with more behind it", ONE_BYTE_MORE, LB_INVALID },
    { "one whose signature was altered", ONE_BIT_OF_ITS_SIGNATURE, LB_CORRUPT },
    { "one whose key was put in by another", ONE_BIT_OF_ITS_KEY, LB_CORRUPT },
    { "one of an RSA key", OF_AN_RSA_KEY, LB_CORRUPT },
    { "one of a key of P-384", OF_P384, LB_CORRUPT },
    { "one whose point is compressed: the same key with another digest", COMPRESSED, LB_CORRUPT },
    { "one of more bytes than any of ours", TOO_LONG, LB_INVALID },
    { "nothing", NOTHING, LB_INVALID },
};

static size_t request_of(EVP_PKEY *key, uint8_t ret_der[CERTIFICATE_REQUEST_MAX + 1])
{
    X509_REQ *request = X509_REQ_new();
    uint8_t *at = ret_der;
    int size;

    assert_true(X509_REQ_set_pubkey(request, key) == 1 &&
                X509_REQ_sign(request, key, EVP_sha256()) > 0);
    size = i2d_X509_REQ(request, &at);
    assert_in_range(size, 1, CERTIFICATE_REQUEST_MAX);
    X509_REQ_free(request);
    key_free(&key);
    return (size_t)size;
}

static EVP_PKEY *compressed(void)
{
    EVP_PKEY *key = key_new();

    assert_int_equal(EVP_PKEY_set_utf8_string_param(key, "point-format", "compressed"), 1);
    return key;
}

static size_t changed_request(enum request_change change, EVP_PKEY *key,
                              uint8_t der[CERTIFICATE_REQUEST_MAX + 1])
{
    size_t size;

    memset(der, 0, CERTIFICATE_REQUEST_MAX + 1);
    assert_int_equal(certificate_request_make(key, der, &size), LB_OK);
    switch (change) {
    case AS_MADE:
        return size;
    case CUT_BY_ONE:
        return size - 1;
    case ONE_BYTE_MORE:
        return size + 1;
    case ONE_BIT_OF_ITS_SIGNATURE:
        der[size - 1] ^= 1;
        return size;
    case ONE_BIT_OF_ITS_KEY:
        der[60] ^= 1;
        return size;
    case OF_AN_RSA_KEY:
        return request_of(EVP_RSA_gen(2048), der);
    case OF_P384:
        return request_of(EVP_EC_gen("P-384"), der);
    case COMPRESSED:
        return request_of(compressed(), der);
    case TOO_LONG:
        return CERTIFICATE_REQUEST_MAX + 1;
    case NOTHING:
        break;
    }
    return 0;
}

static void requests(void **state)
{
    const struct request_row *row = *state;
    EVP_PKEY *key = key_new(), *read = NULL;
    uint8_t der[CERTIFICATE_REQUEST_MAX + 1];
    size_t size = changed_request(row->change, key, der);

    assert_int_equal(certificate_request_parse(bytes_of(der, size), &read), row->err);
    assert_int_equal(read && EVP_PKEY_eq(read, key) == 1, row->err == LB_OK);
    key_free(&read);
    key_free(&key);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- bytes and text ---- */

static void ders_are_whole_or_nothing(void **state)
{
    uint8_t der[CERTIFICATE_DER_MAX + 1] = { 0 };
    struct pki_network network;
    X509 *read = NULL;
    size_t size;

    (void)state;
    pki_network_make(&network, "lab", NOW_S);
    assert_int_equal(certificate_to_der(network.root, der, &size), LB_OK);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(certificate_from_der(bytes_of(der, cut), &read), LB_INVALID);
    }
    assert_int_equal(certificate_from_der(bytes_of(der, size + 1), &read), LB_INVALID);
    assert_int_equal(certificate_from_der(bytes_of(der, sizeof(der)), &read), LB_INVALID);
    assert_null(read);
    assert_int_equal(certificate_from_der(bytes_of(der, size), &read), LB_OK);
    assert_int_equal(X509_cmp(read, network.root), 0);
    X509_free(read);
    pki_network_done(&network);
    assert_int_equal(ERR_peek_error(), 0);
}

static void what_is_none_of_ours_is_not_written(void **state)
{
    char names[3 * CERTIFICATE_DER_MAX / 2] = "DNS:*";
    uint8_t der[CERTIFICATE_DER_MAX], network[NETWORK_ID_SIZE];
    X509 *empty = X509_new(), *longest;
    size_t size = 0;

    (void)state;
    while (strlen(names) < CERTIFICATE_DER_MAX + 400) {
        strcat(names, ",DNS:a.long.name.example.org");
    }
    longest = with_names(names);
    assert_int_equal(certificate_to_der(longest, der, &size), LB_TOO_BIG);
    assert_int_equal(certificate_to_der(empty, der, &size), LB_TOO_BIG);
    assert_int_equal(certificate_network(empty, network), LB_INVALID);
    assert_false(certificate_key_is_p256(empty));
    assert_int_equal(size, 0);
    X509_free(longest);
    X509_free(empty);
    assert_int_equal(ERR_peek_error(), 0);
}

static void each_refusal_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a < CERTIFICATE_REFUSALS_COUNT; a++) {
        for (int b = 0; b < a; b++) {
            assert_string_not_equal(certificate_refusal_text((enum certificate_refusal)a),
                                    certificate_refusal_text((enum certificate_refusal)b));
        }
    }
    assert_string_equal(certificate_refusal_text(REFUSED_NOT), "not_refused");
}

/* ---- keys in certificates ---- */

static EVP_PKEY *p384(void)
{
    return EVP_EC_gen("P-384");
}

static EVP_PKEY *sm2(void)
{
    return EVP_EC_gen("SM2");
}

static EVP_PKEY *rsa(void)
{
    return EVP_RSA_gen(1024);
}

static EVP_PKEY *ed25519(void)
{
    return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static const struct key_row {
    const char *what;
    EVP_PKEY *(*make)(void);
    bool ours;
} key_rows[] = {
    { "P-256", key_new, true }, { "P-256, compressed", compressed, false },
    { "P-384", p384, false },   { "SM2, of as many bytes", sm2, false },
    { "RSA", rsa, false },      { "Ed25519", ed25519, false },
};

static void keys(void **state)
{
    const struct key_row *row = *state;
    EVP_PKEY *key = row->make();
    X509 *holder = X509_new();

    assert_int_equal(X509_set_pubkey(holder, key), 1);
    assert_int_equal(certificate_key_is_p256(holder), row->ours);
    assert_int_equal(key_is_p256(key), row->ours);
    X509_free(holder);
    key_free(&key);
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_network_is_its_roots_key(void **state)
{
    struct pki_network network;
    uint8_t id[NETWORK_ID_SIZE];

    (void)state;
    pki_network_make(&network, "lab", NOW_S);
    assert_int_equal(certificate_network(network.root, id), LB_OK);
    assert_memory_equal(id, network.id, NETWORK_ID_SIZE); /* which key_digest() has made */
    pki_network_done(&network);
}

static void pem_holds_one_or_two(void **state)
{
    char text[2 * CERTIFICATE_PEM_MAX];
    struct pki_network network;
    X509 *first = NULL, *second = NULL;
    size_t one, two;

    (void)state;
    pki_network_make(&network, "lab", NOW_S);
    assert_int_equal(certificate_to_pem(network.root, NULL, text, &one), LB_OK);
    assert_int_equal(certificate_from_pem(bytes_of(text, one), &first, &second), LB_OK);
    assert_non_null(first);
    assert_null(second);
    X509_free(first);
    assert_int_equal(certificate_to_pem(network.root, network.intermediate, text, &two), LB_OK);
    assert_int_equal(certificate_from_pem(bytes_of(text, two), &first, &second), LB_OK);
    assert_int_equal(X509_cmp(first, network.root), 0);
    assert_int_equal(X509_cmp(second, network.intermediate), 0);
    X509_free(first);
    X509_free(second);
    first = second = NULL;
    memcpy(text + two, text, one);
    assert_int_equal(certificate_from_pem(bytes_of(text, two + one), &first, &second), LB_CORRUPT);
    assert_int_equal(certificate_from_pem(bytes_of_text("no PEM"), &first, &second), LB_CORRUPT);
    assert_int_equal(certificate_from_pem(bytes_of("", 0), &first, &second), LB_CORRUPT);
    assert_true(first == NULL && second == NULL);
    pki_network_done(&network);
    assert_int_equal(ERR_peek_error(), 0);
}

static void public_halves(void **state)
{
    uint8_t der[KEY_PUBLIC_SIZE + 1] = { 0 }, digest[32];
    EVP_PKEY *key = key_new(), *p384 = EVP_EC_gen("P-384"), *read = NULL;
    char fingerprint[KEY_FINGERPRINT_SIZE], again[KEY_FINGERPRINT_SIZE];

    (void)state;
    key_public(key, der);
    assert_int_equal(key_public_parse(bytes_of(der, KEY_PUBLIC_SIZE), &read), LB_OK);
    assert_int_equal(EVP_PKEY_eq(read, key), 1);
    key_free(&read);
    key_digest(key, digest);
    key_fingerprint(key, fingerprint);
    key_fingerprint_of(digest, again);
    assert_string_equal(fingerprint, again);
    assert_int_equal(strlen(fingerprint), KEY_FINGERPRINT_SIZE - 1);
    assert_int_equal(key_public_parse(bytes_of(der, KEY_PUBLIC_SIZE - 1), &read), LB_INVALID);
    assert_int_equal(key_public_parse(bytes_of(der, KEY_PUBLIC_SIZE + 1), &read), LB_INVALID);
    der[KEY_PUBLIC_SIZE - 1] ^= 1; /* not on the curve any more */
    assert_int_equal(key_public_parse(bytes_of(der, KEY_PUBLIC_SIZE), &read), LB_INVALID);
    key_public(key, der);
    while (der[KEY_PUBLIC_SIZE - 1] & 1) {
        key_free(&key);
        key = key_new();
        key_public(key, der);
    }
    der[25] = 1; /* its last bit, 0, unused: the same key in another encoding */
    assert_int_equal(key_public_parse(bytes_of(der, KEY_PUBLIC_SIZE), &read), LB_INVALID);
    key_public(key, der);
    der[20] ^= 1; /* another curve */
    assert_int_equal(key_public_parse(bytes_of(der, KEY_PUBLIC_SIZE), &read), LB_INVALID);
    assert_false(key_is_p256(p384));
    assert_null(read);
    key_free(&p384);
    key_free(&key);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(a_leaf_says_what_it_was_made_of),
        cmocka_unit_test(nothing_outlives_who_made_it),
        cmocka_unit_test(only_p256_and_the_right_key_make_any),
        cmocka_unit_test(the_longest_pair_has_its_place),
        cmocka_unit_test(ders_are_whole_or_nothing),
        cmocka_unit_test(what_is_none_of_ours_is_not_written),
        cmocka_unit_test(each_refusal_has_a_text_of_its_own),
        cmocka_unit_test(a_network_is_its_roots_key),
        cmocka_unit_test(pem_holds_one_or_two),
        cmocka_unit_test(public_halves),
    };

    return RUN_ROWS(names_rows, reads_names) + RUN_ROWS(change_rows, reads_the_rest) +
           RUN_ROWS(request_rows, requests) + RUN_ROWS(key_rows, keys) +
           cmocka_run_group_tests(others, NULL, NULL);
}
