/*
 * Node ids and DHT targets: 160-bit numbers, most significant byte first, compared by XOR
 * (Maymounkov and Mazieres 2002, 2.1; BEP 5). Pure.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define NODE_ID_SIZE      20
#define NODE_ID_BITS      160
#define NODE_ID_TEXT_SIZE (2 * NODE_ID_SIZE + 1)

struct random;

struct node_id {
    uint8_t bytes[NODE_ID_SIZE];
};

static inline bool node_id_equal(const struct node_id *a, const struct node_id *b)
{
    return memcmp(a->bytes, b->bytes, NODE_ID_SIZE) == 0;
}

int node_id_compare(const struct node_id *a, const struct node_id *b); /* as memcmp */
struct node_id node_id_distance(const struct node_id *a, const struct node_id *b);

/* Less than, equal to or greater than 0 as a is nearer to target than b, as near, or farther. */
int node_id_compare_distance(const struct node_id *target, const struct node_id *a,
                             const struct node_id *b);

/* How many leading bits are the same, 0 to 160. */
unsigned node_id_shared_bits(const struct node_id *a, const struct node_id *b);

/* Bit 0 is the most significant. */
bool node_id_bit(const struct node_id *self, unsigned bit);

struct node_id node_id_random(struct random *random);

/* A random id that shares exactly shared_bits (0 to 159) leading bits with self. */
struct node_id node_id_random_in_bucket(const struct node_id *self, unsigned shared_bits,
                                        struct random *random);

struct node_id node_id_from(const uint8_t bytes[NODE_ID_SIZE]);
LB_MUST_CHECK lb_err node_id_parse(const char *hex, struct node_id *ret_id);
void node_id_format(const struct node_id *self, char ret_text[NODE_ID_TEXT_SIZE]);
