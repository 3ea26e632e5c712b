/*
 * item: values as other nodes send them. Whatever passes the check is unwrapped; a root of a tree
 * is read with its parts given, missed and damaged as the input says, and comes out whole or as an
 * error.
 */
#include "services/storage/item.h"
#include "services/storage/tree.h"
#include "services/storage/value.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 4096

/* The parts that the reader asks for cannot be known by their hash here: make up what fits. */
static void feed(struct tree_reader *reader, const uint8_t *script, size_t script_size)
{
    static uint8_t content[ITEM_VALUE_MAX];
    struct node_id target;
    size_t part;

    for (size_t step = 0; step < STEPS_MAX && tree_reader_next(reader, &part, &target); step++) {
        uint8_t what = script_size > 0 ? script[step % script_size] : 0;
        uint16_t length = what < 128 ? TREE_LEAF_SIZE : (uint16_t)(what * 3u);
        struct writer writer;

        if (what % 16 == 15) {
            if (tree_reader_miss(reader, part) != LB_OK)
                return;
            continue;
        }
        writer_init(&writer, content, sizeof content);
        writer_u8(&writer, (uint8_t)('0' + length / 100 % 10));
        writer_u8(&writer, (uint8_t)('0' + length / 10 % 10));
        writer_u8(&writer, (uint8_t)('0' + length % 10));
        writer_u8(&writer, ':');
        memset(content + writer.size, what, length);
        if (tree_reader_give(reader, part, bytes_of(content, writer.size + length)) != LB_OK)
            return;
    }
    if (tree_reader_is_done(reader))
        assert(tree_reader_value(reader).size <= VALUE_SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct item item = { 0 };
    struct tree_reader *reader = NULL;
    struct bytes raw;
    struct node_id target;
    size_t script_size = size > 0 ? data[0] % 32u : 0;

    if (size < 1 + script_size)
        return 0;
    item.value = bytes_of(data + 1 + script_size, size - 1 - script_size);
    item.is_mutable = data[0] >= 128;
    if (item_check(&item) != ITEM_ACCEPTED)
        return 0;
    target = item_target(&item);
    assert(item.is_mutable || item_is_valid_at(&item, &target));
    if (value_unwrap(item.value, &raw) != VALUE_TREE)
        return 0;
    if (tree_reader_new(item.value, VALUE_SIZE_MAX, &reader) == LB_OK)
        feed(reader, data + 1, script_size);
    tree_reader_free(&reader);
    return 0;
}
