#include "services/swarm/catalogue_shared.h"

#include "libcommon/memory.h"
#include "libcommon/node_id.h"
#include "services/swarm/beneath.h"
#include "services/swarm/catalogue_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCKS_NAME "locks"

/* ---- locks ---- */

/* The place of its byte: 62 bits of the hash, so that it is an offset. */
static struct flock place_of(const uint8_t infohash[20], short type)
{
    return (struct flock){
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)(load_u64(infohash) >> 2),
        .l_len = 1,
    };
}

lb_err catalogue_lock(struct catalogue *self, const uint8_t infohash[20])
{
    struct flock place = place_of(infohash, F_WRLCK);

    if (self->locks_fd < 0 || fcntl(self->locks_fd, F_OFD_SETLK, &place) == 0)
        return LB_OK;
    return errno == EAGAIN || errno == EACCES ? LB_EXISTS : beneath_error(errno);
}

void catalogue_unlock(struct catalogue *self, const uint8_t infohash[20])
{
    struct flock place = place_of(infohash, F_UNLCK);

    if (self->locks_fd >= 0)
        (void)!fcntl(self->locks_fd, F_OFD_SETLK, &place);
}

/* ---- opening ---- */

static void ending_of_handed(char ret_ending[NAME_SIZE], enum catalogue_part part, unsigned worker)
{
    snprintf(ret_ending, NAME_SIZE, "%s.hand%u", part == CATALOGUE_TORRENT ? "torrent" : "resume",
             worker);
}

static bool is_handed_by(const char *name, unsigned worker)
{
    const char *ending = catalogue_ending(name);
    char torrent[NAME_SIZE], record[NAME_SIZE];

    ending_of_handed(torrent, CATALOGUE_TORRENT, worker);
    ending_of_handed(record, CATALOGUE_RESUME, worker);
    return ending && (strcmp(ending, torrent) == 0 || strcmp(ending, record) == 0);
}

static bool read_name(const char *name, uint8_t ret_infohash[20])
{
    char hex[41];

    if (!catalogue_ending(name))
        return false;
    memcpy(hex, name, 40);
    hex[40] = '\0';
    return hex_decode(hex, ret_infohash, 20) == LB_OK;
}

/* Another worker may be writing right now: only under the lock is it certain that nobody is. */
static void sweep(struct catalogue *self, const char *name)
{
    uint8_t infohash[20];

    if (!read_name(name, infohash) || catalogue_lock(self, infohash) != LB_OK)
        return;
    if (catalogue_is_left_over(self, name))
        (void)!unlinkat(self->folder_fd, name, 0);
    catalogue_unlock(self, infohash);
}

static lb_err sweep_all(struct catalogue *self, unsigned worker)
{
    char **names;
    size_t count;
    lb_err err = catalogue_list_folder(self->folder_fd, &names, &count);

    for (size_t i = 0; err == LB_OK && i < count; i++) {
        if (is_handed_by(names[i], worker))
            (void)!unlinkat(self->folder_fd, names[i], 0);
        else if (catalogue_is_left_over(self, names[i]))
            sweep(self, names[i]);
        free(names[i]);
    }
    free(names);
    return err;
}

lb_err catalogue_open_shared(struct catalogue **ret_self, const char *folder, unsigned worker,
                             struct pool *pool)
{
    struct catalogue *self = NULL;
    lb_err err = catalogue_open_folder(&self, folder, pool);

    if (err != LB_OK)
        return err;
    self->locks_fd =
        openat(self->folder_fd, LOCKS_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    err = self->locks_fd < 0 ? beneath_error(errno) : sweep_all(self, worker);
    if (err == LB_OK)
        *ret_self = self;
    else
        catalogue_close(&self);
    return err;
}

/* ---- what lies there ---- */

lb_err catalogue_list(const struct catalogue *self, uint8_t **ret_infohashes, size_t *ret_count)
{
    char **names;
    size_t count, kept = 0;
    lb_err err = catalogue_list_folder(self->folder_fd, &names, &count);
    uint8_t *infohashes;

    if (err != LB_OK)
        return err;
    infohashes = xcalloc(count + 1, 20);
    for (size_t i = 0; i < count; i++) {
        const char *ending = catalogue_ending(names[i]);

        if (ending && strcmp(ending, "order") == 0 && read_name(names[i], infohashes + 20 * kept))
            kept++;
        free(names[i]);
    }
    free(names);
    *ret_infohashes = infohashes;
    *ret_count = kept;
    return LB_OK;
}

lb_err catalogue_peek(const struct catalogue *self, const uint8_t infohash[20],
                      struct order *ret_order)
{
    char name[NAME_SIZE];

