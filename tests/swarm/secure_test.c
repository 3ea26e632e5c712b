/* TLS around a peer's stream: what goes through it, and who and what is refused, and why. */
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "libcommon/pki/membership_inside.h"
#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/secure_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE (512u * 1024)
#define LONG_SIZE (3u * 1024 * 1024)
#define HEX_SIZE  41

/* One read of an end, all in one part. */
static ssize_t read_end(struct secure_world *world, unsigned end, uint8_t *data)
{
    const struct iovec part = { .iov_base = data, .iov_len = READ_SIZE };
    struct stream *stream = &world->streams[end];
    return stream->kind->read(stream, &part, 1);
}

static ssize_t write_end(struct secure_world *world, unsigned end, const void *data, size_t size)
{
    const struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct stream *stream = &world->streams[end];
    return stream->kind->write(stream, &part, size > 0);
}

/* ---- what goes through ---- */

/* Cut as blocks of peers are: a header, a block, a header. */
static int cut(struct random *random, uint8_t *data, size_t size, struct iovec *ret_parts,
               int parts_max)
{
    int count = 0;
    for (size_t at = 0; at < size && count < parts_max; count++) {
        size_t here = count % 2 == 0 ? 13 : 1 + random_below(random, 40000);
        if (here > size - at || count + 1 == parts_max)
            here = size - at;
        ret_parts[count] = (struct iovec){ .iov_base = data + at, .iov_len = here };
        at += here;
    }
    return count;
}

static void limit_pipe(struct pipe *pipe, struct random *random)
{
    static const size_t sizes[] = { 1, 5, 100, 16384, 16406, 100000, SIZE_MAX };
    pipe->take_max = random_below(random, 4) == 0 ? 0 : sizes[random_below(random, 7)];
    pipe->give_max = sizes[random_below(random, 7)];
}

static void all_bytes_go_through_in_order(void **state)
{
    (void)state;
    uint8_t *sent = xmalloc(LONG_SIZE);
    uint8_t *got = xcalloc(1, LONG_SIZE + READ_SIZE);
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct secure_world world;
        struct random random;
        struct iovec parts[64];
        size_t out = 0;
        size_t in = 0;
        random_init(&random, seed);
        world_init(&world);
        world_join(&world);
        const unsigned from = (unsigned)seed % 2;
        const size_t size = 1 + random_below(&random, LONG_SIZE - 1);
        for (size_t i = 0; i < size; i++)
            sent[i] = (uint8_t)(i * 31 + i / 251);
        secure_set_burst(&world.streams[from], (uint32_t)(seed * 10000));
        struct stream *writer = &world.streams[from];
        struct stream *reader = &world.streams[1 - from];
        for (int turn = 0; in < size; turn++) {
            assert_in_range(turn, 0, 10000000);
            limit_pipe(&world.pipes[from], &random);
            int count = cut(&random, sent + out, size - out, parts, 64);
            ssize_t moved = writer->kind->write(writer, parts, count);
            if (moved < 0)
                assert_int_equal(errno, EAGAIN);
            out += moved > 0 ? (size_t)moved : 0;
            count = cut(&random, got + in, READ_SIZE, parts, 64);
            moved = reader->kind->read(reader, parts, count);
            if (moved < 0)
                assert_int_equal(errno, EAGAIN);
            in += moved > 0 ? (size_t)moved : 0;
            assert_true(in <= out);
        }
        assert_memory_equal(sent, got, size);
        assert_false(reader->again);
        world_done(&world);
    }
    free(sent);
    free(got);
}

static void both_know_who_is_there(void **state)
{
    struct secure_world world;
    (void)state;
    world_init(&world);
    world_join(&world);
    for (unsigned end = 0; end < 2; end++) {
        assert_memory_equal(&secure_peer(&world.streams[end])->node,
                            &world.members[1 - end].identity.node, sizeof(struct node_id));
        assert_memory_equal(secure_infohash(&world.streams[end]), world.infohash, 20);
    }
    world_done(&world);
}

