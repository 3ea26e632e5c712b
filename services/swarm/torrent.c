#include "services/swarm/torrent.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/torrent_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* While there are no peers, or no node took the announcement, look again after these. */
static const uint32_t announce_again_ms[] = { 2000, 5000, 10000, 30000 };
#define ANNOUNCE_STEPS  (sizeof announce_again_ms / sizeof announce_again_ms[0])
#define ANNOUNCE_FEW_MS 60000u /* and this often while there are few */
#define ANNOUNCE_FEW    4u

static const char both_complete[] = "both have everything";

static_assert(TORRENT_PEERS_MAX <= TORRENT_SLOTS, "a slot fits its part of a number");

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
    *self = (struct torrent){ 0 };
}

static uint32_t open_max(uint32_t piece_size)
{
    uint32_t open = TORRENT_OPEN_BYTES / piece_size;
    if (open < TORRENT_OPEN_MIN)
        open = TORRENT_OPEN_MIN;
    return open < TORRENT_OPEN_MAX ? open : TORRENT_OPEN_MAX;
}

static void become_complete(struct torrent *self, uint64_t now_ms)
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
            torrent_drop(self, peer, both_complete, now_ms);
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
    picker_init(&self->picker, shape, open_max(shape.piece_size), self->random);
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
        become_complete(self, now_ms);
}

/* Whom we have nothing to get from any more goes, others hear that we want something again. */
static void selection_changed(struct torrent *self, uint64_t now_ms)
{
    const bool complete = picker_is_complete(&self->picker);
    if (complete && !self->complete) {
        become_complete(self, now_ms);
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

/* ---- peers ---- */

struct peer *torrent_find(const struct torrent *self, uint32_t number)
{
    const uint32_t slot = number % TORRENT_SLOTS;
    if (slot >= self->slots || self->peers[slot] == NULL || self->peers[slot]->number != number)
        return NULL;
    return self->peers[slot];
}

const struct peer *torrent_peer(const struct torrent *self, uint32_t peer)
{
    return torrent_find(self, peer);
}

void torrent_connect_more(struct torrent *self, uint64_t now_ms)
{
    if (self->paused)
        return;
    struct address address;
    while (self->candidates.connecting < TORRENT_CONNECTING_MAX &&
           self->peers_count + self->candidates.connecting < self->options.peers_wanted &&
           candidates_next(&self->candidates, self->complete, self->random, now_ms, &address)) {
        const struct torrent_action action = { .kind = TORRENT_CONNECT, .address = address };
        torrent_push(self, &action);
    }
}

void torrent_add_address(struct torrent *self, const struct address *address, bool seed,
                         uint64_t now_ms)
{
    if (candidates_add(&self->candidates, address, seed))
        torrent_connect_more(self, now_ms);
}

void torrent_call_address(struct torrent *self, const struct address *address, uint64_t now_ms)
{
    (void)candidates_add(&self->candidates, address, false);
    struct candidate *item = candidates_find(&self->candidates, address);
    if (item == NULL)
        return;
    item->failures = 0;
    item->next_try_ms = now_ms;
    item->seed = false;
    torrent_connect_more(self, now_ms);
}

void torrent_connect_failed(struct torrent *self, const struct address *address, uint64_t now_ms)
{
    candidates_left(&self->candidates, address, 0, now_ms);
    torrent_connect_more(self, now_ms);
}

static struct peer *find_id(const struct torrent *self, const uint8_t *peer_id)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL &&
            memcmp(self->peers[i]->peer_id, peer_id, sizeof self->peers[i]->peer_id) == 0)
            return self->peers[i];
    return NULL;
}

/* A second connection to the same peer; true: the new one is to replace the old. */
static bool new_one_stays(const struct torrent *self, const struct peer *old,
                          const struct torrent_hello *hello)
{
    if (old->outgoing == hello->outgoing)
        return false;
    /* Both called each other: both ends keep the call of the greater peer id. */
    const bool ours_wins =
        memcmp(self->options.peer_id, hello->handshake->peer_id, sizeof self->options.peer_id) > 0;
    return hello->outgoing == ours_wins;
}

