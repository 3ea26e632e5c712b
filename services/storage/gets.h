/* One get under way: what gets.c and watches.c share. */
#pragma once

#include "services/storage/messages.h"
#include "services/storage/version.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct storage;
struct tree_reader;
struct watch_look;

struct getting {
    struct storage *storage;
    struct call *call;
    uint64_t deadline_ms;
    struct wanted wanted;
    uint8_t salt[ITEM_SALT_MAX];
    struct version version;
    bool asked_all; /* a lookup that ended with the first item is made once more, of all k */

    struct tree_reader *reader; /* a large value */
    unsigned parts_under_way;
    lb_err err;

    /* Of a watch (watches.c). */
    struct getting *before, *after;
    bool is_watch;
    struct watch_look *look; /* a lookup under way */
    uint64_t after_seq;
    uint64_t pause_ms;
    uint64_t look_ms; /* when it is looked up next */
};

/* Answer with the version there is; of a large value all that is below is fetched first. Frees. */
void getting_answer(struct getting *self);

/* Frees. */
void getting_fail(struct getting *self, lb_err err, const char *reason);
