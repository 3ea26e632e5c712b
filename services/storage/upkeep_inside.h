/*
 * What the files of upkeep share: upkeep.c, the whole and what others say; upkeep_view.c, contacts
 * and who is near what; upkeep_checks.c; upkeep_transfers.c, keys going to one node;
 * upkeep_newcomers.c and upkeep_drain.c, which keys go to whom.
 */
#pragma once

#include "services/storage/upkeep.h"

/* A bucket of tokens that refills steadily; its capacity is a second's worth. */
struct upkeep_pace {
    uint64_t milli; /* thousandths of a token */
    uint64_t filled_ms;
};

/* What is known of one contact in the view. */
struct upkeep_mark {
    uint64_t since_ms; /* when it entered; 0: it counts as having been there always */
    uint64_t due_ms;   /* pass > 0: when it is to be served */
    uint8_t pass;      /* 1: by the nearest holder; 2: by the second; 0: nothing waits */
};

struct upkeep_family {
    struct contact *contacts;  /* ascending by id */
    struct upkeep_mark *marks; /* one a contact */
    uint32_t count;
};

enum slot_state { SLOT_FREE, SLOT_CHECKING, SLOT_TO_WRITE, SLOT_WRITING };

struct upkeep_slot {
    enum slot_state state;
    uint32_t serial;
    struct upkeep_item item;
    bool drops; /* what is to be written is its end */
};

enum transfer_state {
    TRANSFER_FILLING, /* its batch is being put together */
    TRANSFER_READY,   /* the batch is to be offered */
    TRANSFER_PINGED,
    TRANSFER_OFFERED,
    TRANSFER_PUTTING, /* what it wants */
    TRANSFER_ASKING,  /* of another kind: key by key, a get for the token, then the put */
    TRANSFER_DEAD     /* it is silent: nothing more is for it */
};

enum transfer_kind { TRANSFER_UNKNOWN, TRANSFER_LITTLEBIRD, TRANSFER_FOREIGN };

/* Keys on their way to one node. */
struct upkeep_transfer {
    uint32_t serial;
    enum transfer_state state;
    enum transfer_kind kind;
    struct contact contact;
    enum routing_family family;
    uint8_t pass;        /* newcomer */
    bool is_walked;      /* newcomer: all keys were looked at */
    struct node_id from; /* newcomer: where to look next */
    uint64_t drain_key;  /* drain: the last key it is an heir to */
    size_t count;        /* of the batch */
    size_t next;         /* of the batch: to be put, or asked for, next */
    unsigned under_way;
    unsigned silences; /* in a row */
    bool has_token;    /* ASKING: for digests[next] */
    size_t token_size;
    uint8_t token[SPREAD_TOKEN_MAX];
    bool wanted[UPKEEP_DIGESTS_MAX];
    struct upkeep_digest digests[UPKEEP_DIGESTS_MAX];
};

struct upkeep {
    struct upkeep_options options;
    struct random random;
    uint64_t started_ms;
    uint64_t wake_ms; /* what upkeep_deadline_ms() says */
    uint32_t serial;
    struct upkeep_family families[ROUTING_FAMILIES];
    unsigned waiting;    /* marks with a pass */
    uint32_t serve_next; /* where to look for the next of these */

    struct upkeep_slot slots[UPKEEP_CHECKS_MAX];
    bool knows_overdue;
    uint64_t gap_ms;   /* between checks while catching up */
    uint64_t begin_ms; /* the next check begins not before */
    uint64_t look_ms;  /* nothing is due before */

    struct upkeep_transfer *transfers[UPKEEP_DRAINS_MAX]; /* NULL: free */
    struct upkeep_pace offers, puts;
    unsigned walk_left; /* keys that may still be looked at in this call */

    bool is_draining;
    bool is_drain_walked;
    unsigned drain_bits; /* keys that share so many bits with our id are being walked */
    struct node_id drain_from;
    uint64_t drain_key; /* counts the keys looked at */

    uint8_t samples[UPKEEP_SAMPLES]; /* replicas of the last checks, a ring */
    uint64_t samples_count;
    struct upkeep_stats stats;
};

/* Call again at this time, at the latest. */
void upkeep_wake(struct upkeep *self, uint64_t at_ms);

/* One token; false when there is none, and the time when there is one is noted. */
bool upkeep_take_offer(struct upkeep *self, uint64_t now_ms);
bool upkeep_take_put(struct upkeep *self, uint64_t now_ms);

/* Tickets name a slot or a transfer. */
uint32_t upkeep_ticket(uint32_t serial, unsigned place);
struct upkeep_slot *upkeep_slot_of(struct upkeep *self, uint32_t ticket);
struct upkeep_transfer *upkeep_transfer_of(struct upkeep *self, uint32_t ticket);

uint64_t upkeep_interval_s(const struct upkeep *self, unsigned calm);

/* ---- the view ---- */

/* Index of the contact with this id; false: not in the view. */
bool upkeep_find(const struct upkeep_family *family, const struct node_id *id, uint32_t *ret_index);

/*
 * Is contact n of the family among the k closest to target of the family and ourselves? Then
 * *ret_rank is how many settled contacts but n are nearer to it than we are.
 */
bool upkeep_is_due_to(const struct upkeep *self, const struct upkeep_family *family, uint32_t n,
                      const struct node_id *target, uint64_t now_ms, unsigned *ret_rank);

/*
 * target is of no concern to the node `id`: where the next target stands that may be. False: none
 * follows.
 */
bool upkeep_skip(const struct upkeep_family *family, const struct node_id *id,
                 const struct node_id *target, struct node_id *ret_from);

/* The id after this one; false: it is the last. */
bool upkeep_after(const struct node_id *id, struct node_id *ret_after);

/* Are we among so many (at most UPKEEP_K + UPKEEP_SLACK) closest to the target, in either family?
 */
bool upkeep_is_among(const struct upkeep *self, const struct node_id *target, size_t places);

/* Bits from `from` on become zeros, or ones. */
void upkeep_fill_bits(struct node_id *id, unsigned from, bool ones);

/* Those who came lately wait to be served as if they came now. */
void upkeep_serve_anew(struct upkeep *self, uint64_t now_ms);

/* ---- parts of upkeep_next() ---- */

bool upkeep_next_write(struct upkeep *self, struct upkeep_action *ret_action);
bool upkeep_next_check(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action);
bool upkeep_next_newcomer(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action);
bool upkeep_next_drain(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action);

/* ---- transfers ---- */

/* place < limit; NULL when all are taken. */
struct upkeep_transfer *upkeep_transfer_new(struct upkeep *self, const struct contact *contact,
                                            enum routing_family family, size_t limit);
void upkeep_transfer_free(struct upkeep *self, size_t place);
void upkeep_transfer_add(struct upkeep_transfer *transfer, const struct upkeep_item *item);

/* What a batch that is ready needs next. FILLING, with an empty batch, when it is through. */
bool upkeep_transfer_next(struct upkeep *self, size_t place, uint64_t now_ms,
                          struct upkeep_action *ret_action);
