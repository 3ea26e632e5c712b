#include "services/gateway/dedupe.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void dedupe_init(struct dedupe *self)
{
    memset(self, 0, sizeof(*self));
}

static void forget(struct dedupe *self, struct dedupe_entry *entry)
{
    self->bytes -= entry->answer.payload.size;
    free((void *)(uintptr_t)entry->answer.payload.data);
    memset(entry, 0, sizeof(*entry));
}

void dedupe_done(struct dedupe *self)
{
    for (uint32_t i = 0; i < DEDUPE_MAX; i++)
        forget(self, &self->entries[i]);
}

static void forget_old(struct dedupe *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < DEDUPE_MAX; i++) {
        struct dedupe_entry *entry = &self->entries[i];

        if (entry->state == DEDUPE_ANSWERED && now_ms - entry->answered_ms >= DEDUPE_KEEP_MS)
            forget(self, entry);
    }
}

/* The entry answered first, NULL when none is answered. */
static struct dedupe_entry *oldest(struct dedupe *self)
{
    struct dedupe_entry *found = NULL;

    for (uint32_t i = 0; i < DEDUPE_MAX; i++) {
        struct dedupe_entry *entry = &self->entries[i];

        if (entry->state == DEDUPE_ANSWERED && (!found || entry->answered_ms < found->answered_ms))
            found = entry;
    }
    return found;
}

static struct dedupe_entry *find(struct dedupe *self, struct bytes key)
{
    for (uint32_t i = 0; i < DEDUPE_MAX; i++) {
        struct dedupe_entry *entry = &self->entries[i];

        if (entry->state != DEDUPE_FREE && bytes_equal(bytes_of(entry->key, entry->key_size), key))
            return entry;
    }
    return NULL;
}

/* A free entry, by forgetting the oldest answer if need be; NULL when all are under way. */
static struct dedupe_entry *make_room(struct dedupe *self)
{
    struct dedupe_entry *entry;

    for (uint32_t i = 0; i < DEDUPE_MAX; i++) {
        if (self->entries[i].state == DEDUPE_FREE)
            return &self->entries[i];
    }
    entry = oldest(self);
    if (entry)
        forget(self, entry);
    return entry;
}

enum dedupe_verdict dedupe_offer(struct dedupe *self, struct bytes key, uint64_t fingerprint,
                                 uint64_t now_ms, uint32_t *ret_entry)
{
    struct dedupe_entry *entry;

    assert(key.size > 0 && key.size <= DEDUPE_KEY_MAX);
    forget_old(self, now_ms);
    entry = find(self, key);
    if (entry && entry->fingerprint != fingerprint)
        return DEDUPE_MISMATCH;
    if (entry) {
        *ret_entry = (uint32_t)(entry - self->entries);
        return entry->state == DEDUPE_ANSWERED ? DEDUPE_KNOWN : DEDUPE_JOIN;
    }
    entry = make_room(self);
    if (!entry)
        return DEDUPE_FULL;
    *entry = (struct dedupe_entry){ .state = DEDUPE_UNDER_WAY,
                                    .key_size = (uint8_t)key.size,
                                    .fingerprint = fingerprint };
    memcpy(entry->key, key.data, key.size);
    *ret_entry = (uint32_t)(entry - self->entries);
    return DEDUPE_NEW;
}

const struct answer *dedupe_known(const struct dedupe *self, uint32_t entry)
{
    assert(entry < DEDUPE_MAX && self->entries[entry].state == DEDUPE_ANSWERED);
    return &self->entries[entry].answer;
}

void dedupe_answer(struct dedupe *self, uint32_t index, const struct answer *answer,
                   uint64_t now_ms)
{
    struct dedupe_entry *entry = &self->entries[index];
    size_t size = answer->payload.size;

    assert(index < DEDUPE_MAX && entry->state == DEDUPE_UNDER_WAY);
    if (code_is_passing(answer->code) || size > DEDUPE_BYTES_MAX) {
        forget(self, entry);
        return;
    }
    while (self->bytes + size > DEDUPE_BYTES_MAX)
        forget(self, oldest(self));
    entry->state = DEDUPE_ANSWERED;
    entry->answered_ms = now_ms;
    entry->answer = *answer;
    entry->answer.payload = bytes_of(xmemdup(answer->payload.data, size), size);
    self->bytes += size;
}

/* FNV-1a, 64 bits: tells mistakes apart, not attacks. */
static uint64_t add_bytes(uint64_t hash, struct bytes data)
{
    for (size_t i = 0; i < data.size; i++)
        hash = (hash ^ data.data[i]) * 0x100000001b3;
    return hash;
}

uint64_t dedupe_fingerprint(struct bytes method, struct bytes payload)
{
    uint64_t hash = add_bytes(0xcbf29ce484222325, method);

    return add_bytes(hash ^ method.size, payload);
}
