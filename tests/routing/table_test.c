#include "services/routing/table.h"

#include "libcommon/random.h"
#include "libcommon/secure_id.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define MIN_MS 60000u
#define NOW_MS (100u * MIN_MS)
#define PLACES TABLE_K
#define OTHER  200 /* number of a contact of another bucket */

struct world {
    struct random random;
    struct table table;
};

/* Contact number n: in bucket 0 of our id (all zero bits), at 10.0.0.n. OTHER stands in bucket 1.
 */
static struct contact contact(unsigned n)
{
    struct contact contact = { .address = address_v4(10, 0, 0, (uint8_t)n, 6881) };

    contact.id.bytes[0] = n == OTHER ? 0x40 : 0x80;
    contact.id.bytes[19] = (uint8_t)n;
    return contact;
}

static struct contact public_contact(unsigned n, uint8_t c, uint8_t d, uint16_t port)
{
    struct contact public = contact(n);

    public.address = address_v4(198, 51, c, d, port);
    return public;
}

static void begin(struct world *world)
{
    const struct node_id self = { { 0 } };

    random_init(&world->random, 1);
    table_init(&world->table, &self, ROUTING_V4, &world->random);
    memset(world->table.top_sizes, PLACES, sizeof(world->table.top_sizes));
}

static void end(struct world *world)
{
    assert_null(table_check(&world->table));
    table_done(&world->table);
}

static enum table_verdict answers(struct world *world, unsigned n, uint64_t now_ms)
{
    struct contact from = contact(n), probe;

    return table_answered(&world->table, &from, 1000, now_ms, &probe);
}

static enum table_verdict silent(struct world *world, unsigned n, uint64_t now_ms)
{
    struct contact from = contact(n);

    return table_silent(&world->table, &from, now_ms);
}

/* One letter per place, oldest first: g good, ? questionable, x bad, . free. Numbers from 1. */
static void draw(struct world *world, const char *places)
{
    for (unsigned i = 0; i < PLACES && places[i] != '.'; i++) {
        answers(world, i + 1, places[i] == 'g' ? NOW_MS - 1000 : NOW_MS - (60 - i) * MIN_MS);
    }
    for (unsigned i = 0; i < PLACES; i++) {
        if (places[i] == 'x') {
            struct table_entry *entry = &world->table.buckets[0]->places.entries[i];
            entry->failures = entry->unanswered = TABLE_FAILURES_BAD;
            entry->failed_ms = NOW_MS - 1000;
            world->table.silent_count++;
        }
    }
}

/* The same picture of what is there; N is contact number 100. */
static void picture(const struct world *world, char ret_places[PLACES + 1])
{
    const struct table_bucket *bucket = world->table.buckets[0];

    memset(ret_places, '.', PLACES);
    ret_places[PLACES] = '\0';
    for (unsigned i = 0; bucket != NULL && i < bucket->places.count; i++) {
        const struct table_entry *entry = &bucket->places.entries[i];
        ret_places[i] =
            entry->contact.id.bytes[19] == 100 ? 'N' : "g?x"[table_entry_state(entry, NOW_MS)];
    }
}

static const struct row {
    const char *what, *before;
    enum table_verdict verdict;
    const char *after;
    unsigned probed; /* number of the contact to ask; 0: none */
    unsigned spares;
} rows[] = {
    { "a free place is taken", "ggg.....", TABLE_ADDED, "gggN....", 0, 0 },
    { "a bad contact gives way", "ggxggggg", TABLE_ADDED, "gggggggN", 0, 0 },
    { "the first bad contact gives way", "gxgxgggg", TABLE_ADDED, "ggxggggN", 0, 0 },
    { "a bad one keeps its place while others are free", "xg......", TABLE_ADDED, "xgN.....", 0,
      0 },
    { "the oldest questionable is asked", "g?g?gggg", TABLE_PROBE, "g?g?gggg", 2, 1 },
    { "good contacts are never displaced", "gggggggg", TABLE_WAITING, "gggggggg", 0, 1 },
    { "questionable ones give way only once bad", "????????", TABLE_PROBE, "????????", 1, 1 },
};

