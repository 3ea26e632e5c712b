#include "tests/coordinator/register_world.h"

#include "libcommon/crypto.h"

#include <string.h>

void world_set_key(struct register_command *command, char letter)
{
    command->key.size = 91;
    memset(command->key.data, letter, 91);
    sha256(bytes_of(command->key.data, 91), command->key_digest);
}

void world_set_token(struct register_command *command, char letter)
{
    memset(command->invite, letter, sizeof command->invite);
    memset(command->secret, letter, sizeof command->secret);
}

struct node_id world_node(char letter)
{
    struct node_id node;

    memset(node.bytes, letter, sizeof node.bytes);
    return node;
}

struct register_command world_command(const struct world *self, enum register_verb verb)
{
    struct register_command command = { .verb = verb,
                                        .now_s = self->now_s,
                                        .uses = 1,
                                        .expires_s = self->now_s + 24 * 3600,
                                        .not_after_s = self->now_s + WORLD_LEAF,
                                        .address = "10.0.0.1:6891",
                                        .node_port = 6881,
                                        .network_name = "class",
                                        .host_name = "host",
                                        .request = { (const uint8_t *)"request", 7 },
                                        .intermediate = { (const uint8_t *)"intermediate", 12 } };

    return command;
}

struct register_result world_apply(struct world *self, const struct register_command *command)
{
    uint8_t data[REGISTER_COMMAND_MAX];
    size_t size = register_command_write(command, data);

    return register_apply(self->reg, bytes_of(data, size));
}

void world_init(struct world *self)
{
    struct register_command found;

    self->reg = register_new();
    self->now_s = WORLD_T0;
    found = world_command(self, VERB_FOUND);
    found.node = world_node('0');
    world_set_key(&found, '0');
    (void)world_apply(self, &found);
}

void world_done(struct world *self)
{
    register_free(&self->reg);
}
