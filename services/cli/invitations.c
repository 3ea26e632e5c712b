/* lb-admin network invitations and withdraw. */
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/invitation.h"
#include "services/cli/json.h"
#include "services/cli/session.h"
#include "services/cli/table.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- all of them ---- */

struct listing {
    struct invitation_row *rows;
    size_t count;
};

/* EXIT_FAILED: an id has not its size. */
static int take_page(const struct args *args, struct listing *self,
                     const Littlebird__V1__ListInvitationsResponse *page)
{
    self->rows = xrealloc(self->rows, (self->count + page->n_invitations) * sizeof *self->rows);
    for (size_t i = 0; i < page->n_invitations; i++) {
        struct invitation_row *row = &self->rows[self->count++];

        row->invitation = *page->invitations[i];
        if (row->invitation.invitation_id.len != INVITATION_ID_SIZE)
            return args_failed(args, "the list of invitations is malformed");
        memcpy(row->id, row->invitation.invitation_id.data, INVITATION_ID_SIZE);
    }
    return EXIT_DONE;
}

static int take_pages(struct session *session, struct listing *self)
{
    Littlebird__V1__ListInvitationsRequest request = LITTLEBIRD__V1__LIST_INVITATIONS_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/ListInvitations",
                                .request = &request.base,
                                .response = &littlebird__v1__list_invitations_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    bool more = true;

    while (more) {
        const Littlebird__V1__ListInvitationsResponse *page;
        const void *response;
        int code = session_call(session, &call, &response);

        if (code != EXIT_DONE)
            return code;
        page = response;
        more = page->more && page->n_invitations > 0;
        if (page->n_invitations > 0)
            code = take_page(session->args, self, page);
        if (code != EXIT_DONE)
            return code;
        if (more)
            request.after =
                (ProtobufCBinaryData){ INVITATION_ID_SIZE, self->rows[self->count - 1].id };
    }
    return EXIT_DONE;
}

static void print_json(const struct listing *self)
{
    json_t *array = json_array();

    for (size_t i = 0; i < self->count; i++)
        json_array_append_new(array, json_of_message(&self->rows[i].invitation.base));
    json_print(json_pack("{s:o}", "invitations", array));
}

static void print_table(const struct listing *self, uint64_t now_s)
{
    static const struct table_column columns[] = { { "INVITATION", false }, { "USES LEFT", false },
                                                   { "STATE", false },      { "MADE", false },
                                                   { "EXPIRES", false },    { NULL, false } };
    struct table *table = table_new(columns);

    for (size_t i = 0; i < self->count; i++) {
        const Littlebird__V1__Invitation *invitation = &self->rows[i].invitation;
        char id[2 * INVITATION_ID_SIZE + 1], text[INVITATION_TEXT_SIZE], made[UNITS_SIZE];

        hex_encode(self->rows[i].id, INVITATION_ID_SIZE, id);
        table_add(table, "%s", id);
        table_add(table, "%s", invitation_uses_text(invitation, text));
        table_add(table, "%s", invitation_state_text(invitation, now_s));
        table_add(table, "%s", units_moment(invitation->made_s, made));
        table_add(table, "%s", invitation_expiry_text(invitation, now_s, text));
    }
    table_print(table, stdout);
    table_free(&table);
}

int command_network_invitations(const struct args *args)
{
    struct listing listing = { NULL, 0 };
    struct session session;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = take_pages(&session, &listing);
    if (code == EXIT_DONE)
        invitation_sort(listing.rows, listing.count);
    if (code == EXIT_DONE && session.json)
        print_json(&listing);
    else if (code == EXIT_DONE && listing.count > 0)
        print_table(&listing, clock_wall_s());
    else if (code == EXIT_DONE)
        fprintf(stderr, "there is no invitation; lb-admin invite makes one\n");
    free(listing.rows);
    session_close(&session);
    return code;
}

/* ---- one of them ---- */

/* The word is not repeated: it may be a token, mistyped, and what stands on stderr may be kept. */
static int check_name(const struct args *args, uint8_t ret_id[INVITATION_ID_SIZE])
{
    switch (invitation_parse(args->words[0], ret_id)) {
    case INVITATION_IS_TOKEN:
        return args_usage(args, "that is the token itself, and whoever sees the command line may "
                                "use it: give the invitation's id (see lb-admin network "
                                "invitations)");
    case INVITATION_NOT_NAMED:
        return args_usage(args, "ID has %d hexadecimal digits (see lb-admin network invitations)",
                          2 * INVITATION_ID_SIZE);
    case INVITATION_NAMED:
        break;
    }
    return EXIT_DONE;
}

int command_network_withdraw(const struct args *args)
{
    Littlebird__V1__WithdrawInvitationRequest request =
        LITTLEBIRD__V1__WITHDRAW_INVITATION_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/WithdrawInvitation",
                                .request = &request.base,
                                .response =
                                    &littlebird__v1__withdraw_invitation_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    uint8_t id[INVITATION_ID_SIZE];
    char text[2 * INVITATION_ID_SIZE + 1];
    struct session session;
    const void *response;
    int code = check_name(args, id);

    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    request.invitation_id = (ProtobufCBinaryData){ sizeof id, id };
    code = session_call(&session, &call, &response);
    hex_encode(id, sizeof id, text);
    if (code == EXIT_DONE)
        fprintf(stderr,
                "%s is withdrawn: nobody joins by its token any more. Who has joined by it stays a "
                "member (lb-admin revoke), who waits for approval goes on waiting (lb-admin "
                "members pending)\n",
                text);
    session_close(&session);
    return code;
}
