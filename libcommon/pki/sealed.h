/*
 * Private messages at rest: signed by the sender, then encrypted for one recipient, as CMS
 * (RFC 5652, 5753: ECDH with P-256; RFC 5084: AES-256-GCM), by OpenSSL.
 *
 * Inside the signature stand recipient and time beside the text, so that nobody can pass a message
 * on as one to somebody else (surreptitious forwarding): "LBMAIL1\0" | recipient node id 20 |
 * sent_s u64 | nonce 16, random | text.
 *
 * The sealed bytes have an outside that is not signed: who holds a message could write it in
 * another way, under another id. Sender and nonce together are the same however it comes.
 */
#pragma once

#include "libcommon/pki/certificate.h"

#define SEALED_TEXT_MAX   (32u * 1024)
#define SEALED_BYTES_MAX  (SEALED_TEXT_MAX + 8192)
#define SEALED_ID_SIZE    32 /* SHA-256 of the sealed bytes: names the message everywhere */
#define SEALED_NONCE_SIZE 16

/* A message waits for its recipient 30 days at most (proto/peer.proto), then nobody takes it. */
#define SEALED_AGE_MAX_S   (31u * 24 * 3600)
#define SEALED_AHEAD_MAX_S (24u * 3600) /* a sender's clock (THREATS 2.19) */

struct opened {
    struct certificate_claims sender;
    uint64_t sent_s;
    uint8_t nonce[SEALED_NONCE_SIZE]; /* with sender.node: which message this is */
    uint8_t *text;                    /* and a NUL behind it; the caller frees */
    size_t text_size;
};

/* leaf, intermediate and key: the sender's. recipient: a leaf that was verified. LB_TOO_BIG;
 * LB_INVALID: recipient is no leaf of ours, or the key is not leaf's. */
LB_MUST_CHECK lb_err sealed_make(struct bytes text, X509 *leaf, X509 *intermediate, EVP_PKEY *key,
                                 X509 *recipient, uint64_t now_s, uint8_t **ret_sealed,
                                 size_t *ret_size);

/*
 * LB_CORRUPT: not for this key, altered, or not signed by who it says. LB_DENIED: by a leaf that
 * does not count for this root at sent_s, or is denied now; or too old, or from the future.
 * LB_INVALID. leaf says who we are; the key alone opens, also what was sealed for an earlier leaf.
 */
LB_MUST_CHECK lb_err sealed_open(struct bytes sealed, X509 *leaf, EVP_PKEY *key, X509 *root,
                                 const struct deny_list *denied, uint64_t now_s,
                                 struct opened *ret_opened);
