#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "libcommon/pki/enrol_inside.h"
#include "libcommon/pki/membership.h"
#include "libcommon/stored.h"

#include <errno.h>
#include <limits.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE_PUBLIC 0644
#define LINES_MAX   (16 * (JOIN_ADDRESS_SIZE + 1))

_Static_assert(ENROL_BOOTSTRAP_MAX <= 16 && ENROL_COORDINATORS_MAX <= 16, "LINES_MAX holds them");

/* ---- is it sound? ---- */

void enrol_admitted_done(struct enrol_admitted *self)
{
    X509_free(self->leaf);
    X509_free(self->intermediate);
    X509_free(self->root);
    deny_list_free(&self->denied);
    *self = (struct enrol_admitted){ .leaf = NULL };
}

static struct bytes bytes_in(const ProtobufCBinaryData *binary)
{
    return bytes_of(binary->data, binary->len);
}

static bool has_digest(const X509 *root, const uint8_t network[NETWORK_ID_SIZE])
{
    const EVP_PKEY *key = X509_get0_pubkey(root);
    uint8_t digest[NETWORK_ID_SIZE];

    if (!key) {
        return false;
    }
    key_digest(key, digest);
    return memcmp(digest, network, NETWORK_ID_SIZE) == 0;
}

static bool counts(struct enrol_admitted *self, uint64_t now_s)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    enum certificate_refusal refusal;

    if (!chain || sk_X509_push(chain, self->intermediate) != 1) {
        abort();
    }
    refusal = certificate_verify(self->leaf, chain, self->root, self->denied, now_s, &self->claims);
    sk_X509_free(chain);
    return refusal == REFUSED_NOT;
}

lb_err enrol_verify(const Lb__Join__Admitted *message, const EVP_PKEY *key,
                    const uint8_t network[NETWORK_ID_SIZE], struct enrol_admitted *ret_self)
{
    struct enrol_admitted self = { .leaf = NULL };
    uint64_t now_s = message->now_s != 0 ? message->now_s : clock_wall_s();
    bool sound =
        network_name_is_valid(message->network_name) &&
        certificate_from_der(bytes_in(&message->leaf), &self.leaf) == LB_OK &&
        certificate_from_der(bytes_in(&message->intermediate), &self.intermediate) == LB_OK &&
        certificate_from_der(bytes_in(&message->root), &self.root) == LB_OK &&
        has_digest(self.root, network) && EVP_PKEY_eq(X509_get0_pubkey(self.leaf), key) == 1;

    if (sound && message->denied.len > 0) {
        sound =
            deny_list_parse(bytes_in(&message->denied), self.root, now_s, &self.denied) == LB_OK;
    }
    if (!sound || !counts(&self, now_s)) {
        enrol_admitted_done(&self);
        return LB_CORRUPT;
    }
    *ret_self = self;
    return LB_OK;
}

bool enrol_is_address(const char *text)
{
    size_t size = strnlen(text, JOIN_ADDRESS_SIZE);

    if (size < 3 || size >= JOIN_ADDRESS_SIZE || !strchr(text, ':')) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    return true;
}

/* ---- whose folder it is ---- */

lb_err enrol_enter(const struct enrol_place *place, struct enrol_user *ret_user)
{
    struct stat about;

    ret_user->is_other = false;
    if (mkdir(place->member_folder, 0700) != 0 && errno != EEXIST) {
        return lb_err_of_errno(errno);
    }
    if (lstat(place->member_folder, &about) != 0) {
        return lb_err_of_errno(errno);
    }
    if (!S_ISDIR(about.st_mode)) {
        return LB_DENIED;
    }
    if (geteuid() != 0 || about.st_uid == 0) {
        return LB_OK;
    }
    if (setegid(about.st_gid) != 0 || seteuid(about.st_uid) != 0) {
        (void)!setegid(getgid());
        return LB_DENIED;
    }
    ret_user->is_other = true;
    return LB_OK;
}

void enrol_leave(const struct enrol_user *user)
{
    if (user->is_other && (seteuid(0) != 0 || setegid(getgid()) != 0)) {
        abort(); /* root by its real and saved ids: it may always */
    }
}

/* ---- files ---- */

