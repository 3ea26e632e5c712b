#include "libcommon/secure_id.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

/* The vectors of BEP 42: of an id only the first 21 bits and the last byte count. */
static const struct row {
    const char *what, *address, *id;
    bool fits;
} rows[] = {
    { "BEP 42, first", "124.31.75.21:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401", true },
    { "BEP 42, second", "21.75.31.124:1", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256", true },
    { "BEP 42, third", "65.23.51.170:1", "a5d43220bc8f112a3d426c84764f8c2a1150e616", true },
    { "BEP 42, fourth", "84.124.73.14:1", "1b0321dd1bb1fe518101ceef99462b947a01ff41", true },
    { "BEP 42, fifth", "43.213.53.83:1", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a", true },
    { "the port does not count", "124.31.75.21:9", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401",
      true },
    { "bits after the 21st do not count", "124.31.75.21:1",
      "5fbfb8f10c5d6a4ec8a88e4c6ab4c28b95eee401", true },
    { "the 21st does", "124.31.75.21:1", "5fbfb7f10c5d6a4ec8a88e4c6ab4c28b95eee401", false },
    { "the last byte does", "124.31.75.21:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee402", false },
    { "but for its upper five bits", "124.31.75.21:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee4f9",
      true },
    { "another address does not fit", "124.31.75.22:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401",
      false },
    { "inside a site any id fits", "192.168.1.2:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401",
      true },
    { "on one machine, too", "127.0.0.1:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401", true },
    { "a public IPv6 address binds", "[2001:db8::1]:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401",
      false },
    { "a private one does not", "[fd00::1]:1", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401", true },
};

static void belongs(void **state)
{
    const struct row *row = *state;
    struct address address;
    struct node_id id;

    assert_int_equal(address_parse(row->address, &address), LB_OK);
    assert_int_equal(node_id_parse(row->id, &id), LB_OK);
    assert_int_equal(secure_id_fits(&id, &address), row->fits);
}

static void what_is_drawn_fits(void **state)
{
    static const char *const addresses[] = { "124.31.75.21:1", "[2001:db8:1:2::3]:1",
                                             "10.0.0.1:1" };
    struct random random;

    (void)state;
    random_init(&random, 1);
    for (unsigned i = 0; i < 3; i++) {
        struct node_id before = { { 0 } };
        struct address address;
        assert_int_equal(address_parse(addresses[i], &address), LB_OK);
        for (unsigned j = 0; j < 50; j++) {
            struct node_id id = secure_id_random(&address, &random);
            assert_true(secure_id_fits(&id, &address));
            assert_false(node_id_equal(&id, &before));
            before = id;
        }
    }
}

/* In IPv6 the first 64 bits are what an owner cannot choose. */
static void a_net_of_ipv6_is_one(void **state)
{
    struct address one, other;
    struct random random;

    (void)state;
    random_init(&random, 2);
    assert_int_equal(address_parse("[2001:db8:1:2::3]:1", &one), LB_OK);
    assert_int_equal(address_parse("[2001:db8:1:2:ffff::4]:7", &other), LB_OK);
    struct node_id id = secure_id_random(&one, &random);
    assert_true(secure_id_fits(&id, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_drawn_fits),
        cmocka_unit_test(a_net_of_ipv6_is_one),
    };

    return RUN_ROWS(rows, belongs) + cmocka_run_group_tests(tests, NULL, NULL);
}
