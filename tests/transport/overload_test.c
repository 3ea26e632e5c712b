#include "services/transport/overload.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

/*
 * A worker that answers CAPACITY datagrams a period, first come, first served, from a queue of
 * QUEUE. What arrives in a period comes in a random order: left out by the rules, dropped when the
 * queue is full, else in time counted and answered.
 */
#define CAPACITY 1000u
#define QUEUE    4000u
#define READ     50u  /* datagrams of a read */
#define PERIODS  120u /* of the flood; the first SETTLING are left out of the sums */
#define SETTLING 20u
#define MOST     40000u

#define WAIT_PERCENT 50 /* of a period: what the honest wait for an answer, on average */

enum source_kind { V4, SITE_V6, ONE_64, FORGED };

struct flow {
    enum source_kind kind;
    unsigned sources, each; /* datagrams a period */
};

static const struct row {
    const char *what;
    struct flow flood, honest;
    unsigned honest_percent; /* answered, at least */
    unsigned flood_most;     /* datagrams answered of one flooder in a period, at most */
    unsigned busy_percent;   /* of the capacity used, at least */
    bool rules;              /* there are some */
} rows[] = {
    { "one floods at ten times the capacity", { V4, 1, 10000 }, { V4, 20, 10 }, 98, 850, 85, true },
    { "at forty times", { V4, 1, 39000 }, { V4, 20, 10 }, 98, 850, 85, true },
    { "eight flood", { V4, 8, 1250 }, { V4, 20, 10 }, 98, 110, 85, true },
    { "a hundred flood", { V4, 100, 100 }, { V4, 20, 2 }, 94, 12, 85, true },
    { "one floods, and a class of 200 asks", { V4, 1, 10000 }, { V4, 200, 2 }, 97, 650, 85, true },
    { "one floods, and the others nearly fill it",
      { V4, 1, 10000 },
      { V4, 50, 16 },
      97,
      250,
      90,
      true },
    { "many addresses of a /64 are one", { ONE_64, 500, 20 }, { V4, 20, 10 }, 98, 850, 85, true },
    { "inside a site each is its own",
      { SITE_V6, 1, 10000 },
      { SITE_V6, 20, 10 },
      98,
      850,
      85,
      true },
    { "who floods with forged sources only makes nobody else look heavy",
      { FORGED, 10000, 1 },
      { V4, 20, 10 },
      5,
      1,
      95,
      false },
    { "what is not too much is left alone", { V4, 1, 600 }, { V4, 20, 10 }, 100, 600, 80, false },
    { "what all ask alike is dropped alike", { V4, 50, 40 }, { V4, 50, 40 }, 20, 12, 85, true },
};

struct datagram {
    struct address from;
    bool honest;
    unsigned period; /* when it arrived */
};

struct model {
    struct overload overload;
    struct random random;
    struct datagram arriving[MOST], queue[QUEUE];
    unsigned arriving_count, queue_first, queue_count, period;
    unsigned honest_sent, honest_heard, honest_waited, flood_heard, heard;
};

static struct address source(const struct flow *flow, unsigned number, uint8_t net,
                             struct random *random)
{
    struct address address = { .ip = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, net }, .port = 7 };

    switch (flow->kind) {
    case V4:
        return address_v4(10, net, (uint8_t)(number >> 8), (uint8_t)number, (uint16_t)number);
    case FORGED:
        return address_v4((uint8_t)(1 + random_below(random, 100)), (uint8_t)random_u64(random),
                          (uint8_t)random_u64(random), (uint8_t)random_u64(random), 1);
    case SITE_V6:
        address.ip[0] = 0xfd;
        break;
    case ONE_64:
        break;
    }
    address.ip[14] = (uint8_t)(number >> 8);
    address.ip[15] = (uint8_t)number;
    return address;
}

static void arrive(struct model *self, const struct flow *flow, bool honest)
{
    for (unsigned i = 0; i < flow->sources * flow->each; i++)
        self->arriving[self->arriving_count++] =
            (struct datagram){ source(flow, i / flow->each, honest ? 1 : 0, &self->random), honest,
                               self->period };
}

static void shuffle(struct model *self)
{
    for (unsigned i = self->arriving_count; i > 1; i--) {
        unsigned other = (unsigned)random_below(&self->random, i);
        struct datagram datagram = self->arriving[i - 1];

        self->arriving[i - 1] = self->arriving[other];
        self->arriving[other] = datagram;
    }
}

/* The kernel's part: false when it drops it. */
static bool enqueue(struct model *self, const struct datagram *datagram)
{
    self->honest_sent += datagram->honest;
    if (!overload_admits(&self->overload, &datagram->from, &self->random) ||
        self->queue_count == QUEUE)
        return false;
    self->queue[(self->queue_first + self->queue_count++) % QUEUE] = *datagram;
    return true;
}

