/*
 * The node's own Ed25519 key, with which `put --own` signs: STATE/keys/node.key, one line of 64
 * hexadecimal digits (the seed), mode 0600, made at the first start and never written again.
 */
#pragma once

#include "libcommon/crypto.h"
#include "libcommon/error.h"

#include <stdint.h>

struct node_key {
    uint8_t seed[ED25519_SEED_SIZE];
    uint8_t public_key[ED25519_KEY_SIZE];
};

/*
 * Read the key, or make it. LB_DENIED when others may read it or it belongs to somebody else,
 * LB_CORRUPT when it is no key, else LB_NO_SPACE or LB_IO: then the node has no key of its own.
 */
LB_MUST_CHECK lb_err node_key_load(const char *state_folder, struct node_key *ret_key);
