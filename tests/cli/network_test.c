/* Private networks as a person names and sees them: members, coordinators, addresses, messages. */
#include "services/cli/group.h"
#include "services/cli/invitation.h"
#include "services/cli/member_name.h"
#include "services/cli/offline.h"
#include "services/cli/text.h"
#include "services/cli/units.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- members ---- */

#define ID       "4f1a92c30b7e55d0112233445566778899aabbcc"
#define ID_UPPER "4F1A92C30B7E55D0112233445566778899AABBCC"

static const uint8_t id[NODE_ID_SIZE] = { 0x4f, 0x1a, 0x92, 0xc3, 0x0b, 0x7e, 0x55,
                                          0xd0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66,
                                          0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc };

static const struct name_row {
    const char *what, *text;
    bool is_name, is_whole, matches;
} name_rows[] = {
    { "all of it", ID, true, true, true },
    { "in capitals", ID_UPPER, true, true, true },
    { "its beginning", "4f1a", true, false, true },
    { "an odd number of digits", "4f1a9", true, false, true },
    { "all but the last", "4f1a92c30b7e55d0112233445566778899aabbc", true, false, true },
    { "another's beginning", "4f1b", true, false, false },
    { "what is inside it", "92c3", true, false, false },
    { "too little to mean somebody", "4f1", false, false, false },
    { "nothing", "", false, false, false },
    { "a digit too many", ID "0", false, false, false },
    { "a host", "pc-07", false, false, false },
    { "a digit and rubbish", "4f1a 2", false, false, false },
};

static void a_member_is_named(void **state)
{
    const struct name_row *row = *state;
    struct member_name name = { .is_whole = false };

    assert_int_equal(member_name_parse(row->text, &name), row->is_name);
    if (!row->is_name)
        return;
    assert_int_equal(name.is_whole, row->is_whole);
    assert_int_equal(member_name_matches(&name, id, sizeof id), row->matches);
    assert_false(member_name_matches(&name, id, sizeof id - 1));
    if (row->is_whole)
        assert_memory_equal(name.node.bytes, id, sizeof id);
}

static const struct fingerprint_row {
    const char *what, *typed;
    bool same;
} fingerprint_rows[] = {
    { "as it is shown", "4f1a-92c3-0b7e-55d0", true },
    { "without hyphens", "4f1a92c30b7e55d0", true },
    { "in capitals", "4F1A-92C3-0B7E-55D0", true },
    { "only its beginning", "4f1a-92c3-0b7e", false },
    { "its beginning and a hyphen", "4f1a-92c3-0b7e-", false },
    { "a digit too many", "4f1a-92c3-0b7e-55d01", false },
    { "another", "4f1a-92c3-0b7e-55d1", false },
    { "nothing", "", false },
    { "hyphens elsewhere", "4f-1a92c30b7e55d0", false },
};

static void a_fingerprint_is_compared(void **state)
{
    const struct fingerprint_row *row = *state;

    assert_int_equal(member_fingerprint_equal(row->typed, "4f1a-92c3-0b7e-55d0"), row->same);
}

/* ---- invitations ---- */

static const struct invitation_name_row {
    const char *what, *text;
    enum invitation_name name;
} invitation_name_rows[] = {
    { "as it is listed", "4f1a92c30b7e", INVITATION_NAMED },
    { "in capitals", "4F1A92C30B7E", INVITATION_NAMED },
    { "its beginning is not enough", "4f1a92c30b", INVITATION_NOT_NAMED },
    { "a digit too many", "4f1a92c30b7e0", INVITATION_NOT_NAMED },
    { "another word", "lab-3", INVITATION_NOT_NAMED },
    { "nothing", "", INVITATION_NOT_NAMED },
    { "the token", "lb1.TxqSwwt-VdARIjNEVWZ3iJmqu8w", INVITATION_IS_TOKEN },
    { "a token that was cut", "lb1.", INVITATION_IS_TOKEN },
};