static void a_newcomer_answers(void **state)
{
    const struct row *row = *state;
    struct contact newcomer = contact(100), probe = { 0 };
    struct world world;
    char after[PLACES + 1];

    begin(&world);
    draw(&world, row->before);
    assert_int_equal(table_answered(&world.table, &newcomer, 1000, NOW_MS, &probe), row->verdict);
    picture(&world, after);
    assert_string_equal(after, row->after);
    assert_int_equal(probe.id.bytes[19], row->probed);
    assert_int_equal(world.table.buckets[0]->spares.count, row->spares);
    end(&world);
}

/* Contact 1 of a bucket stays silent; S is a spare that waits, numbers 101 and up. */
static const struct silence_row {
    const char *what, *before;
    unsigned spares;
    const char *story; /* f: failure of 1, o: another node answers, 1: 1 answers; each 10 s later */
    const char *after;
} silence_rows[] = {
    { "one failure makes questionable", "gg......", 0, "f", "?g......" },
    { "two make bad when others answer", "gg......", 0, "fof", "xg......" },
    { "when everything is silent nobody turns bad", "gg......", 0, "fffff", "?g......" },
    { "an answer makes good again", "gg......", 0, "f1", "gg......" },
    { "a bad one that answers is good again", "gg......", 0, "fof1", "gg......" },
    { "a failure after an answer is the first again", "gg......", 0, "fo1f", "?g......" },
    { "a spare takes the place of a bad one", "gggggggg", 1, "fof", "ggggggg+" },
    { "a spare does not while it is only questionable", "gggggggg", 1, "ff", "?ggggggg" },
};

static void a_contact_is_silent(void **state)
{
    const struct silence_row *row = *state;
    uint64_t now_ms = NOW_MS - 200000;
    struct world world;
    char after[PLACES + 1];

    begin(&world);
    for (unsigned i = 0; i < PLACES && row->before[i] == 'g'; i++) {
        answers(&world, i + 1, now_ms);
    }
    for (unsigned i = 0; i < row->spares; i++) {
        assert_int_equal(answers(&world, 101 + i, now_ms), TABLE_WAITING);
    }
    for (const char *step = row->story; *step != '\0'; step++) {
        now_ms += 10000;
        if (*step == 'f') {
            silent(&world, 1, now_ms);
        } else {
            answers(&world, *step == 'o' ? OTHER : 1, now_ms);
        }
        assert_null(table_check(&world.table));
    }
    picture(&world, after);
    for (unsigned i = 0; i < world.table.buckets[0]->places.count; i++) {
        if (world.table.buckets[0]->places.entries[i].contact.id.bytes[19] > 100) {
            after[i] = '+';
        }
    }
    assert_string_equal(after, row->after);
    end(&world);
}

static void failures_close_together_are_one(void **state)
{
    struct world world;

    (void)state;
    begin(&world);
    answers(&world, 1, NOW_MS);
    silent(&world, 1, NOW_MS + 2000);
    answers(&world, OTHER, NOW_MS + 2100);
    silent(&world, 1, NOW_MS + 2200);
    assert_int_equal(world.table.buckets[0]->places.entries[0].failures, 1);
    end(&world);
}

static void ourselves_and_the_unusable_are_refused(void **state)
{
    struct contact self = { .address = address_v4(10, 0, 0, 1, 6881) }, port = contact(1), probe;
    struct contact v6 = contact(2);
    struct world world;

    (void)state;
    begin(&world);
    port.address.port = 0;
    memset(v6.address.ip, 0x20, sizeof(v6.address.ip));
    assert_int_equal(table_answered(&world.table, &self, 0, NOW_MS, &probe), TABLE_REFUSED);
    assert_int_equal(table_answered(&world.table, &port, 0, NOW_MS, &probe), TABLE_REFUSED);
    assert_int_equal(table_answered(&world.table, &v6, 0, NOW_MS, &probe), TABLE_REFUSED);
    assert_int_equal(table_heard(&world.table, &self, NOW_MS, &probe), TABLE_REFUSED);
    assert_int_equal(world.table.count, 0);
    end(&world);
}

/* THREATS 2.4, JOB B19: hearing of a contact never makes it one. */
static void who_only_asks_does_not_enter(void **state)
{
    struct contact from = contact(1), probe = { 0 };
    struct world world;

    (void)state;
    begin(&world);
    assert_int_equal(table_heard(&world.table, &from, NOW_MS, &probe), TABLE_PROBE);
    assert_true(node_id_equal(&probe.id, &from.id));
    assert_int_equal(world.table.count, 0);
    end(&world);
}

