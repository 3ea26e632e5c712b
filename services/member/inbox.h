/*
 * The private messages this node has received: an LMDB environment of its own, written by one
 * thread, read by another.
 *
 * A message that inbox_put() took is on disk before it returns, and is taken once: by the id of its
 * sealed bytes and by what its sender named it (a holder could change the one, never the other),
 * both remembered until nobody can hand it over any more, also after it was removed. Numbers count
 * up and are never used twice.
 *
 *     mails      number u64 -> id 32 | sender 20 | sent_s u64 | received_s u64 | text
 *     seen       id or name 32 -> until_s u64
 *     ends       until_s u64 | id or name 32 -> nothing
 *     senders    node id 20 -> messages u32 | bytes u64
 *     meta       schema u32, next u64, bytes u64
 *
 * All big endian.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stdint.h>

#define INBOX_ID_SIZE             32
#define INBOX_MESSAGES_MAX        10000u
#define INBOX_BYTES_MAX           (64u * 1024 * 1024) /* of text */
#define INBOX_SENDER_MESSAGES_MAX 2500u               /* of one sender: it cannot fill all of it */
#define INBOX_SENDER_BYTES_MAX    (16u * 1024 * 1024)
#define INBOX_SEEN_MAX            250000u
#define INBOX_MAP_BYTES           (512u * 1024 * 1024) /* of addresses; the file grows as it is used */

struct inbox; /* opaque */

/*
 * folder is made, 0700, if it is not there. LB_CORRUPT: it is damaged; LB_UNSUPPORTED: a newer
 * version wrote it. LB_DENIED, LB_NO_SPACE, LB_IO.
 */
LB_MUST_CHECK lb_err inbox_open(const char *folder, struct inbox **ret_self);
void inbox_close(struct inbox **self);

/* ---- on the writer's thread, one at a time ---- */

struct inbox_mail {
    uint8_t id[INBOX_ID_SIZE];
    uint8_t name[INBOX_ID_SIZE]; /* of its sender's: a digest of sender and nonce */
    struct node_id sender;
    uint64_t sent_s, received_s;
    uint64_t until_s; /* it is remembered so long */
    struct bytes text;
};

/*
 * LB_OK: it is on disk. LB_EXISTS: it had been. LB_FULL: there is no room, for anybody or for this
 * sender; LB_NO_SPACE. LB_IO: whether it is there is not known; the process has to end.
 */
LB_MUST_CHECK lb_err inbox_put(struct inbox *self, const struct inbox_mail *mail,
                               uint64_t *ret_number);

LB_MUST_CHECK lb_err inbox_remove(struct inbox *self, uint64_t number); /* LB_NOT_FOUND */

/* Forget what ended before now_s, at most `budget` of them; *ret_more: there are others. */
LB_MUST_CHECK lb_err inbox_sweep(struct inbox *self, uint64_t now_s, unsigned budget,
                                 bool *ret_more);

/* ---- on the reader's thread, one at a time ---- */

struct inbox_info {
    uint64_t number;
    uint8_t id[INBOX_ID_SIZE];
    struct node_id sender;
    uint64_t sent_s, received_s;
    uint32_t size;
};

/* Oldest first, those after this number. Returns how many, at most max. */
size_t inbox_list(struct inbox *self, uint64_t after, struct inbox_info *ret_infos, size_t max,
                  bool *ret_more);

/* The caller frees *ret_text. LB_NOT_FOUND, LB_IO. */
LB_MUST_CHECK lb_err inbox_read(struct inbox *self, uint64_t number, struct inbox_info *ret_info,
                                uint8_t **ret_text);
bool inbox_has_seen(struct inbox *self, const uint8_t id[INBOX_ID_SIZE]);

struct inbox_stats {
    uint64_t messages, bytes;
    uint64_t seen;
};
void inbox_get_stats(struct inbox *self, struct inbox_stats *ret_stats);
