#include "services/swarm/fast_set.h"

#include "libcommon/crypto.h"

#include <string.h>

static bool add_once(uint32_t *pieces, size_t count, uint32_t piece)
{
    for (size_t i = 0; i < count; i++)
        if (pieces[i] == piece)
            return false;
    pieces[count] = piece;
    return true;
}

size_t fast_set(const uint8_t infohash[20], const struct address *address, uint32_t pieces,
                uint32_t *ret_pieces, size_t most)
{
    uint8_t seed[4 + 20];
    size_t count = 0;
    if (!address_is_v4(address))
        return 0;
    if (most > pieces)
        most = pieces;
    memcpy(seed, address->ip + 12, 3);
    seed[3] = 0; /* neighbours in a /24 count as one */
    memcpy(seed + 4, infohash, 20);
    struct bytes input = bytes_of(seed, sizeof seed);
    uint8_t digest[SHA1_SIZE];
    while (count < most) {
        sha1(input, digest);
        for (size_t i = 0; i < sizeof digest && count < most; i += 4)
            count += add_once(ret_pieces, count, load_u32(digest + i) % pieces);
        memcpy(seed, digest, sizeof digest);
        input = bytes_of(seed, sizeof digest);
    }
    return count;
}
