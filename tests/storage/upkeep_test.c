#include "libcommon/memory.h"
#include "tests/storage/upkeep_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAR_S 100000u /* a check that is not due in any story */

/*
 * A story is a line of steps, ids are the first bytes of ids in hex:
 *
 *   view:10,20-2f    who is in the view now
 *   key:11           this key is held; key:11@50 with its check due at 50 s, key:11!50 ending then
 *   10.has 10.no 10.foreign 10.foreign-has 10.silent
 *                    how that contact answers; of our kind and wanting all unless said
 *   lacking fail gone may-drop
 *                    how checks are answered from now on; nothing lacking unless said
 *   share:00-7f      the store answers for these keys alone: others see to the rest
 *   drain            begin to drain
 *   at:40            time goes on to 40 s after the start; what is done till then is traced
 *   -> TRACE         all that was done; the rest of the line
 */
static const struct row {
    const char *what;
    unsigned self;
    const char *story;
} rows[] = {
    { "the first other node is offered all there is", 0x10,
      "key:11 key:77 at:40 view:80 at:60 -> ping:80 offer:80(11,77) put:80(11) put:80(77)" },
    { "who is met while the table fills is served when it has", 0x10,
      "key:11 at:5 view:80 at:9 at:12 -> ping:80 offer:80(11) put:80(11)" },
    { "... once", 0x10, "view:80 at:40 key:11 view:80 at:60 ->" },
    { "the nearest holder offers within a second", 0x10,
      "view:20 at:40 key:11 view:20,80 at:41 -> ping:80 offer:80(11) put:80(11)" },
    { "the second waits ten seconds", 0x20,
      "view:10 at:40 key:11 view:10,80 at:49 at:52 -> ping:80 offer:80(11) put:80(11)" },
    { "... and costs a digest when the first has served it", 0x20,
      "view:10 at:40 key:11 view:10,80 at:45 80.has at:52 -> ping:80 offer:80(11)" },
    { "the third leaves it to the checks", 0x20, "view:10,12 at:40 key:11 view:10,12,80 at:80 ->" },
    { "each key goes by its own holders", 0x20,
      "view:10,12 at:40 key:11 key:22 view:10,12,80 at:80 -> ping:80 offer:80(22) put:80(22)" },
    { "who comes 20th closest is offered it", 0x10,
      "view:20-31 at:40 key:11 view:20-31,80 at:41 -> ping:80 offer:80(11) put:80(11)" },
    { "who comes 21st is not", 0x10, "view:20-32 at:40 key:11 view:20-32,80 at:80 ->" },
    { "who comes nearest of all is", 0x10,
      "view:20-3f at:40 key:11 view:11,20-3f at:41 -> ping:11 offer:11(11) put:11(11)" },
    { "who pushes us out gets it from those nearest, not from us", 0x10,
      "view:81-93 at:40 key:80 view:81-94 at:80 ->" },
    { "two that come together are not counted on to serve each other", 0x20,
      "view:40 at:40 key:11 view:10,40,80 at:41 -> "
      "ping:10 offer:10(11) put:10(11) ping:80 offer:80(11) put:80(11)" },
    { "what it declines is not sent", 0x10,
      "key:11 at:40 80.no view:80 at:60 -> ping:80 offer:80(11)" },
    { "what it has is not sent", 0x10,
      "key:11 at:40 80.has view:80 at:60 -> ping:80 offer:80(11)" },
    { "a node of another kind is asked key by key", 0x10,
      "key:11 key:12 at:40 80.foreign view:80 at:60 -> "
      "ping:80 get:80(11) put:80(11) get:80(12) put:80(12)" },
    { "... and what it has is not put", 0x10,
      "key:11 at:40 80.foreign-has view:80 at:60 -> ping:80 get:80(11)" },
    { "a silent one is asked three times, then no more", 0x10,
      "key:11 at:40 80.silent view:80 at:90 -> ping:80 ping:80 ping:80" },
    { "who went and came back is new", 0x10,
      "view:80 at:40 key:11 view: at:50 view:80 at:60 -> ping:80 offer:80(11) put:80(11)" },
    { "who left before its turn is forgotten", 0x20,
      "view:10 at:40 key:11 view:10,80 at:45 view:10 at:80 ->" },
    { "no key, no datagram", 0x10, "at:40 view:80 at:80 ->" },
    { "what ends in half a minute is not brought anywhere", 0x10,
      "key:11!65 key:12 at:40 view:80 at:60 -> ping:80 offer:80(12) put:80(12)" },

    { "a key that is due is checked", 0x10, "view:80 at:40 key:11@700 at:701 -> check:11 set:11" },
    { "... not before", 0x10, "view:80 at:40 key:11@700 at:699 ->" },
    { "the one due first is first", 0x10,
      "view:80 at:40 key:11@720 key:12@705 at:730 -> check:12 set:12 check:11 set:11" },
    { "a check that failed is made again after a minute", 0x10,
      "fail view:80 at:40 key:11@700 at:750 at:790 -> check:11 set:11 check:11 set:11" },
    { "the interval is ten minutes while something is lacking", 0x10,
      "lacking view:80 at:40 key:11@700 at:1100 at:1320 -> check:11 set:11 check:11 set:11" },
    { "... and twenty after a calm check", 0x10,
      "view:80 at:40 key:11@700 at:1590 at:1910 -> check:11 set:11 check:11 set:11" },
    { "a key we are not responsible for is dropped once k others have it", 0x10,
      "may-drop view:80 at:40 key:11@700 at:5000 -> check:11 drop:11" },
    { "a key that went meanwhile is no matter", 0x10,
      "gone view:80 at:40 key:11@700 at:700 -> check:11" },
    { "what ends in half a minute is not checked", 0x10, "view:80 at:40 key:11@700!720 at:701 ->" },

    { "of the keys that several processes share out we check ours", 0x10,
      "share:00-7f view:80 at:40 key:11@700 key:90@700 at:705 -> check:11 set:11" },
    { "when our share shrinks what is another's is left to it", 0x10,
      "view:80 at:40 key:11@700 key:90@700 share:00-7f at:705 -> check:11 set:11" },
    { "when it grows what is late already is checked within half a minute", 0x10,
      "share:00-7f view:80 at:40 key:90@45 at:80 share:00-ff at:111 -> check:90 set:90" },
    { "... and who came within the last minute is served anew", 0x10,
      "share:00-7f at:40 key:11 key:90 view:80 at:60 80.has share:00-ff at:62 -> "
      "ping:80 offer:80(11) put:80(11) ping:80 offer:80(11,90)" },
    { "... not who was there before", 0x10,
      "share:00-7f at:40 key:11 key:90 view:80 at:101 share:00-ff at:120 -> "
      "ping:80 offer:80(11) put:80(11)" },
    { "draining: each hands over its share", 0x10,
      "share:00-7f view:20 at:40 key:11 key:90 drain at:45 -> ping:20 offer:20(11) put:20(11)" },
    { "draining: with fewer than 20 others each is offered all", 0x10,
      "view:20,80 at:40 key:11 key:50 drain at:45 -> "
      "ping:20 offer:20(11,50) put:20(11) put:20(50) ping:80 offer:80(11,50) put:80(11) "
      "put:80(50)" },
    { "draining: who is 20th without us gets it, and its neighbours for safety", 0x10,
      "view:20-38 at:40 key:11 28.has 2a.no 2d.no drain at:45 -> ping:28 offer:28(11) "
      "ping:2b offer:2b(11) put:2b(11) ping:2a offer:2a(11) ping:2d offer:2d(11)" },
    { "draining: of 20 others the last two", 0x10,
      "view:80-93 at:40 key:11 drain at:45 -> ping:8f offer:8f(11) put:8f(11) ping:8e "
      "offer:8e(11) put:8e(11)" },
    { "draining: keys near to us go first", 0x10,
      "view:20 at:40 key:90 key:11 key:18 drain at:45 -> "
      "ping:20 offer:20(11,18,90) put:20(11) put:20(18) put:20(90)" },
    { "draining: a silent heir is not waited for", 0x10,
      "view:20,80 at:40 key:11 20.silent drain at:45 -> ping:20 ping:80 offer:80(11) put:80(11)" },
    { "draining: nobody is there", 0x10, "key:11 at:40 drain at:45 ->" },
    { "draining: newcomers and checks are not seen to any more", 0x10,
      "key:11@700 at:699 drain at:700 view:80 at:900 ->" },
};