static void an_invitation_is_named(void **state)
{
    const struct invitation_name_row *row = *state;
    uint8_t found[INVITATION_ID_SIZE] = { 0 };

    assert_int_equal(invitation_parse(row->text, found), row->name);
    if (row->name == INVITATION_NAMED)
        assert_memory_equal(found, id, sizeof found);
}

#define NOW 1795860720u /* 2026-11-28 10:12 */

static const struct shown_row {
    const char *what;
    uint32_t uses_left, uses;
    int expires_in_s;
    bool withdrawn;
    const char *uses_text, *state, *expiry;
} shown_rows[] = {
    { "one that nobody has used", 30, 30, 7200, false, "30 of 30", "open",
      "2026-11-28 12:12, in 2h 0m" },
    { "one that some have used", 3, 30, 59, false, "3 of 30", "open", "2026-11-28 10:12, in 59s" },
    { "one that is used up", 0, 30, 7200, false, "0 of 30", "used up",
      "2026-11-28 12:12, in 2h 0m" },
    { "one that was withdrawn", 3, 30, 7200, true, "3 of 30", "withdrawn",
      "2026-11-28 12:12, in 2h 0m" },
    { "withdrawn counts more than used up", 0, 1, 7200, true, "0 of 1", "withdrawn",
      "2026-11-28 12:12, in 2h 0m" },
    { "one that has expired and is not swept yet", 3, 30, 0, false, "3 of 30", "expired",
      "2026-11-28 10:12" },
    { "expired counts more than used up", 0, 30, -60, false, "0 of 30", "expired",
      "2026-11-28 10:11" },
    { "one of before there was a count", 3, 0, 7200, false, "3", "open",
      "2026-11-28 12:12, in 2h 0m" },
};

static void an_invitation_is_shown(void **state)
{
    const struct shown_row *row = *state;
    Littlebird__V1__Invitation invitation = LITTLEBIRD__V1__INVITATION__INIT;
    char text[INVITATION_TEXT_SIZE];

    setenv("TZ", "UTC", 1);
    tzset();
    invitation.uses_left = row->uses_left;
    invitation.uses = row->uses;
    invitation.expires_s = (uint64_t)((int64_t)NOW + row->expires_in_s);
    invitation.withdrawn = row->withdrawn;
    assert_string_equal(invitation_uses_text(&invitation, text), row->uses_text);
    assert_string_equal(invitation_state_text(&invitation, NOW), row->state);
    assert_string_equal(invitation_expiry_text(&invitation, NOW, text), row->expiry);
}

/* Of one second they stand by their ids, however they came. */
static void the_newest_invitation_is_the_last(void **state)
{
    enum { COUNT = 40 };
    struct invitation_row rows[COUNT];

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        const unsigned place = i * 7 % COUNT;

        rows[i] = (struct invitation_row){ LITTLEBIRD__V1__INVITATION__INIT, { 0 } };
        rows[i].id[0] = (uint8_t)(COUNT - place); /* the newest has the lowest */
        rows[i].invitation.invitation_id = (ProtobufCBinaryData){ INVITATION_ID_SIZE, rows[i].id };
        rows[i].invitation.made_s = place < COUNT / 2 ? 100 : 200;
    }
    invitation_sort(rows, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        const unsigned first = i < COUNT / 2 ? COUNT / 2 + 1 : 1;

        assert_int_equal(rows[i].invitation.made_s, i < COUNT / 2 ? 100 : 200);
        assert_int_equal(rows[i].id[0], first + i % (COUNT / 2));
        assert_ptr_equal(rows[i].invitation.invitation_id.data, rows[i].id);
    }
    invitation_sort(NULL, 0);
}

/* ---- addresses ---- */

