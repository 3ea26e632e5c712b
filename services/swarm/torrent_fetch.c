#include "services/swarm/bitfield.h"
#include "services/swarm/torrent_inside.h"

#include <assert.h>
#include <stdlib.h>

/* So often a peer may say anew what it has as a whole: each costs a walk over all pieces. */
#define RESTATED_MAX 8u

/*
 * In the end game nothing is taken over from a peer that will be done so soon by itself, or within
 * the time who takes over needs: when our own downlink is what all wait for, everybody is late
 * alike, and what is asked for twice only makes it later.
 */
#define ENDGAME_LEAST_MS 20u

/*
 * What our downlink does in such a time is little to have under way. Who lacks more of what each of
 * its peers has than comes in BEHIND_MS is behind them, and takes more: so all end together.
 */
#define LITTLE_MS        150u
#define LITTLE_BEHIND_MS 300u
#define BEHIND_MS        300u

void torrent_fetch_hungry(struct torrent *self, struct peer *peer)
{
    if (peer->hungry)
        return;
    /* Entries of peers that left may still stand there; without room, all are looked at. */
    if (self->hungry_count == self->slots) {
        self->refill = true;
        return;
    }
    peer->hungry = true;
    self->hungry[self->hungry_count++] = peer->number % TORRENT_SLOTS;
}

/* ---- asking ---- */

static void ask(struct torrent *self, struct peer *peer, const struct picker_ask *asks,
                size_t count, uint64_t now_ms)
{
    for (size_t i = 0; i < count; i++) {
        peer_ask(peer, asks[i], now_ms);
        const struct wire_message request = {
            .kind = WIRE_REQUEST,
            .piece = asks[i].piece,
            .offset = asks[i].block * self->picker.shape.block_size,
            .length = picker_block_size(&self->picker, asks[i].piece, asks[i].block),
        };
        torrent_send(self, peer, &request, now_ms);
    }
}

/* On average of those who lack something, too: a seed has more for us in any case. */
static bool is_behind(const struct torrent *self, uint64_t rate)
{
    uint64_t others = 0, wanted = 0;
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (peer == NULL || !peer->cooperates || peer->everything)
            continue;
        others++;
        wanted += peer->wanted;
    }
    return wanted * self->picker.shape.piece_size >= others * rate * BEHIND_MS / 1000;
}

/*
 * Little is what keeps our downlink busy for LITTLE_MS beyond the way to this peer and back, at the
 * best it was seen to do.
 */
static struct window_load load_of(const struct torrent *self, const struct peer *asked,
                                  uint64_t now_ms)
{
    uint64_t blocks = 0, givers = 0;
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (peer == NULL)
            continue;
        blocks += peer->asks_count - peer->asks_late;
        givers += peer->wanted > 0 && !peer->choking;
    }
    const uint64_t now = peer_rate_now(&self->received, now_ms);
    const uint64_t rate = now > self->received_best ? now : self->received_best;
    const uint64_t way_ms = asked->window.least_ms != UINT32_MAX ? asked->window.least_ms : 0;
    const uint64_t ms = (is_behind(self, rate) ? LITTLE_BEHIND_MS : LITTLE_MS) + way_ms;
    const uint64_t little = rate * ms / 1000 / self->picker.shape.block_size;
    uint64_t fair = givers > 0 ? little / givers : little;
    if (fair < 1)
        fair = 1;
    if (fair > PEER_ASKS_MAX)
        fair = PEER_ASKS_MAX;
    return (struct window_load){ .little = blocks < little, .fair = (uint32_t)fair };
}

static void forget(struct torrent *self, uint32_t piece)
{
    const struct torrent_action action = {
        .kind = TORRENT_FORGET,
        .message = { .piece = piece },
    };
    torrent_push(self, &action);
}

static struct picker_view view_of(struct torrent *self, const struct peer *peer, uint64_t now_ms)
{
    return (struct picker_view){
        .peer = peer->number,
        .bitfield = peer->everything ? NULL : peer->pieces,
        .alone = peer->alone,
        .idle = peer->asks_count == peer->asks_late,
        .proven = peer->received.total > 0 && !peer->snubbed,
        .only = peer->choking ? peer->allowed
                : peer->plans ? peer->given
                              : NULL,
        .only_count = peer->choking ? peer->allowed_count : peer->given_count,
        .wave = torrent_plan_wave(self, peer, now_ms),
    };
}

