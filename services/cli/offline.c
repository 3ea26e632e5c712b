#include "services/cli/offline.h"

#include "libcommon/address.h"
#include "libcommon/config.h"
#include "services/cli/client.h"
#include "services/cli/exit.h"
#include "services/cli/session.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_MAX       65535
#define SOMEBODY_V4    "192.0.2.1:9" /* RFC 5737: nothing is sent there */
#define SOMEBODY_V6    "[2001:db8::1]:9"
#define HOST_BYTES_MAX 253

/* ---- which node ---- */

static int not_while_it_runs(const struct args *args, const struct paths *paths)
{
    if (paths_is_system(paths))
        return args_failed(args, "%s",
                           "the system's node runs: stop it first, by systemctl stop "
                           "littlebird.target littlebird-supervisor, and say --system");
    return args_failed(args, "the node in %s runs: stop it first, by littlebird down",
                       paths->state_folder);
}

int offline_paths(const struct args *args, struct paths *ret_paths)
{
    struct paths paths;
    lb_err err = LB_OK;
    int code = EXIT_DONE;

    if (!args_has(args, "system"))
        code = session_paths(args, &paths);
    else if (args_has(args, "dir"))
        code = args_usage(args, "--system and --dir name two nodes");
    else
        paths_system(&paths);
    if (code != EXIT_DONE)
        return code;
    if (access(paths.run_folder, F_OK) != 0 && errno == EACCES)
        return args_failed(args, "you may not look into %s: it belongs to somebody else",
                           paths.run_folder);
    if (client_node_runs(&paths))
        return not_while_it_runs(args, &paths);
    if (!paths_is_system(&paths))
        err = paths_make(&paths);
    if (err != LB_OK)
        return args_failed(args, "cannot make the folders %s and %s: %s", paths.state_folder,
                           paths.run_folder, lb_err_text(err));
    *ret_paths = paths;
    return EXIT_DONE;
}

const char *offline_start_text(const struct paths *paths)
{
    return paths_is_system(paths) ? "systemctl start littlebird.target" : "littlebird up";
}

/* ---- where it is reached ---- */

static bool is_host_character(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == '_';
}

bool offline_is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t host_size = colon != NULL ? (size_t)(colon - text) : 0;
    struct address address;
    uint64_t port;

    if (host_size == 0 || host_size > HOST_BYTES_MAX || !args_number(colon + 1, PORT_MAX, &port) ||
        port == 0)
        return false;
    if (text[0] == '[')
        return address_parse(text, &address) == LB_OK;
    for (size_t i = 0; i < host_size; i++) {
        if (!is_host_character(text[i]))
            return false;
    }
    return true;
}

static bool is_any(const struct address *address)
{
    static const struct address any_v6;
    struct address any_v4 = address_v4(0, 0, 0, 0, 0);

    return address_same_ip(address, &any_v6) || address_same_ip(address, &any_v4);
}

/* The address that datagrams to somebody elsewhere would have; nothing is sent. */
static bool find_own(const char *somebody, struct address *ret_own)
{
    struct sockaddr_storage to, own;
    socklen_t size = sizeof own;
    struct address address;
    unsigned to_size;
    bool found;
    int fd;

    if (address_parse(somebody, &address) != LB_OK)
        return false;
    to_size = address_to_sockaddr(&address, &to);
    fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    found = connect(fd, (const struct sockaddr *)&to, to_size) == 0 &&
            getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
            address_from_sockaddr((const struct sockaddr *)&own, ret_own) == LB_OK;
    close(fd);
    return found;
}

