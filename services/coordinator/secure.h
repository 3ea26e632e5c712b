/*
 * One TLS 1.3 connection on the loop, either end of it: TCP by libuv, TLS by OpenSSL between two
 * memory buffers. Who the other end is the owner asks when it is open (membership_check_peer()).
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"

#include <openssl/ssl.h>
#include <stdbool.h>

#define SECURE_ALPN_JOIN    "lb-join/1"
#define SECURE_ALPN_RAFT    "lb-raft/1"
#define SECURE_SETUP_MS     5000u               /* to connect and shake hands */
#define SECURE_BACKLOG_MAX  (64u * 1024 * 1024) /* bytes written and not yet sent: then it ends */
#define SECURE_BACKLOG_HIGH (1024u * 1024)      /* secure_is_busy(), unless the owner says less */

struct secure; /* opaque */
struct uv_loop_s;
struct uv_stream_s;

/* ctx is the owner's. In each of them the owner may close it. */
struct secure_events {
    void (*on_open)(void *ctx, struct secure *self);
    void (*on_data)(void *ctx, struct secure *self, struct bytes data);
    void (*on_calm)(void *ctx, struct secure *self); /* is_busy() no longer; may be NULL */
    /* It ended, or was never open; at most once, and not when the owner closed it. Close it then.
     */
    void (*on_end)(void *ctx, struct secure *self, const char *why);
};

/* context is borrowed for this call. NULL: there was nobody to accept. */
struct secure *secure_accept(struct uv_loop_s *loop, struct uv_stream_s *listener, SSL_CTX *context,
                             const struct secure_events *events, void *ctx);

/* where: HOST:PORT. Everything else is told by events, never from inside this call. */
struct secure *secure_connect(struct uv_loop_s *loop, const char *where, SSL_CTX *context,
                              const char *alpn, const struct secure_events *events, void *ctx);

/* It has another owner. */
void secure_give(struct secure *self, const struct secure_events *events, void *ctx);

/* What was written is still sent, for at most two seconds. Accepts NULL. */
void secure_close(struct secure **self);

/* Only when it is open. */
void secure_write(struct secure *self, struct bytes data);
void secure_set_high(struct secure *self, size_t size);
bool secure_is_busy(const struct secure *self);
/* For who cannot take more: on_data waits. */
void secure_pause(struct secure *self, bool paused);

SSL *secure_ssl(const struct secure *self);
bool secure_speaks(const struct secure *self, const char *alpn);
const struct address *secure_peer(const struct secure *self); /* of accepted ones */

/* For a server: which of both is spoken. Sets the callback of the context. */
void secure_select_alpn(SSL_CTX *context);