/* The last place at a block is for one that has sent something: the others may be mute, all. */
static bool may_help(const struct torrent *self, const struct peer *helper, struct picker_ask ask)
{
    const unsigned most = helper->received.total > 0 ? PICKER_ASKS_MAX : PICKER_ASKS_MAX - 1;
    return peer_has(helper, ask.piece) && picker_asked(&self->picker, ask) < most &&
           !peer_is_asked(helper, ask);
}

/* Whom it takes longest, of those asked for something `helper` has. */
static struct peer *slowest(const struct torrent *self, const struct peer *helper, uint64_t now_ms)
{
    struct peer *found = NULL;
    uint64_t longest = ENDGAME_LEAST_MS + helper->usual_ms;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer == NULL || peer == helper || peer->asks_count == peer->asks_late)
            continue;
        const uint64_t left_ms = peer_left_ms(peer, now_ms);
        if (left_ms < longest)
            continue;
        const struct picker_ask last = peer_asks(peer)[peer->asks_count - 1];
        if (!may_help(self, helper, last))
            continue;
        found = peer;
        longest = left_ms;
    }
    return found;
}

/*
 * The end game: a peer with nothing left to do takes over from the slowest what that would send
 * last, as much as lets both end together; so that hardly a block comes twice.
 */
static size_t take_over(struct torrent *self, struct peer *helper, struct picker_ask *ret_asks,
                        size_t most, uint64_t now_ms)
{
    const struct peer *slow =
        helper->alone || helper->snubbed ? NULL : slowest(self, helper, now_ms);
    if (slow == NULL)
        return 0;
    const uint64_t under_way = slow->asks_count - slow->asks_late;
    const uint64_t rate = peer_rate_now(&helper->received, now_ms);
    const uint64_t rates = rate + peer_rate_now(&slow->received, now_ms);
    uint64_t share = rates == 0 ? 1 : under_way * rate / rates;
    if (share == 0)
        share = 1;
    const struct picker_ask *asks = peer_asks(slow);
    size_t count = 0;
    for (uint32_t i = slow->asks_count; i > slow->asks_late && count < share && count < most; i--)
        if (may_help(self, helper, asks[i - 1]) && picker_ask_again(&self->picker, asks[i - 1]))
            ret_asks[count++] = asks[i - 1];
    return count;
}

/*
 * What it named itself; the order of all other pieces is ours. First what it gave us while it
 * planned: that is nobody else's task, and rarer than all the rest. What it suggested counts once.
 */
static size_t pick_named(struct torrent *self, struct peer *peer, struct picker_ask *ret_asks,
                         size_t most, uint64_t now_ms)
{
    if (peer->choking || peer->plans || peer->alone)
        return 0;
    struct picker_view view = view_of(self, peer, now_ms);
    view.only = peer->given;
    view.only_count = peer->given_count;
    const size_t count = picker_pick(&self->picker, &view, ret_asks, most);
    view.only = peer->suggested;
    view.only_count =
        peer->suggested_count < PEER_SUGGESTED_MAX ? peer->suggested_count : PEER_SUGGESTED_MAX;
    peer->suggested_count = 0;
    return count + picker_pick(&self->picker, &view, ret_asks + count, most - count);
}

void torrent_fetch_fill(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    peer->hungry = false;
    if (!self->has_metainfo || self->paused || self->complete || peer->wanted == 0 ||
        (peer->choking && peer->allowed_count == 0))
        return;
    struct picker_ask asks[PEER_ASKS_MAX];
    const size_t most =
        limits_take(&peer->receiving, peer_asks_wanted(peer), peer->block_size, now_ms);
    if (most == 0)
        return;
    const struct picker_view view = view_of(self, peer, now_ms);
    size_t count = pick_named(self, peer, asks, most, now_ms);
    if (count < most)
        count += picker_pick(&self->picker, &view, asks + count, most - count);
    uint32_t piece = 0;
    const bool idle = peer->asks_count == peer->asks_late && !peer->choking;
    if (count == 0 && idle && picker_make_room(&self->picker, &view, &piece)) {
        forget(self, piece);
        count = picker_pick(&self->picker, &view, asks, most);
    }
    if (count == 0 && idle && picker_in_endgame(&self->picker))
        count = take_over(self, peer, asks, most, now_ms);
    ask(self, peer, asks, count, now_ms);
    if (count == 0 && idle && peer->cooperates && self->again_ms == UINT64_MAX)
        self->again_ms = now_ms + TORRENT_AGAIN_MS;
    if (count < most) {
        limits_give_back(&peer->receiving, (most - count) * peer->block_size);
        limits_forget(&peer->receiving);
    }
    /* From now on those with nothing to do may help the others. */
    if (!self->endgame && picker_in_endgame(&self->picker)) {
        self->endgame = true;
        self->refill = true;
    }
}

