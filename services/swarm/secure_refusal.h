/*
 * Why a TLS stream was refused: what certificates have against them (libcommon/pki/certificate.h),
 * and what the stream has. Each has a counter of its own, "tls_" and its text.
 */
#pragma once

#include "libcommon/pki/certificate.h"

/* X(NAME, text, sentence) */
#define SECURE_REFUSALS(X)                                                                         \
    X(PLAIN, "plain", "it does not speak TLS, but this node is of a private network")              \
    X(UNKNOWN_TORRENT, "unknown_torrent", "it names no torrent of this node")                      \
    X(LATE, "late", "its TLS handshake took too long")                                             \
    X(TOO_MANY, "too_many", "too many TLS handshakes at once")                                     \
    X(US, "refused_us", "it refused our certificate")

#define SECURE_REFUSAL_ENUM(name, text, sentence) SECURE_REFUSED_##name,
enum secure_refusal {
    SECURE_REFUSED_BEFORE = CERTIFICATE_REFUSALS_COUNT - 1, /* up to here: certificate_refusal */
    SECURE_REFUSALS(SECURE_REFUSAL_ENUM) SECURE_REFUSALS_COUNT,
    SECURE_NOT_REFUSED = SECURE_REFUSALS_COUNT /* it went away by itself */
};
#undef SECURE_REFUSAL_ENUM

const char *secure_refusal_text(unsigned refusal);
const char *secure_refusal_sentence(unsigned refusal); /* for a person */

/* Of a handshake, or a record, that has just failed: by OpenSSL's queue of errors. */
unsigned secure_refusal_of(const SSL *ssl);
