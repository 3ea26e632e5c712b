/* Who may send what to whom, who may ask what, and how the kernel's word becomes a role. */
#include "libcommon/access.h"

#include "proto/coordinator.pb-c.h"
#include "proto/member.pb-c.h"
#include "proto/routing.pb-c.h"
#include "proto/signer.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/supervisor.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "proto/transport.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- internal messages ---- */

/*
 * One column a role, in this order: Supervisor, Routing, Transport, Datastore (storage), sWarm,
 * signer (its Key), Coordinator, Member, Gateway; a person who administers, one who uses, a
 * stranger. A letter: may send it.
 */
#define COLUMNS "SRTDWKCMGaux"

static const struct cell_row {
    const char *what; /* service.message */
    const char *senders;
} cell_rows[] = {
    { "supervisor.restart", "........Ga.." },
    { "supervisor.scale", "........Ga.." },
    { "supervisor.stop", "........Ga.." },
    { "supervisor.set_log_level", "........Ga.." },
    { "supervisor.reload", "........Ga.." },
    { "routing.sightings", "..T........." },
    { "routing.lookup", "...D...MGa.." },
    { "routing.get_table", ".......MGa.." },
    { "routing.add_node", "..T......a.." },
    { "routing.forget", "..T........." },
    { "transport.query", ".R.D...M.a.." },
    { "transport.resolve", ".R.....M.a.." },
    { "transport.get_info", ".R.......a.." },
    { "transport.local_torrents", "....W......." },
    { "transport.crossed", "..T........." },
    { "transport.call_all", ".......M...." },
    { "transport.get_trust", "...D........" },
    { "storage.questions", "..T....M...." },
    { "storage.put", "........Ga.." },
    { "storage.get", "........Ga.." },
    { "storage.announce", "....W......." },
    { "storage.get_stats", "........Ga.." },
    { "storage.remove", "........Ga.." },
    { "storage.audit", "........Ga.." },
    { "swarm.share", "........Ga.." },
    { "swarm.fetch", "....W...Ga.." },
    { "swarm.list", "........Ga.." },
    { "swarm.remove", "....W...Ga.." },
    { "swarm.add_peer", ".........a.." },
    { "swarm.get_metainfo", "........Ga.." },
    { "swarm.list_peers", "........Ga.." },
    { "swarm.set_limits", "........Ga.." },
    { "swarm.check", "........Ga.." },
    { "swarm.list_files", "........Ga.." },
    { "swarm.take_up", "....W......." },
    { "swarm.adopt", "....W......." },
    { "swarm.seed", "....W......." },
    { "swarm.unseed", "....W......." },
    { "swarm.allot", "....W......." },
    { "signer.sign_leaf", "......C....." },
    { "signer.sign_deny_list", "......C....." },
    { "signer.get_key", "......C....." },
    { "signer.set_intermediate", "......C....." },
    { "coordinator.invite", "........Ga.." },
    { "coordinator.list_members", "........Ga.." },
    { "coordinator.decide", "........Ga.." },
    { "coordinator.revoke", "........Ga.." },
    { "coordinator.get_group", "........Ga.." },
    { "coordinator.add_server", "........Ga.." },
    { "coordinator.remove_server", "........Ga.." },
    { "coordinator.list_invites", "........Ga.." },
    { "coordinator.withdraw", "........Ga.." },
    { "coordinator.set_policy", "........Ga.." },
    { "member.calls", "..T........." },
    { "member.send", "........Ga.." },
    { "member.list_inbox", "........Ga.." },
    { "member.read_mail", "........Ga.." },
    { "member.remove_mail", "........Ga.." },
    { "member.new_denied", "......C....." },
    { "member.get_membership", "........Ga.." },
    { "member.renew_now", "........Ga.." },
};
#define CELL_ROWS (sizeof cell_rows / sizeof cell_rows[0])

/* The service and the message of a row. */
static const char *split(const char *what, enum service *ret_service)
{
    char name[32];

    snprintf(name, sizeof name, "%.*s", (int)strcspn(what, "."), what);
    assert_int_equal(service_parse(name, ret_service), LB_OK);
    return what + strlen(name) + 1;
}

