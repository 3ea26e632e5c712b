#include "services/coordinator/create.h"

#include "libcommon/clock.h"
#include "libcommon/listen.h"
#include "libcommon/pki/key.h"
#include "libcommon/stored.h"
#include "services/coordinator/host_port.h"
#include "services/coordinator/register_command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_ROOT         "root.pem"
#define FILE_INTERMEDIATE "intermediate.pem"
#define FILE_KEY          "member.key"
#define FILE_CERTIFICATE  "member.pem"
#define FILE_COORDINATORS "coordinators"

#define COPY_MAX 16384

/* All that a network is at its birth. */
struct birth {
    EVP_PKEY *root_key, *intermediate_key, *key;
    X509 *root, *intermediate, *leaf;
    struct identity identity;
};

__attribute__((format(printf, 3, 4))) static lb_err fail(struct create_problem *ret_problem,
                                                         lb_err err, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(ret_problem->text, sizeof ret_problem->text, format, arguments);
    va_end(arguments);
    return err;
}

static lb_err cannot_write(struct create_problem *ret_problem, lb_err err, const char *folder,
                           const char *name)
{
    return fail(ret_problem, err, "%s/%s could not be written: %s%s", folder, name,
                lb_err_text(err),
                err == LB_NOT_FOUND ? " (is the package's systemd-tmpfiles done?)" : "");
}

/* ---- folders and files ---- */

/* A folder of the user whose the one above it is. */
static lb_err make_folder(const char *path, struct create_problem *ret_problem)
{
    char above[PATHS_SIZE + 32];
    struct stat about;
    char *slash;

    if (mkdir(path, 0700) != 0) {
        return errno == EEXIST ? LB_OK
                               : fail(ret_problem, errno == ENOSPC ? LB_NO_SPACE : LB_IO,
                                      "%s could not be made: %s", path, strerror(errno));
    }
    snprintf(above, sizeof above, "%s", path);
    slash = strrchr(above, '/');
    if (slash != NULL && slash != above) {
        *slash = '\0';
    }
    if (geteuid() == 0 && stat(above, &about) == 0 &&
        chown(path, about.st_uid, about.st_gid) != 0) {
        return fail(ret_problem, LB_IO, "%s could not be given to its user: %s", path,
                    strerror(errno));
    }
    return LB_OK;
}

static lb_err make_folders(const struct paths *paths, struct create_problem *ret_problem)
{
    char own[PATHS_SIZE + 16];
    lb_err err = paths_make(paths);

    if (err != LB_OK) {
        return fail(ret_problem, err, "%s: %s", paths->state_folder, lb_err_text(err));
    }
    snprintf(own, sizeof own, "%s/" REGISTER_OWN_FOLDER, paths->register_folder);
    err = make_folder(paths->member_folder, ret_problem);
    if (err == LB_OK) {
        err = make_folder(paths->register_folder, ret_problem);
    }
    if (err == LB_OK) {
        err = make_folder(paths->ca_folder, ret_problem);
    }
    return err == LB_OK ? make_folder(own, ret_problem) : err;
}

static lb_err put(const char *folder, const char *name, struct bytes data, unsigned mode,
                  struct create_problem *ret_problem)
{
    lb_err err = stored_replace(folder, name, data, mode);

    return err == LB_OK ? LB_OK : cannot_write(ret_problem, err, folder, name);
}

static lb_err put_certificates(const char *folder, const char *name, const X509 *first,
                               const X509 *second, struct create_problem *ret_problem)
{
    char text[CERTIFICATE_PEM_MAX];
    size_t size;
    lb_err err = certificate_to_pem(first, second, text, &size);

    return err == LB_OK ? put(folder, name, bytes_of(text, size), 0644, ret_problem)
                        : cannot_write(ret_problem, err, folder, name);
}

/* As key_save() writes it, but what an attempt before has left is replaced. */
static lb_err put_key(const char *folder, const char *name, const EVP_PKEY *key,
                      struct create_problem *ret_problem)
{
    BIO *memory = BIO_new(BIO_s_secmem());
    char *text;
    long size;
    lb_err err;

