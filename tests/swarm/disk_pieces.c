#include "tests/swarm/disk_pieces.h"

#include "services/swarm/bitfield.h"

#include <stdlib.h>
#include <time.h>

const struct world_file pieces_several[] = {
    { "class/a/first", 100 * KIB + 3 },
    { "class/empty", 0 },
    { "class/a/second", 5 },
    { "", 7 * KIB },
    { "class/b", 70 * KIB },
    { NULL, 0 },
};

/* ---- a storage ---- */

struct storage *pieces_begin_fetch(struct world *world, const struct world_file *files,
                                   uint32_t piece_length, struct told *told)
{
    world_torrent(world, files, piece_length);
    return world_open(world, STORAGE_FETCH, NO_RECORD, told);
}

struct storage *pieces_begin_share(struct world *world, const struct world_file *files,
                                   uint32_t piece_length, struct told *told)
{
    struct storage *storage;

    world_torrent(world, files, piece_length);
    world_write_all(world);
    storage = world_open(world, STORAGE_SHARE, NO_RECORD, told);
    pieces_check_all(world, storage, told);
    return storage;
}

void pieces_check_all(struct world *world, struct storage *storage, struct told *told)
{
    unsigned before = told->check_done;

    assert_int_equal(storage_check(storage, NULL), LB_OK);
    world_wait(world, &told->check_done, before + 1);
    assert_int_equal(told->check_err, LB_OK);
}

uint32_t pieces_count(const struct world *world, const struct storage *storage)
{
    return bitfield_count(storage_have(storage), world->metainfo->layout.piece_count);
}

uint64_t pieces_hashed_bytes(const struct world *world)
{
    struct disk_stats stats;

    disk_stats(world->disk, &stats);
    return stats.hashed_bytes;
}

struct bytes pieces_record(const struct storage *storage)
{
    uint8_t *data;
    size_t size;

    storage_record(storage, (uint64_t)time(NULL), &data, &size);
    return bytes_of(data, size);
}

/* ---- written ---- */

void pieces_finished(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->done++;
    told->err = err;
}

const uint8_t *pieces_block(const struct world *world, uint32_t piece, uint32_t block)
{
    return world->content + (uint64_t)piece * world->metainfo->layout.piece_length +
           (uint64_t)block * LAYOUT_BLOCK_SIZE;
}

void pieces_put_all(const struct world *world, struct assembly *assembly)
{
    uint32_t piece = assembly_piece(assembly);

    for (uint32_t i = 0; i < layout_block_count(&world->metainfo->layout, piece); i++)
        assert_true(assembly_put(assembly, i, pieces_block(world, piece, i)));
    assert_true(assembly_complete(assembly));
}

lb_err pieces_write(struct world *world, struct storage *storage, uint32_t piece)
{
    struct assembly *assembly = assembly_new(storage, piece);
    struct told told = { 0 };

    if (!assembly)
        return LB_UNAVAILABLE;
    pieces_put_all(world, assembly);
    assembly_finish(assembly, pieces_finished, &told);
    world_wait(world, &told.done, 1);
    assembly_free(&assembly);
    return told.err;
}

void pieces_assert_files(const struct world *world)
{
    const struct metainfo *metainfo = world->metainfo;

    for (uint32_t i = 0; i < metainfo->layout.files_count; i++) {
        size_t size = 0;
        uint8_t *data;

        if (metainfo->layout.files[i].padding)
            continue;
        data = world_read(world, metainfo->paths[i], &size);
        assert_non_null(data);
        assert_int_equal(size, metainfo->layout.files[i].length);
        assert_memory_equal(data, world_file_content(world, i), size);
        free(data);
    }
}

/* ---- read ---- */

static void on_read(struct disk_read *read, lb_err err)
{
    struct pieces_reading *self = read->ctx;

    self->done++;
    self->err = err;
}

bool pieces_ask(struct pieces_reading *self, struct storage *storage, struct disk_read range)
{
    *self = (struct pieces_reading){ .read = range };
    self->read.ctx = self;
    self->read.done = on_read;
    return storage_read(storage, &self->read);
}

void pieces_take(struct pieces_reading *self, struct world *world)
{
    const uint8_t *expected = pieces_block(world, self->read.piece, 0) + self->read.offset;
    uint32_t at = 0;

    for (uint32_t i = 0; i < self->read.data.parts_count; i++) {
        const struct disk_part *part = &self->read.data.parts[i];

        assert_memory_equal(part->data, expected + at, part->size);
        at += part->size;
    }
    assert_int_equal(at, self->read.size);
    disk_data_release(world->disk, &self->read.data);
}

static lb_err read_range(struct world *world, struct storage *storage, struct disk_read range,
                         bool *ret_cached)
{
    struct pieces_reading reading;

    *ret_cached = pieces_ask(&reading, storage, range);
    if (!*ret_cached)
        world_wait(world, &reading.done, 1);
    if (reading.err == LB_OK)
        pieces_take(&reading, world);
    return reading.err;
}

lb_err pieces_read(struct world *world, struct storage *storage, struct disk_read range)
{
    bool cached;

    return read_range(world, storage, range, &cached);
}

bool pieces_read_well(struct world *world, struct storage *storage, struct disk_read range)
{
    bool cached;

    assert_int_equal(read_range(world, storage, range, &cached), LB_OK);
    return cached;
}
