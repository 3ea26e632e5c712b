#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/name.h"
#include "services/swarm/torrent_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A peer that did not give metadata is asked again after this. */
#define METADATA_REST_MS 30000u

/* PEX messages that come sooner than this after the last are not read (BEP 11: one a minute). */
#define PEX_LEAST_MS 20000u

void torrent_exchange_send(struct torrent *self, struct peer *peer, uint8_t extension,
                           const struct writer *content, uint64_t now_ms)
{
    if (content->overflow)
        return;
    const struct wire_message message = {
        .kind = WIRE_EXTENDED,
        .extended = extension,
        .payload = bytes_of(content->data, content->size),
    };
    torrent_send(self, peer, &message, now_ms);
}

void torrent_exchange_hello(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    uint8_t buffer[EXTENSION_MESSAGE_MAX];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    const bool v4 = address_is_v4(&peer->address);
    const struct extension_handshake hello = {
        .ut_metadata = EXTENSION_UT_METADATA,
        .ut_pex = self->is_private ? 0 : EXTENSION_UT_PEX,
        .lb_plan = self->options.mode == COOPERATE_NEVER ? 0 : EXTENSION_LB_PLAN,
        .lb_report = EXTENSION_LB_REPORT,
        .donthave = EXTENSION_DONTHAVE,
        .upload_only = self->complete,
        .port = self->options.port,
        .requests_max = PEER_WISHES_MAX,
        .metadata_size = self->has_metainfo ? (uint32_t)self->info.size : 0,
        .yourip = v4 ? bytes_of(peer->address.ip + 12, 4) : bytes_of(peer->address.ip, 16),
        .version = bytes_of_text(self->options.version),
    };
    extension_put_handshake(&writer, &hello);
    torrent_exchange_send(self, peer, EXTENSION_HANDSHAKE, &writer, now_ms);
}

/* ---- metadata, taken ---- */

static bool may_ask(const struct torrent *self, const struct peer *peer, uint64_t now_ms)
{
    if (self->has_metainfo || self->paused || peer->ut_metadata == 0 || peer->metadata_size == 0 ||
        now_ms < peer->metadata_rests_until_ms)
        return false;
    if (self->metadata.size != 0 && self->metadata.size != peer->metadata_size)
        return false;
    return self->metadata_alone == PICKER_NOBODY || self->metadata_alone == peer->number;
}

static void ask_metadata(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    if (!may_ask(self, peer, now_ms) ||
        metadata_start(&self->metadata, peer->metadata_size) != LB_OK)
        return;
    if (self->metadata_suspect)
        self->metadata_alone = peer->number;
    uint32_t part = 0;
    while (peer->metadata_asked_count < PEER_METADATA_ASKS &&
           metadata_next(&self->metadata, &part)) {
        if (peer->metadata_asked_count == 0)
            peer->metadata_asked_ms = now_ms;
        peer->metadata_asked[peer->metadata_asked_count++] = part;
        uint8_t buffer[EXTENSION_MESSAGE_MAX];
        struct writer writer;
        writer_init(&writer, buffer, sizeof buffer);
        const struct extension_metadata request = { .type = EXTENSION_METADATA_REQUEST,
                                                    .part = part };
        extension_put_metadata(&writer, &request);
        torrent_exchange_send(self, peer, peer->ut_metadata, &writer, now_ms);
    }
}

static void ask_all(struct torrent *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL)
            ask_metadata(self, self->peers[i], now_ms);
}

static bool was_asked(struct peer *peer, uint32_t part)
{
    for (uint32_t i = 0; i < peer->metadata_asked_count; i++) {
        if (peer->metadata_asked[i] != part)
            continue;
        peer->metadata_asked[i] = peer->metadata_asked[--peer->metadata_asked_count];
        return true;
    }
    return false;
}

static void give_back_metadata(struct torrent *self, struct peer *peer)
{
    for (uint32_t i = 0; i < peer->metadata_asked_count; i++)
        metadata_give_back(&self->metadata, peer->metadata_asked[i]);
    peer->metadata_asked_count = 0;
    if (self->metadata_alone == peer->number)
        self->metadata_alone = PICKER_NOBODY;
}

