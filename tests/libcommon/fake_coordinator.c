#include "tests/libcommon/fake_coordinator.h"

#include "libcommon/memory.h"
#include "libcommon/pki/join_client.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define must(done) must_at(done, #done, __LINE__)

static void must_at(bool done, const char *what, int line)
{
    if (!done) {
        fprintf(stderr, "fake_coordinator.c:%d: %s failed\n", line, what);
        abort();
    }
}

/* ---- what it shows ---- */

static int choose_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_size,
                       const unsigned char *offered, unsigned offered_size, void *ctx)
{
    static const unsigned char ours[] = "\x09" JOIN_ALPN;

    (void)ssl;
    (void)ctx;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)ret_chosen, ret_size, ours,
                                 sizeof(ours) - 1, offered, offered_size) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Whoever asks: the true one would look at the certificate, here it is only noted. */
static int take_anyone(X509_STORE_CTX *context, void *argument)
{
    (void)context;
    (void)argument;
    return 1;
}

static void make_context(struct fake_coordinator *self)
{
    bool is_impostor = self->kind == FAKE_OTHER_CA || self->kind == FAKE_OTHER_LEAF;
    struct pki_network *of = is_impostor ? &self->own : self->network;
    X509 *root;

    if (is_impostor) {
        pki_network_make(&self->own, self->network->name, self->network->now_s);
    }
    root = self->kind == FAKE_OTHER_CA ? self->own.root : self->network->root;
    pki_member_make(of, 900,
                    self->kind == FAKE_MEMBER ? CERTIFICATE_MEMBER : CERTIFICATE_COORDINATOR,
                    self->kind == FAKE_EXPIRED ? PKI_EXPIRED : PKI_SOUND, &self->self);
    self->context = SSL_CTX_new(TLS_server_method());
    must(self->context && SSL_CTX_use_certificate(self->context, self->self.leaf) == 1 &&
         SSL_CTX_use_PrivateKey(self->context, self->self.key) == 1 &&
         SSL_CTX_add1_chain_cert(self->context, self->self.intermediate) == 1 &&
         SSL_CTX_add1_chain_cert(self->context, root) == 1);
    SSL_CTX_set_verify(self->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(self->context, take_anyone, NULL);
    if (self->kind != FAKE_WITHOUT_ALPN) {
        SSL_CTX_set_alpn_select_cb(self->context, choose_alpn, NULL);
    }
}

/* ---- what it answers ---- */

static void note_key(struct fake_coordinator *self, const EVP_PKEY *key)
{
    uint8_t digest[32];

    key_digest(key, digest);
    for (unsigned i = 0; i < self->keys_count; i++) {
        if (memcmp(self->key_digests[i], digest, sizeof(digest)) == 0) {
            return;
        }
    }
    must(self->keys_count < 16);
    memcpy(self->key_digests[self->keys_count++], digest, sizeof(digest));
}

static ProtobufCBinaryData der_of(const X509 *certificate, uint8_t der[CERTIFICATE_DER_MAX])
{
    size_t size = 0;

    must(certificate_to_der(certificate, der, &size) == LB_OK);
    return (ProtobufCBinaryData){ .data = der, .len = size };
}

static EVP_PKEY *key_asked_for(struct fake_coordinator *self, const Lb__Join__Request *request)
{
    const ProtobufCBinaryData *der = request->body_case == LB__JOIN__REQUEST__BODY_JOIN
                                         ? &request->join->request
                                         : &request->renew->request;
    EVP_PKEY *key = NULL;

    must(certificate_request_parse(bytes_of(der->data, der->len), &key) == LB_OK);
    note_key(self, key);
    return key;
}

static void send_reply(SSL *ssl, const Lb__Join__Reply *reply)
{
    size_t size = lb__join__reply__get_packed_size(reply);
    uint8_t *frame = xmalloc(size + 4);
    size_t sent;

    store_u32(frame, (uint32_t)size);
    lb__join__reply__pack(reply, frame + 4);
    (void)SSL_write_ex(ssl, frame, size + 4, &sent);
    free(frame);
}

static uint64_t its_clock(const struct fake_coordinator *self)
{
    return (uint64_t)((int64_t)time(NULL) + self->clock_off_s);
}

static ProtobufCBinaryData further_of(const struct fake_coordinator *self)
{
    return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)self->intermediate,
                                  .len = self->intermediate_size };
}

