/*
 * The load of bench-dht: queries made beforehand, sent and answered in batches from one core.
 */
#pragma once

#include "libcommon/address.h"
#include "services/transport/krpc.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define LOAD_QUERIES    1024u /* different ones of each method */
#define LOAD_QUERY_SIZE 512
#define LOAD_BATCH      64u
#define LOAD_WINDOW     256u /* queries under way */
#define LOAD_ITEMS      256u /* values that are put, and then there to be got */

enum load_method { LOAD_PING, LOAD_FIND_NODE, LOAD_GET_PEERS, LOAD_GET, LOAD_PUT, LOAD_METHODS };

struct load {
    int fd;
    uint8_t queries[LOAD_METHODS][LOAD_QUERIES][LOAD_QUERY_SIZE];
    uint16_t sizes[LOAD_METHODS][LOAD_QUERIES];
    struct node_id id, targets[LOAD_ITEMS];
    uint8_t in[LOAD_BATCH][KRPC_RECEIVE_MAX];
    struct mmsghdr out_messages[LOAD_BATCH], in_messages[LOAD_BATCH];
    struct iovec out_parts[LOAD_BATCH], in_parts[LOAD_BATCH];
    unsigned next;
};

/* What one server did in a while. */
struct load_result {
    double per_second;
    double cpu_us; /* of one reply */
    double busy;   /* of its core, 0 to 1 */
};

const char *load_method_text(enum load_method method);

/* A UDP socket on address, port 0 a free one, with a large receive buffer; exits when it cannot. */
int load_socket(const char *address, uint16_t port, uint16_t *ret_port);

void load_open(struct load *self, const char *address);
void load_open_as(struct load *self, const char *address, const struct node_id *id);
void load_aim(struct load *self, const char *address, uint16_t port);

/* The puts of one item, with a token that came with a get of it. */
void load_make_puts(struct load *self, unsigned item, struct bytes token);

/* One query and the reply to it: false when none comes within 100 ms. */
bool load_ask(struct load *self, enum load_method method, unsigned which,
              struct krpc_message *ret_reply);

/*
 * Fill the window and take what is there, without waiting; *under_way is the caller's, 0 at first.
 * Returns the replies.
 */
unsigned load_step(struct load *self, enum load_method method, unsigned *under_way);

/*
 * Send queries of this method, LOAD_WINDOW under way, until duration_us have passed or `most` of
 * them (0: no limit) are sent; returns the replies.
 */
uint64_t load_run(struct load *self, enum load_method method, uint64_t duration_us, uint64_t most,
                  uint64_t *ret_elapsed_us);
