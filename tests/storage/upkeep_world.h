/*
 * One node's upkeep with its keys in memory, and a network that answers as it is told to. Ids are
 * one byte and zeros, so that distances are seen at a glance.
 */
#pragma once

#include "services/storage/upkeep.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdbool.h>

#define WORLD_KEYS_MAX  4096u
#define WORLD_TRACE_MAX 4096u
#define WORLD_BEGIN_S   1000000u

/* How a contact answers. */
enum manners {
    MANNERS_WANTS, /* of our kind, and wants all */
    MANNERS_HAS,
    MANNERS_DECLINES,
    MANNERS_FOREIGN,     /* of another kind, and has nothing */
    MANNERS_FOREIGN_HAS, /* of another kind, and has all */
    MANNERS_SILENT
};

struct upkeep_world {
    struct upkeep *upkeep;
    struct upkeep_item keys[WORLD_KEYS_MAX]; /* ascending by target */
    size_t keys_count;
    unsigned share_first, share_last; /* of the first byte: keys the store answers for; 0: all */
    uint64_t now_ms;
    enum manners manners[256]; /* by the first byte of the id */
    bool holds_back;           /* checks are not answered */
    struct upkeep_check check; /* how they are answered */
    unsigned begun[UPKEEP_STEPS];
    char trace[WORLD_TRACE_MAX]; /* what was done, in words */
};

struct node_id upkeep_world_id(unsigned byte);
void upkeep_world_init(struct upkeep_world *self, unsigned self_byte, uint64_t seed);
void upkeep_world_done(struct upkeep_world *self);

/* The store: the functions the core is given, and changes. */
struct upkeep_store upkeep_world_store(struct upkeep_world *self);
void upkeep_world_hold(struct upkeep_world *self, const struct upkeep_item *item);
struct upkeep_item *upkeep_world_find(struct upkeep_world *self, const struct node_id *target);

/* Carry out what there is to do until then, in virtual time. */
void upkeep_world_run(struct upkeep_world *self, uint64_t until_ms);
