/*
 * How many DHT queries one transport worker answers, beside a process that only echoes.
 *
 * Both are pinned to one core and asked from another one with the same queries, in turns, so that
 * what else the machine does hits both alike. The echo is the machine's limit: recvmmsg, sendmmsg
 * and nothing between. Printed are replies per second, the CPU time of a reply (exact, from
 * schedstat) and by it the share of the echo's capacity; medians of all rounds.
 *
 * usage: bench-dht [--rounds N] [--ms N] [--rival COMMAND]
 *     COMMAND is run by the shell and serves DHT queries on 127.0.0.1, port $BENCH_PORT.
 */
#include "libcommon/clock.h"
#include "libcommon/page.h"
#include "libcommon/presence_page.h"
#include "libcommon/random.h"
#include "libcommon/routing_page.h"
#include "services/transport/krpc.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUERIES     1024 /* different ones of each method */
#define QUERY_SIZE  128
#define BATCH       64
#define WINDOW      256 /* queries under way */
#define ROUNDS_MAX  99
#define TABLE_NODES 160 /* what a node of a large network knows: 20 buckets of 8 */
#define START_MS    5000

static const enum krpc_method methods[] = { KRPC_PING, KRPC_FIND_NODE, KRPC_GET_PEERS };
#define METHODS (sizeof(methods) / sizeof(methods[0]))

enum kind { ECHO, SIZED_ECHO, TRANSPORT, RIVAL, KINDS };
static const char *const kind_texts[] = { "bare echo", "same size", "lb-transport", "rival" };

struct server {
    pid_t pid; /* 0: there is none */
    uint16_t port;
};

struct result {
    double per_second;
    double cpu_us; /* of one reply */
    double busy;   /* of its core, 0 to 1 */
};

struct load {
    int fd;
    uint8_t queries[METHODS][QUERIES][QUERY_SIZE];
    size_t sizes[METHODS];
    uint8_t in[BATCH][KRPC_RECEIVE_MAX];
    struct mmsghdr out_messages[BATCH], in_messages[BATCH];
    struct iovec out_parts[BATCH], in_parts[BATCH];
    unsigned next;
};

struct bench {
    char folder[64];
    struct page routing, presence;
    struct server servers[KINDS];
    struct load load;
    uint16_t answer_sizes[QUERY_SIZE]; /* of lb-transport, by the size of the query */
    struct result results[METHODS][KINDS][ROUNDS_MAX];
    unsigned rounds;
    uint64_t round_us;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void pin(unsigned core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        perror("bench-dht: not pinned");
}

static int udp_socket(uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
    socklen_t size = sizeof(name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 4 << 20;

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) != 0)
        fail("bench-dht: socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    *ret_port = ntohs(name.sin_port);
    return fd;
}

static uint16_t free_port(void)
{
    uint16_t port;

    close(udp_socket(0, &port));
    return port;
}

/* ---- the servers ---- */

/* Sends back what came, or as many bytes as the answer to a query of this size has. */
static void echo_forever(int fd, const uint16_t answer_sizes[QUERY_SIZE])
{
    static uint8_t data[BATCH][KRPC_RECEIVE_MAX];
    static struct sockaddr_storage names[BATCH];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];

    for (unsigned i = 0; i < BATCH; i++) {
        parts[i].iov_base = data[i];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &names[i];
    }
    for (;;) {
        int count;

        for (unsigned i = 0; i < BATCH; i++) {
            parts[i].iov_len = sizeof(data[i]);
            messages[i].msg_hdr.msg_namelen = sizeof(names[i]);
        }
        count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            unsigned size = messages[i].msg_len;

            parts[i].iov_len = size < QUERY_SIZE && answer_sizes[size] ? answer_sizes[size] : size;
        }
        if (count > 0)
            (void)sendmmsg(fd, messages, (unsigned)count, 0);
    }
}

static pid_t start_child(void)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("bench-dht: fork");
    if (pid == 0)
        pin(1);
    return pid;
}

static void start_echo(struct bench *self, enum kind kind)
{
    static const uint16_t as_they_are[QUERY_SIZE];
    struct server *server = &self->servers[kind];
    int fd = udp_socket(0, &server->port);

    server->pid = start_child();
    if (server->pid == 0)
        echo_forever(fd, kind == ECHO ? as_they_are : self->answer_sizes);
    close(fd);
}

