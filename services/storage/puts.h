/* A new version of a key on its way: what put and remove share. */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "services/storage/item.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct storage;

/* The key pair that signs what stands under a program's KEY, and the salt (value.h). */
struct put_key {
    uint8_t seed[ED25519_SEED_SIZE];
    uint8_t public_key[ED25519_KEY_SIZE];
    uint8_t salt[ITEM_SALT_MAX];
    size_t salt_size;
};

/* LB_INVALID, or LB_DENIED when this node has no key of its own; *ret_reason then says why. */
LB_MUST_CHECK lb_err put_key_take(const struct storage *storage, struct bytes key, bool own,
                                  struct put_key *ret_key, const char **ret_reason);

/* Compare-and-set: has_cas false stores whatever stands. */
struct put_compare {
    bool has_cas;
    uint64_t cas;
};

/*
 * Put the mark of a removal as the next version of this key, to live for ttl_s, and answer the call
 * with Stored, or with why it failed. Takes the call.
 */
void put_removal(struct storage *storage, struct call **call, const struct put_key *key,
                 struct put_compare compare, uint32_t ttl_s);
