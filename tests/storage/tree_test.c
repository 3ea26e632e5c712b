#include "services/storage/tree.h"

#include "libcommon/random.h"
#include "services/storage/item.h"
#include "services/storage/value.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

static uint8_t content[VALUE_SIZE_MAX + 1];

static struct tree *tree_of(size_t size)
{
    struct tree *tree = NULL;
    struct random random;

    random_init(&random, 1);
    random_bytes(&random, content, size);
    assert_int_equal(tree_new(bytes_of(content, size), &tree), LB_OK);
    return tree;
}

static const struct tree_part *find(const struct tree *tree, const struct node_id *target)
{
    for (size_t i = 0; i < tree->parts_count; i++) {
        if (node_id_equal(&tree->parts[i].target, target))
            return &tree->parts[i];
    }
    fail_msg("a part is asked for that was never made");
    return NULL;
}

static void parts_are_items(const struct tree *tree)
{
    for (size_t i = 0; i < tree->parts_count; i++) {
        const struct item item = { .value = tree->parts[i].value };

        assert_true(item_is_valid_at(&item, &tree->parts[i].target));
    }
}

/* Give all that is asked for until nothing is; every third part is missed at first. */
static void read_all(const struct tree *tree, struct tree_reader *reader, size_t *ret_asked)
{
    struct node_id target;
    size_t part;

    for (*ret_asked = 0; tree_reader_next(reader, &part, &target); (*ret_asked)++) {
        if (*ret_asked % 3 == 2)
            assert_int_equal(tree_reader_miss(reader, part), LB_OK);
        else
            assert_int_equal(tree_reader_give(reader, part, find(tree, &target)->value), LB_OK);
    }
}

static const struct size_row {
    const char *what;
    size_t size, parts;
} size_rows[] = {
    { "one byte too many for one item: two leaves and a root", VALUE_PLAIN_MAX + 1, 3 },
    { "two full leaves", 2 * TREE_LEAF_SIZE, 3 },
    { "as many leaves as a root holds", 46 * TREE_LEAF_SIZE, 47 },
    { "one byte more: branches", 46 * TREE_LEAF_SIZE + 1, 47 + 1 + 1 },
    { "two full branches", 98 * TREE_LEAF_SIZE, 98 + 2 + 1 },
    { "the largest value", VALUE_SIZE_MAX, 1053 + 22 + 1 },
};

static void a_tree_reads_back(void **state)
{
    const struct size_row *row = *state;
    struct tree *tree = tree_of(row->size);
    struct tree_reader *reader = NULL;
    size_t asked;

    assert_int_equal(tree->parts_count, row->parts);
    parts_are_items(tree);
    assert_true(tree_is_root(tree_root(tree)->value));
    assert_int_equal(tree_reader_new(tree_root(tree)->value, VALUE_SIZE_MAX, &reader), LB_OK);
    assert_false(tree_reader_is_done(reader));
    read_all(tree, reader, &asked);
    assert_in_range(asked, row->parts - 1, 2 * row->parts);
    assert_true(tree_reader_is_done(reader));
    assert_true(bytes_equal(tree_reader_value(reader), bytes_of(content, row->size)));
    tree_reader_free(&reader);
    tree_free(&tree);
    assert_null(tree);
}

static void sizes_have_bounds(void **state)
{
    struct tree *tree = NULL;

    (void)state;
    assert_int_equal(tree_new(bytes_of(content, VALUE_PLAIN_MAX), &tree), LB_INVALID);
    assert_int_equal(tree_new(bytes_of(content, VALUE_SIZE_MAX + 1), &tree), LB_TOO_BIG);
    assert_null(tree);
}

static void a_part_is_tried_three_times(void **state)
{
    struct tree *tree = tree_of(3000);
    struct tree_reader *reader = NULL;
    struct node_id target;
    size_t part;

    (void)state;
    assert_int_equal(tree_reader_new(tree_root(tree)->value, VALUE_SIZE_MAX, &reader), LB_OK);
    for (unsigned i = 0; i < TREE_TRIES_MAX; i++) {
        assert_true(tree_reader_next(reader, &part, &target));
        assert_int_equal(part, 0);
        assert_int_equal(tree_reader_miss(reader, part),
                         i + 1 < TREE_TRIES_MAX ? LB_OK : LB_NOT_FOUND);
    }
    tree_reader_free(&reader);
    tree_free(&tree);
}

