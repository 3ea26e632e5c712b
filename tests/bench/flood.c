/*
 * What a flood leaves to others: one transport worker, asked by a flooder as fast as it can send
 * and by an honest client at a modest rate, once with the worker shaping what it hears (overload.h)
 * and once without.
 *
 * All on loopback: the worker on 127.0.0.1, the flooder's two processes on 127.0.0.2, one on each
 * core, the client on 127.0.0.3. Sharing its core, the worker answers a tenth of what the flooder
 * sends or less; --nice makes it even less. The client asks 100 times a second and repeats what is
 * not answered in 500 ms once. Without: its socket is handed over with its filter locked, so that
 * the worker cannot attach one. The queries are find_node, or with --get those of values that
 * lb-storage has; then an answer is one with the value.
 *
 * usage: bench-flood [--seconds N] [--nice N] [--get]
 */
#include "libcommon/clock.h"
#include "libcommon/listen.h"
#include "libcommon/status_page.h"
#include "tests/bench/dht_load.h"
#include "tests/bench/dht_servers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKER      "127.0.0.1"
#define FLOODER     "127.0.0.2"
#define CLIENT      "127.0.0.3"
#define FLOODERS    2
#define QUERIES_MAX 100000u
#define PACE_US     10000u
#define TIMEOUT_US  500000u
#define TRIES       2
#define SETTLE_US   1000000u
#define START_MS    5000

struct bench {
    struct servers servers;
    struct load load; /* the queries, and the flooder's way to send them */
    struct page status;
    _Atomic uint64_t *sent; /* by the flooders */
    pid_t worker, storage, flooders[FLOODERS];
    uint16_t port;
    unsigned seconds;
    int nice;
    enum load_method method;
};

/* Of the client. */
struct outcome {
    unsigned asked, at_once, answered; /* at the first try; at either */
    double sent_per_s, answered_per_s; /* by the flooder; by the worker, anybody's */
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- the worker ---- */

static void run_service(struct bench *self, const char *name)
{
    char program[500], self_path[400];
    ssize_t length = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);

    self_path[length > 0 ? length : 0] = '\0';
    *strrchr(self_path, '/') = '\0';
    snprintf(program, sizeof(program), "%s/%s", self_path, name);
    servers_pin(1);
    (void)setpriority(PRIO_PROCESS, 0, self->nice);
    execl(program, program, "--dir", self->servers.folder, "--set", "node.log_level=error",
          (char *)NULL);
    fail(program);
}

static void start_storage(struct bench *self)
{
    self->storage = fork();
    if (self->storage < 0)
        fail("bench-flood: fork");
    if (self->storage == 0)
        run_service(self, "lb-storage");
}

static void start_worker(struct bench *self, bool locked)
{
    const struct address where = address_v4(127, 0, 0, 1, 0);
    struct address bound;
    char pid_text[32];
    int fd, on = 1;

    if (listen_udp(&where, 1, &fd, &bound) != LB_OK)
        fail("bench-flood: socket");
    if (locked && setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) != 0)
        fail("bench-flood: SO_LOCK_FILTER");
    self->port = bound.port;
    self->worker = fork();
    if (self->worker < 0)
        fail("bench-flood: fork");
    if (self->worker > 0) {
        close(fd);
        return;
    }
    snprintf(pid_text, sizeof(pid_text), "%ld", (long)getpid());
    setenv("LISTEN_PID", pid_text, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", LISTEN_UDP, 1);
    if (fd != 3 && dup2(fd, 3) != 3)
        fail("bench-flood: dup2");
    run_service(self, "lb-transport");
}

static void end(pid_t *pid, int number)
{
    if (*pid > 0 && kill(*pid, number) == 0)
        waitpid(*pid, NULL, 0);
    *pid = 0;
}

static void give_up(struct bench *self)
{
    fprintf(stderr, "bench-flood: lb-transport does not answer\n");
    end(&self->worker, SIGTERM);
    end(&self->storage, SIGTERM);
    servers_close(&self->servers);
    exit(1);
}

