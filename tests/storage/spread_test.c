#include "services/storage/spread.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 10000
#define WALL_SEQ    100u /* what value_next_seq would give while nothing higher stands */

/*
 * A story is a line of steps: what the spread does, and what comes of it.
 *
 *   look:NODES[/SELF]  it looks up and finds these nodes, one a letter group:
 *                      a letter, then its item's number or nothing; "~" after it: it gave no token;
 *                      "!" then: it is of another kind. "x" after a number: a removal.
 *                      SELF is "+" when our own store is among the k closest, "+N" when it holds N;
 *                      "-N": it holds N and is not.
 *   fail               it looks up and routing is not there
 *   sign:N             it signs number N
 *   a.ok a.old a.stale a.busy a.no a.full   it stores on node a (or on self: "+") and that is the
 * answer; a(N).ok: with CAS N
 *   -> OUTCOME ACK/ASKED, of a check HOLDERS+REPAIRED/FOUND and "drop" when we may
 */
static const struct row {
    const char *what;
    enum spread_mode mode;
    uint64_t seq;
    int cas; /* -1: none */
    const char *story;
} rows[] = {
    { "an immutable item goes to all", SPREAD_FIXED, 0, -1,
      "look:a,b,c/ a.ok b.ok c.ok -> OK 3/3" },
    { "our own store takes part when it is close", SPREAD_FIXED, 0, -1,
      "look:a,b/+ +.ok a.ok b.ok -> OK 3/3" },
    { "alone, it is stored here", SPREAD_FIXED, 0, -1, "look:/+ +.ok -> OK 1/1" },
    { "alone on a full disk", SPREAD_FIXED, 0, -1, "look:/+ +.full -> NO_SPACE 0/1" },
    { "a full disk here, but others stored it", SPREAD_FIXED, 0, -1,
      "look:a/+ +.full a.ok -> OK 1/2" },
    { "nobody is there and we are not close", SPREAD_FIXED, 0, -1, "look:/ -> UNAVAILABLE 0/0" },
    { "nodes without a token are not asked", SPREAD_FIXED, 0, -1, "look:a~,b/ b.ok -> OK 1/1" },
    { "the silent are counted, not hoped for", SPREAD_FIXED, 0, -1,
      "look:a,b,c/ a.no b.ok c.no -> OK 1/3" },
    { "all silent", SPREAD_FIXED, 0, -1, "look:a,b/ a.no b.no -> UNAVAILABLE 0/2" },
    { "an aged token is renewed once, and only there", SPREAD_FIXED, 0, -1,
      "look:a,b/ a.stale b.ok look:a,b/ a.ok -> OK 2/2" },
    { "... not twice", SPREAD_FIXED, 0, -1, "look:a,b/ a.stale b.ok look:a,b/ a.stale -> OK 1/2" },
    { "who acknowledged counts though the second lookup misses it", SPREAD_FIXED, 0, -1,
      "look:a,b/+ +.ok a.stale b.ok look:a,c/+ a.ok c.ok -> OK 4/4" },
    { "who is busy is tried once more", SPREAD_FIXED, 0, -1,
      "look:a,b/ a.busy b.ok look:a,b/ a.ok -> OK 2/2" },
    { "... or who stands in its place by then", SPREAD_FIXED, 0, -1,
      "look:a,b/ a.busy b.ok look:b,c/ c.ok -> OK 2/2" },
    { "... not twice", SPREAD_FIXED, 0, -1, "look:a,b/ a.busy b.ok look:a,b/ a.busy -> OK 1/2" },
    { "a version is not signed again for the busy", SPREAD_VERSION, 0, -1,
      "look:a,b/ sign:100 a.busy b.ok look:a,b100/ a.ok -> OK 2/2" },
    { "a vote is not made again for them", SPREAD_VERSION, 0, 50,
      "look:a50,b50/ sign:100 a(50).busy b(50).ok -> OK 1/2" },
    { "a lookup that could not be made is made again", SPREAD_FIXED, 0, -1,
      "fail look:a/ a.ok -> OK 1/1" },
    { "a signed item is put again as it is", SPREAD_FIXED, 5, -1,
      "look:a5,b4/+ +.ok a.ok b.ok -> OK 3/3" },
    { "a signed item that others have overwritten is not", SPREAD_FIXED, 5, -1,
      "look:a5,b6/ -> CONFLICT 0/0" },

    { "a first version takes the wall clock", SPREAD_VERSION, 0, -1,
      "look:a,b/ sign:100 a.ok b.ok -> OK 2/2" },
    { "a later one is one higher", SPREAD_VERSION, 0, -1,
      "look:a200,b/ sign:201 a.ok b.ok -> OK 2/2" },
    { "our own store knows a higher one", SPREAD_VERSION, 0, -1,
      "look:a200/+300 sign:301 +.ok a.ok -> OK 2/2" },
    { "overtaken by another writer: look again, sign higher, store on all", SPREAD_VERSION, 0, -1,
      "look:a,b/ sign:100 a.ok b.old look:a100,b150/ sign:151 a.ok b.ok -> OK 2/2" },
    { "overtaken again and again: an end is made", SPREAD_VERSION, 0, -1,
      "look:a/ sign:100 a.old look:a110/ sign:111 a.old look:a120/ sign:121 a.old "
      "-> CONFLICT 0/1" },
    { "an aged token: the same version again, signed once", SPREAD_VERSION, 0, -1,
      "look:a,b/ sign:100 a.stale b.ok look:a,b100/ a.ok -> OK 2/2" },
    { "an aged token, and meanwhile a newer version", SPREAD_VERSION, 0, -1,
      "look:a,b/ sign:100 a.stale b.ok look:a,b120/ sign:121 a.ok b.ok -> OK 2/2" },

    { "CAS on what stands", SPREAD_VERSION, 0, 50,
      "look:a50,b50/ sign:100 a(50).ok b(50).ok -> OK 2/2" },
    { "CAS on what does not stand any more", SPREAD_VERSION, 0, 50,
      "look:a50,b60/ -> CONFLICT 0/0" },
    { "CAS where nothing stands", SPREAD_VERSION, 0, 50, "look:a,b/ -> CONFLICT 0/0" },
    { "CAS 0: only if there is none", SPREAD_VERSION, 0, 0,
      "look:a,b/ sign:100 a(0).ok b(0).ok -> OK 2/2" },
    { "CAS 0, but there is one", SPREAD_VERSION, 0, 0, "look:a,b7/ -> CONFLICT 0/0" },
    { "CAS 0, and it was removed: as if there were none", SPREAD_VERSION, 0, 0,
      "look:a70x,b7,c/ sign:100 a(70).ok b(7).ok c(0).ok -> OK 3/3" },
    { "CAS 0, removed and put again", SPREAD_VERSION, 0, 0, "look:a70x,b71/ -> CONFLICT 0/0" },
    { "CAS on the number of the removal", SPREAD_VERSION, 0, 70,
      "look:a70x,b70x/ sign:100 a(70).ok b(70).ok -> OK 2/2" },
    { "CAS goes by what each node holds", SPREAD_VERSION, 0, 50,
      "look:a50,b40,c/+50 sign:100 +(50).ok a(50).ok b(40).ok c(0).ok -> OK 4/4" },
    { "a vote is won by more than half; then the others follow", SPREAD_VERSION, 0, 50,
      "look:a50,b50,c50/ sign:100 a(50).ok b(50).ok c(50).old "
      "look:a100,b100,c100/ sign:101 a(100).ok b(100).ok c(100).ok -> OK 3/3" },
    { "a vote is won, and somebody has built on it", SPREAD_VERSION, 0, 50,
      "look:a50,b50,c50/ sign:100 a(50).ok b(50).ok c(50).old look:a300,b100,c100/ -> OK 2/3" },
    { "a vote is won, and then routing is gone", SPREAD_VERSION, 0, 50,
      "look:a50,b50,c50/ sign:100 a(50).ok b(50).ok c(50).old give-up -> OK 2/3" },
    { "half the votes are not enough", SPREAD_VERSION, 0, 50,
      "look:a50,b50/ sign:100 a(50).ok b(50).old -> CONFLICT 1/2" },
    { "all votes lost", SPREAD_VERSION, 0, 50,
      "look:a50,b50/ sign:100 a(50).old b(50).old -> CONFLICT 0/2" },

    { "repair: only those that lack it", SPREAD_REPAIR, 9, -1,
      "look:a9,b8,c,d~/ b.ok c.ok -> OK 2/2" },

    { "check: all hold it, nothing is sent", SPREAD_CHECK, 9, -1, "look:a9,b9/+9 -> OK 2+0/2" },
    { "check: those that lack it get it", SPREAD_CHECK, 9, -1,
      "look:a9,b8,c,d~/+9 b.ok c.no -> OK 1+1/4" },
    { "check: an immutable item is there or not", SPREAD_CHECK, 0, -1,
      "look:a0,b/+0 b.ok -> OK 1+1/2" },
    { "check: a node of another kind forgets, so it is put there again", SPREAD_CHECK, 9, -1,
      "look:a9,b9!,c!/+9 b.ok c.ok -> OK 2+1/3" },
    { "check: a newer version is taken over and spread", SPREAD_CHECK, 9, -1,
      "look:a9,b12,c/+9 +.ok a.ok c.ok -> OK 1+2/3" },
    { "check: ... here too, though we are not among the closest", SPREAD_CHECK, 9, -1,
      "look:a12,b12/-9 +.ok -> OK 2+0/2" },
    { "check: what we are not among the closest of is not stored here", SPREAD_CHECK, 9, -1,
      "look:a9,b/ b.ok -> OK 1+1/2" },
    { "check: our own store lacks it", SPREAD_CHECK, 9, -1, "look:a9/+ +.ok -> OK 1+0/1" },
    { "check: what nobody takes is no error", SPREAD_CHECK, 9, -1,
      "look:a,b/+9 a.no b.old -> OK 0+0/2" },
    { "check: most remember a newer one that has ended: ours is superseded", SPREAD_CHECK, 9, -1,
      "look:a,b,c9/+9 a.old b.old -> OK 1+0/3 drop" },
    { "check: ... one alone cannot say so", SPREAD_CHECK, 9, -1,
      "look:a,b,c/+9 a.old b.ok c.no -> OK 0+1/3" },
    { "check: nobody is there", SPREAD_CHECK, 9, -1, "look:/+9 -> OK 0+0/0" },
    { "check: 20 others have it, we may drop it", SPREAD_CHECK, 9, -1,
      "look:a9,b9,c9,d9,e9,f9,g9,h9,i9,j9,k9,l9,m9,n9,o9,p9,q9,r9,s9,t9/ -> OK 20+0/20 drop" },
    { "check: ... once the last has acknowledged it", SPREAD_CHECK, 9, -1,
      "look:a9,b9,c9,d9,e9,f9,g9,h9,i9,j9,k9,l9,m9,n9,o9,p9,q9,r9,s9,t/ t.ok -> OK 19+1/20 drop" },
    { "check: ... not before", SPREAD_CHECK, 9, -1,
      "look:a9,b9,c9,d9,e9,f9,g9,h9,i9,j9,k9,l9,m9,n9,o9,p9,q9,r9,s9,t/ t.no -> OK 19+0/20" },
    { "check: among the 20 closest, we keep it", SPREAD_CHECK, 9, -1,
      "look:a9,b9,c9,d9,e9,f9,g9,h9,i9,j9,k9,l9,m9,n9,o9,p9,q9,r9,s9,t9/+9 -> OK 20+0/20" },
    { "check: 20 others, but of our kind only three: it would be forgotten", SPREAD_CHECK, 9, -1,
      "look:a9,b9,c9,d9!,e9!,f9!,g9!,h9!,i9!,j9!,k9!,l9!,m9!,n9!,o9!,p9!,q9!,r9!,s9!,t9!/ "
      "d.ok e.ok f.ok g.ok h.ok i.ok j.ok k.ok l.ok m.ok n.ok o.ok p.ok q.ok r.ok s.ok t.ok "
      "-> OK 20+0/20" },
    { "check: ... four will do", SPREAD_CHECK, 9, -1,
      "look:a9,b9,c9,d,e9!,f9!,g9!,h9!,i9!,j9!,k9!,l9!,m9!,n9!,o9!,p9!,q9!,r9!,s9!,t9!/ "
      "d.ok e.ok f.ok g.ok h.ok i.ok j.ok k.ok l.ok m.ok n.ok o.ok p.ok q.ok r.ok s.ok t.ok "
      "-> OK 19+1/20 drop" },
    { "check: 20 of one family do not stand for the other", SPREAD_CHECK, 9, -1,
      "look:a9,b9,c9,d9,e9,f9,g9,h9,i9,j9,k9,l9,m9,n9,o9,p9,q9,r9,s9,t9,u/ u.no -> OK 20+0/21" },
};

