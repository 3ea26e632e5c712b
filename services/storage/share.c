#include "services/storage/share.h"

#include "libcommon/owner.h"
#include "services/storage/service.h"

#include <string.h>

static bool is_same(const struct share *a, const struct share *b)
{
    if (!a->is_any || !b->is_any)
        return a->is_any == b->is_any;
    return node_id_equal(&a->range.first, &b->range.first) &&
           node_id_equal(&a->range.last, &b->range.last);
}

bool share_follow(struct storage *storage)
{
    unsigned instance = actor_instance(storage->actor);
    unsigned active = actor_active(storage->actor, SERVICE_STORAGE);
    struct share share = { .is_any = instance < active };
    bool changed;

    if (share.is_any)
        owner_range(instance, active, &share.range.first, &share.range.last);
    changed = !is_same(&share, &storage->share);
    storage->share = share;
    return changed;
}

bool share_is_leaving(const struct storage *storage)
{
    unsigned instance = actor_instance(storage->actor);
    unsigned active = actor_active(storage->actor, SERVICE_STORAGE);
    struct page page = { 0 };
    bool is_leaving = true;

    if (status_page_open(&page, actor_paths(storage->actor)->run_folder, false) != LB_OK)
        return true;
    for (unsigned i = 0; i < active; i++) {
        const struct status_slot *slot = status_page_slot(&page, SERVICE_STORAGE, i);

        if (i != instance &&
            service_state_serves(status_slot_state(slot, actor_now_ms(storage->actor))))
            is_leaving = false;
    }
    page_close(&page);
    return is_leaving;
}
