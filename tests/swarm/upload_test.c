/*
 * Whose blocks go out: a seed and peers that ask it for blocks, and a shell that takes them for who
 * takes them. A peer is a letter; what happens is a string of them.
 */
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/torrent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PIECES    64u
#define BLOCKS    4u /* of a piece */
#define BLOCK     PICKER_BLOCK_SIZE
#define PEERS_MAX 32u
#define FEW       100000u /* bytes a second */

struct scene {
    struct random random;
    struct limits limits;
    struct limits_share share;
    struct torrent torrent;
    uint64_t now_ms;
    uint32_t peer[PEERS_MAX];
    uint32_t with_shell[PEERS_MAX]; /* blocks handed over and not taken */
    uint32_t went[PEERS_MAX];       /* blocks taken */
    struct wire_message last[PEERS_MAX];
};

static void init(struct scene *scene, uint32_t peers)
{
    struct torrent_options options = { .port = 1,
                                       .peers_max = 50,
                                       .peers_wanted = 50,
                                       .upload_slots = PEERS_MAX,
                                       .announce_interval_ms = 600000,
                                       .version = "test",
                                       .limits = &scene->share };
    uint8_t all[PIECES / 8];
    memset(scene, 0, sizeof *scene);
    memset(all, 0xff, sizeof all);
    scene->now_ms = 1000000;
    random_init(&scene->random, 1);
    limits_init(&scene->limits, NULL, 0, NULL, 0);
    limits_share_init(&scene->share, &scene->limits, NULL, 1);
    torrent_init(&scene->torrent, &options, &scene->random, scene->now_ms);
    torrent_begin(&scene->torrent, bytes_of((const uint8_t *)"de", 2),
                  (struct picker_shape){ PIECES, BLOCKS * BLOCK, PIECES * BLOCKS * BLOCK, 0, NULL },
                  all, scene->now_ms);
    for (uint32_t i = 0; i < peers; i++) {
        struct wire_handshake hello = { .fast = true };
        hello.peer_id[0] = (uint8_t)('a' + i);
        const struct torrent_hello join = { .address = address_v4(10, 0, 0, (uint8_t)(i + 1), 9),
                                            .handshake = &hello };
        assert_int_equal(torrent_join(&scene->torrent, &join, scene->now_ms, &scene->peer[i]),
                         LB_OK);
        const struct wire_message interested = { .kind = WIRE_INTERESTED };
        (void)torrent_message(&scene->torrent, scene->peer[i], &interested, scene->now_ms);
    }
}

static uint32_t index_of(const struct scene *scene, uint32_t peer)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        if (scene->peer[i] == peer)
            return i;
    fail();
    return 0;
}

/* What is handed over is taken at once, but for those in `holds`. */
static void drain(struct scene *scene, const char *holds)
{
    struct torrent_action action;
    while (torrent_next(&scene->torrent, scene->now_ms, &action)) {
        if (action.kind != TORRENT_SEND_BLOCK)
            continue;
        const uint32_t i = index_of(scene, action.peer);
        scene->last[i] = action.message;
        if (strchr(holds, 'a' + (int)i) != NULL) {
            scene->with_shell[i]++;
            continue;
        }
        scene->went[i]++;
        torrent_sent(&scene->torrent, action.peer, &action.message, true, scene->now_ms);
    }
    torrent_check(&scene->torrent);
}

static void ask(struct scene *scene, uint32_t i, uint32_t first, uint32_t blocks)
{
    for (uint32_t k = first; k < first + blocks; k++) {
        const struct wire_message request = { .kind = WIRE_REQUEST,
                                              .piece = k / BLOCKS % PIECES,
                                              .offset = k % BLOCKS * BLOCK,
                                              .length = BLOCK };
        (void)torrent_message(&scene->torrent, scene->peer[i], &request, scene->now_ms);
    }
}

static void pass(struct scene *scene, uint64_t ms, const char *holds)
{
    const uint64_t end = scene->now_ms + ms;
    while (scene->now_ms < end) {
        scene->now_ms += 10;
        if (scene->now_ms >= torrent_deadline_ms(&scene->torrent))
            torrent_turn(&scene->torrent, scene->now_ms);
        for (struct limits_flow *flow = limits_next(&scene->limits, scene->now_ms); flow != NULL;
             flow = limits_next(&scene->limits, scene->now_ms))
            torrent_go_on(&scene->torrent, flow->peer, flow->direction, scene->now_ms);
        drain(scene, holds);
    }
}