static void cells(void **state)
{
    const struct cell_row *row = *state;
    enum service to;
    const char *message = split(row->what, &to);
    unsigned from = access_senders(to, message);

    assert_int_equal(strlen(row->senders), ACCESS_ROLES_COUNT);
    for (int role = 0; role < ACCESS_ROLES_COUNT; role++) {
        assert_true(row->senders[role] == '.' || row->senders[role] == COLUMNS[role]);
        if ((from >> role & 1) != (row->senders[role] != '.'))
            fail_msg("%s to %s", access_role_text((enum access_role)role), row->what);
    }
}

static const struct {
    enum service service;
    const ProtobufCMessageDescriptor *request;
} requests[] = {
    { SERVICE_SUPERVISOR, &lb__supervisor__request__descriptor },
    { SERVICE_ROUTING, &lb__routing__request__descriptor },
    { SERVICE_TRANSPORT, &lb__transport__request__descriptor },
    { SERVICE_STORAGE, &lb__storage__request__descriptor },
    { SERVICE_SWARM, &lb__swarm__request__descriptor },
    { SERVICE_SIGNER, &lb__signer__request__descriptor },
    { SERVICE_COORDINATOR, &lb__coordinator__request__descriptor },
    { SERVICE_MEMBER, &lb__member__request__descriptor },
    /* lb-gateway is asked for nothing by its mailbox. */
};
#define REQUESTS (sizeof requests / sizeof requests[0])

static bool is_drawn(enum service service, const char *message)
{
    for (size_t i = 0; i < CELL_ROWS; i++) {
        enum service to;

        if (strcmp(split(cell_rows[i].what, &to), message) == 0 && to == service)
            return true;
    }
    return false;
}

static void every_message_has_a_row_here_and_there(void **state)
{
    size_t count = 0, rows_count;

    (void)state;
    for (size_t i = 0; i < REQUESTS; i++) {
        for (unsigned k = 0; k < requests[i].request->n_fields; k++) {
            const char *message = requests[i].request->fields[k].name;

            if (access_senders(requests[i].service, message) == 0)
                fail_msg("%s.%s has no row in libcommon/access.c: nobody may send it",
                         service_text(requests[i].service), message);
            if (!is_drawn(requests[i].service, message))
                fail_msg("%s.%s is not in this test", service_text(requests[i].service), message);
            count++;
        }
    }
    access_rows(&rows_count);
    assert_int_equal(rows_count, count); /* and none twice, or of a message that is gone */
    assert_int_equal(CELL_ROWS, count);
}

/* ---- what the code sends ---- */

/* "LB__STORAGE__REQUEST__BODY_GET_STATS" into its service and message; false: it is none. */
static bool parse_case(char *text, enum service *ret_to, char **ret_message)
{
    char *service = strstr(text, "LB__"), *end;

    if (service == NULL || (end = strstr(service, "__REQUEST__BODY_")) == NULL)
        return false;
    *end = '\0';
    *ret_message = end + strlen("__REQUEST__BODY_");
    for (char *c = service; c < *ret_message + strlen(*ret_message); c++)
        *c = (char)tolower((unsigned char)*c);
    (*ret_message)[strspn(*ret_message, "abcdefghijklmnopqrstuvwxyz0123456789_")] = '\0';
    return service_parse(service + strlen("LB__"), ret_to) == LB_OK;
}

static unsigned check_what_is_sent(enum service sender)
{
    char command[512], line[512];
    unsigned found = 0;
    FILE *lines;

    snprintf(command, sizeof command,
             "grep -rhE 'body_case = LB__[A-Z]+__REQUEST__BODY_' " LB_SOURCE "/services/%s",
             service_text(sender));
    lines = popen(command, "r");
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines) != NULL) {
        enum service to;
        char *message;

        if (!parse_case(line, &to, &message))
            continue;
        found++;
        if ((access_senders(to, message) >> sender & 1) == 0)
            fail_msg("lb-%s sends %s to %s, and libcommon/access.c does not let it",
                     service_text(sender), message, service_text(to));
    }
    pclose(lines);
    return found;
}

