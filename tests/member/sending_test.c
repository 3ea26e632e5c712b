/* A message on its way: neighbours drawn as letters, and what becomes of it. */
#include "services/member/sending.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define SIZE 2000u /* three parts */

/*
 * One letter a neighbour, the recipient first ("-": it is not there). g takes it; f has no room;
 * r refuses; d is dead; w takes every part once without ever saying that it is whole (it was
 * started anew in between), then all is well; n never says that it is whole; l loses each part's
 * first two tries.
 */
static const struct row {
    const char *what, *recipient, *holders;
    enum sending_step step;
    unsigned kept;
    unsigned sent; /* parts, at most; 0: not looked at */
} rows[] = {
    { "who is there gets it, and nobody else is asked", "g", "gggggggg", SENDING_DELIVERED, 0, 3 },
    { "who is away has it kept by all", "-", "gggggggg", SENDING_KEPT, 8, 24 },
    { "who does not answer, too", "d", "gggggggg", SENDING_KEPT, 8, 0 },
    { "who has no room, too", "f", "gggggggg", SENDING_KEPT, 8, 27 },
    { "who refuses has nothing kept for it", "r", "gggggggg", SENDING_REFUSED, 0, 3 },
    { "a neighbour started anew in between is given all of it again", "w", "g", SENDING_DELIVERED,
      0, 6 },
    { "but only once", "n", "g", SENDING_KEPT, 1, 9 },
    { "lost parts are sent again", "l", "g", SENDING_DELIVERED, 0, 9 },
    { "dead holders are done without", "-", "dgdgdddd", SENDING_KEPT, 2, 0 },
    { "full ones and those that refuse, too", "-", "frfrfrfg", SENDING_KEPT, 1, 0 },
    { "one that never says whole does not count", "-", "ngg", SENDING_KEPT, 2, 0 },
    { "nobody has it", "-", "ddff", SENDING_FAILED, 0, 0 },
    { "nobody is there at all", "-", "", SENDING_FAILED, 0, 0 },
    { "it is full and alone", "f", "", SENDING_FAILED, 0, 0 },
    { "the eight nearest keep it", "-", "ggggggggggggggggggg", SENDING_KEPT, 8, 24 },
};

struct neighbour {
    char kind;
    unsigned got[3], rounds;
    unsigned has;
};

static struct contact contact_of(unsigned number)
{
    struct contact contact = { .address = address_v4(10, 0, 0, (uint8_t)(number + 1), 6881) };

    contact.id.bytes[0] = (uint8_t)number;
    return contact;
}

static enum sending_answer take(struct neighbour *self, unsigned part)
{
    self->got[part]++;
    self->has |= 1u << part;
    return self->has == 7 ? SENDING_COMPLETE : SENDING_TAKEN;
}

static enum sending_answer answer_of(struct neighbour *self, unsigned part)
{
    switch (self->kind) {
    case 'f':
        return SENDING_NO_ROOM;
    case 'r':
        return SENDING_REFUSED_IT;
    case 'd':
        return SENDING_SILENT;
    case 'n':
        return SENDING_TAKEN;
    case 'w':
        if (part == 2 && self->rounds++ == 0) {
            self->has = 0;
            return SENDING_TAKEN;
        }
        return take(self, part);
    case 'l':
        return ++self->rounds <= 2 ? SENDING_SILENT : take(self, part);
    default:
        return take(self, part);
    }
}

static unsigned run(struct sending *sending, struct neighbour *neighbours)
{
    struct sending_action actions[SENDING_HOLDERS_MAX * SENDING_WINDOW];
    unsigned sent = 0;

    while (!sending_is_over(sending)) {
        unsigned count = 0;

        while (sending_next(sending, &actions[count])) {
            assert_true(actions[count].offset + actions[count].size <= SIZE);
            assert_int_equal(actions[count].size,
                             parts_size_of(SIZE, actions[count].offset / PARTS_PART_BYTES));
            count++;
        }
        assert_true(count > 0); /* or it would wait for ever */
        for (unsigned i = 0; i < count; i++) {
            struct neighbour *to = &neighbours[actions[i].to.id.bytes[0]];

            sent++;
            assert_int_equal(actions[i].is_delivery, actions[i].to.id.bytes[0] == 0);
            sending_answered(sending, &actions[i],
                             answer_of(to, actions[i].offset / PARTS_PART_BYTES));
        }
    }
    return sent;
}

static void test_row(void **state)
{
    const struct row *row = *state;
    struct contact closest[32];
    struct neighbour neighbours[32] = { { .kind = row->recipient[0] } };
    struct node_id recipient = contact_of(0).id;
    struct sending sending;
    unsigned count = 0;
    unsigned sent;

    /* The recipient is not the first that the lookup names. */
    for (unsigned i = 0; row->holders[i] != '\0'; i++) {
        neighbours[i + 1].kind = row->holders[i];
        closest[count++] = contact_of(i + 1);
        if (i == 0 && row->recipient[0] != '-') {
            closest[count++] = contact_of(0);
        }
    }
    if (row->holders[0] == '\0' && row->recipient[0] != '-') {
        closest[count++] = contact_of(0);
    }
    sending_begin(&sending, SIZE, &recipient, closest, count);
    sent = run(&sending, neighbours);
    assert_int_equal(sending.step, row->step);
    assert_int_equal(sending_holders(&sending), row->kept);
    assert_true(row->sent == 0 || sent <= row->sent);
    assert_int_equal(sending.was_full, row->recipient[0] == 'f');
}

/* What is answered after the outcome stands changes nothing. */
static void late_answers_change_nothing(void **state)
{
    struct contact closest[2] = { contact_of(0), contact_of(1) };
    struct sending_action actions[4];
    struct sending sending;

    (void)state;
    sending_begin(&sending, SIZE, &closest[0].id, closest, 2);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(sending_next(&sending, &actions[i]));
    }
    assert_false(sending_next(&sending, &actions[3]));
    sending_answered(&sending, &actions[2], SENDING_COMPLETE); /* others came by other ways */
    assert_int_equal(sending.step, SENDING_DELIVERED);
    sending_answered(&sending, &actions[0], SENDING_SILENT);
    sending_answered(&sending, &actions[1], SENDING_NO_ROOM);
    assert_int_equal(sending.step, SENDING_DELIVERED);
    assert_false(sending_next(&sending, &actions[3]));
}

static void a_window_of_four_to_each(void **state)
{
    struct contact closest[2] = { contact_of(1), contact_of(2) };
    struct node_id away = contact_of(0).id;
    struct sending_action action;
    struct sending sending;
    unsigned count = 0;

    (void)state;
    sending_begin(&sending, PARTS_MESSAGE_MAX, &away, closest, 2);
    while (sending_next(&sending, &action)) {
        count++;
    }
    assert_int_equal(count, 2 * SENDING_WINDOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_answers_change_nothing),
        cmocka_unit_test(a_window_of_four_to_each),
    };

    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL);
}