/* The address we called is where `peer`, whom we have already, can be reached. */
static void learn_address(struct torrent *self, struct peer *peer, const struct address *address)
{
    if (peer->listens.port == 0) {
        peer->listens = *address;
        (void)candidates_add(&self->candidates, address, false);
    }
    if (address_equal(&peer->listens, address))
        candidates_connected(&self->candidates, address);
    else
        candidates_remove(&self->candidates, address);
}

/*
 * When all places are taken: the one longest here of those that exchanged nothing, neither wanted
 * nor offered anything for a moment, or did not make use of it for a while. NULL: all are of use.
 */
static struct peer *find_idle(const struct torrent *self, uint64_t now_ms)
{
    struct peer *found = NULL;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer == NULL || peer->received.total > 0 || peer->sent.total > 0)
            continue;
        const bool wanted = peer->interested || peer->am_interested;
        if (now_ms - peer->joined_ms < (wanted ? TORRENT_UNUSED_MS : TORRENT_UNWANTED_MS))
            continue;
        if (found == NULL || peer->joined_ms < found->joined_ms)
            found = peer;
    }
    return found;
}

static lb_err may_join(struct torrent *self, const struct torrent_hello *hello, uint64_t now_ms)
{
    const uint8_t *peer_id = hello->handshake->peer_id;
    if (memcmp(peer_id, self->options.peer_id, sizeof self->options.peer_id) == 0) {
        candidates_own(&self->candidates, &hello->address);
        return LB_DENIED;
    }
    if (candidates_is_banned(&self->candidates, &hello->address, peer_id)) {
        candidates_remove(&self->candidates, &hello->address);
        return LB_DENIED;
    }
    struct peer *old = find_id(self, peer_id);
    if (old != NULL && !new_one_stays(self, old, hello)) {
        if (hello->outgoing)
            learn_address(self, old, &hello->address);
        return LB_EXISTS;
    }
    if (old != NULL)
        torrent_drop(self, &old, "a second connection to it stays", now_ms);
    struct peer *idle =
        self->peers_count >= self->options.peers_max ? find_idle(self, now_ms) : NULL;
    if (idle != NULL)
        torrent_drop(self, &idle, "another is given its place", now_ms);
    if (self->peers_count >= self->options.peers_max) {
        if (hello->outgoing)
            candidates_left(&self->candidates, &hello->address, 0, now_ms);
        return LB_FULL;
    }
    return LB_OK;
}

static uint32_t free_slot(struct torrent *self)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] == NULL)
            return i;
    const uint32_t old = self->slots;
    self->slots = old == 0 ? 8 : 2 * old;
    if (self->slots > TORRENT_SLOTS)
        self->slots = TORRENT_SLOTS;
    self->peers = xrealloc(self->peers, self->slots * sizeof(struct peer *));
    self->hungry = xrealloc(self->hungry, self->slots * sizeof *self->hungry);
    memset(self->peers + old, 0, (self->slots - old) * sizeof(struct peer *));
    return old;
}

/* The first thing a peer hears: what we have (BEP 3, BEP 6), then what we can (BEP 10). */
static void greet(struct torrent *self, struct peer *peer, bool dht, uint64_t now_ms)
{
    const struct picker *picker = &self->picker;
    const uint32_t pieces = self->has_metainfo ? picker->shape.pieces : 0;
    const bool nothing = !self->has_metainfo || picker->have == 0;
    if (nothing && peer->fast) {
        torrent_send_kind(self, peer, WIRE_HAVE_NONE, now_ms);
    } else if (!nothing && picker_has_all(picker) && peer->fast) {
        torrent_send_kind(self, peer, WIRE_HAVE_ALL, now_ms);
    } else if (!nothing) {
        uint8_t *bits = xcalloc(bitfield_size(pieces), 1);
        for (uint32_t i = 0; i < pieces; i++)
            if (picker_has(picker, i))
                bitfield_set(bits, i);
        const struct wire_message message = {
            .kind = WIRE_BITFIELD,
            .payload = bytes_of(bits, bitfield_size(pieces)),
        };
        torrent_send(self, peer, &message, now_ms);
        free(bits);
    }
    torrent_give_grant(self, peer, now_ms);
    if (peer->extended)
        torrent_exchange_hello(self, peer, now_ms);
    if (dht && self->options.dht_port != 0 && !self->is_private) {
        const struct wire_message port = { .kind = WIRE_PORT, .port = self->options.dht_port };
        torrent_send(self, peer, &port, now_ms);
    }
}