/* ---- telling a story ---- */

struct teller {
    struct upkeep_world world;
    bool is_draining;
};

static void take_view(struct teller *self, const char *text)
{
    struct contact contacts[256];
    uint32_t count = 0;

    while (*text != '\0') {
        char *end;
        unsigned first = (unsigned)strtoul(text, &end, 16);
        unsigned last = *end == '-' ? (unsigned)strtoul(end + 1, &end, 16) : first;

        for (unsigned byte = first; byte <= last; byte++)
            contacts[count++] =
                (struct contact){ .id = upkeep_world_id(byte),
                                  .address = address_v4(10, 0, 0, (uint8_t)byte, 6881) };
        text = *end == ',' ? end + 1 : end;
    }
    upkeep_view(self->world.upkeep, ROUTING_V4, contacts, count, self->world.now_ms);
}

static void take_key(struct teller *self, const char *text)
{
    char *end;
    struct upkeep_item item = { .target = upkeep_world_id((unsigned)strtoul(text, &end, 16)),
                                .seq = 7,
                                .ends_s = WORLD_BEGIN_S + 10 * FAR_S,
                                .check_s = WORLD_BEGIN_S + FAR_S };

    if (*end == '@')
        item.check_s = WORLD_BEGIN_S + strtoul(end + 1, &end, 10);
    if (*end == '!')
        item.ends_s = WORLD_BEGIN_S + strtoul(end + 1, &end, 10);
    upkeep_world_hold(&self->world, &item);
}

