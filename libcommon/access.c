#include "libcommon/access.h"

#include <string.h>

#define NUMBERS 3 /* uid, gid, pid */

#define FROM(role) (1u << ACCESS_##role)

/* An administrator may ask a service itself, without the gateway, whatever does not pretend to be
 * news from the network or another service's work. */
static const struct access_row rows[] = {
    { SERVICE_SUPERVISOR, "restart", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SUPERVISOR, "scale", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SUPERVISOR, "stop", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SUPERVISOR, "set_log_level", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SUPERVISOR, "reload", FROM(GATEWAY) | FROM(ADMIN) },

    { SERVICE_ROUTING, "sightings", FROM(TRANSPORT) },
    { SERVICE_ROUTING, "lookup", FROM(STORAGE) | FROM(MEMBER) | FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_ROUTING, "get_table", FROM(MEMBER) | FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_ROUTING, "add_node", FROM(TRANSPORT) | FROM(ADMIN) },
    { SERVICE_ROUTING, "forget", FROM(TRANSPORT) },

    { SERVICE_TRANSPORT, "query", FROM(ROUTING) | FROM(STORAGE) | FROM(MEMBER) | FROM(ADMIN) },
    { SERVICE_TRANSPORT, "resolve", FROM(ROUTING) | FROM(MEMBER) | FROM(ADMIN) },
    { SERVICE_TRANSPORT, "get_info", FROM(ROUTING) | FROM(ADMIN) },
    { SERVICE_TRANSPORT, "local_torrents", FROM(SWARM) },
    { SERVICE_TRANSPORT, "crossed", FROM(TRANSPORT) },
    { SERVICE_TRANSPORT, "call_all", FROM(MEMBER) },
    { SERVICE_TRANSPORT, "get_trust", FROM(STORAGE) },

    { SERVICE_STORAGE, "questions", FROM(TRANSPORT) | FROM(MEMBER) },
    { SERVICE_STORAGE, "put", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_STORAGE, "get", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_STORAGE, "announce", FROM(SWARM) },
    { SERVICE_STORAGE, "get_stats", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_STORAGE, "remove", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_STORAGE, "audit", FROM(GATEWAY) | FROM(ADMIN) },

    { SERVICE_SWARM, "share", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "fetch", FROM(SWARM) | FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "list", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "remove", FROM(SWARM) | FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "add_peer", FROM(ADMIN) },
    { SERVICE_SWARM, "get_metainfo", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "list_peers", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "set_limits", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "check", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "list_files", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_SWARM, "take_up", FROM(SWARM) },
    { SERVICE_SWARM, "adopt", FROM(SWARM) },
    { SERVICE_SWARM, "seed", FROM(SWARM) },
    { SERVICE_SWARM, "unseed", FROM(SWARM) },
    { SERVICE_SWARM, "allot", FROM(SWARM) },

    { SERVICE_SIGNER, "sign_leaf", FROM(COORDINATOR) },
    { SERVICE_SIGNER, "sign_deny_list", FROM(COORDINATOR) },
    { SERVICE_SIGNER, "get_key", FROM(COORDINATOR) },
    { SERVICE_SIGNER, "set_intermediate", FROM(COORDINATOR) },

    { SERVICE_COORDINATOR, "invite", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "list_members", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "decide", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "revoke", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "get_group", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "add_server", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "remove_server", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "list_invites", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "withdraw", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_COORDINATOR, "set_policy", FROM(GATEWAY) | FROM(ADMIN) },

    { SERVICE_MEMBER, "calls", FROM(TRANSPORT) },
    { SERVICE_MEMBER, "send", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_MEMBER, "list_inbox", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_MEMBER, "read_mail", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_MEMBER, "remove_mail", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_MEMBER, "new_denied", FROM(COORDINATOR) },
    { SERVICE_MEMBER, "get_membership", FROM(GATEWAY) | FROM(ADMIN) },
    { SERVICE_MEMBER, "renew_now", FROM(GATEWAY) | FROM(ADMIN) },
};

#define ROWS_COUNT (sizeof rows / sizeof rows[0])