static void what_the_code_sends_is_allowed(void **state)
{
    unsigned found = 0;

    (void)state;
    for (int sender = 0; sender < SERVICES_COUNT; sender++)
        found += check_what_is_sent((enum service)sender);
    assert_in_range(found, 20, 1000);
}

/* ---- the public API ---- */

static void levels(void **state)
{
    /* May change, may use, may look: one a role. */
    static const char *const rows[ACCESS_ROLES_COUNT] = {
        [ACCESS_SUPERVISOR] = "...",  [ACCESS_ROUTING] = "...", [ACCESS_TRANSPORT] = "...",
        [ACCESS_STORAGE] = "...",     [ACCESS_SWARM] = "...",   [ACCESS_SIGNER] = "...",
        [ACCESS_COORDINATOR] = "...", [ACCESS_MEMBER] = "...",  [ACCESS_GATEWAY] = "...",
        [ACCESS_ADMIN] = "cul",       [ACCESS_USER] = ".ul",    [ACCESS_STRANGER] = "...",
    };

    (void)state;
    for (int role = 0; role < ACCESS_ROLES_COUNT; role++) {
        for (int level = ACCESS_CHANGE; level <= ACCESS_LOOK; level++) {
            if (access_may_call((enum access_role)role, (enum access_level)level) !=
                (rows[role][level] != '.'))
                fail_msg("%s, level %d", access_role_text((enum access_role)role), level);
        }
    }
}

/* ---- from the kernel's word to a role ---- */

static const struct peer_row {
    const char *what;
    const char *text;
    bool valid;
    struct access_peer peer;
} peer_rows[] = {
    { "as libzmq writes it", "localhost:1000:100:4711", true, { 1000, 100, 4711 } },
    { "a host with colons", "a:b:::0:0:1", true, { 0, 0, 1 } },
    { "no host", ":0:0:1", true, { 0, 0, 1 } },
    { "the largest numbers",
      "h:4294967295:4294967295:4294967295",
      true,
      { UINT32_MAX, UINT32_MAX, UINT32_MAX } },
    { "another user namespace's", "localhost:65534:65534:0", true, { 65534, 65534, 0 } },
    { "a number too large", "h:1:1:4294967296", false, { 0, 0, 0 } },
    { "many digits", "h:1:1:00000000001", false, { 0, 0, 0 } },
    { "two numbers", "localhost:1:2", false, { 0, 0, 0 } },
    { "an address of IPv4", "192.0.2.1:2:3", false, { 0, 0, 0 } },
    { "an empty number", "localhost:1::3", false, { 0, 0, 0 } },
    { "a sign", "localhost:1:2:-3", false, { 0, 0, 0 } },
    { "something after it", "localhost:1:2:3 ", false, { 0, 0, 0 } },
    { "nothing", "", false, { 0, 0, 0 } },
};

static void peers(void **state)
{
    const struct peer_row *row = *state;
    struct access_peer peer = { 7, 7, 7 };

    assert_int_equal(access_parse_peer(row->text, &peer), row->valid);
    assert_int_equal(peer.uid, row->valid ? row->peer.uid : 7);
    assert_int_equal(peer.gid, row->valid ? row->peer.gid : 7);
    assert_int_equal(peer.pid, row->valid ? row->peer.pid : 7);
}

enum {
    ROOT = 0,
    NET = 901,
    DATA = 902,
    API = 903,
    SIGN = 904,
    COORD = 905,
    ALICE = 1000,
    BOB = 1001
};
#define U    ACCESS_IN_USERS
#define A    ACCESS_IN_ADMINS
#define NONE ACCESS_NO_SERVICE

