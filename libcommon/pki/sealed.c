#include "libcommon/pki/sealed.h"

#include "libcommon/memory.h"
#include "libcommon/pki/deny_list.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[8] = "LBMAIL1"; /* with its NUL */

#define HEAD_SIZE (sizeof(magic) + NODE_ID_SIZE + 8 + SEALED_NONCE_SIZE)

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done) {
        abort();
    }
}

static BIO *reader_of(struct bytes data)
{
    BIO *bio = BIO_new_mem_buf(data.data, (int)data.size);

    must(bio != NULL);
    return bio;
}

/* Borrowed until the BIO is freed. */
static struct bytes content_of(BIO *bio)
{
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);

    return bytes_of(data, size > 0 ? (size_t)size : 0);
}

/* ---- making ---- */

/* What is signed. The caller wipes and frees. */
static uint8_t *letter_of(struct bytes text, const struct node_id *recipient, uint64_t now_s,
                          size_t *ret_size)
{
    uint8_t nonce[SEALED_NONCE_SIZE];
    struct writer writer;

    must(RAND_bytes(nonce, sizeof(nonce)) == 1);
    writer_init(&writer, xmalloc(HEAD_SIZE + text.size), HEAD_SIZE + text.size);
    writer_put(&writer, magic, sizeof(magic));
    writer_put(&writer, recipient->bytes, NODE_ID_SIZE);
    writer_u64(&writer, now_s);
    writer_put(&writer, nonce, sizeof(nonce));
    writer_put(&writer, text.data, text.size);
    assert(!writer.overflow);
    *ret_size = writer.size;
    return writer.data;
}

/* A SignedData with both certificates in it, as DER in a BIO. */
static BIO *sign_letter(struct bytes letter, X509 *leaf, X509 *intermediate, EVP_PKEY *key)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *in = reader_of(letter), *out = BIO_new(BIO_s_secmem());
    CMS_ContentInfo *cms;

    must(chain && out && sk_X509_push(chain, intermediate) > 0);
    cms = CMS_sign(leaf, key, chain, in, CMS_BINARY | CMS_NOSMIMECAP);
    must(cms && i2d_CMS_bio(out, cms) == 1);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    sk_X509_free(chain);
    return out;
}

/* An AuthEnvelopedData for one, as DER in a BIO. */
static BIO *encrypt_for(BIO *in, X509 *recipient)
{
    const unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_KEY_PARAM;
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_256_gcm(), CMS_BINARY | CMS_PARTIAL);
    CMS_RecipientInfo *info = cms ? CMS_add1_recipient_cert(cms, recipient, flags) : NULL;
    BIO *out = BIO_new(BIO_s_mem());

    must(info && out &&
         EVP_PKEY_CTX_set_ecdh_kdf_md(CMS_RecipientInfo_get0_pkey_ctx(info), EVP_sha256()) == 1 &&
         CMS_final(cms, in, NULL, CMS_BINARY) == 1 && i2d_CMS_bio(out, cms) == 1);
    CMS_ContentInfo_free(cms);
    return out;
}

lb_err sealed_make(struct bytes text, X509 *leaf, X509 *intermediate, EVP_PKEY *key,
                   X509 *recipient, uint64_t now_s, uint8_t **ret_sealed, size_t *ret_size)
{
    struct certificate_claims to;
    struct bytes sealed;
    size_t letter_size;
    uint8_t *letter;
    BIO *is_signed, *encrypted;

    if (text.size > SEALED_TEXT_MAX) {
        return LB_TOO_BIG;
    }
    if (certificate_read(recipient, &to) != LB_OK || !certificate_key_is_p256(recipient) ||
        X509_check_private_key(leaf, key) != 1) {
        ERR_clear_error();
        return LB_INVALID;
    }
    letter = letter_of(text, &to.node, now_s, &letter_size);
    is_signed = sign_letter(bytes_of(letter, letter_size), leaf, intermediate, key);
    encrypted = encrypt_for(is_signed, recipient);
    sealed = content_of(encrypted);
    assert(sealed.size > 0 && sealed.size <= SEALED_BYTES_MAX);
    *ret_sealed = xmemdup(sealed.data, sealed.size);
    *ret_size = sealed.size;
    BIO_free(encrypted);
    BIO_free(is_signed);
    explicit_bzero(letter, letter_size);
    free(letter);
    return LB_OK;
}

