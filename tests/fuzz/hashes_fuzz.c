/*
 * hashes: the payload of a hash message (BEP 52) from anyone, as a request to one who knows a
 * torrent's trees and as an answer to one who asks for them. What is answered is as long as it
 * says, and nothing that was not asked for is taken.
 */
#include "services/swarm/hash_server.h"
#include "services/swarm/hashes.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK  16384u
#define PIECES 9u /* of four blocks, the last of one */
#define BLOCKS (4 * (PIECES - 1) + 1)

static struct metainfo *whole, *bare;
static uint8_t leaves[BLOCKS][MERKLE_HASH_SIZE];

static void draw(void)
{
    uint8_t pieces[PIECES + 1][MERKLE_HASH_SIZE], root[MERKLE_HASH_SIZE], hash[32], *info = NULL;
    const struct metainfo_draft_file files[] = {
        { .path = "a", .length = (uint64_t)BLOCKS * BLOCK, .root = root },
        { .path = "b", .length = BLOCK, .root = leaves[0] },
    };
    const struct metainfo_draft draft = { .kind = METAINFO_V2,
                                          .name = "n",
                                          .files = files,
                                          .files_count = 2,
                                          .piece_length = 4 * BLOCK,
                                          .is_folder = true };
    size_t size = 0;
    lb_err err;

    for (uint32_t i = 0; i < BLOCKS; i++)
        memset(leaves[i], (int)i + 1, MERKLE_HASH_SIZE);
    for (uint32_t i = 0; i < PIECES; i++)
        merkle_root(leaves[4 * i], i + 1 < PIECES ? 4 : 1, 0, 2, pieces[i]);
    memcpy(pieces[PIECES], leaves[0], MERKLE_HASH_SIZE);
    merkle_root(leaves[0], BLOCKS, 0, merkle_height(BLOCKS), root);
    err = metainfo_write_info(&draft, &info, &size, NULL);
    assert(err == LB_OK);
    sha256(bytes_of(info, size), hash);
    err = metainfo_parse_info(bytes_of(info, size), hash, &whole, NULL);
    assert(err == LB_OK);
    err = metainfo_parse_info(bytes_of(info, size), hash, &bare, NULL);
    assert(err == LB_OK);
    err = metainfo_give_piece_roots(whole, pieces[0]);
    assert(err == LB_OK);
    free(info);
}

static void serve(const struct hash_range *range)
{
    static uint8_t buffer[HASH_RANGE_ANSWER_MAX];
    struct hash_server *server = hash_server_new(whole);
    struct writer writer;
    uint32_t piece = 0;
    const enum hash_need need = hash_server_look(server, range, &piece);

    if (need != HASH_REFUSED) {
        assert(need == HASH_KNOWN || piece < PIECES);
        writer_init(&writer, buffer, sizeof(buffer));
        hash_server_answer(server, range, need == HASH_LEAVES ? leaves[4 * piece] : NULL, &writer);
        assert(!writer.overflow);
        assert(writer.size == HASH_RANGE_SIZE + ((size_t)range->length + hash_range_uncles(range)) *
                                                    MERKLE_HASH_SIZE);
    }
    hash_server_free(&server);
}

static void take(const struct hash_range *range, struct bytes list)
{
    struct hashes hashes;
    struct hash_range asked;

    hashes_init(&hashes, bare);
    assert(hashes_next(&hashes, 1, 0, &asked));
    assert(hashes_take(&hashes, 2, range, list) == HASHES_UNASKED);
    const enum hashes_verdict verdict = hashes_take(&hashes, 1, range, list);
    assert((verdict == HASHES_UNASKED) == !hash_range_equal(range, &asked));
    if (verdict == HASHES_COMPLETE)
        assert(metainfo_give_piece_roots(bare, hashes.piece_roots) == LB_OK);
    (void)hashes_rejected(&hashes, 1, range);
    hashes_done(&hashes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hash_range range;
    struct bytes list;

    if (!whole)
        draw();
    if (!hash_range_read(bytes_of(data, size), &range, &list))
        return 0;
    serve(&range);
    take(&range, list);
    /* Any root is as good as none: also as if it were ours. */
    memcpy(range.root, whole->roots[0], sizeof(range.root));
    serve(&range);
    take(&range, list);
    return 0;
}
