/*
 * lb-transport on a member of a private network: between the sockets and the endpoint stands DTLS.
 *
 * OpenSSL costs 1.4 MB a process, and a node of the open network has no use for it here. So there
 * are two programs: lb-transport, and lb-transport-member, which alone links what implements this.
 * main.c of the first becomes the second when the node's identity is there.
 *
 * What is lost with a session is asked again: a query to an address without one is held until
 * there is one (transactions.h), and a silent node is held against nobody while it is just being
 * spoken to.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct contact;
struct datagram_local;
struct datagram_port;
struct datagram_receiver;
struct identity;
struct member; /* opaque */
struct responder_ask;
struct transport;
struct krpc_message;

enum member_reach {
    MEMBER_OPEN,    /* send it */
    MEMBER_OPENING, /* hold it */
    MEMBER_OTHER,   /* another node is there, or the one that is meant is denied */
    MEMBER_BUSY     /* as many sessions are being opened as may be */
};

#define MEMBER_ROOM 1415u /* bytes of a payload: its record is one of KRPC_SEND_MAX */

struct member_ops {
    /* identity is borrowed. LB_INVALID: its files do not let it be one; logged. */
    lb_err (*open)(struct transport *transport, const struct identity *identity,
                   struct member **ret_self);
    void (*stop)(struct member *self); /* says good-bye to all it has a session with */
    void (*free)(struct member **self);

    /* Who receives what a socket reads; then the port is wrapped, and sends into sessions. */
    const struct datagram_receiver *(*receiver)(const struct member *self);
    void (*wrap)(struct member *self, struct datagram_port *port);

    /* to->id is whom we mean when has_id. */
    enum member_reach (*reach)(struct member *self, const struct contact *to, bool has_id);

    /* A query there was not answered. False: that is not held against the node. */
    bool (*unanswered)(struct member *self, const struct address *peer);

    void (*next)(struct member *self, uint64_t now_us); /* what is due */
    uint64_t (*deadline_us)(const struct member *self);
    void (*care)(struct member *self);    /* once a second */
    void (*publish)(struct member *self); /* its counters */

    /* An lb_call for lb-member; views into the message are kept until flush. */
    void (*take_call)(struct member *self, const struct krpc_message *message,
                      const struct responder_ask *ask, const struct datagram_local *local);
    void (*flush)(struct member *self);
    bool (*is_idle)(const struct member *self); /* nobody waits for an answer of lb-member */

    /* Handlers. */
    void (*call_all)(struct member *self, struct call *call, const void *body);
    void (*get_trust)(struct member *self, struct call *call);
};

extern const struct member_ops *const transport_member; /* NULL: this program has none */
