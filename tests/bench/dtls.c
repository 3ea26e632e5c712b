/*
 * What DTLS costs: find_node over an established session beside plain, handshakes, and the memory
 * of sessions that are held. usage: tests/bench/dtls --help
 */
#include "libcommon/clock.h"
#include "services/transport/dtls_inside.h"
#include "tests/bench/dht_servers.h"
#include "tests/bench/dtls_ends.h"
#include "tests/libcommon/pki_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS_MAX 100
#define HANDSHAKES 1000
#define SESSIONS   1000
#define WAIT_US    10000000u

struct figures {
    double per_second, cpu_us, busy;
};

struct bench {
    struct pki_network network;
    struct pki_member member, other; /* the server and who asks it */
    struct membership *server, *client;
    struct servers plain, dtls;
    struct load load;
    struct dtls *session;
    struct secrets secrets;
    struct address to;
    uint8_t out[LOAD_BATCH][LOAD_QUERY_SIZE + DTLS_RECORD_OVERHEAD + DTLS_MTU];
    unsigned out_count;
    unsigned rounds;
    uint64_t round_us;
    struct figures results[2][ROUNDS_MAX]; /* plain, DTLS */
};

/* ---- the side that asks ---- */

static void flush(struct bench *self)
{
    if (self->out_count > 0)
        (void)sendmmsg(self->load.fd, self->load.out_messages, self->out_count, 0);
    self->out_count = 0;
}

static void on_send(void *ctx, const struct address *to, const struct datagram_local *local,
                    struct bytes datagram)
{
    struct bench *self = ctx;

    (void)to;
    (void)local;
    if (self->out_count == LOAD_BATCH)
        flush(self);
    memcpy(self->out[self->out_count], datagram.data, datagram.size);
    self->load.out_parts[self->out_count] =
        (struct iovec){ self->out[self->out_count], datagram.size };
    self->out_count++;
}

static void on_opened(void *ctx, const struct address *peer)
{
    (void)ctx;
    (void)peer;
}

/* Returns how many payloads came. */
static unsigned receive(struct bench *self)
{
    static const struct datagram_local unknown;
    int count = recvmmsg(self->load.fd, self->load.in_messages, LOAD_BATCH, MSG_DONTWAIT, NULL);
    unsigned payloads = 0;

    for (int i = 0; i < count; i++) {
        const struct dtls_datagram datagram = {
            &self->to, &unknown, bytes_of(self->load.in[i], self->load.in_messages[i].msg_len)
        };
        uint8_t payload[KRPC_RECEIVE_MAX];
        struct node_id node;

        payloads += dtls_input(self->session, &datagram, clock_monotonic_us(), payload,
                               sizeof(payload), &node) > 0;
    }
    flush(self);
    return payloads;
}

static void open_session(struct bench *self, const char *address, uint16_t port)
{
    const struct dtls_settings settings = {
        .membership = self->client,
        .secrets = &self->secrets,
        .world = { .ctx = self, .send = on_send, .opened = on_opened },
        .limits = DTLS_LIMITS_DEFAULT,
        .now_s = clock_wall_s(),
    };
    uint64_t until_us = clock_monotonic_us() + WAIT_US;
    char text[64];

    snprintf(text, sizeof(text), "%s:%u", address, (unsigned)port);
    if (address_parse(text, &self->to) != LB_OK)
        exit(2);
    self->session = dtls_new(&settings);
    load_aim(&self->load, address, port);
    while (dtls_reach(self->session, &self->to, NULL, clock_monotonic_us()) != DTLS_OPEN) {
        if (clock_monotonic_us() > until_us) {
            fprintf(stderr, "bench-dtls: no session with lb-transport\n");
            exit(1);
        }
        dtls_next(self->session, clock_monotonic_us());
        flush(self);
        (void)receive(self);
    }
}

/* ---- find_node ---- */

