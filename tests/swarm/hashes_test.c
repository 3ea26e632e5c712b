/*
 * Hashes of v2: who knows the roots of all pieces tells them to one who knows the info alone, and
 * nothing that is not proved is believed.
 */
#include "services/swarm/hashes.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/hash_server.h"
#include "services/swarm/torrent.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 16384u

/* ---- a made-up torrent: leaf i of all is a hash of i ---- */

struct scene {
    struct metainfo *whole; /* with its layers */
    struct metainfo *bare;  /* as it comes from peers */
    uint8_t *leaves;        /* of all pieces, one behind the other, by padded pieces */
    unsigned piece_height;
};

static uint8_t *leaf_of(const struct scene *self, uint32_t piece, uint32_t block)
{
    return self->leaves + (((size_t)piece << self->piece_height) + block) * MERKLE_HASH_SIZE;
}

static uint32_t pieces_of(uint32_t blocks, unsigned height)
{
    return ((blocks - 1) >> height) + 1;
}

static void draw(struct scene *self, const uint32_t *blocks, uint32_t files, unsigned piece_height)
{
    static const char *const names[] = { "a", "b", "c" };
    struct metainfo_draft_file drafts[3];
    struct metainfo_draft draft = { .kind = METAINFO_V2,
                                    .name = "n",
                                    .files = drafts,
                                    .files_count = files,
                                    .piece_length = BLOCK << piece_height,
                                    .is_folder = true };
    uint8_t roots[3][MERKLE_HASH_SIZE], *piece_roots, *info = NULL, hash[32];
    uint32_t pieces = 0, piece = 0;
    size_t size = 0;

    for (uint32_t i = 0; i < files; i++)
        pieces += pieces_of(blocks[i], piece_height);
    self->piece_height = piece_height;
    self->leaves = xcalloc((size_t)pieces << piece_height, MERKLE_HASH_SIZE);
    piece_roots = xcalloc(pieces, MERKLE_HASH_SIZE);
    for (uint32_t i = 0; i < files; i++) {
        const uint32_t count = pieces_of(blocks[i], piece_height);
        const uint32_t first = piece;

        for (uint32_t block = 0; block < blocks[i]; block++)
            sha256(
                bytes_of(&(uint32_t[]){ i * 1000003 + block }, 4),
                leaf_of(self, first + (block >> piece_height), block & ((1u << piece_height) - 1)));
        for (uint32_t left = blocks[i]; left > 0; piece++) {
            const uint32_t here = left < 1u << piece_height ? left : 1u << piece_height;

            merkle_root(leaf_of(self, piece, 0), here, 0,
                        count == 1 ? merkle_height(blocks[i]) : piece_height,
                        piece_roots + (size_t)piece * MERKLE_HASH_SIZE);
            left -= here;
        }
        merkle_root(leaf_of(self, first, 0), blocks[i], 0, merkle_height(blocks[i]), roots[i]);
        drafts[i] = (struct metainfo_draft_file){ .path = names[i],
                                                  .length = (uint64_t)blocks[i] * BLOCK - 100,
                                                  .root = roots[i] };
    }
    assert_int_equal(metainfo_write_info(&draft, &info, &size, NULL), LB_OK);
    sha256(bytes_of(info, size), hash);
    assert_int_equal(metainfo_parse_info(bytes_of(info, size), hash, &self->whole, NULL), LB_OK);
    assert_int_equal(metainfo_parse_info(bytes_of(info, size), hash, &self->bare, NULL), LB_OK);
    assert_int_equal(metainfo_give_piece_roots(self->whole, piece_roots), LB_OK);
    free(piece_roots);
    free(info);
}

static void undraw(struct scene *self)
{
    metainfo_free(&self->whole);
    metainfo_free(&self->bare);
    free(self->leaves);
}