static void take_share(struct teller *self, const char *text)
{
    char *end;

    self->world.share_first = (unsigned)strtoul(text, &end, 16);
    self->world.share_last = (unsigned)strtoul(end + 1, &end, 16);
    upkeep_shared(self->world.upkeep, self->world.now_ms);
}

static void take_manners(struct teller *self, const char *word)
{
    static const char *const names[] = {
        [MANNERS_HAS] = "has",         [MANNERS_DECLINES] = "no",
        [MANNERS_FOREIGN] = "foreign", [MANNERS_FOREIGN_HAS] = "foreign-has",
        [MANNERS_SILENT] = "silent",
    };
    char *end;
    unsigned byte = (unsigned)strtoul(word, &end, 16);

    for (unsigned i = 1; i < sizeof names / sizeof *names; i++) {
        if (*end == '.' && strcmp(end + 1, names[i]) == 0) {
            self->world.manners[byte] = (enum manners)i;
            return;
        }
    }
    fail_msg("not a word of a story: %s", word);
}

static void take_word(struct teller *self, const char *word)
{
    struct upkeep_check *check = &self->world.check;

    if (strncmp(word, "view:", 5) == 0)
        take_view(self, word + 5);
    else if (strncmp(word, "key:", 4) == 0)
        take_key(self, word + 4);
    else if (strncmp(word, "share:", 6) == 0)
        take_share(self, word + 6);
    else if (strncmp(word, "at:", 3) == 0)
        upkeep_world_run(&self->world, (WORLD_BEGIN_S + strtoul(word + 3, NULL, 10)) * 1000);
    else if (strcmp(word, "lacking") == 0)
        check->lacking = 1;
    else if (strcmp(word, "fail") == 0)
        check->err = LB_UNAVAILABLE;
    else if (strcmp(word, "gone") == 0)
        check->gone = true;
    else if (strcmp(word, "may-drop") == 0)
        check->may_drop = true;
    else if (strcmp(word, "drain") == 0)
        upkeep_drain(self->world.upkeep);
    else
        take_manners(self, word);
    self->is_draining = self->is_draining || strcmp(word, "drain") == 0;
}

static void story_is_told(void **state)
{
    static struct teller teller;
    const struct row *row = *state;
    char text[400];
    char *rest = text;
    char *word;

    snprintf(text, sizeof text, "%s", row->story);
    memset(&teller, 0, sizeof teller);
    upkeep_world_init(&teller.world, row->self, 1);
    while ((word = strtok_r(rest, " ", &rest)) != NULL && strcmp(word, "->") != 0)
        take_word(&teller, word);
    assert_non_null(word);
    assert_string_equal(teller.world.trace, rest != NULL ? rest : "");
    assert_int_equal(upkeep_is_drained(teller.world.upkeep), teller.is_draining);
    upkeep_world_done(&teller.world);
}

/* ---- what others say ---- */

/* Seconds from now; the least interval is 600 s, the longest 3600 s. */
static const struct postpone_row {
    const char *what;
    int64_t checked_s, check_s; /* of the key */
    uint8_t calm;
    uint32_t chk_s;
    int64_t least_s, most_s; /* where its check is then */
    uint8_t calm_after;
} postpone_rows[] = {
    { "another's check puts ours off until a little after its next", -600, 30, 0, 1200, 1200, 1500,
      1 },
    { "ours is not made sooner", -600, 2000, 0, 600, 2000, 2000, 0 },
    { "less than the least interval counts as the least", -600, 30, 0, 1, 600, 750, 0 },
    { "more than the longest counts as the longest", -600, 30, 0, 4000000000u, 3600, 4500, 3 },
    { "a liar puts it off for three longest intervals, not for ever", -10000, 30, 0, 3600, 800, 800,
      3 },
    { "... then no more", -10800, 30, 0, 3600, 30, 30, 0 },
    { "a little later is not worth a write", -600, 700, 0, 600, 700, 700, 0 },
    { "calm is learnt, not forgotten", -600, 30, 3, 600, 600, 750, 3 },
};

