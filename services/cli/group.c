#include "services/cli/group.h"

#include "services/cli/member_name.h"

#include <string.h>

const char *group_role_text(const Littlebird__V1__GetCoordinatorsResponse *group,
                            const Littlebird__V1__Coordinator *coordinator)
{
    if (coordinator->server == 0)
        return "has offered itself";
    if (coordinator->server == group->leader)
        return "leader";
    return coordinator->voter ? "follower" : "not voting yet";
}

unsigned group_voters(const Littlebird__V1__GetCoordinatorsResponse *group)
{
    unsigned count = 0;

    for (size_t i = 0; i < group->n_coordinators; i++)
        count += group->coordinators[i]->server != 0 && group->coordinators[i]->voter;
    return count;
}

const char *group_strength_text(unsigned voters)
{
    switch (voters) {
    case 0:
        return "no coordinator votes";
    case 1:
        return "a group of one: joins wait while it is away; three survive the loss of any one";
    case 2:
        return "a group of two: joins wait while either is away; add a third";
    case 3:
        return "a group of three: joins go on while any two live";
    case 4:
        return "a group of four survives no more than three do; add a fifth, or remove one";
    case 5:
        return "a group of five: joins go on while any three live";
    default:
        return "a group of more than five: each join waits for more of them than are wanted";
    }
}

/* "192.0.2.1:6891" is called that, and "192.0.2.1"; "[::1]:6891" is called "::1" too. */
static bool is_address_of(const char *address, const char *name)
{
    const char *colon = strrchr(address, ':');
    size_t size = colon != NULL ? (size_t)(colon - address) : strlen(address);

    if (strcmp(address, name) == 0)
        return true;
    if (size >= 2 && address[0] == '[' && address[size - 1] == ']' && name[0] != '[')
        return strlen(name) == size - 2 && memcmp(address + 1, name, size - 2) == 0;
    return strlen(name) == size && memcmp(address, name, size) == 0;
}

unsigned group_find(const Littlebird__V1__GetCoordinatorsResponse *group, const char *name,
                    bool offered, const Littlebird__V1__Coordinator **ret_coordinator)
{
    struct member_name node;
    bool is_node = member_name_parse(name, &node);
    unsigned count = 0;

    for (size_t i = 0; i < group->n_coordinators; i++) {
        const Littlebird__V1__Coordinator *coordinator = group->coordinators[i];
        const ProtobufCBinaryData *id = &coordinator->node_id;

        if ((coordinator->server == 0) != offered)
            continue;
        if (!is_address_of(coordinator->address, name) &&
            !(is_node && member_name_matches(&node, id->data, id->len)))
            continue;
        *ret_coordinator = coordinator;
        count++;
    }
    return count;
}
