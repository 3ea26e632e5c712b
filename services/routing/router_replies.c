#include "services/routing/router_inside.h"

#define INTRO_UNSENT_MAX 200u /* times an introduction is tried while transport is away */

struct table *router_table_of(struct router *self, const struct address *address)
{
    return &self->tables[address_is_v4(address) ? ROUTING_V4 : ROUTING_V6];
}

/* ---- what is learnt of contacts ---- */

static void maintain_by(struct router *self, uint64_t at_ms)
{
    if (at_ms < self->maintenance_ms) {
        self->maintenance_ms = at_ms;
    }
}

static void learn_rtt(struct router *self, uint32_t rtt_us)
{
    /* RFC 6298, section 2, over all nodes. */
    if (self->rtt_us == 0) {
        self->rtt_us = rtt_us;
        self->rtt_deviation_us = rtt_us / 2;
        return;
    }
    uint64_t off_us = rtt_us > self->rtt_us ? rtt_us - self->rtt_us : self->rtt_us - rtt_us;
    self->rtt_deviation_us = (3 * self->rtt_deviation_us + off_us) / 4;
    self->rtt_us = (7 * self->rtt_us + rtt_us) / 8;
}

static void contact_answered(struct router *self, const struct contact *contact, uint32_t rtt_us,
                             uint64_t now_ms)
{
    struct probe probe = { .rival = *contact, .not_before_ms = now_ms };
    enum table_verdict verdict = table_answered(router_table_of(self, &contact->address), contact,
                                                rtt_us, now_ms, &probe.contact);

    silence_clear(&self->silence, &contact->address);
    self->stats.added += verdict == TABLE_ADDED;
    if (verdict == TABLE_PROBE) {
        probe.reason = PROBE_ENTRY;
        (void)probes_add(&self->probes, &probe);
    }
    if (verdict == TABLE_CONFLICT) {
        self->stats.conflicts++;
        probe.reason = PROBE_CHALLENGE;
        (void)probes_add(&self->probes, &probe);
    }
}

static void contact_silent(struct router *self, const struct contact *contact, uint64_t now_ms)
{
    silence_note(&self->silence, &contact->address, now_ms);
    recall_forget(&self->recall, &contact->address);
    if (table_silent(router_table_of(self, &contact->address), contact, now_ms) == TABLE_KEPT) {
        maintain_by(self, now_ms + TABLE_RETRY_LEAST_MS);
    }
}

static void contact_heard(struct router *self, const struct contact *contact, uint64_t now_ms)
{
    struct probe probe = { .reason = PROBE_HEARD, .not_before_ms = now_ms };

    if (!silence_is_recent(&self->silence, &contact->address, ROUTER_REPROBE_MS, now_ms) &&
        table_heard(router_table_of(self, &contact->address), contact, now_ms, &probe.contact) ==
            TABLE_PROBE) {
        (void)probes_add(&self->probes, &probe);
    }
}

static void contact_met(struct router *self, const struct contact *contact, uint64_t now_ms)
{
    struct probe probe = { .contact = *contact,
                           .reason = PROBE_MET,
                           .not_before_ms = now_ms + ROUTER_MET_DELAY_MS };

    if (table_has_place(router_table_of(self, &contact->address), contact, now_ms) &&
        !silence_is_recent(&self->silence, &contact->address, SILENCE_MS, now_ms)) {
        (void)probes_add(&self->probes, &probe);
    }
}

void router_sighting(struct router *self, enum sighting_kind kind, const struct contact *contact,
                     uint32_t rtt_us, uint64_t now_ms)
{
    if (!address_is_usable(&contact->address)) {
        return;
    }
    switch (kind) {
    case SIGHTING_QUERIED:
        contact_heard(self, contact, now_ms);
        break;
    case SIGHTING_ANSWERED:
        contact_answered(self, contact, rtt_us, now_ms);
        break;
    case SIGHTING_SILENT:
        contact_silent(self, contact, now_ms);
        break;
    }
}

