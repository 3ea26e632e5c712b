/*
 * How many DHT queries a node answers by the number of its transport workers, beside as many
 * processes that only echo.
 *
 * The workers stand on one port, the kernel steers by source address (libcommon/listen.h), and the
 * load comes from one address for each worker, so that all have the same to do. Nobody is pinned:
 * the load, one process for each two cores, takes its part of them. So beside the replies a second
 * stands what the cores allow: as many as there is time for when a reply costs what it did cost,
 * worker and load together, and no core is idle. Medians of all rounds.
 *
 * usage: bench-dht-workers [--rounds N] [--ms N]
 */
#include "libcommon/address.h"
#include "libcommon/clock.h"
#include "libcommon/listen.h"
#include "libcommon/status_page.h"
#include "tests/bench/dht_load.h"
#include "tests/bench/dht_servers.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HERE       "127.0.0.1"
#define ROUNDS_MAX 99
#define START_MS   10000
#define POLL_MS    100 /* a load that hears nothing for so long has lost what was under way */

enum kind { ECHOES, LITTLEBIRD, KINDS };

static const char *const kind_texts[] = { [ECHOES] = "bare echo", [LITTLEBIRD] = "Littlebird" };
static const unsigned counts[] = { 1, 2, 4, 8, 16 };
static const enum load_method methods[] = { LOAD_PING, LOAD_FIND_NODE, LOAD_GET_PEERS };

/* Shared with the processes of the load. */
struct outcome {
    uint64_t replies, cpu_ns, elapsed_us;
};

struct bench {
    struct servers servers;
    unsigned cores, loads, rounds;
    uint64_t round_us;
    unsigned workers;
    pid_t pids[STATUS_INSTANCES_MAX], storage;
    uint16_t port;
    struct load *sources[STATUS_INSTANCES_MAX]; /* one for each worker */
    struct outcome *outcomes;                   /* of each load */
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- servers ---- */

static void set_active(const struct bench *self)
{
    char run[80];
    struct page page = { 0 };

    snprintf(run, sizeof(run), "%s/run", self->servers.folder);
    if (status_page_open(&page, run, true) != LB_OK)
        fail("bench-dht-workers: status.shm");
    status_page_set_active(&page, SERVICE_TRANSPORT, self->workers);
    page_close(&page);
}

/* The socket is handed over as a manager does: sd_listen_fds(3). */
static void run_service(const struct bench *self, const char *name, unsigned instance, int fd)
{
    char program[500], listen[64], number[16];

    servers_program(name, program, sizeof(program));
    snprintf(listen, sizeof(listen), "node.listen=" HERE ":%u", (unsigned)self->port);
    snprintf(number, sizeof(number), "%ld", (long)getpid());
    if (fd >= 0) {
        if (dup2(fd, 3) != 3 || fcntl(3, F_SETFD, 0) != 0)
            fail("bench-dht-workers: dup2");
        setenv("LISTEN_PID", number, 1);
        setenv("LISTEN_FDS", "1", 1);
        setenv("LISTEN_FDNAMES", LISTEN_UDP, 1);
    }
    snprintf(number, sizeof(number), "%u", instance);
    execl(program, program, "--dir", self->servers.folder, "--instance", number, "--set", listen,
          "--set", "node.log_level=error", (char *)NULL);
    fail(program);
}

static pid_t start(const struct bench *self, enum kind kind, unsigned worker, int fd)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("bench-dht-workers: fork");
    if (pid > 0)
        return pid;
    if (kind == LITTLEBIRD)
        run_service(self, "lb-transport", worker, fd);
    fcntl(fd, F_SETFL, 0);
    servers_echo(fd);
    return 0;
}

static void start_servers(struct bench *self, enum kind kind)
{
    struct address any = address_v4(127, 0, 0, 1, 0), bound;
    int fds[STATUS_INSTANCES_MAX];

    if (listen_udp(&any, self->workers, fds, &bound) != LB_OK)
        fail("bench-dht-workers: socket");
    self->port = bound.port;
    if (kind == LITTLEBIRD) {
        set_active(self);
        self->storage = fork();
        if (self->storage == 0)
            run_service(self, "lb-storage", 0, -1);
    }
    for (unsigned i = 0; i < self->workers; i++)
        self->pids[i] = start(self, kind, i, fds[i]);
    for (unsigned i = 0; i < self->workers; i++)
        close(fds[i]);
}

