/* lb-admin: the inside of a node. The table of commands; what they do is beside it. */
#include "services/cli/args.h"
#include "services/cli/commands.h"
#include "services/cli/offline.h"
#include "services/cli/session.h"

static const struct args_option dir_and_json[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    SESSION_OPTIONS_END,
};

static const struct args_option dir_only[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTIONS_END,
};

static const struct args_option status_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "watch", NULL, "again every second, until Ctrl-C" },
    SESSION_OPTIONS_END,
};

static const struct args_option reload_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "dry-run", NULL, "only say what it would do" },
    SESSION_OPTIONS_END,
};

static const struct args_option wait_options[] = {
    SESSION_OPTION_DIR,
    { "ready", NULL, "until every service serves and the API answers" },
    { "timeout", "T", "give up after this time (30s, 5 min); 1 min when not given" },
    SESSION_OPTIONS_END,
};

static const struct args_option show_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "origin", NULL, "say for each value where it was set" },
    SESSION_OPTIONS_END,
};

static const struct args_option audit_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "sample", "N", "only so many of the values, chosen at random" },
    SESSION_OPTIONS_END,
};

static const struct args_option limit_options[] = {
    SESSION_OPTION_DIR,
    { "down", "RATE", "the most that is fetched: 10 Mbit/s, 5 MB/s, or none" },
    { "up", "RATE", "the most that is sent" },
    SESSION_OPTIONS_END,
};

static const struct args_option create_options[] = {
    SESSION_OPTION_DIR,
    OFFLINE_OPTION_SYSTEM,
    SESSION_OPTION_JSON,
    { "root", "DIR", "the folder for the root's key and certificate; NAME-root when not given" },
    { "coordinator", "HOST:PORT",
      "where others reach it to join; else an address of this machine" },
    { "approve", NULL, "who joins waits until members approve; else a valid token is enough" },
    SESSION_OPTIONS_END,
};

static const struct args_option invite_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "uses", "N", "for so many nodes, at most 10000; one when not given" },
    { "ttl", "T", "valid for so long (10 min, 2h, 7d), at most 30d; a day when not given" },
    { "address", "HOST:PORT", "where to join, instead of the group's; up to four times" },
    SESSION_OPTIONS_END,
};

static const struct args_option revoke_options[] = {
    SESSION_OPTION_DIR,
    { "host", "NAME", "only if it has this name in the list of members" },
    { "yes", NULL, "without asking" },
    SESSION_OPTIONS_END,
};

static const struct args_option add_options[] = {
    SESSION_OPTION_DIR,
    { "root-key", "FILE", "the network's root key; it is read here and goes nowhere" },
    { "root", "FILE", "the root's certificate; the .pem beside its key when not given" },
    SESSION_OPTIONS_END,
};

static const struct args_option remove_options[] = {
    SESSION_OPTION_DIR,
    { "yes", NULL, "without asking" },
    SESSION_OPTIONS_END,
};

