#include "services/coordinator/register_inside.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct network_register *register_new(void)
{
    struct network_register *self = xcalloc(1, sizeof *self);

    self->next_server = 1;
    return self;
}

void register_free(struct network_register **self)
{
    if (*self != NULL) {
        tables_clear(*self);
        free(*self);
        *self = NULL;
    }
}

static struct register_result admitted(const struct register_member *member)
{
    return (struct register_result){ .outcome = REGISTER_ADMITTED, .node = member->node };
}

/* ---- certificates ---- */

static bool is_life(const struct register_command *command)
{
    return command->not_after_s > command->now_s &&
           command->not_after_s - command->now_s <= REGISTER_LEAF_MAX_S;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The next serial, and what is to stand in the certificate of that number. */
static void issue(struct network_register *self, struct register_member *member,
                  const struct register_command *command)
{
    member->serial = ++self->last_serial;
    member->issued_s = command->now_s;
    member->not_after_s = command->not_after_s;
    member->until_s = later(member->until_s, command->not_after_s + REGISTER_LATE_S);
    member->issued_coordinator = register_is_coordinator(self, &member->node);
}

/* The id it was to have, or the next one that nobody has. */
static struct node_id free_id(const struct network_register *self, struct node_id id)
{
    while (members_find(self, &id) != NULL) {
        for (int i = NODE_ID_SIZE - 1; i >= 0 && ++id.bytes[i] == 0; i--) {
        }
    }
    return id;
}

static void key_digest_of(const struct register_key *key, uint8_t ret_digest[REGISTER_DIGEST_SIZE])
{
    sha256(bytes_of(key->data, key->size), ret_digest);
}

/* ---- the beginning ---- */

static struct register_result on_found(struct network_register *self,
                                       const struct register_command *command)
{
    struct register_member member = { .node = command->node,
                                      .key = command->key,
                                      .admitted_s = command->now_s };

    if (self->founded) {
        return result_refused(LB_EXISTS, "the network was founded before");
    }
    if (command->network_name[0] == '\0' || !is_life(command) || command->request.size == 0 ||
        command->intermediate.size == 0 || command->address[0] == '\0') {
        return result_refused(LB_INVALID, "no network can be founded by that");
    }
    self->founded = true;
    self->waits_for_approval = command->yes;
    memcpy(self->name, command->network_name, sizeof self->name);
    memcpy(self->network, command->network, sizeof self->network);
    servers_found(self, command);
    key_digest_of(&member.key, member.key_digest);
    memcpy(member.host_name, command->host_name, sizeof member.host_name);
    issue(self, &member, command);
    return admitted(members_add(self, &member));
}

/* ---- invitations ---- */

/* Without the withdrawn it is as full as if they had never been remembered. */
static bool has_room_for_invite(struct network_register *self, uint64_t now_s)
{
    if (self->invites_count == REGISTER_INVITES_MAX) {
        invites_forget_withdrawn(self);
    }
    if (self->invites_count == REGISTER_INVITES_MAX) {
        register_sweep(self, now_s);
    }
    return self->invites_count < REGISTER_INVITES_MAX;
}

static struct register_result on_invite(struct network_register *self,
                                        const struct register_command *command)
{
    struct register_invite row = { .uses = command->uses,
                                   .uses_left = command->uses,
                                   .made_s = command->now_s,
                                   .expires_s = command->expires_s };

    if (command->uses < 1 || command->uses > REGISTER_USES_MAX) {
        return result_refused(LB_INVALID, "an invitation has 1 to 10,000 uses");
    }
    if (command->expires_s < command->now_s + REGISTER_TTL_MIN_S ||
        command->expires_s > command->now_s + REGISTER_TTL_MAX_S) {
        return result_refused(LB_INVALID, "an invitation lasts from a minute to 30 days");
    }
    if (invites_find(self, command->invite) != NULL) {
        return result_refused(LB_EXISTS, "there is an invitation of that id");
    }
    if (!has_room_for_invite(self, command->now_s)) {
        return result_refused(LB_FULL, "10,000 invitations are there: withdraw some");
    }
    memcpy(row.invite, command->invite, sizeof row.invite);
    memcpy(row.secret, command->secret, sizeof row.secret);
    invites_add(self, &row);
    return result_done();
}

static struct register_result on_withdraw(struct network_register *self,
                                          const struct register_command *command)
{
    struct register_invite *invite = invites_find(self, command->invite);

    if (invite == NULL) {
        return result_refused(LB_NOT_FOUND, "there is no invitation of that id, or it has expired");
    }
    if (invite->withdrawn) {
        return result_refused(LB_EXISTS, "that invitation was withdrawn already");
    }
    invite->withdrawn = true;
    return result_done();
}

/* ---- joining ---- */

static bool is_same_token(const struct register_command *join, const uint8_t *invite,
                          const uint8_t *secret)
{
    return memcmp(join->invite, invite, REGISTER_INVITE_SIZE) == 0 &&
           memcmp(join->secret, secret, REGISTER_DIGEST_SIZE) == 0;
}

/* Is the token good at this time, whatever uses it has left? */
static const struct register_invite *open_invite(const struct network_register *self,
                                                 const struct register_command *join)
{
    const struct register_invite *invite = invites_find(self, join->invite);

    if (invite == NULL || !is_same_token(join, invite->invite, invite->secret) ||
        invite->withdrawn || join->now_s >= invite->expires_s) {
        return NULL;
    }
    return invite;
}

static bool known_waiting(const struct register_waiting *row, const struct register_command *join,
                          struct register_result *ret_result)
{
    if (row == NULL || !is_same_token(join, row->invite, row->secret)) {
        return false;
    }
    *ret_result =
        row->rejected
            ? result_refused(LB_DENIED, "this key was rejected by the operator of the network")
            : result_waits();
    return true;
}

static bool known_member(const struct register_member *row, const struct register_command *join,
                         struct register_result *ret_result)
{
    if (row == NULL) {
        return false;
    }
    if (row->revoked) {
        *ret_result = result_refused(LB_DENIED, "this key was revoked");
        return true;
    }
    if (!is_same_token(join, row->invite, row->secret) || join->now_s >= row->not_after_s) {
        return false;
    }
    *ret_result = admitted(row);
    return true;
}

static bool join_known(const struct network_register *self, const struct register_command *join,
                       struct register_result *ret_result)
{
    uint8_t digest[REGISTER_DIGEST_SIZE];
    const struct register_invite *invite;

    key_digest_of(&join->key, digest);
    if (known_member(members_find_key(self, digest), join, ret_result) ||
        known_waiting(waiting_find(self, digest), join, ret_result)) {
        return true;
    }
    invite = open_invite(self, join);
    if (invite == NULL) {
        *ret_result = result_refused(
            LB_DENIED, "this token does not count: it is unknown, was withdrawn, or has expired");
        return true;
    }
    if (invite->uses_left == 0) {
        *ret_result = result_refused(LB_DENIED, "this token was used up");
        return true;
    }
    return false;
}

static struct register_result join_waiting(struct network_register *self,
                                           const struct register_command *join,
                                           struct register_invite *invite,
                                           const uint8_t digest[REGISTER_DIGEST_SIZE])
{
    struct register_waiting row = { .key = join->key, .since_s = join->now_s };
    struct register_waiting *old = waiting_find(self, digest);

    if (old != NULL) {
        waiting_remove(self, old); /* it has come with another token */
    }
    if (self->waiting_count == REGISTER_WAITING_MAX) {
        register_sweep(self, join->now_s);
        invite = invites_find(self, join->invite);
    }
    if (self->waiting_count == REGISTER_WAITING_MAX) {
        return result_refused(LB_FULL,
                              "10,000 wait to be approved: the operator has to decide first");
    }
    invite->uses_left--;
    memcpy(row.key_digest, digest, sizeof row.key_digest);
    memcpy(row.invite, join->invite, sizeof row.invite);
    memcpy(row.secret, join->secret, sizeof row.secret);
    memcpy(row.host_name, join->host_name, sizeof row.host_name);
    waiting_add(self, &row);
    return result_waits();
}

/* The register has room for one more, or has made some. */
static bool has_room(struct network_register *self, uint64_t now_s)
{
    if (self->members_count == REGISTER_MEMBERS_MAX) {
        register_sweep(self, now_s);
    }
    return self->members_count < REGISTER_MEMBERS_MAX;
}

#define FULL_OF_MEMBERS "the network has 100,000 members, its most"

static struct register_result join_member(struct network_register *self,
                                          const struct register_command *join,
                                          const uint8_t digest[REGISTER_DIGEST_SIZE])
{
    struct register_member *member = members_find_key(self, digest);
    struct register_waiting *waited;

    if (member == NULL) {
        struct register_member row = { .key = join->key, .admitted_s = join->now_s };

        if (!has_room(self, join->now_s)) {
            return result_refused(LB_FULL, FULL_OF_MEMBERS);
        }
        row.node = free_id(self, join->node);
        memcpy(row.key_digest, digest, sizeof row.key_digest);
        member = members_add(self, &row);
    }
    waited = waiting_find(self, digest);
    if (waited != NULL) { /* with another token, while the policy was another */
        waiting_remove(self, waited);
    }
    invites_find(self, join->invite)->uses_left--;
    memcpy(member->invite, join->invite, sizeof member->invite);
    memcpy(member->secret, join->secret, sizeof member->secret);
    memcpy(member->host_name, join->host_name, sizeof member->host_name);
    issue(self, member, join);
    return admitted(member);
}

static struct register_result on_join(struct network_register *self,
                                      const struct register_command *join)
{
    struct register_result known;
    uint8_t digest[REGISTER_DIGEST_SIZE];

    if (!is_life(join)) {
        return result_refused(LB_INVALID, "no such lifetime");
    }
    if (join_known(self, join, &known)) {
        return known;
    }
    key_digest_of(&join->key, digest);
    if (self->waits_for_approval && members_find_key(self, digest) == NULL) {
        return join_waiting(self, join, invites_find(self, join->invite), digest);
    }
    return join_member(self, join, digest);
}

static struct register_result on_decide(struct network_register *self,
                                        const struct register_command *command)
{
    struct register_waiting *row = waiting_find(self, command->key_digest);
    struct register_member member = { .admitted_s = command->now_s };

    if (row == NULL || row->rejected) {
        return result_refused(LB_NOT_FOUND, "no such key waits");
    }
    if (!command->yes) {
        row->rejected = true;
        self->rejected_count++;
        return result_done();
    }
    if (!is_life(command)) {
        return result_refused(LB_INVALID, "no such lifetime");
    }
    if (!has_room(self, command->now_s)) {
        return result_refused(LB_FULL, FULL_OF_MEMBERS);
    }
    row = waiting_find(self, command->key_digest);
    if (row == NULL) {
        return result_refused(LB_NOT_FOUND, "it has waited for too long");
    }
    member.node = free_id(self, command->node);
    member.key = row->key;
    memcpy(member.key_digest, row->key_digest, sizeof member.key_digest);
    memcpy(member.invite, row->invite, sizeof member.invite);
    memcpy(member.secret, row->secret, sizeof member.secret);
    memcpy(member.host_name, row->host_name, sizeof member.host_name);
    waiting_remove(self, row);
    issue(self, &member, command);
    return admitted(members_add(self, &member));
}

/* ---- members ---- */

/* Refused, or admitted: what stands in the register is the answer. False: a new one is due. */
static bool renew_known(const struct network_register *self, const struct register_member *member,
                        const struct register_command *renew, struct register_result *ret_result)
{
    if (member == NULL) {
        *ret_result =
            result_refused(LB_NOT_FOUND, "the network does not know this node: join again");
    } else if (memcmp(member->key_digest, renew->key_digest, REGISTER_DIGEST_SIZE) != 0) {
        *ret_result = result_refused(LB_DENIED, "this node has another key");
    } else if (member->revoked) {
        *ret_result = result_refused(LB_DENIED, "this node was revoked");
    } else if (renew->now_s < member->issued_s + REGISTER_AGAIN_S &&
               renew->now_s >= member->issued_s &&
               member->issued_coordinator == register_is_coordinator(self, &member->node)) {
        *ret_result = admitted(member);
    } else {
        return false;
    }
    return true;
}

static struct register_result on_renew(struct network_register *self,
                                       const struct register_command *renew)
{
    struct register_member *member = members_find(self, &renew->node);
    struct register_result known;

    if (!is_life(renew)) {
        return result_refused(LB_INVALID, "no such lifetime");
    }
    if (renew_known(self, member, renew, &known)) {
        return known;
    }
    issue(self, member, renew);
    return admitted(member);
}

void register_next_deny_list(struct network_register *self, uint64_t now_s)
{
    self->deny_number++;
    self->deny_made_s = now_s;
}

static struct register_result on_revoke(struct network_register *self,
                                        const struct register_command *command)
{
    struct register_member *member = members_find(self, &command->node);
    struct register_result result = result_done();

    if (member == NULL) {
        return result_refused(LB_NOT_FOUND, "there is no such member");
    }
    if (register_is_coordinator(self, &member->node)) {
        return result_refused(LB_CONFLICT, "it is a coordinator: remove it from the group first");
    }
    if (!member->revoked &&
        register_denied_count(self, command->now_s) + former_count_of(self, &member->node) >=
            REGISTER_DENIED_MAX) {
        return result_refused(LB_FULL, "10,000 members are denied, until their certificates end");
    }
    if (!member->revoked) {
        member->revoked = true;
        former_revoke(self, &member->node);
        register_next_deny_list(self, command->now_s);
    }
    result.number = self->deny_number;
    return result;
}

/* ---- the policy ---- */

static struct register_result on_set_policy(struct network_register *self,
                                            const struct register_command *command)
{
    self->waits_for_approval = command->yes;
    return result_done();
}

/* ---- time ---- */

static bool is_member_kept(const struct network_register *self, const struct register_member *row,
                           uint64_t now_s)
{
    return now_s < row->until_s + REGISTER_FORGET_S || register_is_coordinator(self, &row->node);
}

static bool is_waiting_kept(const struct register_waiting *row, uint64_t now_s)
{
    return now_s < row->since_s + REGISTER_WAIT_S;
}

static bool is_deny_list_old(const struct network_register *self, uint64_t now_s)
{
    return self->deny_number != 0 && now_s > self->deny_made_s + REGISTER_DENIED_FRESH_S;
}

void register_sweep(struct network_register *self, uint64_t now_s)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->invites_count; i++) {
        if (now_s < self->invites[i].expires_s) {
            self->invites[kept++] = self->invites[i];
        }
    }
    self->invites_count = kept;
    kept = 0;
    for (size_t i = 0; i < self->waiting_count; i++) {
        if (is_waiting_kept(&self->waiting[i], now_s)) {
            self->waiting[kept++] = self->waiting[i];
        } else {
            self->rejected_count -= self->waiting[i].rejected;
        }
    }
    self->waiting_count = kept;
    former_sweep(self, now_s);
    members_keep(self, now_s, is_member_kept);
}

