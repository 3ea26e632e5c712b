/*
 * The register's rules, a story a row. Words of a story, by one blank:
 *
 *     approval, open          the policy        *a, *a3       an invitation of 1 or 3 uses
 *     join:ka                 key k by token a  admit:k, reject:k    the operator decides
 *     renew:k, revoke:k       of the member     wrong:k       a renewal of k by another key
 *     offer:k, add:k, drop:k  a coordinator     -a            an invitation withdrawn
 *     +1h, +1d, sweep
 *
 * and its answers, a letter each: a digit for "admitted with this serial", w waits, . done, and of
 * refusals D denied, N not found, C conflict, E exists, F full, I invalid.
 */
#include "libcommon/crypto.h"
#include "libcommon/random.h"
#include "services/coordinator/register.h"
#include "tests/coordinator/register_world.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct row {
    const char *what, *story, *answers;
} rows[] = {
    { "a token admits whoever brings it", "*a join:pa", ".2" },
    { "a token of one use admits one", "*a join:pa join:qa", ".2D" },
    { "a token of three uses admits three", "*a3 join:pa join:qa join:ra join:sa", ".234D" },
    { "asked again, the same certificate and no further use", "*a2 join:pa join:pa join:qa",
      ".223" },
    { "asked again when it is used up, the same still", "*a join:pa join:pa", ".22" },
    { "a token nobody gave is refused", "join:pa", "D" },
    { "a token that was withdrawn is refused", "*a -a join:pa", "..D" },
    { "who has joined keeps that when the token is withdrawn", "*a join:pa -a join:pa", ".2.2" },
    { "a token expires", "*a +1d join:pa", "..D" },
    { "who has joined keeps that when the token has expired", "*a join:pa +1d join:pa", ".2.2" },
    { "there is one invitation of an id", "*a *a", ".E" },
    { "nobody withdraws what is not there", "-a", "N" },
    { "nor what was withdrawn", "*a -a -a", "..E" },
    { "what is used up may be withdrawn", "*a join:pa -a", ".2." },
    { "an invitation that was withdrawn is not made again", "*a -a *a join:pa", "..ED" },
    { "that it was is forgotten when it has expired", "*a -a +1d sweep -a", "....N" },
    { "who waits by a token that is withdrawn then may be admitted",
      "approval *a join:pa -a admit:p", "..w.2" },
    { "with approval one waits", "approval *a join:pa join:pa", "..ww" },
    { "and is admitted then", "approval *a join:pa admit:p join:pa", "..w22" },
    { "or not, however often it asks", "approval *a3 join:pa reject:p join:pa", "..w.D" },
    { "who waits has used the token", "approval *a join:pa join:qa", "..wD" },
    { "who waits still waits when the policy is open again", "approval *a join:pa open join:pa",
      "..w.w" },
    { "unless it has another token then", "approval *a *b join:pa open join:pb admit:p",
      "...w.2N" },
    { "with approval one comes with another token and waits once",
      "approval *a *b join:pa join:pb admit:p admit:p", "...ww2N" },
    { "nobody is admitted who does not wait", "admit:p", "N" },
    { "nobody is decided about twice", "approval *a join:pa reject:p admit:p reject:p", "..w.NN" },
    { "one waits for seven days", "approval *a join:pa +7d sweep admit:p", "..w..N" },
    { "who was rejected is forgotten with them",
      "approval *a join:pa reject:p +7d sweep *b join:pb", "..w....w" },
    { "a member is renewed", "*a join:pa +1h renew:p", ".2.3" },
    { "a renewal asked again at once is the same", "*a join:pa +1h renew:p renew:p", ".2.33" },
    { "a member is not renewed by another key", "*a join:pa +1h wrong:p", ".2.D" },
    { "a stranger is not renewed", "renew:p", "N" },
    { "who is renewed and asks by its token again has its newest", "*a join:pa +1h renew:p join:pa",
      ".2.33" },
    { "a member whose certificate has ended joins again by another token",
      "*a join:pa +8d *b join:pb", ".2..3" },
    { "not by the old one", "*a2 join:pa +8d join:pa", ".2.D" },
    { "who is revoked is not renewed", "*a join:pa +1h revoke:p renew:p", ".2..D" },
    { "who is revoked does not come back by its token", "*a join:pa revoke:p join:pa", ".2.D" },
    { "nor by another", "*a join:pa revoke:p *b join:pb", ".2..D" },
    { "revoked twice is once", "*a join:pa revoke:p revoke:p", ".2.." },
    { "a stranger is not revoked", "revoke:p", "N" },
    { "a coordinator is not revoked", "revoke:0", "C" },
    { "a member offers itself and is added", "*a join:pa offer:p add:p", ".2w." },
    { "who has not offered itself is not added", "*a join:pa add:p", ".2N" },
    { "a stranger offers itself in vain", "offer:p", "D" },
    { "who was revoked offers itself in vain", "*a join:pa revoke:p offer:p", ".2.D" },
    { "who was revoked after its offer is not added", "*a join:pa offer:p revoke:p add:p",
      ".2w.D" },
    { "a coordinator is removed", "*a join:pa offer:p add:p drop:p drop:p", ".2w..N" },
    { "the last one is not", "drop:0", "C" },
    { "who has become a coordinator is renewed at once",
      "*a join:pa renew:p offer:p add:p renew:p renew:p", ".22w.33" },
    { "who was removed may be revoked", "*a join:pa offer:p add:p drop:p revoke:p", ".2w..." },
    { "a coordinator has a new intermediate", "add:0", "." },
};

