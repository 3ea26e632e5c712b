#include "libcommon/presence_page.h"

#include "libcommon/bytes.h"

#define HASHES     4
#define LINE_WORDS 8 /* of 64 bits: a cache line */

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
 * All bits of a target lie in one cache line: a page is far larger than the caches, and a transport
 * worker would wait for memory four times, which is what most get_peers cost. From the last 12
 * bytes: a node stores what is close to its own id, so the first bits of its targets are nearly all
 * the same.
 */
static uint32_t line_of(const struct node_id *target)
{
    return load_u32(target->bytes + 16) % (PRESENCE_PAGE_BITS / 64 / LINE_WORDS) * LINE_WORDS;
}

/* Which of its words, and which bit of that. */
static uint32_t bit_of(const struct node_id *target, unsigned hash)
{
    return (uint32_t)(load_u64(target->bytes + 8) >> (9 * hash)) % (64 * LINE_WORDS);
}

void presence_page_add(struct presence_page *self, const struct node_id *target)
{
    uint32_t line = line_of(target);

    for (unsigned i = 0; i < HASHES; i++) {
        uint32_t bit = bit_of(target, i);

        atomic_fetch_or_explicit(&self->words[line + bit / 64], (uint64_t)1 << (bit % 64),
                                 memory_order_release);
    }
}

bool presence_page_may_have(const struct presence_page *self, const struct node_id *target)
{
    uint32_t line = line_of(target);

    for (unsigned i = 0; i < HASHES; i++) {
        uint32_t bit = bit_of(target, i);
        uint64_t word = atomic_load_explicit(&self->words[line + bit / 64], memory_order_acquire);

        if (!(word >> (bit % 64) & 1))
            return false;
    }
    return true;
}
