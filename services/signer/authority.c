#include "services/signer/authority.h"

#include "libcommon/memory.h"
#include "libcommon/paths.h"
#include "libcommon/stored.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_ROOT         "root.pem"
#define FILE_INTERMEDIATE "intermediate.pem"

#define SKEW_S 300u /* a coordinator's clock may be ahead of ours by so much: they share a host */

struct authority {
    char *folder;
    uint8_t network[NETWORK_ID_SIZE];
    EVP_PKEY *key;
    X509 *root, *intermediate;
    uint64_t from_s, until_s; /* of the intermediate */
};

void authority_free(struct authority **self)
{
    struct authority *it = *self;

    if (it == NULL) {
        return;
    }
    key_free(&it->key);
    X509_free(it->root);
    X509_free(it->intermediate);
    free(it->folder);
    free(it);
    *self = NULL;
}

/* ---- what is on disk ---- */

static lb_err problem(const struct authority *self, const char *file, lb_err err,
                      struct authority_problem *ret_problem)
{
    snprintf(ret_problem->text, sizeof ret_problem->text, "%s/%s: %s; %s", self->folder, file,
             lb_err_text(err),
             err == LB_DENIED ? "give it to the user lb-signer runs as, and let nobody else read "
                                "the key or write any of them"
                              : "restore it from a copy, or have this coordinator added anew");
    return err;
}

static lb_err read_certificate(const struct authority *self, const char *name, X509 **ret_self)
{
    char path[PATHS_SIZE + 32];
    struct stored file;
    X509 *second = NULL;
    lb_err err;

    snprintf(path, sizeof path, "%s/%s", self->folder, name);
    err = stored_read(path, CERTIFICATE_PEM_MAX, STORED_TRUSTED, &file);
    if (err != LB_OK) {
        return err;
    }
    err = certificate_from_pem(bytes_of(file.data, file.size), ret_self, &second);
    stored_free(&file);
    if (err == LB_OK && second != NULL) {
        X509_free(second);
        X509_free(*ret_self);
        *ret_self = NULL;
        err = LB_CORRUPT;
    }
    return err;
}

static lb_err load_root(struct authority *self)
{
    uint8_t digest[NETWORK_ID_SIZE];
    lb_err err = read_certificate(self, FILE_ROOT, &self->root);

    if (err != LB_OK) {
        return err;
    }
    if (X509_get0_pubkey(self->root) == NULL) {
        return LB_CORRUPT;
    }
    key_digest(X509_get0_pubkey(self->root), digest);
    return memcmp(digest, self->network, sizeof digest) == 0 ? LB_OK : LB_CORRUPT;
}

static lb_err load_key(struct authority *self)
{
    char path[PATHS_SIZE + 32];

    snprintf(path, sizeof path, "%s/" PATHS_CA_KEY, self->folder);
    return key_load(path, &self->key);
}

/* Whether it has expired is asked when something is to be signed. */
static bool is_ours(const struct authority *self, X509 *intermediate, uint64_t now_s)
{
    return X509_check_ca(intermediate) == 1 &&
           EVP_PKEY_eq(X509_get0_pubkey(intermediate), self->key) == 1 &&
           certificate_verify_chain(intermediate, NULL, self->root, 0, now_s) == REFUSED_NOT;
}

static lb_err load_intermediate(struct authority *self)
{
    lb_err err = read_certificate(self, FILE_INTERMEDIATE, &self->intermediate);

    if (err == LB_NOT_FOUND) {
        return LB_OK;
    }
    if (err != LB_OK) {
        return err;
    }
    if (certificate_dates(self->intermediate, &self->from_s, &self->until_s) != LB_OK ||
        !is_ours(self, self->intermediate, self->from_s)) {
        return LB_CORRUPT;
    }
    return LB_OK;
}

lb_err authority_load(const char *ca_folder, const struct identity *identity,
                      struct authority **ret_self, struct authority_problem *ret_problem)
{
    static const struct {
        const char *name;
        lb_err (*load)(struct authority *self);
    } files[] = {
        { FILE_ROOT, load_root },
        { PATHS_CA_KEY, load_key },
        { FILE_INTERMEDIATE, load_intermediate },
    };
    struct authority *self = xcalloc(1, sizeof *self);

    self->folder = xstrdup(ca_folder);
    memcpy(self->network, identity->network, sizeof self->network);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        lb_err err = files[i].load(self);

        if (err != LB_OK) {
            err = problem(self, files[i].name, err, ret_problem);
            authority_free(&self);
            return err;
        }
    }
    *ret_self = self;
    return LB_OK;
}

/* ---- the intermediate ---- */

X509 *authority_intermediate(const struct authority *self)
{
    return self->intermediate;
}

lb_err authority_request(const struct authority *self, uint8_t ret_der[CERTIFICATE_REQUEST_MAX],
                         size_t *ret_size)
{
    return certificate_request_make(self->key, ret_der, ret_size);
}