static const char err_letters[] = {
    [LB_DENIED] = 'D', [LB_NOT_FOUND] = 'N', [LB_CONFLICT] = 'C',
    [LB_EXISTS] = 'E', [LB_FULL] = 'F',      [LB_INVALID] = 'I',
};

static char letter_of(const struct world *world, const struct register_result *result)
{
    switch (result->outcome) {
    case REGISTER_ADMITTED:
        return (char)('0' + register_member(world->reg, &result->node)->serial);
    case REGISTER_WAITS:
        return 'w';
    case REGISTER_REFUSED:
        return err_letters[result->err];
    case REGISTER_DONE:
        break;
    }
    return '.';
}

/* The random id that everybody here proposes is the same, so most get the next one. */
static struct register_command for_node(const struct world *world, enum register_verb verb,
                                        char letter)
{
    struct register_command command = world_command(world, verb);
    const struct register_member *member;

    world_set_key(&command, letter);
    member = register_member_of_key(world->reg, command.key_digest);
    command.node = member != NULL ? member->node : world_node('n');
    return command;
}

static uint64_t seconds_of(const char *text)
{
    char *unit;
    uint64_t count = strtoul(text, &unit, 10);

    return *unit == 'h' ? count * 3600 : count * 24 * 3600;
}

static const struct {
    const char *word;
    enum register_verb verb;
    bool yes;
} words[] = {
    { "approval", VERB_SET_POLICY, true }, { "open", VERB_SET_POLICY, false },
    { "join", VERB_JOIN, false },          { "admit", VERB_DECIDE, true },
    { "reject", VERB_DECIDE, false },      { "renew", VERB_RENEW, false },
    { "wrong", VERB_RENEW, false },        { "revoke", VERB_REVOKE, false },
    { "offer", VERB_OFFER, false },        { "add", VERB_ADD_SERVER, false },
    { "drop", VERB_REMOVE_SERVER, false }, { "sweep", VERB_SWEEP, false },
};

static struct register_command command_of(const struct world *world, const char *word)
{
    const char *colon = strchr(word, ':');
    size_t size = colon != NULL ? (size_t)(colon - word) : strlen(word);
    struct register_command command = { 0 };

