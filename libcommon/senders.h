/*
 * Who sent a message: the shell around libcommon/access.h. Reads the credentials that libzmq noted
 * of the connection, finds the service by its pid in the status page, and asks for the groups of a
 * person; remembers each so that a message costs a comparison of one short string.
 *
 * A service writes its pid into the page before it connects to anything (actor.c), and
 * lb-supervisor does as soon as it has forked. What a service sent before it ended may be read when
 * the page has its pid no more: it stays known for SENDERS_GONE_MS, unless the pid is another's by
 * then. Groups are looked up anew after a minute.
 */
#pragma once

#include "libcommon/access.h"
#include "libcommon/page.h"
#include "libcommon/paths.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Of a frame that its sender wrote. The one with the routing id, which a ROUTER puts before it, has
 * no properties when the socket was asked for its events before (router.cpp, xhas_in()).
 */
#define SENDERS_PROPERTY "Peer-Address"

#define SENDERS_KNOWN_MAX 32 /* then the one known longest is looked up anew */
#define SENDERS_GONE_MS   10000u
#define SENDERS_GROUPS_MS 60000u
#define SENDERS_DENIALS_MAX                                                                        \
    16 /* senders whose denials are logged in one minute; others are not                           \
        */
#define SENDERS_DENIALS_MS 60000u

struct sender {
    struct access_peer peer;
    enum access_role role;
};

struct senders {
    struct access_users users;
    const struct page *status; /* borrowed; NULL: only persons are asked about */
    struct known_service {
        char address[80];
        struct sender sender;
        const struct status_slot *slot; /* NULL: free */
        uint64_t seen_ms;               /* when the page had its pid last */
    } services[SENDERS_KNOWN_MAX];
    unsigned services_next, services_last;
    struct known_person {
        uint32_t uid, gid;
        unsigned groups;
        uint64_t until_ms; /* 0: free */
    } persons[SENDERS_KNOWN_MAX];
    unsigned persons_next;
    struct known_denial {
        uint32_t uid;
        enum access_role role;
        uint32_t count; /* not logged, since the one that was */
        uint64_t until_ms;
    } denials[SENDERS_DENIALS_MAX];
};

/* For this service, whose mailbox or API it is. status may be opened later. */
void senders_init(struct senders *self, const struct paths *paths, enum service service,
                  const struct page *status);

/*
 * address: the property of a frame, or NULL. Whoever cannot be told is a stranger.
 * May look up the groups of a person, which takes as long as the system's user database does.
 */
struct sender senders_identify(struct senders *self, const char *address, uint64_t now_ms);

/*
 * A request of this sender was denied. True: say so in the log, once for a sender (user and role)
 * in a minute; *ret_unsaid: how many were denied before and not said.
 */
bool senders_say_denied(struct senders *self, const struct sender *sender, uint64_t now_ms,
                        uint32_t *ret_unsaid);
