/*
 * The register of a private network: who was invited, who is a member, who is denied, who
 * coordinates. Every coordinator has the same one: it is what a sequence of commands, agreed upon
 * by Raft (Ongaro and Ousterhout 2014), makes of an empty one.
 *
 * Whatever differs between machines stands in the command: the time, the random node id, the digest
 * of a secret (never the secret). So register_apply() is a function of register and command alone.
 * A command that breaks a rule changes nothing and says so in its result.
 *
 * What always holds (register_check() walks it):
 *   - a node id belongs to one key, and a key has one node id;
 *   - serials are unique and rise: each certificate that is to be signed has one from here;
 *   - an invitation admits no more than its uses, whether at once or by an operator's approval, and
 *     nobody once it was withdrawn, which is remembered until it expires or the table is full;
 *   - who asks again with the same token and key is answered as before, without another use;
 *   - every table is bounded: a full one refuses with LB_FULL;
 *   - who coordinated once could still sign, so its intermediate is remembered until that has
 * ended: it makes no coordinator (register_is_former()), and who is revoked as well is denied with
 * it.
 *
 * Pure; it allocates.
 */
#pragma once

#include "libcommon/identity.h"
#include "services/coordinator/register_command.h"

#define REGISTER_MEMBERS_MAX 100000u
#define REGISTER_INVITES_MAX 10000u
#define REGISTER_WAITING_MAX 10000u /* pending and rejected together */
#define REGISTER_OFFERS_MAX  16u    /* the oldest gives way */
#define REGISTER_SERVERS_MAX 7u     /* five, and room to exchange some */
#define REGISTER_FORMER_MAX  64u    /* removed, and their intermediates have not ended */
#define REGISTER_DENIED_MAX  10000u /* DENY_LIST_ROWS_MAX */

#define REGISTER_LATE_S         (31u * 24 * 3600) /* SEALED_AGE_MAX_S: its mail is on the way so long */
#define REGISTER_AGAIN_S        60u               /* a renewal asked again so soon: the same one */
#define REGISTER_WAIT_S         (7u * 24 * 3600)  /* so long somebody waits to be approved */
#define REGISTER_FORGET_S       (90u * 24 * 3600) /* a member whose certificates ended so long ago */
#define REGISTER_DENIED_FRESH_S (7u * 24 * 3600)  /* the deny list is signed anew so often */

struct register_member {
    struct node_id node;
    uint8_t key_digest[REGISTER_DIGEST_SIZE];
    struct register_key key;
    uint64_t serial; /* of its newest certificate, as are the next three */
    uint64_t issued_s, not_after_s;
    bool issued_coordinator; /* the role that stands in it */
    bool revoked;
    uint64_t until_s; /* its last certificate has ended by then, renewals that came late too */
    uint64_t admitted_s;
    uint8_t invite[REGISTER_INVITE_SIZE]; /* by which it came, with the digest of its secret */
    uint8_t secret[REGISTER_DIGEST_SIZE];
    char host_name[REGISTER_HOST_SIZE];
};

struct register_waiting {
    uint8_t key_digest[REGISTER_DIGEST_SIZE];
    struct register_key key;
    uint64_t since_s;
    bool rejected;
    uint8_t invite[REGISTER_INVITE_SIZE];
    uint8_t secret[REGISTER_DIGEST_SIZE];
    char host_name[REGISTER_HOST_SIZE];
};

/* One that coordinates no more, and its intermediate. */
struct register_former {
    struct node_id node;
    uint8_t key_id[REGISTER_KEY_ID_SIZE];
    uint64_t until_s; /* nothing it has signed is taken any more by then */
    bool revoked;
};

struct register_invite {
    uint8_t invite[REGISTER_INVITE_SIZE];
    uint8_t secret[REGISTER_DIGEST_SIZE]; /* SHA-256 of it */
    uint32_t uses, uses_left;
    uint64_t made_s, expires_s; /* made_s and uses, 0: not known, from a snapshot of version 1 */
    bool withdrawn;
};

/* A coordinator, or in offers who would be one (number 0, no intermediate). */
struct register_server {
    uint64_t number; /* of Raft; never used twice */
    struct node_id node;
    char address[REGISTER_ADDRESS_SIZE]; /* HOST:PORT of coordinator.listen */
    uint16_t node_port;                  /* of node.listen, on the same host; 0: not said */
    uint16_t request_size, intermediate_size;
    uint8_t request[REGISTER_REQUEST_MAX]; /* PKCS #10 of the intermediate's key */
    uint8_t intermediate[REGISTER_CERTIFICATE_MAX];
};

