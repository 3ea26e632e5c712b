/*
 * The box: what this node keeps for other members of its private network while they are away, their
 * mail and their certificates (proto/peer.proto), as one of the k nodes closest to their ids.
 *
 *     mail          sealed for its recipient (libcommon/pki/sealed.h): who keeps it can neither
 * read nor alter it. It comes in parts, is put together in memory (box_drafts.h), checked against
 * its id, and written whole: one record, one commit. certificate   proves itself, so anybody may
 * bring it; of two the newer one stays. dropped       what its recipient has taken: the name stays
 * to the end of its life, so that another holder does not bring the mail back.
 *
 * Who may do what. A part is kept, a certificate taken and an offer answered by who is among the k
 * closest to the recipient, as far as it knows, and BOX_SLACK more. A recipient lists, reads and
 * drops its own mail, nobody else's; those who are themselves among the k closest to it, and
 * BOX_SLACK more, may offer and read, for they are to hold it too. Ids stand in certificates and
 * are given out by the register at random, so nobody chooses to be near somebody; and whoever is,
 * learns how much mail waits there, not from whom nor what.
 *
 * A node is no holder of its own box: its mail would lie here while its lb-member has it already,
 * and be brought back to others.
 *
 * Limits: of each who brings mail, of each recipient, and of all, by count and bytes. Ids of
 * recipients can be made up, so the limit of who brings it is what keeps one member from filling
 * the store; a neighbour has a larger one, since it brings what others have left with it. Nothing
 * that is whole gives way to what comes: it is refused, and the sender has other holders.
 *
 * Times are seconds of the store clock, so ages: no wall clock makes mail end early or late. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "libcommon/node_id.h"
#include "services/storage/policy.h"

#include <stdbool.h>
#include <stdint.h>

#define BOX_ID_SIZE          32u
#define BOX_PART_SIZE        900u         /* but the last part, which has the rest */
#define BOX_MAIL_MAX         (40u * 1024) /* SEALED_BYTES_MAX */
#define BOX_PARTS_MAX        46u          /* of one mail */
#define BOX_KEEP_MAX_S       (30u * 24 * 3600)
#define BOX_HEADS_MAX        16u  /* in one list */
#define BOX_CERTIFICATE_MAX  960u /* a leaf, or an intermediate; and both, in one call */
#define BOX_CHAIN_MAX        (2 * BOX_CERTIFICATE_MAX)
#define BOX_SLACK            2u /* of two views of the network one may miss some */
#define BOX_KEY_SIZE         (NODE_ID_SIZE + BOX_ID_SIZE)
#define BOX_RECORD_MAX       (64u + BOX_CHAIN_MAX)  /* bytes of any record, but the sealed ones */
#define BOX_PART_OF_MAP      8u                     /* of the store that mail may take */
#define BOX_BYTES_MAX        (256ull * 1024 * 1024) /* and never more */
#define BOX_MAILS_MAX        65536u
#define BOX_DROPPED_MAX      16384u /* names; more are forgotten at once */
#define BOX_CERTIFICATES_MAX 16384u
#define BOX_OF_RECIPIENT_MAX 512u
#define BOX_OF_SENDER_MAX    256u
#define BOX_OF_NEIGHBOUR_MAX 4096u

/* ---- mail, as it comes ---- */

struct box_mail {
    struct node_id recipient;
    uint8_t id[BOX_ID_SIZE]; /* SHA-256 of the sealed bytes */
};

struct box_part {
    struct box_mail mail;
    uint32_t size; /* of the whole */
    uint32_t keep_s;
    uint32_t offset;
    struct bytes data; /* borrowed */
};

/* LB_INVALID, LB_TOO_BIG, and why; or LB_OK. */
LB_MUST_CHECK lb_err box_part_check(const struct box_part *part, const char **ret_reason);

/* How many parts a mail of this size has. */
unsigned box_parts(uint32_t size);

/* The bytes of the part at this offset. */
uint32_t box_part_size(uint32_t size, uint32_t offset);

/* ---- limits ---- */

/* Which one was reached. */
enum box_limit { BOX_ROOM, BOX_SENDER_FULL, BOX_RECIPIENT_FULL, BOX_FULL };

/* For a person: "no more mail is kept of one sender". */
const char *box_limit_text(enum box_limit limit);

/* What is counted, as keys of the table quotas. */
struct policy_key box_key_of_sender(const struct node_id *sender);
struct policy_key box_key_of_recipient(const struct node_id *recipient);
struct policy_key box_key_of_all(void);
struct policy_key box_key_of_dropped(void);

/* What a mail of this size counts for: the pages it takes. */
uint64_t box_cost(uint32_t size);

struct box_usage {
    struct quota_record sender, recipient, all;
};

/* May one more come, of this cost? is_neighbour: who brings it. */
enum box_limit box_admit(const struct box_usage *usage, uint64_t cost, bool is_neighbour,
                         uint64_t map_bytes);

/* ---- what stands in the database (db_box.h) ---- */

/* mails: recipient and id -> this; mail_bytes: the same -> the sealed bytes. */
struct box_mail_record {
    struct node_id sender; /* who brought it here */
    uint32_t size;
    uint64_t first_s, ends_s;
    bool is_dropped; /* only the name is left */
};
void box_mail_put(const struct box_mail_record *self, struct writer *to);
LB_MUST_CHECK lb_err box_mail_get(struct bytes from, struct box_mail_record *ret_self);

/* boxes: recipient -> this, as long as there is anything. */
struct box_record {
    uint32_t mails; /* whole, not dropped */
    bool has_certificate;
    uint64_t changes;            /* grows with whatever comes */
    uint64_t ends_s;             /* of what ends last, or later */
    uint64_t check_s, checked_s; /* as those of an item (upkeep.h), likewise calm */
    uint8_t calm;
};
void box_record_put(const struct box_record *self, struct writer *to);
LB_MUST_CHECK lb_err box_record_get(struct bytes from, struct box_record *ret_self);

/* certificates: node id -> this. */
struct box_certificate {
    uint64_t not_before_s; /* since 1970: the newer of two has the later one, then serial decides */
    uint64_t serial;
    uint64_t ends_s;
    struct bytes leaf, intermediate; /* DER; they point into the record */
};
void box_certificate_put(const struct box_certificate *self, struct writer *to);
LB_MUST_CHECK lb_err box_certificate_get(struct bytes from, struct box_certificate *ret_self);
bool box_certificate_is_newer(const struct box_certificate *a, const struct box_certificate *b);
