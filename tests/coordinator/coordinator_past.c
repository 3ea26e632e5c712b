/* What time leaves behind: a network of half a year, certificates that have ended. */
#include "tests/coordinator/coordinator_past.h"

#include "libcommon/clock.h"
#include "libcommon/pki/membership.h"
#include "services/coordinator/create.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define DAY 86400u

/* ---- the network ---- */

static lb_err put_root(const char *folder, struct bytes text)
{
    return membership_put_file(folder, "root.pem", text, 0644);
}

static lb_err write_over(const char *path, struct bytes text)
{
    FILE *file = fopen(path, "w");
    bool done = file != NULL && fwrite(text.data, 1, text.size, file) == text.size;

    return file != NULL && fclose(file) == 0 && done ? LB_OK : LB_IO;
}

lb_err coordinator_past_root(const struct paths *paths, const struct created *created)
{
    char text[CERTIFICATE_PEM_MAX], own[PATHS_SIZE + 16];
    EVP_PKEY *key = NULL;
    X509 *root = NULL;
    size_t size = 0;
    lb_err err = key_load(created->root_key_file, &key);

    snprintf(own, sizeof own, "%s/" REGISTER_OWN_FOLDER, paths->register_folder);
    if (err == LB_OK) {
        err = certificate_make_root(key, created->identity.network_name, clock_wall_s() - 182 * DAY,
                                    CREATE_ROOT_LIFE_S, &root);
    }
    if (err == LB_OK) {
        err = certificate_to_pem(root, NULL, text, &size);
    }
    if (err == LB_OK) {
        err = write_over(created->root_file, bytes_of(text, size));
    }
    if (err == LB_OK) {
        err = put_root(paths->ca_folder, bytes_of(text, size));
    }
    if (err == LB_OK) {
        err = put_root(paths->member_folder, bytes_of(text, size));
    }
    if (err == LB_OK) {
        err = put_root(own, bytes_of(text, size));
    }
    X509_free(root);
    key_free(&key);
    return err;
}

/* ---- a member ---- */

static lb_err read_root(const char *path, X509 **ret_root)
{
    char text[CERTIFICATE_PEM_MAX];
    X509 *second = NULL;
    FILE *file = fopen(path, "r");
    size_t size = file != NULL ? fread(text, 1, sizeof text, file) : 0;
    lb_err err = certificate_from_pem(bytes_of(text, size), ret_root, &second);

    if (file != NULL) {
        fclose(file);
    }
    X509_free(second);
    return err;
}

/* Made by an intermediate of that time, which has ended since if it is 90 days. */
static lb_err make(const struct membership *own, EVP_PKEY *ca_key, X509 *root, EVP_PKEY *root_key,
                   uint64_t days, char ret_text[CERTIFICATE_PEM_MAX], size_t *ret_size)
{
    struct certificate_claims claims = *membership_claims(own);
    X509 *intermediate = NULL, *leaf = NULL;
    lb_err err;

    claims.not_after_s = clock_wall_s() - days * DAY;
    claims.not_before_s = claims.not_after_s - CERTIFICATE_LEAF_S;
    err = certificate_make_intermediate(ca_key, root, root_key, 7, claims.not_before_s,
                                        CREATE_INTERMEDIATE_LIFE_S, &intermediate);
    if (err == LB_OK) {
        err = certificate_make_leaf(membership_key(own), &claims, intermediate, ca_key, &leaf);
    }
    if (err == LB_OK) {
        err = certificate_to_pem(leaf, intermediate, ret_text, ret_size);
    }
    X509_free(leaf);
    X509_free(intermediate);
    return err;
}

lb_err coordinator_past_member(const struct past *past)
{
    char key_file[PATHS_SIZE + 64], text[CERTIFICATE_PEM_MAX];
    EVP_PKEY *ca_key = NULL, *root_key = NULL;
    struct membership_problem wrong;
    struct membership *own = NULL;
    struct identity identity;
    struct paths paths;
    X509 *root = NULL;
    size_t size;
    lb_err err = paths_find(&paths, past->folder);

    snprintf(key_file, sizeof key_file, "%s/" PATHS_CA_KEY, past->ca_folder);
    if (err != LB_OK || identity_load(&paths, &identity) != LB_OK ||
        membership_load(paths.member_folder, &identity, clock_wall_s(), &own, &wrong) != LB_OK ||
        key_load(key_file, &ca_key) != LB_OK || key_load(past->root_key_file, &root_key) != LB_OK ||
        read_root(past->root_file, &root) != LB_OK) {
        err = LB_INVALID;
    }
    if (err == LB_OK) {
        err = make(own, ca_key, root, root_key, past->days, text, &size);
    }
    if (err == LB_OK) {
        err = membership_put_file(paths.member_folder, "member.pem", bytes_of(text, size), 0644);
    }
    X509_free(root);
    key_free(&root_key);
    key_free(&ca_key);
    membership_free(&own);
    return err;
}
