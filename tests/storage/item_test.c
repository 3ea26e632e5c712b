#include "services/storage/item.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

/* ---- the test vectors of BEP 44 ---- */

static const char vector_key[] = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";

static const struct vector {
    const char *what, *salt, *signed_text, *target, *signature; /* signature "": immutable */
} vectors[] = {
    { "test 1 of BEP 44: mutable", "", "3:seqi1e1:v12:Hello World!",
      "4a533d47ec9c7d95b1ad75f576cffc641853b750",
      "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
      "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01" },
    { "test 2 of BEP 44: mutable with salt", "foobar", "4:salt6:foobar3:seqi1e1:v12:Hello World!",
      "411eba73b6f087ca51a3795d9c8c938d365e32c1",
      "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
      "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08" },
    { "test 3 of BEP 44: immutable", "", "", "e5f96f6f38320f0f33959cb4d3d656452117aadb", "" },
};

static struct item vector_item(const struct vector *vector)
{
    struct item item = { .value = bytes_of_text("12:Hello World!"),
                         .salt = bytes_of_text(vector->salt),
                         .is_mutable = vector->signature[0] != '\0',
                         .seq = 1 };

    if (item.is_mutable) {
        assert_int_equal(hex_decode(vector_key, item.public_key, sizeof item.public_key), LB_OK);
        assert_int_equal(hex_decode(vector->signature, item.signature, sizeof item.signature),
                         LB_OK);
    }
    return item;
}

static void vector_holds(void **state)
{
    const struct vector *vector = *state;
    struct item item = vector_item(vector);
    struct node_id target = item_target(&item);
    char text[NODE_ID_TEXT_SIZE];
    uint8_t buffer[ITEM_SIGNED_MAX];
    struct writer writer;

    node_id_format(&target, text);
    assert_string_equal(text, vector->target);
    assert_int_equal(item_verify(&item), ITEM_ACCEPTED);
    assert_true(item_is_valid_at(&item, &target));
    if (!item.is_mutable)
        return;
    writer_init(&writer, buffer, sizeof buffer);
    item_signing_buffer(&item, &writer);
    assert_true(bytes_equal_text(bytes_of(buffer, writer.size), vector->signed_text));
    item.signature[63] ^= 1;
    assert_int_equal(item_verify(&item), ITEM_BAD_SIGNATURE);
    assert_false(item_is_valid_at(&item, &target));
}

/* ---- form ---- */

#define SEQ_TOO_HIGH (ITEM_SEQ_MAX + 1)

static const struct check_row {
    const char *what, *value;
    size_t fill; /* bytes of the string that "%" in value stands for */
    size_t salt;
    uint64_t seq;
    bool is_mutable;
    enum item_verdict verdict;
} check_rows[] = {
    { "a string", "5:hello", 0, 0, 0, false, ITEM_ACCEPTED },
    { "a list", "li1e2:abe", 0, 0, 0, false, ITEM_ACCEPTED },
    { "a dictionary", "d1:ai1ee", 0, 0, 0, false, ITEM_ACCEPTED },
    { "a dictionary with unsorted keys is kept as it is", "d1:bi1e1:ai1ee", 0, 0, 0, false,
      ITEM_ACCEPTED },
    { "a negative number", "i-3e", 0, 0, 0, false, ITEM_ACCEPTED },
    { "1000 bytes", "%", 996, 0, 0, false, ITEM_ACCEPTED },
    { "1001 bytes", "%", 997, 0, 0, false, ITEM_VALUE_TOO_BIG },
    { "nothing", "", 0, 0, 0, false, ITEM_MALFORMED },
    { "half a string", "5:hell", 0, 0, 0, false, ITEM_MALFORMED },
    { "two values", "1:a1:b", 0, 0, 0, false, ITEM_MALFORMED },
    { "raw text", "hello", 0, 0, 0, false, ITEM_MALFORMED },
    { "a list without end", "li1e", 0, 0, 0, false, ITEM_MALFORMED },
    { "a salt of 64 bytes", "1:a", 0, 64, 1, true, ITEM_ACCEPTED },
    { "a salt of 65 bytes", "1:a", 0, 65, 1, true, ITEM_SALT_TOO_BIG },
    { "a salt on an immutable item", "1:a", 0, 3, 0, false, ITEM_MALFORMED },
    { "the greatest sequence number", "1:a", 0, 0, ITEM_SEQ_MAX, true, ITEM_ACCEPTED },
    { "a negative sequence number", "1:a", 0, 0, SEQ_TOO_HIGH, true, ITEM_MALFORMED },
};