/* ---- telling a story ---- */

struct teller {
    struct spread spread;
    const struct row *row;
    uint64_t now_ms;
    uint64_t newest;
    char letters[SPREAD_NODES_MAX];
};

static const char *add_drawn(const char *at, struct spread_node *node, char *ret_letter,
                             bool *ret_removal)
{
    char *end;

    *node = (struct spread_node){ .token_size = 1 };
    *ret_letter = *at;
    node->contact.id.bytes[0] = (uint8_t)*at;
    node->contact.address = address_v4(10, 0, 0, (uint8_t)*at, 1);
    node->item_seq = strtoull(++at, &end, 10);
    node->has_item = end != at;
    at = end;
    *ret_removal = *at == 'x';
    if (*ret_removal)
        at++;
    if (*at == '~') {
        node->token_size = 0;
        at++;
    }
    node->littlebird = *at != '!';
    if (!node->littlebird)
        at++;
    return *at == ',' ? at + 1 : at;
}

static void look(struct teller *self, const char *drawn)
{
    struct spread_node nodes[SPREAD_NODES_MAX];
    struct spread_found found = { .nodes = nodes };
    uint64_t next;

    for (; *drawn != '/'; found.nodes_count++) {
        struct spread_node *node = &nodes[found.nodes_count];
        char letter;
        bool removal;

        drawn = add_drawn(drawn, node, &letter, &removal);
        found.has_item = found.has_item || node->has_item;
        if (node->item_seq > found.highest_seq) {
            found.highest_seq = node->item_seq;
            found.is_removal = removal;
        }
    }
    if (drawn[1] == '+' || drawn[1] == '-') {
        found.self_is_close = drawn[1] == '+';
        found.self_has_item = drawn[2] >= '0' && drawn[2] <= '9';
        found.self_seq = strtoull(drawn + 2, NULL, 10);
        found.has_item = found.has_item || found.self_has_item;
        if (found.self_seq > found.highest_seq)
            found.highest_seq = found.self_seq;
    }
    next = found.highest_seq >= WALL_SEQ ? found.highest_seq + 1 : WALL_SEQ;
    spread_found(&self->spread, &found, next);
}

