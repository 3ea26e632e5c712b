/*
 * The queries we have sent and not yet seen answered, and how long to wait for each node.
 *
 * A transaction id is 4 bytes, random but for the first 4 bits, which say which worker of the node
 * asks: while the number of workers changes an answer may reach another one, which then knows whose
 * it is. An answer counts only when both its id and its address are those of a query under way (BEP
 * 5; THREATS 2.4), so a stranger has to guess 28 bits, and whom we asked at this moment. A
 * query is sent at most twice, the second time with the same id: whichever copy is answered first
 * ends it. The wait is that of RFC 6298 (srtt + 4 rttvar) from what this address showed before,
 * kept for the addresses used last; for one not known, from what all together showed, and 1 s while
 * that is little. An answer that comes after the end is
 * told apart from one never asked for, and still teaches how slow that node is.
 *
 * Times are monotonic microseconds. Pure; allocates in init() and one copy of each datagram.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/random.h"
#include "services/transport/krpc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSACTIONS_MAX     65536u /* the most a table may be made for */
#define TRANSACTIONS_WORKERS 16u    /* whose ids can be told apart */
#define TRANSACTIONS_WAIT_FIRST_US                                                                 \
    1000000u                           /* most for the first answer of an address not known        \
                                        */
#define TRANSACTIONS_SAMPLES_LEAST 16u /* answers before it may be less */
#define TRANSACTIONS_WAIT_MIN_US   100000u
#define TRANSACTIONS_WAIT_LAST_US  500000u  /* least wait of the last try: a stall is no death */
#define TRANSACTIONS_PATIENCE_US   2500000u /* most of all tries together */
#define TRANSACTIONS_LATE_MAX      256u     /* ended ones remembered, unless limits say another */

struct transactions_limits {
    uint32_t queries_max; /* at once, a power of two up to TRANSACTIONS_MAX */
    uint32_t rtts_max;    /* addresses whose round-trip time is kept, a power of two of 4 or more */
    uint32_t late_max;    /* ended ones remembered, the newest of each slot; 0: the default */
    uint32_t worker;      /* ours, below TRANSACTIONS_WORKERS */
    uint32_t size_max;    /* bytes of a datagram; 0: KRPC_SEND_MAX */
};

struct transaction;
struct rtt_entry;
struct late_entry;

struct transactions {
    struct random *random; /* borrowed, for the ids */
    struct transactions_limits limits;
    struct transaction *slots;
    uint32_t *free_slots; /* a stack of slots not in use */
    uint32_t *heap;       /* slots in use, the earliest deadline first */
    uint32_t *table;      /* open addressing by id, slot + 1, 0 is empty; twice queries_max */
    uint32_t count;       /* under way */
    uint32_t all_srtt_us, all_rttvar_us, all_samples; /* over all addresses */
    struct rtt_entry *rtts; /* sets of 4, the one used longest ago gives way */
    struct late_entry *late;
};

/* random is borrowed for the life of self. */
void transactions_init(struct transactions *self, struct transactions_limits limits,
                       struct random *random);
void transactions_done(struct transactions *self); /* forgets what is under way */

/* How a query ended. */
struct transaction_end {
    void *ctx; /* as given to transactions_start */
    enum krpc_method method;
    struct contact expected; /* address, and the id expected there when has_id */
    bool has_id;
    uint32_t rtt_us; /* answers: since the first copy was sent */
};

struct transaction_start {
    const struct krpc_query *query;
    const struct contact *to;
    bool has_id;  /* to->id is whom we expect there */
    bool is_held; /* there is no way to this address yet: do not send it, transactions_opened() will
                   */
    bool once;    /* do not send it twice: a second copy could be answered differently */
    void *ctx;
};

/*
 * Take a fresh id and encode the query; *ret_datagram is kept here and valid until the next call.
 * Send it now. LB_FULL when queries_max are under way, LB_TOO_BIG when it does not fit a datagram.
 */
LB_MUST_CHECK lb_err transactions_start(struct transactions *self,
                                        const struct transaction_start *start, uint64_t now_us,
                                        struct bytes *ret_datagram);

/* Which worker's query this would answer; TRANSACTIONS_WORKERS: none's, it is no id of ours. */
unsigned transactions_worker(struct bytes id);

enum transaction_match {
    TRANSACTION_ANSWERED, /* *ret_end is set; the transaction is over */
    TRANSACTION_LATE,     /* it was given up before; *ret_end is set, ctx is NULL */
    TRANSACTION_STRANGE   /* nothing we asked, or not whom we asked */
};

/* A reply or an error came in from `from`. */
enum transaction_match transactions_answer(struct transactions *self, struct bytes id,
                                           const struct address *from, uint64_t now_us,
                                           struct transaction_end *ret_end);

enum transaction_event {
    TRANSACTION_NOTHING,
    TRANSACTION_RESEND, /* send *ret_datagram to ret_end->expected.address again */
    TRANSACTION_SILENT  /* given up: *ret_end is set; the transaction is over */
};

/*
 * There is a way to this address, or another than before. What was held for it is sent for the
 * first time, and waits for an answer from now on. What was sent may have gone nowhere and is sent
 * again, but for what may be sent once only.
 */
void transactions_opened(struct transactions *self, const struct address *address, uint64_t now_us);

/* What is due at now_us; call until TRANSACTION_NOTHING. */
enum transaction_event transactions_next(struct transactions *self, uint64_t now_us,
                                         struct transaction_end *ret_end,
                                         struct bytes *ret_datagram);

/* End them all, one a call, whatever their deadline. False when none is left. */
bool transactions_cancel(struct transactions *self, struct transaction_end *ret_end);

uint64_t transactions_deadline_us(const struct transactions *self); /* UINT64_MAX: none */

/* The first wait for an answer of this address. */
uint32_t transactions_wait_us(const struct transactions *self, const struct address *address);

/* All invariants, for tests: asserts. */
void transactions_check(const struct transactions *self);
