#include "libcommon/memory.h"
#include "services/swarm/torrent_inside.h"

#include <stdlib.h>
#include <string.h>

/* Of one piece; who is beyond that stays unconvicted until its next bad block. */
#define CONVICTS_MAX 64u

static void push_piece(struct torrent *self, enum torrent_action_kind kind, uint32_t piece)
{
    const struct torrent_action action = { .kind = kind, .message = { .piece = piece } };
    torrent_push(self, &action);
}

/* ---- pieces that wait ---- */

static bool is_doubted(const struct torrent *self, uint32_t piece)
{
    uint32_t peers[CONVICTS_MAX];
    const size_t count = picker_contributors(&self->picker, piece, peers, CONVICTS_MAX);
    for (size_t i = 0; i < count; i++)
        if (suspects_doubts(&self->suspects, peers[i]))
            return true;
    return false;
}

/* A piece that failed is never held itself: its verdict is what the others wait for. */
static bool holds(struct torrent *self, uint32_t piece, uint64_t now_ms)
{
    if (self->suspects.failures_count == 0 || now_ms >= self->hold_until_ms ||
        self->held_count == TORRENT_HELD_MAX || suspects_wants(&self->suspects, piece) ||
        !is_doubted(self, piece))
        return false;
    self->held[self->held_count++] = piece;
    return true;
}

void torrent_suspect_whole(struct torrent *self, uint32_t piece, uint64_t now_ms)
{
    if (!holds(self, piece, now_ms))
        push_piece(self, TORRENT_VERIFY, piece);
}

void torrent_suspect_unhold(struct torrent *self, uint32_t piece)
{
    for (uint32_t i = 0; i < self->held_count; i++)
        if (self->held[i] == piece)
            self->held[i--] = self->held[--self->held_count];
}

static void release_held(struct torrent *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->held_count; i++) {
        const uint32_t piece = self->held[i];
        if (now_ms < self->hold_until_ms && is_doubted(self, piece))
            continue;
        self->held[i--] = self->held[--self->held_count];
        push_piece(self, TORRENT_VERIFY, piece);
    }
}

/* Who fetches a failed piece alone must not keep it waiting: then others may take part again. */
static void hurry(struct torrent *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (peer != NULL && peer->asks_count > peer->asks_late &&
            now_ms - peer->block_ms >= TORRENT_ALONE_MS)
            picker_disown(&self->picker, peer->number);
    }
    self->refill = true;
}

void torrent_suspect_turn(struct torrent *self, uint64_t now_ms)
{
    if (self->has_metainfo && self->picker.alone_count > 0)
        hurry(self, now_ms);
    if (self->held_count > 0 && now_ms >= self->hold_until_ms)
        release_held(self, now_ms);
}

/* ---- who it was ---- */

void torrent_suspect_left(struct torrent *self, const struct peer *peer)
{
    if (peer->received.total == 0)
        return;
    struct suspect suspect = {
        .number = peer->number,
        .address = peer->listens.port != 0 ? peer->listens : peer->address,
    };
    memcpy(suspect.peer_id, peer->peer_id, sizeof suspect.peer_id);
    suspects_left(&self->suspects, &suspect);
}

static bool is_held(const struct torrent *self, uint32_t piece)
{
    for (uint32_t i = 0; i < self->held_count; i++)
        if (self->held[i] == piece)
            return true;
    return false;
}

/* What it sent of pieces that nobody verifies yet. */
static void throw_away(struct torrent *self, uint32_t number)
{
    uint32_t slot = 0;
    uint32_t piece = 0;
    while (picker_next_from(&self->picker, number, &slot, &piece)) {
        if (self->picker.state[piece] != PICKER_OPEN && !is_held(self, piece))
            continue;
        self->stats.wasted_bytes += picker_piece_size(&self->picker, piece);
        torrent_abandon(self, piece);
        push_piece(self, TORRENT_FORGET, piece);
    }
}

static void convict(struct torrent *self, uint32_t number, uint64_t now_ms)
{
    if (torrent_webseed_convict(self, number, now_ms)) {
        throw_away(self, number);
        return;
    }
    struct peer *peer = torrent_find(self, number);
    const struct suspect *gone = suspects_find(&self->suspects, number);
    if (peer != NULL) {
        torrent_ban(self, &peer, "it sent a bad piece", now_ms);
    } else if (gone != NULL &&
               !candidates_is_banned(&self->candidates, &gone->address, gone->peer_id)) {
        candidates_ban(&self->candidates, &gone->address, gone->peer_id);
        self->stats.banned++;
    }
    throw_away(self, number);
}

/* The one who sent all of it, or PICKER_NOBODY. */
static uint32_t only_sender(const uint32_t *from, uint32_t blocks)
{
    for (uint32_t i = 1; i < blocks; i++)
        if (from[i] != from[0])
            return PICKER_NOBODY;
    return from[0];
}

void torrent_suspect_good(struct torrent *self, uint32_t piece, const uint8_t *digests,
                          const uint32_t *from, uint64_t now_ms)
{
    const uint32_t blocks = picker_block_count(&self->picker, piece);
    struct peer *peer = torrent_find(self, only_sender(from, blocks));
    if (peer != NULL)
        peer->alone = false;
    if (!suspects_wants(&self->suspects, piece))
        return;
    uint32_t convicts[CONVICTS_MAX];
    size_t count = 0;
    if (digests != NULL)
        count = suspects_passed(&self->suspects, piece, digests, blocks, convicts, CONVICTS_MAX);
    suspects_forget(&self->suspects, piece);
    for (size_t i = 0; i < count; i++)
        convict(self, convicts[i], now_ms);
    release_held(self, now_ms);
}

void torrent_suspect_bad(struct torrent *self, uint32_t piece, const uint8_t *digests,
                         const uint32_t *from, uint64_t now_ms)
{
    const uint32_t blocks = picker_block_count(&self->picker, piece);
    const uint32_t only = only_sender(from, blocks);
    picker_fetch_alone(&self->picker, piece);
    if (only != PICKER_NOBODY) {
        convict(self, only, now_ms);
        return;
    }
    if (digests != NULL && suspects_failed(&self->suspects, piece, digests, from, blocks)) {
        self->hold_until_ms = now_ms + TORRENT_HOLD_MS;
        torrent_hashes_ask_leaves(self, piece, from, now_ms);
        return;
    }
    for (uint32_t i = 0; i < blocks; i++) {
        struct peer *peer = torrent_find(self, from[i]);
        if (peer != NULL)
            peer->alone = true;
    }
}

/* Digests of v2 are leaves, cut: what is compared is the same. */
void torrent_suspect_leaves(struct torrent *self, uint32_t piece, const uint8_t *leaves,
                            uint64_t now_ms)
{
    const uint32_t blocks = picker_block_count(&self->picker, piece);
    uint32_t convicts[CONVICTS_MAX];
    if (!suspects_wants(&self->suspects, piece))
        return;
    uint8_t *digests = xcalloc(blocks, SUSPECTS_DIGEST_SIZE);
    for (uint32_t i = 0; i < blocks; i++)
        memcpy(digests + (size_t)i * SUSPECTS_DIGEST_SIZE, leaves + (size_t)i * MERKLE_HASH_SIZE,
               SUSPECTS_DIGEST_SIZE);
    const size_t count =
        suspects_passed(&self->suspects, piece, digests, blocks, convicts, CONVICTS_MAX);
    free(digests);
    suspects_forget(&self->suspects, piece);
    for (size_t i = 0; i < count; i++)
        convict(self, convicts[i], now_ms);
    release_held(self, now_ms);
}
