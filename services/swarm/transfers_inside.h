/*
 * What the files of transfers share: transfers.c (all of them, their sockets and timers),
 * transfer.c (one, from its order to its end), transfer_actions.c (what its torrent wants done),
 * transfer_disk.c (its files),
 * transfer_blocks.c (its blocks), transfer_hashes.c (what BEP 52 adds), transfer_webseeds.c (its
 * web seeds), transfer_peers.c (its connections), transfers_looking.c (what is to be seen of it),
 * transfers_outcomes.c (how it went for its peers), transfers_control.c (limits, turns, selections
 * and checks), transfers_reload.c (the configuration), transfers_order.c (orders, loaded and
 * removed), transfers_share.c, transfers_fetch.c, transfers_announce.c (finding peers),
 * transfers_local.c (on the local net), transfers_network.c (a private network); among several
 * workers of a node transfers_workers.c (who has what), transfers_adopt.c (shares for others),
 * transfers_bases.c (what they have of the same name), transfers_mirror.c (seeding what another
 * has), transfers_allot.c (parts of the node's limits). Not for others.
 */
#pragma once

#include "libcommon/instances.h"
#include "libcommon/random.h"
#include "services/swarm/catalogue.h"
#include "services/swarm/connection.h"
#include "services/swarm/create.h"
#include "services/swarm/disk.h"
#include "services/swarm/limits.h"
#include "services/swarm/metainfo.h"
#include "services/swarm/order.h"
#include "services/swarm/ownership.h"
#include "services/swarm/torrent.h"
#include "services/swarm/transfers.h"

#include <uv.h>

#define TRANSFERS_HOST_SIZE 65u /* of our name, with the NUL */
#define TRANSFERS_OWN_MAX   64u /* addresses of this machine */

struct link;
struct pool;
struct status_counter;
struct transfer_webseed;
struct webseed_http;

/* A piece on its way in. */
struct incoming {
    struct transfer *transfer;
    struct assembly *assembly;
    uint32_t piece;
    bool failed; /* could not be written: to be tried again */
};

/* A block on its way out: read, then sent. */
struct outgoing {
    struct disk_read read;
    struct connection_block block;
    struct transfer *transfer;
    struct outgoing *next, *previous;
    uint32_t peer;
    uint32_t padding; /* zeros behind what is read (layout_padded_size()) */
    bool reading;
    bool queued;
};

struct transfer {
    struct transfers *owner;
    uint8_t infohash[20];    /* the key */
    uint8_t infohash_v2[32]; /* when has_v2 */
    bool has_v1;
    bool has_v2;
    enum order_kind kind;
    bool has_seed_for;
    uint32_t seed_for_s;
    uint64_t seed_until_ms; /* UINT64_MAX: for good, or it is not complete yet */
    uint64_t completed_s;   /* wall clock, 0: not yet */
    uint64_t verified_s;    /* wall clock, when all was read back; 0: it was not */
    bool verify;            /* read everything back when it is complete */
    char *base;             /* what to take pieces from; NULL: nothing was given */
    char *device;           /* a block device, or NULL */
    char *identity;         /* of it */
    uint64_t added_s;
    uint32_t priority;
    struct limits_share share; /* how fast it may be */
    char *select;              /* what of it is wanted, see select.h; "": everything */
    uint8_t *files;            /* bitfield of the files that are; NULL: everything */
    uint32_t queue;            /* its place among those who wait for their turn; 0: does not */
    char turn_note[32];        /* what to say of that */
    uint64_t alone_ms;         /* since when it has no peers; 0: it has */
    bool check_asked;          /* a check under way was, by a person */
    uint64_t check_bytes;      /* all that it compares */
    uint64_t checked_bytes;    /* of these */
    uint64_t damaged_bytes;    /* found by it */
    struct address *calls;     /* peers to call as soon as it runs */
    size_t calls_count;
    char *folder;
    char *magnet; /* as given, or "" */
    char *name;
    enum transfer_state state;
    char note[TRANSFERS_NOTE_SIZE];