/* Only what a burst is stays behind when the other side does not read; then no more is taken. */
static void what_the_kernel_does_not_take_is_little(void **state)
{
    struct secure_world world;
    uint8_t *data = xcalloc(1, LONG_SIZE);
    (void)state;
    world_init(&world);
    world_join(&world);
    secure_set_burst(&world.streams[0], 32768);
    world.pipes[0].take_max = 0;
    assert_int_equal(write_end(&world, 0, data, LONG_SIZE), 32768);
    assert_true(world.streams[0].unsent);
    assert_int_equal(write_end(&world, 0, data, LONG_SIZE), -1);
    assert_int_equal(errno, EAGAIN);
    world.pipes[0].take_max = SIZE_MAX;
    assert_int_equal(write_end(&world, 0, NULL, 0), 0);
    assert_false(world.streams[0].unsent);
    assert_int_equal(read_end(&world, 1, data), 32768);
    free(data);
    world_done(&world);
}

static void a_renewed_certificate_is_shown_from_then_on(void **state)
{
    struct secure_world world;
    (void)state;
    world_init(&world);
    world_join(&world);
    assert_int_equal(secure_renew(world.secures[0]), LB_OK);
    assert_int_equal(write_end(&world, 0, "old", 3), 3);
    uint8_t *data = xmalloc(READ_SIZE);
    assert_int_equal(read_end(&world, 1, data), 3);
    free(data);
    for (unsigned end = 0; end < 2; end++)
        world.streams[end].kind->close(&world.streams[end]);
    world_join(&world);
    world_done(&world);
}

/* ---- who is refused ---- */

static const struct flaw_row {
    const char *what;
    enum pki_flaw flaw;
    unsigned refusal;
} flaw_rows[] = {
    { "a sound member is let in", PKI_SOUND, SECURE_NOT_REFUSED },
    { "expired", PKI_EXPIRED, REFUSED_EXPIRED },
    { "not valid yet", PKI_NOT_YET_VALID, REFUSED_NOT_YET_VALID },
    { "of another authority", PKI_OTHER_CA, REFUSED_OTHER_CA },
    { "signed by itself", PKI_SELF_SIGNED, REFUSED_SELF_SIGNED },
    { "for signing code", PKI_WRONG_USAGE, REFUSED_WRONG_USAGE },
    { "for servers only", PKI_SERVER_ONLY, REFUSED_WRONG_USAGE },
    { "for clients only", PKI_CLIENT_ONLY, REFUSED_WRONG_USAGE },
    { "it names another network", PKI_OTHER_NETWORK, REFUSED_WRONG_ID },
    { "it names nobody", PKI_NO_ID, REFUSED_WRONG_ID },
    { "it names two", PKI_TWO_IDS, REFUSED_WRONG_ID },
    { "of an authority", PKI_CA_AS_LEAF, REFUSED_CA_AS_LEAF },
    { "a weak key", PKI_WEAK_KEY, REFUSED_WEAK },
    { "a weak digest", PKI_WEAK_DIGEST, REFUSED_WEAK },
};

static void check_flaw(const struct flaw_row *row, bool calls)
{
    struct secure_world world;
    struct pki_member member;
    struct rogue rogue;
    char name[HEX_SIZE];
    world_init(&world);
    pki_member_make(&world.network, 7, CERTIFICATE_MEMBER, row->flaw, &member);
    SSL_CTX *context = pki_rogue_context(&member, TLS_method());
    hex_encode(world.infohash, 20, name);
    rogue_init(&rogue, &world, context, calls, calls ? name : NULL);
    const enum stream_opening opening = rogue_handshake(&rogue);
    assert_int_equal(world.streams[0].refusal, row->refusal);
    assert_int_equal(opening, row->refusal == SECURE_NOT_REFUSED ? STREAM_OPEN : STREAM_REFUSED);
    rogue_done(&rogue);
    SSL_CTX_free(context);
    pki_member_done(&member);
    world_done(&world);
}

static void test_flaw_of_a_caller(void **state)
{
    check_flaw(*state, true);
}

static void test_flaw_of_the_called(void **state)
{
    check_flaw(*state, false);
}

/* Who calls with a sound certificate, or none, and does something else. */
static const struct caller_row {
    const char *what;
    enum { SOUND, BARE, TLS_1_2, NO_NAME, OTHER_NAME, SHORT_NAME, NO_HEX } kind;
    unsigned refusal;
} caller_rows[] = {
    { "as it should be", SOUND, SECURE_NOT_REFUSED },
    { "without a certificate", BARE, REFUSED_NONE },
    { "with TLS 1.2", TLS_1_2, REFUSED_OLD_PROTOCOL },
    { "naming no torrent", NO_NAME, SECURE_REFUSED_UNKNOWN_TORRENT },
    { "naming a torrent that is not here", OTHER_NAME, SECURE_REFUSED_UNKNOWN_TORRENT },
    { "naming half a torrent", SHORT_NAME, SECURE_REFUSED_UNKNOWN_TORRENT },
    { "naming a host", NO_HEX, SECURE_REFUSED_UNKNOWN_TORRENT },
};

