/* Ownership: the rule, what follows from it for one worker, and all workers together under a lock.
 */
#include "services/swarm/ownership.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

/* ---- the rule ---- */

static const struct rule_row {
    const char *what;
    uint8_t first, second;
    unsigned active, owner;
} rule_rows[] = {
    { "one worker has everything", 0xff, 0xff, 1, 0 },
    { "the least hash is of the first", 0x00, 0x00, 3, 0 },
    { "the last of the first third", 0x55, 0x55, 3, 0 },
    { "the first of the second third", 0x55, 0x56, 3, 1 },
    { "the greatest hash is of the last", 0xff, 0xff, 3, 2 },
    { "two halves: the lower", 0x7f, 0xff, 2, 0 },
    { "two halves: the upper", 0x80, 0x00, 2, 1 },
    { "sixteen workers go by the first digit", 0xa9, 0x31, 16, 10 },
};

static void test_rule(void **state)
{
    const struct rule_row *row = *state;
    const uint8_t infohash[20] = { row->first, row->second, 0x80 };

    assert_int_equal(ownership_of(infohash, row->active), row->owner);
}

/* ---- one worker ---- */

#define OURS    .ours = true, .ordered = true
#define OTHERS  .ours = false, .ordered = true
#define REMOVED .ours = true, .ordered = false

static const struct step_row {
    const char *what;
    struct ownership_facts facts;
    enum ownership_step step;
} step_rows[] = {
    { "what is ours and absent is taken", { .place = OWNERSHIP_ABSENT, OURS }, OWNERSHIP_TAKE },
    { "what is another's is left alone", { .place = OWNERSHIP_ABSENT, OTHERS }, OWNERSHIP_STAY },
    { "what was removed is not taken", { .place = OWNERSHIP_ABSENT, REMOVED }, OWNERSHIP_STAY },
    { "what another still held is tried again",
      { .place = OWNERSHIP_AWAITED, OURS },
      OWNERSHIP_TAKE },
    { "what was removed meanwhile is not awaited",
      { .place = OWNERSHIP_AWAITED, REMOVED },
      OWNERSHIP_FORGET },
    { "what became another's is not awaited",
      { .place = OWNERSHIP_AWAITED, OTHERS },
      OWNERSHIP_FORGET },
    { "what is held and ours goes on", { .place = OWNERSHIP_HELD, OURS }, OWNERSHIP_STAY },
    { "what is held and another's is handed over",
      { .place = OWNERSHIP_HELD, OTHERS },
      OWNERSHIP_HAND },
    { "what is held needs no file to go on", { .place = OWNERSHIP_HELD, REMOVED }, OWNERSHIP_STAY },
    { "what leaves is not called back", { .place = OWNERSHIP_LEAVING, OURS }, OWNERSHIP_STAY },
    { "what leaves leaves once", { .place = OWNERSHIP_LEAVING, OTHERS }, OWNERSHIP_STAY },
    { "what left and is ours again is taken", { .place = OWNERSHIP_LEFT, OURS }, OWNERSHIP_TAKE },
    { "what left is still listed for a while",
      { .place = OWNERSHIP_LEFT, OTHERS },
      OWNERSHIP_STAY },
    { "what left and is listed elsewhere is forgotten",
      { .place = OWNERSHIP_LEFT, OTHERS, .listed = true },
      OWNERSHIP_FORGET },
    { "a mirror of another's goes on", { .place = OWNERSHIP_MIRROR, OTHERS }, OWNERSHIP_STAY },
    { "a mirror that became ours is taken", { .place = OWNERSHIP_MIRROR, OURS }, OWNERSHIP_TAKE },
};

static void test_step(void **state)
{
    const struct step_row *row = *state;

    assert_int_equal(ownership_step(&row->facts), row->step);
}

/* ---- all workers ---- */

#define WORKERS   5u
#define TRANSFERS 40u
#define NOBODY    WORKERS

struct world {
    struct random random;
    unsigned active;        /* as the page says */
    unsigned seen[WORKERS]; /* as each worker saw it last */
    bool lives[WORKERS];
    enum ownership_place places[WORKERS][TRANSFERS];
    unsigned lock[TRANSFERS]; /* who has it */
    uint8_t infohashes[TRANSFERS][20];
};

