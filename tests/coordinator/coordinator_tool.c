/*
 * What people and nodes do with a coordinator, for tests/coordinator/group_test.py and benches:
 *
 *     create DIR NAME ROOT-FOLDER ADDRESS [approval]   a network is born
 *     offer DIR ADDRESS                     a member offers itself as a coordinator
 *     sign ROOT-KEY ROOT NETWORK REQUEST [SECONDS]   the operator signs, or did so long ago; the
 *                                           intermediate in hexadecimal
 *     member DIR TOKEN HOST                 one joins, and its node is a member
 *     join TOKEN COUNT AT-ONCE [KEY-FILE]   so many join, each with a key of its own; or all with
 * one renew DIR                             a member renews, at each of its coordinators in turn
 *     age DIR CA-FOLDER                     a coordinator's own certificate has just ended
 *     past DIR CA_FOLDER ROOT_KEY ROOT DAYS its certificate has ended so many days ago
 *     forge DIR CA-FOLDER NODE OUT          who has a coordinator's keys makes itself another one
 *     skew TOKEN SECONDS                    one joins whose clock is ahead
 *
 * Hexadecimal where bytes are meant. A line for each join: "admitted NODE SERIAL MILLISECONDS",
 * "pending FINGERPRINT" or "refused ERR REASON". Who finds nobody tries again, as a node does.
 */
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "libcommon/pki/join_token.h"
#include "libcommon/pki/membership.h"
#include "proto/join.pb-c.h"
#include "services/coordinator/create.h"
#include "services/coordinator/frames.h"
#include "services/coordinator/join_message.h"
#include "services/coordinator/secure.h"
#include "tests/coordinator/coordinator_past.h"

#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#define LIMIT_MS 60000u
#define AGAIN_MS 100u

static int usage(void)
{
    fprintf(stderr, "usage: see tests/coordinator/coordinator_tool.c\n");
    return 2;
}

static int problem(const char *text)
{
    fprintf(stderr, "%s\n", text);
    return 1;
}

/* ---- joining ---- */

struct joins {
    uv_loop_t loop;
    SSL_CTX *context;
    struct join_token token;
    int64_t ahead_s; /* of the joiners' clocks */
    unsigned left, at_once, under_way;
    EVP_PKEY *one_key; /* NULL: each its own */
    const char *dir;   /* one join: becomes a member there */
    const char *host;
    unsigned refused;
};

struct join {
    struct joins *joins;
    EVP_PKEY *key;
    struct secure *secure;
    struct frames frames;
    uv_timer_t again;
    unsigned address;
    uint64_t begun_ms;
};

static void begin_some(struct joins *joins);

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void finish(struct join *join)
{
    struct joins *joins = join->joins;

    secure_close(&join->secure);
    frames_done(&join->frames);
    key_free(&join->key);
    uv_close((uv_handle_t *)&join->again, on_closed);
    joins->under_way--;
    begin_some(joins);
}

static void connect_next(uv_timer_t *timer);

static void try_again(struct join *join)
{
    secure_close(&join->secure);
    frames_done(&join->frames);
    if (uv_now(&join->joins->loop) - join->begun_ms > LIMIT_MS) {
        printf("refused 4 nobody answers\n");
        join->joins->refused++;
        finish(join);
        return;
    }
    join->address++;
    uv_timer_start(&join->again, connect_next, AGAIN_MS, 0);
}

/* The token's network, a coordinator of it: only then the secret leaves (THREATS 2.17). */
static bool is_coordinator(const struct join *join)
{
    SSL *ssl = secure_ssl(join->secure);
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    X509 *root = sk_X509_num(chain) > 0 ? sk_X509_value(chain, sk_X509_num(chain) - 1) : NULL;
    struct certificate_claims claims;
    uint8_t digest[32];

    if (root == NULL) {
        return false;
    }
    key_digest(X509_get0_pubkey(root), digest);
    return memcmp(digest, join->joins->token.network, sizeof digest) == 0 &&
           certificate_verify(SSL_get0_peer_certificate(ssl), chain, root, NULL, clock_wall_s(),
                              &claims) == REFUSED_NOT &&
           claims.role == CERTIFICATE_COORDINATOR;
}

