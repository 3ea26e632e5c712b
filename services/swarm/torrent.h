/*
 * A torrent: one swarm as this node takes part in it. It joins picker, peers, choking, limits and
 * metadata and does nothing itself: events go in, actions come out, and one deadline says when to
 * look again (torrent_turn). So the service, the simulator and the tests drive the same object.
 *
 * A piece is announced and served only after torrent_verified(.., LB_OK). Peers are numbers; a
 * number that is no longer valid is ignored everywhere, so that late events do no harm. After each
 * event the caller takes actions with torrent_next() until there is none.
 *
 * Towards strangers: rate for rate (choke.h). With peers of our kind that are trusted
 * (cooperate.h) nobody chokes: a seed plans who is given which piece first (plan.h), and who asks
 * waits for its turn at what few have (wave.h). What is sent to either goes through one queue of
 * uploads, that hands the shell no more than it can send soon; what is asked for and what is sent
 * stays within the limits (limits.h). A peer that a limit holds back leaves the queue, until
 * torrent_go_on().
 *
 * Bad pieces: who alone sent one is dropped and refused from then on. When several did, what each
 * sent is remembered (suspects.h) and the piece is fetched anew from one peer, before anything
 * else: it is bad again, and that peer was it; or it is good, and tells who sent other blocks.
 * Until then other pieces with blocks of these peers are not verified, at most for TORRENT_HOLD_MS;
 * of who is convicted, everything that is not verified is thrown away. Where there are no digests
 * to tell (torrent_verified()), each of the senders must next fetch a piece alone (picker.h)
 * instead.
 *
 * Sources: BEP 3, 6, 9, 10, 11, 16, 21, 52, 54. Pure; allocates.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"
#include "services/swarm/candidates.h"
#include "services/swarm/choke.h"
#include "services/swarm/cooperate.h"
#include "services/swarm/extension.h"
#include "services/swarm/hashes.h"
#include "services/swarm/limits.h"
#include "services/swarm/outcomes.h"
#include "services/swarm/peer.h"
#include "services/swarm/picker.h"
#include "services/swarm/plan.h"
#include "services/swarm/suspects.h"
#include "services/swarm/wave.h"
#include "services/swarm/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TORRENT_PEERS_MAX          10000u /* whatever the options say */
#define TORRENT_SLOTS              16384u /* a peer's number is serial * TORRENT_SLOTS + slot */
#define TORRENT_CONNECTING_MAX     20u    /* of one torrent at once */
#define TORRENT_UNWANTED_MS        2000u /* full: who wants and offers nothing for so long may go */
#define TORRENT_UNUSED_MS          30000u /* or who made no use of it for so long */
#define TORRENT_REJECTED_MS        60000u /* then a peer that rejected all we lack is called anew */
#define TORRENT_TURN_MS            1000u
#define TORRENT_AGAIN_MS           100u   /* who cooperates and is idle is looked at again */
#define TORRENT_PEX_MS             60000u /* BEP 11: not more often */
#define TORRENT_LEFT_MAX           64u    /* of those that left, remembered for PEX */
#define TORRENT_OPEN_BYTES         (512u * 1024 * 1024) /* of pieces begun at once; half is here */
#define TORRENT_OPEN_USUAL         (128u * 1024 * 1024) /* beyond that only if a peer is idle */
#define TORRENT_OPEN_MIN           4u
#define TORRENT_OPEN_MAX           4096u
#define TORRENT_METADATA_GIVEN_MAX 2000u /* parts for one peer in TORRENT_METADATA_GIVEN_MS */
#define TORRENT_METADATA_GIVEN_MS  60000u
#define TORRENT_METADATA_ASK_MS    10000u
#define TORRENT_LAYERS_MS          10000u /* so long a hybrid waits for its v2 hashes */
#define TORRENT_LEAVES_MAX         16u    /* bad pieces whose leaves are asked for at once */
#define TORRENT_HASHES_GIVEN_MAX   1200u  /* hash requests of one peer in TORRENT_HASHES_GIVEN_MS */
#define TORRENT_HASHES_GIVEN_MS    60000u
#define TORRENT_HOLD_MS            3000u /* pieces of suspects wait so long for a verdict */
#define TORRENT_ALONE_MS           2000u /* silent for so long, a piece is no longer its alone */
#define TORRENT_HELD_MAX           64u   /* such pieces; more are verified at once */
#define TORRENT_WEBSEED_PEERS      4u    /* so many peers that send are enough without web seeds */
#define TORRENT_WEBSEED_SLOW_S     5u    /* a last piece that takes longer yet is another's, too */

