/*
 * What the files of create share: create.c (the order of steps, on the loop), create_walk.c (which
 * files, laid out how), create_hash.c (their pieces), create_write.c (the metainfo). All but the
 * first run on workers. Not for others.
 */
#pragma once

#include "libcommon/pool.h"
#include "services/swarm/create.h"
#include "services/swarm/piece_hash.h"

#include <stdatomic.h>
#include <sys/stat.h>

/* A file as the walk found it. */
struct found {
    char *path; /* from the parent of what is shared: "NAME" or "NAME/a/b" */
    uint64_t size;
    int64_t mtime_ns;
    bool executable;
};

struct create {
    struct pool *pool;
    create_fn *done;
    void *ctx;
    char folder[CREATE_PATH_MAX];
    char name[METAINFO_COMPONENT_MAX + 1];
    uint32_t piece_length; /* 0: by size */
    enum metainfo_kind kind;
    bool is_private;
    struct bytes ssl_cert; /* our own copy */
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
    bool sparse;                 /* some file has holes */
    struct piece_hash zero_hash; /* of a whole piece of zeros; when sparse */
    struct layout layout;        /* without the padding files that the metainfo names */
    uint8_t *hashes;             /* of v1 */
    uint8_t *piece_roots;        /* of v2 */
    uint64_t content_size;
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
    struct piece_hasher *hasher;
    struct create_result result; /* of the end */
    lb_err err;
    char problem[CREATE_PROBLEM_SIZE];
};

/* It ends here; the text names a file. */
__attribute__((format(printf, 3, 4))) lb_err create_fail(struct step *self, lb_err err,
                                                         const char *format, ...);
lb_err create_fail_errno(struct step *self, const char *path, int number);
int64_t create_mtime(const struct stat *found);

void create_work_walk(struct job *job);
void create_work_hash(struct job *job);
void create_work_write(struct job *job);