    if (memory == NULL || PEM_write_bio_PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL) != 1) {
        abort();
    }
    size = BIO_get_mem_data(memory, &text);
    err = put(folder, name, bytes_of(text, (size_t)size), 0600, ret_problem);
    OPENSSL_cleanse(text, (size_t)size);
    BIO_free(memory);
    return err;
}

/* ---- the request ---- */

static bool is_below(const char *path, const char *folder)
{
    char a[PATH_MAX], b[PATH_MAX];
    size_t size;

    if (realpath(path, a) == NULL || realpath(folder, b) == NULL) {
        return false;
    }
    size = strlen(b);
    return strncmp(a, b, size) == 0 && (a[size] == '/' || a[size] == '\0');
}

static bool is_address(const char *text)
{
    char host[REGISTER_ADDRESS_SIZE], port[HOST_PORT_PORT_SIZE];

    return strlen(text) < REGISTER_ADDRESS_SIZE && host_port_split(text, host, sizeof host, port);
}

static lb_err check_node(const struct paths *paths, struct create_problem *ret_problem)
{
    long pid;

    if (listen_lock_owner(paths->run_folder, &pid) == LB_OK) {
        return fail(ret_problem, LB_CONFLICT, "the node runs: stop it first");
    }
    return LB_OK;
}

static lb_err check_request(const struct paths *paths, const struct create_request *request,
                            struct create_problem *ret_problem)
{
    struct identity identity;
    lb_err err = identity_load(paths, &identity);

    if (err == LB_OK) {
        return fail(ret_problem, LB_EXISTS, "this node is a member of the network %s already (%s)",
                    identity.network_name, paths->identity_file);
    }
    if (err != LB_NOT_FOUND) {
        return fail(ret_problem, err, "%s: %s", paths->identity_file, lb_err_text(err));
    }
    if (!network_name_is_valid(request->network_name)) {
        return fail(ret_problem, LB_INVALID,
                    "a network's name has 1 to 63 letters, digits, '-', '_' and '.', and begins "
                    "with a letter or digit");
    }
    if (!is_address(request->address)) {
        return fail(ret_problem, LB_INVALID, "%s is no HOST:PORT", request->address);
    }
    return check_node(paths, ret_problem);
}

/* ---- birth ---- */

static void birth_done(struct birth *self)
{
    key_free(&self->root_key);
    key_free(&self->intermediate_key);
    key_free(&self->key);
    X509_free(self->root);
    X509_free(self->intermediate);
    X509_free(self->leaf);
}

/* Of certificates by the root, which the register does not count: any that is positive. */
static uint64_t random_serial(void)
{
    return clock_entropy() >> 1 | 1;
}

static lb_err make_certificates(struct birth *self, const struct create_request *request)
{
    struct certificate_claims claims = {
        .role = CERTIFICATE_COORDINATOR,
        .serial = 1,
        .not_before_s = request->now_s - CERTIFICATE_BACKDATE_S,
        .not_after_s = request->now_s + CERTIFICATE_LEAF_S,
    };
    lb_err err;

    self->root_key = key_new();
    self->intermediate_key = key_new();
    self->key = key_new();
    snprintf(self->identity.network_name, sizeof self->identity.network_name, "%s",
             request->network_name);
    key_digest(self->root_key, self->identity.network);
    clock_entropy_bytes(self->identity.node.bytes, NODE_ID_SIZE);
    err = certificate_make_root(self->root_key, request->network_name, request->now_s,
                                CREATE_ROOT_LIFE_S, &self->root);
    if (err == LB_OK) {
        err = certificate_make_intermediate(self->intermediate_key, self->root, self->root_key,
                                            random_serial(), request->now_s,
                                            CREATE_INTERMEDIATE_LIFE_S, &self->intermediate);
    }
    if (err == LB_OK) {
        memcpy(claims.network, self->identity.network, sizeof claims.network);
        claims.node = self->identity.node;
        err = certificate_make_leaf(self->key, &claims, self->intermediate, self->intermediate_key,
                                    &self->leaf);
    }
    return err;
}

/* Before all else: whoever has no root key has no network. */
static lb_err write_root(const struct birth *birth, const struct paths *paths,
                         const struct create_request *request, struct created *created,
                         struct create_problem *ret_problem)
{
    char name[NETWORK_NAME_SIZE + 8], text[CERTIFICATE_PEM_MAX];
    size_t size;
    lb_err err;