/* Until it answers; with storage, until that holds the items. */
static void await_worker(struct bench *self)
{
    uint64_t until_us = clock_monotonic_us() + 1000 * START_MS;
    bool stores = self->method == LOAD_GET;
    struct krpc_message reply;

    load_aim(&self->load, WORKER, self->port);
    for (unsigned i = 0; i < (stores ? LOAD_ITEMS : 1);) {
        bool answered = load_ask(&self->load, self->method, i, &reply);

        if (answered && (!stores || reply.value.size > 0)) {
            i++;
        } else if (answered && reply.token.size > 0) {
            load_make_puts(&self->load, i, reply.token);
            (void)load_ask(&self->load, LOAD_PUT, i, &reply);
        } else if (clock_monotonic_us() > until_us) {
            give_up(self);
        }
    }
}

static uint64_t answered_by_worker(struct bench *self)
{
    struct status_slot *slot = status_page_slot(&self->status, SERVICE_TRANSPORT, 0);
    struct status_counter *counter = status_slot_counter(slot, "answered");

    return counter ? atomic_load(&counter->value) : 0;
}

/* ---- the flooder ---- */

static void flood_forever(struct bench *self)
{
    static struct mmsghdr messages[LOAD_BATCH];
    static struct iovec parts[LOAD_BATCH];
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(self->port) };
    unsigned next = 0;
    uint16_t port;
    int fd = load_socket(FLOODER, 0, &port);

    inet_pton(AF_INET, WORKER, &name.sin_addr);
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) != 0)
        fail("bench-flood: connect");
    for (;;) {
        int sent;

        for (unsigned i = 0; i < LOAD_BATCH; i++, next++) {
            parts[i].iov_base = self->load.queries[self->method][next % LOAD_QUERIES];
            parts[i].iov_len = self->load.sizes[self->method][next % LOAD_QUERIES];
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        sent = sendmmsg(fd, messages, LOAD_BATCH, 0);
        if (sent > 0)
            atomic_fetch_add(self->sent, (uint64_t)sent);
    }
}

static void start_flooders(struct bench *self)
{
    for (unsigned i = 0; i < FLOODERS; i++) {
        self->flooders[i] = fork();
        if (self->flooders[i] < 0)
            fail("bench-flood: fork");
        if (self->flooders[i] == 0) {
            servers_pin(i);
            flood_forever(self);
        }
    }
}

/* ---- the client ---- */

struct question {
    uint64_t asked_us; /* 0: not yet */
    unsigned tries;
    bool answered;
};

static void ask(struct load *load, enum load_method method, struct question *question,
                unsigned which)
{
    uint8_t data[LOAD_QUERY_SIZE];
    size_t size = load->sizes[method][which % LOAD_QUERIES];
    uint8_t *place;

    /* Its number instead of the transaction id that was encoded. */
    memcpy(data, load->queries[method][which % LOAD_QUERIES], size);
    place = memmem(data, size, "1:t4:", 5);
    store_u32(place + 5, which);
    question->asked_us = clock_monotonic_us();
    question->tries++;
    (void)send(load->fd, data, size, 0);
}

static void take_answers(struct load *load, enum load_method method, struct question *questions,
                         unsigned count, struct outcome *outcome)
{
    struct krpc_message reply;
    ssize_t size;

    while ((size = recv(load->fd, load->in[0], sizeof(load->in[0]), MSG_DONTWAIT)) > 0) {
        unsigned which;

        if (krpc_decode(bytes_of(load->in[0], (size_t)size), &reply) != LB_OK ||
            reply.transaction.size != KRPC_OWN_TRANSACTION ||
            (method == LOAD_GET && reply.value.size == 0))
            continue;
        which = load_u32(reply.transaction.data);
        if (which >= count || questions[which].answered)
            continue;
        questions[which].answered = true;
        outcome->answered++;
        outcome->at_once += questions[which].tries == 1;
    }
}