static void on_open(void *ctx, struct secure *secure)
{
    struct join *join = ctx;
    Lb__Join__Join body = LB__JOIN__JOIN__INIT;
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;
    uint8_t der[CERTIFICATE_REQUEST_MAX];

    if (!is_coordinator(join)) {
        printf("refused 6 who answers is no coordinator of this network\n");
        join->joins->refused++;
        finish(join);
        return;
    }
    if (certificate_request_make(join->key, der, &body.request.len) != LB_OK) {
        abort();
    }
    body.invite = (ProtobufCBinaryData){ JOIN_INVITE_SIZE, join->joins->token.invite };
    body.secret = (ProtobufCBinaryData){ JOIN_SECRET_SIZE, join->joins->token.secret };
    body.request.data = der;
    body.host_name = (char *)join->joins->host;
    body.now_s = (uint64_t)((int64_t)clock_wall_s() + join->joins->ahead_s);
    request.body_case = LB__JOIN__REQUEST__BODY_JOIN;
    request.join = &body;
    join_message_send(secure, &request.base);
}

static lb_err put_pem(const char *folder, const char *name, const Lb__Join__Admitted *admitted,
                      bool root)
{
    const ProtobufCBinaryData *first = root ? &admitted->root : &admitted->leaf;
    char text[CERTIFICATE_PEM_MAX];
    X509 *one = NULL, *two = NULL;
    size_t size;
    lb_err err = certificate_from_der(bytes_of(first->data, first->len), &one);

    if (err == LB_OK && !root) {
        err = certificate_from_der(
            bytes_of(admitted->intermediate.data, admitted->intermediate.len), &two);
    }
    if (err == LB_OK) {
        err = certificate_to_pem(one, two, text, &size);
    }
    if (err == LB_OK) {
        err = membership_put_file(folder, name, bytes_of(text, size), 0644);
    }
    X509_free(one);
    X509_free(two);
    return err;
}

/* As `littlebird join` does it: the identity last. */
static void become_member(const struct join *join, const Lb__Join__Admitted *admitted,
                          const struct certificate_claims *claims)
{
    struct identity identity = { .node = claims->node };
    char text[8192] = "", key_file[PATHS_SIZE + 32], folder[PATHS_SIZE];
    struct paths paths;
    size_t size = 0;
    lb_err err = paths_find(&paths, join->joins->dir);

    snprintf(identity.network_name, sizeof identity.network_name, "%s", admitted->network_name);
    memcpy(identity.network, claims->network, sizeof identity.network);
    if (err != LB_OK || paths_make(&paths) != LB_OK ||
        (mkdir(paths.member_folder, 0700) != 0 && errno != EEXIST)) {
        abort();
    }
    for (size_t i = 0; i < admitted->n_coordinators; i++) {
        size +=
            (size_t)snprintf(text + size, sizeof text - size, "%s\n", admitted->coordinators[i]);
    }
    snprintf(key_file, sizeof key_file, "%s/member.key", paths.member_folder);
    snprintf(folder, sizeof folder, "%s", paths.identity_file);
    *strrchr(folder, '/') = '\0';
    if (put_pem(paths.member_folder, "root.pem", admitted, true) != LB_OK ||
        put_pem(paths.member_folder, "member.pem", admitted, false) != LB_OK ||
        membership_put_file(paths.member_folder, "coordinators", bytes_of(text, size), 0644) !=
            LB_OK ||
        key_save(join->key, key_file) != LB_OK) {
        abort();
    }
    size = identity_write(&identity, text);
    if (membership_put_file(folder, "identity", bytes_of(text, size), 0644) != LB_OK) {
        abort();
    }
}