lb_err torrent_join(struct torrent *self, const struct torrent_hello *hello, uint64_t now_ms,
                    uint32_t *ret_peer)
{
    const lb_err err = may_join(self, hello, now_ms);
    if (err != LB_OK)
        return err;
    const uint32_t slot = free_slot(self);
    struct peer *peer = peer_new(hello->handshake, &hello->address, hello->outgoing, now_ms);
    peer->number = self->serial++ % (UINT32_MAX / TORRENT_SLOTS) * TORRENT_SLOTS + slot;
    if (self->has_metainfo)
        peer->block_size = self->picker.shape.block_size;
    self->peers[slot] = peer;
    limits_flow_init(&peer->receiving, self->options.limits, peer->number, LIMITS_RECEIVE,
                     &peer->address);
    limits_flow_init(&peer->sending, self->options.limits, peer->number, LIMITS_SEND,
                     &peer->address);
    if (self->peers_count++ == 0)
        self->next_turn_ms = now_ms + TORRENT_TURN_MS;
    if (hello->outgoing)
        candidates_connected(&self->candidates, &hello->address);
    peer->v2 = hello->v2;
    greet(self, peer, hello->handshake->dht, now_ms);
    torrent_hashes_joined(self, peer, now_ms);
    *ret_peer = peer->number;
    return LB_OK;
}

static void remember_departed(struct torrent *self, const struct peer *peer, uint64_t now_ms)
{
    if (peer->listens.port == 0)
        return;
    self->departed[self->departed_count++ % TORRENT_LEFT_MAX] =
        (struct torrent_departed){ .address = peer->listens, .left_ms = now_ms };
}

static void forget_peer(struct torrent *self, struct peer **peer, uint64_t now_ms)
{
    const uint32_t slot = (*peer)->number % TORRENT_SLOTS;
    const bool gave_place = !(*peer)->am_choking;
    torrent_fetch_release(self, *peer);
    torrent_upload_left(self, *peer, now_ms);
    torrent_fetch_uncount(self, *peer);
    torrent_exchange_left(self, *peer);
    torrent_suspect_left(self, *peer);
    torrent_plan_left(self, *peer);
    torrent_report_left(self, *peer, now_ms);
    torrent_hashes_left(self, *peer);
    remember_departed(self, *peer, now_ms);
    if ((*peer)->listens.port != 0) {
        struct candidate *item = candidates_find(&self->candidates, &(*peer)->listens);
        if (item != NULL)
            item->seed = (*peer)->everything || (*peer)->upload_only;
        candidates_left(&self->candidates, &(*peer)->listens, now_ms - (*peer)->joined_ms, now_ms);
    }
    struct peer *gone = *peer;
    self->peers[slot] = NULL;
    *peer = NULL;
    peer_free(&gone);
    self->peers_count--;
    if (gave_place)
        torrent_give_fill(self, now_ms);
    if (self->peers_count == 0 && !self->complete) {
        self->announce_tries = 0;
        if (self->next_announce_ms > now_ms + announce_again_ms[0])
            self->next_announce_ms = now_ms + announce_again_ms[0];
    }
}

void torrent_drop(struct torrent *self, struct peer **peer, const char *reason, uint64_t now_ms)
{
    const struct torrent_action action = {
        .kind = TORRENT_DISCONNECT,
        .peer = (*peer)->number,
        .address = (*peer)->address,
        .reason = reason,
    };
    torrent_push(self, &action);
    forget_peer(self, peer, now_ms);
}

void torrent_ban(struct torrent *self, struct peer **peer, const char *reason, uint64_t now_ms)
{
    const struct address address = (*peer)->listens.port != 0 ? (*peer)->listens : (*peer)->address;
    candidates_ban(&self->candidates, &address, (*peer)->peer_id);
    self->stats.banned++;
    torrent_drop(self, peer, reason, now_ms);
}

