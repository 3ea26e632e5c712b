#include "services/swarm/catalogue.h"

#include "libcommon/memory.h"
#include "libcommon/node_id.h"
#include "libcommon/pool.h"
#include "services/swarm/beneath.h"
#include "services/swarm/catalogue_inside.h"
#include "services/swarm/catalogue_shared.h"
#include "services/swarm/metainfo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const endings[] = { [CATALOGUE_TORRENT] = "torrent",
                                       [CATALOGUE_RESUME] = "resume",
                                       [CATALOGUE_OUTCOMES] = "outcomes" };

/* ---- files; on a worker, or at start ---- */

void catalogue_name(char ret_name[NAME_SIZE], const uint8_t infohash[20], const char *ending)
{
    char hex[41];

    hex_encode(infohash, 20, hex);
    snprintf(ret_name, NAME_SIZE, "%s.%s", hex, ending);
}

static lb_err write_all(int fd, const uint8_t *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t put = write(fd, data + done, size - done);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return beneath_error(errno);
        done += (size_t)put;
    }
    return fsync(fd) < 0 ? beneath_error(errno) : LB_OK;
}

static lb_err replace_file(int folder_fd, const struct part *part)
{
    char temporary[NAME_SIZE + 8];
    lb_err err;
    int fd;

    snprintf(temporary, sizeof(temporary), "%s.new", part->name);
    fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return beneath_error(errno);
    err = write_all(fd, part->data, part->size);
    if (close(fd) < 0 && err == LB_OK)
        err = LB_IO;
    if (err == LB_OK && renameat(folder_fd, temporary, folder_fd, part->name) < 0)
        err = beneath_error(errno);
    if (err != LB_OK)
        unlinkat(folder_fd, temporary, 0);
    return err;
}

static lb_err remove_file(int folder_fd, const char *name)
{
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return beneath_error(errno);
    return LB_OK;
}

/* The folder is synced after each part: the next may rely on it. */
static void work_write(struct job *job)
{
    struct write *self = (struct write *)job;
    int folder_fd = self->catalogue->folder_fd;

    for (uint32_t i = 0; i < self->parts_count && self->err == LB_OK; i++) {
        const struct part *part = &self->parts[i];

        self->err = part->data ? replace_file(folder_fd, part) : remove_file(folder_fd, part->name);
        if (self->err == LB_OK && fsync(folder_fd) < 0)
            self->err = beneath_error(errno);
    }
}

lb_err catalogue_read_file(int folder_fd, const char *name, size_t most, uint8_t **ret_data,
                           size_t *ret_size)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat found;
    uint8_t *data;
    size_t size = 0;
    ssize_t got = 0;

    if (fd < 0)
        return beneath_error(errno);
    if (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode) || (uint64_t)found.st_size > most) {
        close(fd);
        return S_ISREG(found.st_mode) ? LB_TOO_BIG : LB_IO;
    }
    data = xmalloc((size_t)found.st_size);
    while (size < (size_t)found.st_size) {
        got = read(fd, data + size, (size_t)found.st_size - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    close(fd);
    if (got < 0) {
        free(data);
        return LB_IO;
    }
    *ret_data = data;
    *ret_size = size;
    return LB_OK;
}

/* ---- opening ---- */

const char *catalogue_ending(const char *name)
{
    return strlen(name) > 41 && name[40] == '.' ? name + 41 : NULL;
}

lb_err catalogue_load_order(int folder_fd, const char *name, struct order *ret_order)
{
    char expected[NAME_SIZE];
    uint8_t *data = NULL;
    size_t size = 0;
    lb_err err = catalogue_read_file(folder_fd, name, ORDER_SIZE_MAX, &data, &size);

    if (err == LB_OK)
        err = order_parse(bytes_of(data, size), ret_order);
    free(data);
    if (err != LB_OK)
        return err;
    catalogue_name(expected, ret_order->infohash, "order");
    return strcmp(expected, name) == 0 ? LB_OK : LB_CORRUPT;
}

static void set_aside(const struct catalogue *self, const char *name)
{
    char aside[NAME_SIZE + 16];

    snprintf(aside, sizeof(aside), "%.79s.damaged", name);
    /* When it cannot be renamed it is found damaged again next time: nothing is lost. */
    (void)!renameat(self->folder_fd, name, self->folder_fd, aside);
}

/* Was it read, and is no order? A disk or a process that fails for a moment says nothing of it. */
static bool is_damage(lb_err err)
{
    return err == LB_CORRUPT || err == LB_UNSUPPORTED || err == LB_TOO_BIG;
}

lb_err catalogue_take_order(struct catalogue *self, const char *name)
{
    struct order order;
    lb_err err;

    if (self->count == CATALOGUE_MAX)
        return LB_FULL; /* it stays on the disk for the next start */
    err = catalogue_load_order(self->folder_fd, name, &order);
    if (err == LB_OK) {
        self->orders[self->count++] = xmemdup(&order, sizeof(order));
        return LB_OK;
    }
    self->damaged++;
    if (is_damage(err))
        set_aside(self, name);
    return is_damage(err) ? LB_CORRUPT : err;
}

/* What a crash between two files leaves. A damaged order keeps its parts. */
bool catalogue_is_left_over(const struct catalogue *self, const char *name)
{
    const char *ending = catalogue_ending(name);
    char other[NAME_SIZE + 16];

    if (!ending)
        return false;
    if (strlen(ending) > 4 && strcmp(ending + strlen(ending) - 4, ".new") == 0)
        return true;
    if (strcmp(ending, "torrent") != 0 && strcmp(ending, "resume") != 0 &&
        strcmp(ending, "outcomes") != 0)
        return false;
    snprintf(other, sizeof(other), "%.40s.order", name);
    if (faccessat(self->folder_fd, other, F_OK, 0) == 0)
        return false;
    snprintf(other, sizeof(other), "%.40s.order.damaged", name);
    return faccessat(self->folder_fd, other, F_OK, 0) < 0 && errno == ENOENT;
}

lb_err catalogue_list_folder(int folder_fd, char ***ret_names, size_t *ret_count)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    *ret_names = NULL;
    *ret_count = 0;
    if (!folder)
        return LB_IO;
    while ((entry = readdir(folder))) {
        if (*ret_count % 64 == 0)
            *ret_names = xrealloc(*ret_names, (*ret_count + 64) * sizeof(**ret_names));
        (*ret_names)[(*ret_count)++] = xstrdup(entry->d_name);
    }
    closedir(folder);
    return LB_OK;
}

