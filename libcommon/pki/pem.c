/* Certificates as text. */
#include "libcommon/pki/certificate.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done) {
        abort();
    }
}

lb_err certificate_from_pem(struct bytes text, X509 **ret_first, X509 **ret_second)
{
    X509 *found[3] = { NULL, NULL, NULL }; /* the third: that there is none */
    BIO *bio;

    if (text.size == 0 || text.size > INT_MAX) {
        return LB_CORRUPT;
    }
    ERR_set_mark();
    bio = BIO_new_mem_buf(text.data, (int)text.size);
    must(bio != NULL);
    for (size_t i = 0; i < 3; i++) {
        found[i] = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!found[i]) {
            break;
        }
    }
    BIO_free(bio);
    ERR_pop_to_mark();
    if (!found[0] || found[2]) {
        for (size_t i = 0; i < 3; i++) {
            X509_free(found[i]);
        }
        return LB_CORRUPT;
    }
    *ret_first = found[0];
    *ret_second = found[1];
    return LB_OK;
}

lb_err certificate_to_pem(const X509 *first, const X509 *second, char ret_text[CERTIFICATE_PEM_MAX],
                          size_t *ret_size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long size;
    lb_err err = LB_TOO_BIG;

    must(bio && PEM_write_bio_X509(bio, first) == 1);
    must(!second || PEM_write_bio_X509(bio, second) == 1);
    size = BIO_get_mem_data(bio, &text);
    if (size > 0 && size < CERTIFICATE_PEM_MAX) {
        memcpy(ret_text, text, (size_t)size);
        ret_text[size] = '\0';
        *ret_size = (size_t)size;
        err = LB_OK;
    }
    BIO_free(bio);
    return err;
}
