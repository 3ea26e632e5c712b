/*
 * The multicast sockets of LAN discovery (discovery.h): one for each family we listen on, members
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

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define LAN_FAMILIES       2
#define LAN_INTERFACES_MAX 32 /* addresses of interfaces; more are left out */
#define LAN_COOKIE_SIZE    16 /* digits */
#define LAN_BATCH_MAX      16 /* datagrams of a turn of the loop */

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

struct lan {
    struct transport *transport; /* borrowed; NULL: discovery is off */
    struct discovery discovery;
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

/* The handles close in the turns of the loop that follow: until handles_open is 0. */
void lan_close(struct lan *self);
