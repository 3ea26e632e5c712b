/*
 * The box on disk (box.h): the tables mails, mail_bytes, boxes and certificates of the store's
 * environment. Each mail and certificate has one row in `due`, when its life ends, each box one,
 * when its replicas are to be checked. db.h says how operations are carried out and what is read.
 */
#pragma once

#include "services/storage/box.h"

struct db;
struct db_range;

/* ---- operations ---- */

/*
 * KEEP_MAIL: a whole mail, its id checked. One that is there already, or was dropped by its
 * recipient, is LB_OK and changes nothing. LB_FULL: see limit.
 */
struct db_keep {
    struct box_mail mail;
    struct bytes data; /* the submitter's, until the operation ends */
    uint32_t keep_s;
    struct node_id sender;
    bool is_neighbour;    /* it is among the k closest to the recipient itself */
    uint64_t check_s;     /* of a new box */
    enum box_limit limit; /* result */
};

/* DROP_MAIL: its recipient has it. Those that are not there are passed over. */
struct db_drop_mail {
    struct node_id recipient;
    uint8_t ids[BOX_HEADS_MAX][BOX_ID_SIZE];
    size_t count;
    uint32_t dropped; /* result */
};

/* PUT_CERTIFICATE: verified. LB_CONFLICT: a newer one stands there. LB_FULL. */
struct db_certify {
    struct node_id node;
    struct box_certificate certificate;
    uint64_t check_s; /* of a new box */
};

/* SET_BOX; and DROP_BOX, unless something came since changes was so. Else LB_NOT_FOUND. */
struct db_box_check {
    struct node_id recipient;
    uint64_t changes;            /* DROP_BOX */
    uint64_t check_s, checked_s; /* SET_BOX, as calm */
    uint8_t calm;
};

/* ---- reading, between db_read_begin() and db_read_end() ---- */

/* The head of a mail that is there, dropped ones too, and its bytes, of which a dropped one has
 * none. LB_NOT_FOUND. */
LB_MUST_CHECK lb_err db_read_mail(struct db *self, const struct box_mail *mail, uint64_t now_s,
                                  struct box_mail_record *ret_record, struct bytes *ret_data);

struct db_head {
    uint8_t id[BOX_ID_SIZE];
    struct box_mail_record record;
};

/*
 * What waits for a recipient, by id, after this one (NULL: from the first), without what was
 * dropped. Returns how many, at most BOX_HEADS_MAX; *ret_more: there are others behind.
 */
size_t db_read_heads(struct db *self, const struct node_id *recipient,
                     const uint8_t after[BOX_ID_SIZE], uint64_t now_s,
                     struct db_head ret_heads[BOX_HEADS_MAX], bool *ret_more);

/* LB_NOT_FOUND. */
LB_MUST_CHECK lb_err db_read_certificate(struct db *self, const struct node_id *node,
                                         uint64_t now_s, struct box_certificate *ret_certificate);

/* Would a mail of this size be kept? */
enum box_limit db_read_admits(struct db *self, const struct node_id *recipient,
                              const struct node_id *sender, bool is_neighbour, uint32_t size);

/* As db_read_next_item(), db_read_check() and db_read_overdue() of the items. */
LB_MUST_CHECK lb_err db_read_box(struct db *self, const struct node_id *recipient, uint64_t now_s,
                                 struct box_record *ret_record);
LB_MUST_CHECK lb_err db_read_next_box(struct db *self, const struct node_id *from, uint64_t now_s,
                                      struct node_id *ret_recipient, struct box_record *ret_record);
LB_MUST_CHECK lb_err db_read_box_check(struct db *self, const struct db_range *range, uint32_t skip,
                                       uint64_t now_s, struct node_id *ret_recipient,
                                       struct box_record *ret_record);
uint32_t db_read_boxes_overdue(struct db *self, const struct db_range *range, uint64_t before_s,
                               uint32_t max);

struct db_box_stats {
    uint64_t mails, bytes; /* whole ones; the bytes as they count for the limits */
    uint64_t certificates;
};
void db_read_box_stats(struct db *self, struct db_box_stats *ret_stats);
