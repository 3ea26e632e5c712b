/*
 * A peer: what is known of one connection, at the level of messages.
 *
 * Who chokes whom, what the other has, which blocks we asked it for and which it asked us for, how
 * fast it is, how long it has been silent, how often it misbehaved. It decides for itself how many
 * requests to keep under way (bandwidth x delay), how much to have queued for sending, and when it
 * is snubbed or dead; what to ask it for and whether to unchoke it is torrent.h's. Sources: BEP 3,
 * 6. Pure; allocates as lists grow, bounded by the maxima here.
 */
#pragma once

#include "libcommon/address.h"
#include "services/swarm/allowance.h"
#include "services/swarm/fast_set.h"
#include "services/swarm/limits.h"
#include "services/swarm/outcomes.h"
#include "services/swarm/picker.h"
#include "services/swarm/window.h"
#include "services/swarm/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_ASKS_MIN       16u /* requests under way, when it is quick enough for any */
#define PEER_ASKS_MAX       500u
#define PEER_ASKS_UNSAID    250u         /* taken by a peer that does not say its limit (reqq) */
#define PEER_ASKS_DELAY_MS  1000u        /* of its rate is kept under way */
#define PEER_WISHES_MAX     500u         /* requests it may have waiting here */
#define PEER_SEND_AHEAD_MIN (64u * 1024) /* blocks being read or queued for it, bytes */
#define PEER_SEND_AHEAD_MAX (1024u * 1024)
#define PEER_SEND_AHEAD_MS  250u /* of its rate */
#define PEER_ALLOWED_MAX    32u  /* pieces it lets us have while choked (BEP 6) */
#define PEER_GIVEN_MAX      64u  /* pieces a planning seed gives us at once; then the oldest goes */
#define PEER_SUGGESTED_MAX  16u  /* of its suggestions kept; then the oldest goes */
#define PEER_HAVES_MAX      64u  /* of a message (plan_message.h), at most */
#define PEER_FAULTS_MAX     64u  /* blocks nobody asked for and the like */
#define PEER_REJECTS_MAX    1000u   /* in a row, without a block */
#define PEER_TALK_MAX       4096u   /* messages that bring nothing, at once */
#define PEER_TALK_PER_S     128u    /* and in the long run */
#define PEER_IDLE_MS        120000u /* not a byte received */
#define PEER_KEEPALIVE_MS   100000u /* nothing sent */
#define PEER_SNUB_MS        15000u  /* asked, unchoked, and no block */
#define PEER_SNUB_NEW_MS    4000u   /* likewise, of one that never sent any */
#define PEER_BLOCK_MS       60000u  /* likewise, then it is gone */
#define PEER_METADATA_ASKS  4u
#define PEER_RATE_WINDOW_MS 4000u
#define PEER_PEX_FIRST_MS   3000u /* after it joined, the others are told of */

/* Bytes per second, over a few seconds: an average whose memory fades. */
struct peer_rate {
    uint64_t total;
    uint64_t pending; /* bytes since window_ms */
    uint64_t window_ms;
    uint64_t per_second;
};

void peer_rate_add(struct peer_rate *self, uint64_t bytes);
void peer_rate_turn(struct peer_rate *self, uint64_t now_ms);

/* As it stands now: before the first turn, what came so far tells. */
uint64_t peer_rate_now(const struct peer_rate *self, uint64_t now_ms);

/* A request it made of us. */
struct peer_wish {
    uint32_t piece;
    uint32_t offset;
    uint32_t length;
};

struct peer {
    uint32_t number;        /* the torrent's number for it, unique for a long while */
    struct address address; /* of the connection */
    struct address listens; /* where it can be connected to; port 0: not known */
    uint8_t peer_id[WIRE_PEER_ID_SIZE];
    bool outgoing;
    bool fast;
    bool extended;
    bool introduced; /* its extension handshake came (BEP 10) */

    bool choking;    /* it chokes us */
    bool interested; /* it is interested in us */
    bool am_choking;
    bool am_interested;

