/*
 * How many DHT queries a node answers on one core, beside a process that only echoes and beside
 * rivals.
 *
 * All are pinned to one core and asked from another one with the same queries, in turns, so that
 * what else the machine does hits all alike. The echo is the machine's limit: recvmmsg, sendmmsg
 * and nothing between. put stores one of 256 items of 100 bytes with a token of that server's, get
 * asks for one of them; Littlebird answers these two with lb-transport and lb-storage together on
 * that core, and what both use is counted. Printed are replies a second, the CPU time of a million
 * replies (exact, from schedstat) and by it the share of the echo's capacity; medians of all
 * rounds. Of a server that limits how many queries it answers, only the CPU time says something: it
 * is asked in bursts that it takes.
 *
 * usage: bench-dht [--rounds N] [--ms N] [--address A] [--libtorrent COMMAND] [--transmission
 * COMMAND] COMMAND is run by the shell and serves DHT queries on $BENCH_ADDRESS, port $BENCH_PORT;
 * it may leave files in $BENCH_FOLDER.
 */
#include "libcommon/clock.h"
#include "tests/bench/dht_load.h"
#include "tests/bench/dht_servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX 99
#define START_MS   10000 /* a server has so long to give its first answer */

struct bench {
    struct servers servers;
    struct load load;
    struct load_result results[LOAD_METHODS][SERVERS][ROUNDS_MAX];
    unsigned rounds;
    uint64_t round_us;
};

static bool runs(const struct bench *self, enum server_kind kind, enum load_method method)
{
    const struct server *server = &self->servers.list[kind];

    return server->pids[0] != 0 && (server->methods >> method & 1);
}

/* ---- the servers made ready ---- */

static bool is_echo(enum server_kind kind)
{
    return kind == SERVER_ECHO || kind == SERVER_SIZED_ECHO;
}

/* Is this a whole answer? */
static bool is_answer(const struct krpc_message *reply, enum server_kind kind,
                      enum load_method method)
{
    if (reply->type != KRPC_REPLY)
        return false;
    if (method == LOAD_GET)
        return reply->value.size > 0;
    return kind != SERVER_LITTLEBIRD || method == LOAD_PING || method == LOAD_PUT ||
           reply->nodes.size == 8 * 26;
}

static void give_up(struct bench *self, enum server_kind kind, enum load_method method)
{
    fprintf(stderr, "bench-dht: %s does not answer %s\n", server_text(kind),
            load_method_text(method));
    servers_close(&self->servers);
    exit(1);
}

/* Ask until it answers as it should; the datagram that did lies in load.in[0]. */
static void await_answer(struct bench *self, enum server_kind kind, enum load_method method,
                         unsigned which, struct krpc_message *ret_reply)
{
    uint64_t until_us = clock_monotonic_us() + 1000 * START_MS;

    while (!load_ask(&self->load, method, which, ret_reply) ||
           !is_answer(ret_reply, kind, method)) {
        if (clock_monotonic_us() > until_us)
            give_up(self, kind, method);
    }
}

/* Tokens of this server's, by get: one that does not store gives none; libtorrent's are of one
 * item. */
static void await_tokens(struct bench *self, enum server_kind kind)
{
    uint64_t until_us = clock_monotonic_us() + 1000 * START_MS;
    struct krpc_message reply;

    for (unsigned i = 0; i < LOAD_ITEMS;) {
        if (load_ask(&self->load, LOAD_GET, i, &reply) && reply.token.size > 0)
            load_make_puts(&self->load, i++, reply.token);
        else if (clock_monotonic_us() > until_us)
            give_up(self, kind, LOAD_GET);
    }
}

static void aim(struct bench *self, enum server_kind kind)
{
    load_aim(&self->load, self->servers.address, self->servers.list[kind].port);
}

/* Wait until it answers, and look at one answer to each method; put all items. */
static void check_server(struct bench *self, enum server_kind kind)
{
    struct load *load = &self->load;
    struct krpc_message reply;

    aim(self, kind);
    if (runs(self, kind, LOAD_PUT)) {
        await_tokens(self, kind);
        for (unsigned i = 0; i < LOAD_ITEMS; i++)
            await_answer(self, kind, LOAD_PUT, i, &reply);
    }
    for (enum load_method method = 0; method < LOAD_METHODS; method++) {
        if (!runs(self, kind, method))
            continue;
        await_answer(self, kind, method, 0, &reply);
        if (kind == SERVER_LITTLEBIRD)
            self->servers.answer_sizes[load->sizes[method][0]] = reply.size;
    }
}

/* ---- measuring ---- */

static void pause_ms(unsigned ms)
{
    const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&pause, NULL);
}

static struct load_result measure(struct bench *self, enum server_kind kind,
                                  enum load_method method)
{
    const struct server *server = &self->servers.list[kind];
    uint64_t begin_cpu, replies, elapsed_us;
    double cpu_us;

