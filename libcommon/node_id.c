#include "libcommon/node_id.h"

#include "libcommon/bytes.h"
#include "libcommon/random.h"

#include <assert.h>
#include <string.h>

int node_id_compare(const struct node_id *a, const struct node_id *b)
{
    return memcmp(a->bytes, b->bytes, NODE_ID_SIZE);
}

struct node_id node_id_distance(const struct node_id *a, const struct node_id *b)
{
    struct node_id distance;

    for (unsigned i = 0; i < NODE_ID_SIZE; i++)
        distance.bytes[i] = a->bytes[i] ^ b->bytes[i];
    return distance;
}

int node_id_compare_distance(const struct node_id *target, const struct node_id *a,
                             const struct node_id *b)
{
    for (unsigned i = 0; i < NODE_ID_SIZE; i++) {
        int to_a = a->bytes[i] ^ target->bytes[i];
        int to_b = b->bytes[i] ^ target->bytes[i];

        if (to_a != to_b)
            return to_a - to_b;
    }
    return 0;
}

unsigned node_id_shared_bits(const struct node_id *a, const struct node_id *b)
{
    for (unsigned i = 0; i < NODE_ID_SIZE; i++) {
        unsigned differ = (unsigned)(a->bytes[i] ^ b->bytes[i]);

        if (differ != 0)
            return 8 * i + (unsigned)__builtin_clz(differ) - 24; /* of the 32 bits of differ */
    }
    return NODE_ID_BITS;
}

bool node_id_bit(const struct node_id *self, unsigned bit)
{
    assert(bit < NODE_ID_BITS);
    return self->bytes[bit / 8] >> (7 - bit % 8) & 1;
}

struct node_id node_id_random(struct random *random)
{
    struct node_id id;

    random_bytes(random, id.bytes, NODE_ID_SIZE);
    return id;
}

struct node_id node_id_random_in_bucket(const struct node_id *self, unsigned shared_bits,
                                        struct random *random)
{
    struct node_id id = node_id_random(random);
    unsigned byte = shared_bits / 8;
    unsigned keep = 0xff00u >> (shared_bits % 8) & 0xff; /* the bits of that byte that are shared */
    unsigned flip = 0x80u >> (shared_bits % 8);          /* the first that is not */

    assert(shared_bits < NODE_ID_BITS);
    memcpy(id.bytes, self->bytes, byte);
    id.bytes[byte] = (uint8_t)((self->bytes[byte] & keep) | (~self->bytes[byte] & flip) |
                               (id.bytes[byte] & ~(keep | flip)));
    return id;
}

struct node_id node_id_from(const uint8_t bytes[NODE_ID_SIZE])
{
    struct node_id id;

    memcpy(id.bytes, bytes, NODE_ID_SIZE);
    return id;
}

lb_err node_id_parse(const char *hex, struct node_id *ret_id)
{
    return hex_decode(hex, ret_id->bytes, NODE_ID_SIZE);
}

void node_id_format(const struct node_id *self, char ret_text[NODE_ID_TEXT_SIZE])
{
    hex_encode(self->bytes, NODE_ID_SIZE, ret_text);
}
