#include "services/routing/keeper.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/secure_id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE     (PATHS_SIZE + 32)
#define ID_FILE       "node_id"
#define SNAPSHOT_FILE "routing.snapshot"
#define MEMBER_FILE   "member.snapshot"

/* ---- files ---- */

/* Up to size bytes of a file; LB_TOO_BIG when there are more. */
static lb_err read_file(const char *path, uint8_t *ret_data, size_t size, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t got = 0;
    ssize_t part = 1;

    if (fd < 0) {
        return lb_err_of_errno(errno);
    }
    while (part > 0 && got < size) {
        part = read(fd, ret_data + got, size - got);
        got += part > 0 ? (size_t)part : 0;
    }
    lb_err err = part < 0 ? lb_err_of_errno(errno) : LB_OK;
    uint8_t beyond;
    if (err == LB_OK && got == size && read(fd, &beyond, 1) == 1) {
        err = LB_TOO_BIG;
    }
    close(fd);
    *ret_size = got;
    return err;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t part = write(fd, data, size);
        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part < 0) {
            return errno;
        }
        data += part;
        size -= (size_t)part;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = 0;

    if (fd < 0) {
        return errno;
    }
    if (fsync(fd) != 0) {
        code = errno;
    }
    close(fd);
    return code;
}

static lb_err write_file(const char *folder, const char *name, const uint8_t *data, size_t size)
{
    char path[PATH_SIZE], temporary[PATH_SIZE + 8];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return lb_err_of_errno(errno);
    }
    int code = write_all(fd, data, size);
    close(fd);
    if (code == 0 && rename(temporary, path) != 0) {
        code = errno;
    }
    if (code == 0) {
        code = sync_folder(folder);
    } else {
        unlink(temporary);
    }
    return code == 0 ? LB_OK : lb_err_of_errno(code);
}

/* ---- the id ---- */

static lb_err read_id(const char *folder, struct node_id *ret_id)
{
    char path[PATH_SIZE], text[NODE_ID_TEXT_SIZE + 1];
    size_t size;

    snprintf(path, sizeof(path), "%s/%s", folder, ID_FILE);
    lb_err err = read_file(path, (uint8_t *)text, sizeof(text) - 1, &size);
    if (err != LB_OK) {
        return err == LB_TOO_BIG ? LB_CORRUPT : err;
    }
    text[size] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return node_id_parse(text, ret_id) == LB_OK ? LB_OK : LB_CORRUPT;
}

static lb_err write_id(const char *folder, const struct node_id *id)
{
    char text[NODE_ID_TEXT_SIZE];

    node_id_format(id, text);
    text[NODE_ID_TEXT_SIZE - 1] = '\n';
    return write_file(folder, ID_FILE, (const uint8_t *)text, sizeof(text));
}

static struct node_id fresh_id(const struct address *address)
{
    struct random random;
    struct node_id id;
    uint64_t seed;

    if (address == NULL) {
        clock_entropy_bytes(id.bytes, NODE_ID_SIZE);
        return id;
    }
    clock_entropy_bytes(&seed, sizeof(seed));
    random_init(&random, seed);
    return secure_id_random(address, &random);
}

static lb_err read_snapshot(struct keeper *self, struct snapshot *ret_snapshot)
{
    char path[PATH_SIZE];
    size_t size;

    snprintf(path, sizeof(path), "%s/%s", self->folder, self->snapshot_file);
    lb_err err = read_file(path, self->data, sizeof(self->data), &size);
    return err == LB_OK ? snapshot_read(bytes_of(self->data, size), ret_snapshot) : err;
}

static lb_err begin(struct keeper *self, const char *state_folder, const char *snapshot_file,
                    uint64_t now_ms, struct snapshot *ret_snapshot)
{
    memset(self, 0, sizeof(*self));
    snprintf(self->folder, sizeof(self->folder), "%s", state_folder);
    self->snapshot_file = snapshot_file;
    self->due_ms = now_ms + KEEPER_EVERY_MS;
    ret_snapshot->count = 0;
    lb_err err = read_snapshot(self, ret_snapshot);
    if (err != LB_OK && err != LB_NOT_FOUND) {
        log_warn("the snapshot cannot be used, joining anew: %s", lb_err_text(err));
    }
    return err;
}

