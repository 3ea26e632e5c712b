/*
 * What routing keeps on disk, both written atomically (temporary file, fsync, rename, fsync of the
 * folder):
 *
 *     STATE/node_id           our id, 40 hex digits: so that losing the snapshot does not change it
 *     STATE/routing.snapshot  id and contacts (snapshot.h)
 *     STATE/member.snapshot   the same of a private network, on which our id is the certificate's
 *
 * Of the two worlds neither asks the nodes of the other: a node that leaves its private network has
 * its old id and contacts again.
 *
 * The snapshot is written off the loop: soon after joining, every KEEPER_EVERY_MS when contacts
 * have changed, and at the end.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/paths.h"
#include "services/routing/router.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define KEEPER_FIRST_MS 5000u
#define KEEPER_EVERY_MS 180000u

struct keeper {
    char folder[PATHS_SIZE];
    const char *snapshot_file; /* which of the two */
    uv_work_t work;
    bool writing;
    bool has_next_id; /* next_id is to be written, or is being */
    struct node_id next_id;
    bool joined;      /* when it was last looked at */
    uint64_t due_ms;  /* of the next snapshot */
    uint64_t version; /* of the router, as written */
    size_t size;
    uint8_t data[SNAPSHOT_SIZE_MAX];
};

/*
 * From the next start on our id is another one. Written with the next snapshot, which is due at
 * once. False while one is being written: ask again.
 */
bool keeper_change_id(struct keeper *self, const struct node_id *id, uint64_t now_ms);

/*
 * Read both files. *ret_id is ours: from node_id, else from the snapshot, else fresh,
 * and kept from then on. address: the public one we are configured to have; an id that does not fit
 * it (BEP 42) is changed for one that does. NULL: any id will do. *ret_snapshot holds no contacts
 * when there is none or it is damaged. LB_DENIED, LB_IO, LB_NO_SPACE when a fresh id cannot be
 * kept.
 */
LB_MUST_CHECK lb_err keeper_open(struct keeper *self, const char *state_folder,
                                 const struct address *address, uint64_t now_ms,
                                 struct node_id *ret_id, struct snapshot *ret_snapshot);

/*
 * On a private network: our id is given, and never changes. *ret_snapshot holds no contacts when
 * there is none of this id, or it is damaged.
 */
void keeper_open_member(struct keeper *self, const char *state_folder, const struct node_id *id,
                        uint64_t now_ms, struct snapshot *ret_snapshot);

/* Write a snapshot if it is time to. Returns when it is to be called again. */
uint64_t keeper_update(struct keeper *self, uv_loop_t *loop, struct router *router,
                       uint64_t now_ms);

/* Write now and wait for it. */
void keeper_close(struct keeper *self, uv_loop_t *loop, struct router *router, uint64_t now_ms);