/* It does not give: let others, and perhaps another size. */
static void rest_metadata(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    give_back_metadata(self, peer);
    peer->metadata_rests_until_ms = now_ms + METADATA_REST_MS;
    torrent_exchange_review(self, now_ms);
}

static void start_over(struct torrent *self)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL)
            self->peers[i]->metadata_asked_count = 0;
    metadata_done(&self->metadata);
    self->metadata_alone = PICKER_NOBODY;
}

void torrent_exchange_review(struct torrent *self, uint64_t now_ms)
{
    if (self->has_metainfo || self->metadata.size == 0 || metadata_complete(&self->metadata))
        return;
    bool supported = false;
    for (uint32_t i = 0; i < self->slots; i++)
        supported |= self->peers[i] != NULL && self->peers[i]->metadata_asked_count > 0;
    for (uint32_t i = 0; i < self->slots && !supported; i++)
        supported = self->peers[i] != NULL && may_ask(self, self->peers[i], now_ms);
    if (supported)
        return;
    start_over(self);
    ask_all(self, now_ms);
}

/*
 * The hash does not fit: from now on one peer gives all of it, so that it is known whose fault it
 * is. Returns why this peer must go, when it gave all.
 */
static const char *bad_metadata(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    const bool own_fault = self->metadata_alone == peer->number || self->metadata.parts == 1;
    self->stats.wasted_bytes += self->metadata.size;
    self->metadata_suspect = true;
    start_over(self);
    peer->metadata_rests_until_ms = now_ms + METADATA_REST_MS;
    if (!own_fault) {
        ask_all(self, now_ms);
        return NULL;
    }
    const struct address address = peer->listens.port != 0 ? peer->listens : peer->address;
    candidates_ban(&self->candidates, &address, peer->peer_id);
    self->stats.banned++;
    ask_all(self, now_ms);
    return "it sent bad metadata";
}

/* By every hash that is known of it. */
static bool metadata_fits(const struct torrent *self)
{
    const struct torrent_options *options = &self->options;
    uint8_t v1[SHA1_SIZE];
    uint8_t v2[SHA256_SIZE];
    sha1(metadata_bytes(&self->metadata), v1);
    sha256(metadata_bytes(&self->metadata), v2);
    if (options->has_v2 && memcmp(v2, options->infohash_v2, sizeof v2) != 0)
        return false;
    return memcmp(v1, options->infohash, sizeof v1) == 0 ||
           memcmp(v2, options->infohash, sizeof options->infohash) == 0;
}

static const char *take_metadata(struct torrent *self, struct peer *peer,
                                 const struct extension_metadata *message, uint64_t now_ms)
{
    if (!was_asked(peer, message->part))
        return NULL;
    peer->metadata_asked_ms = now_ms;
    if (!metadata_take(&self->metadata, message)) {
        rest_metadata(self, peer, now_ms);
        return NULL;
    }
    if (!metadata_complete(&self->metadata)) {
        ask_metadata(self, peer, now_ms);
        return NULL;
    }
    if (!metadata_fits(self))
        return bad_metadata(self, peer, now_ms);
    const struct torrent_action action = {
        .kind = TORRENT_METADATA,
        .message = { .payload = metadata_bytes(&self->metadata) },
    };
    torrent_push(self, &action);
    return NULL;
}

/* ---- metadata, given ---- */

static bool may_give(const struct torrent *self, struct peer *peer, uint32_t part, uint64_t now_ms)
{
    if (now_ms - peer->metadata_given_ms >= TORRENT_METADATA_GIVEN_MS) {
        peer->metadata_given_ms = now_ms;
        peer->metadata_given = 0;
    }
    return self->has_metainfo && (uint64_t)part * EXTENSION_METADATA_PART < self->info.size &&
           peer->metadata_given++ < TORRENT_METADATA_GIVEN_MAX;
}