/* Asks at its pace, repeats what is late, and waits for the last. */
static void be_honest(struct bench *self, struct outcome *outcome)
{
    static struct question questions[QUERIES_MAX];
    const struct timespec nap = { .tv_nsec = 1000000 };
    unsigned count = 1000000u * self->seconds / PACE_US;
    uint64_t begin_us = clock_monotonic_us(), now_us = begin_us;

    memset(questions, 0, sizeof(questions));
    while (now_us < begin_us + count * (uint64_t)PACE_US + TRIES * TIMEOUT_US) {
        for (unsigned i = 0; i < count; i++) {
            struct question *question = &questions[i];
            bool due = question->tries == 0 ? now_us >= begin_us + i * (uint64_t)PACE_US
                                            : now_us >= question->asked_us + TIMEOUT_US;

            if (due && !question->answered && question->tries < TRIES)
                ask(&self->load, self->method, question, i);
            if (question->tries == 0)
                break;
        }
        take_answers(&self->load, self->method, questions, count, outcome);
        nanosleep(&nap, NULL);
        now_us = clock_monotonic_us();
    }
    outcome->asked = count;
}

/* ---- one run ---- */

static struct outcome measure(struct bench *self, bool locked)
{
    const struct timespec settle = { .tv_sec = SETTLE_US / 1000000 };
    struct outcome outcome = { .asked = 0 };
    uint64_t begin_us, sent, answered;
    double seconds;

    if (self->method == LOAD_GET)
        start_storage(self);
    start_worker(self, locked);
    await_worker(self);
    start_flooders(self);
    nanosleep(&settle, NULL);
    sent = atomic_load(self->sent);
    answered = answered_by_worker(self);
    begin_us = clock_monotonic_us();
    be_honest(self, &outcome);
    seconds = (double)(clock_monotonic_us() - begin_us) / 1e6;
    outcome.sent_per_s = (double)(atomic_load(self->sent) - sent) / seconds;
    outcome.answered_per_s = (double)(answered_by_worker(self) - answered) / seconds;
    for (unsigned i = 0; i < FLOODERS; i++)
        end(&self->flooders[i], SIGKILL);
    end(&self->worker, SIGTERM);
    end(&self->storage, SIGTERM);
    return outcome;
}

static void print_outcome(const char *what, const struct outcome *outcome)
{
    printf("%-16s %10.0f %10.0f %7.1f %16.1f %% %15.1f %%\n", what, outcome->sent_per_s,
           outcome->answered_per_s, outcome->sent_per_s / outcome->answered_per_s,
           100.0 * outcome->at_once / outcome->asked, 100.0 * outcome->answered / outcome->asked);
}

int main(int argc, char **argv)
{
    static struct bench self = { .seconds = 3, .method = LOAD_FIND_NODE };
    struct outcome without, with;

    for (int i = 1; i < argc; i++) {
        unsigned long number = strtoul(i + 1 < argc ? argv[i + 1] : "", NULL, 10);

        if (strcmp(argv[i], "--get") == 0) {
            self.method = LOAD_GET;
        } else if (strcmp(argv[i], "--seconds") == 0 && number >= 1 && number <= 60) {
            self.seconds = (unsigned)number;
            i++;
        } else if (strcmp(argv[i], "--nice") == 0 && number <= 19) {
            self.nice = (int)number;
            i++;
        } else {
            fprintf(stderr, "usage: bench-flood [--seconds N] [--nice N] [--get]\n");
            return 2;
        }
    }
    self.sent =
        mmap(NULL, sizeof(*self.sent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.sent == MAP_FAILED)
        fail("bench-flood: mmap");
    load_open(&self.load, CLIENT);
    servers_open(&self.servers, WORKER);
    {
        char run[80];

        snprintf(run, sizeof(run), "%s/run", self.servers.folder);
        if (status_page_open(&self.status, run, true) != LB_OK)
            fail("bench-flood: status page");
    }
    servers_pin(0);
    without = measure(&self, true);
    with = measure(&self, false);
    printf("%-16s %10s %10s %7s %18s %17s\n", "", "flood/s", "answered/s", "ratio",
           "client, one try", "client, two tries");
    print_outcome("without shaping", &without);
    print_outcome("with shaping", &with);
    servers_close(&self.servers);
    return 0;
}