    struct metainfo *metainfo;       /* NULL: not known yet */
    struct metainfo *without_layers; /* came from peers; the hashes of its pieces are asked for */
    struct hash_server *hash_server; /* made when first asked for */
    struct storage *storage;
    struct storage *closing; /* what it was, until `closed` comes */
    bool storage_closing;
    bool stop_wanted; /* in the next turn */
    lb_err trouble;   /* of the storage, to be looked into in the next turn */
    bool opened;
    bool running; /* the torrent is there */
    bool ended;   /* its time of seeding is over */
    bool removed;
    bool again; /* to be opened again at again_ms */
    uint64_t again_ms;
    bool reuse_wanted;    /* not yet looked for what is on this disk */
    uint64_t bases_asked; /* the question what of it other workers hold; 0: none is under way */
    uint64_t reused_bytes;
    bool syncing;             /* every piece is here, and not yet known to be on the disk */
    bool reading_back;        /* from the disk */
    uint8_t *unproven;        /* pieces not yet read back, once it has begun */
    uint32_t read_back_count; /* how often some were not as they should be */
    uint8_t *record;          /* resume record to open with, or NULL */
    size_t record_size;
    struct torrent torrent;
    struct incoming **incoming; /* by piece; NULL: there is none */
    uint32_t incoming_count;
    bool retry; /* pieces wait to be written, at retry_ms */
    uint64_t retry_ms;
    struct outgoing *outgoing;
    struct connection **connections; /* by slot of the peer's number */
    uint32_t connections_size;
    bool announce_wanted;
    struct transfer_webseed *webseeds; /* NULL: not begun, or it has none */
    uint32_t webseeds_count;
    uint64_t outcomes_saved_ms;
    uint64_t webseeds_dropped; /* a bit for each: while this process lives it is not asked again */

    enum ownership_place place; /* HELD, LEAVING, LEFT or MIRROR */
    uint64_t load;              /* of the job that reads it from the catalogue; 0: none is to */
    uint64_t left_ms;           /* LEFT: since when */
    uint64_t left_have_bytes;   /* LEAVING, LEFT: what was here */
    bool give_wanted;           /* LEAVING: its lock could not be given back yet */
    uint64_t hot_until_ms;      /* HELD: others seed it, too */
    uint64_t others_rate;       /* bytes per second that they sent of it, as last told */
    uint64_t mirror_until_ms;   /* MIRROR: unless it is asked for again */

    bool touched; /* actions may be waiting */
    struct transfer *next_touched;

    transfers_fn *on_open; /* who waits until it is seeded, or is not */
    void *on_open_ctx;
    uint64_t answer_by_ms; /* 0: they do not wait for the first announcement */
};

struct connect_wish {
    struct transfer *transfer;
    struct address address;
};

struct network;
struct ordering;
struct workers;

struct transfers {
    struct actor *actor;
    struct pool *pool;
    struct disk *disk;
    struct catalogue *catalogue;
    struct connections *connections;
    struct network *network;   /* NULL: the open one */
    struct webseed_http *http; /* NULL: not needed yet */
    struct instances storages;
    struct link *transport; /* NULL: no local discovery */
    bool local_stale;       /* what it was told of our torrents is no longer so */
    uint32_t local_asks;    /* how often it was asked */
    size_t local_told;      /* torrents that it was told of last */
    struct random random;
    struct limits limits;
    uint64_t configured[LIMITS_DIRECTIONS]; /* of these: what the configuration said last */
    char host[TRANSFERS_HOST_SIZE];
    uint8_t peer_id[WIRE_PEER_ID_SIZE];
    struct address own[TRANSFERS_OWN_MAX];
    unsigned own_count;
    uint16_t port;
    uint16_t dht_port; /* of lb-transport, for peers */

    struct transfer **items;
    size_t count;
    size_t capacity;
    size_t closing; /* transfers taken out whose storage is still being closed */
    struct transfer *touched;

    struct connect_wish *wishes; /* connections to make, a ring */
    uint32_t wishes_head;
    uint32_t wishes_count;
    uint32_t wishes_capacity;
    unsigned announcing;
    struct ordering *orderings;
    size_t loading; /* jobs that read a transfer from the catalogue */
    uint64_t loads;
    struct workers *workers; /* this one among those of the node */

