#include "services/transport/transactions.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_SIZE 512
#define NODES      3

/*
 * A script against the clock. Words: a letter asks that node; A, B, C is its answer to the oldest
 * query sent to it; "+N" lets N ms pass, during which what is due happens; "once-a" asks once only;
 * "hold-a" asks where there is no way to yet, "hold-once-a" once only, "open-a" says there is one;
 * "A!" answers with the right id from another address; "?" answers with an id nobody gave. The
 * trace has a line for each event: its virtual millisecond and what happened.
 */
static const struct row {
    const char *what, *script, *trace;
} rows[] = {
    { "an answer ends a query", "a +30 A +5000", "0 sent a|30 answered a 30ms|" },
    { "a node not known is asked again after a second", "a +999 +1 A",
      "0 sent a|1000 resent a|1000 answered a 1000ms|" },
    { "and given up after two and a half", "a +5000", "0 sent a|1000 resent a|2500 silent a|" },
    { "an answer to the first copy ends both", "a +1200 A +5000",
      "0 sent a|1000 resent a|1200 answered a 1200ms|" },
    { "a near node is given up sooner", "a +1 A a +5000",
      "0 sent a|1 answered a 1ms|1 sent a|101 resent a|601 silent a|" },
    { "a node at 200 ms is waited for 600", "a +200 A a +5000",
      "0 sent a|200 answered a 200ms|200 sent a|800 resent a|2000 silent a|" },
    { "one that has become slow teaches us", "a +10 A a +400 A a +400 A +1",
      "0 sent a|10 answered a 10ms|10 sent a|110 resent a|410 answered a 400ms|410 sent a|"
      "810 answered a 400ms|" },
    { "what one node showed says nothing of another", "a +1 A b +500",
      "0 sent a|1 answered a 1ms|1 sent b|" },
    { "a late answer is told apart, once", "a +3000 A A",
      "0 sent a|1000 resent a|2500 silent a|3000 late a 3000ms|3000 strange|" },
    { "and makes us wait longer", "a +1 A a +900 A a +900",
      "0 sent a|1 answered a 1ms|1 sent a|101 resent a|601 silent a|901 late a 900ms|901 sent a|" },
    { "after a minute it is strange", "a +70000 A",
      "0 sent a|1000 resent a|2500 silent a|70000 strange|" },
    { "an id nobody gave is strange", "a ? A", "0 sent a|0 strange|0 answered a 0ms|" },
    { "an answer from elsewhere changes nothing", "a +10 A! A",
      "0 sent a|10 strange|10 answered a 10ms|" },
    { "an answer comes twice", "a +10 A A", "0 sent a|10 answered a 10ms|10 strange|" },
    { "answers may overtake each other", "a b c +10 C A B",
      "0 sent a|0 sent b|0 sent c|10 answered c 10ms|10 answered a 10ms|10 answered b 10ms|" },
    { "once means once", "once-a +5000", "0 sent a|2500 silent a|" },
    { "what is held is sent when there is a way", "hold-a +40 open-a +0 +30 A",
      "0 held a|40 resent a|70 answered a 30ms|" },
    { "and waits for its answer as any other", "hold-a +2000 open-a +0 +5000",
      "0 held a|2000 resent a|3000 resent a|4500 silent a|" },
    { "without a way it is given up", "hold-a +5000", "0 held a|2500 silent a|" },
    { "held and to be asked once, it is sent once", "hold-once-a +40 open-a +0 +5000",
      "0 held a|40 resent a|2540 silent a|" },
    { "another way, and what waits is sent again", "a +50 open-a +0 +5 A",
      "0 sent a|50 resent a|55 answered a 5ms|" },
    { "but not what is to be asked once", "once-a +50 open-a +0 +5000", "0 sent a|2500 silent a|" },
    { "a way to one is none to another", "hold-a b +40 open-b +0 +100 open-a +0",
      "0 held a|0 sent b|40 resent b|140 resent a|" },
    { "what is full says so", "a a a a a", "0 sent a|0 sent a|0 sent a|0 sent a|0 full|" },
    { "and has room again", "a a a a A a",
      "0 sent a|0 sent a|0 sent a|0 sent a|0 answered a 0ms|"
      "0 sent a|" },
    { "the earliest deadline comes first", "a +1 A b a +5000",
      "0 sent a|1 answered a 1ms|1 sent b|1 sent a|101 resent a|601 silent a|1001 resent b|"
      "2501 silent b|" },
};