static const struct args_command commands[] = {
    { "status", "", 0, 0,
      "Show every process of the node. Works while services hang.\n"
      "Exit codes: 0 well, 1 degraded, 2 down, 3 not running.",
      status_options, command_status },
    { "restart", "SERVICE[@N]", 1, 1,
      "Restart a service, or one instance of it. Returns when it is ready again. Of several "
      "instances\n"
      "the next is restarted once the one before is ready: the others serve meanwhile.",
      dir_only, command_restart },
    { "scale", "SERVICE=N [SERVICE=N]...", 1, 3,
      "Run N instances of transport, storage or swarm, from 1 to 16. Returns when the new ones "
      "are\n"
      "ready, or when those that are too many have finished and are gone; nothing is lost.\n"
      "It lasts until the node is started again: with how many it starts, the configuration says.\n"
      "Exit codes: 0 done, 1 refused or failed, 5 some are done.",
      dir_only, command_scale },
    { "wait", "", 0, 0, "Wait until the node is ready. Exit code 1 when the time is over.",
      wait_options, command_wait },
    { "health", "", 0, 0,
      "Say in one line how the node is, with performance data, for Nagios and Icinga.\n"
      "Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
      dir_only, command_health },
    { "log", "[SERVICE[@N]|all LEVEL [T]]", 0, 3,
      "Set how much a service logs, for a time (10 min) or until the node restarts.\n"
      "LEVEL is error, warn, info, debug, or default: as configured. Without words: what is set.",
      dir_and_json, command_log },
    { "reload", "", 0, 0,
      "Read the configuration again: all of it takes effect or nothing of it.\n"
      "Says what has changed, and what needs a restart of which service.\n"
      "Exit codes: 0 done, 5 a service has not taken it over yet, 78 the configuration is wrong.",
      reload_options, command_reload },
    { "peers", "", 0, 0,
      "Show how many this node knows: contacts of the DHT, peers of each transfer.", dir_and_json,
      command_peers },
    { "table", "", 0, 0, "Show the routing table of the DHT.", dir_and_json, command_table },
    { "lookup", "HEX", 1, 1,
      "Look up the nodes closest to a target, over the network. It has 40 hexadecimal digits.",
      dir_and_json, command_lookup },
    { "limit", "", 0, 0,
      "Limit how fast the node fetches and sends, all torrents together, until it restarts.\n"
      "What it starts with: swarm.receive_limit and swarm.send_limit. One torrent: littlebird "
      "limit.",
      limit_options, command_limit_node },
    { "audit keys", "", 0, 0,
      "Count the live replicas of the values this node holds, by a lookup for each.\n"
      "Exit codes: 0 all are there, 1 some lack replicas or their check is late.",
      audit_options, command_audit_keys },
    { "network create", "NAME", 1, 1,
      "Begin a private network: the stopped node is its first member and coordinator.\n"
      "The key of the network's root is put into a folder of yours, to be taken offline.",
      create_options, command_network_create },
    { "network invitations", "", 0, 0,
      "List what lb-admin invite made: how many may still join by each, until when, and which are\n"
      "used up or withdrawn. The tokens themselves are kept nowhere. On a coordinator.",
      dir_and_json, command_network_invitations },
    { "network withdraw", "ID", 1, 1,
      "Take an invitation back: nobody joins by its token any more. On a coordinator.\n"
      "ID is what lb-admin network invitations shows. Who has joined by it stays a member.",
      dir_only, command_network_withdraw },
    { "invite", "", 0, 0,
      "Print a token with which nodes join, for littlebird join. On a coordinator.", invite_options,
      command_invite },
    { "members", "", 0, 0, "List the members of the network. On a coordinator.", dir_and_json,
      command_members },
    { "members pending", "", 0, 0,
      "List who has a token and waits for approval. On a coordinator.\n"
      "The node that waits shows the same fingerprint: compare them before you approve.",
      dir_and_json, command_members_pending },
    { "members approve", "FINGERPRINT", 1, 1, "Admit who waits under this fingerprint.", dir_only,
      command_members_approve },
    { "members reject", "FINGERPRINT", 1, 1, "Turn away who waits under this fingerprint.",
      dir_only, command_members_reject },
    { "revoke", "NODE", 1, 1,
      "Put a member out of the network. On a coordinator.\n"
      "NODE is its node id, or as much of its beginning as no other has. On a terminal it asks "
      "first.",
      revoke_options, command_revoke },
    { "renew", "", 0, 0,
      "Renew this node's certificate now; by itself it is renewed at two thirds of its life.",
      dir_and_json, command_renew },
    { "coordinator status", "", 0, 0,
      "Show the group of coordinators: its leader, its term, how far each is.", dir_and_json,
      command_coordinator_status },
    { "coordinator add", "HOST", 1, 1,
      "Take a node into the group that has offered itself (littlebird join --coordinator).\n"
      "HOST is its address or its node id. A group of three survives the loss of one, of five of "
      "two.",
      add_options, command_coordinator_add },
    { "coordinator renew", "[HOST]", 0, 1,
      "Sign anew the certificates by which coordinators sign, before their 90 days end: of all of "
      "the group,\n"
      "or of HOST alone, its address or node id. Needs the key from the drawer, and a majority.",
      add_options, command_coordinator_renew },
    { "coordinator remove", "HOST", 1, 1,
      "Take a coordinator out of the group; it stays a member, and the certificates it has signed "
      "count on. If its machine is in the wrong hands, revoke it then: none of them counts any "
      "more. On a terminal it asks first.",
      remove_options, command_coordinator_remove },
    { "config check", "[FILE]", 0, 1,
      "Check a configuration file and its conf.d without starting anything.\n"
      "Exit codes: 0 correct, 78 not; then the file and the line stand on stderr.",
      dir_only, command_config_check },
    { "config show", "", 0, 0,
      "Show what files and defaults say; options of littlebird up go before them.", show_options,
      command_config_show },
    { NULL, NULL, 0, 0, NULL, NULL, NULL },
};

static const struct args_program program = {
    "lb-admin", "Looks into a Littlebird node and tends its processes.", commands
};

int main(int argc, char **argv)
{
    return args_main(&program, argc, argv);
}
