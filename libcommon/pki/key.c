#include "libcommon/pki/key.h"

#include "libcommon/memory.h"
#include "libcommon/shield.h"
#include "libcommon/stored.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done) {
        abort();
    }
}

EVP_PKEY *key_new(void)
{
    EVP_PKEY *self = EVP_EC_gen("P-256");

    must(self != NULL);
    return self;
}

void key_free(EVP_PKEY **self)
{
    EVP_PKEY_free(*self);
    *self = NULL;
}

bool key_is_p256(const EVP_PKEY *self)
{
    char group[32];
    bool is;

    ERR_set_mark();
    is = EVP_PKEY_is_a(self, "EC") &&
         EVP_PKEY_get_utf8_string_param(self, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                        NULL) == 1 &&
         strcmp(group, SN_X9_62_prime256v1) == 0 && i2d_PUBKEY(self, NULL) == KEY_PUBLIC_SIZE;
    ERR_pop_to_mark();
    return is;
}

void key_public(const EVP_PKEY *self, uint8_t ret_der[KEY_PUBLIC_SIZE])
{
    must(key_is_p256(self) && i2d_PUBKEY(self, &ret_der) == KEY_PUBLIC_SIZE);
}

lb_err key_public_parse(struct bytes der, EVP_PKEY **ret_self)
{
    uint8_t again[KEY_PUBLIC_SIZE];
    const uint8_t *at = der.data;
    EVP_PKEY *self;

    if (der.size != KEY_PUBLIC_SIZE) {
        return LB_INVALID;
    }
    ERR_set_mark();
    self = d2i_PUBKEY(NULL, &at, (long)der.size);
    ERR_pop_to_mark();
    if (!self || !key_is_p256(self)) {
        EVP_PKEY_free(self);
        return LB_INVALID;
    }
    /* OpenSSL also takes a bit string with bits unused at its end: that is another encoding. */
    key_public(self, again);
    if (memcmp(again, der.data, KEY_PUBLIC_SIZE) != 0) {
        EVP_PKEY_free(self);
        return LB_INVALID;
    }
    *ret_self = self;
    return LB_OK;
}

void key_digest(const EVP_PKEY *self, uint8_t ret_digest[32])
{
    uint8_t *der = NULL;
    int size = i2d_PUBKEY(self, &der);

    must(size > 0 && EVP_Digest(der, (size_t)size, ret_digest, NULL, EVP_sha256(), NULL) == 1);
    OPENSSL_free(der);
}

void key_fingerprint(const EVP_PKEY *self, char ret_text[KEY_FINGERPRINT_SIZE])
{
    uint8_t digest[32];

    key_digest(self, digest);
    key_fingerprint_of(digest, ret_text);
}

void key_fingerprint_of(const uint8_t digest[32], char ret_text[KEY_FINGERPRINT_SIZE])
{
    snprintf(ret_text, KEY_FINGERPRINT_SIZE, "%02x%02x-%02x%02x-%02x%02x-%02x%02x", digest[0],
             digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]);
}

/* A key under a pass phrase is none of ours, and nobody is to be asked for one. */
static int no_phrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

lb_err key_load(const char *path, EVP_PKEY **ret_self)
{
    struct stored file;
    lb_err err = shield_process();
    EVP_PKEY *self;
    BIO *bio;

    if (err == LB_OK) {
        err = stored_read(path, KEY_FILE_MAX, STORED_SECRET, &file);
    }
    if (err != LB_OK) {
        return err == LB_TOO_BIG ? LB_CORRUPT : err;
    }
    ERR_set_mark();
    bio = BIO_new_mem_buf(file.data, (int)file.size);
    must(bio != NULL);
    self = PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL);
    BIO_free(bio);
    ERR_pop_to_mark();
    stored_free(&file);
    if (!self || !key_is_p256(self)) {
        EVP_PKEY_free(self);
        return LB_CORRUPT;
    }
    *ret_self = self;
    return LB_OK;
}

/* "a/b/c" in "a/b" and "c". */
static bool split(const char *path, char ret_folder[PATH_MAX], const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;

    if (size >= PATH_MAX) {
        return false;
    }
    if (!slash) {
        strcpy(ret_folder, ".");
    } else if (size == 0) {
        strcpy(ret_folder, "/");
    } else {
        memcpy(ret_folder, path, size);
        ret_folder[size] = '\0';
    }
    *ret_name = slash ? slash + 1 : path;
    return **ret_name != '\0';
}

lb_err key_save(const EVP_PKEY *self, const char *path)
{
    char folder[PATH_MAX];
    const char *name;
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when it is freed */
    long size;
    lb_err err;

    must(bio && PEM_write_bio_PKCS8PrivateKey(bio, self, NULL, NULL, 0, NULL, NULL) == 1);
    size = BIO_get_mem_data(bio, &text);
    err = split(path, folder, &name) ? stored_make(folder, name, bytes_of(text, (size_t)size), 0600)
                                     : LB_IO;
    BIO_free(bio);
    return err;
}
