/*
 * A node's key, certificate, trust anchor and deny list, as transport, swarm, storage, member and
 * coordinator use them: loaded from paths.member_folder, and read again when lb-member has put
 * newer ones there (a renewal, a deny list).
 *
 *     root.pem       the network's root, the trust anchor
 *     member.key     0600
 *     member.pem     the leaf, then its intermediate
 *     coordinators   HOST:PORT a line, newest knowledge first
 *     denied         the deny list (deny_list.h); absent: none yet
 *
 * Each is replaced by rename, synced before. Files of another user, or a key that others may read,
 * are refused at start (LB_DENIED) with a sentence that says what to do.
 */
#pragma once

#include "libcommon/pki/certificate.h"
#include "libcommon/pki/deny_list.h"

#define MEMBERSHIP_COORDINATORS_MAX 16

struct membership; /* opaque */

struct membership_problem {
    char text[512]; /* for a person: which file, what is wrong, what to do */
};

/* The identity must be that of the certificate and of the root, or LB_CORRUPT. */
LB_MUST_CHECK lb_err membership_load(const char *folder, const struct identity *identity,
                                     uint64_t now_s, struct membership **ret_self,
                                     struct membership_problem *ret_problem);
void membership_free(struct membership **self);

enum membership_news {
    MEMBERSHIP_SAME = 0,
    MEMBERSHIP_NEW_CERTIFICATE = 1 << 0,
    MEMBERSHIP_NEW_DENIED = 1 << 1
};

/*
 * To be called at every heartbeat: two stat() calls, and reads what changed. Returns bits of enum
 * membership_news. What cannot be read or does not count is left as it was, and said in the log
 * once.
 */
unsigned membership_refresh(struct membership *self, uint64_t now_s);

/* Borrowed until the next refresh that says so. */
const struct identity *membership_identity(const struct membership *self);
const struct certificate_claims *membership_claims(const struct membership *self);
EVP_PKEY *membership_key(const struct membership *self);
X509 *membership_leaf(const struct membership *self);
X509 *membership_intermediate(const struct membership *self);
X509 *membership_root(const struct membership *self);
const struct deny_list *membership_denied(const struct membership *self); /* NULL: none yet */
size_t membership_coordinators(const struct membership *self, const char *const **ret_addresses);

/*
 * An SSL_CTX with this certificate and trust anchor, both ends verified: VERIFY_PEER |
 * FAIL_IF_NO_PEER_CERT, security level 2, ECDHE and AES-128-GCM or AES-256-GCM or ChaCha20 only, no
 * renegotiation, no compression, depth 2. method: TLS_method() or DTLS_method(), of which the least
 * version is TLS 1.3 or DTLS 1.2. The caller adds tickets, cookies, ALPN. Owned by the caller; it
 * goes on counting after a refresh with what it was made of, so make another on
 * MEMBERSHIP_NEW_CERTIFICATE.
 */
SSL_CTX *membership_new_context(const struct membership *self, const SSL_METHOD *method);

/*
 * After a handshake: who is there? Everything certificate_verify() asks of the peer's chain, with
 * the deny list as it is now. Also at resumption, and for live sessions after
 * MEMBERSHIP_NEW_DENIED.
 */
enum certificate_refusal membership_check_peer(const struct membership *self, SSL *ssl,
                                               uint64_t now_s,
                                               struct certificate_claims *ret_claims);

/* ---- for lb-member, join and network create: they alone write ---- */

LB_MUST_CHECK lb_err membership_put_file(const char *folder, const char *name, struct bytes data,
                                         unsigned mode);