static void start_transport(struct bench *self, const char *program)
{
    struct server *server = &self->servers[TRANSPORT];
    char listen[64];

    server->port = free_port();
    snprintf(listen, sizeof(listen), "node.listen=127.0.0.1:%u", (unsigned)server->port);
    server->pid = start_child();
    if (server->pid > 0)
        return;
    execl(program, program, "--dir", self->folder, "--set", listen, "--set", "node.log_level=error",
          (char *)NULL);
    fail(program);
}

static void start_rival(struct bench *self, const char *command)
{
    struct server *server = &self->servers[RIVAL];
    char port[16];

    server->port = free_port();
    snprintf(port, sizeof(port), "%u", (unsigned)server->port);
    server->pid = start_child();
    if (server->pid > 0)
        return;
    setenv("BENCH_PORT", port, 1);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    fail("/bin/sh");
}

/* Nanoseconds on a core, all threads together. */
static uint64_t cpu_ns(pid_t pid)
{
    char path[300];
    unsigned long long sum = 0;
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        unsigned long long one = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (file && fscanf(file, "%llu", &one) == 1)
            sum += one;
        if (file)
            fclose(file);
    }
    if (folder)
        closedir(folder);
    return sum;
}

/* ---- the node's world: a table of random nodes, and a store that is empty ---- */

static int by_id(const void *a, const void *b)
{
    return node_id_compare(&((const struct contact *)a)->id, &((const struct contact *)b)->id);
}

static void fill_table(struct routing_page *page, struct random *random)
{
    static struct contact table[TABLE_NODES];
    const struct contact *contacts[ROUTING_FAMILIES] = { table, NULL };
    const uint32_t counts[ROUTING_FAMILIES] = { TABLE_NODES, 0 };
    struct node_id self_id = node_id_random(random);

    for (unsigned i = 0; i < TABLE_NODES; i++) {
        table[i].id = node_id_random_in_bucket(&self_id, i / 8, random);
        table[i].address = address_v4(10, 0, (uint8_t)(i / 200), (uint8_t)(1 + i % 200), 6881);
    }
    qsort(table, TABLE_NODES, sizeof(table[0]), by_id);
    routing_page_init(page, &self_id, 1);
    routing_page_publish(page, contacts, counts);
}

static void make_world(struct bench *self, struct random *random)
{
    char run[80], routing[96], presence[96];

    snprintf(self->folder, sizeof(self->folder), "/tmp/bench-dht-XXXXXX");
    if (!mkdtemp(self->folder))
        fail("bench-dht: mkdtemp");
    snprintf(run, sizeof(run), "%s/run", self->folder);
    snprintf(routing, sizeof(routing), "%s/routing.shm", run);
    snprintf(presence, sizeof(presence), "%s/presence.shm", run);
    if (mkdir(run, 0700) != 0 ||
        page_create(&self->routing, routing, sizeof(struct routing_page)) != LB_OK ||
        page_create(&self->presence, presence, sizeof(struct presence_page)) != LB_OK)
        fail("bench-dht: shared memory");
    fill_table(self->routing.memory, random);
    presence_page_init(self->presence.memory);
    if (page_publish(&self->routing, routing) != LB_OK ||
        page_publish(&self->presence, presence) != LB_OK)
        fail("bench-dht: shared memory");
}

static void remove_world(const struct bench *self)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", self->folder, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

/* The servers and the folder. */
static void end(const struct bench *self)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        if (self->servers[kind].pid == 0)
            continue;
        kill(self->servers[kind].pid, kind == TRANSPORT ? SIGTERM : SIGKILL);
        waitpid(self->servers[kind].pid, NULL, 0);
    }
    remove_world(self);
}

/* ---- the load ---- */

static void make_queries(struct load *load, struct random *random)
{
    for (size_t m = 0; m < METHODS; m++) {
        for (unsigned i = 0; i < QUERIES; i++) {
            struct node_id id = node_id_random(random);
            uint8_t transaction[KRPC_OWN_TRANSACTION];
            const struct krpc_query query = { .method = methods[m],
                                              .id = &id,
                                              .target = node_id_random(random) };

            store_u32(transaction, i);
            load->sizes[m] =
                krpc_encode_query(&query, transaction, load->queries[m][i], QUERY_SIZE);
        }
    }
}