/* What of its options may change while it runs. */
struct torrent_numbers {
    uint32_t peers_max;
    uint32_t peers_wanted;
    uint32_t upload_slots; /* at least 1 */
    uint32_t announce_interval_ms;
};

struct torrent_options {
    uint8_t infohash[NODE_ID_SIZE];        /* the key: SHA-1 of the info, or SHA-256 cut */
    uint8_t infohash_v2[MERKLE_HASH_SIZE]; /* when it is known */
    bool has_v2;
    uint8_t peer_id[WIRE_PEER_ID_SIZE]; /* ours */
    uint16_t port;                      /* ours, told to peers; 0: not */
    uint16_t dht_port;                  /* of our DHT node, likewise (BEP 5) */
    uint32_t peers_max;
    uint32_t peers_wanted; /* we stop looking for more then; the rest is for those who come */
    uint32_t upload_slots;
    uint32_t announce_interval_ms;
    const char *version;                     /* told to peers; borrowed */
    const char *host;                        /* our name, likewise; NULL: not */
    struct limits_share *limits;             /* kept; NULL: nothing limits it */
    const struct choke_policy *fetch_policy; /* NULL: rate for rate */
    const struct choke_policy *seed_policy;  /* NULL: by turns */
    enum cooperate_mode mode;
    bool super_seeding; /* BEP 16: a seed reveals first copies to strangers one by one */
};

enum torrent_action_kind {
    TORRENT_SEND,        /* message to peer */
    TORRENT_SEND_BLOCK,  /* message is a PIECE without payload: read its block and send it to peer,
                            torrent_block_ready() once it is read, then torrent_sent() */
    TORRENT_CONNECT,     /* to address; then torrent_join() or torrent_connect_failed() */
    TORRENT_DISCONNECT,  /* peer is gone here already: close it */
    TORRENT_VERIFY,      /* message.piece is whole: check and write it, then torrent_verified() */
    TORRENT_FORGET,      /* the bytes kept of message.piece */
    TORRENT_METADATA,    /* message.payload is the info dictionary, matching: torrent_begin() or
                            torrent_refuse_metadata() */
    TORRENT_LAYERS,      /* torrent_want_layers() ended: torrent_layers(), then torrent_begin() */
    TORRENT_GIVE_HASHES, /* to peer, what message.payload asks for: torrent_give_hashes() */
    TORRENT_COMPLETE,    /* every piece that is selected is here */
    TORRENT_ANNOUNCE     /* find peers and tell we are here; then torrent_announced() */
};

struct torrent_action {
    enum torrent_action_kind kind;
    uint32_t peer;
    struct wire_message message; /* its payload is valid until the next torrent_next() */
    struct address address;
    const char *reason; /* DISCONNECT; static */
    uint8_t *owned;     /* of the torrent */
};

struct torrent_stats {
    uint64_t received_bytes; /* payload */
    uint64_t sent_bytes;
    uint64_t wasted_bytes; /* received, and bad or twice or unasked */
    uint64_t receive_rate;
    uint64_t send_rate;
    uint32_t peers;
    uint32_t seeds;
    uint32_t unchoking_us;
    uint32_t bad_pieces;
    uint32_t banned;
};

/* What the torrent cannot see by itself and tells peers of its kind (report.h). */
struct torrent_facts {
    bool disk_behind; /* what came cannot be written away fast enough */
    bool verify;      /* when it is complete, everything is read back */
    bool verified;    /* it was */
};

struct torrent_departed {
    struct address address;
    uint64_t left_ms;
};

/* torrent_have.c */
#define HAVE_DELAY_LEAST_MS 20u
#define HAVE_DELAY_NEW_MS   100u /* while our rate is not known */
#define HAVE_DELAY_MOST_MS  1000u
#define HAVE_COST           132u /* bytes of headers, of its packet and of what acknowledges that */
#define HAVE_SHARE          600u /* of so many bytes that come, one may go to these */

/* torrent_upload.c */
#define UPLOAD_AHEAD_MIN  (128u * 1024)
#define UPLOAD_AHEAD_NEW  (256u * 1024) /* at first */
#define UPLOAD_AHEAD_MAX  (64u * 1024 * 1024)
#define UPLOAD_LEAST_MS   20u
#define UPLOAD_MOST_MS    50u
#define UPLOAD_STUCK_MS   1000u /* another block is timed then; whose load is still there lags */
#define UPLOAD_LAG_TIMES  4u    /* of `ahead`: who is overtaken by so much lags */
#define UPLOAD_TURN_TIMES 2u    /* of `ahead`: a peer is served so much in its turn at most */
#define UPLOAD_TURN_MIN   (32u * 1024)

