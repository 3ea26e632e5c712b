/* Deny lists: only whole ones, by an intermediate of the network's root, count. */
#include "libcommon/pki/deny_list.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/pki_fixture.h"

#include "libcommon/memory.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S 1800000000u
#define DAY_S (24u * 3600)

/* Where things stand, as deny_list.h has it. */
#define AT_NETWORK 8
#define AT_NUMBER  40
#define AT_MADE    48
#define AT_COUNT   56
#define AT_ROWS    60
#define ROW_SIZE   28

static struct pki_network network;

static void make_network(void)
{
    pki_network_make(&network, "lab", NOW_S);
}

static void end_network(void)
{
    pki_network_done(&network);
}

static uint8_t *list_of(size_t count, size_t *ret_size)
{
    struct node_id nodes[8];

    for (size_t i = 0; i < count; i++) {
        nodes[i] = pki_node((unsigned)i + 1);
    }
    return pki_deny_list(&network, 9, nodes, count, ret_size);
}

static void what_was_denied_is_denied(void **state)
{
    struct node_id denied = pki_node(3), other = pki_node(9);
    struct deny_list *list = NULL;
    uint8_t *data;
    size_t size;

    (void)state;
    for (size_t count = 0; count <= 4; count++) {
        data = list_of(count, &size);
        assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, NOW_S, &list), LB_OK);
        assert_int_equal(deny_list_number(list), 9);
        assert_int_equal(deny_list_made_s(list), NOW_S);
        assert_int_equal(deny_list_count(list), count);
        assert_int_equal(deny_list_has(list, &denied), count >= 3);
        assert_false(deny_list_has(list, &other));
        deny_list_free(&list);
        assert_null(list);
        free(data);
    }
    deny_list_free(&list);
    assert_int_equal(ERR_peek_error(), 0);
}

static void none_denies_nobody(void **state)
{
    struct node_id node = pki_node(1);

    (void)state;
    assert_false(deny_list_has(NULL, &node));
    assert_int_equal(deny_list_number(NULL), 0);
    assert_int_equal(deny_list_made_s(NULL), 0);
    assert_int_equal(deny_list_count(NULL), 0);
}

/* ---- whole and unaltered ---- */

static void one_that_was_cut_is_none(void **state)
{
    struct deny_list *list = NULL;
    size_t size, taken = 0;
    uint8_t *data = list_of(2, &size);

    (void)state;
    for (size_t cut = 0; cut < size; cut++) {
        taken += deny_list_parse(bytes_of(data, cut), network.root, NOW_S, &list) != LB_INVALID;
    }
    assert_int_equal(taken, 0);
    data = xrealloc(data, size + 1);
    data[size] = 0;
    assert_int_equal(deny_list_parse(bytes_of(data, size + 1), network.root, NOW_S, &list),
                     LB_INVALID);
    assert_null(list);
    free(data);
    assert_int_equal(ERR_peek_error(), 0);
}

