/*
 * Join tokens: what an operator hands to a person who is to join, as one word.
 *
 *     lb1.BASE64URL    of: invite id 6 | secret 16 | SHA-256 of the root's key 32
 *                      | 1 to 4 times (u8 size, "HOST:PORT") | the low byte of FNV-1a of all
 *                      before; no padding
 *
 * The joiner compares the root's key before the secret leaves it (THREATS 2.17; kubeadm's
 * --discovery-token-ca-cert-hash). The register keeps only the SHA-256 of the secret. Pure.
 */
#pragma once

#include "libcommon/identity.h"

#define JOIN_INVITE_SIZE   6
#define JOIN_SECRET_SIZE   16
#define JOIN_ADDRESSES_MAX 4
#define JOIN_ADDRESS_SIZE  264  /* HOST:PORT of at most 255 bytes, and a NUL */
#define JOIN_TOKEN_SIZE    1536 /* with its NUL */

struct join_token {
    uint8_t invite[JOIN_INVITE_SIZE];
    uint8_t secret[JOIN_SECRET_SIZE];
    uint8_t network[NETWORK_ID_SIZE];
    char addresses[JOIN_ADDRESSES_MAX][JOIN_ADDRESS_SIZE];
    size_t addresses_count;
};

/* LB_INVALID: no token, or one that was cut or mistyped (its last byte is a check sum). */
LB_MUST_CHECK lb_err join_token_parse(const char *text, struct join_token *ret_self);
/* LB_INVALID: no address, or one that is no HOST:PORT of at most 255 printable bytes. */
LB_MUST_CHECK lb_err join_token_write(const struct join_token *self,
                                      char ret_text[JOIN_TOKEN_SIZE]);