    uv_timer_t timer;
    uv_timer_t stop_timer;
    unsigned handles;
    uint64_t armed_ms;
    uint64_t queue_ms; /* when it is looked at again in any case */
    bool queue_due;    /* who runs and who waits is to be looked at */
    bool stopping;
    void (*on_stopped)(void *ctx);
    void *on_stopped_ctx;

    struct status_counter *count_received;
    struct status_counter *count_sent;
    struct status_counter *count_peers;
    struct status_counter *count_transfers;
    struct status_counter *count_bad_pieces;
    struct status_counter *count_hashed;
    uint64_t received_before; /* of transfers that are gone */
    uint64_t sent_before;
    uint64_t bad_before;
};

/* ---- transfers.c ---- */

struct transfer *transfers_get(const struct transfers *self, const uint8_t infohash[20]);
void transfers_put_in(struct transfers *self, struct transfer *transfer);
void transfers_take_out(struct transfers *self, struct transfer *transfer);
void transfers_touch(struct transfer *transfer);
void transfers_arm(struct transfers *self, uint64_t deadline_ms);
void transfers_connect(struct transfers *self, struct transfer *transfer,
                       const struct address *address);

/* Connections it wants and that are not begun yet. */
void transfers_forget_wishes(struct transfers *self, const struct transfer *transfer);
bool transfers_is_own(const struct transfers *self, const struct address *address);
uint64_t transfers_now_ms(const struct transfers *self);

/* ---- transfer.c ---- */

struct transfer *transfer_new(struct transfers *owner, const struct order *order);
void transfer_free(struct transfer **self);

/*
 * Begin, or begin again: with metainfo its storage is opened, without it is asked of peers. record
 * (from malloc, or NULL) is taken.
 */
void transfer_start(struct transfer *self, uint8_t *record, size_t record_size);

/* It has this metainfo (taken) from now on, and its name. */
void transfer_know(struct transfer *self, struct metainfo *metainfo);

/* The same, and it goes on with it. */
void transfer_adopt(struct transfer *self, struct metainfo *metainfo);
void transfer_stop(struct transfer *self);
void transfer_fail(struct transfer *self, lb_err err, const char *what);
void transfer_turn(struct transfer *self, uint64_t now_ms);
uint64_t transfer_deadline_ms(const struct transfer *self);
void transfer_order(const struct transfer *self, struct order *ret_order);
void transfer_set_state(struct transfer *self, enum transfer_state state, const char *note);

/* It runs, and nothing hinders it: but a share is never fetched, nor written to. */
void transfer_go_on(struct transfer *self);

/* Its first announcement ended: who shared it need not wait any more. */
void transfer_was_announced(struct transfer *self);

/* It is complete: when its seeding ends follows. */
void transfer_set_seeding_end(struct transfer *self);

/* One line about what happened to it. */
void transfer_log(const struct transfer *self, const char *what);

void transfer_stop_soon(struct transfer *self);

/* What may go away by itself: begin again after a while. */
void transfer_try_again(struct transfer *self, lb_err err);

/* ---- transfer_actions.c ---- */

void transfer_save_order(struct transfer *self);
void transfer_save_metainfo(const struct transfer *self, const struct metainfo *metainfo);
void transfer_settle(struct transfer *self);

/* ---- transfer_disk.c ---- */

/* False: it cannot be, and has failed. */
bool transfer_open_storage(struct transfer *self, const struct storage_events *events);

/* Waiting would not change that it cannot be opened. */
bool transfer_is_refused(const struct transfer *self, lb_err err);

/* What lies in its files is known: take what lies elsewhere on this disk, then go on. */
void transfer_take_up(struct transfer *self);

/* Then: from its own bases, those of transfers here, and more (copied). */
void transfer_reuse(struct transfer *self, const struct storage_base *more, uint32_t more_count);
void transfer_on_reused(void *ctx, uint32_t piece);
void transfer_on_reuse_done(void *ctx, lb_err err);

/* Every piece is here; a sync ended; a check that reads back goes on, and ends. */
void transfer_complete(struct transfer *self);
void transfer_on_durable(struct transfer *self);
void transfer_read_back_piece(struct transfer *self, uint32_t piece, bool good);
void transfer_read_back_done(struct transfer *self);

/* What lies in its files is not what it was, or cannot be written: self->trouble. */
void transfer_look_into_trouble(struct transfer *self);

