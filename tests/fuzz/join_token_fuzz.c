/*
 * join tokens: each has one spelling, so one that is read is written as it came; and what the bytes
 * say, given a good check sum, is written or refused, nothing else.
 */
#include "libcommon/memory.h"
#include "libcommon/pki/join_token.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_text(const uint8_t *data, size_t size)
{
    char *text = xcalloc(1, size + 1), written[JOIN_TOKEN_SIZE];
    struct join_token token;

    memcpy(text, data, size);
    if (join_token_parse(text, &token) == LB_OK) {
        assert(token.addresses_count > 0 && token.addresses_count <= JOIN_ADDRESSES_MAX);
        assert(join_token_write(&token, written) == LB_OK);
        assert(strcmp(written, text) == 0);
    }
    free(text);
}

/* The bytes as addresses, each after the other. */
static void as_addresses(const uint8_t *data, size_t size)
{
    struct join_token token = { .addresses_count = 0 }, again;
    char text[JOIN_TOKEN_SIZE];
    size_t at = 0;

    while (at < size && token.addresses_count < JOIN_ADDRESSES_MAX) {
        size_t left = size - at - 1, length = data[at] < left ? data[at] : left;

        memcpy(token.addresses[token.addresses_count++], data + at + 1, length);
        at += 1 + length;
    }
    if (join_token_write(&token, text) == LB_OK) {
        assert(join_token_parse(text, &again) == LB_OK);
        for (size_t i = 0; i < token.addresses_count; i++) {
            assert(strcmp(again.addresses[i], token.addresses[i]) == 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    as_text(data, size);
    as_addresses(data, size);
    return 0;
}
