#include "services/swarm/order.h"

#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define HASH    "01234567890123456789"
#define START   "d5:addedi5e9:completedi6e"
#define TORRENT "8:infohash20:" HASH
#define END     "7:versioni1ee"
#define LATER   START "6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:"

static const struct row {
    const char *what, *text;
    lb_err err;
} rows[] = {
    { "a fetch", START "6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:" END, LB_OK },
    { "a share", START "6:folder2:/a" TORRENT "4:kind5:share6:magnet0:" END, LB_OK },
    { "with a time to seed",
      START "6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:8:seed_fori60e" END, LB_OK },
    { "an unknown key", START "6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:3:newle" END, LB_OK },
    { "with all of version 2",
      "d5:addedi5e4:base2:/b9:completedi6e6:device4:/dev6:folder2:/a" TORRENT
      "4:kind5:fetch6:magnet0:8:priorityi3e13:receive_limiti7e6:select5:*.iso"
      "10:send_limiti8e8:verifiedi9e6:verifyi1e7:versioni2ee",
      LB_OK },
    { "version 2 without what may be left out", LATER "7:versioni2ee", LB_OK },
    { "a later version", LATER "7:versioni3ee", LB_UNSUPPORTED },
    { "version 0", LATER "7:versioni0ee", LB_UNSUPPORTED },
    { "a priority there is not", LATER "8:priorityi4e7:versioni2ee", LB_CORRUPT },
    { "a priority of 0", LATER "8:priorityi0e7:versioni2ee", LB_CORRUPT },
    { "a limit below zero", LATER "10:send_limiti-1e7:versioni2ee", LB_CORRUPT },
    { "a limit that is a text", LATER "10:send_limit1:x7:versioni2ee", LB_CORRUPT },
    { "a selection that is a number", LATER "6:selecti1e7:versioni2ee", LB_CORRUPT },
    { "verify is neither yes nor no", LATER "6:verifyi2e7:versioni2ee", LB_CORRUPT },
    { "a relative base",
      "d5:addedi5e4:base1:b9:completedi6e6:folder2:/a" TORRENT
      "4:kind5:fetch6:magnet0:7:versioni2ee",
      LB_CORRUPT },
    { "no version", START "6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:e", LB_CORRUPT },
    { "another kind", START "6:folder2:/a" TORRENT "4:kind4:stop6:magnet0:" END, LB_CORRUPT },
    { "no kind", START "6:folder2:/a" TORRENT "6:magnet0:" END, LB_CORRUPT },
    { "a short infohash", START "6:folder2:/a8:infohash2:xx4:kind5:fetch6:magnet0:" END,
      LB_CORRUPT },
    { "a relative folder", START "6:folder1:a" TORRENT "4:kind5:fetch6:magnet0:" END, LB_CORRUPT },
    { "no folder", START TORRENT "4:kind5:fetch6:magnet0:" END, LB_CORRUPT },
    { "a time below zero",
      "d5:addedi-5e9:completedi6e6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:" END, LB_CORRUPT },
    { "a time to seed that is a text",
      START "6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:8:seed_for1:x" END, LB_CORRUPT },
    { "keys in no order",
      "d9:completedi6e5:addedi5e6:folder2:/a" TORRENT "4:kind5:fetch6:magnet0:" END, LB_CORRUPT },
    { "cut", START "6:folder2:/a", LB_CORRUPT },
    { "nothing", "", LB_CORRUPT },
};

static void test_parse(void **state)
{
    const struct row *row = *state;
    struct order *order = xcalloc(1, sizeof(*order));

    assert_int_equal(order_parse(bytes_of_text(row->text), order), row->err);
    if (row->err == LB_OK) {
        assert_memory_equal(order->infohash, HASH, 20);
        assert_string_equal(order->folder, "/a");
        assert_int_equal(order->added_s, 5);
        assert_int_equal(order->completed_s, 6);
    }
    free(order);
}

static void version_1_has_the_usual_priority(void **state)
{
    struct order *order = xcalloc(1, sizeof(*order));

    (void)state;
    assert_int_equal(order_parse(bytes_of_text(LATER END), order), LB_OK);
    assert_int_equal(order->priority, ORDER_PRIORITY);
    assert_string_equal(order->select, "");
    assert_false(order->verify);
    free(order);
}

static void the_longest_is_read_as_written(void **state)
{
    struct order *order = xcalloc(1, sizeof(*order)), *again = xcalloc(1, sizeof(*again));
    uint8_t *data = xmalloc(ORDER_SIZE_MAX);
    struct writer writer;

    (void)state;
    order->kind = ORDER_SHARE;
    order->has_seed_for = true;
    order->seed_for_s = UINT32_MAX;
    order->added_s = INT64_MAX;
    order->completed_s = INT64_MAX;
    order->verified_s = INT64_MAX;
    order->receive_limit = INT64_MAX;
    order->send_limit = INT64_MAX;
    order->priority = ORDER_PRIORITY_MAX;
    order->verify = true;
    memset(order->folder, '/', ORDER_FOLDER_SIZE - 1);
    memset(order->device, '/', ORDER_FOLDER_SIZE - 1);
    memset(order->base, '/', ORDER_FOLDER_SIZE - 1);
    memset(order->select, 's', ORDER_SELECT_SIZE - 1);
    memset(order->magnet, 'm', ORDER_MAGNET_SIZE - 1);
    writer_init(&writer, data, ORDER_SIZE_MAX);
    order_encode(order, &writer);
    assert_false(writer.overflow);
    assert_int_equal(order_parse(bytes_of(data, writer.size), again), LB_OK);
    assert_memory_equal(order, again, sizeof(*order));
    free(data);
    free(order);
    free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_has_the_usual_priority),
        cmocka_unit_test(the_longest_is_read_as_written),
    };

    return RUN_ROWS(rows, test_parse) + cmocka_run_group_tests(tests, NULL, NULL);
}