static void send_admitted(struct fake_coordinator *self, SSL *ssl, const Lb__Join__Request *request,
                          char how)
{
    struct pki_network other;
    struct pki_network *of = self->network;
    EVP_PKEY *key = key_asked_for(self, request);
    uint64_t issued_s = self->issued_s != 0 ? self->issued_s : its_clock(self);
    struct certificate_claims claims = { .node = pki_node(self->node),
                                         .serial = 77,
                                         .not_before_s = issued_s - CERTIFICATE_BACKDATE_S,
                                         .not_after_s = issued_s + CERTIFICATE_LEAF_S };
    char first[] = "127.0.0.1:6891";
    char second[] = "not an address";
    char *coordinators[] = { self->address, first, second };
    char *bootstrap[] = { first };
    uint8_t leaf_der[CERTIFICATE_DER_MAX];
    uint8_t intermediate_der[CERTIFICATE_DER_MAX];
    uint8_t root_der[CERTIFICATE_DER_MAX];
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    Lb__Join__Admitted admitted = LB__JOIN__ADMITTED__INIT;
    ProtobufCBinaryData further = further_of(self);
    X509 *leaf;

    if (how == 'X') {
        pki_network_make(&other, self->network->name, self->network->now_s);
        of = &other;
    }
    if (how == 'O') {
        key_free(&key);
        key = key_new();
    }
    memcpy(claims.network, of->id, NETWORK_ID_SIZE);
    must(certificate_make_leaf(key, &claims, of->intermediate, of->intermediate_key, &leaf) ==
         LB_OK);
    admitted.leaf = der_of(leaf, leaf_der);
    admitted.intermediate = der_of(of->intermediate, intermediate_der);
    admitted.root = der_of(of->root, root_der);
    admitted.network_name = of->name;
    admitted.coordinators = coordinators;
    admitted.n_coordinators = 3;
    admitted.bootstrap = bootstrap;
    admitted.n_bootstrap = 1;
    admitted.intermediates = &further;
    admitted.n_intermediates = self->intermediate_size > 0;
    admitted.denied = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)self->denied,
                                             .len = self->denied_size };
    admitted.now_s = its_clock(self);
    reply.body_case = LB__JOIN__REPLY__BODY_ADMITTED;
    reply.admitted = &admitted;
    send_reply(ssl, &reply);
    X509_free(leaf);
    key_free(&key);
    if (how == 'X') {
        pki_network_done(&other);
    }
}

static void send_refused(struct fake_coordinator *self, SSL *ssl, char how)
{
    char used_up[] = "this token is used up";
    char no_majority[] = "no majority";
    char empty[] = "";
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    Lb__Join__Refused refused = LB__JOIN__REFUSED__INIT;

    refused.err = how == 'R' ? LB_DENIED : LB_UNAVAILABLE;
    refused.reason = how == 'R' ? used_up : no_majority;
    refused.leader = how == 'L' ? (char *)(uintptr_t)self->leader : empty;
    refused.now_s = its_clock(self);
    reply.body_case = LB__JOIN__REPLY__BODY_REFUSED;
    reply.refused = &refused;
    send_reply(ssl, &reply);
}

static void send_pending(SSL *ssl)
{
    char fingerprint[] = "0000-0000-0000-0000";
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    Lb__Join__Pending pending = LB__JOIN__PENDING__INIT;

    pending.fingerprint = fingerprint;
    pending.ask_again_s = 0; /* the least there is: 1 s */
    reply.body_case = LB__JOIN__REPLY__BODY_PENDING;
    reply.pending = &pending;
    send_reply(ssl, &reply);
}

static void send_news(struct fake_coordinator *self, SSL *ssl)
{
    char *coordinators[] = { self->address };
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    Lb__Join__News news = LB__JOIN__NEWS__INIT;
    ProtobufCBinaryData further = further_of(self);

    news.coordinators = coordinators;
    news.n_coordinators = 1;
    news.intermediates = &further;
    news.n_intermediates = self->intermediate_size > 0;
    news.denied = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)self->denied,
                                         .len = self->denied_size };
    news.now_s = its_clock(self);
    reply.body_case = LB__JOIN__REPLY__BODY_NEWS;
    reply.news = &news;
    send_reply(ssl, &reply);
}