static void a_query_of_a_contact_keeps_it_good(void **state)
{
    struct contact from = contact(1), probe;
    struct world world;

    (void)state;
    begin(&world);
    answers(&world, 1, NOW_MS - 20 * MIN_MS);
    assert_int_equal(table_good_count(&world.table, NOW_MS), 0);
    assert_int_equal(table_heard(&world.table, &from, NOW_MS, &probe), TABLE_KEPT);
    assert_int_equal(table_good_count(&world.table, NOW_MS), 1);
    end(&world);
}

/* JOB B29: the same id from two addresses. */
static void the_holder_of_an_id_is_asked_first(void **state)
{
    struct contact rival = contact(1), probe = { 0 };
    struct world world;

    (void)state;
    begin(&world);
    answers(&world, 1, NOW_MS);
    rival.address = address_v4(10, 0, 0, 99, 6881);
    assert_int_equal(table_answered(&world.table, &rival, 0, NOW_MS + 1, &probe), TABLE_CONFLICT);
    assert_int_equal(probe.address.ip[15], 1);
    answers(&world, 1, NOW_MS + 2);
    assert_int_equal(table_answered(&world.table, &rival, 0, NOW_MS + 3, &probe), TABLE_CONFLICT);
    assert_int_equal(world.table.buckets[0]->places.entries[0].contact.address.ip[15], 1);
    end(&world);
}

static void a_holder_that_does_not_answer_loses_its_id(void **state)
{
    struct contact rival = contact(1), probe;
    struct world world;

    (void)state;
    begin(&world);
    answers(&world, 1, NOW_MS);
    rival.address = address_v4(10, 0, 0, 99, 6881);
    assert_int_equal(table_answered(&world.table, &rival, 0, NOW_MS + 1, &probe), TABLE_CONFLICT);
    table_lost_challenge(&world.table, &probe, NOW_MS + 3000);
    assert_int_equal(table_answered(&world.table, &rival, 0, NOW_MS + 3001, &probe), TABLE_ADDED);
    assert_int_equal(world.table.buckets[0]->places.count, 1);
    assert_int_equal(world.table.buckets[0]->places.entries[0].contact.address.ip[15], 99);
    end(&world);
}

static void a_new_id_at_an_address_replaces_the_old_one(void **state)
{
    struct contact fresh = contact(2), probe;
    struct world world;

    (void)state;
    begin(&world);
    answers(&world, 1, NOW_MS);
    fresh.address = contact(1).address;
    assert_int_equal(table_answered(&world.table, &fresh, 0, NOW_MS + 1, &probe), TABLE_ADDED);
    assert_int_equal(world.table.count, 1);
    end(&world);
}

/* THREATS 2.2: on public addresses one contact an IP, and one a /24 in a bucket. */
static void public_addresses_are_limited(void **state)
{
    struct contact first = public_contact(1, 100, 1, 6881), probe;
    struct contact same_ip = public_contact(OTHER, 100, 1, 7000);
    struct contact same_net = public_contact(3, 100, 2, 6881);
    struct contact other_net = public_contact(4, 101, 2, 6881);
    struct world world;

    (void)state;
    begin(&world);
    assert_int_equal(table_answered(&world.table, &first, 0, NOW_MS, &probe), TABLE_ADDED);
    assert_int_equal(table_answered(&world.table, &same_ip, 0, NOW_MS, &probe), TABLE_REFUSED);
    assert_int_equal(table_answered(&world.table, &same_net, 0, NOW_MS, &probe), TABLE_REFUSED);
    assert_int_equal(table_answered(&world.table, &other_net, 0, NOW_MS, &probe), TABLE_ADDED);
    end(&world);
}

static void a_class_behind_one_address_is_not(void **state)
{
    struct world world;

    (void)state;
    begin(&world);
    for (unsigned i = 1; i <= PLACES; i++) {
        struct contact from = contact(i), probe;
        from.address = address_v4(127, 0, 0, 1, (uint16_t)(7000 + i));
        assert_int_equal(table_answered(&world.table, &from, 0, NOW_MS, &probe), TABLE_ADDED);
    }
    end(&world);
}

