/* The register's own: what its parts share. See register.h. */
#pragma once

#include "services/coordinator/register.h"

#define TIME_MAX_S (1ull << 40) /* so that sums of times do not overflow */

struct network_register {
    bool founded, waits_for_approval;
    char name[REGISTER_NAME_SIZE];
    uint8_t network[NETWORK_ID_SIZE];
    uint64_t last_serial;
    uint64_t next_server;
    uint64_t deny_number, deny_made_s;

    /* Rows in no order; by_node and by_key hold their places, sorted. */
    struct register_member *members;
    uint32_t *by_node, *by_key;
    size_t members_count, members_room;

    struct register_waiting *waiting; /* sorted by key digest */
    size_t waiting_count, waiting_room, rejected_count;
    struct register_invite *invites; /* sorted by id */
    size_t invites_count, invites_room;

    struct register_server servers[REGISTER_SERVERS_MAX]; /* by number */
    size_t servers_count;
    struct register_server offers[REGISTER_OFFERS_MAX]; /* oldest first */
    size_t offers_count;
    struct register_former former[REGISTER_FORMER_MAX]; /* in the order of their going */
    size_t former_count;
};

/* Places in a table: of a member of this id or key; *ret_at: where it is or would be. */
struct register_member *members_find(const struct network_register *self,
                                     const struct node_id *node);
struct register_member *members_find_key(const struct network_register *self,
                                         const uint8_t key_digest[REGISTER_DIGEST_SIZE]);

/* Its id and key are nobody's; there is room for it. Rows move. */
struct register_member *members_add(struct network_register *self,
                                    const struct register_member *row);

/* Those of whom is_kept says so stay. Rows move. */
void members_keep(struct network_register *self, uint64_t now_s,
                  bool (*is_kept)(const struct network_register *self,
                                  const struct register_member *row, uint64_t now_s));

struct register_waiting *waiting_find(const struct network_register *self,
                                      const uint8_t key_digest[REGISTER_DIGEST_SIZE]);
void waiting_add(struct network_register *self, const struct register_waiting *row);
void waiting_remove(struct network_register *self, struct register_waiting *row);

struct register_invite *invites_find(const struct network_register *self,
                                     const uint8_t invite[REGISTER_INVITE_SIZE]);
void invites_add(struct network_register *self, const struct register_invite *row);
/* Those that were withdrawn. Rows move. */
void invites_forget_withdrawn(struct network_register *self);

struct register_server *servers_find(struct register_server *servers, size_t count,
                                     const struct node_id *node);

/* What its intermediates have signed is denied from now on. */
void former_revoke(struct network_register *self, const struct node_id *node);
size_t former_count_of(const struct network_register *self, const struct node_id *node);
void former_sweep(struct network_register *self, uint64_t now_s);

/* All tables empty, their memory freed. */
void tables_clear(struct network_register *self);

/* What has expired at now_s is dropped. */
void register_sweep(struct network_register *self, uint64_t now_s);

/* Another one is to be signed. */
void register_next_deny_list(struct network_register *self, uint64_t now_s);

/* How many rows a deny list made at now_s has. */
size_t register_denied_count(const struct network_register *self, uint64_t now_s);

/* ---- commands about coordinators (register_servers.c) ---- */

void servers_found(struct network_register *self, const struct register_command *command);
struct register_result servers_on_offer(struct network_register *self,
                                        const struct register_command *command);
struct register_result servers_on_add(struct network_register *self,
                                      const struct register_command *command);
struct register_result servers_on_remove(struct network_register *self,
                                         const struct register_command *command);
bool servers_offer_known(const struct network_register *self,
                         const struct register_command *command,
                         struct register_result *ret_result);

/* ---- results ---- */

static inline struct register_result result_done(void)
{
    return (struct register_result){ .outcome = REGISTER_DONE };
}

static inline struct register_result result_refused(lb_err err, const char *reason)
{
    return (struct register_result){ .outcome = REGISTER_REFUSED, .err = err, .reason = reason };
}

static inline struct register_result result_waits(void)
{
    return (struct register_result){ .outcome = REGISTER_WAITS };
}