    if (mkdir(request->root_folder, 0700) != 0 && errno != EEXIST) {
        return fail(ret_problem, LB_IO, "%s could not be made: %s", request->root_folder,
                    strerror(errno));
    }
    if (is_below(request->root_folder, paths->state_folder)) {
        return fail(ret_problem, LB_INVALID,
                    "%s is the node's own folder: the root's key is to be kept away from it",
                    request->root_folder);
    }
    if (snprintf(created->root_key_file, PATHS_SIZE, "%s/%s.key", request->root_folder,
                 request->network_name) >= PATHS_SIZE ||
        snprintf(created->root_file, PATHS_SIZE, "%s/%s.pem", request->root_folder,
                 request->network_name) >= PATHS_SIZE) {
        return fail(ret_problem, LB_INVALID, "%s: too long a name", request->root_folder);
    }
    err = key_save(birth->root_key, created->root_key_file);
    if (err != LB_OK) {
        return fail(ret_problem, err, "%s: %s", created->root_key_file, lb_err_text(err));
    }
    snprintf(name, sizeof name, "%s.pem", request->network_name);
    err = certificate_to_pem(birth->root, NULL, text, &size);
    if (err == LB_OK) {
        err = stored_make(request->root_folder, name, bytes_of(text, size), 0644);
    }
    if (err != LB_OK) {
        unlink(created->root_key_file);
        return cannot_write(ret_problem, err, request->root_folder, name);
    }
    return LB_OK;
}

static lb_err write_ca(const struct birth *birth, const struct paths *paths,
                       struct create_problem *ret_problem)
{
    lb_err err = put_certificates(paths->ca_folder, FILE_ROOT, birth->root, NULL, ret_problem);

    if (err == LB_OK) {
        err = put_certificates(paths->ca_folder, FILE_INTERMEDIATE, birth->intermediate, NULL,
                               ret_problem);
    }
    return err == LB_OK
               ? put_key(paths->ca_folder, PATHS_CA_KEY, birth->intermediate_key, ret_problem)
               : err;
}

static lb_err write_member(const struct birth *birth, const char *folder, const char *address,
                           struct create_problem *ret_problem)
{
    char line[REGISTER_ADDRESS_SIZE + 1];
    lb_err err = put_certificates(folder, FILE_ROOT, birth->root, NULL, ret_problem);

    snprintf(line, sizeof line, "%s\n", address);
    if (err == LB_OK) {
        err = put_certificates(folder, FILE_CERTIFICATE, birth->leaf, birth->intermediate,
                               ret_problem);
    }
    if (err == LB_OK) {
        err = put(folder, FILE_COORDINATORS, bytes_of_text(line), 0644, ret_problem);
    }
    return err == LB_OK ? put_key(folder, FILE_KEY, birth->key, ret_problem) : err;
}

static lb_err write_first(const struct birth *birth, const struct paths *paths,
                          const struct create_request *request, struct create_problem *ret_problem)
{
    uint8_t file[REGISTER_COMMAND_MAX + 64], signing_request[CERTIFICATE_REQUEST_MAX],
        intermediate[CERTIFICATE_DER_MAX];
    size_t head = sizeof REGISTER_FIRST_HEAD - 1, size;
    struct register_command found = {
        .verb = VERB_FOUND,
        .now_s = request->now_s,
        .node = birth->identity.node,
        .not_after_s = request->now_s + CERTIFICATE_LEAF_S,
        .node_port = request->node_port,
        .yes = request->waits_for_approval,
        .request = { signing_request, 0 },
        .intermediate = { intermediate, 0 },
    };

    if (certificate_request_make(birth->intermediate_key, signing_request, &found.request.size) !=
            LB_OK ||
        certificate_to_der(birth->intermediate, intermediate, &found.intermediate.size) != LB_OK) {
        return fail(ret_problem, LB_INTERNAL, "the intermediate cannot be described");
    }
    snprintf(found.network_name, sizeof found.network_name, "%s", request->network_name);
    memcpy(found.network, birth->identity.network, sizeof found.network);
    found.key.size = KEY_PUBLIC_SIZE;
    key_public(birth->key, found.key.data);
    snprintf(found.host_name, sizeof found.host_name, "%s", request->host_name);
    snprintf(found.address, sizeof found.address, "%s", request->address);
    memcpy(file, REGISTER_FIRST_HEAD, head);
    size = register_command_write(&found, file + head + 4);
    store_u32(file + head, (uint32_t)size);
    return put(paths->register_folder, REGISTER_FIRST_FILE, bytes_of(file, head + 4 + size), 0600,
               ret_problem);
}

