#include "libcommon/pki/membership.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/membership_inside.h"
#include "libcommon/stored.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PEM_MAX          16384 /* bytes; people put comments into such files */
#define COORDINATORS_MAX 8192  /* bytes */
#define REACHED_MAX      32    /* bytes */

/* What a person is to do. */
#define ADVICE_RIGHTS                                                                              \
    "give it to the user this runs as, and let nobody else write it (the key: nor read it)"
#define ADVICE_CORRUPT                                                                             \
    "it is damaged, or does not go with the other files there and the identity; restore them all " \
    "from one copy, or join again"
#define ADVICE_DENIED "remove it: a newer one comes from other members"
#define ADVICE_OTHER  "restore it from a copy, or join again"

#define FILE_ROOT         "root.pem"
#define FILE_KEY          "member.key"
#define FILE_CERTIFICATE  "member.pem"
#define FILE_COORDINATORS "coordinators"
#define FILE_DENIED       "denied"

static bool path_of(const struct membership *self, const char *name, char ret_path[PATH_MAX])
{
    return snprintf(ret_path, PATH_MAX, "%s/%s", self->folder, name) < PATH_MAX;
}

static lb_err read_file(const struct membership *self, const char *name, size_t size_max,
                        struct stored *ret_file)
{
    char path[PATH_MAX];

    return path_of(self, name, path) ? stored_read(path, size_max, STORED_TRUSTED, ret_file)
                                     : LB_IO;
}

/* ---- parts that may change ---- */

struct credential {
    X509 *leaf, *intermediate;
    struct certificate_claims claims;
};

static void credential_done(struct credential *self)
{
    X509_free(self->leaf);
    X509_free(self->intermediate);
    self->leaf = self->intermediate = NULL;
}

/*
 * For the node of this identity, with its key, up to its root. Whether its time has come or gone is
 * not asked: an expired one is renewed by the node that starts with it.
 */
static lb_err check_credential(const struct membership *self, uint64_t now_s,
                               struct credential *credential)
{
    uint64_t before_s, after_s;
    STACK_OF(X509) *chain = sk_X509_new_null();
    enum certificate_refusal refusal = REFUSED_OTHER;

    if (!chain || sk_X509_push(chain, credential->intermediate) != 1) {
        abort();
    }
    if (certificate_dates(credential->leaf, &before_s, &after_s) == LB_OK) {
        now_s = now_s < before_s ? before_s : now_s >= after_s ? after_s - 1 : now_s;
        refusal = certificate_verify(credential->leaf, chain, self->root, NULL, now_s,
                                     &credential->claims);
    }
    sk_X509_free(chain);
    if (refusal != REFUSED_NOT || !node_id_equal(&credential->claims.node, &self->identity.node) ||
        EVP_PKEY_eq(X509_get0_pubkey(credential->leaf), self->key) != 1) {
        ERR_clear_error();
        return LB_CORRUPT;
    }
    return LB_OK;
}

static lb_err read_credential(const struct membership *self, uint64_t now_s,
                              struct credential *ret_credential)
{
    struct credential credential = { 0 };
    struct stored file;
    lb_err err = read_file(self, FILE_CERTIFICATE, PEM_MAX, &file);

    if (err != LB_OK) {
        return err;
    }
    err = certificate_from_pem(bytes_of(file.data, file.size), &credential.leaf,
                               &credential.intermediate);
    stored_free(&file);
    if (err == LB_OK && !credential.intermediate) {
        err = LB_CORRUPT;
    }
    if (err == LB_OK) {
        err = check_credential(self, now_s, &credential);
    }
    if (err != LB_OK) {
        credential_done(&credential);
        return err;
    }
    *ret_credential = credential;
    return LB_OK;
}

static void take_credential(struct membership *self, const struct credential *credential)
{
    X509_free(self->leaf);
    X509_free(self->intermediate);
    self->leaf = credential->leaf;
    self->intermediate = credential->intermediate;
    self->claims = credential->claims;
}