static void take_admitted(struct join *join, const Lb__Join__Admitted *admitted)
{
    struct certificate_claims claims;
    char node[NODE_ID_TEXT_SIZE];
    X509 *leaf;

    if (certificate_from_der(bytes_of(admitted->leaf.data, admitted->leaf.len), &leaf) != LB_OK ||
        certificate_read(leaf, &claims) != LB_OK ||
        EVP_PKEY_eq(X509_get0_pubkey(leaf), join->key) != 1) {
        printf("refused 10 the leaf is not for our key\n");
        join->joins->refused++;
        return;
    }
    X509_free(leaf);
    node_id_format(&claims.node, node);
    printf("admitted %s %llu %llu\n", node, (unsigned long long)claims.serial,
           (unsigned long long)(uv_now(&join->joins->loop) - join->begun_ms));
    if (join->joins->dir != NULL) {
        become_member(join, admitted, &claims);
    }
}

static void on_data(void *ctx, struct secure *secure, struct bytes data)
{
    struct join *join = ctx;
    struct join_message message;
    struct bytes frame;
    const Lb__Join__Reply *reply;
    bool again = false;

    (void)secure;
    frames_add(&join->frames, data);
    if (frames_next(&join->frames, &frame) != LB_OK) {
        return;
    }
    reply = join_message_unpack(&message, &lb__join__reply__descriptor, frame);
    switch (reply != NULL ? reply->body_case : LB__JOIN__REPLY__BODY__NOT_SET) {
    case LB__JOIN__REPLY__BODY_ADMITTED:
        take_admitted(join, reply->admitted);
        break;
    case LB__JOIN__REPLY__BODY_PENDING:
        printf("pending %s\n", reply->pending->fingerprint);
        break;
    case LB__JOIN__REPLY__BODY_REFUSED:
        again = reply->refused->err == LB_UNAVAILABLE && join->joins->dir == NULL;
        if (!again) {
            printf("refused %d %s\n", reply->refused->err, reply->refused->reason);
            join->joins->refused++;
        }
        break;
    default:
        printf("refused 1 no reply\n");
        join->joins->refused++;
        break;
    }
    join_message_done(&message);
    if (again) {
        try_again(join);
    } else {
        finish(join);
    }
}

static void on_end(void *ctx, struct secure *secure, const char *why)
{
    (void)secure;
    (void)why;
    try_again(ctx);
}

static const struct secure_events events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
};

static void connect_next(uv_timer_t *timer)
{
    struct join *join = timer->data;
    const struct join_token *token = &join->joins->token;

    join->secure =
        secure_connect(&join->joins->loop, token->addresses[join->address % token->addresses_count],
                       join->joins->context, SECURE_ALPN_JOIN, &events, join);
}

static void begin_some(struct joins *joins)
{
    while (joins->left > 0 && joins->under_way < joins->at_once) {
        struct join *join = xcalloc(1, sizeof *join);

        joins->left--;
        joins->under_way++;
        join->joins = joins;
        join->address = joins->left;
        join->begun_ms = uv_now(&joins->loop);
        if (joins->one_key != NULL) {
            join->key = joins->one_key;
            EVP_PKEY_up_ref(join->key);
        } else {
            join->key = key_new();
        }
        frames_init(&join->frames, 512 * 1024);
        uv_timer_init(&joins->loop, &join->again);
        join->again.data = join;
        uv_timer_start(&join->again, connect_next, 0, 0);
    }
}

static int run_joins(struct joins *joins, const char *token)
{
    if (join_token_parse(token, &joins->token) != LB_OK) {
        return problem("no token");
    }
    uv_loop_init(&joins->loop);
    joins->context = membership_joiner_context(TLS_method());
    joins->host = joins->host != NULL ? joins->host : "host";
    begin_some(joins);
    uv_run(&joins->loop, UV_RUN_DEFAULT);
    uv_loop_close(&joins->loop);
    SSL_CTX_free(joins->context);
    key_free(&joins->one_key);
    return joins->refused > 0;
}

