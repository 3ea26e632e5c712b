#include "services/gateway/fold.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define ROWS_HERE 8u

/*
 * What workers list, in any order: a letter for the torrent, then o its owner's row, p one that
 * passes, m a mirror's; each sent as many bytes as its place says. Left: torrent, row, bytes.
 */
static const struct row {
    const char *what, *said, *left;
} rows[] = {
    { "nothing", "", "" },
    { "each has one owner", "ao bo", "ao1 bo2" },
    { "what a mirror sent is its owner's", "ao am", "ao3" },
    { "whichever comes first", "am ao am", "ao6" },
    { "what passes is listed by who had it", "ap", "ap1" },
    { "and by who has it as soon as that one lists it", "ap ao", "ao2" },
    { "a mirror of what passes", "ap am", "ap3" },
    { "a mirror alone is no row", "am bo", "bo2" },
    { "two mirrors of two torrents", "bm am ao bo", "ao5 bo5" },
};

static void test_transfers(void **state)
{
    const struct row *row = *state;
    Lb__Swarm__Transfer items[ROWS_HERE];
    Lb__Swarm__Transfer *pointers[ROWS_HERE];
    Lb__Swarm__Transfers list = LB__SWARM__TRANSFERS__INIT;
    uint8_t hashes[ROWS_HERE][20];
    char left[64] = "";

    list.transfers = pointers;
    for (const char *at = row->said; *at; at += at[2] ? 3 : 2) {
        Lb__Swarm__Transfer *item = &items[list.n_transfers];

        lb__swarm__transfer__init(item);
        memset(hashes[list.n_transfers], at[0], 20);
        item->infohash.data = hashes[list.n_transfers];
        item->infohash.len = 20;
        item->passing = at[1] == 'p';
        item->mirror = at[1] == 'm';
        pointers[list.n_transfers++] = item;
        item->sent_bytes = list.n_transfers;
    }
    fold_transfers(&list);
    for (size_t i = 0; i < list.n_transfers; i++)
        sprintf(left + strlen(left), "%s%c%c%d", i > 0 ? " " : "",
                list.transfers[i]->infohash.data[0], list.transfers[i]->passing ? 'p' : 'o',
                (int)list.transfers[i]->sent_bytes);
    assert_string_equal(left, row->left);
}

static void a_peer_of_two_workers_is_one(void **state)
{
    uint8_t addresses[3][6] = { { 10, 0, 0, 1, 0, 1 },
                                { 10, 0, 0, 2, 0, 1 },
                                { 10, 0, 0, 1, 0, 1 } };
    Lb__Swarm__Peer items[3];
    Lb__Swarm__Peer *pointers[3];
    Lb__Swarm__Peers list = LB__SWARM__PEERS__INIT;

    (void)state;
    list.peers = pointers;
    list.n_peers = 3;
    for (unsigned i = 0; i < 3; i++) {
        lb__swarm__peer__init(&items[i]);
        items[i].address.data = addresses[i];
        items[i].address.len = 6;
        items[i].sent_bytes = 1 + i;
        items[i].have_bytes = 10 * (1 + i);
        items[i].connected = i == 2;
        pointers[i] = &items[i];
    }
    fold_peers(&list);
    assert_int_equal(list.n_peers, 2);
    assert_int_equal(list.peers[0]->address.data[3], 1);
    assert_int_equal(list.peers[0]->sent_bytes, 4);
    assert_int_equal(list.peers[0]->have_bytes, 30);
    assert_true(list.peers[0]->connected);
    assert_int_equal(list.peers[1]->sent_bytes, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(a_peer_of_two_workers_is_one) };

    return RUN_ROWS(rows, test_transfers) + cmocka_run_group_tests(tests, NULL, NULL);
}
