/*
 * What the files of a torrent share. torrent.c: its life, and the queue of actions.
 * torrent_peers.c: who joins and leaves. torrent_message.c: what peers say. torrent_pieces.c: what
 * becomes of pieces. torrent_turn.c: time. torrent_fetch.c: asking and taking. torrent_give.c:
 * choking, and requests; torrent_upload.c: whose blocks go out next; torrent_have.c: telling what
 * came; torrent_plan.c: peers that cooperate; torrent_reveal.c: strangers of a lone seed.
 * torrent_exchange.c: extensions; torrent_report.c: what peers tell of themselves.
 * torrent_suspect.c: bad pieces. torrent_webseed.c: web seeds. torrent_hashes.c: BEP 52. Not for
 * others.
 *
 * Handlers of messages return NULL, or why the peer must go; the peer is dropped by the dispatcher
 * alone, so a handler may use it to its end.
 */
#pragma once

#include "services/swarm/plan_message.h"
#include "services/swarm/torrent.h"

struct peer *torrent_find(const struct torrent *self, uint32_t number);

extern const char torrent_both_complete[]; /* a reason to part */

/* All that is selected is here, as of now. */
void torrent_become_complete(struct torrent *self, uint64_t now_ms);

/* The next announcement is due before long. */
void torrent_announce_soon(struct torrent *self, uint64_t now_ms);

/* Queue an action; a message's payload is copied. */
void torrent_push(struct torrent *self, const struct torrent_action *action);
void torrent_send(struct torrent *self, struct peer *peer, const struct wire_message *message,
                  uint64_t now_ms);
void torrent_send_kind(struct torrent *self, struct peer *peer, enum wire_kind kind,
                       uint64_t now_ms);

/* Tell it all that is here, as a bitfield. */
void torrent_tell_pieces(struct torrent *self, struct peer *peer, uint64_t now_ms);

/* Close and free a peer; *peer is NULL then. */
void torrent_drop(struct torrent *self, struct peer **peer, const char *reason, uint64_t now_ms);
void torrent_ban(struct torrent *self, struct peer **peer, const char *reason, uint64_t now_ms);
void torrent_connect_more(struct torrent *self, uint64_t now_ms);

/* ---- torrent_fetch.c ---- */

