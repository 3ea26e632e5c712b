/*
 * The box's desk: what other members of our private network ask of the box (box.h says who may),
 * the body of Question.call. A request is looked at when it comes; what it writes is handed to the
 * commits; then it is answered, from one read of the store.
 *
 * The desk knows no sockets: it has the store, its commits, a view of who is near what, and the
 * root that certificates must come from.
 */
#pragma once

#include "proto/peer.pb-c.h"
#include "services/storage/box_drafts.h"
#include "services/storage/commits.h"
#include "services/storage/upkeep.h"

#include <openssl/types.h>

#define BOX_BODY_MAX 1000u /* proto/peer.proto */

/* Half of a certificate that takes two calls: the intermediate, until its leaf comes. */
#define BOX_HALVES_MAX 8u /* the oldest gives way */
#define BOX_HALF_S     600u

struct box_half {
    struct node_id caller;
    uint64_t since_s;
    size_t size; /* 0: a free place */
    uint8_t intermediate[BOX_CERTIFICATE_MAX];
};

struct box_desk {
    struct db *db; /* borrowed, as the next two */
    struct commits *commits;
    struct upkeep *upkeep; /* of the boxes; NULL: not known yet who is near */
    X509 *root;            /* NULL: not known yet */
    bool is_leaving;       /* nothing more is kept */
    struct box_drafts drafts;
    struct box_half halves[BOX_HALVES_MAX];
    uint64_t calls, refused, kept, certified; /* so many since the start */
};

struct box_call; /* one request */
typedef void box_call_fn(void *ctx);

/*
 * Look at a request of this member. *ret_waits: it writes something, and on_written is called on
 * the loop when that is done (never from inside); else it can be answered at once. The call is
 * freed with box_call_free(), not before on_written. body is not needed after this.
 */
struct box_call *box_call_begin(struct box_desk *desk, const struct node_id *caller,
                                struct bytes body, uint64_t now_s, box_call_fn *on_written,
                                void *ctx, bool *ret_waits);

/* lb.peer.Reply, until the call is freed. Between db_read_begin() and db_read_end(). */
struct bytes box_call_answer(struct box_call *self, uint64_t now_s);
void box_call_free(struct box_call **self);
