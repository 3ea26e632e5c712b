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

    /* The gateway answers when it begins to drain: it cannot later. */
    if ((err == LB_OK || err == LB_UNAVAILABLE || err == LB_CANCELLED) &&
        service == SERVICE_GATEWAY && !client_node_is_gone(session->client))
        return wait_for_gateway(session, generation);
    return err == LB_OK ? EXIT_DONE : session_failed(session, err);
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
        return args_usage(
            args,
            "'%s' is no service; services are routing, storage, transport, "
            "swarm, signer, coordinator, member and gateway, with @N for one instance",
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

/* "swarm=3" */
static bool parse_scale(const char *text, enum service *ret_service, uint64_t *ret_instances)
{
    const char *equals = strchr(text, '=');
    char name[32];

    if (equals == NULL || (size_t)(equals - text) >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    return service_parse(name, ret_service) == LB_OK &&
           args_number(equals + 1, STATUS_INSTANCES_MAX, ret_instances) && *ret_instances > 0;
}

static int scale(struct session *session, enum service service, uint64_t instances)
{
    Littlebird__V1__ScaleServiceRequest request = LITTLEBIRD__V1__SCALE_SERVICE_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/ScaleService",
                                .request = &request.base,
                                .response = &littlebird__v1__scale_service_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;

    request.service = (char *)(uintptr_t)service_text(service);
    request.instances = (uint32_t)instances;
    return session_call(session, &call, &response);
}

/* All of them are looked at before any is asked for; then one after the other, to the last. */
int command_scale(const struct args *args)
{
    enum service services[ARGS_WORDS_MAX];
    uint64_t instances[ARGS_WORDS_MAX];
    unsigned done = 0;
    struct session session;
    int code, worst = EXIT_DONE;

    for (unsigned i = 0; i < args->words_count; i++) {
        if (!parse_scale(args->words[i], &services[i], &instances[i]))
            return args_usage(args, "'%s' is not SERVICE=N, with N from 1 to %d", args->words[i],
                              STATUS_INSTANCES_MAX);
        for (unsigned before = 0; before < i; before++) {
            if (services[before] == services[i])
                return args_usage(args, "%s is given twice", service_text(services[i]));
        }
    }
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    for (unsigned i = 0; i < args->words_count; i++) {
        code = scale(&session, services[i], instances[i]);
        done += code == EXIT_DONE;
        worst = code != EXIT_DONE ? code : worst;
    }
    session_close(&session);
    return worst != EXIT_DONE && done > 0 ? EXIT_PARTLY : worst;
}
