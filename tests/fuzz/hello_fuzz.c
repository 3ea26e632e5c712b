/*
 * What stands before a DTLS session: of whatever kind a datagram is taken for, what is read of it
 * lies inside of it, nobody is let in without the cookie that was given to it, and the answer is
 * never longer than what it answers.
 */
#include "services/transport/hello.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS 1000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lies_inside(struct bytes part, struct bytes whole)
{
    assert(part.size == 0 ||
           (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

static void is_let_in_by_its_cookie_only(const struct hello *hello, struct bytes datagram)
{
    const struct hello_key key = { { 1, 2, 3 } };
    const struct address from = address_v4(10, 0, 0, 1, 6881);
    uint8_t request[HELLO_VERIFY_SIZE];
    struct hello again = *hello;

    assert(!hello_is_proved(hello, &key, &from, NOW_MS)); /* nobody guesses 32 bytes */
    hello_verify_request(hello, &key, &from, NOW_MS, request);
    assert(sizeof(request) <= datagram.size);
    assert(record_kind(bytes_of(request, sizeof(request))) == RECORD_HANDSHAKE);
    again.cookie = bytes_of(request + sizeof(request) - HELLO_COOKIE_SIZE, HELLO_COOKIE_SIZE);
    assert(hello_is_proved(&again, &key, &from, NOW_MS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(1, size > 0 ? size : 1); /* so that its end is an end */
    struct bytes datagram = bytes_of(copy, size);
    struct hello hello;

    assert(copy);
    if (size > 0)
        memcpy(copy, data, size);
    (void)record_is_handshake(datagram);
    if (record_kind(datagram) == RECORD_HELLO && hello_read(datagram, &hello) == LB_OK) {
        assert(hello.random.size == HELLO_RANDOM_SIZE);
        lies_inside(hello.random, datagram);
        lies_inside(hello.session, datagram);
        lies_inside(hello.cookie, datagram);
        lies_inside(hello.ciphers, datagram);
        lies_inside(hello.compressions, datagram);
        is_let_in_by_its_cookie_only(&hello, datagram);
    }
    free(copy);
    return 0;
}