static const struct address_row {
    const char *what, *text;
    bool is_address;
} address_rows[] = {
    { "IPv4", "192.0.2.1:6891", true },
    { "a name", "teacher.lab.example:6891", true },
    { "a name alone in its net", "teacher:6891", true },
    { "IPv6", "[2001:db8::1]:6891", true },
    { "IPv6 without brackets", "2001:db8::1:6891", false },
    { "a broken IPv6", "[2001:zz::1]:6891", false },
    { "no port", "teacher", false },
    { "an empty port", "teacher:", false },
    { "port 0", "teacher:0", false },
    { "a port beyond the last", "teacher:65536", false },
    { "no host", ":6891", false },
    { "a blank inside", "my teacher:6891", false },
    { "a command", "$(id):1", false },
    { "nothing", "", false },
};

static void an_address_is_checked(void **state)
{
    const struct address_row *row = *state;

    assert_int_equal(offline_is_address(row->text), row->is_address);
}

/* ---- the group ---- */

/* Servers 1 (leader), 2 (follower), 3 (not voting yet), and two that have offered themselves. */
static const struct server_row {
    uint64_t server;
    const char *address, *role;
    bool voter;
    uint8_t first; /* byte of its node id */
} servers[] = {
    { 1, "192.0.2.1:6891", "leader", true, 0x11 },
    { 2, "[2001:db8::2]:6891", "follower", true, 0x22 },
    { 3, "third.example:6891", "not voting yet", false, 0x33 },
    { 0, "192.0.2.4:6891", "has offered itself", false, 0x44 },
    { 0, "192.0.2.4:7000", "has offered itself", false, 0x45 },
};

#define SERVERS (sizeof servers / sizeof servers[0])

struct drawn {
    Littlebird__V1__GetCoordinatorsResponse group;
    Littlebird__V1__Coordinator coordinators[SERVERS], *pointers[SERVERS];
    uint8_t ids[SERVERS][NODE_ID_SIZE];
};

static void draw(struct drawn *self)
{
    memset(self, 0, sizeof *self);
    littlebird__v1__get_coordinators_response__init(&self->group);
    for (size_t i = 0; i < SERVERS; i++) {
        Littlebird__V1__Coordinator *coordinator = &self->coordinators[i];

        littlebird__v1__coordinator__init(coordinator);
        memset(self->ids[i], servers[i].first, NODE_ID_SIZE);
        coordinator->server = servers[i].server;
        coordinator->address = (char *)(uintptr_t)servers[i].address;
        coordinator->voter = servers[i].voter;
        coordinator->node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, self->ids[i] };
        self->pointers[i] = coordinator;
    }
    self->group.coordinators = self->pointers;
    self->group.n_coordinators = SERVERS;
    self->group.leader = 1;
}

static void each_has_its_role(void **state)
{
    struct drawn drawn;

    (void)state;
    draw(&drawn);
    for (size_t i = 0; i < SERVERS; i++)
        assert_string_equal(group_role_text(&drawn.group, drawn.pointers[i]), servers[i].role);
    assert_int_equal(group_voters(&drawn.group), 2);
    drawn.group.leader = 0; /* nobody knows one: who has offered itself does not lead */
    assert_string_equal(group_role_text(&drawn.group, drawn.pointers[0]), "follower");
    assert_string_equal(group_role_text(&drawn.group, drawn.pointers[3]), "has offered itself");
}

static const struct find_row {
    const char *what, *name;
    bool offered;
    unsigned count;
    const char *found; /* its address */
} find_rows[] = {
    { "by its address", "192.0.2.1:6891", false, 1, "192.0.2.1:6891" },
    { "by its host", "192.0.2.1", false, 1, "192.0.2.1:6891" },
    { "by its name", "third.example", false, 1, "third.example:6891" },
    { "by an IPv6 host", "2001:db8::2", false, 1, "[2001:db8::2]:6891" },
    { "by an IPv6 address", "[2001:db8::2]:6891", false, 1, "[2001:db8::2]:6891" },
    { "by the beginning of its node id", "2222", false, 1, "[2001:db8::2]:6891" },
    { "an offer is none of the group", "192.0.2.4:7000", false, 0, "" },
    { "an offer by its address", "192.0.2.4:7000", true, 1, "192.0.2.4:7000" },
    { "two offers of one host", "192.0.2.4", true, 2, "192.0.2.4:7000" },
    { "one of them by its node id", "4444", true, 1, "192.0.2.4:6891" },
    { "one of the group has made no offer", "192.0.2.1", true, 0, "" },
    { "the beginning of a host is not enough", "192.0.2", false, 0, "" },
    { "nobody", "", false, 0, "" },
};

