/* lb-admin wait */
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/processes.h"
#include "services/cli/session.h"

#include <stdio.h>
#include <time.h>

#define WAIT_PAUSE_MS   50
#define WAIT_DEFAULT_MS 60000u
#define API_TIMEOUT_MS  2000u

/* On failure *ret_why says what is missing. */
static bool processes_serve(const struct paths *paths, char ret_why[PROCESSES_WHY_SIZE])
{
    enum readiness readiness = processes_readiness(paths, 0, ret_why);

    return readiness == READINESS_READY || readiness == READINESS_DEGRADED;
}

/* Likewise. */
static bool api_answers(const struct paths *paths, char ret_why[PROCESSES_WHY_SIZE])
{
    Littlebird__V1__GetServerInfoRequest request = LITTLEBIRD__V1__GET_SERVER_INFO_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/GetServerInfo",
                                .request = &request.base,
                                .response = &littlebird__v1__get_server_info_response__descriptor,
                                .timeout_ms = API_TIMEOUT_MS };
    struct client *client = client_new(paths, NULL);
    const void *response;
    lb_err err = client_call(client, &call, &response);

    client_free(&client);
    if (err != LB_OK)
        snprintf(ret_why, PROCESSES_WHY_SIZE, "the services are ready, but the API answers: %s",
                 lb_err_text(err));
    return err == LB_OK;
}

int command_wait(const struct args *args)
{
    static const struct timespec pause = { .tv_nsec = WAIT_PAUSE_MS * 1000000L };
    const char *text = args_value(args, "timeout");
    uint64_t timeout_ms = WAIT_DEFAULT_MS, until_ms;
    char why[PROCESSES_WHY_SIZE];
    struct paths paths;
    int code;

    if (text != NULL && config_parse_time(text, &timeout_ms) != LB_OK)
        return args_usage(args, "--timeout needs a time such as 30s or 5 min, not '%s'", text);
    code = session_paths(args, &paths);
    if (code != EXIT_DONE)
        return code;
    until_ms = clock_monotonic_ms() + timeout_ms;
    while (!processes_serve(&paths, why) || !api_answers(&paths, why)) {
        if (clock_monotonic_ms() >= until_ms)
            return args_failed(args, "not ready: %s", why);
        nanosleep(&pause, NULL);
    }
    return EXIT_DONE;
}