/* What the server says, as it comes over the wire. The caller frees. */
static struct bytes answer(struct scene *self, struct hash_server *server,
                           const struct hash_range *range)
{
    uint8_t *buffer = xmalloc(HASH_RANGE_ANSWER_MAX);
    struct writer writer;
    uint32_t piece = 0;
    const enum hash_need need = hash_server_look(server, range, &piece);

    assert_int_not_equal(need, HASH_REFUSED);
    writer_init(&writer, buffer, HASH_RANGE_ANSWER_MAX);
    hash_server_answer(server, range, need == HASH_LEAVES ? leaf_of(self, piece, 0) : NULL,
                       &writer);
    assert_false(writer.overflow);
    return bytes_of(buffer, writer.size);
}

/* ---- layers ---- */

static const struct layer_row {
    const char *what;
    uint32_t blocks[3]; /* of each file */
    uint32_t files;
    unsigned piece_height;
    uint32_t requests;
} layer_rows[] = {
    { "two pieces of a block", { 2 }, 1, 0, 1 },
    { "three pieces", { 3 }, 1, 0, 1 },
    { "pieces of four blocks, the last cut", { 4 * 5 + 1 }, 1, 2, 1 },
    { "just one range", { 512 }, 1, 0, 1 },
    { "one piece more", { 513 }, 1, 0, 2 },
    { "several ranges of larger pieces", { 2 * 1300 - 1 }, 1, 1, 3 },
    { "several files, one of them of one piece", { 9, 4, 4 * 600 }, 3, 2, 3 },
    { "two files that are alike in size", { 5, 5 }, 2, 1, 2 },
};

static void test_layers(void **state)
{
    const struct layer_row *row = *state;
    struct scene scene;
    struct hashes hashes;
    struct hash_range range;
    uint32_t requests = 0, peer = 1;
    enum hashes_verdict verdict = HASHES_TAKEN;

    draw(&scene, row->blocks, row->files, row->piece_height);
    struct hash_server *server = hash_server_new(scene.whole);
    hashes_init(&hashes, scene.bare);
    while (hashes_next(&hashes, ++peer, 1000, &range)) {
        struct hash_range said;
        struct bytes list;
        struct bytes payload = answer(&scene, server, &range);
        uint8_t *bytes = (uint8_t *)(uintptr_t)payload.data;

        requests++;
        assert_true(hash_range_read(payload, &said, &list));
        assert_true(hash_range_equal(&said, &range));
        assert_int_equal(hashes_take(&hashes, peer + 1, &said, list), HASHES_UNASKED);
        /* Whatever bit is changed, of a hash or an uncle, it proves nothing. */
        bytes[HASH_RANGE_SIZE + requests * 7 % list.size] ^= 4;
        assert_int_equal(hashes_take(&hashes, peer, &said, list), HASHES_BAD);
        bytes[HASH_RANGE_SIZE + requests * 7 % list.size] ^= 4;
        assert_true(hashes_next(&hashes, ++peer, 1000, &range));
        assert_true(hash_range_equal(&said, &range));
        assert_int_equal(hashes_take(&hashes, peer, &said, bytes_of(list.data, list.size - 32)),
                         HASHES_BAD);
        assert_true(hashes_next(&hashes, ++peer, 1000, &range));
        verdict = hashes_take(&hashes, peer, &said, list);
        assert_true(verdict == HASHES_TAKEN || verdict == HASHES_COMPLETE);
        free(bytes);
    }
    assert_int_equal(verdict, HASHES_COMPLETE);
    assert_int_equal(requests, row->requests);
    assert_int_equal(metainfo_give_piece_roots(scene.bare, hashes.piece_roots), LB_OK);
    for (uint32_t i = 0; i < scene.bare->layout.piece_count; i++)
        assert_memory_equal(metainfo_piece_root(scene.bare, i), metainfo_piece_root(scene.whole, i),
                            MERKLE_HASH_SIZE);
    hashes_done(&hashes);
    hash_server_free(&server);
    undraw(&scene);
}