/* ---- opening ---- */

static CMS_ContentInfo *parse(struct bytes der, int type)
{
    const uint8_t *at = der.data;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.size);

    if (cms && (at != der.data + der.size || OBJ_obj2nid(CMS_get0_type(cms)) != type)) {
        CMS_ContentInfo_free(cms);
        return NULL;
    }
    return cms;
}

/* To one, by key agreement: a message with a thousand would have us try a thousand keys. */
static bool is_for_one(CMS_ContentInfo *cms)
{
    STACK_OF(CMS_RecipientInfo) *infos = CMS_get0_RecipientInfos(cms);
    STACK_OF(CMS_RecipientEncryptedKey) * keys;
    CMS_RecipientInfo *info;

    if (sk_CMS_RecipientInfo_num(infos) != 1) {
        return false;
    }
    info = sk_CMS_RecipientInfo_value(infos, 0);
    if (CMS_RecipientInfo_type(info) != CMS_RECIPINFO_AGREE) {
        return false;
    }
    keys = CMS_RecipientInfo_kari_get0_reks(info);
    return sk_CMS_RecipientEncryptedKey_num(keys) == 1;
}

/*
 * The SignedData inside, in a BIO, or NULL. By the key alone, whichever of our certificates it was
 * sealed for: renewal keeps the key.
 */
static BIO *decrypt(struct bytes sealed, EVP_PKEY *key)
{
    CMS_ContentInfo *cms = parse(sealed, NID_id_smime_ct_authEnvelopedData);
    BIO *out = BIO_new(BIO_s_secmem());

    must(out != NULL);
    if (!cms || !is_for_one(cms) || CMS_decrypt_set1_pkey(cms, key, NULL) != 1 ||
        CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY) != 1) {
        BIO_free(out);
        out = NULL;
    }
    CMS_ContentInfo_free(cms);
    return out;
}

/*
 * One signature, with SHA-256, over attributes. Without those it would be over the text as it
 * stands, and what a DTLS 1.2 server signs (RFC 8422, 5.4) begins with 32 bytes that its client has
 * chosen: it could begin as a letter does.
 */
static bool is_signed_our_way(CMS_ContentInfo *cms)
{
    STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
    CMS_SignerInfo *info;
    X509_ALGOR *digest = NULL;
    const ASN1_OBJECT *algorithm = NULL;

    if (sk_CMS_SignerInfo_num(infos) != 1) {
        return false;
    }
    info = sk_CMS_SignerInfo_value(infos, 0);
    CMS_SignerInfo_get0_algs(info, NULL, NULL, &digest, NULL);
    X509_ALGOR_get0(&algorithm, NULL, NULL, digest);
    return OBJ_obj2nid(algorithm) == NID_sha256 && CMS_signed_get_attr_count(info) > 0;
}

struct letter {
    BIO *content;           /* what was signed */
    X509 *signer;           /* owned */
    STACK_OF(X509) * chain; /* owned, of owned ones */
};

static void letter_done(struct letter *self)
{
    BIO_free(self->content);
    X509_free(self->signer);
    sk_X509_pop_free(self->chain, X509_free);
}