static lb_err read_denied(const struct membership *self, struct deny_list **ret_denied)
{
    struct stored file;
    lb_err err = read_file(self, FILE_DENIED, DENY_LIST_BYTES_MAX, &file);

    if (err != LB_OK) {
        return err;
    }
    err = deny_list_parse_kept(bytes_of(file.data, file.size), self->root, ret_denied);
    stored_free(&file);
    return err;
}

/* Lost or damaged it is as if none had been reached. */
static void read_reached(struct membership *self)
{
    struct stored file;

    if (read_file(self, FILE_REACHED, REACHED_MAX, &file) == LB_OK) {
        membership_parse_reached(self, bytes_of(file.data, file.size));
        stored_free(&file);
    } else {
        self->reached_s = 0;
    }
}

/* Those that are not known cost a peer that does not send its own its welcome, no more. */
static bool read_intermediates(struct membership *self, uint64_t now_s)
{
    struct stored file;

    if (read_file(self, FILE_INTERMEDIATES, INTERMEDIATES_FILE_MAX, &file) != LB_OK) {
        return false;
    }
    membership_parse_intermediates(self, bytes_of(file.data, file.size), now_s);
    stored_free(&file);
    return true;
}

static void forget_coordinators(struct membership *self)
{
    for (size_t i = 0; i < self->coordinators_count; i++) {
        free(self->coordinators[i]);
        self->coordinators[i] = NULL;
    }
    self->coordinators_count = 0;
}

static lb_err read_coordinators(struct membership *self)
{
    struct stored file;
    lb_err err = read_file(self, FILE_COORDINATORS, COORDINATORS_MAX, &file);
    char *rest;

    if (err != LB_OK) {
        return err;
    }
    forget_coordinators(self);
    for (char *line = strtok_r((char *)file.data, "\n", &rest);
         line && self->coordinators_count < MEMBERSHIP_COORDINATORS_MAX;
         line = strtok_r(NULL, "\n", &rest)) {
        self->coordinators[self->coordinators_count++] = xstrdup(line);
    }
    stored_free(&file);
    return LB_OK;
}

/* ---- loading ---- */

/* Say what is wrong with a file, for a person, and pass the error on. */
static lb_err problem(const struct membership *self, const char *name, lb_err err,
                      struct membership_problem *ret_problem)
{
    const char *advice = err == LB_DENIED                 ? ADVICE_RIGHTS
                         : strcmp(name, FILE_DENIED) == 0 ? ADVICE_DENIED
                         : err == LB_CORRUPT              ? ADVICE_CORRUPT
                                                          : ADVICE_OTHER;

    snprintf(ret_problem->text, sizeof(ret_problem->text), "%s/%s: %s; %s", self->folder, name,
             lb_err_text(err), advice);
    return err;
}

static lb_err load_root(struct membership *self, uint64_t now_s)
{
    uint8_t network[NETWORK_ID_SIZE];
    struct stored file;
    X509 *more = NULL;
    lb_err err = read_file(self, FILE_ROOT, PEM_MAX, &file);

    (void)now_s;
    if (err != LB_OK) {
        return err;
    }
    err = certificate_from_pem(bytes_of(file.data, file.size), &self->root, &more);
    stored_free(&file);
    X509_free(more);
    return err == LB_OK && !more && certificate_network(self->root, network) == LB_OK &&
                   memcmp(network, self->identity.network, NETWORK_ID_SIZE) == 0
               ? LB_OK
               : LB_CORRUPT;
}

static lb_err load_key(struct membership *self, uint64_t now_s)
{
    char path[PATH_MAX];

    (void)now_s;
    return path_of(self, FILE_KEY, path) ? key_load(path, &self->key) : LB_IO;
}

static lb_err load_credential(struct membership *self, uint64_t now_s)
{
    struct credential credential;
    lb_err err = read_credential(self, now_s, &credential);

    if (err == LB_OK) {
        take_credential(self, &credential);
    }
    return err;
}

