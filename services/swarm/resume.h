/*
 * The resume record: which pieces are verified AND on the disk, and what their files looked like
 * then, so that a restart hashes only what may have changed.
 *
 * A file that was complete must have the same size and modification time (ns). A file that was
 * still being written changes by our own hand after the record was made; the record therefore
 * carries a lease: until `writing_until_s` (wall clock) such a change is taken for ours. A live
 * storage renews record and lease with each sync. A later or other change, or another size, makes
 * every recorded piece that touches the file doubtful: it is hashed again before it counts. What is
 * not seen: a stranger writing into an incomplete file within a minute after a crash.
 *
 * On disk: "LBRESUME", version, infohash, counts, files, bitfield, SHA-256 of all before it; big
 * endian. It is read as untrusted input. Pure; allocates, links lb_crypto.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "services/swarm/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESUME_VERSION  1u
#define RESUME_LEASE_S  60u
#define RESUME_SIZE_MAX (4u * 1024 * 1024) /* above 65536 files and 2^21 pieces */

/* One file as it was (in a record) or as it is (found). */
struct resume_file {
    uint64_t size;
    int64_t mtime_ns; /* since 1970 */
    bool present;
};

struct resume {
    uint8_t infohash[20];
    uint64_t writing_until_s; /* 0: nothing was being written */
    uint32_t files_count;
    uint32_t piece_count;
    struct resume_file *files;
    uint8_t *pieces; /* bitfield */
};

/* An empty record of a torrent: no file present, no piece. */
struct resume *resume_new(const uint8_t infohash[20], const struct layout *layout);
void resume_free(struct resume **self);

/* The caller frees *ret_data. */
void resume_encode(const struct resume *self, uint8_t **ret_data, size_t *ret_size);

/*
 * LB_CORRUPT: damaged, cut, or no record; LB_UNSUPPORTED: another version; LB_CONFLICT: of another
 * torrent than infohash and layout.
 */
LB_MUST_CHECK lb_err resume_parse(struct bytes data, const uint8_t infohash[20],
                                  const struct layout *layout, struct resume **ret_self);

/*
 * Judge a record by the files found, layout->files_count of them. The caller gives two bitfields:
 * pieces that stand as verified, and pieces to hash again because a file differs. A recorded piece
 * whose files are gone or too short is in neither. Without a record (NULL) every piece whose files
 * are all there in full length is to be hashed.
 */
void resume_judge(const struct resume *self, const struct layout *layout,
                  const struct resume_file *found, uint8_t *ret_verified, uint8_t *ret_recheck);
