/*
 * lb-swarm's shell: answers requests about transfers. What is done stands in transfers.h; here only
 * messages are taken apart and put together.
 */
#pragma once

#include "libcommon/actor.h"

extern const struct service_definition swarm_service;
