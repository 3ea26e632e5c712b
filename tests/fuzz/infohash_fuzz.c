/* What a person names a torrent by on the command line: digits or a magnet link. */
#include "libcommon/memory.h"
#include "services/cli/infohash.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t infohash[INFOHASH_SIZE];
    char *text = xmalloc(size + 1);

    memcpy(text, data, size);
    text[size] = '\0';
    if (infohash_parse(text, infohash) == LB_OK && !infohash_is_magnet(text) &&
        strlen(text) != 40 && strlen(text) != 32)
        abort();
    free(text);
    return 0;
}
