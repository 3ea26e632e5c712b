#include "services/transport/lan.h"

#include "libcommon/config.h"
#include "libcommon/log.h"
#include "proto/routing.pb-c.h"
#include "services/transport/service.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define JOIN_TIMEOUT_MS 15000u /* of the node that was found, to answer routing */

static const struct address group_v4 = { .ip = { [10] = 0xff, 0xff, 239, 192, 152, 143 },
                                         .port = LSD_PORT };
static const struct address group_v6 = { .ip = { 0xff, 0x15, [12] = 0xef, 0xc0, 0x98, 0x8f },
                                         .port = LSD_PORT };

/* ---- interfaces ---- */

static bool is_unspecified(const struct address *address)
{
    static const uint8_t zero[16];

    return memcmp(address->ip + (address_is_v4(address) ? 12 : 0), zero,
                  address_is_v4(address) ? 4 : 16) == 0;
}

static bool is_link_local_v6(const struct address *address)
{
    return address->ip[0] == 0xfe && address->ip[1] >> 6 == 2;
}

static void add_interface(struct lan *self, const struct ifaddrs *from)
{
    struct lan_interface *to = &self->interfaces[self->interfaces_count];
    struct address mask;

    if (self->interfaces_count == LAN_INTERFACES_MAX || !from->ifa_addr || !from->ifa_netmask ||
        (from->ifa_flags & (IFF_UP | IFF_MULTICAST | IFF_LOOPBACK)) != (IFF_UP | IFF_MULTICAST) ||
        address_from_sockaddr(from->ifa_addr, &to->address) != LB_OK ||
        address_from_sockaddr(from->ifa_netmask, &mask) != LB_OK)
        return;
    to->address.port = 0;
    to->index = if_nametoindex(from->ifa_name);
    memcpy(to->mask, mask.ip, sizeof(to->mask));
    if (address_is_v4(&to->address))
        memset(to->mask, 0xff, 12);
    self->interfaces_count += to->index != 0;
}

static void look_at_interfaces(struct lan *self)
{
    struct ifaddrs *list;

    self->interfaces_count = 0;
    if (getifaddrs(&list) != 0) {
        log_debug("the interfaces of this machine cannot be read: %s", strerror(errno));
        return;
    }
    for (const struct ifaddrs *at = list; at; at = at->ifa_next)
        add_interface(self, at);
    freeifaddrs(list);
}

/* Does this port speak on this interface, and has it not done so for an earlier address of it? */
static bool serves(const struct lan *self, const struct lan_port *port, unsigned which)
{
    const struct lan_interface *interface = &self->interfaces[which];

    if (address_is_v4(&interface->address) != port->v4)
        return false;
    if (!is_unspecified(&port->listen))
        return address_same_ip(&interface->address, &port->listen);
    for (unsigned i = 0; i < which; i++) {
        if (self->interfaces[i].index == interface->index &&
            address_is_v4(&self->interfaces[i].address) == port->v4)
            return false;
    }
    return true;
}

static bool is_near(const struct lan *self, const struct address *from)
{
    if (!address_is_v4(from) && is_link_local_v6(from))
        return false;
    if (address_is_private(from))
        return true;
    for (unsigned i = 0; i < self->interfaces_count; i++) {
        const struct lan_interface *interface = &self->interfaces[i];
        bool same = true;

        for (unsigned b = 0; b < sizeof(from->ip) && same; b++)
            same = ((from->ip[b] ^ interface->address.ip[b]) & interface->mask[b]) == 0;
        if (same)
            return true;
    }
    return false;
}

/* ---- sending ---- */

/* EADDRINUSE: a member already. */
static bool join_group(const struct lan_port *port, unsigned index)
{
    const struct ip_mreqn v4 = { .imr_multiaddr = { htonl(load_u32(group_v4.ip + 12)) },
                                 .imr_ifindex = (int)index };
    struct ipv6_mreq v6 = { .ipv6mr_interface = index };
    int result;

    memcpy(&v6.ipv6mr_multiaddr, group_v6.ip, sizeof(group_v6.ip));
    result = port->v4 ? setsockopt(port->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &v4, sizeof(v4))
                      : setsockopt(port->fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &v6, sizeof(v6));
    return result == 0 || errno == EADDRINUSE;
}

