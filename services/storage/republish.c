/*
 * Republishing: what this node was asked to put is kept alive for as long as it runs. About hourly
 * (BEP 44, "Expiration"), sooner while few nodes hold it, the holders are counted and those that
 * lack it given it, as any holder would do. Once a quarter of the life it was put for is used up it
 * is put on all of them again, for a whole one. Few at once, so that a thousand values make a
 * trickle. When the network holds a newer version the node forgets its own: another publishes. Each
 * instance of lb-storage sees to the groups of its share; what one has taken is set back in the
 * same transaction, so that no other takes it meanwhile.
 */
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/storage/errand.h"
#include "services/storage/service.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_S    300u /* after a try that failed, or that this process did not live to finish */
#define HOUR_S     3600u
#define LIFE_PARTS 4u /* it is renewed when one of so many parts of its life is used */

/* The look for what is due. */
struct taking {
    struct commit commit;
    struct storage *storage;
    struct db_range range; /* as our share was when we looked */
    struct db_taken taken[DB_TAKE_MAX];
};

/* One item being put again, and then its new time being written. */
struct again {
    struct commit commit;
    struct storage *storage;
    struct db_taken taken;
    struct item item; /* points into taken */
    bool renews;      /* it is put on all of them, for a whole life */
};

static uint64_t ttl_s(const struct storage *self)
{
    return config_number(actor_config(self->actor), CONFIG_STORAGE_ITEM_TTL) / 1000;
}

static uint64_t next_due_s(struct storage *self, unsigned acknowledged, unsigned tries)
{
    return storage_now_s(self) + policy_republish_s(acknowledged, SPREAD_K, tries, ttl_s(self),
                                                    random_u64(&self->random));
}

struct db_publication republish_first(struct storage *self, const struct node_id *group,
                                      const struct node_id *target, uint64_t version,
                                      unsigned acknowledged)
{
    return (struct db_publication){ .group = *group,
                                    .target = *target,
                                    .version = version,
                                    .due_s = next_due_s(self, acknowledged, 0),
                                    .renewed_s = storage_now_s(self) };
}

static void on_written(struct commit *commit)
{
    struct again *again = (struct again *)commit;

    again->storage->republishing--;
    free(again);
}

static void write_again(struct again *again)
{
    again->commit.done = on_written;
    again->commit.op.now_s = storage_now_s(again->storage);
    if (commits_submit(again->storage->commits, &again->commit) != LB_OK)
        on_written(&again->commit);
}

/* All that were found have it: that is as many as there should be. */
static unsigned count_replicas(const struct again *again, const struct spread_result *result)
{
    if (again->renews)
        return result->acknowledged;
    if (result->found > 0 && result->lacking == result->repaired)
        return SPREAD_K;
    return result->holders + result->repaired;
}

static void set_back(struct again *again, const struct spread_result *result)
{
    struct db_publish *publish = &again->commit.op.publish;

    again->commit.op.kind = DB_PUBLISH;
    publish->is_again = true; /* else a put made meanwhile would be undone */
    publish->item = again->item;
    publish->publication = again->taken.publication;
    if (publish->publication.tries < UINT8_MAX)
        publish->publication.tries++;
    if (again->renews)
        publish->publication.renewed_s = storage_now_s(again->storage);
    publish->publication.due_s =
        next_due_s(again->storage, count_replicas(again, result), publish->publication.tries);
    write_again(again);
}

static void forget(struct again *again)
{
    char text[NODE_ID_TEXT_SIZE];

    node_id_format(&again->taken.publication.group, text);
    log_info("others publish a newer version, ours is not put again target=%s", text);
    again->commit.op.kind = DB_UNPUBLISH;
    again->commit.op.group = again->taken.publication;
    write_again(again);
}

static void on_done(void *ctx, const struct errand_result *result)
{
    struct again *again = ctx;
    const struct spread_result *spread = &result->spread;
    bool is_newer = spread->superseded || (again->item.is_mutable && spread->seq > again->item.seq);

    if (spread->err == LB_CONFLICT || (spread->err == LB_OK && is_newer)) {
        forget(again);
    } else if (spread->err == LB_OK) {
        storage_count(again->storage, COUNTER_REPUBLISHED, 1);
        set_back(again, spread);
    } else {
        on_written(&again->commit); /* it was set back by RETRY_S when it was taken */
    }
}

static void put_again(struct storage *self, const struct db_taken *taken)
{
    struct again *again = xcalloc(1, sizeof *again);
    uint64_t life_s = storage_value_ttl_s(self);
    uint64_t used_s = storage_now_s(self) - taken->publication.renewed_s;
    struct item_record record;
    struct errand_options options = { .target = taken->publication.target,
                                      .on_done = on_done,
                                      .ctx = again };

    again->storage = self;
    again->taken = *taken;
    if (item_record_get(bytes_of(again->taken.record, taken->record_size), &record) != LB_OK) {
        free(again);
        return;
    }
    again->item = record.item;
    again->renews = used_s > life_s / LIFE_PARTS;
    options.item = record.item;
    options.ttl_s = again->renews ? life_s : life_s - used_s;
    options.check_s = again->renews ? 0 : HOUR_S;
    options.spread =
        (struct spread_options){ .mode = again->renews ? SPREAD_FIXED : SPREAD_CHECK,
                                 .is_mutable = record.item.is_mutable,
                                 .seq = record.item.seq,
                                 .deadline_ms = storage_now_ms(self) + STORAGE_TIME_MS };
    if (errand_start(self, &options) == LB_OK)
        self->republishing++;
    else
        free(again);
}

static void on_taken(struct commit *commit)
{
    struct taking *taking = (struct taking *)commit;
    struct storage *self = taking->storage;

    self->is_taking = false;
    if (commit->op.err == LB_OK && !self->is_stopping) {
        for (uint32_t i = 0; i < commit->op.take.taken_count; i++)
            put_again(self, &taking->taken[i]);
    }
    free(taking);
}

static bool is_any_due(struct storage *self)
{
    bool due;

    if (db_read_begin(self->db) != LB_OK)
        return false;
    due = db_read_is_due(self->db, DUE_PUBLISH, &self->share.range, storage_now_s(self));
    db_read_end(self->db);
    return due;
}

void republish_tick(struct storage *self)
{
    struct taking *taking;

    if (self->is_taking || self->is_asked_to_stop || !self->share.is_any ||
        self->republishing >= STORAGE_REPUBLISH_MAX || !link_is_up(self->routing) ||
        !is_any_due(self))
        return;
    taking = xcalloc(1, sizeof *taking);
    taking->storage = self;
    taking->range = self->share.range;
    taking->commit.done = on_taken;
    taking->commit.op.kind = DB_TAKE_DUE;
    taking->commit.op.now_s = storage_now_s(self);
    taking->commit.op.take = (struct db_take){ .wanted = STORAGE_REPUBLISH_MAX - self->republishing,
                                               .retry_s = RETRY_S,
                                               .range = &taking->range,
                                               .taken = taking->taken };
    if (commits_submit(self->commits, &taking->commit) == LB_OK)
        self->is_taking = true;
    else
        free(taking);
}
