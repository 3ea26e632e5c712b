/*
 * All addresses of a name are tried, one after the other. The resolver is this file's: a row draws
 * what it finds, a letter each: r refused, n nothing of the kind here (no IPv6), o somebody
 * listens.
 */
#include "services/coordinator/secure.h"
#include "tests/libcommon/cmocka_row.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static struct addrinfo found[4];
static struct sockaddr_storage addresses[4];

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **ret_found)
{
    (void)host;
    (void)port;
    (void)hints;
    *ret_found = &found[0];
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    (void)list;
}

struct world {
    uv_loop_t loop;
    uv_tcp_t listener;
    struct secure *secure;
    unsigned accepted, ended;
};

static void on_accept(uv_stream_t *listener, int status)
{
    struct world *world = listener->data;

    assert_int_equal(status, 0);
    world->accepted++;
    secure_close(&world->secure);
    uv_close((uv_handle_t *)listener, NULL);
}

static void on_end(void *ctx, struct secure *secure, const char *why)
{
    struct world *world = ctx;

    (void)secure;
    assert_non_null(why);
    world->ended++;
    secure_close(&world->secure);
    uv_close((uv_handle_t *)&world->listener, NULL);
}

static void unused(void *ctx, struct secure *secure)
{
    (void)ctx;
    (void)secure;
}

static const struct secure_events events = { .on_open = unused, .on_end = on_end };

static void draw(const char *letters, const struct sockaddr_in *open)
{
    for (size_t i = 0; letters[i] != '\0'; i++) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&addresses[i];

        memset(&addresses[i], 0, sizeof addresses[i]);
        *v4 = *open;
        if (letters[i] == 'r') {
            v4->sin_port = htons(1); /* tcpmux: nobody */
        } else if (letters[i] == 'n') {
            struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&addresses[i];

            *v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(1) };
            assert_int_equal(inet_pton(AF_INET6, "ff02::1", &v6->sin6_addr), 1); /* no TCP there */
        }
        found[i] = (struct addrinfo){ .ai_family = addresses[i].ss_family,
                                      .ai_socktype = SOCK_STREAM,
                                      .ai_addr = (struct sockaddr *)&addresses[i],
                                      .ai_next = letters[i + 1] != '\0' ? &found[i + 1] : NULL };
    }
}

static const struct row {
    const char *what, *letters;
    bool reached;
} rows[] = {
    { "the only one", "o", true },
    { "the second, when the first is refused", "ro", true },
    { "the second, when there is no way to the first", "no", true },
    { "the last of many", "nrno", true },
    { "not the second, when the first is there", "or", true },
    { "none, when all are refused", "rnr", false },
    { "none, when the last has no way", "rn", false },
};

static void test_row(void **state)
{
    const struct row *row = *state;
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    struct world world = { .accepted = 0 };
    struct sockaddr_in any, bound;
    int size = sizeof bound;

    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &any), 0);
    assert_int_equal(uv_tcp_init(&world.loop, &world.listener), 0);
    world.listener.data = &world;
    assert_int_equal(uv_tcp_bind(&world.listener, (struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&world.listener, 1, on_accept), 0);
    assert_int_equal(uv_tcp_getsockname(&world.listener, (struct sockaddr *)&bound, &size), 0);
    draw(row->letters, &bound);
    world.secure = secure_connect(&world.loop, "coordinator.example:6891", context,
                                  SECURE_ALPN_JOIN, &events, &world);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.accepted, row->reached);
    assert_int_equal(world.ended, !row->reached);
    assert_int_equal(uv_loop_close(&world.loop), 0); /* nothing was left */
    SSL_CTX_free(context);
}

int main(void)
{
    return RUN_ROWS(rows, test_row);
}
