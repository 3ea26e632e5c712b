#include "services/transport/hello.h"

#include <sodium/crypto_auth_hmacsha256.h>
#include <sodium/utils.h>
#include <string.h>

#define DTLS_MAJOR      0xfe /* versions count down: 1.0 is 0xfeff, 1.2 is 0xfefd */
#define DTLS_1_0        0xfeff
#define DTLS_1_2        0xfefd
#define TYPE_CIPHER     20 /* ChangeCipherSpec */
#define TYPE_ALERT      21
#define TYPE_HANDSHAKE  22
#define TYPE_DATA       23
#define CLIENT_HELLO    1
#define VERIFY_REQUEST  3
#define HANDSHAKE_SIZE  12u /* its header: RFC 6347, 4.2.2 */
#define EPOCH_OFFSET    3u
#define SEQUENCE_OFFSET 5u
#define LENGTH_OFFSET   11u
#define SESSION_MAX     32u
#define PROTECTED_MIN   24u /* AES-GCM: 8 bytes of the nonce, 16 of the tag */

_Static_assert(HELLO_COOKIE_SIZE == crypto_auth_hmacsha256_BYTES, "a cookie is one HMAC");
_Static_assert(HELLO_KEY_SIZE == crypto_auth_hmacsha256_KEYBYTES, "under a key of its size");
_Static_assert(HELLO_VERIFY_SIZE == RECORD_HEADER_SIZE + HANDSHAKE_SIZE + 3 + HELLO_COOKIE_SIZE,
               "the whole HelloVerifyRequest");

static bool is_record(struct bytes datagram)
{
    return datagram.size > RECORD_HEADER_SIZE && datagram.data[0] >= TYPE_CIPHER &&
           datagram.data[0] <= TYPE_DATA && datagram.data[1] == DTLS_MAJOR &&
           load_u16(datagram.data + LENGTH_OFFSET) <= datagram.size - RECORD_HEADER_SIZE;
}

/*
 * All that are encrypted are long enough to be so. OpenSSL before 3.0.22-1~deb12u1 ends a session
 * at a shorter one, which anybody can forge (CVE-2026-75806): it never sees one.
 */
static bool are_long_enough(struct bytes datagram)
{
    while (is_record(datagram)) {
        size_t size = load_u16(datagram.data + LENGTH_OFFSET);

        if (load_u16(datagram.data + EPOCH_OFFSET) > 0 && size < PROTECTED_MIN)
            return false;
        datagram.data += RECORD_HEADER_SIZE + size;
        datagram.size -= RECORD_HEADER_SIZE + size;
    }
    return true;
}

enum record_kind record_kind(struct bytes datagram)
{
    if (!is_record(datagram) || !are_long_enough(datagram))
        return datagram.size > 0 && datagram.data[0] == 'd' ? RECORD_KRPC : RECORD_NONE;
    if (load_u16(datagram.data + EPOCH_OFFSET) > 0)
        return RECORD_PROTECTED;
    switch (datagram.data[0]) {
    case TYPE_HANDSHAKE:
        return datagram.data[RECORD_HEADER_SIZE] == CLIENT_HELLO ? RECORD_HELLO : RECORD_HANDSHAKE;
    case TYPE_CIPHER:
        return RECORD_HANDSHAKE;
    case TYPE_ALERT:
        return RECORD_CLEAR_ALERT;
    default:
        return RECORD_NONE; /* data that nobody has encrypted */
    }
}

bool record_is_handshake(struct bytes datagram)
{
    return is_record(datagram) && datagram.data[0] == TYPE_HANDSHAKE;
}

/* ---- reading ---- */

/* What is left; once something was not there, all that follows is empty. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static struct bytes take(struct reader *self, size_t size)
{
    const uint8_t *at = self->at;

    self->failed |= size > self->left;
    if (self->failed)
        return bytes_of(NULL, 0);
    self->at += size;
    self->left -= size;
    return bytes_of(at, size);
}

static uint32_t take_number(struct reader *self, size_t size)
{
    struct bytes bytes = take(self, size);
    uint32_t number = 0;

    for (size_t i = 0; i < bytes.size; i++)
        number = number << 8 | bytes.data[i];
    return number;
}

/* Bytes behind their number, which is written in size bytes. */
static struct bytes take_vector(struct reader *self, size_t size)
{
    return take(self, take_number(self, size));
}