static void what_one_does_not_give_is_asked_of_others(void **state)
{
    const uint32_t blocks[] = { 512 * 6 };
    struct scene scene;
    struct hashes hashes;
    struct hash_range range, first;
    uint32_t silent = 0;

    (void)state;
    draw(&scene, blocks, 1, 0);
    hashes_init(&hashes, scene.bare);
    assert_true(hashes_next(&hashes, 1, 0, &first));
    for (unsigned i = 1; i < HASHES_PEER_MAX; i++)
        assert_true(hashes_next(&hashes, 1, 0, &range));
    assert_false(hashes_next(&hashes, 1, 0, &range)); /* enough for one */
    assert_true(hashes_next(&hashes, 2, 5, &range));
    assert_true(hashes_next(&hashes, 2, 5, &range));
    assert_false(hashes_next(&hashes, 2, 5, &range)); /* all are asked for */
    assert_true(hashes_rejected(&hashes, 1, &first));
    assert_false(hashes_rejected(&hashes, 1, &first));
    assert_true(hashes_next(&hashes, 3, 5, &range));
    assert_true(hash_range_equal(&range, &first));
    assert_false(hashes_expire(&hashes, HASHES_ASK_MS - 1, &silent));
    assert_true(hashes_expire(&hashes, HASHES_ASK_MS, &silent));
    assert_int_equal(silent, 1);
    assert_false(hashes_expire(&hashes, HASHES_ASK_MS, &silent));
    hashes_release(&hashes, 2);
    for (unsigned i = 0; i < HASHES_PEER_MAX; i++)
        assert_true(hashes_next(&hashes, 4, 20, &range));
    hashes_done(&hashes);
    undraw(&scene);
}

/* ---- leaves ---- */

static const struct leaves_row {
    const char *what;
    uint32_t blocks;
    unsigned piece_height;
    uint32_t piece;
} leaves_rows[] = {
    { "of a piece in the middle", 4 * 5, 2, 2 },
    { "of the last, cut", 4 * 5 + 3, 2, 5 },
    { "of the last, of one block", 4 * 5 + 1, 2, 5 },
    { "of a file smaller than its piece", 3, 3, 0 },
    { "of a file of one piece", 8, 3, 0 },
};

static void test_leaves(void **state)
{
    const struct leaves_row *row = *state;
    struct scene scene;
    struct hash_range range, said;
    struct bytes list;

    draw(&scene, &row->blocks, 1, row->piece_height);
    struct hash_server *server = hash_server_new(scene.whole);
    hashes_leaves_range(scene.whole, row->piece, &range);
    struct bytes payload = answer(&scene, server, &range);
    assert_true(hash_range_read(payload, &said, &list));
    assert_int_equal(list.size, range.length * MERKLE_HASH_SIZE);
    assert_true(hash_range_proves(&said, list, metainfo_piece_root(scene.whole, row->piece)));
    assert_memory_equal(list.data, leaf_of(&scene, row->piece, 0), MERKLE_HASH_SIZE);

    /* With uncles up to the root of the file, as libtorrent asks (see hash_range.h). */
    range.proof_layers = merkle_height(row->blocks) - 1;
    free((void *)(uintptr_t)payload.data);
    payload = answer(&scene, server, &range);
    assert_true(hash_range_read(payload, &said, &list));
    assert_true(hash_range_proves(&said, list, said.root));

    /* And two leaves alone. */
    range.length = 2;
    range.index += row->piece_height > 1 ? 2 : 0;
    free((void *)(uintptr_t)payload.data);
    payload = answer(&scene, server, &range);
    assert_true(hash_range_read(payload, &said, &list));
    assert_true(hash_range_proves(&said, list, said.root));
    free((void *)(uintptr_t)payload.data);
    hash_server_free(&server);
    undraw(&scene);
}

/* ---- ranges ---- */