struct torrent_uploads {
    struct peer *first; /* is served next */
    struct peer *last;
    uint64_t bytes;         /* with the shell, of all peers that do not lag */
    uint64_t ahead;         /* how many there are to be */
    struct peer_wish timed; /* the block whose stay is timed */
    uint32_t timed_peer;
    uint64_t timed_ms;     /* since when; 0: none is */
    uint64_t timed_gone;   /* gone_bytes then */
    uint64_t ahead_before; /* before it was last looked at; 0: it was not */
    uint64_t rate_before;  /* bytes/s that went out then */
    uint64_t gone_bytes;   /* all that ever went out */
    uint64_t looked_bytes; /* of them, when it was seen last who lags */
};

/* The leaves of a bad piece are asked of a peer. */
struct torrent_leaves {
    uint32_t piece;
    uint32_t peer;
    uint64_t asked_ms;
};

/* Why a web seed that could be asked is not. */
enum torrent_webseed_why {
    TORRENT_WEBSEED_ASKED = 0,
    TORRENT_WEBSEED_ENOUGH,  /* enough peers send, and none of the pieces is with none of them */
    TORRENT_WEBSEED_NOTHING, /* all that is missing is asked for elsewhere */
    TORRENT_WEBSEED_LIMITED,
    TORRENT_WEBSEED_VERDICT, /* its first piece is not checked yet */
};

/* torrent_webseed.c */
struct torrent_webseed {
    enum torrent_webseed_why why; /* as torrent_webseed_take() last found it */
    bool dropped;                 /* it sent wrong data: never asked again */
    bool may_receive;             /* the limits have let it have a piece */
    bool released;                /* others may fetch its piece, too */
    bool proven;                  /* a piece of it was good */
    uint32_t piece;               /* PICKER_NOBODY: none */
    uint32_t first;               /* until it is proven: the piece it gave last, or PICKER_NOBODY */
    uint64_t begun_ms;
    struct peer_rate received;
    struct limits_flow receiving;
};

struct torrent {
    struct torrent_options options;
    struct random *random; /* borrowed */
    bool has_metainfo;
    bool is_private;
    bool paused;
    bool complete;     /* all that is selected is here */
    struct bytes info; /* borrowed, once has_metainfo */
    struct picker picker;
    struct metadata metadata;
    uint32_t metadata_alone; /* after a bad one: the only peer to ask, or PICKER_NOBODY */
    bool metadata_suspect;

    struct peer **peers; /* by slot; NULL: none */
    uint32_t slots;
    uint32_t serial;
    uint32_t peers_count;
    bool refill; /* blocks became free: every peer may be hungry */
    bool endgame;
    uint32_t *hungry; /* slots of those that may be asked for more */
    uint32_t hungry_count;

    struct candidates candidates;
    struct suspects suspects;
    uint32_t held[TORRENT_HELD_MAX]; /* whole, and not verified before hold_until_ms */
    uint32_t held_count;
    uint64_t hold_until_ms;
    const struct metainfo *v2; /* borrowed; NULL: hashes are not exchanged */
    struct hashes hashes;
    bool wants_layers;
    bool layers_here;
    uint64_t layers_until_ms;
    struct torrent_leaves leaves[TORRENT_LEAVES_MAX];
    uint32_t leaves_count;
    uint32_t leaves_turn;
    struct choke choke;
    struct plan plan;  /* once we are complete: plan.pieces > 0 */
    bool plan_due;     /* something changed: torrent_plan_run() */
    struct wave wave;  /* while we fetch from who cooperates */
    uint64_t again_ms; /* then idle peers may have their turn; UINT64_MAX: nobody waits */
    uint32_t *held_ms; /* of each piece: when it had a new holder, as far as known (wave.h) */
    struct torrent_facts facts;
    struct outcomes outcomes;
    struct torrent_webseed *webseeds;
    uint32_t webseeds_count;
    struct torrent_departed departed[TORRENT_LEFT_MAX]; /* a ring */
    uint32_t departed_count;

    struct torrent_action *actions; /* a ring */
    uint32_t actions_head;
    uint32_t actions_count;
    uint32_t actions_capacity;
    uint8_t *lent; /* payload of the action given last */

    bool announcing;
    uint32_t announce_tries;
    uint64_t next_announce_ms;
    uint64_t next_turn_ms;
    struct peer_rate received;
    uint64_t received_best; /* the highest rate it had; it fades, by a thirty-second each turn */
    struct peer_rate sent;
    struct torrent_uploads uploads;
    uint64_t haves_due_ms; /* peers are to be told what came; UINT64_MAX: nothing */
    struct torrent_stats stats;
};

