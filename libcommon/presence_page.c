#include "libcommon/presence_page.h"

#include "libcommon/bytes.h"

#define HASHES 4

void presence_page_init(struct presence_page *self)
{
    self->magic = PRESENCE_PAGE_MAGIC;
    self->layout = PRESENCE_PAGE_LAYOUT;
    atomic_store(&self->retired, 0);
}

bool presence_page_is_valid(const struct presence_page *self, size_t size)
{
    return size >= sizeof(*self) && self->magic == PRESENCE_PAGE_MAGIC &&
           self->layout == PRESENCE_PAGE_LAYOUT;
}

/*
 * From the last 12 bytes: a node stores what is close to its own id, so the first bits of its
 * targets are nearly all the same.
 */
static void bits_of(const struct node_id *target, uint32_t ret_bits[HASHES])
{
    const uint32_t mask = PRESENCE_PAGE_BITS - 1;
    uint64_t word = load_u64(target->bytes + 8);

    ret_bits[0] = (uint32_t)word & mask;
    ret_bits[1] = (uint32_t)(word >> 21) & mask;
    ret_bits[2] = (uint32_t)(word >> 42) & mask;
    ret_bits[3] = load_u32(target->bytes + 16) & mask;
}

void presence_page_add(struct presence_page *self, const struct node_id *target)
{
    uint32_t bits[HASHES];

    bits_of(target, bits);
    for (unsigned i = 0; i < HASHES; i++)
        atomic_fetch_or_explicit(&self->words[bits[i] / 64], (uint64_t)1 << (bits[i] % 64),
                                 memory_order_release);
}

bool presence_page_may_have(const struct presence_page *self, const struct node_id *target)
{
    uint32_t bits[HASHES];

    bits_of(target, bits);
    for (unsigned i = 0; i < HASHES; i++) {
        uint64_t word = atomic_load_explicit(&self->words[bits[i] / 64], memory_order_acquire);

        if (!(word >> (bits[i] % 64) & 1))
            return false;
    }
    return true;
}
