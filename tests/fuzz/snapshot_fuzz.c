/* Whatever is read from a snapshot can be written again, and reads the same. */
#include "services/routing/snapshot.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot *first = xcalloc(1, sizeof(*first)), *second = xcalloc(1, sizeof(*second));
    uint8_t *again = xmalloc(SNAPSHOT_SIZE_MAX);

    if (snapshot_read(bytes_of(data, size), first) == LB_OK) {
        lb_err err = snapshot_read(bytes_of(again, snapshot_write(first, again)), second);
        assert(err == LB_OK);
        assert(second->count == first->count);
        for (size_t i = 0; i < first->count; i++) {
            assert(address_is_usable(&first->contacts[i].contact.address));
            assert(node_id_equal(&second->contacts[i].contact.id, &first->contacts[i].contact.id));
        }
    }
    free(first);
    free(second);
    free(again);
    return 0;
}