static void a_coordinator_is_found(void **state)
{
    const struct find_row *row = *state;
    const Littlebird__V1__Coordinator *found = NULL;
    struct drawn drawn;

    draw(&drawn);
    assert_int_equal(group_find(&drawn.group, row->name, row->offered, &found), row->count);
    assert_int_equal(found != NULL, row->count > 0);
    if (found != NULL)
        assert_string_equal(found->address, row->found);
}

static void a_group_says_what_it_survives(void **state)
{
    (void)state;
    assert_non_null(strstr(group_strength_text(1), "three survive the loss of any one"));
    assert_non_null(strstr(group_strength_text(2), "add a third"));
    assert_non_null(strstr(group_strength_text(3), "any two"));
    assert_non_null(strstr(group_strength_text(4), "add a fifth"));
    assert_non_null(strstr(group_strength_text(5), "any three"));
}

/* ---- texts of others ---- */

static const struct harmless_row {
    const char *what, *text, *shown;
} harmless_rows[] = {
    { "plain text", "hello\n\tyou", "hello\n\tyou" },
    { "other letters", "h\xc3\xa4llo \xf0\x9f\x90\xa6", "h\xc3\xa4llo \xf0\x9f\x90\xa6" },
    { "what moves the cursor", "a\x1b[2Jb\rc\x7f", "a?[2Jb?c?" },
    { "the same in C1",
      "a\xc2\x9b"
      "2Jb",
      "a??2Jb" },
    { "no UTF-8",
      "a\xff\xc3"
      "b",
      "a??b" },
    { "a character that is cut", "a\xf0\x9f\x90", "a???" },
    { "one that is too long", "a\xc0\xaf", "a??" },
    { "half of a pair", "a\xed\xa0\x80", "a???" },
    { "nothing", "", "" },
};

static void a_text_is_made_harmless(void **state)
{
    const struct harmless_row *row = *state;
    size_t size = strlen(row->text);
    uint8_t *text = malloc(size + 1); /* exactly: sanitizers see what is read beyond */

    assert_non_null(text);
    memcpy(text, row->text, size);
    text_make_harmless(text, size);
    assert_memory_equal(text, row->shown, size);
    assert_true(text_is_harmless(text, size));
    free(text);
}

static void a_moment_is_shown(void **state)
{
    char text[UNITS_SIZE];

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    assert_string_equal(units_moment(1795860720, text), "2026-11-28 10:12");
    assert_string_equal(units_moment(0, text), "-");
    assert_string_equal(units_moment(UINT64_MAX, text), "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_invitation_is_the_last),
        cmocka_unit_test(each_has_its_role),
        cmocka_unit_test(a_group_says_what_it_survives),
        cmocka_unit_test(a_moment_is_shown),
    };

    return RUN_ROWS(name_rows, a_member_is_named) +
           RUN_ROWS(fingerprint_rows, a_fingerprint_is_compared) +
           RUN_ROWS(invitation_name_rows, an_invitation_is_named) +
           RUN_ROWS(shown_rows, an_invitation_is_shown) +
           RUN_ROWS(address_rows, an_address_is_checked) +
           RUN_ROWS(find_rows, a_coordinator_is_found) +
           RUN_ROWS(harmless_rows, a_text_is_made_harmless) +
           cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