/* The same for IPv6: one contact an address, one a /64 in a bucket; not inside a site. */
static void nets_of_ipv6_are_limited(void **state)
{
    static const struct {
        const char *address;
        unsigned n;
        enum table_verdict verdict;
    } steps[] = {
        { "[2001:db8:0:1::1]:6881", 1, TABLE_ADDED },
        { "[2001:db8:0:1::1]:7000", OTHER, TABLE_REFUSED },
        { "[2001:db8:0:1::2]:6881", 3, TABLE_REFUSED },
        { "[2001:db8:0:1::2]:6881", OTHER, TABLE_ADDED },
        { "[2001:db8:0:2::2]:6881", 4, TABLE_ADDED },
        { "[fd00::1]:6881", 5, TABLE_ADDED },
        { "[fd00::1]:7000", 6, TABLE_ADDED },
        { "[fd00::2]:6881", 7, TABLE_ADDED },
    };
    struct world world;

    (void)state;
    begin(&world);
    world.table.family = ROUTING_V6;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct contact from = contact(steps[i].n), probe;
        assert_int_equal(address_parse(steps[i].address, &from.address), LB_OK);
        assert_int_equal(table_answered(&world.table, &from, 0, NOW_MS, &probe), steps[i].verdict);
    }
    end(&world);
}

/* A class in one private /24: nobody is refused, however many they are. */
static void a_class_in_one_net_is_not_limited(void **state)
{
    static const unsigned sizes[] = { 3, 20, 254 };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct contact probe;
        struct world world;
        begin(&world);
        memset(world.table.top_sizes, TABLE_TOP_SIZE_MAX, sizeof(world.table.top_sizes));
        for (unsigned n = 1; n <= sizes[i]; n++) {
            struct contact from = contact(n);
            from.id = node_id_random(&world.random);
            from.address = address_v4(192, 168, 1, (uint8_t)n, 6881);
            enum table_verdict verdict = table_answered(&world.table, &from, 0, NOW_MS, &probe);
            assert_true(verdict == TABLE_ADDED || verdict == TABLE_WAITING);
        }
        assert_true(world.table.count * 10 >= sizes[i] * 9);
        end(&world);
    }
}

/*
 * A private network: ids are certified, so what is done to a public subnet, a public IP and an id
 * that fits no address is done no more. Contact `of` answers, after contacts 1 to 3 at 198.51.100.1
 * to 3 have.
 */
static const struct certified_row {
    const char *what;
    unsigned of;
    uint8_t d; /* at 198.51.100.d */
    uint16_t port;
    enum table_verdict open, certified;
} certified_rows[] = {
    { "a second node of a public subnet", 4, 4, 6881, TABLE_REFUSED, TABLE_ADDED },
    { "a second node behind one public address", OTHER, 1, 7000, TABLE_REFUSED, TABLE_ADDED },
    { "the same address under another id", OTHER, 1, 6881, TABLE_ADDED, TABLE_ADDED },
    { "an id that another address has", 1, 9, 6881, TABLE_CONFLICT, TABLE_CONFLICT },
};

static void is_certified(void **state)
{
    const struct certified_row *row = *state;

    for (unsigned certified = 0; certified < 2; certified++) {
        struct contact from, probe;
        struct world world;

        begin(&world);
        world.table.are_certified = certified;
        for (unsigned n = 1; n <= 3; n++) {
            from = public_contact(n, 100, (uint8_t)n, 6881);
            (void)table_answered(&world.table, &from, 0, NOW_MS, &probe);
        }
        assert_int_equal(world.table.count, certified ? 3 : 1);
        from = public_contact(row->of, 100, row->d, row->port);
        assert_int_equal(table_answered(&world.table, &from, 0, NOW_MS, &probe),
                         certified ? row->certified : row->open);
        assert_false(world.table.buckets[0]->places.entries[0].misfit == certified);
        end(&world);
    }
}