struct world {
    struct transactions transactions;
    struct random random;
    uint64_t now_us;
    char trace[TRACE_SIZE];
    uint8_t ids[NODES][16][KRPC_OWN_TRANSACTION]; /* asked, in order; answered from the front */
    unsigned asked[NODES], answered[NODES];
};

static void note(struct world *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct world *self, const char *format, ...)
{
    size_t used = strlen(self->trace);
    va_list arguments;

    used += (size_t)snprintf(self->trace + used, TRACE_SIZE - used, "%llu ",
                             (unsigned long long)self->now_us / 1000);
    va_start(arguments, format);
    used += (size_t)vsnprintf(self->trace + used, TRACE_SIZE - used, format, arguments);
    va_end(arguments);
    snprintf(self->trace + used, TRACE_SIZE - used, "|");
}

static struct address address_of(unsigned node)
{
    return address_v4(10, 0, 0, (uint8_t)(1 + node), 6881);
}

static char letter_of(const struct address *address)
{
    return (char)('a' + address->ip[15] - 1);
}

static struct bytes id_of(struct bytes datagram)
{
    struct krpc_message message;

    assert_int_equal(krpc_decode(datagram, &message), LB_OK);
    return message.transaction;
}

static void ask(struct world *self, unsigned node, bool once, bool is_held)
{
    const struct node_id self_id = { { 1 } };
    const struct krpc_query query = { .method = KRPC_PING, .id = &self_id };
    const struct contact to = { .address = address_of(node) };
    const struct transaction_start start = {
        .query = &query, .to = &to, .is_held = is_held, .once = once
    };
    struct bytes datagram;
    lb_err err = transactions_start(&self->transactions, &start, self->now_us, &datagram);

    if (err == LB_FULL) {
        note(self, "full");
        return;
    }
    assert_int_equal(err, LB_OK);
    memcpy(self->ids[node][self->asked[node]++ % 16], id_of(datagram).data, KRPC_OWN_TRANSACTION);
    note(self, "%s %c", is_held ? "held" : "sent", letter_of(&to.address));
}

static void answer(struct world *self, struct bytes id, const struct address *from)
{
    struct transaction_end end;

    switch (transactions_answer(&self->transactions, id, from, self->now_us, &end)) {
    case TRANSACTION_ANSWERED:
        note(self, "answered %c %ums", letter_of(&end.expected.address), end.rtt_us / 1000);
        break;
    case TRANSACTION_LATE:
        note(self, "late %c %ums", letter_of(&end.expected.address), end.rtt_us / 1000);
        break;
    case TRANSACTION_STRANGE:
        note(self, "strange");
        break;
    }
}

/* The oldest not answered, or the last one again. */
static void answer_from(struct world *self, unsigned node, bool elsewhere)
{
    struct address from = address_of(node);
    unsigned index = self->answered[node];

    if (index == self->asked[node])
        index--;
    else if (!elsewhere)
        self->answered[node]++;
    if (elsewhere)
        from.port++;
    answer(self, bytes_of(self->ids[node][index % 16], KRPC_OWN_TRANSACTION), &from);
}

static void pass(struct world *self, uint64_t ms)
{
    uint64_t until_us = self->now_us + 1000 * ms;
    struct transaction_end end;
    struct bytes datagram;

    while (transactions_deadline_us(&self->transactions) <= until_us) {
        self->now_us = transactions_deadline_us(&self->transactions);
        switch (transactions_next(&self->transactions, self->now_us, &end, &datagram)) {
        case TRANSACTION_RESEND:
            note(self, "resent %c", letter_of(&end.expected.address));
            break;
        case TRANSACTION_SILENT:
            note(self, "silent %c", letter_of(&end.expected.address));
            break;
        case TRANSACTION_NOTHING:
            note(self, "a deadline without an event");
            break;
        }
        transactions_check(&self->transactions);
    }
    self->now_us = until_us;
}

