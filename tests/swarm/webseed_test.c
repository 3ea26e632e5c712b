#include "services/swarm/webseed.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/metainfo.h"
#include "services/swarm/torrent.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- URLs ---- */

static const struct url_row {
    const char *what, *url;
    bool usable;
    const char *host;
} url_rows[] = {
    { "http", "http://school/x", true, "school" },
    { "https, in capitals, with a port", "HTTPS://[::1]:8443/x/", true, "[::1]:8443" },
    { "a host alone", "http://school", true, "school" },
    { "a password is shown to nobody", "http://me:secret@school/x", true, "school" },
    { "a question", "http://school?x=1", true, "school" },
    { "ftp", "ftp://school/x", false, "" },
    { "a file", "file:///etc/passwd", false, "" },
    { "no host", "http:///x", false, "" },
    { "nothing behind the scheme", "https://", false, "" },
    { "a space", "http://school/a b", false, "" },
    { "a line feed", "http://school/a\nb", false, "" },
    { "bytes that are not ASCII", "http://school/\xc3\xbc", false, "" },
    { "nothing", "", false, "" },
};

static void test_url(void **state)
{
    const struct url_row *row = *state;
    struct webseed_urls urls = { 0 };
    char host[64];
    assert_int_equal(webseed_urls_add(&urls, bytes_of(row->url, strlen(row->url))), row->usable);
    assert_int_equal(urls.count, row->usable);
    if (row->usable) {
        webseed_host(row->url, host, sizeof host);
        assert_string_equal(host, row->host);
    }
    webseed_urls_done(&urls);
}

static void there_are_so_many(void **state)
{
    struct webseed_urls urls = { 0 };
    char url[WEBSEED_URL_SIZE + 1];
    (void)state;
    for (unsigned i = 0; i < 2 * WEBSEEDS_MAX; i++) {
        const int size = snprintf(url, sizeof url, "http://school/%u", i / 2);
        assert_true(webseed_urls_add(&urls, bytes_of(url, (size_t)size)));
    }
    assert_int_equal(urls.count, WEBSEEDS_MAX);
    assert_false(webseed_urls_add(&urls, bytes_of("http://b", 8)));
    webseed_urls_done(&urls);
    memset(url, 'a', sizeof url);
    memcpy(url, "http://", 7);
    assert_false(webseed_urls_add(&urls, bytes_of(url, WEBSEED_URL_SIZE)));
    assert_true(webseed_urls_add(&urls, bytes_of(url, WEBSEED_URL_SIZE - 1)));
    webseed_urls_done(&urls);
}

static const struct file_row {
    const char *what, *url, *path;
    bool is_folder;
    const char *expected;
} file_rows[] = {
    { "a file by its own URL", "http://a/x", "n.iso", false, "http://a/x" },
    { "a file in a folder", "http://a/x/", "n.iso", false, "http://a/x/n.iso" },
    { "a folder", "http://a/x/", "n/b/c", true, "http://a/x/n/b/c" },
    { "a folder without the slash", "http://a/x", "n/c", true, "http://a/x/n/c" },
    { "spaces and the like", "http://a/", "n/a b#?%+&;=", true,
      "http://a/n/a%20b%23%3F%25%2B%26%3B%3D" },
    { "UTF-8", "http://a/", "\xc3\xbc", false, "http://a/%C3%BC" },
    { "the URL is left as it is", "http://a/x%20y/", "n", false, "http://a/x%20y/n" },
};

static void test_file(void **state)
{
    const struct file_row *row = *state;
    char *url = webseed_file_url(row->url, row->path, row->is_folder);
    assert_string_equal(url, row->expected);
    free(url);
}

/* ---- metainfo ---- */

#define INFO "4:infod6:lengthi1e4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae"

static const struct metainfo_row {
    const char *what, *torrent, *read;
} metainfo_rows[] = {
    { "none", "d" INFO "e", "" },
    { "one", "d" INFO "8:url-list8:http://ae", " http://a" },
    { "a list", "d" INFO "8:url-listl8:http://a9:https://bee", " http://a https://b" },
    { "what cannot be used is left out", "d" INFO "8:url-listl7:ftp://ai1ele8:http://aee",
      " http://a" },
    { "an empty string", "d" INFO "8:url-list0:e", "" },
    { "a number", "d" INFO "8:url-listi1ee", "" },
};

static void assert_web_seeds(const struct metainfo *metainfo, const char *expected)
{
    char text[128] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < metainfo->web_seeds.count; i++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, " %s", metainfo->web_seeds.items[i]);
    assert_string_equal(text, expected);
}