/* Who was put out loses its place, and a spare has it; numbers as in draw(). */
static void who_was_put_out_is_forgotten(void **state)
{
    struct contact gone, from = contact(100), probe;
    struct node_id self = { { 0 } };
    struct world world;
    char text[PLACES + 1];

    (void)state;
    begin(&world);
    draw(&world, "gggggggg");
    assert_int_equal(table_answered(&world.table, &from, 0, NOW_MS, &probe), TABLE_WAITING);
    from = contact(3);
    uint64_t version = world.table.version;
    assert_true(table_forget(&world.table, &from.id, &gone));
    assert_true(address_equal(&gone.address, &from.address));
    assert_true(world.table.version > version);
    picture(&world, text);
    assert_string_equal(text, "gggggggN");
    assert_false(table_forget(&world.table, &from.id, &gone));
    assert_false(table_forget(&world.table, &self, &gone));
    end(&world);
}

/* Also of those who wait. */
static void a_spare_that_was_put_out_is_forgotten(void **state)
{
    struct contact gone, from = contact(100), probe;
    struct world world;

    (void)state;
    begin(&world);
    draw(&world, "gggggggg");
    assert_int_equal(table_answered(&world.table, &from, 0, NOW_MS, &probe), TABLE_WAITING);
    assert_true(table_forget(&world.table, &from.id, &gone));
    assert_int_equal(world.table.buckets[0]->spares.count, 0);
    assert_int_equal(world.table.count, PLACES);
    end(&world);
}

/*
 * BEP 42: one letter a place, in the order in which they came: f, its id fits its public address,
 * m, it does not, p, its address is private; N, the new one. Bucket 0 has 8 places.
 */
static const struct fit_row {
    const char *what, *before;
    char newcomer;
    enum table_verdict verdict;
    const char *after;
    const char *spares;
} fit_rows[] = {
    { "a misfit finds a free place", "fff", 'm', TABLE_ADDED, "fffN", "" },
    { "it displaces nobody", "ffffffff", 'm', TABLE_WAITING, "ffffffff", "N" },
    { "nor another misfit", "mmmmmmmm", 'm', TABLE_WAITING, "mmmmmmmm", "N" },
    { "the last misfit that came gives its place to one that fits", "mffmffff", 'f', TABLE_ADDED,
      "mffffffN", "m" },
    { "to a neighbour, too", "fffffffm", 'p', TABLE_ADDED, "fffffffN", "m" },
    { "who fits displaces nobody who does", "ffffffff", 'f', TABLE_WAITING, "ffffffff", "N" },
    { "inside a site nobody is a misfit", "pppppppp", 'p', TABLE_WAITING, "pppppppp", "N" },
};

static struct contact letter_contact(struct world *world, char letter, unsigned n)
{
    struct contact contact = { .address = address_v4(198, 51, (uint8_t)n, 1, 6881) };

    if (letter == 'p') {
        contact.address = address_v4(10, 0, 0, (uint8_t)n, 6881);
    }
    do {
        contact.id = letter == 'm' ? node_id_random(&world->random)
                                   : secure_id_random(&contact.address, &world->random);
    } while (contact.id.bytes[0] < 0x80 ||
             secure_id_fits(&contact.id, &contact.address) != (letter != 'm'));
    return contact;
}

static void letters(const struct table_row *row, const struct node_id *newcomer, char *ret_letters)
{
    for (uint32_t i = 0; i < row->count; i++) {
        const struct table_entry *entry = &row->entries[i];
        ret_letters[i] = node_id_equal(&entry->contact.id, newcomer)   ? 'N'
                         : entry->misfit                               ? 'm'
                         : address_is_private(&entry->contact.address) ? 'p'
                                                                       : 'f';
    }
    ret_letters[row->count] = '\0';
}

static void fits(void **state)
{
    const struct fit_row *row = *state;
    struct contact from, probe;
    struct world world;
    char text[PLACES + 1];

    begin(&world);
    for (unsigned i = 0; row->before[i] != '\0'; i++) {
        from = letter_contact(&world, row->before[i], i + 1);
        assert_int_equal(table_answered(&world.table, &from, 0, NOW_MS, &probe), TABLE_ADDED);
    }
    from = letter_contact(&world, row->newcomer, 100);
    assert_int_equal(table_answered(&world.table, &from, 0, NOW_MS, &probe), row->verdict);
    letters(&world.table.buckets[0]->places, &from.id, text);
    assert_string_equal(text, row->after);
    letters(&world.table.buckets[0]->spares, &from.id, text);
    assert_string_equal(text, row->spares);
    end(&world);
}

