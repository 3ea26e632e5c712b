/* lb-gateway: the public API (proto/littlebird/v1) on RUN/api.sock and RUN/events.sock. */
#include "libcommon/actor.h"
#include "proto/supervisor.pb-c.h"
#include "services/gateway/service.h"

/*
 * Other services ask it for nothing, so its mailbox refuses every request, with the smallest of the
 * internal protocols to unpack them.
 */
static const struct service_definition definition = {
    .service = SERVICE_GATEWAY,
    .request = &lb__supervisor__request__descriptor,
    .reply = &lb__supervisor__reply__descriptor,
    .handlers = NULL,
    .handlers_count = 0,
    .start = gateway_start,
    .stop = gateway_stop,
    .free = gateway_free,
    .scaled = gateway_scaled,
};

int main(int argc, char **argv)
{
    return actor_main(&definition, argc, argv);
}