/* What is only absent is no fault. */
static lb_err load_denied(struct membership *self, uint64_t now_s)
{
    lb_err err = read_denied(self, &self->denied);

    (void)now_s;
    return err == LB_NOT_FOUND ? LB_OK : err;
}

static lb_err load_coordinators(struct membership *self, uint64_t now_s)
{
    lb_err err = read_coordinators(self);

    (void)now_s;
    return err == LB_NOT_FOUND ? LB_OK : err;
}

static struct stamp stamp_of(const struct membership *self, const char *name)
{
    struct stamp stamp = { 0 };
    char path[PATH_MAX];
    struct stat about;

    if (path_of(self, name, path) && stat(path, &about) == 0) {
        stamp = (struct stamp){ .inode = about.st_ino,
                                .size = about.st_size,
                                .changed_s = about.st_ctim.tv_sec,
                                .changed_ns = about.st_ctim.tv_nsec };
    }
    return stamp;
}

static bool has_changed(const struct membership *self, const char *name, struct stamp *stamp)
{
    struct stamp now = stamp_of(self, name);
    bool changed = now.inode != stamp->inode || now.size != stamp->size ||
                   now.changed_s != stamp->changed_s || now.changed_ns != stamp->changed_ns;

    *stamp = now;
    return changed;
}

lb_err membership_load(const char *folder, const struct identity *identity, uint64_t now_s,
                       struct membership **ret_self, struct membership_problem *ret_problem)
{
    static const struct {
        const char *name;
        lb_err (*load)(struct membership *self, uint64_t now_s);
    } files[] = { { FILE_ROOT, load_root },
                  { FILE_KEY, load_key },
                  { FILE_CERTIFICATE, load_credential },
                  { FILE_DENIED, load_denied },
                  { FILE_COORDINATORS, load_coordinators } };
    struct membership *self = xcalloc(1, sizeof(*self));
    lb_err err = LB_OK;

    self->folder = xstrdup(folder);
    self->identity = *identity;
    /* Before they are read: what changes meanwhile is read again. */
    self->certificate_stamp = stamp_of(self, FILE_CERTIFICATE);
    self->denied_stamp = stamp_of(self, FILE_DENIED);
    self->coordinators_stamp = stamp_of(self, FILE_COORDINATORS);
    self->reached_stamp = stamp_of(self, FILE_REACHED);
    self->intermediates_stamp = stamp_of(self, FILE_INTERMEDIATES);
    for (size_t i = 0; err == LB_OK && i < sizeof(files) / sizeof(files[0]); i++) {
        err = files[i].load(self, now_s);
        if (err != LB_OK) {
            err = problem(self, files[i].name, err, ret_problem);
        }
    }
    if (err != LB_OK) {
        membership_free(&self);
        return err;
    }
    read_reached(self);
    (void)read_intermediates(self, now_s);
    *ret_self = self;
    return LB_OK;
}

lb_err membership_new(const struct membership_parts *parts, uint64_t now_s,
                      struct membership **ret_self)
{
    struct membership *self = xcalloc(1, sizeof(*self));
    struct credential credential = { .leaf = parts->leaf, .intermediate = parts->intermediate };

    self->identity = parts->identity;
    self->root = parts->root;
    self->key = parts->key;
    if (X509_up_ref(parts->root) != 1 || EVP_PKEY_up_ref(parts->key) != 1 ||
        X509_up_ref(parts->leaf) != 1 || X509_up_ref(parts->intermediate) != 1) {
        abort();
    }
    take_credential(self, &credential);
    if (check_credential(self, now_s, &credential) != LB_OK) {
        membership_free(&self);
        return LB_CORRUPT;
    }
    self->claims = credential.claims;
    *ret_self = self;
    return LB_OK;
}

