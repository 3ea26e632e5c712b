/*
 * The configuration of a process that runs, read again: what has changed, which of it is taken over
 * at once, and who has to be started anew for the rest.
 *
 * All or nothing: files that are wrong change nothing. Of files that are right, the keys marked
 * LIVE replace those of the running configuration; the others keep what the process was started
 * with, so that it never runs with half of a change. Every key has a row here (config_reload_test).
 */
#pragma once

#include "libcommon/config.h"
#include "libcommon/status_page.h"

#define CONFIG_CHANGE_SIZE 512 /* bytes of a line about a change */

/* What it takes for a new value to be used. */
enum config_effect {
    CONFIG_EFFECT_UNKNOWN,
    CONFIG_LIVE,   /* a reload */
    CONFIG_ANEW,   /* a restart of the services that read it */
    CONFIG_SCALED, /* lb-admin scale, or a start of the node */
    CONFIG_NODE    /* a start of the node: its sockets and watchdogs are made by it */
};

#define LB_ONLY(service) (1u << SERVICE_##service)

/* X(key, effect, services): services is a bit for each that reads it. */
#define LB_CONFIG_EFFECTS(X)                                                                       \
    X(LISTEN, NODE, 0)                                                                             \
    X(BOOTSTRAP, ANEW, LB_ONLY(ROUTING))                                                           \
    X(NETWORK, ANEW, LB_ONLY(STORAGE) | LB_ONLY(TRANSPORT))                                        \
    X(CLIENT, ANEW, LB_ONLY(ROUTING) | LB_ONLY(STORAGE) | LB_ONLY(TRANSPORT))                      \
    X(LAN_DISCOVERY, ANEW, LB_ONLY(TRANSPORT))                                                     \
    X(LOG_LEVEL, LIVE, 0)                                                                          \
    X(WATCHDOG, NODE, 0)                                                                           \
    X(STUCK, NODE, 0)                                                                              \
    X(TRANSPORT_WORKERS, SCALED, LB_ONLY(TRANSPORT))                                               \
    X(ROUTING_PATHS, LIVE, LB_ONLY(ROUTING))                                                       \
    X(STORAGE_WORKERS, SCALED, LB_ONLY(STORAGE))                                                   \
    X(STORAGE_SIZE, ANEW, LB_ONLY(STORAGE))                                                        \
    X(STORAGE_ITEM_TTL, ANEW, LB_ONLY(STORAGE))                                                    \
    X(STORAGE_VALUE_TTL, LIVE, LB_ONLY(STORAGE))                                                   \
    X(STORAGE_CHECK_INTERVAL, ANEW, LB_ONLY(STORAGE))                                              \
    X(STORAGE_PEER_TTL, ANEW, LB_ONLY(STORAGE))                                                    \
    X(SWARM_WORKERS, SCALED, LB_ONLY(SWARM))                                                       \
    X(SWARM_PEERS_MAX, LIVE, LB_ONLY(SWARM))                                                       \
    X(SWARM_MODE, ANEW, LB_ONLY(SWARM))                                                            \
    X(SWARM_SUPER_SEEDING, ANEW, LB_ONLY(SWARM))                                                   \
    X(SWARM_UPLOAD_SLOTS, LIVE, LB_ONLY(SWARM))                                                    \
    X(SWARM_DISK_WORKERS, ANEW, LB_ONLY(SWARM))                                                    \
    X(SWARM_LOCAL_DISCOVERY, ANEW, LB_ONLY(SWARM) | LB_ONLY(TRANSPORT))                            \
    X(SWARM_ANNOUNCE, LIVE, LB_ONLY(SWARM))                                                        \
    X(SWARM_RECEIVE_LIMIT, LIVE, LB_ONLY(SWARM))                                                   \
    X(SWARM_SEND_LIMIT, LIVE, LB_ONLY(SWARM))                                                      \
    X(SWARM_SUBNET_LIMITS, ANEW, LB_ONLY(SWARM))                                                   \
    X(SWARM_ACTIVE_MAX, LIVE, LB_ONLY(SWARM))                                                      \
    X(SWARM_HOT_RATE, LIVE, LB_ONLY(SWARM))                                                        \
    X(COORDINATOR_LISTEN, NODE, 0)                                                                 \
    X(METRICS_LISTEN, NODE, 0)

enum config_effect config_effect(enum config_key key);
unsigned config_services(enum config_key key);

/* The keys whose values differ, in the order of the table. */
struct config_changes {
    enum config_key keys[CONFIG_KEYS_COUNT];
    size_t count;
};

void config_compare(const struct config *before, const struct config *now,
                    struct config_changes *ret_changes);

/*
 * One line for a person: "swarm.send_limit = 5 MB/s (was none; /etc/...conf:12)", and for what is
 * not live what to do: "...: lb-admin restart storage". services: who still has to be started anew,
 * of config_services(). Returns ret_line.
 */
const char *config_change_text(const struct config *before, const struct config *now,
                               enum config_key key, unsigned services,
                               char ret_line[CONFIG_CHANGE_SIZE]);

/* Take the live keys of `now` over into running, and so from it. */
void config_adopt(struct config *running, struct config *now);

/*
 * Of the values that a service reads and has to be started anew for (ANEW): two processes with the
 * same digest run with the same.
 */
uint64_t config_digest_of(const struct config *self, enum service service);

/* The same for the same values, whatever their files are called: config_load() of equal files. */
uint64_t config_digest(const struct config *self);
