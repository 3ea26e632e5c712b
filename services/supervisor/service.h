/*
 * lb-supervisor, standalone: the manager of a node's services. It binds and keeps their sockets,
 * starts them, listens to their notifications, starts them again, and stops them in order. What
 * happens to a service is decided in lifecycle.c; here it is carried out.
 */
#pragma once

#include "libcommon/actor.h"

extern const struct service_definition supervisor_definition;