static void test_metainfo(void **state)
{
    const struct metainfo_row *row = *state;
    struct metainfo *metainfo = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(metainfo_parse(bytes_of(row->torrent, strlen(row->torrent)), &metainfo, NULL),
                     LB_OK);
    assert_web_seeds(metainfo, row->read);
    metainfo_write_torrent(metainfo, 0, &data, &size);
    metainfo_free(&metainfo);
    assert_int_equal(metainfo_parse(bytes_of(data, size), &metainfo, NULL), LB_OK);
    assert_web_seeds(metainfo, row->read);
    metainfo_free(&metainfo);
    free(data);
}

/* ---- what becomes of it ---- */

static void it_rests_longer_each_time(void **state)
{
    struct webseed seed = { 0 };
    uint64_t now_ms = 1000;
    uint64_t rest_ms = WEBSEED_REST_MIN_MS;
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        assert_true(webseed_is_ready(&seed, now_ms));
        webseed_begin(&seed, i);
        assert_false(webseed_is_ready(&seed, now_ms));
        assert_int_equal(webseed_deadline_ms(&seed), UINT64_MAX);
        webseed_failed(&seed, now_ms);
        assert_int_equal(webseed_deadline_ms(&seed), now_ms + rest_ms);
        assert_false(webseed_is_ready(&seed, now_ms + rest_ms - 1));
        now_ms += rest_ms;
        rest_ms = rest_ms * 2 < WEBSEED_REST_MAX_MS ? rest_ms * 2 : WEBSEED_REST_MAX_MS;
    }
    assert_true(webseed_is_ready(&seed, now_ms));
    webseed_begin(&seed, 0);
    webseed_came(&seed);
    assert_true(webseed_is_ready(&seed, now_ms));
    webseed_failed(&seed, now_ms);
    assert_int_equal(webseed_deadline_ms(&seed), now_ms + WEBSEED_REST_MIN_MS);
}

static void what_is_dropped_stays_so(void **state)
{
    struct webseed seed = { 0 };
    (void)state;
    webseed_drop(&seed);
    webseed_came(&seed);
    webseed_pause(&seed, 0);
    webseed_failed(&seed, 0);
    assert_false(webseed_is_ready(&seed, UINT64_MAX));
    assert_int_equal(webseed_deadline_ms(&seed), UINT64_MAX);
}

/* ---- as a source of a torrent ---- */

#define PIECES 8u
#define BLOCKS 4u

struct world {
    struct random random;
    struct torrent torrent;
};

static void world_init(struct world *self, uint32_t webseeds)
{
    const struct torrent_options options = {
        .peers_max = 10, .peers_wanted = 10, .upload_slots = 4, .announce_interval_ms = 60000
    };
    const struct picker_shape shape = {
        .pieces = PIECES,
        .piece_size = BLOCKS * PICKER_BLOCK_SIZE,
        .total_size = (uint64_t)PIECES * BLOCKS * PICKER_BLOCK_SIZE - 1,
    };
    random_init(&self->random, 1);
    torrent_init(&self->torrent, &options, &self->random, 0);
    torrent_begin(&self->torrent, bytes_of("info", 4), shape, NULL, 0);
    torrent_set_webseeds(&self->torrent, webseeds, 0);
}

static uint32_t take(struct world *self, uint32_t index)
{
    uint32_t piece = PICKER_NOBODY;
    (void)torrent_webseed_take(&self->torrent, index, 0, &piece);
    torrent_check(&self->torrent);
    return piece;
}

static bool has_action(struct world *self, enum torrent_action_kind kind, uint32_t piece)
{
    struct torrent_action action;
    bool found = false;
    while (torrent_next(&self->torrent, 0, &action))
        found |= action.kind == kind && action.message.piece == piece;
    return found;
}

/* The rest of a piece, from this block on. */
static void give_blocks(struct world *self, uint32_t index, uint32_t first)
{
    for (uint32_t i = first; i < BLOCKS; i++)
        assert_int_equal(torrent_webseed_block(&self->torrent, index, i, 0), TORRENT_TAKE);
}

static void give(struct world *self, uint32_t index, uint32_t piece, lb_err result)
{
    give_blocks(self, index, 0);
    assert_true(torrent_webseed_is_done(&self->torrent, index));
    assert_true(has_action(self, TORRENT_VERIFY, piece));
    torrent_webseed_end(&self->torrent, index, 0);
    torrent_verified(&self->torrent, piece, result, 0);
    torrent_check(&self->torrent);
}

static void give_all_but_one(struct world *self, uint32_t index)
{
    for (uint32_t i = 0; i + 1 < PIECES; i++)
        give(self, index, take(self, index), LB_OK);
}

