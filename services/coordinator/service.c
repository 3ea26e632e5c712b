#include "services/coordinator/service.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/deny_list.h"
#include "proto/member.pb-c.h"
#include "proto/signer.pb-c.h"
#include "services/coordinator/create.h"
#include "services/coordinator/door.h"
#include "services/coordinator/enlist.h"
#include "services/coordinator/files.h"
#include "services/coordinator/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SAY_AGAIN_MS 10000u /* the same in the log */

_Static_assert(REGISTER_KEY_ID_SIZE == CERTIFICATE_KEY_ID_SIZE, "a key identifier");

/* ---- who is who ---- */

int64_t coordinator_skew_s(uint64_t now_s, uint64_t theirs_s)
{
    const uint64_t most = 1ull << 40;

    if (theirs_s > most) {
        return -(int64_t)most;
    }
    return (int64_t)now_s - (int64_t)theirs_s;
}

static const struct known_server *known_server(const struct coordinator *self, uint64_t number)
{
    for (size_t i = 0; i < self->known_count; i++) {
        if (self->known[i].number == number) {
            return &self->known[i];
        }
    }
    return NULL;
}

const char *coordinator_address_of(const struct coordinator *self, uint64_t number)
{
    const struct register_server *servers;
    size_t count = register_servers(self->reg, &servers);
    const struct known_server *known = known_server(self, number);

    for (size_t i = 0; i < count; i++) {
        if (servers[i].number == number) {
            return servers[i].address;
        }
    }
    return known != NULL ? known->address : NULL;
}

/* See raft_wire.h. */
static bool is_server(void *ctx, const struct node_id *node, uint64_t number)
{
    const struct coordinator *self = ctx;
    const struct register_server *server = register_server(self->reg, node);

    if (server != NULL) {
        return server->number == number;
    }
    return number >= register_next_server(self->reg); /* later than all we know of */
}

/* Whose key it is, by the register or what it said last; NULL: of no coordinator. */
static const uint8_t *key_of_coordinator(const struct coordinator *self, const struct node_id *node)
{
    const struct register_member *member = register_member(self->reg, node);

    static const uint8_t unknown[REGISTER_DIGEST_SIZE];

    if (member != NULL && register_is_coordinator(self->reg, node)) {
        return member->key_digest;
    }
    for (size_t i = 0; i < self->known_count; i++) {
        if (node_id_equal(&self->known[i].node, node) &&
            memcmp(self->known[i].key_digest, unknown, sizeof unknown) != 0) {
            return self->known[i].key_digest;
        }
    }
    return NULL;
}

static bool shows_key(SSL *ssl, const uint8_t *wanted)
{
    uint8_t digest[REGISTER_DIGEST_SIZE];

    key_digest(X509_get0_pubkey(SSL_get0_peer_certificate(ssl)), digest);
    return memcmp(digest, wanted, sizeof digest) == 0;
}

static bool has_key_of_coordinator(const struct coordinator *self, SSL *ssl,
                                   const struct node_id *node)
{
    const uint8_t *wanted = key_of_coordinator(self, node);

    return wanted != NULL && shows_key(ssl, wanted);
}

/*
 * Whoever holds an intermediate can make a leaf of any node and role. So a node that we know shows
 * its own key; and of one that we do not know (we were away when it was added), the leaf was not
 * signed by one that was removed.
 */
static bool may_coordinate(const struct coordinator *self, SSL *ssl,
                           const struct certificate_claims *claims)
{
    const struct register_member *member = register_member(self->reg, &claims->node);
    const uint8_t *wanted = key_of_coordinator(self, &claims->node);

    if (wanted != NULL) {
        return shows_key(ssl, wanted);
    }
    return (member == NULL || shows_key(ssl, member->key_digest)) &&
           !register_is_former(self->reg, claims->issuer);
}

bool coordinator_is_issuer_denied(const struct coordinator *self, const X509 *shown,
                                  enum certificate_refusal refusal,
                                  struct certificate_claims *ret_claims)
{
    return refusal == REFUSED_REVOKED && certificate_read(shown, ret_claims) == LB_OK &&
           !deny_list_has(membership_denied(self->own), &ret_claims->node);
}

