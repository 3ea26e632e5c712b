#include "services/swarm/cooperate.h"

bool cooperate_with(enum cooperate_mode mode, bool our_kind, const struct address *address)
{
    switch (mode) {
    case COOPERATE_AUTO:
        return our_kind && address_is_private(address);
    case COOPERATE_ALWAYS:
        return our_kind;
    case COOPERATE_NEVER:
        break;
    }
    return false;
}
