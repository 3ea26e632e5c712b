/*
 * Secure streams: TLS 1.3 around what is said to a peer, on a private network.
 *
 * The wire is that of libtorrent's SSL torrents (libtorrent 2.0, manual, "SSL torrents";
 * session_impl.cpp, ssl_server_name_callback_impl; torrent.cpp, verify_peer_cert): who calls names
 * the torrent by its infohash in hexadecimal digits as server name (SNI), both show a certificate
 * and verify the other's up to the root that stands in the torrent. Here that is the network's
 * root, and certificates are members' (libcommon/pki/membership.h). A peer hears nothing, and costs
 * no signature, before it has named a torrent that is here. Sessions are not resumed: they last as
 * long as the peer, and a full handshake asks the deny list anew.
 *
 * Bytes: one read takes what the kernel has into a buffer that all streams share and that stays in
 * the cache; records are decrypted from there into the parts given. Writes are gathered into full
 * records, encrypted behind each other, and sent together; of what the kernel does not take the
 * rest, at most a burst, is kept. (OpenSSL 3.0 copies each record once on its way in and once out,
 * which costs 0.02 CPU-s/GB each; AES-128-GCM itself costs 0.22.) Shell.
 *
 * Bounds: a record is 16 KiB (RFC 8446, 5.1); messages of the handshake that come after it (key
 * updates) SECURE_EXTRA_MAX and one more for each SECURE_EXTRA_BYTES received, else it is over.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/pki/certificate.h"
#include "services/swarm/secure_refusal.h"
#include "services/swarm/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECURE_RECORD_SIZE 16384u
#define SECURE_READ_SIZE   (256u * 1024) /* of one read */
#define SECURE_BURST_MAX   (256u * 1024) /* encrypted before it is given to the kernel */
#define SECURE_BURST_MIN   SECURE_RECORD_SIZE
#define SECURE_EXTRA_MAX   32u
#define SECURE_EXTRA_BYTES (1024u * 1024)

struct membership;
struct secure; /* what all streams of a process share; opaque */

/* Is there a torrent of this infohash, or of this one of a hybrid? */
typedef bool secure_knows_fn(void *ctx, const uint8_t infohash[20]);

/* membership is borrowed. LB_IO: OpenSSL does not take its certificate. */
LB_MUST_CHECK lb_err secure_new(struct membership *membership, secure_knows_fn *knows, void *ctx,
                                struct secure **ret_self);
void secure_free(struct secure **self);

/* The membership has a newer certificate: it is shown from now on. What fails is as before. */
LB_MUST_CHECK lb_err secure_renew(struct secure *self);

/*
 * Puts TLS around `stream`, which must not have been used. infohash: that of the torrent for which
 * we call; NULL: we are called. It ends with stream->kind->close(), which may come after
 * secure_free(), but nothing else may.
 */
void secure_wrap(struct secure *self, struct stream *stream, const uint8_t *infohash);

/* Who is there, once it is open; and by which infohash the torrent was named. */
const struct certificate_claims *secure_peer(const struct stream *stream);
const uint8_t *secure_infohash(const struct stream *stream);

/* How much may be given to the kernel at once: what is there cannot be overtaken. */
void secure_set_burst(struct stream *stream, uint32_t size);

/* Does the peer still count, by the deny list and the clock as they are now? */
enum certificate_refusal secure_look_again(const struct stream *stream, uint64_t now_s);