bool coordinator_check_peer(struct coordinator *self, SSL *ssl,
                            struct certificate_claims *ret_claims)
{
    uint64_t now_s = clock_wall_s(), from_s, until_s;
    X509 *shown = SSL_get0_peer_certificate(ssl);
    enum certificate_refusal refusal = membership_check_peer(self->own, ssl, now_s, ret_claims);
    bool is_void = false;

    if (refusal == REFUSED_EXPIRED && certificate_dates(shown, &from_s, &until_s) == LB_OK) {
        /* In its last second: OpenSSL takes the end itself for too late. */
        refusal = membership_check_peer(self->own, ssl, until_s - 1, ret_claims);
        is_void = true;
    }
    if (coordinator_is_issuer_denied(self, shown, refusal, ret_claims)) {
        refusal = REFUSED_NOT;
        is_void = true;
    }
    if (refusal != REFUSED_NOT) {
        return false;
    }
    return is_void ? has_key_of_coordinator(self, ssl, &ret_claims->node)
                   : ret_claims->role == CERTIFICATE_COORDINATOR &&
                         may_coordinate(self, ssl, ret_claims);
}

static bool wire_check(void *ctx, SSL *ssl, struct certificate_claims *ret_claims)
{
    return coordinator_check_peer(ctx, ssl, ret_claims);
}

static SSL_CTX *wire_context(void *ctx)
{
    const struct coordinator *self = ctx;

    return self->asking;
}

static void wire_refused(void *ctx, const char *why)
{
    struct coordinator *self = ctx;

    uint64_t now_ms = actor_now_ms(self->actor);

    status_counter_add(self->raft_refused, 1);
    if (self->refused_said_ms == 0 || now_ms - self->refused_said_ms > SAY_AGAIN_MS) {
        self->refused_said_ms = now_ms;
        log_warn("a connection of the group was refused: %s", why);
    }
}

/* ---- our certificate ---- */

/* Everybody who shows a certificate has proven its key; what it is worth is asked of each request,
 * so that who is refused hears why. */
static int accept_for_now(int verified, X509_STORE_CTX *store)
{
    (void)verified;
    (void)store;
    return 1;
}

void coordinator_new_contexts(struct coordinator *self)
{
    SSL_CTX_free(self->serving);
    SSL_CTX_free(self->asking);
    self->serving = membership_new_context(self->own, TLS_method());
    self->asking = membership_new_context(self->own, TLS_method());
    SSL_CTX_set_verify(self->serving, SSL_VERIFY_PEER, accept_for_now);
    SSL_CTX_set_verify(self->asking, SSL_VERIFY_PEER, accept_for_now);
    secure_select_alpn(self->serving);
    /* Who joins knows the root by its digest alone. */
    if (SSL_CTX_add1_chain_cert(self->serving, membership_root(self->own)) != 1) {
        abort();
    }
}

lb_err coordinator_take_leaf(struct coordinator *self, struct bytes leaf, struct bytes intermediate)
{
    char text[CERTIFICATE_PEM_MAX];
    X509 *first = NULL, *second = NULL;
    size_t size;
    lb_err err = certificate_from_der(leaf, &first);

    if (err == LB_OK) {
        err = certificate_from_der(intermediate, &second);
    }
    if (err == LB_OK) {
        err = certificate_to_pem(first, second, text, &size);
    }
    if (err == LB_OK) {
        err = membership_put_file(self->own_folder, "member.pem", bytes_of(text, size), 0644);
    }
    X509_free(first);
    X509_free(second);
    if (err == LB_OK &&
        (membership_refresh(self->own, clock_wall_s()) & MEMBERSHIP_NEW_CERTIFICATE) == 0) {
        err = LB_CORRUPT;
    }
    if (err == LB_OK) {
        coordinator_new_contexts(self);
        log_info("our own certificate is number %llu now",
                 (unsigned long long)membership_claims(self->own)->serial);
    }
    return err;
}

