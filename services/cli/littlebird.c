/* littlebird: a node, its files and its values. The table of commands; what they do is beside it.
 */
#include "services/cli/args.h"
#include "services/cli/commands.h"
#include "services/cli/offline.h"
#include "services/cli/session.h"

static const struct args_option up_options[] = {
    SESSION_OPTION_DIR,
    { "listen", "ADDR:PORT", "where to listen, UDP and TCP; again for a second address" },
    { "bootstrap", "HOST:PORT", "a node to join through; may be given several times" },
    { "client", NULL,
      "ask the network without being part of it: nothing is stored here for others" },
    { "set", "section.key=value", "override the configuration" },
    { "detach", NULL, "return once it is ready; it logs to littlebird.log among its data" },
    SESSION_OPTIONS_END,
};

static const struct args_option down_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTIONS_END,
};

static const struct args_option share_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "torrent", "FILE", "write the .torrent file, too" },
    { "v1", NULL, "BitTorrent v1 (BEP 3)" },
    { "v2", NULL, "BitTorrent v2 (BEP 52)" },
    { "hybrid", NULL, "both" },
    { "piece", "SIZE", "length of a piece: 16 KiB to 16 MiB, a power of two; else chosen by size" },
    { "private", NULL,
      "its peers are not looked for in the network (BEP 27); give it with --peer" },
    { "web-seed", "URL", "where a web server has it, too (BEP 19); may be given several times" },
    SESSION_OPTIONS_END,
};

static const struct args_option fetch_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "to", "DIR|DEVICE", "where to put it; the current folder when not given" },
    { "select", "FILES",
      "only these: a path, a pattern as '*.iso', or indices as 0,2-4; may be repeated" },
    { "priority", "P", "low, normal or high" },
    { "seed-for", "T", "seed for so long when it is complete (30s, 2h); else until removed" },
    { "base", "PATH", "take the blocks that an older version has already, a file or a folder" },
    { "verify", NULL, "read everything back from the disk at the end, and compare" },
    { "peer", "ADDR:PORT", "where somebody has it; may be given several times" },
    { "yes", NULL, "write to a device without asking" },
    SESSION_OPTIONS_END,
};

static const struct args_option put_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "immutable", NULL, "put --immutable [VALUE|-]: no key, it is named by its own hash" },
    { "own", NULL, "sign with this node's own key instead of the network's shared one" },
    { "cas", "N", "store only over sequence number N; 0: only if there is none" },
    { "ttl", "T", "it ends after this time (30s, 5 min, 2h, 7d); else when nobody renews it" },
    { "remove", NULL, "put --remove KEY: take the value away; with --cas N only this version" },
    SESSION_OPTIONS_END,
};

static const struct args_option get_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "immutable", NULL, "KEY is the 40 hexadecimal digits that put --immutable printed" },
    { "own", NULL, "the value that this node itself put with --own" },
    { "public-key", "HEX", "the value that the node with this key put with --own" },
    { "watch", NULL, "then each new version as it comes, a line end after each, until Ctrl-C" },
    SESSION_OPTIONS_END,
};

static const struct args_option list_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "files", "LINK", "the files of one, and how far each is" },
    { "peers", "LINK", "the peers of one: how far each is, and why it is not faster" },
    SESSION_OPTIONS_END,
};

static const struct args_option limit_options[] = {
    SESSION_OPTION_DIR,
    { "down", "RATE", "the most that is fetched: 10 Mbit/s, 5 MB/s, or none" },
    { "up", "RATE", "the most that is sent" },
    { "priority", "P", "low, normal or high" },
    SESSION_OPTIONS_END,
};

static const struct args_option check_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    SESSION_OPTIONS_END,
};

static const struct args_option remove_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTIONS_END,
};

static const struct args_option join_options[] = {
    SESSION_OPTION_DIR,
    OFFLINE_OPTION_SYSTEM,
    SESSION_OPTION_JSON,
    { "coordinator", "HOST:PORT", "offer it as a further coordinator, reached by others there" },
    { "timeout", "T", "give up after this time (30s, 5 min); else it waits for approval" },
    SESSION_OPTIONS_END,
};