static void stop_servers(struct bench *self)
{
    for (unsigned i = 0; i < self->workers; i++) {
        kill(self->pids[i], SIGKILL);
        waitpid(self->pids[i], NULL, 0);
    }
    if (self->storage > 0) {
        kill(self->storage, SIGKILL);
        waitpid(self->storage, NULL, 0);
    }
    self->storage = 0;
}

/* ---- the load ---- */

/* A socket on an address of loopback that is steered to this worker. */
static struct load *open_source(const struct bench *self, unsigned worker)
{
    struct load *load = calloc(1, sizeof(*load));
    struct address address;
    char text[ADDRESS_TEXT_SIZE];
    uint8_t last = 1;

    if (!load)
        fail("bench-dht-workers: memory");
    do
        address = address_v4(127, 0, 1, last++, 1);
    while (address_worker(&address, self->workers) != worker);
    address_format(&address, text);
    *strchr(text, ':') = '\0';
    load_open(load, text);
    load_aim(load, HERE, self->port);
    return load;
}

static void await_answer(const struct bench *self, unsigned worker, enum kind kind,
                         enum load_method method)
{
    uint64_t until_us = clock_monotonic_us() + 1000 * START_MS;
    struct krpc_message reply;
    struct pollfd poll_fd = { .fd = self->sources[worker]->fd, .events = POLLIN };
    unsigned under_way = 0;

    if (kind == ECHOES) {
        do
            (void)load_step(self->sources[worker], method, &under_way);
        while (poll(&poll_fd, 1, POLL_MS) == 0 && clock_monotonic_us() < until_us);
        return;
    }
    while (!load_ask(self->sources[worker], method, 0, &reply) || reply.type != KRPC_REPLY ||
           (method != LOAD_PING && reply.nodes.size == 0)) {
        if (clock_monotonic_us() > until_us) {
            fprintf(stderr, "bench-dht-workers: worker %u does not answer %s\n", worker,
                    load_method_text(method));
            exit(1);
        }
    }
}

/* The sources of one process of the load: every `loads`-th. */
static void run_load(const struct bench *self, unsigned first, enum load_method method)
{
    struct outcome *outcome = &self->outcomes[first];
    unsigned under_way[STATUS_INSTANCES_MAX] = { 0 };
    struct pollfd polls[STATUS_INSTANCES_MAX];
    uint64_t begin_us = clock_monotonic_us(), now_us;
    nfds_t polled = 0;

    for (unsigned i = first; i < self->workers; i += self->loads)
        polls[polled++] = (struct pollfd){ .fd = self->sources[i]->fd, .events = POLLIN };
    do {
        unsigned replies = 0;

        for (unsigned i = first; i < self->workers; i += self->loads)
            replies += load_step(self->sources[i], method, &under_way[i]);
        if (replies == 0 && poll(polls, polled, POLL_MS) == 0)
            memset(under_way, 0, sizeof(under_way));
        outcome->replies += replies;
        now_us = clock_monotonic_us();
    } while (now_us - begin_us < self->round_us);
    outcome->elapsed_us = now_us - begin_us;
    outcome->cpu_ns = servers_process_cpu_ns(getpid());
}

struct result {
    double per_second, worker_us, load_us;
};

static uint64_t workers_cpu_ns(const struct bench *self)
{
    uint64_t sum = self->storage > 0 ? servers_process_cpu_ns(self->storage) : 0;

    for (unsigned i = 0; i < self->workers; i++)
        sum += servers_process_cpu_ns(self->pids[i]);
    return sum;
}

static struct result measure(const struct bench *self, enum load_method method)
{
    uint64_t begin_ns = workers_cpu_ns(self), worker_ns, replies = 0, load_ns = 0;
    pid_t pids[STATUS_INSTANCES_MAX];
    double per_second = 0;

    memset(self->outcomes, 0, self->loads * sizeof(*self->outcomes));
    for (unsigned i = 0; i < self->loads; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            run_load(self, i, method);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < self->loads; i++)
        waitpid(pids[i], NULL, 0);
    worker_ns = workers_cpu_ns(self) - begin_ns;
    for (unsigned i = 0; i < self->loads; i++) {
        const struct outcome *outcome = &self->outcomes[i];

        replies += outcome->replies;
        load_ns += outcome->cpu_ns;
        if (outcome->elapsed_us > 0)
            per_second += (double)outcome->replies * 1e6 / (double)outcome->elapsed_us;
    }
    if (replies == 0)
        return (struct result){ 0 };
    return (struct result){ .per_second = per_second,
                            .worker_us = (double)worker_ns / 1e3 / (double)replies,
                            .load_us = (double)load_ns / 1e3 / (double)replies };
}