static void form_is_checked(void **state)
{
    const struct check_row *row = *state;
    static const uint8_t salt[ITEM_SALT_MAX + 1] = { 1 };
    char filled[1100];
    struct item item = { .is_mutable = row->is_mutable, .seq = row->seq };

    if (row->fill > 0) {
        int head = snprintf(filled, sizeof filled, "%zu:", row->fill);

        memset(filled + head, 'x', row->fill);
        item.value = bytes_of(filled, (size_t)head + row->fill);
    } else {
        item.value = bytes_of_text(row->value);
    }
    item.salt = bytes_of(salt, row->salt);
    assert_int_equal(item_check(&item), row->verdict);
}

static void a_value_nested_too_deep_is_refused(void **state)
{
    char text[2 * ITEM_DEPTH_MAX + 2] = "";
    struct item item = { .value = bytes_of(text + 1, 2 * ITEM_DEPTH_MAX) };

    (void)state;
    memset(text, 'l', ITEM_DEPTH_MAX + 1);
    memset(text + ITEM_DEPTH_MAX + 1, 'e', ITEM_DEPTH_MAX + 1);
    assert_int_equal(item_check(&item), ITEM_ACCEPTED);
    item.value = bytes_of(text, sizeof text);
    assert_int_equal(item_check(&item), ITEM_MALFORMED);
}

static void the_densest_value_is_read(void **state)
{
    char text[ITEM_VALUE_MAX] = "l";
    struct item item = { .value = bytes_of(text, sizeof text) };

    (void)state;
    for (size_t i = 1; i < sizeof text - 1; i += 2)
        memcpy(text + i, "le", 2);
    text[sizeof text - 1] = 'e';
    assert_int_equal(item_check(&item), ITEM_ACCEPTED);
}

static void what_is_signed_verifies(void **state)
{
    static const uint8_t seed[ED25519_SEED_SIZE] = { 7 };
    struct item item = {
        .value = bytes_of_text("3:abc"), .salt = bytes_of_text("s"), .is_mutable = true, .seq = 12
    };
    struct node_id target;

    (void)state;
    item_sign(&item, seed);
    assert_int_equal(item_verify(&item), ITEM_ACCEPTED);
    target = item_target(&item);
    item.seq++;
    assert_false(item_is_valid_at(&item, &target));
    item.seq--;
    item.salt = bytes_of_text("t");
    assert_false(item_is_valid_at(&item, &target));
}

/* ---- replacing ---- */

/* A version is a letter, the value, and a digit, the sequence number; "-" is none; "!" immutable.
 */
static const struct judge_row {
    const char *what, *stored, *offered;
    int cas; /* -1: none */
    bool same_sender;
    uint64_t seen;
    enum item_verdict verdict;
} judge_rows[] = {
    { "the first is taken", "-", "a1", -1, false, 0, ITEM_ACCEPTED },
    { "sequence number 0 is a number", "-", "a0", -1, false, 0, ITEM_ACCEPTED },
    { "a higher one replaces", "a1", "b2", -1, false, 0, ITEM_ACCEPTED },
    { "a gap does not matter", "a1", "b9", -1, false, 0, ITEM_ACCEPTED },
    { "the same again refreshes", "a1", "a1", -1, false, 0, ITEM_ACCEPTED },
    { "another value of the same number is refused", "a1", "b1", -1, false, 0, ITEM_SEQ_TOO_LOW },
    { "a lower one is refused", "a2", "b1", -1, false, 0, ITEM_SEQ_TOO_LOW },
    { "a lower one of the same value is refused", "a2", "a1", -1, false, 0, ITEM_SEQ_TOO_LOW },
    { "CAS on the stored number", "a1", "b2", 1, false, 0, ITEM_ACCEPTED },
    { "CAS on an older number", "a2", "b3", 1, false, 0, ITEM_CAS_MISMATCH },
    { "CAS on a number to come", "a1", "b3", 2, false, 0, ITEM_CAS_MISMATCH },
    { "CAS is ignored when there is nothing", "-", "a5", 4, false, 0, ITEM_ACCEPTED },
    { "CAS matches but the number does not grow", "a2", "b2", 2, false, 0, ITEM_SEQ_TOO_LOW },
    { "the same put with CAS from the same sender: its reply was lost", "b2", "b2", 1, true, 0,
      ITEM_ACCEPTED },
    { "the same put with CAS from another: one winner", "b2", "b2", 1, false, 0,
      ITEM_CAS_MISMATCH },
    { "the same put with CAS on its own number", "b2", "b2", 2, false, 0, ITEM_ACCEPTED },
    { "another put with CAS from the same sender", "b2", "c2", 1, true, 0, ITEM_CAS_MISMATCH },
    { "a number below one once stored here", "-", "a3", -1, false, 4, ITEM_SEQ_TOO_LOW },
    { "the very number once stored here", "-", "a4", -1, false, 4, ITEM_ACCEPTED },
    { "immutable items are always welcome", "-", "!", -1, false, 0, ITEM_ACCEPTED },
};

