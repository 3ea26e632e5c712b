/* A torrent among peers that cooperate: who they are, and what a seed gives to whom (plan.h). */
#include "libcommon/memory.h"
#include "services/swarm/torrent_inside.h"

#include <stdlib.h>
#include <string.h>

static bool is_planning(const struct torrent *self)
{
    return self->plan.pieces > 0;
}

/* Has every piece, not only those that were selected. */
static bool is_seed(const struct torrent *self)
{
    return self->has_metainfo && self->complete && picker_has_all(&self->picker);
}

void torrent_plan_tell(struct torrent *self, struct peer *peer, enum plan_message_kind kind,
                       const uint32_t *pieces, uint32_t count, uint64_t now_ms)
{
    struct plan_message message = { .kind = kind, .count = count };
    for (uint32_t i = 0; i < count; i++)
        message.pieces[i] = pieces[i];
    uint8_t buffer[PLAN_MESSAGE_SIZE_MAX];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    plan_message_put(&writer, &message);
    torrent_exchange_send(self, peer, peer->lb_plan, &writer, now_ms);
}

/* ---- as one who is given ---- */

/* Other seeds need not give these. */
static void tell_seeds(struct torrent *self, const struct peer *but,
                       const struct plan_message *gifts, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer != NULL && peer != but && peer->cooperates && peer->everything)
            torrent_plan_tell(self, peer, PLAN_MESSAGE_TAKING, gifts->pieces, gifts->count, now_ms);
    }
}

static bool is_given(const struct peer *peer, uint32_t piece)
{
    for (uint32_t i = 0; i < peer->given_count; i++)
        if (peer->given[i] == piece)
            return true;
    return false;
}

static void forget_gifts(struct torrent *self, struct peer *peer)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < peer->given_count; i++)
        if (!picker_has(&self->picker, peer->given[i]))
            peer->given[kept++] = peer->given[i];
    peer->given_count = kept;
}

/*
 * Other seeds hear of what is new. Not of more than there is place for: from a seed whose gifts do
 * not come, or that gives without end, nothing is to be held back by others for long.
 */
static void take_gifts(struct torrent *self, struct peer *peer, const struct plan_message *gifts,
                       uint64_t now_ms)
{
    struct plan_message told = { .count = 0 };
    forget_gifts(self, peer);
    for (uint32_t i = 0; i < gifts->count; i++) {
        const uint32_t piece = gifts->pieces[i];
        const struct wire_message have = { .kind = WIRE_HAVE, .piece = piece };
        if (piece >= self->picker.shape.pieces || is_given(peer, piece))
            continue;
        if (picker_has(&self->picker, piece)) {
            torrent_send(self, peer, &have, now_ms);
            continue;
        }
        if (peer->given_count == PEER_GIVEN_MAX) {
            peer->given_count--;
            memmove(peer->given, peer->given + 1, peer->given_count * sizeof peer->given[0]);
        } else {
            told.pieces[told.count++] = piece;
        }
        peer->given[peer->given_count++] = piece;
    }
    if (told.count > 0)
        tell_seeds(self, peer, &told, now_ms);
    torrent_fetch_hungry(self, peer);
}

static const char *take_haves(struct torrent *self, struct peer *peer,
                              const struct plan_message *haves, uint64_t now_ms)
{
    const char *fault = NULL;
    for (uint32_t i = 0; i < haves->count && fault == NULL; i++)
        fault = torrent_fetch_have(self, peer, haves->pieces[i], now_ms);
    return fault;
}

const char *torrent_plan_message(struct torrent *self, struct peer *peer, struct bytes payload,
                                 uint64_t now_ms)
{
    struct plan_message message;
    if (!peer->cooperates)
        return NULL;
    const lb_err err = plan_message_read(payload, &message);
    if (err == LB_UNSUPPORTED)
        return NULL;
    if (err != LB_OK)
        return ++peer->faults > PEER_FAULTS_MAX ? "its extension messages make no sense" : NULL;
    switch (message.kind) {
    case PLAN_MESSAGE_FREE:
    case PLAN_MESSAGE_PLANS:
        peer->plans = message.kind == PLAN_MESSAGE_PLANS;
        window_restart(&peer->window);
        torrent_fetch_hungry(self, peer);
        break;
    case PLAN_MESSAGE_GIVE:
        if (self->has_metainfo && !self->complete)
            take_gifts(self, peer, &message, now_ms);
        break;
    case PLAN_MESSAGE_TAKING:
        for (uint32_t i = 0; i < message.count && is_planning(self); i++)
            plan_taken(&self->plan, message.pieces[i], peer->number, now_ms);
        break;
    case PLAN_MESSAGE_HAVE:
        return take_haves(self, peer, &message, now_ms);
    }
    return NULL;
}

