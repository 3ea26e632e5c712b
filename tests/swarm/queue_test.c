#include "services/swarm/queue.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

/*
 * Transfers in the order they were given, two characters each: priority 1 to 3, and what it does:
 * f fetches, i is idle, s seeds. places: for each 0 (runs) or its place.
 */
static const struct row {
    const char *what;
    uint32_t active_max;
    const char *transfers, *places;
} rows[] = {
    { "without a limit all run", 0, "2f2f2f", "000" },
    { "with room for all all run", 3, "2f2f2f", "000" },
    { "those ordered later wait", 1, "2f2f2f", "012" },
    { "higher priority first", 1, "2f3f", "10" },
    { "equals in their order, among others", 2, "1f2f3f2f1f", "20013" },
    { "seeds take no place", 1, "2s2f2f", "001" },
    { "a seed of high priority, neither", 1, "3s1f", "00" },
    { "who has nobody to fetch from takes none", 1, "2i2f2f", "001" },
    { "and does not wait", 1, "2f2i", "00" },
    { "nobody at all", 1, "", "" },
    { "none may run", QUEUE_NONE, "2f2s3f", "201" },
};

static void test_places(void **state)
{
    const struct row *row = *state;
    struct queue_item items[8] = { { 0 } };
    const size_t count = strlen(row->transfers) / 2;
    char places[9] = "";

    for (size_t i = 0; i < count; i++) {
        items[i].priority = (uint32_t)(row->transfers[2 * i] - '0');
        items[i].added_s = i / 2; /* two in each second */
        items[i].infohash[0] = (uint8_t)i;
        items[i].fetching = row->transfers[2 * i + 1] != 's';
        items[i].idle = row->transfers[2 * i + 1] == 'i';
        items[i].ctx = &places[i];
    }
    queue_order(items, count, row->active_max);
    for (size_t i = 0; i < count; i++)
        *(char *)items[i].ctx = (char)('0' + items[i].place);
    assert_string_equal(places, row->places);
}

int main(void)
{
    return RUN_ROWS(rows, test_places);
}