static void make_world(struct world *self, uint64_t seed)
{
    memset(self, 0, sizeof *self);
    random_init(&self->random, seed);
    self->active = 1;
    for (unsigned i = 0; i < WORKERS; i++)
        self->seen[i] = 1;
    for (unsigned t = 0; t < TRANSFERS; t++) {
        self->lock[t] = NOBODY;
        for (unsigned k = 0; k < 20; k++)
            self->infohashes[t][k] = (uint8_t)random_below(&self->random, 256);
    }
}

static void step(struct world *self, unsigned worker, unsigned t)
{
    enum ownership_place *place = &self->places[worker][t];
    const struct ownership_facts facts = {
        .place = *place,
        .ours = ownership_of(self->infohashes[t], self->seen[worker]) == worker,
        .ordered = true,
        .listed = random_below(&self->random, 2) == 0,
    };

    switch (ownership_step(&facts)) {
    case OWNERSHIP_STAY:
        break;
    case OWNERSHIP_TAKE:
        *place = self->lock[t] == NOBODY ? OWNERSHIP_HELD : OWNERSHIP_AWAITED;
        if (*place == OWNERSHIP_HELD)
            self->lock[t] = worker;
        break;
    case OWNERSHIP_HAND:
        *place = OWNERSHIP_LEAVING;
        break;
    case OWNERSHIP_FORGET:
        *place = OWNERSHIP_ABSENT;
        break;
    }
}

/* All is on the disk: the lock is given back. */
static void finish_leaving(struct world *self, unsigned worker, unsigned t)
{
    if (self->places[worker][t] != OWNERSHIP_LEAVING)
        return;
    self->places[worker][t] = OWNERSHIP_LEFT;
    self->lock[t] = NOBODY;
}

/* kill -9: the kernel gives its locks back, and it knows nothing any more. */
static void kill_worker(struct world *self, unsigned worker)
{
    self->lives[worker] = false;
    for (unsigned t = 0; t < TRANSFERS; t++) {
        self->places[worker][t] = OWNERSHIP_ABSENT;
        if (self->lock[t] == worker)
            self->lock[t] = NOBODY;
    }
}

static void start_worker(struct world *self, unsigned worker)
{
    self->lives[worker] = true;
    self->seen[worker] = self->active;
}

static void check_locks(const struct world *self)
{
    for (unsigned t = 0; t < TRANSFERS; t++) {
        unsigned writers = 0;

        for (unsigned i = 0; i < WORKERS; i++) {
            const enum ownership_place place = self->places[i][t];
            const bool writes = place == OWNERSHIP_HELD || place == OWNERSHIP_LEAVING;

            writers += writes;
            assert_true(!writes || self->lock[t] == i);
        }
        assert_true(writers <= 1);
    }
}

static void do_something(struct world *self)
{
    const unsigned worker = (unsigned)random_below(&self->random, WORKERS);
    const unsigned t = (unsigned)random_below(&self->random, TRANSFERS);
    const uint64_t what = random_below(&self->random, 100);

    if (what < 2)
        self->active = 1 + (unsigned)random_below(&self->random, WORKERS);
    else if (what < 4)
        kill_worker(self, worker);
    else if (what < 10 && !self->lives[worker])
        start_worker(self, worker);
    else if (what < 20)
        self->seen[worker] = self->active;
    else if (self->lives[worker] && what < 50)
        finish_leaving(self, worker, t);
    else if (self->lives[worker])
        step(self, worker, t);
}

/* Nothing changes any more: a few rounds of everybody looking and finishing. */
static void settle(struct world *self)
{
    for (unsigned round = 0; round < 4; round++)
        for (unsigned i = 0; i < WORKERS; i++) {
            if (!self->lives[i] && i < self->active)
                start_worker(self, i);
            self->seen[i] = self->active;
            for (unsigned t = 0; t < TRANSFERS && self->lives[i]; t++) {
                step(self, i, t);
                finish_leaving(self, i, t);
            }
            check_locks(self);
        }
}

static void whatever_happens_each_has_one_owner(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct world world;

        make_world(&world, seed);
        for (unsigned i = 0; i < 2000; i++) {
            do_something(&world);
            check_locks(&world);
        }
        settle(&world);
        for (unsigned t = 0; t < TRANSFERS; t++) {
            const unsigned owner = ownership_of(world.infohashes[t], world.active);

            assert_int_equal(world.lock[t], owner);
            assert_int_equal(world.places[owner][t], OWNERSHIP_HELD);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_each_has_one_owner),
    };
    int failed = cmocka_run_group_tests_name("ownership", tests, NULL, NULL);

    failed += RUN_ROWS(rule_rows, test_rule);
    failed += RUN_ROWS(step_rows, test_step);
    return failed;
}