/* The worker's. */
static void answer(struct model *self)
{
    const struct datagram *datagram = &self->queue[self->queue_first];

    self->queue_first = (self->queue_first + 1) % QUEUE;
    self->queue_count--;
    if (self->overload.counting)
        overload_count(&self->overload, &datagram->from);
    if (datagram->honest) {
        self->honest_heard++;
        self->honest_waited += self->period - datagram->period;
    } else {
        self->flood_heard++;
    }
    self->heard++;
}

/* A period. Returns whether the rules changed. */
static bool live(struct model *self, const struct flow *flood, const struct flow *honest)
{
    struct overload_period period = { .taken = 0 };
    unsigned reads = 0, short_reads = 0, next = 0;

    self->arriving_count = 0;
    self->period++;
    if (flood)
        arrive(self, flood, false);
    arrive(self, honest, true);
    shuffle(self);
    for (unsigned slot = 0; slot < CAPACITY; slot++) {
        for (; next < (slot + 1) * self->arriving_count / CAPACITY; next++)
            period.dropped += !enqueue(self, &self->arriving[next]);
        if (slot % READ == 0) {
            reads++;
            short_reads += self->queue_count < READ;
        }
        if (self->queue_count > 0) {
            answer(self);
            period.taken++;
        }
    }
    period.busy = 10 * short_reads <= reads;
    if (!overload_end_period(&self->overload, &period))
        return false;
    if (self->overload.stale)
        self->queue_count = 0;
    return true;
}

static void forget(struct model *self)
{
    self->honest_sent = self->honest_heard = self->honest_waited = 0;
    self->flood_heard = self->heard = 0;
}

static void shares(void **state)
{
    static struct model model;
    const struct row *row = *state;
    const unsigned periods = PERIODS - SETTLING;

    memset(&model, 0, sizeof(model));
    random_init(&model.random, 9);
    overload_init(&model.overload, 4);
    for (unsigned i = 0; i < PERIODS; i++) {
        if (i == SETTLING)
            forget(&model);
        live(&model, &row->flood, &row->honest);
    }
    assert_int_equal(model.overload.rules_count > 0, row->rules);
    assert_in_range(100 * model.honest_heard / model.honest_sent, row->honest_percent, 100);
    assert_in_range(model.flood_heard / periods / row->flood.sources, 0, row->flood_most);
    assert_in_range(100 * model.heard / periods / CAPACITY, row->busy_percent, 100);
    if (row->rules)
        assert_in_range(100 * model.honest_waited / model.honest_heard, 0, WAIT_PERCENT);
    /* What is over is over once the queue is empty; then nothing is counted any more. */
    for (unsigned i = 0; i < QUEUE / CAPACITY + 2; i++)
        live(&model, NULL, &row->honest);
    if (row->honest.sources * row->honest.each < CAPACITY) {
        assert_int_equal(model.overload.rules_count, 0);
        forget(&model);
        for (unsigned i = 0; i < OVERLOAD_CALM; i++)
            assert_false(live(&model, NULL, &row->honest));
        assert_int_equal(model.honest_heard, model.honest_sent);
        assert_false(model.overload.counting);
    }
    overload_done(&model.overload);
}

/* The same flood without the rules: what they are for. */
static void without_rules_all_lose_alike(void **state)
{
    static struct model model;
    const struct flow flood = { V4, 1, 10000 }, honest = { V4, 20, 10 };

    (void)state;
    memset(&model, 0, sizeof(model));
    random_init(&model.random, 9);
    overload_init(&model.overload, 4);
    for (unsigned i = 0; i < PERIODS; i++) {
        live(&model, &flood, &honest);
        model.overload.rules_count = 0;
    }
    assert_in_range(100 * model.honest_heard / model.honest_sent, 5, 15);
    overload_done(&model.overload);
}

/* Of a flooder that goes on and off each rule ends with the period after it. */
static void who_stops_flooding_is_heard_in_full(void **state)
{
    static struct model model;
    const struct flow flood = { V4, 1, 10000 }, modest = { V4, 1, 50 }, honest = { V4, 20, 10 };

    (void)state;
    memset(&model, 0, sizeof(model));
    random_init(&model.random, 9);
    overload_init(&model.overload, 4);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 10; i++)
            live(&model, &flood, &honest);
        assert_int_equal(model.overload.rules_count, 1);
        for (unsigned i = 0; i < QUEUE / CAPACITY + 2; i++)
            live(&model, &modest, &honest);
        forget(&model);
        for (unsigned i = 0; i < 5; i++)
            assert_false(live(&model, &modest, &honest));
        assert_int_equal(model.flood_heard, 250);
    }
    overload_done(&model.overload);
}

static void a_burst_that_came_too_fast_is_no_overload(void **state)
{
    const struct overload_period burst = { .taken = 1000, .dropped = 15, .busy = true };
    struct overload overload;

    (void)state;
    overload_init(&overload, 4);
    assert_false(overload_end_period(&overload, &burst));
    assert_false(overload.counting);
    overload_done(&overload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_all_lose_alike),
        cmocka_unit_test(who_stops_flooding_is_heard_in_full),
        cmocka_unit_test(a_burst_that_came_too_fast_is_no_overload),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, shares);
}