/* options are copied; random is kept. Without metainfo, which it gets from peers. */
void torrent_init(struct torrent *self, const struct torrent_options *options,
                  struct random *random, uint64_t now_ms);
void torrent_done(struct torrent *self);

/* Other numbers in its options; peers over peers_max stay until they go by themselves. */
void torrent_set_numbers(struct torrent *self, const struct torrent_numbers *numbers);

/*
 * The metainfo is known. info (the dictionary) is borrowed until torrent_done(). have: a bitfield
 * of what is verified and on disk already, or NULL.
 */
void torrent_begin(struct torrent *self, struct bytes info, struct picker_shape shape,
                   const uint8_t *have, uint64_t now_ms);

/*
 * Only these pieces are wanted (a bitfield, copied; NULL: all), after torrent_begin(). Complete
 * means from now on: all of these are here; a peer that is complete without having everything is a
 * partial seed (BEP 21).
 */
void torrent_select(struct torrent *self, const uint8_t *pieces, uint64_t now_ms);

/*
 * BEP 52: ask peers for the layers of pieces of a torrent whose info alone is known, before it
 * begins; metainfo is borrowed until then. TORRENT_LAYERS comes when they are here, and for a
 * hybrid also when nobody gives them (TORRENT_LAYERS_MS). torrent_layers() is MERKLE_HASH_SIZE
 * bytes a piece, each proved, or NULL.
 */
void torrent_want_layers(struct torrent *self, const struct metainfo *metainfo, uint64_t now_ms);
const uint8_t *torrent_layers(const struct torrent *self);

/*
 * The same of a hybrid that has begun without them (it is checked by its v1 hashes meanwhile), of
 * whoever takes part in v2 now or later; TORRENT_LAYERS comes only when they are here. Then
 * torrent_set_v2().
 */
void torrent_want_layers_later(struct torrent *self, const struct metainfo *metainfo,
                               uint64_t now_ms);

/*
 * The hashes of this metainfo (borrowed until torrent_done(), it lacks no layers) are given to
 * peers, and asked of them to tell whose block of a bad piece was bad.
 */
void torrent_set_v2(struct torrent *self, const struct metainfo *metainfo);

/*
 * What TORRENT_GIVE_HASHES asked for, later or never: the payload of HASHES (hash_server.h), or the
 * one that was asked with, which refuses it.
 */
void torrent_give_hashes(struct torrent *self, uint32_t peer, struct bytes payload,
                         uint64_t now_ms);

/* What TORRENT_METADATA gave is of no use though its hash fits: it is not asked for again. */
void torrent_refuse_metadata(struct torrent *self);

/* Where we are, as peers see us (candidates_set_here()). */
void torrent_set_here(struct torrent *self, const struct address *here);

/* BEP 27: its peers are not told of each other. Where to look for peers is the caller's matter. */
void torrent_set_private(struct torrent *self, bool is_private);

/* Ask for nothing more, or go on. Blocks under way are still taken, what is here is still given. */
void torrent_pause(struct torrent *self, bool paused, uint64_t now_ms);

/* ---- peers ---- */

/* Who finished here: those who went, and those who are here still. Added to *ret_outcomes. */
void torrent_outcomes(const struct torrent *self, struct outcomes *ret_outcomes);

void torrent_tell(struct torrent *self, const struct torrent_facts *facts);

/* An address where a peer may be; our own is to be left out by the caller. */
void torrent_add_address(struct torrent *self, const struct address *address, bool seed,
                         uint64_t now_ms);

/* The same, told by a person: tried at once, whatever happened before. */
void torrent_call_address(struct torrent *self, const struct address *address, uint64_t now_ms);
void torrent_connect_failed(struct torrent *self, const struct address *address, uint64_t now_ms);

struct torrent_hello {
    struct address address; /* of the connection's other end */
    bool outgoing;
    bool v2;                                /* both ends take part in v2 (BEP 52) */
    const struct wire_handshake *handshake; /* its; the infohash is ours */
};

/*
 * A connection whose handshakes are done. LB_OK gives its number. LB_FULL: every place is taken by
 * somebody of use; LB_DENIED: banned, or it
 * is ourselves; LB_EXISTS: another connection to the same peer stays, or (when both called each
 * other) is the one both ends keep. Otherwise close it; torrent_connect_failed() is not needed.
 */
LB_MUST_CHECK lb_err torrent_join(struct torrent *self, const struct torrent_hello *hello,
                                  uint64_t now_ms, uint32_t *ret_peer);

/* It closed or broke. */
void torrent_left(struct torrent *self, uint32_t peer, uint64_t now_ms);