static const struct range_row {
    const char *what;
    uint32_t base, index, length, proof_layers;
    bool valid;
    unsigned uncles;
    enum hash_need need; /* of a file of 16 blocks, pieces of 4 */
} range_rows[] = {
    { "the layer of pieces", 2, 0, 4, 1, true, 0, HASH_KNOWN },
    { "half of it, proved", 2, 2, 2, 1, true, 1, HASH_KNOWN },
    { "half of it without a proof", 2, 2, 2, 0, true, 0, HASH_KNOWN },
    { "one hash alone", 2, 3, 1, 1, true, 2, HASH_KNOWN },
    { "the root", 4, 0, 1, 0, true, 0, HASH_KNOWN },
    { "the leaves of a piece", 0, 4, 4, 1, true, 0, HASH_LEAVES },
    { "and their proof", 0, 4, 4, 3, true, 2, HASH_LEAVES },
    { "a layer below that of pieces", 1, 2, 2, 2, true, 2, HASH_LEAVES },
    { "the leaves of two pieces", 0, 0, 8, 3, true, 1, HASH_REFUSED },
    { "nothing", 2, 0, 0, 0, false, 0, HASH_REFUSED },
    { "no power of two", 2, 0, 3, 1, false, 0, HASH_REFUSED },
    { "an index that is no multiple", 0, 2, 4, 1, false, 0, HASH_REFUSED },
    { "behind the end", 2, 4, 4, 1, false, 0, HASH_REFUSED },
    { "longer than the layer", 2, 0, 8, 1, false, 0, HASH_REFUSED },
    { "an index that wraps", 0, 0xfffffffc, 4, 1, false, 0, HASH_REFUSED },
    { "a layer above the root", 5, 0, 1, 0, false, 0, HASH_REFUSED },
    { "a layer beyond counting", UINT32_MAX, 0, 2, 0, false, 0, HASH_REFUSED },
    { "more proof than there are layers", 2, 0, 2, 2, false, 0, HASH_REFUSED },
    { "proof beyond counting", 0, 0, 4, UINT32_MAX, false, 0, HASH_REFUSED },
    { "longer than the limit", 0, 0, 16384, 1, false, 0, HASH_REFUSED },
};

static void test_range(void **state)
{
    const struct range_row *row = *state;
    const uint32_t blocks = 16;
    struct scene scene;
    struct hash_range range = { .base = row->base,
                                .index = row->index,
                                .length = row->length,
                                .proof_layers = row->proof_layers };
    uint32_t piece = 0;

    draw(&scene, &blocks, 1, 2);
    struct hash_server *server = hash_server_new(scene.whole);
    memcpy(range.root, scene.whole->roots[0], sizeof(range.root));
    assert_int_equal(hash_range_is_valid(&range, 4), row->valid);
    if (row->valid)
        assert_int_equal(hash_range_uncles(&range), row->uncles);
    assert_int_equal(hash_server_look(server, &range, &piece), row->need);
    if (row->need != HASH_REFUSED) {
        struct bytes payload = answer(&scene, server, &range);
        assert_int_equal(payload.size, HASH_RANGE_SIZE + (row->length + row->uncles) * 32);
        free((void *)(uintptr_t)payload.data);
    }
    range.root[0] ^= 1;
    assert_int_equal(hash_server_look(server, &range, &piece), HASH_REFUSED);
    hash_server_free(&server);
    undraw(&scene);
}

/* ---- the torrent that drives it ---- */

struct swarm {
    struct random random;
    struct torrent torrent;
    struct hash_range asked; /* last */
    uint32_t asked_peer;     /* PICKER_NOBODY: nobody */
    unsigned layers, verifies;
    uint32_t dropped;
    const char *reason;
    struct picker_ask requests[64];
    uint32_t requested_peers[64];
    uint32_t requests_count;
};