static void one_that_was_altered_anywhere_is_none(void **state)
{
    struct deny_list *list = NULL;
    size_t size, taken = 0;
    uint8_t *data = list_of(2, &size);

    (void)state;
    for (size_t at = 0; at < size; at++) {
        data[at] ^= 1;
        taken += deny_list_parse(bytes_of(data, size), network.root, NOW_S, &list) == LB_OK;
        data[at] ^= 1;
    }
    assert_int_equal(taken, 0);
    assert_null(list);
    free(data);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- signed, but wrong: what a careless signer could make ---- */

enum fault {
    SOUND,
    OTHER_MAGIC,
    NUMBER_0,
    MADE_AFTER_9999,
    NOT_SORTED,
    TWICE,
    COUNT_TOO_GREAT,
    COUNT_ONE_MORE,
    COUNT_ONE_LESS,
    OTHER_NETWORK,
    NO_CERTIFICATE,
    SIGNER_TOO_LONG,
    SIGNATURE_TOO_LONG,
    SIGNATURE_EMPTY
};

static const struct fault_row {
    const char *what;
    enum fault fault;
    lb_err err;
} fault_rows[] = {
    { "a sound one, signed by hand", SOUND, LB_OK },
    { "a list of another format", OTHER_MAGIC, LB_INVALID },
    { "the number 0 is that of no list", NUMBER_0, LB_INVALID },
    { "made after the last date there is", MADE_AFTER_9999, LB_INVALID },
    { "rows out of order", NOT_SORTED, LB_INVALID },
    { "a node twice", TWICE, LB_INVALID },
    { "more rows than any list has", COUNT_TOO_GREAT, LB_INVALID },
    { "more rows than there are", COUNT_ONE_MORE, LB_INVALID },
    { "fewer rows than there are", COUNT_ONE_LESS, LB_INVALID },
    { "another network's id", OTHER_NETWORK, LB_CORRUPT },
    { "no certificate where the signer's stands", NO_CERTIFICATE, LB_INVALID },
    { "a signer's certificate of too many bytes", SIGNER_TOO_LONG, LB_INVALID },
    { "a signature of too many bytes", SIGNATURE_TOO_LONG, LB_INVALID },
    { "no signature", SIGNATURE_EMPTY, LB_CORRUPT },
};

static void swap_rows(uint8_t *rows)
{
    uint8_t first[ROW_SIZE];

    memcpy(first, rows, ROW_SIZE);
    memcpy(rows, rows + ROW_SIZE, ROW_SIZE);
    memcpy(rows + ROW_SIZE, first, ROW_SIZE);
}

static void change_body(uint8_t *body, enum fault fault)
{
    switch (fault) {
    case OTHER_MAGIC:
        body[6] = '2';
        break;
    case NUMBER_0:
        store_u64(body + AT_NUMBER, 0);
        break;
    case MADE_AFTER_9999:
        store_u64(body + AT_MADE, CERTIFICATE_TIME_MAX_S + 1);
        break;
    case NOT_SORTED:
        swap_rows(body + AT_ROWS);
        break;
    case TWICE:
        memcpy(body + AT_ROWS + ROW_SIZE, body + AT_ROWS, NODE_ID_SIZE);
        break;
    case COUNT_TOO_GREAT:
        store_u32(body + AT_COUNT, DENY_LIST_ROWS_MAX + 1);
        break;
    case COUNT_ONE_MORE:
        store_u32(body + AT_COUNT, 4);
        break;
    case COUNT_ONE_LESS:
        store_u32(body + AT_COUNT, 2);
        break;
    case OTHER_NETWORK:
        body[AT_NETWORK] ^= 1;
        break;
    case NO_CERTIFICATE:
        body[AT_ROWS + 3 * ROW_SIZE + 2] ^= 1;
        break;
    case SIGNER_TOO_LONG:
        store_u16(body + AT_ROWS + 3 * ROW_SIZE, CERTIFICATE_DER_MAX + 1);
        break;
    default:
        break;
    }
}

static void faults(void **state)
{
    const struct fault_row *row = *state;
    const uint8_t long_signature[129] = { 0 };
    struct deny_row rows[3] = { { pki_node(1), NOW_S },
                                { pki_node(2), NOW_S },
                                { pki_node(3), 1 } };
    struct deny_list *list = NULL;
    uint8_t *data;
    size_t size;

    assert_int_equal(
        deny_list_body(network.id, 5, NOW_S, rows, 3, network.intermediate, &data, &size), LB_OK);
    change_body(data, row->fault);
    if (row->fault == SIGNATURE_EMPTY) {
        deny_list_add_signature(&data, &size, bytes_of("", 0));
    } else if (row->fault == SIGNATURE_TOO_LONG) {
        data = xrealloc(data, size + 2 + sizeof(long_signature));
        store_u16(data + size, sizeof(long_signature));
        memcpy(data + size + 2, long_signature, sizeof(long_signature));
        size += 2 + sizeof(long_signature);
    } else {
        deny_list_sign(&data, &size, network.intermediate_key);
    }
    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, NOW_S, &list), row->err);
    assert_int_equal(list != NULL, row->err == LB_OK);
    deny_list_free(&list);
    free(data);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- who may sign ---- */