/* ---- the table ---- */

#define METHODS (sizeof(methods) / sizeof(methods[0]))

static int by_rate(const void *a, const void *b)
{
    const struct result *x = a, *y = b;

    return x->per_second < y->per_second ? -1 : x->per_second > y->per_second;
}

static struct result median(struct result *results, unsigned count)
{
    qsort(results, count, sizeof(results[0]), by_rate);
    return results[count / 2];
}

static void open_sources(struct bench *self, enum kind kind)
{
    for (unsigned i = 0; i < self->workers; i++) {
        self->sources[i] = open_source(self, i);
        for (unsigned m = 0; m < METHODS; m++)
            await_answer(self, i, kind, methods[m]);
    }
}

static void close_sources(struct bench *self)
{
    for (unsigned i = 0; i < self->workers; i++) {
        close(self->sources[i]->fd);
        free(self->sources[i]);
    }
}

static void run_kind(struct bench *self, enum kind kind, struct result ret_medians[METHODS])
{
    static struct result results[METHODS][ROUNDS_MAX];

    start_servers(self, kind);
    open_sources(self, kind);
    for (unsigned round = 0; round < self->rounds; round++) {
        for (unsigned m = 0; m < METHODS; m++)
            results[m][round] = measure(self, methods[m]);
    }
    close_sources(self);
    stop_servers(self);
    for (unsigned m = 0; m < METHODS; m++)
        ret_medians[m] = median(results[m], self->rounds);
}

static void print_row(const struct bench *self, enum kind kind, enum load_method method,
                      const struct result *result, const struct result *one)
{
    double reply_us = result->worker_us + result->load_us;
    double allowed = reply_us > 0 ? self->cores * 1e6 / reply_us : 0;

    printf("%-10s %-11s %7u %10.0f %9.2f %14.0f %11.2f %9.2f\n", load_method_text(method),
           kind_texts[kind], self->workers, result->per_second,
           one->per_second > 0 ? result->per_second / one->per_second : 0, allowed,
           result->worker_us, result->load_us);
}

static void run(struct bench *self)
{
    struct result one[KINDS][METHODS];

    printf("%u cores, of which the load takes its part\n", self->cores);
    printf("%-10s %-11s %7s %10s %9s %14s %11s %9s\n", "query", "server", "workers", "replies/s",
           "x one", "cores allow", "us a reply", "its load");
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]) && counts[c] <= 2 * self->cores;
         c++) {
        struct result medians[KINDS][METHODS];

        self->workers = counts[c];
        for (enum kind kind = 0; kind < KINDS; kind++)
            run_kind(self, kind, medians[kind]);
        if (c == 0)
            memcpy(one, medians, sizeof(one));
        for (unsigned m = 0; m < METHODS; m++) {
            for (enum kind kind = 0; kind < KINDS; kind++)
                print_row(self, kind, methods[m], &medians[kind][m], &one[kind][m]);
        }
    }
}

int main(int argc, char **argv)
{
    static struct bench self = { .rounds = 5, .round_us = 500000 };
    cpu_set_t cores;

    for (int i = 1; i < argc; i += 2) {
        unsigned long number = strtoul(i + 1 < argc ? argv[i + 1] : "", NULL, 10);

        if (strcmp(argv[i], "--rounds") == 0 && number >= 1 && number <= ROUNDS_MAX) {
            self.rounds = (unsigned)number;
        } else if (strcmp(argv[i], "--ms") == 0 && number >= 1 && number <= 60000) {
            self.round_us = 1000 * number;
        } else {
            fprintf(stderr, "usage: bench-dht-workers [--rounds N] [--ms N]\n");
            return 2;
        }
    }
    self.cores = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? (unsigned)CPU_COUNT(&cores) : 1;
    self.loads = self.cores > 2 ? self.cores / 2 : 1;
    if (self.loads > STATUS_INSTANCES_MAX)
        self.loads = STATUS_INSTANCES_MAX;
    self.outcomes = mmap(NULL, self.loads * sizeof(*self.outcomes), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.outcomes == MAP_FAILED)
        fail("bench-dht-workers: memory");
    servers_open(&self.servers, HERE);
    run(&self);
    servers_close(&self.servers);
    return 0;
}
