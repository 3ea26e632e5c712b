/*
 * Who has been put out of our private network and still stands in the routing table: routing has no
 * deny list and no OpenSSL to read one, so it is told whom to forget, within a second of the list
 * that denies them; and of each whom it takes up again, from a replacement list or its snapshot. It
 * takes nobody up anew: who is denied has no session with us, and answers nothing.
 *
 * Nothing is looked at while nobody is denied, nor twice while list and table are the same.
 */
#pragma once

#include "libcommon/node_id.h"

#include <stddef.h>
#include <stdint.h>

#define DENIALS_MAX 64u /* in one message (proto/routing.proto); the rest a second later */

struct deny_list;
struct link;
struct routing_page;

struct denials {
    uint64_t number;              /* of the deny list that was looked at last */
    uint64_t generation, version; /* of the table */
};

/* The denied ones of the table, when either is new. page may be NULL, as denied. */
size_t denials_find(struct denials *self, const struct routing_page *page,
                    const struct deny_list *denied, struct node_id ret_ids[DENIALS_MAX]);

/* Tell routing. Once a second. */
void denials_care(struct denials *self, const struct routing_page *page,
                  const struct deny_list *denied, struct link *routing);