void torrent_plan_hello(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    const bool before = peer->cooperates;
    peer->cooperates = cooperate_with(self->options.mode, peer->lb_plan != 0, &peer->address);
    torrent_plan_review(self);
    if (before == peer->cooperates)
        return;
    if (peer->hidden)
        torrent_reveal_all(self, peer, now_ms);
    if (!peer->cooperates)
        return;
    /* First the rule, then the leave: torrent_plan_run() may loosen it at once. */
    if (is_seed(self)) {
        peer->told_plans = true;
        torrent_plan_tell(self, peer, PLAN_MESSAGE_PLANS, NULL, 0, now_ms);
    }
    torrent_give_always(self, peer, now_ms);
}

/* ---- as one who asks ---- */

static uint64_t place_key(const uint8_t *peer_id)
{
    return load_u64(peer_id + WIRE_PEER_ID_SIZE - 8);
}

void torrent_plan_begin(struct torrent *self)
{
    self->held_ms = xcalloc(self->picker.shape.pieces, sizeof *self->held_ms);
    self->wave.held_ms = self->held_ms;
    self->wave.key = place_key(self->options.peer_id);
}

/* It sends us much less than they do on average. */
static bool is_slow(const struct torrent *self, const struct peer *peer)
{
    return peer->received.per_second * self->peers_count * PLAN_SLOW_FACTOR <
           self->received.per_second;
}

const struct wave *torrent_plan_wave(struct torrent *self, const struct peer *peer, uint64_t now_ms)
{
    self->wave.now_ms = (uint32_t)now_ms;
    self->wave.slow = is_slow(self, peer);
    return peer->cooperates ? &self->wave : NULL;
}

bool torrent_plan_waits(struct torrent *self, const struct peer *peer, uint32_t piece,
                        uint64_t now_ms)
{
    if (self->picker.available[piece] > 0)
        return false;
    if (peer->everything)
        return true;
    struct wave its = self->wave;
    its.key = place_key(peer->peer_id);
    its.now_ms = (uint32_t)now_ms;
    its.slow = false;
    return wave_has_come(&its, piece, self->picker.seeds + 1);
}

/* How many cooperate and lack something, with ourselves. */
static void count_line(struct torrent *self)
{
    self->wave.peers = 1;
    for (uint32_t i = 0; i < self->slots; i++)
        self->wave.peers +=
            self->peers[i] != NULL && self->peers[i]->cooperates && !self->peers[i]->everything;
}

/* ---- as a seed ---- */

void torrent_plan_review(struct torrent *self)
{
    self->plan_due = true;
}

/* Who does not say how long the metadata is has none yet, and can ask for nothing. */
static bool may_be_given(const struct peer *peer)
{
    if (peer != NULL && peer->hidden)
        return torrent_reveal_may(peer);
    return peer != NULL && peer->cooperates && !peer->everything && !peer->upload_only &&
           peer->metadata_size != 0;
}

/* One alone may as well choose for itself; a stranger only if no others come. */
static bool has_company(const struct torrent *self, uint64_t now_ms)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (peer != NULL && peer->hidden)
            count += 1u + (now_ms - peer->joined_ms < REVEAL_COMPANY_MS);
        else
            count += may_be_given(peer);
    }
    return count > 1;
}

static void count_gifts(struct torrent *self)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL)
            self->peers[i]->gifts = 0;
    for (uint32_t i = 0; i < self->plan.gifts_count; i++) {
        struct peer *peer = torrent_find(self, self->plan.gifts[i].peer);
        if (peer != NULL && self->plan.gifts[i].ours)
            peer->gifts++;
    }
}

