#include "libcommon/address.h"

#include "tests/libcommon/cmocka_row.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static const struct text_row {
    const char *what, *text;
    lb_err err;
    const char *again; /* NULL: as it was */
} text_rows[] = {
    { "IPv4 and a port", "1.2.3.4:5", LB_OK, NULL },
    { "the highest port", "255.255.255.255:65535", LB_OK, NULL },
    { "port 0 is a number like others", "0.0.0.0:0", LB_OK, NULL },
    { "IPv6 in brackets", "[2001:db8::1]:6881", LB_OK, NULL },
    { "IPv6 any", "[::]:6881", LB_OK, NULL },
    { "IPv6 is written in its short form", "[2001:0db8:0:0:0:0:0:1]:1", LB_OK, "[2001:db8::1]:1" },
    { "a mapped IPv4 address is IPv4", "[::ffff:1.2.3.4]:5", LB_OK, "1.2.3.4:5" },
    { "the longest IPv6 address", "[1111:2222:3333:4444:5555:6666:7777:8888]:65535", LB_OK, NULL },
    { "no port", "1.2.3.4", LB_INVALID, NULL },
    { "an empty port", "1.2.3.4:", LB_INVALID, NULL },
    { "a port too high", "1.2.3.4:65536", LB_INVALID, NULL },
    { "a port of six digits", "1.2.3.4:000001", LB_INVALID, NULL },
    { "a port with a sign", "1.2.3.4:+5", LB_INVALID, NULL },
    { "a port with a tail", "1.2.3.4:5x", LB_INVALID, NULL },
    { "a name", "localhost:5", LB_INVALID, NULL },
    { "nothing", "", LB_INVALID, NULL },
    { "a colon alone", ":", LB_INVALID, NULL },
    { "three numbers", "1.2.3:5", LB_INVALID, NULL },
    { "a number too high", "1.2.3.256:5", LB_INVALID, NULL },
    { "IPv6 without brackets", "2001:db8::1:6881", LB_INVALID, NULL },
    { "IPv6 without an end", "[::1:5", LB_INVALID, NULL },
    { "IPv6 without a port", "[::1]", LB_INVALID, NULL },
    { "IPv6 and a tail", "[::1]x:5", LB_INVALID, NULL },
    { "IPv4 in brackets", "[1.2.3.4]:5", LB_INVALID, NULL },
    { "IPv6 with a zone", "[fe80::1%eth0]:5", LB_INVALID, NULL },
    { "a host longer than any address", "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:b]:1",
      LB_INVALID, NULL },
};

static void text_is_read(void **state)
{
    const struct text_row *row = *state;
    struct address address = address_v4(9, 9, 9, 9, 9), before = address, back;
    char text[ADDRESS_TEXT_SIZE];
    uint8_t compact[ADDRESS_COMPACT_V6];
    struct sockaddr_storage storage;
    size_t size;

    assert_int_equal(address_parse(row->text, &address), row->err);
    if (row->err != LB_OK) {
        assert_true(address_equal(&address, &before));
        return;
    }
    address_format(&address, text);
    assert_string_equal(text, row->again ? row->again : row->text);

    size = address_to_compact(&address, compact);
    assert_int_equal(size, address_is_v4(&address) ? 6 : 18);
    assert_int_equal(address_from_compact(bytes_of(compact, size), &back), LB_OK);
    assert_true(address_equal(&address, &back));

    size = address_to_sockaddr(&address, &storage);
    assert_int_equal(size, address_is_v4(&address) ? sizeof(struct sockaddr_in)
                                                   : sizeof(struct sockaddr_in6));
    assert_int_equal(address_from_sockaddr((struct sockaddr *)&storage, &back), LB_OK);
    assert_true(address_equal(&address, &back));
}

