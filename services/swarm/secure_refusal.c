#include "services/swarm/secure_refusal.h"

#include "libcommon/pki/membership.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#define SENTENCE(name, text, sentence) [SECURE_REFUSED_##name] = (sentence),
#define TEXT(name, text, sentence)     [SECURE_REFUSED_##name] = (text),

static const char *const texts[SECURE_REFUSALS_COUNT] = { SECURE_REFUSALS(TEXT) };

static const char *const sentences[SECURE_REFUSALS_COUNT] = {
    [REFUSED_NONE] = "it shows no certificate",
    [REFUSED_SELF_SIGNED] = "its certificate is signed by itself",
    [REFUSED_OTHER_CA] = "its certificate is not of this network",
    [REFUSED_EXPIRED] = "its certificate has expired, or this machine's clock is wrong",
    [REFUSED_NOT_YET_VALID] = "its certificate is not valid yet: a clock is wrong, there or here",
    [REFUSED_REVOKED] = "the network has put it out",
    [REFUSED_WRONG_USAGE] = "its certificate is for another use",
    [REFUSED_WRONG_ID] = "its certificate names no member of this network",
    [REFUSED_CA_AS_LEAF] = "it shows the certificate of an authority as its own",
    [REFUSED_WEAK] = "its key or signature is too weak",
    [REFUSED_OLD_PROTOCOL] = "it speaks an older TLS than 1.3",
    [REFUSED_RESUMED_REVOKED] = "the network has put it out",
    [REFUSED_RENEGOTIATED] = "it changes keys again and again",
    [REFUSED_NO_NEWS] = "it is new, and no coordinator was reached for a day: it may be put out",
    [REFUSED_OTHER] = "its TLS is broken",
    SECURE_REFUSALS(SENTENCE)
};

const char *secure_refusal_text(unsigned refusal)
{
    assert(refusal < SECURE_REFUSALS_COUNT);
    return texts[refusal] != NULL ? texts[refusal]
                                  : certificate_refusal_text((enum certificate_refusal)refusal);
}

const char *secure_refusal_sentence(unsigned refusal)
{
    assert(refusal < SECURE_REFUSALS_COUNT);
    return sentences[refusal];
}

unsigned secure_refusal_of(const SSL *ssl)
{
    const unsigned long error = ERR_peek_error();
    const enum certificate_refusal refusal = membership_handshake_refusal(ssl);
    if (refusal != REFUSED_OTHER || ERR_GET_LIB(error) != ERR_LIB_SSL)
        return refusal;
    switch (ERR_GET_REASON(error)) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return SECURE_REFUSED_US;
    case SSL_R_TLSV1_UNRECOGNIZED_NAME:
        return SECURE_REFUSED_UNKNOWN_TORRENT;
    default:
        return REFUSED_OTHER;
    }
}
