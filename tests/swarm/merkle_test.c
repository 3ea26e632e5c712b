#include "services/swarm/merkle.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

static const struct height_row {
    const char *what;
    uint64_t leaves;
    unsigned height;
} height_rows[] = {
    { "nothing", 0, 0 },      { "one", 1, 0 },
    { "two", 2, 1 },          { "three need four", 3, 2 },
    { "four", 4, 2 },         { "five need eight", 5, 3 },
    { "many", 1u << 20, 20 }, { "one more than many", (1u << 20) + 1, 21 },
};

static void test_height(void **state)
{
    const struct height_row *row = *state;

    assert_int_equal(merkle_height(row->leaves), row->height);
}

/* What libtorrent 2.0.8 makes of a file whose byte i is (7 i + i / 251) mod 256. */
static const struct file_row {
    const char *what;
    uint32_t size;
    unsigned piece_height; /* 2^height leaves a piece; the file is longer */
    const char *root;
} file_rows[] = {
    { "one byte", 1, 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
    { "a block", 16384, 0, "15345b8bcf83c9acd70121ebacc0aae2b90b2995b90a5143382a4f29fd125083" },
    { "a block and a byte", 16385, 0,
      "4f06ab5d81301a6be8740291d8491edb35843daecf491a50c4d22d92eaf9acbc" },
    { "the same in one piece of two blocks", 16385, 1,
      "4f06ab5d81301a6be8740291d8491edb35843daecf491a50c4d22d92eaf9acbc" },
    { "three blocks", 49152, 2,
      "96c2e87d63edd32ff0d095deeb22c80b0b5dea5853a35c8e8ecec7ab918a8658" },
    { "five blocks and a byte", 81921, 1,
      "945855e11cb2383bc7d3b82d17c24a1bcbcd1b21bbce5c77ec69eacd8c052c29" },
    { "seven blocks", 100000, 0,
      "26ce98d1c2ad96891be47b6d01b8a5a8d5a91866997522ee3a57ae0ba846bba9" },
};

/* Leaves, then piece by piece, then the whole: as creating and checking do it. */
static void test_file(void **state)
{
    const struct file_row *row = *state;
    const uint32_t leaves = (row->size + MERKLE_BLOCK_SIZE - 1) / MERKLE_BLOCK_SIZE;
    const uint32_t a_piece = 1u << row->piece_height;
    uint8_t *data = xmalloc(row->size), *hashes = xcalloc(leaves, MERKLE_HASH_SIZE);
    uint8_t root[MERKLE_HASH_SIZE], expected[MERKLE_HASH_SIZE];
    struct merkle pieces;

    for (uint32_t i = 0; i < row->size; i++)
        data[i] = (uint8_t)(7 * i + i / 251);
    for (uint32_t i = 0; i < leaves; i++) {
        const uint32_t left = row->size - i * MERKLE_BLOCK_SIZE;

        sha256(bytes_of(data + i * MERKLE_BLOCK_SIZE,
                        left < MERKLE_BLOCK_SIZE ? left : MERKLE_BLOCK_SIZE),
               hashes + i * MERKLE_HASH_SIZE);
    }
    assert_int_equal(hex_decode(row->root, expected, sizeof(expected)), LB_OK);
    merkle_root(hashes, leaves, 0, merkle_height(leaves), root);
    assert_memory_equal(root, expected, sizeof(root));

    merkle_init(&pieces, row->piece_height);
    for (uint32_t i = 0; i < leaves; i += a_piece) {
        merkle_root(hashes + i * MERKLE_HASH_SIZE, leaves - i < a_piece ? leaves - i : a_piece, 0,
                    row->piece_height, root);
        merkle_add(&pieces, root);
    }
    merkle_finish(&pieces, merkle_height((leaves + a_piece - 1) / a_piece), root);
    if (leaves > a_piece)
        assert_memory_equal(root, expected, sizeof(root));
    free(hashes);
    free(data);
}

/* The whole tree written out, the slow way. */
static void draw_tree(uint8_t *nodes, uint32_t count, unsigned height)
{
    uint8_t *layer = nodes;

    for (uint32_t i = 0; i < 1u << height; i++) {
        memset(layer + i * MERKLE_HASH_SIZE, 0, MERKLE_HASH_SIZE);
        if (i < count)
            memset(layer + i * MERKLE_HASH_SIZE, (int)i + 1, MERKLE_HASH_SIZE);
    }
    for (unsigned up = height; up > 0; up--) {
        uint8_t *above = layer + ((size_t)MERKLE_HASH_SIZE << up);

        for (uint32_t i = 0; i < 1u << (up - 1); i++)
            merkle_join(layer + 2 * i * MERKLE_HASH_SIZE, layer + (2 * i + 1) * MERKLE_HASH_SIZE,
                        above + i * MERKLE_HASH_SIZE);
        layer = above;
    }
}

static const uint8_t *node_at(const uint8_t *nodes, unsigned height, unsigned layer, uint32_t index)
{
    for (unsigned up = height; layer > 0; layer--, up--)
        nodes += (size_t)MERKLE_HASH_SIZE << up;
    return nodes + index * MERKLE_HASH_SIZE;
}

static void roots_and_proofs_are_those_of_the_whole_tree(void **state)
{
    enum { HEIGHT = 5 };
    uint8_t *nodes = xcalloc(2u << HEIGHT, MERKLE_HASH_SIZE), root[MERKLE_HASH_SIZE];

    (void)state;
    for (uint32_t count = 0; count <= 1u << HEIGHT; count++) {
        draw_tree(nodes, count, HEIGHT);
        const uint8_t *top = node_at(nodes, HEIGHT, HEIGHT, 0);

        merkle_root(nodes, count, 0, HEIGHT, root);
        assert_memory_equal(root, top, sizeof(root));
        for (unsigned layer = 0; layer <= HEIGHT; layer++) {
            for (uint32_t index = 0; index < 1u << (HEIGHT - layer); index++) {
                uint8_t uncles[HEIGHT * MERKLE_HASH_SIZE];
                uint8_t node[MERKLE_HASH_SIZE];
                uint32_t at = index;

                for (unsigned i = 0; i < HEIGHT - layer; i++, at /= 2)
                    memcpy(uncles + i * MERKLE_HASH_SIZE, node_at(nodes, HEIGHT, layer + i, at ^ 1),
                           MERKLE_HASH_SIZE);
                memcpy(node, node_at(nodes, HEIGHT, layer, index), sizeof(node));
                assert_true(merkle_proves(node, index, uncles, HEIGHT - layer, top));
                assert_false(merkle_proves(node, index + (1u << (HEIGHT - layer)), uncles,
                                           HEIGHT - layer, top));
                node[5] ^= 1;
                assert_false(merkle_proves(node, index, uncles, HEIGHT - layer, top));
            }
        }
    }
    free(nodes);
}

static void padding_is_a_tree_of_zeros(void **state)
{
    uint8_t hash[MERKLE_HASH_SIZE], root[MERKLE_HASH_SIZE], nothing = 0;

    (void)state;
    for (unsigned layer = 0; layer < 10; layer++) {
        merkle_root(&nothing, 0, 0, layer, root);
        assert_memory_equal(merkle_padding(layer, hash), root, sizeof(root));
        merkle_root(&nothing, 0, 3, layer, root);
        assert_memory_equal(merkle_padding(layer + 3, hash), root, sizeof(root));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_and_proofs_are_those_of_the_whole_tree),
        cmocka_unit_test(padding_is_a_tree_of_zeros),
    };
    int failed = 0;

    failed += RUN_ROWS(height_rows, test_height);
    failed += RUN_ROWS(file_rows, test_file);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
