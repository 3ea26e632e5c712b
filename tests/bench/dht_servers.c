#include "tests/bench/dht_servers.h"

#include "libcommon/random.h"
#include "libcommon/routing_page.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a node of a large network knows: 16 buckets of 64 (services/routing/table.h), then of 8. */
#define WIDE_BUCKETS 16
#define WIDE_NODES   64
#define TABLE_NODES  (WIDE_BUCKETS * WIDE_NODES + 4 * 8)

#define ALL_METHODS   ((1u << LOAD_METHODS) - 1)
#define BEP_5_METHODS (1u << LOAD_PING | 1u << LOAD_FIND_NODE | 1u << LOAD_GET_PEERS)

static const struct row {
    const char *text;
    unsigned methods, most, pause_ms;
} rows[SERVERS] = {
    [SERVER_ECHO] = { "bare echo", ALL_METHODS, 0, 0 },
    [SERVER_SIZED_ECHO] = { "same size", ALL_METHODS, 0, 0 },
    [SERVER_LITTLEBIRD] = { "Littlebird", ALL_METHODS, 0, 0 },
    [SERVER_LIBTORRENT] = { "libtorrent", ALL_METHODS, 0, 0 },
    /* Its DHT (jech) knows no items and answers 400 queries at once, then 100 a second. */
    [SERVER_TRANSMISSION] = { "transmission", BEP_5_METHODS, 384, 4100 },
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

const char *server_text(enum server_kind kind)
{
    return rows[kind].text;
}

void servers_pin(unsigned core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        perror("bench-dht: not pinned");
}

static uint16_t free_port(const char *address)
{
    uint16_t port;

    close(load_socket(address, 0, &port));
    return port;
}

static struct server *prepare(struct servers *self, enum server_kind kind)
{
    self->list[kind] = (struct server){ .methods = rows[kind].methods,
                                        .most = rows[kind].most,
                                        .pause_ms = rows[kind].pause_ms };
    return &self->list[kind];
}

static pid_t start_child(void)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("bench-dht: fork");
    if (pid == 0)
        servers_pin(1);
    return pid;
}

/* ---- the echo ---- */

static void echo_forever(int fd, const uint16_t answer_sizes[LOAD_QUERY_SIZE])
{
    static uint8_t data[LOAD_BATCH][KRPC_RECEIVE_MAX];
    static struct sockaddr_storage names[LOAD_BATCH];
    static struct mmsghdr messages[LOAD_BATCH];
    static struct iovec parts[LOAD_BATCH];

    for (unsigned i = 0; i < LOAD_BATCH; i++) {
        parts[i].iov_base = data[i];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &names[i];
    }
    for (;;) {
        int count;

        for (unsigned i = 0; i < LOAD_BATCH; i++) {
            parts[i].iov_len = sizeof(data[i]);
            messages[i].msg_hdr.msg_namelen = sizeof(names[i]);
        }
        count = recvmmsg(fd, messages, LOAD_BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            unsigned size = messages[i].msg_len;

            parts[i].iov_len =
                size < LOAD_QUERY_SIZE && answer_sizes[size] ? answer_sizes[size] : size;
        }
        if (count > 0)
            (void)sendmmsg(fd, messages, (unsigned)count, 0);
    }
}

static const uint16_t as_they_are[LOAD_QUERY_SIZE];

void servers_echo(int fd)
{
    echo_forever(fd, as_they_are);
}

void servers_start_echo(struct servers *self, enum server_kind kind)
{
    struct server *server = prepare(self, kind);
    int fd = load_socket(self->address, 0, &server->port);

    server->pids[0] = start_child();
    if (server->pids[0] == 0)
        echo_forever(fd, kind == SERVER_ECHO ? as_they_are : self->answer_sizes);
    close(fd);
}

/* ---- Littlebird: a table of random nodes, and a store that is empty at first ---- */

static int by_id(const void *a, const void *b)
{
    return node_id_compare(&((const struct contact *)a)->id, &((const struct contact *)b)->id);
}

static unsigned bucket_of(unsigned i)
{
    return i < WIDE_BUCKETS * WIDE_NODES ? i / WIDE_NODES
                                         : WIDE_BUCKETS + (i - WIDE_BUCKETS * WIDE_NODES) / 8;
}

