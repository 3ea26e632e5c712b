/* Fetching what others keep for us: holders drawn as letters, messages as digits. */
#include "services/member/pickup.h"

#include "libcommon/crypto.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE  2000u
#define MAILS 10u

/*
 * holders: one word each: a kind, then the messages it has. g good; s silent; e lists and then
 * gives nothing; a gives altered bytes; z says another size; p lists one a page; d does not answer
 * drops. known: messages the inbox has had. room: how many it has room for.
 */
static const struct row {
    const char *what, *holders, *known;
    unsigned room;
    const char *stored;  /* in any order: sorted here */
    const char *dropped; /* HOLDER:MAILS, as it comes */
    const char *left;    /* messages that stay with their holders, and are fetched another time */
} rows[] = {
    { "nothing is there", "g g g", "", 9, "", "", "" },
    { "nobody is there", "", "", 9, "", "", "" },
    { "one message at one", "g1", "", 9, "1", "0:1 ", "" },
    { "at three: fetched once, dropped at all", "g1 g1 g1", "", 9, "1", "0:1 1:1 2:1 ", "" },
    { "some here, some there", "g12 g23 g3", "", 9, "123", "0:12 1:23 2:3 ", "" },
    { "what is known is only dropped", "g12 g2", "2", 9, "1", "0:12 1:2 ", "" },
    { "a silent holder is done without", "s g1", "", 9, "1", "1:1 ", "" },
    { "one that gives nothing, too: it is dropped there all the same", "e1 g1", "", 9, "1",
      "0:1 1:1 ", "" },
    { "one that alters them, too", "a1 g1", "", 9, "1", "0:1 1:1 ", "" },
    { "one that lies about the size spoils nothing", "z1 g1", "", 9, "1", "1:1 ", "" },
    { "when no one can give it, it is left", "e1 a1", "", 9, "", "", "1" },
    { "many pages", "p1234567", "", 9, "1234567", "0:1234567 ", "" },
    { "an inbox that is full leaves the rest", "g1234", "", 2, "12", "0:12 ", "34" },
    { "a lost drop does not hold it up", "d1 g1", "", 9, "1", "0:1 1:1 ", "" },
};

struct holder {
    char kind;
    const char *mails;
    unsigned mails_count;
};

struct world {
    struct holder holders[4];
    unsigned holders_count;
    char known[MAILS + 1];
    unsigned room;
    char stored[MAILS + 1];
    char dropped[128];
    struct pickup pickup;
};

static void fill(unsigned number, uint8_t *ret_data)
{
    for (uint32_t i = 0; i < SIZE; i++) {
        ret_data[i] = (uint8_t)(i * 13 + number);
    }
}

static void id_of(unsigned number, uint8_t *ret_id)
{
    uint8_t data[SIZE];

    fill(number, data);
    sha256(bytes_of(data, SIZE), ret_id);
}

static char letter_of(const uint8_t *id)
{
    for (unsigned i = 0; i < MAILS; i++) {
        uint8_t other[PARTS_ID_SIZE];

        id_of(i, other);
        if (memcmp(id, other, PARTS_ID_SIZE) == 0) {
            return (char)('0' + i);
        }
    }
    return '?';
}

static void list(struct world *world, const struct pickup_action *action)
{
    const struct holder *holder = &world->holders[action->holder];
    uint8_t ids[MAILS][PARTS_ID_SIZE];
    struct pickup_listed listed[MAILS];
    unsigned count = 0;
    unsigned from = 0;

    if (holder->kind == 's') {
        pickup_silent(&world->pickup, action->holder);
        return;
    }
    if (action->after != NULL) {
        const char *at = memchr(holder->mails, letter_of(action->after), holder->mails_count);

        assert_non_null(at);
        from = (unsigned)(at - holder->mails) + 1;
    }
    for (unsigned i = from; i < holder->mails_count && (holder->kind != 'p' || count == 0); i++) {
        id_of((unsigned)(holder->mails[i] - '0'), ids[count]);
        listed[count].id = bytes_of(ids[count], PARTS_ID_SIZE);
        listed[count].size = holder->kind == 'z' ? SIZE + 5 : SIZE;
        listed[count].keep_s = 60;
        listed[count].is_known = strchr(world->known, holder->mails[i]) != NULL;
        count++;
    }
    pickup_listed(&world->pickup, action->holder, listed, count,
                  from + count < holder->mails_count);
}

