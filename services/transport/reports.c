#include "services/transport/reports.h"

#include "libcommon/actor.h"
#include "proto/routing.pb-c.h"

static const Lb__Routing__Sighting__Kind kinds[] = {
    [SIGHTING_QUERIED] = LB__ROUTING__SIGHTING__KIND__QUERIED,
    [SIGHTING_ANSWERED] = LB__ROUTING__SIGHTING__KIND__ANSWERED,
    [SIGHTING_SILENT] = LB__ROUTING__SIGHTING__KIND__SILENT,
};

void reports_add(struct reports *self, const struct endpoint_result *result)
{
    for (unsigned i = 0; i < result->sightings_count; i++) {
        if (self->count == REPORTS_BATCH_MAX)
            reports_flush(self);
        self->sightings[self->count++] = result->sightings[i];
    }
}

void reports_flush(struct reports *self)
{
    Lb__Routing__Request request = LB__ROUTING__REQUEST__INIT;
    Lb__Routing__Sightings sightings = LB__ROUTING__SIGHTINGS__INIT;
    Lb__Routing__Sighting list[REPORTS_BATCH_MAX], *pointers[REPORTS_BATCH_MAX];
    Lb__Contact contacts[REPORTS_BATCH_MAX];
    uint8_t addresses[REPORTS_BATCH_MAX][ADDRESS_COMPACT_V6];

    if (self->count == 0)
        return;
    for (unsigned i = 0; i < self->count; i++) {
        struct sighting *from = &self->sightings[i];

        lb__contact__init(&contacts[i]);
        contacts[i].node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, from->contact.id.bytes };
        contacts[i].address.len = address_to_compact(&from->contact.address, addresses[i]);
        contacts[i].address.data = addresses[i];
        lb__routing__sighting__init(&list[i]);
        list[i].contact = &contacts[i];
        list[i].kind = kinds[from->kind];
        list[i].rtt_us = from->rtt_us;
        pointers[i] = &list[i];
    }
    sightings.n_sightings = self->count;
    sightings.sightings = pointers;
    request.body_case = LB__ROUTING__REQUEST__BODY_SIGHTINGS;
    request.sightings = &sightings;
    self->count = 0;
    link_tell(self->routing, &request.base);
}