/* ---- transfer_blocks.c ---- */

/* memory: of a block of its own, which it may keep (connection.h), or NULL. */
void transfer_take_block(struct transfer *self, const struct wire_message *message,
                         struct disk_block **memory);
void transfer_verify(struct transfer *self, uint32_t piece);
void transfer_free_incoming(struct transfer *self, uint32_t piece);
void transfer_retry_writing(struct transfer *self);
void transfer_send_block(struct transfer *self, const struct torrent_action *action);

/* Pieces begun could not be written out early: their memory is given up until there is room. */
void transfer_give_up_incoming(struct transfer *self, lb_err err);
void transfer_drop_incoming(struct transfer *self);
void transfer_drop_outgoing(struct transfer *self);

/* ---- transfer_peers.c ---- */

bool transfer_hello(struct transfer *self, struct connection *connection,
                    const struct wire_handshake *hello);
void transfer_message(struct transfer *self, struct connection *connection,
                      const struct wire_message *message, struct disk_block **block);
void transfer_closed(struct transfer *self, struct connection *connection, const char *reason);
void transfer_disconnect(struct transfer *self, const struct torrent_action *action);

/* Ours, for one we call; NULL: who called. */
struct wire_handshake transfer_handshake(const struct transfer *self,
                                         const struct address *address);

/* NULL: the peer of this number has none any more. */
struct connection *transfer_connection(const struct transfer *self, uint32_t peer);

/* ---- transfer_hashes.c ---- */

/* From its magnet link, and from its metainfo once it is there. */
void transfer_learn_hashes(struct transfer *self);

/* By its key, or by the other infohash of a hybrid, cut. */
bool transfer_is_known_as(const struct transfer *self, const uint8_t infohash[20]);
void transfer_want_layers(struct transfer *self);
void transfer_take_layers(struct transfer *self);
void transfer_give_hashes(struct transfer *self, uint32_t peer, struct bytes payload);

/* ---- transfer_webseeds.c ---- */

/* Those of its magnet link are its metainfo's, too. */
void transfer_learn_web_seeds(struct transfer *self);

/* Give idle ones something to do, drop the bad; when that is to be called again. */
void transfer_run_webseeds(struct transfer *self);
uint64_t transfer_webseeds_deadline_ms(const struct transfer *self);
void transfer_drop_webseeds(struct transfer *self);

/* ---- transfers_reload.c ---- */

/* The numbers of every torrent, as configured. */
struct torrent_numbers transfers_numbers(const struct transfers *self);

/* ---- transfers_control.c ---- */

/* The limits of the configuration. */
void transfers_open_limits(struct transfers *self);

/* Let those go on that a limit held back; decide who fetches and who waits. */
void transfers_let_go_on(struct transfers *self, uint64_t now_ms);
void transfers_order_queue(struct transfers *self, uint64_t now_ms);

/* One of each transfer, for queue_order(); the caller frees. */
struct queue_item *transfers_queue_items(const struct transfers *self, uint64_t now_ms);
void transfers_look_at_queue(struct transfers *self);

/* Of its peers' share of what all may have, by its priority. */
uint32_t transfer_weight(uint32_t priority);

/*
 * What its selection means, now that the files are known: they are told to the storage, the pieces
 * to the torrent. LB_NOT_FOUND, and why in *ret_reason (the caller frees).
 */
LB_MUST_CHECK lb_err transfer_apply_selection(struct transfer *self, char **ret_reason);

/*
 * The entries of an order as one text; *ret_reason when they are too many, or (with the metainfo
 * known) one means no file. And two of these together, of which "" is everything; NULL: too much.
 * The caller frees all of them.
 */
LB_MUST_CHECK lb_err transfers_read_selection(const struct transfers_fetch *fetch,
                                              const struct metainfo *metainfo, char **ret_selection,
                                              char **ret_reason);
char *transfers_join_selections(const char *one, const char *other);

/* One piece of a check is done. */
void transfer_count_checked(struct transfer *self, uint32_t piece, bool good);

/* ---- transfers_looking.c ---- */

/* What lies in a folder under this name; the caller frees. */
char *transfers_path(const char *folder, const char *name);

/* ---- transfers_outcomes.c ---- */