static void test_who_takes_nothing_holds_nobody_up(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, 5);
    for (uint32_t i = 0; i < 4; i++)
        ask(&scene, i, 0, 100);
    drain(&scene, "abcd");
    ask(&scene, 4, 0, 200);
    drain(&scene, "abcd");
    pass(&scene, 2 * UPLOAD_STUCK_MS, "abcd");
    assert_int_equal(scene.went[4], 200);
    torrent_done(&scene.torrent);
}

/* Each takes a block now and then, and has always more waiting. */
static void test_who_takes_little_holds_nobody_up(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, 5);
    for (uint32_t i = 0; i < 4; i++)
        ask(&scene, i, 0, 200);
    ask(&scene, 4, 0, 250);
    drain(&scene, "abcd");
    for (uint32_t n = 0; n < 24; n++) {
        const uint32_t i = n % 4;
        pass(&scene, 200, "abcd");
        if (scene.with_shell[i] == 0)
            continue;
        scene.with_shell[i]--;
        torrent_sent(&scene.torrent, scene.peer[i], &scene.last[i], true, scene.now_ms);
        drain(&scene, "abcd");
    }
    assert_int_equal(scene.went[4], 250);
    torrent_done(&scene.torrent);
}

static void test_who_leaves_takes_its_bytes_along(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, 5);
    for (uint32_t i = 0; i < 4; i++)
        ask(&scene, i, 0, 100);
    ask(&scene, 4, 0, 200);
    drain(&scene, "abcd");
    pass(&scene, UPLOAD_STUCK_MS / 2, "abcd"); /* some queued, none lags yet */
    torrent_left(&scene.torrent, scene.peer[0], scene.now_ms);
    torrent_check(&scene.torrent);
    pass(&scene, 2 * UPLOAD_STUCK_MS, "abcd"); /* now they do */
    for (uint32_t i = 1; i < 4; i++) {
        torrent_left(&scene.torrent, scene.peer[i], scene.now_ms);
        torrent_check(&scene.torrent);
    }
    /* Late news of who is gone is no news. */
    torrent_sent(&scene.torrent, scene.peer[1], &scene.last[1], true, scene.now_ms);
    drain(&scene, "");
    assert_int_equal(scene.went[4], 200);
    assert_int_equal(scene.torrent.uploads.bytes, 0);
    torrent_done(&scene.torrent);
}

/* Who waits at a limit stands in no queue, comes back when it is named, and nobody is forgotten. */
static void test_a_limit_lets_all_go_on(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, 4);
    limits_set(&scene.limits, LIMITS_SEND, FEW, scene.now_ms);
    for (uint32_t i = 0; i < 4; i++)
        ask(&scene, i, 0, 16);
    drain(&scene, "");
    pass(&scene, 2000, "");
    /* One goes while it waits; one takes all back. */
    torrent_left(&scene.torrent, scene.peer[3], scene.now_ms);
    for (uint32_t k = 0; k < 16; k++) {
        const struct wire_message cancel = {
            .kind = WIRE_CANCEL, .piece = k / BLOCKS, .offset = k % BLOCKS * BLOCK, .length = BLOCK
        };
        (void)torrent_message(&scene.torrent, scene.peer[2], &cancel, scene.now_ms);
    }
    const uint32_t before = scene.went[2];
    pass(&scene, 8000, "");
    assert_int_equal(scene.went[0], 16);
    assert_int_equal(scene.went[1], 16);
    assert_int_equal(scene.went[2], before);
    torrent_done(&scene.torrent);
}

/* ---- how much is with the shell ---- */

#define QUEUE_MAX 4096u

/* A shell whose uplink carries so much in the order it was given, and each peer takes so much. */
struct links {
    struct scene scene;
    uint64_t up, each; /* bytes a millisecond */
    struct {
        uint32_t i;
        struct wire_message block;
    } queue[QUEUE_MAX];
    uint32_t queue_count;
    uint64_t up_left, left[PEERS_MAX]; /* of what they could have carried by now */
    uint32_t asked[PEERS_MAX];
    uint64_t gone; /* bytes */
};

