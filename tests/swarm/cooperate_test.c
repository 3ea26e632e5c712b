/* With whom we cooperate; whose turn a piece is; how large a window is; what is said about it. */
#include "services/swarm/bitfield.h"
#include "services/swarm/cooperate.h"
#include "services/swarm/plan_message.h"
#include "services/swarm/wave.h"
#include "services/swarm/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- with whom ---- */

static const struct trust {
    const char *what, *address;
    enum cooperate_mode mode;
    bool our_kind, expected;
} trusts[] = {
    { "our kind at home", "192.168.1.2:1", COOPERATE_AUTO, true, true },
    { "our kind on this machine", "127.0.0.1:1", COOPERATE_AUTO, true, true },
    { "our kind on the link", "[fe80::1]:1", COOPERATE_AUTO, true, true },
    { "our kind at a unique local address", "[fd00::1]:1", COOPERATE_AUTO, true, true },
    { "our kind far away is a stranger", "93.184.216.34:1", COOPERATE_AUTO, true, false },
    { "another kind at home is a stranger", "192.168.1.2:1", COOPERATE_AUTO, false, false },
    { "mode = open: nobody", "192.168.1.2:1", COOPERATE_NEVER, true, false },
    { "mode = cooperative: our kind anywhere", "93.184.216.34:1", COOPERATE_ALWAYS, true, true },
    { "mode = cooperative: but no other kind", "192.168.1.2:1", COOPERATE_ALWAYS, false, false },
};

static void test_trust(void **state)
{
    const struct trust *row = *state;
    struct address address;
    assert_int_equal(address_parse(row->address, &address), LB_OK);
    assert_int_equal(cooperate_with(row->mode, row->our_kind, &address), row->expected);
}

/* ---- whose turn ---- */

static const struct turn {
    const char *what;
    uint32_t peers, holders, waited_ms;
    unsigned least, most; /* thousandths */
    bool slow;
} turns[] = {
    { "few need no line", WAVE_FANOUT, 1, 0, 1000, 1000, false },
    { "of nine, three go to the first holder", 9, 1, 0, 310, 360, false },
    { "of fifteen, five", 15, 1, 0, 310, 360, false },
    { "of a hundred, eight", 100, 1, 0, 65, 95, false },
    { "and twenty-four to three", 100, 3, 0, 215, 265, false },
    { "thirteen holders are enough for all", 100, 13, 0, 1000, 1000, false },
    { "what only seeds have is as if one had it", 100, 0, 0, 65, 95, false },
    { "no new holder for a while: twice as many", 100, 1, WAVE_MS, 135, 185, false },
    { "and twice again", 100, 1, 2 * WAVE_MS, 290, 350, false },
    { "in the end all", 100, 1, 4 * WAVE_MS, 1000, 1000, false },
    { "two go to who is slow", 100, 1, 0, 10, 30, true },
    { "of a thousand, too", 1000, 1, 100 * WAVE_MS, 1000, 1000, false },
};

/* Of so many peers and pieces, how many pairs have their turn; in thousandths. */
static unsigned admitted(const struct turn *row)
{
    static const uint32_t held_ms[100] = { 0 };
    unsigned count = 0;
    for (uint32_t who = 0; who < 100; who++) {
        const struct wave wave = { .key = who * UINT64_C(0x123456789abcdef),
                                   .peers = row->peers,
                                   .slow = row->slow,
                                   .held_ms = held_ms,
                                   .now_ms = row->waited_ms };
        for (uint32_t piece = 0; piece < 100; piece++)
            count += wave_has_come(&wave, piece, row->holders);
    }
    return count / 10;
}

static void test_turn(void **state)
{
    const struct turn *row = *state;
    assert_in_range(admitted(row), row->least, row->most);
}

/* ---- how much ---- */

/* Requests are answered after so many milliseconds each. */
static const struct growth {
    const char *what;
    uint32_t took_ms[8];
    uint32_t expected;
    uint32_t unused_from; /* from this one on the window is not used to the full; 0: always is */
    uint32_t enough_from; /* and what all peers are asked for is no longer little */
    uint32_t fair;        /* then, its share; 0: 100 */
} growths[] = {
    { "at first one", { 0 }, 1, 0, 0, 0 },
    { "quick answers double it", { 5, 5, 5 }, 8, 0, 0, 0 },
    { "a hundred milliseconds more than the quickest is quick", { 5, 105, 105 }, 8, 0, 0, 0 },
    { "a long way is no queue", { 400, 400, 400 }, 8, 0, 0, 0 },
    { "it grows to what the peer takes", { 5, 5, 5, 5, 5, 5, 5, 5 }, 100, 0, 0, 0 },
    { "when enough is under way it grows by one", { 5, 5, 5, 5, 5 }, 10, 0, 4, 0 },
    { "to its share", { 5, 5, 5, 5, 5, 5, 5 }, 10, 0, 4, 10 },
    { "what is beyond its share it loses", { 5, 5, 5, 5, 5, 5, 5 }, 3, 0, 4, 3 },
    { "used or not", { 5, 5, 5, 5, 5, 5, 5 }, 3, 4, 4, 3 },
    { "a slow answer shrinks it by a quarter, and one", { 5, 5, 5, 106 }, 5, 0, 4, 0 },
    { "and ends the doubling", { 5, 5, 5, 106, 5 }, 6, 0, 4, 0 },
    { "it never falls below one", { 5, 999, 999, 999, 999 }, 1, 0, 1, 0 },
    { "while little is under way a slow answer lets it grow by one",
      { 5, 5, 5, 106, 106 },
      10,
      0,
      0,
      0 },
    { "to its share", { 5, 5, 5, 106, 106 }, 9, 0, 0, 9 },
    { "and quick ones double it further", { 5, 5, 5, 106, 5 }, 18, 0, 0, 0 },
    { "beyond its share, too", { 5, 5, 5, 106, 5 }, 16, 0, 0, 3 },
    { "one that is not used does not grow", { 5, 5, 5, 5, 5, 5 }, 8, 4, 0, 0 },
    { "but a slow answer shrinks it all the same", { 5, 5, 5, 106, 106 }, 3, 4, 4, 0 },
};

