#include "services/gateway/alias.h"

#include "libcommon/access.h"
#include "proto/littlebird/v1/swarm.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define V1    "xt=urn:btih:0123456789abcdef0123456789abcdef01234567"
#define V2    "xt=urn:btmh:1220" HALF HALF
#define HALF  "6162636465666768696a6b6c6d6e6f70"
#define HASH  "abcdefghijklmnopabcd"
#define OTHER "ABCDEFGHIJKLMNOPQRST"

static const struct row {
    const char *what, *magnet;
    bool is_one;
} rows[] = {
    { "a link of v2 alone", "magnet:?" V2 "&dn=x", true },
    { "of a hybrid v1 says whose it is", "magnet:?" V1 "&" V2, false },
    { "of v1", "magnet:?" V1, false },
    { "too short", "magnet:?xt=urn:btmh:1220" HALF, false },
    { "no digits", "magnet:?xt=urn:btmh:1220zz" HALF HALF, false },
};

static void test_magnet(void **state)
{
    const struct row *row = *state;
    Littlebird__V1__FetchRequest fetch = LITTLEBIRD__V1__FETCH_REQUEST__INIT;
    const struct method *method = method_find("littlebird.v1.SwarmService/Fetch");
    uint8_t hash[ALIAS_SIZE];

    fetch.source_case = LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET;
    fetch.magnet = (char *)(uintptr_t)row->magnet;
    assert_true(alias_is_first(method));
    assert_int_equal(alias_of(method, &fetch, hash), row->is_one);
    if (row->is_one)
        assert_memory_equal(hash, HASH, ALIAS_SIZE);
}

/* All that name one transfer by its infohash mean the other name once that is put. */
static void requests_mean_what_is_put(void **state)
{
    static const char *const names[] = { "RemoveTransfer",    "GetMetainfo",
                                         "ListTransferPeers", "ListTransferFiles",
                                         "SetTransferLimits", "CheckTransfer" };
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[64] = "littlebird.v1.SwarmService/";
        const struct method *method = method_find(strncat(name, names[i], 30));
        uint8_t mine[] = HASH, hash[ALIAS_SIZE];
        Littlebird__V1__SetTransferLimitsRequest request; /* the largest; `infohash` stands first */

        assert_non_null(method);
        protobuf_c_message_init(method->request, &request);
        assert_false(alias_is_first(method));
        assert_false(alias_of(method, &request, hash));
        request.infohash = (ProtobufCBinaryData){ ALIAS_SIZE, mine };
        assert_true(alias_of(method, &request, hash));
        assert_memory_equal(hash, HASH, ALIAS_SIZE);
        alias_put(method, &request, (const uint8_t *)OTHER);
        assert_memory_equal(mine, OTHER, ALIAS_SIZE);
    }
    assert_int_equal(alias_place((const uint8_t *)OTHER), 'A' << 8 | 'B');
}

static void the_owner_says_its_name(void **state)
{
    Lb__Swarm__Transfer row = LB__SWARM__TRANSFER__INIT, *all[] = { &row };
    Lb__Swarm__Transfers list = LB__SWARM__TRANSFERS__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    uint8_t other[] = OTHER, hash[ALIAS_SIZE];

    (void)state;
    assert_false(alias_found(&reply, hash));
    reply.body_case = LB__SWARM__REPLY__BODY_TRANSFERS;
    reply.transfers = &list;
    list.transfers = all;
    assert_false(alias_found(&reply, hash));
    list.n_transfers = 1;
    assert_false(alias_found(&reply, hash));
    row.infohash = (ProtobufCBinaryData){ ALIAS_SIZE, other };
    assert_true(alias_found(&reply, hash));
    assert_memory_equal(hash, OTHER, ALIAS_SIZE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(requests_mean_what_is_put),
                                               cmocka_unit_test(the_owner_says_its_name) };

    return RUN_ROWS(rows, test_magnet) + cmocka_run_group_tests(tests, NULL, NULL);
}
