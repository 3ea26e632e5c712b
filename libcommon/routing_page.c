#include "libcommon/routing_page.h"

#include <assert.h>
#include <string.h>

#define CLOSEST_MAX 32 /* contacts one call may ask for */
#define TORN_MAX    8  /* reads before we give up */

/*
 * A copy can be written to while it is read; the version tells afterwards. To the compiler that is
 * a race all the same, so contacts are moved as relaxed atomic words, which cost what plain loads
 * and stores cost.
 */
typedef uint64_t __attribute__((may_alias)) word;
#define CONTACT_WORDS (sizeof(struct contact) / sizeof(word))
_Static_assert(sizeof(struct contact) == CONTACT_WORDS * sizeof(word), "contacts are whole words");
_Static_assert(_Alignof(struct contact) == _Alignof(word), "contacts are aligned words");

/* Eight contacts go into every answer: unrolled, a copy is 10 instructions. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 5")
#else
#define UNROLL /* clang does it by itself */
#endif

static void contact_store(struct contact *to, const struct contact *from)
{
    const word *source = (const word *)from;
    word *target = (word *)to;

    UNROLL
    for (size_t i = 0; i < CONTACT_WORDS; i++)
        __atomic_store_n(&target[i], source[i], __ATOMIC_RELAXED);
}

