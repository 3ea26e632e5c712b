#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/create_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct resume *make_record(const struct create *create, const struct metainfo *metainfo)
{
    struct resume *record = resume_new(metainfo->infohash, &metainfo->layout);
    const struct found *found = create->files;

    bitfield_set_all(record->pieces, record->piece_count);
    for (uint32_t i = 0; i < record->files_count; i++) {
        if (metainfo->layout.files[i].padding)
            continue;
        record->files[i] = (struct resume_file){ .present = true,
                                                 .size = found->size,
                                                 .mtime_ns = found->mtime_ns };
        found++;
    }
    return record;
}

/* The root of a file, from those of its pieces. */
static void file_root(const struct create *create, uint32_t file, uint8_t *ret_root)
{
    const unsigned layer = merkle_height(create->layout.piece_length / MERKLE_BLOCK_SIZE);
    const uint8_t *roots;
    uint32_t first, count;

    layout_file_pieces(&create->layout, file, &first, &count);
    roots = create->piece_roots + (size_t)first * MERKLE_HASH_SIZE;
    if (count == 1) /* its tree is not higher than the file needs */
        memcpy(ret_root, roots, MERKLE_HASH_SIZE);
    if (count > 1)
        merkle_root(roots, count, layer, merkle_height(count), ret_root);
}

static struct metainfo_draft_file *draft_files(const struct create *create, uint8_t *roots)
{
    struct metainfo_draft_file *files = xcalloc(create->files_count, sizeof(*files));

    for (uint32_t i = 0; i < create->files_count; i++) {
        files[i].length = create->files[i].size;
        files[i].executable = create->files[i].executable;
        if (create->is_folder)
            files[i].path = create->files[i].path + strlen(create->name) + 1;
        if (!(create->kind & METAINFO_V2))
            continue;
        file_root(create, i, roots + (size_t)i * MERKLE_HASH_SIZE);
        files[i].root = roots + (size_t)i * MERKLE_HASH_SIZE;
    }
    return files;
}

/* What was written is read, so that it is what everybody else reads. */
static lb_err read_back(const struct create *create, struct bytes info,
                        struct metainfo **ret_metainfo, struct metainfo_problem *problem)
{
    struct metainfo *metainfo = NULL;
    uint8_t infohash[SHA256_SIZE]; /* of v2 alone its first 20 bytes are the key */
    lb_err err;

    if (create->kind == METAINFO_V2)
        sha256(info, infohash);
    else
        sha1(info, infohash);
    err = metainfo_parse_info(info, infohash, &metainfo, problem);
    if (err == LB_OK && (create->kind & METAINFO_V2))
        err = metainfo_give_piece_roots(metainfo, create->piece_roots);
    if (err == LB_OK)
        *ret_metainfo = metainfo;
    else
        metainfo_free(&metainfo);
    return err;
}

static lb_err write_metainfo(struct step *self, struct metainfo **ret_metainfo)
{
    struct create *create = self->create;
    struct metainfo_problem problem = { "" };
    struct metainfo_draft draft = { .kind = create->kind,
                                    .name = create->name,
                                    .files_count = create->files_count,
                                    .piece_length = create->layout.piece_length,
                                    .piece_count = create->layout.piece_count,
                                    .piece_hashes = create->hashes,
                                    .is_folder = create->is_folder,
                                    .is_private = create->is_private,
                                    .ssl_cert = create->ssl_cert };
    uint8_t *roots = xcalloc(create->files_count, MERKLE_HASH_SIZE), *info = NULL;
    struct metainfo_draft_file *files = draft_files(create, roots);
    size_t size = 0;
    lb_err err;

    draft.files = files;
    err = metainfo_write_info(&draft, &info, &size, &problem);
    free(files);
    free(roots);
    if (err == LB_OK)
        err = read_back(create, bytes_of(info, size), ret_metainfo, &problem);
    free(info);
    return err == LB_OK ? LB_OK : create_fail(self, err, "%s: %s", create->name, problem.text);
}

/* Every file once more: those hashed first had the longest time to change. */
static lb_err check_files(struct step *self)
{
    for (uint32_t i = 0; i < self->create->files_count; i++) {
        const struct found *was = &self->create->files[i];
        struct stat is;

        if (beneath_stat(self->create->root_fd, was->path, &is) != LB_OK)
            return create_fail_errno(self, was->path, errno);
        if ((uint64_t)is.st_size != was->size || create_mtime(&is) != was->mtime_ns)
            return create_fail(self, LB_CONFLICT, "%s changed while it was hashed", was->path);
    }
    return LB_OK;
}

void create_work_write(struct job *job)
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