void torrent_fetch_hungry(struct torrent *self, struct peer *peer);
void torrent_fetch_fill(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_fetch_interest(struct torrent *self, struct peer *peer, uint64_t now_ms);
const char *torrent_fetch_block(struct torrent *self, struct peer *peer,
                                const struct wire_message *message, uint64_t now_ms,
                                enum torrent_verdict *ret_verdict);

/* It came; who else is asked for it (but: not this one, or NULL) need not send it. */
void torrent_fetch_cancel(struct torrent *self, const struct peer *but, struct picker_ask block,
                          uint64_t now_ms);
const char *torrent_fetch_reject(struct torrent *self, struct peer *peer,
                                 const struct wire_message *message, uint64_t now_ms);
const char *torrent_fetch_allowed(struct torrent *self, struct peer *peer, uint32_t piece);
const char *torrent_fetch_suggested(struct torrent *self, struct peer *peer, uint32_t piece);
void torrent_fetch_choked(struct torrent *self, struct peer *peer);

/* Its requests go back to the picker. */
void torrent_fetch_release(struct torrent *self, struct peer *peer);
void torrent_fetch_snubbed(struct torrent *self, struct peer *peer);

/* What a peer has, told by messages; and its part in availability taken out again. */
const char *torrent_fetch_have(struct torrent *self, struct peer *peer, uint32_t piece,
                               uint64_t now_ms);
const char *torrent_fetch_bitfield(struct torrent *self, struct peer *peer, struct bytes bitfield,
                                   uint64_t now_ms);

/* It says that it has lost a piece (BEP 54). */
const char *torrent_fetch_donthave(struct torrent *self, struct peer *peer, struct bytes payload,
                                   uint64_t now_ms);
const char *torrent_fetch_have_all(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_fetch_count(struct torrent *self, struct peer *peer);
void torrent_fetch_recount(struct torrent *self, struct peer *peer); /* `wanted` alone */
void torrent_fetch_uncount(struct torrent *self, struct peer *peer);

/* ---- torrent_suspect.c ---- */

/* A piece is whole: it is to be verified now, or later when it may have blocks of suspects. */
void torrent_suspect_whole(struct torrent *self, uint32_t piece, uint64_t now_ms);

/* It is verified; from: who sent each of its blocks. */
void torrent_suspect_good(struct torrent *self, uint32_t piece, const uint8_t *digests,
                          const uint32_t *from, uint64_t now_ms);
void torrent_suspect_bad(struct torrent *self, uint32_t piece, const uint8_t *digests,
                         const uint32_t *from, uint64_t now_ms);
void torrent_suspect_left(struct torrent *self, const struct peer *peer);
void torrent_suspect_turn(struct torrent *self, uint64_t now_ms);

/* It is open no more: nothing waits for a verdict on it. */
void torrent_suspect_unhold(struct torrent *self, uint32_t piece);

/* The leaves of a piece that was bad, proved: who sent other blocks is convicted at once. */
void torrent_suspect_leaves(struct torrent *self, uint32_t piece, const uint8_t *leaves,
                            uint64_t now_ms);

/* ---- torrent_webseed.c ---- */

/* False: it is no web seed's number. */
bool torrent_webseed_convict(struct torrent *self, uint32_t number, uint64_t now_ms);
void torrent_webseed_go_on(struct torrent *self, uint32_t number, uint64_t now_ms);
bool torrent_webseed_is_busy(const struct torrent *self);
void torrent_webseed_turn(struct torrent *self, uint64_t now_ms);
void torrent_webseed_done(struct torrent *self);

/* ---- torrent_hashes.c ---- */

const char *torrent_hashes_message(struct torrent *self, struct peer *peer,
                                   const struct wire_message *message, uint64_t now_ms);

/* A piece is bad, its blocks came from several: from, by block. */
void torrent_hashes_ask_leaves(struct torrent *self, uint32_t piece, const uint32_t *from,
                               uint64_t now_ms);
void torrent_hashes_joined(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_hashes_left(struct torrent *self, const struct peer *peer);
void torrent_hashes_turn(struct torrent *self, uint64_t now_ms);

/* ---- torrent_give.c ---- */

/* Tell it which pieces it may have while choked. */
void torrent_give_grant(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_give_interested(struct torrent *self, struct peer *peer, bool interested,
                             uint64_t now_ms);
const char *torrent_give_request(struct torrent *self, struct peer *peer,
                                 const struct wire_message *message, uint64_t now_ms);
void torrent_give_cancel(struct torrent *self, struct peer *peer,
                         const struct wire_message *message, uint64_t now_ms);
void torrent_give_reject(struct torrent *self, struct peer *peer, const struct peer_wish *wish,
                         uint64_t now_ms);
void torrent_give_pump(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_give_fill(struct torrent *self, uint64_t now_ms);

/* It may always ask us; no place is counted. */
void torrent_give_always(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_give_round(struct torrent *self, uint64_t now_ms);

/* ---- torrent_have.c ---- */

void torrent_have_tell(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms);
void torrent_have_flush(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_have_turn(struct torrent *self, uint64_t now_ms);

/* ---- torrent_upload.c ---- */

void torrent_upload_add(struct torrent *self, struct peer *peer);
void torrent_upload_run(struct torrent *self, uint64_t now_ms);
void torrent_upload_sent(struct torrent *self, struct peer *peer, const struct wire_message *block,
                         uint64_t now_ms);
void torrent_upload_left(struct torrent *self, struct peer *peer, uint64_t now_ms);
/* How many bytes more could be with the shell. */
uint64_t torrent_upload_room(const struct torrent *self);
void torrent_upload_turn(struct torrent *self, uint64_t now_ms);

/* ---- torrent_exchange.c ---- */

void torrent_exchange_send(struct torrent *self, struct peer *peer, uint8_t extension,
                           const struct writer *content, uint64_t now_ms);
void torrent_exchange_hello(struct torrent *self, struct peer *peer, uint64_t now_ms);
const char *torrent_exchange_message(struct torrent *self, struct peer *peer,
                                     const struct wire_message *message, uint64_t now_ms);
/* We have this piece no more (BEP 54). */
void torrent_exchange_donthave(struct torrent *self, uint32_t piece, uint64_t now_ms);
void torrent_exchange_turn(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_exchange_left(struct torrent *self, struct peer *peer);

/* A metadata size nobody stands by any more is given up. */
void torrent_exchange_review(struct torrent *self, uint64_t now_ms);

/* ---- torrent_plan.c ---- */

/* The metainfo is known. */
void torrent_plan_begin(struct torrent *self);

/* Its extension handshake came. */
void torrent_plan_hello(struct torrent *self, struct peer *peer, uint64_t now_ms);
const char *torrent_plan_message(struct torrent *self, struct peer *peer, struct bytes payload,
                                 uint64_t now_ms);

/* We know the metainfo, or have everything: who is to be told what changed. */
void torrent_plan_review(struct torrent *self);
void torrent_plan_came(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms);
void torrent_plan_asked(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms);

void torrent_plan_tell(struct torrent *self, struct peer *peer, enum plan_message_kind kind,
                       const uint32_t *pieces, uint32_t count, uint64_t now_ms);

/* We have a piece: is that what this peer waits for, to ask for it, or to give another? */
bool torrent_plan_waits(struct torrent *self, const struct peer *peer, uint32_t piece,
                        uint64_t now_ms);

/* Whose turn it is, when asking this peer; NULL: always ours. */
const struct wave *torrent_plan_wave(struct torrent *self, const struct peer *peer,
                                     uint64_t now_ms);
void torrent_plan_left(struct torrent *self, const struct peer *peer);
void torrent_plan_turn(struct torrent *self, uint64_t now_ms);

/* Give what is to be given now. */
void torrent_plan_run(struct torrent *self, uint64_t now_ms);

/* ---- torrent_reveal.c ---- */

#define REVEAL_COMPANY_MS 1000u /* so long one alone waits for others */
#define REVEAL_PIECES_MAX                                                                          \
    16384u /* of more, telling of each would cost too much: nothing is hidden */

/* Who joins now is not to be told what we have: peer->hidden. */
bool torrent_reveal_hides(const struct torrent *self);

/* A hidden peer may be given a piece. */
bool torrent_reveal_may(const struct peer *peer);
void torrent_reveal(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms);

/* From now on it sees all we have. */
void torrent_reveal_all(struct torrent *self, struct peer *peer, uint64_t now_ms);

/* ---- torrent_report.c ---- */

void torrent_report_turn(struct torrent *self, uint64_t now_ms);

/* Before it is parted from: whatever was told a moment ago. */
void torrent_report_last(struct torrent *self, struct peer *peer, uint64_t now_ms);
const char *torrent_report_message(struct peer *peer, struct bytes payload);

/* After a message: has it finished? And before it is forgotten. */
void torrent_report_look(struct torrent *self, struct peer *peer, uint64_t now_ms);
void torrent_report_left(struct torrent *self, struct peer *peer, uint64_t now_ms);

/* Both are complete, and all that is to be said has been. */
bool torrent_report_is_over(const struct torrent *self, const struct peer *peer, uint64_t now_ms);
