/*
 * How a deny list spreads: what one node does, and 200 of them with a virtual clock, sessions with
 * a few others each, losses, a partition, and liars.
 */
#include "services/member/rumour.h"

#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/sim/calendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one node ---- */

static struct contact contact_of(unsigned number)
{
    struct contact contact = { .address = address_v4(10, 0, (uint8_t)(number >> 8), (uint8_t)number,
                                                     6881) };

    contact.id.bytes[0] = (uint8_t)(number >> 8);
    contact.id.bytes[1] = (uint8_t)number;
    return contact;
}

static unsigned number_of(const struct node_id *id)
{
    return (unsigned)(id->bytes[0] << 8 | id->bytes[1]);
}

static uint8_t byte_of(uint64_t number, uint32_t at)
{
    return (uint8_t)(number * 31 + at * 7 + at / 900);
}

static void fill(uint64_t number, uint32_t offset, uint32_t size, uint8_t *ret_data)
{
    for (uint32_t i = 0; i < size; i++) {
        ret_data[i] = byte_of(number, offset + i);
    }
}

static uint32_t part_of(uint32_t size, uint32_t offset)
{
    return size - offset < RUMOUR_PART_BYTES ? size - offset : RUMOUR_PART_BYTES;
}

/*
 * Steps: a 1 to 9: node A (or b: B) says it has that number; S 1 to 9: ours is that now; . ten
 * seconds go by; p: the oldest part asked for comes; q: it comes altered; l: it does not come; z:
 * it comes with another size. Trace: T n: told to all; r n: told to one; A n OFFSET/900: a part of
 * A's is asked for; W: whole.
 */
static const struct row {
    const char *what, *steps, *trace;
} rows[] = {
    { "a lower or equal number is nothing", "S5 a5 a4", "T5" },
    { "a higher one is fetched", "S5 . a7 . p p p", "T5 r5 A7:0 A7:1 A7:2 W" },
    { "what is told twice is fetched once", "S5 . a7 a7 . p p p", "T5 r5 A7:0 A7:1 A7:2 W" },
    { "two that have it: the second is asked after a while", "S5 . a7 . b7 . p",
      "T5 r5 A7:0 B7:0 r5 A7:1 A7:2" },
    { "the higher of two first", "S5 . a7 b8 .", "T5 r5 B8:0 A7:0" },
    { "a lost part is asked for again", "S5 . a7 . p l p p", "T5 r5 A7:0 A7:1 A7:2 A7:1 W" },
    { "who does not answer three times is asked later", "S5 a7 . l l l . .",
      "T5 A7:0 r5 A7:0 A7:0 A7:0 r5" },
    { "another size is a lie: it is left alone", "S5 . a7 . p z a8 . .",
      "T5 r5 A7:0 A7:1 A7:2 r5" },
    { "a newer one of our own ends the fetch", "S5 . a7 . p S7 p p", "T5 r5 A7:0 A7:1 A7:2 T7" },
    { "a still newer one does not", "S5 . a7 . S6 p p p", "T5 r5 A7:0 T6 A7:1 A7:2 W" },
};

struct asked {
    struct rumour_action action;
};

struct one {
    struct rumour rumour;
    uint64_t now_ms;
    struct rumour_action asked[64];
    unsigned asked_count;
    char trace[512];
};

static void trace(struct one *one, const char *word)
{
    size_t size = strlen(one->trace);

    snprintf(one->trace + size, sizeof one->trace - size, "%s%s", size > 0 ? " " : "", word);
}

static void pump(struct one *one)
{
    struct rumour_action action;
    char word[64];

    while (rumour_next(&one->rumour, one->now_ms, &action)) {
        if (action.kind == RUMOUR_GET_PART) {
            one->asked[one->asked_count++] = action;
            snprintf(word, sizeof word, "%c%llu:%u", 'A' + number_of(&action.to.id) - 1,
                     (unsigned long long)action.number, action.offset / RUMOUR_PART_BYTES);
        } else {
            snprintf(word, sizeof word, "%c%llu", action.kind == RUMOUR_TELL_ALL ? 'T' : 'r',
                     (unsigned long long)action.number);
        }
        trace(one, word);
    }
    assert_true(rumour_deadline_ms(&one->rumour, one->now_ms) > one->now_ms);
}

