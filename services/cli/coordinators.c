/* lb-admin coordinator status, add, renew and remove. */
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/confirm.h"
#include "services/cli/exit.h"
#include "services/cli/group.h"
#include "services/cli/json.h"
#include "services/cli/session.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/units.h"
#include "services/coordinator/create.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VOTES_WITHIN_MS 5000u
#define VOTES_POLL_NS   200000000
#define RENEW_EARLY_S   (30u * 24 * 3600) /* said from then on: the key lies in a drawer */

/* Until the next call on the session. once: as it is now, also when there is no register yet. */
static int get_group(struct session *session, bool once,
                     const Littlebird__V1__GetCoordinatorsResponse **ret_group)
{
    Littlebird__V1__GetCoordinatorsRequest request = LITTLEBIRD__V1__GET_COORDINATORS_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/GetCoordinators",
                                .request = &request.base,
                                .response = &littlebird__v1__get_coordinators_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS,
                                .once = once };
    const void *response;
    int code = session_call(session, &call, &response);

    if (code == EXIT_DONE)
        *ret_group = response;
    return code;
}

/* ---- status ---- */

static void print_head(const Littlebird__V1__GetCoordinatorsResponse *group)
{
    uint64_t now_s = clock_wall_s();
    char text[UNITS_SIZE];

    printf("network %s, %llu member%s, %llu waiting (%s), deny list %llu\n", group->network_name,
           (unsigned long long)group->members, text_plural(group->members),
           (unsigned long long)group->pending,
           group->waits_for_approval ? "each is approved" : "a valid token is enough",
           (unsigned long long)group->deny_number);
    printf("term %llu, entry %llu of %llu; %s\n", (unsigned long long)group->term,
           (unsigned long long)group->applied, (unsigned long long)group->committed,
           group->leader != 0 ? "has a leader"
                              : "no leader: no majority lives; joins wait, all else goes on");
    printf("this coordinator's certificate counts until %s",
           units_moment(group->intermediate_until_s, text));
    if (group->intermediate_until_s > now_s)
        printf(", %s more", units_duration(group->intermediate_until_s - now_s, text));
    if (group->intermediate_until_s < now_s + RENEW_EARLY_S)
        printf("\n    -> lb-admin coordinator renew, with the network's root key");
    printf("\n");
}

static void print_servers(const Littlebird__V1__GetCoordinatorsResponse *group)
{
    static const struct table_column columns[] = { { "SERVER", true }, { "ADDRESS", false },
                                                   { "NODE", false },  { "ROLE", false },
                                                   { "BEHIND", true }, { "", false },
                                                   { NULL, false } };
    struct table *table = table_new(columns);

    for (size_t i = 0; i < group->n_coordinators; i++) {
        const Littlebird__V1__Coordinator *coordinator = group->coordinators[i];
        char id[NODE_ID_TEXT_SIZE] = "";
        bool here = coordinator->server != 0 && coordinator->server == group->server;

        if (coordinator->node_id.len == NODE_ID_SIZE)
            hex_encode(coordinator->node_id.data, NODE_ID_SIZE, id);
        if (coordinator->server != 0)
            table_add(table, "%llu", (unsigned long long)coordinator->server);
        else
            table_add(table, "-");
        table_add(table, "%s", coordinator->address);
        table_add(table, "%s", id);
        table_add(table, "%s", group_role_text(group, coordinator));
        if (group->server == group->leader && coordinator->server != 0)
            table_add(table, "%llu", (unsigned long long)coordinator->lag);
        else
            table_add(table, "-"); /* only the leader knows */
        table_add(table, here ? "(this one)" : "");
    }
    table_print(table, stdout);
    table_free(&table);
}

int command_coordinator_status(const struct args *args)
{
    const Littlebird__V1__GetCoordinatorsResponse *group;
    struct session session;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = get_group(&session, true, &group);
    if (code == EXIT_DONE && session.json) {
        json_print(json_of_message(&group->base));
    } else if (code == EXIT_DONE) {
        print_head(group);
        print_servers(group);
        printf("%s\n", group_strength_text(group_voters(group)));
    }
    session_close(&session);
    return code;
}

/* ---- add, renew and remove ---- */