static void open_load(struct load *load)
{
    uint16_t port;

    load->fd = udp_socket(0, &port);
    for (unsigned i = 0; i < BATCH; i++) {
        load->in_parts[i] = (struct iovec){ load->in[i], sizeof(load->in[i]) };
        load->in_messages[i].msg_hdr.msg_iov = &load->in_parts[i];
        load->out_messages[i].msg_hdr.msg_iov = &load->out_parts[i];
        load->in_messages[i].msg_hdr.msg_iovlen = load->out_messages[i].msg_hdr.msg_iovlen = 1;
    }
}

static void aim(struct load *load, const struct server *server)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(server->port) };

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(load->fd, (struct sockaddr *)&name, sizeof(name)) != 0)
        fail("bench-dht: connect");
    while (recvmmsg(load->fd, load->in_messages, BATCH, MSG_DONTWAIT, NULL) > 0)
        ;
}

static unsigned send_some(struct load *load, size_t method, unsigned count)
{
    int sent;

    for (unsigned i = 0; i < count; i++) {
        load->out_parts[i].iov_base = load->queries[method][load->next++ % QUERIES];
        load->out_parts[i].iov_len = load->sizes[method];
    }
    sent = sendmmsg(load->fd, load->out_messages, count, 0);
    return sent > 0 ? (unsigned)sent : 0;
}

/*
 * Spins: a load that sleeps would have to be woken by the server, which would pay for it. 0 when
 * nothing comes for 100 ms: what was under way is lost.
 */
static unsigned receive_some(struct load *load)
{
    uint64_t until_us = clock_monotonic_us() + 100000;
    int count;

    do
        count = recvmmsg(load->fd, load->in_messages, BATCH, MSG_DONTWAIT, NULL);
    while (count <= 0 && clock_monotonic_us() < until_us);
    return count > 0 ? (unsigned)count : 0;
}

static struct result measure(struct load *load, const struct server *server, size_t method,
                             uint64_t duration_us)
{
    uint64_t begin_us, end_us, begin_cpu;
    uint64_t replies = 0;
    unsigned under_way = 0;
    double seconds, cpu_us;

    aim(load, server);
    begin_us = clock_monotonic_us();
    begin_cpu = cpu_ns(server->pid);
    do {
        unsigned count;

        while (under_way + BATCH <= WINDOW) {
            unsigned sent = send_some(load, method, BATCH);

            under_way += sent;
            if (sent < BATCH)
                break;
        }
        count = receive_some(load);
        replies += count;
        under_way = count > 0 && count <= under_way ? under_way - count : 0;
        end_us = clock_monotonic_us();
    } while (end_us - begin_us < duration_us);
    seconds = (double)(end_us - begin_us) / 1e6;
    cpu_us = (double)(cpu_ns(server->pid) - begin_cpu) / 1e3;
    return (struct result){ .per_second = (double)replies / seconds,
                            .cpu_us = replies > 0 ? cpu_us / (double)replies : 0,
                            .busy = cpu_us / 1e6 / seconds };
}

/* Is this a whole answer: of lb-transport with eight nodes, of an echo anything. */
static bool is_answer(struct bytes datagram, enum kind kind, enum krpc_method method)
{
    struct krpc_message reply;

    if (kind == ECHO || kind == SIZED_ECHO)
        return true;
    return krpc_decode(datagram, &reply) == LB_OK && reply.type == KRPC_REPLY &&
           (kind != TRANSPORT || method == KRPC_PING || reply.nodes.size == 8 * 26);
}