void router_forget(struct router *self, const struct node_id *id)
{
    struct contact contact;

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        if (table_forget(&self->tables[i], id, &contact)) {
            recall_forget(&self->recall, &contact.address);
            self->stats.forgotten++;
        }
    }
    probes_forget(&self->probes, id);
}

/* ---- replies ---- */

static void intro_reply(struct router *self, struct intro *intro, const struct reply *reply,
                        uint64_t now_ms)
{
    if (reply->outcome == REPLY_UNSENT && ++intro->unsent < INTRO_UNSENT_MAX) {
        intro->state = INTRO_WAITING;
    } else if (reply->outcome == REPLY_ANSWERED) {
        intro->state = INTRO_ANSWERED;
        intro->id = reply->id;
        join_hurry(&self->join, now_ms);
    } else {
        intro->state = INTRO_SILENT;
    }
}

static void probe_reply(struct router *self, const struct flight *flight, const struct reply *reply,
                        uint64_t now_ms)
{
    if (reply->outcome == REPLY_UNSENT) {
        probes_return(&self->probes, &flight->probe);
        return;
    }
    bool same = reply->outcome == REPLY_ANSWERED && node_id_equal(&reply->id, &flight->contact.id);
    if (flight->probe.reason == PROBE_CHALLENGE && !same && reply->outcome != REPLY_UNREACHABLE) {
        table_lost_challenge(router_table_of(self, &flight->contact.address), &flight->contact,
                             now_ms);
        contact_answered(self, &flight->probe.rival, 0, now_ms);
    }
}

static void lookup_flight_reply(struct router *self, const struct flight *flight,
                                const struct reply *reply)
{
    struct search *search = self->searches[flight->search];

    if (search != NULL && search->serial == flight->search_serial) {
        search_reply(search, flight->lookup, flight->lookup_ticket, reply);
    }
}

/* What a reply says of the node itself, whoever asked. */
static void learn(struct router *self, const struct contact *asked, const struct reply *reply,
                  uint64_t now_ms)
{
    struct contact contact = { .id = reply->id, .address = asked->address };

    switch (reply->outcome) {
    case REPLY_ANSWERED:
        self->stats.answers++;
        learn_rtt(self, reply->rtt_us);
        contact_answered(self, &contact, reply->rtt_us, now_ms);
        if (reply->observed != NULL) {
            external_vote(
                &self->externals[address_is_v4(reply->observed) ? ROUTING_V4 : ROUTING_V6],
                &asked->address, reply->observed);
        }
        for (size_t i = 0; i < reply->nodes_count && i < LOOKUP_REPLY_NODES_MAX; i++) {
            contact_met(self, &reply->nodes[i], now_ms);
        }
        break;
    case REPLY_SILENT:
        self->stats.silent++;
        contact_silent(self, asked, now_ms);
        break;
    case REPLY_REFUSED:
        self->stats.refused++;
        break;
    case REPLY_UNSENT:
        self->stats.unsent++;
        self->paused_ms = now_ms + ROUTER_PAUSE_MS;
        break;
    case REPLY_UNREACHABLE:
        break;
    }
}

void router_reply(struct router *self, uint32_t ticket, const struct reply *reply, uint64_t now_ms)
{
    struct flight *found = router_flight_find(self, ticket);

    if (found == NULL) {
        return;
    }
    struct flight flight = *found;
    found->purpose = FLIGHT_FREE;
    self->flights_used--;
    learn(self, &flight.contact, reply, now_ms);
    switch (flight.purpose) {
    case FLIGHT_LOOKUP:
        lookup_flight_reply(self, &flight, reply);
        break;
    case FLIGHT_PROBE:
        self->probing--;
        probe_reply(self, &flight, reply, now_ms);
        break;
    case FLIGHT_SEED:
        join_asked(&self->join, flight.seed, reply->outcome != REPLY_UNSENT);
        break;
    case FLIGHT_INTRO:
        if (self->intros[flight.intro].state == INTRO_ASKED) {
            intro_reply(self, &self->intros[flight.intro], reply, now_ms);
        }
        break;
    case FLIGHT_FREE:
        break;
    }
}
