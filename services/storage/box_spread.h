/*
 * Spreading a box: what one recipient has here, brought to other nodes that should hold it too.
 *
 *     offer the heads, 16 at a time -> the certificate, if it is wanted -> the parts of what it
 *     lacks, BOX_SPREAD_WINDOW under way -> the next 16
 *
 * A conversation without I/O over a list of nodes, BOX_SPREAD_ACTIVE at once: the k closest that a
 * lookup found (a check), or one (a newcomer, or who becomes responsible when we leave). Parts that
 * got lost are sent once more; so is a mail of which all were taken and which is not complete,
 * since its receiver may have started anew. Who is silent BOX_SPREAD_SILENCES times in a row is
 * given up. Pure; allocates.
 */
#pragma once

#include "libcommon/address.h"
#include "services/storage/box.h"

#define BOX_SPREAD_NODES_MAX 40u
#define BOX_SPREAD_ACTIVE    4u
#define BOX_SPREAD_WINDOW    4u
#define BOX_SPREAD_SILENCES  3u
#define BOX_SPREAD_TRIES     2u   /* of one mail */
#define BOX_PARTS_S          400u /* steps a second, of all spreadings; when leaving, four times */

struct box_head {
    uint8_t id[BOX_ID_SIZE];
    uint32_t size, keep_s;
};

/* What there is here, asked from inside box_spread_next() only. */
struct box_store {
    void *ctx;
    /* By id, after this one (NULL: from the first); at most BOX_HEADS_MAX. */
    size_t (*heads)(void *ctx, const struct node_id *recipient, const uint8_t *after,
                    struct box_head ret_heads[BOX_HEADS_MAX], bool *ret_more);
    /* notBefore of the certificate; 0: there is none. */
    uint64_t (*certificate_from_s)(void *ctx, const struct node_id *recipient);
};

struct box_spread_options {
    struct node_id recipient;
    struct box_store store;
    const struct contact *nodes; /* copied */
    size_t nodes_count;          /* at most BOX_SPREAD_NODES_MAX */
};

enum box_step { BOX_OFFER, BOX_CERTIFICATE, BOX_PART };

struct box_action {
    enum box_step step;
    uint32_t ticket; /* give it back with the answer */
    struct contact contact;
    size_t heads_count; /* OFFER */
    struct box_head heads[BOX_HEADS_MAX];
    uint64_t certificate_from_s;
    struct box_head mail; /* PART */
    uint32_t offset;
};

enum box_outcome {
    BOX_ANSWERED,
    BOX_REFUSED,
    BOX_SILENT,
    BOX_GONE /* PART, CERTIFICATE: it is not here any more */
};

/* Pointers are borrowed. */
struct box_answer {
    enum box_outcome outcome;
    const struct bytes *lacking; /* OFFER: the ids of what it lacks, of those offered */
    size_t lacking_count;
    bool wants_certificate; /* OFFER */
    bool complete;          /* PART */
};

struct box_spread; /* opaque */

struct box_spread *box_spread_new(const struct box_spread_options *options);
void box_spread_free(struct box_spread **self);

/* What to do now; false: nothing before an answer comes, or it is done. */
bool box_spread_next(struct box_spread *self, struct box_action *ret_action);

/* A ticket that is not on its way is ignored. */
void box_spread_answered(struct box_spread *self, uint32_t ticket, const struct box_answer *answer);
bool box_spread_is_done(const struct box_spread *self);

struct box_spread_result {
    unsigned reached;  /* nodes that answered */
    unsigned holders;  /* of them, that had all before */
    unsigned lacking;  /* of them, that had not */
    unsigned repaired; /* of these, that have it now */
};
struct box_spread_result box_spread_result(const struct box_spread *self);

/* ---- pace ---- */

/* Zeroed: a quarter of a second's parts may go at once. */
struct box_pace {
    uint64_t owed_milli; /* thousandths of a part taken ahead */
    uint64_t at_ms;
};

/* May one more part go? If not, *ret_wait_ms says when to ask again. */
bool box_pace_may(struct box_pace *self, bool is_leaving, uint64_t now_ms, uint64_t *ret_wait_ms);
void box_pace_take(struct box_pace *self); /* it goes */
