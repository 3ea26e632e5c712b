#include "services/storage/scrape.h"

#include "libcommon/crypto.h"

#define BITS (8 * SCRAPE_FILTER_SIZE)

static void set_bit(uint8_t filter[SCRAPE_FILTER_SIZE], unsigned index)
{
    filter[index % BITS / 8] |= (uint8_t)(1u << index % 8);
}

void scrape_add(struct scrape *self, const struct address *peer, bool seed)
{
    size_t size = address_is_v4(peer) ? 4 : 16;
    uint8_t *filter = seed ? self->seeds : self->peers;
    uint8_t hash[SHA1_SIZE];

    sha1(bytes_of(peer->ip + sizeof(peer->ip) - size, size), hash);
    set_bit(filter, hash[0] | (unsigned)hash[1] << 8);
    set_bit(filter, hash[2] | (unsigned)hash[3] << 8);
    self->count++;
}
