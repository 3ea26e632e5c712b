/* lb-admin network create. */
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/offline.h"
#include "services/cli/session.h"
#include "services/coordinator/create.h"

#include <stdio.h>

static void print_created(const struct args *args, const struct paths *paths,
                          const struct create_request *request, const struct created *created)
{
    const struct identity *identity = &created->identity;
    char network[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE];

    hex_encode(identity->network, NETWORK_ID_SIZE, network);
    node_id_format(&identity->node, node);
    if (args_has(args, "json")) {
        json_print(json_pack(
            "{s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "network_name", identity->network_name,
            "network_id", network, "node_id", node, "coordinator", request->address,
            "root_key_file", json_text(created->root_key_file), "root_file",
            json_text(created->root_file), "waits_for_approval", (int)request->waits_for_approval));
        return;
    }
    printf("network   %s, %s\n", identity->network_name, network);
    printf("node      %s, its first member and coordinator\n", node);
    printf("joins     at %s (another: --coordinator HOST:PORT)\n", request->address);
    printf("root key  %s\n", created->root_key_file);
    printf("root      %s\n", created->root_file);
    printf("\nThe root's key makes coordinators, and whoever has it is the network. Nothing here "
           "needs it from now\n"
           "on: move both files to a medium that lies in a drawer, and leave no copy. It is wanted "
           "again to add a\n"
           "coordinator (lb-admin coordinator add) and within %llu days to sign anew for this one "
           "(coordinator renew).\n\n"
           "Next: %s, then lb-admin invite\n",
           CREATE_INTERMEDIATE_LIFE_S / (24 * 3600), offline_start_text(paths));
}

int command_network_create(const struct args *args)
{
    const char *name = args->words[0], *root = args_value(args, "root");
    char host[OFFLINE_HOST_SIZE], folder[NETWORK_NAME_SIZE + 8];
    struct offline_reach reach;
    struct create_request request = { .network_name = name,
                                      .address = reach.address,
                                      .host_name = host,
                                      .waits_for_approval = args_has(args, "approve"),
                                      .now_s = clock_wall_s() };
    struct create_problem problem = { "" };
    struct created created;
    struct paths paths;
    int code;

    if (!network_name_is_valid(name))
        return args_usage(args,
                          "'%.80s' is no name of a network: 1 to 63 letters, digits, '-', '_' and "
                          "'.', a letter or digit first",
                          name);
    code = offline_paths(args, &paths);
    if (code == EXIT_DONE)
        code = offline_reach(args, &paths, args_value(args, "coordinator"), &reach);
    if (code != EXIT_DONE)
        return code;
    request.node_port = reach.node_port;
    offline_host_name(host);
    snprintf(folder, sizeof folder, "%s-root", name);
    request.root_folder = root != NULL ? root : folder;
    if (create_network(&paths, &request, &created, &problem) != LB_OK)
        return args_failed(args, "%s", problem.text);
    print_created(args, &paths, &request, &created);
    return EXIT_DONE;
}
