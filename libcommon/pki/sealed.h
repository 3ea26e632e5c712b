/*
 * Private messages at rest: signed by the sender, then encrypted for one recipient, as CMS
 * (RFC 5652, 5753: ECDH with P-256; RFC 5084: AES-256-GCM), by OpenSSL.
 *
 * Inside the signature stand recipient and time beside the text, so that nobody can pass a message
 * on as one to somebody else (surreptitious forwarding): "LBMAIL1\0" | recipient node id 20 |
 * sent_s u64 | random 16 | text.
 */
#pragma once

#include "libcommon/pki/certificate.h"

#define SEALED_TEXT_MAX  (32u * 1024)
#define SEALED_BYTES_MAX (SEALED_TEXT_MAX + 8192)
#define SEALED_ID_SIZE   32 /* SHA-256 of the sealed bytes: names the message everywhere */

struct opened {
    struct certificate_claims sender;
    uint64_t sent_s;
    uint8_t *text; /* the caller frees */
    size_t text_size;
};

/* leaf, intermediate and key: the sender's. recipient: a leaf that was verified. LB_TOO_BIG. */
LB_MUST_CHECK lb_err sealed_make(struct bytes text, X509 *leaf, X509 *intermediate, EVP_PKEY *key,
                                 X509 *recipient, uint64_t now_s, uint8_t **ret_sealed,
                                 size_t *ret_size);

/*
 * LB_CORRUPT: not for this key, altered, or not signed by who it says. LB_DENIED: by a leaf that
 * does not count for this root at sent_s, or is denied now. LB_INVALID.
 */
LB_MUST_CHECK lb_err sealed_open(struct bytes sealed, X509 *leaf, EVP_PKEY *key, X509 *root,
                                 const struct deny_list *denied, uint64_t now_s,
                                 struct opened *ret_opened);