static struct spread_action expect(struct teller *self, enum spread_step step)
{
    struct spread_action action;

    if (!spread_next(&self->spread, self->now_ms, &action)) {
        assert_true(spread_deadline_ms(&self->spread) > self->now_ms);
        self->now_ms = spread_deadline_ms(&self->spread);
        assert_true(spread_next(&self->spread, self->now_ms, &action));
    }
    assert_int_equal(action.step, step);
    return action;
}

static enum spread_answer answer_of(const char *text)
{
    if (strcmp(text, "ok") == 0)
        return SPREAD_ACCEPTED;
    if (strcmp(text, "old") == 0)
        return SPREAD_OUTDATED;
    if (strcmp(text, "stale") == 0)
        return SPREAD_STALE;
    if (strcmp(text, "full") == 0)
        return SPREAD_NO_SPACE;
    if (strcmp(text, "busy") == 0)
        return SPREAD_BUSY;
    assert_string_equal(text, "no");
    return SPREAD_FAILED;
}

static void store(struct teller *self, const char *word)
{
    struct spread_action action = expect(self, SPREAD_STORE);
    char who = action.node == SPREAD_SELF
                   ? '+'
                   : (char)self->spread.nodes[action.node].contact.id.bytes[0];

    assert_int_equal(who, word[0]);
    assert_int_equal(action.has_cas, word[1] == '(');
    if (action.has_cas)
        assert_int_equal(action.cas, strtoull(word + 2, NULL, 10));
    spread_answered(&self->spread, action.node, answer_of(strchr(word, '.') + 1));
}

