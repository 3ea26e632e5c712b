/* A transfer's web seeds: pieces that the torrent lets them fetch, range by range. */
#include "libcommon/actor.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/magnet.h"
#include "services/swarm/transfers_inside.h"
#include "services/swarm/webseed_http.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_SIZE  128u
#define SILENT_MIN_S 2u /* such a pause is told */

struct transfer_webseed {
    struct transfer *transfer;
    uint32_t index; /* of the metainfo's, and the torrent's */
    struct webseed state;
    struct webseed_get *get;     /* under way, or NULL */
    struct layout_cursor cursor; /* what of the piece is still to be asked for */
    uint32_t size;               /* of the piece */
    uint32_t came;               /* of these */
    uint8_t *block;              /* the one that is coming; NULL: none */
    uint64_t came_ms;            /* when something did last, or was asked for */
    char failure[REASON_SIZE];   /* why it rests; "": it does not */
};

/* ---- which ---- */

void transfer_learn_web_seeds(struct transfer *self)
{
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    if (magnet_parse(self->magnet, magnet) == LB_OK)
        for (uint32_t i = 0; i < magnet->web_seeds_count; i++)
            (void)webseed_urls_add(&self->metainfo->web_seeds,
                                   bytes_of(magnet->web_seeds[i], strlen(magnet->web_seeds[i])));
    free(magnet);
}

static const char *url_of(const struct transfer_webseed *seed)
{
    return seed->transfer->metainfo->web_seeds.items[seed->index];
}

static void say(const struct transfer_webseed *seed, const char *what)
{
    char host[128];
    char hex[41];
    webseed_host(url_of(seed), host, sizeof host);
    hex_encode(seed->transfer->infohash, 20, hex);
    log_info("web seed %s infohash=%s: %s", host, hex, what);
}

/* ---- a piece ---- */

/* It is over with this piece. */
static void let_go(struct transfer_webseed *seed)
{
    webseed_get_cancel(&seed->get);
    free(seed->block);
    seed->block = NULL;
    torrent_webseed_end(&seed->transfer->torrent, seed->index,
                        transfers_now_ms(seed->transfer->owner));
    transfers_touch(seed->transfer);
}

static void fail(struct transfer_webseed *seed, const char *reason)
{
    say(seed, reason);
    snprintf(seed->failure, sizeof seed->failure, "%s", reason);
    let_go(seed);
    webseed_failed(&seed->state, transfers_now_ms(seed->transfer->owner));
}

/* A whole block is here. False: nothing of the piece is wanted any more. */
static bool take_block(struct transfer_webseed *seed, uint32_t offset, uint32_t length)
{
    struct transfer *self = seed->transfer;
    const struct wire_message message = {
        .kind = WIRE_PIECE,
        .piece = seed->state.piece,
        .offset = offset,
        .length = length,
        .payload = bytes_of(seed->block, length),
    };
    if (torrent_webseed_block(&self->torrent, seed->index, offset / LAYOUT_BLOCK_SIZE,
                              transfers_now_ms(self->owner)) == TORRENT_TAKE)
        transfer_take_block(self, &message, NULL);
    transfers_touch(self);
    return seed->came == seed->size || !torrent_webseed_is_done(&self->torrent, seed->index);
}

/* data: NULL for zeros. */
static bool feed(struct transfer_webseed *seed, const uint8_t *data, uint32_t size)
{
    assert(size <= seed->size - seed->came);
    while (size > 0) {
        const uint32_t in_block = seed->came % LAYOUT_BLOCK_SIZE;
        const uint32_t room = LAYOUT_BLOCK_SIZE - in_block;
        const uint32_t part = size < room ? size : room;
        if (data != NULL)
            memcpy(seed->block + in_block, data, part);
        else
            memset(seed->block + in_block, 0, part);
        data = data != NULL ? data + part : NULL;
        size -= part;
        seed->came += part;
        if ((part == room || seed->came == seed->size) &&
            !take_block(seed, seed->came - in_block - part, in_block + part))
            return false;
    }
    return true;
}

static bool on_data(void *ctx, struct bytes data)
{
    struct transfer_webseed *seed = ctx;
    seed->came_ms = transfers_now_ms(seed->transfer->owner);
    return feed(seed, data.data, (uint32_t)data.size);
}