static void give(struct one *one, char how)
{
    uint8_t data[RUMOUR_PART_BYTES];
    struct rumour_action action = one->asked[0];
    struct rumour_part part = { .from = action.to.id,
                                .number = action.number,
                                .size = how == 'z' ? 2001 : 2000,
                                .offset = action.offset };
    uint8_t *list = NULL;
    size_t size = 0;

    assert_true(one->asked_count > 0);
    memmove(one->asked, one->asked + 1, --one->asked_count * sizeof one->asked[0]);
    fill(action.number, action.offset, sizeof data, data);
    part.data = bytes_of(data, how == 'l' ? 0 : part_of(2000, action.offset));
    if (rumour_take(&one->rumour, &part, one->now_ms, &list, &size)) {
        trace(one, "W");
        assert_int_equal(size, 2000);
        for (uint32_t i = 0; i < size; i++) {
            assert_int_equal(list[i], byte_of(action.number, i));
        }
    }
    free(list);
}

static void test_row(void **state)
{
    const struct row *row = *state;
    static struct one one;

    one = (struct one){ .now_ms = 1000000 };
    rumour_init(&one.rumour, 0, 12, one.now_ms);
    one.rumour.tell_ms = one.now_ms + 5000;
    for (const char *step = row->steps; *step != '\0'; step++) {
        struct contact from = contact_of(*step == 'b' ? 2 : 1);

        switch (*step) {
        case 'a':
        case 'b':
            rumour_heard(&one.rumour, &from, (uint64_t)(*++step - '0'), one.now_ms);
            break;
        case 'S':
            rumour_set_number(&one.rumour, (uint64_t)(*++step - '0'), one.now_ms);
            break;
        case '.':
            one.now_ms += 10000;
            break;
        case ' ':
            continue;
        default:
            give(&one, *step);
            break;
        }
        pump(&one);
    }
    assert_string_equal(one.trace, row->trace);
    rumour_done(&one.rumour);
}

/* ---- many ---- */

#define NODES_MAX    200u
#define SESSIONS_MAX 32u

static const struct scene {
    const char *what;
    unsigned nodes, sessions; /* each has about twice as many sessions as it makes */
    unsigned loss_percent, liars;
    uint32_t list_bytes;
    uint64_t heals_s; /* until then one half does not reach the other */
    uint64_t limit_s; /* until when everyone that is honest has it */
} scenes[] = {
    { "200 nodes with 16 sessions each", 200, 8, 0, 0, 500, 0, 5 },
    { "a tenth is lost", 200, 8, 10, 0, 500, 0, 60 },
    { "a third is lost", 200, 8, 33, 0, 2000, 0, 60 },
    { "each has four sessions, a fifth is lost", 200, 2, 20, 0, 2000, 0, 60 },
    { "a list of 10,000 rows, a tenth is lost", 200, 8, 10, 0, 282000, 0, 60 },
    { "a fifth says it has newer ones and gives junk", 200, 8, 10, 40, 2000, 0, 60 },
    { "two halves apart for a minute", 200, 8, 5, 0, 2000, 60, 120 },
    { "without sessions, by what each tells one in 20 s", 200, 0, 10, 0, 500, 0, 300 },
};

enum kind { TICK, SAY, SAY_BACK, PART };

struct event {
    struct entry entry;
    enum kind kind;
    unsigned from, to;
    uint64_t number;
    struct rumour_action action;
    bool is_lost;
};

struct node {
    struct rumour rumour;
    bool is_liar;
    unsigned sessions[SESSIONS_MAX];
    unsigned sessions_count;
    uint64_t tick_ms; /* the next there is an event for */
    uint64_t got_ms;
};