static const struct kind_row {
    const char *what, *text;
    bool usable, private;
} kind_rows[] = {
    { "a public address", "8.8.8.8:1", true, false },
    { "port 0 is no place to send to", "8.8.8.8:0", false, false },
    { "multicast", "224.0.0.1:1", false, false },
    { "the end of multicast", "239.255.255.255:1", false, false },
    { "unspecified", "0.0.0.0:1", false, false },
    { "broadcast", "255.255.255.255:1", false, false },
    { "loopback", "127.3.2.1:1", true, true },
    { "ten", "10.0.0.1:1", true, true },
    { "172.16 begins", "172.16.0.1:1", true, true },
    { "172.31 ends", "172.31.255.255:1", true, true },
    { "172.32 is public", "172.32.0.1:1", true, false },
    { "192.168", "192.168.1.1:1", true, true },
    { "192.169 is public", "192.169.1.1:1", true, false },
    { "IPv4 link local", "169.254.1.1:1", true, true },
    { "public IPv6", "[2001:db8::1]:1", true, false },
    { "IPv6 loopback", "[::1]:1", true, true },
    { "IPv6 unspecified", "[::]:1", false, false },
    { "IPv6 multicast", "[ff02::1]:1", false, false },
    { "IPv6 link local", "[fe80::1]:1", true, true },
    { "the end of IPv6 link local", "[febf::1]:1", true, true },
    { "IPv6 unique local", "[fd00::1]:1", true, true },
    { "IPv6 after link local", "[fec0::1]:1", true, false },
};

static void kind_is_known(void **state)
{
    const struct kind_row *row = *state;
    struct address address;

    assert_int_equal(address_parse(row->text, &address), LB_OK);
    assert_int_equal(address_is_usable(&address), row->usable);
    assert_int_equal(address_is_private(&address), row->private);
}

static void other_compact_sizes_are_refused(void **state)
{
    uint8_t data[19] = { 0 };
    struct address address;

    (void)state;
    for (size_t size = 0; size <= sizeof(data); size++)
        assert_int_equal(address_from_compact(bytes_of(data, size), &address),
                         size == 6 || size == 18 ? LB_OK : LB_INVALID);
}

static void other_socket_families_are_refused(void **state)
{
    struct sockaddr_storage storage = { .ss_family = AF_UNIX };
    struct address address;

    (void)state;
    assert_int_equal(address_from_sockaddr((struct sockaddr *)&storage, &address), LB_INVALID);
}

static void hash_tells_addresses_apart(void **state)
{
    struct address a = address_v4(1, 2, 3, 4, 5), b = address_v4(1, 2, 3, 4, 6);

    (void)state;
    assert_true(address_same_ip(&a, &b));
    assert_false(address_equal(&a, &b));
    assert_true(address_hash(&a, 1) == address_hash(&a, 1));
    assert_true(address_hash(&a, 1) != address_hash(&b, 1));
    assert_true(address_hash(&a, 1) != address_hash(&a, 2));
}

/* The sum is a contract with the kernel's program: these numbers may not move. */
static void worker_follows_the_address(void **state)
{
    struct address v4 = address_v4(192, 0, 2, 1, 1), same = address_v4(192, 0, 2, 1, 2), v6;
    unsigned share[4] = { 0 };

    (void)state;
    assert_int_equal(address_parse("[2001:db8::1]:1", &v6), LB_OK);
    assert_int_equal(address_worker(&v4, 1), 0);
    assert_int_equal(address_worker(&v4, 16), address_worker(&same, 16));
    assert_int_equal(address_worker(&v4, 65521), 28611);
    assert_int_equal(address_worker(&v6, 65521), 21194);
    for (unsigned i = 0; i < 1000; i++) {
        struct address address = address_v4(10, 0, (uint8_t)(i / 250), (uint8_t)(i % 250), 1);

        share[address_worker(&address, 4)]++;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(share[i], 200, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_compact_sizes_are_refused),
        cmocka_unit_test(other_socket_families_are_refused),
        cmocka_unit_test(hash_tells_addresses_apart),
        cmocka_unit_test(worker_follows_the_address),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(text_rows, text_is_read);
    return failed + RUN_ROWS(kind_rows, kind_is_known);
}