lb_err enrol_own_key(const struct enrol_place *place, EVP_PKEY **ret_key)
{
    char path[PATH_MAX];
    EVP_PKEY *fresh;
    lb_err err;

    if (snprintf(path, sizeof(path), "%s/member.key", place->member_folder) >= (int)sizeof(path)) {
        return LB_TOO_BIG;
    }
    err = key_load(path, ret_key);
    if (err != LB_NOT_FOUND) {
        return err;
    }
    fresh = key_new();
    err = key_save(fresh, path);
    key_free(&fresh);
    /* What is on disk counts: another one may have been quicker. */
    return err == LB_OK || err == LB_EXISTS ? key_load(path, ret_key) : err;
}

static lb_err put_pem(const struct enrol_place *place, const char *name, const X509 *first,
                      const X509 *second)
{
    char text[CERTIFICATE_PEM_MAX];
    size_t size;
    lb_err err = certificate_to_pem(first, second, text, &size);

    return err == LB_OK
               ? membership_put_file(place->member_folder, name, bytes_of(text, size), MODE_PUBLIC)
               : err;
}

lb_err enrol_put_root(const struct enrol_place *place, const struct enrol_admitted *admitted)
{
    return put_pem(place, "root.pem", admitted->root, NULL);
}

lb_err enrol_put_certificate(const struct enrol_place *place, const struct enrol_admitted *admitted)
{
    return put_pem(place, "member.pem", admitted->leaf, admitted->intermediate);
}

static void add_line(struct writer *writer, const char *text)
{
    if (enrol_is_address(text)) {
        writer_put(writer, text, strlen(text));
        writer_u8(writer, '\n');
    }
}

lb_err enrol_put_coordinators(const struct enrol_place *place, char *const *addresses, size_t count)
{
    uint8_t text[LINES_MAX];
    struct writer writer;

    writer_init(&writer, text, sizeof(text));
    for (size_t i = 0; i < count && i < ENROL_COORDINATORS_MAX; i++) {
        add_line(&writer, addresses[i]);
    }
    if (writer.size == 0) {
        return LB_OK;
    }
    return membership_put_file(place->member_folder, "coordinators",
                               bytes_of(writer.data, writer.size), MODE_PUBLIC);
}

lb_err enrol_put_intermediates(const struct enrol_place *place, const struct membership *before,
                               X509 *root, const ProtobufCBinaryData *ders, size_t count,
                               uint64_t now_s)
{
    struct bytes list[MEMBERSHIP_INTERMEDIATES_MAX];
    struct membership_told told = { .root = root, .ders = list };

    for (size_t i = 0; i < count && i < MEMBERSHIP_INTERMEDIATES_MAX; i++) {
        list[told.count++] = bytes_in(&ders[i]);
    }
    return membership_put_intermediates(place->member_folder, before, &told, now_s);
}

lb_err enrol_put_denied(const struct enrol_place *place, struct bytes data,
                        const struct deny_list *denied, const struct deny_list *held)
{
    if (!deny_list_follows(denied, held)) {
        return LB_OK;
    }
    return membership_put_file(place->member_folder, "denied", data, MODE_PUBLIC);
}

/* A file anywhere, of ours: its folder and its name apart. */
static lb_err put_file(const char *path, struct bytes data)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];

    if (!slash || slash[1] == '\0' || (size_t)(slash - path) >= sizeof(folder)) {
        return LB_INVALID;
    }
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    return stored_replace(folder[0] != '\0' ? folder : "/", slash + 1, data, MODE_PUBLIC);
}

lb_err enrol_put_identity(const struct enrol_place *place, const struct enrol_admitted *admitted,
                          const char *network_name)
{
    struct identity identity = { .node = admitted->claims.node };
    char text[IDENTITY_FILE_MAX];
    size_t size;

    snprintf(identity.network_name, sizeof(identity.network_name), "%s", network_name);
    memcpy(identity.network, admitted->claims.network, NETWORK_ID_SIZE);
    size = identity_write(&identity, text);
    return put_file(place->identity_file, bytes_of(text, size));
}

lb_err enrol_put_bootstrap(const struct enrol_place *place, const struct enrol_report *report)
{
    uint8_t text[LINES_MAX];
    struct writer writer;

    if (!place->bootstrap_file) {
        return LB_OK;
    }
    writer_init(&writer, text, sizeof(text));
    for (unsigned i = 0; i < report->bootstrap_count; i++) {
        add_line(&writer, report->bootstrap[i]);
    }
    return put_file(place->bootstrap_file, bytes_of(writer.data, writer.size));
}
