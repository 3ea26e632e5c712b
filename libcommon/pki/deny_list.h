/*
 * The deny list: which members the network has put out. Numbered, signed by a coordinator's
 * intermediate, handed from node to node (proto/peer.proto); a higher number replaces a lower one.
 *
 * A revoked node is denied as a node, whatever certificates it has, until the last of them has
 * expired and nothing that was sealed with it is taken any more (SEALED_AGE_MAX_S); then its row
 * leaves the list. A coordinator that was put out could still sign for anybody, so its intermediate
 * is denied too, and with it all that it has signed: a row of its key identifier. It looks like
 * that of a node, of 8 bytes and 12 zeros; ids of nodes are random. Bytes, big endian:
 *
 *     "LBDENY1\0" | network id 32 | number u64 | made_s u64 | count u32
 *     | count x (node id 20 | until_s u64), sorted by node id, each once
 *     | u16 size, the signing intermediate's DER | u16 size, ECDSA-SHA256 over all before it
 */
#pragma once

#include "libcommon/identity.h"
#include "libcommon/pki/key.h"

#include <stdbool.h>

#define DENY_LIST_ROWS_MAX  10000
#define DENY_LIST_BYTES_MAX (64 + DENY_LIST_ROWS_MAX * 28 + 4 + 2048 + 128)

struct deny_row {
    struct node_id node;
    uint64_t until_s;
};

struct deny_list; /* opaque */

/*
 * LB_CORRUPT: not signed by an intermediate of this root, or it does not count at now_s, or the
 * list itself denies it. LB_INVALID.
 */
LB_MUST_CHECK lb_err deny_list_parse(struct bytes data, X509 *root, uint64_t now_s,
                                     struct deny_list **ret_self);
/* One that was verified when it came: its signer may have expired since it was made. */
LB_MUST_CHECK lb_err deny_list_parse_kept(struct bytes data, X509 *root,
                                          struct deny_list **ret_self);
void deny_list_free(struct deny_list **self);

uint64_t deny_list_number(const struct deny_list *self); /* NULL: 0 */
uint64_t deny_list_made_s(const struct deny_list *self);
size_t deny_list_count(const struct deny_list *self);
bool deny_list_has(const struct deny_list *self, const struct node_id *node); /* NULL: no */

/* The row of an intermediate's key identifier (certificate_key_id()), and is there one? */
#define DENY_LIST_KEY_SIZE 8 /* CERTIFICATE_KEY_ID_SIZE */
struct node_id deny_list_key(const uint8_t key_id[DENY_LIST_KEY_SIZE]);
bool deny_list_has_key(const struct deny_list *self, const uint8_t key_id[DENY_LIST_KEY_SIZE]);

/* Does it take the place of `held` (NULL: none yet)? It is newer, and held does not deny its
 * signer.
 */
bool deny_list_follows(const struct deny_list *self, const struct deny_list *held);

/*
 * What is to be signed (rows sorted here; each node once), then the whole. The signature is made by
 * lb-signer: signing_digest is SHA-256. LB_TOO_BIG: more than DENY_LIST_ROWS_MAX.
 */
LB_MUST_CHECK lb_err deny_list_body(const uint8_t network[NETWORK_ID_SIZE], uint64_t number,
                                    uint64_t made_s, struct deny_row *rows, size_t count,
                                    X509 *intermediate, uint8_t **ret_body, size_t *ret_size);
/* body is realloc'ed by the signature; the caller frees. */
void deny_list_add_signature(uint8_t **body, size_t *size, struct bytes signature);

/* Both at once, by who holds the key of that intermediate. */
void deny_list_sign(uint8_t **body, size_t *size, EVP_PKEY *intermediate_key);