/* EXIT_NOT_FOUND, and why, when it is not exactly one. */
static int choose(const struct args *args, const Littlebird__V1__GetCoordinatorsResponse *group,
                  bool offered, const Littlebird__V1__Coordinator **ret_coordinator)
{
    const char *host = args->words[0];
    unsigned count, others;
    const Littlebird__V1__Coordinator *other;

    count = group_find(group, host, offered, ret_coordinator);
    others = group_find(group, host, !offered, &other);
    if (count == 1)
        return EXIT_DONE;
    if (count > 1)
        (void)args_failed(args,
                          "several are called %.80s: give HOST:PORT or a node id (see lb-admin "
                          "coordinator status)",
                          host);
    else if (offered && others > 0)
        (void)args_failed(args,
                          "%.80s is one of the group already; lb-admin coordinator renew signs "
                          "anew for it",
                          host);
    else if (offered)
        (void)args_failed(args,
                          "%.80s has not offered itself: there, littlebird join - --coordinator "
                          "HOST:PORT, and start it",
                          host);
    else
        (void)args_failed(args, "%.80s is none of the group (see lb-admin coordinator status)",
                          host);
    return EXIT_NOT_FOUND;
}

/* "lab.key" to "lab.pem", unless --root says which. */
static int root_file_of(const struct args *args, const char *key_file, char ret_file[PATHS_SIZE])
{
    const char *given = args_value(args, "root");
    size_t size = strlen(key_file);

    if (given == NULL && (size < 4 || strcmp(key_file + size - 4, ".key") != 0))
        return args_usage(args, "--root names the root's certificate, the .pem beside its key");
    if (size >= PATHS_SIZE || (given != NULL && strlen(given) >= PATHS_SIZE))
        return args_usage(args, "the path of the root's file is too long");
    if (given != NULL)
        snprintf(ret_file, PATHS_SIZE, "%s", given);
    else
        snprintf(ret_file, PATHS_SIZE, "%.*s.pem", (int)(size - 4), key_file);
    return EXIT_DONE;
}

/* The root's key is read here and goes nowhere: what is sent is what it signed. */
static int sign(const struct args *args, const Littlebird__V1__GetCoordinatorsResponse *group,
                const Littlebird__V1__Coordinator *coordinator,
                uint8_t ret_der[CERTIFICATE_DER_MAX], size_t *ret_size)
{
    const char *key_file = args_value(args, "root-key");
    struct create_problem problem = { "" };
    char root_file[PATHS_SIZE];
    int code;

    if (access(key_file, R_OK) != 0)
        return args_failed(args, "cannot read %s: %s", key_file, strerror(errno));
    code = root_file_of(args, key_file, root_file);
    if (code != EXIT_DONE)
        return code;
    if (group->network_id.len != NETWORK_ID_SIZE)
        return args_failed(args, "the answer is malformed");
    if (create_intermediate(key_file, root_file, group->network_id.data,
                            bytes_of(coordinator->request.data, coordinator->request.len),
                            clock_wall_s(), ret_der, ret_size, &problem) != LB_OK)
        return args_failed(args, "%s", problem.text);
    return EXIT_DONE;
}

/* What one answer said of a coordinator, kept while the next are asked for. */
struct signed_one {
    uint8_t node[NODE_ID_SIZE];
    uint8_t der[CERTIFICATE_DER_MAX];
    size_t size;
    char address[300];
};

static int sign_one(struct session *session, const Littlebird__V1__GetCoordinatorsResponse *group,
                    const Littlebird__V1__Coordinator *coordinator, struct signed_one *ret_one)
{
    if (coordinator->node_id.len != NODE_ID_SIZE)
        return args_failed(session->args, "the answer is malformed");
    memcpy(ret_one->node, coordinator->node_id.data, NODE_ID_SIZE);
    snprintf(ret_one->address, sizeof ret_one->address, "%s", coordinator->address);
    return sign(session->args, group, coordinator, ret_one->der, &ret_one->size);
}

/* To a node of the group, or that is to be. */
static int give(struct session *session, struct signed_one *one)
{
    Littlebird__V1__AddCoordinatorRequest request = LITTLEBIRD__V1__ADD_COORDINATOR_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/AddCoordinator",
                                .request = &request.base,
                                .response = &littlebird__v1__add_coordinator_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;

    request.node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, one->node };
    request.intermediate = (ProtobufCBinaryData){ one->size, one->der };
    return session_call(session, &call, &response);
}

/* The new one votes once it has heard of all there was; EXIT_DONE also when that takes longer. */
static int say_added(struct session *session, unsigned voters)
{
    const uint64_t until_ms = clock_monotonic_ms() + VOTES_WITHIN_MS;

    for (;;) {
        const Littlebird__V1__GetCoordinatorsResponse *group;
        int code = get_group(session, false, &group);

        if (code != EXIT_DONE)
            return code;
        if (group_voters(group) >= voters) {
            fprintf(stderr, "added; %s\n", group_strength_text(voters));
            return EXIT_DONE;
        }
        if (clock_monotonic_ms() >= until_ms)
            break;
        nanosleep(&(struct timespec){ .tv_nsec = VOTES_POLL_NS }, NULL);
    }
    fprintf(stderr, "added, but it does not vote yet: does it run, and do the others reach it at "
                    "its address? lb-admin coordinator status says when it does\n");
    return EXIT_DONE;
}

