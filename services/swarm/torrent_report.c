/*
 * What is told to peers of our kind that have everything, and what they tell: report.h. And who
 * finished here and went: outcomes.h.
 */
#include "services/swarm/torrent_inside.h"

#include <stdio.h>
#include <string.h>

/* Between its last HAVE and its report, that may be so long. */
#define REPORT_WAIT_MS 3000u

/* ---- ours ---- */

static struct report_self look_at_self(const struct torrent *self)
{
    struct report_self view = {
        .complete = self->complete,
        .paused = self->paused,
        .disk_behind = self->facts.disk_behind,
    };
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (peer == NULL || peer->wanted == 0)
            continue;
        view.useful++;
        view.limited |= limits_waits(&peer->receiving);
        view.serving += !peer->choking;
        view.silent += !peer->choking && peer->snubbed;
    }
    return view;
}

static struct report own_report(const struct torrent *self)
{
    const struct report_self view = look_at_self(self);
    const bool verifying = self->complete && self->facts.verify && !self->facts.verified;
    struct report report = {
        .state = verifying        ? REPORT_VERIFYING
                 : self->complete ? REPORT_COMPLETE
                                  : REPORT_FETCHING,
        .why = report_why_self(&view),
        .verified = self->complete && self->facts.verified,
        .have_bytes = torrent_have_bytes(self),
    };
    return report;
}

/* Our name is for those of the same site. */
static struct report report_for(const struct torrent *self, const struct peer *peer,
                                const struct report *own)
{
    struct report report = *own;
    if (self->options.host != NULL && address_is_private(&peer->address))
        snprintf(report.host, sizeof report.host, "%s", self->options.host);
    return report;
}

static bool is_due(const struct peer *peer, const struct report *report, uint64_t now_ms)
{
    if (peer->lb_report == 0 || !peer->everything)
        return false;
    if (peer->report_told_ms == 0)
        return true;
    if (report_same(report, &peer->report_told))
        return report->have_bytes != peer->report_told.have_bytes &&
               now_ms - peer->report_told_ms >= REPORT_PROGRESS_MS;
    return now_ms - peer->report_told_ms >= REPORT_INTERVAL_MS;
}

static void tell(struct torrent *self, struct peer *peer, const struct report *report,
                 uint64_t now_ms)
{
    uint8_t buffer[REPORT_MESSAGE_MAX];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    report_put(&writer, report);
    peer->report_told = *report;
    peer->report_told_ms = now_ms;
    torrent_exchange_send(self, peer, peer->lb_report, &writer, now_ms);
}

void torrent_report_last(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    const struct report own = own_report(self);
    const struct report report = report_for(self, peer, &own);
    if (peer->lb_report != 0 && peer->everything)
        tell(self, peer, &report, now_ms);
}

void torrent_report_turn(struct torrent *self, uint64_t now_ms)
{
    if (!self->has_metainfo)
        return;
    const struct report own = own_report(self);
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer **peer = &self->peers[i];
        if (*peer == NULL)
            continue;
        const struct report report = report_for(self, *peer, &own);
        if (is_due(*peer, &report, now_ms))
            tell(self, *peer, &report, now_ms);
        if (torrent_report_is_over(self, *peer, now_ms))
            torrent_drop(self, peer, "both have everything", now_ms);
    }
}

void torrent_tell(struct torrent *self, const struct torrent_facts *facts)
{
    self->facts = *facts;
}

/* ---- theirs ---- */

const char *torrent_report_message(struct peer *peer, struct bytes payload)
{
    struct report report;
    if (report_read(payload, &report) != LB_OK)
        return ++peer->faults > PEER_FAULTS_MAX ? "its extension messages make no sense" : NULL;
    peer->report = report;
    return NULL;
}

static bool has_finished(const struct peer *peer)
{
    return peer->everything || peer->report.state == REPORT_COMPLETE ||
           peer->report.state == REPORT_VERIFYING;
}

void torrent_report_look(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    if (self->has_metainfo && peer->finished_ms == 0 && has_finished(peer))
        peer->finished_ms = now_ms;
}

bool torrent_report_is_over(const struct torrent *self, const struct peer *peer, uint64_t now_ms)
{
    if (!self->complete || !(peer->everything || peer->upload_only))
        return false;
    if (peer->extended && !peer->introduced)
        return now_ms - peer->joined_ms >= REPORT_WAIT_MS; /* else nobody knows whom to remember */
    if (self->facts.verify && !self->facts.verified && peer->lb_report != 0 && peer->everything)
        return false; /* it is to hear how that ends */
    if (peer->lb_report == 0 || peer->report.state == REPORT_COMPLETE)
        return true;
    return peer->report.state != REPORT_VERIFYING && peer->finished_ms != 0 &&
           now_ms - peer->finished_ms >= REPORT_WAIT_MS;
}

static struct outcome outcome_of(const struct peer *peer)
{
    struct outcome outcome = {
        .address = peer->listens.port != 0 ? peer->listens : peer->address,
        .received_bytes = peer->received.total,
        .sent_bytes = peer->sent.total,
        .finished_ms = peer->finished_ms,
        .verified = peer->report.verified,
        .cooperative = peer->cooperates,
    };
    memcpy(outcome.client, peer->client, sizeof outcome.client);
    memcpy(outcome.host, peer->report.host, sizeof outcome.host);
    return outcome;
}

void torrent_report_left(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    torrent_report_look(self, peer, now_ms);
    if (peer->finished_ms == 0)
        return;
    const struct outcome outcome = outcome_of(peer);
    outcomes_add(&self->outcomes, &outcome);
}

void torrent_outcomes(const struct torrent *self, struct outcomes *ret_outcomes)
{
    for (uint32_t i = 0; i < self->outcomes.count; i++)
        outcomes_add(ret_outcomes,
                     &self->outcomes.items[(self->outcomes.oldest + i) % self->outcomes.count]);
    for (uint32_t i = 0; i < self->slots; i++) {
        if (self->peers[i] == NULL || self->peers[i]->finished_ms == 0)
            continue;
        const struct outcome outcome = outcome_of(self->peers[i]);
        outcomes_add(ret_outcomes, &outcome);
    }
}

enum report_why torrent_peer_why(const struct torrent *self, const struct peer *peer)
{
    const struct report_view view = {
        .complete = peer->finished_ms != 0,
        .said = peer->report.why,
        .interested = peer->interested,
        .am_choking = peer->am_choking,
        .limited = limits_waits(&peer->sending),
        .snubbed = peer->snubbed,
        .sending = peer->sending_bytes > 0,
    };
    (void)self;
    return report_why_peer(&view);
}

/* Bytes it has, by its pieces or by what it says. */
uint64_t torrent_peer_have_bytes(const struct torrent *self, const struct peer *peer)
{
    if (!self->has_metainfo)
        return peer->report.have_bytes;
    const struct picker_shape *shape = &self->picker.shape;
    uint64_t bytes = (uint64_t)peer->pieces_count * shape->piece_size;
    if (peer->everything || bytes > shape->total_size)
        bytes = shape->total_size;
    return peer->report.have_bytes > bytes && peer->report.have_bytes <= shape->total_size
               ? peer->report.have_bytes
               : bytes;
}
