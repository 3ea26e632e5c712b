#include "services/cli/infohash.h"

#include "libcommon/bytes.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define HEX    "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
#define BASE32 "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK"

static const struct parse_row {
    const char *what, *text;
    lb_err err;
} parse_rows[] = {
    { "hexadecimal digits", HEX, LB_OK },
    { "large ones", "C12FE1C06BBA254A9DC9F519B335AA7C1367A88A", LB_OK },
    { "base 32", BASE32, LB_OK },
    { "base 32 in small letters", "yex6dqdlxisuvhoj6um3gnnkpqjwpkek", LB_OK },
    { "a link", "magnet:?xt=urn:btih:" HEX, LB_OK },
    { "a link of base 32", "magnet:?xt=urn:btih:" BASE32, LB_OK },
    { "a link with a name first", "magnet:?dn=a+b&xt=urn:btih:" HEX "&tr=x", LB_OK },
    { "a link with several topics", "magnet:?xt.1=urn:sha1:" BASE32 "&xt.2=urn:btih:" HEX, LB_OK },
    { "a hybrid link", "magnet:?xt=urn:btmh:1220aabb&xt=urn:btih:" HEX, LB_OK },
    { "a link in large letters", "MAGNET:?xt=URN:BTIH:" HEX, LB_OK },
    { "a link of v2 alone", "magnet:?xt=urn:btmh:1220" HEX "aabbccddeeff001122334455", LB_OK },
    { "one of another multihash", "magnet:?xt=urn:btmh:1114" HEX, LB_INVALID },
    { "one whose hash is cut", "magnet:?xt=urn:btmh:1220aabb", LB_INVALID },
    { "nothing", "", LB_INVALID },
    { "a link to nothing", "magnet:?", LB_INVALID },
    { "a link cut short", "magnet:", LB_INVALID },
    { "a link with an empty topic", "magnet:?xt=&xt", LB_INVALID },
    { "a link whose topic is too short", "magnet:?xt=urn:btih:c12f", LB_INVALID },
    { "a link whose topic is too long", "magnet:?xt=urn:btih:" HEX "00", LB_INVALID },
    { "a topic hidden in a name", "magnet:?dn=xt=urn:btih:" HEX, LB_INVALID },
    { "a digit that is none", "z12fe1c06bba254a9dc9f519b335aa7c1367a88a", LB_INVALID },
    { "a digit that is none in base 32", "1EX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK", LB_INVALID },
    { "a digit too few", "12fe1c06bba254a9dc9f519b335aa7c1367a88a", LB_INVALID },
    { "a file name", "lab-image.torrent", LB_INVALID },
};

static void parse(void **state)
{
    const struct parse_row *row = *state;
    uint8_t infohash[INFOHASH_SIZE] = { 0x77 };
    char text[2 * INFOHASH_SIZE + 1];

    assert_int_equal(infohash_parse(row->text, infohash), row->err);
    hex_encode(infohash, sizeof infohash, text);
    if (row->err == LB_OK)
        assert_string_equal(text, HEX);
    else
        assert_int_equal(infohash[0], 0x77);
}

int main(void)
{
    return RUN_ROWS(parse_rows, parse);
}