void keeper_open_member(struct keeper *self, const char *state_folder, const struct node_id *id,
                        uint64_t now_ms, struct snapshot *ret_snapshot)
{
    lb_err err = begin(self, state_folder, MEMBER_FILE, now_ms, ret_snapshot);

    if (err == LB_OK && !node_id_equal(&ret_snapshot->self_id, id)) {
        log_info("the snapshot is of another membership, joining anew");
        ret_snapshot->count = 0;
    }
}

lb_err keeper_open(struct keeper *self, const char *state_folder, const struct address *address,
                   uint64_t now_ms, struct node_id *ret_id, struct snapshot *ret_snapshot)
{
    lb_err snapshot_err = begin(self, state_folder, SNAPSHOT_FILE, now_ms, ret_snapshot);
    lb_err err = read_id(self->folder, ret_id);
    if (err == LB_OK && (address == NULL || secure_id_fits(ret_id, address))) {
        return LB_OK;
    }
    if (err == LB_OK) {
        log_info("the node id does not fit the public address (BEP 42), taking another");
        *ret_id = fresh_id(address);
        return write_id(self->folder, ret_id);
    }
    if (err != LB_NOT_FOUND) {
        log_warn("%s/%s cannot be used: %s", self->folder, ID_FILE, lb_err_text(err));
    }
    if (snapshot_err == LB_OK) {
        *ret_id = ret_snapshot->self_id;
    } else {
        *ret_id = fresh_id(address);
    }
    return write_id(self->folder, ret_id);
}

/* ---- the snapshot ---- */

static void pack(struct keeper *self, struct router *router, uint64_t now_ms)
{
    struct snapshot *snapshot = xmalloc(sizeof(*snapshot));

    router_save(router, now_ms, snapshot);
    self->size = snapshot_write(snapshot, self->data);
    self->version = router_version(router);
    free(snapshot);
}

static void write_kept(struct keeper *self)
{
    lb_err err = self->has_next_id ? write_id(self->folder, &self->next_id) : LB_OK;

    if (err != LB_OK) {
        log_warn("the new node id was not written: %s", lb_err_text(err));
    }
    err = write_file(self->folder, self->snapshot_file, self->data, self->size);

    if (err != LB_OK) {
        log_warn("the snapshot was not written: %s", lb_err_text(err));
    }
}

static void on_work(uv_work_t *work)
{
    write_kept(work->data);
}

static void on_written(uv_work_t *work, int status)
{
    struct keeper *self = work->data;

    (void)status;
    self->writing = false;
    self->has_next_id = false;
}

uint64_t keeper_update(struct keeper *self, uv_loop_t *loop, struct router *router, uint64_t now_ms)
{
    if (!self->joined && router_is_joined(router)) {
        self->joined = true;
        self->due_ms = now_ms + KEEPER_FIRST_MS;
    }
    if (now_ms < self->due_ms) {
        return self->due_ms;
    }
    self->due_ms = now_ms + KEEPER_EVERY_MS;
    /* An empty table is no reason to forget where the network was. */
    bool is_due = self->has_next_id || self->version != router_version(router);
    if (self->writing || !is_due || router_view(router).contacts == 0) {
        return self->due_ms;
    }
    pack(self, router, now_ms);
    self->writing = true;
    self->work.data = self;
    if (uv_queue_work(loop, &self->work, on_work, on_written) != 0) {
        self->writing = false;
    }
    return self->due_ms;
}

bool keeper_change_id(struct keeper *self, const struct node_id *id, uint64_t now_ms)
{
    if (self->writing) {
        return false;
    }
    self->next_id = *id;
    self->has_next_id = true;
    self->due_ms = now_ms;
    return true;
}

void keeper_close(struct keeper *self, uv_loop_t *loop, struct router *router, uint64_t now_ms)
{
    while (self->writing) {
        uv_run(loop, UV_RUN_ONCE);
    }
    if (router_view(router).contacts > 0) {
        pack(self, router, now_ms);
        write_kept(self);
    }
}