/* The signature holds, by a certificate that came with it; whose that is, is not yet asked. */
static bool check_signature(struct bytes data, struct letter *ret_letter)
{
    CMS_ContentInfo *cms = parse(data, NID_pkcs7_signed);
    STACK_OF(X509) *signers = NULL;
    BIO *content = BIO_new(BIO_s_secmem());
    bool holds;

    must(content != NULL);
    holds = cms && is_signed_our_way(cms) &&
            CMS_verify(cms, NULL, NULL, NULL, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) == 1;
    if (holds) {
        signers = CMS_get0_signers(cms);
        must(signers && sk_X509_num(signers) == 1);
        ret_letter->content = content;
        ret_letter->signer = sk_X509_value(signers, 0);
        ret_letter->chain = CMS_get1_certs(cms);
        must(X509_up_ref(ret_letter->signer) == 1 && ret_letter->chain);
        sk_X509_free(signers);
    } else {
        BIO_free(content);
    }
    CMS_ContentInfo_free(cms);
    return holds;
}

/* Not written in the future, nor so long ago that the deny list has forgotten who wrote it. */
static bool is_of_our_time(uint64_t sent_s, uint64_t now_s)
{
    return sent_s <= now_s + SEALED_AHEAD_MAX_S && now_s <= sent_s + SEALED_AGE_MAX_S;
}

static lb_err check_sender(const struct letter *letter, uint64_t sent_s, X509 *root,
                           const struct deny_list *denied, struct certificate_claims *ret_sender)
{
    return certificate_verify(letter->signer, letter->chain, root, denied, sent_s, ret_sender) ==
                   REFUSED_NOT
               ? LB_OK
               : LB_DENIED;
}

static lb_err read_letter(const struct letter *letter, const struct node_id *us, X509 *root,
                          const struct deny_list *denied, uint64_t now_s, struct opened *ret_opened)
{
    struct bytes data = content_of(letter->content);
    struct opened opened;
    const uint8_t *at = data.data + sizeof(magic);

    if (data.size < HEAD_SIZE || data.size > HEAD_SIZE + SEALED_TEXT_MAX ||
        memcmp(data.data, magic, sizeof(magic)) != 0) {
        return LB_INVALID;
    }
    if (memcmp(at, us->bytes, NODE_ID_SIZE) != 0) {
        return LB_CORRUPT; /* for another, who passed it on */
    }
    opened.sent_s = load_u64(at + NODE_ID_SIZE);
    if (opened.sent_s > CERTIFICATE_TIME_MAX_S || !is_of_our_time(opened.sent_s, now_s) ||
        check_sender(letter, opened.sent_s, root, denied, &opened.sender) != LB_OK) {
        return LB_DENIED;
    }
    memcpy(opened.nonce, at + NODE_ID_SIZE + 8, SEALED_NONCE_SIZE);
    opened.text_size = data.size - HEAD_SIZE;
    opened.text = xmalloc(opened.text_size + 1);
    memcpy(opened.text, data.data + HEAD_SIZE, opened.text_size);
    opened.text[opened.text_size] = '\0';
    *ret_opened = opened;
    return LB_OK;
}

static lb_err open_it(struct bytes sealed, const struct node_id *us, EVP_PKEY *key, X509 *root,
                      const struct deny_list *denied, uint64_t now_s, struct opened *ret_opened)
{
    BIO *is_signed = decrypt(sealed, key);
    struct letter letter;
    lb_err err = LB_CORRUPT;

    if (is_signed && check_signature(content_of(is_signed), &letter)) {
        err = read_letter(&letter, us, root, denied, now_s, ret_opened);
        letter_done(&letter);
    }
    BIO_free(is_signed);
    return err;
}

lb_err sealed_open(struct bytes sealed, X509 *leaf, EVP_PKEY *key, X509 *root,
                   const struct deny_list *denied, uint64_t now_s, struct opened *ret_opened)
{
    struct certificate_claims us;
    lb_err err;

    if (sealed.size == 0 || sealed.size > SEALED_BYTES_MAX ||
        certificate_read(leaf, &us) != LB_OK) {
        return LB_INVALID;
    }
    ERR_set_mark();
    err = open_it(sealed, &us.node, key, root, denied, now_s, ret_opened);
    ERR_pop_to_mark();
    return err;
}
