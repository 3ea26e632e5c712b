#include "services/storage/value.h"

#include "services/storage/item.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static void key_of(const char *network, const char *key, uint8_t ret_key[ED25519_KEY_SIZE])
{
    uint8_t seed[ED25519_SEED_SIZE];

    assert_int_equal(value_shared_seed(network, bytes_of_text(key), seed), LB_OK);
    ed25519_public_key(seed, ret_key);
}

/* The mapping is a promise to other programs: these were computed apart, with Python's hashlib. */
static void the_mapping_is_as_documented(void **state)
{
    uint8_t seed[ED25519_SEED_SIZE];
    char text[2 * ED25519_SEED_SIZE + 1];

    (void)state;
    assert_int_equal(value_shared_seed("littlebird", bytes_of_text("motd"), seed), LB_OK);
    hex_encode(seed, sizeof seed, text);
    assert_string_equal(text, "75ce8639e70fc9b0621091b3afa023bd4c36440251ed3713843843cb7e63e1a8");
}

/* Likewise; the network id is 32 bytes 0, 1, 2 ... */
static void so_is_that_of_a_private_network(void **state)
{
    uint8_t network[NETWORK_ID_SIZE];
    uint8_t seed[ED25519_SEED_SIZE];
    uint8_t other[ED25519_SEED_SIZE];
    char text[2 * ED25519_SEED_SIZE + 1];

    (void)state;
    for (size_t i = 0; i < sizeof network; i++)
        network[i] = (uint8_t)i;
    assert_int_equal(value_private_seed(network, bytes_of_text("motd"), seed), LB_OK);
    hex_encode(seed, sizeof seed, text);
    assert_string_equal(text, "ad870dd5116371d2da5a9d7ccd139dcce71ac6b25da3b6e5a931900f9f6755e5");
    network[31] ^= 1;
    assert_int_equal(value_private_seed(network, bytes_of_text("motd"), other), LB_OK);
    assert_memory_not_equal(seed, other, sizeof seed);
    assert_int_equal(value_private_seed(network, bytes_of(NULL, 0), seed), LB_INVALID);
}

static void a_key_belongs_to_its_network(void **state)
{
    uint8_t a[ED25519_KEY_SIZE];
    uint8_t b[ED25519_KEY_SIZE];

    (void)state;
    key_of("one", "key", a);
    key_of("one", "key", b);
    assert_memory_equal(a, b, sizeof a);
    key_of("two", "key", b);
    assert_memory_not_equal(a, b, sizeof a);
    key_of("onek", "ey", b); /* the border between the two is part of what is hashed */
    assert_memory_not_equal(a, b, sizeof a);
}

static void keys_have_bounds(void **state)
{
    static uint8_t long_key[VALUE_KEY_MAX + 1];
    char long_network[VALUE_NETWORK_MAX + 2];
    uint8_t seed[ED25519_SEED_SIZE];

    (void)state;
    memset(long_network, 'n', sizeof long_network - 1);
    long_network[sizeof long_network - 1] = '\0';
    assert_int_equal(value_shared_seed("n", bytes_of(NULL, 0), seed), LB_INVALID);
    assert_int_equal(value_shared_seed("n", bytes_of(long_key, VALUE_KEY_MAX), seed), LB_OK);
    assert_int_equal(value_shared_seed("n", bytes_of(long_key, VALUE_KEY_MAX + 1), seed),
                     LB_INVALID);
    assert_int_equal(value_shared_seed(long_network, bytes_of_text("k"), seed), LB_INVALID);
}

static const struct unwrap_row {
    const char *what, *value;
    enum value_kind kind;
    const char *raw;
} unwrap_rows[] = {
    { "a string is its content", "5:hello", VALUE_PLAIN, "hello" },
    { "the empty string", "0:", VALUE_PLAIN, "" },
    { "a number of another program", "i42e", VALUE_FOREIGN, "i42e" },
    { "an empty list", "le", VALUE_FOREIGN, "le" },
    { "a list", "l1:a1:be", VALUE_FOREIGN, "l1:a1:be" },
    { "a dictionary", "d1:a1:be", VALUE_FOREIGN, "d1:a1:be" },
    { "a dictionary that says lbtree", "d6:lbtreei1ee", VALUE_TREE, "d6:lbtreei1ee" },
    { "one that says it as a string", "d6:lbtree1:1e", VALUE_FOREIGN, "d6:lbtree1:1e" },
    { "the mark of a removal", "d9:lbremovedi1ee", VALUE_REMOVED, "d9:lbremovedi1ee" },
    { "one with more in it", "d1:ai1e9:lbremovedi1ee", VALUE_FOREIGN, "d1:ai1e9:lbremovedi1ee" },
    { "its text, as somebody's value", "16:d9:lbremovedi1ee", VALUE_PLAIN, "d9:lbremovedi1ee" },
};

static void values_are_unwrapped(void **state)
{
    const struct unwrap_row *row = *state;
    struct bytes raw;

    assert_int_equal(value_unwrap(bytes_of_text(row->value), &raw), row->kind);
    assert_true(bytes_equal_text(raw, row->raw));
}

static const struct seq_row {
    const char *what;
    uint64_t highest, wall_ms, next;
    lb_err err;
} seq_rows[] = {
    { "the wall clock, when nothing is known", 0, 1000, 1000, LB_OK },
    { "the wall clock, over the counter of another program", 7, 1000, 1000, LB_OK },
    { "one more, when the wall clock is behind", 2000, 1000, 2001, LB_OK },
    { "one more, when both are equal", 1000, 1000, 1001, LB_OK },
    { "never 0", 0, 0, 1, LB_OK },
    { "the last one", ITEM_SEQ_MAX - 1, 5, ITEM_SEQ_MAX, LB_OK },
    { "none is left", ITEM_SEQ_MAX, 5, 0, LB_FULL },
    { "a wall clock beyond all numbers", 3, UINT64_MAX, 4, LB_OK },
};

static void the_next_number_is_chosen(void **state)
{
    const struct seq_row *row = *state;
    uint64_t next = 0;

    assert_int_equal(value_next_seq(row->highest, row->wall_ms, &next), row->err);
    assert_int_equal(next, row->next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mapping_is_as_documented),
        cmocka_unit_test(so_is_that_of_a_private_network),
        cmocka_unit_test(a_key_belongs_to_its_network),
        cmocka_unit_test(keys_have_bounds),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(unwrap_rows, values_are_unwrapped);
    return failed + RUN_ROWS(seq_rows, the_next_number_is_chosen);
}