static void act(struct world *self, const char *word)
{
    const uint8_t strange[KRPC_OWN_TRANSACTION] = { 1, 2, 3, 4 };
    struct address from = address_of(0);

    const struct address opened =
        address_of(strncmp(word, "open-", 5) == 0 ? (unsigned)(word[5] - 'a') : 0);

    if (word[0] == '+')
        pass(self, strtoull(word + 1, NULL, 10));
    else if (word[0] == '?')
        answer(self, bytes_of(strange, sizeof(strange)), &from);
    else if (strncmp(word, "once-", 5) == 0)
        ask(self, (unsigned)(word[5] - 'a'), true, false);
    else if (strncmp(word, "hold-once-", 10) == 0)
        ask(self, (unsigned)(word[10] - 'a'), true, true);
    else if (strncmp(word, "hold-", 5) == 0)
        ask(self, (unsigned)(word[5] - 'a'), false, true);
    else if (strncmp(word, "open-", 5) == 0)
        transactions_opened(&self->transactions, &opened, self->now_us);
    else if (word[0] >= 'a')
        ask(self, (unsigned)(word[0] - 'a'), false, false);
    else
        answer_from(self, (unsigned)(word[0] - 'A'), word[1] == '!');
    transactions_check(&self->transactions);
}

static void runs(void **state)
{
    const struct row *row = *state;
    struct world *self = calloc(1, sizeof(*self));
    char script[128], *save = NULL;

    random_init(&self->random, 7);
    transactions_init(&self->transactions,
                      (struct transactions_limits){ .queries_max = 4, .rtts_max = 16 },
                      &self->random);
    snprintf(script, sizeof(script), "%s", row->script);
    for (char *word = strtok_r(script, " ", &save); word; word = strtok_r(NULL, " ", &save))
        act(self, word);
    assert_string_equal(self->trace, row->trace);
    transactions_done(&self->transactions);
    free(self);
}

/* Many at once, ended in every order, with every invariant checked on the way. */
static void invariants_hold_under_load(void **state)
{
    const struct node_id self_id = { { 1 } };
    const struct krpc_query query = { .method = KRPC_PING, .id = &self_id };
    struct transactions transactions;
    struct random random, ids;
    struct {
        uint8_t id[KRPC_OWN_TRANSACTION];
        struct address from;
    } open[64];
    unsigned count = 0;
    uint64_t now_us = 0;

    (void)state;
    random_init(&random, 3);
    random_init(&ids, 4);
    transactions_init(&transactions,
                      (struct transactions_limits){ .queries_max = 64, .rtts_max = 16 }, &ids);
    for (int i = 0; i < 20000; i++) {
        struct transaction_end end;
        struct bytes datagram;

        if (random_below(&random, 2) == 0) {
            const struct contact to = { .address = address_v4(
                                            10, 0, 0, (uint8_t)random_below(&random, 200), 1) };
            const struct transaction_start start = { .query = &query, .to = &to };
            lb_err err = transactions_start(&transactions, &start, now_us, &datagram);

            assert_int_equal(err, transactions.count <= 64 && err == LB_OK ? LB_OK : LB_FULL);
            if (err == LB_OK) {
                memcpy(open[count % 64].id, id_of(datagram).data, KRPC_OWN_TRANSACTION);
                open[count++ % 64].from = to.address;
            }
        } else if (count > 0) {
            unsigned index = (unsigned)random_below(&random, count < 64 ? count : 64);

            transactions_answer(&transactions, bytes_of(open[index].id, KRPC_OWN_TRANSACTION),
                                &open[index].from, now_us, &end);
        }
        now_us += random_below(&random, 50000);
        while (transactions_next(&transactions, now_us, &end, &datagram) != TRANSACTION_NOTHING)
            ;
        transactions_check(&transactions);
    }
    transactions_done(&transactions);
}

