/*
 * The key of the write tokens: one for all workers of a node, kept in the run folder, so that a
 * token outlives the worker that gave it.
 */
#pragma once

#include "services/transport/tokens.h"

/* Read FOLDER/transport.key, or make it. When neither works, a key for this process alone; logged.
 */
void token_key_load(const char *folder, uint8_t ret_key[TOKENS_KEY_SIZE]);
