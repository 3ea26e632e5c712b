#include "services/swarm/files.h"

#include "libcommon/memory.h"
#include "services/swarm/beneath.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct files_entry {
    uint64_t storage;
    uint64_t used_at; /* counts uses: the least is the oldest */
    uint32_t file;
    uint32_t users;
    int fd; /* -1: an empty place */
    bool writable;
    bool stale; /* closed after its last use, and used by nobody else */
};

struct files {
    pthread_mutex_t lock;
    uint64_t uses;
    uint32_t files_max;
    uint32_t count;
    struct files_entry entries[];
};

struct files *files_new(uint32_t files_max)
{
    struct files *self = xcalloc(1, sizeof(*self) + files_max * sizeof(self->entries[0]));

    pthread_mutex_init(&self->lock, NULL);
    self->files_max = files_max;
    for (uint32_t i = 0; i < files_max; i++)
        self->entries[i].fd = -1;
    return self;
}

void files_free(struct files **self)
{
    struct files *freed = *self;

    *self = NULL;
    if (!freed)
        return;
    for (uint32_t i = 0; i < freed->files_max; i++) {
        assert(freed->entries[i].users == 0);
        if (freed->entries[i].fd >= 0)
            close(freed->entries[i].fd);
    }
    pthread_mutex_destroy(&freed->lock);
    free(freed);
}

/* With the lock held. What is open for writing serves readers too. */
static struct files_entry *find(struct files *self, const struct files_request *request)
{
    for (uint32_t i = 0; i < self->files_max; i++) {
        struct files_entry *entry = &self->entries[i];

        if (entry->fd >= 0 && entry->storage == request->storage && entry->file == request->file &&
            (entry->writable || !request->writable))
            return entry;
    }
    return NULL;
}

/* With the lock held: an empty place, else the one unused for longest; NULL when all are in use. */
static struct files_entry *find_place(struct files *self)
{
    struct files_entry *best = NULL;

    for (uint32_t i = 0; i < self->files_max; i++) {
        struct files_entry *entry = &self->entries[i];

        if (entry->fd < 0)
            return entry;
        if (entry->users == 0 && (!best || entry->used_at < best->used_at))
            best = entry;
    }
    return best;
}

/* With the lock held. */
static struct files_use use(struct files *self, struct files_entry *entry)
{
    entry->users++;
    entry->used_at = ++self->uses;
    return (struct files_use){ .fd = entry->fd, .entry = entry };
}

/* Keep a fresh descriptor; *ret_close is one to close, or -1. With the lock held. */
static struct files_use keep(struct files *self, const struct files_request *request, int fd,
                             int *ret_close)
{
    struct files_entry *entry = find(self, request);

    *ret_close = -1;
    if (entry) { /* another worker was faster */
        *ret_close = fd;
        return use(self, entry);
    }
    entry = find_place(self);
    if (!entry)
        return (struct files_use){ .fd = fd };
    *ret_close = entry->fd;
    self->count += entry->fd < 0;
    *entry = (struct files_entry){
        .storage = request->storage, .file = request->file, .fd = fd, .writable = request->writable
    };
    return use(self, entry);
}

static bool all_of_it(const struct files_request *request, uint64_t from, uint64_t *ret_begin,
                      uint64_t *ret_end)
{
    *ret_begin = from;
    *ret_end = request->length;
    return from < request->length;
}

static int reserve_part(int fd, uint64_t begin, uint64_t end)
{
    int done;

    do
        done = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)begin, (off_t)(end - begin));
    while (done < 0 && errno == EINTR);
    return done;
}

static lb_err reserve(int fd, const struct files_request *request)
{
    uint64_t begin, end = 0;
    int done = 0;

    while (done == 0 && (request->room ? request->room : all_of_it)(request, end, &begin, &end))
        done = reserve_part(fd, begin, end);
    if (done == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
        done = ftruncate(fd, (off_t)request->length);
    return done < 0 ? beneath_error(errno) : LB_OK;
}

/* As far as the file is ours; where not, it is still content. */
static void let_run(int fd, const struct stat *found)
{
    const mode_t mode = found->st_mode & 07777, runs = mode | (mode & 0444) >> 2;

    if (runs != mode)
        (void)fchmod(fd, runs);
}

static lb_err open_fresh(const struct files_request *request, int *ret_fd)
{
    struct stat found;
    int fd = -1, error;
    lb_err err = beneath_open(request->root_fd, request->path, request->writable, request->writable,
                              &fd, &found);

    if (err != LB_OK)
        return err;
    if (request->writable && (uint64_t)found.st_size < request->length)
        err = reserve(fd, request);
    if (err == LB_OK && request->writable && request->executable)
        let_run(fd, &found);
    if (err == LB_OK) {
        *ret_fd = fd;
        return LB_OK;
    }
    error = errno;
    close(fd);
    errno = error;
    return err;
}

bool files_open_now(struct files *self, const struct files_request *request,
                    struct files_use *ret_use)
{
    struct files_entry *entry;

    pthread_mutex_lock(&self->lock);
    entry = find(self, request);
    if (entry)
        *ret_use = use(self, entry);
    pthread_mutex_unlock(&self->lock);
    return entry != NULL;
}

lb_err files_open(struct files *self, const struct files_request *request,
                  struct files_use *ret_use)
{
    int fd = -1, unwanted;
    lb_err err;

    if (files_open_now(self, request, ret_use))
        return LB_OK;
    err = open_fresh(request, &fd);
    if (err != LB_OK)
        return err;
    pthread_mutex_lock(&self->lock);
    *ret_use = keep(self, request, fd, &unwanted);
    pthread_mutex_unlock(&self->lock);
    if (unwanted >= 0)
        close(unwanted);
    return LB_OK;
}

static void end_use(struct files *self, struct files_use *used, bool stale)
{
    struct files_entry *entry = used->entry;
    int unwanted = entry ? -1 : used->fd;

    if (entry) {
        pthread_mutex_lock(&self->lock);
        assert(entry->users > 0);
        entry->users--;
        entry->stale |= stale;
        if (entry->stale && entry->users == 0) {
            unwanted = entry->fd;
            entry->fd = -1;
            self->count--;
        }
        pthread_mutex_unlock(&self->lock);
    }
    if (unwanted >= 0)
        close(unwanted);
    *used = (struct files_use){ .fd = -1 };
}

void files_release(struct files *self, struct files_use *used)
{
    end_use(self, used, false);
}

void files_discard(struct files *self, struct files_use *used)
{
    end_use(self, used, true);
}

void files_forget(struct files *self, uint64_t storage)
{
    for (uint32_t i = 0; i < self->files_max; i++) {
        struct files_entry *entry = &self->entries[i];
        int fd = -1;

        pthread_mutex_lock(&self->lock);
        if (entry->fd >= 0 && entry->storage == storage) {
            assert(entry->users == 0);
            fd = entry->fd;
            entry->fd = -1;
            self->count--;
        }
        pthread_mutex_unlock(&self->lock);
        if (fd >= 0)
            close(fd);
    }
}

uint32_t files_count(struct files *self)
{
    uint32_t count;

    pthread_mutex_lock(&self->lock);
    count = self->count;
    pthread_mutex_unlock(&self->lock);
    return count;
}
