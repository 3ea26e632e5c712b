/* One lookup by lb-routing, tried again until its deadline when routing is not there. */
#pragma once

#include "libcommon/error.h"
#include "libcommon/node_id.h"
#include "proto/routing.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

struct storage;

struct find_query {
    Lb__Routing__Lookup__Kind kind;
    struct node_id target;
    unsigned enough; /* VALUE: end once so many returned the same item; 0: ask all k */
    bool has_seq;    /* VALUE: only items with a number greater than seq are wanted */
    uint64_t seq;
    uint32_t check_s; /* VALUE: we hold version seq and see to its replicas; 0: not said */
};

/* found is NULL unless err is LB_OK; it is gone when this returns. */
typedef void find_fn(void *ctx, lb_err err, const Lb__Routing__Found *found);

/* Never calls on_found from inside. It is called exactly once, LB_FULL when too many are under way,
 * LB_CANCELLED when the process ends. */
void find_query_start(struct storage *storage, const struct find_query *query, uint64_t deadline_ms,
                      find_fn *on_found, void *ctx);

/* As find_query_start(), of all k. */
void find_start(struct storage *storage, Lb__Routing__Lookup__Kind kind,
                const struct node_id *target, uint64_t deadline_ms, find_fn *on_found, void *ctx);

/* Those whose time to try again has come. True while any is waiting. */
bool find_pace(struct storage *storage);

/* Ask routing, once. */
void find_ask(struct storage *storage, const struct find_query *query, uint64_t deadline_ms,
              void (*on_reply)(void *ctx, lb_err err, const char *reason, const void *reply),
              void *ctx);
