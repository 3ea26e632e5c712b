#include "services/swarm/ownership.h"

#include "libcommon/owner.h"

unsigned ownership_of(const uint8_t infohash[20], unsigned active)
{
    return owner_of_place(owner_place(infohash), active);
}

enum ownership_step ownership_step(const struct ownership_facts *facts)
{
    const bool wanted = facts->ours && facts->ordered;

    switch (facts->place) {
    case OWNERSHIP_ABSENT:
        return wanted ? OWNERSHIP_TAKE : OWNERSHIP_STAY;
    case OWNERSHIP_AWAITED:
        return wanted ? OWNERSHIP_TAKE : OWNERSHIP_FORGET;
    case OWNERSHIP_HELD:
        return facts->ours ? OWNERSHIP_STAY : OWNERSHIP_HAND;
    case OWNERSHIP_LEAVING:
        return OWNERSHIP_STAY; /* it cannot be called back; once it has left it can be taken */
    case OWNERSHIP_LEFT:
        if (wanted)
            return OWNERSHIP_TAKE;
        return facts->listed ? OWNERSHIP_FORGET : OWNERSHIP_STAY;
    case OWNERSHIP_MIRROR:
        return wanted ? OWNERSHIP_TAKE : OWNERSHIP_STAY;
    }
    return OWNERSHIP_STAY;
}
