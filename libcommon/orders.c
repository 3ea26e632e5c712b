#include "libcommon/orders.h"

#include "libcommon/config_reload.h"
#include "libcommon/log.h"

#include <stdatomic.h>
#include <stdio.h>

static uint32_t configured_level(const struct orders *self)
{
    return (uint32_t)config_number(self->config, CONFIG_LOG_LEVEL) + 1;
}

void orders_init(struct orders *self, const struct page *page, enum service service,
                 struct status_slot *slot, struct config *config)
{
    *self = (struct orders){ .page = page->memory, .slot = slot, .config = config };
    self->config_version = atomic_load(&self->page->config_version);
    atomic_store(&slot->config_version, self->config_version);
    atomic_store(&slot->config_digest, config_digest_of(config, service));
    self->level = configured_level(self);
}

/* ---- the log ---- */

void orders_set_log_level(struct status_slot *slot, uint32_t level, uint64_t until_ms)
{
    atomic_store(&slot->log_level, 0); /* the new level never with the old time */
    atomic_store(&slot->log_until_ms, until_ms);
    atomic_store(&slot->log_level, level);
}

uint32_t orders_log_level(const struct status_slot *slot, uint64_t now_ms)
{
    uint32_t level = atomic_load(&slot->log_level);
    uint64_t until_ms = atomic_load(&slot->log_until_ms);

    if (level > LOG_LEVEL_DEBUG + 1 || (until_ms != 0 && now_ms >= until_ms))
        return 0;
    return level;
}

static void obey_level(struct orders *self, uint64_t now_ms)
{
    uint32_t wanted = orders_log_level(self->slot, now_ms);

    if (wanted == 0)
        wanted = configured_level(self);
    if (wanted == self->level)
        return;
    self->level = wanted;
    log_set_level((enum log_level)(wanted - 1));
    log_info("the level of the log is %s from now on",
             log_level_text((enum log_level)(wanted - 1)));
}

/* ---- the configuration ---- */

static lb_err read_files(const struct orders *self, uint64_t *ret_digest,
                         struct config_problem *ret_problem)
{
    struct config *files = NULL;
    lb_err err = config_load(&files, self->file, NULL, ret_problem);

    if (err == LB_OK)
        err = config_check_addresses(files, ret_problem);
    if (err == LB_OK)
        *ret_digest = config_digest(files);
    config_free(&files);
    return err;
}

lb_err orders_read_config(const struct orders *self, struct config **ret_now, uint64_t *ret_digest,
                          struct config_problem *ret_problem)
{
    struct config *now = NULL;
    uint64_t digest = 0;
    lb_err err = read_files(self, &digest, ret_problem);

    if (err == LB_OK)
        err = config_load(&now, self->file, self->overrides, ret_problem);
    if (err != LB_OK)
        return err;
    *ret_now = now;
    *ret_digest = digest;
    return LB_OK;
}

uint32_t orders_publish_config(const struct page *page, uint64_t digest)
{
    struct status_page *self = page->memory;

    atomic_store(&self->config_digest, digest);
    return atomic_fetch_add(&self->config_version, 1) + 1;
}

/* True when a live value is another one now. */
static bool take_over(struct orders *self, struct config *now)
{
    struct config_changes changes;
    bool changed = false;

    config_compare(self->config, now, &changes);
    for (size_t i = 0; i < changes.count; i++)
        changed |= config_effect(changes.keys[i]) == CONFIG_LIVE;
    config_adopt(self->config, now);
    return changed;
}

/* digest: NULL: whatever stands there. */
static bool reread(struct orders *self, const uint64_t *digest, bool *ret_changed)
{
    struct config_problem problem;
    struct config *now = NULL;
    uint64_t found = 0;

    if (orders_read_config(self, &now, &found, &problem) != LB_OK) {
        log_error("%s; the configuration stays as it was", problem.text);
        return false;
    }
    if (digest != NULL && found != *digest) {
        log_error("%s: changed while it was read again; the configuration stays as it was",
                  self->file);
        config_free(&now);
        return false;
    }
    *ret_changed = take_over(self, now);
    config_free(&now);
    return true;
}

static bool obey_reload(struct orders *self)
{
    uint32_t version = atomic_load(&self->page->config_version);
    uint64_t digest = atomic_load(&self->page->config_digest);
    bool changed = false;

    if (version == self->config_version)
        return false;
    self->config_version = version;
    if (reread(self, &digest, &changed))
        atomic_store(&self->slot->config_version, version);
    else
        atomic_store(&self->slot->config_refused, version);
    return changed;
}

bool orders_look(struct orders *self, uint64_t now_ms)
{
    bool changed = obey_reload(self);

    obey_level(self, now_ms);
    return changed;
}

bool orders_reload(struct orders *self)
{
    bool changed = false;

    if (reread(self, NULL, &changed))
        log_info("the configuration was read again");
    return changed;
}