    if (word[0] == '*' || word[0] == '-') {
        command = world_command(world, word[0] == '*' ? VERB_INVITE : VERB_WITHDRAW);
        world_set_token(&command, word[1]);
        command.uses = word[2] != '\0' ? (uint32_t)(word[2] - '0') : 1;
        return command;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].word) == size && memcmp(words[i].word, word, size) == 0) {
            command = for_node(world, words[i].verb, colon != NULL ? colon[1] : 'n');
            command.yes = words[i].yes;
            if (words[i].verb == VERB_JOIN) {
                world_set_token(&command, colon[2]);
                command.node = world_node('n');
            }
            if (strncmp(word, "wrong", size) == 0) {
                command.key_digest[0] ^= 1;
            }
            return command;
        }
    }
    fail_msg("no such word: %s", word);
    return command;
}

static void tell(struct world *world, const char *told, char *ret_answers)
{
    char story[256];
    char *save;

    snprintf(story, sizeof story, "%s", told);
    for (char *word = strtok_r(story, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save)) {
        struct register_result result = { .outcome = REGISTER_DONE };

        if (word[0] == '+') {
            world->now_s += seconds_of(word + 1);
        } else {
            struct register_command command = command_of(world, word);

            result = world_apply(world, &command);
        }
        register_check(world->reg);
        *ret_answers++ = letter_of(world, &result);
    }
    *ret_answers = '\0';
}

static void test_story(void **state)
{
    const struct row *row = *state;
    char answers[64];
    struct world world;

    world_init(&world);
    tell(&world, row->story, answers);
    assert_string_equal(answers, row->answers);
    world_done(&world);
}

/* ---- invitations, as they are listed ---- */

/* Of each its letter, a - when it was withdrawn, and the uses left of how many. */
static const struct list_row {
    const char *what, *story, *listed;
} list_rows[] = {
    { "no invitation", "", "" },
    { "one that nobody has used", "*a3", "a3/3" },
    { "one that two have used", "*a3 join:pa join:qa", "a1/3" },
    { "one that is used up", "*a join:pa", "a0/1" },
    { "one that was withdrawn, with what it had left", "*a3 join:pa -a", "-a2/3" },
    { "in order of their ids", "*b *a2 *c", "a2/2 b1/1 c1/1" },
    { "until they have expired", "*b *a2 -a +1d *c sweep", "c1/1" },
    { "who waits has used it", "approval *a2 join:pa", "a1/2" },
};

static void list_text(const struct network_register *reg, char *ret_text, size_t size)
{
    const struct register_invite *found[8];
    bool more;
    size_t count = register_invites(reg, NULL, found, 8, &more);

    ret_text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(ret_text);

        snprintf(ret_text + used, size - used, "%s%s%c%u/%u", i > 0 ? " " : "",
                 found[i]->withdrawn ? "-" : "", found[i]->invite[0], found[i]->uses_left,
                 found[i]->uses);
        assert_in_range(found[i]->made_s, WORLD_T0, found[i]->expires_s - 1);
    }
    assert_false(more);
}

static void test_list(void **state)
{
    const struct list_row *row = *state;
    char answers[64], text[128];
    struct world world, other;
    uint8_t *snapshot;
    size_t size;

    world_init(&world);
    world_init(&other);
    tell(&world, row->story, answers);
    list_text(world.reg, text, sizeof text);
    assert_string_equal(text, row->listed);
    register_snapshot(world.reg, &snapshot, &size);
    assert_int_equal(register_restore(other.reg, bytes_of(snapshot, size)), LB_OK);
    list_text(other.reg, text, sizeof text);
    assert_string_equal(text, row->listed);
    free(snapshot);
    world_done(&world);
    world_done(&other);
}

static void test_list_goes_on_after(void **state)
{
    const uint8_t before_b[REGISTER_INVITE_SIZE] = { 'a', 'z' };
    const struct register_invite *found[2];
    char answers[64];
    struct world world;
    bool more;

    (void)state;
    world_init(&world);
    tell(&world, "*a *b *c", answers);
    assert_int_equal(register_invites(world.reg, NULL, found, 2, &more), 2);
    assert_true(more);
    assert_int_equal(register_invites(world.reg, found[1]->invite, found, 2, &more), 1);
    assert_false(more);
    assert_int_equal(found[0]->invite[0], 'c');
    assert_int_equal(register_invites(world.reg, found[0]->invite, found, 2, &more), 0);
    assert_false(more);
    assert_int_equal(register_invites(world.reg, before_b, found, 2, &more), 2); /* which is gone */
    assert_int_equal(found[0]->invite[0], 'b');
    world_done(&world);
}