static void check_is_put_off(void **state)
{
    const struct postpone_row *row = *state;
    static struct upkeep_world world;

    for (uint64_t seed = 0; seed < 100; seed++) {
        uint64_t now_s = WORLD_BEGIN_S;
        struct upkeep_item item = { .checked_s = now_s + (uint64_t)row->checked_s,
                                    .check_s = now_s + (uint64_t)row->check_s,
                                    .calm = row->calm };
        bool changed;

        upkeep_world_init(&world, 0x10, seed);
        changed = upkeep_postpone(world.upkeep, &item, row->chk_s, now_s);
        assert_in_range(item.check_s - now_s, row->least_s, row->most_s);
        assert_int_equal(item.calm, row->calm_after);
        assert_int_equal(changed, item.check_s != now_s + (uint64_t)row->check_s);
        upkeep_world_done(&world);
    }
}

static const struct need_row {
    const char *what;
    int held; /* the number held; -1: none */
    uint64_t seen, offered;
    unsigned nearer; /* how many are nearer than we */
    bool is_full;
    char need;
} need_rows[] = {
    { "what is not here is wanted", -1, 0, 5, 19, false, UPKEEP_WANTS },
    { "an immutable item that is not here is wanted", -1, 0, 0, 19, false, UPKEEP_WANTS },
    { "what is here is not", 5, 0, 5, 19, false, UPKEEP_HAS },
    { "an immutable item that is here is not", 0, 0, 0, 19, false, UPKEEP_HAS },
    { "a newer one is", 4, 0, 5, 19, false, UPKEEP_WANTS },
    { "an older one is not", 6, 0, 5, 19, false, UPKEEP_HAS },
    { "what was seen newer is not taken older", -1, 6, 5, 19, false, UPKEEP_DECLINES },
    { "what was seen as new is taken again", -1, 5, 5, 19, false, UPKEEP_WANTS },
    { "what others are nearer to is not wanted", -1, 0, 5, 22, false, UPKEEP_DECLINES },
    { "... two more may be, who offers it may be leaving", -1, 0, 5, 21, false, UPKEEP_WANTS },
    { "a newer one of what is here is, though others are nearer", 4, 0, 5, 22, false,
      UPKEEP_WANTS },
    { "without room nothing is wanted", -1, 0, 5, 19, true, UPKEEP_DECLINES },
};

static void digest_is_answered(void **state)
{
    const struct need_row *row = *state;
    static struct teller teller;
    const struct upkeep_digest digest = { .target = upkeep_world_id(0x81), .seq = row->offered };
    const struct upkeep_item held = { .seq = (uint64_t)row->held };
    char view[16];

    upkeep_world_init(&teller.world, 0x10, 1);
    snprintf(view, sizeof view, "81-%02x", 0x80 + row->nearer);
    take_view(&teller, view);
    assert_int_equal(upkeep_need(teller.world.upkeep, &digest, row->held >= 0 ? &held : NULL,
                                 row->seen, !row->is_full),
                     row->need);
    upkeep_world_done(&teller.world);
}

/* ---- pace ---- */

static struct node_id random_id(struct random *random)
{
    return node_id_random(random);
}

static void hold_many(struct upkeep_world *world, unsigned count, uint64_t check_s,
                      struct random *random)
{
    for (unsigned i = 0; i < count; i++) {
        const struct upkeep_item item = { .target = random_id(random),
                                          .ends_s = WORLD_BEGIN_S + 10 * FAR_S,
                                          .check_s = check_s };

        upkeep_world_hold(world, &item);
    }
}

static void set_one_newcomer(struct upkeep_world *world)
{
    const struct contact contact = { .id = upkeep_world_id(0x80),
                                     .address = address_v4(10, 0, 0, 1, 6881) };

    upkeep_view(world->upkeep, ROUTING_V4, &contact, 1, world->now_ms);
}

static void hand_over_keeps_its_pace(void **state)
{
    static struct upkeep_world world;
    struct random random;
    uint64_t begin_ms;

    (void)state;
    random_init(&random, 4);
    upkeep_world_init(&world, 0x10, 1);
    hold_many(&world, 4000, WORLD_BEGIN_S + FAR_S, &random);
    upkeep_world_run(&world, world.now_ms + 40000);
    set_one_newcomer(&world);
    begin_ms = world.now_ms;
    for (unsigned second = 1; world.begun[UPKEEP_PUT] < 4000; second++) {
        upkeep_world_run(&world, begin_ms + second * 1000);
        world.trace[0] = '\0';
        assert_true(world.begun[UPKEEP_PUT] <= UPKEEP_PUTS_S * (second + 1));
        assert_true(world.begun[UPKEEP_OFFER] <= UPKEEP_OFFERS_S * (second + 1));
        assert_true(second < 30);
    }
    assert_int_equal(world.begun[UPKEEP_OFFER], 4000 / UPKEEP_DIGESTS_MAX);
    upkeep_world_done(&world);
}

