/*
 * What systemd says of a unit, written into its slot of the status page beside what the service
 * says itself: state and note are the service's own while it lives.
 */
#pragma once

#include "services/supervisor/unit.h"

/* now_ms is monotonic. */
void unit_slot_publish(struct status_slot *slot, const struct unit *unit, uint64_t now_ms);
