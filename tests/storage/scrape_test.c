#include "services/storage/scrape.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

/* BEP 33, "Test Vectors": 192.0.2.0 - 192.0.2.255 and 2001:DB8:: - 2001:DB8::3E7. */
static const char vector[] =
    "F6C3F5EAA07FFD91BDE89F777F26FB2BFF37BDB8FB2BBAA2FD3DDDE7BACFFF75EE7CCBAE"
    "FE5EEDB1FBFAFF67F6ABFF5E43DDBCA3FD9B9FFDF4FFD3E9DFF12D1BDF59DB53DBE9FA5B"
    "7FF3B8FDFCDE1AFB8BEDD7BE2F3EE71EBBBFE93BCDEEFE148246C2BC5DBFF7E7EFDCF24F"
    "D8DC7ADFFD8FFFDFDDFFF7A4BBEEDF5CB95CE81FC7FCFF1FF4FFFFDFE5F7FDCBB7FD79B3"
    "FA1FC77BFE07FFF905B7B7FFC7FEFEFFE0B8370BB0CD3F5B7F2BD93FEB4386CFDD6F7FD5"
    "BFAF2E9EBFFFFEECD67ADBF7C67F17EFD5D75EBA6FFEBA7FFF47A91EB1BFBB53E8ABFB57"
    "62ABE8FF237279BFEFBFEEF5FFC5FEBFDFE5ADFFADFEE1FB737FFFFBFD9F6AEFFEEE76B6"
    "FD8F72EF";

static void add_all(struct scrape *scrape, uint16_t port, bool seed)
{
    for (unsigned i = 0; i < 256; i++) {
        const struct address peer = address_v4(192, 0, 2, (uint8_t)i, port);

        scrape_add(scrape, &peer, seed);
    }
    for (unsigned i = 0; i <= 0x3e7; i++) {
        struct address peer = { .ip = { 0x20, 0x01, 0x0d, 0xb8 }, .port = port };

        peer.ip[14] = (uint8_t)(i >> 8);
        peer.ip[15] = (uint8_t)i;
        scrape_add(scrape, &peer, seed);
    }
}

static void assert_vector(const uint8_t filter[SCRAPE_FILTER_SIZE])
{
    static const char digits[] = "0123456789ABCDEF";
    char hex[2 * SCRAPE_FILTER_SIZE + 1] = { 0 };

    for (size_t i = 0; i < SCRAPE_FILTER_SIZE; i++) {
        hex[2 * i] = digits[filter[i] >> 4];
        hex[2 * i + 1] = digits[filter[i] & 15];
    }
    assert_string_equal(hex, vector);
}

static void the_vector_of_bep_33_comes_out(void **state)
{
    static const uint8_t empty[SCRAPE_FILTER_SIZE];
    struct scrape scrape = { .count = 0 };

    (void)state;
    add_all(&scrape, 6881, false);
    assert_vector(scrape.peers);
    assert_memory_equal(scrape.seeds, empty, sizeof empty);
    assert_int_equal(scrape.count, 1256);
    add_all(&scrape, 6881, true);
    assert_vector(scrape.seeds);
}

static void a_peer_on_another_port_is_the_same(void **state)
{
    struct scrape scrape = { .count = 0 };

    (void)state;
    add_all(&scrape, 6881, false);
    add_all(&scrape, 80, false);
    assert_vector(scrape.peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_bep_33_comes_out),
        cmocka_unit_test(a_peer_on_another_port_is_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
