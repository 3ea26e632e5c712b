#include "tests/libcommon/pki_fixture.h"

#include "libcommon/memory.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_S 3600u
#define DAY_S  (24u * HOUR_S)
#define YEAR_S (365u * DAY_S)
#define AGE_S  (30u * DAY_S) /* of the CAs: there were leaves before now */

#define must(done) must_at(done, #done, __LINE__)

static void must_at(bool done, const char *what, int line)
{
    if (!done) {
        fprintf(stderr, "pki_fixture.c:%d: %s failed\n", line, what);
        abort();
    }
}

void pki_network_make(struct pki_network *ret_self, const char *name, uint64_t now_s)
{
    struct pki_network self = { .now_s = now_s, .serial = 1000 };

    snprintf(self.name, sizeof(self.name), "%s", name);
    self.root_key = key_new();
    must(certificate_make_root(self.root_key, name, now_s - AGE_S, 10 * YEAR_S, &self.root) ==
         LB_OK);
    key_digest(self.root_key, self.id);
    pki_intermediate_make(&self, &self.intermediate_key, &self.intermediate);
    *ret_self = self;
}

void pki_intermediate_make(struct pki_network *network, EVP_PKEY **ret_key, X509 **ret_intermediate)
{
    *ret_key = key_new();
    must(certificate_make_intermediate(*ret_key, network->root, network->root_key,
                                       ++network->serial, network->now_s - AGE_S, 90 * DAY_S,
                                       ret_intermediate) == LB_OK);
}

void pki_network_done(struct pki_network *self)
{
    X509_free(self->root);
    X509_free(self->intermediate);
    key_free(&self->root_key);
    key_free(&self->intermediate_key);
}

struct node_id pki_node(unsigned number)
{
    struct node_id node;
    uint32_t mixed = number;

    for (size_t i = 0; i < NODE_ID_SIZE; i++) {
        mixed = mixed * 1664525u + 1013904223u; /* Numerical Recipes' "ranqd1" */
        node.bytes[i] = (uint8_t)(mixed >> 24);
    }
    return node;
}

/* ---- flaws ---- */

