/* Private messages: for one reader, from one writer, and nothing in between. */
#include "libcommon/pki/sealed.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/pki_fixture.h"

#include "libcommon/memory.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S 1800000000u
#define DAY_S (24u * 3600)
#define TEXT  "the exam is on Friday"

static struct pki_network network;
static struct pki_member ann, ben, eve; /* the writer, the reader, another member */

static void make_world(void)
{
    pki_network_make(&network, "lab", NOW_S);
    pki_member_make(&network, 1, CERTIFICATE_MEMBER, PKI_SOUND, &ann);
    pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &ben);
    pki_member_make(&network, 3, CERTIFICATE_MEMBER, PKI_SOUND, &eve);
}

static void end_world(void)
{
    pki_member_done(&ann);
    pki_member_done(&ben);
    pki_member_done(&eve);
    pki_network_done(&network);
}

static uint8_t *seal(const struct pki_member *from, const struct pki_member *to, uint64_t now_s,
                     size_t *ret_size)
{
    uint8_t *sealed = NULL;

    assert_int_equal(sealed_make(bytes_of_text(TEXT), from->leaf, from->intermediate, from->key,
                                 to->leaf, now_s, &sealed, ret_size),
                     LB_OK);
    return sealed;
}

static lb_err open_as(const struct pki_member *reader, struct bytes sealed,
                      const struct deny_list *denied, uint64_t now_s, struct opened *ret_opened)
{
    return sealed_open(sealed, reader->leaf, reader->key, network.root, denied, now_s, ret_opened);
}

/* ---- the way it is meant ---- */

