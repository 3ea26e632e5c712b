#include "services/gateway/changes.h"

#include "libcommon/memory.h"

#include <stdlib.h>

/* Lists rarely change, so the thing is looked for where it was before. */
static const struct thing *find(const struct thing *things, size_t count, const struct thing *thing,
                                size_t guess)
{
    if (guess < count && node_id_equal(&things[guess].id, &thing->id))
        return &things[guess];
    for (size_t i = 0; i < count; i++) {
        if (node_id_equal(&things[i].id, &thing->id))
            return &things[i];
    }
    return NULL;
}

void changes_take(struct changes *self, const struct thing *things, size_t count,
                  change_fn *on_change, void *ctx)
{
    for (size_t i = 0; i < self->count; i++) {
        if (!find(things, count, &self->things[i], i))
            on_change(ctx, CHANGE_GONE, &self->things[i], i);
    }
    for (size_t i = 0; i < count; i++) {
        const struct thing *before = find(self->things, self->count, &things[i], i);

        if (!before)
            on_change(ctx, CHANGE_NEW, &things[i], i);
        else if (before->fingerprint != things[i].fingerprint)
            on_change(ctx, CHANGE_OTHER, &things[i], i);
    }
    free(self->things);
    self->things = xmemdup(things, count * sizeof(*things));
    self->count = count;
}

void changes_clear(struct changes *self)
{
    free(self->things);
    *self = (struct changes){ .things = NULL, .count = 0 };
}
