#include "services/transport/dtls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#define TURNS_MAX 8 /* flights of a handshake */

/* Data of the first epoch, number 5: a header, and less than a nonce and a tag. */
static const uint8_t forged[17] = { 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 5, 0, 4, 1, 2, 3, 4 };

/* It reads what `in` holds and writes to `out`, whoever the other end is. */
static SSL *new_end(SSL_CTX *context, BIO *in, BIO *out)
{
    SSL *end = SSL_new(context);

    if (!end || BIO_up_ref(in) != 1 || BIO_up_ref(out) != 1)
        abort();
    SSL_set_bio(end, in, out);
    SSL_set_options(end, SSL_OP_NO_QUERY_MTU);
    (void)SSL_set_mtu(end, DTLS_MTU);
    SSL_set_verify(end, SSL_VERIFY_NONE, NULL);
    return end;
}

static BIO *new_way(void)
{
    BIO *way = BIO_new(BIO_s_mem());

    if (!way)
        abort();
    BIO_set_mem_eof_return(way, -1);
    return way;
}

static bool shake_hands(SSL *client, SSL *server)
{
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int i = 0; i < TURNS_MAX; i++) {
        int client_done = SSL_do_handshake(client), server_done = SSL_do_handshake(server);

        if (client_done == 1 && server_done == 1)
            return true;
    }
    return false;
}

static bool survives(SSL *client, SSL *server, BIO *to_server)
{
    uint8_t byte = 7, read;
    int size;

    if (!shake_hands(client, server) || BIO_write(to_server, forged, sizeof(forged)) <= 0)
        return false;
    size = SSL_read(server, &read, 1);
    if (size > 0 || SSL_get_error(server, size) != SSL_ERROR_WANT_READ)
        return false;
    return SSL_write(client, &byte, 1) == 1 && SSL_read(server, &read, 1) == 1 && read == byte;
}

lb_err dtls_probe(const struct membership *membership)
{
    SSL_CTX *context = membership_new_context(membership, DTLS_method());
    BIO *to_server = new_way(), *to_client = new_way();
    SSL *client = new_end(context, to_client, to_server);
    SSL *server = new_end(context, to_server, to_client);
    bool does;

    ERR_clear_error();
    does = survives(client, server, to_server);
    ERR_clear_error();
    SSL_free(client);
    SSL_free(server);
    BIO_free(to_server);
    BIO_free(to_client);
    SSL_CTX_free(context);
    return does ? LB_OK : LB_UNSUPPORTED;
}