/* In version 1 an invitation ended with the moment it expires at. */
static void test_snapshot_of_version_1(void **state)
{
    enum { OLD = REGISTER_INVITE_SIZE + REGISTER_DIGEST_SIZE + 4 + 8, MORE = 4 + 8 + 1 };
    uint8_t token[REGISTER_INVITE_SIZE + REGISTER_DIGEST_SIZE];
    const struct register_invite *invite;
    struct world world, other;
    uint8_t *data, *row;
    char answers[64];
    size_t size;
    bool more;

    (void)state;
    world_init(&world);
    world_init(&other);
    tell(&world, "*a3", answers);
    register_snapshot(world.reg, &data, &size);
    memset(token, 'a', sizeof token);
    row = memmem(data, size, token, sizeof token);
    assert_non_null(row);
    memmove(row + OLD, row + OLD + MORE, size - (size_t)(row - data) - OLD - MORE);
    assert_int_equal(data[5], 2);
    data[5] = 1;
    assert_int_equal(register_restore(other.reg, bytes_of(data, size)), LB_CORRUPT);
    assert_int_equal(register_restore(other.reg, bytes_of(data, size - MORE)), LB_OK);
    register_check(other.reg);
    assert_int_equal(register_invites(other.reg, NULL, &invite, 1, &more), 1);
    assert_int_equal(invite->uses, 0);
    assert_int_equal(invite->made_s, 0);
    assert_int_equal(invite->uses_left, 3);
    tell(&other, "join:pa join:qa -a join:ra -a", answers);
    assert_string_equal(answers, "23.DE");
    free(data);
    world_done(&world);
    world_done(&other);
}

/* ---- commands ---- */

static void test_nothing_before_founding(void **state)
{
    struct world world = { register_new(), WORLD_T0 };
    struct register_command invite = world_command(&world, VERB_INVITE);

    (void)state;
    assert_int_equal(world_apply(&world, &invite).err, LB_UNAVAILABLE);
    world_done(&world);
}

static void test_founded_once(void **state)
{
    struct world world;
    struct register_command found;

    (void)state;
    world_init(&world);
    found = world_command(&world, VERB_FOUND);
    world_set_key(&found, 'x');
    assert_int_equal(world_apply(&world, &found).err, LB_EXISTS);
    assert_int_equal(register_members_count(world.reg), 1);
    world_done(&world);
}

static void test_commands_are_exact(void **state)
{
    struct world world;
    uint8_t data[REGISTER_COMMAND_MAX];

    (void)state;
    world_init(&world);
    for (int verb = 1; verb < VERBS_END; verb++) {
        struct register_command command = world_command(&world, (enum register_verb)verb), parsed;
        size_t size;

        world_set_key(&command, 'k');
        world_set_token(&command, 't');
        size = register_command_write(&command, data);
        assert_int_equal(register_command_parse(bytes_of(data, size), &parsed), LB_OK);
        assert_int_equal(parsed.verb, verb);
        assert_int_equal(register_command_parse(bytes_of(data, size + 1), &parsed), LB_INVALID);
        for (size_t cut = 0; cut < size; cut++) {
            assert_int_not_equal(register_command_parse(bytes_of(data, cut), &parsed), LB_OK);
        }
        data[0]++;
        assert_int_equal(register_command_parse(bytes_of(data, size), &parsed), LB_UNSUPPORTED);
    }
    world_done(&world);
}