/* On a net that no router leads out of: the first address that somebody else could use. */
static bool find_interface(bool v4, struct address *ret_own)
{
    struct ifaddrs *interfaces;
    bool found = false;

    if (getifaddrs(&interfaces) != 0)
        return false;
    for (const struct ifaddrs *at = interfaces; at != NULL && !found; at = at->ifa_next) {
        int family = at->ifa_addr != NULL ? at->ifa_addr->sa_family : AF_UNSPEC;
        struct sockaddr_storage name = { 0 };
        struct address address;

        if (family != (v4 ? AF_INET : AF_INET6) || !(at->ifa_flags & IFF_UP) ||
            (at->ifa_flags & IFF_LOOPBACK))
            continue;
        memcpy(&name, at->ifa_addr, v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        if (address_from_sockaddr((const struct sockaddr *)&name, &address) != LB_OK ||
            (!v4 && address.ip[0] == 0xfe && (address.ip[1] & 0xc0) == 0x80))
            continue; /* a link-local address needs to be told the link, too */
        *ret_own = address;
        found = true;
    }
    freeifaddrs(interfaces);
    return found;
}

static bool choose_address(const struct config *config, struct address *ret_address)
{
    for (size_t i = 0; i < config_list_count(config, CONFIG_COORDINATOR_LISTEN); i++) {
        const char *item = config_list_item(config, CONFIG_COORDINATOR_LISTEN, i);
        struct address listens, own;

        if (address_parse(item, &listens) != LB_OK || listens.port == 0)
            continue;
        if (is_any(&listens)) {
            bool v4 = address_is_v4(&listens);

            if (!find_own(v4 ? SOMEBODY_V4 : SOMEBODY_V6, &own) && !find_interface(v4, &own))
                continue;
            own.port = listens.port;
            listens = own;
        }
        *ret_address = listens;
        return true;
    }
    return false;
}

static uint16_t node_port(const struct config *config)
{
    struct address listens;

    for (size_t i = 0; i < config_list_count(config, CONFIG_LISTEN); i++) {
        if (address_parse(config_list_item(config, CONFIG_LISTEN, i), &listens) == LB_OK)
            return listens.port;
    }
    return 0;
}

static bool listens_at_port(const struct config *config, const char *port)
{
    for (size_t i = 0; i < config_list_count(config, CONFIG_COORDINATOR_LISTEN); i++) {
        const char *colon = strrchr(config_list_item(config, CONFIG_COORDINATOR_LISTEN, i), ':');

        if (colon != NULL && strcmp(colon + 1, port) == 0)
            return true;
    }
    return false;
}

/* It may be right all the same: seen from elsewhere, through a router. */
static void warn_of_reach(const struct config *config, const char *given)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    const char *port = strrchr(given, ':') + 1;
    char host[OFFLINE_ADDRESS_SIZE];
    struct addrinfo *found = NULL;
    int err = 0;

    snprintf(host, sizeof host, "%.*s", (int)(port - 1 - given), given);
    if (host[0] != '[')
        err = getaddrinfo(host, port, &hints, &found);
    if (err == 0 && found != NULL)
        freeaddrinfo(found);
    if (err != 0)
        fprintf(stderr, "careful: no address is known here for %s (%s); others must know one\n",
                host, gai_strerror(err));
    if (!listens_at_port(config, port))
        fprintf(
            stderr,
            "careful: this node listens at %s (coordinator.listen in its configuration): %s has "
            "to lead there\n",
            config_list_item(config, CONFIG_COORDINATOR_LISTEN, 0), given);
}

static int find_reach(const struct args *args, const struct config *config, const char *given,
                      struct offline_reach *ret_reach)
{
    struct address address;

    ret_reach->node_port = node_port(config);
    if (given != NULL) {
        warn_of_reach(config, given);
        snprintf(ret_reach->address, OFFLINE_ADDRESS_SIZE, "%s", given);
        return EXIT_DONE;
    }
    if (!choose_address(config, &address))
        return args_failed(args, "%s",
                           "this machine has no address that others could reach it at: name one by "
                           "--coordinator HOST:PORT");
    address_format(&address, ret_reach->address);
    return EXIT_DONE;
}

int offline_reach(const struct args *args, const struct paths *paths, const char *given,
                  struct offline_reach *ret_reach)
{
    struct config *config = NULL;
    struct config_problem problem;
    int code;

    if (given != NULL && !offline_is_address(given))
        return args_usage(args, "'%.60s' is no HOST:PORT", given);
    if (config_load(&config, paths->config_file, NULL, &problem) != LB_OK) {
        (void)args_failed(args, "%s", problem.text);
        return EXIT_CONFIG;
    }
    code = find_reach(args, config, given, ret_reach);
    config_free(&config);
    return code;
}

void offline_host_name(char ret_name[OFFLINE_HOST_SIZE])
{
    if (gethostname(ret_name, OFFLINE_HOST_SIZE) != 0)
        snprintf(ret_name, OFFLINE_HOST_SIZE, "localhost");
    ret_name[OFFLINE_HOST_SIZE - 1] = '\0';
}
