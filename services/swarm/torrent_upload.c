/*
 * Whose blocks go out next. All peers that wait for blocks stand in one queue, and the first is
 * served for a turn: the rest of a piece, but not for long. So a piece is whole soon at one peer,
 * who can pass it on, instead of late at all of them at once; and little is queued behind what was
 * decided, so that a cancel or a rarer piece is not too late.
 *
 * How much is with the shell at once follows from how long a block stays there: so much that it is
 * UPLOAD_LEAST_MS to UPLOAD_MOST_MS. One block at a time is timed. Where the peers' links are the
 * narrow ones, blocks stay long whatever we do, and less with the shell only means that less goes
 * out: then it is as much as makes a difference.
 *
 * Peers slower than our uplink keep theirs longer: what lies there for them must not keep the
 * uplink from others. Who was overtaken by far, by what was given to others later and is gone, or
 * took nothing at all for UPLOAD_STUCK_MS, lags: its bytes do not count, until it keeps up again;
 * how many they are is still limited (peer_send_ahead()).
 */
#include "services/swarm/torrent_inside.h"

static void unlink_peer(struct torrent_uploads *self, struct peer *peer)
{
    if (peer->upload_previous != NULL)
        peer->upload_previous->upload_next = peer->upload_next;
    else
        self->first = peer->upload_next;
    if (peer->upload_next != NULL)
        peer->upload_next->upload_previous = peer->upload_previous;
    else
        self->last = peer->upload_previous;
    peer->upload_next = NULL;
    peer->upload_previous = NULL;
    peer->upload_waits = false;
}

static void append(struct torrent_uploads *self, struct peer *peer)
{
    peer->upload_previous = self->last;
    if (self->last != NULL)
        self->last->upload_next = peer;
    else
        self->first = peer;
    self->last = peer;
    peer->upload_waits = true;
}

/* It wants something else than the piece it was served, or was served for long. */
static bool turn_is_over(const struct torrent_uploads *self, const struct peer *peer)
{
    return peer->upload_bytes >= UPLOAD_TURN_TIMES * self->ahead ||
           (peer->upload_bytes >= UPLOAD_TURN_MIN &&
            peer->wishes[peer->wishes_head].piece != peer->upload_piece);
}

static void prepend(struct torrent_uploads *self, struct peer *peer)
{
    peer->upload_next = self->first;
    if (self->first != NULL)
        self->first->upload_previous = peer;
    else
        self->last = peer;
    self->first = peer;
    peer->upload_waits = true;
}

/* ---- who lags ---- */

static void count_in(struct torrent_uploads *self, struct peer *peer, uint32_t bytes)
{
    peer->sending_bytes += bytes;
    self->bytes += peer->upload_lags ? 0 : bytes;
}

static void count_out(struct torrent_uploads *self, struct peer *peer, uint32_t bytes)
{
    peer->sending_bytes -= bytes;
    self->bytes -= peer->upload_lags ? 0 : bytes;
}

static void set_lags(struct torrent_uploads *self, struct peer *peer, bool lags)
{
    if (peer->upload_lags == lags)
        return;
    if (lags)
        self->bytes -= peer->sending_bytes;
    else
        self->bytes += peer->sending_bytes;
    peer->upload_lags = lags;
}

/* So much of others went out since it was given its load that in a fair queue that had, too. */
static bool is_overtaken(const struct torrent_uploads *self, const struct peer *peer)
{
    return peer->upload_mark_bytes > 0 &&
           self->gone_bytes - peer->upload_mark_gone > UPLOAD_LAG_TIMES * self->ahead;
}

static void mark(const struct torrent_uploads *self, struct peer *peer, uint64_t now_ms)
{
    peer->upload_mark_bytes = peer->sending_bytes;
    peer->upload_mark_ms = now_ms;
    peer->upload_mark_gone = self->gone_bytes;
}

/* What was marked went out when the last of it has. */
static void move_mark(struct torrent_uploads *self, struct peer *peer, uint32_t bytes,
                      uint64_t now_ms)
{
    if (peer->upload_mark_bytes > bytes) {
        peer->upload_mark_bytes -= bytes;
        return;
    }
    set_lags(self, peer, is_overtaken(self, peer));
    mark(self, peer, now_ms);
}

static void find_lagging(struct torrent *self)
{
    self->uploads.looked_bytes = self->uploads.gone_bytes;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer != NULL && !peer->upload_lags && is_overtaken(&self->uploads, peer))
            set_lags(&self->uploads, peer, true);
    }
}

static void find_stuck(struct torrent *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer != NULL && peer->upload_mark_bytes > 0 &&
            now_ms - peer->upload_mark_ms >= UPLOAD_STUCK_MS)
            set_lags(&self->uploads, peer, true);
    }
}

/* ---- the queue ---- */

void torrent_upload_left(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    if (peer->upload_waits)
        unlink_peer(&self->uploads, peer);
    count_out(&self->uploads, peer, (uint32_t)peer->sending_bytes);
    torrent_upload_run(self, now_ms);
}

/* Who asks for more of the piece of its turn goes on with that. */
void torrent_upload_add(struct torrent *self, struct peer *peer)
{
    struct torrent_uploads *uploads = &self->uploads;
    if (peer->upload_waits || peer->wishes_count == 0)
        return;
    if (peer->upload_bytes > 0 && !turn_is_over(uploads, peer)) {
        prepend(uploads, peer);
        return;
    }
    peer->upload_bytes = 0;
    append(uploads, peer);
}

