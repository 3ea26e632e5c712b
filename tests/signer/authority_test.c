/* What lb-signer signs and what not, a sentence a row. */
#include "libcommon/memory.h"
#include "services/signer/authority.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/pki_fixture.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_S  1800000000u
#define DAY_S  (24u * 3600)
#define WEEK_S (7u * DAY_S)

static struct pki_network network;
static char folder[] = "/tmp/lb-authority-XXXXXX";

static void put(const char *name, const X509 *certificate)
{
    char text[CERTIFICATE_PEM_MAX];
    size_t size;

    assert_int_equal(certificate_to_pem(certificate, NULL, text, &size), LB_OK);
    assert_int_equal(membership_put_file(folder, name, bytes_of(text, size), 0644), LB_OK);
}

static void drop(const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

/* The network's intermediate is 30 days old and has 60 to go. */
static int make(void **state)
{
    char path[64];

    (void)state;
    pki_network_make(&network, "lab", NOW_S);
    snprintf(path, sizeof path, "%s/intermediate.key", folder);
    put("root.pem", network.root);
    put("intermediate.pem", network.intermediate);
    return key_save(network.intermediate_key, path) == LB_OK ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    drop("root.pem");
    drop("intermediate.pem");
    drop("intermediate.key");
    pki_network_done(&network);
    return 0;
}

static struct authority *load(lb_err expected)
{
    struct authority_problem problem;
    struct identity identity = { .network_name = "lab" };
    struct authority *self = NULL;

    memcpy(identity.network, network.id, sizeof identity.network);
    assert_int_equal(authority_load(folder, &identity, &self, &problem), expected);
    return self;
}

/* ---- leaves ---- */

static const struct row {
    const char *what;
    uint64_t serial;
    int64_t from_s, until_s; /* from now on */
    lb_err err;
} rows[] = {
    { "a week, backdated by five minutes", 7, -300, WEEK_S, LB_OK },
    { "one that began yesterday, asked for again", 7, -(int64_t)DAY_S, 6 * DAY_S, LB_OK },
    { "no serial", 0, -300, WEEK_S, LB_INVALID },
    { "a serial that is negative in X.509", UINT64_MAX, -300, WEEK_S, LB_INVALID },
    { "more than a week", 7, -300, WEEK_S + 1, LB_INVALID },
    { "a year", 7, -300, 365 * DAY_S, LB_INVALID },
    { "one that has ended", 7, -(int64_t)DAY_S, -1, LB_INVALID },
    { "one that begins tomorrow", 7, DAY_S, 2 * DAY_S, LB_INVALID },
    { "one that ends before it begins", 7, 100, 50, LB_INVALID },
    { "one that began before the intermediate", 7, -31 * (int64_t)DAY_S, -25 * (int64_t)DAY_S,
      LB_INVALID },
};

static struct certificate_claims claims_of(const struct row *row)
{
    return (struct certificate_claims){ .node = pki_node(3),
                                        .serial = row->serial,
                                        .not_before_s = (uint64_t)(NOW_S + row->from_s),
                                        .not_after_s = (uint64_t)(NOW_S + row->until_s) };
}

static void test_leaf(void **state)
{
    const struct row *row = *state;
    struct certificate_claims claims = claims_of(row), read;
    struct authority *self = load(LB_OK);
    EVP_PKEY *key = key_new();
    uint8_t public_key[KEY_PUBLIC_SIZE], der[CERTIFICATE_DER_MAX];
    const char *reason = NULL;
    size_t size;
    X509 *leaf;

    key_public(key, public_key);
    assert_int_equal(authority_sign_leaf(self, bytes_of(public_key, sizeof public_key), &claims,
                                         NOW_S, der, &size, &reason),
                     row->err);
    if (row->err == LB_OK) {
        assert_int_equal(certificate_from_der(bytes_of(der, size), &leaf), LB_OK);
        assert_int_equal(certificate_read(leaf, &read), LB_OK);
        assert_int_equal(read.serial, row->serial);
        assert_int_equal(read.not_after_s, claims.not_after_s);
        assert_memory_equal(read.network, network.id, NETWORK_ID_SIZE);
        X509_free(leaf);
    } else {
        assert_non_null(reason);
    }
    key_free(&key);
    authority_free(&self);
}

static void test_no_key_of_another_kind(void **state)
{
    const struct row sound = { .serial = 7, .from_s = -300, .until_s = WEEK_S };
    struct certificate_claims claims = claims_of(&sound);
    struct authority *self = load(LB_OK);
    uint8_t der[CERTIFICATE_DER_MAX], junk[KEY_PUBLIC_SIZE] = { 0x30, 89 };
    const char *reason = NULL;
    size_t size;

    (void)state;
    assert_int_equal(
        authority_sign_leaf(self, bytes_of(junk, sizeof junk), &claims, NOW_S, der, &size, &reason),
        LB_INVALID);
    authority_free(&self);
}

static void test_nothing_after_its_end(void **state)
{
    struct row late = { .serial = 7, .from_s = -300, .until_s = DAY_S };
    struct certificate_claims claims = claims_of(&late);
    struct authority *self = load(LB_OK);
    uint8_t der[CERTIFICATE_DER_MAX];
    const char *reason = NULL;
    uint8_t *list;
    size_t size;

    (void)state;
    claims.not_before_s += 61 * DAY_S;
    claims.not_after_s += 61 * DAY_S;
    assert_int_equal(authority_sign_leaf(self, bytes_of("", 0), &claims, NOW_S + 61 * DAY_S, der,
                                         &size, &reason),
                     LB_UNAVAILABLE);
    assert_int_equal(authority_sign_deny_list(self, 1, NOW_S, NULL, 0, NOW_S + 61 * DAY_S, &list,
                                              &size, &reason),
                     LB_UNAVAILABLE);
    authority_free(&self);
}

/* ---- deny lists ---- */

static void test_deny_list(void **state)
{
    struct deny_row row = { .node = pki_node(5), .until_s = NOW_S + DAY_S };
    struct authority *self = load(LB_OK);
    struct deny_list *list;
    const char *reason = NULL;
    uint8_t *data;
    size_t size;

    (void)state;
    assert_int_equal(
        authority_sign_deny_list(self, 0, NOW_S, &row, 1, NOW_S, &data, &size, &reason),
        LB_INVALID);
    assert_int_equal(
        authority_sign_deny_list(self, 1, NOW_S + DAY_S, &row, 1, NOW_S, &data, &size, &reason),
        LB_INVALID);
    assert_int_equal(
        authority_sign_deny_list(self, 9, NOW_S, &row, 1, NOW_S, &data, &size, &reason), LB_OK);
    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, NOW_S, &list), LB_OK);
    assert_int_equal(deny_list_number(list), 9);
    assert_true(deny_list_has(list, &row.node));
    deny_list_free(&list);
    free(data);
    authority_free(&self);
}

