/*
 * What cooperating peers tell each other beside BEP 3: the messages of the extension `lb_plan`.
 *
 * A byte says the kind; then pieces follow, four bytes each, big endian, until the message ends.
 * A seed that plans hands out first copies itself (plan.h): ask it for what it gives you. Who is
 * given a piece says so to the other seeds, that none gives it a second time. Several pieces that
 * came are told together: four bytes each, where HAVE takes nine. Ours; on the wire inside BEP 10.
 * Kinds that come later are skipped. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdint.h>

#define PLAN_MESSAGE_PIECES_MAX 64u /* in one message; longer ones are refused */
#define PLAN_MESSAGE_SIZE_MAX   (1u + 4 * PLAN_MESSAGE_PIECES_MAX)

enum plan_message_kind {
    PLAN_MESSAGE_FREE = 0,   /* ask me for anything; no pieces */
    PLAN_MESSAGE_PLANS = 1,  /* ask me for nothing but what I give you; no pieces */
    PLAN_MESSAGE_GIVE = 2,   /* ask me for these */
    PLAN_MESSAGE_TAKING = 3, /* another seed gives me these */
    PLAN_MESSAGE_HAVE = 4,   /* I have these now */
};

struct plan_message {
    enum plan_message_kind kind;
    uint32_t count;
    uint32_t pieces[PLAN_MESSAGE_PIECES_MAX];
};

/* LB_UNSUPPORTED: a kind we do not know. LB_INVALID: broken, or too long. */
LB_MUST_CHECK lb_err plan_message_read(struct bytes payload, struct plan_message *ret_message);
void plan_message_put(struct writer *to, const struct plan_message *message);
