#include "services/cli/slow.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdbool.h>
#include <string.h>

#define PEERS_MAX 16

/*
 * A peer each: how much it has in tenths ('x': all, and finished), then a letter for why: l link,
 * d disk, n no peers, - nothing; a capital one is gone.
 */
static const struct row {
    const char *what, *peers, *line;
} rows[] = {
    { "nobody", "", "0 of 0 finished" },
    { "all are done", "x-x-X-", "3 of 3 finished" },
    { "all are as fast", "5l5l5l", "0 of 3 finished" },
    { "one lags behind for its disk", "8l8l8l3d", "0 of 4 finished, 1 slow: 1 disk" },
    { "several, for several reasons", "x-x-x-x-x-3d2d1l0n",
      "5 of 9 finished, 4 slow: 1 link, 2 disk, 1 no peers" },
    { "one that does not say why", "8l8l8l1-", "0 of 4 finished, 1 slow" },
    { "a little behind is not slow", "8l8l8l7d", "0 of 4 finished" },
};

static Littlebird__V1__TransferPeer__Why why_of(char letter)
{
    switch (letter) {
    case 'l':
        return LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_LINK;
    case 'd':
        return LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_DISK;
    case 'n':
        return LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_NO_PEERS;
    default:
        return LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_NONE;
    }
}

static void test_summary(void **state)
{
    const struct row *row = *state;
    Littlebird__V1__TransferPeer peers[PEERS_MAX], *pointers[PEERS_MAX];
    Littlebird__V1__ListTransferPeersResponse response =
        LITTLEBIRD__V1__LIST_TRANSFER_PEERS_RESPONSE__INIT;
    char line[SLOW_LINE_SIZE];

    response.peers = pointers;
    for (const char *at = row->peers; *at != '\0'; at += 2) {
        Littlebird__V1__TransferPeer *peer = &peers[response.n_peers];
        const bool done = *at == 'x' || *at == 'X';

        littlebird__v1__transfer_peer__init(peer);
        pointers[response.n_peers++] = peer;
        peer->connected = *at != 'X';
        peer->have_bytes = done ? 1000 : (uint64_t)(*at - '0') * 100;
        peer->finished_s = done ? 7 : 0;
        peer->why = why_of(at[1]);
    }
    slow_summary(&response, line);
    assert_string_equal(line, row->line);
}

static void an_unknown_reason_is_none(void **state)
{
    (void)state;
    assert_string_equal(slow_why_text((Littlebird__V1__TransferPeer__Why)99), "");
    assert_string_equal(slow_why_text(LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_NO_PEERS),
                        "no peers");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(an_unknown_reason_is_none) };

    return RUN_ROWS(rows, test_summary) + cmocka_run_group_tests(tests, NULL, NULL);
}