struct network_register; /* opaque: "register" is a word of C */

struct network_register *register_new(void);
void register_free(struct network_register **self);

/* What became of a command. */
enum register_outcome { REGISTER_DONE, REGISTER_ADMITTED, REGISTER_WAITS, REGISTER_REFUSED };

struct register_result {
    enum register_outcome outcome;
    lb_err err;          /* why it was refused, else LB_OK */
    const char *reason;  /* for a person; static */
    struct node_id node; /* ADMITTED: of the member, which register_member() finds */
    uint64_t number;     /* ADD_SERVER, OFFER: of the server; REVOKE: of the deny list */
};

/* One entry of the log. Never fails: bytes that are no command are refused with LB_INVALID. */
struct register_result register_apply(struct network_register *self, struct bytes command);

/*
 * What a command would be answered without a change, so that nothing needs to be agreed upon: a
 * join asked again or with a token that does not count, a renewal asked again at once, the same
 * offer. False: it has to be proposed.
 */
bool register_known(const struct network_register *self, const struct register_command *command,
                    struct register_result *ret_result);

/* ---- looking ---- */

bool register_is_founded(const struct network_register *self);
const char *register_name(const struct network_register *self);
const uint8_t *register_network(const struct network_register *self); /* NETWORK_ID_SIZE */
bool register_waits_for_approval(const struct network_register *self);
uint64_t register_last_serial(const struct network_register *self);

/* Borrowed until the next apply or restore. NULL: there is none. */
const struct register_member *register_member(const struct network_register *self,
                                              const struct node_id *node);
const struct register_member *
register_member_of_key(const struct network_register *self,
                       const uint8_t key_digest[REGISTER_DIGEST_SIZE]);
bool register_is_coordinator(const struct network_register *self, const struct node_id *node);

/*
 * In order of node id, key digest, or id of the invitation: those after `after` (NULL: from the
 * first), at most `most` pointers; *ret_more: there are others. Returns how many.
 */
size_t register_members(const struct network_register *self, const struct node_id *after,
                        const struct register_member **ret_members, size_t most, bool *ret_more);
size_t register_waiting(const struct network_register *self,
                        const uint8_t after[REGISTER_DIGEST_SIZE],
                        const struct register_waiting **ret_waiting, size_t most, bool *ret_more);
size_t register_invites(const struct network_register *self,
                        const uint8_t after[REGISTER_INVITE_SIZE],
                        const struct register_invite **ret_invites, size_t most, bool *ret_more);
size_t register_members_count(const struct network_register *self);
size_t register_waiting_count(const struct network_register *self); /* not the rejected */

size_t register_servers(const struct network_register *self,
                        const struct register_server **ret_servers);
size_t register_offers(const struct network_register *self,
                       const struct register_server **ret_offers);
const struct register_server *register_server(const struct network_register *self,
                                              const struct node_id *node);
uint64_t register_next_server(const struct network_register *self);

/* Is it the intermediate of one that was removed? */
bool register_is_former(const struct network_register *self,
                        const uint8_t key_id[REGISTER_KEY_ID_SIZE]);

/* The deny list of this number: its rows are those that register_denied() gives. 0: none yet. */
uint64_t register_deny_number(const struct network_register *self);
uint64_t register_deny_made_s(const struct network_register *self);
struct register_denied {
    struct node_id node;
    uint64_t until_s;
};
/* Sorted by node id, intermediates among them (deny_list_key()); ret_rows has room for
 * REGISTER_DENIED_MAX. */
size_t register_denied(const struct network_register *self, struct register_denied *ret_rows);

/* Has a sweep at now_s anything to do? */
bool register_wants_sweep(const struct network_register *self, uint64_t now_s);

/* ---- snapshots ---- */

/* The whole of it, versioned; the caller frees. */
void register_snapshot(const struct network_register *self, uint8_t **ret_data, size_t *ret_size);
/* LB_CORRUPT, LB_UNSUPPORTED (a newer version); then it is as it was. */
LB_MUST_CHECK lb_err register_restore(struct network_register *self, struct bytes snapshot);

/* All invariants, asserted; for tests. */
void register_check(const struct network_register *self);
