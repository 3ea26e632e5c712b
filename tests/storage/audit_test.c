#include "services/storage/audit.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

static struct node_id target_of(unsigned number)
{
    struct node_id target = { 0 };

    target.bytes[0] = (uint8_t)(number >> 8);
    target.bytes[1] = (uint8_t)number;
    return target;
}

static void offer_many(struct audit *audit, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct node_id target = target_of(i);

        audit_offer(audit, &target, i);
    }
}

/*
 * One word a key: "3/20", three replicas counted by a lookup that showed 20 nodes, ourselves
 * included in both; "fail", the lookup did not end; "gone", it was held no more.
 */
static const struct sum_row {
    const char *what, *keys;
    unsigned wanted, min, median, short_count, counted, failed, held;
} sum_rows[] = {
    { "nothing is held", "", 0, 0, 0, 0, 0, 0, 0 },
    { "alone, one's own replica is all there can be", "1/1", 1, 1, 1, 0, 1, 0, 1 },
    { "in a small network as many as there are nodes", "5/5 5/5", 5, 5, 5, 0, 2, 0, 2 },
    { "in a large one, k", "20/20 21/40", 20, 20, 20, 0, 2, 0, 2 },
    { "one lacks replicas", "20/20 3/20 20/20", 20, 3, 20, 1, 3, 0, 3 },
    { "the lookup that shows the most says how many there are", "3/3 4/4", 4, 3, 3, 1, 2, 0, 2 },
    { "of four the median is the second", "1/9 2/9 3/9 4/9", 9, 1, 2, 4, 4, 0, 4 },
    { "what failed is not counted", "fail 20/20", 20, 20, 20, 0, 1, 1, 2 },
    { "what went meanwhile is not held", "gone 20/20", 20, 20, 20, 0, 1, 0, 1 },
    { "nothing could be counted", "fail fail", 0, 0, 0, 0, 0, 2, 2 },
};

static void count_word(struct audit *audit, size_t index, const char *word)
{
    char *slash;
    unsigned replicas;

    if (strcmp(word, "fail") == 0) {
        audit_failed(audit, index);
    } else if (strcmp(word, "gone") == 0) {
        audit_gone(audit, index);
    } else {
        replicas = (unsigned)strtoul(word, &slash, 10);
        audit_counted(audit, index, replicas, (unsigned)strtoul(slash + 1, NULL, 10));
    }
}

static void the_sum_is_drawn(void **state)
{
    const struct sum_row *row = *state;
    char text[100], *words[10];
    unsigned count = 0;
    struct audit audit;
    struct audit_sum sum;
    size_t index;

    strcpy(text, row->keys);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    audit_init(&audit, 0, 1);
    offer_many(&audit, count);
    for (unsigned i = 0; i < count; i++) {
        assert_true(audit_next(&audit, &index));
        count_word(&audit, index, words[index]);
    }
    assert_false(audit_next(&audit, &index));
    assert_true(audit_is_done(&audit));
    audit_sum(&audit, &sum);
    assert_int_equal(sum.wanted, row->wanted);
    assert_int_equal(sum.replicas_min, row->min);
    assert_int_equal(sum.replicas_median, row->median);
    assert_int_equal(sum.short_count, row->short_count);
    assert_int_equal(sum.counted, row->counted);
    assert_int_equal(sum.failed, row->failed);
    assert_int_equal(sum.held, row->held);
    assert_int_equal(sum.rows_count, row->counted);
    audit_done(&audit);
}

static void the_fewest_come_first_and_not_too_many(void **state)
{
    struct audit audit;
    struct audit_sum sum;
    size_t index;

    (void)state;
    audit_init(&audit, 0, 1);
    offer_many(&audit, 300);
    while (audit_next(&audit, &index))
        audit_counted(&audit, index, 1 + (unsigned)(index * 7 % 300), 20);
    audit_sum(&audit, &sum);
    assert_int_equal(sum.rows_count, AUDIT_ROWS_MAX);
    for (size_t i = 0; i < AUDIT_ROWS_MAX; i++)
        assert_int_equal(sum.rows[i]->replicas, 1 + i);
    audit_done(&audit);
}

static void a_sample_is_fair(void **state)
{
    enum { HELD = 1000, SAMPLE = 50, AUDITS = 400 };
    static unsigned chosen[HELD];

    (void)state;
    for (uint64_t seed = 0; seed < AUDITS; seed++) {
        struct audit audit;

        audit_init(&audit, SAMPLE, seed);
        offer_many(&audit, HELD);
        assert_int_equal(audit.keys_count, SAMPLE);
        assert_int_equal(audit.held, HELD);
        for (size_t i = 0; i < SAMPLE; i++)
            chosen[audit.keys[i].seq]++;
        audit_done(&audit);
    }
    /* 20 are expected of each; for any of them to be out of this has a chance of some 10^-4. */
    for (unsigned i = 0; i < HELD; i++)
        assert_in_range(chosen[i], 1, 50);
}

static void a_sample_larger_than_all_is_all(void **state)
{
    struct audit audit;

    (void)state;
    audit_init(&audit, 500, 1);
    offer_many(&audit, 300);
    assert_int_equal(audit.keys_count, 300);
    audit_done(&audit);
    audit_init(&audit, AUDIT_KEYS_MAX + 1, 1);
    assert_int_equal(audit.keys_max, AUDIT_KEYS_MAX);
    audit_done(&audit);
}

static void giving_up_waits_for_those_on_their_way(void **state)
{
    struct audit audit;
    struct audit_sum sum;
    size_t first;
    size_t index;

    (void)state;
    audit_init(&audit, 0, 1);
    offer_many(&audit, 5);
    assert_true(audit_next(&audit, &first));
    audit_give_up(&audit);
    assert_false(audit_next(&audit, &index));
    assert_false(audit_is_done(&audit));
    audit_counted(&audit, first, 2, 2);
    assert_true(audit_is_done(&audit));
    audit_sum(&audit, &sum);
    assert_int_equal(sum.counted, 1);
    assert_int_equal(sum.failed, 4);
    audit_done(&audit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fewest_come_first_and_not_too_many),
        cmocka_unit_test(a_sample_is_fair),
        cmocka_unit_test(a_sample_larger_than_all_is_all),
        cmocka_unit_test(giving_up_waits_for_those_on_their_way),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(sum_rows, the_sum_is_drawn);
}