static void add_extension(X509 *self, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    must(extension && X509_add_ext(self, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void replace_extension(X509 *self, int nid, const char *value)
{
    int at = X509_get_ext_by_NID(self, nid, -1);

    if (at >= 0) {
        X509_EXTENSION_free(X509_delete_ext(self, at));
    }
    if (value) {
        add_extension(self, nid, value);
    }
}

static void name_node(X509 *self, const uint8_t network[NETWORK_ID_SIZE], unsigned first,
                      unsigned count)
{
    char network_text[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE], names[512] = "DNS:*";

    hex_encode(network, NETWORK_ID_SIZE, network_text);
    for (unsigned number = first; number < first + count; number++) {
        size_t size = strlen(names);
        struct node_id id = pki_node(number);

        node_id_format(&id, node);
        snprintf(names + size, sizeof(names) - size, ",URI:" CERTIFICATE_URI "%s/%s", network_text,
                 node);
    }
    replace_extension(self, NID_subject_alt_name, names);
}

/* Change a sound leaf; who signs it again is in signer. */
static void spoil(struct pki_network *network, unsigned number, enum pki_flaw flaw,
                  struct pki_member *member, EVP_PKEY **signer, const EVP_MD **digest)
{
    const uint8_t other_network[NETWORK_ID_SIZE] = { 0xee };
    X509 *leaf = member->leaf;

    switch (flaw) {
    case PKI_SELF_SIGNED:
        must(X509_set_issuer_name(leaf, X509_get_subject_name(leaf)) == 1);
        replace_extension(leaf, NID_authority_key_identifier, NULL);
        *signer = member->key;
        break;
    case PKI_WRONG_USAGE:
        replace_extension(leaf, NID_ext_key_usage, "codeSigning");
        break;
    case PKI_SERVER_ONLY:
        replace_extension(leaf, NID_ext_key_usage, "serverAuth");
        break;
    case PKI_CLIENT_ONLY:
        replace_extension(leaf, NID_ext_key_usage, "clientAuth");
        break;
    case PKI_OTHER_NETWORK:
        name_node(leaf, other_network, number, 1);
        break;
    case PKI_NO_ID:
        replace_extension(leaf, NID_subject_alt_name, NULL);
        break;
    case PKI_TWO_IDS:
        name_node(leaf, network->id, number, 2);
        break;
    case PKI_CA_AS_LEAF:
        replace_extension(leaf, NID_key_usage, "critical,digitalSignature,keyCertSign");
        add_extension(leaf, NID_basic_constraints, "critical,CA:TRUE");
        break;
    case PKI_WEAK_KEY:
        key_free(&member->key);
        member->key = EVP_RSA_gen(1024);
        must(X509_set_pubkey(leaf, member->key) == 1);
        break;
    case PKI_WEAK_DIGEST:
        *digest = EVP_sha1();
        break;
    default:
        break;
    }
}

static bool is_of_the_leaf(enum pki_flaw flaw)
{
    return flaw != PKI_SOUND && flaw != PKI_EXPIRED && flaw != PKI_NOT_YET_VALID &&
           flaw != PKI_OTHER_CA;
}

/* ---- members ---- */

static void make_leaf(struct pki_network *network, struct pki_member *member, int64_t shift_s)
{
    struct certificate_claims claims = {
        .node = member->identity.node,
        .role = member->role,
        .serial = ++network->serial,
        .not_before_s = network->now_s + (uint64_t)shift_s - CERTIFICATE_BACKDATE_S,
        .not_after_s = network->now_s + (uint64_t)shift_s + CERTIFICATE_LEAF_S,
    };

    memcpy(claims.network, network->id, sizeof(claims.network));
    must(certificate_make_leaf(member->key, &claims, network->intermediate,
                               network->intermediate_key, &member->leaf) == LB_OK);
}

static void set_intermediate(struct pki_member *member, X509 *intermediate)
{
    must(X509_up_ref(intermediate) == 1);
    member->intermediate = intermediate;
}

void pki_member_make(struct pki_network *network, unsigned number, enum certificate_role role,
                     enum pki_flaw flaw, struct pki_member *ret_self)
{
    struct pki_member self = { .role = role, .key = key_new() };
    EVP_PKEY *signer = network->intermediate_key;
    const EVP_MD *digest = EVP_sha256();

    if (flaw == PKI_OTHER_CA) {
        struct pki_network other;

        pki_network_make(&other, network->name, network->now_s);
        pki_member_make(&other, number, role, PKI_SOUND, ret_self);
        pki_network_done(&other);
        key_free(&self.key);
        return;
    }
    snprintf(self.identity.network_name, NETWORK_NAME_SIZE, "%s", network->name);
    memcpy(self.identity.network, network->id, NETWORK_ID_SIZE);
    self.identity.node = pki_node(number);
    make_leaf(network, &self,
              flaw == PKI_EXPIRED         ? -(int64_t)(CERTIFICATE_LEAF_S + HOUR_S)
              : flaw == PKI_NOT_YET_VALID ? (int64_t)(HOUR_S + CERTIFICATE_BACKDATE_S)
                                          : 0);
    set_intermediate(&self, network->intermediate);
    if (is_of_the_leaf(flaw)) {
        spoil(network, number, flaw, &self, &signer, &digest);
        must(X509_sign(self.leaf, signer, digest) > 0);
    }
    *ret_self = self;
}

void pki_member_done(struct pki_member *self)
{
    X509_free(self->leaf);
    X509_free(self->intermediate);
    key_free(&self->key);
}

void pki_member_renew(struct pki_network *network, struct pki_member *self, uint64_t now_s)
{
    X509_free(self->leaf);
    make_leaf(network, self, (int64_t)(now_s - network->now_s));
}

struct membership *pki_membership(const struct pki_network *network,
                                  const struct pki_member *member)
{
    const struct membership_parts parts = { .identity = member->identity,
                                            .key = member->key,
                                            .leaf = member->leaf,
                                            .intermediate = member->intermediate,
                                            .root = network->root };
    struct membership *self;

    must(membership_new(&parts, network->now_s, &self) == LB_OK);
    return self;
}

/* ---- on disk ---- */

static void write_pem(const char *folder, const char *name, const X509 *first, const X509 *second)
{
    char text[CERTIFICATE_PEM_MAX];
    size_t size;

    must(certificate_to_pem(first, second, text, &size) == LB_OK);
    must(membership_put_file(folder, name, bytes_of(text, size), 0644) == LB_OK);
}

void pki_write_folder(const struct pki_network *network, const struct pki_member *member,
                      const char *folder)
{
    char path[PATH_MAX];

    must(snprintf(path, sizeof(path), "%s/member.key", folder) < (int)sizeof(path));
    (void)remove(path);
    must(key_save(member->key, path) == LB_OK);
    write_pem(folder, "root.pem", network->root, NULL);
    write_pem(folder, "member.pem", member->leaf, member->intermediate);
    must(membership_put_file(folder, "coordinators", bytes_of_text("127.0.0.1:6891\n"), 0644) ==
         LB_OK);
}

void pki_write_identity(const struct pki_member *member, const char *path)
{
    char text[IDENTITY_FILE_MAX];
    size_t size = identity_write(&member->identity, text);
    FILE *file = fopen(path, "w");

    must(file && fwrite(text, 1, size, file) == size && fclose(file) == 0);
}

uint8_t *pki_deny_list(const struct pki_network *network, uint64_t number,
                       const struct node_id *nodes, size_t count, size_t *ret_size)
{
    struct deny_row *rows = xcalloc(count + 1, sizeof(*rows));
    uint8_t *list;

    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct deny_row){ nodes[i], network->now_s + CERTIFICATE_LEAF_S };
    }
    must(deny_list_body(network->id, number, network->now_s, rows, count, network->intermediate,
                        &list, ret_size) == LB_OK);
    deny_list_sign(&list, ret_size, network->intermediate_key);
    free(rows);
    return list;
}

SSL_CTX *pki_rogue_context(const struct pki_member *member, const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);

    must(context != NULL);
    SSL_CTX_set_security_level(context, 0);
    must(SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0") == 1);
    if (member) {
        must(SSL_CTX_use_certificate(context, member->leaf) == 1 &&
             SSL_CTX_use_PrivateKey(context, member->key) == 1 &&
             SSL_CTX_add1_chain_cert(context, member->intermediate) == 1);
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    return context;
}