static int run_join(int argc, char **argv)
{
    struct joins joins = { 0 };

    joins.left = (unsigned)strtoul(argv[1], NULL, 10);
    joins.at_once = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3 && key_load(argv[3], &joins.one_key) != LB_OK) {
        joins.one_key = key_new();
        if (key_save(joins.one_key, argv[3]) != LB_OK) {
            return problem("the key could not be saved");
        }
    }
    return run_joins(&joins, argv[0]);
}

static int run_member(char **argv)
{
    struct joins joins = { .left = 1, .at_once = 1, .dir = argv[0], .host = argv[2] };

    return run_joins(&joins, argv[1]);
}

static int run_skew(char **argv)
{
    struct joins joins = { .left = 1, .at_once = 1, .ahead_s = strtol(argv[1], NULL, 10) };

    return run_joins(&joins, argv[0]);
}

/* ---- renewing ---- */

struct renewal {
    uv_loop_t loop;
    struct membership *own;
    SSL_CTX *context;
    struct secure *secure;
    struct frames frames;
    bool done, refused;
};

static void on_renew_open(void *ctx, struct secure *secure)
{
    struct renewal *self = ctx;
    Lb__Join__Renew body = LB__JOIN__RENEW__INIT;
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;
    uint8_t der[CERTIFICATE_REQUEST_MAX];

    if (certificate_request_make(membership_key(self->own), der, &body.request.len) != LB_OK) {
        abort();
    }
    body.request.data = der;
    body.now_s = clock_wall_s();
    request.body_case = LB__JOIN__REQUEST__BODY_RENEW;
    request.renew = &body;
    join_message_send(secure, &request.base);
}

static void on_renew_data(void *ctx, struct secure *secure, struct bytes data)
{
    struct renewal *self = ctx;
    struct certificate_claims claims;
    struct join_message message;
    struct bytes frame;
    const Lb__Join__Reply *reply;
    X509 *leaf;

    (void)secure;
    frames_add(&self->frames, data);
    if (frames_next(&self->frames, &frame) != LB_OK) {
        return;
    }
    reply = join_message_unpack(&message, &lb__join__reply__descriptor, frame);
    if (reply != NULL && reply->body_case == LB__JOIN__REPLY__BODY_ADMITTED &&
        certificate_from_der(bytes_of(reply->admitted->leaf.data, reply->admitted->leaf.len),
                             &leaf) == LB_OK &&
        certificate_read(leaf, &claims) == LB_OK) {
        printf("renewed %llu denied %zu intermediates %zu\n", (unsigned long long)claims.serial,
               reply->admitted->denied.len, reply->admitted->n_intermediates);
        X509_free(leaf);
    } else if (reply != NULL && reply->body_case == LB__JOIN__REPLY__BODY_REFUSED) {
        printf("refused %d %s\n", reply->refused->err, reply->refused->reason);
        self->refused = true;
    }
    self->done = true;
    join_message_done(&message);
    secure_close(&self->secure);
}

static void on_renew_end(void *ctx, struct secure *secure, const char *why)
{
    struct renewal *self = ctx;

    (void)secure;
    printf("ended %s\n", why);
    secure_close(&self->secure);
}

static const struct secure_events renew_events = {
    .on_open = on_renew_open,
    .on_data = on_renew_data,
    .on_end = on_renew_end,
};

