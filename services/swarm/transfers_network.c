/* On a private network: who we are there, whose torrents are taken, and which peers were refused.
 */
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/membership.h"
#include "libcommon/shield.h"
#include "services/swarm/secure.h"
#include "services/swarm/transfers_inside.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_MS   1000u  /* what lb-member has put into the folder is seen so soon */
#define EXPIRY_MS    60000u /* live sessions are held against the clock so often */
#define TOLD_MS      60000u /* of one kind of refusal one line is written so often */
#define SSL_CERT_MAX 16384u /* more is no certificate of a network */
#define COUNTER_SIZE 64

struct network {
    struct transfers *owner;
    struct identity identity;
    struct membership *membership;
    struct secure *secure;
    struct bytes ssl_cert; /* of the torrents made here: the root, PEM */
    uv_timer_t timer;
    uint64_t looked_ms; /* at live sessions */
    struct status_counter *counts[SECURE_REFUSALS_COUNT];
    struct refused {
        uint64_t told_ms; /* 0: never */
        uint64_t since;   /* refused since then, and not told */
    } refused[SECURE_REFUSALS_COUNT];
};

/* ---- whose torrent is it? ---- */

static bool is_of(const struct network *self, struct bytes ssl_cert)
{
    uint8_t digest[NETWORK_ID_SIZE];
    if (bytes_equal(ssl_cert, self->ssl_cert))
        return true;
    if (ssl_cert.size > SSL_CERT_MAX)
        return false;
    BIO *bio = BIO_new_mem_buf(ssl_cert.data, (int)ssl_cert.size);
    X509 *root = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    const EVP_PKEY *key = root != NULL ? X509_get0_pubkey(root) : NULL;
    if (key != NULL)
        key_digest(key, digest);
    const bool same = key != NULL && memcmp(digest, self->identity.network, sizeof digest) == 0;
    X509_free(root);
    BIO_free(bio);
    return same;
}

const char *transfers_foreign(const struct transfers *self, const struct metainfo *metainfo)
{
    const struct network *network = self->network;
    const bool open = metainfo->ssl_cert.size == 0;
    if (network == NULL)
        return open ? NULL
                    : "it is of a private network, and this node is not a member of that network";
    if (open)
        return "it is of the open network, and this node is a member of a private one";
    return is_of(network, metainfo->ssl_cert)
               ? NULL
               : "it is of another private network, and this node is not a member of that network";
}

struct bytes transfers_ssl_cert(const struct transfers *self)
{
    return self->network != NULL ? self->network->ssl_cert : bytes_of(NULL, 0);
}

/* ---- peers ---- */

static bool knows(void *ctx, const uint8_t infohash[20])
{
    const struct transfers *self = ctx;
    const struct transfer *transfer = transfers_get(self, infohash);
    return transfer != NULL && transfer->running && !transfer->stop_wanted;
}

/*
 * The torrent for which TLS was begun is the one that is spoken of in it: as libtorrent has it
 * (torrent.cpp, attach_peer).
 */
bool transfers_named_so(const struct transfers *self, const struct connection *connection,
                        const struct transfer *transfer)
{
    const uint8_t *named = connection_named(connection);
    return named == NULL || transfers_get(self, named) == transfer;
}

void transfers_on_refused(void *ctx, struct connection *connection, unsigned refusal)
{
    struct transfers *self = ctx;
    struct network *network = self->network;
    struct refused *refused = &network->refused[refusal];
    const uint64_t now_ms = transfers_now_ms(self);
    char text[ADDRESS_TEXT_SIZE];
    status_counter_add(network->counts[refusal], 1);
    refused->since++;
    if (refused->told_ms != 0 && now_ms - refused->told_ms < TOLD_MS)
        return;
    address_format(connection_address(connection), text);
    log_info("peer refused address=%s: %s (%llu since last said)", text,
             secure_refusal_sentence(refusal), (unsigned long long)refused->since);
    *refused = (struct refused){ .told_ms = now_ms != 0 ? now_ms : 1 };
}