/* As load_run(), inside the session. */
static uint64_t run_inside(struct bench *self, uint64_t *ret_elapsed_us)
{
    uint64_t begin_us = clock_monotonic_us(), now_us = begin_us, heard_us = begin_us, replies = 0;
    unsigned under_way = 0;

    while (now_us - begin_us < self->round_us) {
        unsigned count;

        for (; under_way < LOAD_WINDOW; under_way++, self->load.next++) {
            unsigned which = self->load.next % LOAD_QUERIES;

            (void)dtls_send(self->session, &self->to, NULL,
                            bytes_of(self->load.queries[LOAD_FIND_NODE][which],
                                     self->load.sizes[LOAD_FIND_NODE][which]),
                            now_us);
        }
        flush(self);
        count = receive(self);
        now_us = clock_monotonic_us();
        heard_us = count > 0 ? now_us : heard_us;
        replies += count;
        under_way -= count < under_way ? count : under_way;
        if (now_us - heard_us > 100000)
            under_way = 0; /* lost */
    }
    *ret_elapsed_us = now_us - begin_us;
    return replies;
}

static struct figures measure(struct bench *self, bool inside)
{
    struct servers *servers = inside ? &self->dtls : &self->plain;
    const struct server *server = &servers->list[SERVER_LITTLEBIRD];
    uint64_t begin_cpu = server_cpu_ns(server), elapsed_us, replies;
    double cpu_us;

    load_aim(&self->load, servers->address, server->port);
    replies = inside ? run_inside(self, &elapsed_us)
                     : load_run(&self->load, LOAD_FIND_NODE, self->round_us, 0, &elapsed_us);
    cpu_us = (double)(server_cpu_ns(server) - begin_cpu) / 1e3;
    return (struct figures){ (double)replies * 1e6 / (double)elapsed_us,
                             replies > 0 ? cpu_us / (double)replies : 0,
                             cpu_us / (double)elapsed_us };
}

static int by_rate(const void *a, const void *b)
{
    const struct figures *x = a, *y = b;

    return x->per_second < y->per_second ? -1 : x->per_second > y->per_second;
}

static void bench_queries(struct bench *self)
{
    static const char *const names[] = { "plain", "inside DTLS" };
    struct figures medians[2];

    for (unsigned round = 0; round < self->rounds; round++) {
        for (unsigned i = 0; i < 2; i++)
            self->results[i][round] = measure(self, i == 1);
    }
    printf("%-12s %11s %10s %16s\n", "find_node", "replies/s", "core busy", "CPU s of 10^6");
    for (unsigned i = 0; i < 2; i++) {
        qsort(self->results[i], self->rounds, sizeof(self->results[i][0]), by_rate);
        medians[i] = self->results[i][self->rounds / 2];
        printf("%-12s %11.0f %9.0f%% %16.2f\n", names[i], medians[i].per_second,
               100 * medians[i].busy, medians[i].cpu_us);
    }
    printf("inside DTLS: %.2f of the replies/s of plain\n\n",
           medians[1].per_second / medians[0].per_second);
}

/* ---- handshakes ---- */

static void print_handshakes(const char *what, const struct ends *ends)
{
    double server_us = (double)ends->server.cpu_ns / 1e3 / HANDSHAKES;
    double client_us = (double)ends->client.cpu_ns / 1e3 / HANDSHAKES;

    printf("%-12s %14.0f %14.0f %12.0f %12.0f\n", what, 1e6 / server_us, 1e6 / client_us, server_us,
           client_us);
}

static void bench_handshakes(struct bench *self)
{
    static struct ends ends;

    printf("%-12s %14s %14s %12s %12s\n", "handshakes", "answered/s", "opened/s", "server us",
           "client us");
    ends_open(&ends, self->client, self->server);
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        dtls_tickets_forget(ends.client.dtls, &ends.server.address);
        ends_shake_hands(&ends);
        ends_forget(&ends);
    }
    print_handshakes("full", &ends);
    ends_shake_hands(&ends);
    ends_forget(&ends);
    ends.client.cpu_ns = ends.server.cpu_ns = 0;
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        ends_shake_hands(&ends);
        ends_forget(&ends);
    }
    if (dtls_counters(ends.server.dtls)[DTLS_COUNT_RESUMED] < HANDSHAKES)
        printf("not all were resumed\n");
    print_handshakes("resumed", &ends);
    printf("on one core each; a worker takes %u a second\n\n",
           ((struct dtls_limits)DTLS_LIMITS_DEFAULT).handshakes_s_max);
    ends_close(&ends);
}

