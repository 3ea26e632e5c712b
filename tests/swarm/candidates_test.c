/* Candidates: whom to call, when to call again, whom never. */
#include "libcommon/random.h"
#include "services/swarm/candidates.h"
#include "services/swarm/priority.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct address at(uint8_t last)
{
    return address_v4(10, 0, 0, last, 6881);
}

static void test_back_off(void **state)
{
    (void)state;
    struct candidates self;
    struct random random;
    struct address address = at(1);
    struct address next;
    uint64_t now_ms = 1000;
    random_init(&random, 1);
    candidates_init(&self);
    assert_true(candidates_add(&self, &address, false));
    assert_false(candidates_add(&self, &address, false));
    uint64_t wait = CANDIDATES_BACKOFF_MS;
    for (unsigned i = 1; i < CANDIDATES_TRIES_MAX; i++) {
        assert_true(candidates_next(&self, false, &random, now_ms, &next));
        assert_int_equal(self.connecting, 1);
        assert_false(candidates_next(&self, false, &random, now_ms, &next));
        candidates_left(&self, &address, 0, now_ms);
        assert_int_equal(self.connecting, 0);
        assert_int_equal(candidates_deadline_ms(&self, false), now_ms + wait);
        assert_false(candidates_next(&self, false, &random, now_ms + wait - 1, &next));
        now_ms += wait;
        wait *= 2;
    }
    assert_true(candidates_next(&self, false, &random, now_ms, &next));
    candidates_left(&self, &address, 0, now_ms);
    assert_int_equal(self.count, 0);
    assert_int_equal(candidates_deadline_ms(&self, false), UINT64_MAX);
    candidates_done(&self);
}

/* Here is 10.1.2.3: its neighbours come first, then all others by priority. */
static void test_rank(void **state)
{
    (void)state;
    static const char *const all[] = { "10.9.9.9:6881", "10.1.2.7:6881", "98.76.54.32:6881",
                                       "10.1.3.7:6881", "10.1.2.9:6881" };
    enum { COUNT = sizeof all / sizeof all[0] };
    struct candidates self;
    struct random random;
    struct address here = address_v4(10, 1, 2, 3, 6881);
    struct address called[COUNT];
    random_init(&random, 1);
    candidates_init(&self);
    candidates_set_here(&self, &here);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(address_parse(all[i], &called[i]), LB_OK);
        assert_true(candidates_add(&self, &called[i], false));
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(candidates_next(&self, false, &random, 1000, &called[i]));
        assert_int_equal(address_same_subnet(&called[i], &here), i < 2);
        if (i != 0 && i != 2)
            assert_true(priority_of(&here, &called[i - 1]) > priority_of(&here, &called[i]));
    }
    candidates_done(&self);
}

static void test_who_stayed_is_called_soon(void **state)
{
    (void)state;
    struct candidates self;
    struct random random;
    struct address address = at(1);
    struct address next;
    random_init(&random, 1);
    candidates_init(&self);
    assert_true(candidates_add(&self, &address, false));
    for (int i = 0; i < 20; i++) {
        const uint64_t now_ms = 1000u + (uint64_t)i * 100000;
        assert_true(candidates_next(&self, false, &random, now_ms, &next));
        candidates_connected(&self, &address);
        assert_false(candidates_next(&self, false, &random, now_ms + 50000, &next));
        candidates_left(&self, &address, CANDIDATES_STAY_MS, now_ms + 60000);
        assert_int_equal(candidates_deadline_ms(&self, false),
                         now_ms + 60000 + CANDIDATES_BACKOFF_MS);
    }
    candidates_done(&self);
}

static void test_seeds_are_left_out(void **state)
{
    (void)state;
    struct candidates self;
    struct random random;
    struct address seed = at(1);
    struct address next;
    random_init(&random, 1);
    candidates_init(&self);
    assert_true(candidates_add(&self, &seed, true));
    assert_false(candidates_next(&self, true, &random, 0, &next));
    assert_int_equal(candidates_deadline_ms(&self, true), UINT64_MAX);
    assert_true(candidates_next(&self, false, &random, 0, &next));
    candidates_done(&self);
}

static void test_ourselves(void **state)
{
    (void)state;
    struct candidates self;
    struct random random;
    struct address own = at(1);
    struct address next;
    random_init(&random, 1);
    candidates_init(&self);
    assert_true(candidates_add(&self, &own, false));
    assert_true(candidates_next(&self, false, &random, 0, &next));
    candidates_own(&self, &own);
    assert_int_equal(self.connecting, 0);
    assert_false(candidates_add(&self, &own, false));
    assert_false(candidates_next(&self, false, &random, 1000000, &next));
    candidates_done(&self);
}

static void test_bans(void **state)
{
    (void)state;
    struct candidates self;
    const uint8_t bad_id[20] = "bad";
    const uint8_t good_id[20] = "good";
    struct address bad = at(1);
    struct address elsewhere = address_v4(10, 0, 0, 1, 7777);
    struct address other = at(2);
    struct address here = address_v4(127, 0, 0, 1, 1000);
    struct address here_too = address_v4(127, 0, 0, 1, 1001);
    candidates_init(&self);
    assert_true(candidates_add(&self, &bad, false));
    candidates_ban(&self, &bad, bad_id);
    candidates_ban(&self, &here, bad_id);
    assert_int_equal(self.count, 0);
    assert_false(candidates_add(&self, &bad, false));
    assert_false(candidates_add(&self, &elsewhere, false)); /* another port of the same machine */
    assert_true(candidates_add(&self, &other, false));
    assert_true(candidates_is_banned(&self, &other, bad_id));
    assert_false(candidates_is_banned(&self, &other, good_id));
    assert_true(candidates_is_banned(&self, &here, NULL));
    assert_false(candidates_is_banned(&self, &here_too, good_id)); /* loopback is shared */
    candidates_done(&self);
}

static void test_full(void **state)
{
    (void)state;
    struct candidates self;
    candidates_init(&self);
    for (uint32_t i = 0; i < CANDIDATES_MAX; i++) {
        struct address address = address_v4(10, 1, (uint8_t)(i / 250), (uint8_t)(i % 250 + 1), 1);
        assert_true(candidates_add(&self, &address, false));
    }
    struct address more = at(9);
    assert_false(candidates_add(&self, &more, false));
    const struct address failed = self.items[5].address;
    candidates_left(&self, &failed, 0, 0);
    assert_true(candidates_add(&self, &more, false)); /* in place of the one that failed */
    assert_null(candidates_find(&self, &failed));
    assert_non_null(candidates_find(&self, &more));
    assert_int_equal(self.count, CANDIDATES_MAX);
    struct address nowhere = address_v4(0, 0, 0, 0, 0);
    assert_false(candidates_add(&self, &nowhere, false));
    candidates_done(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_rank),
        cmocka_unit_test(test_who_stayed_is_called_soon),
        cmocka_unit_test(test_seeds_are_left_out),
        cmocka_unit_test(test_ourselves),
        cmocka_unit_test(test_bans),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests_name("candidates", tests, NULL, NULL);
}
