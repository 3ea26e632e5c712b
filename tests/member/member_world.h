/*
 * Members of one private network in one process: the shell of lb-member as it is, with its threads
 * and disk, on an actor, a transport, a routing and a storage that are a few lines each. Nothing
 * goes over a socket; what is on its way can be lost, held or looked at.
 *
 * The stores keep what they are given in memory, and believe everything, as an honest box does.
 */
#pragma once

#include "libcommon/address.h"
#include "proto/member.pb-c.h"
#include "proto/peer.pb-c.h"
#include "services/member/service.h"
#include "tests/libcommon/pki_fixture.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define WORLD_NODES_MAX 16u
#define WORLD_MAILS_MAX 64u
#define WORLD_LIMIT_MS  60000u /* a test that takes longer is ended */

/* A message in the box of a node. */
struct world_mail {
    struct node_id recipient;
    uint8_t id[INBOX_ID_SIZE];
    uint8_t *data;
    uint32_t size;
    uint64_t has; /* a bit a part */
};

struct delivery;
struct lookup;
struct world;

struct actor {
    struct world *world;
    unsigned number;
    struct paths paths;
    struct status_counter counters[MEMBER_COUNTERS_COUNT];
    unsigned counters_count;
    enum service_state state;
    char note[256];
    bool stopped;
};

struct world_node {
    struct actor actor;
    struct pki_member self;
    struct member *member; /* NULL: it is away */
    struct world_mail mails[WORLD_MAILS_MAX];
    unsigned mails_count;
    uint8_t certificates[WORLD_NODES_MAX][2][CERTIFICATE_DER_MAX];
    size_t certificate_sizes[WORLD_NODES_MAX][2];
    bool keeps_nothing; /* its store has no room */
    bool drops_nothing; /* nor does what it is told */
};

struct world {
    uv_loop_t loop;
    char folder[64];
    struct pki_network network;
    struct world_node nodes[WORLD_NODES_MAX];
    unsigned nodes_count;
    uint64_t calls;       /* between nodes, so far */
    unsigned loses_every; /* the n-th call of all; 0: none */
    bool is_tight;        /* a leaf and its intermediate do not fit into one answer */
    struct delivery *deliveries;
    struct lookup *lookups;
    struct call *open_calls;
    void *later[1024]; /* to be freed when the loop has ended */
    unsigned later_count;
};

void world_init(struct world *world, unsigned nodes); /* of a network "lab" */
void world_init_named(struct world *world, unsigned nodes, const char *name);
void world_start_all(struct world *world,
                     unsigned nodes); /* as world_init(), and all are started */
void world_done(struct world *world);

void world_start(struct world *world, unsigned node);
void world_stop(struct world *world, unsigned node);
struct contact world_contact(const struct world *world, unsigned node);

/* Run the loop until this is true; the test ends when it does not become so. */
typedef bool world_fn(void *ctx);
void world_run_until(struct world *world, world_fn *is_done, void *ctx);

/* A call to a member, and its answer. */
struct call {
    struct call *next;
    unsigned node;
    bool answered, is_kept;
    lb_err err;
    char reason[256];
    uint8_t *reply; /* packed */
    size_t reply_size;
};
struct world_answer {
    lb_err err;
    char reason[256];
    Lb__Member__Reply *reply; /* NULL unless err is LB_OK */
};

/* Ask, and run until it is answered. Free with world_answer_done(). */
struct world_answer world_ask(struct world *world, unsigned node,
                              const Lb__Member__Request *request);
/* Ask, and go on: world_run_until(call->answered). */
struct call *world_begin(struct world *world, unsigned node, const Lb__Member__Request *request);
struct world_answer world_end(struct world *world, struct call *call);
void world_answer_done(struct world_answer *answer);

/* What node `from` asks lb-member of node `to` by lb_call, and its answer; the caller frees. */
Lb__Peer__Reply *world_call(struct world *world, unsigned from, unsigned to,
                            const Lb__Peer__Request *request);

/* What a node counts, by the name in the status page. */
uint64_t world_counter(struct world *world, unsigned node, const char *name);

/* Until each that runs has the deny list of this number. */
void world_await_denied(struct world *world, uint64_t number);
