/* The group of coordinators as a person sees it: what each is, who is meant, what it survives.
 * Pure.
 */
#pragma once

#include "proto/littlebird/v1/network.pb-c.h"

#include <stdbool.h>

/* "leader", "follower", "not voting yet", "has offered itself". */
const char *group_role_text(const Littlebird__V1__GetCoordinatorsResponse *group,
                            const Littlebird__V1__Coordinator *coordinator);

unsigned group_voters(const Littlebird__V1__GetCoordinatorsResponse *group);

/* What a group of so many survives, and what would be better; static. */
const char *group_strength_text(unsigned voters);

/*
 * How many are called so: HOST:PORT, HOST, or the beginning of a node id; *ret_coordinator is the
 * last of them. offered: of those that have offered themselves, else of those in the group.
 */
unsigned group_find(const Littlebird__V1__GetCoordinatorsResponse *group, const char *name,
                    bool offered, const Littlebird__V1__Coordinator **ret_coordinator);