static void test_lifetimes(void **state)
{
    struct world world;
    struct register_command invite, join;

    (void)state;
    world_init(&world);
    invite = world_command(&world, VERB_INVITE);
    world_set_token(&invite, 'a');
    invite.expires_s = world.now_s + REGISTER_TTL_MAX_S + 1;
    assert_int_equal(world_apply(&world, &invite).err, LB_INVALID);
    invite.expires_s = world.now_s + REGISTER_TTL_MAX_S;
    invite.uses = REGISTER_USES_MAX + 1;
    assert_int_equal(world_apply(&world, &invite).err, LB_INVALID);
    invite.uses = REGISTER_USES_MAX;
    assert_int_equal(world_apply(&world, &invite).err, LB_OK);
    join = world_command(&world, VERB_JOIN);
    world_set_token(&join, 'a');
    world_set_key(&join, 'p');
    join.not_after_s = world.now_s;
    assert_int_equal(world_apply(&world, &join).err, LB_INVALID);
    join.not_after_s = world.now_s + REGISTER_LEAF_MAX_S + 1;
    assert_int_equal(world_apply(&world, &join).err, LB_INVALID);
    world_done(&world);
}

/* ---- the deny list ---- */

static void test_denied_until_the_certificates_end(void **state)
{
    static struct register_denied rows_denied[REGISTER_DENIED_MAX];
    static const char *const steps[] = { "*a3", "join:pa", "join:qa", "revoke:q" };
    struct world world;
    struct register_command command;

    (void)state;
    world_init(&world);
    assert_int_equal(register_deny_number(world.reg), 0);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        command = command_of(&world, steps[i]);
        assert_int_equal(world_apply(&world, &command).err, LB_OK);
    }
    assert_int_equal(register_deny_number(world.reg), 1);
    assert_int_equal(register_denied(world.reg, rows_denied), 1);
    assert_int_equal(rows_denied[0].until_s, WORLD_T0 + WORLD_LEAF + REGISTER_LATE_S);

    /* A week later it is made anew, and once its last mail is too old the row has left it. */
    world.now_s += REGISTER_DENIED_FRESH_S + 1;
    assert_true(register_wants_sweep(world.reg, world.now_s));
    command = world_command(&world, VERB_SWEEP);
    (void)world_apply(&world, &command);
    assert_int_equal(register_deny_number(world.reg), 2);
    assert_int_equal(register_denied(world.reg, rows_denied), 1);
    world.now_s += REGISTER_LATE_S;
    command = command_of(&world, "revoke:p");
    assert_int_equal(world_apply(&world, &command).number, 3);
    assert_int_equal(register_denied(world.reg, rows_denied), 0);
    world_done(&world);
}

/* What the last intermediate has signed ends with it. */
static void test_denied_is_signed_anew_by_a_new_intermediate(void **state)
{
    struct world world;
    struct register_command command;

    (void)state;
    world_init(&world);
    command = command_of(&world, "add:0");
    command.intermediate = bytes_of_text("another one");
    assert_int_equal(world_apply(&world, &command).err, LB_OK);
    assert_int_equal(register_deny_number(world.reg), 0); /* nobody is denied, ever */
    command = command_of(&world, "*a");
    (void)world_apply(&world, &command);
    command = command_of(&world, "join:pa");
    (void)world_apply(&world, &command);
    command = command_of(&world, "revoke:p");
    assert_int_equal(world_apply(&world, &command).number, 1);
    world.now_s += 3600;
    command = command_of(&world, "add:0");
    assert_int_equal(world_apply(&world, &command).err, LB_OK);
    assert_int_equal(register_deny_number(world.reg), 2);
    assert_int_equal(register_deny_made_s(world.reg), world.now_s);
    assert_int_equal(world_apply(&world, &command).err, LB_OK); /* the same once more */
    assert_int_equal(register_deny_number(world.reg), 2);
    world_done(&world);
}

/* Who was removed and is revoked then could sign for anybody: its intermediate is denied with it.
 */
