/*
 * How much is asked for at once: a node fetches from a seed that sends a block each millisecond,
 * and another peer says what it has. Who lacks much of what the others have asks for more, so that
 * it catches up with them. Both peers are played by the test.
 */
#include "libcommon/random.h"
#include "services/swarm/torrent.h"
#include "tests/swarm/played.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PIECES   6000u /* of a block each */
#define BLOCK    PICKER_BLOCK_SIZE
#define RUN_MS   4000u
#define SEED     0u
#define OTHER    1u
#define WAIT_MAX 1000u

struct scene {
    struct random random;
    struct torrent torrent;
    uint64_t now_ms;
    uint32_t peer[2];
    struct wire_message waits[WAIT_MAX]; /* what the seed was asked for, the oldest first */
    uint32_t waits_count;
};

static void say(struct scene *scene, uint32_t i, enum wire_kind kind, uint32_t piece)
{
    const struct wire_message message = { .kind = kind, .piece = piece };
    (void)torrent_message(&scene->torrent, scene->peer[i], &message, scene->now_ms);
}

/* The other has the last `has` pieces, and lets us have none of them. */
static void init(struct scene *scene, uint32_t has)
{
    const struct torrent_options options = { .port = 1,
                                             .peers_max = 50,
                                             .peers_wanted = 50,
                                             .upload_slots = 4,
                                             .announce_interval_ms = 600000,
                                             .version = "test" };
    memset(scene, 0, sizeof *scene);
    scene->now_ms = 1000000;
    random_init(&scene->random, 1);
    torrent_init(&scene->torrent, &options, &scene->random, scene->now_ms);
    torrent_begin(&scene->torrent, bytes_of((const uint8_t *)"de", 2),
                  (struct picker_shape){ PIECES, BLOCK, (uint64_t)BLOCK * PIECES, 0, NULL }, NULL,
                  scene->now_ms);
    for (uint32_t i = 0; i < 2; i++)
        scene->peer[i] = played_join(&scene->torrent, i, 2, scene->now_ms);
    say(scene, SEED, WIRE_HAVE_ALL, 0);
    say(scene, SEED, WIRE_UNCHOKE, 0);
    for (uint32_t piece = PIECES - has; piece < PIECES; piece++)
        say(scene, OTHER, WIRE_HAVE, piece);
}

static void drain(struct scene *scene)
{
    struct torrent_action action;
    while (torrent_next(&scene->torrent, scene->now_ms, &action)) {
        if (action.kind == TORRENT_VERIFY)
            torrent_verified(&scene->torrent, action.message.piece, LB_OK, scene->now_ms);
        if (action.kind != TORRENT_SEND || action.message.kind != WIRE_REQUEST)
            continue;
        assert_int_equal(action.peer, scene->peer[SEED]);
        assert_true(scene->waits_count < WAIT_MAX);
        scene->waits[scene->waits_count++] = action.message;
    }
}

static void send_block(struct scene *scene)
{
    if (scene->waits_count == 0)
        return;
    struct wire_message block = scene->waits[0];
    block.kind = WIRE_PIECE;
    memmove(scene->waits, scene->waits + 1, --scene->waits_count * sizeof scene->waits[0]);
    assert_int_equal(torrent_message(&scene->torrent, scene->peer[SEED], &block, scene->now_ms),
                     TORRENT_TAKE);
}

static const struct row {
    const char *what;
    uint32_t has;         /* pieces of the other */
    uint32_t least, most; /* blocks asked for at once: milliseconds of what comes */
} rows[] = {
    { "the other has nothing we lack: 150 ms", 0, 120, 190 },
    { "nor more than comes in 300 ms", 250, 120, 190 },
    { "we are behind: 300 ms", 1500, 250, 340 },
};

static void test_how_much_is_asked_for(void **state)
{
    static struct scene scene;
    const struct row *row = *state;
    init(&scene, row->has);
    for (const uint64_t end = scene.now_ms + RUN_MS; scene.now_ms < end; scene.now_ms++) {
        if (scene.now_ms >= torrent_deadline_ms(&scene.torrent))
            torrent_turn(&scene.torrent, scene.now_ms);
        send_block(&scene);
        drain(&scene);
    }
    torrent_check(&scene.torrent);
    assert_in_range(scene.waits_count, row->least, row->most);
    torrent_done(&scene.torrent);
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct CMUnitTest tests[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ rows[i].what, test_how_much_is_asked_for, NULL, NULL,
                                        (void *)(uintptr_t)&rows[i] };
    return _cmocka_run_group_tests("behind", tests, ROWS, NULL, NULL);
}
