/* Messages of peers: each to whom it concerns, and what a flood of them costs its sender. */
#include "services/swarm/torrent_inside.h"

/*
 * A message that costs its sender nothing and brings nobody any further. A few are the life of
 * every connection; who sends them without end wants our time, and does not get it.
 */
static bool is_talk(const struct torrent *self, const struct peer *peer,
                    const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_HAVE:
        return peer_has(peer, message->piece);
    case WIRE_REQUEST:
        return (peer->am_choking && peer->granted_bytes == 0) || !self->has_metainfo ||
               peer->wishes_count == PEER_WISHES_MAX;
    case WIRE_PIECE: /* counted by themselves: PEER_FAULTS_MAX, RESTATED_MAX */
    case WIRE_BITFIELD:
    case WIRE_HAVE_ALL:
        return false;
    case WIRE_EXTENDED: /* who cooperates is trusted, and its plan may come piece by piece */
        return !peer->cooperates || message->extended != EXTENSION_LB_PLAN;
    default:
        return true;
    }
}

static const char *handle(struct torrent *self, struct peer *peer,
                          const struct wire_message *message, uint64_t now_ms,
                          enum torrent_verdict *ret_verdict)
{
    switch (message->kind) {
    case WIRE_CHOKE:
        torrent_fetch_choked(self, peer);
        return NULL;
    case WIRE_UNCHOKE:
        peer->choking = false;
        torrent_fetch_hungry(self, peer);
        return NULL;
    case WIRE_INTERESTED:
    case WIRE_NOT_INTERESTED:
        torrent_give_interested(self, peer, message->kind == WIRE_INTERESTED, now_ms);
        return NULL;
    case WIRE_HAVE:
        return torrent_fetch_have(self, peer, message->piece, now_ms);
    case WIRE_BITFIELD:
        return torrent_fetch_bitfield(self, peer, message->payload, now_ms);
    case WIRE_HAVE_ALL:
        return torrent_fetch_have_all(self, peer, now_ms);
    case WIRE_HAVE_NONE:
        peer->told_pieces = true;
        return NULL;
    case WIRE_REQUEST:
        return torrent_give_request(self, peer, message, now_ms);
    case WIRE_CANCEL:
        torrent_give_cancel(self, peer, message, now_ms);
        return NULL;
    case WIRE_PIECE:
        return torrent_fetch_block(self, peer, message, now_ms, ret_verdict);
    case WIRE_REJECT:
        return torrent_fetch_reject(self, peer, message, now_ms);
    case WIRE_ALLOWED_FAST:
        return torrent_fetch_allowed(self, peer, message->piece);
    case WIRE_EXTENDED:
        return torrent_exchange_message(self, peer, message, now_ms);
    case WIRE_HASH_REQUEST:
    case WIRE_HASHES:
    case WIRE_HASH_REJECT:
        return torrent_hashes_message(self, peer, message, now_ms);
    case WIRE_SUGGEST:
        return torrent_fetch_suggested(self, peer, message->piece);
    case WIRE_PORT:
    case WIRE_KEEPALIVE:
    case WIRE_UNKNOWN:
        return NULL;
    }
    return NULL;
}

enum torrent_verdict torrent_message(struct torrent *self, uint32_t number,
                                     const struct wire_message *message, uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    enum torrent_verdict verdict = TORRENT_DONE;
    if (peer == NULL)
        return verdict;
    peer->received_ms = now_ms;
    const bool floods = is_talk(self, peer, message) && !allowance_take(&peer->talk, now_ms);
    const char *fault =
        floods ? "it talks without end" : handle(self, peer, message, now_ms, &verdict);
    if (fault != NULL) {
        torrent_drop(self, &peer, fault, now_ms);
        return TORRENT_DONE;
    }
    /* Hashes it gave may have convicted itself. */
    peer = torrent_find(self, number);
    if (peer == NULL)
        return TORRENT_DONE;
    /* Two seeds have nothing to say to each other. */
    torrent_report_look(self, peer, now_ms);
    if (torrent_report_is_over(self, peer, now_ms))
        torrent_drop(self, &peer, torrent_both_complete, now_ms);
    return verdict;
}