static const char *name_of(const struct secure_world *world, unsigned kind, char hex[HEX_SIZE])
{
    hex_encode(world->infohash, 20, hex);
    switch (kind) {
    case NO_NAME:
        return NULL;
    case OTHER_NAME:
        hex[0] ^= 1;
        return hex;
    case SHORT_NAME:
        hex[20] = '\0';
        return hex;
    case NO_HEX:
        return "tracker.example.org.with.forty.letters..";
    default:
        return hex;
    }
}

static void test_caller(void **state)
{
    const struct caller_row *row = *state;
    struct secure_world world;
    struct rogue rogue;
    char hex[HEX_SIZE];
    world_init(&world);
    SSL_CTX *context =
        pki_rogue_context(row->kind == BARE ? NULL : &world.members[1], TLS_method());
    if (row->kind == TLS_1_2)
        assert_int_equal(SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION), 1);
    rogue_init(&rogue, &world, context, true, name_of(&world, row->kind, hex));
    const enum stream_opening opening = rogue_handshake(&rogue);
    assert_int_equal(world.streams[0].refusal, row->refusal);
    assert_int_equal(opening, row->refusal == SECURE_NOT_REFUSED ? STREAM_OPEN : STREAM_REFUSED);
    rogue_done(&rogue);
    SSL_CTX_free(context);
    world_done(&world);
}

/* The first bytes of who calls. */
static const struct first_row {
    const char *what, *bytes;
    size_t size;
    bool ended;
    enum stream_opening opening;
    unsigned refusal;
} first_rows[] = {
    { "nothing yet", "", 0, false, STREAM_OPENING, SECURE_NOT_REFUSED },
    { "it goes without a word", "", 0, true, STREAM_REFUSED, SECURE_NOT_REFUSED },
    { "a plain handshake",
      "\x13"
      "BitTorrent protocol",
      20, false, STREAM_REFUSED, SECURE_REFUSED_PLAIN },
    { "HTTP", "GET / HTTP/1.1\r\n\r\n", 18, false, STREAM_REFUSED, SECURE_REFUSED_PLAIN },
    { "one byte of TLS", "\x16", 1, false, STREAM_OPENING, SECURE_NOT_REFUSED },
    { "the head of a record", "\x16\x03\x01\x02\x00", 5, false, STREAM_OPENING,
      SECURE_NOT_REFUSED },
    { "half a record, and it goes", "\x16\x03\x01\x02\x00\x01", 6, true, STREAM_REFUSED,
      SECURE_NOT_REFUSED },
    { "an empty record, and nothing more", "\x16\x03\x01\x00\x00", 5, false, STREAM_OPENING,
      SECURE_NOT_REFUSED },
    { "a record longer than there may be", "\x16\x03\x01\xff\xff", 5, false, STREAM_REFUSED,
      REFUSED_OTHER },
    { "no ClientHello", "\x16\x03\x01\x00\x06\x02\x00\x00\x02\x03\x03", 11, false, STREAM_REFUSED,
      REFUSED_OTHER },
    { "a ClientHello of 16 MB", "\x16\x03\x01\x00\x06\x01\xff\xff\xff\x03\x03", 11, false,
      STREAM_REFUSED, REFUSED_OTHER },
};

static void test_first(void **state)
{
    const struct first_row *row = *state;
    struct secure_world world;
    world_init(&world);
    world_open(&world, 0, NULL);
    pipe_put(&world.pipes[1], row->bytes, row->size);
    world.pipes[1].ended = row->ended;
    enum stream_opening opening = STREAM_OPENING;
    for (int i = 0; i < 5 && opening == STREAM_OPENING; i++)
        opening = world.streams[0].kind->open(&world.streams[0]);
    assert_int_equal(opening, row->opening);
    assert_int_equal(world.streams[0].refusal, row->refusal);
    world_done(&world);
}

