/*
 * The multicast sockets of LAN discovery, of nodes (discovery.h) and of torrents (local.h, for
 * lb-swarm, which asks by LocalTorrents: lan_torrents.c). One for each family we listen on, members
 * of their group on every interface that is up and does multicast, or, when node.listen names an
 * address, on its interface only, with that address as the source. A node that listens on loopback
 * takes no part, and of several workers the first does it for all. Several nodes of a machine share
 * the port (SO_REUSEADDR) and hear each other.
 *
 * Only announcements from inside are taken: of private addresses and of those in the network of one
 * of our interfaces. Not of IPv6 link-local ones: they mean nothing without the interface, which a
 * contact does not hold. Interfaces are looked at anew with each announcement of ours.
 */
#pragma once

#include "libcommon/address.h"
#include "services/transport/discovery.h"
#include "services/transport/local.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define LAN_FAMILIES       2
#define LAN_INTERFACES_MAX 32     /* addresses of interfaces; more are left out */
#define LAN_COOKIE_SIZE    16     /* digits */
#define LAN_BATCH_MAX      16     /* datagrams of a turn of the loop */
#define LAN_FOUND_MAX      64     /* peers that wait to be told to an lb-swarm; more are not told */
#define LAN_ANSWER_MS      30000u /* an lb-swarm waits so long for peers */
#define LAN_LIST_MS        90000u /* its list holds so long after it asked */

struct call;
struct status_counter;
struct transport;

/* One address of an interface. */
struct lan_interface {
    unsigned index;
    struct address address; /* port 0 */
    uint8_t mask[16];       /* as address.ip: the bits of the network */
};

struct lan_port {
    uv_poll_t poll;
    int fd; /* -1: not open */
    bool v4;
    struct address listen; /* ours, the port included */
};

/* An lb-swarm that asked for local peers of its torrents. */
struct lan_asker {
    bool used;
    uint32_t number;
    struct call *call;  /* owned, waits; NULL: it was answered and has not asked again */
    uint64_t answer_ms; /* it is answered then at the latest */
    uint64_t forget_ms; /* its list is dropped then */
    size_t found_count;
    struct lan_found {
        uint8_t hash[LSD_HASH_SIZE];
        struct address address;
    } found[LAN_FOUND_MAX];
};

struct lan {
    struct transport *transport; /* borrowed; NULL: discovery is off */
    bool finds_nodes;            /* node.lan_discovery */
    struct discovery discovery;
    struct local local;
    struct lan_asker *askers; /* LOCAL_OWNERS_MAX, once one asked */
    struct lan_port ports[LAN_FAMILIES];
    struct lan_interface interfaces[LAN_INTERFACES_MAX];
    unsigned interfaces_count;
    uv_timer_t timer;
    unsigned handles_open;
    uint8_t hash[LSD_HASH_SIZE];
    char cookie[LAN_COOKIE_SIZE + 1];
    bool said_none; /* that no interface does multicast */
    struct status_counter *found;
};

/* Once the ports of transport are open. What cannot be opened is left out, and said once. */
void lan_open(struct lan *self, struct transport *transport);

/*
 * Send a message by all ports, on each interface; of the port we listen on when its own is 0.
 * Returns how often it went out.
 */
unsigned lan_multicast(struct lan *self, struct lsd_message *message);

/* The next thing to do has changed. */
void lan_arm(struct lan *self);

/* ---- lan_torrents.c ---- */

void lan_torrents_on_ask(void *ctx, struct call *call, const void *body); /* LocalTorrents */
void lan_torrents_hear(struct lan *self, const struct address *from,
                       const struct lsd_message *message);
void lan_torrents_turn(struct lan *self, uint64_t now_ms);
uint64_t lan_torrents_deadline_ms(const struct lan *self);

/* Calls that wait are failed. */
void lan_torrents_done(struct lan *self);

/* The handles close in the turns of the loop that follow: until handles_open is 0. */
void lan_close(struct lan *self);