static void send_junk(SSL *ssl, char how)
{
    uint8_t frame[12] = { 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    size_t sent;

    if (how == 'B') {
        store_u32(frame, JOIN_REPLY_MAX + 1);
    }
    (void)SSL_write_ex(ssl, frame, sizeof(frame), &sent);
}

static void answer(struct fake_coordinator *self, SSL *ssl, const Lb__Join__Request *request,
                   char how)
{
    uint8_t rest[16];

    switch (how) {
    case 'A':
    case 'O':
    case 'X':
        send_admitted(self, ssl, request, how);
        return;
    case 'P':
        send_pending(ssl);
        return;
    case 'R':
    case 'U':
    case 'L':
        send_refused(self, ssl, how);
        return;
    case 'N':
        send_news(self, ssl);
        return;
    case 'G':
    case 'B':
        send_junk(ssl, how);
        return;
    case 'W':
        while (SSL_read(ssl, rest, sizeof(rest)) > 0) {
        }
        return;
    default: /* H */
        return;
    }
}

/* ---- its life ---- */

static bool read_seen(struct fake_coordinator *self, SSL *ssl, size_t size)
{
    size_t end = self->seen_size + size;

    must(end <= FAKE_SEEN_MAX);
    while (self->seen_size < end) {
        size_t got;

        if (SSL_read_ex(ssl, self->seen + self->seen_size, end - self->seen_size, &got) != 1) {
            return false;
        }
        self->seen_size += got;
    }
    return true;
}

static void serve(struct fake_coordinator *self, SSL *ssl, char how)
{
    size_t from = self->seen_size;
    Lb__Join__Request *request;
    uint32_t size;

    if (!read_seen(self, ssl, 4)) {
        return;
    }
    size = load_u32(self->seen + from);
    if (!read_seen(self, ssl, size)) {
        return;
    }
    request = lb__join__request__unpack(NULL, size, self->seen + from + 4);
    must(request != NULL);
    answer(self, ssl, request, how);
    lb__join__request__free_unpacked(request, NULL);
}

static void handle(struct fake_coordinator *self, int fd)
{
    size_t last = strlen(self->script) - 1;
    char how = self->script[self->connections < last ? self->connections : last];
    SSL *ssl = SSL_new(self->context);

    self->connections++;
    must(ssl && SSL_set_fd(ssl, fd) == 1);
    if (SSL_accept(ssl) == 1) {
        self->handshakes++;
        self->saw_certificate = SSL_get0_peer_certificate(ssl) != NULL;
        serve(self, ssl, how);
        (void)SSL_shutdown(ssl);
    }
    ERR_clear_error();
    SSL_free(ssl);
}

static void *run(void *argument)
{
    struct fake_coordinator *self = argument;

    for (;;) {
        int fd = accept(self->listener, NULL, NULL);

        if (fd < 0) {
            return NULL; /* shut down */
        }
        handle(self, fd);
        close(fd);
    }
}

void fake_coordinator_start(struct fake_coordinator *self)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof(at);

    signal(SIGPIPE, SIG_IGN); /* this end's; the client's is tested by it not being needed */
    make_context(self);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(self->listener >= 0 && bind(self->listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
         listen(self->listener, 64) == 0 &&
         getsockname(self->listener, (struct sockaddr *)&at, &size) == 0);
    snprintf(self->address, sizeof(self->address), "127.0.0.1:%u", ntohs(at.sin_port));
    must(pthread_create(&self->thread, NULL, run, self) == 0);
}

void fake_coordinator_end(struct fake_coordinator *self)
{
    bool is_impostor = self->kind == FAKE_OTHER_CA || self->kind == FAKE_OTHER_LEAF;

    must(shutdown(self->listener, SHUT_RDWR) == 0);
    must(pthread_join(self->thread, NULL) == 0);
    close(self->listener);
    SSL_CTX_free(self->context);
    pki_member_done(&self->self);
    if (is_impostor) {
        pki_network_done(&self->own);
    }
}

bool fake_coordinator_has_seen(const struct fake_coordinator *self, const void *data, size_t size)
{
    return memmem(self->seen, self->seen_size, data, size) != NULL;
}