static void check_end(struct teller *self, const char *outcome, const char *counts)
{
    struct spread_action action;
    struct spread_result result;
    char got[16];

    assert_false(spread_next(&self->spread, self->now_ms, &action));
    assert_true(spread_is_done(&self->spread));
    result = spread_result(&self->spread);
    assert_string_equal(result.err == LB_OK         ? "OK"
                        : result.err == LB_CONFLICT ? "CONFLICT"
                        : result.err == LB_NO_SPACE ? "NO_SPACE"
                                                    : "UNAVAILABLE",
                        outcome);
    if (self->row->mode == SPREAD_CHECK) {
        snprintf(got, sizeof got, "%u+%u/%u", result.holders, result.repaired, result.found);
        assert_int_equal(result.lacking, result.found - result.holders);
        assert_int_equal(result.may_drop, strstr(self->row->story, " drop") != NULL);
    } else {
        snprintf(got, sizeof got, "%u/%u", result.acknowledged, result.asked);
    }
    assert_string_equal(got, counts);
}

static void story_is_told(void **state)
{
    const struct row *row = *state;
    struct teller teller = { .row = row };
    const struct spread_options options = { .mode = row->mode,
                                            .is_mutable =
                                                row->seq > 0 || row->mode == SPREAD_VERSION,
                                            .seq = row->seq,
                                            .has_cas = row->cas >= 0,
                                            .cas = row->cas >= 0 ? (uint64_t)row->cas : 0,
                                            .deadline_ms = DEADLINE_MS,
                                            .is_patient = true };
    char text[400];
    char *rest = text;
    char *word;
    bool first = true;

    snprintf(text, sizeof text, "%s", row->story);
    spread_init(&teller.spread, &options);
    while ((word = strtok_r(rest, " ", &rest)) != NULL) {
        if (strncmp(word, "look:", 5) == 0) {
            if (!first || row->mode != SPREAD_REPAIR)
                expect(&teller, SPREAD_LOOK_UP);
            look(&teller, word + 5);
        } else if (strcmp(word, "fail") == 0) {
            expect(&teller, SPREAD_LOOK_UP);
            spread_lookup_failed(&teller.spread, LB_UNAVAILABLE, teller.now_ms);
        } else if (strncmp(word, "sign:", 5) == 0) {
            assert_int_equal(expect(&teller, SPREAD_SIGN).seq, strtoull(word + 5, NULL, 10));
            spread_signed(&teller.spread);
        } else if (strcmp(word, "give-up") == 0) {
            expect(&teller, SPREAD_LOOK_UP);
            spread_give_up(&teller.spread, LB_UNAVAILABLE);
        } else if (strcmp(word, "->") == 0) {
            char *outcome = strtok_r(rest, " ", &rest);
            char *counts = strtok_r(rest, " ", &rest);

            check_end(&teller, outcome, counts);
            break;
        } else {
            store(&teller, word);
        }
        first = false;
    }
}