static void next_range(struct transfer_webseed *seed);

static void on_ended(void *ctx, lb_err err, const char *reason)
{
    struct transfer_webseed *seed = ctx;
    seed->get = NULL; /* frees itself */
    if (err == LB_OK) {
        next_range(seed);
    } else if (err == LB_CANCELLED) {
        let_go(seed);
        webseed_came(&seed->state);
    } else {
        fail(seed, reason);
    }
}

static void get_range(struct transfer_webseed *seed, const struct layout_span *span)
{
    const struct transfer *self = seed->transfer;
    char *url = webseed_file_url(url_of(seed), self->metainfo->paths[span->file],
                                 self->metainfo->is_folder);
    const struct webseed_range range = {
        .url = url,
        .offset = span->offset,
        .size = span->size,
        .whole = span->size == self->metainfo->layout.files[span->file].length,
        .data = on_data,
        .ended = on_ended,
        .ctx = seed,
    };
    seed->get = webseed_http_get(self->owner->http, &range);
    free(url);
    if (seed->get == NULL)
        fail(seed, "its URL cannot be asked");
}

/* The next part of the piece that lies in a file; padding lies in none. */
static void next_range(struct transfer_webseed *seed)
{
    struct layout_span span;
    while (layout_spans_next(&seed->cursor, &span)) {
        if (!span.padding) {
            get_range(seed, &span);
            return;
        }
        if (!feed(seed, NULL, span.size))
            break;
    }
    let_go(seed);
    webseed_came(&seed->state);
}

/* ---- running ---- */

static bool may_run(const struct transfer *self)
{
    return self->running && self->opened && self->metainfo->web_seeds.count > 0 &&
           !self->torrent.complete && !self->torrent.paused && !self->owner->stopping;
}

static bool open_http(struct transfer_webseed *seed)
{
    struct transfers *owner = seed->transfer->owner;
    if (owner->http == NULL)
        owner->http = webseed_http_new(actor_loop(owner->actor));
    return owner->http != NULL;
}

static void run_one(struct transfer_webseed *seed, uint64_t now_ms)
{
    struct transfer *self = seed->transfer;
    uint32_t piece = 0;
    if (self->torrent.webseeds[seed->index].dropped && seed->state.state != WEBSEED_DROPPED) {
        let_go(seed);
        webseed_drop(&seed->state);
        self->webseeds_dropped |= UINT64_C(1) << seed->index;
        say(seed, "dropped: it sent a bad piece");
    }
    if (!webseed_is_ready(&seed->state, now_ms))
        return;
    seed->failure[0] = '\0'; /* its rest is over */
    if (!open_http(seed)) {
        fail(seed, "there is no libcurl.so.4 on this machine");
        return;
    }
    if (!torrent_webseed_take(&self->torrent, seed->index, now_ms, &piece)) {
        webseed_pause(&seed->state, now_ms);
        return;
    }
    webseed_begin(&seed->state, piece);
    seed->size = layout_piece_size(&self->metainfo->layout, piece);
    seed->came = torrent_webseed_first(&self->torrent, seed->index) * LAYOUT_BLOCK_SIZE;
    seed->cursor =
        layout_spans(&self->metainfo->layout, piece, seed->came, seed->size - seed->came);
    seed->came_ms = now_ms;
    seed->block = xmalloc(LAYOUT_BLOCK_SIZE);
    next_range(seed);
}

static void open_webseeds(struct transfer *self)
{
    self->webseeds_count = self->metainfo->web_seeds.count;
    self->webseeds = xcalloc(self->webseeds_count, sizeof *self->webseeds);
    for (uint32_t i = 0; i < self->webseeds_count; i++) {
        self->webseeds[i] = (struct transfer_webseed){ .transfer = self, .index = i };
        if ((self->webseeds_dropped >> i & 1) != 0)
            webseed_drop(&self->webseeds[i].state);
    }
    torrent_set_webseeds(&self->torrent, self->webseeds_count, transfers_now_ms(self->owner));
}

void transfer_run_webseeds(struct transfer *self)
{
    if (!may_run(self))
        return;
    if (self->webseeds == NULL)
        open_webseeds(self);
    for (uint32_t i = 0; i < self->webseeds_count; i++)
        run_one(&self->webseeds[i], transfers_now_ms(self->owner));
}