static void contact_load(const struct contact *from, struct contact *to)
{
    const word *source = (const word *)from;
    word *target = (word *)to;

    UNROLL
    for (size_t i = 0; i < CONTACT_WORDS; i++)
        target[i] = __atomic_load_n(&source[i], __ATOMIC_RELAXED);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored                                                                     \
    "-Wtsan" /* it does not model fences; all accesses are atomic anyway */
#endif
static void fence(memory_order order)
{
    atomic_thread_fence(order);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

void routing_page_init(struct routing_page *self, const struct node_id *self_id,
                       uint64_t generation)
{
    self->magic = ROUTING_PAGE_MAGIC;
    self->layout = ROUTING_PAGE_LAYOUT;
    self->generation = generation;
    self->self_id = *self_id;
    atomic_store(&self->retired, 0);
    atomic_store(&self->version, 0);
}

void routing_page_publish(struct routing_page *self,
                          const struct contact *contacts[ROUTING_FAMILIES],
                          const uint32_t counts[ROUTING_FAMILIES])
{
    uint64_t version = atomic_load_explicit(&self->version, memory_order_relaxed) + 1;
    struct routing_page_copy *copy = &self->copies[version % 2];

    fence(memory_order_release); /* who sees a byte of this fill also sees the version before it */
    for (unsigned f = 0; f < ROUTING_FAMILIES; f++) {
        struct routing_page_family *family = &copy->family[f];

        assert(counts[f] <= ROUTING_PAGE_CONTACTS_MAX);
        for (uint32_t i = 0; i < counts[f]; i++) {
            contact_store(&family->contacts[i], &contacts[f][i]);
            __atomic_store_n(&family->keys[i], closest_key(&contacts[f][i].id), __ATOMIC_RELAXED);
        }
        __atomic_store_n(&family->count, counts[f], __ATOMIC_RELAXED);
    }
    atomic_store_explicit(&self->version, version, memory_order_release);
}

bool routing_page_is_valid(const struct routing_page *self, size_t size)
{
    if (size < sizeof(*self) || self->magic != ROUTING_PAGE_MAGIC ||
        self->layout != ROUTING_PAGE_LAYOUT)
        return false;
    for (unsigned c = 0; c < 2; c++) {
        for (unsigned f = 0; f < ROUTING_FAMILIES; f++) {
            const uint32_t *count = &self->copies[c].family[f].count;

            if (__atomic_load_n(count, __ATOMIC_RELAXED) > ROUTING_PAGE_CONTACTS_MAX)
                return false;
        }
    }
    return true;
}

/* From one copy, which may be changing under our hands: the answer counts only if it did not. */
static inline size_t closest_in(const struct routing_page_family *family,
                                const struct node_id *target, size_t k, bool in_order,
                                struct contact *ret_contacts)
{
    uint32_t indices[CLOSEST_MAX];
    uint32_t count = __atomic_load_n(&family->count, __ATOMIC_RELAXED);
    size_t found;

    if (count > ROUTING_PAGE_CONTACTS_MAX)
        return 0;
    found = in_order
                ? closest_find(family->contacts, count, target, k, indices)
                : closest_find_keyed(family->contacts, family->keys, count, target, k, indices);
    for (size_t i = 0; i < found; i++)
        contact_load(&family->contacts[indices[i]], &ret_contacts[i]);
    return found;
}

static inline size_t closest_of(const struct routing_page *self, enum routing_family family,
                                const struct node_id *target, size_t k, bool in_order,
                                struct contact *ret_contacts)
{
    if (k > CLOSEST_MAX)
        k = CLOSEST_MAX;
    for (int i = 0; i < TORN_MAX; i++) {
        uint64_t version = atomic_load_explicit(&self->version, memory_order_acquire);
        size_t found;

        if (version == 0)
            return 0;
        found = closest_in(&self->copies[version % 2].family[family], target, k, in_order,
                           ret_contacts);
        fence(memory_order_acquire);
        if (atomic_load_explicit(&self->version, memory_order_relaxed) == version)
            return found;
    }
    return 0;
}

size_t routing_page_closest(const struct routing_page *self, enum routing_family family,
                            const struct node_id *target, size_t k, struct contact *ret_contacts)
{
    return closest_of(self, family, target, k, true, ret_contacts);
}

size_t routing_page_closest_any(const struct routing_page *self, enum routing_family family,
                                const struct node_id *target, size_t k,
                                struct contact *ret_contacts)
{
    return closest_of(self, family, target, k, false, ret_contacts);
}

static uint32_t count_of(const struct routing_page_family *family)
{
    uint32_t count = __atomic_load_n(&family->count, __ATOMIC_RELAXED);

    return count <= ROUTING_PAGE_CONTACTS_MAX ? count : 0;
}

size_t routing_page_count(const struct routing_page *self)
{
    uint64_t version = atomic_load_explicit(&self->version, memory_order_acquire);
    const struct routing_page_copy *copy = &self->copies[version % 2];

    return version == 0 ? 0 : count_of(&copy->family[0]) + count_of(&copy->family[1]);
}

static bool holds(const struct routing_page_family *family, const struct address *address)
{
    uint32_t count = count_of(family);
    struct contact contact;

    for (uint32_t i = 0; i < count; i++) {
        contact_load(&family->contacts[i], &contact);
        if (address_equal(&contact.address, address))
            return true;
    }
    return false;
}

bool routing_page_holds(const struct routing_page *self, const struct address *address)
{
    enum routing_family family = address_is_v4(address) ? ROUTING_V4 : ROUTING_V6;

    for (int i = 0; i < TORN_MAX; i++) {
        uint64_t version = atomic_load_explicit(&self->version, memory_order_acquire);
        bool found;

        if (version == 0)
            return false;
        found = holds(&self->copies[version % 2].family[family], address);
        fence(memory_order_acquire);
        if (atomic_load_explicit(&self->version, memory_order_relaxed) == version)
            return found;
    }
    return false;
}

size_t routing_list_closest_any(const struct routing_list *self, enum routing_family family,
                                const struct node_id *target, size_t k,
                                struct contact *ret_contacts)
{
    uint32_t indices[CLOSEST_MAX];
    size_t found;

    if (k > CLOSEST_MAX)
        k = CLOSEST_MAX;
    found = closest_find_any(self->contacts[family], self->counts[family], target, k, indices);
    for (size_t i = 0; i < found; i++)
        ret_contacts[i] = self->contacts[family][indices[i]];
    return found;
}

bool routing_page_contacts(const struct routing_page *self, enum routing_family family,
                           struct contact *ret_contacts, uint32_t *ret_count)
{
    for (int i = 0; i < TORN_MAX; i++) {
        uint64_t version = atomic_load_explicit(&self->version, memory_order_acquire);
        const struct routing_page_family *from = &self->copies[version % 2].family[family];
        uint32_t count = count_of(from);

        if (version == 0)
            return false;
        for (uint32_t c = 0; c < count; c++)
            contact_load(&from->contacts[c], &ret_contacts[c]);
        fence(memory_order_acquire);
        if (atomic_load_explicit(&self->version, memory_order_relaxed) == version) {
            *ret_count = count;
            return true;
        }
    }
    return false;
}

uint64_t routing_page_version(const struct routing_page *self)
{
    return atomic_load_explicit(&self->version, memory_order_acquire);
}
