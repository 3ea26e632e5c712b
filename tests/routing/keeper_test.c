/* What is on disk of the routing, on the open network and as a member of a private one. */
#include "services/routing/keeper.h"

#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/lb-routing-keeper-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = { "node_id", "routing.snapshot", "member.snapshot" };
    char path[128];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

/* The id whose bytes are all this one. */
static struct node_id id_of(uint8_t byte)
{
    struct node_id id;

    memset(id.bytes, byte, NODE_ID_SIZE);
    return id;
}

/* A node runs, as a member of this id or (0) on the open network, and meets so many others. */
static struct node_id run(uint8_t member, unsigned contacts, size_t *ret_known)
{
    struct keeper *keeper = xcalloc(1, sizeof(*keeper));
    struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));
    struct node_id id = id_of(member);
    uv_loop_t loop;

    assert_int_equal(uv_loop_init(&loop), 0);
    if (member != 0) {
        keeper_open_member(keeper, folder, &id, 1000, snapshot);
    } else {
        assert_int_equal(keeper_open(keeper, folder, NULL, 1000, &id, snapshot), LB_OK);
    }
    *ret_known = snapshot->count;
    struct router *router = router_new(&id, 1, false, 1000);
    for (unsigned n = 1; n <= contacts; n++) {
        struct contact contact = { .id = id_of((uint8_t)(0x80 + n)),
                                   .address = address_v4(10, 0, 0, (uint8_t)n, 6881) };
        router_sighting(router, SIGHTING_ANSWERED, &contact, 1000, 2000);
    }
    keeper_close(keeper, &loop, router, 3000);
    router_free(&router);
    assert_int_equal(uv_loop_close(&loop), 0);
    free(snapshot);
    free(keeper);
    return id;
}

/* A node's life; each step is a run. */
static void each_world_has_its_own_contacts(void **state)
{
    size_t known;

    (void)state;
    struct node_id open = run(0, 3, &known);
    assert_int_equal(known, 0);
    struct node_id member = run(7, 5, &known);
    assert_int_equal(known, 0); /* nobody of the open network is asked */
    assert_memory_equal(member.bytes, id_of(7).bytes, NODE_ID_SIZE);
    (void)run(7, 0, &known);
    assert_int_equal(known, 5); /* a restart */
    struct node_id again = run(0, 0, &known);
    assert_int_equal(known, 3); /* it has left: its old id, its old contacts */
    assert_memory_equal(again.bytes, open.bytes, NODE_ID_SIZE);
}

static void the_contacts_of_another_membership_are_not_taken_over(void **state)
{
    size_t known;

    (void)state;
    (void)run(7, 5, &known);
    struct node_id id = run(8, 1, &known);
    assert_int_equal(known, 0);
    assert_memory_equal(id.bytes, id_of(8).bytes, NODE_ID_SIZE);
    (void)run(8, 0, &known);
    assert_int_equal(known, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_world_has_its_own_contacts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_contacts_of_another_membership_are_not_taken_over,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
