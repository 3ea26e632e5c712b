/*
 * identity: one that is read is the same when it is written and read again.
 */
#include "libcommon/identity.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity identity, again;
    char text[IDENTITY_FILE_MAX];
    size_t written;

    if (identity_parse(bytes_of(data, size), &identity) != LB_OK) {
        return 0;
    }
    assert(network_name_is_valid(identity.network_name));
    written = identity_write(&identity, text);
    assert(written == size && written < IDENTITY_FILE_MAX);
    assert(identity_parse(bytes_of(text, written), &again) == LB_OK);
    assert(strcmp(again.network_name, identity.network_name) == 0);
    assert(memcmp(again.network, identity.network, NETWORK_ID_SIZE) == 0);
    assert(node_id_equal(&again.node, &identity.node));
    return 0;
}
