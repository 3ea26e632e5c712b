/*
 * N-th allocation loops over what lb-swarm keeps in files: whichever is refused, the process goes
 * on with an error or ends for want of memory; no wrong byte is called verified, and what was said
 * to be durable is there afterwards.
 */
#include "tests/libcommon/nth_allocation.h"
#include "tests/swarm/disk_fetch.h"

#include <string.h>
#include <unistd.h>

struct record {
    struct fetch_promise promise;
    char folder[sizeof((struct world *)0)->folder];
};

static struct world world; /* of the process */

static void begin(void *ctx)
{
    struct record *record = ctx;

    world_init(&world, 0);
    world_torrent(&world, fetch_files, FETCH_PIECE);
    disk_never_read_at_once(world.disk);
    memcpy(record->folder, world.folder, sizeof record->folder);
}

static void work(void *ctx)
{
    struct record *record = ctx;

    fetch_work(&world, &record->promise);
}

static void check(void *ctx)
{
    const struct record *record = ctx;
    struct world left;

    assert_true(record->folder[0] == '/');
    world_init(&left, 0);
    assert_int_equal(rmdir(left.folder), 0);
    memcpy(left.folder, record->folder, sizeof left.folder);
    world_torrent(&left, fetch_files, FETCH_PIECE); /* the same content again */
    fetch_check(&left, &record->promise);
    world_done(&left);
}

int main(void)
{
    static const struct nth_allocation tests[] = {
        { "pieces are written and read", sizeof(struct record), begin, work, check, 10 },
    };

    return nth_allocation_run("swarm", tests, sizeof tests / sizeof tests[0]);
}
