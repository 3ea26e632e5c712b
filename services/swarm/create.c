#include "services/swarm/create.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/swarm/beneath.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/holes.h"
#include "services/swarm/name.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_BYTES         (16u * 1024 * 1024) /* of one hash job */
#define READ_BYTES        (1024u * 1024)
#define REQUEST_PIECE_MAX (16u * 1024 * 1024)

/* A file as the walk found it. */
struct found {
    char *path; /* from the parent of what is shared: "NAME" or "NAME/a/b" */
    uint64_t size;
    int64_t mtime_ns;
};

struct create {
    struct pool *pool;
    create_fn *done;
    void *ctx;
    char folder[CREATE_PATH_MAX];
    char name[METAINFO_COMPONENT_MAX + 1];
    uint32_t piece_length; /* 0: by size */
    bool is_private;
    bool walked;
    struct metainfo *known;
    uint8_t *known_record; /* encoded */
    size_t known_record_size;

    /* set by the walk, constant while hashing */
    int root_fd;
    bool is_folder;
    struct found *files;
    struct layout_file *layout_files;
    uint32_t files_count, files_capacity;
    struct layout layout;
    uint8_t *hashes;
    uint32_t empty_folders;
    uint64_t paths_bytes;
    bool unchanged;

    uint32_t next; /* piece */
    uint32_t running;
    uint64_t hashed_bytes; /* told by jobs that are done */
    _Atomic bool cancelled;
    lb_err err;
    char problem[CREATE_PROBLEM_SIZE];
};

/* One step on a worker: the walk, a run of pieces, or the end. */
struct step {
    struct job job;
    struct create *create;
    uint32_t first, count; /* pieces */
    uint64_t hashed_bytes;
    uint32_t file; /* the one open, UINT32_MAX: none */
    int fd;
    bool sparse; /* it has holes */
    uint8_t *buffer;
    struct hasher *hasher;
    bool has_zero_hash;
    uint8_t zero_hash[SHA1_SIZE]; /* of a whole piece of zeros */
    struct create_result result;  /* of the end */
    lb_err err;
    char problem[CREATE_PROBLEM_SIZE];
};