static void who_is_put_out_is_refused_and_put_out(void **state)
{
    struct secure_world world;
    enum stream_opening openings[2];
    (void)state;
    world_init(&world);
    world_join(&world);
    const uint64_t now_s = clock_wall_s();
    assert_int_equal(secure_look_again(&world.streams[0], now_s), REFUSED_NOT);
    world_revoke(&world, 1);
    assert_int_equal(secure_look_again(&world.streams[0], now_s), REFUSED_REVOKED);
    assert_int_equal(secure_look_again(&world.streams[1], now_s), REFUSED_NOT);
    assert_int_equal(secure_look_again(&world.streams[1], now_s + CERTIFICATE_LEAF_S + 60),
                     REFUSED_EXPIRED);
    for (unsigned end = 0; end < 2; end++)
        world.streams[end].kind->close(&world.streams[end]);
    world.pipes[0].at = world.pipes[0].size = world.pipes[1].at = world.pipes[1].size = 0;
    world_open(&world, 0, NULL);
    world_open(&world, 1, world.infohash);
    world_handshake(&world, openings);
    assert_int_equal(openings[0], STREAM_REFUSED);
    assert_int_equal(world.streams[0].refusal, REFUSED_REVOKED);
    world_done(&world);
}

/* libtorrent sends its leaf alone; another coordinator than ours may have signed it. */
static void a_leaf_alone_of_another_coordinator(void **state)
{
    struct secure_world world;
    struct pki_member other;
    struct rogue rogue;
    char name[HEX_SIZE];
    (void)state;
    world_init(&world);
    hex_encode(world.infohash, 20, name);
    X509 *ours = world.network.intermediate, *theirs = NULL;
    EVP_PKEY *our_key = world.network.intermediate_key, *their_key = NULL;
    pki_intermediate_make(&world.network, &their_key, &theirs);
    world.network.intermediate = theirs;
    world.network.intermediate_key = their_key;
    pki_member_make(&world.network, 7, CERTIFICATE_MEMBER, PKI_SOUND, &other);
    world.network.intermediate = ours;
    world.network.intermediate_key = our_key;
    for (unsigned known = 0; known < 2; known++) {
        SSL_CTX *context = pki_rogue_context(&other, TLS_method());
        assert_int_equal(SSL_CTX_clear_chain_certs(context), 1);
        SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
        rogue_init(&rogue, &world, context, true, name);
        const enum stream_opening opening = rogue_handshake(&rogue);
        assert_int_equal(opening, known ? STREAM_OPEN : STREAM_REFUSED);
        assert_int_equal(world.streams[0].refusal, known ? SECURE_NOT_REFUSED : REFUSED_OTHER_CA);
        rogue_done(&rogue);
        SSL_CTX_free(context);
        world.streams[0].kind->close(&world.streams[0]);
        for (unsigned end = 0; end < 2; end++)
            world.pipes[end].at = world.pipes[end].size = 0;
        if (known)
            break;
        assert_int_equal(X509_up_ref(theirs), 1);
        world.memberships[0]->others[world.memberships[0]->others_count++] = theirs;
        assert_int_equal(secure_renew(world.secures[0]), LB_OK);
    }
    pki_member_done(&other);
    X509_free(theirs);
    key_free(&their_key);
    world_done(&world);
}

/* Two days after the last word of a coordinator, who are known to each other go on. */
static void without_news_who_is_new_is_refused(void **state)
{
    struct secure_world world;
    enum stream_opening openings[2];
    (void)state;
    world_init_aged(&world, 48 * 3600);
    world_open(&world, 0, world.infohash);
    world_open(&world, 1, NULL);
    world_handshake(&world, openings);
    assert_int_equal(openings[0], STREAM_REFUSED);
    assert_int_equal(world.streams[0].refusal, REFUSED_NO_NEWS);
    for (unsigned end = 0; end < 2; end++) {
        world.streams[end].kind->close(&world.streams[end]);
        world.memberships[end]->reached_s = clock_wall_s() - 3600;
        world.pipes[end].at = world.pipes[end].size = 0;
        world.pipes[end].ended = false;
    }
    world_join(&world);
    for (unsigned end = 0; end < 2; end++) {
        world.streams[end].kind->close(&world.streams[end]);
        world.memberships[end]->reached_s = 0;
        world.pipes[end].at = world.pipes[end].size = 0;
        world.pipes[end].ended = false;
    }
    world_join(&world);
    world_done(&world);
}

