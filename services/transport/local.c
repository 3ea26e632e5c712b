#include "services/transport/local.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"

#include <stdlib.h>
#include <string.h>

void local_init(struct local *self, struct random *random)
{
    *self = (struct local){ .random = random };
}

void local_done(struct local *self)
{
    for (unsigned i = 0; i < LOCAL_OWNERS_MAX; i++)
        free(self->owners[i].torrents);
    *self = (struct local){ .random = self->random };
}

/* ---- what there is ---- */

static const struct local_owner *find_owner(const struct local *self, uint32_t number)
{
    for (unsigned i = 0; i < LOCAL_OWNERS_MAX; i++) {
        if (self->owners[i].port != 0 && self->owners[i].number == number)
            return &self->owners[i];
    }
    return NULL;
}

static struct local_owner *place_for(struct local *self, uint32_t number)
{
    const struct local_owner *known = find_owner(self, number);

    if (known)
        return &self->owners[known - self->owners];
    for (unsigned i = 0; i < LOCAL_OWNERS_MAX; i++) {
        if (self->owners[i].port == 0)
            return &self->owners[i];
    }
    return NULL;
}

static const struct local_torrent *find(const struct local_owner *owner,
                                        const uint8_t hash[LSD_HASH_SIZE])
{
    for (size_t i = 0; i < owner->count; i++) {
        if (memcmp(owner->torrents[i].hash, hash, LSD_HASH_SIZE) == 0)
            return &owner->torrents[i];
    }
    return NULL;
}

bool local_has(const struct local *self, uint32_t owner, const uint8_t hash[LSD_HASH_SIZE])
{
    const struct local_owner *known = find_owner(self, owner);

    return known && find(known, hash) != NULL;
}

bool local_set(struct local *self, uint32_t owner, uint16_t port, const uint8_t *hashes,
               size_t count, uint64_t now_ms)
{
    struct local_owner *to = place_for(self, owner);
    struct local_owner next = { .number = owner, .port = count > 0 ? port : 0 };

    if (!to)
        return next.port == 0;
    if (next.port != 0) {
        next.count = count < LOCAL_MAX ? count : LOCAL_MAX;
        next.torrents = xcalloc(next.count, sizeof(*next.torrents));
    }
    for (size_t i = 0; i < next.count; i++) {
        struct local_torrent *torrent = &next.torrents[i];
        const struct local_torrent *before;

        memcpy(torrent->hash, hashes + i * LSD_HASH_SIZE, LSD_HASH_SIZE);
        before = find(to, torrent->hash);
        torrent->due_ms =
            before ? before->due_ms : now_ms + random_below(self->random, LOCAL_START_MS);
    }
    free(to->torrents);
    *to = next;
    return true;
}

/* ---- what is due ---- */

static struct local_torrent *first_due(const struct local_owner *owner)
{
    struct local_torrent *first = NULL;

    for (size_t i = 0; i < owner->count; i++) {
        if (!first || owner->torrents[i].due_ms < first->due_ms)
            first = &owner->torrents[i];
    }
    return first;
}

/* Whose torrent has waited longest; NULL: nobody has any. */
static const struct local_owner *next_owner(const struct local *self)
{
    const struct local_owner *next = NULL;
    uint64_t due_ms = UINT64_MAX;

    for (unsigned i = 0; i < LOCAL_OWNERS_MAX; i++) {
        const struct local_torrent *first = first_due(&self->owners[i]);

        if (!first || first->due_ms >= due_ms)
            continue;
        due_ms = first->due_ms;
        next = &self->owners[i];
    }
    return next;
}

/* From when on the next message may go. */
static uint64_t allowed_ms(const struct local *self)
{
    const uint64_t burst_ms = (LOCAL_BURST - 1) * LOCAL_MESSAGE_MS;

    return self->message_ms > burst_ms ? self->message_ms - burst_ms : 0;
}

uint64_t local_deadline_ms(const struct local *self)
{
    const struct local_owner *owner = next_owner(self);
    uint64_t due_ms;

    if (!owner)
        return UINT64_MAX;
    due_ms = first_due(owner)->due_ms;
    return due_ms > allowed_ms(self) ? due_ms : allowed_ms(self);
}

static uint64_t jittered(struct local *self)
{
    return LOCAL_INTERVAL_MS - LOCAL_INTERVAL_MS / 8 +
           random_below(self->random, LOCAL_INTERVAL_MS / 4);
}

bool local_next(struct local *self, uint64_t now_ms, struct lsd_message *ret_message)
{
    const struct local_owner *owner = next_owner(self);

    if (now_ms < local_deadline_ms(self) || !owner)
        return false;
    *ret_message = (struct lsd_message){ .port = owner->port };
    while (ret_message->hashes_count < LSD_HASHES_MAX) {
        struct local_torrent *torrent = first_due(owner);

        if (torrent->due_ms > now_ms + LOCAL_AHEAD_MS)
            break;
        memcpy(ret_message->hashes[ret_message->hashes_count++], torrent->hash, LSD_HASH_SIZE);
        torrent->due_ms = now_ms + jittered(self);
    }
    self->message_ms = (self->message_ms > now_ms ? self->message_ms : now_ms) + LOCAL_MESSAGE_MS;
    return true;
}