void membership_free(struct membership **self)
{
    struct membership *it = *self;

    if (!it) {
        return;
    }
    forget_coordinators(it);
    membership_forget_intermediates(it);
    deny_list_free(&it->denied);
    X509_free(it->leaf);
    X509_free(it->intermediate);
    X509_free(it->root);
    EVP_PKEY_free(it->key);
    free(it->known);
    free(it->folder);
    free(it);
    *self = NULL;
}

/* ---- news ---- */

/* What the system refused (too many open files, say) is tried again at the next heartbeat. */
static void left_aside(const struct membership *self, const char *name, lb_err err,
                       struct stamp *stamp)
{
    log_warn("membership: %s/%s left aside: %s", self->folder, name, lb_err_text(err));
    if (err == LB_IO) {
        *stamp = (struct stamp){ 0 };
    }
}

static unsigned refresh_credential(struct membership *self, uint64_t now_s)
{
    struct credential credential;
    lb_err err = read_credential(self, now_s, &credential);

    if (err != LB_OK) {
        left_aside(self, FILE_CERTIFICATE, err, &self->certificate_stamp);
        return MEMBERSHIP_SAME;
    }
    take_credential(self, &credential);
    return MEMBERSHIP_NEW_CERTIFICATE;
}

static unsigned refresh_denied(struct membership *self)
{
    struct deny_list *denied;
    lb_err err = read_denied(self, &denied);

    if (err != LB_OK) {
        left_aside(self, FILE_DENIED, err, &self->denied_stamp);
        return MEMBERSHIP_SAME;
    }
    return membership_take_denied(self, &denied) ? MEMBERSHIP_NEW_DENIED : MEMBERSHIP_SAME;
}

bool membership_take_denied(struct membership *self, struct deny_list **denied)
{
    struct deny_list *taken = *denied;

    *denied = NULL;
    if (!deny_list_follows(taken, self->denied)) {
        deny_list_free(&taken);
        return false;
    }
    deny_list_free(&self->denied);
    self->denied = taken;
    return true;
}

unsigned membership_refresh(struct membership *self, uint64_t now_s)
{
    unsigned news = MEMBERSHIP_SAME;

    if (!self->folder) {
        return news;
    }
    if (has_changed(self, FILE_CERTIFICATE, &self->certificate_stamp)) {
        news |= refresh_credential(self, now_s);
    }
    if (has_changed(self, FILE_DENIED, &self->denied_stamp)) {
        news |= refresh_denied(self);
    }
    if (has_changed(self, FILE_COORDINATORS, &self->coordinators_stamp) &&
        read_coordinators(self) == LB_OK) {
        news |= MEMBERSHIP_NEW_COORDINATORS;
    }
    if (has_changed(self, FILE_REACHED, &self->reached_stamp)) {
        read_reached(self);
    }
    if (has_changed(self, FILE_INTERMEDIATES, &self->intermediates_stamp) &&
        read_intermediates(self, now_s)) {
        news |= MEMBERSHIP_NEW_INTERMEDIATES;
    }
    return news;
}

/* ---- what it knows ---- */

const struct identity *membership_identity(const struct membership *self)
{
    return &self->identity;
}

const struct certificate_claims *membership_claims(const struct membership *self)
{
    return &self->claims;
}

EVP_PKEY *membership_key(const struct membership *self)
{
    return self->key;
}

X509 *membership_leaf(const struct membership *self)
{
    return self->leaf;
}

X509 *membership_intermediate(const struct membership *self)
{
    return self->intermediate;
}

X509 *membership_root(const struct membership *self)
{
    return self->root;
}

const struct deny_list *membership_denied(const struct membership *self)
{
    return self->denied;
}

size_t membership_coordinators(const struct membership *self, const char *const **ret_addresses)
{
    *ret_addresses = (const char *const *)self->coordinators;
    return self->coordinators_count;
}

lb_err membership_put_file(const char *folder, const char *name, struct bytes data, unsigned mode)
{
    return stored_replace(folder, name, data, mode);
}