void torrent_fetch_interest(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    const bool want = self->has_metainfo && peer->wanted > 0;
    if (want)
        torrent_fetch_hungry(self, peer);
    if (want == peer->am_interested)
        return;
    peer->am_interested = want;
    torrent_send_kind(self, peer, want ? WIRE_INTERESTED : WIRE_NOT_INTERESTED, now_ms);
}

/* ---- what a peer has ---- */

void torrent_fetch_recount(struct torrent *self, struct peer *peer)
{
    const uint32_t pieces = self->picker.shape.pieces;
    peer->wanted = peer->everything ? self->picker.missing : 0;
    if (peer->pieces == NULL)
        return;
    for (uint32_t i = bitfield_next(peer->pieces, pieces, 0); i < pieces;
         i = bitfield_next(peer->pieces, pieces, i + 1))
        peer->wanted += picker_wants(&self->picker, i);
}

/* Availability and `wanted`, from what the peer has; it is not counted yet. */
void torrent_fetch_count(struct torrent *self, struct peer *peer)
{
    if (!self->has_metainfo)
        return;
    const uint32_t pieces = self->picker.shape.pieces;
    if (peer->pieces_count == pieces) {
        peer->everything = true;
        free(peer->pieces);
        peer->pieces = NULL;
        peer->pieces_size = 0;
        picker_add_seed(&self->picker);
    } else if (peer->pieces != NULL) {
        picker_add_bitfield(&self->picker, peer->pieces);
    }
    torrent_fetch_recount(self, peer);
}

void torrent_fetch_uncount(struct torrent *self, struct peer *peer)
{
    if (!self->has_metainfo || peer->pieces_count == 0)
        return;
    if (peer->everything)
        picker_remove_seed(&self->picker);
    else if (peer->pieces != NULL)
        picker_remove_bitfield(&self->picker, peer->pieces);
}

/* It has become a seed piece by piece: count it as one from now on. */
static void become_seed(struct torrent *self, struct peer *peer)
{
    torrent_fetch_uncount(self, peer);
    torrent_fetch_count(self, peer);
}

const char *torrent_fetch_have(struct torrent *self, struct peer *peer, uint32_t piece,
                               uint64_t now_ms)
{
    const uint32_t pieces = self->has_metainfo ? self->picker.shape.pieces : 0;
    if (piece >= (pieces != 0 ? pieces : PICKER_PIECES_MAX))
        return "it has a piece there is not";
    peer->told_pieces = true;
    if (pieces != 0)
        torrent_plan_came(self, peer, piece, now_ms);
    if (!peer_set_piece(peer, piece, pieces) || pieces == 0)
        return NULL;
    picker_add_piece(&self->picker, piece);
    if (picker_wants(&self->picker, piece))
        peer->wanted++;
    if (peer->pieces_count == pieces)
        become_seed(self, peer);
    torrent_fetch_interest(self, peer, now_ms);
    return NULL;
}

/*
 * A peer says what it has as a whole. BEP 3 wants that as its first word, but aria2 sends a
 * bitfield after its first have messages, so a later statement replaces what was said before; a few
 * of them.
 */
static const char *restate(struct torrent *self, struct peer *peer)
{
    if (!peer->told_pieces) {
        peer->told_pieces = true;
        return NULL;
    }
    if (++peer->restated > RESTATED_MAX)
        return "it keeps saying what it has";
    torrent_fetch_uncount(self, peer);
    peer_forget_pieces(peer);
    return NULL;
}

/* Who rejects a request though it serves us has lost that piece; a HAVE may bring it back. */
static void lose_piece(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms)
{
    if (!peer_has(peer, piece))
        return;
    if (peer->everything) {
        torrent_fetch_uncount(self, peer);
        peer_clear_piece(peer, piece, self->picker.shape.pieces);
        torrent_fetch_count(self, peer);
    } else {
        peer_clear_piece(peer, piece, self->picker.shape.pieces);
        picker_remove_piece(&self->picker, piece);
        peer->wanted -= picker_wants(&self->picker, piece);
    }
    torrent_fetch_interest(self, peer, now_ms);
}