static int add(struct session *session)
{
    const Littlebird__V1__GetCoordinatorsResponse *group;
    const Littlebird__V1__Coordinator *coordinator;
    struct signed_one one;
    unsigned voters = 0;
    int code = get_group(session, false, &group);

    if (code == EXIT_DONE)
        code = choose(session->args, group, true, &coordinator);
    if (code == EXIT_DONE) {
        voters = group_voters(group);
        code = sign_one(session, group, coordinator, &one);
    }
    if (code == EXIT_DONE)
        code = give(session, &one);
    return code == EXIT_DONE ? say_added(session, voters + 1) : code;
}

#define GROUP_MAX 16

/* One of the group, or all of it. */
static int sign_all(struct session *session, struct signed_one ret_ones[GROUP_MAX],
                    size_t *ret_count)
{
    const Littlebird__V1__GetCoordinatorsResponse *group;
    const Littlebird__V1__Coordinator *chosen = NULL;
    int code = get_group(session, false, &group);

    *ret_count = 0;
    if (code == EXIT_DONE && session->args->words_count > 0)
        code = choose(session->args, group, false, &chosen);
    for (size_t i = 0; code == EXIT_DONE && i < group->n_coordinators && *ret_count < GROUP_MAX;
         i++) {
        const Littlebird__V1__Coordinator *coordinator = group->coordinators[i];

        if (coordinator->server != 0 && (chosen == NULL || chosen == coordinator))
            code = sign_one(session, group, coordinator, &ret_ones[(*ret_count)++]);
    }
    return code;
}

static int renew(struct session *session)
{
    struct signed_one ones[GROUP_MAX];
    size_t count;
    char text[UNITS_SIZE];
    int code = sign_all(session, ones, &count);

    for (size_t i = 0; code == EXIT_DONE && i < count; i++) {
        code = give(session, &ones[i]);
        if (code == EXIT_DONE)
            fprintf(stderr, "%s signs until %s\n", ones[i].address,
                    units_moment(clock_wall_s() + CREATE_INTERMEDIATE_LIFE_S, text));
    }
    return code;
}

static int run(const struct args *args, int (*command)(struct session *session))
{
    struct session session;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = command(&session);
    session_close(&session);
    return code;
}

static int run_with_key(const struct args *args, int (*command)(struct session *session))
{
    if (args_value(args, "root-key") == NULL)
        return args_usage(args, "--root-key names the file of the network's root key, which signs "
                                "the coordinator's certificate here");
    return run(args, command);
}

int command_coordinator_add(const struct args *args)
{
    return run_with_key(args, add);
}

int command_coordinator_renew(const struct args *args)
{
    return run_with_key(args, renew);
}

static int remove_coordinator(struct session *session)
{
    Littlebird__V1__RemoveCoordinatorRequest request =
        LITTLEBIRD__V1__REMOVE_COORDINATOR_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/RemoveCoordinator",
                                .request = &request.base,
                                .response =
                                    &littlebird__v1__remove_coordinator_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__GetCoordinatorsResponse *group;
    const Littlebird__V1__Coordinator *coordinator;
    uint8_t node[NODE_ID_SIZE];
    const void *response;
    unsigned voters;
    int code = get_group(session, false, &group);

    if (code == EXIT_DONE)
        code = choose(session->args, group, false, &coordinator);
    if (code != EXIT_DONE)
        return code;
    if (coordinator->node_id.len != NODE_ID_SIZE)
        return args_failed(session->args, "the answer is malformed");
    voters = group_voters(group) - (coordinator->voter ? 1 : 0);
    if (voters == 0)
        return args_failed(session->args, "it is the last coordinator: without one nobody could "
                                          "join or renew any more");
    memcpy(node, coordinator->node_id.data, NODE_ID_SIZE); /* the next answer takes its memory */
    code = confirm(session->args, "%s will be no coordinator any more. Then %s.",
                   coordinator->address, group_strength_text(voters));
    if (code != EXIT_DONE)
        return code;
    request.node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, node };
    code = session_call(session, &call, &response);
    if (code == EXIT_DONE)
        fprintf(stderr,
                "removed; %s\nthere: stop the node, remove its folders ca/ and coordinator/, start "
                "it again: it is a member\n",
                group_strength_text(voters));
    return code;
}

int command_coordinator_remove(const struct args *args)
{
    return run(args, remove_coordinator);
}