static const struct args_option send_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "keep", "T", "while that node is away, others keep it so long, at most 30d; else 7d" },
    SESSION_OPTIONS_END,
};

static const struct args_option inbox_options[] = {
    SESSION_OPTION_DIR,
    SESSION_OPTION_JSON,
    { "follow", NULL, "then each new message as it comes, until Ctrl-C" },
    { "remove", "N", "take the message with this number away" },
    SESSION_OPTIONS_END,
};

static const struct args_command commands[] = {
    { "up", "", 0, 0, "Start a node, in the foreground unless --detach is given.", up_options,
      command_up },
    { "down", "", 0, 0, "Stop the node; what it is doing is finished first.", down_options,
      command_down },
    { "share", "PATH", 1, 1,
      "Share a file or folder: prints its magnet link. Returns when it is being seeded.\n"
      "Ctrl-C ends this command, not the sharing.",
      share_options, command_share },
    { "fetch", "LINK|FILE", 1, 1,
      "Fetch what a magnet link or .torrent file names. Returns when it is complete and verified;\n"
      "the node then seeds it. Ctrl-C ends this command, not the transfer. What is not selected "
      "is\n"
      "not fetched; a file that shares a piece with one that is may be there in part. Fetching it\n"
      "again with other files adds these.",
      fetch_options, command_fetch },
    { "put", "KEY [VALUE|-]", 0, 2,
      "Store a value under a key; everybody in the network may read it and put another one there.\n"
      "Without VALUE, or with -, it is read from standard input; it has at most 1 MiB. It lives "
      "for\n"
      "storage.value_ttl, renewed while this node runs, unless --ttl says when it ends.",
      put_options, command_put },
    { "get", "KEY", 1, 1,
      "Print the value of a key, as it was put; on a terminal only if it is text.\n"
      "Exit code 4 when there is none, or it was removed.",
      get_options, command_get },
    { "list", "", 0, 0, "List what is shared and fetched here, and how far.", list_options,
      command_list },
    { "limit", "LINK|INFOHASH", 1, 1,
      "Limit how fast one is fetched and sent, and say how it ranks among others. Kept over "
      "restarts.\n"
      "The node as a whole: lb-admin limit.",
      limit_options, command_limit },
    { "check", "LINK|INFOHASH", 1, 1,
      "Read what is on the disk, compare, and fetch again what is bad.\n"
      "What is shared is never written to: exit code 5, and the files that differ.",
      check_options, command_check },
    { "remove", "LINK|INFOHASH", 1, 1, "Stop sharing or fetching; files stay where they are.",
      remove_options, command_remove },
    { "join", "TOKEN|-", 1, 1,
      "Join a private network: the stopped node gets its key and its certificate.\n"
      "The token is what lb-admin invite printed. Whoever sees it may use it, and a command line "
      "is\n"
      "seen by all users of the machine: - reads it from standard input. The coordinator is "
      "checked\n"
      "before the token leaves. Ended at any moment, the same command goes on from there.",
      join_options, command_join },
    { "send", "NODE [TEXT|-]", 1, 2,
      "Send a private message to another member of the network: only it can read it.\n"
      "NODE is its node id, on a coordinator the beginning of it will do. Without TEXT, or with "
      "-,\n"
      "it is read from standard input, which other users of the machine cannot see; at most 32 "
      "KiB.",
      send_options, command_send },
    { "inbox", "", 0, 0,
      "Show the private messages that came: who sent each is proven. --json has them as they are.",
      inbox_options, command_inbox },
    { NULL, NULL, 0, 0, NULL, NULL, NULL },
};

static const struct args_program program = {
    "littlebird", "A node of a file swarm and a distributed hash table, without a server.", commands
};

int main(int argc, char **argv)
{
    return args_main(&program, argc, argv);
}