static void texts_of_every_size_arrive(void **state)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 1000, SEALED_TEXT_MAX };
    uint8_t *text = xcalloc(1, SEALED_TEXT_MAX + 1), *sealed;
    struct opened opened;
    size_t size;

    (void)state;
    for (size_t i = 0; i < SEALED_TEXT_MAX; i++) {
        text[i] = (uint8_t)(i * 31 % 251);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(sealed_make(bytes_of(text, sizes[i]), ann.leaf, ann.intermediate, ann.key,
                                     ben.leaf, NOW_S, &sealed, &size),
                         LB_OK);
        assert_in_range(size, sizes[i], SEALED_BYTES_MAX);
        assert_int_equal(open_as(&ben, bytes_of(sealed, size), NULL, NOW_S + 1, &opened), LB_OK);
        assert_int_equal(opened.text_size, sizes[i]);
        assert_memory_equal(opened.text, text, sizes[i]);
        assert_int_equal(opened.text[sizes[i]], 0);
        assert_int_equal(opened.sent_s, NOW_S);
        assert_true(node_id_equal(&opened.sender.node, &ann.identity.node));
        free(opened.text);
        free(sealed);
    }
    sealed = NULL;
    assert_int_equal(sealed_make(bytes_of(text, SEALED_TEXT_MAX + 1), ann.leaf, ann.intermediate,
                                 ann.key, ben.leaf, NOW_S, &sealed, &size),
                     LB_TOO_BIG);
    assert_null(sealed);
    free(text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void nothing_of_it_can_be_read_on_the_way(void **state)
{
    char node[NODE_ID_TEXT_SIZE];
    size_t size;
    uint8_t *sealed = seal(&ann, &ben, NOW_S, &size);

    (void)state;
    node_id_format(&ann.identity.node, node);
    assert_null(memmem(sealed, size, TEXT, strlen(TEXT)));
    assert_null(memmem(sealed, size, "LBMAIL1", 7));
    assert_null(memmem(sealed, size, node, strlen(node))); /* nor whom it is from */
    free(sealed);
}

static void each_is_another_one(void **state)
{
    struct opened first, second, again;
    size_t size, size_again;
    uint8_t *sealed = seal(&ann, &ben, NOW_S, &size), *anew = seal(&ann, &ben, NOW_S, &size_again);

    (void)state;
    assert_false(size == size_again && memcmp(sealed, anew, size) == 0);
    assert_int_equal(open_as(&ben, bytes_of(sealed, size), NULL, NOW_S, &first), LB_OK);
    assert_int_equal(open_as(&ben, bytes_of(sealed, size), NULL, NOW_S, &again), LB_OK);
    assert_int_equal(open_as(&ben, bytes_of(anew, size_again), NULL, NOW_S, &second), LB_OK);
    assert_memory_equal(first.nonce, again.nonce, SEALED_NONCE_SIZE);
    assert_memory_not_equal(first.nonce, second.nonce, SEALED_NONCE_SIZE);
    free(first.text);
    free(second.text);
    free(again.text);
    free(sealed);
    free(anew);
}

static void a_renewed_reader_reads_what_came_before(void **state)
{
    struct pki_member reader;
    struct opened opened;
    uint8_t *sealed;
    size_t size;

    (void)state;
    pki_member_make(&network, 4, CERTIFICATE_MEMBER, PKI_SOUND, &reader);
    sealed = seal(&ann, &reader, NOW_S, &size);
    pki_member_renew(&network, &reader, NOW_S + 5 * DAY_S);
    assert_int_equal(open_as(&reader, bytes_of(sealed, size), NULL, NOW_S + 6 * DAY_S, &opened),
                     LB_OK);
    free(opened.text);
    free(sealed);
    pki_member_done(&reader);
}

/* ---- what is altered, cut or for another ---- */

static void one_that_was_cut_is_none(void **state)
{
    struct opened opened;
    size_t size, taken = 0;
    uint8_t *sealed = seal(&ann, &ben, NOW_S, &size);

    (void)state;
    for (size_t cut = 0; cut < size; cut++) {
        taken += open_as(&ben, bytes_of(sealed, cut), NULL, NOW_S, &opened) == LB_OK;
    }
    assert_int_equal(taken, 0);
    sealed = xrealloc(sealed, size + 1);
    sealed[size] = 0;
    assert_int_equal(open_as(&ben, bytes_of(sealed, size + 1), NULL, NOW_S, &opened), LB_CORRUPT);
    free(sealed);
    assert_int_equal(ERR_peek_error(), 0);
}

/* What is changed outside (whom it is for, say) may still open: then it is the same message. */
static void one_that_was_altered_is_none_or_the_same(void **state)
{
    struct opened opened;
    size_t size, taken = 0;
    uint8_t *sealed = seal(&ann, &ben, NOW_S, &size);

    (void)state;
    for (size_t at = 0; at < size; at++) {
        sealed[at] ^= 0x20;
        if (open_as(&ben, bytes_of(sealed, size), NULL, NOW_S, &opened) == LB_OK) {
            assert_int_equal(opened.text_size, strlen(TEXT));
            assert_memory_equal(opened.text, TEXT, strlen(TEXT));
            free(opened.text);
            taken++;
        }
        sealed[at] ^= 0x20;
    }
    assert_in_range(taken, 0, size / 4);
    free(sealed);
    assert_int_equal(ERR_peek_error(), 0);
}

static void one_too_long_is_not_looked_at(void **state)
{
    uint8_t *sealed = xcalloc(1, SEALED_BYTES_MAX + 1);
    struct opened opened;

    (void)state;
    assert_int_equal(open_as(&ben, bytes_of(sealed, SEALED_BYTES_MAX + 1), NULL, NOW_S, &opened),
                     LB_INVALID);
    free(sealed);
}

static void only_the_reader_opens_it(void **state)
{
    struct pki_member impostor = eve;
    struct opened opened;
    size_t size;
    uint8_t *sealed = seal(&ann, &ben, NOW_S, &size);

    (void)state;
    assert_int_equal(open_as(&eve, bytes_of(sealed, size), NULL, NOW_S, &opened), LB_CORRUPT);
    assert_int_equal(open_as(&ann, bytes_of(sealed, size), NULL, NOW_S, &opened), LB_CORRUPT);
    impostor.leaf = ben.leaf; /* says it is Ben, without his key */
    assert_int_equal(open_as(&impostor, bytes_of(sealed, size), NULL, NOW_S, &opened), LB_CORRUPT);
    assert_int_equal(ERR_peek_error(), 0);
    free(sealed);
}

/* ---- who wrote it, and when ---- */

static const struct sender_row {
    const char *what;
    enum pki_flaw flaw;
    int64_t sent_s, opened_s; /* from NOW_S on */
    bool denied;
    lb_err err;
} sender_rows[] = {
    { "a member", PKI_SOUND, 0, 0, false, LB_OK },
    { "a member whose leaf has expired since", PKI_SOUND, 0, 20 * DAY_S, false, LB_OK },
    { "after 30 days", PKI_SOUND, 0, 30 * DAY_S, false, LB_OK },
    { "after 32 days nobody takes it any more", PKI_SOUND, 0, 32 * DAY_S, false, LB_DENIED },
    { "a writer whose clock is 23 hours ahead", PKI_SOUND, 23 * 3600, 0, false, LB_OK },
    { "a writer whose clock is 25 hours ahead", PKI_SOUND, 25 * 3600, 0, false, LB_DENIED },
    { "a member that was put out", PKI_SOUND, 0, 0, true, LB_DENIED },
    { "a leaf that had expired when it was written", PKI_EXPIRED, 0, 0, false, LB_DENIED },
    { "a leaf that was not yet valid", PKI_NOT_YET_VALID, 0, 0, false, LB_DENIED },
    { "a leaf of another CA", PKI_OTHER_CA, 0, 0, false, LB_DENIED },
    { "a leaf signed by itself", PKI_SELF_SIGNED, 0, 0, false, LB_DENIED },
    { "a leaf of another network's name", PKI_OTHER_NETWORK, 0, 0, false, LB_DENIED },
    { "a leaf for another use", PKI_WRONG_USAGE, 0, 0, false, LB_DENIED },
    { "a CA", PKI_CA_AS_LEAF, 0, 0, false, LB_DENIED },
};

static void senders(void **state)
{
    const struct sender_row *row = *state;
    struct deny_list *denied = NULL;
    struct pki_member writer;
    struct opened opened = { .text = NULL };
    uint8_t *sealed, *list;
    size_t size, list_size;

    pki_member_make(&network, 5, CERTIFICATE_MEMBER, row->flaw, &writer);
    list = pki_deny_list(&network, 1, &writer.identity.node, 1, &list_size);
    if (row->denied) {
        assert_int_equal(deny_list_parse(bytes_of(list, list_size), network.root, NOW_S, &denied),
                         LB_OK);
    }
    sealed = seal(&writer, &ben, (uint64_t)(NOW_S + row->sent_s), &size);
    assert_int_equal(
        open_as(&ben, bytes_of(sealed, size), denied, (uint64_t)(NOW_S + row->opened_s), &opened),
        row->err);
    assert_int_equal(opened.text != NULL, row->err == LB_OK);
    free(opened.text);
    free(sealed);
    free(list);
    deny_list_free(&denied);
    pki_member_done(&writer);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- what a member could make that does not keep to our way ---- */

enum craft {
    AS_WE_DO,
    PASSED_ON,       /* a letter to Eve, sealed again for Ben */
    UNSIGNED,        /* the letter alone */
    TWO_SIGNERS,     /* by Eve too */
    NO_ATTRIBUTES,   /* signed as a TLS 1.2 server signs */
    SHA1_DIGEST,     /* of SHA-1 */
    SWAPPED_SIGNER,  /* signed by Eve, with Ann's certificate beside it */
    NO_CERTIFICATES, /* whose signature is not said */
    OTHER_MAGIC,
    TOO_SHORT,
    TEXT_TOO_LONG,
    SENT_NEVER, /* in the year 10000 and later */
    WITH_CBC,   /* an encryption that is not authenticated */
    TWO_READERS,
    BY_PASSWORD,
    NOT_CMS
};

static const struct craft_row {
    const char *what;
    enum craft craft;
    lb_err err;
} craft_rows[] = {
    { "as we do it, made by hand", AS_WE_DO, LB_OK },
    { "a letter to another, passed on", PASSED_ON, LB_CORRUPT },
    { "no signature", UNSIGNED, LB_CORRUPT },
    { "two signatures", TWO_SIGNERS, LB_CORRUPT },
    { "a signature over the bytes themselves", NO_ATTRIBUTES, LB_CORRUPT },
    { "a signature with SHA-1", SHA1_DIGEST, LB_CORRUPT },
    { "another's certificate beside one's signature", SWAPPED_SIGNER, LB_CORRUPT },
    { "no certificate beside it", NO_CERTIFICATES, LB_CORRUPT },
    { "a letter of another format", OTHER_MAGIC, LB_INVALID },
    { "a letter that ends before its text", TOO_SHORT, LB_INVALID },
    { "a text of one byte too many", TEXT_TOO_LONG, LB_INVALID },
    { "a date that is none", SENT_NEVER, LB_DENIED },
    { "encrypted without authentication", WITH_CBC, LB_CORRUPT },
    { "for two readers", TWO_READERS, LB_CORRUPT },
    { "for who knows a password", BY_PASSWORD, LB_CORRUPT },
    { "bytes that are no CMS at all", NOT_CMS, LB_CORRUPT },
};

#define HEAD_SIZE 52

static size_t letter(enum craft craft, uint8_t *ret_letter)
{
    const struct node_id to = craft == PASSED_ON ? eve.identity.node : ben.identity.node;
    size_t size = HEAD_SIZE + strlen(TEXT);

    memset(ret_letter, 0, HEAD_SIZE);
    memcpy(ret_letter, craft == OTHER_MAGIC ? "LBMAIL2" : "LBMAIL1", 8);
    memcpy(ret_letter + 8, to.bytes, NODE_ID_SIZE);
    store_u64(ret_letter + 28, craft == SENT_NEVER ? UINT64_MAX - 5 : NOW_S);
    memcpy(ret_letter + HEAD_SIZE, TEXT, strlen(TEXT));
    if (craft == TEXT_TOO_LONG) {
        memset(ret_letter + HEAD_SIZE, 'a', SEALED_TEXT_MAX + 1);
        size = HEAD_SIZE + SEALED_TEXT_MAX + 1;
    }
    return craft == TOO_SHORT ? HEAD_SIZE - 1 : size;
}

static CMS_ContentInfo *sign(enum craft craft, BIO *in)
{
    const unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | CMS_PARTIAL |
                           (craft == NO_ATTRIBUTES ? CMS_NOATTR : 0) |
                           (craft == NO_CERTIFICATES || craft == SWAPPED_SIGNER ? CMS_NOCERTS : 0);
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
    const struct pki_member *signer = craft == SWAPPED_SIGNER ? &eve : &ann;

    assert_non_null(cms);
    assert_non_null(CMS_add1_signer(cms, signer->leaf, signer->key,
                                    craft == SHA1_DIGEST ? EVP_sha1() : EVP_sha256(), flags));
    if (craft == TWO_SIGNERS) {
        assert_non_null(CMS_add1_signer(cms, eve.leaf, eve.key, EVP_sha256(), flags));
    }
    if (craft != NO_CERTIFICATES) {
        assert_int_equal(CMS_add1_cert(cms, network.intermediate), 1);
    }
    if (craft == SWAPPED_SIGNER) {
        assert_int_equal(CMS_add1_cert(cms, ann.leaf), 1);
    }
    assert_int_equal(CMS_final(cms, in, NULL, flags), 1);
    return cms;
}

static BIO *encrypt(enum craft craft, BIO *in)
{
    const EVP_CIPHER *cipher = craft == WITH_CBC ? EVP_aes_256_cbc() : EVP_aes_256_gcm();
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, cipher, CMS_BINARY | CMS_PARTIAL);
    BIO *out = BIO_new(BIO_s_mem());

    assert_non_null(cms);
    if (craft == BY_PASSWORD) {
        assert_non_null(CMS_add0_recipient_password(cms, -1, NID_id_alg_PWRI_KEK, NID_undef,
                                                    (uint8_t *)OPENSSL_strdup("password"), 8,
                                                    EVP_aes_256_cbc()));
    } else {
        assert_non_null(CMS_add1_recipient_cert(cms, ben.leaf, CMS_BINARY | CMS_PARTIAL));
    }
    if (craft == TWO_READERS) {
        assert_non_null(CMS_add1_recipient_cert(cms, eve.leaf, CMS_BINARY | CMS_PARTIAL));
    }
    assert_int_equal(CMS_final(cms, in, NULL, CMS_BINARY), 1);
    assert_int_equal(i2d_CMS_bio(out, cms), 1);
    CMS_ContentInfo_free(cms);
    return out;
}

static void crafted(void **state)
{
    const struct craft_row *row = *state;
    uint8_t *text = xcalloc(1, HEAD_SIZE + SEALED_TEXT_MAX + 1);
    BIO *in = BIO_new_mem_buf(text, (int)letter(row->craft, text)), *inner, *outer;
    struct opened opened = { .text = NULL };
    CMS_ContentInfo *cms;
    char *data;
    long size;

    if (row->craft == UNSIGNED) {
        inner = in;
    } else {
        inner = BIO_new(BIO_s_mem());
        cms = sign(row->craft, in);
        assert_int_equal(i2d_CMS_bio(inner, cms), 1);
        CMS_ContentInfo_free(cms);
        BIO_free(in);
    }
    outer = row->craft == NOT_CMS ? BIO_new_mem_buf("0123456789", -1) : encrypt(row->craft, inner);
    size = BIO_get_mem_data(outer, &data);
    ERR_clear_error();
    assert_int_equal(open_as(&ben, bytes_of(data, (size_t)size), NULL, NOW_S, &opened), row->err);
    assert_int_equal(ERR_peek_error(), 0);
    free(opened.text);
    BIO_free(inner);
    BIO_free(outer);
    free(text);
}

static void only_members_read_and_their_own_key_writes(void **state)
{
    uint8_t *sealed = NULL;
    struct opened opened;
    size_t size;

    (void)state;
    assert_int_equal(sealed_make(bytes_of_text(TEXT), ann.leaf, ann.intermediate, ann.key,
                                 network.intermediate, NOW_S, &sealed, &size),
                     LB_INVALID);
    assert_int_equal(sealed_make(bytes_of_text(TEXT), ann.leaf, ann.intermediate, eve.key, ben.leaf,
                                 NOW_S, &sealed, &size),
                     LB_INVALID);
    assert_null(sealed);
    assert_int_equal(
        sealed_open(bytes_of_text(TEXT), network.root, ben.key, network.root, NULL, NOW_S, &opened),
        LB_INVALID);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(texts_of_every_size_arrive),
        cmocka_unit_test(nothing_of_it_can_be_read_on_the_way),
        cmocka_unit_test(each_is_another_one),
        cmocka_unit_test(a_renewed_reader_reads_what_came_before),
        cmocka_unit_test(one_that_was_cut_is_none),
        cmocka_unit_test(one_that_was_altered_is_none_or_the_same),
        cmocka_unit_test(one_too_long_is_not_looked_at),
        cmocka_unit_test(only_the_reader_opens_it),
        cmocka_unit_test(only_members_read_and_their_own_key_writes),
    };
    int failed;

    make_world();
    failed = RUN_ROWS(sender_rows, senders) + RUN_ROWS(craft_rows, crafted) +
             cmocka_run_group_tests(others, NULL, NULL);
    end_world();
    return failed;
}
