#include "tests/swarm/disk_fetch.h"

#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct world_file fetch_files[] = {
    { "class/a/first", 100 * 1024 + 3 },
    { "class/a/second", 5 },
    { "", 7 * 1024 },
    { "class/b", 70 * 1024 },
    { NULL, 0 },
};

static uint32_t pieces_of(const struct world *world)
{
    return world->metainfo->layout.piece_count;
}

lb_err fetch_read_piece(struct world *world, struct storage *storage, uint32_t piece)
{
    const uint32_t size = layout_piece_size(&world->metainfo->layout, piece);

    return pieces_read(world, storage, (struct disk_read){ .piece = piece, .size = size });
}

static void sync_and_close(struct world *world, struct storage **storage, struct told *told)
{
    const unsigned before = told->synced;

    storage_sync(*storage);
    world_wait(world, &told->synced, before + 1);
    world_close(world, storage, told);
}

void fetch_work(struct world *world, struct fetch_promise *promise)
{
    struct told told = { 0 };
    struct storage *storage = world_open(world, STORAGE_FETCH, NO_RECORD, &told);
    uint8_t *record = NULL;
    size_t size = 0;
    lb_err synced;

    assert_true(bitfield_size(pieces_of(world)) <= sizeof promise->durable);
    for (uint32_t piece = 0; piece < pieces_of(world) && told.err == LB_OK; piece++) {
        if (pieces_write(world, storage, piece) == LB_OK)
            assert_true(bitfield_has(storage_have(storage), piece));
        if (bitfield_has(storage_have(storage), piece))
            (void)fetch_read_piece(world, storage, piece);
    }
    synced = told.err;
    if (told.err == LB_OK) {
        storage_sync(storage);
        world_wait(world, &told.synced, told.synced + 1);
        synced = told.err;
    }
    storage_record(storage, (uint64_t)time(NULL), &record, &size);
    assert_true(size <= sizeof promise->record);
    memcpy(promise->record, record, size);
    promise->record_size = size;
    if (synced == LB_OK)
        memcpy(promise->durable, storage_have(storage), bitfield_size(pieces_of(world)));
    free(record);
    world_close(world, &storage, &told);
}

void fetch_check(struct world *world, const struct fetch_promise *promise)
{
    const struct bytes record = bytes_of(promise->record, promise->record_size);
    const uint8_t *durable = promise->durable;
    struct told told = { 0 };
    struct storage *storage = world_open(world, STORAGE_FETCH, record, &told);
    uint8_t *before = xcalloc(bitfield_size(pieces_of(world)), 1);

    assert_int_equal(told.err, LB_OK);
    for (uint32_t piece = 0; piece < pieces_of(world); piece++)
        assert_true(!bitfield_has(durable, piece) || bitfield_has(storage_have(storage), piece) ||
                    bitfield_has(storage_doubtful(storage), piece));
    memcpy(before, storage_have(storage), bitfield_size(pieces_of(world)));
    assert_int_equal(storage_check(storage, NULL), LB_OK);
    world_wait(world, &told.check_done, 1);
    assert_int_equal(told.check_err, LB_OK);
    for (uint32_t piece = 0; piece < pieces_of(world); piece++) {
        const bool has = bitfield_has(storage_have(storage), piece);

        assert_true(has || (!bitfield_has(before, piece) && !bitfield_has(durable, piece)));
        if (!has)
            assert_int_equal(pieces_write(world, storage, piece), LB_OK);
        assert_int_equal(fetch_read_piece(world, storage, piece), LB_OK);
    }
    free(before);
    sync_and_close(world, &storage, &told);
}