/* When a place becomes free the spares that fit come first, whenever they answered. */
static void spares_that_fit_come_first(void **state)
{
    struct contact first, fit, misfit, probe;
    struct world world;
    char text[PLACES + 1];

    (void)state;
    begin(&world);
    for (unsigned i = 0; i < PLACES; i++) {
        first = letter_contact(&world, 'f', i + 1);
        assert_int_equal(table_answered(&world.table, &first, 0, NOW_MS, &probe), TABLE_ADDED);
    }
    fit = letter_contact(&world, 'f', 100);
    misfit = letter_contact(&world, 'm', 101);
    assert_int_equal(table_answered(&world.table, &fit, 0, NOW_MS, &probe), TABLE_WAITING);
    assert_int_equal(table_answered(&world.table, &misfit, 0, NOW_MS + 1, &probe), TABLE_WAITING);
    table_lost_challenge(&world.table, &first, NOW_MS + 2);
    assert_int_equal(table_answered(&world.table, &misfit, 0, NOW_MS + 3, &probe), TABLE_KEPT);
    letters(&world.table.buckets[0]->places, &fit.id, text);
    assert_string_equal(text, "fffffffN");
    end(&world);
}

/* JOB A13: newcomers wait, and a full waiting list draws no pings. */
static void a_full_bucket_asks_nobody(void **state)
{
    struct contact from = contact(150), probe;
    struct world world;

    (void)state;
    begin(&world);
    draw(&world, "gggggggg");
    for (unsigned i = 0; i < TABLE_SPARES_MAX; i++) {
        assert_int_equal(table_heard(&world.table, &from, NOW_MS, &probe), TABLE_PROBE);
        assert_int_equal(answers(&world, 101 + i, NOW_MS), TABLE_WAITING);
    }
    assert_int_equal(table_heard(&world.table, &from, NOW_MS, &probe), TABLE_REFUSED);
    assert_false(table_has_place(&world.table, &from, NOW_MS));
    assert_int_equal(answers(&world, 150, NOW_MS), TABLE_WAITING);
    assert_int_equal(world.table.buckets[0]->spares.count, TABLE_SPARES_MAX);
    end(&world);
}

static void pings_are_due_when_questionable(void **state)
{
    struct contact due;
    struct world world;

    (void)state;
    begin(&world);
    answers(&world, 1, NOW_MS);
    assert_int_equal(table_probe_deadline_ms(&world.table), NOW_MS + TABLE_GOOD_MS);
    assert_false(table_next_probe(&world.table, NOW_MS + TABLE_GOOD_MS - 1, &due));
    assert_true(table_next_probe(&world.table, NOW_MS + TABLE_GOOD_MS, &due));
    assert_false(table_next_probe(&world.table, NOW_MS + TABLE_GOOD_MS, &due));
    silent(&world, 1, NOW_MS + TABLE_GOOD_MS + 2500);
    assert_true(table_probe_deadline_ms(&world.table) > NOW_MS + TABLE_GOOD_MS + 2500);
    assert_true(table_probe_deadline_ms(&world.table) < NOW_MS + TABLE_GOOD_MS + 20000);
    end(&world);
}

/* THREATS 2.27: after a day of silence of it alone a contact is forgotten, not sooner. */
static void the_bad_are_forgotten_after_a_day(void **state)
{
    uint64_t now_ms = NOW_MS;
    struct world world;

    (void)state;
    begin(&world);
    answers(&world, 1, now_ms);
    while (now_ms < NOW_MS + TABLE_FORGET_MS) {
        now_ms += 10u * MIN_MS;
        answers(&world, OTHER, now_ms - 1);
        assert_int_equal(silent(&world, 1, now_ms), TABLE_KEPT);
    }
    answers(&world, OTHER, now_ms + MIN_MS);
    assert_int_equal(silent(&world, 1, now_ms + 2u * MIN_MS), TABLE_UNKNOWN);
    end(&world);
}

