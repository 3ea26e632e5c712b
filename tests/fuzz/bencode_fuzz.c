/*
 * bencode: whatever parses comes back byte for byte when it is written again: the reader takes one
 * form of each value only.
 */
#include "libcommon/bencode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Write the value at token, depth first without recursion: tokens are in the order of the bytes. */
static void write_again(const struct bencode *from, struct writer *to)
{
    uint32_t ends[64];
    uint32_t depth = 0;

    for (uint32_t i = 0; i < from->count; i++) {
        int64_t number = 0;

        switch (from->tokens[i].type) {
        case BENCODE_INT:
            assert(bencode_int(from, i, &number));
            bencode_put_int(to, number);
            break;
        case BENCODE_STRING:
            bencode_put_string(to, bencode_string(from, i));
            break;
        case BENCODE_LIST:
            bencode_put_list(to);
            ends[depth++] = from->tokens[i].next;
            break;
        case BENCODE_DICT:
            bencode_put_dict(to);
            ends[depth++] = from->tokens[i].next;
            break;
        }
        while (depth > 0 && ends[depth - 1] == i + 1) {
            bencode_put_end(to);
            depth--;
        }
    }
    assert(depth == 0);
}

static void look_everywhere(const struct bencode *self)
{
    for (uint32_t i = 0; i <= self->count; i++) {
        uint32_t children = 0;

        for (uint32_t at = bencode_first(self, i); at != BENCODE_NONE;
             at = bencode_after(self, i, at))
            children++;
        assert(children <= self->count);
        assert(bencode_raw(self, i).size <= self->size);
        (void)bencode_find(self, i, "id");
        (void)bencode_find_type(self, i, "a", BENCODE_DICT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bencode_token tokens[TOKENS_MAX];
    const struct bencode_limits limits = { .depth_max = 64 };
    struct bencode parsed;
    struct writer again;
    size_t used = 0;
    uint8_t *copy;

    if (bencode_parse(&parsed, bytes_of(data, size), tokens, TOKENS_MAX, limits, &used) != LB_OK)
        return 0;
    assert(used > 0 && used <= size);
    if (parsed.count < 512)
        look_everywhere(&parsed);
    copy = malloc(used);
    assert(copy);
    writer_init(&again, copy, used);
    write_again(&parsed, &again);
    assert(!again.overflow && again.size == used && memcmp(copy, data, used) == 0);
    free(copy);
    return 0;
}