static void no_session_is_resumed(void **state)
{
    struct secure_world world;
    struct rogue rogue;
    char name[HEX_SIZE];
    (void)state;
    world_init(&world);
    hex_encode(world.infohash, 20, name);
    SSL_CTX *context = pki_rogue_context(&world.members[1], TLS_method());
    rogue_init(&rogue, &world, context, true, name);
    assert_int_equal(rogue_handshake(&rogue), STREAM_OPEN);
    SSL_SESSION *session = SSL_get1_session(rogue.ssl);
    assert_false(SSL_SESSION_is_resumable(session));
    SSL_SESSION_free(session);
    rogue_done(&rogue);
    SSL_CTX_free(context);
    world_done(&world);
}

static void that_it_refused_us_is_heard(void **state)
{
    struct secure_world world;
    enum stream_opening openings[2];
    uint8_t *data = xmalloc(READ_SIZE);
    struct pki_network other;
    struct pki_member stranger;
    struct rogue rogue;
    (void)state;
    (void)openings;
    world_init(&world);
    pki_network_make(&other, "other", clock_wall_s());
    pki_member_make(&other, 9, CERTIFICATE_MEMBER, PKI_SOUND, &stranger);
    /* A sound member that trusts another root: it lets us finish, then says no. */
    SSL_CTX *context = pki_rogue_context(&world.members[1], TLS_method());
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), other.root);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    rogue_init(&rogue, &world, context, false, NULL);
    assert_int_equal(rogue_handshake(&rogue), STREAM_OPEN);
    rogue_pump(&rogue);
    assert_int_equal(read_end(&world, 0, data), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(world.streams[0].refusal, SECURE_REFUSED_US);
    rogue_done(&rogue);
    SSL_CTX_free(context);
    pki_member_done(&stranger);
    pki_network_done(&other);
    free(data);
    world_done(&world);
}

/* ---- what comes after the handshake ---- */

static const struct after_row {
    const char *what;
    enum { GOOD, GARBAGE, TOO_LONG, ALTERED, CUT_OFF, PLAIN, EMPTY_ONES, KEYS, KEYS_AND_DATA } kind;
    ssize_t first; /* what the first read says: bytes, 0 the end, -1 */
    unsigned refusal;
} after_rows[] = {
    { "a message", GOOD, 5, SECURE_NOT_REFUSED },
    { "garbage", GARBAGE, -1, REFUSED_OTHER },
    { "a record longer than there may be", TOO_LONG, -1, REFUSED_OTHER },
    { "a record of which a bit was changed", ALTERED, -1, REFUSED_OTHER },
    { "half a record, and it goes", CUT_OFF, 0, SECURE_NOT_REFUSED },
    { "a message in the clear", PLAIN, -1, REFUSED_OTHER },
    { "thousands of records without a byte", EMPTY_ONES, -1, REFUSED_OTHER },
    { "a flood of key updates", KEYS, -1, REFUSED_RENEGOTIATED },
    { "a key update now and then", KEYS_AND_DATA, 5, SECURE_NOT_REFUSED },
};