struct sim {
    const struct scene *scene;
    struct calendar calendar;
    struct random random;
    struct node nodes[NODES_MAX];
    uint64_t messages;
};

static struct sim sim;

#define TRUE_NUMBER 6u
#define LIE         1000000u

static void post(enum kind kind, unsigned from, unsigned to, uint64_t number, uint64_t delay_ms)
{
    struct event *event = xcalloc(1, sizeof *event);

    event->kind = kind;
    event->from = from;
    event->to = to;
    event->number = number;
    event->entry.at_ms = sim.calendar.now_ms + delay_ms;
    calendar_add(&sim.calendar, &event->entry);
}

static bool is_lost(unsigned from, unsigned to)
{
    bool apart = sim.calendar.now_ms < sim.scene->heals_s * 1000 &&
                 (from < sim.scene->nodes / 2) != (to < sim.scene->nodes / 2);

    sim.messages++;
    return apart || random_below(&sim.random, 100) < sim.scene->loss_percent;
}

static uint64_t trip_ms(void)
{
    return 1 + random_below(&sim.random, 80);
}

static uint64_t said_number(unsigned number)
{
    struct node *node = &sim.nodes[number];

    return node->is_liar ? LIE + random_below(&sim.random, 1000) : node->rumour.number;
}

static void say(enum kind kind, unsigned from, unsigned to)
{
    if (!is_lost(from, to)) {
        post(kind, from, to, said_number(from), trip_ms());
    }
}

static void ask_part(unsigned from, const struct rumour_action *action)
{
    struct event *event = xcalloc(1, sizeof *event);
    unsigned to = number_of(&action->to.id);

    event->kind = PART;
    event->from = from;
    event->to = to;
    event->action = *action;
    event->is_lost = is_lost(from, to) || is_lost(to, from);
    event->entry.at_ms = sim.calendar.now_ms + (event->is_lost ? 2000 : 2 * trip_ms());
    calendar_add(&sim.calendar, &event->entry);
}

static void act(unsigned number, const struct rumour_action *action)
{
    struct node *node = &sim.nodes[number];

    switch (action->kind) {
    case RUMOUR_TELL_ALL:
        for (unsigned i = 0; i < node->sessions_count; i++) {
            say(SAY, number, node->sessions[i]);
        }
        return;
    case RUMOUR_TELL_ONE: {
        unsigned other = (unsigned)random_below(&sim.random, sim.scene->nodes);

        if (other != number) {
            say(SAY, number, other);
        }
        return;
    }
    case RUMOUR_GET_PART:
        ask_part(number, action);
        return;
    }
}

static void turn(unsigned number)
{
    struct node *node = &sim.nodes[number];
    struct rumour_action action;
    uint64_t deadline_ms;

    while (rumour_next(&node->rumour, sim.calendar.now_ms, &action)) {
        act(number, &action);
    }
    deadline_ms = rumour_deadline_ms(&node->rumour, sim.calendar.now_ms);
    if (node->tick_ms <= sim.calendar.now_ms || deadline_ms < node->tick_ms) {
        node->tick_ms = deadline_ms;
        post(TICK, number, number, 0, deadline_ms - sim.calendar.now_ms);
    }
}

/* What the service does with a whole list: verify it; here, see whether it is the true one. */
static void judge(struct node *node, const struct node_id *from, uint8_t *list, size_t size)
{
    bool is_true = size == sim.scene->list_bytes;

    for (uint32_t i = 0; i < size && is_true; i++) {
        is_true = list[i] == byte_of(TRUE_NUMBER, i);
    }
    free(list);
    if (!is_true) {
        rumour_shun(&node->rumour, from, sim.calendar.now_ms);
        return;
    }
    rumour_set_number(&node->rumour, TRUE_NUMBER, sim.calendar.now_ms);
    node->got_ms = sim.calendar.now_ms;
}

