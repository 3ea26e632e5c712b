/*
 * The group of coordinators: the register, agreed upon by Raft (libraft). A group of one is the
 * default and needs nobody else.
 *
 *     register_folder/raft/    libraft's log and snapshots
 *
 * Who is of the group the register says (its servers); the leader has Raft's own configuration
 * follow it, one change at a time. libraft 0.15 ends the process where it finds an assertion of its
 * own broken: the supervisor starts it again, and it goes on from its folder.
 */
#pragma once

#include "services/coordinator/register.h"

#include <stdbool.h>
#include <stdint.h>

#define GROUP_ELECTION_MS   300u
#define GROUP_HEARTBEAT_MS  60u
#define GROUP_TICK_MS       50u
#define GROUP_SEGMENT_BYTES (256u * 1024)
#define GROUP_SNAPSHOT      4096u /* entries between two snapshots */
#define GROUP_TRAILING      1024u /* entries kept behind one: who is no farther back needs none */
#define GROUP_DISK_RESERVE  (8u * 1024 * 1024) /* bytes that must be free beside a snapshot */

struct group; /* opaque */
struct raft_wire;
struct uv_loop_s;

struct group_settings {
    struct uv_loop_s *loop;
    const char *folder; /* register_folder/raft, there */
    uint64_t number;    /* ours in the group */
    const char *address;
    bool is_first; /* of a new network: when the folder is empty, a group of one begins here */
    struct network_register *reg; /* borrowed: changed by the log alone */
    struct raft_wire *wire;       /* borrowed */

    void (*on_applied)(void *ctx, const struct register_result *result); /* a command, to reg */
    void *ctx;
};

/* LB_CORRUPT, LB_NO_SPACE, LB_IO; *ret_reason for a person, static. */
LB_MUST_CHECK lb_err group_start(const struct group_settings *settings, struct group **ret_self,
                                 const char **ret_reason);

/* on_closed is called from the loop; then group_free(). Proposals under way are lost. */
void group_close(struct group *self, void (*on_closed)(void *ctx), void *ctx);
void group_free(struct group **self);

enum proposal {
    PROPOSAL_APPLIED,   /* result counts */
    PROPOSAL_ELSEWHERE, /* we do not lead: nothing has happened */
    PROPOSAL_LOST,      /* we led no longer: it may be decided yet, or not */
    PROPOSAL_NO_SPACE,  /* the disk is full: nothing has happened */
};
typedef void proposed_fn(void *ctx, enum proposal verdict, const struct register_result *result);

/* proposed is called once, from inside this call or later. */
void group_propose(struct group *self, struct bytes command, proposed_fn *proposed, void *ctx);

/* Is Raft's configuration without those that the register has removed? */
bool group_is_rid_of_removed(const struct group *self);

bool group_leads(const struct group *self);
/* And everything decided before it led has been applied here. */
bool group_is_fresh(const struct group *self);
uint64_t group_leader(const struct group *self); /* its number; 0: none is known */

struct group_view {
    uint64_t number, leader, term, last_index, committed, applied;
};
void group_look(const struct group *self, struct group_view *ret_view);
/* Of a server, as Raft has it now. lag: entries it lacks, when we lead; else 0. */
void group_look_server(const struct group *self, uint64_t number, bool *ret_voter,
                       uint64_t *ret_lag);

/* Messages sent so far: all, and of them those that carry entries. */
struct group_traffic {
    uint64_t messages, with_entries, entries, votes, snapshots;
};
void group_traffic(const struct group *self, struct group_traffic *ret_traffic);