static void all_are_cancelled(void **state)
{
    struct world *self = calloc(1, sizeof(*self));
    struct transaction_end end;
    unsigned count = 0;

    (void)state;
    random_init(&self->random, 7);
    transactions_init(&self->transactions,
                      (struct transactions_limits){ .queries_max = 4, .rtts_max = 16 },
                      &self->random);
    ask(self, 0, false, false);
    ask(self, 1, false, false);
    ask(self, 2, false, false);
    while (transactions_cancel(&self->transactions, &end))
        count++;
    assert_int_equal(count, 3);
    assert_true(transactions_deadline_us(&self->transactions) == UINT64_MAX);
    transactions_check(&self->transactions);
    transactions_done(&self->transactions);
    free(self);
}

static void the_round_trip_times_kept_are_bounded(void **state)
{
    struct world *self = calloc(1, sizeof(*self));
    unsigned known = 0;

    (void)state;
    random_init(&self->random, 7);
    transactions_init(&self->transactions,
                      (struct transactions_limits){ .queries_max = 4, .rtts_max = 16 },
                      &self->random);
    for (unsigned node = 0; node < 200; node++) {
        const struct node_id self_id = { { 1 } };
        const struct krpc_query query = { .method = KRPC_PING, .id = &self_id };
        const struct contact to = { .address = address_of(node) };
        const struct transaction_start start = { .query = &query, .to = &to };
        struct transaction_end end;
        struct bytes datagram;

        assert_int_equal(transactions_start(&self->transactions, &start, self->now_us, &datagram),
                         LB_OK);
        self->now_us += node % 2 == 0 ? 400000 : 1000; /* of a third nobody knows what to expect */
        assert_int_equal(transactions_answer(&self->transactions, id_of(datagram), &to.address,
                                             self->now_us, &end),
                         TRANSACTION_ANSWERED);
    }
    for (unsigned node = 0; node < 200; node++) {
        struct address address = address_of(node);

        known += transactions_wait_us(&self->transactions, &address) != TRANSACTIONS_WAIT_FIRST_US;
    }
    assert_in_range(known, 1, 16);
    transactions_done(&self->transactions);
    free(self);
}

/* Where all answer soon, one not known is expected to, once enough have. */
static void all_together_tell_of_one_not_known(void **state)
{
    static const struct {
        uint32_t rtt_ms, wait_ms;
    } nets[] = { { 1, 100 }, { 50, 150 }, { 150, 450 }, { 700, 1000 } };

    (void)state;
    for (unsigned net = 0; net < 4; net++) {
        struct world *self = calloc(1, sizeof(*self));
        const struct address stranger = address_of(99);

        random_init(&self->random, 7);
        transactions_init(&self->transactions,
                          (struct transactions_limits){ .queries_max = 4, .rtts_max = 16 },
                          &self->random);
        for (unsigned node = 0; node < TRANSACTIONS_SAMPLES_LEAST; node++) {
            const struct node_id self_id = { { 1 } };
            const struct krpc_query query = { .method = KRPC_PING, .id = &self_id };
            const struct contact to = { .address = address_of(node) };
            const struct transaction_start start = { .query = &query, .to = &to };
            struct transaction_end end;
            struct bytes datagram;

            assert_int_equal(transactions_wait_us(&self->transactions, &stranger),
                             TRANSACTIONS_WAIT_FIRST_US);
            assert_int_equal(
                transactions_start(&self->transactions, &start, self->now_us, &datagram), LB_OK);
            self->now_us += 1000 * nets[net].rtt_ms;
            assert_int_equal(transactions_answer(&self->transactions, id_of(datagram), &to.address,
                                                 self->now_us, &end),
                             TRANSACTION_ANSWERED);
        }
        assert_in_range(transactions_wait_us(&self->transactions, &stranger),
                        1000 * nets[net].rtt_ms, 1000 * nets[net].wait_ms);
        transactions_done(&self->transactions);
        free(self);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_together_tell_of_one_not_known),
        cmocka_unit_test(invariants_hold_under_load),
        cmocka_unit_test(all_are_cancelled),
        cmocka_unit_test(the_round_trip_times_kept_are_bounded),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, runs);
}
