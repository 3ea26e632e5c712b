#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/create_inside.h"
#include "services/swarm/holes.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the walk ---- */

static lb_err add_file(struct step *self, const char *path)
{
    struct create *create = self->create;
    struct stat found;
    int fd;
    lb_err err;

    if (create->files_count == METAINFO_FILES_MAX)
        return create_fail(self, LB_TOO_BIG, "more than %u files", METAINFO_FILES_MAX);
    err = beneath_open(create->root_fd, path, false, false, &fd, &found);
    if (err != LB_OK)
        return create_fail_errno(self, path, errno);
    create->sparse |= holes_are_in(&found);
    close(fd);
    if ((uint64_t)found.st_size > METAINFO_LENGTH_MAX - create->content_size)
        return create_fail(self, LB_TOO_BIG, "more than 2^56 bytes");
    if (create->files_count == create->files_capacity) {
        create->files_capacity = 2 * create->files_capacity + 16;
        create->files = xrealloc(create->files, create->files_capacity * sizeof(create->files[0]));
    }
    create->files[create->files_count++] = (struct found){ .path = xstrdup(path),
                                                           .size = (uint64_t)found.st_size,
                                                           .mtime_ns = create_mtime(&found),
                                                           .executable = found.st_mode & S_IXUSR };
    create->content_size += (uint64_t)found.st_size;
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
        return create_fail_errno(self, path, errno);
    folder = fdopendir(fd);
    if (!folder) {
        close(fd);
        return create_fail_errno(self, path, errno);
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
        err = create_fail_errno(self, path, errno);
    closedir(folder);
    if (err == LB_OK && count > METAINFO_FILES_MAX)
        err = create_fail(self, LB_TOO_BIG, "%s: more than %u files", path, METAINFO_FILES_MAX);
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
            err = create_fail(self, LB_INVALID,
                              "%s: this name cannot be shared (no UTF-8, or control characters)",
                              child);
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
        return create_fail(self, LB_CANCELLED, "cancelled");
    if (depth > METAINFO_PATH_DEPTH_MAX || strlen(path) > METAINFO_PATH_MAX)
        return create_fail(self, LB_TOO_BIG, "%s: too deep, or too long", path);
    if (beneath_look(self->create->root_fd, path, &found) != LB_OK)
        return create_fail_errno(self, path, errno);
    if (S_ISLNK(found.st_mode))
        return create_fail(self, LB_INVALID, "%s is a symbolic link: share what it points to",
                           path);
    if (S_ISDIR(found.st_mode)) {
        if (depth == 0)
            self->create->is_folder = true;
        return walk_folder(self, path, depth);
    }
    if (!S_ISREG(found.st_mode))
        return create_fail(self, LB_INVALID, "%s is no regular file", path);
    return add_file(self, path);
}

/* Each file that has bytes begins at a piece in v2; a hybrid of one file is the file, as in v1. */
static void place_files(struct create *create)
{
    struct layout *layout = &create->layout;
    const bool aligned = create->kind & METAINFO_V2;
    uint64_t offset = 0;

    create->layout_files = xcalloc(create->files_count, sizeof(*create->layout_files));
    for (uint32_t i = 0; i < create->files_count; i++) {
        create->layout_files[i] =
            (struct layout_file){ .offset = offset, .length = create->files[i].size };
        offset += create->files[i].size;
        if (aligned && (create->is_folder || create->kind == METAINFO_V2))
            offset += (layout->piece_length - offset % layout->piece_length) % layout->piece_length;
    }
    layout->aligned = aligned;
    layout->length = offset;
    layout->files = create->layout_files;
    layout->files_count = create->files_count;
}

/* A file costs some bytes beside its path: be told now, and not after hours of hashing. */
static bool is_too_big(const struct create *create, uint64_t pieces)
{
    const bool v1 = create->kind & METAINFO_V1, v2 = create->kind & METAINFO_V2;
    const uint64_t piece = (v1 ? METAINFO_HASH_SIZE : 0u) + (v2 ? MERKLE_HASH_SIZE : 0u);
    const uint64_t file = (v1 ? 40u : 0u) + (v2 ? 120u : 0u);

    return pieces > METAINFO_PIECES_MAX || (v2 && pieces > METAINFO_PIECES_V2_MAX) ||
           pieces * piece + create->paths_bytes + file * create->files_count > METAINFO_SIZE_MAX;
}

static lb_err lay_out(struct step *self)
{
    struct create *create = self->create;
    uint64_t pieces;

    if (create->content_size == 0)
        return create_fail(self, LB_INVALID, "%s has no content", create->name);
    create->layout.piece_length = create->piece_length;
    if (create->piece_length == 0)
        create->layout.piece_length = create_piece_length(create->kind, create->content_size);
    place_files(create);
    if (create->sparse)
        piece_hash_of_zeros(create->kind,
                            merkle_height(create->layout.piece_length / MERKLE_BLOCK_SIZE),
                            create->layout.piece_length, 0, &create->zero_hash);
    pieces = (create->layout.length - 1) / create->layout.piece_length + 1;
    if (is_too_big(create, pieces))
        return create_fail(self, LB_TOO_BIG, "%s: the metainfo would be larger than 10 MiB",
                           create->name);
    create->layout.piece_count = (uint32_t)pieces;
    create->hashes = xmalloc((size_t)pieces * METAINFO_HASH_SIZE);
    if (create->kind & METAINFO_V2)
        create->piece_roots = xmalloc((size_t)pieces * MERKLE_HASH_SIZE);
    return LB_OK;
}

/* ---- is it what is known? ---- */

static bool is_same_file(const struct create *create, const struct resume *record, uint32_t file,
                         const struct found *found)
{
    const struct metainfo *known = create->known;

    return strcmp(known->paths[file], found->path) == 0 &&
           known->layout.files[file].length == found->size &&
           known->layout.files[file].executable == found->executable &&
           record->files[file].present && record->files[file].size == found->size &&
           record->files[file].mtime_ns == found->mtime_ns;
}

/* Padding aside, the same files in the same order. */
static bool are_same_files(const struct create *create, const struct resume *record)
{
    const struct layout *layout = &create->known->layout;
    uint32_t at = 0;

    for (uint32_t i = 0; i < layout->files_count; i++) {
        if (layout->files[i].padding)
            continue;
        if (at == create->files_count || !is_same_file(create, record, i, &create->files[at++]))
            return false;
    }
    return at == create->files_count;
}

static bool is_unchanged(struct create *create)
{
    const struct metainfo *known = create->known;
    struct resume *record = NULL;
    bool same;

    if (!known || known->kind != create->kind || known->is_folder != create->is_folder ||
        known->is_private != create->is_private ||
        !bytes_equal(known->ssl_cert, create->ssl_cert) || metainfo_lacks_layers(known) ||
        (create->piece_length != 0 && known->layout.piece_length != create->piece_length))
        return false;
    if (resume_parse(bytes_of(create->known_record, create->known_record_size), known->infohash,
                     &known->layout, &record) != LB_OK)
        return false;
    same = bitfield_count(record->pieces, record->piece_count) == record->piece_count &&
           are_same_files(create, record);
    resume_free(&record);
    return same;
}

void create_work_walk(struct job *job)
{
    struct step *self = (struct step *)job;
    struct create *create = self->create;

    if (beneath_open_root(create->folder, &create->root_fd) != LB_OK) {
        create_fail_errno(self, create->folder, errno);
        return;
    }
    if (walk(self, create->name, 0) == LB_OK && lay_out(self) == LB_OK)
        create->unchanged = is_unchanged(create);
}