enum signer {
    THE_INTERMEDIATE,
    ANOTHER_INTERMEDIATE,
    A_MEMBER,
    A_COORDINATORS_LEAF,
    A_LEAF_THAT_SAYS_CA,
    THE_ROOT,
    ANOTHER_NETWORKS,
    ANOTHER_KEY,
    AN_RSA_CA,
    A_CA_WITH_NO_KEY
};

static const struct signer_row {
    const char *what;
    enum signer signer;
    int64_t later_s;
    lb_err err, err_kept;
} signer_rows[] = {
    { "the intermediate may", THE_INTERMEDIATE, 0, LB_OK, LB_OK },
    { "another coordinator's may", ANOTHER_INTERMEDIATE, 0, LB_OK, LB_OK },
    { "one that has expired may not, but what was kept stands", THE_INTERMEDIATE, 61 * DAY_S,
      LB_CORRUPT, LB_OK },
    { "one that is not yet valid may not", THE_INTERMEDIATE, -31 * (int64_t)DAY_S, LB_CORRUPT,
      LB_OK },
    { "a member may not", A_MEMBER, 0, LB_CORRUPT, LB_CORRUPT },
    { "a coordinator's own leaf may not", A_COORDINATORS_LEAF, 0, LB_CORRUPT, LB_CORRUPT },
    { "a leaf that says it is a CA may not", A_LEAF_THAT_SAYS_CA, 0, LB_CORRUPT, LB_CORRUPT },
    { "the root itself may: its key is above all", THE_ROOT, 0, LB_OK, LB_OK },
    { "another network's intermediate may not", ANOTHER_NETWORKS, 0, LB_CORRUPT, LB_CORRUPT },
    { "a CA of the root with an RSA key may not", AN_RSA_CA, 0, LB_CORRUPT, LB_CORRUPT },
    { "a CA of the root whose key is no point may not", A_CA_WITH_NO_KEY, 0, LB_CORRUPT,
      LB_CORRUPT },
    { "another key under the intermediate's name may not", ANOTHER_KEY, 0, LB_CORRUPT, LB_CORRUPT },
};

static void sign_with(X509 *certificate, EVP_PKEY *key, uint8_t **ret_data, size_t *ret_size)
{
    struct deny_row rows[1] = { { pki_node(1), NOW_S } };

    assert_int_equal(deny_list_body(network.id, 5, NOW_S, rows, 1, certificate, ret_data, ret_size),
                     LB_OK);
    deny_list_sign(ret_data, ret_size, key);
}

static void sign_by_member(enum certificate_role role, enum pki_flaw flaw, uint8_t **ret_data,
                           size_t *ret_size)
{
    struct pki_member member;

    pki_member_make(&network, 5, role, flaw, &member);
    sign_with(member.leaf, member.key, ret_data, ret_size);
    pki_member_done(&member);
}

/* The intermediate with another key in it, signed by the root again. */
static void sign_by_changed(EVP_PKEY *rsa, uint8_t **ret_data, size_t *ret_size)
{
    uint8_t der[CERTIFICATE_DER_MAX], public_half[KEY_PUBLIC_SIZE], *at;
    size_t size;
    X509 *changed;

    assert_int_equal(certificate_to_der(network.intermediate, der, &size), LB_OK);
    if (!rsa) {
        key_public(network.intermediate_key, public_half);
        at = memmem(der, size, public_half, KEY_PUBLIC_SIZE);
        assert_non_null(at);
        at[KEY_PUBLIC_SIZE - 1] ^= 1;
    }
    assert_int_equal(certificate_from_der(bytes_of(der, size), &changed), LB_OK);
    assert_true(!rsa || X509_set_pubkey(changed, rsa) == 1);
    assert_true(X509_sign(changed, network.root_key, EVP_sha256()) > 0);
    ERR_clear_error(); /* of the key that is none */
    sign_with(changed, rsa ? rsa : network.intermediate_key, ret_data, ret_size);
    X509_free(changed);
}

