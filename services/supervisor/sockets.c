#include "services/supervisor/sockets.h"

#include "libcommon/address.h"
#include "libcommon/config.h"
#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "services/supervisor/roster.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT_TRIES 16 /* a free UDP port may be taken for TCP: look for another */

__attribute__((format(printf, 3, 4))) static lb_err refuse(struct sockets_problem *problem,
                                                           lb_err err, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(problem->text, sizeof problem->text, format, arguments);
    va_end(arguments);
    return err;
}

unsigned sockets_instances(const struct config *config, enum service service)
{
    const struct roster_row *row = roster_find(service);

    assert(row);
    if (!row->scales || row->instances_key < 0) {
        return 1;
    }
    return config_workers(config, (enum config_key)row->instances_key);
}

static lb_err keep(struct sockets *self, const struct kept_socket *socket)
{
    int fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, SOCKETS_FD_LEAST);
    int error = errno;

    assert(self->count < SOCKETS_MAX);
    close(socket->fd);
    if (fd < 0) {
        errno = error;
        return LB_IO;
    }
    self->kept[self->count] = *socket;
    self->kept[self->count++].fd = fd;
    return LB_OK;
}

/* A path that stays behind would look like a node. */
static void unlink_path(int fd)
{
    struct sockaddr_un name = { .sun_family = AF_UNSPEC };
    socklen_t size = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &size) == 0 && name.sun_family == AF_UNIX) {
        unlink(name.sun_path);
    }
}

void sockets_close(struct sockets *self)
{
    while (self->count > 0) {
        self->count--;
        unlink_path(self->kept[self->count].fd);
        close(self->kept[self->count].fd);
    }
}

void sockets_remove(struct sockets *self, enum service service, unsigned instance)
{
    size_t left = 0;

    for (size_t i = 0; i < self->count; i++) {
        const struct kept_socket *kept = &self->kept[i];

        if (kept->service == service && kept->instance == instance) {
            unlink_path(kept->fd);
            close(kept->fd);
        } else {
            self->kept[left++] = *kept;
        }
    }
    self->count = left;
}

lb_err sockets_steer(const struct sockets *self, unsigned workers)
{
    lb_err err = LB_OK;

    for (size_t i = 0; i < self->count && err == LB_OK; i++) { /* the first of each group */
        if (self->kept[i].instance == 0 && strcmp(self->kept[i].name, LISTEN_UDP) == 0) {
            err = listen_udp_steer(self->kept[i].fd, workers);
        }
    }
    return err;
}

static const char *why(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "the port is in use by another program";
    case EADDRNOTAVAIL:
        return "this machine has no such address";
    case EACCES:
    case EPERM:
        return "permission denied (ports below 1024 belong to root)";
    default:
        return strerror(error);
    }
}

/* The UDP sockets of all transport workers and the TCP socket on one address: one port number. */
static lb_err bind_port(const struct address *address, unsigned workers, int *ret_udp, int *ret_tcp,
                        struct address *ret_bound, const char **ret_who)
{
    lb_err err = LB_IO;

    for (int i = 0; i < PORT_TRIES; i++) {
        struct address bound;
        int error;

        *ret_who = "UDP (transport)";
        err = listen_udp(address, workers, ret_udp, &bound);
        if (err != LB_OK) {
            return err;
        }
        *ret_who = "TCP (swarm)";
        err = listen_tcp(&bound, ret_tcp, ret_bound);
        if (err == LB_OK) {
            return LB_OK;
        }
        error = errno;
        for (unsigned worker = 0; worker < workers; worker++) {
            close(ret_udp[worker]);
        }
        errno = error;
        if (address->port != 0 || error != EADDRINUSE) {
            return err;
        }
    }
    return err;
}

static lb_err bind_address(struct sockets *self, const struct address *address, unsigned workers,
                           struct sockets_problem *ret_problem)
{
    int udp[STATUS_INSTANCES_MAX];
    int tcp;
    struct address bound;
    const char *who;
    char text[ADDRESS_TEXT_SIZE];
    lb_err err = bind_port(address, workers, udp, &tcp, &bound, &who);

    if (err != LB_OK && errno == EAFNOSUPPORT && !address_is_v4(address)) {
        log_warn("no IPv6 on this machine, serving IPv4 alone");
        return LB_OK;
    }
    if (err != LB_OK) {
        int error = errno;

        address_format(address, text);
        return refuse(ret_problem, err, "cannot listen on %s, %s: %s", text, who, why(error));
    }
    for (unsigned i = 0; i < workers && err == LB_OK; i++) {
        err = keep(self, &(struct kept_socket){ udp[i], SERVICE_TRANSPORT, i, LISTEN_UDP });
    }
    if (err == LB_OK) {
        err = keep(self, &(struct kept_socket){ tcp, SERVICE_SWARM, 0, LISTEN_TCP });
    }
    if (err != LB_OK) {
        return refuse(ret_problem, err, "cannot keep a socket: %s", strerror(errno));
    }
    self->bound[self->listen_count] = bound;
    address_format(&bound, self->listen[self->listen_count++]);
    return LB_OK;
}