static void give_part(struct world *world, const struct pickup_action *action)
{
    const struct holder *holder = &world->holders[action->holder];
    unsigned number = (unsigned)(letter_of(action->id) - '0');
    uint8_t data[SIZE];
    uint32_t size = parts_size_of(SIZE, action->offset / PARTS_PART_BYTES);

    fill(number, data);
    if (holder->kind == 'a') {
        data[1000] ^= 1;
    }
    pickup_part(&world->pickup, action, SIZE,
                bytes_of(data + action->offset, holder->kind == 'e' ? 0 : size));
}

static void store(struct world *world, const struct pickup_action *action)
{
    char letter = letter_of(action->id);
    size_t count = strlen(world->stored);

    assert_int_equal(action->size, SIZE);
    free(action->data);
    if (count == world->room) {
        pickup_stored(&world->pickup, action->mail, PICKUP_NO_ROOM);
        return;
    }
    assert_null(strchr(world->stored, letter)); /* each once */
    world->stored[count] = letter;
    pickup_stored(&world->pickup, action->mail, PICKUP_IS_IN);
}

static void drop(struct world *world, const struct pickup_action *action)
{
    size_t size = strlen(world->dropped);

    size += (size_t)snprintf(world->dropped + size, sizeof world->dropped - size,
                             "%u:", action->holder);
    for (unsigned i = 0; i < action->ids_count; i++) {
        char letter = letter_of(action->ids[i]);

        /* Never before it is in the inbox, or was. */
        assert_true(strchr(world->stored, letter) != NULL || strchr(world->known, letter) != NULL);
        world->dropped[size++] = letter;
    }
    snprintf(world->dropped + size, sizeof world->dropped - size, " ");
    pickup_dropped(&world->pickup, action->holder);
}

static void act(struct world *world, const struct pickup_action *action)
{
    switch (action->kind) {
    case PICKUP_LIST:
        list(world, action);
        return;
    case PICKUP_GET_PART:
        give_part(world, action);
        return;
    case PICKUP_STORE:
        store(world, action);
        return;
    case PICKUP_DROP:
        drop(world, action);
        return;
    }
}

static void begin(struct world *world, const struct row *row)
{
    struct contact closest[4];
    const char *at = row->holders;

    *world = (struct world){ .room = row->room };
    snprintf(world->known, sizeof world->known, "%s", row->known);
    while (*at != '\0') {
        struct holder *holder = &world->holders[world->holders_count];

        closest[world->holders_count].address =
            address_v4(10, 0, 0, (uint8_t)(world->holders_count + 1), 1);
        holder->kind = *at++;
        holder->mails = at;
        holder->mails_count = (unsigned)strspn(at, "0123456789");
        at += holder->mails_count;
        at += *at == ' ' ? 1 : 0;
        world->holders_count++;
    }
    pickup_begin(&world->pickup, closest, world->holders_count);
}

