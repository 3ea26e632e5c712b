/*
 * Session tickets (RFC 5077): a peer that comes back, or a worker that was started anew, opens a
 * session for an eighth of the time at the client and half of it at the server. What a ticket says
 * is checked as a certificate is (membership_check_peer()).
 *
 * A ticket goes along in the ClientHello, which must be one datagram of DTLS_MTU: one that is too
 * long for that is not kept.
 */
#include "services/transport/dtls_inside.h"

#include "libcommon/memory.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sodium/crypto_auth_hmacsha256.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE     16 /* OpenSSL's: which key a ticket is under */
#define KEY_SIZE      32
#define HELLO_REST    240u /* bytes of a ClientHello beside the ticket */
#define TICKET_MAX    (DTLS_MTU - HELLO_REST)
#define SESSION_MAX_S 7200u /* both keys of secrets.h together live as long */

/* ---- the server's side: under which key ---- */

struct ticket_keys {
    uint8_t name[KEY_SIZE]; /* the first NAME_SIZE bytes */
    uint8_t mac[KEY_SIZE];
    uint8_t cipher[KEY_SIZE];
};

static void derive(uint8_t ret_key[KEY_SIZE], const char *what,
                   const uint8_t from[SECRETS_TICKET_KEY_SIZE])
{
    crypto_auth_hmacsha256(ret_key, (const uint8_t *)what, strlen(what), from);
}

static struct ticket_keys keys_of(const uint8_t from[SECRETS_TICKET_KEY_SIZE])
{
    struct ticket_keys keys;

    derive(keys.name, "littlebird ticket name", from);
    derive(keys.mac, "littlebird ticket mac", from);
    derive(keys.cipher, "littlebird ticket cipher", from);
    return keys;
}

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_keys *keys)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, keys->mac, KEY_SIZE),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal(const struct secrets *secrets, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac)
{
    struct ticket_keys keys = keys_of(secrets->ticket);
    bool done = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
                EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, keys.cipher, iv) == 1 &&
                set_mac(mac, &keys);

    memcpy(name, keys.name, NAME_SIZE);
    OPENSSL_cleanse(&keys, sizeof(keys));
    return done ? 1 : -1;
}

/* 0: under no key of ours, so the handshake is a full one; 2: of the hour before, give another. */
static int unseal(const struct secrets *secrets, const uint8_t *name, const uint8_t *iv,
                  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const uint8_t *from[] = { secrets->ticket, secrets->ticket_before };
    int result = 0;

    for (int i = 0; i < 2 && result == 0; i++) {
        struct ticket_keys keys = keys_of(from[i]);

        if (CRYPTO_memcmp(name, keys.name, NAME_SIZE) == 0)
            result = set_mac(mac, &keys) && EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL,
                                                               keys.cipher, iv) == 1
                         ? 1 + i
                         : -1;
        OPENSSL_cleanse(&keys, sizeof(keys));
    }
    return result;
}

static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int is_new)
{
    const struct dtls_session *session = SSL_get_app_data(ssl);
    const struct secrets *secrets = session->dtls->secrets;

    return is_new ? seal(secrets, name, iv, cipher, mac) : unseal(secrets, name, iv, cipher, mac);
}

void dtls_tickets_enable(struct dtls *self, SSL_CTX *context)
{
    (void)self;
    SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_timeout(context, SESSION_MAX_S);
    if (SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket_key) != 1)
        abort();
}

/* ---- the client's side: whose tickets we have ---- */

static struct dtls_ticket *place_of(struct dtls *self, const struct address *peer)
{
    return &self->tickets[address_hash(peer, self->seed) % DTLS_TICKETS_MAX];
}

static void clear(struct dtls_ticket *ticket)
{
    if (ticket->session)
        OPENSSL_cleanse(ticket->session, ticket->size);
    free(ticket->session);
    *ticket = (struct dtls_ticket){ .size = 0 };
}

void dtls_tickets_use(struct dtls *self, const struct dtls_session *session)
{
    const struct dtls_ticket *ticket = place_of(self, &session->association->peer);
    const unsigned char *at = ticket->session;
    SSL_SESSION *known;

    if (ticket->size == 0 || !address_equal(&ticket->peer, &session->association->peer))
        return;
    known = d2i_SSL_SESSION(NULL, &at, (long)ticket->size);
    if (known)
        (void)SSL_set_session(session->ssl, known);
    SSL_SESSION_free(known);
}

void dtls_tickets_keep(struct dtls *self, const struct dtls_session *session)
{
    struct dtls_ticket *ticket = place_of(self, &session->association->peer);
    SSL_SESSION *known = SSL_get1_session(session->ssl);
    const unsigned char *data;
    unsigned char *at;
    size_t size = 0;
    int whole;

    if (known)
        SSL_SESSION_get0_ticket(known, &data, &size);
    if (size > 0 && size <= TICKET_MAX) {
        clear(ticket);
        whole = i2d_SSL_SESSION(known, NULL);
        if (whole > 0) {
            ticket->session = at = xmalloc((size_t)whole);
            ticket->size = (size_t)i2d_SSL_SESSION(known, &at);
            ticket->peer = session->association->peer;
        }
    }
    SSL_SESSION_free(known);
}

void dtls_tickets_forget(struct dtls *self, const struct address *peer)
{
    struct dtls_ticket *ticket = place_of(self, peer);

    if (address_equal(&ticket->peer, peer))
        clear(ticket);
}

void dtls_tickets_done(struct dtls *self)
{
    for (unsigned i = 0; i < DTLS_TICKETS_MAX; i++)
        clear(&self->tickets[i]);
}