    catalogue_name(name, infohash, "order");
    return catalogue_load_order(self->folder_fd, name, ret_order);
}

/* ---- taking and giving ---- */

static bool is_being_removed(const struct catalogue *self, const uint8_t infohash[20])
{
    for (size_t i = 0; i < self->removing_count; i++) {
        if (memcmp(self->removing[i], infohash, 20) == 0)
            return true;
    }
    return false;
}

lb_err catalogue_take(struct catalogue *self, const uint8_t infohash[20])
{
    char name[NAME_SIZE];
    lb_err err;

    if (catalogue_find(self, infohash))
        return LB_OK;
    if (is_being_removed(self, infohash))
        return LB_NOT_FOUND;
    if (self->count == CATALOGUE_MAX)
        return LB_FULL;
    err = catalogue_lock(self, infohash);
    if (err != LB_OK)
        return err;
    catalogue_name(name, infohash, "order");
    if (faccessat(self->folder_fd, name, F_OK, 0) < 0)
        err = errno == ENOENT ? LB_NOT_FOUND : beneath_error(errno);
    if (err == LB_OK)
        err = catalogue_take_order(self, name);
    if (err != LB_OK)
        catalogue_unlock(self, infohash);
    return err;
}

lb_err catalogue_give(struct catalogue *self, const uint8_t infohash[20], catalogue_fn *done,
                      void *ctx)
{
    struct write *write = catalogue_write_new(self, infohash, done, ctx);

    write->gives = true;
    return catalogue_submit(write);
}

/* ---- shares ---- */

/* Does the order share this path? Its torrent says what lies in its folder. */
static bool is_share_of(const struct catalogue *self, const struct order *order, const char *path,
                        struct catalogue_share *ret_share)
{
    const size_t folder = strcmp(order->folder, "/") == 0 ? 0 : strlen(order->folder);
    const char *name = path + folder + 1;
    struct metainfo *metainfo = NULL;

    if (order->kind != ORDER_SHARE || strncmp(order->folder, path, folder) != 0 ||
        path[folder] != '/' || strchr(name, '/') ||
        catalogue_read_metainfo(self, order->infohash, &metainfo) != LB_OK)
        return false;
    if (strcmp(metainfo->name, name) != 0) {
        metainfo_free(&metainfo);
        return false;
    }
    ret_share->metainfo = metainfo;
    return true;
}

lb_err catalogue_find_share(const struct catalogue *self, const char *path,
                            struct catalogue_share *ret_share)
{
    struct catalogue_share share = { 0 };
    struct order *order = xmalloc(sizeof(*order));
    uint8_t *infohashes = NULL;
    size_t count = 0;
    lb_err err = catalogue_list(self, &infohashes, &count);
    bool found = false;

    for (size_t i = 0; err == LB_OK && i < count && !found; i++) {
        found = catalogue_peek(self, infohashes + 20 * i, order) == LB_OK &&
                is_share_of(self, order, path, &share);
        if (found)
            memcpy(share.infohash, infohashes + 20 * i, 20);
    }
    free(infohashes);
    free(order);
    if (!found)
        return err == LB_OK ? LB_NOT_FOUND : err;
    if (catalogue_read(self, share.infohash, CATALOGUE_RESUME, &share.record, &share.record_size) !=
        LB_OK)
        share.record = NULL;
    *ret_share = share;
    return LB_OK;
}

/* ---- files for others ---- */

static void add_handed(struct write *write, enum catalogue_part kind, unsigned worker,
                       uint8_t **data, size_t size)
{
    struct part *part = &write->parts[write->parts_count++];
    char ending[NAME_SIZE];

    ending_of_handed(ending, kind, worker);
    catalogue_name(part->name, write->infohash, ending);
    part->data = *data;
    part->size = size;
    *data = NULL;
}

lb_err catalogue_hand(struct catalogue *self, const uint8_t infohash[20], unsigned worker,
                      uint8_t **torrent, size_t torrent_size, uint8_t **record, size_t record_size,
                      catalogue_fn *done, void *ctx)
{
    struct write *write = catalogue_write_new(self, infohash, done, ctx);

    add_handed(write, CATALOGUE_TORRENT, worker, torrent, torrent_size);
    add_handed(write, CATALOGUE_RESUME, worker, record, record_size);
    return catalogue_submit(write);
}

lb_err catalogue_handed(const struct catalogue *self, const uint8_t infohash[20], unsigned worker,
                        enum catalogue_part part, uint8_t **ret_data, size_t *ret_size)
{
    char name[NAME_SIZE], ending[NAME_SIZE];

    ending_of_handed(ending, part, worker);
    catalogue_name(name, infohash, ending);
    return catalogue_read_file(self->folder_fd, name, READ_MAX, ret_data, ret_size);
}

void catalogue_drop_handed(const struct catalogue *self, const uint8_t infohash[20],
                           unsigned worker)
{
    char name[NAME_SIZE], ending[NAME_SIZE];

    for (int part = CATALOGUE_TORRENT; part <= CATALOGUE_RESUME; part++) {
        ending_of_handed(ending, (enum catalogue_part)part, worker);
        catalogue_name(name, infohash, ending);
        (void)!unlinkat(self->folder_fd, name, 0);
    }
}
