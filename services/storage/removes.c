/*
 * Remove: the mark of a removal is put as the next version of a key (value.h), to live as long as
 * the value would have. What is not there cannot be removed, so the key is looked up first.
 */
#include "libcommon/config.h"
#include "libcommon/memory.h"
#include "services/storage/find.h"
#include "services/storage/puts.h"
#include "services/storage/service.h"
#include "services/storage/value.h"
#include "services/storage/version.h"

#include <stdlib.h>
#include <string.h>

#define MARK_LEAST_S 3600u

struct removing {
    struct storage *storage;
    struct call *call;
    struct put_key key;
    struct put_compare compare;
    struct wanted wanted;
    struct version version;
};

static void removing_free(struct removing *self)
{
    self->storage->gettings_count--;
    free(self);
}

static void fail(struct removing *self, lb_err err, const char *reason)
{
    call_fail(&self->call, err, "%s", reason);
    removing_free(self);
}

/* What nobody said lives on for storage.value_ttl. An hour at least: copies end some seconds apart.
 */
static uint32_t rest_of_life_s(const struct removing *self)
{
    uint64_t ttl_s =
        self->version.ttl_s > 0 ? self->version.ttl_s : storage_value_ttl_s(self->storage);

    if (ttl_s < MARK_LEAST_S)
        return MARK_LEAST_S;
    return ttl_s < VALUE_TTL_MAX_S ? (uint32_t)ttl_s : VALUE_TTL_MAX_S;
}

static void on_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct removing *self = ctx;
    const struct version *version = &self->version;

    if (err != LB_OK) {
        fail(self, err == LB_CANCELLED ? LB_UNAVAILABLE : err, lb_err_text(err));
        return;
    }
    version_take_found(&self->version, &self->wanted, found);
    if (!version->is_there) {
        fail(self, LB_NOT_FOUND, "no node has a value under this key");
    } else if (version_is_removal(version)) {
        fail(self, LB_NOT_FOUND, "the value of this key was removed before");
    } else {
        put_removal(self->storage, &self->call, &self->key, self->compare, rest_of_life_s(self));
        removing_free(self);
    }
}

static lb_err take_request(struct removing *self, const Lb__Storage__Remove *remove,
                           const char **ret_reason)
{
    struct wanted *wanted = &self->wanted;
    lb_err err = put_key_take(self->storage, bytes_of_binary(&remove->key), remove->own, &self->key,
                              ret_reason);

    if (err != LB_OK)
        return err;
    if (remove->compare_case == LB__STORAGE__REMOVE__COMPARE_CAS)
        self->compare = (struct put_compare){ .has_cas = true, .cas = remove->cas };
    wanted->is_mutable = true;
    memcpy(wanted->public_key, self->key.public_key, sizeof wanted->public_key);
    wanted->salt = bytes_of(self->key.salt, self->key.salt_size);
    wanted->target = item_mutable_target(wanted->public_key, wanted->salt);
    return LB_OK;
}

void on_remove(void *ctx, struct call *call, const void *body)
{
    struct storage *storage = ctx;
    struct removing *self;
    const char *reason = "";
    lb_err err;

    if (storage->gettings_count >= STORAGE_GETS_MAX || storage->is_draining) {
        call_fail(&call, storage->is_draining ? LB_UNAVAILABLE : LB_FULL, "%s",
                  storage->is_draining ? "the service is stopping" : "too many gets are under way");
        return;
    }
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    err = take_request(self, body, &reason);
    if (err != LB_OK) {
        call_fail(&call, err, "%s", reason);
        free(self);
        return;
    }
    storage->gettings_count++;
    self->call = call;
    version_look_here(storage, &self->wanted, &self->version);
    find_start(storage, LB__ROUTING__LOOKUP__KIND__VALUE, &self->wanted.target,
               storage_deadline_ms(storage, call), on_found, self);
}