static void sign_by(enum signer signer, uint8_t **ret_data, size_t *ret_size)
{
    struct pki_network other;
    EVP_PKEY *key;
    X509 *certificate;

    switch (signer) {
    case THE_INTERMEDIATE:
        sign_with(network.intermediate, network.intermediate_key, ret_data, ret_size);
        break;
    case ANOTHER_INTERMEDIATE:
        pki_intermediate_make(&network, &key, &certificate);
        sign_with(certificate, key, ret_data, ret_size);
        X509_free(certificate);
        key_free(&key);
        break;
    case A_MEMBER:
        sign_by_member(CERTIFICATE_MEMBER, PKI_SOUND, ret_data, ret_size);
        break;
    case A_COORDINATORS_LEAF:
        sign_by_member(CERTIFICATE_COORDINATOR, PKI_SOUND, ret_data, ret_size);
        break;
    case A_LEAF_THAT_SAYS_CA:
        sign_by_member(CERTIFICATE_MEMBER, PKI_CA_AS_LEAF, ret_data, ret_size);
        break;
    case THE_ROOT:
        sign_with(network.root, network.root_key, ret_data, ret_size);
        break;
    case ANOTHER_NETWORKS:
        pki_network_make(&other, "lab", NOW_S);
        sign_with(other.intermediate, other.intermediate_key, ret_data, ret_size);
        pki_network_done(&other);
        break;
    case ANOTHER_KEY:
        key = key_new();
        sign_with(network.intermediate, key, ret_data, ret_size);
        key_free(&key);
        break;
    case AN_RSA_CA:
        key = EVP_RSA_gen(1024); /* so that its signature has the size of one */
        sign_by_changed(key, ret_data, ret_size);
        key_free(&key);
        break;
    case A_CA_WITH_NO_KEY:
        sign_by_changed(NULL, ret_data, ret_size);
        break;
    }
}

static void signers(void **state)
{
    const struct signer_row *row = *state;
    uint64_t now_s = (uint64_t)((int64_t)NOW_S + row->later_s);
    struct deny_list *list = NULL;
    uint8_t *data;
    size_t size;

    sign_by(row->signer, &data, &size);
    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, now_s, &list), row->err);
    deny_list_free(&list);
    assert_int_equal(deny_list_parse_kept(bytes_of(data, size), network.root, &list),
                     row->err_kept);
    deny_list_free(&list);
    free(data);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- limits ---- */

static void the_longest_has_its_place(void **state)
{
    struct deny_row *rows = xcalloc(DENY_LIST_ROWS_MAX + 1, sizeof(*rows));
    struct deny_list *list = NULL;
    uint8_t *data = NULL;
    size_t size;

    (void)state;
    for (unsigned i = 0; i <= DENY_LIST_ROWS_MAX; i++) {
        store_u32(rows[i].node.bytes, (DENY_LIST_ROWS_MAX - i) * 7919);
        rows[i].until_s = i;
    }
    assert_int_equal(deny_list_body(network.id, 5, NOW_S, rows, DENY_LIST_ROWS_MAX + 1,
                                    network.intermediate, &data, &size),
                     LB_TOO_BIG);
    assert_null(data);
    assert_int_equal(deny_list_body(network.id, 5, NOW_S, rows, DENY_LIST_ROWS_MAX,
                                    network.intermediate, &data, &size),
                     LB_OK);
    deny_list_sign(&data, &size, network.intermediate_key);
    assert_in_range(size, 1, DENY_LIST_BYTES_MAX);
    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, NOW_S, &list), LB_OK);
    for (unsigned i = 0; i < DENY_LIST_ROWS_MAX; i++) {
        assert_true(deny_list_has(list, &rows[i].node));
    }
    deny_list_free(&list);
    free(data);
    free(rows);
}

static void a_signer_too_big_to_be_sent_is_refused(void **state)
{
    struct deny_row rows[1] = { { pki_node(1), NOW_S } };
    X509 *empty = X509_new();
    uint8_t *data = NULL;
    size_t size;

    (void)state;
    assert_int_equal(deny_list_body(network.id, 5, NOW_S, rows, 1, empty, &data, &size),
                     LB_TOO_BIG);
    assert_null(data);
    X509_free(empty);
}

