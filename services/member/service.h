/* The shell of lb-member (proto/member.proto). */
#pragma once

#include "libcommon/actor.h"

extern const struct service_definition member_service;
