/* A membership: by whom the leaves of others may be signed, when they do not send it along. */
#include "libcommon/bytes.h"
#include "libcommon/pki/membership_inside.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_BYTES 2 /* before each */

/* A CA that this root has made and that counts now. */
static bool counts(X509 *intermediate, X509 *root, uint64_t now_s)
{
    return X509_check_ca(intermediate) == 1 &&
           certificate_verify_chain(intermediate, NULL, root, 0, now_s) == REFUSED_NOT;
}

static bool has(const struct membership *self, const X509 *intermediate)
{
    for (size_t i = 0; i < self->others_count; i++) {
        if (X509_cmp(self->others[i], intermediate) == 0) {
            return true;
        }
    }
    return false;
}

void membership_forget_intermediates(struct membership *self)
{
    while (self->others_count > 0) {
        X509_free(self->others[--self->others_count]);
    }
}

/* Those that do not count are passed over. */
static void take(struct membership *self, struct bytes der, uint64_t now_s)
{
    X509 *intermediate;

    if (certificate_from_der(der, &intermediate) != LB_OK) {
        return;
    }
    if (self->others_count < MEMBERSHIP_INTERMEDIATES_MAX && !has(self, intermediate) &&
        counts(intermediate, self->root, now_s)) {
        self->others[self->others_count++] = intermediate;
        return;
    }
    ERR_clear_error();
    X509_free(intermediate);
}

void membership_parse_intermediates(struct membership *self, struct bytes data, uint64_t now_s)
{
    membership_forget_intermediates(self);
    while (data.size >= SIZE_BYTES) {
        size_t size = (size_t)data.data[0] << 8 | data.data[1];

        data.data += SIZE_BYTES;
        data.size -= SIZE_BYTES;
        if (size == 0 || size > data.size) {
            return; /* cut: what stood before it counts */
        }
        take(self, bytes_of(data.data, size), now_s);
        data.data += size;
        data.size -= size;
    }
}

size_t membership_intermediates(const struct membership *self, X509 *const **ret_intermediates)
{
    *ret_intermediates = self->others;
    return self->others_count;
}

/* ---- for who writes ---- */

static size_t write_one(const X509 *intermediate, uint8_t *at)
{
    size_t size;

    if (certificate_to_der(intermediate, at + SIZE_BYTES, &size) != LB_OK) {
        return 0;
    }
    at[0] = (uint8_t)(size >> 8);
    at[1] = (uint8_t)size;
    return SIZE_BYTES + size;
}

lb_err membership_put_intermediates(const char *folder, const struct membership *before,
                                    const struct membership_told *told, uint64_t now_s)
{
    static const struct membership none = { .folder = NULL };
    struct membership after = { .root = told->root };
    uint8_t data[INTERMEDIATES_FILE_MAX];
    size_t size = 0, news = 0;
    lb_err err = LB_OK;

    before = before ? before : &none;
    for (size_t i = 0; i < told->count; i++) {
        take(&after, told->ders[i], now_s);
    }
    for (size_t i = 0; i < after.others_count; i++) {
        news += !has(before, after.others[i]);
    }
    /* A leaf by one that was replaced counts for a week more. */
    for (size_t i = 0;
         i < before->others_count && after.others_count < MEMBERSHIP_INTERMEDIATES_MAX; i++) {
        if (!has(&after, before->others[i]) && X509_up_ref(before->others[i]) == 1) {
            after.others[after.others_count++] = before->others[i];
        }
    }
    for (size_t i = 0; i < after.others_count; i++) {
        size += write_one(after.others[i], data + size);
    }
    if (news > 0) {
        err = membership_put_file(folder, FILE_INTERMEDIATES, bytes_of(data, size), 0644);
    }
    membership_forget_intermediates(&after);
    return err;
}