static lb_err write_identity(const struct identity *identity, const struct paths *paths,
                             struct create_problem *ret_problem)
{
    char text[IDENTITY_FILE_MAX], folder[PATHS_SIZE];
    size_t size = identity_write(identity, text);
    char *slash;

    snprintf(folder, sizeof folder, "%s", paths->identity_file);
    slash = strrchr(folder, '/');
    *slash = '\0';
    return put(folder, slash + 1, bytes_of(text, size), 0644, ret_problem);
}

static lb_err write_all(const struct birth *birth, const struct paths *paths,
                        const struct create_request *request, struct created *created,
                        struct create_problem *ret_problem)
{
    char own[PATHS_SIZE + 16];
    lb_err err = write_root(birth, paths, request, created, ret_problem);

    snprintf(own, sizeof own, "%s/" REGISTER_OWN_FOLDER, paths->register_folder);
    if (err == LB_OK) {
        err = write_first(birth, paths, request, ret_problem);
    }
    if (err == LB_OK) {
        err = write_member(birth, own, request->address, ret_problem);
    }
    if (err == LB_OK) {
        err = write_member(birth, paths->member_folder, request->address, ret_problem);
    }
    if (err == LB_OK) {
        err = write_ca(birth, paths, ret_problem);
    }
    return err == LB_OK ? write_identity(&birth->identity, paths, ret_problem) : err;
}

lb_err create_network(const struct paths *paths, const struct create_request *request,
                      struct created *ret_created, struct create_problem *ret_problem)
{
    struct birth birth = { 0 };
    struct created created = { 0 };
    lb_err err = check_request(paths, request, ret_problem);

    if (err == LB_OK) {
        err = make_folders(paths, ret_problem);
    }
    if (err != LB_OK) {
        return err;
    }
    err = make_certificates(&birth, request);
    if (err != LB_OK) {
        err = fail(ret_problem, err, "the certificates could not be made: is the clock right?");
    } else {
        err = write_all(&birth, paths, request, &created, ret_problem);
    }
    if (err == LB_OK) {
        created.identity = birth.identity;
        *ret_created = created;
    }
    birth_done(&birth);
    return err;
}

/* ---- an offer ---- */

