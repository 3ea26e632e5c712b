/*
 * The configuration: every key there is, its type and default, in one table; the INI files
 * littlebird.conf and conf.d/NAME.conf (sorted by name, later ones win), then overrides.
 *
 * An unknown section or key, a value that does not fit, or a duplicate in one file is an error with
 * file and line. Units are accepted: sizes "512 MiB", "10 GB", "4096"; times "30s", "5 min",
 * "250ms"; rates "10 Mbit/s", "5 MB/s", "none". Services read it and never write it.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
    CONFIG_TEXT,    /* any one line */
    CONFIG_COUNT,   /* a whole number */
    CONFIG_WORKERS, /* a whole number, or auto: 0; read with config_workers() */
    CONFIG_SIZE,    /* bytes */
    CONFIG_TIME,    /* milliseconds */
    CONFIG_BOOL,    /* yes or no */
    CONFIG_LEVEL,   /* error, warn, info, debug */
    CONFIG_MODE,    /* auto, open, cooperative: 0, 1, 2 */
    CONFIG_LIST,    /* texts separated by commas or spaces */
    CONFIG_RATE,    /* bytes per second, 0: none */
    CONFIG_SUBNETS  /* subnets with a rate each, see rate.h; read with subnet_rates_parse() */
};

/* X(name, section, key, type, default, least, most, help): limits are for the number types. */
#define LB_CONFIG(X)                                                                               \
    X(LISTEN, "node", "listen", LIST, "0.0.0.0:6881, [::]:6881", 0, 0,                             \
      "Addresses for UDP and TCP, ADDR:PORT; at most one IPv4 and one IPv6")                       \
    X(BOOTSTRAP, "node", "bootstrap", LIST, "", 0, 0,                                              \
      "Nodes to join through, HOST:PORT each; none: known ones and those of the local net")        \
    X(NETWORK, "node", "network", TEXT, "littlebird", 0, 0,                                        \
      "Name of the network; shared keys of put and get belong to it")                              \
    X(CLIENT, "node", "client", BOOL, "no", 0, 1,                                                  \
      "Ask the DHT without being part of it (BEP 43): for laptops and short visits")               \
    X(LAN_DISCOVERY, "node", "lan_discovery", BOOL, "yes", 0, 1,                                   \
      "Find nodes of the same network on the local net by multicast")                              \
    X(LOG_LEVEL, "node", "log_level", LEVEL, "info", 0, 0, "error, warn, info or debug")           \
    X(WATCHDOG, "supervisor", "watchdog", TIME, "10s", 3000, 600000,                               \
      "A service whose event loop is silent for so long is killed and started again")              \
    X(STUCK, "supervisor", "stuck", TIME, "60s", 1000, 86400000,                                   \
      "A service that answers none of its overdue requests for so long is killed and started "     \
      "again")                                                                                     \
    X(TRANSPORT_WORKERS, "transport", "workers", WORKERS, "1", 1, 16,                              \
      "Processes that answer UDP queries, at the start; auto: one for each core")                  \
    X(ROUTING_PATHS, "routing", "paths", COUNT, "1", 1, 8,                                         \
      "Disjoint paths of a lookup against nodes that lie; four cost two and a half times as "      \
      "much; "                                                                                     \
      "4 on a private network where it is not set")                                                \
    X(STORAGE_WORKERS, "storage", "workers", WORKERS, "1", 1, 16,                                  \
      "Processes that share the DHT store, at the start; auto: one for each core")                 \
    X(STORAGE_SIZE, "storage", "max_size", SIZE, "1 GiB", 1048576, 1099511627776,                  \
      "Most disk space of the DHT store")                                                          \
    X(STORAGE_ITEM_TTL, "storage", "item_ttl", TIME, "2h", 60000, 604800000,                       \
      "How long an item is kept after it was last put (BEP 44 says 2 hours)")                      \
    X(STORAGE_VALUE_TTL, "storage", "value_ttl", TIME, "720h", 3600000, 31536000000,               \
      "How long a value put here lives on when nobody renews it any more")                         \
    X(STORAGE_CHECK_INTERVAL, "storage", "check_interval", TIME, "10min", 1000, 86400000,          \
      "How soon the replicas of a value are counted again; up to 6 times that while none was "     \
      "lacking")                                                                                   \
    X(STORAGE_PEER_TTL, "storage", "peer_ttl", TIME, "30min", 60000, 86400000,                     \
      "How long a peer announcement is kept after it was last made")                               \
    X(SWARM_WORKERS, "swarm", "workers", WORKERS, "1", 1, 16,                                      \
      "Processes that share and fetch files, at the start; auto: one for each core")               \
    X(SWARM_PEERS_MAX, "swarm", "peers_max", COUNT, "200", 1, 10000, "Most peers of one torrent")  \
    X(SWARM_MODE, "swarm", "mode", MODE, "auto", 0, 0,                                             \
      "With whom to work for the finish of all: auto (our kind on the local net), open (nobody), " \
      "cooperative (all of our kind)")                                                             \
    X(SWARM_SUPER_SEEDING, "swarm", "super_seeding", BOOL, "no", 0, 1,                             \
      "Reveal pieces that only we have to other clients one by one (BEP 16)")                      \
    X(SWARM_UPLOAD_SLOTS, "swarm", "upload_slots", COUNT, "8", 1, 1000,                            \
      "Peers of one torrent that are unchoked at once")                                            \
    X(SWARM_DISK_WORKERS, "swarm", "disk_workers", COUNT, "2", 1, 64,                              \
      "Threads that read, write and hash")                                                         \
    X(SWARM_LOCAL_DISCOVERY, "swarm", "local_discovery", BOOL, "yes", 0, 1,                        \
      "Announce torrents on the local net and find peers there (BEP 14); never private ones")      \
    X(SWARM_ANNOUNCE, "swarm", "announce_interval", TIME, "10min", 10000, 86400000,                \
      "How often a torrent is announced to the DHT again")                                         \
    X(SWARM_RECEIVE_LIMIT, "swarm", "receive_limit", RATE, "none", 0, 0,                           \
      "Most that is fetched from peers, all torrents together")                                    \
    X(SWARM_SEND_LIMIT, "swarm", "send_limit", RATE, "none", 0, 0,                                 \
      "Most that is sent to peers, all torrents together")                                         \
    X(SWARM_SUBNET_LIMITS, "swarm", "subnet_limits", SUBNETS, "", 0, 0,                            \
      "Most between a subnet and the rest, each way: CIDR RATE, separated by commas")              \
    X(SWARM_ACTIVE_MAX, "swarm", "active_max", COUNT, "0", 0, 4096,                                \
      "Most fetches at once, others wait for their turn; 0: no limit")                             \
    X(SWARM_HOT_RATE, "swarm", "hot_rate", RATE, "200 MB/s", 0, 0,                                 \
      "A complete torrent that is sent faster is seeded by all workers; none: any that is sent")   \
    X(COORDINATOR_LISTEN, "coordinator", "listen", LIST, "0.0.0.0:6891, [::]:6891", 0, 0,          \
      "Addresses at which a coordinator admits members, TCP, ADDR:PORT; at most one IPv4 and "     \
      "one IPv6")                                                                                  \
    X(METRICS_LISTEN, "gateway", "metrics_listen", TEXT, "", 0, 0,                                 \
      "Address of Prometheus metrics, /healthz and /readyz over HTTP, ADDR:PORT; none: off")

