/* lb-admin members, members pending, approve and reject, revoke. */
#include "services/cli/members.h"

#include "libcommon/bytes.h"
#include "services/cli/commands.h"
#include "services/cli/confirm.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <string.h>

#define KEY_DIGEST_SIZE 32

/* ---- page by page ---- */

typedef void visit_fn(void *ctx, const Littlebird__V1__Member *member);

static int each_member(struct session *session, bool pending, visit_fn *visit, void *ctx)
{
    Littlebird__V1__ListMembersRequest request = LITTLEBIRD__V1__LIST_MEMBERS_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/ListMembers",
                                .request = &request.base,
                                .response = &littlebird__v1__list_members_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    uint8_t after[KEY_DIGEST_SIZE];
    bool more = true;

    request.pending = pending;
    while (more) {
        const Littlebird__V1__ListMembersResponse *page;
        const ProtobufCBinaryData *last;
        const void *response;
        int code = session_call(session, &call, &response);

        if (code != EXIT_DONE)
            return code;
        page = response;
        for (size_t i = 0; i < page->n_members; i++)
            visit(ctx, page->members[i]);
        more = page->more && page->n_members > 0;
        if (!more)
            break;
        last = pending ? &page->members[page->n_members - 1]->key_digest
                       : &page->members[page->n_members - 1]->node_id;
        if (last->len > sizeof after)
            return args_failed(session->args, "the list of members is malformed");
        memcpy(after, last->data, last->len); /* the next answer takes its memory */
        request.after = (ProtobufCBinaryData){ last->len, after };
    }
    return EXIT_DONE;
}

/* ---- lists ---- */

struct listing {
    json_t *array; /* NULL: a table is made */
    struct table *table;
    size_t count;
};

static const char *state_of(const Littlebird__V1__Member *member)
{
    if (member->revoked)
        return "revoked";
    return member->coordinator ? "coordinator" : "member";
}

static void list_member(void *ctx, const Littlebird__V1__Member *member)
{
    struct listing *self = ctx;
    char id[NODE_ID_TEXT_SIZE] = "", text[UNITS_SIZE];

    self->count++;
    if (self->array != NULL) {
        json_array_append_new(self->array, json_of_message(&member->base));
        return;
    }
    if (member->node_id.len == NODE_ID_SIZE)
        hex_encode(member->node_id.data, NODE_ID_SIZE, id);
    table_add(self->table, "%s", id);
    table_add(self->table, "%s", member->host_name);
    table_add(self->table, "%s", state_of(member));
    table_add(self->table, "%s", units_moment(member->admitted_s, text));
    table_add(self->table, "%s", units_moment(member->not_after_s, text));
    table_add(self->table, "%s", member->fingerprint);
}

static void list_pending(void *ctx, const Littlebird__V1__Member *member)
{
    struct listing *self = ctx;
    char text[UNITS_SIZE];

    self->count++;
    if (self->array != NULL) {
        json_array_append_new(self->array, json_of_message(&member->base));
        return;
    }
    table_add(self->table, "%s", member->fingerprint);
    table_add(self->table, "%s", member->host_name);
    table_add(self->table, "%s", units_moment(member->admitted_s, text));
}

static int list(struct session *session, bool pending)
{
    static const struct table_column of_members[] = { { "NODE", false },    { "HOST", false },
                                                      { "STATE", false },   { "ADMITTED", false },
                                                      { "EXPIRES", false }, { "KEY", false },
                                                      { NULL, false } };
    static const struct table_column of_pending[] = {
        { "FINGERPRINT", false }, { "HOST", false }, { "SINCE", false }, { NULL, false }
    };
    struct listing listing = { .array = session->json ? json_array() : NULL };
    int code;

    listing.table = table_new(pending ? of_pending : of_members);
    code = each_member(session, pending, pending ? list_pending : list_member, &listing);
    if (code == EXIT_DONE && session->json)
        json_print(json_pack("{s:O}", "members", listing.array));
    else if (code == EXIT_DONE && listing.count > 0)
        table_print(listing.table, stdout);
    else if (code == EXIT_DONE)
        fprintf(stderr, pending ? "nobody waits for approval\n" : "there is no member\n");
    json_decref(listing.array);
    table_free(&listing.table);
    return code;
}

static int run_list(const struct args *args, bool pending)
{
    struct session session;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = list(&session, pending);
    session_close(&session);
    return code;
}

int command_members(const struct args *args)
{
    return run_list(args, false);
}

int command_members_pending(const struct args *args)
{
    return run_list(args, true);
}

/* ---- one of them ---- */

struct search {
    const struct member_name *name;
    struct member_found found, revoked; /* the last of each that matches */
    unsigned found_count, revoked_count;
};

static void look_for_member(void *ctx, const Littlebird__V1__Member *member)
{
    struct search *self = ctx;
    struct member_found *found = member->revoked ? &self->revoked : &self->found;

    if (!member_name_matches(self->name, member->node_id.data, member->node_id.len))
        return;
    *(member->revoked ? &self->revoked_count : &self->found_count) += 1;
    *found = (struct member_found){ .node = node_id_from(member->node_id.data),
                                    .revoked = member->revoked,
                                    .coordinator = member->coordinator };
    snprintf(found->host_name, sizeof found->host_name, "%s", member->host_name);
    table_sanitize(found->host_name);
}