static lb_err keep_intermediate(struct authority *self, X509 *intermediate, const char **ret_reason)
{
    char text[CERTIFICATE_PEM_MAX];
    size_t size;
    lb_err err = certificate_to_pem(intermediate, NULL, text, &size);

    if (err == LB_OK) {
        err = stored_replace(self->folder, FILE_INTERMEDIATE, bytes_of(text, size), 0644);
    }
    if (err != LB_OK) {
        *ret_reason = "the intermediate could not be written";
        return err;
    }
    X509_free(self->intermediate);
    self->intermediate = intermediate;
    return certificate_dates(intermediate, &self->from_s, &self->until_s);
}

lb_err authority_set_intermediate(struct authority *self, struct bytes der, uint64_t now_s,
                                  const char **ret_reason)
{
    X509 *intermediate;
    lb_err err = certificate_from_der(der, &intermediate);

    if (err != LB_OK) {
        *ret_reason = "no certificate";
        return err;
    }
    if (!is_ours(self, intermediate, now_s)) {
        X509_free(intermediate);
        *ret_reason = "it is not for this key, not signed by the network's root, or does not count "
                      "now";
        return LB_CORRUPT;
    }
    if (self->intermediate != NULL && X509_cmp(self->intermediate, intermediate) == 0) {
        X509_free(intermediate);
        return LB_OK;
    }
    err = keep_intermediate(self, intermediate, ret_reason);
    if (err != LB_OK && self->intermediate != intermediate) {
        X509_free(intermediate);
    }
    return err;
}

static lb_err may_sign(const struct authority *self, uint64_t now_s, const char **ret_reason)
{
    if (self->intermediate == NULL) {
        *ret_reason = "this coordinator has no intermediate yet: the operator has to add it";
        return LB_UNAVAILABLE;
    }
    if (now_s < self->from_s || now_s >= self->until_s) {
        *ret_reason = "the intermediate of this coordinator does not count now: if the clock is "
                      "right, the operator has to sign another";
        return LB_UNAVAILABLE;
    }
    return LB_OK;
}

/* ---- leaves ---- */

static const char *wrong_dates(const struct authority *self,
                               const struct certificate_claims *claims, uint64_t now_s)
{
    if (claims->serial == 0 || claims->serial > INT64_MAX) {
        return "no serial number";
    }
    if (claims->not_before_s >= claims->not_after_s ||
        claims->not_after_s - claims->not_before_s > CERTIFICATE_LEAF_S + CERTIFICATE_BACKDATE_S) {
        return "a leaf lives for a week at most";
    }
    if (claims->not_before_s < self->from_s || claims->not_after_s > self->until_s) {
        return "a leaf does not outlive its intermediate, nor begin before it";
    }
    if (claims->not_before_s > now_s + SKEW_S || claims->not_after_s <= now_s) {
        return "a leaf counts now";
    }
    return NULL;
}

lb_err authority_sign_leaf(const struct authority *self, struct bytes public_key,
                           const struct certificate_claims *claims, uint64_t now_s,
                           uint8_t ret_der[CERTIFICATE_DER_MAX], size_t *ret_size,
                           const char **ret_reason)
{
    struct certificate_claims ours = *claims;
    EVP_PKEY *key;
    X509 *leaf;
    lb_err err = may_sign(self, now_s, ret_reason);

    if (err != LB_OK) {
        return err;
    }
    *ret_reason = wrong_dates(self, claims, now_s);
    if (*ret_reason != NULL) {
        return LB_INVALID;
    }
    err = key_public_parse(public_key, &key);
    if (err != LB_OK) {
        *ret_reason = "no public key of P-256";
        return err;
    }
    *ret_reason = "the leaf could not be made";
    memcpy(ours.network, self->network, sizeof ours.network);
    err = certificate_make_leaf(key, &ours, self->intermediate, self->key, &leaf);
    key_free(&key);
    if (err == LB_OK) {
        err = certificate_to_der(leaf, ret_der, ret_size);
        X509_free(leaf);
    }
    return err;
}

/* ---- the deny list ---- */

lb_err authority_sign_deny_list(const struct authority *self, uint64_t number, uint64_t made_s,
                                struct deny_row *rows, size_t count, uint64_t now_s,
                                uint8_t **ret_data, size_t *ret_size, const char **ret_reason)
{
    lb_err err = may_sign(self, now_s, ret_reason);

    if (err != LB_OK) {
        return err;
    }
    *ret_reason = "a deny list has a number, a date that is past, and at most 10,000 rows";
    if (number == 0 || made_s > now_s + SKEW_S) {
        return LB_INVALID;
    }
    err = deny_list_body(self->network, number, made_s, rows, count, self->intermediate, ret_data,
                         ret_size);
    if (err == LB_OK) {
        deny_list_sign(ret_data, ret_size, self->key);
    }
    return err;
}
