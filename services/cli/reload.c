/* lb-admin reload: the node reads its configuration again. */
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/session.h"
#include "services/cli/table.h"

#include <stdio.h>

static void print_lines(const char *title, char *const *lines, size_t count)
{
    if (count > 0)
        printf("%s:\n", title);
    for (size_t i = 0; i < count; i++) {
        table_sanitize(lines[i]); /* ours until the next call */
        printf("  %s\n", lines[i]);
    }
}

static void print_text(const Littlebird__V1__ReloadResponse *response, bool dry_run)
{
    if (response->n_applied + response->n_needs_restart == 0)
        printf("nothing has changed\n");
    print_lines(dry_run ? "a reload would use" : "used from now on", response->applied,
                response->n_applied);
    print_lines("not used until more is done", response->needs_restart, response->n_needs_restart);
}

static int show(const struct session *session, const Littlebird__V1__ReloadResponse *response,
                bool dry_run)
{
    if (session->json)
        json_print(json_of_message(&response->base));
    if (response->problem[0] != '\0') {
        (void)args_failed(session->args, "%s; nothing was changed", response->problem);
        return EXIT_CONFIG;
    }
    if (!session->json)
        print_text(response, dry_run);
    for (size_t i = 0; i < response->n_late; i++)
        (void)args_failed(session->args, "%s has not taken it over yet", response->late[i]);
    return response->n_late > 0 ? EXIT_PARTLY : EXIT_DONE;
}

int command_reload(const struct args *args)
{
    Littlebird__V1__ReloadRequest request = LITTLEBIRD__V1__RELOAD_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/Reload",
                                .request = &request.base,
                                .response = &littlebird__v1__reload_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    struct session session;
    const void *response;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    request.dry_run = args_has(args, "dry-run");
    code = session_call(&session, &call, &response);
    if (code == EXIT_DONE)
        code = show(&session, response, request.dry_run);
    session_close(&session);
    return code;
}