static void drain(struct swarm *self)
{
    struct torrent_action action;

    while (torrent_next(&self->torrent, 1000, &action)) {
        struct bytes list;

        self->layers += action.kind == TORRENT_LAYERS;
        self->verifies += action.kind == TORRENT_VERIFY;
        if (action.kind == TORRENT_DISCONNECT) {
            self->dropped = action.peer;
            self->reason = action.reason;
        }
        if (action.kind == TORRENT_SEND && action.message.kind == WIRE_HASH_REQUEST) {
            assert_true(hash_range_read(action.message.payload, &self->asked, &list));
            self->asked_peer = action.peer;
        }
        if (action.kind == TORRENT_SEND && action.message.kind == WIRE_REQUEST) {
            self->requests[self->requests_count] =
                (struct picker_ask){ action.message.piece,
                                     action.message.offset / PICKER_BLOCK_SIZE };
            self->requested_peers[self->requests_count++] = action.peer;
        }
    }
}

static void swarm_init(struct swarm *self)
{
    const struct torrent_options options = { .peer_id = "ourselves",
                                             .peers_max = 9,
                                             .peers_wanted = 9,
                                             .upload_slots = 2,
                                             .announce_interval_ms = 60000,
                                             .version = "test" };

    memset(self, 0, sizeof(*self));
    self->asked_peer = self->dropped = PICKER_NOBODY;
    random_init(&self->random, 5);
    torrent_init(&self->torrent, &options, &self->random, 1000);
}

static uint32_t join(struct swarm *self, uint8_t number, bool v2)
{
    struct wire_handshake handshake = { .fast = true, .peer_id = "a peer" };
    const struct torrent_hello hello = { .address = address_v4(10, 0, 0, number, 6881),
                                         .outgoing = true,
                                         .v2 = v2,
                                         .handshake = &handshake };
    uint32_t peer = 0;

    handshake.peer_id[19] = number;
    assert_int_equal(torrent_join(&self->torrent, &hello, 1000, &peer), LB_OK);
    drain(self);
    return peer;
}

static void say(struct swarm *self, uint32_t peer, enum wire_kind kind, struct bytes payload)
{
    const struct wire_message message = { .kind = kind, .payload = payload };

    (void)torrent_message(&self->torrent, peer, &message, 1000);
    drain(self);
}

static void layers_are_asked_of_who_takes_part_in_v2(void **state)
{
    const uint32_t blocks[] = { 4 * 5 };
    struct scene scene;
    struct swarm swarm;
    uint8_t reject[HASH_RANGE_SIZE];
    struct writer writer;

    (void)state;
    draw(&scene, blocks, 1, 2);
    struct hash_server *server = hash_server_new(scene.whole);
    swarm_init(&swarm);
    (void)join(&swarm, 1, false);
    torrent_want_layers(&swarm.torrent, scene.bare, 1000);
    drain(&swarm);
    assert_int_equal(swarm.asked_peer, PICKER_NOBODY);
    const uint32_t first = join(&swarm, 2, true);
    assert_int_equal(swarm.asked_peer, first);
    const uint32_t second = join(&swarm, 3, true);
    writer_init(&writer, reject, sizeof(reject));
    hash_range_put(&writer, &swarm.asked);
    say(&swarm, first, WIRE_HASH_REJECT, bytes_of(reject, sizeof(reject)));
    assert_int_equal(swarm.asked_peer, second);

    struct bytes payload = answer(&scene, server, &swarm.asked);
    ((uint8_t *)(uintptr_t)payload.data)[HASH_RANGE_SIZE] ^= 1;
    say(&swarm, second, WIRE_HASHES, payload);
    assert_int_equal(swarm.dropped, second);
    assert_string_equal(swarm.reason, "its hashes prove nothing");
    assert_int_equal(swarm.torrent.stats.banned, 1);
    ((uint8_t *)(uintptr_t)payload.data)[HASH_RANGE_SIZE] ^= 1;
    const uint32_t third = join(&swarm, 4, true);
    assert_int_equal(swarm.asked_peer, third);
    say(&swarm, third, WIRE_HASHES, payload);
    assert_int_equal(swarm.layers, 1);
    assert_non_null(torrent_layers(&swarm.torrent));
    assert_memory_equal(torrent_layers(&swarm.torrent), metainfo_piece_root(scene.whole, 0), 32);
    free((void *)(uintptr_t)payload.data);
    torrent_done(&swarm.torrent);
    hash_server_free(&server);
    undraw(&scene);
}

