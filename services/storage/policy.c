#include "services/storage/policy.h"

#include <assert.h>
#include <string.h>

#define SITE_SHARE     4u /* one address inside a site: a quarter of the items */
#define PUBLIC_SHARE   32u
#define KEY_SHARE      8u
#define SHARE_LEAST    65536u
#define SITE_PEERS     20000u
#define PUBLIC_PEERS   1000u
#define RESERVE_LEAST  (256ull * 1024)
#define RESERVE_MAX    (256ull * 1024 * 1024)
#define HOUR_S         3600u
#define MINUTE_S       60u
#define PUBLIC_V4_BITS 24u
#define PUBLIC_V6_BITS 56u
#define SEEN_PART      20u  /* of the store */
#define SEEN_BYTES     128u /* that one takes, its row in due included */

static bool source_is_private(const struct record_source *source)
{
    return source->is_self || address_is_private(&source->address);
}

struct policy_key policy_source_key(enum policy_kind kind, const struct record_source *source)
{
    struct policy_key key = { .is_private = source_is_private(source) };
    bool v4 = address_is_v4(&source->address);
    size_t bytes = sizeof source->address.ip;

    if (source->is_self)
        return key;
    if (!key.is_private)
        bytes = v4 ? 12 + PUBLIC_V4_BITS / 8 : PUBLIC_V6_BITS / 8;
    key.bytes[0] = (uint8_t)kind;
    key.bytes[1] = (uint8_t)bytes;
    memcpy(key.bytes + 2, source->address.ip, bytes);
    key.size = 2 + bytes;
    return key;
}

struct policy_key policy_publisher_key(const struct item *item, const struct record_source *source)
{
    struct policy_key key = { .is_private = source_is_private(source) };

    if (source->is_self || !item->is_mutable || item->salt.size == 0)
        return key;
    key.bytes[0] = POLICY_ITEMS_OF_KEY;
    memcpy(key.bytes + 1, item->public_key, sizeof item->public_key);
    key.size = 1 + sizeof item->public_key;
    return key;
}

static uint64_t items_limit(const struct policy_key *key, uint64_t map_bytes)
{
    uint64_t items_bytes = map_bytes / 100 * POLICY_ITEMS_PERCENT;
    uint64_t share = key->bytes[0] == POLICY_ITEMS_OF_KEY ? KEY_SHARE
                     : key->is_private                    ? SITE_SHARE
                                                          : PUBLIC_SHARE;

    return items_bytes / share > SHARE_LEAST ? items_bytes / share : SHARE_LEAST;
}

bool policy_allows(const struct policy_key *key, const struct quota_record *used, uint64_t more,
                   uint64_t map_bytes)
{
    if (key->size == 0)
        return true;
    if (key->bytes[0] == POLICY_PEERS_OF_SOURCE)
        return used->count + more <= (key->is_private ? SITE_PEERS : PUBLIC_PEERS);
    return used->bytes + more <= items_limit(key, map_bytes);
}

uint64_t policy_item_pages(uint64_t map_pages)
{
    return map_pages * POLICY_ITEMS_PERCENT / 100;
}

uint64_t policy_all_pages(uint64_t map_pages)
{
    return map_pages * POLICY_ALL_PERCENT / 100;
}

uint64_t policy_reserve_bytes(uint64_t file_system_bytes)
{
    uint64_t share = file_system_bytes / 20;

    if (share < RESERVE_LEAST)
        return RESERVE_LEAST;
    return share < RESERVE_MAX ? share : RESERVE_MAX;
}

/* Negative when a gives way before b. Distance counts by its power of two: within one, age decides.
 */
static int compare_victims(const struct node_id *own_id, const struct policy_candidate *a,
                           const struct policy_candidate *b)
{
    unsigned a_bits = own_id != NULL ? node_id_shared_bits(own_id, &a->target) : 0;
    unsigned b_bits = own_id != NULL ? node_id_shared_bits(own_id, &b->target) : 0;

    if (a_bits != b_bits)
        return a_bits < b_bits ? -1 : 1;
    return (a->stored_s > b->stored_s) - (a->stored_s < b->stored_s);
}

size_t policy_victim(const struct node_id *own_id, const struct node_id *offered,
                     const struct policy_candidate *candidates, size_t count)
{
    size_t worst = SIZE_MAX;

    for (size_t i = 0; i < count; i++) {
        if (own_id != NULL && node_id_compare_distance(own_id, offered, &candidates[i].target) >= 0)
            continue;
        if (worst == SIZE_MAX || compare_victims(own_id, &candidates[i], &candidates[worst]) < 0)
            worst = i;
    }
    return worst;
}

uint64_t policy_republish_s(unsigned acknowledged, unsigned wanted, unsigned tries,
                            uint64_t item_ttl_s, uint64_t random)
{
    uint64_t whole_s = item_ttl_s / 2 < HOUR_S ? item_ttl_s / 2 : HOUR_S;
    uint64_t wait_s = whole_s;

    if (acknowledged < wanted && tries < 6)
        wait_s = (uint64_t)MINUTE_S << tries;
    if (wait_s > whole_s)
        wait_s = whole_s;
    if (wait_s < 10)
        wait_s = 10;
    return wait_s - random % (wait_s / 5 + 1);
}

bool policy_is_expired(uint64_t stored_s, uint64_t ttl_s, uint64_t now_s)
{
    return now_s > stored_s && now_s - stored_s > ttl_s;
}

bool policy_is_over(uint64_t ends_s, uint64_t now_s)
{
    return now_s > ends_s;
}

uint64_t policy_seen_until_s(uint64_t ends_s, uint64_t now_s)
{
    return ends_s > now_s + POLICY_SEEN_S ? ends_s : now_s + POLICY_SEEN_S;
}

uint64_t policy_seen_max(uint64_t map_bytes)
{
    uint64_t share = map_bytes / SEEN_PART / SEEN_BYTES;

    return share < POLICY_SEEN_MAX ? share : POLICY_SEEN_MAX;
}
