#include "services/swarm/magnet.h"

#include "libcommon/bytes.h"
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX  "0123456789abcdef0123456789abcdef01234567"
#define B32  "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH" /* the same */
#define XT   "xt=urn:btih:" HEX
#define HEX2 HEX "89abcdef0123456789abcdef"
#define V2   "xt=urn:btmh:1220" HEX2
#define LINK "magnet:?"

/* name; trackers, then peers, each after a space; then v2 and the selection. */
static const struct row {
    const char *what, *link;
    lb_err err;
    const char *read;
} rows[] = {
    { "a hash in hexadecimal", LINK XT, LB_OK, "" },
    { "in capitals", "MAGNET:?XT=URN:BTIH:0123456789ABCDEF0123456789ABCDEF01234567", LB_OK, "" },
    { "in base32", LINK "xt=urn:btih:" B32, LB_OK, "" },
    { "in small base32", LINK "xt=urn:btih:aerukz4jvpg66ajdivtytk6n54asgrlh", LB_OK, "" },
    { "a name", LINK XT "&dn=debian-12.iso", LB_OK, "debian-12.iso" },
    { "a name first", LINK "dn=n&" XT, LB_OK, "n" },
    { "a name in percent", LINK XT "&dn=caf%C3%A9%20%26+bar%2B", LB_OK, "caf\xc3\xa9 & bar+" },
    { "a name made safe", LINK XT "&dn=a%1B%5B2J%FF%00", LB_OK, "a%1B[2J%FF%00" },
    { "a broken percent", LINK XT "&dn=50%&tr=a%2", LB_OK, "50% a%2" },
    { "two names: the first", LINK XT "&dn=a&dn=b", LB_OK, "a" },
    { "trackers", LINK XT "&tr=udp%3A%2F%2Fa%3A1&tr.2=http%3A%2F%2Fb", LB_OK,
      " udp://a:1 http://b" },
    { "a tracker with a line feed is left out", LINK XT "&tr=a%0Ab", LB_OK, "" },
    { "an empty tracker is left out", LINK XT "&tr=", LB_OK, "" },
    { "peers", LINK XT "&x.pe=10.0.0.1:6881&x.pe=%5B2001:db8::1%5D:6882", LB_OK,
      " 10.0.0.1:6881 [2001:db8::1]:6882" },
    { "peers that are none are left out",
      LINK XT "&x.pe=host:1&x.pe=10.0.0.1:0&x.pe=10.0.0.1&x.pe=10.0.0.1:6881%00x", LB_OK, "" },
    { "web seeds", LINK XT "&ws=http%3A%2F%2Fa%2Fb%2520c&ws=https://d", LB_OK,
      " ws http://a/b%20c ws https://d" },
    { "a web seed with a line feed is left out", LINK XT "&ws=http://a%0Ab", LB_OK, "" },
    { "unknown keys", LINK "xl=5&as=x&" XT "&kt=a+b&x.pex=1", LB_OK, "" },
    { "keys without a value", LINK "dn&&" XT "&&tr", LB_OK, "" },
    { "a numbered topic", LINK "xt.1=urn:btih:" HEX, LB_OK, "" },
    { "v1 beside v2", LINK V2 "&" XT, LB_OK, " v2" },
    { "v2 beside v1", LINK XT "&" V2, LB_OK, " v2" },
    { "v2 alone", LINK V2, LB_OK, " v2" },
    { "v2 in capitals", LINK "xt=URN:BTMH:1220" HEX "89ABCDEF0123456789ABCDEF", LB_OK, " v2" },
    { "v1 beside another multihash", LINK XT "&xt=urn:btmh:1114" HEX, LB_OK, "" },
    { "files", LINK XT "&so=0,2,4-6", LB_OK, " so 0,2,4-6" },
    { "one file", LINK XT "&so=7", LB_OK, " so 7" },
    { "files in percent", LINK XT "&so=1%2C3", LB_OK, " so 1,3" },
    { "a selection that is none is left out", LINK XT "&so=1,,2", LB_OK, "" },
    { "one that ends open", LINK XT "&so=1-", LB_OK, "" },
    { "one of letters", LINK XT "&so=a", LB_OK, "" },
    { "an empty one", LINK XT "&so=", LB_OK, "" },
    { "two: the first", LINK XT "&so=1&so=2", LB_OK, " so 1" },
    { "another topic beside it", LINK "xt=urn:sha1:ABC&" XT, LB_OK, "" },
    { "two hashes: the first", LINK XT "&xt=urn:btih:ffffffffffffffffffffffffffffffffffffffff",
      LB_OK, "" },

    { "another multihash alone", LINK "xt=urn:btmh:1114" HEX, LB_UNSUPPORTED, "" },
    { "a v2 hash too short", LINK "xt=urn:btmh:1220" HEX, LB_INVALID, "" },
    { "a v2 hash too long", LINK V2 "00", LB_INVALID, "" },
    { "a v2 hash with a g", LINK "xt=urn:btmh:1220" HEX "8gabcdef0123456789abcdef", LB_INVALID,
      "" },
    { "v1 and a broken v2", LINK XT "&xt=urn:btmh:122000", LB_INVALID, "" },
    { "v2 and a broken v1", LINK V2 "&xt=urn:btih:00", LB_INVALID, "" },
    { "no topic", LINK "dn=n", LB_INVALID, "" },
    { "nothing after the ?", LINK, LB_INVALID, "" },
    { "no link", "http://example.org/", LB_INVALID, "" },
    { "nothing", "", LB_INVALID, "" },
    { "no ?", "magnet:" XT, LB_INVALID, "" },
    { "a hash too short", LINK "xt=urn:btih:0123456789abcdef0123456789abcdef0123456", LB_INVALID,
      "" },
    { "a hash too long", LINK XT "0", LB_INVALID, "" },
    { "a hash with a g", LINK "xt=urn:btih:g123456789abcdef0123456789abcdef01234567", LB_INVALID,
      "" },
    { "base32 with a 1", LINK "xt=urn:btih:1ERUKZ4JVPG66AJDIVTYTK6N54ASGRLH", LB_INVALID, "" },
    { "a hash with a NUL in it", LINK "xt=urn:btih:%00" HEX, LB_INVALID, "" },
};