static void hand_over(struct links *self)
{
    struct torrent_action action;
    while (torrent_next(&self->scene.torrent, self->scene.now_ms, &action)) {
        if (action.kind != TORRENT_SEND_BLOCK)
            continue;
        assert_true(self->queue_count < QUEUE_MAX);
        self->queue[self->queue_count].i = index_of(&self->scene, action.peer);
        self->queue[self->queue_count++].block = action.message;
    }
}

/* Nobody ever wants nothing. */
static void ask_on(struct links *self, uint32_t i)
{
    ask(&self->scene, i, self->asked[i]++, 1);
}

static void carry(struct links *self)
{
    uint32_t kept = 0;
    const uint32_t count = self->queue_count;
    for (uint32_t k = 0; k < count; k++) {
        const uint32_t i = self->queue[k].i;
        const struct wire_message block = self->queue[k].block;
        if (self->up_left < block.length || self->left[i] < block.length) {
            self->queue[kept++] = self->queue[k];
            continue;
        }
        self->up_left -= block.length;
        self->left[i] -= block.length;
        self->gone += block.length;
        ask_on(self, i);
        torrent_sent(&self->scene.torrent, self->scene.peer[i], &block, true, self->scene.now_ms);
    }
    self->queue_count = kept;
}

/* What a link did not carry while it had nothing to is lost. */
static void let_time_pass(uint64_t *left, uint64_t rate)
{
    *left = *left + rate < 2 * BLOCK + rate ? *left + rate : 2 * BLOCK + rate;
}

static void run(struct links *self, uint64_t ms)
{
    for (const uint64_t end = self->scene.now_ms + ms; self->scene.now_ms < end;) {
        self->scene.now_ms++;
        let_time_pass(&self->up_left, self->up);
        for (uint32_t i = 0; i < PEERS_MAX; i++)
            let_time_pass(&self->left[i], self->each);
        if (self->scene.now_ms >= torrent_deadline_ms(&self->scene.torrent))
            torrent_turn(&self->scene.torrent, self->scene.now_ms);
        carry(self);
        hand_over(self);
    }
    torrent_check(&self->scene.torrent);
}

static const struct ahead_row {
    const char *what;
    uint64_t up, each;        /* bytes a millisecond */
    uint32_t least_percent;   /* of what the narrower ones can carry */
    uint64_t most_with_shell; /* bytes */
} ahead_rows[] = {
    { "our uplink is the narrow one, and is full with little queued", 10000, 10000, 98, 1000000 },
    { "their downlinks are the narrow ones, and are full all the same", 1000000, 200, 95,
      PEERS_MAX *PEER_SEND_AHEAD_MIN },
};

static void test_as_much_is_ahead_as_keeps_the_links_full(void **state)
{
    (void)state;
    static struct links links;
    for (size_t n = 0; n < sizeof ahead_rows / sizeof ahead_rows[0]; n++) {
        const struct ahead_row *row = &ahead_rows[n];
        memset(&links, 0, sizeof links);
        links.up = row->up;
        links.each = row->each;
        init(&links.scene, PEERS_MAX);
        for (uint32_t i = 0; i < PEERS_MAX; i++)
            for (uint32_t k = 0; k < 100; k++)
                ask_on(&links, i);
        run(&links, 20000);
        const uint64_t before = links.gone;
        run(&links, 5000);
        const uint64_t all = row->each * PEERS_MAX < row->up ? row->each * PEERS_MAX : row->up;
        const uint64_t percent = (links.gone - before) * 100 / (all * 5000);
        if (percent < row->least_percent ||
            links.scene.torrent.uploads.bytes > row->most_with_shell)
            fail_msg("%s: %u %%, %u bytes with the shell", row->what, (unsigned)percent,
                     (unsigned)links.scene.torrent.uploads.bytes);
        torrent_done(&links.scene.torrent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_takes_nothing_holds_nobody_up),
        cmocka_unit_test(test_who_takes_little_holds_nobody_up),
        cmocka_unit_test(test_who_leaves_takes_its_bytes_along),
        cmocka_unit_test(test_a_limit_lets_all_go_on),
        cmocka_unit_test(test_as_much_is_ahead_as_keeps_the_links_full),
    };
    return cmocka_run_group_tests_name("upload", tests, NULL, NULL);
}