/* ---- the group ---- */

static void on_applied(void *ctx, const struct register_result *result)
{
    struct coordinator *self = ctx;

    if (result->outcome == REGISTER_REFUSED) {
        log_debug("an entry changes nothing: %s", result->reason);
    }
    status_counter_set(self->members, register_members_count(self->reg));
}

lb_err coordinator_start_group(struct coordinator *self, bool is_first)
{
    const struct group_settings settings = {
        .loop = actor_loop(self->actor),
        .folder = self->raft_folder,
        .number = self->number,
        .address = self->address,
        .is_first = is_first,
        .reg = self->reg,
        .wire = self->wire,
        .on_applied = on_applied,
        .ctx = self,
    };
    const char *reason = "";
    lb_err err = LB_OK;

    if (mkdir(self->raft_folder, 0700) != 0 && errno != EEXIST) {
        err = errno == ENOSPC ? LB_NO_SPACE : LB_IO;
        reason = strerror(errno);
    }
    if (err == LB_OK) {
        err = group_start(&settings, &self->group, &reason);
    }
    if (err != LB_OK) {
        log_error("the register cannot be opened: %s: %s", lb_err_text(err), reason);
    }
    return err;
}

/* ---- the beginning of a network ---- */

static void on_founded(void *ctx, const struct decision *decision)
{
    struct coordinator *self = ctx;

    self->founding = false;
    if (decision->outcome == REGISTER_REFUSED && decision->err != LB_EXISTS &&
        strcmp(self->not_founded, decision->reason) != 0) { /* it is tried again at every tick */
        snprintf(self->not_founded, sizeof self->not_founded, "%s", decision->reason);
        log_warn("the network is not founded yet: %s", decision->reason);
    }
}

static void found(struct coordinator *self)
{
    const char *folder = actor_paths(self->actor)->register_folder;
    struct register_command command;
    struct bytes data, first;
    uint8_t *file;

    if (self->founding || self->group == NULL || !group_is_fresh(self->group)) {
        return;
    }
    if (register_is_founded(self->reg)) {
        files_remove(folder, REGISTER_FIRST_FILE);
        self->is_first = false;
        return;
    }
    if (files_read_first(folder, &file, &data.size) != LB_OK) {
        return;
    }
    data.data = file;
    if (files_next_first(&data, &first) && register_command_parse(first, &command) == LB_OK) {
        self->founding = true;
        proposals_make(self->proposals, &command, COORDINATOR_LATE_MS, on_founded, self);
    }
    free(file);
}

/* What stands in `first` about ourselves, before Raft can say it. */
static lb_err read_first(struct coordinator *self, const char *folder)
{
    struct register_command command;
    struct bytes data, first;
    uint8_t *file;
    lb_err err = files_read_first(folder, &file, &data.size);

    if (err != LB_OK) {
        return err;
    }
    data.data = file;
    err = LB_CORRUPT;
    if (files_next_first(&data, &first) && register_command_parse(first, &command) == LB_OK &&
        command.verb == VERB_FOUND) {
        self->number = 1;
        memcpy(self->address, command.address, sizeof self->address);
        self->is_first = true;
        err = files_write_group(self, folder);
    }
    free(file);
    return err;
}

/* ---- now and then ---- */

/* What is to be known at the next start before the register is. */
static void keep_known(struct coordinator *self)
{
    struct known_server now[REGISTER_SERVERS_MAX];
    const struct register_server *servers;
    size_t count = register_servers(self->reg, &servers);

    if (self->group == NULL || count == 0) {
        return;
    }
    memset(now, 0, sizeof now);
    for (size_t i = 0; i < count; i++) {
        now[i].number = servers[i].number;
        now[i].node = servers[i].node;
        memcpy(now[i].address, servers[i].address, sizeof now[i].address);
        memcpy(now[i].key_digest, register_member(self->reg, &servers[i].node)->key_digest,
               REGISTER_DIGEST_SIZE);
    }
    if (count == self->known_count && memcmp(now, self->known, count * sizeof now[0]) == 0) {
        return;
    }
    memcpy(self->known, now, sizeof now);
    self->known_count = count;
    if (files_write_group(self, actor_paths(self->actor)->register_folder) != LB_OK) {
        log_warn("the group's file could not be written");
    }
}

