#include "services/supervisor/restarts.h"

#include <assert.h>

void restart_init(struct restart *self, enum service service, unsigned first, unsigned last,
                  bool is_of_one)
{
    assert(first <= last && (!is_of_one || first == last));
    *self = (struct restart){
        .service = service, .instance = first, .last = last, .is_of_one = is_of_one
    };
}

enum restart_verb restart_next(struct restart *self, unsigned wanted,
                               enum manager_condition condition, uint32_t generation)
{
    if (self->told && self->instance < wanted) {
        if (condition == MANAGER_FAILED) {
            return RESTART_FAILED;
        }
        if (condition != MANAGER_READY || generation <= self->generation) {
            return RESTART_WAIT;
        }
        if (self->instance == self->last) {
            return RESTART_DONE;
        }
        self->instance++;
        self->told = false;
    }
    if (self->instance >= wanted) { /* it was scaled away meanwhile, and those after it */
        return self->is_of_one ? RESTART_GONE : RESTART_DONE;
    }
    self->told = true;
    return RESTART_TELL;
}