#define LB_CONFIG_ENUM(name, ...) CONFIG_##name,
enum config_key { LB_CONFIG(LB_CONFIG_ENUM) CONFIG_KEYS_COUNT };
#undef LB_CONFIG_ENUM

struct address;
struct config; /* opaque */

/* What is wrong and where, for a person. */
struct config_problem {
    char text[512]; /* "littlebird.conf:12: unknown key 'lissten' in [node]" */
};

/*
 * Defaults, then file (a missing file is no error), then the conf.d folder beside it, then
 * overrides ("section.key=value", NULL-terminated, may be NULL). LB_INVALID with *ret_problem
 * filled when anything is wrong; LB_IO when a file cannot be read. The caller frees with
 * config_free.
 */
LB_MUST_CHECK lb_err config_load(struct config **ret_self, const char *file,
                                 const char *const *overrides, struct config_problem *ret_problem);
void config_free(struct config **self);

const char *config_text(const struct config *self, enum config_key key); /* all types: as written */
uint64_t
config_number(const struct config *self,
              enum config_key key); /* COUNT, SIZE, TIME, BOOL, LEVEL, MODE, RATE; WORKERS */

/* Of a WORKERS key: the number, or for auto the cores this process may use, at most the key's most.
 */
unsigned config_workers(const struct config *self, enum config_key key);
size_t config_list_count(const struct config *self, enum config_key key);
const char *config_list_item(const struct config *self, enum config_key key, size_t index);

/* Where the value comes from: "default", "FILE:LINE" or "command line"; static life of self. */
const char *config_origin(const struct config *self, enum config_key key);
const char *config_section_name(enum config_key key);
const char *config_key_name(enum config_key key);
const char *config_default(enum config_key key);
const char *config_help(enum config_key key);

/* Do both mean the same? Sizes, times and rates by their number: "1 GiB" is "1024 MiB". */
bool config_is_same(const struct config *a, const struct config *b, enum config_key key);

/* FNV-1a of what config_is_same() compares, on top of another digest. */
uint64_t config_digest_value(const struct config *self, enum config_key key, uint64_t digest);

/* Exchange one value, with its origin: for config_reload.h. */
void config_take(struct config *self, struct config *from, enum config_key key);

/* What config_load() cannot see: addresses that are none. LB_INVALID and *ret_problem. */
LB_MUST_CHECK lb_err config_check_addresses(const struct config *config,
                                            struct config_problem *ret_problem);

/*
 * Is this what the key, LISTEN or COORDINATOR_LISTEN, says, or one of its ports 0? A socket that
 * was handed over (by a socket unit of systemd) may listen elsewhere: this says so in the log.
 */
bool config_check_handed(const struct config *config, enum config_key key,
                         const struct address *bound);

/* A value with its unit, as in the files: bytes, and milliseconds. LB_INVALID when it is none. */
LB_MUST_CHECK lb_err config_parse_size(const char *text, uint64_t *ret_bytes);
LB_MUST_CHECK lb_err config_parse_time(const char *text, uint64_t *ret_ms);