static void buckets_are_refreshed_up_to_the_nearest_neighbour(void **state)
{
    struct contact near = contact(1), probe;
    struct world world;
    unsigned bucket;

    (void)state;
    begin(&world);
    assert_false(table_next_refresh(&world.table, NOW_MS, &bucket));
    near.id.bytes[0] = 0x10; /* shares three bits */
    assert_int_equal(table_answered(&world.table, &near, 0, NOW_MS, &probe), TABLE_ADDED);
    assert_int_equal(table_depth(&world.table), 4);
    for (unsigned i = 0; i < 3; i++) {
        struct node_id target = node_id_random_in_bucket(&world.table.self_id, i, &world.random);
        assert_true(table_next_refresh(&world.table, NOW_MS, &bucket));
        assert_int_equal(bucket, i);
        table_touch(&world.table, &target, NOW_MS);
    }
    assert_false(table_next_refresh(&world.table, NOW_MS, &bucket));
    assert_true(table_refresh_deadline_ms(&world.table) > NOW_MS + TABLE_REFRESH_MS / 2);
    assert_true(table_next_refresh(&world.table, NOW_MS + 2 * TABLE_REFRESH_MS, &bucket));
    end(&world);
}

/* Whatever happens, in whatever order, the invariants hold. */
static void a_long_random_life(void **state)
{
    struct contact *sorted, probe;
    struct world world;
    uint64_t now_ms = NOW_MS;

    (void)state;
    begin(&world);
    for (unsigned i = 0; i < 60000; i++) {
        struct contact from = { .address =
                                    address_v4(10, 0, (uint8_t)random_below(&world.random, 2),
                                               (uint8_t)random_below(&world.random, 256), 6881) };
        from.id.bytes[0] = (uint8_t)(1u << random_below(&world.random, 8));
        from.id.bytes[19] = (uint8_t)random_below(&world.random, 32);
        if (random_below(&world.random, 4) == 0) {
            from.address = address_v4(198, 51, (uint8_t)random_below(&world.random, 8),
                                      (uint8_t)random_below(&world.random, 4), 6881);
        }
        now_ms += random_below(&world.random, 5000);
        switch (random_below(&world.random, 5)) {
        case 0:
            (void)table_silent(&world.table, &from, now_ms);
            break;
        case 1:
            (void)table_heard(&world.table, &from, now_ms, &probe);
            break;
        case 2:
            if (table_next_probe(&world.table, now_ms, &probe)) {
                (void)table_silent(&world.table, &probe, now_ms);
            }
            break;
        default:
            if (table_answered(&world.table, &from, 500, now_ms, &probe) == TABLE_CONFLICT) {
                table_lost_challenge(&world.table, &probe, now_ms);
            }
        }
        const char *problem = table_check(&world.table);
        if (problem != NULL) {
            fail_msg("step %u: %s", i, problem);
        }
    }
    sorted = calloc(world.table.count, sizeof(*sorted));
    size_t count = table_sorted(&world.table, sorted);
    assert_true(count > 0);
    for (size_t i = 1; i < count; i++) {
        assert_true(node_id_compare(&sorted[i - 1].id, &sorted[i].id) < 0);
    }
    free(sorted);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_close_together_are_one),
        cmocka_unit_test(ourselves_and_the_unusable_are_refused),
        cmocka_unit_test(who_only_asks_does_not_enter),
        cmocka_unit_test(a_query_of_a_contact_keeps_it_good),
        cmocka_unit_test(the_holder_of_an_id_is_asked_first),
        cmocka_unit_test(a_holder_that_does_not_answer_loses_its_id),
        cmocka_unit_test(a_new_id_at_an_address_replaces_the_old_one),
        cmocka_unit_test(public_addresses_are_limited),
        cmocka_unit_test(a_class_behind_one_address_is_not),
        cmocka_unit_test(nets_of_ipv6_are_limited),
        cmocka_unit_test(a_class_in_one_net_is_not_limited),
        cmocka_unit_test(spares_that_fit_come_first),
        cmocka_unit_test(a_full_bucket_asks_nobody),
        cmocka_unit_test(pings_are_due_when_questionable),
        cmocka_unit_test(the_bad_are_forgotten_after_a_day),
        cmocka_unit_test(buckets_are_refreshed_up_to_the_nearest_neighbour),
        cmocka_unit_test(a_long_random_life),
        cmocka_unit_test(who_was_put_out_is_forgotten),
        cmocka_unit_test(a_spare_that_was_put_out_is_forgotten),
    };

    return RUN_ROWS(rows, a_newcomer_answers) + RUN_ROWS(silence_rows, a_contact_is_silent) +
           RUN_ROWS(fit_rows, fits) + RUN_ROWS(certified_rows, is_certified) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
