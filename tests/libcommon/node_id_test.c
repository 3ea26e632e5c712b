#include "libcommon/node_id.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static struct node_id id_of(uint8_t first, uint8_t last)
{
    struct node_id id = { { 0 } };

    id.bytes[0] = first;
    id.bytes[NODE_ID_SIZE - 1] = last;
    return id;
}

static const struct shared_row {
    const char *what;
    uint8_t a_first, a_last, b_first, b_last;
    unsigned shared;
} shared_rows[] = {
    { "the same ids share all 160 bits", 7, 7, 7, 7, 160 },
    { "the first bit differs", 0x80, 0, 0, 0, 0 },
    { "the second bit differs", 0x40, 0, 0, 0, 1 },
    { "the eighth bit differs", 0x01, 0, 0, 0, 7 },
    { "the last bit differs", 0xff, 1, 0xff, 0, 159 },
    { "the first of the last byte differs", 0xff, 0x80, 0xff, 0, 152 },
};

static void bits_shared(void **state)
{
    const struct shared_row *row = *state;
    struct node_id a = id_of(row->a_first, row->a_last), b = id_of(row->b_first, row->b_last);

    assert_int_equal(node_id_shared_bits(&a, &b), row->shared);
    assert_int_equal(node_id_shared_bits(&b, &a), row->shared);
    for (unsigned bit = 0; bit < row->shared; bit++)
        assert_int_equal(node_id_bit(&a, bit), node_id_bit(&b, bit));
    if (row->shared < NODE_ID_BITS)
        assert_int_not_equal(node_id_bit(&a, row->shared), node_id_bit(&b, row->shared));
}

static void distance_is_xor(void **state)
{
    struct node_id a = id_of(0x0f, 1), b = id_of(0xf0, 3), target = id_of(0xff, 0);
    struct node_id distance = node_id_distance(&a, &b);

    (void)state;
    assert_int_equal(distance.bytes[0], 0xff);
    assert_int_equal(distance.bytes[19], 2);
    assert_true(node_id_compare_distance(&target, &b, &a) < 0);
    assert_true(node_id_compare_distance(&target, &a, &b) > 0);
    assert_int_equal(node_id_compare_distance(&target, &a, &a), 0);
    assert_true(node_id_compare(&a, &b) < 0);
    assert_true(node_id_equal(&a, &a) && !node_id_equal(&a, &b));
}

static void random_ids_fall_into_their_bucket(void **state)
{
    struct random random;

    (void)state;
    random_init(&random, 1);
    for (unsigned shared = 0; shared < NODE_ID_BITS; shared++) {
        struct node_id self = node_id_random(&random);
        struct node_id a = node_id_random_in_bucket(&self, shared, &random);
        struct node_id b = node_id_random_in_bucket(&self, shared, &random);

        assert_int_equal(node_id_shared_bits(&self, &a), shared);
        assert_int_equal(node_id_shared_bits(&self, &b), shared);
        if (shared < 100)
            assert_false(node_id_equal(&a, &b));
    }
}

static void text_goes_there_and_back(void **state)
{
    const char *text = "00112233445566778899aabbccddeeff01234567";
    char again[NODE_ID_TEXT_SIZE];
    struct node_id id = { { 0 } }, before = id;

    (void)state;
    assert_int_equal(node_id_parse(text, &id), LB_OK);
    node_id_format(&id, again);
    assert_string_equal(again, text);
    assert_int_equal(node_id_from(id.bytes).bytes[19], 0x67);
    id = before;
    assert_int_equal(node_id_parse("00112233445566778899aabbccddeeff0123456", &id), LB_INVALID);
    assert_int_equal(node_id_parse("00112233445566778899aabbccddeeff012345678", &id), LB_INVALID);
    assert_true(node_id_equal(&id, &before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_is_xor),
        cmocka_unit_test(random_ids_fall_into_their_bucket),
        cmocka_unit_test(text_goes_there_and_back),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(shared_rows, bits_shared);
}