static lb_err load_all(struct catalogue *self)
{
    char **names;
    size_t count;
    lb_err err = catalogue_list_folder(self->folder_fd, &names, &count);

    if (err != LB_OK)
        return err;
    for (size_t i = 0; i < count; i++) {
        const char *ending = catalogue_ending(names[i]);

        if (ending && strcmp(ending, "order") == 0)
            (void)!catalogue_take_order(self, names[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (catalogue_is_left_over(self, names[i]))
            (void)!unlinkat(self->folder_fd, names[i], 0);
        free(names[i]);
    }
    free(names);
    return LB_OK;
}

lb_err catalogue_open_folder(struct catalogue **ret_self, const char *folder, struct pool *pool)
{
    struct catalogue *self;
    int fd;

    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return beneath_error(errno);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return beneath_error(errno);
    self = xcalloc(1, sizeof(*self));
    self->folder_fd = fd;
    self->pool = pool;
    self->locks_fd = -1;
    self->orders = xcalloc(CATALOGUE_MAX, sizeof(struct order *));
    *ret_self = self;
    return LB_OK;
}

lb_err catalogue_open(struct catalogue **ret_self, const char *folder, struct pool *pool)
{
    struct catalogue *self = NULL;
    lb_err err = catalogue_open_folder(&self, folder, pool);

    if (err == LB_OK)
        err = load_all(self);
    if (err == LB_OK)
        *ret_self = self;
    else
        catalogue_close(&self);
    return err;
}

void catalogue_close(struct catalogue **self)
{
    struct catalogue *closed = *self;

    *self = NULL;
    if (!closed)
        return;
    close(closed->folder_fd);
    if (closed->locks_fd >= 0)
        close(closed->locks_fd);
    for (size_t i = 0; i < closed->count; i++)
        free(closed->orders[i]);
    free(closed->orders);
    free(closed->removing);
    free(closed);
}

/* ---- what is in it ---- */

size_t catalogue_count(const struct catalogue *self)
{
    return self->count;
}

size_t catalogue_damaged(const struct catalogue *self)
{
    return self->damaged;
}

const struct order *catalogue_at(const struct catalogue *self, size_t index)
{
    return index < self->count ? self->orders[index] : NULL;
}

static size_t index_of(const struct catalogue *self, const uint8_t infohash[20])
{
    size_t index = 0;

    while (index < self->count && memcmp(self->orders[index]->infohash, infohash, 20) != 0)
        index++;
    return index;
}

const struct order *catalogue_find(const struct catalogue *self, const uint8_t infohash[20])
{
    return catalogue_at(self, index_of(self, infohash));
}

void catalogue_forget(struct catalogue *self, const uint8_t infohash[20])
{
    size_t index = index_of(self, infohash);

    if (index == self->count)
        return;
    free(self->orders[index]);
    self->orders[index] = self->orders[--self->count];
}

lb_err catalogue_read(const struct catalogue *self, const uint8_t infohash[20],
                      enum catalogue_part part, uint8_t **ret_data, size_t *ret_size)
{
    char name[NAME_SIZE];

    catalogue_name(name, infohash, endings[part]);
    return catalogue_read_file(self->folder_fd, name, READ_MAX, ret_data, ret_size);
}

lb_err catalogue_read_metainfo(const struct catalogue *self, const uint8_t infohash[20],
                               struct metainfo **ret_metainfo)
{
    struct metainfo_problem problem;
    uint8_t *data = NULL;
    size_t size = 0;
    lb_err err = catalogue_read(self, infohash, CATALOGUE_TORRENT, &data, &size);

    if (err == LB_OK)
        err = metainfo_parse_as(bytes_of(data, size), infohash, ret_metainfo, &problem);
    free(data);
    return err;
}

/* ---- changing it ---- */

struct write *catalogue_write_new(struct catalogue *self, const uint8_t infohash[20],
                                  catalogue_fn *done, void *ctx)
{
    struct write *write = xcalloc(1, sizeof(*write));

    write->catalogue = self;
    memcpy(write->infohash, infohash, 20);
    write->done = done;
    write->ctx = ctx;
    return write;
}

/* data NULL: the file is to be removed. Takes data. */
static void add_part(struct write *write, const char *ending, uint8_t *data, size_t size)
{
    struct part *part = &write->parts[write->parts_count++];

    catalogue_name(part->name, write->infohash, ending);
    part->data = data;
    part->size = size;
}

static void write_free(struct write *write)
{
    for (uint32_t i = 0; i < write->parts_count; i++)
        free(write->parts[i].data);
    free(write);
}

static void removed(struct catalogue *self, const uint8_t infohash[20])
{
    size_t index = 0;

    while (memcmp(self->removing[index], infohash, 20) != 0)
        index++;
    memmove(self->removing[index], self->removing[--self->removing_count], 20);
}

static void finished_write(struct job *job, void *ctx)
{
    struct write *self = (struct write *)job;

    (void)ctx;
    if (self->err != LB_OK && self->is_new)
        catalogue_forget(self->catalogue, self->infohash);
    if (self->unlocks)
        removed(self->catalogue, self->infohash);
    if (self->gives)
        catalogue_forget(self->catalogue, self->infohash);
    /* Not while it is ordered: a removed one may be, again. */
    if (index_of(self->catalogue, self->infohash) == self->catalogue->count &&
        (self->gives || self->unlocks || (self->is_new && self->err != LB_OK)))
        catalogue_unlock(self->catalogue, self->infohash);
    if (self->done)
        self->done(self->ctx, self->err);
    write_free(self);
}

lb_err catalogue_submit(struct write *write)
{
    lb_err err;

    write->job.work = work_write;
    write->job.done = finished_write;
    /* One torrent's writes in order; any lane but 0. */
    write->job.lane = load_u64(write->infohash) | 1;
    err = pool_submit(write->catalogue->pool, &write->job);
    if (err != LB_OK)
        write_free(write);
    return err;
}

lb_err catalogue_put(struct catalogue *self, const struct order *order, struct bytes torrent,
                     catalogue_fn *done, void *ctx)
{
    struct write *write;
    struct writer writer;
    uint8_t *data;
    size_t index = index_of(self, order->infohash);
    lb_err err;

    if (index == CATALOGUE_MAX)
        return LB_FULL;
    if (index == self->count && catalogue_lock(self, order->infohash) != LB_OK)
        return LB_UNAVAILABLE;
    write = catalogue_write_new(self, order->infohash, done, ctx);
    write->is_new = index == self->count;
    data = xmalloc(ORDER_SIZE_MAX);
    writer_init(&writer, data, ORDER_SIZE_MAX);
    order_encode(order, &writer);
    if (torrent.size > 0)
        add_part(write, "torrent", xmemdup(torrent.data, torrent.size), torrent.size);
    add_part(write, "order", data, writer.size);
    err = catalogue_submit(write);
    if (err != LB_OK && index == self->count)
        catalogue_unlock(self, order->infohash);
    if (err != LB_OK)
        return err;
    if (index == self->count)
        self->orders[self->count++] = xmalloc(sizeof(*order));
    *self->orders[index] = *order;
    return LB_OK;
}

lb_err catalogue_write(struct catalogue *self, const uint8_t infohash[20], enum catalogue_part part,
                       uint8_t **data, size_t size, catalogue_fn *done, void *ctx)
{
    struct write *write = catalogue_write_new(self, infohash, done, ctx);

    add_part(write, endings[part], *data, size);
    *data = NULL;
    return catalogue_submit(write);
}

lb_err catalogue_remove(struct catalogue *self, const uint8_t infohash[20], catalogue_fn *done,
                        void *ctx)
{
    struct write *write = catalogue_write_new(self, infohash, done, ctx);
    lb_err err;

    write->unlocks = true;
    add_part(write, "order", NULL, 0);
    add_part(write, "resume", NULL, 0);
    add_part(write, "outcomes", NULL, 0);
    add_part(write, "torrent", NULL, 0);
    err = catalogue_submit(write);
    if (err != LB_OK)
        return err;
    catalogue_forget(self, infohash);
    self->removing = xrealloc(self->removing, (self->removing_count + 1) * 20);
    memcpy(self->removing[self->removing_count++], infohash, 20);
    return LB_OK;
}
