/*
 * order: one that is read is the same when it is written and read again.
 */
#include "services/swarm/order.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct order order, again;
    static uint8_t encoded[ORDER_SIZE_MAX];
    struct writer writer;

    if (order_parse(bytes_of(data, size), &order) != LB_OK)
        return 0;
    writer_init(&writer, encoded, sizeof(encoded));
    order_encode(&order, &writer);
    assert(!writer.overflow);
    assert(order_parse(bytes_of(encoded, writer.size), &again) == LB_OK);
    assert(order.kind == again.kind && order.seed_for_s == again.seed_for_s &&
           order.has_seed_for == again.has_seed_for && order.added_s == again.added_s &&
           strcmp(order.folder, again.folder) == 0 && strcmp(order.magnet, again.magnet) == 0);
    assert(order.verified_s == again.verified_s && order.receive_limit == again.receive_limit &&
           order.send_limit == again.send_limit && order.priority == again.priority &&
           order.verify == again.verify && strcmp(order.device, again.device) == 0 &&
           strcmp(order.base, again.base) == 0 && strcmp(order.select, again.select) == 0);
    return 0;
}
