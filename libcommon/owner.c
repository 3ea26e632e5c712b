#include "libcommon/owner.h"

#include "libcommon/bytes.h"

#include <assert.h>
#include <string.h>

#define PLACES 65536u

uint16_t owner_place(const uint8_t *id)
{
    return load_u16(id);
}

unsigned owner_of_place(uint16_t place, unsigned instances)
{
    assert(instances > 0 && instances <= PLACES);
    return (unsigned)((uint64_t)place * instances / PLACES);
}

unsigned owner_of(const struct node_id *id, unsigned instances)
{
    return owner_of_place(owner_place(id->bytes), instances);
}

/* The first place of this instance. */
static unsigned first_place(unsigned instance, unsigned instances)
{
    return (unsigned)(((uint64_t)instance * PLACES + instances - 1) / instances);
}

void owner_range(unsigned instance, unsigned instances, struct node_id *ret_first,
                 struct node_id *ret_last)
{
    unsigned first = first_place(instance, instances);
    unsigned last = first_place(instance + 1, instances) - 1;

    assert(instance < instances && instances <= PLACES);
    memset(ret_first->bytes, 0, NODE_ID_SIZE);
    memset(ret_last->bytes, 0xff, NODE_ID_SIZE);
    ret_first->bytes[0] = (uint8_t)(first >> 8);
    ret_first->bytes[1] = (uint8_t)first;
    ret_last->bytes[0] = (uint8_t)(last >> 8);
    ret_last->bytes[1] = (uint8_t)last;
}
