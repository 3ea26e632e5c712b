/*
 * What is new since the last look: a list of things with an id and a fingerprint of their state,
 * against the list before. Pure; allocates.
 */
#pragma once

#include "libcommon/node_id.h"

#include <stddef.h>
#include <stdint.h>

struct thing {
    struct node_id id;
    uint64_t fingerprint;
};

struct changes {
    struct thing *things;
    size_t count;
};

enum change { CHANGE_NONE, CHANGE_NEW, CHANGE_OTHER, CHANGE_GONE };

/* index: in the new list, or for CHANGE_GONE in the old one. */
typedef void change_fn(void *ctx, enum change change, const struct thing *thing, size_t index);

/* Compares with the list before, reports each change in the order of the lists, keeps the new one.
 */
void changes_take(struct changes *self, const struct thing *things, size_t count,
                  change_fn *on_change, void *ctx);

/* Forget the list: the next one is all new. */
void changes_clear(struct changes *self);
