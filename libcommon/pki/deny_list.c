#include "libcommon/pki/deny_list.h"

#include "libcommon/memory.h"
#include "libcommon/pki/certificate.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[8] = "LBDENY1"; /* with its NUL */

#define HEAD_SIZE          (sizeof(magic) + NETWORK_ID_SIZE + 8 + 8 + 4)
#define ROW_SIZE           (NODE_ID_SIZE + 8)
#define SIGNATURE_SIZE_MAX 128

_Static_assert(DENY_LIST_KEY_SIZE == CERTIFICATE_KEY_ID_SIZE, "a key identifier");

struct deny_list {
    uint64_t number, made_s;
    uint8_t signer[DENY_LIST_KEY_SIZE];
    size_t count;
    struct deny_row *rows; /* sorted, each once */
};

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done) {
        abort();
    }
}

/* ---- reading ---- */

struct parts {
    struct bytes network, rows, signer, body, signature;
    uint64_t number, made_s;
    size_t count;
};

/* The next `size` bytes; false when there are fewer. */
static bool take(struct bytes *rest, size_t size, struct bytes *ret_part)
{
    if (rest->size < size) {
        return false;
    }
    *ret_part = bytes_of(rest->data, size);
    *rest = bytes_of(rest->data + size, rest->size - size);
    return true;
}

/* A u16 and as many bytes. */
static bool take_sized(struct bytes *rest, size_t size_max, struct bytes *ret_part)
{
    struct bytes size;

    return take(rest, 2, &size) && load_u16(size.data) <= size_max &&
           take(rest, load_u16(size.data), ret_part);
}

static bool take_head(struct bytes *rest, struct parts *ret_parts)
{
    struct bytes head;

    if (!take(rest, HEAD_SIZE, &head) || memcmp(head.data, magic, sizeof(magic)) != 0) {
        return false;
    }
    ret_parts->network = bytes_of(head.data + sizeof(magic), NETWORK_ID_SIZE);
    ret_parts->number = load_u64(ret_parts->network.data + NETWORK_ID_SIZE);
    ret_parts->made_s = load_u64(ret_parts->network.data + NETWORK_ID_SIZE + 8);
    ret_parts->count = load_u32(ret_parts->network.data + NETWORK_ID_SIZE + 16);
    return ret_parts->number > 0 && ret_parts->made_s <= CERTIFICATE_TIME_MAX_S &&
           ret_parts->count <= DENY_LIST_ROWS_MAX;
}

static bool take_apart(struct bytes data, struct parts *ret_parts)
{
    struct bytes rest = data;

    if (!take_head(&rest, ret_parts) ||
        !take(&rest, ret_parts->count * ROW_SIZE, &ret_parts->rows) ||
        !take_sized(&rest, CERTIFICATE_DER_MAX, &ret_parts->signer)) {
        return false;
    }
    ret_parts->body = bytes_of(data.data, data.size - rest.size);
    return take_sized(&rest, SIGNATURE_SIZE_MAX, &ret_parts->signature) && rest.size == 0;
}

static bool is_sorted(struct bytes rows)
{
    for (size_t at = ROW_SIZE; at < rows.size; at += ROW_SIZE) {
        if (memcmp(rows.data + at - ROW_SIZE, rows.data + at, NODE_ID_SIZE) >= 0) {
            return false;
        }
    }
    return true;
}

static bool is_of_root(const struct parts *parts, X509 *root)
{
    uint8_t network[NETWORK_ID_SIZE];

    return certificate_network(root, network) == LB_OK &&
           memcmp(parts->network.data, network, NETWORK_ID_SIZE) == 0;
}

/* By an intermediate: a CA that this root has made and that counts at that time. */
static bool may_sign(X509 *signer, X509 *root, uint64_t at_s)
{
    return certificate_key_is_p256(signer) && certificate_is_ca(signer) &&
           certificate_verify_chain(signer, NULL, root, 0, at_s) == REFUSED_NOT;
}

static bool signature_holds(const struct parts *parts, X509 *signer)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool holds;

    must(context &&
         EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, X509_get0_pubkey(signer)) == 1);
    ERR_set_mark();
    holds = EVP_DigestVerify(context, parts->signature.data, parts->signature.size,
                             parts->body.data, parts->body.size) == 1;
    ERR_pop_to_mark();
    EVP_MD_CTX_free(context);
    return holds;
}

static struct deny_list *list_of(const struct parts *parts,
                                 const uint8_t signer[DENY_LIST_KEY_SIZE])
{
    struct deny_list *self = xcalloc(1, sizeof(*self));

    self->number = parts->number;
    self->made_s = parts->made_s;
    memcpy(self->signer, signer, sizeof(self->signer));
    self->count = parts->count;
    self->rows = xcalloc(parts->count + 1, sizeof(self->rows[0]));
    for (size_t i = 0; i < parts->count; i++) {
        self->rows[i].node = node_id_from(parts->rows.data + i * ROW_SIZE);
        self->rows[i].until_s = load_u64(parts->rows.data + i * ROW_SIZE + NODE_ID_SIZE);
    }
    return self;
}