    bool told_pieces;      /* it said what it has */
    uint8_t restated;      /* how often it said so again as a whole */
    bool everything;       /* it has every piece */
    uint8_t *pieces;       /* bitfield, NULL: nothing, or everything */
    uint32_t pieces_size;  /* bytes of it; grows while the number of pieces is not known */
    uint32_t pieces_count; /* bits set */
    uint32_t wanted;       /* pieces it has and we have not */

    uint8_t ut_metadata; /* its numbers for these; 0: does not take part */
    uint8_t ut_pex;
    uint8_t lb_plan;
    uint8_t lb_report;
    char client[OUTCOME_CLIENT_SIZE]; /* what it calls its program, safe to print */
    struct report report;             /* what it says of itself */
    struct report report_told;        /* what it was told of us */
    uint64_t report_told_ms;          /* 0: nothing */
    uint64_t finished_ms;             /* when it was first seen to have everything; 0: it has not */
    uint8_t donthave;
    bool upload_only;
    bool v2;               /* BEP 52: it takes part in v2 */
    uint32_t hashes_given; /* hash requests taken since hashes_given_ms */
    uint64_t hashes_given_ms;
    uint64_t hashes_rests_until_ms; /* it refused: not asked before */
    bool cooperates;                /* we work together: cooperate.h */
    bool plans;                     /* a seed that is to be asked only for what it gives us: */
    uint32_t given[PEER_GIVEN_MAX];
    uint32_t given_count;
    bool told_plans;          /* the other way round */
    bool hidden;              /* it sees no more of our pieces than were revealed (BEP 16) */
    uint32_t gifts;           /* under way, when they were counted last (plan.h) */
    uint64_t gift_ms;         /* when we gave it a piece last; 0: never */
    uint32_t gift_latency_ms; /* how long our gifts to it take, averaged; 0: not known */
    uint32_t metadata_size;
    uint32_t metadata_asked[PEER_METADATA_ASKS];
    uint32_t metadata_asked_count;
    uint64_t metadata_asked_ms;
    uint64_t metadata_rests_until_ms;
    uint32_t metadata_given; /* parts we sent it since metadata_given_ms */
    uint64_t metadata_given_ms;
    uint64_t pex_sent_ms; /* it was told of what came or went before */
    uint64_t pex_due_ms;
    uint64_t pex_received_ms;
    uint64_t joined_ms;

    struct picker_ask *asks; /* our requests under way, oldest first, from asks_head on */
    uint32_t *asks_ms;       /* when each was made, the clock's low bits */
    uint32_t asks_head;
    uint32_t asks_count;
    uint32_t asks_capacity;
    uint32_t asks_late;   /* the first so many were given back to the picker */
    uint32_t asks_target; /* how many to keep under way */
    uint32_t asks_limit;  /* what it takes at most */
    uint32_t usual_ms;    /* from a request to its block, averaged; 0: not known */
    uint32_t block_size;  /* bytes of one; WIRE_BLOCK_SIZE until the torrent says otherwise */
    struct window window; /* while it cooperates this is the target */
    bool starting;        /* the target still grows with each block */
    bool hungry;          /* may be asked for more */
    bool snubbed;
    bool alone;         /* under suspicion: gets pieces of its own */
    uint32_t cancelled; /* blocks that may still come though we cancelled them */
    uint32_t rejects;   /* in a row */
    uint32_t faults;
    struct allowance talk;
    uint64_t rejected_ms; /* last reject while it served us; 0: none */
    uint32_t allowed[PEER_ALLOWED_MAX];
    uint32_t allowed_count;
    uint32_t suggested[PEER_SUGGESTED_MAX]; /* pieces it would rather have us ask for (BEP 6) */
    uint32_t suggested_count;
    uint32_t granted[FAST_SET_SIZE]; /* pieces it may have while choked (BEP 6) */
    uint32_t granted_count;
    uint64_t granted_bytes; /* so much of them is left */

    uint32_t haves[PEER_HAVES_MAX]; /* pieces it is still to be told of */
    uint32_t haves_count;