void torrent_left(struct torrent *self, uint32_t number, uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    if (peer != NULL)
        forget_peer(self, &peer, now_ms);
}

/* ---- messages ---- */

/*
 * A message that costs its sender nothing and brings nobody any further. A few are the life of
 * every connection; who sends them without end wants our time, and does not get it.
 */
static bool is_talk(const struct torrent *self, const struct peer *peer,
                    const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_HAVE:
        return peer_has(peer, message->piece);
    case WIRE_REQUEST:
        return (peer->am_choking && peer->granted_bytes == 0) || !self->has_metainfo ||
               peer->wishes_count == PEER_WISHES_MAX;
    case WIRE_PIECE: /* counted by themselves: PEER_FAULTS_MAX, RESTATED_MAX */
    case WIRE_BITFIELD:
    case WIRE_HAVE_ALL:
        return false;
    case WIRE_EXTENDED: /* who cooperates is trusted, and its plan may come piece by piece */
        return !peer->cooperates || message->extended != EXTENSION_LB_PLAN;
    default:
        return true;
    }
}

static const char *handle(struct torrent *self, struct peer *peer,
                          const struct wire_message *message, uint64_t now_ms,
                          enum torrent_verdict *ret_verdict)
{
    switch (message->kind) {
    case WIRE_CHOKE:
        torrent_fetch_choked(self, peer);
        return NULL;
    case WIRE_UNCHOKE:
        peer->choking = false;
        torrent_fetch_hungry(self, peer);
        return NULL;
    case WIRE_INTERESTED:
    case WIRE_NOT_INTERESTED:
        torrent_give_interested(self, peer, message->kind == WIRE_INTERESTED, now_ms);
        return NULL;
    case WIRE_HAVE:
        return torrent_fetch_have(self, peer, message->piece, now_ms);
    case WIRE_BITFIELD:
        return torrent_fetch_bitfield(self, peer, message->payload, now_ms);
    case WIRE_HAVE_ALL:
        return torrent_fetch_have_all(self, peer, now_ms);
    case WIRE_HAVE_NONE:
        peer->told_pieces = true;
        return NULL;
    case WIRE_REQUEST:
        return torrent_give_request(self, peer, message, now_ms);
    case WIRE_CANCEL:
        torrent_give_cancel(self, peer, message, now_ms);
        return NULL;
    case WIRE_PIECE:
        return torrent_fetch_block(self, peer, message, now_ms, ret_verdict);
    case WIRE_REJECT:
        return torrent_fetch_reject(self, peer, message, now_ms);
    case WIRE_ALLOWED_FAST:
        return torrent_fetch_allowed(self, peer, message->piece);
    case WIRE_EXTENDED:
        return torrent_exchange_message(self, peer, message, now_ms);
    case WIRE_HASH_REQUEST:
    case WIRE_HASHES:
    case WIRE_HASH_REJECT:
        return torrent_hashes_message(self, peer, message, now_ms);
    case WIRE_SUGGEST:
        return torrent_fetch_suggested(self, peer, message->piece);
    case WIRE_PORT:
    case WIRE_KEEPALIVE:
    case WIRE_UNKNOWN:
        return NULL;
    }
    return NULL;
}

enum torrent_verdict torrent_message(struct torrent *self, uint32_t number,
                                     const struct wire_message *message, uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    enum torrent_verdict verdict = TORRENT_DONE;
    if (peer == NULL)
        return verdict;
    peer->received_ms = now_ms;
    const bool floods = is_talk(self, peer, message) && !allowance_take(&peer->talk, now_ms);
    const char *fault =
        floods ? "it talks without end" : handle(self, peer, message, now_ms, &verdict);
    if (fault != NULL) {
        torrent_drop(self, &peer, fault, now_ms);
        return TORRENT_DONE;
    }
    /* Hashes it gave may have convicted itself. */
    peer = torrent_find(self, number);
    if (peer == NULL)
        return TORRENT_DONE;
    /* Two seeds have nothing to say to each other. */
    torrent_report_look(self, peer, now_ms);
    if (torrent_report_is_over(self, peer, now_ms))
        torrent_drop(self, &peer, both_complete, now_ms);
    return verdict;
}

/* ---- content ---- */

