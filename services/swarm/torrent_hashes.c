#include "services/swarm/torrent_inside.h"

#include <assert.h>
#include <string.h>

/* A peer that refused or did not answer is asked again after this. */
#define HASHES_REST_MS 5000u

static void send_range(struct torrent *self, struct peer *peer, enum wire_kind kind,
                       const struct hash_range *range, uint64_t now_ms)
{
    uint8_t buffer[HASH_RANGE_SIZE];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    hash_range_put(&writer, range);
    const struct wire_message message = {
        .kind = kind,
        .payload = bytes_of(buffer, sizeof buffer),
    };
    torrent_send(self, peer, &message, now_ms);
}

/* ---- layers: asked for before anything else ---- */

static bool may_ask(const struct torrent *self, const struct peer *peer, uint64_t now_ms)
{
    return self->wants_layers && !self->paused && peer->v2 && now_ms >= peer->hashes_rests_until_ms;
}

static void ask_layers(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    struct hash_range range;
    while (may_ask(self, peer, now_ms) && hashes_next(&self->hashes, peer->number, now_ms, &range))
        send_range(self, peer, WIRE_HASH_REQUEST, &range, now_ms);
}

static bool ask_all(struct torrent *self, uint64_t now_ms)
{
    bool any = false;
    for (uint32_t i = 0; i < self->slots; i++) {
        if (self->peers[i] == NULL)
            continue;
        any |= self->peers[i]->v2;
        ask_layers(self, self->peers[i], now_ms);
    }
    return any;
}

static void end_layers(struct torrent *self, bool here)
{
    self->wants_layers = false;
    self->layers_here = here;
    torrent_push(self, &(struct torrent_action){ .kind = TORRENT_LAYERS });
}

void torrent_want_layers(struct torrent *self, const struct metainfo *metainfo, uint64_t now_ms)
{
    if (self->wants_layers || self->layers_here)
        return;
    hashes_done(&self->hashes);
    hashes_init(&self->hashes, metainfo);
    self->wants_layers = true;
    self->layers_until_ms = metainfo->kind == METAINFO_V2 ? UINT64_MAX : now_ms + TORRENT_LAYERS_MS;
    /* A hybrid can do without, when nobody is there to ask. */
    if (!ask_all(self, now_ms) && metainfo->kind != METAINFO_V2)
        end_layers(self, false);
}

void torrent_want_layers_later(struct torrent *self, const struct metainfo *metainfo,
                               uint64_t now_ms)
{
    assert(self->has_metainfo && !self->wants_layers);
    hashes_done(&self->hashes);
    hashes_init(&self->hashes, metainfo);
    self->wants_layers = true;
    self->layers_here = false;
    self->layers_until_ms = UINT64_MAX;
    (void)ask_all(self, now_ms);
}

const uint8_t *torrent_layers(const struct torrent *self)
{
    return self->layers_here ? self->hashes.piece_roots : NULL;
}

static void rest(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    peer->hashes_rests_until_ms = now_ms + HASHES_REST_MS;
    hashes_release(&self->hashes, peer->number);
}

/* ---- leaves: whose block of a bad piece was bad ---- */

static bool is_known_sender(const uint32_t *from, uint32_t blocks, uint32_t number)
{
    for (uint32_t i = 0; i < blocks; i++)
        if (from[i] == number)
            return true;
    return false;
}

/* Who has the piece and sent nothing of it is asked first; drawn from the slots in turn. */
static struct peer *choose_witness(struct torrent *self, uint32_t piece, const uint32_t *from,
                                   uint32_t blocks)
{
    struct peer *second = NULL;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[(i + self->leaves_turn) % self->slots];
        if (peer == NULL || !peer->v2 || !peer_has(peer, piece))
            continue;
        if (!is_known_sender(from, blocks, peer->number))
            return peer;
        second = peer;
    }
    return second;
}

void torrent_hashes_ask_leaves(struct torrent *self, uint32_t piece, const uint32_t *from,
                               uint64_t now_ms)
{
    if (self->v2 == NULL || metainfo_piece_root(self->v2, piece) == NULL ||
        metainfo_piece_height(self->v2, piece) == 0 || self->leaves_count == TORRENT_LEAVES_MAX)
        return;
    self->leaves_turn++;
    struct peer *peer = choose_witness(self, piece, from, picker_block_count(&self->picker, piece));
    if (peer == NULL)
        return;
    struct hash_range range;
    hashes_leaves_range(self->v2, piece, &range);
    self->leaves[self->leaves_count++] =
        (struct torrent_leaves){ .piece = piece, .peer = peer->number, .asked_ms = now_ms };
    send_range(self, peer, WIRE_HASH_REQUEST, &range, now_ms);
}

static void forget_leaves(struct torrent *self, uint32_t place)
{
    self->leaves[place] = self->leaves[--self->leaves_count];
}

/* Which of those asked of this peer; leaves_count: none. */
static uint32_t find_leaves(const struct torrent *self, const struct peer *peer,
                            const struct hash_range *range)
{
    uint32_t i = 0;
    for (; i < self->leaves_count; i++) {
        struct hash_range asked;
        if (self->leaves[i].peer != peer->number)
            continue;
        hashes_leaves_range(self->v2, self->leaves[i].piece, &asked);
        if (hash_range_equal(&asked, range))
            break;
    }
    return i;
}

/* What it gave cannot be believed, and it alone made it: it does not come back. */
static const char *lies(struct torrent *self, const struct peer *peer)
{
    const struct address address = peer->listens.port != 0 ? peer->listens : peer->address;
    candidates_ban(&self->candidates, &address, peer->peer_id);
    self->stats.banned++;
    return "its hashes prove nothing";
}