/* ---- what lb-member puts there ---- */

static void on_refresh(uv_timer_t *timer)
{
    struct network *self = timer->data;
    struct transfers *owner = self->owner;
    const uint64_t now_s = clock_wall_s();
    const uint64_t now_ms = transfers_now_ms(owner);
    const unsigned news = membership_refresh(self->membership, now_s);
    if ((news & (MEMBERSHIP_NEW_CERTIFICATE | MEMBERSHIP_NEW_INTERMEDIATES)) &&
        secure_renew(self->secure) != LB_OK)
        log_error("the newer certificate of this node cannot be used for TLS");
    if (!(news & MEMBERSHIP_NEW_DENIED) && now_ms - self->looked_ms < EXPIRY_MS)
        return;
    self->looked_ms = now_ms;
    connections_look_again(owner->connections, now_s);
}

/* ---- life ---- */

static void open_counters(struct network *self)
{
    char name[COUNTER_SIZE];
    for (unsigned i = 0; i < SECURE_REFUSALS_COUNT; i++) {
        snprintf(name, sizeof name, "tls_%s", secure_refusal_text(i));
        self->counts[i] = actor_counter(self->owner->actor, name);
    }
}

static lb_err take_root(struct network *self)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = NULL;
    lb_err err = LB_IO;
    if (bio != NULL && PEM_write_bio_X509(bio, membership_root(self->membership)) == 1) {
        const long size = BIO_get_mem_data(bio, &text);
        self->ssl_cert = bytes_of(xmemdup(text, (size_t)size), (size_t)size);
        err = LB_OK;
    }
    BIO_free(bio);
    return err;
}

static void free_network(struct network *self)
{
    secure_free(&self->secure);
    membership_free(&self->membership);
    free((void *)self->ssl_cert.data);
    free(self);
}

static lb_err open_membership(struct network *self)
{
    struct actor *actor = self->owner->actor;
    struct membership_problem problem = { "" };
    lb_err err = shield_process();
    if (err != LB_OK) {
        log_error("the key of this node cannot be kept out of a core");
        return err;
    }
    err = membership_load(actor_paths(actor)->member_folder, &self->identity, clock_wall_s(),
                          &self->membership, &problem);
    if (err != LB_OK) {
        log_error("%s", problem.text);
        return err == LB_DENIED ? LB_DENIED : LB_INVALID;
    }
    err = take_root(self);
    if (err == LB_OK)
        err = secure_new(self->membership, knows, self->owner, &self->secure);
    if (err != LB_OK)
        log_error("the certificate of this node cannot be used for TLS");
    return err == LB_OK ? LB_OK : LB_INVALID;
}

lb_err transfers_network_open(struct transfers *self)
{
    struct network *network = xcalloc(1, sizeof *network);
    network->owner = self;
    lb_err err = identity_load(actor_paths(self->actor), &network->identity);
    if (err == LB_NOT_FOUND) {
        free(network);
        return LB_OK;
    }
    if (err == LB_OK)
        err = open_membership(network);
    else
        log_error("the identity of this node on its private network: %s", lb_err_text(err));
    if (err != LB_OK) {
        free_network(network);
        return err == LB_DENIED ? LB_DENIED : LB_INVALID;
    }
    open_counters(network);
    uv_timer_init(actor_loop(self->actor), &network->timer);
    network->timer.data = network;
    uv_timer_start(&network->timer, on_refresh, REFRESH_MS, REFRESH_MS);
    connections_secure(self->connections, network->secure);
    self->network = network;
    log_info("of the private network %s: peers speak TLS 1.3", network->identity.network_name);
    return LB_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free_network(handle->data);
}

void transfers_network_close(struct transfers *self)
{
    struct network *network = self->network;
    self->network = NULL;
    if (network != NULL)
        uv_close((uv_handle_t *)&network->timer, on_timer_closed);
}