static void take_part(const struct event *event)
{
    struct node *node = &sim.nodes[event->from];
    const struct node *holder = &sim.nodes[event->to];
    uint8_t data[RUMOUR_PART_BYTES];
    struct rumour_part part = { .from = event->action.to.id,
                                .number = event->action.number,
                                .size = sim.scene->list_bytes,
                                .offset = event->action.offset };
    bool has_it = holder->is_liar || holder->rumour.number == event->action.number;
    uint8_t *list;
    size_t size;

    fill(event->action.number, event->action.offset, sizeof data, data);
    if (!event->is_lost && has_it) {
        part.data = bytes_of(data, part_of(part.size, part.offset));
    }
    if (rumour_take(&node->rumour, &part, sim.calendar.now_ms, &list, &size)) {
        judge(node, &part.from, list, size);
    }
}

static void handle(const struct event *event)
{
    struct contact from = contact_of(event->from);

    switch (event->kind) {
    case TICK:
        turn(event->to);
        return;
    case SAY:
    case SAY_BACK:
        rumour_heard(&sim.nodes[event->to].rumour, &from, event->number, sim.calendar.now_ms);
        if (event->kind == SAY) {
            say(SAY_BACK, event->to, event->from);
        }
        turn(event->to);
        return;
    case PART:
        take_part(event);
        turn(event->from);
        return;
    }
}

static void connect(unsigned a, unsigned b)
{
    struct node *left = &sim.nodes[a];
    struct node *right = &sim.nodes[b];

    if (a != b && left->sessions_count < SESSIONS_MAX && right->sessions_count < SESSIONS_MAX) {
        left->sessions[left->sessions_count++] = b;
        right->sessions[right->sessions_count++] = a;
    }
}

static void set_up(const struct scene *scene, uint64_t seed)
{
    memset(&sim, 0, sizeof sim);
    sim.scene = scene;
    random_init(&sim.random, seed);
    for (unsigned i = 0; i < scene->nodes; i++) {
        rumour_init(&sim.nodes[i].rumour, 0, seed * 1000 + i, 0);
        sim.nodes[i].is_liar = i > 0 && i <= scene->liars;
        for (unsigned j = 0; j < scene->sessions; j++) {
            connect(i, (unsigned)random_below(&sim.random, scene->nodes));
        }
    }
    rumour_set_number(&sim.nodes[0].rumour, TRUE_NUMBER, 0);
    for (unsigned i = 0; i < scene->nodes; i++) {
        turn(i);
    }
}

static unsigned without_it(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < sim.scene->nodes; i++) {
        count += !sim.nodes[i].is_liar && sim.nodes[i].rumour.number != TRUE_NUMBER ? 1 : 0;
    }
    return count;
}

static void tear_down(void)
{
    while (calendar_first_ms(&sim.calendar) != UINT64_MAX) {
        calendar_advance(&sim.calendar, calendar_first_ms(&sim.calendar));
        free(calendar_take(&sim.calendar));
    }
    calendar_done(&sim.calendar);
    for (unsigned i = 0; i < sim.scene->nodes; i++) {
        rumour_done(&sim.nodes[i].rumour);
    }
}

static void test_scene(void **state)
{
    const struct scene *scene = *state;
    uint64_t last_ms = 0;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        set_up(scene, seed);
        while (without_it() > 0 && sim.calendar.now_ms < scene->limit_s * 1000) {
            struct event *event;

            calendar_advance(&sim.calendar, calendar_first_ms(&sim.calendar));
            event = (struct event *)calendar_take(&sim.calendar);
            handle(event);
            free(event);
        }
        if (without_it() > 0) {
            fail_msg("seed %llu: %u nodes have no list after %llu s", (unsigned long long)seed,
                     without_it(), (unsigned long long)scene->limit_s);
        }
        last_ms = sim.calendar.now_ms > last_ms ? sim.calendar.now_ms : last_ms;
        tear_down();
    }
    print_message("    the last of all after %.1f s\n", (double)last_ms / 1000);
}

int main(void)
{
    return RUN_ROWS(rows, test_row) + RUN_ROWS(scenes, test_scene);
}