enum torrent_verdict {
    TORRENT_DONE,
    TORRENT_TAKE /* the PIECE's payload is wanted: keep it with the piece, before torrent_next() */
};
enum torrent_verdict torrent_message(struct torrent *self, uint32_t peer,
                                     const struct wire_message *message, uint64_t now_ms);

/* A block of TORRENT_SEND_BLOCK is read, and sent now: what else is to be said goes with it. */
void torrent_block_ready(struct torrent *self, uint32_t peer, uint64_t now_ms);

/* A block of TORRENT_SEND_BLOCK went out, or (sent false) could not be read. */
void torrent_sent(struct torrent *self, uint32_t peer, const struct wire_message *block, bool sent,
                  uint64_t now_ms);

/* ---- web seeds (BEP 19), by index ---- */

/* There are so many, at most WEBSEEDS_MAX; once, after torrent_begin(). */
void torrent_set_webseeds(struct torrent *self, uint32_t count, uint64_t now_ms);

/*
 * A piece for an idle web seed to fetch as a whole: the rarest, or the rest of one that was left
 * half-way. False: there is none for now, since
 * enough peers send us and none is missing among them, a limit holds it back, it is dropped, or
 * the verdict on its first piece is still to come.
 */
bool torrent_webseed_take(struct torrent *self, uint32_t index, uint64_t now_ms,
                          uint32_t *ret_piece);

/* The first block of that piece that is not here: others may have begun it. */
uint32_t torrent_webseed_first(const struct torrent *self, uint32_t index);

/* A block of its piece came: TORRENT_TAKE as for torrent_message(). */
enum torrent_verdict torrent_webseed_block(struct torrent *self, uint32_t index, uint32_t block,
                                           uint64_t now_ms);

/* Nothing of its piece is of use any more. */
bool torrent_webseed_is_done(const struct torrent *self, uint32_t index);

/* It is idle again: its piece came, or the rest of it will not. */
void torrent_webseed_end(struct torrent *self, uint32_t index, uint64_t now_ms);

/* ---- content ---- */

/*
 * What TORRENT_VERIFY asked for: LB_OK, it is good and written; LB_CORRUPT, it is not what it
 * should be; any other: it could not be kept, and is to be fetched again.
 */
void torrent_verified(struct torrent *self, uint32_t piece, lb_err result, uint64_t now_ms);

/*
 * The same, with the digest of each block (SUSPECTS_DIGEST_SIZE bytes each, or NULL): after
 * LB_CORRUPT, and after LB_OK when torrent_wants_digests() said so as TORRENT_VERIFY came. They
 * tell who sent what was bad.
 */
void torrent_judged(struct torrent *self, uint32_t piece, lb_err result, const uint8_t *digests,
                    uint64_t now_ms);
bool torrent_wants_digests(const struct torrent *self, uint32_t piece);

/* A piece was found on disk, or is no longer there. */
void torrent_found(struct torrent *self, uint32_t piece, uint64_t now_ms);
void torrent_lost(struct torrent *self, uint32_t piece, uint64_t now_ms);

/* A block that was taken could not be kept: the whole piece is fetched again. */
void torrent_abandon(struct torrent *self, uint32_t piece);

/* ---- time ---- */

/* The announcement ended: with how many nodes that know us now. */
void torrent_announced(struct torrent *self, uint32_t acknowledged, uint64_t now_ms);
void torrent_turn(struct torrent *self, uint64_t now_ms);
uint64_t torrent_deadline_ms(const struct torrent *self);

/* limits_next() named a flow of ours: this peer may be asked for more, or be sent more. */
void torrent_go_on(struct torrent *self, uint32_t peer, enum limits_direction direction,
                   uint64_t now_ms);

/* The next thing to do, in order. */
bool torrent_next(struct torrent *self, uint64_t now_ms, struct torrent_action *ret_action);

/* ---- looking ---- */

const struct peer *torrent_peer(const struct torrent *self, uint32_t peer); /* NULL: gone */
uint64_t torrent_have_bytes(const struct torrent *self);

/* Why it is not faster, and what it has, as far as it can be seen or it says so. */
enum report_why torrent_peer_why(const struct torrent *self, const struct peer *peer);
uint64_t torrent_peer_have_bytes(const struct torrent *self, const struct peer *peer);

/* How often the rarest piece is here and with the peers together, and which part of the pieces is
 * there once more: 2500 means twice, and half of them a third time. */
uint64_t torrent_copies_permille(const struct torrent *self);
void torrent_get_stats(const struct torrent *self, struct torrent_stats *ret_stats);

/* All invariants, for tests. */
void torrent_check(const struct torrent *self);