static const struct restart_row {
    const char *what;
    unsigned overdue;
    unsigned after_s;
    unsigned least, most; /* checks begun by then */
} restart_rows[] = {
    { "after a restart 600 overdue checks take ten minutes", 600, 300, 290, 301 },
    { "... and are made then", 600, 601, 600, 600 },
    { "a few do not wait so long for each other", 5, 150, 5, 5 },
    { "nor do they all come at once", 5, 30, 0, 2 },
    { "more than five a second are not begun", 4000, 10, 48, 51 },
};

static void restart_makes_no_storm(void **state)
{
    const struct restart_row *row = *state;
    static struct upkeep_world world;
    struct random random;

    random_init(&random, 5);
    upkeep_world_init(&world, 0x10, 1);
    hold_many(&world, row->overdue, WORLD_BEGIN_S - 1000, &random);
    for (unsigned second = 1; second <= row->after_s; second++) {
        upkeep_world_run(&world, (WORLD_BEGIN_S + second) * 1000ull);
        world.trace[0] = '\0';
    }
    assert_in_range(world.begun[UPKEEP_CHECK], row->least, row->most);
    upkeep_world_done(&world);
}

static void four_checks_are_under_way_at_most(void **state)
{
    static struct upkeep_world world;
    struct random random;

    (void)state;
    random_init(&random, 6);
    upkeep_world_init(&world, 0x10, 1);
    hold_many(&world, 100, WORLD_BEGIN_S + 700, &random);
    world.holds_back = true;
    upkeep_world_run(&world, (WORLD_BEGIN_S + 900) * 1000ull);
    assert_int_equal(world.begun[UPKEEP_CHECK], UPKEEP_CHECKS_MAX);
    upkeep_world_done(&world);
}

/* Whoever puts many short-lived items must not keep the others from being checked. */
static void what_is_about_to_end_does_not_stand_in_the_way(void **state)
{
    static struct upkeep_world world;
    struct random random;
    struct upkeep_item item;

    (void)state;
    random_init(&random, 9);
    upkeep_world_init(&world, 0x10, 1);
    hold_many(&world, 100, WORLD_BEGIN_S + 690, &random);
    for (size_t i = 0; i < world.keys_count; i++)
        world.keys[i].ends_s = WORLD_BEGIN_S + 710;
    upkeep_world_run(&world, (WORLD_BEGIN_S + 709) * 1000ull);
    assert_int_equal(world.begun[UPKEEP_CHECK], 0);
    world.keys_count = 0; /* they have ended */
    item = (struct upkeep_item){ .target = upkeep_world_id(0x11),
                                 .ends_s = WORLD_BEGIN_S + FAR_S,
                                 .check_s = WORLD_BEGIN_S + 700 };
    upkeep_world_hold(&world, &item);
    upkeep_world_run(&world, (WORLD_BEGIN_S + 740) * 1000ull);
    assert_int_equal(world.begun[UPKEEP_CHECK], 1);
    upkeep_world_done(&world);
}

/* The id has changed while a check was under way: its result is of another key. */
static void what_was_asked_for_another_id_is_ignored(void **state)
{
    static struct upkeep_world before;
    static struct upkeep_world world;
    const struct upkeep_check check = { .nodes = 20, .holders = 20, .may_drop = true };
    struct upkeep_action old;
    struct upkeep_action checking;
    struct random random;

    (void)state;
    random_init(&random, 10);
    upkeep_world_init(&before, 0x20, 1);
    upkeep_world_init(&world, 0x10, 2);
    hold_many(&before, 1, WORLD_BEGIN_S + 700, &random);
    hold_many(&world, 1, WORLD_BEGIN_S + 700, &random);
    upkeep_world_run(&before, (WORLD_BEGIN_S + 699) * 1000ull);
    upkeep_world_run(&world, (WORLD_BEGIN_S + 699) * 1000ull);
    assert_true(upkeep_next(before.upkeep, before.now_ms + 1000, &old));
    assert_true(upkeep_next(world.upkeep, world.now_ms + 1000, &checking));
    assert_int_equal(old.step, UPKEEP_CHECK);
    assert_int_equal(checking.step, UPKEEP_CHECK);
    upkeep_checked(world.upkeep, old.ticket, &check, world.now_ms + 1000);
    assert_false(upkeep_next(world.upkeep, world.now_ms + 1000, &checking));
    upkeep_world_done(&before);
    upkeep_world_done(&world);
}

static int by_id(const void *a, const void *b)
{
    const struct contact *x = a;
    const struct contact *y = b;

    return node_id_compare(&x->id, &y->id);
}

