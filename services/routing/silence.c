#include "services/routing/silence.h"

void silence_init(struct silence *self, uint64_t seed)
{
    *self = (struct silence){ .seed = seed };
}

void silence_note(struct silence *self, const struct address *address, uint64_t now_ms)
{
    uint64_t hash = address_hash(address, self->seed);

    self->slots[hash % SILENCE_SLOTS].hash = hash;
    self->slots[hash % SILENCE_SLOTS].at_ms = now_ms;
}

void silence_clear(struct silence *self, const struct address *address)
{
    uint64_t hash = address_hash(address, self->seed);

    if (self->slots[hash % SILENCE_SLOTS].hash == hash) {
        self->slots[hash % SILENCE_SLOTS].hash = 0;
    }
}

bool silence_is_recent(const struct silence *self, const struct address *address,
                       uint64_t within_ms, uint64_t now_ms)
{
    uint64_t hash = address_hash(address, self->seed);

    return self->slots[hash % SILENCE_SLOTS].hash == hash &&
           now_ms - self->slots[hash % SILENCE_SLOTS].at_ms <= within_ms;
}
