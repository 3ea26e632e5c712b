#include "services/swarm/torrent.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/torrent_inside.h"

#include <assert.h>
#include <stdlib.h>

const char torrent_both_complete[] = "both have everything";

/* ---- life ---- */

void torrent_init(struct torrent *self, const struct torrent_options *options,
                  struct random *random, uint64_t now_ms)
{
    *self = (struct torrent){
        .options = *options,
        .random = random,
        .metadata_alone = PICKER_NOBODY,
        .again_ms = UINT64_MAX,
        .next_announce_ms = now_ms,
        .next_turn_ms = now_ms + TORRENT_TURN_MS,
        .haves_due_ms = UINT64_MAX,
        .uploads = { .ahead = UPLOAD_AHEAD_NEW },
        .received = { .window_ms = now_ms },
        .sent = { .window_ms = now_ms },
    };
    if (self->options.peers_max > TORRENT_PEERS_MAX)
        self->options.peers_max = TORRENT_PEERS_MAX;
    if (self->options.fetch_policy == NULL)
        self->options.fetch_policy = &choke_rate_for_rate;
    if (self->options.seed_policy == NULL)
        self->options.seed_policy = &choke_by_turns;
    metadata_init(&self->metadata);
    candidates_init(&self->candidates);
    suspects_init(&self->suspects);
    choke_init(&self->choke, options->upload_slots);
    self->choke.next_round_ms = now_ms + CHOKE_ROUND_MS;
}

void torrent_set_numbers(struct torrent *self, const struct torrent_numbers *numbers)
{
    struct torrent_options *options = &self->options;
    options->peers_max =
        numbers->peers_max < TORRENT_PEERS_MAX ? numbers->peers_max : TORRENT_PEERS_MAX;
    options->peers_wanted = numbers->peers_wanted;
    options->upload_slots = numbers->upload_slots;
    options->announce_interval_ms = numbers->announce_interval_ms;
    self->choke.slots = numbers->upload_slots;
}

void torrent_done(struct torrent *self)
{
    for (uint32_t i = 0; i < self->slots; i++)
        peer_free(&self->peers[i]);
    for (uint32_t i = 0; i < self->actions_count; i++)
        free(self->actions[(self->actions_head + i) % self->actions_capacity].owned);
    free(self->lent);
    free(self->actions);
    free(self->hungry);
    free(self->peers);
    outcomes_done(&self->outcomes);
    candidates_done(&self->candidates);
    suspects_done(&self->suspects);
    metadata_done(&self->metadata);
    hashes_done(&self->hashes);
    if (self->has_metainfo)
        picker_done(&self->picker);
    plan_done(&self->plan);
    free(self->held_ms);
    torrent_webseed_done(self);
    *self = (struct torrent){ 0 };
}

static uint32_t places(uint32_t bytes, uint32_t piece_size)
{
    uint32_t open = bytes / piece_size;
    if (open < TORRENT_OPEN_MIN)
        open = TORRENT_OPEN_MIN;
    return open < TORRENT_OPEN_MAX ? open : TORRENT_OPEN_MAX;
}

void torrent_become_complete(struct torrent *self, uint64_t now_ms)
{
    self->complete = true;
    torrent_push(self, &(struct torrent_action){ .kind = TORRENT_COMPLETE });
    torrent_plan_review(self);
    const bool all = picker_has_all(&self->picker);
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer **peer = &self->peers[i];
        /* It was not told of what it had itself. */
        if (all && *peer != NULL && (*peer)->cooperates && (*peer)->fast)
            torrent_send_kind(self, *peer, WIRE_HAVE_ALL, now_ms);
        if (*peer == NULL || !(*peer)->everything)
            continue;
        /* It hears no HAVE from us, so it is told that there is no need to call again (BEP 21). */
        if ((*peer)->extended)
            torrent_exchange_hello(self, *peer, now_ms);
        torrent_report_last(self, *peer, now_ms);
        if (!self->facts.verify || self->facts.verified || (*peer)->lb_report == 0)
            torrent_drop(self, peer, torrent_both_complete, now_ms);
    }
    self->announce_tries = 0;
    self->next_announce_ms = now_ms;
}