/* Two send the blocks of a piece, one of them lies; a third, who sent nothing, tells whose. */
static void leaves_convict_at_once(void **state)
{
    const uint32_t blocks[] = { 8 };
    struct scene scene;
    struct swarm swarm;
    uint8_t digests[8][SUSPECTS_DIGEST_SIZE];
    static const uint8_t zeros[BLOCK];
    uint32_t liar;

    (void)state;
    draw(&scene, blocks, 1, 3);
    struct hash_server *server = hash_server_new(scene.whole);
    const struct layout *layout = &scene.whole->layout;
    const struct picker_shape shape = { .pieces = layout->piece_count,
                                        .piece_size = layout->piece_length,
                                        .total_size = layout->length,
                                        .layout = layout };
    swarm_init(&swarm);
    torrent_set_v2(&swarm.torrent, scene.whole);
    torrent_begin(&swarm.torrent, scene.whole->info, shape, NULL, 1000);
    for (uint8_t i = 1; i <= 2; i++) {
        const uint32_t peer = join(&swarm, i, true);
        say(&swarm, peer, WIRE_HAVE_ALL, bytes_of(NULL, 0));
        say(&swarm, peer, WIRE_UNCHOKE, bytes_of(NULL, 0));
    }
    const uint32_t witness = join(&swarm, 3, true);
    say(&swarm, witness, WIRE_HAVE_ALL, bytes_of(NULL, 0));
    /* All was asked of the first; in the end game the second takes a block over. */
    assert_int_equal(swarm.requests_count, 9);
    const uint32_t bad = swarm.requests[8].block;
    liar = swarm.requested_peers[8];
    for (uint32_t i = 9; i-- > 0;) {
        const uint32_t block = swarm.requests[i].block;
        const uint32_t size = layout_block_size(layout, 0, block);
        const struct wire_message piece = { .kind = WIRE_PIECE,
                                            .offset = block * BLOCK,
                                            .length = size,
                                            .payload = bytes_of(zeros, size) };

        if (i == 8 || block != bad)
            (void)torrent_message(&swarm.torrent, swarm.requested_peers[i], &piece, 1000);
    }
    drain(&swarm);
    assert_int_equal(swarm.verifies, 1);
    for (uint32_t i = 0; i < 8; i++)
        memcpy(digests[i], leaf_of(&scene, 0, i), SUSPECTS_DIGEST_SIZE);
    digests[bad][0] ^= 1;
    torrent_judged(&swarm.torrent, 0, LB_CORRUPT, digests[0], 1000);
    drain(&swarm);
    assert_int_equal(swarm.asked_peer, witness);
    assert_int_equal(swarm.torrent.stats.banned, 0);

    struct bytes payload = answer(&scene, server, &swarm.asked);
    say(&swarm, witness, WIRE_HASHES, payload);
    assert_int_equal(swarm.torrent.stats.banned, 1);
    assert_int_equal(swarm.dropped, liar);
    torrent_check(&swarm.torrent);
    free((void *)(uintptr_t)payload.data);
    torrent_done(&swarm.torrent);
    hash_server_free(&server);
    undraw(&scene);
}