/* A valid item in the wrong place: whoever made the root lied about what is below. */
static void a_part_of_another_shape_is_damage(void **state)
{
    struct tree *tree = tree_of(60 * TREE_LEAF_SIZE);
    struct tree_reader *reader = NULL;
    struct node_id target;
    size_t part;

    (void)state;
    assert_int_equal(tree_reader_new(tree_root(tree)->value, VALUE_SIZE_MAX, &reader), LB_OK);
    assert_true(tree_reader_next(reader, &part, &target));
    assert_int_equal(tree_reader_give(reader, part, bytes_of_text("i1e")), LB_CORRUPT);
    assert_int_equal(tree_reader_give(reader, part, bytes_of_text("20:01234567890123456789")),
                     LB_CORRUPT);
    assert_int_equal(tree_reader_give(reader, part, find(tree, &target)->value), LB_OK);
    assert_true(tree_reader_next(reader, &part, &target));
    assert_int_equal(tree_reader_give(reader, part, find(tree, &target)->value), LB_OK);
    assert_true(tree_reader_next(reader, &part, &target));
    assert_int_equal(tree_reader_give(reader, part, bytes_of_text("3:abc")), LB_CORRUPT);
    tree_reader_free(&reader);
    tree_free(&tree);
}

#define TWO "40:0123456789012345678901234567890123456789"
#define ONE "20:01234567890123456789"

static const struct root_row {
    const char *what, *root;
    lb_err err;
} root_rows[] = {
    { "two leaves", "d5:depthi1e4:kids" TWO "6:lbtreei1e4:sizei1500ee", LB_OK },
    { "two branches", "d5:depthi2e4:kids" TWO "6:lbtreei1e4:sizei60000ee", LB_OK },
    { "no dictionary", "le", LB_CORRUPT },
    { "not even bencoded", "hello", LB_CORRUPT },
    { "a later version", "d6:lbtreei2ee", LB_UNSUPPORTED },
    { "no size", "d5:depthi1e4:kids" TWO "6:lbtreei1ee", LB_CORRUPT },
    { "no depth", "d4:kids" TWO "6:lbtreei1e4:sizei1500ee", LB_CORRUPT },
    { "no kids", "d5:depthi1e6:lbtreei1e4:sizei1500ee", LB_CORRUPT },
    { "too few kids for the size", "d5:depthi1e4:kids" ONE "6:lbtreei1e4:sizei1500ee", LB_CORRUPT },
    { "too many kids for the size", "d5:depthi1e4:kids" TWO "6:lbtreei1e4:sizei900ee", LB_CORRUPT },
    { "too deep for the size", "d5:depthi2e4:kids" TWO "6:lbtreei1e4:sizei1500ee", LB_CORRUPT },
    { "a negative depth", "d5:depthi-1e4:kids" TWO "6:lbtreei1e4:sizei1500ee", LB_CORRUPT },
    { "a size of 0", "d5:depthi1e4:kids0:6:lbtreei1e4:sizei0ee", LB_CORRUPT },
    { "a negative size", "d5:depthi1e4:kids" TWO "6:lbtreei1e4:sizei-1ee", LB_CORRUPT },
    { "larger than allowed", "d5:depthi1e4:kids" TWO "6:lbtreei1e4:sizei1048577ee", LB_TOO_BIG },
    { "the largest size there is",
      "d5:depthi1e4:kids" TWO "6:lbtreei1e4:sizei9223372036854775807ee", LB_TOO_BIG },
};

static void roots_are_checked(void **state)
{
    const struct root_row *row = *state;
    struct tree_reader *reader = NULL;

    assert_int_equal(tree_reader_new(bytes_of_text(row->root), VALUE_SIZE_MAX, &reader), row->err);
    assert_int_equal(reader != NULL, row->err == LB_OK);
    tree_reader_free(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_bounds),
        cmocka_unit_test(a_part_is_tried_three_times),
        cmocka_unit_test(a_part_of_another_shape_is_damage),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(size_rows, a_tree_reads_back);
    return failed + RUN_ROWS(root_rows, roots_are_checked);
}