    aim(self, kind);
    pause_ms(server->pause_ms);
    if (method == LOAD_PUT && !is_echo(kind)) { /* each server takes its own tokens only */
        await_tokens(self, kind);
        aim(self, kind);
    }
    begin_cpu = server_cpu_ns(server);
    replies = load_run(&self->load, method, self->round_us, server->most, &elapsed_us);
    cpu_us = (double)(server_cpu_ns(server) - begin_cpu) / 1e3;
    return (struct load_result){
        .per_second = (double)replies * 1e6 / (double)elapsed_us,
        .cpu_us = replies > 0 ? cpu_us / (double)replies : 0,
        .busy = cpu_us / (double)elapsed_us,
    };
}

static void run(struct bench *self)
{
    for (unsigned round = 0; round < self->rounds; round++) {
        for (enum load_method method = 0; method < LOAD_METHODS; method++) {
            for (enum server_kind kind = 0; kind < SERVERS; kind++) {
                if (runs(self, kind, method))
                    self->results[method][kind][round] = measure(self, kind, method);
            }
        }
    }
}

/* ---- the table ---- */

static int by_rate(const void *a, const void *b)
{
    const struct load_result *x = a, *y = b;

    return x->per_second < y->per_second ? -1 : x->per_second > y->per_second;
}

static int by_cpu(const void *a, const void *b)
{
    const struct load_result *x = a, *y = b;

    return x->cpu_us < y->cpu_us ? -1 : x->cpu_us > y->cpu_us;
}

static struct load_result median(struct load_result *results, unsigned count)
{
    struct load_result middle;

    qsort(results, count, sizeof(results[0]), by_rate);
    middle = results[count / 2];
    qsort(results, count, sizeof(results[0]), by_cpu);
    middle.cpu_us = results[count / 2].cpu_us;
    return middle;
}

static void print_row(const struct bench *self, enum load_method method, enum server_kind kind,
                      struct load_result result, double echo_us)
{
    printf("%-10s %-13s", load_method_text(method), server_text(kind));
    if (self->servers.list[kind].most > 0)
        printf(" %11s %9s", "limited", "");
    else
        printf(" %11.0f %8.0f%%", result.per_second, 100 * result.busy);
    printf(" %16.2f %17.2f\n", result.cpu_us, result.cpu_us > 0 ? echo_us / result.cpu_us : 0);
}

static void print_table(struct bench *self)
{
    printf("%-10s %-13s %11s %9s %16s %17s\n", "query", "server", "replies/s", "core busy",
           "CPU s of 10^6", "of the echo, CPU");
    for (enum load_method method = 0; method < LOAD_METHODS; method++) {
        double echo_us = 0;

        for (enum server_kind kind = 0; kind < SERVERS; kind++) {
            struct load_result result;

            if (!runs(self, kind, method))
                continue;
            result = median(self->results[method][kind], self->rounds);
            if (kind == SERVER_ECHO)
                echo_us = result.cpu_us;
            print_row(self, method, kind, result, echo_us);
        }
    }
}

int main(int argc, char **argv)
{
    static struct bench self = { .rounds = 5, .round_us = 500000 };
    const char *libtorrent = NULL, *transmission = NULL, *address = "127.0.0.1";

    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        unsigned long number = strtoul(value, NULL, 10);

        if (strcmp(argv[i], "--libtorrent") == 0 && *value) {
            libtorrent = value;
        } else if (strcmp(argv[i], "--transmission") == 0 && *value) {
            transmission = value;
        } else if (strcmp(argv[i], "--address") == 0 && *value) {
            address = value;
        } else if (strcmp(argv[i], "--rounds") == 0 && number >= 1 && number <= ROUNDS_MAX) {
            self.rounds = (unsigned)number;
        } else if (strcmp(argv[i], "--ms") == 0 && number >= 1 && number <= 60000) {
            self.round_us = 1000 * number;
        } else {
            fprintf(stderr, "usage: bench-dht [--rounds N] [--ms N] [--address A] "
                            "[--libtorrent COMMAND] [--transmission COMMAND]\n");
            return 2;
        }
    }
    load_open(&self.load, address);
    servers_open(&self.servers, address);
    servers_pin(0);
    servers_start_littlebird(&self.servers);
    check_server(&self, SERVER_LITTLEBIRD);
    servers_start_echo(&self.servers, SERVER_ECHO);
    servers_start_echo(&self.servers, SERVER_SIZED_ECHO);
    if (libtorrent) {
        servers_start_rival(&self.servers, SERVER_LIBTORRENT, libtorrent);
        check_server(&self, SERVER_LIBTORRENT);
    }
    if (transmission) {
        servers_start_rival(&self.servers, SERVER_TRANSMISSION, transmission);
        check_server(&self, SERVER_TRANSMISSION);
    }
    run(&self);
    print_table(&self);
    servers_close(&self.servers);
    return 0;
}
