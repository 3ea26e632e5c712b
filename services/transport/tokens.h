/*
 * Write tokens: what get_peers and get hand out and announce_peer and put must bring back.
 *
 * A token is SipHash-2-4 of the asker's IP address and the number of the current period of 5
 * minutes under a secret key: 8 bytes. Those of this period and of the one before are accepted, so
 * one lives 5 to 10 minutes (BEP 5; THREATS 2.7). Deriving both from one key instead of drawing a
 * new secret keeps nothing to rotate, and lets every worker of a node accept the others' tokens and
 * those of its predecessor. Comparing takes the same time for every guess. Pure; libsodium does the
 * hash.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_SIZE       8
#define TOKENS_KEY_SIZE  16
#define TOKENS_PERIOD_MS 300000u /* BEP 5: "changes every five minutes" */

struct tokens {
    uint8_t key[TOKENS_KEY_SIZE];
};

/* key: from the kernel, known to this node only. */
void tokens_init(struct tokens *self, const uint8_t key[TOKENS_KEY_SIZE]);

/* For the IP of this address; the port does not matter (it changes behind a NAT). */
void tokens_give(const struct tokens *self, const struct address *to, uint64_t now_ms,
                 uint8_t ret_token[TOKEN_SIZE]);
bool tokens_accept(const struct tokens *self, const struct address *from, struct bytes token,
                   uint64_t now_ms);