int members_find(struct session *session, const struct member_name *name,
                 struct member_found *ret_found)
{
    struct search search = { .name = name };
    int code = each_member(session, false, look_for_member, &search);

    if (code != EXIT_DONE)
        return code;
    if (search.found_count + search.revoked_count == 0) {
        (void)args_failed(session->args,
                          "no member's node id begins with %s (see lb-admin members)",
                          name->digits);
        return EXIT_NOT_FOUND;
    }
    if (search.found_count > 1 || (search.found_count == 0 && search.revoked_count > 1)) {
        (void)args_failed(session->args,
                          "several members' node ids begin with %s: give more digits (see lb-admin "
                          "members)",
                          name->digits);
        return EXIT_NOT_FOUND;
    }
    *ret_found = search.found_count == 1 ? search.found : search.revoked;
    return EXIT_DONE;
}

/* ---- who waits ---- */

struct waiting {
    const char *fingerprint; /* as it was typed */
    uint8_t key_digest[KEY_DIGEST_SIZE];
    char host_name[MEMBER_HOST_SIZE];
    unsigned count;
};

static void look_for_waiting(void *ctx, const Littlebird__V1__Member *member)
{
    struct waiting *self = ctx;

    if (!member_fingerprint_equal(self->fingerprint, member->fingerprint) ||
        member->key_digest.len != KEY_DIGEST_SIZE)
        return;
    self->count++;
    memcpy(self->key_digest, member->key_digest.data, KEY_DIGEST_SIZE);
    snprintf(self->host_name, sizeof self->host_name, "%s", member->host_name);
    table_sanitize(self->host_name);
}

static int decide(struct session *session, bool admit)
{
    Littlebird__V1__DecideMemberRequest request = LITTLEBIRD__V1__DECIDE_MEMBER_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/DecideMember",
                                .request = &request.base,
                                .response = &littlebird__v1__decide_member_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    struct waiting waiting = { .fingerprint = session->args->words[0] };
    const void *response;
    int code = each_member(session, true, look_for_waiting, &waiting);

    if (code != EXIT_DONE)
        return code;
    if (waiting.count != 1) {
        (void)args_failed(
            session->args, "%s with the fingerprint %s (see lb-admin members pending)",
            waiting.count == 0 ? "nobody waits" : "several wait", waiting.fingerprint);
        return EXIT_NOT_FOUND;
    }
    request.key_digest = (ProtobufCBinaryData){ KEY_DIGEST_SIZE, waiting.key_digest };
    request.admit = admit;
    code = session_call(session, &call, &response);
    if (code == EXIT_DONE)
        fprintf(stderr, "%s %s\n", waiting.host_name,
                admit ? "is admitted: it has its certificate when it asks the next time"
                      : "is rejected");
    return code;
}

static int run_decide(const struct args *args, bool admit)
{
    struct session session;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = decide(&session, admit);
    session_close(&session);
    return code;
}

int command_members_approve(const struct args *args)
{
    return run_decide(args, true);
}

int command_members_reject(const struct args *args)
{
    return run_decide(args, false);
}

/* ---- revoke ---- */

/* Is it who the caller means, and may it be put out? *ret_is_over: there is nothing to do. */
static int check_revoke(const struct args *args, const struct member_found *member,
                        bool *ret_is_over)
{
    const char *host = args_value(args, "host");
    char id[NODE_ID_TEXT_SIZE];

    node_id_format(&member->node, id);
    *ret_is_over = member->revoked;
    if (host != NULL && strcmp(host, member->host_name) != 0)
        return args_failed(args, "%s is %s, not %s: nothing was done", id, member->host_name, host);
    if (member->revoked) {
        fprintf(stderr, "%s (%s) is revoked already\n", id, member->host_name);
        return EXIT_DONE;
    }
    if (member->coordinator)
        return args_failed(args,
                           "%s (%s) is a coordinator: take it out of the group first, by lb-admin "
                           "coordinator remove %s",
                           id, member->host_name, id);
    return confirm(args,
                   "%s (%s) will be put out of the network. It can come back only with a new "
                   "key.",
                   id, member->host_name);
}

static int revoke_member(struct session *session, const struct member_name *name)
{
    Littlebird__V1__RevokeMemberRequest request = LITTLEBIRD__V1__REVOKE_MEMBER_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/RevokeMember",
                                .request = &request.base,
                                .response = &littlebird__v1__revoke_member_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    struct member_found member;
    const void *response;
    bool is_over;
    int code = members_find(session, name, &member);

    if (code == EXIT_DONE)
        code = check_revoke(session->args, &member, &is_over);
    if (code != EXIT_DONE || is_over)
        return code;
    request.node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, member.node.bytes };
    code = session_call(session, &call, &response);
    if (code == EXIT_DONE)
        fprintf(stderr,
                "%s is revoked: the others end their sessions with it within a minute, those that "
                "are away when they come back; tokens that still count would admit it anew, with "
                "another key: lb-admin network invitations lists them, lb-admin network withdraw "
                "ID takes one back\n",
                member.host_name);
    return code;
}

int command_revoke(const struct args *args)
{
    struct member_name name;
    struct session session;
    int code;

    if (!member_name_parse(args->words[0], &name))
        return args_usage(args,
                          "'%.60s' is no node id: it has 40 hexadecimal digits, of which the first "
                          "%d will do",
                          args->words[0], MEMBER_DIGITS_MIN);
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = revoke_member(&session, &name);
    session_close(&session);
    return code;
}