    struct peer_wish *wishes; /* a ring */
    uint32_t wishes_head;
    uint32_t wishes_count;
    uint32_t wishes_capacity;
    uint64_t sending_bytes;       /* handed to the shell, not yet in the kernel's hands */
    struct limits_flow receiving; /* what we ask it for */
    struct limits_flow sending;
    struct peer *upload_next; /* in the torrent's queue of uploads */
    struct peer *upload_previous;
    bool upload_waits;          /* it stands in it */
    uint32_t upload_piece;      /* what it was served last */
    uint64_t upload_bytes;      /* in its turn so far */
    bool upload_lags;           /* slower than our uplink: its sending_bytes do not count */
    uint64_t upload_mark_bytes; /* of sending_bytes: so many were there, and are still, when */
    uint64_t upload_mark_ms;    /* it was this time, and */
    uint64_t upload_mark_gone;  /* the torrent had sent so much */
    uint64_t unchoked_ms;
    uint64_t unchoked_total; /* sent.total when it was unchoked */

    uint64_t received_ms;      /* last byte from it */
    uint64_t sent_ms;          /* last message to it */
    uint64_t block_ms;         /* last block from it, or when it began to owe us one */
    struct peer_rate received; /* payload */
    struct peer_rate sent;
};

struct peer *peer_new(const struct wire_handshake *hello, const struct address *address,
                      bool outgoing, uint64_t now_ms);
void peer_free(struct peer **self);

/* ---- what it has; piece_count 0: not known yet ---- */

bool peer_has(const struct peer *self, uint32_t piece);

/* False: it had it already. */
bool peer_set_piece(struct peer *self, uint32_t piece, uint32_t piece_count);
void peer_set_pieces(struct peer *self, struct bytes bitfield);

/* As if it had said nothing of its pieces. */
void peer_forget_pieces(struct peer *self);

/* It said it has this piece, and has not. It had it. piece_count is known. */
void peer_clear_piece(struct peer *self, uint32_t piece, uint32_t piece_count);

/* Make what was heard before the metainfo fit it; false when it cannot. */
bool peer_fit_pieces(struct peer *self, uint32_t piece_count);

/* ---- our requests ---- */

void peer_ask(struct peer *self, struct picker_ask ask, uint64_t now_ms);

enum peer_answer {
    PEER_ASKED,     /* was under way */
    PEER_LATE,      /* was under way, but given back to the picker */
    PEER_CANCELLED, /* we had cancelled it, or it may have been */
    PEER_UNASKED
};

/* A block (or a reject) came: take the request out. */
enum peer_answer peer_answered(struct peer *self, struct picker_ask ask);

/* took_ms: since it was asked for. */
void peer_block_came(struct peer *self, uint32_t size, uint32_t took_ms, uint64_t now_ms);

/* Take out a request that was cancelled; false when there is none. */
bool peer_cancel_ask(struct peer *self, struct picker_ask ask);
const struct picker_ask *peer_asks(const struct peer *self);

/* How long ago this one, of those under way, was made. */
uint32_t peer_ask_age_ms(const struct peer *self, struct picker_ask ask, uint64_t now_ms);

/*
 * How long until the last one's block comes, as far as one can tell. There is one under way.
 * UINT64_MAX: it never sent any.
 */
uint64_t peer_left_ms(const struct peer *self, uint64_t now_ms);
bool peer_is_asked(const struct peer *self, struct picker_ask ask);

/* How many more to ask for now. */
uint32_t peer_asks_wanted(const struct peer *self);

/* ---- its requests ---- */

/* False: PEER_WISHES_MAX are waiting. */
bool peer_wish_add(struct peer *self, const struct peer_wish *wish);
bool peer_wish_remove(struct peer *self, const struct peer_wish *wish);
bool peer_wish_next(struct peer *self, struct peer_wish *ret_wish);

/* How many bytes of blocks to have with the shell for it. */
uint64_t peer_send_ahead(const struct peer *self);

/* ---- time, once a second ---- */

enum peer_health { PEER_WELL, PEER_KEEPALIVE_DUE, PEER_SNUBBED, PEER_DEAD };
enum peer_health peer_turn(struct peer *self, uint64_t now_ms);