static struct item drawn(const char *text, char value[4])
{
    struct item item = { .is_mutable = text[0] != '!' };

    snprintf(value, 4, "1:%c", text[0]);
    item.value = bytes_of_text(value);
    if (item.is_mutable)
        item.seq = (uint64_t)(text[1] - '0');
    return item;
}

static void replacing_is_judged(void **state)
{
    const struct judge_row *row = *state;
    char stored_value[4];
    char offered_value[4];
    struct item stored = drawn(row->stored, stored_value);
    struct item offered = drawn(row->offered, offered_value);
    struct item_offer offer = { .item = &offered,
                                .has_cas = row->cas >= 0,
                                .cas = row->cas >= 0 ? (uint64_t)row->cas : 0,
                                .same_sender = row->same_sender };

    assert_int_equal(item_judge(&offer, row->stored[0] != '-' ? &stored : NULL, row->seen),
                     row->verdict);
}

/* ---- preferring ---- */

static const struct newer_row {
    const char *what, *a, *b;
    bool newer;
} newer_rows[] = {
    { "the higher number", "a2", "b1", true },
    { "the lower number", "b1", "a2", false },
    { "at one number the greater value, for all readers", "b1", "a1", true },
    { "at one number the lesser value", "a1", "b1", false },
    { "not itself", "a1", "a1", false },
};

static void newer_is_preferred(void **state)
{
    const struct newer_row *row = *state;
    char a_value[4];
    char b_value[4];
    struct item a = drawn(row->a, a_value);
    struct item b = drawn(row->b, b_value);

    assert_int_equal(item_is_newer(&a, &b), row->newer);
}

static void every_verdict_has_a_short_sentence(void **state)
{
    static const enum item_verdict verdicts[] = { ITEM_REFUSED,       ITEM_MALFORMED,
                                                  ITEM_VALUE_TOO_BIG, ITEM_BAD_SIGNATURE,
                                                  ITEM_SALT_TOO_BIG,  ITEM_CAS_MISMATCH,
                                                  ITEM_SEQ_TOO_LOW };

    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        size_t size = strlen(item_verdict_text(verdicts[i]));

        assert_in_range(size, 1, 64);
    }
    assert_string_equal(item_verdict_text(ITEM_ACCEPTED), "");
    assert_string_equal(item_verdict_text((enum item_verdict)999), "not stored");
}

/* All that makes an item is compared. */
static void the_same_item_is_the_same_in_all(void **state)
{
    const struct item a = { .value = bytes_of_text("1:a"),
                            .salt = bytes_of_text("s"),
                            .is_mutable = true,
                            .seq = 1,
                            .public_key = { 7 } };
    struct item b = a;

    (void)state;
    assert_true(item_is_same(&a, &b));
    b.value = bytes_of_text("1:b");
    assert_false(item_is_same(&a, &b));
    b = a;
    b.salt = bytes_of_text("t");
    assert_false(item_is_same(&a, &b));
    b = a;
    b.seq = 2;
    assert_false(item_is_same(&a, &b));
    b = a;
    b.public_key[0] = 8;
    assert_false(item_is_same(&a, &b));
    b = a;
    b.is_mutable = false;
    assert_false(item_is_same(&a, &b));
    b.seq = 2; /* which is nothing to an immutable one */
    assert_true(item_is_same(&b, &(struct item){ .value = bytes_of_text("1:a") }));
}

static void what_is_malformed_is_valid_nowhere(void **state)
{
    const struct item item = { .value = bytes_of_text("1:"), .is_mutable = true };
    const struct node_id target = item_target(&item);

    (void)state;
    assert_int_equal(item_verify(&item), ITEM_MALFORMED);
    assert_false(item_is_valid_at(&item, &target));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_nested_too_deep_is_refused),
        cmocka_unit_test(the_densest_value_is_read),
        cmocka_unit_test(what_is_signed_verifies),
        cmocka_unit_test(every_verdict_has_a_short_sentence),
        cmocka_unit_test(the_same_item_is_the_same_in_all),
        cmocka_unit_test(what_is_malformed_is_valid_nowhere),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(vectors, vector_holds);
    failed += RUN_ROWS(check_rows, form_is_checked);
    failed += RUN_ROWS(judge_rows, replacing_is_judged);
    return failed + RUN_ROWS(newer_rows, newer_is_preferred);
}