#define LB_ROLE_TEXT(name, text) text,
static const char *const role_texts[] = { LB_SERVICES(LB_ROLE_TEXT) "an administrator", "a user",
                                          "a stranger" };
#undef LB_ROLE_TEXT

static const char *const user_names[SERVICES_COUNT] = {
    [SERVICE_SUPERVISOR] = "root",       [SERVICE_ROUTING] = "_lb-data",
    [SERVICE_TRANSPORT] = "_lb-net",     [SERVICE_STORAGE] = "_lb-data",
    [SERVICE_SWARM] = "_lb-net",         [SERVICE_SIGNER] = "_lb-sign",
    [SERVICE_COORDINATOR] = "_lb-coord", [SERVICE_MEMBER] = "_lb-net",
    [SERVICE_GATEWAY] = "_lb-api",
};

const char *access_role_text(enum access_role role)
{
    return (unsigned)role < ACCESS_ROLES_COUNT ? role_texts[role] : "unknown";
}

const char *access_user_name(enum service service)
{
    return user_names[service];
}

/* ---- internal messages ---- */

const struct access_row *access_rows(size_t *ret_count)
{
    *ret_count = ROWS_COUNT;
    return rows;
}

unsigned access_senders(enum service to, const char *message)
{
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        if (rows[i].to == to && strcmp(rows[i].message, message) == 0)
            return rows[i].from;
    }
    return 0;
}

/* ---- the public API ---- */

bool access_may_call(enum access_role role, enum access_level level)
{
    return role == ACCESS_ADMIN || (role == ACCESS_USER && level != ACCESS_CHANGE);
}

/* ---- from the kernel's word to a role ---- */

/* The number that ends at *end, after a colon; *end then points at the colon. */
static bool parse_backwards(const char *text, const char **end, uint32_t *ret_number)
{
    const char *digits = *end;
    uint64_t number = 0;

    while (digits > text && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    if (digits == *end || *end - digits > 10 || digits == text || digits[-1] != ':')
        return false;
    for (const char *digit = digits; digit < *end; digit++)
        number = number * 10 + (uint64_t)(*digit - '0');
    if (number > UINT32_MAX)
        return false;
    *ret_number = (uint32_t)number;
    *end = digits - 1;
    return true;
}

bool access_parse_peer(const char *text, struct access_peer *ret_peer)
{
    const char *end = text + strlen(text);
    uint32_t numbers[NUMBERS]; /* pid, gid, uid */

    for (int i = 0; i < NUMBERS; i++) {
        if (!parse_backwards(text, &end, &numbers[i]))
            return false;
    }
    *ret_peer = (struct access_peer){ .uid = numbers[2], .gid = numbers[1], .pid = numbers[0] };
    return true;
}

enum access_role access_service_role(const struct access_users *users, uint32_t uid,
                                     enum service by_pid)
{
    if (by_pid == ACCESS_NO_SERVICE)
        return ACCESS_STRANGER;
    return uid == (users->apart ? users->service[by_pid] : users->own) ? (enum access_role)by_pid
                                                                       : ACCESS_STRANGER;
}

/* The user of a service that is apart is no person: what it may do it may as that service. */
static bool is_of_a_service(const struct access_users *users, uint32_t uid)
{
    for (int i = 0; users->apart && i < SERVICES_COUNT; i++) {
        if (users->service[i] == uid)
            return true;
    }
    return false;
}

bool access_needs_groups(const struct access_users *users, uint32_t uid)
{
    return uid != 0 && !is_of_a_service(users, uid) && uid != users->own;
}

enum access_role access_person_role(const struct access_users *users, uint32_t uid, unsigned groups)
{
    if (uid == 0)
        return ACCESS_ADMIN;
    if (is_of_a_service(users, uid))
        return ACCESS_STRANGER;
    if (uid == users->own || (groups & ACCESS_IN_ADMINS))
        return ACCESS_ADMIN;
    return groups & ACCESS_IN_USERS ? ACCESS_USER : ACCESS_STRANGER;
}
