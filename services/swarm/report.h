/*
 * Reports: what a node of our kind tells those who have everything (and so hear no HAVE from it)
 * about itself, and why a peer is not faster. The message of the extension `lb_report` (ours,
 * inside BEP 10) is a bencoded dictionary; keys that are not known are skipped, what is out of
 * bounds is as if it had not been said. Pure; allocates nothing.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

#define REPORT_HOST_SIZE   65u  /* with the NUL */
#define REPORT_MESSAGE_MAX 512u /* longer ones are not read; ours are shorter */
#define REPORT_INTERVAL_MS 1000u
#define REPORT_PROGRESS_MS 5000u /* when nothing but its progress has changed */

enum report_state {
    REPORT_UNSAID = 0,
    REPORT_FETCHING = 1,
    REPORT_COMPLETE = 2,
    REPORT_VERIFYING = 3 /* complete, and reading it back */
};

/* The numbers of the wire, and of lb.swarm.Peer. */
enum report_why {
    REPORT_WHY_UNSAID = 0,
    REPORT_WHY_NONE = 1,
    REPORT_WHY_CHOKED = 2,
    REPORT_WHY_LINK = 3,
    REPORT_WHY_DISK = 4,
    REPORT_WHY_NO_PEERS = 5,
    REPORT_WHY_PAUSED = 6,
    REPORT_WHY_SILENT = 7,
    REPORT_WHY_LIMITED = 8
};

struct report {
    enum report_state state;
    enum report_why why;
    bool verified; /* everything was read back from its disk, and compared */
    uint64_t have_bytes;
    char host[REPORT_HOST_SIZE]; /* what it calls itself: UTF-8 without control characters, or "" */
};

/* Into a writer of REPORT_MESSAGE_MAX, which always suffices. */
void report_put(struct writer *to, const struct report *report);
LB_MUST_CHECK lb_err report_read(struct bytes payload, struct report *ret_report);

/* Everything but the progress is the same. */
bool report_same(const struct report *a, const struct report *b);

/* What a node sees of itself. */
struct report_self {
    bool complete;
    bool paused;
    bool disk_behind; /* what came cannot be written away fast enough */
    bool limited;     /* a limit keeps it from asking for more */
    uint32_t useful;  /* peers that have what it lacks */
    uint32_t serving; /* of these: that do not choke it */
    uint32_t silent;  /* of these: asked, and sending nothing */
};
enum report_why report_why_self(const struct report_self *self);

/* What is seen of a peer from here, and what it says. */
struct report_view {
    bool complete;
    enum report_why said;
    bool interested; /* in what we have */
    bool am_choking;
    bool limited; /* a limit of ours holds back what it is to get */
    bool snubbed; /* it was asked and sends nothing */
    bool sending; /* blocks for it are on their way */
};
enum report_why report_why_peer(const struct report_view *view);
