/* lb-admin invite and renew. */
#include "libcommon/bytes.h"
#include "libcommon/config.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/invitation.h"
#include "services/cli/json.h"
#include "services/cli/offline.h"
#include "services/cli/session.h"
#include "services/cli/text.h"
#include "services/cli/units.h"

#include <stdio.h>

#define USES_MAX      10000u
#define TTL_S_MIN     60u
#define TTL_S_MAX     (30u * 24 * 3600)
#define ADDRESSES_MAX 4u

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

static void print_invited(const Littlebird__V1__InviteRequest *request,
                          const Littlebird__V1__InviteResponse *token)
{
    char until[UNITS_SIZE], id[2 * INVITATION_ID_SIZE + 1];

    printf("%s\n", token->token);
    fprintf(stderr,
            "for %u node%s, until %s; on each: littlebird join -, and the token on standard "
            "input\n",
            request->uses, text_plural(request->uses), units_moment(token->expires_s, until));
    if (token->invitation_id.len != INVITATION_ID_SIZE)
        return; /* an older node does not say it */
    hex_encode(token->invitation_id.data, INVITATION_ID_SIZE, id);
    fprintf(stderr, "lb-admin network withdraw %s takes it back\n", id);
}

static int invite(struct session *session, const Littlebird__V1__InviteRequest *request)
{
    struct client_call call = { .method = "NetworkService/Invite",
                                .request = &request->base,
                                .response = &littlebird__v1__invite_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;
    int code = session_call(session, &call, &response);

    if (code != EXIT_DONE)
        return code;
    if (session->json)
        json_print(json_of_message(response));
    else
        print_invited(request, response);
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
        printf("valid until %s, serial number %llu\n", units_moment(renewed->not_after_s, until),
               (unsigned long long)renewed->serial);
    session_close(&session);
    return code;
}
