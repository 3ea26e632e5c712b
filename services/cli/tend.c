/* lb-admin restart and scale. */
#include "libcommon/clock.h"
#include "libcommon/status_page.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/session.h"
#include "services/cli/target.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 50

static uint32_t generation_of_gateway(const struct paths *paths, bool *ret_serves)
{
    const struct status_slot *slot;
    uint32_t generation = 0;
    struct page page;

    *ret_serves = false;
    if (status_page_open(&page, paths->run_folder, false) != LB_OK)
        return 0;
    slot = status_page_slot(&page, SERVICE_GATEWAY, 0);
    generation = atomic_load(&slot->generation);
    *ret_serves = service_state_serves((enum service_state)atomic_load(&slot->state));
    page_close(&page);
    return generation;
}

/* The one that would tell us is the one that is restarted: look ourselves. */
static int wait_for_gateway(const struct session *session, uint32_t generation_before)
{
    static const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
    uint64_t until_ms = clock_monotonic_ms() + SESSION_TIMEOUT_MS;
    bool serves;

    while (generation_of_gateway(&session->paths, &serves) == generation_before || !serves) {
        if (clock_monotonic_ms() >= until_ms)
            return args_failed(session->args, "the gateway is not ready again yet");
        nanosleep(&pause, NULL);
    }
    return EXIT_DONE;
}

static int restart(struct session *session, const Littlebird__V1__RestartServiceRequest *request,
                   enum service service)
{
    struct client_call call = { .method = "NodeService/RestartService",
                                .request = &request->base,
                                .response = &littlebird__v1__restart_service_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS,
                                .once = true };
    const void *response;
    bool serves;
    uint32_t generation = generation_of_gateway(&session->paths, &serves);
    lb_err err = client_call(session->client, &call, &response);

    if (err == LB_OK)
        return EXIT_DONE;
    if ((err == LB_UNAVAILABLE || err == LB_CANCELLED) && service == SERVICE_GATEWAY &&
        !client_node_is_gone(session->client))
        return wait_for_gateway(session, generation);
    return session_failed(session, err);
}

int command_restart(const struct args *args)
{
    Littlebird__V1__RestartServiceRequest request = LITTLEBIRD__V1__RESTART_SERVICE_REQUEST__INIT;
    struct session session;
    enum service service;
    bool has_instance;
    uint64_t instance = 0;
    int code;

    if (!target_parse(args->words[0], &service, &has_instance, &instance))
        return args_usage(args,
                          "'%s' is no service; services are routing, storage, transport, "
                          "swarm and gateway, with @N for one instance",
                          args->words[0]);
    request.service = (char *)(uintptr_t)service_text(service);
    if (has_instance) {
        request.which_case = LITTLEBIRD__V1__RESTART_SERVICE_REQUEST__WHICH_INSTANCE;
        request.instance = (uint32_t)instance;
    }
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = restart(&session, &request, service);
    session_close(&session);
    return code;
}

int command_scale(const struct args *args)
{
    Littlebird__V1__ScaleServiceRequest request = LITTLEBIRD__V1__SCALE_SERVICE_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/ScaleService",
                                .request = &request.base,
                                .response = &littlebird__v1__scale_service_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const char *equals = strchr(args->words[0], '=');
    char name[32];
    struct session session;
    enum service service;
    uint64_t instances;
    const void *response;
    int code;

    snprintf(name, sizeof name, "%.*s", equals != NULL ? (int)(equals - args->words[0]) : 0,
             args->words[0]);
    if (equals == NULL || service_parse(name, &service) != LB_OK ||
        !args_number(equals + 1, STATUS_INSTANCES_MAX, &instances) || instances == 0)
        return args_usage(args, "'%s' is not SERVICE=N, with N from 1 to %d", args->words[0],
                          STATUS_INSTANCES_MAX);
    request.service = (char *)(uintptr_t)service_text(service);
    request.instances = (uint32_t)instances;
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = session_call(&session, &call, &response);
    session_close(&session);
    return code;
}
