/*
 * A restart that was asked for: of one instance, or of all of a service, one after the other, so
 * that the others serve meanwhile. The next is restarted only once the one before is ready again;
 * when that fails, the rest is left as it is. Pure.
 */
#pragma once

#include "services/supervisor/manager.h"

#include <stdbool.h>
#include <stdint.h>

enum restart_verb {
    RESTART_WAIT, /* for the condition of restart.instance to change */
    RESTART_TELL, /* write its generation into restart.generation, restart it, then ask again */
    RESTART_DONE,
    RESTART_FAILED, /* restart.instance did not come back */
    RESTART_GONE    /* the one instance that was meant has been scaled away */
};

struct restart {
    enum service service;
    unsigned instance;   /* the one that is being restarted */
    unsigned last;       /* the last one to be */
    bool is_of_one;      /* else of all */
    bool told;           /* instance was */
    uint32_t generation; /* of instance when it was told; it is back with a higher one */
};

void restart_init(struct restart *self, enum service service, unsigned first, unsigned last,
                  bool is_of_one);

/*
 * wanted: how many instances there are to be; condition and generation are those of self->instance,
 * as they are now. On RESTART_TELL self->instance may be another than before.
 */
enum restart_verb restart_next(struct restart *self, unsigned wanted,
                               enum manager_condition condition, uint32_t generation);