static void give_metadata(struct torrent *self, struct peer *peer, uint32_t part, uint64_t now_ms)
{
    uint8_t buffer[EXTENSION_METADATA_PART + EXTENSION_MESSAGE_MAX];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    struct extension_metadata answer = { .type = EXTENSION_METADATA_REJECT, .part = part };
    if (may_give(self, peer, part, now_ms)) {
        const size_t start = (size_t)part * EXTENSION_METADATA_PART;
        const size_t left = self->info.size - start;
        answer.type = EXTENSION_METADATA_DATA;
        answer.total_size = (uint32_t)self->info.size;
        answer.data = bytes_of(self->info.data + start,
                               left < EXTENSION_METADATA_PART ? left : EXTENSION_METADATA_PART);
    }
    extension_put_metadata(&writer, &answer);
    torrent_exchange_send(self, peer, peer->ut_metadata, &writer, now_ms);
}

static const char *on_metadata(struct torrent *self, struct peer *peer, struct bytes payload,
                               uint64_t now_ms)
{
    struct extension_metadata message;
    const lb_err err = extension_read_metadata(payload, &message);
    if (err == LB_UNSUPPORTED)
        return NULL;
    if (err != LB_OK)
        return ++peer->faults > PEER_FAULTS_MAX ? "its extension messages make no sense" : NULL;
    switch (message.type) {
    case EXTENSION_METADATA_REQUEST:
        if (peer->ut_metadata != 0)
            give_metadata(self, peer, message.part, now_ms);
        return NULL;
    case EXTENSION_METADATA_DATA:
        return self->has_metainfo ? NULL : take_metadata(self, peer, &message, now_ms);
    case EXTENSION_METADATA_REJECT:
        if (!self->has_metainfo && was_asked(peer, message.part)) {
            metadata_give_back(&self->metadata, message.part);
            rest_metadata(self, peer, now_ms);
            ask_all(self, now_ms);
        }
        return NULL;
    }
    return NULL;
}

/* ---- the extension handshake ---- */

static const char *on_hello(struct torrent *self, struct peer *peer, struct bytes payload,
                            uint64_t now_ms)
{
    struct extension_handshake hello;
    if (extension_read_handshake(payload, &hello) != LB_OK)
        return ++peer->faults > PEER_FAULTS_MAX ? "its extension messages make no sense" : NULL;
    peer->introduced = true;
    peer->ut_metadata = hello.ut_metadata;
    peer->ut_pex = hello.ut_pex;
    peer->lb_plan = hello.lb_plan;
    peer->lb_report = hello.lb_report;
    (void)!name_make_safe(hello.version, peer->client, sizeof peer->client);
    peer->donthave = hello.donthave;
    peer->upload_only = hello.upload_only;
    if (hello.metadata_size != 0)
        peer->metadata_size = hello.metadata_size;
    if (hello.requests_max != 0)
        peer->asks_limit = hello.requests_max < PEER_ASKS_MAX ? hello.requests_max : PEER_ASKS_MAX;
    if (!peer->outgoing && hello.port != 0 && peer->listens.port == 0) {
        peer->listens.port = hello.port;
        (void)candidates_add(&self->candidates, &peer->listens, false);
        candidates_connected(&self->candidates, &peer->listens);
    }
    torrent_plan_hello(self, peer, now_ms);
    ask_metadata(self, peer, now_ms);
    return NULL;
}

/* ---- PEX ---- */

static const char *on_pex(struct torrent *self, struct peer *peer, struct bytes payload,
                          uint64_t now_ms)
{
    if (self->is_private ||
        (peer->pex_received_ms != 0 && now_ms - peer->pex_received_ms < PEX_LEAST_MS))
        return NULL;
    struct extension_pex pex;
    if (extension_read_pex(payload, &pex) != LB_OK)
        return ++peer->faults > PEER_FAULTS_MAX ? "its extension messages make no sense" : NULL;
    peer->pex_received_ms = now_ms;
    for (uint32_t i = 0; i < pex.added_count; i++)
        (void)candidates_add(&self->candidates, &pex.added[i],
                             (pex.flags[i] & EXTENSION_PEX_SEED) != 0);
    torrent_connect_more(self, now_ms);
    return NULL;
}

