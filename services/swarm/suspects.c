#include "services/swarm/suspects.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void suspects_init(struct suspects *self)
{
    *self = (struct suspects){ 0 };
}

void suspects_done(struct suspects *self)
{
    for (uint32_t i = 0; i < self->failures_count; i++)
        free(self->failures[i].blocks);
    free(self->peers);
    *self = (struct suspects){ 0 };
}

/* ---- who left ---- */

void suspects_left(struct suspects *self, const struct suspect *peer)
{
    if (self->peers == NULL) {
        self->peers = xcalloc(SUSPECTS_PEERS_MAX, sizeof *self->peers);
        for (uint32_t i = 0; i < SUSPECTS_PEERS_MAX; i++)
            self->peers[i].number = SUSPECTS_NOBODY;
    }
    self->peers[self->peers_next++ % SUSPECTS_PEERS_MAX] = *peer;
}

const struct suspect *suspects_find(const struct suspects *self, uint32_t number)
{
    for (uint32_t i = 0; i < SUSPECTS_PEERS_MAX && self->peers != NULL; i++)
        if (self->peers[i].number == number && number != SUSPECTS_NOBODY)
            return &self->peers[i];
    return NULL;
}

/* ---- what failed ---- */

bool suspects_failed(struct suspects *self, uint32_t piece, const uint8_t *digests,
                     const uint32_t *from, uint32_t blocks)
{
    if (self->failures_count == SUSPECTS_FAILURES_MAX ||
        blocks > SUSPECTS_BLOCKS_MAX - self->blocks_count)
        return false;
    struct suspect_failure *failure = &self->failures[self->failures_count++];
    *failure = (struct suspect_failure){
        .piece = piece,
        .blocks_count = blocks,
        .blocks = xcalloc(blocks, sizeof *failure->blocks),
    };
    for (uint32_t i = 0; i < blocks; i++) {
        memcpy(failure->blocks[i].digest, digests + (size_t)i * SUSPECTS_DIGEST_SIZE,
               SUSPECTS_DIGEST_SIZE);
        failure->blocks[i].from = from[i];
    }
    self->blocks_count += blocks;
    return true;
}

bool suspects_wants(const struct suspects *self, uint32_t piece)
{
    for (uint32_t i = 0; i < self->failures_count; i++)
        if (self->failures[i].piece == piece)
            return true;
    return false;
}

bool suspects_doubts(const struct suspects *self, uint32_t number)
{
    for (uint32_t i = 0; i < self->failures_count; i++) {
        const struct suspect_failure *failure = &self->failures[i];
        for (uint32_t k = 0; k < failure->blocks_count; k++)
            if (failure->blocks[k].from == number)
                return true;
    }
    return false;
}

static void remove_failure(struct suspects *self, uint32_t index)
{
    self->blocks_count -= self->failures[index].blocks_count;
    free(self->failures[index].blocks);
    self->failures_count--;
    memmove(&self->failures[index], &self->failures[index + 1],
            (self->failures_count - index) * sizeof self->failures[0]);
}

void suspects_forget(struct suspects *self, uint32_t piece)
{
    for (uint32_t i = self->failures_count; i > 0; i--)
        if (self->failures[i - 1].piece == piece)
            remove_failure(self, i - 1);
}

/* ---- the verdict ---- */

static size_t add_once(uint32_t *numbers, size_t count, size_t most, uint32_t number)
{
    for (size_t i = 0; i < count; i++)
        if (numbers[i] == number)
            return count;
    if (count < most)
        numbers[count++] = number;
    return count;
}

size_t suspects_passed(struct suspects *self, uint32_t piece, const uint8_t *digests,
                       uint32_t blocks, uint32_t *ret_numbers, size_t most)
{
    size_t count = 0;
    for (uint32_t i = 0; i < self->failures_count; i++) {
        const struct suspect_failure *failure = &self->failures[i];
        if (failure->piece != piece || failure->blocks_count != blocks)
            continue;
        for (uint32_t k = 0; k < blocks; k++)
            if (failure->blocks[k].from != SUSPECTS_NOBODY &&
                memcmp(failure->blocks[k].digest, digests + (size_t)k * SUSPECTS_DIGEST_SIZE,
                       SUSPECTS_DIGEST_SIZE) != 0)
                count = add_once(ret_numbers, count, most, failure->blocks[k].from);
    }
    suspects_forget(self, piece);
    return count;
}

void suspects_check(const struct suspects *self)
{
    uint32_t blocks = 0;
    assert(self->failures_count <= SUSPECTS_FAILURES_MAX);
    for (uint32_t i = 0; i < self->failures_count; i++)
        blocks += self->failures[i].blocks_count;
    assert(blocks == self->blocks_count && blocks <= SUSPECTS_BLOCKS_MAX);
}