/* What peers said before we knew how many pieces there are. */
static void review_peer(struct torrent *self, struct peer **peer, uint64_t now_ms)
{
    (*peer)->block_size = self->picker.shape.block_size;
    if (!peer_fit_pieces(*peer, self->picker.shape.pieces)) {
        (*peer)->pieces_count = 0;
        (*peer)->everything = false;
        torrent_drop(self, peer, "its bitfield does not fit", now_ms);
        return;
    }
    torrent_fetch_count(self, *peer);
    if ((*peer)->extended)
        torrent_exchange_hello(self, *peer, now_ms);
    if ((*peer)->cooperates)
        torrent_give_always(self, *peer, now_ms);
    for (uint32_t i = 0; i < self->picker.shape.pieces && !self->complete; i++) {
        if (!picker_has(&self->picker, i))
            continue;
        const struct wire_message have = { .kind = WIRE_HAVE, .piece = i };
        torrent_send(self, *peer, &have, now_ms);
    }
    torrent_fetch_interest(self, *peer, now_ms);
}

void torrent_begin(struct torrent *self, struct bytes info, struct picker_shape shape,
                   const uint8_t *have, uint64_t now_ms)
{
    assert(!self->has_metainfo);
    picker_init(&self->picker, shape, places(TORRENT_OPEN_BYTES, shape.piece_size), self->random);
    picker_set_usual(&self->picker, places(TORRENT_OPEN_USUAL, shape.piece_size));
    self->has_metainfo = true;
    torrent_plan_begin(self);
    self->info = info;
    metadata_done(&self->metadata);
    hashes_done(&self->hashes);
    self->wants_layers = self->layers_here = false;
    for (uint32_t i = 0; have != NULL && i < shape.pieces; i++)
        if (bitfield_has(have, i))
            picker_set_have(&self->picker, i);
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL)
            review_peer(self, &self->peers[i], now_ms);
    if (picker_is_complete(&self->picker))
        torrent_become_complete(self, now_ms);
}

/* Whom we have nothing to get from any more goes, others hear that we want something again. */
static void selection_changed(struct torrent *self, uint64_t now_ms)
{
    const bool complete = picker_is_complete(&self->picker);
    if (complete && !self->complete) {
        torrent_become_complete(self, now_ms);
        return;
    }
    if (complete || !self->complete)
        return;
    self->complete = false;
    self->announce_tries = 0;
    self->next_announce_ms = now_ms;
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL && self->peers[i]->extended)
            torrent_exchange_hello(self, self->peers[i], now_ms);
    torrent_connect_more(self, now_ms);
}

void torrent_select(struct torrent *self, const uint8_t *pieces, uint64_t now_ms)
{
    assert(self->has_metainfo);
    picker_select(&self->picker, pieces);
    for (uint32_t i = 0; i < self->slots; i++) {
        if (self->peers[i] == NULL)
            continue;
        torrent_fetch_recount(self, self->peers[i]);
        torrent_fetch_interest(self, self->peers[i], now_ms);
    }
    self->endgame = false;
    self->refill = true;
    selection_changed(self, now_ms);
}

void torrent_set_here(struct torrent *self, const struct address *here)
{
    candidates_set_here(&self->candidates, here);
}

void torrent_set_private(struct torrent *self, bool is_private)
{
    self->is_private = is_private;
}

void torrent_set_v2(struct torrent *self, const struct metainfo *metainfo)
{
    self->v2 = metainfo;
}

void torrent_refuse_metadata(struct torrent *self)
{
    metadata_done(&self->metadata);
    self->paused = true;
}

void torrent_pause(struct torrent *self, bool paused, uint64_t now_ms)
{
    if (self->paused && !paused) {
        self->refill = true;
        self->paused = false;
        torrent_connect_more(self, now_ms);
    }
    self->paused = paused;
}

/* ---- actions ---- */

void torrent_push(struct torrent *self, const struct torrent_action *action)
{
    if (self->actions_count == self->actions_capacity) {
        const uint32_t capacity = self->actions_capacity == 0 ? 16 : 2 * self->actions_capacity;
        struct torrent_action *actions = xcalloc(capacity, sizeof *actions);
        for (uint32_t i = 0; i < self->actions_count; i++)
            actions[i] = self->actions[(self->actions_head + i) % self->actions_capacity];
        free(self->actions);
        self->actions = actions;
        self->actions_head = 0;
        self->actions_capacity = capacity;
    }
    struct torrent_action *to =
        &self->actions[(self->actions_head + self->actions_count++) % self->actions_capacity];
    *to = *action;
    to->owned = NULL;
    if (action->message.payload.size > 0 &&
        (action->kind == TORRENT_SEND || action->kind == TORRENT_GIVE_HASHES)) {
        to->owned = xmemdup(action->message.payload.data, action->message.payload.size);
        to->message.payload.data = to->owned;
    }
}

