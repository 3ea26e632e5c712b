#include "services/transport/tokens.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define MIN_MS 60000u

/* One token, given at `given_ms` to 10.0.0.1:1000, comes back. */
static const struct row {
    const char *what;
    uint64_t given_ms, back_ms;
    uint8_t from_last_byte;
    uint16_t from_port;
    bool other_key;
    bool accepted;
} rows[] = {
    { "a fresh token is accepted", 7 * MIN_MS, 7 * MIN_MS, 1, 1000, false, true },
    { "from another port too", 7 * MIN_MS, 7 * MIN_MS, 1, 2000, false, true },
    { "from another address it is not", 7 * MIN_MS, 7 * MIN_MS, 2, 1000, false, false },
    { "nor by another node", 7 * MIN_MS, 7 * MIN_MS, 1, 1000, true, false },
    { "after five minutes it is accepted", 7 * MIN_MS, 12 * MIN_MS, 1, 1000, false, true },
    { "to the end of the period after its own", 5 * MIN_MS, 15 * MIN_MS - 1, 1, 1000, false, true },
    { "after ten minutes it is not", 5 * MIN_MS, 15 * MIN_MS, 1, 1000, false, false },
    { "nor after a day", 7 * MIN_MS, 1440 * MIN_MS, 1, 1000, false, false },
    { "nor before it was given", 7 * MIN_MS, 2 * MIN_MS, 1, 1000, false, false },
    { "in the first minutes after the boot", 0, 1, 1, 1000, false, true },
};

static void comes_back(void **state)
{
    const struct row *row = *state;
    const uint8_t key[TOKENS_KEY_SIZE] = { 1, 2, 3 }, other[TOKENS_KEY_SIZE] = { 3, 2, 1 };
    const struct address to = address_v4(10, 0, 0, 1, 1000);
    const struct address from = address_v4(10, 0, 0, row->from_last_byte, row->from_port);
    struct tokens giver, taker;
    uint8_t token[TOKEN_SIZE];

    tokens_init(&giver, key);
    tokens_init(&taker, row->other_key ? other : key);
    tokens_give(&giver, &to, row->given_ms, token);
    assert_int_equal(tokens_accept(&taker, &from, bytes_of(token, sizeof(token)), row->back_ms),
                     row->accepted);
}

static void ten_million_guesses_are_refused(void **state)
{
    const uint8_t key[TOKENS_KEY_SIZE] = { 9 };
    const struct address from = address_v4(192, 0, 2, 1, 6881);
    struct random random;
    struct tokens tokens;

    (void)state;
    random_init(&random, 1);
    tokens_init(&tokens, key);
    for (int i = 0; i < 10000000; i++) {
        uint8_t guess[TOKEN_SIZE];

        random_bytes(&random, guess, sizeof(guess));
        assert_false(tokens_accept(&tokens, &from, bytes_of(guess, sizeof(guess)), 1000));
    }
}

/* No length but its own, and no bit of it may differ. */
static void a_token_is_taken_whole(void **state)
{
    const uint8_t key[TOKENS_KEY_SIZE] = { 9 };
    const struct address from = address_v4(192, 0, 2, 1, 6881);
    uint8_t token[TOKEN_SIZE + 1] = { 0 };
    struct tokens tokens;

    (void)state;
    tokens_init(&tokens, key);
    tokens_give(&tokens, &from, 0, token);
    for (size_t size = 0; size <= sizeof(token); size++)
        assert_int_equal(tokens_accept(&tokens, &from, bytes_of(token, size), 0),
                         size == TOKEN_SIZE);
    for (unsigned bit = 0; bit < 8 * TOKEN_SIZE; bit++) {
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(tokens_accept(&tokens, &from, bytes_of(token, TOKEN_SIZE), 0));
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_million_guesses_are_refused),
        cmocka_unit_test(a_token_is_taken_whole),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, comes_back);
}
