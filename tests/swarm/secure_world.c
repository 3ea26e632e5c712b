#include "tests/swarm/secure_world.h"

#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct secure_world *current; /* of the test that runs: a stream has but its descriptor */

/* ---- the pipe ---- */

void pipe_put(struct pipe *self, const void *data, size_t size)
{
    assert_true(self->size + size <= PIPE_SIZE);
    memcpy(self->data + self->size, data, size);
    self->size += size;
}

static ssize_t pipe_write(struct stream *stream, const struct iovec *parts, int count)
{
    struct pipe *pipe = &current->pipes[stream->fd];
    size_t left = pipe->take_max;
    size_t taken = 0;
    for (int i = 0; i < count; i++) {
        const size_t size = parts[i].iov_len < left ? parts[i].iov_len : left;
        if (size > 0)
            pipe_put(pipe, parts[i].iov_base, size);
        taken += size;
        left -= size;
    }
    if (taken > 0)
        return (ssize_t)taken;
    errno = EAGAIN;
    return -1;
}

static ssize_t pipe_read(struct stream *stream, const struct iovec *parts, int count)
{
    struct pipe *pipe = &current->pipes[1 - stream->fd];
    size_t left = pipe->size - pipe->at;
    size_t got = 0;
    if (left > pipe->give_max)
        left = pipe->give_max;
    for (int i = 0; i < count; i++) {
        const size_t size = parts[i].iov_len < left ? parts[i].iov_len : left;
        memcpy(parts[i].iov_base, pipe->data + pipe->at, size);
        pipe->at += size;
        got += size;
        left -= size;
    }
    if (pipe->at == pipe->size)
        pipe->at = pipe->size = 0;
    if (got > 0 || pipe->ended)
        return (ssize_t)got;
    errno = EAGAIN;
    return -1;
}

static void pipe_close(struct stream *stream)
{
    (void)stream;
}

static const struct stream_kind pipe_kind = {
    .name = "pipe",
    .read = pipe_read,
    .write = pipe_write,
    .close = pipe_close,
};

/* ---- the world ---- */

static bool knows(void *ctx, const uint8_t infohash[20])
{
    const struct secure_world *self = ctx;
    return memcmp(infohash, self->infohash, sizeof self->infohash) == 0;
}

void world_init(struct secure_world *self)
{
    world_init_aged(self, 0);
}

void world_init_aged(struct secure_world *self, uint64_t age_s)
{
    *self = (struct secure_world){ .infohash = "an infohash known.." };
    current = self;
    pki_network_make(&self->network, "lab", clock_wall_s());
    for (unsigned i = 0; i < 2; i++) {
        pki_member_make(&self->network, i, CERTIFICATE_MEMBER, PKI_SOUND, &self->members[i]);
        if (age_s > 0)
            pki_member_renew(&self->network, &self->members[i], self->network.now_s - age_s);
        self->memberships[i] = pki_membership(&self->network, &self->members[i]);
        assert_int_equal(secure_new(self->memberships[i], knows, self, &self->secures[i]), LB_OK);
        self->pipes[i] =
            (struct pipe){ .data = xmalloc(PIPE_SIZE), .take_max = SIZE_MAX, .give_max = SIZE_MAX };
    }
}

void world_done(struct secure_world *self)
{
    for (unsigned i = 0; i < 2; i++) {
        secure_free(&self->secures[i]); /* streams may end later */
        if (self->streams[i].secure != NULL)
            self->streams[i].kind->close(&self->streams[i]);
        membership_free(&self->memberships[i]);
        pki_member_done(&self->members[i]);
        free(self->pipes[i].data);
    }
    pki_network_done(&self->network);
}

void world_open(struct secure_world *self, unsigned end, const uint8_t *infohash)
{
    self->streams[end] = (struct stream){ .kind = &pipe_kind, .fd = (int)end };
    secure_wrap(self->secures[end], &self->streams[end], infohash);
}

void world_handshake(struct secure_world *self, enum stream_opening ret_opening[2])
{
    ret_opening[0] = ret_opening[1] = STREAM_OPENING;
    for (int i = 0; i < 100000; i++)
        for (unsigned end = 0; end < 2; end++)
            if (ret_opening[end] == STREAM_OPENING)
                ret_opening[end] = self->streams[end].kind->open(&self->streams[end]);
}

void world_join(struct secure_world *self)
{
    enum stream_opening openings[2];
    world_open(self, 0, self->infohash);
    world_open(self, 1, NULL);
    world_handshake(self, openings);
    assert_int_equal(openings[0], STREAM_OPEN);
    assert_int_equal(openings[1], STREAM_OPEN);
}

void world_revoke(struct secure_world *self, unsigned end)
{
    struct deny_list *denied = NULL;
    size_t size = 0;
    uint8_t *data = pki_deny_list(&self->network, 1, &self->members[end].identity.node, 1, &size);
    assert_int_equal(
        deny_list_parse(bytes_of(data, size), self->network.root, clock_wall_s(), &denied), LB_OK);
    assert_true(membership_take_denied(self->memberships[1 - end], &denied));
    free(data);
}

/* ---- the rogue ---- */

void rogue_init(struct rogue *self, struct secure_world *world, SSL_CTX *context, bool calls,
                const char *name)
{
    *self = (struct rogue){ .world = world };
    self->in = BIO_new(BIO_s_mem());
    self->out = BIO_new(BIO_s_mem());
    self->ssl = SSL_new(context);
    assert_non_null(self->ssl);
    BIO_set_mem_eof_return(self->in, -1);
    SSL_set_bio(self->ssl, self->in, self->out);
    if (name != NULL)
        assert_int_equal(SSL_set_tlsext_host_name(self->ssl, name), 1);
    if (calls)
        SSL_set_connect_state(self->ssl);
    else
        SSL_set_accept_state(self->ssl);
    world_open(world, 0, calls ? NULL : world->infohash);
}

void rogue_done(struct rogue *self)
{
    SSL_free(self->ssl);
}

void rogue_pump(struct rogue *self)
{
    struct pipe *to = &self->world->pipes[1];
    struct pipe *from = &self->world->pipes[0];
    char *data = NULL;
    const long size = BIO_get_mem_data(self->out, &data);
    if (size > 0)
        pipe_put(to, data, (size_t)size);
    (void)BIO_reset(self->out);
    if (from->size > from->at)
        assert_true(BIO_write(self->in, from->data + from->at, (int)(from->size - from->at)) > 0);
    from->at = from->size = 0;
}

enum stream_opening rogue_handshake(struct rogue *self)
{
    struct stream *ours = &self->world->streams[0];
    enum stream_opening opening = STREAM_OPENING;
    for (int i = 0; i < 20 && opening == STREAM_OPENING; i++) {
        (void)SSL_do_handshake(self->ssl);
        rogue_pump(self);
        opening = ours->kind->open(ours);
        rogue_pump(self);
    }
    (void)SSL_do_handshake(self->ssl);
    return opening;
}
