/* The shell of lb-coordinator (proto/coordinator.proto). */
#pragma once

#include "libcommon/actor.h"

extern const struct service_definition coordinator_service;