static void alone_they_give_everything(void **state)
{
    struct world world;
    (void)state;
    world_init(&world, 2);
    for (uint32_t i = 0; i < PIECES; i++) {
        const uint32_t piece = take(&world, i % 2);
        assert_int_not_equal(piece, PICKER_NOBODY);
        assert_int_equal(take(&world, i % 2), PICKER_NOBODY);
        give(&world, i % 2, piece, LB_OK);
    }
    assert_true(world.torrent.complete);
    assert_int_equal(take(&world, 0), PICKER_NOBODY);
    torrent_done(&world.torrent);
}

static void who_sends_a_bad_piece_is_never_asked_again(void **state)
{
    struct world world;
    (void)state;
    world_init(&world, 2);
    const uint32_t piece = take(&world, 0);
    give(&world, 0, piece, LB_CORRUPT);
    assert_int_equal(take(&world, 0), PICKER_NOBODY);
    assert_int_equal(world.torrent.stats.banned, 1);
    assert_int_equal(take(&world, 1), piece); /* before anything else */
    torrent_done(&world.torrent);
}

static void the_first_piece_is_judged_before_the_next(void **state)
{
    struct world world;
    (void)state;
    world_init(&world, 1);
    const uint32_t piece = take(&world, 0);
    for (uint32_t i = 0; i < BLOCKS; i++)
        (void)torrent_webseed_block(&world.torrent, 0, i, 0);
    torrent_webseed_end(&world.torrent, 0, 0);
    assert_int_equal(take(&world, 0), PICKER_NOBODY);
    torrent_verified(&world.torrent, piece, LB_OK, 0);
    for (unsigned pieces = 0; pieces < 2; pieces++) { /* not again */
        assert_int_not_equal(take(&world, 0), PICKER_NOBODY);
        for (uint32_t i = 0; i < BLOCKS; i++)
            (void)torrent_webseed_block(&world.torrent, 0, i, 0);
        torrent_webseed_end(&world.torrent, 0, 0);
    }
    torrent_done(&world.torrent);
}

static void what_does_not_come_is_free_for_others(void **state)
{
    struct world world;
    (void)state;
    world_init(&world, 2);
    const uint32_t piece = take(&world, 0);
    assert_int_equal(torrent_webseed_block(&world.torrent, 0, 0, 0), TORRENT_TAKE);
    assert_int_equal(torrent_webseed_block(&world.torrent, 0, 0, 0), TORRENT_DONE);
    torrent_webseed_end(&world.torrent, 0, 0);
    torrent_check(&world.torrent);
    const struct picker_open *open =
        &world.torrent.picker.open[world.torrent.picker.position[piece]];
    assert_int_equal(open->free, BLOCKS - 1);
    assert_int_equal(open->owner, PICKER_NOBODY);
    assert_int_equal(torrent_webseed_block(&world.torrent, 0, 1, 0), TORRENT_DONE);
    torrent_done(&world.torrent);
}

/* The second of two has given all pieces but one, which the first has taken. */
static uint32_t begin_the_last(struct world *self)
{
    world_init(self, 2);
    give_all_but_one(self, 1);
    return take(self, 0);
}

/* The last piece stops half-way: the other goes on where it stopped. */
static void what_is_left_half_way_is_gone_on_with(void **state)
{
    struct world world;
    (void)state;
    const uint32_t piece = begin_the_last(&world);
    assert_int_equal(take(&world, 1), PICKER_NOBODY);
    assert_int_equal(world.torrent.webseeds[1].why, TORRENT_WEBSEED_NOTHING);
    assert_int_equal(torrent_webseed_block(&world.torrent, 0, 0, 0), TORRENT_TAKE);
    torrent_webseed_end(&world.torrent, 0, 0);
    assert_int_equal(take(&world, 1), piece);
    assert_int_equal(torrent_webseed_first(&world.torrent, 1), 1);
    assert_int_equal(take(&world, 0), PICKER_NOBODY);
    give_blocks(&world, 1, 1);
    torrent_verified(&world.torrent, piece, LB_OK, 0);
    assert_true(world.torrent.complete);
    torrent_done(&world.torrent);
}

/* And whoever goes on with it and stops as well leaves it to the others once more. */
static void what_is_left_twice_is_gone_on_with(void **state)
{
    struct world world;
    (void)state;
    const uint32_t piece = begin_the_last(&world);
    for (uint32_t i = 0; i + 1 < BLOCKS; i++) {
        const uint32_t index = i % 2;
        assert_int_equal(torrent_webseed_block(&world.torrent, index, i, 0), TORRENT_TAKE);
        torrent_webseed_end(&world.torrent, index, 0);
        assert_int_equal(take(&world, 1 - index), piece);
        assert_int_equal(torrent_webseed_first(&world.torrent, 1 - index), i + 1);
    }
    torrent_done(&world.torrent);
}