bool register_wants_sweep(const struct network_register *self, uint64_t now_s)
{
    for (size_t i = 0; i < self->invites_count; i++) {
        if (now_s >= self->invites[i].expires_s) {
            return true;
        }
    }
    for (size_t i = 0; i < self->waiting_count; i++) {
        if (!is_waiting_kept(&self->waiting[i], now_s)) {
            return true;
        }
    }
    for (size_t i = 0; i < self->members_count; i++) {
        if (!is_member_kept(self, &self->members[i], now_s)) {
            return true;
        }
    }
    return is_deny_list_old(self, now_s);
}

static struct register_result on_sweep(struct network_register *self,
                                       const struct register_command *command)
{
    register_sweep(self, command->now_s);
    if (is_deny_list_old(self, command->now_s)) {
        register_next_deny_list(self, command->now_s);
    }
    return result_done();
}

/* ---- all of them ---- */

typedef struct register_result apply_fn(struct network_register *self,
                                        const struct register_command *command);

static apply_fn *const appliers[VERBS_END] = {
    [VERB_FOUND] = on_found,
    [VERB_INVITE] = on_invite,
    [VERB_WITHDRAW] = on_withdraw,
    [VERB_JOIN] = on_join,
    [VERB_DECIDE] = on_decide,
    [VERB_RENEW] = on_renew,
    [VERB_REVOKE] = on_revoke,
    [VERB_OFFER] = servers_on_offer,
    [VERB_ADD_SERVER] = servers_on_add,
    [VERB_REMOVE_SERVER] = servers_on_remove,
    [VERB_SET_POLICY] = on_set_policy,
    [VERB_SWEEP] = on_sweep,
};

bool register_known(const struct network_register *self, const struct register_command *command,
                    struct register_result *ret_result)
{
    if (!self->founded) {
        return false;
    }
    switch (command->verb) {
    case VERB_JOIN:
        return join_known(self, command, ret_result);
    case VERB_RENEW:
        return renew_known(self, members_find(self, &command->node), command, ret_result);
    case VERB_OFFER:
        return servers_offer_known(self, command, ret_result);
    default:
        return false;
    }
}

struct register_result register_apply(struct network_register *self, struct bytes data)
{
    struct register_command command;
    lb_err err = register_command_parse(data, &command);

    if (err != LB_OK) {
        return result_refused(err, "no command of the register");
    }
    if (command.now_s > TIME_MAX_S) {
        return result_refused(LB_INVALID, "no such time");
    }
    if (!self->founded && command.verb != VERB_FOUND) {
        return result_refused(LB_UNAVAILABLE, "the network was not founded yet");
    }
    assert(appliers[command.verb] != NULL);
    return appliers[command.verb](self, &command);
}