/* kept: it was verified when it came. */
static lb_err parse(struct bytes data, X509 *root, bool kept, uint64_t now_s,
                    struct deny_list **ret_self)
{
    uint8_t key_id[DENY_LIST_KEY_SIZE];
    struct deny_list *self;
    struct parts parts;
    X509 *signer = NULL;
    bool good;

    if (!take_apart(data, &parts) || !is_sorted(parts.rows) ||
        certificate_from_der(parts.signer, &signer) != LB_OK) {
        return LB_INVALID;
    }
    good = is_of_root(&parts, root) && may_sign(signer, root, kept ? parts.made_s : now_s) &&
           certificate_key_id(signer, key_id) == LB_OK && signature_holds(&parts, signer);
    X509_free(signer);
    if (!good) {
        return LB_CORRUPT;
    }
    self = list_of(&parts, key_id);
    if (deny_list_has_key(self, key_id)) {
        deny_list_free(&self);
        return LB_CORRUPT;
    }
    *ret_self = self;
    return LB_OK;
}

lb_err deny_list_parse(struct bytes data, X509 *root, uint64_t now_s, struct deny_list **ret_self)
{
    return parse(data, root, false, now_s, ret_self);
}

lb_err deny_list_parse_kept(struct bytes data, X509 *root, struct deny_list **ret_self)
{
    return parse(data, root, true, 0, ret_self);
}

void deny_list_free(struct deny_list **self)
{
    if (!*self) {
        return;
    }
    free((*self)->rows);
    free(*self);
    *self = NULL;
}

uint64_t deny_list_number(const struct deny_list *self)
{
    return self ? self->number : 0;
}

uint64_t deny_list_made_s(const struct deny_list *self)
{
    return self ? self->made_s : 0;
}

size_t deny_list_count(const struct deny_list *self)
{
    return self ? self->count : 0;
}

static int compare_rows(const void *a, const void *b)
{
    return node_id_compare(&((const struct deny_row *)a)->node,
                           &((const struct deny_row *)b)->node);
}

bool deny_list_has(const struct deny_list *self, const struct node_id *node)
{
    const struct deny_row key = { .node = *node };

    return self && bsearch(&key, self->rows, self->count, sizeof(self->rows[0]), compare_rows);
}

struct node_id deny_list_key(const uint8_t key_id[DENY_LIST_KEY_SIZE])
{
    struct node_id row = { { 0 } };

    memcpy(row.bytes, key_id, DENY_LIST_KEY_SIZE);
    return row;
}

bool deny_list_has_key(const struct deny_list *self, const uint8_t key_id[DENY_LIST_KEY_SIZE])
{
    const struct node_id row = deny_list_key(key_id);

    return deny_list_has(self, &row);
}

bool deny_list_follows(const struct deny_list *self, const struct deny_list *held)
{
    return deny_list_number(self) > deny_list_number(held) &&
           !deny_list_has_key(held, self->signer);
}

/* ---- making ---- */

lb_err deny_list_body(const uint8_t network[NETWORK_ID_SIZE], uint64_t number, uint64_t made_s,
                      struct deny_row *rows, size_t count, X509 *intermediate, uint8_t **ret_body,
                      size_t *ret_size)
{
    uint8_t der[CERTIFICATE_DER_MAX];
    struct writer writer;
    size_t der_size, capacity;

    if (count > DENY_LIST_ROWS_MAX) {
        return LB_TOO_BIG;
    }
    if (certificate_to_der(intermediate, der, &der_size) != LB_OK) {
        return LB_TOO_BIG;
    }
    if (count > 0) {
        qsort(rows, count, sizeof(rows[0]), compare_rows);
    }
    capacity = HEAD_SIZE + count * ROW_SIZE + 2 + der_size;
    writer_init(&writer, xmalloc(capacity), capacity);
    writer_put(&writer, magic, sizeof(magic));
    writer_put(&writer, network, NETWORK_ID_SIZE);
    writer_u64(&writer, number);
    writer_u64(&writer, made_s);
    writer_u32(&writer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        writer_put(&writer, rows[i].node.bytes, NODE_ID_SIZE);
        writer_u64(&writer, rows[i].until_s);
    }
    writer_u16(&writer, (uint16_t)der_size);
    writer_put(&writer, der, der_size);
    assert(!writer.overflow && writer.size == capacity);
    *ret_body = writer.data;
    *ret_size = writer.size;
    return LB_OK;
}

void deny_list_add_signature(uint8_t **body, size_t *size, struct bytes signature)
{
    assert(signature.size <= SIGNATURE_SIZE_MAX);
    *body = xrealloc(*body, *size + 2 + signature.size);
    store_u16(*body + *size, (uint16_t)signature.size);
    memcpy(*body + *size + 2, signature.data, signature.size);
    *size += 2 + signature.size;
}

void deny_list_sign(uint8_t **body, size_t *size, EVP_PKEY *intermediate_key)
{
    uint8_t signature[SIGNATURE_SIZE_MAX];
    size_t signature_size = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    must(context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, intermediate_key) == 1 &&
         EVP_DigestSign(context, signature, &signature_size, *body, *size) == 1);
    EVP_MD_CTX_free(context);
    deny_list_add_signature(body, size, bytes_of(signature, signature_size));
}
