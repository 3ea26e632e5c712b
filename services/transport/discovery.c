#include "services/transport/discovery.h"

#include "libcommon/random.h"

#include <sodium/crypto_hash_sha256.h>
#include <string.h>

void discovery_infohash(const char *network, uint8_t ret_hash[LSD_HASH_SIZE])
{
    static const char label[] = "littlebird network ";
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)label, sizeof(label) - 1);
    crypto_hash_sha256_update(&state, (const uint8_t *)network, strlen(network));
    crypto_hash_sha256_final(&state, digest);
    memcpy(ret_hash, digest, LSD_HASH_SIZE);
}

void discovery_init(struct discovery *self, bool client, struct random *random, uint64_t now_ms)
{
    *self = (struct discovery){ .random = random,
                                .client = client,
                                .was_alone = true,
                                .announce_ms = now_ms + random_below(random, DISCOVERY_START_MS),
                                .interval_ms = DISCOVERY_FIRST_MS,
                                .answer_ms = UINT64_MAX };
}

/* A quarter more or less, so that what starts together does not go on together. */
static uint64_t jittered(struct discovery *self, uint64_t interval_ms)
{
    return interval_ms - interval_ms / 4 + random_below(self->random, interval_ms / 2);
}

static bool may_add(struct discovery *self, uint64_t now_ms)
{
    const uint64_t burst_ms = (DISCOVERY_ADDS - 1) * DISCOVERY_ADD_MS;

    if (self->adds_ms > now_ms + burst_ms)
        return false;
    self->adds_ms = (self->adds_ms > now_ms ? self->adds_ms : now_ms) + DISCOVERY_ADD_MS;
    return true;
}

bool discovery_heard(struct discovery *self, const struct discovery_heard *heard, size_t contacts,
                     uint64_t now_ms)
{
    bool alone = contacts == 0;

    if (!heard->alone) {
        self->answer_ms = UINT64_MAX; /* who waits for an answer has heard it too */
    } else if (!self->client && (!alone || heard->client) && self->answer_ms == UINT64_MAX) {
        uint64_t from_ms = self->rested_ms > now_ms ? self->rested_ms : now_ms;

        self->answer_ms = from_ms + random_below(self->random, DISCOVERY_ANSWER_MS);
    }
    if (heard->client || heard->known)
        return false;
    if (!alone &&
        (heard->alone || random_below(self->random, DISCOVERY_SMALL + contacts) >= DISCOVERY_SMALL))
        return false;
    return may_add(self, now_ms);
}

bool discovery_next(struct discovery *self, size_t contacts, uint64_t now_ms)
{
    bool alone = contacts == 0, answers, announces;
    uint64_t most_ms = alone ? DISCOVERY_ALONE_MS : DISCOVERY_MOST_MS;

    if (alone && !self->was_alone) {
        self->interval_ms = DISCOVERY_FIRST_MS;
        self->announce_ms = now_ms + jittered(self, DISCOVERY_FIRST_MS);
    }
    self->was_alone = alone;
    answers = now_ms >= self->answer_ms;
    announces = now_ms >= self->announce_ms;
    if (!answers && !announces)
        return false;
    self->answer_ms = UINT64_MAX;
    self->rested_ms = now_ms + DISCOVERY_REST_MS;
    self->announce_ms = now_ms + jittered(self, self->interval_ms);
    if (announces)
        self->interval_ms = 2 * self->interval_ms < most_ms ? 2 * self->interval_ms : most_ms;
    return answers || alone || !self->client; /* nobody can join through a client */
}

uint64_t discovery_deadline_ms(const struct discovery *self)
{
    return self->answer_ms < self->announce_ms ? self->answer_ms : self->announce_ms;
}
