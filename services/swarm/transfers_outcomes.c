/* How a transfer goes for its peers: who is how far and why, and who finished and went. */
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/transfers_inside.h"

#include <stdlib.h>

#define OUTCOMES_SAVE_MS 5000u /* at most so often while some finish */

void transfer_tell(struct transfer *self)
{
    const struct torrent_facts facts = {
        .disk_behind = disk_wants_pause(self->owner->disk),
        .verify = self->verify,
        .verified = self->verified_s != 0,
    };
    torrent_tell(&self->torrent, &facts);
}

/* The torrent counts from when the machine was started, people do not. */
static uint64_t wall_s(const struct transfer *self, uint64_t at_ms)
{
    return at_ms == 0 ? 0 : clock_wall_s() - (transfers_now_ms(self->owner) - at_ms) / 1000;
}

static const struct address *address_of(const struct peer *peer)
{
    return peer->listens.port != 0 ? &peer->listens : &peer->address;
}

static struct transfer_peer of_peer(const struct transfer *self, const struct peer *peer)
{
    return (struct transfer_peer){
        .address = *address_of(peer),
        .client = peer->client,
        .host = peer->report.host,
        .have_bytes = torrent_peer_have_bytes(&self->torrent, peer),
        .received_bytes = peer->received.total,
        .sent_bytes = peer->sent.total,
        .receive_rate = peer->received.per_second,
        .send_rate = peer->sent.per_second,
        .why = torrent_peer_why(&self->torrent, peer),
        .finished_s = wall_s(self, peer->finished_ms),
        .connected = true,
        .verified = peer->report.verified,
        .cooperative = peer->cooperates,
    };
}

static struct transfer_peer of_outcome(const struct transfer *self, const struct outcome *outcome)
{
    return (struct transfer_peer){
        .address = outcome->address,
        .client = outcome->client,
        .host = outcome->host,
        .have_bytes = self->torrent.picker.shape.total_size,
        .received_bytes = outcome->received_bytes,
        .sent_bytes = outcome->sent_bytes,
        .why = REPORT_WHY_NONE,
        .finished_s = wall_s(self, outcome->finished_ms),
        .verified = outcome->verified,
        .cooperative = outcome->cooperative,
    };
}

/* It was here before, and is again: one row, with what was known of it. */
static void join(const struct transfer *self, struct transfer_peer *row, struct outcome *before)
{
    row->received_bytes += before->received_bytes;
    row->sent_bytes += before->sent_bytes;
    row->verified |= before->verified;
    row->finished_s = wall_s(self, before->finished_ms);
}

size_t transfer_peers(const struct transfer *self, struct transfer_peer **ret_peers)
{
    const struct torrent *torrent = &self->torrent;
    *ret_peers = NULL;
    if (!self->running)
        return 0;
    const struct outcomes *outcomes = &torrent->outcomes;
    struct transfer_peer *rows = xcalloc(torrent->peers_count + outcomes->count + 1, sizeof *rows);
    bool *again = xcalloc(outcomes->count + 1, sizeof *again);
    size_t count = 0;
    for (uint32_t i = 0; i < torrent->slots; i++) {
        const struct peer *peer = torrent->peers[i];
        if (peer == NULL)
            continue;
        struct transfer_peer *row = &rows[count++];
        *row = of_peer(self, peer);
        struct outcome *before = outcomes_find(outcomes, address_of(peer), peer->report.host);
        if (before == NULL)
            continue;
        again[before - outcomes->items] = true;
        join(self, row, before);
    }
    for (uint32_t i = 0; i < outcomes->count; i++)
        if (!again[i])
            rows[count++] = of_outcome(self, &outcomes->items[i]);
    free(again);
    *ret_peers = rows;
    return count;
}

uint32_t transfer_finished(const struct transfer *self)
{
    const struct torrent *torrent = &self->torrent;
    if (!self->running)
        return 0;
    uint32_t finished = torrent->outcomes.count;
    for (uint32_t i = 0; i < torrent->slots; i++) {
        const struct peer *peer = torrent->peers[i];
        finished += peer != NULL && peer->finished_ms != 0 &&
                    outcomes_find(&torrent->outcomes, address_of(peer), peer->report.host) == NULL;
    }
    return finished;
}

/* ---- kept over a restart ---- */

static struct outcomes_clock both_clocks(const struct transfer *self)
{
    return (struct outcomes_clock){ .now_ms = transfers_now_ms(self->owner),
                                    .wall_s = clock_wall_s() };
}

static void save(const struct transfer *self)
{
    const struct outcomes_clock clock = both_clocks(self);
    struct outcomes outcomes = { 0 };
    uint8_t *data = NULL;
    size_t size = 0;
    if ((self->place != OWNERSHIP_HELD && self->place != OWNERSHIP_LEAVING) || self->removed)
        return;
    torrent_outcomes(&self->torrent, &outcomes);
    if (outcomes.count > 0) {
        outcomes_encode(&outcomes, &clock, &data, &size);
        if (catalogue_write(self->owner->catalogue, self->infohash, CATALOGUE_OUTCOMES, &data, size,
                            NULL, NULL) != LB_OK)
            log_warn("who finished is not saved: too much to do");
    }
    outcomes_done(&outcomes);
}

void transfer_save_outcomes(struct transfer *self, bool at_once)
{
    const uint64_t now_ms = transfers_now_ms(self->owner);
    if (!self->torrent.outcomes.changed && !at_once)
        return;
    if (!at_once && now_ms - self->outcomes_saved_ms < OUTCOMES_SAVE_MS)
        return;
    self->torrent.outcomes.changed = false;
    self->outcomes_saved_ms = now_ms;
    save(self);
}

/* A small file, read once when it begins. */
void transfer_load_outcomes(struct transfer *self)
{
    const struct outcomes_clock clock = both_clocks(self);
    uint8_t *data = NULL;
    size_t size = 0;
    if (self->place != OWNERSHIP_HELD || catalogue_read(self->owner->catalogue, self->infohash,
                                                        CATALOGUE_OUTCOMES, &data, &size) != LB_OK)
        return;
    if (outcomes_parse(&self->torrent.outcomes, bytes_of(data, size), &clock) != LB_OK)
        log_warn("who finished is not known any more: its record is damaged");
    self->torrent.outcomes.changed = false;
    free(data);
}