/* A root that is none of ours, as a joiner might be handed. */
static void a_root_without_a_key_has_no_list(void **state)
{
    X509 *empty = X509_new();
    struct deny_list *list = NULL;
    size_t size;
    uint8_t *data = list_of(1, &size);

    (void)state;
    assert_int_equal(deny_list_parse(bytes_of(data, size), empty, NOW_S, &list), LB_CORRUPT);
    free(data);
    X509_free(empty);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- a coordinator that was put out ---- */

/* A list by this network's intermediate. */
static struct deny_list *parsed(const struct pki_network *by, uint64_t number,
                                const struct node_id *nodes, size_t count, lb_err wanted)
{
    struct deny_list *list = NULL;
    size_t size;
    uint8_t *data = pki_deny_list(by, number, nodes, count, &size);

    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, NOW_S, &list), wanted);
    free(data);
    return list;
}

static void what_it_has_signed_is_denied(void **state)
{
    struct pki_network other = network; /* its keys are borrowed, but for the intermediate's */
    struct pki_member member;
    struct deny_list *denied, *later, *first;
    struct certificate_claims claims;
    STACK_OF(X509) *chain = sk_X509_new_null();
    uint8_t key_id[DENY_LIST_KEY_SIZE];
    struct node_id row;

    (void)state;
    pki_intermediate_make(&other, &other.intermediate_key, &other.intermediate);
    assert_int_equal(certificate_key_id(other.intermediate, key_id), LB_OK);
    row = deny_list_key(key_id);
    pki_member_make(&other, 3, CERTIFICATE_COORDINATOR, PKI_SOUND, &member);
    assert_true(sk_X509_push(chain, other.intermediate) == 1);
    first = parsed(&other, 1, NULL, 0, LB_OK);
    denied = parsed(&network, 2, &row, 1, LB_OK);
    later = parsed(&other, 3, NULL, 0, LB_OK);

    assert_int_equal(certificate_verify(member.leaf, chain, network.root, first, NOW_S, &claims),
                     REFUSED_NOT);
    assert_memory_equal(claims.issuer, key_id, sizeof(key_id));
    assert_int_equal(certificate_still_counts(&claims, first, NOW_S), REFUSED_NOT);
    assert_int_equal(certificate_still_counts(&claims, denied, NOW_S), REFUSED_REVOKED);
    assert_int_equal(certificate_verify(member.leaf, chain, network.root, denied, NOW_S, &claims),
                     REFUSED_REVOKED);

    assert_true(deny_list_follows(first, NULL));
    assert_true(deny_list_follows(denied, first));
    assert_false(deny_list_follows(first, denied));
    assert_true(deny_list_follows(later, first));
    assert_false(deny_list_follows(later, denied)); /* it would let itself in again */
    assert_null(parsed(&other, 4, &row, 1, LB_CORRUPT));

    deny_list_free(&first);
    deny_list_free(&denied);
    deny_list_free(&later);
    sk_X509_free(chain);
    pki_member_done(&member);
    EVP_PKEY_free(other.intermediate_key);
    X509_free(other.intermediate);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(what_was_denied_is_denied),
        cmocka_unit_test(none_denies_nobody),
        cmocka_unit_test(one_that_was_cut_is_none),
        cmocka_unit_test(one_that_was_altered_anywhere_is_none),
        cmocka_unit_test(the_longest_has_its_place),
        cmocka_unit_test(a_signer_too_big_to_be_sent_is_refused),
        cmocka_unit_test(a_root_without_a_key_has_no_list),
        cmocka_unit_test(what_it_has_signed_is_denied),
    };
    int failed;

    make_network();
    failed = RUN_ROWS(fault_rows, faults) + RUN_ROWS(signer_rows, signers) +
             cmocka_run_group_tests(others, NULL, NULL);
    end_network();
    return failed;
}