static void spoil(struct rogue *rogue, const struct after_row *row)
{
    struct pipe *pipe = &rogue->world->pipes[1];
    static uint8_t garbage[40000];
    switch (row->kind) {
    case GOOD:
        assert_int_equal(SSL_write(rogue->ssl, "hello", 5), 5);
        break;
    case GARBAGE:
        memset(garbage, 0xa5, sizeof garbage);
        pipe_put(pipe, garbage, sizeof garbage);
        break;
    case TOO_LONG: /* RFC 8446, 5.2: 2^14 + 256 */
        memset(garbage, 0, sizeof garbage);
        memcpy(garbage, "\x17\x03\x03\x41\x01", 5);
        pipe_put(pipe, garbage, sizeof garbage);
        break;
    case ALTERED:
    case CUT_OFF:
        assert_int_equal(SSL_write(rogue->ssl, "hello", 5), 5);
        rogue_pump(rogue);
        if (row->kind == ALTERED)
            pipe->data[pipe->size - 1] ^= 1;
        else
            pipe->size -= 4;
        pipe->ended = row->kind == CUT_OFF;
        break;
    case PLAIN:
        pipe_put(pipe, "\0\0\0\1\2", 5);
        break;
    case EMPTY_ONES:
        /* OpenSSL does not write them: an alert of the kind that is ignored would do no harm. */
        for (int i = 0; i < 3000; i++)
            pipe_put(pipe, "\x17\x03\x03\x00\x00", 5);
        break;
    case KEYS:
        for (int i = 0; i < 3000; i++) {
            assert_int_equal(SSL_key_update(rogue->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(rogue->ssl), 1);
        }
        break;
    case KEYS_AND_DATA:
        for (unsigned i = 0; i < SECURE_EXTRA_MAX; i++) {
            assert_int_equal(SSL_key_update(rogue->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(rogue->ssl), 1);
        }
        assert_int_equal(SSL_write(rogue->ssl, "hello", 5), 5);
        break;
    }
    rogue_pump(rogue);
}

static void test_after(void **state)
{
    const struct after_row *row = *state;
    struct secure_world world;
    struct rogue rogue;
    char name[HEX_SIZE];
    uint8_t *data = xmalloc(READ_SIZE);
    world_init(&world);
    hex_encode(world.infohash, 20, name);
    SSL_CTX *context = pki_rogue_context(&world.members[1], TLS_method());
    rogue_init(&rogue, &world, context, true, name);
    assert_int_equal(rogue_handshake(&rogue), STREAM_OPEN);
    spoil(&rogue, row);
    ssize_t got = read_end(&world, 0, data);
    for (int i = 0; i < 10 && got < 0 && errno == EAGAIN; i++)
        got = read_end(&world, 0, data);
    assert_int_equal(got, row->first);
    assert_int_equal(world.streams[0].refusal, row->refusal);
    if (row->first < 0)
        assert_int_equal(errno, EPROTO);
    if (row->kind == KEYS) /* it answered few of them */
        assert_in_range(world.pipes[0].size, 0, 100 * SECURE_EXTRA_MAX);
    rogue_done(&rogue);
    SSL_CTX_free(context);
    free(data);
    world_done(&world);
}

/* What came before the end is not lost, and the end is seen without another byte. */
static void what_came_before_the_end_is_read(void **state)
{
    struct secure_world world;
    struct rogue rogue;
    char name[HEX_SIZE];
    uint8_t *data = xmalloc(READ_SIZE);
    (void)state;
    world_init(&world);
    hex_encode(world.infohash, 20, name);
    SSL_CTX *context = pki_rogue_context(&world.members[1], TLS_method());
    rogue_init(&rogue, &world, context, true, name);
    assert_int_equal(rogue_handshake(&rogue), STREAM_OPEN);
    assert_int_equal(SSL_write(rogue.ssl, "hello", 5), 5);
    (void)SSL_shutdown(rogue.ssl);
    rogue_pump(&rogue);
    assert_int_equal(read_end(&world, 0, data), 5);
    assert_true(world.streams[0].again);
    assert_int_equal(read_end(&world, 0, data), 0);
    rogue_done(&rogue);
    SSL_CTX_free(context);
    free(data);
    world_done(&world);
}

static void every_refusal_has_a_name_and_a_sentence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SECURE_REFUSALS_COUNT; i++) {
        assert_true(strlen(secure_refusal_text(i)) > 0);
        assert_true(strlen(secure_refusal_sentence(i)) > 0);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(secure_refusal_text(i), secure_refusal_text(j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_bytes_go_through_in_order),
        cmocka_unit_test(both_know_who_is_there),
        cmocka_unit_test(what_the_kernel_does_not_take_is_little),
        cmocka_unit_test(a_renewed_certificate_is_shown_from_then_on),
        cmocka_unit_test(who_is_put_out_is_refused_and_put_out),
        cmocka_unit_test(a_leaf_alone_of_another_coordinator),
        cmocka_unit_test(without_news_who_is_new_is_refused),
        cmocka_unit_test(no_session_is_resumed),
        cmocka_unit_test(that_it_refused_us_is_heard),
        cmocka_unit_test(what_came_before_the_end_is_read),
        cmocka_unit_test(every_refusal_has_a_name_and_a_sentence),
    };
    int failed = 0;

    failed += RUN_ROWS(flaw_rows, test_flaw_of_a_caller);
    failed += RUN_ROWS(flaw_rows, test_flaw_of_the_called);
    failed += RUN_ROWS(caller_rows, test_caller);
    failed += RUN_ROWS(first_rows, test_first);
    failed += RUN_ROWS(after_rows, test_after);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