uint64_t transfer_webseeds_deadline_ms(const struct transfer *self)
{
    uint64_t deadline = UINT64_MAX;
    if (!may_run(self))
        return deadline;
    for (uint32_t i = 0; i < self->webseeds_count; i++) {
        const uint64_t its = webseed_deadline_ms(&self->webseeds[i].state);
        if (its < deadline)
            deadline = its;
    }
    return deadline;
}

void transfer_drop_webseeds(struct transfer *self)
{
    for (uint32_t i = 0; i < self->webseeds_count; i++) {
        webseed_get_cancel(&self->webseeds[i].get);
        free(self->webseeds[i].block);
    }
    free(self->webseeds);
    self->webseeds = NULL;
    self->webseeds_count = 0;
}

/* ---- telling ---- */

static const char *text_of(enum torrent_webseed_why why)
{
    static const char *const texts[] = {
        [TORRENT_WEBSEED_ASKED] = "",
        [TORRENT_WEBSEED_ENOUGH] = "enough peers send",
        [TORRENT_WEBSEED_NOTHING] = "nothing is left to ask it for",
        [TORRENT_WEBSEED_LIMITED] = "a limit holds it back",
        [TORRENT_WEBSEED_VERDICT] = "its first piece is being checked",
    };
    return texts[why];
}

/* To the core a short pause without anything to do is a rest, too. */
static bool rests(const struct transfer_webseed *seed)
{
    return seed->state.state == WEBSEED_RESTING && seed->failure[0] != '\0';
}

static void tell_why(const struct transfer_webseed *seed, char ret_why[TRANSFER_SOURCE_WHY_SIZE])
{
    const struct torrent *torrent = &seed->transfer->torrent;
    const uint64_t now_ms = transfers_now_ms(seed->transfer->owner);
    const uint64_t silent_s = (now_ms - seed->came_ms) / 1000;
    const uint64_t until_ms = seed->state.rest_until_ms;
    const uint64_t rest_s = until_ms > now_ms ? (until_ms - now_ms + 999) / 1000 : 0;
    ret_why[0] = '\0';
    if (seed->state.state == WEBSEED_DROPPED)
        snprintf(ret_why, TRANSFER_SOURCE_WHY_SIZE, "it sent a bad piece");
    else if (torrent->complete)
        snprintf(ret_why, TRANSFER_SOURCE_WHY_SIZE, "everything is here");
    else if (torrent->paused)
        snprintf(ret_why, TRANSFER_SOURCE_WHY_SIZE, "the transfer is paused");
    else if (rests(seed))
        snprintf(ret_why, TRANSFER_SOURCE_WHY_SIZE, "%s; asked again in %" PRIu64 " s",
                 seed->failure, rest_s);
    else if (seed->state.state != WEBSEED_FETCHING)
        snprintf(ret_why, TRANSFER_SOURCE_WHY_SIZE, "%s",
                 text_of(torrent->webseeds[seed->index].why));
    else if (silent_s >= SILENT_MIN_S)
        snprintf(ret_why, TRANSFER_SOURCE_WHY_SIZE, "it has sent nothing for %" PRIu64 " s",
                 silent_s);
}

size_t transfer_sources(const struct transfer *self, struct transfer_source **ret_sources)
{
    *ret_sources = NULL;
    if (!self->running || self->webseeds_count == 0)
        return 0;
    struct transfer_source *sources = xcalloc(self->webseeds_count, sizeof *sources);
    for (uint32_t i = 0; i < self->webseeds_count; i++) {
        const struct transfer_webseed *seed = &self->webseeds[i];
        const struct peer_rate *received = &self->torrent.webseeds[i].received;
        webseed_host(url_of(seed), sources[i].host, sizeof sources[i].host);
        sources[i].state = seed->state.state;
        if (seed->state.state == WEBSEED_RESTING && !rests(seed))
            sources[i].state = WEBSEED_IDLE;
        sources[i].received_bytes = received->total;
        sources[i].receive_rate = received->per_second;
        tell_why(seed, sources[i].why);
    }
    *ret_sources = sources;
    return self->webseeds_count;
}
