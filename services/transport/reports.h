/*
 * Sightings on their way to lb-routing: collected, and told in messages of up to REPORTS_BATCH_MAX
 * at the end of a turn of the loop. Routing that is not there does not get them later.
 */
#pragma once

#include "services/transport/endpoint.h"

#define REPORTS_BATCH_MAX 64u /* proto/routing.proto */

struct link;

struct reports {
    struct link *routing; /* borrowed */
    struct sighting sightings[REPORTS_BATCH_MAX];
    unsigned count;
};

void reports_add(struct reports *self, const struct endpoint_result *result);
void reports_flush(struct reports *self);
