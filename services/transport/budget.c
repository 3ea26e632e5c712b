#include "services/transport/budget.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 4

static bool is_power_of_two(uint32_t number)
{
    return number > 0 && (number & (number - 1)) == 0;
}

static struct budget_price price_of(struct budget_rate rate)
{
    uint64_t byte_ns = 1000000000 / rate.per_second;

    assert(byte_ns > 0);
    return (struct budget_price){ .byte_ns = byte_ns, .burst_ns = byte_ns * rate.burst };
}

void budget_init(struct budget *self, struct budget_limits limits, uint64_t seed)
{
    assert(is_power_of_two(limits.strangers_max) && is_power_of_two(limits.subnets_max));
    assert(is_power_of_two(limits.known_max) && limits.known_max >= WAYS);
    *self = (struct budget){
        .limits = limits,
        .seed = seed,
        .stranger_price = price_of(limits.stranger),
        .known_price = price_of(limits.known),
        .subnet_price = price_of(limits.subnet),
        .total_price = price_of(limits.total),
        .strangers = xcalloc(limits.strangers_max, sizeof(*self->strangers)),
        .subnets = xcalloc(limits.subnets_max, sizeof(*self->subnets)),
        .known = xcalloc(limits.known_max, sizeof(*self->known)),
    };
}

void budget_done(struct budget *self)
{
    free(self->strangers);
    free(self->subnets);
    free(self->known);
    self->strangers = self->subnets = NULL;
    self->known = NULL;
}

/* ---- one bucket ---- */

/* How long it takes until it is full. */
static uint64_t lack_ns(budget_bucket bucket, uint64_t now_ns)
{
    return bucket > now_ns ? bucket - now_ns : 0;
}

/* The bytes in it, without those of the part that is kept for others. */
static uint64_t bytes_in(budget_bucket bucket, const struct budget_price *price, uint64_t kept_ns,
                         uint64_t now_ns)
{
    uint64_t lack = lack_ns(bucket, now_ns) + kept_ns;

    return lack < price->burst_ns ? (price->burst_ns - lack) / price->byte_ns : 0;
}

static void draw(budget_bucket *bucket, const struct budget_price *price, uint64_t bytes,
                 uint64_t now_ns)
{
    *bucket = now_ns + lack_ns(*bucket, now_ns) + bytes * price->byte_ns;
}

/* ---- whose ---- */

/* The hash of an address without its port and without all but the first `size` bytes of its IP. */
static uint64_t hash_of(const struct budget *self, const struct address *address, size_t size)
{
    struct address source = *address;

    source.port = 0;
    memset(source.ip + size, 0, sizeof(source.ip) - size);
    return address_hash(&source, self->seed);
}

static uint64_t source_of(const struct budget *self, const struct address *address)
{
    return hash_of(self, address, address_is_v4(address) ? 16 : 8);
}

static struct budget_known *set_of(const struct budget *self, uint64_t source)
{
    return &self->known[WAYS * (source & (self->limits.known_max / WAYS - 1))];
}

static struct budget_known *find_known(const struct budget *self, uint64_t source, uint64_t now_ms)
{
    struct budget_known *set = set_of(self, source);

    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].source == source && set[i].until_ms > now_ms)
            return &set[i];
    }
    return NULL;
}

/* The buckets that a reply is paid from. */
struct account {
    budget_bucket *address, *subnet;
    const struct budget_price *price; /* of the address */
    uint64_t kept_subnet_ns, kept_total_ns;
    uint64_t now_ns;
};

static struct account account_of(const struct budget *self, const struct address *to,
                                 uint64_t now_ms)
{
    uint64_t source = source_of(self, to);
    uint64_t subnet = hash_of(self, to, address_is_v4(to) ? 15 : 7);
    struct budget_known *known = find_known(self, source, now_ms);
    struct account account = {
        .subnet = &self->subnets[subnet & (self->limits.subnets_max - 1)],
        .now_ns = now_ms * 1000000,
    };

    if (known) {
        account.address = &known->bucket;
        account.price = &self->known_price;
        return account;
    }
    account.address = &self->strangers[source & (self->limits.strangers_max - 1)];
    account.price = &self->stranger_price;
    account.kept_subnet_ns = self->subnet_price.burst_ns / 2;
    account.kept_total_ns = self->total_price.burst_ns / 2;
    return account;
}

static uint64_t room_of(const struct budget *self, const struct account *account, size_t asked)
{
    uint64_t paid = bytes_in(*account->address, account->price, 0, account->now_ns);
    uint64_t subnet =
        bytes_in(*account->subnet, &self->subnet_price, account->kept_subnet_ns, account->now_ns);
    uint64_t total =
        bytes_in(self->total, &self->total_price, account->kept_total_ns, account->now_ns);

    if (paid > subnet)
        paid = subnet;
    paid += (uint64_t)BUDGET_RATIO * asked;
    return paid < total ? paid : total;
}

bool budget_take(struct budget *self, const struct address *to, size_t size, size_t asked,
                 uint64_t now_ms)
{
    struct account account;
    size_t paid;

    if (address_is_private(to))
        return true;
    account = account_of(self, to, now_ms);
    if (room_of(self, &account, asked) < size)
        return false;
    paid = size > BUDGET_RATIO * asked ? size - BUDGET_RATIO * asked : 0;
    draw(account.address, account.price, paid, account.now_ns);
    draw(account.subnet, &self->subnet_price, paid, account.now_ns);
    draw(&self->total, &self->total_price, size, account.now_ns);
    return true;
}

size_t budget_room(const struct budget *self, const struct address *to, size_t asked,
                   uint64_t now_ms)
{
    struct account account;

    if (address_is_private(to))
        return SIZE_MAX;
    account = account_of(self, to, now_ms);
    return (size_t)room_of(self, &account, asked);
}

void budget_prove(struct budget *self, const struct address *from, uint64_t now_ms)
{
    struct budget_known *set, *place;
    uint64_t source;

    if (address_is_private(from))
        return;
    source = source_of(self, from);
    place = find_known(self, source, now_ms);
    if (!place) {
        set = set_of(self, source);
        place = &set[0];
        for (unsigned i = 1; i < WAYS; i++) {
            if (set[i].until_ms < place->until_ms)
                place = &set[i];
        }
        *place = (struct budget_known){ .source = source };
    }
    place->until_ms = now_ms + BUDGET_PROVED_MS;
}
