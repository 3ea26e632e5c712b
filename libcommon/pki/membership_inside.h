/* What a membership is made of, for membership.c and session.c only. */
#pragma once

#include "libcommon/pki/membership.h"

#include <sys/types.h>

/* When a file was last another one. */
struct stamp {
    ino_t inode;
    off_t size;
    time_t changed_s;
    long changed_ns;
};

struct membership {
    char *folder; /* NULL: made from parts, and never news */
    struct identity identity;
    EVP_PKEY *key;
    X509 *leaf, *intermediate, *root;
    struct certificate_claims claims;
    struct deny_list *denied; /* NULL: none yet */
    char *coordinators[MEMBERSHIP_COORDINATORS_MAX];
    size_t coordinators_count;
    uint64_t reached_s;    /* when a coordinator was, by our clock; 0: not known */
    struct node_id *known; /* MEMBERSHIP_KNOWN_MAX, by their id; zeros: free. NULL: none yet */
    X509 *others[MEMBERSHIP_INTERMEDIATES_MAX]; /* intermediates of the group, each once */
    size_t others_count;
    struct stamp certificate_stamp, denied_stamp, coordinators_stamp, reached_stamp,
        intermediates_stamp;
};

#define FILE_REACHED           "reached"
#define FILE_INTERMEDIATES     "intermediates"
#define INTERMEDIATES_FILE_MAX (MEMBERSHIP_INTERMEDIATES_MAX * (2 + CERTIFICATE_DER_MAX))

void membership_forget_intermediates(struct membership *self);

/* Of the file: a u16 size, big endian, and the DER of each; what does not count is passed over. */
void membership_parse_intermediates(struct membership *self, struct bytes data, uint64_t now_s);

/* Of the file; what is no number is 0. */
void membership_parse_reached(struct membership *self, struct bytes text);