static void requests_are_answered_or_refused(void **state)
{
    const uint32_t blocks[] = { 8 };
    struct scene scene;
    struct swarm swarm;
    struct torrent_action action;
    uint8_t request[HASH_RANGE_SIZE] = { 0 };
    unsigned refused = 0, passed_on = 0;

    (void)state;
    draw(&scene, blocks, 1, 0);
    const struct layout *layout = &scene.whole->layout;
    const struct picker_shape shape = { .pieces = layout->piece_count,
                                        .piece_size = layout->piece_length,
                                        .total_size = layout->length,
                                        .layout = layout };
    swarm_init(&swarm);
    torrent_set_v2(&swarm.torrent, scene.whole);
    torrent_begin(&swarm.torrent, scene.whole->info, shape, NULL, 1000);
    drain(&swarm);
    const uint32_t peer = join(&swarm, 1, true);
    const struct wire_message message = { .kind = WIRE_HASH_REQUEST,
                                          .payload = bytes_of(request, sizeof(request)) };
    for (unsigned i = 0; i < TORRENT_HASHES_GIVEN_MAX + 5; i++)
        (void)torrent_message(&swarm.torrent, peer, &message, 1000);
    while (torrent_next(&swarm.torrent, 1000, &action)) {
        passed_on += action.kind == TORRENT_GIVE_HASHES;
        refused += action.kind == TORRENT_SEND && action.message.kind == WIRE_HASH_REJECT;
    }
    assert_int_equal(passed_on, TORRENT_HASHES_GIVEN_MAX);
    assert_int_equal(refused, 5);
    /* Who does not take part in v2 has no business with it, nor has a request of a wrong length. */
    const uint32_t other = join(&swarm, 2, false);
    say(&swarm, other, WIRE_HASH_REQUEST, bytes_of(request, sizeof(request)));
    assert_int_equal(swarm.dropped, other);
    say(&swarm, peer, WIRE_HASH_REQUEST, bytes_of(request, sizeof(request) - 1));
    assert_int_equal(swarm.dropped, peer);
    torrent_done(&swarm.torrent);
    undraw(&scene);
}

/* Of a hybrid: it begins by v1, and goes on asking. */
static void layers_come_later_too(void **state)
{
    const uint32_t blocks[] = { 4 * 5 };
    struct scene scene;
    struct swarm swarm;

    (void)state;
    draw(&scene, blocks, 1, 2);
    struct hash_server *server = hash_server_new(scene.whole);
    const struct layout *layout = &scene.bare->layout;
    const struct picker_shape shape = { .pieces = layout->piece_count,
                                        .piece_size = layout->piece_length,
                                        .total_size = layout->length };
    swarm_init(&swarm);
    torrent_begin(&swarm.torrent, bytes_of("info", 4), shape, NULL, 1000);
    torrent_want_layers_later(&swarm.torrent, scene.bare, 1000);
    (void)join(&swarm, 1, false);
    torrent_turn(&swarm.torrent, 1000 + 2 * TORRENT_LAYERS_MS);
    drain(&swarm);
    assert_int_equal(swarm.asked_peer, PICKER_NOBODY);
    assert_int_equal(swarm.layers, 0);
    const uint32_t second = join(&swarm, 2, true);
    assert_int_equal(swarm.asked_peer, second);
    struct bytes payload = answer(&scene, server, &swarm.asked);
    say(&swarm, second, WIRE_HASHES, payload);
    assert_int_equal(swarm.layers, 1);
    assert_memory_equal(torrent_layers(&swarm.torrent), metainfo_piece_root(scene.whole, 0), 32);
    assert_int_equal(metainfo_give_piece_roots(scene.bare, torrent_layers(&swarm.torrent)), LB_OK);
    torrent_set_v2(&swarm.torrent, scene.bare);
    free((void *)(uintptr_t)payload.data);
    torrent_done(&swarm.torrent);
    hash_server_free(&server);
    undraw(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_does_not_give_is_asked_of_others),
        cmocka_unit_test(layers_are_asked_of_who_takes_part_in_v2),
        cmocka_unit_test(layers_come_later_too),
        cmocka_unit_test(leaves_convict_at_once),
        cmocka_unit_test(requests_are_answered_or_refused),
    };
    int failed = 0;

    failed += RUN_ROWS(layer_rows, test_layers);
    failed += RUN_ROWS(leaves_rows, test_leaves);
    failed += RUN_ROWS(range_rows, test_range);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