/* Wait until it answers, and look at one answer to each method. */
static void check_server(struct bench *self, enum kind kind)
{
    uint64_t until_us = clock_monotonic_us() + 1000 * START_MS;
    struct load *load = &self->load;

    aim(load, &self->servers[kind]);
    for (size_t m = 0; m < METHODS;) {
        struct bytes answer;

        if (clock_monotonic_us() > until_us) {
            fprintf(stderr, "bench-dht: %s does not answer %s\n", kind_texts[kind],
                    krpc_method_text(methods[m]));
            end(self);
            exit(1);
        }
        send_some(load, m, 1);
        if (receive_some(load) == 0)
            continue;
        answer = bytes_of(load->in[0], load->in_messages[0].msg_len);
        if (!is_answer(answer, kind, methods[m]))
            continue;
        if (kind == TRANSPORT)
            self->answer_sizes[load->sizes[m]] = (uint16_t)answer.size;
        m++;
    }
}

/* ---- the table ---- */

static int by_rate(const void *a, const void *b)
{
    const struct result *x = a, *y = b;

    return x->per_second < y->per_second ? -1 : x->per_second > y->per_second;
}

static int by_cpu(const void *a, const void *b)
{
    const struct result *x = a, *y = b;

    return x->cpu_us < y->cpu_us ? -1 : x->cpu_us > y->cpu_us;
}

static struct result median(struct result *results, unsigned count)
{
    struct result middle;

    qsort(results, count, sizeof(results[0]), by_rate);
    middle = results[count / 2];
    qsort(results, count, sizeof(results[0]), by_cpu);
    middle.cpu_us = results[count / 2].cpu_us;
    return middle;
}

static void print_table(struct bench *self)
{
    printf("%-10s %-13s %11s %9s %9s %18s\n", "query", "server", "replies/s", "core busy", "CPU us",
           "of echo, by CPU");
    for (size_t m = 0; m < METHODS; m++) {
        double echo_us = 0;

        for (enum kind kind = 0; kind < KINDS; kind++) {
            struct result result;

            if (self->servers[kind].pid == 0)
                continue;
            result = median(self->results[m][kind], self->rounds);
            if (kind == ECHO)
                echo_us = result.cpu_us;
            printf("%-10s %-13s %11.0f %8.0f%% %9.2f %18.2f\n", krpc_method_text(methods[m]),
                   kind_texts[kind], result.per_second, 100 * result.busy, result.cpu_us,
                   result.cpu_us > 0 ? echo_us / result.cpu_us : 0);
        }
    }
}

static void program_beside(const char *name, char *ret_path, size_t size)
{
    char self[400];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[length > 0 ? length : 0] = '\0';
    slash = strrchr(self, '/');
    snprintf(ret_path, size, "%.*s%s", slash ? (int)(slash - self) + 1 : 0, self, name);
}

static void run(struct bench *self)
{
    for (unsigned round = 0; round < self->rounds; round++) {
        for (size_t m = 0; m < METHODS; m++) {
            for (enum kind kind = 0; kind < KINDS; kind++) {
                if (self->servers[kind].pid != 0)
                    self->results[m][kind][round] =
                        measure(&self->load, &self->servers[kind], m, self->round_us);
            }
        }
    }
}

int main(int argc, char **argv)
{
    static struct bench self = { .rounds = 5, .round_us = 500000 };
    const char *rival = NULL;
    struct random random;
    char program[500];

    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        unsigned long number = strtoul(value, NULL, 10);

        if (strcmp(argv[i], "--rival") == 0 && *value) {
            rival = value;
        } else if (strcmp(argv[i], "--rounds") == 0 && number >= 1 && number <= ROUNDS_MAX) {
            self.rounds = (unsigned)number;
        } else if (strcmp(argv[i], "--ms") == 0 && number >= 1 && number <= 60000) {
            self.round_us = 1000 * number;
        } else {
            fprintf(stderr, "usage: bench-dht [--rounds N] [--ms N] [--rival COMMAND]\n");
            return 2;
        }
    }
    random_init(&random, 1);
    make_world(&self, &random);
    make_queries(&self.load, &random);
    open_load(&self.load);
    program_beside("lb-transport", program, sizeof(program));
    pin(0);
    start_transport(&self, program);
    check_server(&self, TRANSPORT);
    start_echo(&self, ECHO);
    start_echo(&self, SIZED_ECHO);
    if (rival) {
        start_rival(&self, rival);
        check_server(&self, RIVAL);
    }
    run(&self);
    print_table(&self);
    end(&self);
    return 0;
}
