#include "libcommon/instances.h"

void instances_init(struct instances *self, struct actor *actor, enum service service,
                    const ProtobufCMessageDescriptor *reply)
{
    *self = (struct instances){ .actor = actor, .service = service, .reply = reply };
    instances_follow(self);
}

bool instances_follow(struct instances *self)
{
    unsigned active = actor_active(self->actor, self->service);
    bool is_other;

    if (active > STATUS_INSTANCES_MAX)
        active = STATUS_INSTANCES_MAX;
    for (; self->linked < active; self->linked++)
        self->links[self->linked] =
            actor_link(self->actor, self->service, self->linked, self->reply);
    is_other = active != self->active;
    self->active = active;
    return is_other;
}

struct link *instances_pick(const struct instances *self, unsigned wanted)
{
    for (unsigned i = 0; i < self->active; i++) {
        struct link *link = self->links[(wanted + i) % self->active];

        if (link_is_up(link))
            return link;
    }
    return self->links[wanted % self->active];
}

bool instances_are_up(const struct instances *self)
{
    return link_is_up(instances_pick(self, 0));
}
