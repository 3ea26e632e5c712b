/*
 * P-256 keys (DESIGN 3: OpenSSL 3.0 has no DTLS cipher for an Ed25519 leaf), and where they rest.
 *
 * Names are OpenSSL's: EVP_PKEY, X509. A key file is PEM, PKCS #8, mode 0600.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <openssl/types.h>

#define KEY_FILE_MAX    16384
#define KEY_PUBLIC_SIZE 91 /* a SubjectPublicKeyInfo of P-256, the point uncompressed */

EVP_PKEY *key_new(void);
void key_free(EVP_PKEY **self);

/* P-256 by its name and with the point uncompressed, so that one key has one digest. */
bool key_is_p256(const EVP_PKEY *self);

/* Its public half, as the signer and the register know it. The key is one of P-256. */
void key_public(const EVP_PKEY *self, uint8_t ret_der[KEY_PUBLIC_SIZE]);
/* LB_INVALID: not the public half of a key of P-256. */
LB_MUST_CHECK lb_err key_public_parse(struct bytes der, EVP_PKEY **ret_self);

/* SHA-256 of its SubjectPublicKeyInfo: of a root, the network id. */
void key_digest(const EVP_PKEY *self, uint8_t ret_digest[32]);

/*
 * As its digest for a person to compare: "4f1a-92c3-0b7e-55d0" (the first 8 bytes). The same on
 * both ends of an approval.
 */
#define KEY_FINGERPRINT_SIZE 20
void key_fingerprint(const EVP_PKEY *self, char ret_text[KEY_FINGERPRINT_SIZE]);
void key_fingerprint_of(const uint8_t digest[32], char ret_text[KEY_FINGERPRINT_SIZE]);

/*
 * The process is shielded from then on: whoever loads a key need not think of it
 * (libcommon/shield.h). LB_DENIED: the file is another user's, or anybody but its owner may read
 * it. LB_NOT_FOUND, LB_IO, LB_CORRUPT.
 */
LB_MUST_CHECK lb_err key_load(const char *path, EVP_PKEY **ret_self);

/* Made new, 0600, synced; LB_EXISTS when there is one. LB_NO_SPACE, LB_IO. */
LB_MUST_CHECK lb_err key_save(const EVP_PKEY *self, const char *path);