__attribute__((format(printf, 3, 4))) static lb_err fail(struct step *self, lb_err err,
                                                         const char *format, ...)
{
    char text[2 * CREATE_PROBLEM_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    self->err = err;
    name_make_safe(bytes_of_text(text), self->problem, sizeof(self->problem));
    return err;
}

static lb_err fail_errno(struct step *self, const char *path, int number)
{
    char text[128];

    return fail(self, beneath_error(number), "%s: %s", path,
                strerror_r(number, text, sizeof(text)));
}

uint32_t create_piece_length(uint64_t length)
{
    const uint64_t few = 2048, many = 65536;
    uint32_t piece_length = METAINFO_PIECE_LENGTH_MIN;

    while (piece_length < 4u * 1024 * 1024 && length > few * piece_length)
        piece_length *= 2;
    while (piece_length < METAINFO_PIECE_LENGTH_MAX && length > many * piece_length)
        piece_length *= 2;
    return piece_length;
}

/* ---- the walk ---- */

static int64_t mtime_of(const struct stat *found)
{
    return (int64_t)found->st_mtim.tv_sec * 1000000000 + found->st_mtim.tv_nsec;
}

static lb_err add_file(struct step *self, const char *path)
{
    struct create *create = self->create;
    struct stat found;
    int fd;
    lb_err err;

    if (create->files_count == METAINFO_FILES_MAX)
        return fail(self, LB_TOO_BIG, "more than %u files", METAINFO_FILES_MAX);
    err = beneath_open(create->root_fd, path, false, false, &fd, &found);
    if (err != LB_OK)
        return fail_errno(self, path, errno);
    close(fd);
    if ((uint64_t)found.st_size > METAINFO_LENGTH_MAX - create->layout.length)
        return fail(self, LB_TOO_BIG, "more than 2^56 bytes");
    if (create->files_count == create->files_capacity) {
        create->files_capacity = 2 * create->files_capacity + 16;
        create->files = xrealloc(create->files, create->files_capacity * sizeof(create->files[0]));
    }
    create->files[create->files_count++] = (struct found){ .path = xstrdup(path),
                                                           .size = (uint64_t)found.st_size,
                                                           .mtime_ns = mtime_of(&found) };
    create->layout.length += (uint64_t)found.st_size;
    create->paths_bytes += strlen(path);
    return LB_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* The names in a folder, sorted. */
static lb_err list_names(struct step *self, const char *path, char ***ret_names, size_t *ret_count)
{
    int fd = -1;
    DIR *folder;
    const struct dirent *entry;
    char **names = NULL;
    size_t count = 0;
    lb_err err = beneath_open_folder(self->create->root_fd, path, &fd);

    if (err != LB_OK)
        return fail_errno(self, path, errno);
    folder = fdopendir(fd);
    if (!folder) {
        close(fd);
        return fail_errno(self, path, errno);
    }
    errno = 0;
    while (count <= METAINFO_FILES_MAX && (entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count % 64 == 0)
            names = xrealloc(names, (count + 64) * sizeof(*names));
        names[count++] = xstrdup(entry->d_name);
        errno = 0;
    }
    if (errno != 0)
        err = fail_errno(self, path, errno);
    closedir(folder);
    if (err == LB_OK && count > METAINFO_FILES_MAX)
        err = fail(self, LB_TOO_BIG, "%s: more than %u files", path, METAINFO_FILES_MAX);
    if (err != LB_OK) {
        free_names(names, count);
        return err;
    }
    if (count > 0)
        qsort(names, count, sizeof(*names), compare_names);
    *ret_names = names;
    *ret_count = count;
    return LB_OK;
}

static lb_err walk(struct step *self, const char *path, unsigned depth);

static lb_err walk_folder(struct step *self, const char *path, unsigned depth)
{
    char **names = NULL;
    size_t count = 0;
    lb_err err = list_names(self, path, &names, &count);

    if (err == LB_OK && count == 0)
        self->create->empty_folders++;
    for (size_t i = 0; i < count && err == LB_OK; i++) {
        char *child = xasprintf("%s/%s", path, names[i]);

        if (!metainfo_component_is_safe(names[i]))
            err = fail(self, LB_INVALID,
                       "%s: this name cannot be shared (no UTF-8, or control characters)", child);
        else
            err = walk(self, child, depth + 1);
        free(child);
    }
    free_names(names, count);
    return err;
}

/* depth is bounded: recursion is, too. */
static lb_err walk(struct step *self, const char *path, unsigned depth)
{
    struct stat found;

    if (self->create->cancelled)
        return fail(self, LB_CANCELLED, "cancelled");
    if (depth > METAINFO_PATH_DEPTH_MAX || strlen(path) > METAINFO_PATH_MAX)
        return fail(self, LB_TOO_BIG, "%s: too deep, or too long", path);
    if (beneath_look(self->create->root_fd, path, &found) != LB_OK)
        return fail_errno(self, path, errno);
    if (S_ISLNK(found.st_mode))
        return fail(self, LB_INVALID, "%s is a symbolic link: share what it points to", path);
    if (S_ISDIR(found.st_mode)) {
        if (depth == 0)
            self->create->is_folder = true;
        return walk_folder(self, path, depth);
    }
    if (!S_ISREG(found.st_mode))
        return fail(self, LB_INVALID, "%s is no regular file", path);
    return add_file(self, path);
}

static lb_err lay_out(struct step *self)
{
    struct create *create = self->create;
    uint64_t offset = 0, pieces;

    if (create->layout.length == 0)
        return fail(self, LB_INVALID, "%s has no content", create->name);
    create->layout.piece_length = create->piece_length;
    if (create->piece_length == 0)
        create->layout.piece_length = create_piece_length(create->layout.length);
    pieces = (create->layout.length - 1) / create->layout.piece_length + 1;
    /* A file costs some 40 bytes beside its path: be told now, and not after hours of hashing. */
    if (pieces > METAINFO_PIECES_MAX ||
        pieces * METAINFO_HASH_SIZE + create->paths_bytes + 40ull * create->files_count >
            METAINFO_SIZE_MAX)
        return fail(self, LB_TOO_BIG, "%s: the metainfo would be larger than 10 MiB", create->name);
    create->layout_files = xcalloc(create->files_count, sizeof(*create->layout_files));
    for (uint32_t i = 0; i < create->files_count; i++) {
        create->layout_files[i] =
            (struct layout_file){ .offset = offset, .length = create->files[i].size };
        offset += create->files[i].size;
    }
    create->layout.files = create->layout_files;
    create->layout.files_count = create->files_count;
    create->layout.piece_count = (uint32_t)pieces;
    create->hashes = xmalloc((size_t)pieces * METAINFO_HASH_SIZE);
    return LB_OK;
}

/* ---- is it what is known? ---- */

static bool is_same_file(const struct create *create, const struct resume *record, uint32_t file)
{
    const struct found *found = &create->files[file];

    return strcmp(create->known->paths[file], found->path) == 0 &&
           create->known->layout.files[file].length == found->size && record->files[file].present &&
           record->files[file].size == found->size &&
           record->files[file].mtime_ns == found->mtime_ns;
}

static bool is_unchanged(struct create *create)
{
    const struct metainfo *known = create->known;
    struct resume *record = NULL;
    bool same;

    if (!known || known->layout.files_count != create->files_count ||
        known->is_folder != create->is_folder || known->is_private != create->is_private ||
        (create->piece_length != 0 && known->layout.piece_length != create->piece_length))
        return false;
    if (resume_parse(bytes_of(create->known_record, create->known_record_size), known->infohash,
                     &known->layout, &record) != LB_OK)
        return false;
    same = bitfield_count(record->pieces, record->piece_count) == record->piece_count;
    for (uint32_t i = 0; i < create->files_count && same; i++)
        same = is_same_file(create, record, i);
    resume_free(&record);
    return same;
}

static void work_walk(struct job *job)
{
    struct step *self = (struct step *)job;
    struct create *create = self->create;

    if (beneath_open_root(create->folder, &create->root_fd) != LB_OK) {
        fail_errno(self, create->folder, errno);
        return;
    }
    if (walk(self, create->name, 0) == LB_OK && lay_out(self) == LB_OK)
        create->unchanged = is_unchanged(create);
}

/* ---- hashing ---- */

/* The file is still what the walk found. */
static lb_err check_file(struct step *self, uint32_t file, int fd)
{
    const struct found *was = &self->create->files[file];
    struct stat is;

    if (fstat(fd, &is) < 0)
        return fail_errno(self, was->path, errno);
    if ((uint64_t)is.st_size != was->size || mtime_of(&is) != was->mtime_ns || is.st_nlink == 0)
        return fail(self, LB_CONFLICT, "%s changed while it was hashed", was->path);
    return LB_OK;
}

static lb_err close_file(struct step *self)
{
    lb_err err = LB_OK;

    if (self->fd >= 0) {
        err = check_file(self, self->file, self->fd);
        close(self->fd);
    }
    self->fd = -1;
    self->file = UINT32_MAX;
    return err;
}

static lb_err open_file(struct step *self, uint32_t file)
{
    const char *path = self->create->files[file].path;
    struct stat found;
    lb_err err;

    if (self->file == file)
        return LB_OK;
    err = close_file(self);
    if (err != LB_OK)
        return err;
    if (beneath_open(self->create->root_fd, path, false, false, &self->fd, &found) != LB_OK)
        return fail_errno(self, path, errno);
    self->file = file;
    self->sparse = holes_are_in(&found);
    return check_file(self, file, self->fd);
}

static lb_err hash_span(struct step *self, const struct layout_span *span)
{
    const char *path = self->create->files[span->file].path;
    struct holes_range range = { .fd = self->fd,
                                 .sparse = self->sparse,
                                 .offset = span->offset,
                                 .size = span->size,
                                 .buffer = self->buffer,
                                 .buffer_size = READ_BYTES };
    uint64_t read_bytes = 0;
    lb_err err = holes_hash(self->hasher, &range, &read_bytes);

    if (err == LB_IO)
        return fail_errno(self, path, errno);
    if (err != LB_OK)
        return fail(self, LB_CONFLICT, "%s changed while it was hashed", path);
    self->hashed_bytes += span->size;
    return LB_OK;
}

/* The whole piece is a hole of one file: its hash is known. */
static bool hash_hole(struct step *self, const struct layout_span *span, uint8_t *ret_hash)
{
    uint64_t begin, end;

    if (!self->sparse || span->size != self->create->layout.piece_length ||
        holes_next_data(self->fd, span->offset, span->offset + span->size, &begin, &end))
        return false;
    if (!self->has_zero_hash)
        holes_zero_sha1(span->size, self->zero_hash);
    self->has_zero_hash = true;
    memcpy(ret_hash, self->zero_hash, SHA1_SIZE);
    self->hashed_bytes += span->size;
    return true;
}

static lb_err hash_piece(struct step *self, uint32_t piece)
{
    struct create *create = self->create;
    struct layout_cursor cursor =
        layout_spans(&create->layout, piece, 0, layout_piece_size(&create->layout, piece));
    struct layout_span span;

    uint8_t *hash = create->hashes + (size_t)piece * METAINFO_HASH_SIZE;

    hasher_reset(self->hasher);
    while (layout_spans_next(&cursor, &span)) {
        lb_err err = open_file(self, span.file);

        if (err == LB_OK && hash_hole(self, &span, hash))
            return LB_OK;
        if (err == LB_OK)
            err = hash_span(self, &span);
        if (err != LB_OK)
            return err;
    }
    hasher_finish(self->hasher, hash);
    return LB_OK;
}

static void work_hash(struct job *job)
{
    struct step *self = (struct step *)job;

    self->buffer = xmalloc(READ_BYTES);
    self->hasher = hasher_new_sha1();
    for (uint32_t i = 0; i < self->count && self->err == LB_OK && !self->create->cancelled; i++)
        self->err = hash_piece(self, self->first + i);
    if (self->err == LB_OK)
        self->err = close_file(self);
    else if (self->fd >= 0)
        close(self->fd);
    hasher_free(&self->hasher);
    free(self->buffer);
}

/* ---- the end ---- */

static struct resume *make_record(const struct create *create, const struct metainfo *metainfo)
{
    struct resume *record = resume_new(metainfo->infohash, &metainfo->layout);

    bitfield_set_all(record->pieces, record->piece_count);
    for (uint32_t i = 0; i < create->files_count; i++)
        record->files[i] = (struct resume_file){ .present = true,
                                                 .size = create->files[i].size,
                                                 .mtime_ns = create->files[i].mtime_ns };
    return record;
}

static lb_err write_metainfo(struct step *self, struct metainfo **ret_metainfo)
{
    struct create *create = self->create;
    struct metainfo_problem problem = { "" };
    struct metainfo_draft draft = { .name = create->name,
                                    .files_count = create->files_count,
                                    .piece_length = create->layout.piece_length,
                                    .piece_count = create->layout.piece_count,
                                    .piece_hashes = create->hashes,
                                    .is_folder = create->is_folder,
                                    .is_private = create->is_private };
    struct metainfo_draft_file *files = xcalloc(create->files_count, sizeof(*files));
    uint8_t infohash[SHA1_SIZE], *info = NULL;
    size_t size = 0;
    lb_err err;

    for (uint32_t i = 0; i < create->files_count; i++) {
        files[i].length = create->files[i].size;
        if (create->is_folder)
            files[i].path = create->files[i].path + strlen(create->name) + 1;
    }
    draft.files = files;
    err = metainfo_write_info(&draft, &info, &size, &problem);
    free(files);
    if (err == LB_OK) {
        sha1(bytes_of(info, size), infohash);
        err = metainfo_parse_info(bytes_of(info, size), infohash, ret_metainfo, &problem);
    }
    free(info);
    return err == LB_OK ? LB_OK : fail(self, err, "%s: %s", create->name, problem.text);
}

/* Every file once more: those hashed first had the longest time to change. */
static lb_err check_files(struct step *self)
{
    for (uint32_t i = 0; i < self->create->files_count; i++) {
        const struct found *was = &self->create->files[i];
        struct stat is;

        if (beneath_stat(self->create->root_fd, was->path, &is) != LB_OK)
            return fail_errno(self, was->path, errno);
        if ((uint64_t)is.st_size != was->size || mtime_of(&is) != was->mtime_ns)
            return fail(self, LB_CONFLICT, "%s changed while it was hashed", was->path);
    }
    return LB_OK;
}

static void work_end(struct job *job)
{
    struct step *self = (struct step *)job;
    struct create *create = self->create;

    if (check_files(self) != LB_OK)
        return;
    if (create->unchanged)
        self->result.metainfo = create->known;
    else if (write_metainfo(self, &self->result.metainfo) != LB_OK)
        return;
    self->result.resume = make_record(create, self->result.metainfo);
}

/* ---- on the loop ---- */

static void create_free(struct create *create)
{
    if (create->root_fd >= 0)
        close(create->root_fd);
    for (uint32_t i = 0; i < create->files_count; i++)
        free(create->files[i].path);
    metainfo_free(&create->known);
    free(create->known_record);
    free(create->files);
    free(create->layout_files);
    free(create->hashes);
    free(create);
}

static void advance(struct create *create);

static struct step *step_new(struct create *create, void (*work)(struct job *),
                             void (*done)(struct job *, void *))
{
    struct step *step = xcalloc(1, sizeof(*step));

    step->create = create;
    step->job.work = work;
    step->job.done = done;
    step->fd = -1;
    step->file = UINT32_MAX;
    return step;
}

/* A step that the pool does not take ends the whole: what runs is awaited. */
static void start(struct step *step)
{
    struct create *create = step->create;
    lb_err err = pool_submit(create->pool, &step->job);

    if (err == LB_OK) {
        create->running++;
        return;
    }
    free(step);
    create->err = err;
    snprintf(create->problem, sizeof(create->problem), "too much is being done already");
}

static void take_outcome(struct step *step)
{
    struct create *create = step->create;

    create->running--;
    create->hashed_bytes += step->hashed_bytes;
    if (step->err == LB_OK || create->err != LB_OK)
        return;
    create->err = step->err;
    memcpy(create->problem, step->problem, sizeof(create->problem));
}

static void finish(struct create *create, struct create_result *result)
{
    if (result) {
        memcpy(result->folder, create->folder, sizeof(result->folder));
        result->empty_folders = create->empty_folders;
        result->unchanged = create->unchanged;
        if (create->unchanged)
            metainfo_keep(result->metainfo);
        create->done(create->ctx, LB_OK, result, NULL);
    } else {
        create->done(create->ctx, create->err, NULL, create->problem);
    }
    create_free(create);
}

static void finished_end(struct job *job, void *ctx)
{
    struct step *step = (struct step *)job;
    struct create *create = step->create;

    (void)ctx;
    take_outcome(step);
    finish(create, step->err == LB_OK ? &step->result : NULL);
    free(step);
}

static void finished_step(struct job *job, void *ctx)
{
    struct step *step = (struct step *)job;
    struct create *create = step->create;

    (void)ctx;
    take_outcome(step);
    free(step);
    create->walked = true;
    advance(create);
}

static void start_run(struct create *create)
{
    uint32_t count = RUN_BYTES / create->layout.piece_length;
    uint32_t left = create->layout.piece_count - create->next;
    struct step *step = step_new(create, work_hash, finished_step);

    if (count == 0)
        count = 1;
    step->first = create->next;
    step->count = count < left ? count : left;
    create->next += step->count;
    start(step);
}

static void advance(struct create *create)
{
    bool all = create->unchanged || create->next == create->layout.piece_count;

    if (create->cancelled && create->err == LB_OK) {
        create->err = LB_CANCELLED;
        snprintf(create->problem, sizeof(create->problem), "cancelled");
    }
    while (create->err == LB_OK && !all && create->running < CREATE_JOBS) {
        start_run(create);
        all = create->next == create->layout.piece_count;
    }
    if (create->running > 0)
        return;
    if (create->err == LB_OK)
        start(step_new(create, work_end, finished_end));
    if (create->err != LB_OK)
        finish(create, NULL);
}

/* "/a/b/" is "/a" and "b". */
static lb_err split_path(const char *path, struct create *create)
{
    size_t size = strlen(path), name;

    while (size > 1 && path[size - 1] == '/')
        size--;
    for (name = size; name > 0 && path[name - 1] != '/'; name--)
        ;
    if (path[0] != '/' || name == size || size >= sizeof(create->folder) ||
        size - name >= sizeof(create->name))
        return LB_INVALID;
    memcpy(create->name, path + name, size - name);
    while (name > 1 && path[name - 1] == '/')
        name--;
    memcpy(create->folder, path, name);
    return metainfo_component_is_safe(create->name) ? LB_OK : LB_INVALID;
}

static bool is_piece_length(uint32_t length)
{
    return length == 0 || (length >= METAINFO_PIECE_LENGTH_MIN && length <= REQUEST_PIECE_MAX &&
                           (length & (length - 1)) == 0);
}

lb_err create_start(struct pool *pool, const struct create_request *request, create_fn *done,
                    void *ctx, struct create **ret_self)
{
    struct create *self = xcalloc(1, sizeof(*self));
    lb_err err = split_path(request->path, self);

    self->root_fd = -1;
    if (err == LB_OK && !is_piece_length(request->piece_length))
        err = LB_INVALID;
    self->pool = pool;
    self->done = done;
    self->ctx = ctx;
    self->piece_length = request->piece_length;
    self->is_private = request->is_private;
    if (err == LB_OK && request->known && request->known_resume) {
        self->known = metainfo_keep(request->known);
        resume_encode(request->known_resume, &self->known_record, &self->known_record_size);
    }
    if (err == LB_OK)
        start(step_new(self, work_walk, finished_step));
    if (err == LB_OK)
        err = self->err;
    if (err == LB_OK)
        *ret_self = self;
    else
        create_free(self);
    return err;
}

void create_cancel(struct create *self)
{
    self->cancelled = true;
}

void create_progress(const struct create *self, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = self->hashed_bytes;
    *ret_total = self->walked ? self->layout.length : 0;
}