static int by_letter(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

/* Drops are told in any order, in one piece or several: sorted by holder. */
static void sort_dropped(const char *dropped, char ret_sorted[64])
{
    size_t size = 0;

    for (char holder = '0'; holder < '4'; holder++) {
        char mails[MAILS + 1] = "";
        size_t count = 0;

        for (const char *at = dropped; *at != '\0'; at += strcspn(at, " ") + 1) {
            if (*at == holder) {
                size_t run = strcspn(at + 2, " ");

                assert_true(count + run <= MAILS);
                memcpy(mails + count, at + 2, run);
                count += run;
            }
        }
        qsort(mails, count, 1, by_letter);
        if (count > 0) {
            size += (size_t)snprintf(ret_sorted + size, 64 - size, "%c:%s ", holder, mails);
        }
    }
    ret_sorted[size] = '\0';
}

static void test_row(void **state)
{
    const struct row *row = *state;
    static struct world world;
    struct pickup_action actions[64];
    char sorted[64];
    unsigned steps = 0;

    begin(&world, row);
    for (;;) {
        unsigned count = 0;

        while (count < 64 && pickup_next(&world.pickup, &actions[count])) {
            count++;
        }
        if (count == 0) {
            break;
        }
        for (unsigned i = count; i-- > 0;) { /* answers come in another order */
            act(&world, &actions[i]);
        }
        assert_true(++steps < 1000);
    }
    assert_true(pickup_is_over(&world.pickup));
    qsort(world.stored, strlen(world.stored), 1, by_letter);
    assert_string_equal(world.stored, row->stored);
    sort_dropped(world.dropped, sorted);
    assert_string_equal(sorted, row->dropped);
    for (unsigned i = 0; i < world.pickup.mails_count; i++) {
        const struct pickup_mail *mail = &world.pickup.mails[i];
        char letter = letter_of(mail->id);

        if (mail->size == SIZE) {
            assert_int_equal(mail->state == PICKUP_LEFT || mail->state == PICKUP_WANTED,
                             strchr(row->left, letter) != NULL);
        }
    }
    pickup_done(&world.pickup);
}

/* A page of messages that there are not, and there are more. */
static void list_junk(struct pickup *pickup, unsigned *pages)
{
    uint8_t ids[PICKUP_DROP_MAX][PARTS_ID_SIZE] = { { 0 } };
    struct pickup_listed listed[PICKUP_DROP_MAX];

    for (unsigned i = 0; i < PICKUP_DROP_MAX; i++) {
        store_u32(ids[i], ++*pages * PICKUP_DROP_MAX + i);
        listed[i] =
            (struct pickup_listed){ .id = bytes_of(ids[i], PARTS_ID_SIZE), .size = 1, .keep_s = 1 };
    }
    pickup_listed(pickup, 0, listed, PICKUP_DROP_MAX, true);
}

static void a_list_without_end_keeps_nobody_elses_away(void **state)
{
    static struct world world;
    const struct row row = { .holders = "j g1", .known = "", .room = 9 };
    struct pickup_action action;
    unsigned pages = 0, steps = 0;

    (void)state;
    begin(&world, &row);
    while (pickup_next(&world.pickup, &action)) {
        if (action.kind == PICKUP_LIST && action.holder == 0) {
            list_junk(&world.pickup, &pages);
        } else if (action.kind == PICKUP_GET_PART && action.holder == 0) {
            pickup_part(&world.pickup, &action, 1, bytes_of(NULL, 0));
        } else {
            act(&world, &action);
        }
        assert_true(++steps < 5000);
    }
    assert_string_equal(world.stored, "1");
    assert_true(world.pickup.is_cut);
    assert_int_equal(world.pickup.taken, 1);
    pickup_done(&world.pickup);

    /* Alone, it is not asked again at once. */
    begin(&world, &(struct row){ .holders = "j", .known = "", .room = 9 });
    while (pickup_next(&world.pickup, &action)) {
        if (action.kind == PICKUP_LIST) {
            list_junk(&world.pickup, &pages);
        } else {
            pickup_part(&world.pickup, &action, 1, bytes_of(NULL, 0));
        }
    }
    assert_true(world.pickup.is_cut && world.pickup.taken == 0);
    pickup_done(&world.pickup);
}

/* A part of a message that was given up meanwhile is not put into the next one. */
static void late_parts_do_not_count(void **state)
{
    static struct world world;
    const struct row row = { .holders = "g1 g1", .known = "", .room = 9 };
    struct pickup_action lists[2];
    struct pickup_action first[3];
    struct pickup_action second;
    uint8_t junk[PARTS_PART_BYTES] = { 0 };

    (void)state;
    begin(&world, &row);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(pickup_next(&world.pickup, &lists[i]));
    }
    assert_false(pickup_next(&world.pickup, &first[0]));
    list(&world, &lists[0]);
    list(&world, &lists[1]);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(pickup_next(&world.pickup, &first[i]));
        assert_int_equal(first[i].kind, PICKUP_GET_PART);
    }
    pickup_part(&world.pickup, &first[0], SIZE + 1, bytes_of(junk, sizeof junk)); /* given up */
    assert_true(pickup_next(&world.pickup, &second));
    assert_int_equal(second.holder, 1);
    pickup_part(&world.pickup, &first[1], SIZE, bytes_of(junk, sizeof junk));
    assert_int_equal(world.pickup.has, 0);
    pickup_done(&world.pickup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_parts_do_not_count),
        cmocka_unit_test(a_list_without_end_keeps_nobody_elses_away),
    };

    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL);
}