lb_err hello_read(struct bytes datagram, struct hello *ret_self)
{
    struct reader reader = { .at = datagram.data + RECORD_HEADER_SIZE };
    struct hello self = { .sequence = datagram.data + SEQUENCE_OFFSET };
    uint32_t size, offset, fragment;

    if (record_kind(datagram) != RECORD_HELLO || datagram.size < HELLO_VERIFY_SIZE)
        return LB_INVALID;
    reader.left = load_u16(datagram.data + LENGTH_OFFSET);
    (void)take_number(&reader, 1); /* a ClientHello */
    size = take_number(&reader, 3);
    (void)take_number(&reader, 2); /* which message of the handshake it is */
    offset = take_number(&reader, 3);
    fragment = take_number(&reader, 3);
    if (reader.failed || offset != 0 || fragment != size || size != reader.left)
        return LB_INVALID;
    self.is_old = take_number(&reader, 2) > DTLS_1_2;
    self.random = take(&reader, HELLO_RANDOM_SIZE);
    self.session = take_vector(&reader, 1);
    self.cookie = take_vector(&reader, 1);
    self.ciphers = take_vector(&reader, 2);
    self.compressions = take_vector(&reader, 1);
    if (reader.failed || self.session.size > SESSION_MAX)
        return LB_INVALID;
    *ret_self = self;
    return LB_OK;
}

/* ---- the cookie ---- */

static void add(crypto_auth_hmacsha256_state *state, struct bytes part)
{
    uint8_t size[2];

    store_u16(size, (uint16_t)part.size);
    crypto_auth_hmacsha256_update(state, size, sizeof(size));
    crypto_auth_hmacsha256_update(state, part.data, part.size);
}

/* RFC 6347, 4.2.1: what must be the same in both hellos. */
static void make_cookie(const struct hello *self, const struct hello_key *key,
                        const struct address *from, uint64_t period,
                        uint8_t ret_cookie[HELLO_COOKIE_SIZE])
{
    crypto_auth_hmacsha256_state state;
    uint8_t head[sizeof(from->ip) + 2 + 8];

    memcpy(head, from->ip, sizeof(from->ip));
    store_u16(head + sizeof(from->ip), from->port);
    store_u64(head + sizeof(from->ip) + 2, period);
    crypto_auth_hmacsha256_init(&state, key->bytes, sizeof(key->bytes));
    crypto_auth_hmacsha256_update(&state, head, sizeof(head));
    add(&state, self->random);
    add(&state, self->session);
    add(&state, self->ciphers);
    add(&state, self->compressions);
    crypto_auth_hmacsha256_final(&state, ret_cookie);
}

bool hello_is_proved(const struct hello *self, const struct hello_key *key,
                     const struct address *from, uint64_t now_ms)
{
    uint64_t period = now_ms / HELLO_PERIOD_MS;
    uint8_t now[HELLO_COOKIE_SIZE], before[HELLO_COOKIE_SIZE];
    int same_now, same_before;

    if (self->cookie.size != HELLO_COOKIE_SIZE)
        return false;
    make_cookie(self, key, from, period, now);
    make_cookie(self, key, from, period - 1, before);
    same_now = sodium_memcmp(self->cookie.data, now, HELLO_COOKIE_SIZE);
    same_before = sodium_memcmp(self->cookie.data, before, HELLO_COOKIE_SIZE);
    return same_now == 0 || same_before == 0;
}

void hello_verify_request(const struct hello *self, const struct hello_key *key,
                          const struct address *from, uint64_t now_ms,
                          uint8_t ret_datagram[HELLO_VERIFY_SIZE])
{
    const uint8_t size = 3 + HELLO_COOKIE_SIZE;
    uint8_t cookie[HELLO_COOKIE_SIZE];
    struct writer to;

    make_cookie(self, key, from, now_ms / HELLO_PERIOD_MS, cookie);
    writer_init(&to, ret_datagram, HELLO_VERIFY_SIZE);
    writer_u8(&to, TYPE_HANDSHAKE);
    writer_u16(&to, DTLS_1_0); /* whatever is spoken afterwards */
    writer_u16(&to, 0);        /* the epoch; the number of the record is that of the hello's */
    writer_put(&to, self->sequence, 6);
    writer_u16(&to, HANDSHAKE_SIZE + size);
    writer_u8(&to, VERIFY_REQUEST);
    writer_put(&to, (const uint8_t[]){ 0, 0, size, 0, 0, 0, 0, 0, 0, 0, size }, 11);
    writer_u16(&to, DTLS_1_0);
    writer_u8(&to, HELLO_COOKIE_SIZE);
    writer_put(&to, cookie, sizeof(cookie));
}
