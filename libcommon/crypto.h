/*
 * Hashes and signatures, by OpenSSL. A library of its own (lb_crypto), since OpenSSL costs 1.4 MB a
 * process: only storage and swarm link it. No I/O and no clock, but it allocates.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE         20
#define SHA256_SIZE       32
#define ED25519_KEY_SIZE  32
#define ED25519_SEED_SIZE 32
#define ED25519_SIGN_SIZE 64

void sha1(struct bytes data, uint8_t ret_digest[SHA1_SIZE]);
void sha256(struct bytes data, uint8_t ret_digest[SHA256_SIZE]);

/* Over several parts. */
struct hasher; /* opaque */
struct hasher *hasher_new_sha1(void);
struct hasher *hasher_new_sha256(void);
void hasher_reset(struct hasher *self);
void hasher_add(struct hasher *self, struct bytes data);
void hasher_finish(struct hasher *self, uint8_t *ret_digest); /* then reset before the next use */
void hasher_free(struct hasher **self);

void ed25519_public_key(const uint8_t seed[ED25519_SEED_SIZE], uint8_t ret_key[ED25519_KEY_SIZE]);
void ed25519_sign(const uint8_t seed[ED25519_SEED_SIZE], struct bytes message,
                  uint8_t ret_signature[ED25519_SIGN_SIZE]);
bool ed25519_verify(const uint8_t key[ED25519_KEY_SIZE], struct bytes message,
                    const uint8_t signature[ED25519_SIGN_SIZE]);
