/*
 * lsd: an announcement that is read is the same when it is written and read again.
 */
#include "libcommon/lsd.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lsd_message message, again;
    uint8_t written[LSD_SIZE_MAX];
    size_t used;

    if (lsd_decode(bytes_of(data, size), &message) != LB_OK)
        return 0;
    assert(message.port > 0 && message.hashes_count > 0);
    (void)lsd_remarks(&message, "alone");
    used = lsd_encode(&message, written, sizeof(written));
    assert(used > 0 && lsd_decode(bytes_of(written, used), &again) == LB_OK);
    assert(again.port == message.port && again.hashes_count == message.hashes_count);
    assert(memcmp(again.hashes, message.hashes, sizeof(again.hashes)) == 0);
    assert(bytes_equal(again.cookie, message.cookie));
    assert(bytes_equal(again.remark, message.remark));
    return 0;
}