/* To the group by one interface, from the address we listen on when that is one. */
static bool send_by(const struct lan_port *port, unsigned index, const void *data, size_t size)
{
    union {
        struct cmsghdr header;
        uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control = { .room = { 0 } };
    struct sockaddr_storage name;
    struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct msghdr message = { .msg_name = &name, .msg_iov = &part, .msg_iovlen = 1 };
    struct cmsghdr *header = &control.header;
    struct in_pktinfo v4 = { .ipi_ifindex = (int)index };
    struct in6_pktinfo v6 = { .ipi6_ifindex = index };

    message.msg_namelen = address_to_sockaddr(port->v4 ? &group_v4 : &group_v6, &name);
    message.msg_control = &control;
    if (port->v4) {
        v4.ipi_spec_dst.s_addr = htonl(load_u32(port->listen.ip + 12));
        *header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(v4)),
                                    .cmsg_level = IPPROTO_IP,
                                    .cmsg_type = IP_PKTINFO };
        memcpy(CMSG_DATA(header), &v4, sizeof(v4));
        message.msg_controllen = CMSG_SPACE(sizeof(v4));
    } else {
        memcpy(&v6.ipi6_addr, port->listen.ip, sizeof(v6.ipi6_addr));
        *header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(v6)),
                                    .cmsg_level = IPPROTO_IPV6,
                                    .cmsg_type = IPV6_PKTINFO };
        memcpy(CMSG_DATA(header), &v6, sizeof(v6));
        message.msg_controllen = CMSG_SPACE(sizeof(v6));
    }
    return sendmsg(port->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

/* On how many interfaces it went out. */
static unsigned send_by_port(struct lan *self, const struct lan_port *port,
                             struct lsd_message message)
{
    uint8_t data[LSD_SIZE_MAX];
    unsigned count = 0;
    size_t size;

    message.over_v6 = !port->v4;
    message.port = message.port != 0 ? message.port : port->listen.port;
    size = lsd_encode(&message, data, sizeof(data));
    for (unsigned i = 0; i < self->interfaces_count; i++) {
        unsigned index = self->interfaces[i].index;

        if (!serves(self, port, i))
            continue;
        if (join_group(port, index) && send_by(port, index, data, size))
            count++;
        else
            log_debug("no multicast by interface %u: %s", index, strerror(errno));
    }
    return count;
}

/* We become a member wherever there is an interface by now. */
unsigned lan_multicast(struct lan *self, struct lsd_message *message)
{
    unsigned count = 0;

    message->cookie = bytes_of_text(self->cookie);
    look_at_interfaces(self);
    for (unsigned i = 0; i < LAN_FAMILIES; i++) {
        if (self->ports[i].fd >= 0)
            count += send_by_port(self, &self->ports[i], *message);
    }
    if (count == 0 && !self->said_none)
        log_info("no interface does multicast: nodes of this net are not found by themselves");
    self->said_none = count == 0;
    return count;
}

static void announce(struct lan *self)
{
    struct lsd_message message = { .hashes_count = 1 };
    bool alone = routing_page_count(self->transport->pages.routing) == 0;
    char remark[LSD_REMARK_MAX];

    memcpy(message.hashes[0], self->hash, sizeof(self->hash));
    snprintf(remark, sizeof(remark), "%s%s%s", alone ? DISCOVERY_ALONE : "",
             alone && self->discovery.client ? " " : "",
             self->discovery.client ? DISCOVERY_CLIENT : "");
    message.remark = bytes_of_text(remark);
    (void)lan_multicast(self, &message);
}

/* ---- the timer ---- */

static void on_timer(uv_timer_t *timer);

static uint64_t nodes_deadline_ms(const struct lan *self)
{
    if (!self->finds_nodes)
        return UINT64_MAX;
    if (!self->transport->pages.routing) /* nobody could be answered yet */
        return uv_now(self->timer.loop) + DISCOVERY_START_MS;
    return discovery_deadline_ms(&self->discovery);
}

void lan_arm(struct lan *self)
{
    uint64_t due_ms = nodes_deadline_ms(self), torrents_ms = lan_torrents_deadline_ms(self);
    uint64_t now_ms = uv_now(self->timer.loop);

    due_ms = torrents_ms < due_ms ? torrents_ms : due_ms;
    if (due_ms == UINT64_MAX)
        uv_timer_stop(&self->timer);
    else
        uv_timer_start(&self->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct lan *self = timer->data;
    const struct routing_page *routing = self->transport->pages.routing;

    if (self->finds_nodes && routing &&
        discovery_next(&self->discovery, routing_page_count(routing), uv_now(timer->loop)))
        announce(self);
    lan_torrents_turn(self, uv_now(timer->loop));
    lan_arm(self);
}

/* ---- hearing ---- */

static void on_joined(void *ctx, lb_err err, const char *reason, const void *reply)
{
    (void)ctx;
    (void)reply;
    if (err != LB_OK)
        log_debug("a node found by multicast was not joined: %s", reason);
}

static void join_through(struct lan *self, const struct address *address)
{
    Lb__Routing__Request request = LB__ROUTING__REQUEST__INIT;
    Lb__Routing__AddNode add = LB__ROUTING__ADD_NODE__INIT;
    uint8_t compact[ADDRESS_COMPACT_V6];
    char text[ADDRESS_TEXT_SIZE];

    address_format(address, text);
    log_info("found by multicast address=%s", text);
    status_counter_add(self->found, 1);
    add.address.len = address_to_compact(address, compact);
    add.address.data = compact;
    request.body_case = LB__ROUTING__REQUEST__BODY_ADD_NODE;
    request.add_node = &add;
    link_call(self->transport->routing, &request.base, JOIN_TIMEOUT_MS, on_joined, NULL);
}

static bool names_us(const struct lan *self, const struct lsd_message *message)
{
    for (size_t i = 0; i < message->hashes_count; i++) {
        if (memcmp(message->hashes[i], self->hash, sizeof(self->hash)) == 0)
            return true;
    }
    return false;
}

static void hear_node(struct lan *self, const struct address *from,
                      const struct lsd_message *message)
{
    const struct routing_page *routing = self->transport->pages.routing;
    struct discovery_heard heard;

    if (!self->finds_nodes || !routing || !names_us(self, message))
        return;
    heard = (struct discovery_heard){ .alone = lsd_remarks(message, DISCOVERY_ALONE),
                                      .client = lsd_remarks(message, DISCOVERY_CLIENT),
                                      .known = routing_page_holds(routing, from) };
    if (discovery_heard(&self->discovery, &heard, routing_page_count(routing),
                        uv_now(self->timer.loop)))
        join_through(self, from);
}

static void hear(struct lan *self, struct address *from, struct bytes data)
{
    struct lsd_message message;

    if (!is_near(self, from) || lsd_decode(data, &message) != LB_OK ||
        bytes_equal_text(message.cookie, self->cookie))
        return;
    from->port = message.port;
    hear_node(self, from, &message);
    lan_torrents_hear(self, from, &message);
    lan_arm(self);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct lan *self = handle->data;
    int fd = self->ports[handle == &self->ports[1].poll].fd;
    uint8_t data[LSD_SIZE_MAX + 1];

    (void)status;
    (void)events;
    for (unsigned i = 0; i < LAN_BATCH_MAX; i++) {
        struct sockaddr_storage name;
        socklen_t name_size = sizeof(name);
        ssize_t size =
            recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&name, &name_size);
        struct address from;

        if (size < 0)
            return;
        if (address_from_sockaddr((const struct sockaddr *)&name, &from) == LB_OK)
            hear(self, &from, bytes_of(data, (size_t)size));
    }
}

/* ---- life ---- */

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* Bound to the group itself: other datagrams to this port are not ours. -1 with errno set. */
static int open_socket(bool v4)
{
    struct sockaddr_storage name;
    unsigned size = address_to_sockaddr(v4 ? &group_v4 : &group_v6, &name);
    int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code;

    if (fd < 0)
        return -1;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 &&
        (v4 ? set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0)
            : set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)) == 0 &&
        bind(fd, (const struct sockaddr *)&name, size) == 0)
        return fd;
    code = errno;
    close(fd);
    errno = code;
    return -1;
}

