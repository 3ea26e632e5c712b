/*
 * The members of a private network, as a coordinator lists them: shown, found by what a person
 * calls them, admitted and put out.
 */
#pragma once

#include "proto/littlebird/v1/network.pb-c.h"
#include "services/cli/member_name.h"
#include "services/cli/session.h"

#include <stdbool.h>

#define MEMBER_HOST_SIZE 65 /* the register keeps 64 bytes */

/* What is kept of one. */
struct member_found {
    struct node_id node;
    char host_name[MEMBER_HOST_SIZE]; /* for a terminal */
    bool revoked, coordinator;
};

/*
 * Who is meant. EXIT_NOT_FOUND: nobody, or several, and it is said. A revoked member is found by
 * its whole id, and by its beginning if nobody else has that.
 */
int members_find(struct session *session, const struct member_name *name,
                 struct member_found *ret_found);
