#include "services/transport/tokens.h"

#include <sodium/crypto_shorthash.h>
#include <sodium/utils.h>
#include <string.h>

_Static_assert(TOKEN_SIZE == crypto_shorthash_BYTES, "a token is one SipHash");
_Static_assert(TOKENS_KEY_SIZE == crypto_shorthash_KEYBYTES, "a SipHash key");

void tokens_init(struct tokens *self, const uint8_t key[TOKENS_KEY_SIZE])
{
    memcpy(self->key, key, sizeof(self->key));
}

static void token_of(const struct tokens *self, const struct address *address, uint64_t period,
                     uint8_t ret_token[TOKEN_SIZE])
{
    uint8_t input[sizeof(address->ip) + sizeof(period)];

    memcpy(input, address->ip, sizeof(address->ip));
    store_u64(input + sizeof(address->ip), period);
    crypto_shorthash(ret_token, input, sizeof(input), self->key);
}

void tokens_give(const struct tokens *self, const struct address *to, uint64_t now_ms,
                 uint8_t ret_token[TOKEN_SIZE])
{
    token_of(self, to, now_ms / TOKENS_PERIOD_MS, ret_token);
}

bool tokens_accept(const struct tokens *self, const struct address *from, struct bytes token,
                   uint64_t now_ms)
{
    uint64_t period = now_ms / TOKENS_PERIOD_MS;
    uint8_t now[TOKEN_SIZE], before[TOKEN_SIZE];
    int same_now, same_before;

    if (token.size != TOKEN_SIZE)
        return false;
    token_of(self, from, period, now);
    token_of(self, from, period - 1, before);
    same_now = sodium_memcmp(token.data, now, TOKEN_SIZE);
    same_before = sodium_memcmp(token.data, before, TOKEN_SIZE);
    return same_now == 0 || same_before == 0;
}