/* The half of the network that is near to us has gone, as at the end of a lesson. */
static void silent_heirs_leave_room_for_those_who_answer(void **state)
{
    static struct upkeep_world world;
    struct contact contacts[300];
    struct random random;

    (void)state;
    random_init(&random, 11);
    upkeep_world_init(&world, 0x10, 1);
    hold_many(&world, 400, WORLD_BEGIN_S + FAR_S, &random);
    for (unsigned i = 0; i < 300; i++)
        contacts[i] =
            (struct contact){ .id = random_id(&random),
                              .address = address_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, 1) };
    qsort(contacts, 300, sizeof *contacts, by_id);
    for (unsigned byte = 0; byte < 0x80; byte++)
        world.manners[byte] = MANNERS_SILENT;
    upkeep_view(world.upkeep, ROUTING_V4, contacts, 300, world.now_ms);
    upkeep_drain(world.upkeep);
    for (unsigned step = 0; step < 100; step++) {
        upkeep_world_run(&world, world.now_ms + 100);
        world.trace[0] = '\0';
    }
    assert_true(upkeep_is_drained(world.upkeep));
    assert_true(world.begun[UPKEEP_PUT] > 400);
    upkeep_world_done(&world);
}

static void what_a_full_disk_refused_is_not_looked_up_over_and_over(void **state)
{
    static struct upkeep_world world;
    struct upkeep_action action;
    struct random random;
    unsigned checks = 0;

    (void)state;
    random_init(&random, 7);
    upkeep_world_init(&world, 0x10, 1);
    hold_many(&world, 1, WORLD_BEGIN_S + 700, &random);
    for (unsigned second = 690; second < 820; second++) {
        world.now_ms = (WORLD_BEGIN_S + second) * 1000ull;
        while (upkeep_next(world.upkeep, world.now_ms, &action)) {
            const struct upkeep_check check = { .nodes = 20, .holders = 20 };

            checks += action.step == UPKEEP_CHECK;
            if (action.step == UPKEEP_CHECK)
                upkeep_checked(world.upkeep, action.ticket, &check, world.now_ms);
            else
                upkeep_written(world.upkeep, action.ticket, false, world.now_ms);
        }
    }
    assert_int_equal(checks, 2);
    upkeep_world_done(&world);
}

static void what_comes_late_is_ignored(void **state)
{
    static struct teller teller;
    struct upkeep_world *world = &teller.world;
    const struct upkeep_check check = { .nodes = 20, .holders = 20 };
    const struct upkeep_answer silence = { .outcome = UPKEEP_SILENT };
    struct upkeep_action checking;
    struct upkeep_action pinging;

    (void)state;
    upkeep_world_init(world, 0x10, 1);
    take_key(&teller, "11@700");
    upkeep_world_run(world, (WORLD_BEGIN_S + 699) * 1000ull);
    set_one_newcomer(world);
    world->now_ms += 2000;
    assert_true(upkeep_next(world->upkeep, world->now_ms, &checking));
    assert_int_equal(checking.step, UPKEEP_CHECK);
    assert_true(upkeep_next(world->upkeep, world->now_ms, &pinging));
    assert_int_equal(pinging.step, UPKEEP_PING);
    upkeep_drain(world->upkeep);
    upkeep_checked(world->upkeep, checking.ticket, &check, world->now_ms);
    upkeep_written(world->upkeep, checking.ticket, true, world->now_ms);
    upkeep_answered(world->upkeep, pinging.ticket, &silence, world->now_ms);
    upkeep_answered(world->upkeep, UINT32_MAX, &silence, world->now_ms);
    assert_null(upkeep_broken(world->upkeep));
    upkeep_world_run(world, world->now_ms + 5000);
    assert_string_equal(world->trace, "ping:80 offer:80(11) put:80(11)");
    assert_int_equal(upkeep_stats(world->upkeep).checks, 0);
    upkeep_world_done(world);
}

static void the_last_checks_are_the_figures(void **state)
{
    static struct upkeep_world world;
    struct random random;

    (void)state;
    random_init(&random, 8);
    upkeep_world_init(&world, 0x10, 1);
    assert_int_equal(upkeep_stats(world.upkeep).samples, 0);
    hold_many(&world, 2, WORLD_BEGIN_S + 700, &random);
    hold_many(&world, 62, WORLD_BEGIN_S + 702, &random);
    hold_many(&world, 2, WORLD_BEGIN_S + 802, &random);
    world.check.holders = 3;
    upkeep_world_run(&world, (WORLD_BEGIN_S + 701) * 1000ull);
    world.check.holders = 19;
    upkeep_world_run(&world, (WORLD_BEGIN_S + 801) * 1000ull);
    assert_int_equal(upkeep_stats(world.upkeep).samples, UPKEEP_SAMPLES);
    assert_int_equal(upkeep_stats(world.upkeep).replicas_min, 4);
    assert_int_equal(upkeep_stats(world.upkeep).replicas_median, 20);
    upkeep_world_run(&world, (WORLD_BEGIN_S + 900) * 1000ull);
    assert_int_equal(upkeep_stats(world.upkeep).samples, UPKEEP_SAMPLES);
    assert_int_equal(upkeep_stats(world.upkeep).replicas_min, 20);
    assert_int_equal(upkeep_stats(world.upkeep).checks, 66);
    upkeep_world_done(&world);
}