static void test_growth(void **state)
{
    const struct growth *row = *state;
    struct window window;
    uint64_t now_ms = 1000;
    window_init(&window);
    for (uint32_t i = 0; i < 8 && row->took_ms[i] != 0; i++) {
        const struct picker_ask ask = { i, 0 };
        const bool unused = row->unused_from != 0 && i + 1 >= row->unused_from;
        window_asked(&window, ask, 1, now_ms);
        window_asked(&window, (struct picker_ask){ i, 1 }, unused ? 2 : window.target, now_ms);
        now_ms += row->took_ms[i];
        assert_false(window_times(&window, (struct picker_ask){ i, 1 }));
        assert_true(window_times(&window, ask));
        const struct window_load load = {
            .little = row->enough_from == 0 || i + 1 < row->enough_from,
            .fair = row->fair != 0 ? row->fair : 100,
        };
        window_came(&window, 100, load, now_ms);
    }
    assert_int_equal(window.target, row->expected);
}

static void test_a_window_begins_anew_with_what_is_known_of_the_way(void **state)
{
    (void)state;
    struct window window;
    window_init(&window);
    window_asked(&window, (struct picker_ask){ 1, 2 }, 1, 1000);
    window_came(&window, 100, (struct window_load){ .little = true, .fair = 100 }, 1007);
    assert_int_equal(window.target, 2);
    window_restart(&window);
    assert_int_equal(window.target, WINDOW_MIN);
    assert_int_equal(window.least_ms, 7);
}

static void test_what_is_not_answered_is_not_timed(void **state)
{
    (void)state;
    struct window window;
    window_init(&window);
    window_asked(&window, (struct picker_ask){ 1, 2 }, 1, 1000);
    window_forget(&window, (struct picker_ask){ 1, 2 });
    assert_false(window_times(&window, (struct picker_ask){ 1, 2 }));
}

/* ---- what is said ---- */

static const struct said {
    const char *what, *hex;
    lb_err err;
    uint32_t count;
} said[] = {
    { "nothing is refused", "", LB_INVALID, 0 },
    { "ask me for anything", "00", LB_OK, 0 },
    { "ask me for nothing but what I give", "01", LB_OK, 0 },
    { "with pieces that makes no sense", "0100000001", LB_INVALID, 0 },
    { "one piece is given", "0200000007", LB_OK, 1 },
    { "two are taken elsewhere", "030000000700000009", LB_OK, 2 },
    { "half a piece is refused", "02000007", LB_INVALID, 0 },
    { "two have come", "040000000700000009", LB_OK, 2 },
    { "a kind that comes later is skipped", "0500000007", LB_UNSUPPORTED, 0 },
};

static void test_said(void **state)
{
    const struct said *row = *state;
    uint8_t bytes[64];
    const size_t size = strlen(row->hex) / 2;
    struct plan_message message;
    assert_int_equal(hex_decode(row->hex, bytes, size), LB_OK);
    assert_int_equal(plan_message_read(bytes_of(bytes, size), &message), row->err);
    if (row->err != LB_OK)
        return;
    assert_int_equal(message.count, row->count);
    uint8_t again[PLAN_MESSAGE_SIZE_MAX];
    struct writer writer;
    writer_init(&writer, again, sizeof again);
    plan_message_put(&writer, &message);
    assert_true(bytes_equal(bytes_of(bytes, size), bytes_of(again, writer.size)));
}

static void test_too_many_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[PLAN_MESSAGE_SIZE_MAX + 4] = { PLAN_MESSAGE_GIVE };
    struct plan_message message;
    assert_int_equal(plan_message_read(bytes_of(bytes, PLAN_MESSAGE_SIZE_MAX), &message), LB_OK);
    assert_int_equal(plan_message_read(bytes_of(bytes, sizeof bytes), &message), LB_INVALID);
}

int main(void)
{
#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])
#define ADD(rows, test)                                                                            \
    for (size_t i = 0; i < COUNT(rows); i++)                                                       \
        tests[count++] = (struct CMUnitTest)                                                       \
        {                                                                                          \
            (rows)[i].what, test, NULL, NULL, (void *)(uintptr_t) & (rows)[i]                      \
        }
    struct CMUnitTest tests[COUNT(trusts) + COUNT(turns) + COUNT(growths) + COUNT(said) + 3];
    size_t count = 0;
    ADD(trusts, test_trust);
    ADD(turns, test_turn);
    ADD(growths, test_growth);
    ADD(said, test_said);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(
        test_a_window_begins_anew_with_what_is_known_of_the_way);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_what_is_not_answered_is_not_timed);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_too_many_are_refused);
    return _cmocka_run_group_tests("cooperate", tests, count, NULL, NULL);
}
