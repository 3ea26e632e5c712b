/* Between OpenSSL and the stream beneath: a BIO of two buffers that all streams share. */
#include "libcommon/memory.h"
#include "services/swarm/secure_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void secure_refuse(struct secure_stream *self, unsigned refusal)
{
    if (self->failed)
        return;
    self->failed = true;
    self->refusal = refusal;
}

/* ---- to and from the kernel ---- */

bool secure_would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void keep_unsent(struct secure_stream *self, const uint8_t *data, size_t size)
{
    if (self->unsent_at == self->unsent_size)
        self->unsent_at = self->unsent_size = 0;
    self->unsent = xrealloc(self->unsent, self->unsent_size + size);
    memcpy(self->unsent + self->unsent_size, data, size);
    self->unsent_size += size;
}

bool secure_send_unsent(struct secure_stream *self)
{
    const size_t left = self->unsent_size - self->unsent_at;
    if (left == 0)
        return true;
    const struct iovec part = { .iov_base = self->unsent + self->unsent_at, .iov_len = left };
    const ssize_t sent = self->lower.kind->write(&self->lower, &part, 1);
    if (sent < 0)
        return secure_would_wait();
    self->unsent_at += (size_t)sent;
    if (self->unsent_at < self->unsent_size)
        return true;
    free(self->unsent);
    self->unsent = NULL;
    self->unsent_at = self->unsent_size = 0;
    return true;
}

bool secure_send_out(struct secure_stream *self)
{
    struct secure *owner = self->owner;
    const struct iovec part = { .iov_base = owner->out, .iov_len = owner->out_size };
    ssize_t sent = 0;
    if (owner->out_size == 0)
        return true;
    if (self->unsent_size == self->unsent_at)
        sent = self->lower.kind->write(&self->lower, &part, 1);
    const bool broken = sent < 0 && !secure_would_wait();
    if (sent < 0)
        sent = 0;
    if ((size_t)sent < owner->out_size && !broken)
        keep_unsent(self, owner->out + sent, owner->out_size - (size_t)sent);
    owner->out_size = 0;
    return !broken;
}

bool secure_has_unsent(const struct secure_stream *self)
{
    return self->unsent_size > self->unsent_at;
}

bool secure_fill(struct secure_stream *self, size_t size_max)
{
    struct secure *owner = self->owner;
    const struct iovec part = {
        .iov_base = owner->in,
        .iov_len = size_max < sizeof owner->in ? size_max : sizeof owner->in,
    };
    const ssize_t got = self->lower.kind->read(&self->lower, &part, 1);
    owner->in_at = 0;
    owner->in_size = got > 0 ? (size_t)got : 0;
    self->ended = got == 0 || (got < 0 && !secure_would_wait());
    return got > 0;
}

/* ---- OpenSSL's end ---- */

/*
 * While it is opened, no more than OpenSSL asks for: what comes behind the handshake belongs to the
 * first read.
 */
static int read_handshake(struct secure_stream *self, BIO *bio, char *data, int size)
{
    const uint32_t left = self->head_size - self->head_at;
    if (left > 0) {
        const uint32_t take = left < (uint32_t)size ? left : (uint32_t)size;
        memcpy(data, self->head + self->head_at, take);
        self->head_at += take;
        return (int)take;
    }
    const struct iovec part = { .iov_base = data, .iov_len = (size_t)size };
    const ssize_t got = self->lower.kind->read(&self->lower, &part, 1);
    if (got > 0)
        return (int)got;
    if (got < 0 && secure_would_wait())
        BIO_set_retry_read(bio);
    else
        self->ended = true;
    return -1;
}

static bool changes_keys_too_often(const struct secure_stream *self)
{
    return self->extra > SECURE_EXTRA_MAX + self->received / SECURE_EXTRA_BYTES;
}

static int bio_read(BIO *bio, char *data, int size)
{
    struct secure_stream *self = BIO_get_data(bio);
    struct secure *owner = self->owner;
    BIO_clear_retry_flags(bio);
    if (!self->open)
        return read_handshake(self, bio, data, size);
    if (changes_keys_too_often(self)) {
        secure_refuse(self, REFUSED_RENEGOTIATED);
        return -1;
    }
    size_t left = owner->in_size - owner->in_at;
    if (left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (left > (size_t)size)
        left = (size_t)size;
    memcpy(data, owner->in + owner->in_at, left);
    owner->in_at += left;
    return (int)left;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    struct secure_stream *self = BIO_get_data(bio);
    struct secure *owner = self->owner;
    BIO_clear_retry_flags(bio);
    if (owner->out_size + (size_t)size > sizeof owner->out ||
        self->unsent_size + owner->out_size + (size_t)size > UNSENT_MAX)
        return -1;
    memcpy(owner->out + owner->out_size, data, (size_t)size);
    owner->out_size += (size_t)size;
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *secure_make_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (method == NULL)
        return NULL;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    BIO_meth_set_create(method, bio_create);
    return method;
}
