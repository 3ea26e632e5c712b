/*
 * How a deny list reaches every member: whoever has a newer one tells its number to all nodes it
 * has a session with; whoever hears a higher number than its own fetches that list, in parts, from
 * one that said so, has it verified, and does likewise. Beside that each tells one random node its
 * number every 20 s and hears that one's: what a loss or a partition left behind is made good.
 * (Demers and others 1987: rumour mongering, with anti-entropy behind it.)
 *
 * Lists are verified by who uses this: nothing that a peer says is believed here but for how long
 * to try. One that sends what does not count is left alone for 10 minutes. Pure; allocates what is
 * being fetched.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/random.h"

#include <stdbool.h>
#include <stdint.h>

#define RUMOUR_PART_BYTES  900u /* of proto/peer.proto, DenyPart */
#define RUMOUR_LIST_MAX    (300u * 1024)
#define RUMOUR_TELL_MS     20000u
#define RUMOUR_ALL_MS      1000u /* least time between two that are told to all */
#define RUMOUR_SOURCES_MAX 16u   /* known to have a newer one; more are forgotten */
#define RUMOUR_SHUNNED_MAX 64u   /* sent what does not count; the oldest is forgiven */
#define RUMOUR_FETCHES_MAX 3u    /* at once, each from another node */
#define RUMOUR_WINDOW      16u   /* parts of one fetch under way */
#define RUMOUR_SPREAD_MS   500u  /* a fetch begins at a random time within */
#define RUMOUR_OTHER_MS    3000u /* so long one fetch of a number goes before another begins */
#define RUMOUR_FETCH_MS    60000u
#define RUMOUR_PAUSE_MS    10000u /* after a node did not answer */
#define RUMOUR_SHUN_MS     600000u

#define RUMOUR_LOSSES_MAX 8u /* of one fetch in a row; 3 when nothing has come yet */
#define RUMOUR_FIRST_MAX  3u

#define RUMOUR_PARTS_MAX ((RUMOUR_LIST_MAX + RUMOUR_PART_BYTES - 1) / RUMOUR_PART_BYTES)
#define RUMOUR_WORDS     ((RUMOUR_PARTS_MAX + 63) / 64)

struct rumour_fetch {
    bool is_used;
    struct contact from; /* address not usable: to be looked up */
    uint64_t number;
    uint64_t begin_ms, end_ms;
    uint8_t *data; /* NULL: how big it is is not known yet */
    uint32_t size, parts, got;
    uint64_t has[RUMOUR_WORDS], asked[RUMOUR_WORDS]; /* a bit a part */
    unsigned under_way, losses;
};

struct rumour_source {
    struct contact from;
    uint64_t number;
    uint64_t not_before_ms;
};

struct rumour {
    struct random random;
    uint64_t number; /* of our own list; 0: none */
    uint64_t tell_ms, all_ms;
    bool tell_all;
    struct rumour_source sources[RUMOUR_SOURCES_MAX];
    unsigned sources_count;
    struct rumour_fetch fetches[RUMOUR_FETCHES_MAX];
    struct {
        struct node_id node;
        uint64_t until_ms;
    } shunned[RUMOUR_SHUNNED_MAX];
    unsigned shunned_next;
};

void rumour_init(struct rumour *self, uint64_t number, uint64_t seed, uint64_t now_ms);
void rumour_done(struct rumour *self);

/* Our list has this number now, wherever it came from; a higher one is told to all. */
void rumour_set_number(struct rumour *self, uint64_t number, uint64_t now_ms);

/* A node said which number it has. */
void rumour_heard(struct rumour *self, const struct contact *from, uint64_t number,
                  uint64_t now_ms);

enum rumour_kind { RUMOUR_TELL_ALL, RUMOUR_TELL_ONE, RUMOUR_GET_PART };

struct rumour_action {
    enum rumour_kind kind;
    struct contact to; /* GET_PART */
    uint64_t number;   /* of the list that is told or wanted */
    uint32_t offset;   /* GET_PART */
};

/* False: nothing before rumour_deadline_ms(). */
bool rumour_next(struct rumour *self, uint64_t now_ms, struct rumour_action *ret_action);
uint64_t rumour_deadline_ms(const struct rumour *self, uint64_t now_ms);

/* A part, as it came, for a GET_PART. data.size 0: the node did not answer, or has no such list. */
struct rumour_part {
    struct node_id from;
    uint64_t number;
    uint32_t size, offset;
    struct bytes data;
};

/*
 * True: a whole list, *ret_list and *ret_size, the caller's to free. It says then what it was
 * worth: rumour_set_number(), or rumour_shun() of who sent it.
 */
bool rumour_take(struct rumour *self, const struct rumour_part *part, uint64_t now_ms,
                 uint8_t **ret_list, size_t *ret_size);
void rumour_shun(struct rumour *self, const struct node_id *node, uint64_t now_ms);
