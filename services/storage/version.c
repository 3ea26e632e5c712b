#include "services/storage/version.h"

#include "services/storage/service.h"
#include "services/storage/value.h"

#include <string.h>

static void take(struct version *self, const struct wanted *wanted, const struct item *item)
{
    self->is_there = true;
    self->item = *item;
    memcpy(self->value_memory, item->value.data, item->value.size);
    self->item.value = bytes_of(self->value_memory, item->value.size);
    self->item.salt = wanted->salt;
}

void version_look_here(struct storage *storage, const struct wanted *wanted,
                       struct version *ret_self)
{
    uint64_t now_s = storage_now_s(storage);
    struct item_record stored;
    struct item_record published;
    bool has_stored;
    bool has_published;

    *ret_self = (struct version){ 0 };
    if (db_read_begin(storage->db) != LB_OK)
        return;
    has_stored = db_read_item(storage->db, &wanted->target, now_s, &stored) == LB_OK &&
                 is_wanted(&stored.item, wanted);
    has_published = db_read_published(storage->db, &wanted->target, &published) == LB_OK &&
                    is_wanted(&published.item, wanted);
    if (has_stored && (!has_published || !item_is_newer(&published.item, &stored.item))) {
        take(ret_self, wanted, &stored.item);
        ret_self->is_stored = true;
        ret_self->holders = 1;
        ret_self->ttl_s = stored.ends_s > now_s ? stored.ends_s - now_s : 1; /* its last second */
    } else if (has_published) {
        take(ret_self, wanted, &published.item);
    }
    db_read_end(storage->db);
}

static unsigned count_holders(const Lb__Routing__Found *found, const struct item *item)
{
    unsigned holders = 0;

    for (size_t i = 0; i < found->n_closest; i++)
        holders += found->closest[i]->has_item &&
                   (!item->is_mutable || found->closest[i]->item_seq == item->seq);
    return holders;
}

void version_take_found(struct version *self, const struct wanted *wanted,
                        const Lb__Routing__Found *found)
{
    struct item best;
    uint64_t ttl_s;

    if (best_from_message(found, wanted, &best) &&
        (!self->is_there || item_is_newer(&best, &self->item))) {
        self->is_stored = false; /* what we hold ourselves is an older one */
        self->holders = 0;
        self->ttl_s = 0;
        take(self, wanted, &best);
    }
    if (!self->is_there)
        return;
    self->holders += count_holders(found, &self->item);
    ttl_s = ttl_from_message(found, &self->item);
    if (ttl_s > self->ttl_s)
        self->ttl_s = ttl_s;
}

bool version_is_removal(const struct version *self)
{
    struct bytes raw;

    return self->is_there && self->item.is_mutable &&
           value_unwrap(self->item.value, &raw) == VALUE_REMOVED;
}