/* was_wanted: it was among what is wanted of the peers that have it. */
static void piece_is_here(struct torrent *self, uint32_t piece, bool was_wanted, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer == NULL)
            continue;
        /* Of those we cooperate with, seeds want to know what has come through (plan.h); who has
         * the piece has no use for it. */
        if (peer->cooperates ? peer->everything || !peer_has(peer, piece) : !peer->everything)
            torrent_have_tell(self, peer, piece, now_ms);
        if (was_wanted && peer_has(peer, piece)) {
            peer->wanted--;
            torrent_fetch_interest(self, peer, now_ms);
        }
    }
    if (!self->complete && picker_is_complete(&self->picker))
        become_complete(self, now_ms);
}

bool torrent_wants_digests(const struct torrent *self, uint32_t piece)
{
    return suspects_wants(&self->suspects, piece);
}

void torrent_verified(struct torrent *self, uint32_t piece, lb_err result, uint64_t now_ms)
{
    torrent_judged(self, piece, result, NULL, now_ms);
}

static void piece_is_bad(struct torrent *self, uint32_t piece, const uint8_t *digests,
                         const uint32_t *from, uint64_t now_ms)
{
    self->stats.bad_pieces++;
    self->stats.wasted_bytes += picker_piece_size(&self->picker, piece);
    torrent_suspect_bad(self, piece, digests, from, now_ms);
}

void torrent_judged(struct torrent *self, uint32_t piece, lb_err result, const uint8_t *digests,
                    uint64_t now_ms)
{
    if (!self->has_metainfo || piece >= self->picker.shape.pieces ||
        self->picker.state[piece] != PICKER_CHECKING)
        return;
    uint32_t *from = xcalloc(picker_block_count(&self->picker, piece), sizeof *from);
    picker_senders(&self->picker, piece, from);
    picker_verified(&self->picker, piece, result == LB_OK);
    self->refill |= result != LB_OK;
    self->endgame &= result == LB_OK;
    if (result == LB_OK) {
        torrent_suspect_good(self, piece, digests, from, now_ms);
        piece_is_here(self, piece, true, now_ms);
    } else if (result == LB_CORRUPT) {
        piece_is_bad(self, piece, digests, from, now_ms);
    }
    free(from);
}

void torrent_found(struct torrent *self, uint32_t piece, uint64_t now_ms)
{
    if (!self->has_metainfo || piece >= self->picker.shape.pieces ||
        (self->picker.state[piece] != PICKER_MISSING &&
         self->picker.state[piece] != PICKER_UNSELECTED))
        return;
    const bool was_wanted = picker_wants(&self->picker, piece);
    picker_set_have(&self->picker, piece);
    suspects_forget(&self->suspects, piece);
    piece_is_here(self, piece, was_wanted, now_ms);
}

void torrent_lost(struct torrent *self, uint32_t piece, uint64_t now_ms)
{
    if (!self->has_metainfo || !picker_has(&self->picker, piece))
        return;
    picker_lose(&self->picker, piece);
    torrent_plan_review(self);
    torrent_exchange_donthave(self, piece, now_ms);
    if (!picker_wants(&self->picker, piece))
        return;
    self->complete = false;
    self->endgame = false;
    self->refill = true;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer != NULL && peer_has(peer, piece)) {
            peer->wanted++;
            torrent_fetch_interest(self, peer, now_ms);
        }
    }
}

void torrent_abandon(struct torrent *self, uint32_t piece)
{
    if (!self->has_metainfo)
        return;
    torrent_suspect_unhold(self, piece);
    picker_abandon(&self->picker, piece);
    self->endgame = false;
    self->refill = true;
}

/* ---- time ---- */

void torrent_announced(struct torrent *self, uint32_t acknowledged, uint64_t now_ms)
{
    self->announcing = false;
    const bool lonely = !self->complete && self->peers_count == 0;
    uint64_t wait = self->options.announce_interval_ms;
    if (lonely || acknowledged == 0) {
        const uint32_t step =
            self->announce_tries < ANNOUNCE_STEPS ? self->announce_tries : ANNOUNCE_STEPS - 1;
        wait = announce_again_ms[step];
        self->announce_tries++;
    } else if (!self->complete && self->peers_count < ANNOUNCE_FEW && wait > ANNOUNCE_FEW_MS) {
        wait = ANNOUNCE_FEW_MS;
    }
    if (wait > self->options.announce_interval_ms)
        wait = self->options.announce_interval_ms;
    self->next_announce_ms = now_ms + wait;
}

