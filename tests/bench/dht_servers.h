/*
 * What bench-dht measures: an echo, lb-transport with lb-storage behind it, and rivals. All run on
 * core 1 and listen on one address.
 */
#pragma once

#include "libcommon/page.h"
#include "tests/bench/dht_load.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum server_kind {
    SERVER_ECHO,
    SERVER_SIZED_ECHO, /* sends back as many bytes as lb-transport's answer has */
    SERVER_LITTLEBIRD,
    SERVER_LIBTORRENT,
    SERVER_TRANSMISSION,
    SERVERS
};

#define SERVER_PROCESSES 2

struct server {
    pid_t pids[SERVER_PROCESSES]; /* 0: none; the first one is asked */
    uint16_t port;
    unsigned methods; /* 1 << enum load_method: what it can do */
    unsigned most;    /* queries it answers at a time, then it wants a pause; 0: no limit */
    unsigned pause_ms;
};

struct servers {
    const char *address;
    char folder[64]; /* of lb-transport and lb-storage */
    struct page routing;
    struct server list[SERVERS];
    uint16_t answer_sizes[LOAD_QUERY_SIZE]; /* of lb-transport, by the size of the query */
};

const char *server_text(enum server_kind kind);

void servers_open(struct servers *self, const char *address);

/* The folder and every process. */
void servers_close(struct servers *self);

void servers_start_echo(struct servers *self, enum server_kind kind);
void servers_start_littlebird(struct servers *self);

/* command: for the shell; $BENCH_ADDRESS and $BENCH_PORT say where to listen. */
void servers_start_rival(struct servers *self, enum server_kind kind, const char *command);

/* Nanoseconds on a core, all its processes and threads together. */
uint64_t server_cpu_ns(const struct server *server);
uint64_t servers_process_cpu_ns(pid_t pid);

/* A program in the folder of this one. */
void servers_program(const char *name, char *ret_path, size_t size);

/* Send back what comes, for ever. */
void servers_echo(int fd);

void servers_pin(unsigned core);
