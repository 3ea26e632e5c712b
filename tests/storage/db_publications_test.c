/* What this node has put and puts again. */
#include "services/storage/db.h"

#include "tests/storage/db_fixture.h"

#include <string.h>

static void publish(const struct node_id *group, const struct item *item, uint64_t version,
                    uint64_t due_s)
{
    struct db_op op = { .kind = DB_PUBLISH,
                        .now_s = world.now_s,
                        .publish = { .publication = { .group = *group,
                                                      .target = item_target(item),
                                                      .version = version,
                                                      .due_s = due_s },
                                     .item = *item } };

    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
}

static uint32_t take(struct db_taken taken[DB_TAKE_MAX])
{
    struct db_op op = { .kind = DB_TAKE_DUE,
                        .now_s = world.now_s,
                        .take = { .wanted = 2, .retry_s = 300, .taken = taken } };

    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
    return op.take.taken_count;
}

static void what_is_published_comes_up_again(void **state)
{
    static struct db_taken taken[DB_TAKE_MAX];
    struct item items[3] = { world_mutable(1, 5, "1:a"), world_mutable(2, 5, "1:b"),
                             world_mutable(3, 5, "1:c") };
    struct item_record record;
    struct node_id root = item_target(&items[0]);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct node_id target = item_target(&items[i]);

        publish(&target, &items[i], 5, world.now_s + 100 + i);
    }
    assert_int_equal(take(taken), 0);
    world.now_s += 200;
    assert_int_equal(take(taken), 2);
    assert_true(node_id_equal(&taken[0].publication.group, &root));
    assert_int_equal(item_record_get(bytes_of(taken[0].record, taken[0].record_size), &record),
                     LB_OK);
    assert_true(item_is_same(&record.item, &items[0]));
    assert_int_equal(take(taken), 1);
    assert_int_equal(take(taken), 0); /* set back, though nobody said how it went */
    publish(&root, &items[0], 5, world.now_s + 1000);
    world.now_s += 400;
    assert_int_equal(take(taken), 2);
    assert_int_equal(take(taken), 0);
    world.now_s += 700;
    assert_int_equal(take(taken), 2);
    assert_int_equal(take(taken), 1);
}

static bool is_published(const struct node_id *root, const struct item *item)
{
    struct item_record record;
    bool is;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    is = db_read_published(world.db, root, &record) == LB_OK && item_is_same(&record.item, item);
    db_read_end(world.db);
    return is;
}

static void a_new_version_takes_the_place_of_all_parts_of_the_old(void **state)
{
    static struct db_taken taken[DB_TAKE_MAX];
    uint8_t buffers[3][ITEM_VALUE_MAX];
    struct item root = world_mutable(1, 5, "1:a");
    struct item new_root = world_mutable(1, 6, "1:b");
    struct item old_part = world_item(1, 100, buffers[0]);
    struct item shared_part = world_item(2, 100, buffers[1]);
    struct item new_part = world_item(3, 100, buffers[2]);
    struct node_id group = item_target(&root);
    struct item other = world_mutable(2, 1, "1:o");
    struct node_id other_group = item_target(&other);
    struct db_op op = { .kind = DB_PRUNE };

    (void)state;
    publish(&other_group, &other, 1, world.now_s + 50);
    publish(&group, &old_part, 5, world.now_s + 10);
    publish(&group, &shared_part, 5, world.now_s + 10);
    publish(&group, &root, 5, world.now_s + 10);
    assert_int_equal(world_stats(&world).published, 4);
    publish(&group, &shared_part, 6, world.now_s + 20);
    publish(&group, &new_part, 6, world.now_s + 20);
    publish(&group, &new_root, 6, world.now_s + 20);
    op.group = (struct db_publication){ .group = group, .version = 6 };
    world_apply(&world, &op);
    assert_int_equal(world_stats(&world).published, 4);
    assert_true(is_published(&group, &new_root));
    world.now_s += 30;
    assert_int_equal(take(taken), 2);
    assert_int_equal(take(taken), 1);
    op.kind = DB_UNPUBLISH;
    world_apply(&world, &op);
    assert_int_equal(world_stats(&world).published, 1);
    assert_false(is_published(&group, &new_root));
    assert_true(is_published(&other_group, &other));
    world.now_s += 1000;
    assert_int_equal(take(taken), 1);
}

/* While version 5 was being put again the user has put version 6. */
static void what_was_put_meanwhile_is_not_forgotten_with_the_old(void **state)
{
    struct item old = world_mutable(1, 5, "1:a");
    struct item new = world_mutable(1, 6, "1:b");
    struct node_id group = item_target(&old);
    struct db_op again = { .kind = DB_PUBLISH,
                           .now_s = world.now_s,
                           .publish = { .publication = { .group = group,
                                                         .target = group,
                                                         .version = 5,
                                                         .due_s = world.now_s + 3600 },
                                        .item = old,
                                        .is_again = true } };
    struct db_op forget = { .kind = DB_UNPUBLISH, .group = { .group = group, .version = 5 } };

    (void)state;
    publish(&group, &new, 6, world.now_s + 10);
    world_apply(&world, &again);
    assert_int_equal(again.err, LB_NOT_FOUND);
    assert_true(is_published(&group, &new));
    world_apply(&world, &forget);
    assert_true(is_published(&group, &new));
    forget.group.version = 6;
    world_apply(&world, &forget);
    assert_int_equal(world_stats(&world).published, 0);
    world_apply(&world, &again); /* nor does it come back after it was removed */
    assert_int_equal(again.err, LB_NOT_FOUND);
    assert_int_equal(world_stats(&world).published, 0);
    publish(&group, &old, 5, world.now_s + 10);
    world_apply(&world, &again);
    assert_int_equal(again.err, LB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(set_up, what_is_published_comes_up_again),
        IN(set_up, a_new_version_takes_the_place_of_all_parts_of_the_old),
        IN(set_up, what_was_put_meanwhile_is_not_forgotten_with_the_old),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