static int run_renew(char **argv)
{
    struct renewal self = { 0 };
    struct membership_problem wrong;
    struct identity identity;
    const char *const *addresses;
    struct paths paths;

    if (paths_find(&paths, argv[0]) != LB_OK || identity_load(&paths, &identity) != LB_OK ||
        membership_load(paths.member_folder, &identity, clock_wall_s(), &self.own, &wrong) !=
            LB_OK) {
        return problem("no member");
    }
    uv_loop_init(&self.loop);
    self.context = membership_new_context(self.own, TLS_method());
    frames_init(&self.frames, 512 * 1024);
    for (size_t i = 0; i < membership_coordinators(self.own, &addresses) && !self.done; i++) {
        self.secure = secure_connect(&self.loop, addresses[i], self.context, SECURE_ALPN_JOIN,
                                     &renew_events, &self);
        uv_run(&self.loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&self.loop);
    frames_done(&self.frames);
    SSL_CTX_free(self.context);
    membership_free(&self.own);
    return self.refused || !self.done;
}

/* ---- time goes by ---- */

/* Of the coordinator whose intermediate it is by; what stands in it is as it was. */
static int run_age(char **argv)
{
    char key_file[PATHS_SIZE + 64], folder[PATHS_SIZE + 16], text[CERTIFICATE_PEM_MAX];
    struct membership_problem wrong;
    struct certificate_claims claims;
    struct membership *own;
    struct identity identity;
    struct paths paths;
    EVP_PKEY *ca_key;
    X509 *leaf;
    size_t size;
    lb_err err = paths_find(&paths, argv[0]);

    snprintf(folder, sizeof folder, "%s/" REGISTER_OWN_FOLDER, paths.register_folder);
    snprintf(key_file, sizeof key_file, "%s/" PATHS_CA_KEY, argv[1]);
    if (err != LB_OK || identity_load(&paths, &identity) != LB_OK ||
        membership_load(folder, &identity, clock_wall_s(), &own, &wrong) != LB_OK ||
        key_load(key_file, &ca_key) != LB_OK) {
        return problem("no coordinator");
    }
    claims = *membership_claims(own);
    claims.not_after_s = clock_wall_s() - 1;
    err = X509_check_private_key(membership_intermediate(own), ca_key) == 1 ? LB_OK : LB_DENIED;
    if (err == LB_OK) {
        err = certificate_make_leaf(membership_key(own), &claims, membership_intermediate(own),
                                    ca_key, &leaf);
    }
    if (err == LB_OK) {
        err = certificate_to_pem(leaf, membership_intermediate(own), text, &size);
        X509_free(leaf);
    }
    if (err == LB_OK) {
        err = membership_put_file(folder, "member.pem", bytes_of(text, size), 0644);
    }
    key_free(&ca_key);
    membership_free(&own);
    return err == LB_OK ? 0 : problem(lb_err_text(err));
}

/* ---- a coordinator's keys in the wrong hands ---- */

/* OUT.key, and OUT.pem: that node, in the role of a coordinator, signed by the key in CA-FOLDER. */
static int run_forge(char **argv)
{
    char file[PATHS_SIZE + 64], folder[PATHS_SIZE + 16], text[CERTIFICATE_PEM_MAX];
    struct certificate_claims claims = { .role = CERTIFICATE_COORDINATOR, .serial = 1 };
    struct membership_problem wrong;
    struct membership *own;
    struct identity identity;
    struct paths paths;
    EVP_PKEY *ca_key, *key = key_new();
    X509 *leaf;
    size_t size;
    lb_err err = paths_find(&paths, argv[0]);

    snprintf(folder, sizeof folder, "%s/" REGISTER_OWN_FOLDER, paths.register_folder);
    snprintf(file, sizeof file, "%s/" PATHS_CA_KEY, argv[1]);
    if (err != LB_OK || identity_load(&paths, &identity) != LB_OK ||
        membership_load(folder, &identity, clock_wall_s(), &own, &wrong) != LB_OK ||
        key_load(file, &ca_key) != LB_OK || node_id_parse(argv[2], &claims.node) != LB_OK) {
        return problem("no coordinator");
    }
    memcpy(claims.network, identity.network, sizeof claims.network);
    claims.not_before_s = clock_wall_s() - 60;
    claims.not_after_s = claims.not_before_s + CERTIFICATE_LEAF_S;
    err = certificate_make_leaf(key, &claims, membership_intermediate(own), ca_key, &leaf);
    if (err == LB_OK) {
        err = certificate_to_pem(leaf, membership_intermediate(own), text, &size);
        X509_free(leaf);
    }
    snprintf(file, sizeof file, "%s.key", argv[3]);
    if (err == LB_OK) {
        err = key_save(key, file);
    }
    snprintf(file, sizeof file, "%s.pem", strrchr(argv[3], '/') + 1);
    *strrchr(argv[3], '/') = '\0';
    if (err == LB_OK) {
        err = membership_put_file(argv[3], file, bytes_of(text, size), 0644);
    }
    key_free(&key);
    key_free(&ca_key);
    membership_free(&own);
    return err == LB_OK ? 0 : problem(lb_err_text(err));
}

/* ---- before it runs ---- */

static int run_create(int argc, char **argv)
{
    struct create_request request = { .network_name = argv[1],
                                      .root_folder = argv[2],
                                      .address = argv[3],
                                      .host_name = "first",
                                      .node_port = 6881,
                                      .waits_for_approval = argc > 4,
                                      .now_s = clock_wall_s() };
    struct create_problem wrong;
    struct created created;
    struct paths paths;
    char network[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE];

    if (paths_find(&paths, argv[0]) != LB_OK) {
        return problem("no such folder");
    }
    if (create_network(&paths, &request, &created, &wrong) != LB_OK) {
        return problem(wrong.text);
    }
    if (coordinator_past_root(&paths, &created) != LB_OK) {
        return problem("the network could not be made older");
    }
    hex_encode(created.identity.network, NETWORK_ID_SIZE, network);
    node_id_format(&created.identity.node, node);
    printf("%s %s %s %s\n", network, node, created.root_key_file, created.root_file);
    return 0;
}

static int run_offer(char **argv)
{
    struct create_problem wrong;
    struct paths paths;

    if (paths_find(&paths, argv[0]) != LB_OK) {
        return problem("no such folder");
    }
    return create_offer(&paths, argv[1], 6881, &wrong) == LB_OK ? 0 : problem(wrong.text);
}

static int run_sign(int argc, char **argv)
{
    uint8_t network[NETWORK_ID_SIZE], request[CERTIFICATE_REQUEST_MAX], der[CERTIFICATE_DER_MAX];
    char text[2 * CERTIFICATE_DER_MAX + 1];
    struct create_problem wrong;
    uint64_t ago_s = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    size_t size = strlen(argv[3]) / 2;

    if (hex_decode(argv[2], network, sizeof network) != LB_OK || size > sizeof request ||
        hex_decode(argv[3], request, size) != LB_OK) {
        return usage();
    }
    if (create_intermediate(argv[0], argv[1], network, bytes_of(request, size),
                            clock_wall_s() - ago_s, der, &size, &wrong) != LB_OK) {
        return problem(wrong.text);
    }
    hex_encode(der, size, text);
    printf("%s\n", text);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(verb, "create") == 0 && argc >= 6) {
        return run_create(argc - 2, argv + 2);
    }
    if (strcmp(verb, "offer") == 0 && argc == 4) {
        return run_offer(argv + 2);
    }
    if (strcmp(verb, "sign") == 0 && argc >= 6) {
        return run_sign(argc - 2, argv + 2);
    }
    if (strcmp(verb, "member") == 0 && argc == 5) {
        return run_member(argv + 2);
    }
    if (strcmp(verb, "join") == 0 && argc >= 5) {
        return run_join(argc - 2, argv + 2);
    }
    if (strcmp(verb, "renew") == 0 && argc == 3) {
        return run_renew(argv + 2);
    }
    if (strcmp(verb, "age") == 0 && argc == 4) {
        return run_age(argv + 2);
    }
    if (strcmp(verb, "past") == 0 && argc == 7) {
        const struct past past = { .folder = argv[2],
                                   .ca_folder = argv[3],
                                   .root_key_file = argv[4],
                                   .root_file = argv[5],
                                   .days = strtoull(argv[6], NULL, 10) };
        lb_err err = coordinator_past_member(&past);

        return err == LB_OK ? 0 : problem(lb_err_text(err));
    }
    if (strcmp(verb, "forge") == 0 && argc == 6) {
        return run_forge(argv + 2);
    }
    if (strcmp(verb, "skew") == 0 && argc == 4) {
        return run_skew(argv + 2);
    }
    return usage();
}