/* NULL, or why it must go. */
static const char *take_leaves(struct torrent *self, struct peer *peer, uint32_t place,
                               const struct hash_range *range, struct bytes hashes, uint64_t now_ms)
{
    const uint32_t piece = self->leaves[place].piece;
    forget_leaves(self, place);
    if (!hash_range_proves(range, hashes, metainfo_piece_root(self->v2, piece)))
        return lies(self, peer);
    /* It may be convicted itself: peer is not to be used from here on. */
    torrent_suspect_leaves(self, piece, hashes.data, now_ms);
    return NULL;
}

/* ---- messages ---- */

static const char *nonsense(struct peer *peer)
{
    return ++peer->faults > PEER_FAULTS_MAX ? "its hash messages make no sense" : NULL;
}

static bool may_give(const struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    if (now_ms - peer->hashes_given_ms >= TORRENT_HASHES_GIVEN_MS) {
        peer->hashes_given_ms = now_ms;
        peer->hashes_given = 0;
    }
    return self->has_metainfo && self->v2 != NULL &&
           peer->hashes_given++ < TORRENT_HASHES_GIVEN_MAX;
}

static void refuse(struct torrent *self, struct peer *peer, struct bytes payload, uint64_t now_ms)
{
    const struct wire_message message = { .kind = WIRE_HASH_REJECT, .payload = payload };
    torrent_send(self, peer, &message, now_ms);
}

static const char *on_request(struct torrent *self, struct peer *peer, struct bytes payload,
                              uint64_t now_ms)
{
    if (!may_give(self, peer, now_ms)) {
        refuse(self, peer, payload, now_ms);
        return NULL;
    }
    const struct torrent_action action = {
        .kind = TORRENT_GIVE_HASHES,
        .peer = peer->number,
        .message = { .kind = WIRE_HASH_REQUEST, .payload = payload },
    };
    torrent_push(self, &action);
    return NULL;
}

void torrent_give_hashes(struct torrent *self, uint32_t number, struct bytes payload,
                         uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    if (peer == NULL)
        return;
    const struct wire_message message = {
        .kind = payload.size > HASH_RANGE_SIZE ? WIRE_HASHES : WIRE_HASH_REJECT,
        .payload = payload,
    };
    /* Not held back, since who waits for hashes waits for all: blocks after it are. */
    if (message.kind == WIRE_HASHES)
        limits_charge(&peer->sending, payload.size);
    torrent_send(self, peer, &message, now_ms);
}

static const char *on_hashes(struct torrent *self, struct peer *peer,
                             const struct hash_range *range, struct bytes hashes, uint64_t now_ms)
{
    const uint32_t place = find_leaves(self, peer, range);
    if (place < self->leaves_count)
        return take_leaves(self, peer, place, range, hashes, now_ms);
    if (!self->wants_layers)
        return nonsense(peer);
    switch (hashes_take(&self->hashes, peer->number, range, hashes)) {
    case HASHES_UNASKED:
        return nonsense(peer);
    case HASHES_BAD:
        return lies(self, peer);
    case HASHES_TAKEN:
        ask_layers(self, peer, now_ms);
        return NULL;
    case HASHES_COMPLETE:
        end_layers(self, true);
        return NULL;
    }
    return NULL;
}

static void on_reject(struct torrent *self, struct peer *peer, const struct hash_range *range,
                      uint64_t now_ms)
{
    const uint32_t place = find_leaves(self, peer, range);
    if (place < self->leaves_count) {
        forget_leaves(self, place);
    } else if (self->wants_layers && hashes_rejected(&self->hashes, peer->number, range)) {
        rest(self, peer, now_ms);
        (void)ask_all(self, now_ms);
    }
}

const char *torrent_hashes_message(struct torrent *self, struct peer *peer,
                                   const struct wire_message *message, uint64_t now_ms)
{
    struct hash_range range;
    struct bytes hashes;
    if (!hash_range_read(message->payload, &range, &hashes) ||
        (message->kind != WIRE_HASHES && hashes.size > 0))
        return "a hash message of a wrong length";
    if (!peer->v2)
        return "a hash message, but it does not take part in v2";
    switch (message->kind) {
    case WIRE_HASH_REQUEST:
        return on_request(self, peer, message->payload, now_ms);
    case WIRE_HASHES:
        return on_hashes(self, peer, &range, hashes, now_ms);
    default:
        on_reject(self, peer, &range, now_ms);
        return NULL;
    }
}

/* ---- time, coming and going ---- */

void torrent_hashes_joined(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    ask_layers(self, peer, now_ms);
}

void torrent_hashes_left(struct torrent *self, const struct peer *peer)
{
    if (self->wants_layers)
        hashes_release(&self->hashes, peer->number);
    for (uint32_t i = 0; i < self->leaves_count; i++)
        if (self->leaves[i].peer == peer->number)
            forget_leaves(self, i--);
}

void torrent_hashes_turn(struct torrent *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->leaves_count; i++)
        if (now_ms - self->leaves[i].asked_ms >= HASHES_ASK_MS)
            forget_leaves(self, i--);
    if (!self->wants_layers)
        return;
    uint32_t silent = 0;
    while (hashes_expire(&self->hashes, now_ms, &silent)) {
        struct peer *peer = torrent_find(self, silent);
        if (peer != NULL)
            rest(self, peer, now_ms);
    }
    if (now_ms >= self->layers_until_ms)
        end_layers(self, false);
    else
        (void)ask_all(self, now_ms);
}
