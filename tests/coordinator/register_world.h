/* The register as tests and fuzzers feed it: commands from letters. */
#pragma once

#include "services/coordinator/register.h"

#define WORLD_T0   1800000000u /* s since 1970 */
#define WORLD_LEAF (7u * 24 * 3600)

struct world {
    struct network_register *reg;
    uint64_t now_s;
};

/* A register that was founded at WORLD_T0 by the key '0': serial 1. */
void world_init(struct world *self);
void world_done(struct world *self);

/* Any key, secret, id or host of a test is one letter, many times. */
struct register_command world_command(const struct world *self, enum register_verb verb);
void world_set_key(struct register_command *command, char letter); /* key and key_digest */
void world_set_token(struct register_command *command, char letter);
struct node_id world_node(char letter);

struct register_result world_apply(struct world *self, const struct register_command *command);
