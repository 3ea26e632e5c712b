/*
 * magnet: a link that is read is the same when it is written and read again.
 */
#include "services/swarm/magnet.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct magnet magnet, again;
    static char link[MAGNET_FORMAT_SIZE];
    char *text = xmalloc(size + 1);

    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (magnet_parse(text, &magnet) == LB_OK) {
        assert(magnet_format(&magnet, link, sizeof(link)) == LB_OK);
        assert(magnet_parse(link, &again) == LB_OK);
        assert(memcmp(&magnet, &again, sizeof(magnet)) == 0);
    }
    free(text);
    return 0;
}
