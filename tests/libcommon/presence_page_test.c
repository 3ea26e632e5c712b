#include "libcommon/presence_page.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>

#define TARGETS 20000

static void what_was_added_may_be_there(void **state)
{
    struct presence_page *page = xcalloc(1, sizeof(*page));
    struct node_id *targets = xcalloc(TARGETS, sizeof(*targets));
    struct random random;

    (void)state;
    presence_page_init(page);
    random_init(&random, 1);
    for (int i = 0; i < TARGETS; i++) {
        targets[i] = node_id_random(&random);
        presence_page_add(page, &targets[i]);
    }
    for (int i = 0; i < TARGETS; i++)
        assert_true(presence_page_may_have(page, &targets[i]));
    free(targets);
    free(page);
}

/* Also when all targets lie close to one node, as they do in a real store. */
static void few_others_seem_to_be_there(void **state)
{
    struct presence_page *page = xcalloc(1, sizeof(*page));
    struct node_id self;
    struct random random;
    unsigned wrong = 0;

    (void)state;
    presence_page_init(page);
    random_init(&random, 2);
    self = node_id_random(&random);
    for (int i = 0; i < TARGETS; i++) {
        struct node_id near = node_id_random_in_bucket(&self, 12, &random);

        presence_page_add(page, &near);
    }
    for (int i = 0; i < TARGETS; i++) {
        struct node_id near = node_id_random_in_bucket(&self, 13, &random);

        wrong += presence_page_may_have(page, &near);
    }
    assert_in_range(wrong, 0, TARGETS / 1000);
    free(page);
}

static void an_empty_page_has_nothing(void **state)
{
    struct presence_page *page = xcalloc(1, sizeof(*page));
    struct node_id zero = { { 0 } };

    (void)state;
    assert_false(presence_page_is_valid(page, sizeof(*page)));
    presence_page_init(page);
    assert_true(presence_page_is_valid(page, sizeof(*page)));
    assert_false(presence_page_is_valid(page, sizeof(*page) - 1));
    assert_false(presence_page_may_have(page, &zero));
    presence_page_add(page, &zero);
    assert_true(presence_page_may_have(page, &zero));
    page->layout++;
    assert_false(presence_page_is_valid(page, sizeof(*page)));
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_may_be_there),
        cmocka_unit_test(few_others_seem_to_be_there),
        cmocka_unit_test(an_empty_page_has_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