/* What goes out grew or shrank about as what is ahead did: then our uplink has room for more. */
static bool follows(const struct torrent_uploads *self, uint64_t rate)
{
    const uint64_t in_step = self->rate_before * self->ahead / self->ahead_before;
    const uint64_t middle = (self->rate_before + in_step) / 2;
    return self->ahead > self->ahead_before ? rate >= middle
                                            : self->ahead < self->ahead_before && rate <= middle;
}

static void resize(struct torrent_uploads *self, uint64_t stayed_ms, uint64_t gone)
{
    const uint64_t rate = gone * 1000 / (stayed_ms > 0 ? stayed_ms : 1);
    const bool more = self->ahead_before != 0 && follows(self, rate);
    self->ahead_before = self->ahead;
    self->rate_before = rate;
    if (stayed_ms < UPLOAD_LEAST_MS)
        self->ahead += self->ahead / 2;
    else if (stayed_ms > UPLOAD_MOST_MS && more)
        self->ahead += self->ahead / 3;
    else if (stayed_ms > UPLOAD_MOST_MS)
        self->ahead -= self->ahead / 4;
    if (self->ahead < UPLOAD_AHEAD_MIN)
        self->ahead = UPLOAD_AHEAD_MIN;
    if (self->ahead > UPLOAD_AHEAD_MAX)
        self->ahead = UPLOAD_AHEAD_MAX;
}

void torrent_upload_sent(struct torrent *self, struct peer *peer, const struct wire_message *block,
                         uint64_t now_ms)
{
    struct torrent_uploads *uploads = &self->uploads;
    count_out(uploads, peer, block->length);
    move_mark(uploads, peer, block->length, now_ms);
    uploads->gone_bytes += block->length;
    if (uploads->gone_bytes - uploads->looked_bytes >= uploads->ahead)
        find_lagging(self);
    if (uploads->timed_ms == 0 || uploads->timed_peer != peer->number ||
        uploads->timed.piece != block->piece || uploads->timed.offset != block->offset)
        return;
    resize(uploads, now_ms - uploads->timed_ms, uploads->gone_bytes - uploads->timed_gone);
    uploads->timed_ms = 0;
}

/* The next block it wants and we have. */
static bool next_wish(struct torrent *self, struct peer *peer, struct peer_wish *ret_wish,
                      uint64_t now_ms)
{
    while (peer_wish_next(peer, ret_wish)) {
        if (picker_has(&self->picker, ret_wish->piece))
            return true;
        torrent_give_reject(self, peer, ret_wish, now_ms);
    }
    return false;
}

static void send(struct torrent *self, struct peer *peer, const struct peer_wish *wish,
                 uint64_t now_ms)
{
    count_in(&self->uploads, peer, wish->length);
    if (peer->upload_mark_bytes == 0)
        mark(&self->uploads, peer, now_ms);
    peer->upload_bytes += wish->length;
    peer->upload_piece = wish->piece;
    const struct torrent_action action = {
        .kind = TORRENT_SEND_BLOCK,
        .peer = peer->number,
        .message = { .kind = WIRE_PIECE,
                     .piece = wish->piece,
                     .offset = wish->offset,
                     .length = wish->length },
    };
    torrent_push(self, &action);
    /* While there is room nothing waits, and the time tells nothing. */
    if (self->uploads.timed_ms != 0 || self->uploads.bytes < self->uploads.ahead ||
        peer->upload_lags)
        return;
    self->uploads.timed = *wish;
    self->uploads.timed_peer = peer->number;
    self->uploads.timed_ms = now_ms;
    self->uploads.timed_gone = self->uploads.gone_bytes;
}

uint64_t torrent_upload_room(const struct torrent *self)
{
    return self->uploads.bytes < self->uploads.ahead ? self->uploads.ahead - self->uploads.bytes
                                                     : 0;
}

void torrent_upload_run(struct torrent *self, uint64_t now_ms)
{
    struct torrent_uploads *uploads = &self->uploads;
    struct peer *next = NULL;
    for (struct peer *peer = uploads->first; peer != NULL && uploads->bytes < uploads->ahead;
         peer = next) {
        next = peer->upload_next;
        /* One that does not take more keeps its place. */
        if (peer->sending_bytes >= peer_send_ahead(peer))
            continue;
        struct peer_wish wish;
        /* One that a limit holds back comes again when limits_next() names it. */
        if (limits_take(&peer->sending, 1, peer->block_size, now_ms) == 0) {
            unlink_peer(uploads, peer);
            continue;
        }
        if (!next_wish(self, peer, &wish, now_ms)) {
            limits_give_back(&peer->sending, peer->block_size);
            unlink_peer(uploads, peer);
            continue;
        }
        limits_give_back(&peer->sending, peer->block_size - wish.length);
        send(self, peer, &wish, now_ms);
        if (peer->wishes_count == 0) {
            unlink_peer(uploads, peer);
        } else if (turn_is_over(uploads, peer)) {
            unlink_peer(uploads, peer);
            peer->upload_bytes = 0;
            append(uploads, peer);
        }
        next = uploads->first;
    }
    if (uploads->bytes < uploads->ahead && self->plan.pieces > 0)
        torrent_plan_review(self);
}

void torrent_upload_turn(struct torrent *self, uint64_t now_ms)
{
    if (now_ms - self->uploads.timed_ms >= UPLOAD_STUCK_MS)
        self->uploads.timed_ms = 0;
    find_stuck(self, now_ms);
    torrent_upload_run(self, now_ms);
}