static void test_former_is_denied_with_its_intermediate(void **state)
{
    static struct register_denied denied[REGISTER_DENIED_MAX];
    static const char *const steps[] = {
        "*a", "join:pa", "offer:p", "add:p", "drop:p", "revoke:p"
    };
    const uint8_t key_id[REGISTER_KEY_ID_SIZE] = { 0x41, 2, 3, 4, 5, 6, 7, 8 };
    const struct node_id row = { { 0x41, 2, 3, 4, 5, 6, 7, 8 } };
    const uint64_t ends_s = WORLD_T0 + 90 * 24 * 3600;
    struct register_command command;
    struct world world, other;
    uint8_t *snapshot;
    size_t size, found = 0;

    (void)state;
    world_init(&world);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(register_is_former(world.reg, key_id), i == 5);
        command = command_of(&world, steps[i]);
        if (command.verb == VERB_REMOVE_SERVER) {
            memcpy(command.key_id, key_id, sizeof key_id);
            command.not_after_s = ends_s;
        }
        assert_int_equal(world_apply(&world, &command).err, LB_OK);
    }
    assert_int_equal(register_deny_number(world.reg), 1);

    register_snapshot(world.reg, &snapshot, &size);
    world_init(&other);
    assert_int_equal(register_restore(other.reg, bytes_of(snapshot, size)), LB_OK);
    free(snapshot);
    assert_true(register_is_former(other.reg, key_id));
    assert_int_equal(register_denied(other.reg, denied), 2);
    for (size_t i = 0; i < 2; i++) {
        found +=
            node_id_equal(&denied[i].node, &row) && denied[i].until_s == ends_s + REGISTER_LATE_S;
    }
    assert_int_equal(found, 1);
    world_done(&other);

    world.now_s = ends_s + REGISTER_LATE_S;
    command = world_command(&world, VERB_SWEEP);
    (void)world_apply(&world, &command);
    assert_false(register_is_former(world.reg, key_id));
    world_done(&world);
}

/* ---- bounds ---- */

static void set_number(struct register_command *command, uint32_t number)
{
    store_u32(command->key.data, number);
    store_u32(command->invite, number);
}

static void test_full_of_invitations(void **state)
{
    struct world world;
    struct register_command invite, withdraw;

    (void)state;
    world_init(&world);
    invite = world_command(&world, VERB_INVITE);
    for (uint32_t i = 0; i < REGISTER_INVITES_MAX; i++) {
        set_number(&invite, i);
        assert_int_equal(world_apply(&world, &invite).err, LB_OK);
    }
    set_number(&invite, REGISTER_INVITES_MAX);
    assert_int_equal(world_apply(&world, &invite).err, LB_FULL);
    withdraw = world_command(&world, VERB_WITHDRAW);
    assert_int_equal(world_apply(&world, &withdraw).err, LB_OK); /* one of id 0 */
    assert_int_equal(world_apply(&world, &invite).err, LB_OK);
    assert_int_equal(world_apply(&world, &withdraw).err, LB_NOT_FOUND); /* it has made room */
    set_number(&invite, REGISTER_INVITES_MAX + 1);
    assert_int_equal(world_apply(&world, &invite).err, LB_FULL);
    world.now_s += 2 * 24 * 3600;
    invite.now_s = world.now_s;
    invite.expires_s = world.now_s + 3600;
    assert_int_equal(world_apply(&world, &invite).err, LB_OK);
    world_done(&world);
}

