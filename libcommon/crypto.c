#include "libcommon/crypto.h"

#include "libcommon/memory.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

/*
 * Looking an algorithm up costs more than hashing a small message, so both are fetched once; they
 * are constant from then on and never freed.
 */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *md_sha1;
static EVP_MD *md_sha256;

struct hasher {
    EVP_MD_CTX *context;
    const EVP_MD *md;
};

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done)
        abort();
}

static void fetch(void)
{
    md_sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    md_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(md_sha1 && md_sha256);
}

void sha1(struct bytes data, uint8_t ret_digest[SHA1_SIZE])
{
    pthread_once(&fetched, fetch);
    must(EVP_Digest(data.data, data.size, ret_digest, NULL, md_sha1, NULL) == 1);
}

void sha256(struct bytes data, uint8_t ret_digest[SHA256_SIZE])
{
    pthread_once(&fetched, fetch);
    must(EVP_Digest(data.data, data.size, ret_digest, NULL, md_sha256, NULL) == 1);
}

static struct hasher *hasher_new(const EVP_MD *md)
{
    struct hasher *self = xcalloc(1, sizeof(*self));

    self->md = md;
    self->context = EVP_MD_CTX_new();
    must(self->context != NULL);
    hasher_reset(self);
    return self;
}

struct hasher *hasher_new_sha1(void)
{
    pthread_once(&fetched, fetch);
    return hasher_new(md_sha1);
}

struct hasher *hasher_new_sha256(void)
{
    pthread_once(&fetched, fetch);
    return hasher_new(md_sha256);
}

void hasher_reset(struct hasher *self)
{
    must(EVP_DigestInit_ex2(self->context, self->md, NULL) == 1);
}

void hasher_add(struct hasher *self, struct bytes data)
{
    must(EVP_DigestUpdate(self->context, data.data, data.size) == 1);
}

void hasher_finish(struct hasher *self, uint8_t *ret_digest)
{
    must(EVP_DigestFinal_ex(self->context, ret_digest, NULL) == 1);
}

void hasher_free(struct hasher **self)
{
    if (!*self)
        return;
    EVP_MD_CTX_free((*self)->context);
    free(*self);
    *self = NULL;
}

void ed25519_public_key(const uint8_t seed[ED25519_SEED_SIZE], uint8_t ret_key[ED25519_KEY_SIZE])
{
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_SEED_SIZE);
    size_t size = ED25519_KEY_SIZE;

    must(pair && EVP_PKEY_get_raw_public_key(pair, ret_key, &size) == 1 &&
         size == ED25519_KEY_SIZE);
    EVP_PKEY_free(pair);
}

void ed25519_sign(const uint8_t seed[ED25519_SEED_SIZE], struct bytes message,
                  uint8_t ret_signature[ED25519_SIGN_SIZE])
{
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_SEED_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = ED25519_SIGN_SIZE;

    must(pair && context && EVP_DigestSignInit(context, NULL, NULL, NULL, pair) == 1);
    must(EVP_DigestSign(context, ret_signature, &size, message.data, message.size) == 1);
    must(size == ED25519_SIGN_SIZE);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
}

/* key and signature come from strangers: whatever OpenSSL refuses is a signature that does not
 * hold. */
bool ed25519_verify(const uint8_t key[ED25519_KEY_SIZE], struct bytes message,
                    const uint8_t signature[ED25519_SIGN_SIZE])
{
    EVP_PKEY *public_key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool holds;

    must(context != NULL);
    holds =
        public_key && EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1 &&
        EVP_DigestVerify(context, signature, ED25519_SIGN_SIZE, message.data, message.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return holds;
}