void torrent_send(struct torrent *self, struct peer *peer, const struct wire_message *message,
                  uint64_t now_ms)
{
    if (peer->haves_count > 0)
        torrent_have_flush(self, peer, now_ms);
    peer->sent_ms = now_ms;
    const struct torrent_action action = {
        .kind = TORRENT_SEND,
        .peer = peer->number,
        .message = *message,
    };
    torrent_push(self, &action);
}

void torrent_send_kind(struct torrent *self, struct peer *peer, enum wire_kind kind,
                       uint64_t now_ms)
{
    torrent_send(self, peer, &(struct wire_message){ .kind = kind }, now_ms);
}

static void feed_hungry(struct torrent *self, uint64_t now_ms)
{
    if (self->refill) {
        self->refill = false;
        for (uint32_t i = 0; i < self->slots; i++)
            if (self->peers[i] != NULL)
                torrent_fetch_hungry(self, self->peers[i]);
    }
    while (self->hungry_count > 0) {
        struct peer *peer = self->peers[self->hungry[--self->hungry_count]];
        if (peer != NULL && peer->hungry)
            torrent_fetch_fill(self, peer, now_ms);
    }
}

bool torrent_next(struct torrent *self, uint64_t now_ms, struct torrent_action *ret_action)
{
    free(self->lent);
    self->lent = NULL;
    if (self->actions_count == 0)
        torrent_plan_run(self, now_ms);
    if (self->actions_count == 0)
        feed_hungry(self, now_ms);
    if (self->actions_count == 0)
        return false;
    *ret_action = self->actions[self->actions_head];
    self->lent = ret_action->owned;
    self->actions_head = (self->actions_head + 1) % self->actions_capacity;
    self->actions_count--;
    return true;
}

/* ---- looking ---- */

uint64_t torrent_have_bytes(const struct torrent *self)
{
    return self->has_metainfo ? self->picker.have_bytes : 0;
}

uint64_t torrent_copies_permille(const struct torrent *self)
{
    uint64_t least = UINT64_MAX;
    uint64_t more = 0;
    if (!self->has_metainfo)
        return 0;
    const uint32_t pieces = self->picker.shape.pieces;
    for (uint32_t i = 0; i < pieces; i++) {
        const uint64_t copies =
            self->picker.available[i] + self->picker.seeds + picker_has(&self->picker, i);
        if (copies < least) {
            more = i; /* all before it are there more often */
            least = copies;
        } else {
            more += copies > least;
        }
    }
    return least * 1000 + more * 1000 / pieces;
}

void torrent_get_stats(const struct torrent *self, struct torrent_stats *ret_stats)
{
    *ret_stats = self->stats;
    ret_stats->received_bytes = self->received.total;
    ret_stats->sent_bytes = self->sent.total;
    ret_stats->receive_rate = self->received.per_second;
    ret_stats->send_rate = self->sent.per_second;
    ret_stats->peers = self->peers_count;
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (peer == NULL)
            continue;
        ret_stats->seeds += peer->everything;
        ret_stats->unchoking_us += !peer->choking;
    }
}

static void check_peer(const struct torrent *self, const struct peer *peer, uint32_t *available)
{
    uint32_t wanted = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->picker.shape.pieces; i++) {
        const bool has = peer_has(peer, i);
        count += has;
        wanted += has && picker_wants(&self->picker, i);
        available[i] += has && !peer->everything;
    }
    assert(peer->pieces_count == count);
    assert(peer->wanted == wanted);
    assert(!peer->everything || count == self->picker.shape.pieces);
    assert(peer->asks_late <= peer->asks_count);
}

void torrent_check(const struct torrent *self)
{
    uint32_t count = 0;
    uint64_t uploading = 0;
    for (uint32_t i = 0; i < self->slots; i++) {
        count += self->peers[i] != NULL;
        if (self->peers[i] != NULL && !self->peers[i]->upload_lags)
            uploading += self->peers[i]->sending_bytes;
    }
    assert(count == self->peers_count);
    assert(uploading == self->uploads.bytes);
    suspects_check(&self->suspects);
    if (!self->has_metainfo)
        return;
    picker_check(&self->picker);
    uint32_t *available = xcalloc(self->picker.shape.pieces, sizeof *available);
    uint32_t seeds = 0;
    for (uint32_t i = 0; i < self->slots; i++) {
        if (self->peers[i] == NULL)
            continue;
        seeds += self->peers[i]->everything;
        check_peer(self, self->peers[i], available);
    }
    assert(seeds == self->picker.seeds);
    for (uint32_t i = 0; i < self->picker.shape.pieces; i++)
        assert(available[i] == self->picker.available[i]);
    free(available);
}