static void open_port(struct lan *self, struct lan_port *port, const struct address *listen)
{
    port->v4 = address_is_v4(listen);
    port->listen = *listen;
    port->fd = open_socket(port->v4);
    if (port->fd >= 0 && uv_poll_init(self->timer.loop, &port->poll, port->fd) == 0) {
        self->handles_open++;
        port->poll.data = self;
        uv_poll_start(&port->poll, UV_READABLE, on_readable);
        return;
    }
    log_info("no discovery by %s multicast: %s", port->v4 ? "IPv4" : "IPv6", strerror(errno));
    if (port->fd >= 0)
        close(port->fd);
    port->fd = -1;
}

/* Members find members: names of networks may be the same, their ids are not. */
static void set_infohash(struct lan *self, const struct config *config)
{
    const struct identity *identity = &self->transport->identity;
    char network[2 * NETWORK_ID_SIZE + 1];

    hex_encode(identity->network, sizeof(identity->network), network);
    discovery_infohash(self->transport->member ? network : config_text(config, CONFIG_NETWORK),
                       self->hash);
}

void lan_open(struct lan *self, struct transport *transport)
{
    const struct config *config = actor_config(transport->actor);
    struct uv_loop_s *loop = actor_loop(transport->actor);
    unsigned open = 0;
    uint8_t cookie[LAN_COOKIE_SIZE / 2];

    for (unsigned i = 0; i < LAN_FAMILIES; i++)
        self->ports[i].fd = -1;
    self->finds_nodes = config_number(config, CONFIG_LAN_DISCOVERY) != 0;
    if ((!self->finds_nodes && !config_number(config, CONFIG_SWARM_LOCAL_DISCOVERY)) ||
        actor_instance(transport->actor) != 0)
        return;
    uv_timer_init(loop, &self->timer);
    self->timer.data = self;
    self->handles_open = 1;
    self->transport = transport;
    self->found = actor_counter(transport->actor, "lan_found");
    set_infohash(self, config);
    random_bytes(&transport->random, cookie, sizeof(cookie));
    hex_encode(cookie, sizeof(cookie), self->cookie);
    for (unsigned i = 0; i < transport->ports_count && i < LAN_FAMILIES; i++) {
        if (address_is_loopback(&transport->ports[i].bound))
            continue;
        open_port(self, &self->ports[i], &transport->ports[i].bound);
        open += self->ports[i].fd >= 0;
    }
    discovery_init(&self->discovery, config_number(config, CONFIG_CLIENT) != 0, &transport->random,
                   uv_now(loop));
    local_init(&self->local, &transport->random);
    self->finds_nodes &= open > 0;
    look_at_interfaces(self);
    lan_arm(self);
}

static void on_closed(uv_handle_t *handle)
{
    struct lan *self = handle->data;

    self->handles_open--;
}

void lan_close(struct lan *self)
{
    if (!self->transport)
        return;
    lan_torrents_done(self);
    self->transport = NULL;
    uv_close((uv_handle_t *)&self->timer, on_closed);
    for (unsigned i = 0; i < LAN_FAMILIES; i++) {
        if (self->ports[i].fd < 0)
            continue;
        uv_close((uv_handle_t *)&self->ports[i].poll, on_closed);
        close(self->ports[i].fd);
        self->ports[i].fd = -1;
    }
}