/* ---- the intermediate ---- */

static lb_err set(struct authority *self, const X509 *certificate)
{
    uint8_t der[CERTIFICATE_DER_MAX];
    const char *reason = NULL;
    size_t size;

    assert_int_equal(certificate_to_der(certificate, der, &size), LB_OK);
    return authority_set_intermediate(self, bytes_of(der, size), NOW_S, &reason);
}

static void test_intermediate(void **state)
{
    struct authority *self;
    struct pki_network other;
    EVP_PKEY *other_key;
    X509 *other_one, *renewed;
    uint8_t request[CERTIFICATE_REQUEST_MAX];
    size_t size;

    (void)state;
    drop("intermediate.pem");
    self = load(LB_OK);
    assert_null(authority_intermediate(self));
    assert_int_equal(authority_request(self, request, &size), LB_OK);
    pki_intermediate_make(&network, &other_key, &other_one);
    pki_network_make(&other, "lab", NOW_S);
    assert_int_equal(set(self, other_one), LB_CORRUPT);          /* for another key */
    assert_int_equal(set(self, other.intermediate), LB_CORRUPT); /* by another root */
    assert_int_equal(set(self, network.root), LB_CORRUPT);
    assert_null(authority_intermediate(self));
    assert_int_equal(set(self, network.intermediate), LB_OK);
    assert_int_equal(certificate_make_intermediate(network.intermediate_key, network.root,
                                                   network.root_key, 77, NOW_S, 90 * DAY_S,
                                                   &renewed),
                     LB_OK);
    assert_int_equal(set(self, renewed), LB_OK);
    authority_free(&self);

    self = load(LB_OK); /* it was kept */
    assert_int_equal(X509_cmp(authority_intermediate(self), renewed), 0);
    authority_free(&self);
    X509_free(renewed);
    X509_free(other_one);
    key_free(&other_key);
    pki_network_done(&other);
}

/* ---- files ---- */

static void test_a_key_that_others_may_read(void **state)
{
    char path[64];

    (void)state;
    snprintf(path, sizeof path, "%s/intermediate.key", folder);
    assert_int_equal(chmod(path, 0640), 0);
    (void)load(LB_DENIED);
}

static void test_another_networks_root(void **state)
{
    struct pki_network other;

    (void)state;
    pki_network_make(&other, "lab", NOW_S);
    put("root.pem", other.root);
    (void)load(LB_CORRUPT);
    pki_network_done(&other);
}

static void test_no_key(void **state)
{
    (void)state;
    drop("intermediate.key");
    (void)load(LB_NOT_FOUND);
}

static int make_all(void **state)
{
    return mkdtemp(folder) != NULL ? make(state) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_key_of_another_kind, make, unmake),
        cmocka_unit_test_setup_teardown(test_nothing_after_its_end, make, unmake),
        cmocka_unit_test_setup_teardown(test_deny_list, make, unmake),
        cmocka_unit_test_setup_teardown(test_intermediate, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_key_that_others_may_read, make, unmake),
        cmocka_unit_test_setup_teardown(test_another_networks_root, make, unmake),
        cmocka_unit_test_setup_teardown(test_no_key, make, unmake),
    };
    int failed;

    if (make_all(NULL) != 0) {
        return 1;
    }
    failed = RUN_ROWS(rows, test_leaf);
    unmake(NULL);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