/* Every token admits 10,000, so ten fill the register, and one more finds no room. */
static void test_full_of_members(void **state)
{
    struct world world;
    struct register_command invite, join;
    uint8_t *data;
    size_t size;

    (void)state;
    world_init(&world);
    invite = world_command(&world, VERB_INVITE);
    join = world_command(&world, VERB_JOIN);
    world_set_key(&join, 'k');
    invite.uses = REGISTER_USES_MAX;
    invite.expires_s = world.now_s + REGISTER_TTL_MAX_S;
    for (uint32_t i = 1; i < REGISTER_MEMBERS_MAX; i++) {
        if (i % REGISTER_USES_MAX == 1) {
            world_set_token(&invite, (char)('a' + i / REGISTER_USES_MAX));
            assert_int_equal(world_apply(&world, &invite).err, LB_OK);
            memcpy(join.invite, invite.invite, sizeof join.invite);
            memcpy(join.secret, invite.secret, sizeof join.secret);
        }
        store_u32(join.key.data, i);
        store_u32(join.node.bytes, i * 2654435761u);
        assert_int_equal(world_apply(&world, &join).outcome, REGISTER_ADMITTED);
    }
    store_u32(join.key.data, REGISTER_MEMBERS_MAX);
    assert_int_equal(world_apply(&world, &join).err, LB_FULL);
    register_check(world.reg);
    register_snapshot(world.reg, &data, &size);
    assert_int_equal(register_restore(world.reg, bytes_of(data, size)), LB_OK);
    register_check(world.reg);
    free(data);

    /* Long after the last of their certificates they make room. */
    world.now_s += REGISTER_FORGET_S + WORLD_LEAF + REGISTER_LATE_S;
    invite = world_command(&world, VERB_INVITE);
    world_set_token(&invite, 'z');
    (void)world_apply(&world, &invite);
    join.now_s = world.now_s;
    join.not_after_s = world.now_s + WORLD_LEAF;
    memcpy(join.invite, invite.invite, sizeof join.invite);
    memcpy(join.secret, invite.secret, sizeof join.secret);
    assert_int_equal(world_apply(&world, &join).outcome, REGISTER_ADMITTED);
    assert_int_equal(register_members_count(world.reg), 2);
    register_check(world.reg);
    world_done(&world);
}

static void test_full_of_waiting(void **state)
{
    struct world world;
    struct register_command policy, invite, join;

    (void)state;
    world_init(&world);
    policy = world_command(&world, VERB_SET_POLICY);
    policy.yes = true;
    (void)world_apply(&world, &policy);
    invite = world_command(&world, VERB_INVITE);
    join = world_command(&world, VERB_JOIN);
    world_set_key(&join, 'k');
    invite.uses = REGISTER_USES_MAX;
    (void)world_apply(&world, &invite);
    for (uint32_t i = 0; i < REGISTER_WAITING_MAX; i++) {
        store_u32(join.key.data, i);
        assert_int_equal(world_apply(&world, &join).outcome, REGISTER_WAITS);
    }
    world_set_token(&invite, 'b');
    (void)world_apply(&world, &invite);
    world_set_token(&join, 'b');
    store_u32(join.key.data, REGISTER_WAITING_MAX);
    assert_int_equal(world_apply(&world, &join).err, LB_FULL);
    world_done(&world);
}

/* ---- anything at all, in any order ---- */

struct history {
    uint64_t serial;
    unsigned taken[4]; /* uses that the invitations have admitted, of 3 each */
    bool is_withdrawn[4];
    struct node_id node_of[10];
    bool has_node[10];
};

static struct register_command any_command(struct world *world, struct random *random)
{
    static const enum register_verb verbs[] = {
        VERB_INVITE, VERB_WITHDRAW,   VERB_JOIN,   VERB_JOIN,       VERB_JOIN,
        VERB_DECIDE, VERB_RENEW,      VERB_REVOKE, VERB_OFFER,      VERB_ADD_SERVER,
        VERB_SWEEP,  VERB_SET_POLICY, VERB_RENEW,  VERB_ADD_SERVER, VERB_REMOVE_SERVER,
    };
    enum register_verb verb = verbs[random_below(random, sizeof verbs / sizeof verbs[0])];
    struct register_command command = for_node(world, verb, (char)('0' + random_below(random, 10)));

    if (verb == VERB_JOIN) {
        command.node = world_node((char)('m' + random_below(random, 2)));
    }
    world_set_token(&command, (char)('a' + random_below(random, 4)));
    command.uses = 3;
    command.yes = random_below(random, 3) != 0;
    return command;
}

/* Who was forgotten, 90 days after its certificate, is a stranger again. */
static void forget(const struct world *world, struct history *history)
{
    for (int i = 0; i < 10; i++) {
        struct register_command key = { 0 };

        world_set_key(&key, (char)('0' + i));
        if (register_member_of_key(world->reg, key.key_digest) == NULL) {
            history->has_node[i] = false;
        }
    }
}