/* ---- the oracle ---- */

/*
 * Networks whose nodes all know each other: which transfers are due when some come is plain. For
 * each key and each newcomer that is among its k closest: an offer by the nearest of those that
 * were there, one by the second, and no other.
 */
static const struct network_row {
    const char *what;
    unsigned nodes, keys, newcomers;
    uint64_t seed;
} network_rows[] = {
    { "2 nodes and one that comes", 2, 100, 1, 1 },
    { "19 nodes and one", 19, 200, 1, 2 },
    { "20 nodes and one", 20, 200, 1, 3 },
    { "30 nodes and one", 30, 300, 1, 4 },
    { "60 nodes and three at once", 60, 300, 3, 5 },
    { "100 nodes and ten at once", 100, 400, 10, 6 },
    { "300 nodes and one", 300, 1000, 1, 7 },
    { "300 nodes and five at once", 300, 1000, 5, 8 },
    { "1000 nodes and one", 1000, 1000, 1, 9 },
    { "1000 nodes and two at once", 1000, 1000, 2, 10 },
};

struct network {
    unsigned nodes, keys, newcomers;
    struct contact *contacts; /* of all, unsorted: the newcomers last */
    struct node_id *targets;
    struct upkeep_world **worlds; /* of those that were there */
    uint8_t *offers;              /* node x key x newcomer: how often */
};

static uint8_t *offers_of(const struct network *self, unsigned node, unsigned key, unsigned coming)
{
    return &self->offers[(node * self->keys + key) * self->newcomers + coming];
}

/* The nearest to a key of the first `count` nodes, by brute force, nearest first. */
static unsigned nearest(const struct network *self, unsigned count, unsigned key,
                        unsigned ret_nodes[UPKEEP_K])
{
    unsigned used = 0;

    for (unsigned node = 0; node < count; node++) {
        const struct node_id *id = &self->contacts[node].id;
        unsigned at = used;

        while (at > 0 && node_id_compare_distance(&self->targets[key], id,
                                                  &self->contacts[ret_nodes[at - 1]].id) < 0)
            at--;
        if (at == UPKEEP_K)
            continue;
        used += used < UPKEEP_K;
        memmove(&ret_nodes[at + 1], &ret_nodes[at], (used - at - 1) * sizeof *ret_nodes);
        ret_nodes[at] = node;
    }
    return used;
}

static bool is_one_of(const unsigned *nodes, unsigned count, unsigned node)
{
    for (unsigned i = 0; i < count; i++) {
        if (nodes[i] == node)
            return true;
    }
    return false;
}

static void show_all_but(struct network *self, unsigned node, unsigned count)
{
    struct contact *sorted = xcalloc(count, sizeof *sorted);
    uint32_t used = 0;

    for (unsigned i = 0; i < count; i++) {
        if (i != node)
            sorted[used++] = self->contacts[i];
    }
    qsort(sorted, used, sizeof *sorted, by_id);
    upkeep_view(self->worlds[node]->upkeep, ROUTING_V4, sorted, used, self->worlds[node]->now_ms);
    free(sorted);
}

static unsigned newcomer_of(const struct network *self, const struct node_id *id)
{
    for (unsigned i = 0; i < self->newcomers; i++) {
        if (node_id_equal(&self->contacts[self->nodes + i].id, id))
            return i;
    }
    fail_msg("something is sent to a node that was there");
    return 0;
}

static unsigned key_of(const struct network *self, const struct node_id *target)
{
    for (unsigned i = 0; i < self->keys; i++) {
        if (node_id_equal(&self->targets[i], target))
            return i;
    }
    fail_msg("a key that nobody holds is offered");
    return 0;
}

static void run_node(struct network *self, unsigned node, uint64_t until_ms)
{
    static const uint8_t token[] = "token";
    struct upkeep_world *world = self->worlds[node];
    struct upkeep_action action;
    char need[UPKEEP_DIGESTS_MAX];
    struct upkeep_answer answer = { .outcome = UPKEEP_DONE,
                                    .littlebird = true,
                                    .need = need,
                                    .token = token,
                                    .token_size = sizeof token };

    memset(need, UPKEEP_HAS, sizeof need);
    while (world->now_ms <= until_ms) {
        while (upkeep_next(world->upkeep, world->now_ms, &action)) {
            unsigned coming = newcomer_of(self, &action.contact.id);

            for (size_t i = 0; i < action.digests_count; i++)
                ++*offers_of(self, node, key_of(self, &action.digests[i].target), coming);
            answer.need_size = action.digests_count;
            upkeep_answered(world->upkeep, action.ticket, &answer, world->now_ms);
        }
        if (upkeep_deadline_ms(world->upkeep) > until_ms)
            break;
        if (upkeep_deadline_ms(world->upkeep) > world->now_ms)
            world->now_ms = upkeep_deadline_ms(world->upkeep);
    }
    world->now_ms = until_ms;
}

