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
 *     intermediates  of all coordinators, as one told us; absent: our own is all we know
 *     reached        when a coordinator was reached last, seconds since 1970; absent: never
 *
 * Each is replaced by rename, synced before. Files of another user, or a key that others may read,
 * are refused at start (LB_DENIED) with a sentence that says what to do.
 */
#pragma once

#include "libcommon/pki/certificate.h"
#include "libcommon/pki/deny_list.h"

#include <openssl/ssl.h>

#define MEMBERSHIP_COORDINATORS_MAX  16
#define MEMBERSHIP_INTERMEDIATES_MAX 16    /* seven, and those before them for their last week */
#define MEMBERSHIP_KNOWN_MAX         4096u /* nodes; who gives way to another counts as new */
#define MEMBERSHIP_ALONE_S           (24u * 3600) /* THREATS 2.20 */

struct membership; /* opaque */

struct membership_problem {
    char text[512]; /* for a person: which file, what is wrong, what to do */
};

/*
 * The identity must be that of the certificate and of the root, or LB_CORRUPT. A leaf that has
 * expired is taken, since it is this node that is to renew it: see membership_claims().
 */
LB_MUST_CHECK lb_err membership_load(const char *folder, const struct identity *identity,
                                     uint64_t now_s, struct membership **ret_self,
                                     struct membership_problem *ret_problem);

/*
 * The same from memory, without a folder, for simulators and tests: refresh has no news. Keeps
 * references of its own.
 */
struct membership_parts {
    struct identity identity;
    EVP_PKEY *key;
    X509 *leaf, *intermediate, *root;
};
LB_MUST_CHECK lb_err membership_new(const struct membership_parts *parts, uint64_t now_s,
                                    struct membership **ret_self);
void membership_free(struct membership **self);

enum membership_news {
    MEMBERSHIP_SAME = 0,
    MEMBERSHIP_NEW_CERTIFICATE = 1 << 0,
    MEMBERSHIP_NEW_DENIED = 1 << 1,
    MEMBERSHIP_NEW_COORDINATORS = 1 << 2,
    MEMBERSHIP_NEW_INTERMEDIATES = 1 << 3
};

/*
 * To be called at every heartbeat: five stat() calls, and reads what changed. Returns bits of enum
 * membership_news. What cannot be read or does not count is left as it was, and said in the log
 * once.
 */
unsigned membership_refresh(struct membership *self, uint64_t now_s);

/* Takes a list that was verified. False: it does not follow the one there (deny_list_follows()). */
bool membership_take_denied(struct membership *self, struct deny_list **denied);

/* Borrowed until the next refresh that says so. */
const struct identity *membership_identity(const struct membership *self);
const struct certificate_claims *membership_claims(const struct membership *self);
EVP_PKEY *membership_key(const struct membership *self);
X509 *membership_leaf(const struct membership *self);
X509 *membership_intermediate(const struct membership *self);
X509 *membership_root(const struct membership *self);
/* Those of all coordinators that we were told of; ours among them, or not. */
size_t membership_intermediates(const struct membership *self, X509 *const **ret_intermediates);
const struct deny_list *membership_denied(const struct membership *self); /* NULL: none yet */
size_t membership_coordinators(const struct membership *self, const char *const **ret_addresses);

/*
 * An SSL_CTX with this certificate and trust anchor, both ends verified: VERIFY_PEER |
 * FAIL_IF_NO_PEER_CERT, security level 2, ECDHE and AES-128-GCM or AES-256-GCM or ChaCha20 only, no
 * renegotiation, no compression, depth 2. method: TLS_method() or DTLS_method(), of which the least
 * version is TLS 1.3 or DTLS 1.2. Owned by the caller; it goes on counting after a refresh with
 * what it was made of, so make another on MEMBERSHIP_NEW_CERTIFICATE.
 *
 * It resumes nothing: who wants tickets clears SSL_OP_NO_TICKET, sets SSL_CTX_set_num_tickets() and
 * asks membership_check_peer() at every resumption. The session id context is the network's. The
 * caller adds cookies and ALPN.
 *
 * The intermediates that we know help to verify a peer that sends its leaf alone, as libtorrent
 * does. With MEMBERSHIP_NEW_INTERMEDIATES a new context has them all.
 */
SSL_CTX *membership_new_context(const struct membership *self, const SSL_METHOD *method);

/*
 * The same for who has no certificate yet: it shows none and trusts nobody (SSL_VERIFY_NONE), so
 * the caller verifies the chain it gets before it says anything (join).
 */
SSL_CTX *membership_joiner_context(const SSL_METHOD *method);

/*
 * After a handshake: who is there? Everything certificate_verify() asks of the peer's chain, with
 * the deny list as it is now; of a chain that the handshake has verified already (with
 * SSL_VERIFY_PEER), or that in which a resumed session began, what may have changed since: a few
 * microseconds. Also for live sessions after MEMBERSHIP_NEW_DENIED. REFUSED_RESUMED_REVOKED:
 * revoked, and the session was resumed.
 */
enum certificate_refusal membership_check_peer(const struct membership *self, SSL *ssl,
                                               uint64_t now_s,
                                               struct certificate_claims *ret_claims);

/*
 * ---- without coordinators ----
 *
 * A revocation comes by the deny list, and who hears of none may have been kept from hearing. So
 * whom this node knows, or whose session is resumed, is spoken with whatever happens (but for the
 * deny list); a day without news somebody new is let in only if its own certificate shows that a
 * coordinator has vouched for it within a day. The others wait until there are news: of a
 * coordinator that answers, with a majority or without, of a newer deny list, of a renewal.
 *
 * When there were news last, by our clock; 0: never.
 */
uint64_t membership_news_s(const struct membership *self, uint64_t now_s);
bool membership_is_alone(const struct membership *self, uint64_t now_s); /* for a day */

/* After membership_check_peer(): REFUSED_NOT, and known from now on; or REFUSED_NO_NEWS. */
enum certificate_refusal membership_admit(struct membership *self,
                                          const struct certificate_claims *peer, bool is_resumed,
                                          uint64_t now_s);

/*
 * After SSL_do_handshake() or SSL_read() has failed (SSL_ERROR_SSL): why, as far as it is the
 * peer's certificate or protocol that we refuse, or REFUSED_OTHER. Empties OpenSSL's error queue.
 */
enum certificate_refusal membership_handshake_refusal(const SSL *ssl);

/*
 * In a callback of SSL_CTX_set_info_callback(): does it tell that the peer wanted to renegotiate?
 * OpenSSL refuses it by a warning, and the session goes on.
 */
bool membership_is_renegotiation(int where, int ret);

/* ---- for lb-member, join and network create: they alone write ---- */

/* Done as root, the file is given to the folder's user (libcommon/stored.h). */
LB_MUST_CHECK lb_err membership_put_file(const char *folder, const char *name, struct bytes data,
                                         unsigned mode);

/*
 * A coordinator has said which intermediates there are, DER: those that count are written, if one
 * of them is new, with those known before. before NULL: none are.
 */
struct membership_told {
    X509 *root;
    const struct bytes *ders;
    size_t count;
};
LB_MUST_CHECK lb_err membership_put_intermediates(const char *folder,
                                                  const struct membership *before,
                                                  const struct membership_told *told,
                                                  uint64_t now_s);

/* A coordinator has answered, now. */
LB_MUST_CHECK lb_err membership_put_reached(const char *folder, uint64_t now_s);
