/*
 * Drafts: mail of which some parts have come. They are kept in memory until the last part is there,
 * so nothing unfinished is ever on disk; a restart forgets them, and who sends begins anew.
 *
 * Of one mail every sender has a draft of its own: nobody can spoil what another one brings. When
 * there are too many the one begun first goes, of the same sender if it is this one that has too
 * many. Pure; allocates the mails.
 */
#pragma once

#include "services/storage/box.h"

#define BOX_DRAFTS_MAX           64u /* 2.6 MB, if all are as large as can be */
#define BOX_DRAFTS_OF_SENDER_MAX 8u
#define BOX_DRAFT_MS             600000u /* and no longer */

struct box_draft {
    struct box_mail mail;
    struct node_id sender;
    uint32_t size, keep_s;
    uint64_t began_ms;
    uint64_t missing; /* a bit for each part */
    uint8_t *data;    /* NULL: a free place */
};

struct box_drafts {
    struct box_draft places[BOX_DRAFTS_MAX];
};

/* Zeroed memory has none. */
void box_drafts_done(struct box_drafts *self);

/* Is there one, of this sender? */
bool box_drafts_has(const struct box_drafts *self, const struct box_mail *mail,
                    const struct node_id *sender);

/*
 * A part that box_part_check() found sound. True: it was the last one, and *ret_data are the bytes
 * of the mail, which the caller frees; *ret_keep_s is what the first part said. A part that is
 * there already changes nothing. LB_CONFLICT, nothing taken: it says another size than the parts
 * before.
 */
LB_MUST_CHECK lb_err box_drafts_add(struct box_drafts *self, const struct box_part *part,
                                    const struct node_id *sender, uint64_t now_ms,
                                    bool *ret_complete, uint8_t **ret_data, uint32_t *ret_keep_s);

/* Those that take too long. */
void box_drafts_expire(struct box_drafts *self, uint64_t now_ms);
