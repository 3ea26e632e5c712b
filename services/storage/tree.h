/*
 * Large values as trees of immutable BEP 44 items, so that any BEP 44 node can hold a part.
 *
 * Leaves are byte strings of TREE_LEAF_SIZE bytes, the last one shorter. A branch is a byte string
 * of the targets of TREE_FANOUT leaves. The root is the dictionary { "depth": 1 or 2, "kids":
 * targets, "lbtree": 1, "size": bytes of the whole value } where the kids of depth 1 are leaves and
 * those of depth 2 are branches. How many of each there are follows from the size, and a root that
 * says otherwise is refused before anything is fetched. The root is stored as an immutable item, or
 * as the value of a mutable one. Each part is verified by its target. Pure; allocates what the
 * size, at most VALUE_SIZE_MAX, needs.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_LEAF_SIZE 996u
#define TREE_FANOUT    49u /* "980:" and 49 targets are 984 bytes */
#define TREE_TRIES_MAX 3u  /* how often a part is asked for before the value counts as lost */

/* ---- writing ---- */

struct tree_part {
    struct node_id target;
    struct bytes value; /* the bencoded item; points into the tree */
};

struct tree {
    struct tree_part *parts; /* leaves, branches, and last the root */
    size_t parts_count;
    uint8_t *memory;
};

/* value is longer than VALUE_PLAIN_MAX and at most VALUE_SIZE_MAX; else LB_INVALID or LB_TOO_BIG.
 */
LB_MUST_CHECK lb_err tree_new(struct bytes value, struct tree **ret_tree);
void tree_free(struct tree **self);
const struct tree_part *tree_root(const struct tree *self);

/* ---- reading ---- */

/* The value calls itself a tree (of whatever version). */
bool tree_is_root(struct bytes value);

struct tree_reader; /* opaque: which parts are here, asked for and missing */

/* LB_UNSUPPORTED for another version, LB_TOO_BIG above size_max, LB_CORRUPT when it does not add
 * up. */
LB_MUST_CHECK lb_err tree_reader_new(struct bytes root, size_t size_max,
                                     struct tree_reader **ret_reader);
void tree_reader_free(struct tree_reader **self);

/* A part to fetch now; false when all known ones are under way or here. */
bool tree_reader_next(struct tree_reader *self, size_t *ret_part, struct node_id *ret_target);

/*
 * The part has come: an item that is valid at its target. LB_CORRUPT when it is not of the size and
 * type its place demands: then the whole value is damaged.
 */
LB_MUST_CHECK lb_err tree_reader_give(struct tree_reader *self, size_t part, struct bytes value);

/* The part did not come. LB_NOT_FOUND once it was tried TREE_TRIES_MAX times, else it is asked
 * again. */
LB_MUST_CHECK lb_err tree_reader_miss(struct tree_reader *self, size_t part);

bool tree_reader_is_done(const struct tree_reader *self);

/* The whole value, once done; the reader keeps it. */
struct bytes tree_reader_value(const struct tree_reader *self);