/* ---- memory ---- */

static void bench_memory(struct bench *self)
{
    static struct ends ends;
    struct pki_member members[SESSIONS / DTLS_NODE_SESSIONS_MAX];

    ends_open(&ends, self->client, self->server);
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct pki_member *member = &members[i / DTLS_NODE_SESSIONS_MAX];
        const struct address at =
            address_v4(10, 1, (uint8_t)(i >> 8), (uint8_t)i, (uint16_t)(1000 + i));
        struct membership *membership;

        if (i % DTLS_NODE_SESSIONS_MAX == 0)
            pki_member_make(&self->network, 100 + i, CERTIFICATE_MEMBER, PKI_SOUND, member);
        membership = pki_membership(&self->network, member);
        ends_another_client(&ends, membership, &at);
        ends_shake_hands(&ends);
        dtls_free(&ends.client.dtls);
        membership_free(&membership);
        if (i % DTLS_NODE_SESSIONS_MAX == DTLS_NODE_SESSIONS_MAX - 1)
            pki_member_done(member);
    }
    printf("memory: %llu sessions held, %.1f kB of heap each at the server\n",
           (unsigned long long)dtls_counters(ends.server.dtls)[DTLS_COUNT_SESSIONS],
           (double)ends.server.heap_bytes / 1000 / SESSIONS);
    ends_close(&ends);
}

/* ---- the whole ---- */

static void join(struct bench *self)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/data", self->dtls.folder);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/data/identity", self->dtls.folder);
    pki_write_identity(&self->member, path);
    snprintf(path, sizeof(path), "%s/data/member", self->dtls.folder);
    if (mkdir(path, 0700) != 0) {
        perror("bench-dtls: member folder");
        exit(1);
    }
    pki_write_folder(&self->network, &self->member, path);
}

static void open_all(struct bench *self)
{
    const char *address = "127.0.0.1";

    pki_network_make(&self->network, "bench", clock_wall_s());
    pki_member_make(&self->network, 1, CERTIFICATE_MEMBER, PKI_SOUND, &self->member);
    pki_member_make(&self->network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &self->other);
    self->server = pki_membership(&self->network, &self->member);
    self->client = pki_membership(&self->network, &self->other);
    clock_entropy_bytes(&self->secrets, sizeof(self->secrets));
    load_open_as(&self->load, address, &self->other.identity.node);
    servers_open(&self->plain, address);
    servers_open(&self->dtls, address);
    join(self);
    servers_pin(0);
    servers_start_littlebird(&self->plain);
    servers_start_littlebird(&self->dtls);
    open_session(self, address, self->dtls.list[SERVER_LITTLEBIRD].port);
}

static void close_all(struct bench *self)
{
    dtls_free(&self->session);
    servers_close(&self->plain);
    servers_close(&self->dtls);
    membership_free(&self->server);
    membership_free(&self->client);
    pki_member_done(&self->member);
    pki_member_done(&self->other);
    pki_network_done(&self->network);
}

int main(int argc, char **argv)
{
    static struct bench self = { .rounds = 5, .round_us = 500000 };

    for (int i = 1; i < argc; i += 2) {
        unsigned long number = strtoul(i + 1 < argc ? argv[i + 1] : "", NULL, 10);

        if (strcmp(argv[i], "--rounds") == 0 && number >= 1 && number <= ROUNDS_MAX) {
            self.rounds = (unsigned)number;
        } else if (strcmp(argv[i], "--ms") == 0 && number >= 1 && number <= 60000) {
            self.round_us = 1000 * number;
        } else {
            fprintf(stderr, "usage: bench-dtls [--rounds N] [--ms N]\n");
            return 2;
        }
    }
    open_all(&self);
    bench_queries(&self);
    bench_handshakes(&self);
    bench_memory(&self);
    close_all(&self);
    return 0;
}
