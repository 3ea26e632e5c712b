/*
 * lb-supervisor under systemd: the services are systemd's, and it forks nothing. It says how they
 * are in the status page, has systemd start again what hangs though it pings, has a failed one
 * tried again every 5 minutes, and carries out what is asked of the supervisor's mailbox
 * (requests.h) by asking systemd (bus.h). While it is dead systemd goes on alone.
 */
#pragma once

#include "libcommon/actor.h"

/* Does systemd's unit say that we are to be this? */
bool overseer_is_wanted(void);

extern const struct service_definition overseer_definition;