/*
 * Whoever was removed, or shows a certificate that counts no more, is not listened to any longer:
 * it could still vote and append. Not before Raft has heard of the removal, which the removed one
 * itself may have to pass on.
 */
static void check_lines(struct coordinator *self, uint64_t now_s)
{
    if (self->group == NULL || now_s == self->lines_checked_s ||
        !group_is_rid_of_removed(self->group)) {
        return;
    }
    self->lines_checked_s = now_s;
    if (raft_wire_check_all(self->wire) > 0) {
        log_info("connections of who is no coordinator any more were ended");
    }
}

static void count_traffic(struct coordinator *self)
{
    struct group_traffic traffic;

    if (self->group != NULL) {
        group_traffic(self->group, &traffic);
        status_counter_set(self->raft_messages, traffic.messages);
        status_counter_set(self->raft_appends, traffic.with_entries);
    }
}

static void finish_enlisting(struct coordinator *self)
{
    const char *folder = actor_paths(self->actor)->register_folder;

    enlisting_free(&self->enlisting);
    if (files_write_group(self, folder) != LB_OK || coordinator_start_group(self, false) != LB_OK) {
        exit(EXIT_FAILURE); /* started anew, it goes on from its files */
    }
    files_remove(folder, REGISTER_OFFER_FILE);
}

static void on_tick(uv_timer_t *timer)
{
    struct coordinator *self = timer->data;
    uint64_t now_ms = actor_now_ms(self->actor), now_s = clock_wall_s();

    if (self->stopping) {
        return;
    }
    if (self->is_first) {
        found(self);
    }
    if (self->enlisting != NULL && enlisting_tick(self->enlisting, now_ms)) {
        finish_enlisting(self);
    }
    if ((membership_refresh(self->own, now_s) & MEMBERSHIP_NEW_CERTIFICATE) != 0) {
        coordinator_new_contexts(self);
    }
    proposals_tick(self->proposals, now_ms);
    door_tick(self->door, now_ms);
    issue_tick(self, now_s);
    keep_known(self);
    check_lines(self, now_s);
    count_traffic(self);
    coordinator_say_state(self, now_s);
}

/* ---- life ---- */

static lb_err load_own(struct coordinator *self)
{
    const struct paths *paths = actor_paths(self->actor);
    struct membership_problem problem;
    lb_err err = identity_load(paths, &self->identity);

    if (err != LB_OK) {
        log_error("%s: %s; lb-coordinator serves a private network", paths->identity_file,
                  lb_err_text(err));
        return err;
    }
    snprintf(self->own_folder, sizeof self->own_folder, "%s/" REGISTER_OWN_FOLDER,
             paths->register_folder);
    snprintf(self->raft_folder, sizeof self->raft_folder, "%s/raft", paths->register_folder);
    err = membership_load(self->own_folder, &self->identity, clock_wall_s(), &self->own, &problem);
    if (err != LB_OK) {
        log_error("%s", problem.text);
        return err;
    }
    coordinator_new_contexts(self);
    return LB_OK;
}

/* Of a group, the first of a new one, or one that would be of it. */
static lb_err load_group(struct coordinator *self)
{
    const char *folder = actor_paths(self->actor)->register_folder;
    char address[REGISTER_ADDRESS_SIZE];
    uint16_t node_port;
    lb_err err = files_read_group(self, folder);
    uint8_t *first;
    size_t size;

    if (err == LB_OK && files_read_first(folder, &first, &size) == LB_OK) {
        self->is_first = true; /* it was not done with */
        free(first);
    }
    if (err == LB_NOT_FOUND) {
        err = read_first(self, folder);
    }
    if (err == LB_OK) {
        return coordinator_start_group(self, self->is_first);
    }
    if (err == LB_NOT_FOUND) {
        err = files_read_offer(folder, address, &node_port);
        if (err == LB_OK) {
            self->enlisting = enlisting_new(self, address, node_port);
        }
    }
    if (err != LB_OK) {
        log_error("%s: %s: no register, and no offer to be a coordinator", folder,
                  lb_err_text(err));
    }
    return err;
}