static bool is_there(const char *folder, const char *name)
{
    char path[PATHS_SIZE + 32];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/*
 * A copy for lb-coordinator, which is another user than who reads the first: as root the file is
 * not ours, so stored_read() would not have it.
 */
static lb_err copy(const char *from, const char *to, const char *name, unsigned mode,
                   struct create_problem *ret_problem)
{
    char path[PATHS_SIZE + 32], data[COPY_MAX];
    struct stat about;
    ssize_t size = -1;
    lb_err err;
    int fd;

    snprintf(path, sizeof path, "%s/%s", from, name);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size <= COPY_MAX) {
        size = read(fd, data, sizeof data);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (size < 0) {
        return fail(ret_problem, LB_IO, "%s could not be read: %s", path, strerror(errno));
    }
    err = put(to, name, bytes_of(data, (size_t)size), mode, ret_problem);
    OPENSSL_cleanse(data, sizeof data);
    return err;
}

lb_err create_offer(const struct paths *paths, const char *address, uint16_t node_port,
                    struct create_problem *ret_problem)
{
    char own[PATHS_SIZE + 16], line[REGISTER_ADDRESS_SIZE + 16];
    struct identity identity;
    EVP_PKEY *key;
    lb_err err = identity_load(paths, &identity);

    if (err != LB_OK) {
        return fail(ret_problem, err,
                    "only a member of a network can be one of its coordinators (%s: %s)",
                    paths->identity_file, lb_err_text(err));
    }
    if (is_there(paths->ca_folder, PATHS_CA_KEY)) {
        return fail(ret_problem, LB_EXISTS, "this node is a coordinator, or has offered itself");
    }
    if (!is_address(address)) {
        return fail(ret_problem, LB_INVALID, "%s is no HOST:PORT", address);
    }
    err = make_folders(paths, ret_problem);
    snprintf(own, sizeof own, "%s/" REGISTER_OWN_FOLDER, paths->register_folder);
    snprintf(line, sizeof line, "%s %u\n", address, node_port);
    if (err == LB_OK) {
        err = copy(paths->member_folder, own, FILE_ROOT, 0644, ret_problem);
    }
    if (err == LB_OK) {
        err = copy(paths->member_folder, own, FILE_CERTIFICATE, 0644, ret_problem);
    }
    if (err == LB_OK) {
        err = copy(paths->member_folder, own, FILE_COORDINATORS, 0644, ret_problem);
    }
    if (err == LB_OK) {
        err = copy(paths->member_folder, own, FILE_KEY, 0600, ret_problem);
    }
    if (err == LB_OK) {
        err = copy(paths->member_folder, paths->ca_folder, FILE_ROOT, 0644, ret_problem);
    }
    if (err == LB_OK) {
        err = put(paths->register_folder, REGISTER_OFFER_FILE, bytes_of_text(line), 0600,
                  ret_problem);
    }
    if (err != LB_OK) {
        return err;
    }
    key = key_new();
    err = put_key(paths->ca_folder, PATHS_CA_KEY, key, ret_problem);
    key_free(&key);
    return err;
}

/* ---- the operator's signature ---- */

static lb_err load_root(const char *root_key_file, const char *root_file,
                        const uint8_t network[NETWORK_ID_SIZE], EVP_PKEY **ret_key, X509 **ret_root,
                        struct create_problem *ret_problem)
{
    uint8_t digest[NETWORK_ID_SIZE];
    struct stored file;
    X509 *second = NULL;
    lb_err err = key_load(root_key_file, ret_key);

    if (err != LB_OK) {
        return fail(ret_problem, err, "%s: %s%s", root_key_file, lb_err_text(err),
                    err == LB_DENIED ? " (it has to be yours, and nobody else may read it)" : "");
    }
    err = stored_read(root_file, CERTIFICATE_PEM_MAX, STORED_TRUSTED, &file);
    if (err == LB_OK) {
        err = certificate_from_pem(bytes_of(file.data, file.size), ret_root, &second);
        stored_free(&file);
        X509_free(second);
    }
    if (err != LB_OK) {
        return fail(ret_problem, err, "%s: %s", root_file, lb_err_text(err));
    }
    key_digest(*ret_key, digest);
    if (memcmp(digest, network, sizeof digest) != 0 ||
        X509_check_private_key(*ret_root, *ret_key) != 1) {
        return fail(ret_problem, LB_INVALID, "%s is the root of another network", root_key_file);
    }
    return LB_OK;
}

lb_err create_intermediate(const char *root_key_file, const char *root_file,
                           const uint8_t network[NETWORK_ID_SIZE], struct bytes request,
                           uint64_t now_s, uint8_t ret_der[CERTIFICATE_DER_MAX], size_t *ret_size,
                           struct create_problem *ret_problem)
{
    EVP_PKEY *root_key = NULL, *key = NULL;
    X509 *root = NULL, *intermediate = NULL;
    lb_err err = load_root(root_key_file, root_file, network, &root_key, &root, ret_problem);

    if (err == LB_OK && certificate_request_parse(request, &key) != LB_OK) {
        err = fail(ret_problem, LB_CORRUPT, "what that node has offered is no signing request");
    }
    if (err == LB_OK) {
        err = certificate_make_intermediate(key, root, root_key, random_serial(), now_s,
                                            CREATE_INTERMEDIATE_LIFE_S, &intermediate);
        if (err == LB_OK) {
            err = certificate_to_der(intermediate, ret_der, ret_size);
        }
        if (err != LB_OK) {
            err = fail(ret_problem, err, "the intermediate could not be signed");
        }
    }
    key_free(&root_key);
    key_free(&key);
    X509_free(root);
    X509_free(intermediate);
    return err;
}
