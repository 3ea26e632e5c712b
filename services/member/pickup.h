/*
 * Fetching what other nodes keep for this one: one round over the nodes closest to our own id.
 *
 * Each holder is asked for its list, page after page; each message is fetched once, from the
 * holders that have it in turn, put into the inbox, and then dropped at all of them. What the inbox
 * has had already is only dropped. A holder is believed nothing: a message counts by its digest and
 * its signature, and one that does not open is dropped like the others. No holder's list takes more
 * than its share of the places, so that one without end keeps nobody else's messages away. Pure;
 * allocates the message that is being fetched.
 */
#pragma once

#include "libcommon/address.h"
#include "services/member/parts.h"

#include <stdbool.h>
#include <stdint.h>

#define PICKUP_HOLDERS_MAX 17u
#define PICKUP_MAILS_MAX   256u /* of one round; each holder names its share of them at most */
#define PICKUP_PAGES_MAX   64u  /* of one holder and round */
#define PICKUP_WINDOW      8u   /* parts under way */
#define PICKUP_LOSSES_MAX  3u   /* of one message at one holder */
#define PICKUP_DROP_MAX    16u  /* ids in one DropMail */

struct pickup_holder {
    struct contact at;
    enum { PICKUP_TO_LIST, PICKUP_LISTING, PICKUP_LISTED, PICKUP_SILENT } state;
    uint8_t after[PARTS_ID_SIZE];
    bool has_after;
    unsigned pages;
    unsigned named; /* messages that it was the first to list */
    bool is_cut;    /* it has more than its share */
    bool is_dropping;
};

struct pickup_mail {
    uint8_t id[PARTS_ID_SIZE];
    uint32_t size;
    uint32_t keep_s;  /* the longest that a holder says */
    uint32_t holders; /* a bit each: have it */
    uint32_t failed;  /* could not give it */
    uint32_t dropped; /* were told to drop it */
    enum { PICKUP_WANTED, PICKUP_FETCHING, PICKUP_STORING, PICKUP_HAVE, PICKUP_LEFT } state;
};

struct pickup {
    struct pickup_holder holders[PICKUP_HOLDERS_MAX];
    unsigned holders_count;
    struct pickup_mail mails[PICKUP_MAILS_MAX];
    unsigned mails_count;
    bool is_cut;    /* there were more than there are places: another round fetches them ... */
    unsigned taken; /* ... if this one has put any into the inbox */
    bool is_full;   /* the inbox has no room: nothing more is fetched */
    /* The one that is being fetched. */
    unsigned mail, from;
    uint64_t wanted, has; /* a bit a part */
    unsigned under_way, losses;
    uint32_t fetch; /* counts up: answers of an earlier one do not count */
    uint8_t *data;
};

void pickup_begin(struct pickup *self, const struct contact *closest, unsigned closest_count);
void pickup_done(struct pickup *self);

enum pickup_kind { PICKUP_LIST, PICKUP_GET_PART, PICKUP_STORE, PICKUP_DROP };

struct pickup_action {
    enum pickup_kind kind;
    unsigned holder; /* LIST, GET_PART, DROP */
    struct contact to;
    const uint8_t *after; /* LIST: NULL, from the first */
    unsigned mail;        /* GET_PART, STORE */
    uint32_t fetch;
    uint8_t id[PARTS_ID_SIZE];
    uint32_t offset;
    /* STORE: the whole, verified against its id; the caller's to free. */
    uint8_t *data;
    uint32_t size, keep_s;
    /* DROP */
    uint8_t ids[PICKUP_DROP_MAX][PARTS_ID_SIZE];
    unsigned ids_count;
};

/* False: nothing until an answer comes, or all is over. */
bool pickup_next(struct pickup *self, struct pickup_action *ret_action);

/* What a holder's list says. is_known: the inbox has had it. */
struct pickup_listed {
    struct bytes id;
    uint32_t size, keep_s;
    bool is_known;
};
void pickup_listed(struct pickup *self, unsigned holder, const struct pickup_listed *listed,
                   unsigned count, bool more);
void pickup_silent(struct pickup *self, unsigned holder); /* to LIST */

/* size: of the message, as the holder says; data.size 0: no answer, or it has it no more. */
void pickup_part(struct pickup *self, const struct pickup_action *action, uint32_t size,
                 struct bytes data);

enum pickup_stored {
    PICKUP_IS_IN,   /* or had been: it may be dropped */
    PICKUP_IS_VOID, /* it does not count, and may be dropped */
    PICKUP_NO_ROOM, /* it stays where it is, as all others do */
    PICKUP_NOT_NOW
};
void pickup_stored(struct pickup *self, unsigned mail, enum pickup_stored stored);
void pickup_dropped(struct pickup *self, unsigned holder);

bool pickup_is_over(const struct pickup *self);