static void add_counters(struct coordinator *self)
{
    struct actor *actor = self->actor;

    self->certificates = actor_counter(actor, "certificates");
    self->joins = actor_counter(actor, "joins_asked");
    self->refused = actor_counter(actor, "refused");
    self->forwarded = actor_counter(actor, "forwarded");
    self->connections = actor_counter(actor, "connections");
    self->turned_away = actor_counter(actor, "turned_away");
    self->requests_tls = actor_counter(actor, "tls_requests");
    self->raft_messages = actor_counter(actor, "raft_messages");
    self->raft_appends = actor_counter(actor, "raft_appends");
    self->raft_refused = actor_counter(actor, "raft_refused");
    self->members = actor_counter(actor, "members");
}

static void coordinator_free(void *ctx)
{
    struct coordinator *self = ctx;

    self->stopping = true;
    if (uv_is_active((uv_handle_t *)&self->tick)) {
        uv_timer_stop(&self->tick);
    }
    uv_close((uv_handle_t *)&self->tick, NULL);
    door_close(&self->door);
    enlisting_free(&self->enlisting);
    proposals_free(&self->proposals);
    if (self->group_closed) { /* else the drain has taken too long: libraft still has it */
        group_free(&self->group);
    }
    raft_wire_free(&self->wire);
    register_free(&self->reg);
    membership_free(&self->own);
    SSL_CTX_free(self->serving);
    SSL_CTX_free(self->asking);
    free(self->denied);
    actor_free_later(self->actor, self);
}

static lb_err coordinator_start(struct actor *actor, void **ret_ctx)
{
    struct coordinator *self = xcalloc(1, sizeof *self);
    struct raft_wire_world world = { .context = wire_context,
                                     .check = wire_check,
                                     .is_server = is_server,
                                     .on_refused = wire_refused,
                                     .ctx = self };
    lb_err err;

    self->actor = actor;
    add_counters(self);
    uv_timer_init(actor_loop(actor), &self->tick);
    self->tick.data = self;
    self->reg = register_new();
    self->wire = raft_wire_new(actor_loop(actor), &world);
    self->signer = actor_link(actor, SERVICE_SIGNER, 0, &lb__signer__reply__descriptor);
    self->member = actor_link(actor, SERVICE_MEMBER, 0, &lb__member__reply__descriptor);
    self->proposals = proposals_new(self);
    err = load_own(self);
    if (err == LB_OK) {
        err = load_group(self);
    }
    if (err == LB_OK) {
        err = door_open(self, &self->door);
    }
    if (err != LB_OK) {
        return err == LB_NOT_FOUND || err == LB_CORRUPT ? LB_INVALID : err;
    }
    uv_timer_start(&self->tick, on_tick, 0, COORDINATOR_TICK_MS);
    coordinator_say_state(self, clock_wall_s());
    *ret_ctx = self;
    return LB_OK;
}

static void on_group_closed(void *ctx)
{
    struct coordinator *self = ctx;

    self->group_closed = true;
    actor_stopped(self->actor);
}

static void coordinator_stop(void *ctx)
{
    struct coordinator *self = ctx;

    self->stopping = true;
    uv_timer_stop(&self->tick);
    door_close(&self->door);
    if (self->group != NULL) {
        group_close(self->group, on_group_closed, self);
    } else {
        actor_stopped(self->actor);
    }
}

const struct service_definition coordinator_service = {
    .service = SERVICE_COORDINATOR,
    .request = &lb__coordinator__request__descriptor,
    .reply = &lb__coordinator__reply__descriptor,
    .handlers = coordinator_handlers,
    .handlers_count = LB__COORDINATOR__REQUEST__BODY_SET_POLICY + 1,
    .start = coordinator_start,
    .stop = coordinator_stop,
    .free = coordinator_free,
};
