/*
 * The peer wire: the handshake and the messages of one TCP stream, read and written.
 *
 * The reader takes whatever bytes have come and gives back whole messages in place; only a message
 * that was cut by the end of a read is kept, and wire_reader_room() lets the next read put its rest
 * straight behind it, so a payload is copied at most once here. What is kept grows with the bytes
 * that came, never with a claimed length. Lengths are checked here; what a message means to a
 * torrent (is there such a piece?) is checked by torrent.h.
 *
 * Sources: BEP 3 "peer protocol", BEP 6 (fast), BEP 10 (extended), BEP 52 (hash messages). Pure;
 * the reader allocates.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_BLOCK_SIZE     16384u /* what is asked for at once; more is refused (BEP 3) */
#define WIRE_HANDSHAKE_SIZE 68u
#define WIRE_MESSAGE_MAX    262145u /* after the length: a bitfield of 2^21 pieces */
#define WIRE_HEADER_MAX     17u     /* the longest message without payload: request */
#define WIRE_PIECE_HEADER   13u     /* length, id, piece, offset */
#define WIRE_PEER_ID_SIZE   20u

enum wire_kind {
    WIRE_CHOKE = 0,
    WIRE_UNCHOKE = 1,
    WIRE_INTERESTED = 2,
    WIRE_NOT_INTERESTED = 3,
    WIRE_HAVE = 4,
    WIRE_BITFIELD = 5,
    WIRE_REQUEST = 6,
    WIRE_PIECE = 7,
    WIRE_CANCEL = 8,
    WIRE_PORT = 9,
    WIRE_SUGGEST = 13,
    WIRE_HAVE_ALL = 14,
    WIRE_HAVE_NONE = 15,
    WIRE_REJECT = 16,
    WIRE_ALLOWED_FAST = 17,
    WIRE_EXTENDED = 20,
    WIRE_HASH_REQUEST = 21, /* BEP 52; their payload is read by hash_range.h */
    WIRE_HASHES = 22,
    WIRE_HASH_REJECT = 23,
    WIRE_KEEPALIVE = 256, /* length 0: has no id */
    WIRE_UNKNOWN = 257    /* an id we do not know: skipped */
};

struct wire_message {
    enum wire_kind kind;
    uint32_t piece;   /* HAVE, REQUEST, PIECE, CANCEL, SUGGEST, REJECT, ALLOWED_FAST */
    uint32_t offset;  /* REQUEST, PIECE, CANCEL, REJECT: in the piece */
    uint32_t length;  /* REQUEST, CANCEL, REJECT; PIECE: of the block */
    uint16_t port;    /* PORT: of the DHT node */
    uint8_t extended; /* EXTENDED: the extension's number, 0 its handshake */
    struct bytes
        payload; /* BITFIELD, PIECE, EXTENDED, HASH_REQUEST, HASHES, HASH_REJECT; borrowed */
};

struct wire_handshake {
    bool fast;     /* BEP 6 */
    bool extended; /* BEP 10 */
    bool dht;      /* BEP 5 */
    bool v2;       /* BEP 52: of a hybrid by its v1 hash, but v2 is welcome */
    uint8_t infohash[NODE_ID_SIZE];
    uint8_t peer_id[WIRE_PEER_ID_SIZE];
};

enum wire_verdict {
    WIRE_MORE,      /* all bytes are taken, no whole message */
    WIRE_HANDSHAKE, /* *ret_handshake is set: the first thing on each stream */
    WIRE_MESSAGE,   /* *ret_message is set */
    WIRE_BAD        /* this is not the protocol: close */
};

struct wire_reader {
    bool handshaken;
    uint8_t *partial; /* a message begun, NULL when there is none */
    uint32_t size;
    uint32_t capacity;
};

void wire_reader_init(struct wire_reader *self);
void wire_reader_done(struct wire_reader *self);

/*
 * Take bytes from the front of *data until a message is whole; call again until WIRE_MORE. The
 * message borrows data's bytes or the reader's own until the next call.
 */
enum wire_verdict wire_reader_next(struct wire_reader *self, struct bytes *data,
                                   struct wire_message *ret_message,
                                   struct wire_handshake *ret_handshake);

/*
 * Where the rest of a begun message may be read to: at most its missing bytes, 0 when there is
 * none. Say with wire_reader_filled() how many were put there, before wire_reader_next().
 */
size_t wire_reader_room(struct wire_reader *self, uint8_t **ret_room);
void wire_reader_filled(struct wire_reader *self, size_t size);

/* Nothing is begun any more. */
void wire_reader_drop(struct wire_reader *self);

/* Whether these WIRE_PIECE_HEADER bytes begin a PIECE of WIRE_BLOCK_SIZE; its payload is not set.
 */
bool wire_reads_block(const uint8_t *header, struct wire_message *ret_message);

/*
 * May it go before blocks that wait for the same peer? What the other side can use at once does.
 * Whether we choke it does not: a peer without BEP 6 takes a choke for the end of what it asked
 * for, and would not know the blocks that follow.
 */
bool wire_overtakes(const struct wire_message *message);

/* Append to `to`; a PIECE without its payload, which the caller sends behind it. */
void wire_put_handshake(struct writer *to, const struct wire_handshake *handshake);
void wire_put(struct writer *to, const struct wire_message *message);

/* Bytes wire_put() appends. */
size_t wire_size(const struct wire_message *message);