static void describe(const struct magnet *magnet, char *ret_text, size_t size)
{
    size_t used = (size_t)snprintf(ret_text, size, "%s", magnet->name);
    char peer[ADDRESS_TEXT_SIZE];

    for (uint32_t i = 0; i < magnet->trackers_count; i++)
        used += (size_t)snprintf(ret_text + used, size - used, " %s", magnet->trackers[i]);
    for (uint32_t i = 0; i < magnet->peers_count; i++) {
        address_format(&magnet->peers[i], peer);
        used += (size_t)snprintf(ret_text + used, size - used, " %s", peer);
    }
    if (magnet->has_v2)
        used += (size_t)snprintf(ret_text + used, size - used, " v2");
    for (uint32_t i = 0; i < magnet->web_seeds_count; i++)
        used += (size_t)snprintf(ret_text + used, size - used, " ws %s", magnet->web_seeds[i]);
    if (magnet->select[0])
        snprintf(ret_text + used, size - used, " so %s", magnet->select);
}

static void test_parse(void **state)
{
    const struct row *row = *state;
    struct magnet magnet, again;
    char text[1024], link[MAGNET_FORMAT_SIZE];
    uint8_t expected[32];

    assert_int_equal(magnet_parse(row->link, &magnet), row->err);
    if (row->err != LB_OK)
        return;
    assert_int_equal(hex_decode(HEX, expected, 20), LB_OK);
    assert_memory_equal(magnet.infohash, expected, 20);
    assert_int_equal(hex_decode(HEX2, expected, 32), LB_OK);
    if (magnet.has_v2)
        assert_memory_equal(magnet.infohash_v2, expected, 32);
    describe(&magnet, text, sizeof(text));
    assert_string_equal(text, row->read);

    assert_int_equal(magnet_format(&magnet, link, sizeof(link)), LB_OK);
    assert_int_equal(magnet_parse(link, &again), LB_OK);
    assert_memory_equal(&magnet, &again, sizeof(magnet));
}

static void a_link_is_formatted_for_any_shell(void **state)
{
    struct magnet magnet = { .has_v1 = true, .name = "a b&c'd", .peers_count = 1 };
    char link[MAGNET_FORMAT_SIZE];

    (void)state;
    magnet.peers[0] = address_v4(10, 0, 0, 1, 6881);
    assert_int_equal(magnet_format(&magnet, link, sizeof(link)), LB_OK);
    assert_string_equal(link, LINK "xt=urn:btih:0000000000000000000000000000000000000000"
                                   "&dn=a%20b%26c%27d&x.pe=10.0.0.1:6881");
    assert_int_equal(magnet_format(&magnet, link, 20), LB_TOO_BIG);
}

static void what_is_over_a_limit_is_left_out(void **state)
{
    char *link = xmalloc(MAGNET_TEXT_MAX + 2);
    struct magnet magnet;
    size_t used;

    (void)state;
    used = (size_t)sprintf(link, LINK XT);
    for (unsigned i = 0; i < 200; i++)
        used += (size_t)sprintf(link + used, "&tr=udp://%u&x.pe=10.0.0.%u:1", i, i);
    assert_int_equal(magnet_parse(link, &magnet), LB_OK);
    assert_int_equal(magnet.trackers_count, MAGNET_TRACKERS_MAX);
    assert_int_equal(magnet.peers_count, MAGNET_PEERS_MAX);

    used = (size_t)sprintf(link, LINK XT "&dn=");
    memset(link + used, 'x', MAGNET_TEXT_MAX - used);
    link[MAGNET_TEXT_MAX] = '\0';
    assert_int_equal(magnet_parse(link, &magnet), LB_OK);
    assert_int_equal(strlen(magnet.name), MAGNET_NAME_SIZE - 1);
    link[MAGNET_TEXT_MAX] = 'x';
    link[MAGNET_TEXT_MAX + 1] = '\0';
    assert_int_equal(magnet_parse(link, &magnet), LB_TOO_BIG);
    free(link);
}

/* The longest of everything fits. */
static void format_always_suffices(void **state)
{
    struct magnet *magnet = xcalloc(1, sizeof(*magnet));
    char *link = xmalloc(MAGNET_FORMAT_SIZE);

    (void)state;
    memset(magnet->name, ' ', MAGNET_NAME_SIZE - 1);
    for (unsigned i = 0; i < MAGNET_TRACKERS_MAX; i++)
        memset(magnet->trackers[i], ' ', MAGNET_TRACKER_SIZE - 1);
    magnet->trackers_count = MAGNET_TRACKERS_MAX;
    magnet->peers_count = MAGNET_PEERS_MAX;
    for (unsigned i = 0; i < MAGNET_PEERS_MAX; i++) {
        memset(magnet->peers[i].ip, 0xfe, 16);
        magnet->peers[i].port = 65535;
    }
    assert_int_equal(magnet_format(magnet, link, MAGNET_FORMAT_SIZE), LB_OK);
    free(link);
    free(magnet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_is_formatted_for_any_shell),
        cmocka_unit_test(what_is_over_a_limit_is_left_out),
        cmocka_unit_test(format_always_suffices),
    };
    int failed = RUN_ROWS(rows, test_parse);

    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
