#include "services/member/receive.h"

#include "libcommon/clock.h"
#include "libcommon/crypto.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/sealed.h"
#include "libcommon/pool.h"
#include "services/member/letters.h"
#include "services/member/service.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_S    (24u * 3600u)
#define MS_PER_S 1000u

_Static_assert(INBOX_ID_SIZE == SEALED_ID_SIZE, "ids are the same");
_Static_assert(PARTS_MESSAGE_MAX >= SEALED_BYTES_MAX, "every message can be put together");

struct caller {
    struct node_id node;
    uint64_t at_ms;
    uint64_t tokens_ms; /* a message costs 1000 / RECEIVE_PER_S of them */
    bool is_used;
};

struct receiving {
    struct caller callers[RECEIVE_CALLERS];
};

/* One on its way to disk. */
struct taking {
    struct job job; /* first: pool.h */
    struct member *member;
    struct inbox_mail mail;
    struct opened opened;
    uint64_t number;
    lb_err err;
    enum received received; /* without a job */
    received_fn *on_received;
    void *ctx;
};

struct receiving *receiving_new(struct member *member)
{
    (void)member;
    return xcalloc(1, sizeof(struct receiving));
}

void receiving_free(struct receiving **self)
{
    free(*self);
    *self = NULL;
}

/* ---- quotas ---- */

static struct caller *find_caller(struct receiving *self, const struct node_id *node,
                                  uint64_t now_ms)
{
    struct caller *oldest = &self->callers[0];

    for (unsigned i = 0; i < RECEIVE_CALLERS; i++) {
        struct caller *caller = &self->callers[i];

        if (caller->is_used && node_id_equal(&caller->node, node)) {
            return caller;
        }
        if (!caller->is_used || (oldest->is_used && caller->at_ms < oldest->at_ms)) {
            oldest = caller;
        }
    }
    *oldest = (struct caller){ .node = *node,
                               .at_ms = now_ms,
                               .tokens_ms = RECEIVE_BURST * MS_PER_S / RECEIVE_PER_S,
                               .is_used = true };
    return oldest;
}

bool receive_may(struct member *self, const struct node_id *from)
{
    const uint64_t price = MS_PER_S / RECEIVE_PER_S;
    uint64_t now_ms = member_now_ms(self);
    struct caller *caller = find_caller(self->receiving, from, now_ms);
    uint64_t tokens = caller->tokens_ms + (now_ms - caller->at_ms);

    caller->tokens_ms = tokens < RECEIVE_BURST * price ? tokens : RECEIVE_BURST * price;
    caller->at_ms = now_ms;
    if (caller->tokens_ms < price) {
        return false;
    }
    caller->tokens_ms -= price;
    return true;
}

/* ---- into the inbox ---- */

static enum received outcome(const struct taking *taking)
{
    switch (taking->err) {
    case LB_OK:
    case LB_EXISTS:
        return RECEIVED_IN;
    case LB_FULL:
    case LB_NO_SPACE:
        return RECEIVED_FULL;
    default:
        return RECEIVED_NOT;
    }
}

static void end(struct taking *taking, enum received received)
{
    if (received == RECEIVED_BAD || received == RECEIVED_DENIED || received == RECEIVED_FULL) {
        member_count(taking->member, MEMBER_NOT_RECEIVED);
    }
    taking->on_received(taking->ctx, received);
    free(taking->opened.text);
    free(taking);
}

static void put(struct job *job)
{
    struct taking *taking = (struct taking *)job;

    taking->err = inbox_put(taking->member->inbox, &taking->mail, &taking->number);
}

static void on_put(struct job *job, void *ctx)
{
    struct taking *taking = (struct taking *)job;
    struct member *member = taking->member;

    (void)ctx;
    if (taking->err == LB_IO || taking->err == LB_CORRUPT) {
        /* What is on disk is known only to who opens it anew (THREATS 2, row 24). */
        log_error("the inbox cannot be written: %s; ending", lb_err_text(taking->err));
        _exit(EXIT_FAILURE);
    }
    if (taking->err == LB_OK) {
        member_count(member, MEMBER_RECEIVED);
    }
    if (taking->err == LB_OK && !member->is_stopping) {
        letters_came(member->letters);
    }
    end(taking, outcome(taking));
}

/* The answer comes by the pool all the same: on_received is never called from inside. */
static void do_nothing(struct job *job)
{
    (void)job;
}

static void on_nothing(struct job *job, void *ctx)
{
    struct taking *taking = (struct taking *)job;

    (void)ctx;
    end(taking, taking->received);
}

static void name_of(const struct opened *opened, uint8_t ret_name[INBOX_ID_SIZE])
{
    uint8_t both[NODE_ID_SIZE + SEALED_NONCE_SIZE];

    memcpy(both, opened->sender.node.bytes, NODE_ID_SIZE);
    memcpy(both + NODE_ID_SIZE, opened->nonce, SEALED_NONCE_SIZE);
    sha256(bytes_of(both, sizeof(both)), ret_name);
}

static lb_err open_sealed(struct taking *taking, struct bytes sealed,
                          const uint8_t id[INBOX_ID_SIZE], uint64_t now_s)
{
    const struct membership *membership = taking->member->membership;
    struct opened *opened = &taking->opened;
    lb_err err =
        sealed_open(sealed, membership_leaf(membership), membership_key(membership),
                    membership_root(membership), membership_denied(membership), now_s, opened);

    if (err != LB_OK) {
        return err;
    }
    taking->mail = (struct inbox_mail){
        .sender = opened->sender.node,
        .sent_s = opened->sent_s,
        .received_s = now_s,
        /* Nobody takes it later (sealed.h); two days, should our clock go back by one. */
        .until_s = opened->sent_s + SEALED_AGE_MAX_S + 2 * DAY_S,
        .text = bytes_of(opened->text, opened->text_size),
    };
    memcpy(taking->mail.id, id, INBOX_ID_SIZE);
    name_of(opened, taking->mail.name);
    return LB_OK;
}

void receive(struct member *self, uint8_t *sealed, size_t size, const uint8_t id[INBOX_ID_SIZE],
             received_fn *on_received, void *ctx)
{
    struct taking *taking = xcalloc(1, sizeof(*taking));
    lb_err err;

    taking->member = self;
    taking->on_received = on_received;
    taking->ctx = ctx;
    err = open_sealed(taking, bytes_of(sealed, size), id, clock_wall_s());
    free(sealed);
    taking->received = err == LB_DENIED ? RECEIVED_DENIED : RECEIVED_BAD;
    taking->job = (struct job){ .work = err == LB_OK ? put : do_nothing,
                                .done = err == LB_OK ? on_put : on_nothing,
                                .lane = MEMBER_LANE_WRITE };
    if (pool_submit(self->pool, &taking->job) != LB_OK) {
        end(taking, RECEIVED_NOT); /* POOL_JOBS_MAX are under way */
    }
}