static void look(struct world *world, struct history *history,
                 const struct register_command *command, const struct register_result *result)
{
    int key = command->key.data[0] - '0';
    int token = command->invite[0] - 'a';
    const struct register_member *member;

    forget(world, history);
    if (command->verb == VERB_INVITE && result->err == LB_OK) {
        history->taken[token] = 0;
        history->is_withdrawn[token] = false;
    }
    if (command->verb == VERB_WITHDRAW && result->err == LB_OK) {
        history->is_withdrawn[token] = true;
    }
    if (command->verb == VERB_JOIN && result->outcome == REGISTER_ADMITTED &&
        register_last_serial(world->reg) > history->serial) {
        history->taken[token]++;
        assert_true(history->taken[token] <= 3);
        assert_false(history->is_withdrawn[token]);
    }
    if (result->outcome == REGISTER_ADMITTED) {
        member = register_member(world->reg, &result->node);
        assert_non_null(member);
        assert_memory_equal(member->key_digest, command->key_digest, REGISTER_DIGEST_SIZE);
        assert_false(member->revoked);
        assert_true(member->serial <= register_last_serial(world->reg));
        if (history->has_node[key]) {
            assert_memory_equal(history->node_of[key].bytes, result->node.bytes, NODE_ID_SIZE);
        }
        for (int i = 0; i < 10; i++) {
            assert_true(i == key || !history->has_node[i] ||
                        !node_id_equal(&history->node_of[i], &result->node));
        }
        history->has_node[key] = true;
        history->node_of[key] = result->node;
    }
    assert_in_range(register_last_serial(world->reg), history->serial, history->serial + 1);
    history->serial = register_last_serial(world->reg);
}

/* It goes on as before from its own snapshot, and another one makes the same of the commands. */
static void exchange(struct world *world, struct world *other)
{
    uint8_t *data, *same;
    size_t size, same_size;

    register_snapshot(world->reg, &data, &size);
    register_snapshot(other->reg, &same, &same_size);
    assert_int_equal(size, same_size);
    assert_memory_equal(data, same, size);
    assert_int_equal(register_restore(other->reg, bytes_of(data, size)), LB_OK);
    for (size_t cut = 0; cut < size; cut += 1 + size / 7) {
        assert_int_equal(register_restore(world->reg, bytes_of(data, cut)), LB_CORRUPT);
    }
    free(data);
    free(same);
}

static void run_seed(uint64_t seed)
{
    struct history history = { .serial = 1 };
    struct world world, other;
    struct random random;

    world_init(&world);
    world_init(&other);
    random_init(&random, seed);
    for (int i = 0; i < 2000; i++) {
        struct register_command command;
        struct register_result result, same;

        world.now_s += random_below(&random, 4 * 3600);
        command = any_command(&world, &random);
        result = world_apply(&world, &command);
        same = world_apply(&other, &command);
        assert_int_equal(result.outcome, same.outcome);
        assert_int_equal(result.err, same.err);
        assert_int_equal(result.number, same.number);
        register_check(world.reg);
        look(&world, &history, &command, &result);
        if (random_below(&random, 50) == 0) {
            exchange(&world, &other);
        }
    }
    assert_true(history.serial > 20);
    world_done(&world);
    world_done(&other);
}

static void test_any_history(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        run_seed(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_before_founding),
        cmocka_unit_test(test_founded_once),
        cmocka_unit_test(test_commands_are_exact),
        cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_denied_until_the_certificates_end),
        cmocka_unit_test(test_denied_is_signed_anew_by_a_new_intermediate),
        cmocka_unit_test(test_former_is_denied_with_its_intermediate),
        cmocka_unit_test(test_list_goes_on_after),
        cmocka_unit_test(test_snapshot_of_version_1),
        cmocka_unit_test(test_full_of_invitations),
        cmocka_unit_test(test_full_of_members),
        cmocka_unit_test(test_full_of_waiting),
        cmocka_unit_test(test_any_history),
    };

    return RUN_ROWS(rows, test_story) + RUN_ROWS(list_rows, test_list) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