/* Requests for a piece it lost: with BEP 6 it rejects each, without nothing comes any more. */
static void forget_asks(struct torrent *self, struct peer *peer, uint32_t piece)
{
    for (uint32_t i = peer->asks_count; i > peer->asks_late; i--) {
        const struct picker_ask ask = peer_asks(peer)[i - 1];
        if (ask.piece != piece || !peer_cancel_ask(peer, ask))
            continue;
        picker_give_back(&self->picker, ask);
        self->refill = true;
        self->endgame = false;
    }
}

const char *torrent_fetch_donthave(struct torrent *self, struct peer *peer, struct bytes payload,
                                   uint64_t now_ms)
{
    const uint32_t pieces = self->has_metainfo ? self->picker.shape.pieces : PICKER_PIECES_MAX;
    if (payload.size != 4 || load_u32(payload.data) >= pieces)
        return "it lacks a piece there is not";
    /* Before we know how many pieces there are its word is not kept; it rejects what it lacks. */
    if (!self->has_metainfo)
        return NULL;
    lose_piece(self, peer, load_u32(payload.data), now_ms);
    if (!peer->fast)
        forget_asks(self, peer, load_u32(payload.data));
    return NULL;
}

const char *torrent_fetch_bitfield(struct torrent *self, struct peer *peer, struct bytes bitfield,
                                   uint64_t now_ms)
{
    if (self->has_metainfo &&
        !bitfield_is_valid(bitfield.data, bitfield.size, self->picker.shape.pieces))
        return "its bitfield does not fit";
    const char *fault = restate(self, peer);
    if (fault != NULL)
        return fault;
    peer_set_pieces(peer, bitfield);
    if (!self->has_metainfo)
        return NULL;
    peer->pieces_count = bitfield_count(bitfield.data, self->picker.shape.pieces);
    torrent_fetch_count(self, peer);
    torrent_fetch_interest(self, peer, now_ms);
    return NULL;
}

const char *torrent_fetch_have_all(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    const char *fault = restate(self, peer);
    if (fault != NULL)
        return fault;
    peer->everything = true;
    if (!self->has_metainfo)
        return NULL;
    peer->pieces_count = self->picker.shape.pieces;
    torrent_fetch_count(self, peer);
    torrent_fetch_interest(self, peer, now_ms);
    /* It was not told of what it had itself, and is to know what it need not give (plan.h). */
    if (peer->cooperates && !self->complete && self->picker.have > 0)
        torrent_tell_pieces(self, peer, now_ms);
    return NULL;
}

/* ---- what becomes of requests ---- */

static void give_back(struct torrent *self, struct peer *peer)
{
    const struct picker_ask *asks = peer_asks(peer);
    for (uint32_t i = peer->asks_late; i < peer->asks_count; i++)
        picker_give_back(&self->picker, asks[i]);
    if (peer->asks_count > peer->asks_late) {
        self->refill = true;
        self->endgame = false;
    }
}

void torrent_fetch_release(struct torrent *self, struct peer *peer)
{
    if (!self->has_metainfo)
        return;
    give_back(self, peer);
    limits_give_back(&peer->receiving, (uint64_t)peer->asks_count * peer->block_size);
    peer->asks_count = 0;
    peer->asks_late = 0;
    peer->asks_head = 0;
    peer->window.timing = false;
    picker_disown(&self->picker, peer->number);
}

/* Its blocks may still come, and are taken then; but others may fetch them as well. */
void torrent_fetch_snubbed(struct torrent *self, struct peer *peer)
{
    if (!self->has_metainfo)
        return;
    give_back(self, peer);
    peer->asks_late = peer->asks_count;
    picker_disown(&self->picker, peer->number);
}

void torrent_fetch_choked(struct torrent *self, struct peer *peer)
{
    peer->choking = true;
    /* With BEP 6 each request is answered, by a block or a reject; without, they are forgotten. */
    if (!peer->fast)
        torrent_fetch_release(self, peer);
}

