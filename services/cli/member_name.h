/*
 * How a person names a member of a private network: its node id, or the beginning of one where the
 * list of members is known; who waits for approval by its key's fingerprint. Pure.
 */
#pragma once

#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMBER_DIGITS_MIN 4 /* of a node id: fewer are a slip of the hand */

struct member_name {
    char digits[NODE_ID_TEXT_SIZE]; /* lower case */
    bool is_whole;                  /* all 40: it names one, whatever the list says */
    struct node_id node;            /* when it is whole */
};

/* False: it is no 4 to 40 hexadecimal digits. */
bool member_name_parse(const char *text, struct member_name *ret_self);
bool member_name_matches(const struct member_name *self, const uint8_t *id, size_t size);

/* Of "4f1a-92c3-0b7e-55d0", in upper or lower case, with or without its hyphens. */
bool member_fingerprint_equal(const char *text, const char *fingerprint);
