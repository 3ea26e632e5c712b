/*
 * The commands of the register, as they stand in the log of Raft and on disk.
 *
 *     u8 version (1) | u8 verb | u64 now_s | the fields of the verb in the order of the enum below
 *
 * Big endian; texts and blobs with a u16 size before them. A verb has exactly its fields, and there
 * is nothing after them. A version or verb that is not known is refused. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stdint.h>

#define REGISTER_DIGEST_SIZE     32
#define REGISTER_NAME_SIZE       64 /* NETWORK_NAME_SIZE */
#define REGISTER_KEY_ID_SIZE     8  /* CERTIFICATE_KEY_ID_SIZE */
#define REGISTER_INVITE_SIZE     6  /* JOIN_INVITE_SIZE */
#define REGISTER_KEY_MAX         96 /* SubjectPublicKeyInfo of a P-256 key: 91 bytes */
#define REGISTER_HOST_SIZE       65 /* with its NUL */
#define REGISTER_ADDRESS_SIZE    264
#define REGISTER_REQUEST_MAX     1024 /* CERTIFICATE_REQUEST_MAX */
#define REGISTER_CERTIFICATE_MAX 2048 /* CERTIFICATE_DER_MAX */
#define REGISTER_COMMAND_MAX     4096

#define REGISTER_USES_MAX   10000u
#define REGISTER_TTL_MIN_S  60u
#define REGISTER_TTL_MAX_S  (30u * 24 * 3600)
#define REGISTER_LEAF_MAX_S (8u * 24 * 3600) /* a leaf lives no longer than that */

/* X(NAME, bit's place): in this order they are written. */
#define REGISTER_FIELDS(X)                                                                         \
    X(NAME)         /* network_name */                                                             \
    X(NETWORK)      /* network */                                                                  \
    X(INVITE)       /* invite */                                                                   \
    X(SECRET)       /* secret */                                                                   \
    X(USES)         /* uses */                                                                     \
    X(EXPIRES)      /* expires_s */                                                                \
    X(NODE)         /* node */                                                                     \
    X(KEY)          /* key */                                                                      \
    X(KEY_DIGEST)   /* key_digest */                                                               \
    X(KEY_ID)       /* key_id */                                                                   \
    X(HOST)         /* host_name */                                                                \
    X(NOT_AFTER)    /* not_after_s */                                                              \
    X(ADDRESS)      /* address, node_port */                                                       \
    X(REQUEST)      /* request */                                                                  \
    X(INTERMEDIATE) /* intermediate */                                                             \
    X(YES)          /* yes */

#define REGISTER_FIELD_ENUM(name) FIELD_##name,
enum register_field { REGISTER_FIELDS(REGISTER_FIELD_ENUM) FIELDS_COUNT };
#undef REGISTER_FIELD_ENUM

/*
 * X(NAME, number, fields): what can happen to the register.
 *   FOUND          the first of all: the network, its first member and coordinator, the policy
 *   INVITE         an invitation of so many uses
 *   WITHDRAW       one is taken back: nobody comes by it any more
 *   JOIN           somebody with a token; node: the random id it is to have, or, when somebody has
 *                  that, the next one that is free
 *   DECIDE         who waits is admitted (yes), or not; node as above
 *   RENEW          a member's next certificate; key_digest: of the key it has shown
 *   REVOKE         a member is put out
 *   OFFER          a member would be a coordinator
 *   ADD_SERVER     who offered itself is one; or one has a new intermediate
 *   REMOVE_SERVER  it is none any more; key_id: of its intermediate, which ends at not_after_s
 *   SET_POLICY     whether who joins waits for approval (yes)
 *   SWEEP          what has expired is dropped, a deny list that has become old numbered anew
 */
#define REGISTER_VERBS(X)                                                                          \
    X(FOUND, 1,                                                                                    \
      F(NAME) | F(NETWORK) | F(NODE) | F(KEY) | F(HOST) | F(NOT_AFTER) | F(ADDRESS) | F(REQUEST) | \
          F(INTERMEDIATE) | F(YES))                                                                \
    X(INVITE, 2, F(INVITE) | F(SECRET) | F(USES) | F(EXPIRES))                                     \
    X(WITHDRAW, 3, F(INVITE))                                                                      \
    X(JOIN, 4, F(INVITE) | F(SECRET) | F(NODE) | F(KEY) | F(HOST) | F(NOT_AFTER))                  \
    X(DECIDE, 5, F(NODE) | F(KEY_DIGEST) | F(NOT_AFTER) | F(YES))                                  \
    X(RENEW, 6, F(NODE) | F(KEY_DIGEST) | F(NOT_AFTER))                                            \
    X(REVOKE, 7, F(NODE))                                                                          \
    X(OFFER, 8, F(NODE) | F(ADDRESS) | F(REQUEST))                                                 \
    X(ADD_SERVER, 9, F(NODE) | F(INTERMEDIATE))                                                    \
    X(REMOVE_SERVER, 10, F(NODE) | F(KEY_ID) | F(NOT_AFTER))                                       \
    X(SET_POLICY, 11, F(YES))                                                                      \
    X(SWEEP, 12, 0)

#define REGISTER_VERB_ENUM(name, number, fields) VERB_##name = (number),
enum register_verb { REGISTER_VERBS(REGISTER_VERB_ENUM) VERBS_END };
#undef REGISTER_VERB_ENUM

struct register_key {
    uint8_t size;
    uint8_t data[REGISTER_KEY_MAX]; /* SubjectPublicKeyInfo, DER */
};

/* Only the fields of its verb count. */
struct register_command {
    enum register_verb verb;
    uint64_t now_s; /* the leader's clock */
    char network_name[REGISTER_NAME_SIZE];
    uint8_t network[REGISTER_DIGEST_SIZE];
    uint8_t invite[REGISTER_INVITE_SIZE];
    uint8_t secret[REGISTER_DIGEST_SIZE]; /* SHA-256 of it */
    uint32_t uses;
    uint64_t expires_s;
    struct node_id node;
    struct register_key key;
    uint8_t key_digest[REGISTER_DIGEST_SIZE];
    uint8_t key_id[REGISTER_KEY_ID_SIZE];
    char host_name[REGISTER_HOST_SIZE];
    uint64_t not_after_s;
    char address[REGISTER_ADDRESS_SIZE];
    uint16_t node_port;
    struct bytes request, intermediate; /* borrowed: parsed ones from the bytes parsed */
    bool yes;
};

/* Returns the size. Asserts that each field is within its bounds. */
size_t register_command_write(const struct register_command *self,
                              uint8_t ret_data[REGISTER_COMMAND_MAX]);

/* LB_INVALID; LB_UNSUPPORTED: a version or verb of a newer Littlebird. */
LB_MUST_CHECK lb_err register_command_parse(struct bytes data, struct register_command *ret_self);

/* "JOIN"; for logs. */
const char *register_verb_text(enum register_verb verb);
