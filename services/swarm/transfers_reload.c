/* The configuration of a swarm that runs: what is copied from it, and what changes when it does. */
#include "libcommon/actor.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "services/swarm/transfers_inside.h"

/* Of the peers we allow, so many are left for those who call us. */
#define WANTED_PART    2u
#define WANTED_AT_MOST 80u

struct torrent_numbers transfers_numbers(const struct transfers *self)
{
    const struct config *config = actor_config(self->actor);
    const uint32_t peers_max = (uint32_t)config_number(config, CONFIG_SWARM_PEERS_MAX);
    const uint32_t wanted = peers_max / WANTED_PART + 1;
    return (struct torrent_numbers){
        .peers_max = peers_max,
        .peers_wanted = wanted < WANTED_AT_MOST ? wanted : WANTED_AT_MOST,
        .upload_slots = (uint32_t)config_number(config, CONFIG_SWARM_UPLOAD_SLOTS),
        .announce_interval_ms = (uint32_t)config_number(config, CONFIG_SWARM_ANNOUNCE),
    };
}

/* What was set by hand since stays, unless the configuration itself says another rate now. */
static void change_limit(struct transfers *self, enum limits_direction direction,
                         enum config_key key)
{
    const uint64_t rate = config_number(actor_config(self->actor), key);
    const struct transfers_limits limits = {
        .has_receive = direction == LIMITS_RECEIVE,
        .has_send = direction == LIMITS_SEND,
        .receive = rate,
        .send = rate,
    };
    if (rate == self->configured[direction])
        return;
    self->configured[direction] = rate;
    if (transfers_set_limits(self, NULL, &limits) != LB_OK)
        log_warn("a limit of the configuration is not taken: %s", config_key_name(key));
}

void transfers_reload(struct transfers *self)
{
    const struct torrent_numbers numbers = transfers_numbers(self);
    for (size_t i = 0; i < self->count; i++) {
        if (!self->items[i]->running)
            continue;
        torrent_set_numbers(&self->items[i]->torrent, &numbers);
        transfers_touch(self->items[i]);
    }
    change_limit(self, LIMITS_RECEIVE, CONFIG_SWARM_RECEIVE_LIMIT);
    change_limit(self, LIMITS_SEND, CONFIG_SWARM_SEND_LIMIT);
    transfers_look_at_queue(self);
}