/* key: LISTEN or COORDINATOR_LISTEN. */
static lb_err parse_addresses(const struct config *config, enum config_key key,
                              struct address ret_addresses[SOCKETS_ADDRESSES_MAX],
                              size_t *ret_count, struct sockets_problem *ret_problem)
{
    const char *origin = config_origin(config, key);
    const char *section = config_section_name(key);
    const char *name = config_key_name(key);
    size_t count = config_list_count(config, key);

    if (count == 0 || count > SOCKETS_ADDRESSES_MAX) {
        return refuse(ret_problem, LB_INVALID,
                      "%s: %s.%s needs one or two addresses, one IPv4 and one IPv6 at most", origin,
                      section, name);
    }
    for (size_t i = 0; i < count; i++) {
        const char *item = config_list_item(config, key, i);

        if (address_parse(item, &ret_addresses[i]) != LB_OK) {
            return refuse(ret_problem, LB_INVALID, "%s: %s.%s '%s' is not ADDR:PORT, as in %s",
                          origin, section, name, item, config_default(key));
        }
    }
    if (count == 2 && address_is_v4(&ret_addresses[0]) == address_is_v4(&ret_addresses[1])) {
        return refuse(ret_problem, LB_INVALID,
                      "%s: %s.%s has two addresses of one kind; one IPv4 and one IPv6 at most",
                      origin, section, name);
    }
    *ret_count = count;
    return LB_OK;
}

static lb_err bind_addresses(struct sockets *self, const struct config *config,
                             struct sockets_problem *ret_problem)
{
    struct address addresses[SOCKETS_ADDRESSES_MAX];
    size_t count = 0;
    lb_err err = parse_addresses(config, CONFIG_LISTEN, addresses, &count, ret_problem);

    for (size_t i = 0; i < count && err == LB_OK; i++) {
        err = bind_address(self, &addresses[i], sockets_instances(config, SERVICE_TRANSPORT),
                           ret_problem);
    }
    if (err == LB_OK && self->listen_count == 0) {
        return refuse(ret_problem, LB_IO, "none of the addresses of node.listen can be used here");
    }
    if (err == LB_OK) {
        snprintf(self->listen_override, sizeof self->listen_override, "node.listen=%s%s%s",
                 self->listen[0], self->listen_count > 1 ? ", " : "",
                 self->listen_count > 1 ? self->listen[1] : "");
    }
    return err;
}

static lb_err bind_ipc(struct sockets *self, const struct paths *paths, const char *file,
                       const struct kept_socket *what, struct sockets_problem *ret_problem)
{
    char path[PATHS_SIZE + 64];
    struct kept_socket socket = *what;
    lb_err err;

    snprintf(path, sizeof path, "%s/%s", paths->run_folder, file);
    err = listen_ipc(path, &socket.fd);
    if (err == LB_OK) {
        err = keep(self, &socket);
    }
    if (err != LB_OK) {
        return refuse(ret_problem, err, "cannot bind %s for %s: %s", path,
                      service_text(what->service), strerror(errno));
    }
    return LB_OK;
}

/* LB_OK also when none is wanted. */
static lb_err bind_metrics(struct sockets *self, const struct config *config,
                           struct sockets_problem *ret_problem)
{
    const char *text = config_text(config, CONFIG_METRICS_LISTEN);
    struct kept_socket socket = { -1, SERVICE_GATEWAY, 0, LISTEN_METRICS };
    struct address address, bound;
    lb_err err;

    if (text[0] == '\0') {
        return LB_OK;
    }
    if (address_parse(text, &address) != LB_OK) {
        return refuse(ret_problem, LB_INVALID,
                      "%s: gateway.metrics_listen '%s' is not ADDR:PORT, as in 127.0.0.1:9881",
                      config_origin(config, CONFIG_METRICS_LISTEN), text);
    }
    err = listen_tcp(&address, &socket.fd, &bound);
    if (err == LB_OK) {
        err = keep(self, &socket);
    }
    if (err != LB_OK) {
        return refuse(ret_problem, err, "cannot listen on %s, TCP (metrics): %s", text, why(errno));
    }
    return LB_OK;
}

static lb_err bind_coordinator(struct sockets *self, const struct config *config,
                               struct sockets_problem *ret_problem)
{
    struct address addresses[SOCKETS_ADDRESSES_MAX], bound;
    struct kept_socket socket = { -1, SERVICE_COORDINATOR, 0, LISTEN_COORDINATOR };
    size_t count = 0, bound_count = 0;
    lb_err err = parse_addresses(config, CONFIG_COORDINATOR_LISTEN, addresses, &count, ret_problem);

    if (err != LB_OK) {
        return err;
    }
    for (size_t i = 0; i < count; i++) {
        err = listen_tcp(&addresses[i], &socket.fd, &bound);
        if (err != LB_OK && errno == EAFNOSUPPORT && !address_is_v4(&addresses[i])) {
            continue; /* said of node.listen */
        }
        if (err == LB_OK) {
            err = keep(self, &socket);
        }
        if (err != LB_OK) {
            return refuse(ret_problem, err, "cannot listen on %s, TCP (coordinator): %s",
                          config_list_item(config, CONFIG_COORDINATOR_LISTEN, i), why(errno));
        }
        bound_count++;
    }
    return bound_count > 0 ? LB_OK
                           : refuse(ret_problem, LB_IO,
                                    "none of the addresses of coordinator.listen can be used here");
}

