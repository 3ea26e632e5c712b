/* The shell of lb-signer (proto/signer.proto). */
#pragma once

#include "libcommon/actor.h"

extern const struct service_definition signer_service;