static void lookups_are_tried_until_the_deadline(void **state)
{
    const struct spread_options options = { .mode = SPREAD_FIXED, .deadline_ms = 2000 };
    struct spread_action action;
    struct spread spread;
    uint64_t now_ms = 0;
    unsigned tries = 0;

    (void)state;
    spread_init(&spread, &options);
    while (spread_next(&spread, now_ms, &action)) {
        spread_lookup_failed(&spread, LB_UNAVAILABLE, now_ms);
        tries++;
        if (!spread_is_done(&spread)) {
            assert_false(spread_next(&spread, now_ms, &action));
            now_ms = spread_deadline_ms(&spread);
        }
    }
    assert_true(spread_is_done(&spread));
    assert_int_equal(spread_result(&spread).err, LB_UNAVAILABLE);
    assert_int_equal(tries, 5); /* at 0, 100, 300, 700, 1500 ms */
    assert_in_range(now_ms, 1000, 2000);
}

static void what_comes_late_is_ignored(void **state)
{
    const struct spread_options options = { .mode = SPREAD_FIXED, .deadline_ms = 2000 };
    struct spread_node node = { .token_size = 1 };
    const struct spread_found found = { .nodes = &node, .nodes_count = 1 };
    struct spread_action action;
    struct spread spread;

    (void)state;
    spread_init(&spread, &options);
    assert_true(spread_next(&spread, 0, &action));
    spread_found(&spread, &found, 0);
    assert_true(spread_next(&spread, 0, &action));
    spread_give_up(&spread, LB_TIMEOUT);
    spread_answered(&spread, action.node, SPREAD_ACCEPTED);
    assert_int_equal(spread_result(&spread).err, LB_TIMEOUT);
    assert_int_equal(spread_result(&spread).acknowledged, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_are_tried_until_the_deadline),
        cmocka_unit_test(what_comes_late_is_ignored),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, story_is_told);
}
