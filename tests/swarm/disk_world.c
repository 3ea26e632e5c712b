#include "tests/swarm/disk_world.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 30000

void world_init(struct world *self, size_t memory_size)
{
    memset(self, 0, sizeof(*self));
    snprintf(self->folder, sizeof(self->folder), "/tmp/lb-disk-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    assert_int_equal(uv_loop_init(&self->loop), 0);
    self->pool = pool_new(&self->loop, 2);
    self->disk = disk_new(&self->loop, self->pool, memory_size);
}

static int remove_one(const char *path, const struct stat *found, int type, struct FTW *ftw)
{
    (void)found;
    (void)type;
    (void)ftw;
    return remove(path);
}

void world_done(struct world *self)
{
    world_wait_jobs(self);
    disk_free(&self->disk);
    pool_free(&self->pool);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&self->loop), 0);
    metainfo_free(&self->metainfo);
    free(self->content);
    nftw(self->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put_file(struct writer *to, const struct world_file *file)
{
    char text[600], *slash = strchr(file->path, '/');

    writer_put(to, text,
               (size_t)snprintf(text, sizeof(text), "d%s6:lengthi%llue",
                                file->path[0] ? "" : "4:attr1:p", (unsigned long long)file->size));
    if (file->path[0])
        writer_put(to, "4:pathl", 7);
    while (slash) {
        const char *end = strchrnul(slash + 1, '/');
        int size = (int)(end - slash - 1);

        writer_put(to, text,
                   (size_t)snprintf(text, sizeof(text), "%d:%.*s", size, size, slash + 1));
        slash = *end ? (char *)(uintptr_t)end : NULL;
    }
    writer_put(to, "ee", file->path[0] ? 2 : 1);
}

void world_torrent(struct world *self, const struct world_file *files, uint32_t piece_length)
{
    struct random random;
    struct writer writer;
    size_t capacity = 1024 * 1024, length = 0, at = 0, pieces;
    uint8_t *info = xmalloc(capacity), digest[SHA1_SIZE];
    char text[600];
    bool folder = strchr(files[0].path, '/') != NULL;

    for (size_t i = 0; files[i].path; i++)
        length += files[i].size;
    self->content = xmalloc(length);
    random_init(&random, 7);
    random_bytes(&random, self->content, length);
    for (size_t i = 0; files[i].path; at += files[i++].size) {
        if (!files[i].path[0])
            memset(self->content + at, 0, files[i].size);
    }
    if (self->change)
        self->change(self->content, length);
    writer_init(&writer, info, capacity);
    writer_put(&writer, "d", 1);
    if (folder) {
        writer_put(&writer, "5:filesl", 8);
        for (size_t i = 0; files[i].path; i++)
            put_file(&writer, &files[i]);
        writer_put(&writer, "e", 1);
    } else {
        writer_put(&writer, text, (size_t)snprintf(text, sizeof(text), "6:lengthi%zue", length));
    }
    pieces = (length + piece_length - 1) / piece_length;
    writer_put(&writer, text,
               (size_t)snprintf(text, sizeof(text), "4:name%zu:%.*s12:piece lengthi%ue6:pieces%zu:",
                                strcspn(files[0].path, "/"), (int)strcspn(files[0].path, "/"),
                                files[0].path, piece_length, pieces * SHA1_SIZE));
    for (at = 0; at < length; at += piece_length) {
        sha1(bytes_of(self->content + at, length - at < piece_length ? length - at : piece_length),
             digest);
        writer_put(&writer, digest, sizeof(digest));
    }
    writer_put(&writer, "e", 1);
    assert_false(writer.overflow);
    sha1(bytes_of(info, writer.size), digest);
    assert_int_equal(
        metainfo_parse_info(bytes_of(info, writer.size), digest, &self->metainfo, NULL), LB_OK);
    free(info);
}

const uint8_t *world_file_content(const struct world *self, uint32_t file)
{
    return self->content + self->metainfo->layout.files[file].offset;
}

/* ---- waiting ---- */

static void on_patience(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "no event in %d ms\n", PATIENCE_MS);
    abort();
}

struct wait {
    struct world *world;
    world_condition *is_so;
    void *ctx;
};