static void fill_table(struct routing_page *page)
{
    static struct contact table[TABLE_NODES];
    const struct contact *contacts[ROUTING_FAMILIES] = { table, NULL };
    const uint32_t counts[ROUTING_FAMILIES] = { TABLE_NODES, 0 };
    struct random random;
    struct node_id self_id;

    random_init(&random, 1);
    self_id = node_id_random(&random);
    for (unsigned i = 0; i < TABLE_NODES; i++) {
        table[i].id = node_id_random_in_bucket(&self_id, bucket_of(i), &random);
        table[i].address = address_v4(10, 0, (uint8_t)(i / 200), (uint8_t)(1 + i % 200), 6881);
    }
    qsort(table, TABLE_NODES, sizeof(table[0]), by_id);
    routing_page_init(page, &self_id, 1);
    routing_page_publish(page, contacts, counts);
}

void servers_open(struct servers *self, const char *address)
{
    char run[80], routing[96];

    self->address = address;
    snprintf(self->folder, sizeof(self->folder), "/tmp/bench-dht-XXXXXX");
    if (!mkdtemp(self->folder))
        fail("bench-dht: mkdtemp");
    snprintf(run, sizeof(run), "%s/run", self->folder);
    snprintf(routing, sizeof(routing), "%s/routing.shm", run);
    if (mkdir(run, 0700) != 0 ||
        page_create(&self->routing, routing, sizeof(struct routing_page)) != LB_OK)
        fail("bench-dht: shared memory");
    fill_table(self->routing.memory);
    if (page_publish(&self->routing, routing) != LB_OK)
        fail("bench-dht: shared memory");
}

void servers_program(const char *name, char *ret_path, size_t size)
{
    char self[400];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[length > 0 ? length : 0] = '\0';
    slash = strrchr(self, '/');
    snprintf(ret_path, size, "%.*s%s", slash ? (int)(slash - self) + 1 : 0, self, name);
}

static pid_t start_service(const struct servers *self, const char *name, uint16_t port)
{
    char program[500], listen[64];
    pid_t pid;

    servers_program(name, program, sizeof(program));
    snprintf(listen, sizeof(listen), "node.listen=%s:%u", self->address, (unsigned)port);
    pid = start_child();
    if (pid > 0)
        return pid;
    execl(program, program, "--dir", self->folder, "--set", listen, "--set", "node.log_level=error",
          (char *)NULL);
    fail(program);
    return 0;
}

void servers_start_littlebird(struct servers *self)
{
    struct server *server = prepare(self, SERVER_LITTLEBIRD);

    server->port = free_port(self->address);
    server->pids[0] = start_service(self, "lb-transport", server->port);
    server->pids[1] = start_service(self, "lb-storage", server->port);
}

/* ---- rivals ---- */

void servers_start_rival(struct servers *self, enum server_kind kind, const char *command)
{
    struct server *server = prepare(self, kind);
    char port[16];

    server->port = free_port(self->address);
    snprintf(port, sizeof(port), "%u", (unsigned)server->port);
    server->pids[0] = start_child();
    if (server->pids[0] > 0)
        return;
    setenv("BENCH_ADDRESS", self->address, 1);
    setenv("BENCH_PORT", port, 1);
    setenv("BENCH_FOLDER", self->folder, 1);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    fail("/bin/sh");
}

/* ---- all of them ---- */

uint64_t servers_process_cpu_ns(pid_t pid)
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

uint64_t server_cpu_ns(const struct server *server)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < SERVER_PROCESSES; i++) {
        if (server->pids[i] > 0)
            sum += servers_process_cpu_ns(server->pids[i]);
    }
    return sum;
}

static void remove_folder(const struct servers *self)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", self->folder, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

void servers_close(struct servers *self)
{
    for (enum server_kind kind = 0; kind < SERVERS; kind++) {
        for (unsigned i = 0; i < SERVER_PROCESSES; i++) {
            pid_t pid = self->list[kind].pids[i];

            if (pid > 0 && kill(pid, kind == SERVER_LITTLEBIRD ? SIGTERM : SIGKILL) == 0)
                waitpid(pid, NULL, 0);
        }
    }
    remove_folder(self);
}
