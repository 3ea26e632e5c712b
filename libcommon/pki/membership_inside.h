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
    struct stamp certificate_stamp, denied_stamp, coordinators_stamp;
};