static lb_err bind_udp_of(struct sockets *self, unsigned instance,
                          struct sockets_problem *ret_problem)
{
    for (size_t i = 0; i < self->listen_count; i++) {
        int fd;
        lb_err err = listen_udp_join(&self->bound[i], &fd);

        if (err == LB_OK) {
            err = keep(self, &(struct kept_socket){ fd, SERVICE_TRANSPORT, instance, LISTEN_UDP });
        }
        if (err != LB_OK) {
            return refuse(ret_problem, err, "cannot listen on %s, UDP (transport): %s",
                          self->listen[i], why(errno));
        }
    }
    return LB_OK;
}

/* A port of its own for each instance: who connects means this one. */
static lb_err listen_tcp_of(const struct address *first, unsigned instance, int *ret_fd)
{
    struct address address = *first;
    struct address bound;

    address.port = (uint16_t)(first->port + instance);
    if (address.port > first->port && listen_tcp(&address, ret_fd, &bound) == LB_OK) {
        return LB_OK;
    }
    address.port = 0;
    return listen_tcp(&address, ret_fd, &bound);
}

static lb_err bind_tcp_of(struct sockets *self, unsigned instance,
                          struct sockets_problem *ret_problem)
{
    for (size_t i = 0; i < self->listen_count; i++) {
        int fd;
        lb_err err = listen_tcp_of(&self->bound[i], instance, &fd);

        if (err == LB_OK) {
            err = keep(self, &(struct kept_socket){ fd, SERVICE_SWARM, instance, LISTEN_TCP });
        }
        if (err != LB_OK) {
            return refuse(ret_problem, err, "no TCP port for another swarm beside %s: %s",
                          self->listen[i], why(errno));
        }
    }
    return LB_OK;
}

/* All but what bind_addresses() has bound: UDP, and the TCP of the first. */
static lb_err bind_instance(struct sockets *self, const struct roster_row *row, unsigned instance,
                            const struct paths *paths, struct sockets_problem *ret_problem)
{
    char file[64];
    lb_err err;

    snprintf(file, sizeof file, "%s-%u.sock", service_text(row->service), instance);
    err =
        bind_ipc(self, paths, file,
                 &(struct kept_socket){ -1, row->service, instance, LISTEN_MAILBOX }, ret_problem);
    if (err == LB_OK && (row->sockets & ROSTER_API)) {
        err =
            bind_ipc(self, paths, "api.sock",
                     &(struct kept_socket){ -1, row->service, instance, LISTEN_API }, ret_problem);
    }
    if (err == LB_OK && (row->sockets & ROSTER_API)) {
        err = bind_ipc(self, paths, "events.sock",
                       &(struct kept_socket){ -1, row->service, instance, LISTEN_EVENTS },
                       ret_problem);
    }
    if (err == LB_OK && (row->sockets & ROSTER_TCP) && instance > 0) {
        err = bind_tcp_of(self, instance, ret_problem);
    }
    return err;
}

lb_err sockets_add(struct sockets *self, enum service service, unsigned instance,
                   const struct paths *paths, struct sockets_problem *ret_problem)
{
    const struct roster_row *row = roster_find(service);
    lb_err err;

    assert(row && row->scales && instance > 0);
    err = bind_instance(self, row, instance, paths, ret_problem);
    if (err == LB_OK && (row->sockets & ROSTER_UDP)) {
        err = bind_udp_of(self, instance, ret_problem);
    }
    if (err != LB_OK) {
        sockets_remove(self, service, instance);
    }
    return err;
}

static lb_err bind_services(struct sockets *self, const struct config *config,
                            const struct roster_node *node, const struct paths *paths,
                            struct sockets_problem *ret_problem)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);
    lb_err err = LB_OK;

    for (size_t i = 0; i < count; i++) {
        unsigned instances =
            roster_wants(&rows[i], node) ? sockets_instances(config, rows[i].service) : 0;

        for (unsigned instance = 0; instance < instances && err == LB_OK; instance++) {
            err = bind_instance(self, &rows[i], instance, paths, ret_problem);
        }
        if (err == LB_OK && instances > 0 && (rows[i].sockets & ROSTER_COORDINATOR)) {
            err = bind_coordinator(self, config, ret_problem);
        }
    }
    return err;
}

lb_err sockets_bind(struct sockets *ret_self, const struct config *config,
                    const struct roster_node *node, const struct paths *paths,
                    struct sockets_problem *ret_problem)
{
    struct sockets self = { .count = 0 };
    lb_err err = bind_addresses(&self, config, ret_problem);

    if (err == LB_OK) {
        err = bind_metrics(&self, config, ret_problem);
    }
    if (err == LB_OK) {
        err = bind_services(&self, config, node, paths, ret_problem);
    }
    if (err != LB_OK) {
        sockets_close(&self);
        return err;
    }
    *ret_self = self;
    return LB_OK;
}