/* Those who may be given something. */
static uint32_t list_peers(struct torrent *self, struct plan_peer *ret_peers)
{
    uint32_t count = 0;
    count_gifts(self);
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (!may_be_given(peer))
            continue;
        ret_peers[count++] = (struct plan_peer){
            .peer = peer->number,
            .under_way = peer->gifts,
            .given_ms = peer->gift_ms,
            .latency_ms = peer->gift_latency_ms,
        };
    }
    plan_rank(ret_peers, count);
    return count;
}

static void tell_mode(struct torrent *self, bool plans, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer != NULL && peer->hidden && !plans)
            torrent_reveal_all(self, peer, now_ms);
        if (peer == NULL || !peer->cooperates || peer->told_plans == plans)
            continue;
        peer->told_plans = plans;
        torrent_plan_tell(self, peer, plans ? PLAN_MESSAGE_PLANS : PLAN_MESSAGE_FREE, NULL, 0,
                          now_ms);
    }
}

static void give(struct torrent *self, uint32_t piece, struct plan_peer *to, uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, to->peer);
    plan_give(&self->plan, piece, to->peer, now_ms);
    to->under_way++;
    to->given_ms = now_ms;
    peer->gift_ms = now_ms;
    if (peer->hidden)
        torrent_reveal(self, peer, piece, now_ms);
    else
        torrent_plan_tell(self, peer, PLAN_MESSAGE_GIVE, &piece, 1, now_ms);
}

static bool has_room(struct torrent *self, uint64_t now_ms)
{
    return plan_has_room(&self->plan, torrent_upload_room(self), now_ms);
}

static void give_more(struct torrent *self, uint64_t now_ms)
{
    struct plan_peer *peers = xcalloc(self->slots + 1, sizeof *peers);
    const uint32_t count = list_peers(self, peers);
    uint32_t piece = plan_piece(&self->plan, self->picker.available);
    while (count > 0 && piece != PLAN_NOBODY && has_room(self, now_ms)) {
        give(self, piece, &peers[plan_choose(peers, count)], now_ms);
        piece = plan_piece(&self->plan, self->picker.available);
    }
    free(peers);
}

void torrent_plan_run(struct torrent *self, uint64_t now_ms)
{
    if (!self->plan_due)
        return;
    self->plan_due = false;
    count_line(self);
    if (!is_seed(self)) {
        /* It was one, and lost a piece: nobody is to wait for its gifts. */
        tell_mode(self, false, now_ms);
        return;
    }
    if (!is_planning(self))
        plan_init(&self->plan, self->picker.shape.pieces, self->picker.shape.piece_size,
                  self->random);
    const bool plans =
        plan_piece(&self->plan, self->picker.available) != PLAN_NOBODY && has_company(self, now_ms);
    tell_mode(self, plans, now_ms);
    if (plans && has_room(self, now_ms))
        give_more(self, now_ms);
}

void torrent_plan_came(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms)
{
    self->held_ms[piece] = (uint32_t)now_ms;
    if (!is_planning(self))
        return;
    uint32_t ms = 0;
    if (plan_came(&self->plan, piece, peer->number, now_ms, &ms)) {
        const uint32_t before = peer->gift_latency_ms != 0 ? peer->gift_latency_ms : ms;
        peer->gift_latency_ms = (before * 3 + ms) / 4 + 1;
    }
    self->plan_due = true;
}

/* What it asks for by itself is as good as given. */
void torrent_plan_asked(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms)
{
    if (!is_planning(self))
        return;
    if ((peer->cooperates || peer->hidden) && self->picker.available[piece] == 0 &&
        !self->plan.under_way[piece] && self->plan.ours_count < PLAN_GIFTS_MAX)
        plan_give(&self->plan, piece, peer->number, now_ms);
    plan_asked(&self->plan, piece);
}

void torrent_plan_left(struct torrent *self, const struct peer *peer)
{
    self->plan_due |= peer->cooperates;
    if (is_planning(self))
        plan_left(&self->plan, peer->number);
}

void torrent_plan_turn(struct torrent *self, uint64_t now_ms)
{
    self->plan_due = true;
    if (!is_planning(self))
        return;
    plan_set_rate(&self->plan, self->sent.per_second);
    plan_turn(&self->plan, now_ms);
}