/* A node of alice's own, and the system's; as its storage sees it. */
static const struct role_row {
    const char *what;
    bool apart;
    uint32_t uid;
    enum service by_pid; /* whose pid the page has */
    unsigned groups;
    enum access_role role;
} role_rows[] = {
    { "a service of one's own node", false, ALICE, SERVICE_SWARM, 0, ACCESS_SWARM },
    { "a program of one's own", false, ALICE, NONE, 0, ACCESS_ADMIN },
    { "root", false, ROOT, NONE, 0, ACCESS_ADMIN },
    { "root is not one's service", false, ROOT, SERVICE_SWARM, 0, ACCESS_ADMIN },
    { "another user", false, BOB, NONE, 0, ACCESS_STRANGER },
    { "another user with the pid of a service", false, BOB, SERVICE_SWARM, 0, ACCESS_STRANGER },
    { "another user whom a group lets in", false, BOB, NONE, U, ACCESS_USER },
    { "the system's transport", true, NET, SERVICE_TRANSPORT, 0, ACCESS_TRANSPORT },
    { "the system's swarm", true, NET, SERVICE_SWARM, 0, ACCESS_SWARM },
    { "the system's storage", true, DATA, SERVICE_STORAGE, 0, ACCESS_STORAGE },
    { "the system's gateway", true, API, SERVICE_GATEWAY, 0, ACCESS_GATEWAY },
    { "the system's supervisor", true, ROOT, SERVICE_SUPERVISOR, 0, ACCESS_SUPERVISOR },
    { "the system's coordinator", true, COORD, SERVICE_COORDINATOR, 0, ACCESS_COORDINATOR },
    { "a coordinator that wrote the signer's pid", true, COORD, SERVICE_SIGNER, 0,
      ACCESS_STRANGER },
    { "a swarm that wrote the coordinator's pid", true, NET, SERVICE_COORDINATOR, 0,
      ACCESS_STRANGER },
    { "a swarm that wrote the gateway's pid", true, NET, SERVICE_GATEWAY, 0, ACCESS_STRANGER },
    { "a swarm that wrote the supervisor's pid", true, NET, SERVICE_SUPERVISOR, 0,
      ACCESS_STRANGER },
    { "a process of a service's user", true, NET, NONE, 0, ACCESS_STRANGER },
    { "... that is in a group", true, NET, NONE, U | A, ACCESS_STRANGER },
    { "... of our own user", true, DATA, NONE, 0, ACCESS_STRANGER },
    { "the system's root", true, ROOT, NONE, 0, ACCESS_ADMIN },
    { "root with the pid of a service", true, ROOT, SERVICE_SWARM, 0, ACCESS_ADMIN },
    { "somebody", true, ALICE, NONE, 0, ACCESS_STRANGER },
    { "somebody with the pid of a service", true, ALICE, SERVICE_SWARM, 0, ACCESS_STRANGER },
    { "a user", true, ALICE, NONE, U, ACCESS_USER },
    { "an administrator", true, ALICE, NONE, A, ACCESS_ADMIN },
    { "one who is both", true, ALICE, NONE, U | A, ACCESS_ADMIN },
};

static void roles(void **state)
{
    const struct role_row *row = *state;
    const struct access_users users = {
        .own = row->apart ? DATA : ALICE,
        .apart = row->apart,
        .service = { [SERVICE_SUPERVISOR] = ROOT,
                     [SERVICE_ROUTING] = DATA,
                     [SERVICE_TRANSPORT] = NET,
                     [SERVICE_STORAGE] = DATA,
                     [SERVICE_SWARM] = NET,
                     [SERVICE_SIGNER] = SIGN,
                     [SERVICE_COORDINATOR] = COORD,
                     [SERVICE_MEMBER] = NET,
                     [SERVICE_GATEWAY] = API },
    };
    enum access_role role = access_service_role(&users, row->uid, row->by_pid);

    if (role == ACCESS_STRANGER) {
        role = access_person_role(&users, row->uid, row->groups);
        if (row->groups == 0) /* else it may not matter */
            assert_int_equal(access_needs_groups(&users, row->uid),
                             row->uid >= ALICE && (row->apart || row->uid != ALICE));
    }
    assert_string_equal(access_role_text(role), access_role_text(row->role));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_has_a_row_here_and_there),
        cmocka_unit_test(what_the_code_sends_is_allowed),
        cmocka_unit_test(levels),
    };

    return RUN_ROWS(cell_rows, cells) + RUN_ROWS(peer_rows, peers) + RUN_ROWS(role_rows, roles) +
           cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