static void turn_peer(struct torrent *self, struct peer **peer, uint64_t now_ms)
{
    switch (peer_turn(*peer, now_ms)) {
    case PEER_DEAD:
        torrent_drop(self, peer, "silent for too long", now_ms);
        return;
    case PEER_SNUBBED:
        torrent_fetch_snubbed(self, *peer);
        break;
    case PEER_KEEPALIVE_DUE:
        torrent_send_kind(self, *peer, WIRE_KEEPALIVE, now_ms);
        break;
    case PEER_WELL:
        break;
    }
    /* What it rejected it may have by now: a new connection tells. */
    if ((*peer)->rejected_ms != 0 && (*peer)->wanted == 0 && !self->complete &&
        now_ms - (*peer)->rejected_ms >= TORRENT_REJECTED_MS) {
        torrent_drop(self, peer, "it rejected all we lack", now_ms);
        return;
    }
    torrent_exchange_turn(self, *peer, now_ms);
    torrent_give_pump(self, *peer, now_ms);
}

void torrent_turn(struct torrent *self, uint64_t now_ms)
{
    if (!self->announcing && now_ms >= self->next_announce_ms) {
        self->announcing = true;
        torrent_push(self, &(struct torrent_action){ .kind = TORRENT_ANNOUNCE });
    }
    if (now_ms >= self->next_turn_ms) {
        self->next_turn_ms = now_ms + TORRENT_TURN_MS;
        for (uint32_t i = 0; i < self->slots; i++)
            if (self->peers[i] != NULL)
                turn_peer(self, &self->peers[i], now_ms);
        peer_rate_turn(&self->received, now_ms);
        peer_rate_turn(&self->sent, now_ms);
        torrent_upload_turn(self, now_ms);
        torrent_exchange_review(self, now_ms);
        torrent_hashes_turn(self, now_ms);
        torrent_suspect_turn(self, now_ms);
        torrent_plan_turn(self, now_ms);
        torrent_report_turn(self, now_ms);
        if (now_ms >= choke_deadline_ms(&self->choke))
            torrent_give_round(self, now_ms);
        self->refill = !self->complete;
    }
    if (now_ms >= self->again_ms) {
        self->again_ms = UINT64_MAX;
        self->refill = !self->complete;
    }
    torrent_have_turn(self, now_ms);
    torrent_connect_more(self, now_ms);
}

void torrent_go_on(struct torrent *self, uint32_t number, enum limits_direction direction,
                   uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    struct limits_flow *flow = NULL;
    if (peer == NULL)
        return;
    if (direction == LIMITS_RECEIVE) {
        flow = &peer->receiving;
        torrent_fetch_fill(self, peer, now_ms);
    } else {
        flow = &peer->sending;
        torrent_give_pump(self, peer, now_ms);
    }
    if (!limits_waits(flow))
        limits_forget(flow);
}

uint64_t torrent_deadline_ms(const struct torrent *self)
{
    uint64_t deadline = self->announcing ? UINT64_MAX : self->next_announce_ms;
    uint64_t other =
        self->haves_due_ms < self->next_turn_ms ? self->haves_due_ms : self->next_turn_ms;
    /* Rates fade out and addresses are tried by turns; without both nothing is due. */
    if (self->peers_count == 0 && self->received.per_second == 0 && self->sent.per_second == 0)
        other = self->candidates.connecting >= TORRENT_CONNECTING_MAX ||
                        self->candidates.connecting >= self->options.peers_wanted || self->paused
                    ? UINT64_MAX
                    : candidates_deadline_ms(&self->candidates, self->complete);
    if (self->again_ms < other)
        other = self->again_ms;
    return deadline < other ? deadline : other;
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
    for (uint32_t i = 0; i < self->slots; i++)
        count += self->peers[i] != NULL;
    assert(count == self->peers_count);
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
