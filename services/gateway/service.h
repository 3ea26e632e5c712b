/* The shell of lb-gateway: its sockets, its links and the calls between them. */
#pragma once

#include "libcommon/actor.h"

lb_err gateway_start(struct actor *actor, void **ret_ctx);
void gateway_stop(void *ctx);
void gateway_free(void *ctx);
void gateway_scaled(void *ctx);
