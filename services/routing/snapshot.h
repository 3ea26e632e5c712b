/*
 * The form in which the table survives a restart: our id and the contacts worth asking again.
 *
 *   offset  bytes
 *        0      8  "LBROUTES"
 *        8      4  version, 1
 *       12     20  our node id
 *       32      4  count, at most SNAPSHOT_CONTACTS_MAX
 *       36  46 * n id 20, ip 16 (IPv4 mapped), port 2, age in s since it answered 4, since it
 * entered 4 end      8  FNV-1a, 64 bits, of all before: against torn and rotten files, not against
 * forgers
 *
 * Numbers big endian. Ages, not times: the wall clock may be wrong on either side of the restart.
 * What is read is a list of addresses to ask, never contacts to trust. Pure; untrusted input.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_CONTACTS_MAX 512u
#define SNAPSHOT_HEADER_SIZE  36u
#define SNAPSHOT_RECORD_SIZE  46u
#define SNAPSHOT_SIZE_MAX     (SNAPSHOT_HEADER_SIZE + SNAPSHOT_CONTACTS_MAX * SNAPSHOT_RECORD_SIZE + 8u)

struct snapshot_contact {
    struct contact contact;
    uint32_t silent_s; /* since its last answer */
    uint32_t age_s;    /* since it entered the table */
};

struct snapshot {
    struct node_id self_id;
    size_t count;
    struct snapshot_contact contacts[SNAPSHOT_CONTACTS_MAX];
};

/* Returns the bytes written, at most SNAPSHOT_SIZE_MAX. */
size_t snapshot_write(const struct snapshot *self, uint8_t ret_data[SNAPSHOT_SIZE_MAX]);

/*
 * LB_UNSUPPORTED for another version, LB_CORRUPT for everything else that is wrong. Contacts with
 * unusable addresses are left out.
 */
LB_MUST_CHECK lb_err snapshot_read(struct bytes data, struct snapshot *ret_self);