/* Who finished is kept over a restart: when that has changed and it is time, or at_once. */
void transfer_save_outcomes(struct transfer *self, bool at_once);
void transfer_load_outcomes(struct transfer *self);

/* What the torrent cannot know by itself. */
void transfer_tell(struct transfer *self);
uint32_t transfer_finished(const struct transfer *self);

/* ---- transfers_order.c ---- */

/* Why it is neither here nor there at the moment. */
extern const char transfers_passing[];

/* Take up what stands in the catalogue, or one of it. */
void transfers_load(struct transfers *self);
struct transfer *transfers_load_one(struct transfers *self, const struct order *order,
                                    enum ownership_place place);

void transfers_cancel_orders(struct transfers *self);

/* ---- transfers_fetch.c ---- */

/* What an order to fetch is of: by its link or its metainfo. The problem is for a person. */
LB_MUST_CHECK lb_err transfers_read_source(const struct transfers_fetch *fetch,
                                           uint8_t infohash[20], struct metainfo **ret_metainfo,
                                           struct metainfo_problem *problem);

/* ---- transfers_local.c ---- */

void transfers_local_open(struct transfers *self);

/* A torrent begins or ends, or turned out to be private: tell it in the next turn. */
void transfers_local_changed(struct transfers *self);
void transfers_local_settle(struct transfers *self);

/* ---- transfers_network.c ---- */

/*
 * Is the node of a private network? Then its peers speak TLS from now on. LB_INVALID, LB_DENIED:
 * it is, but cannot take part; it is said in the log.
 */
LB_MUST_CHECK lb_err transfers_network_open(struct transfers *self);
void transfers_network_close(struct transfers *self);

/* Why a torrent cannot be had on this node's network, or NULL. */
const char *transfers_foreign(const struct transfers *self, const struct metainfo *metainfo);

/* What stands in the torrents that are made here; size 0: nothing. */
struct bytes transfers_ssl_cert(const struct transfers *self);

/* The infohash under which TLS was begun is of this transfer, too. */
bool transfers_named_so(const struct transfers *self, const struct connection *connection,
                        const struct transfer *transfer);
void transfers_on_refused(void *ctx, struct connection *connection, unsigned refusal);

/* ---- transfers_announce.c ---- */

void transfers_announce(struct transfers *self, struct transfer *transfer);

/* ---- transfers_workers.c ---- */

/* Opens the catalogue, taking what is this worker's. LB_DENIED, LB_IO with errno left set. */
LB_MUST_CHECK lb_err workers_open(struct transfers *transfers);

/* Once the sockets are there: says which port it is. */
void workers_opened(struct workers *self);

/* No new work; what is under way ends with the pool. Then say nothing any more; then free. */
void workers_stop(struct workers *self);
/* After that: shares that wait for their owner to be there again end. */
void workers_end_adopting(struct workers *self);
void workers_end(struct workers *self);
void workers_free(struct workers **self);

/* Another worker of this node listens there: no peer. */
bool workers_is_other(const struct workers *self, const struct address *address);

/* A transfer's storage is closed, or it has none: go on handing it over. */
void workers_go_on_handing(struct workers *self, struct transfer *transfer);

/* ---- transfers_adopt.c ---- */

/* Look whether another worker shares this path; true: ordering_create() follows. */
bool workers_find_share(struct ordering *ordering);

/* What is hashed is another worker's: true, and it is given to that one. */
bool workers_hand_share(struct ordering *ordering, const char *folder);

/* What the path held before is another worker's: it ends that. */
void workers_replace_share(struct ordering *ordering);

/* ---- transfers_bases.c ---- */

/* Look for what other workers hold under its name; true: transfer_reuse() follows. */
bool workers_find_bases(struct workers *self, struct transfer *transfer);

/* ---- transfers_mirror.c ---- */

/* Others that seed it, too, are to end that. */
void workers_unseed(struct workers *self, const struct transfer *transfer);

/* ---- transfers_allot.c ---- */

/* The node's limit has changed. */
void workers_set_limit(struct workers *self, enum limits_direction direction, uint64_t rate);

/* How many fetches may run here, for queue_order(). */
uint32_t workers_places(const struct workers *self, uint32_t active_max);