/* Just before the loop would sleep, when everything due has run. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct wait *wait = prepare->data;

    if (wait->is_so(wait->ctx))
        uv_stop(&wait->world->loop);
}

void world_until(struct world *self, world_condition *is_so, void *ctx)
{
    struct wait wait = { .world = self, .is_so = is_so, .ctx = ctx };
    uv_timer_t patience;
    uv_prepare_t prepare;

    uv_timer_init(&self->loop, &patience);
    uv_timer_start(&patience, on_patience, PATIENCE_MS, 0);
    uv_prepare_init(&self->loop, &prepare);
    prepare.data = &wait;
    uv_prepare_start(&prepare, on_prepare);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_close((uv_handle_t *)&prepare, NULL);
    uv_run(&self->loop, UV_RUN_NOWAIT);
}

struct count_wait {
    const unsigned *count;
    unsigned least;
};

static bool is_counted(void *ctx)
{
    const struct count_wait *wait = ctx;

    return *wait->count >= wait->least;
}

void world_wait(struct world *self, const unsigned *count, unsigned least)
{
    world_until(self, is_counted, &(struct count_wait){ count, least });
}

static bool is_idle(void *ctx)
{
    const struct world *self = ctx;
    struct disk_stats stats;

    disk_stats(self->disk, &stats);
    return stats.jobs == 0 && pool_pending(self->pool) == 0;
}

void world_wait_jobs(struct world *self)
{
    world_until(self, is_idle, self);
}

/* ---- files ---- */

void world_path(const struct world *self, const char *path, char ret_path[512])
{
    snprintf(ret_path, 512, "%s/%s", self->folder, path);
}

void world_write(const struct world *self, const char *path, const uint8_t *data, size_t size)
{
    char whole[512];
    FILE *file;

    world_path(self, path, whole);
    for (char *slash = strchr(whole + strlen(self->folder) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    file = fopen(whole, "wb");
    assert_non_null(file);
    if (size > 0)
        assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void world_write_all(const struct world *self)
{
    for (uint32_t i = 0; i < self->metainfo->layout.files_count; i++) {
        if (!self->metainfo->layout.files[i].padding)
            world_write(self, self->metainfo->paths[i], world_file_content(self, i),
                        self->metainfo->layout.files[i].length);
    }
}

uint8_t *world_read(const struct world *self, const char *path, size_t *ret_size)
{
    char whole[512];
    struct stat found;
    uint8_t *data;
    FILE *file;

    world_path(self, path, whole);
    file = fopen(whole, "rb");
    if (!file)
        return NULL;
    assert_int_equal(fstat(fileno(file), &found), 0);
    data = xmalloc((size_t)found.st_size);
    *ret_size = fread(data, 1, (size_t)found.st_size, file);
    fclose(file);
    return data;
}

/* ---- what a storage tells ---- */

static void on_opened(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->opened++;
    told->err = err;
}

static void on_synced(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->synced++;
    told->err = err;
}

static void on_trouble(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->troubled++;
    told->err = err;
}

static void on_checked(void *ctx, uint32_t piece, bool good)
{
    struct told *told = ctx;

    (void)piece;
    told->checked_good += good;
    told->checked_bad += !good;
    if (told->cancel)
        storage_check_cancel(told->cancel);
}

static void on_check_done(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->check_done++;
    told->check_err = err;
}

static void on_reused(void *ctx, uint32_t piece)
{
    struct told *told = ctx;

    (void)piece;
    told->reused++;
}

static void on_reuse_done(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->reuse_done++;
    told->err = err;
}

static void on_closed(void *ctx)
{
    struct told *told = ctx;

    told->closed++;
}

const struct storage_events world_events = { .opened = on_opened,
                                             .synced = on_synced,
                                             .trouble = on_trouble,
                                             .checked = on_checked,
                                             .check_done = on_check_done,
                                             .reused = on_reused,
                                             .reuse_done = on_reuse_done,
                                             .closed = on_closed };

struct storage *world_open(struct world *self, enum storage_mode mode, struct bytes record,
                           struct told *told)
{
    struct storage_events events = world_events;
    struct storage *storage;
    unsigned before = told->opened;

    events.ctx = told;
    storage = storage_open(self->disk, self->metainfo, self->folder, mode, record, &events);
    world_wait(self, &told->opened, before + 1);
    return storage;
}

void world_close(struct world *self, struct storage **storage, struct told *told)
{
    unsigned before = told->closed;

    storage_close(storage);
    world_wait(self, &told->closed, before + 1);
}