/* One drips: the other takes over its piece, once there is nothing else. */
static void the_last_piece_is_not_left_to_a_slow_one(void **state)
{
    struct world world;
    (void)state;
    world_init(&world, 2);
    const uint32_t slow = take(&world, 0);
    assert_int_equal(torrent_webseed_block(&world.torrent, 0, 0, 0), TORRENT_TAKE);
    torrent_turn(&world.torrent, TORRENT_TURN_MS);
    assert_false(world.torrent.webseeds[0].released); /* there is other work */
    give_all_but_one(&world, 1);
    torrent_turn(&world.torrent, 60 * TORRENT_TURN_MS); /* nothing came meanwhile */
    assert_true(world.torrent.webseeds[0].released);
    assert_int_equal(take(&world, 1), slow);
    give_blocks(&world, 1, 1);
    assert_true(torrent_webseed_is_done(&world.torrent, 0));
    torrent_webseed_end(&world.torrent, 0, 0);
    torrent_verified(&world.torrent, slow, LB_OK, 0);
    assert_true(world.torrent.complete);
    torrent_done(&world.torrent);
}

static void nothing_is_taken_while_paused_or_of_a_piece_given_up(void **state)
{
    struct world world;
    (void)state;
    world_init(&world, 1);
    torrent_pause(&world.torrent, true, 0);
    assert_int_equal(take(&world, 0), PICKER_NOBODY);
    torrent_pause(&world.torrent, false, 0);
    const uint32_t piece = take(&world, 0);
    torrent_abandon(&world.torrent, piece);
    assert_true(torrent_webseed_is_done(&world.torrent, 0));
    assert_int_equal(torrent_webseed_block(&world.torrent, 0, 0, 0), TORRENT_DONE);
    torrent_webseed_end(&world.torrent, 0, 0);
    assert_int_not_equal(take(&world, 0), PICKER_NOBODY);
    torrent_done(&world.torrent);
}

/* Peers that have everything and send; then one piece that none of them has. */
static void peers_that_send_are_enough(void **state)
{
    static const uint8_t all_but_one[] = { 0xfe };
    struct world world;
    uint32_t peers[TORRENT_WEBSEED_PEERS];
    (void)state;
    world_init(&world, 1);
    for (uint32_t i = 0; i < TORRENT_WEBSEED_PEERS; i++) {
        struct wire_handshake handshake = { .peer_id = { (uint8_t)(i + 1) } };
        const struct torrent_hello hello = {
            .address = address_v4(10, 0, 0, (uint8_t)(i + 1), 1),
            .handshake = &handshake,
        };
        const struct wire_message bits = { .kind = WIRE_BITFIELD,
                                           .payload = bytes_of(all_but_one, 1) };
        assert_int_equal(torrent_join(&world.torrent, &hello, 0, &peers[i]), LB_OK);
        (void)torrent_message(&world.torrent, peers[i], &bits, 0);
        (void)torrent_message(&world.torrent, peers[i],
                              &(struct wire_message){ .kind = WIRE_UNCHOKE }, 0);
        ((struct peer *)(uintptr_t)torrent_peer(&world.torrent, peers[i]))->received.per_second = 1;
    }
    assert_int_equal(take(&world, 0), 7);
    torrent_webseed_end(&world.torrent, 0, 0);
    const struct wire_message have = { .kind = WIRE_HAVE, .piece = 7 };
    for (uint32_t i = 0; i < TORRENT_WEBSEED_PEERS; i++)
        (void)torrent_message(&world.torrent, peers[i], &have, 0);
    assert_int_equal(take(&world, 0), PICKER_NOBODY);
    torrent_left(&world.torrent, peers[0], 0);
    assert_int_not_equal(take(&world, 0), PICKER_NOBODY);
    torrent_done(&world.torrent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_so_many),
        cmocka_unit_test(it_rests_longer_each_time),
        cmocka_unit_test(what_is_dropped_stays_so),
        cmocka_unit_test(alone_they_give_everything),
        cmocka_unit_test(who_sends_a_bad_piece_is_never_asked_again),
        cmocka_unit_test(the_first_piece_is_judged_before_the_next),
        cmocka_unit_test(what_does_not_come_is_free_for_others),
        cmocka_unit_test(what_is_left_half_way_is_gone_on_with),
        cmocka_unit_test(what_is_left_twice_is_gone_on_with),
        cmocka_unit_test(the_last_piece_is_not_left_to_a_slow_one),
        cmocka_unit_test(nothing_is_taken_while_paused_or_of_a_piece_given_up),
        cmocka_unit_test(peers_that_send_are_enough),
    };
    int failed = RUN_ROWS(url_rows, test_url);
    failed += RUN_ROWS(file_rows, test_file);
    failed += RUN_ROWS(metainfo_rows, test_metainfo);
    return failed + cmocka_run_group_tests_name("web seeds", tests, NULL, NULL);
}