static void set_up_network(struct network *self, const struct network_row *row)
{
    struct random random;

    random_init(&random, row->seed);
    *self = (struct network){ row->nodes, row->keys, row->newcomers, NULL, NULL, NULL, NULL };
    self->contacts = xcalloc(row->nodes + row->newcomers, sizeof *self->contacts);
    self->targets = xcalloc(row->keys, sizeof *self->targets);
    self->worlds = xcalloc(row->nodes, sizeof *self->worlds);
    self->offers = xcalloc((size_t)row->nodes * row->keys * row->newcomers, 1);
    for (unsigned i = 0; i < row->nodes + row->newcomers; i++) {
        self->contacts[i].id = random_id(&random);
        self->contacts[i].address = address_v4(10, 0, (uint8_t)(i / 256), (uint8_t)i, 6881);
    }
    for (unsigned i = 0; i < row->keys; i++)
        self->targets[i] = random_id(&random);
    for (unsigned i = 0; i < row->nodes; i++) {
        struct upkeep_world *world = self->worlds[i] = xcalloc(1, sizeof *world);
        const struct upkeep_options options = { .self_id = self->contacts[i].id,
                                                .store = upkeep_world_store(world),
                                                .check_least_s = 600,
                                                .seed = i };

        world->now_ms = WORLD_BEGIN_S * 1000ull;
        world->upkeep = upkeep_new(&options, world->now_ms);
    }
}

static void deal_out_keys(struct network *self)
{
    for (unsigned key = 0; key < self->keys; key++) {
        const struct upkeep_item item = { .target = self->targets[key],
                                          .ends_s = WORLD_BEGIN_S + 10 * FAR_S,
                                          .check_s = WORLD_BEGIN_S + FAR_S };
        unsigned holders[UPKEEP_K];
        unsigned count;

        count = nearest(self, self->nodes, key, holders);
        for (unsigned i = 0; i < count; i++)
            upkeep_world_hold(self->worlds[holders[i]], &item);
    }
}

static void compare_with_the_oracle(struct network *self)
{
    for (unsigned key = 0; key < self->keys; key++) {
        unsigned before[UPKEEP_K];
        unsigned after[UPKEEP_K];
        unsigned before_count = nearest(self, self->nodes, key, before);
        unsigned after_count = nearest(self, self->nodes + self->newcomers, key, after);

        for (unsigned coming = 0; coming < self->newcomers; coming++) {
            bool is_due = is_one_of(after, after_count, self->nodes + coming);

            for (unsigned i = 0; i < self->nodes; i++) {
                bool offers = is_due && is_one_of(before, before_count < 2 ? before_count : 2, i);

                assert_int_equal(*offers_of(self, i, key, coming), offers);
            }
        }
    }
}

static void offers_are_those_of_the_oracle(void **state)
{
    struct network network;

    set_up_network(&network, *state);
    for (unsigned i = 0; i < network.nodes; i++) {
        show_all_but(&network, i, network.nodes);
        run_node(&network, i, (WORLD_BEGIN_S + 40) * 1000ull);
    }
    deal_out_keys(&network);
    for (unsigned i = 0; i < network.nodes; i++) {
        show_all_but(&network, i, network.nodes + network.newcomers);
        run_node(&network, i, (WORLD_BEGIN_S + 80) * 1000ull);
    }
    compare_with_the_oracle(&network);
    for (unsigned i = 0; i < network.nodes; i++) {
        upkeep_free(&network.worlds[i]->upkeep);
        free(network.worlds[i]);
    }
    free(network.worlds);
    free(network.contacts);
    free(network.targets);
    free(network.offers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hand_over_keeps_its_pace),
        cmocka_unit_test(four_checks_are_under_way_at_most),
        cmocka_unit_test(what_is_about_to_end_does_not_stand_in_the_way),
        cmocka_unit_test(what_was_asked_for_another_id_is_ignored),
        cmocka_unit_test(silent_heirs_leave_room_for_those_who_answer),
        cmocka_unit_test(what_a_full_disk_refused_is_not_looked_up_over_and_over),
        cmocka_unit_test(what_comes_late_is_ignored),
        cmocka_unit_test(the_last_checks_are_the_figures),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(rows, story_is_told);
    failed += RUN_ROWS(postpone_rows, check_is_put_off);
    failed += RUN_ROWS(need_rows, digest_is_answered);
    failed += RUN_ROWS(restart_rows, restart_makes_no_storm);
    return failed + RUN_ROWS(network_rows, offers_are_those_of_the_oracle);
}
