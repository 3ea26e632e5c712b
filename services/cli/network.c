/* lb-admin network create, invite, renew. */
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/offline.h"
#include "services/cli/session.h"
#include "services/cli/text.h"
#include "services/cli/units.h"
#include "services/coordinator/create.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USES_MAX      10000u
#define TTL_S_MIN     60u
#define TTL_S_MAX     (30u * 24 * 3600)
#define ADDRESSES_MAX 4u

/* ---- network create ---- */

static void print_created(const struct args *args, const struct paths *paths,
                          const struct create_request *request, const struct created *created)
{
    const struct identity *identity = &created->identity;
    char network[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE];

    hex_encode(identity->network, NETWORK_ID_SIZE, network);
    node_id_format(&identity->node, node);
    if (args_has(args, "json")) {
        json_print(json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "network_name",
                             identity->network_name, "network_id", network, "node_id", node,
                             "coordinator", request->address, "root_key_file",
                             json_text(created->root_key_file), "root_file",
                             json_text(created->root_file), "waits_for_approval",
                             (int)request->waits_for_approval));
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
           "coordinator (lb-admin coordinator add) and to renew this one's certificate, within "
           "%llu days.\n\n"
           "Next: %s, then lb-admin invite\n",
           CREATE_INTERMEDIATE_LIFE_S / (24 * 3600), offline_start_text(paths));
}

int command_network_create(const struct args *args)
{
    const char *name = args->words[0], *root = args_value(args, "root");
    char address[OFFLINE_ADDRESS_SIZE], host[OFFLINE_HOST_SIZE], folder[NETWORK_NAME_SIZE + 8];
    struct create_request request = { .network_name = name,
                                      .address = address,
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
        code = offline_address(args, &paths, args_value(args, "coordinator"), address);
    if (code != EXIT_DONE)
        return code;
    offline_host_name(host);
    snprintf(folder, sizeof folder, "%s-root", name);
    request.root_folder = root != NULL ? root : folder;
    if (create_network(&paths, &request, &created, &problem) != LB_OK)
        return args_failed(args, "%s", problem.text);
    print_created(args, &paths, &request, &created);
    return EXIT_DONE;
}

/* ---- invite ---- */

static int take_ttl(const struct args *args, uint32_t *ret_ttl_s)
{
    const char *text = args_value(args, "ttl");
    uint64_t ttl_ms;

    if (text == NULL)
        return EXIT_DONE;
    if (config_parse_time(text, &ttl_ms) != LB_OK || ttl_ms < TTL_S_MIN * UINT64_C(1000) ||
        ttl_ms > TTL_S_MAX * UINT64_C(1000))
        return args_usage(args, "--ttl needs a time from 1 min to 30d, not '%.60s'", text);
    *ret_ttl_s = (uint32_t)((ttl_ms + 999) / 1000);
    return EXIT_DONE;
}

/* The texts are borrowed from args. */
static int prepare_invite(const struct args *args, Littlebird__V1__InviteRequest *request,
                          char *addresses[ADDRESSES_MAX])
{
    const char *uses = args_value(args, "uses"), *address;
    uint64_t number = 1;

    if (uses != NULL && (!args_number(uses, USES_MAX, &number) || number == 0))
        return args_usage(args, "--uses is a number from 1 to %u, not '%.60s'", USES_MAX, uses);
    request->uses = (uint32_t)number;
    request->addresses = addresses;
    while ((address = args_value_at(args, "address", (unsigned)request->n_addresses)) != NULL) {
        if (request->n_addresses == ADDRESSES_MAX)
            return args_usage(args, "a token holds at most %u addresses", ADDRESSES_MAX);
        if (!offline_is_address(address))
            return args_usage(args, "--address: '%.60s' is no HOST:PORT", address);
        addresses[request->n_addresses++] = (char *)(uintptr_t)address;
    }
    return take_ttl(args, &request->ttl_s);
}

static int invite(struct session *session, const Littlebird__V1__InviteRequest *request)
{
    struct client_call call = { .method = "NetworkService/Invite",
                                .request = &request->base,
                                .response = &littlebird__v1__invite_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__InviteResponse *token;
    const void *response;
    char until[UNITS_SIZE];
    int code = session_call(session, &call, &response);

    if (code != EXIT_DONE)
        return code;
    token = response;
    if (session->json) {
        json_print(json_of_message(&token->base));
        return EXIT_DONE;
    }
    printf("%s\n", token->token);
    fprintf(stderr,
            "for %u node%s, until %s; on each: littlebird join -, and the token on standard "
            "input\n",
            request->uses, text_plural(request->uses), units_moment(token->expires_s, until));
    return EXIT_DONE;
}

int command_invite(const struct args *args)
{
    Littlebird__V1__InviteRequest request = LITTLEBIRD__V1__INVITE_REQUEST__INIT;
    char *addresses[ADDRESSES_MAX];
    struct session session;
    int code = prepare_invite(args, &request, addresses);

    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = invite(&session, &request);
    session_close(&session);
    return code;
}

/* ---- renew ---- */

int command_renew(const struct args *args)
{
    Littlebird__V1__RenewRequest request = LITTLEBIRD__V1__RENEW_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/Renew",
                                .request = &request.base,
                                .response = &littlebird__v1__renew_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__RenewResponse *renewed;
    struct session session;
    const void *response;
    char until[UNITS_SIZE];
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = session_call(&session, &call, &response);
    renewed = response;
    if (code == EXIT_DONE && session.json)
        json_print(json_of_message(&renewed->base));
    else if (code == EXIT_DONE)
        printf("valid until %s, serial number %llu\n",
               units_moment(renewed->not_after_s, until), (unsigned long long)renewed->serial);
    session_close(&session);
    return code;
}
