#include "services/cli/slow.h"

#include "libcommon/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY(name) LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_##name

static const char *const texts[] = {
    [WHY(CHOKED)] = "choked",     [WHY(LINK)] = "link",     [WHY(DISK)] = "disk",
    [WHY(NO_PEERS)] = "no peers", [WHY(PAUSED)] = "paused", [WHY(SILENT)] = "silent",
    [WHY(LIMITED)] = "limited",
};
#define TEXTS_COUNT (sizeof texts / sizeof texts[0])

const char *slow_why_text(Littlebird__V1__TransferPeer__Why why)
{
    const unsigned index = (unsigned)why;

    return index < TEXTS_COUNT && texts[index] != NULL ? texts[index] : "";
}

static int compare(const void *a, const void *b)
{
    const uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return one < other ? -1 : one > other;
}

static uint64_t median_have(const Littlebird__V1__ListTransferPeersResponse *peers)
{
    uint64_t *have = xcalloc(peers->n_peers + 1, sizeof *have), median;

    for (size_t i = 0; i < peers->n_peers; i++)
        have[i] = peers->peers[i]->have_bytes;
    qsort(have, peers->n_peers, sizeof *have, compare);
    median = have[peers->n_peers / 2];
    free(have);
    return median;
}

static void append(char line[SLOW_LINE_SIZE], const char *separator, unsigned number,
                   const char *what)
{
    const size_t used = strlen(line);

    snprintf(line + used, SLOW_LINE_SIZE - used, "%s%u %s", separator, number, what);
}

void slow_summary(const Littlebird__V1__ListTransferPeersResponse *peers,
                  char ret_line[SLOW_LINE_SIZE])
{
    const uint64_t median = peers->n_peers > 0 ? median_have(peers) : 0;
    unsigned finished = 0, slow = 0, by_why[TEXTS_COUNT] = { 0 };
    const char *separator = ": ";

    for (size_t i = 0; i < peers->n_peers; i++) {
        const Littlebird__V1__TransferPeer *peer = peers->peers[i];

        finished += peer->finished_s != 0;
        if (peer->finished_s != 0 || !peer->connected || peer->have_bytes >= median / 4 * 3)
            continue;
        slow++;
        by_why[slow_why_text(peer->why)[0] != '\0' ? peer->why : 0]++;
    }
    snprintf(ret_line, SLOW_LINE_SIZE, "%u of %zu finished", finished, peers->n_peers);
    if (slow == 0)
        return;
    append(ret_line, ", ", slow, "slow");
    for (size_t i = 1; i < TEXTS_COUNT; i++) {
        if (by_why[i] == 0)
            continue;
        append(ret_line, separator, by_why[i], texts[i]);
        separator = ", ";
    }
}