/* It left, and came back. */
static bool is_here(const struct torrent *self, const struct address *address)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL && address_equal(&self->peers[i]->listens, address))
            return true;
    return false;
}

static void send_pex(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    struct extension_pex pex = { 0 };
    for (uint32_t i = 0; i < self->slots && pex.added_count < EXTENSION_PEX_MAX; i++) {
        const struct peer *other = self->peers[i];
        if (other == NULL || other == peer || other->listens.port == 0 ||
            (peer->pex_sent_ms != 0 && other->joined_ms < peer->pex_sent_ms))
            continue;
        const bool seed = other->everything || other->upload_only;
        pex.flags[pex.added_count] = (uint8_t)((seed ? EXTENSION_PEX_SEED : 0) |
                                               (other->outgoing ? EXTENSION_PEX_REACHABLE : 0));
        pex.added[pex.added_count++] = other->listens;
    }
    uint32_t known = self->departed_count;
    if (known > TORRENT_LEFT_MAX)
        known = TORRENT_LEFT_MAX;
    for (uint32_t i = 0; i < known && pex.dropped_count < EXTENSION_PEX_MAX; i++)
        if (peer->pex_sent_ms != 0 && self->departed[i].left_ms >= peer->pex_sent_ms &&
            !is_here(self, &self->departed[i].address))
            pex.dropped[pex.dropped_count++] = self->departed[i].address;
    peer->pex_sent_ms = now_ms;
    peer->pex_due_ms = now_ms + TORRENT_PEX_MS;
    if (pex.added_count == 0 && pex.dropped_count == 0)
        return;
    uint8_t buffer[4096];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_pex(&writer, &pex);
    torrent_exchange_send(self, peer, peer->ut_pex, &writer, now_ms);
}

void torrent_exchange_donthave(struct torrent *self, uint32_t piece, uint64_t now_ms)
{
    uint8_t payload[4];
    struct writer writer;
    store_u32(payload, piece);
    writer_init(&writer, payload, sizeof payload);
    writer.size = sizeof payload;
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL && self->peers[i]->donthave != 0)
            torrent_exchange_send(self, self->peers[i], self->peers[i]->donthave, &writer, now_ms);
}

/* ---- entry points ---- */

const char *torrent_exchange_message(struct torrent *self, struct peer *peer,
                                     const struct wire_message *message, uint64_t now_ms)
{
    if (!peer->extended)
        return "an extension message without the extension";
    switch (message->extended) {
    case EXTENSION_HANDSHAKE:
        return on_hello(self, peer, message->payload, now_ms);
    case EXTENSION_UT_METADATA:
        return on_metadata(self, peer, message->payload, now_ms);
    case EXTENSION_UT_PEX:
        return on_pex(self, peer, message->payload, now_ms);
    case EXTENSION_LB_PLAN:
        return torrent_plan_message(self, peer, message->payload, now_ms);
    case EXTENSION_LB_REPORT:
        return torrent_report_message(peer, message->payload);
    case EXTENSION_DONTHAVE:
        return torrent_fetch_donthave(self, peer, message->payload, now_ms);
    default:
        return NULL;
    }
}

void torrent_exchange_turn(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    if (peer->ut_pex != 0 && !self->is_private && now_ms >= peer->pex_due_ms)
        send_pex(self, peer, now_ms);
    if (self->has_metainfo)
        return;
    if (peer->metadata_asked_count > 0 &&
        now_ms - peer->metadata_asked_ms >= TORRENT_METADATA_ASK_MS)
        rest_metadata(self, peer, now_ms);
    ask_metadata(self, peer, now_ms);
}

void torrent_exchange_left(struct torrent *self, struct peer *peer)
{
    if (!self->has_metainfo)
        give_back_metadata(self, peer);
}