const char *torrent_fetch_reject(struct torrent *self, struct peer *peer,
                                 const struct wire_message *message, uint64_t now_ms)
{
    if (!peer->fast)
        return "a reject without the fast extension";
    if (!self->has_metainfo)
        return NULL;
    const struct picker_ask block = { message->piece,
                                      message->offset / self->picker.shape.block_size };
    if (peer_answered(peer, block) != PEER_ASKED)
        return NULL;
    picker_give_back(&self->picker, block);
    limits_give_back(&peer->receiving, peer->block_size);
    self->refill = true;
    self->endgame = false;
    if (peer->choking)
        return NULL;
    peer->rejected_ms = now_ms;
    lose_piece(self, peer, message->piece, now_ms);
    return ++peer->rejects > PEER_REJECTS_MAX ? "it rejects everything" : NULL;
}

const char *torrent_fetch_allowed(struct torrent *self, struct peer *peer, uint32_t piece)
{
    if (!peer->fast)
        return "allowed-fast without the fast extension";
    if (piece >= PICKER_PIECES_MAX || peer->allowed_count == PEER_ALLOWED_MAX)
        return NULL;
    peer->allowed[peer->allowed_count++] = piece;
    torrent_fetch_hungry(self, peer);
    return NULL;
}

const char *torrent_fetch_suggested(struct torrent *self, struct peer *peer, uint32_t piece)
{
    if (!peer->fast)
        return "a suggestion without the fast extension";
    if (piece >= PICKER_PIECES_MAX)
        return NULL;
    peer->suggested[peer->suggested_count++ % PEER_SUGGESTED_MAX] = piece;
    torrent_fetch_hungry(self, peer);
    return NULL;
}

/* ---- taking ---- */

void torrent_fetch_cancel(struct torrent *self, const struct peer *but, struct picker_ask block,
                          uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer == NULL || peer == but || !peer_cancel_ask(peer, block))
            continue;
        const struct wire_message cancel = {
            .kind = WIRE_CANCEL,
            .piece = block.piece,
            .offset = block.block * self->picker.shape.block_size,
            .length = picker_block_size(&self->picker, block.piece, block.block),
        };
        torrent_send(self, peer, &cancel, now_ms);
        limits_give_back(&peer->receiving, peer->block_size);
        torrent_fetch_hungry(self, peer);
    }
}

static const char *waste(struct torrent *self, struct peer *peer, uint32_t size, bool fault)
{
    self->stats.wasted_bytes += size;
    if (fault && ++peer->faults > PEER_FAULTS_MAX)
        return "it sends what nobody asked for";
    return NULL;
}

const char *torrent_fetch_block(struct torrent *self, struct peer *peer,
                                const struct wire_message *message, uint64_t now_ms,
                                enum torrent_verdict *ret_verdict)
{
    peer_rate_add(&self->received, message->length);
    if (!self->has_metainfo)
        return waste(self, peer, message->length, true);
    const struct picker_ask block = { message->piece,
                                      message->offset / self->picker.shape.block_size };
    if (block.piece >= self->picker.shape.pieces ||
        message->offset % self->picker.shape.block_size != 0 ||
        block.block >= picker_block_count(&self->picker, block.piece) ||
        message->length != picker_block_size(&self->picker, block.piece, block.block))
        return waste(self, peer, message->length, true);

    if (window_times(&peer->window, block))
        window_came(&peer->window, peer->asks_limit, load_of(self, peer, now_ms), now_ms);
    const uint32_t took_ms = peer_ask_age_ms(peer, block, now_ms);
    const enum peer_answer answer = peer_answered(peer, block);
    if (answer == PEER_UNASKED || answer == PEER_CANCELLED)
        return waste(self, peer, message->length, answer == PEER_UNASKED);
    peer_block_came(peer, message->length, took_ms, now_ms);
    torrent_fetch_hungry(self, peer);

    const unsigned asked = picker_asked(&self->picker, block);
    const enum picker_verdict verdict = picker_receive(&self->picker, block, peer->number);
    if (verdict == PICKER_TWICE || verdict == PICKER_UNWANTED)
        return waste(self, peer, message->length, false);
    *ret_verdict = TORRENT_TAKE;
    if (asked > (answer == PEER_ASKED ? 1u : 0u))
        torrent_fetch_cancel(self, peer, block, now_ms);
    if (verdict == PICKER_COMPLETE)
        torrent_suspect_whole(self, block.piece, now_ms);
    return NULL;
}
