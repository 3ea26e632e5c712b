/* The box on disk. */
#include "services/storage/db_tables.h"
#include "tests/storage/db_fixture.h"

#include <stdio.h>
#include <string.h>

#define DAY_S   86400u
#define SIZE    1000u
#define SENDER  's'
#define CHECK_S 600u

static struct node_id id_of(char letter)
{
    return (struct node_id){ .bytes = { (uint8_t)letter } };
}

static struct box_mail mail_of(char recipient, unsigned number)
{
    struct box_mail mail = { .recipient = id_of(recipient) };

    store_u32(mail.id, number);
    return mail;
}

static struct db_op keep_op(char recipient, unsigned number, char sender, uint32_t keep_s)
{
    static const uint8_t bytes[BOX_MAIL_MAX];
    struct db_op op = { .kind = DB_KEEP_MAIL, .now_s = world.now_s };

    op.keep = (struct db_keep){ .mail = mail_of(recipient, number),
                                .data = bytes_of(bytes, SIZE),
                                .keep_s = keep_s,
                                .sender = id_of(sender),
                                .check_s = world.now_s + CHECK_S };
    return op;
}

static lb_err keep(char recipient, unsigned number, uint32_t keep_s)
{
    struct db_op op = keep_op(recipient, number, SENDER, keep_s);

    world_apply(&world, &op);
    return op.err;
}

static uint32_t drop(char recipient, unsigned number)
{
    struct db_op op = { .kind = DB_DROP_MAIL, .now_s = world.now_s };

    op.drop_mail = (struct db_drop_mail){ .recipient = id_of(recipient), .count = 1 };
    store_u32(op.drop_mail.ids[0], number);
    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
    return op.drop_mail.dropped;
}

static lb_err certify(char node, uint64_t not_before_s, uint64_t serial, uint64_t life_s)
{
    struct db_op op = { .kind = DB_PUT_CERTIFICATE, .now_s = world.now_s };

    op.certify.node = id_of(node);
    op.certify.check_s = world.now_s + CHECK_S;
    op.certify.certificate = (struct box_certificate){ .not_before_s = not_before_s,
                                                       .serial = serial,
                                                       .ends_s = world.now_s + life_s,
                                                       .leaf = bytes_of_text("leaf"),
                                                       .intermediate = bytes_of_text("ca") };
    world_apply(&world, &op);
    return op.err;
}

/* The numbers of what waits, and "+" when there are more. */
static const char *heads(char recipient, unsigned after)
{
    static char text[256];
    struct db_head found[BOX_HEADS_MAX];
    const struct node_id id = id_of(recipient);
    struct box_mail from = mail_of(recipient, after);
    bool more;
    size_t count;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    count = db_read_heads(world.db, &id, after > 0 ? from.id : NULL, world.now_s, found, &more);
    db_read_end(world.db);
    *text = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u", i > 0 ? " " : "",
                 load_u32(found[i].id));
    return strcat(text, more ? " +" : "");
}

static struct db_box_stats stats(void)
{
    struct db_box_stats box;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    db_read_box_stats(world.db, &box);
    db_read_end(world.db);
    return box;
}

static lb_err read_box(char recipient, struct box_record *ret_box)
{
    const struct node_id id = id_of(recipient);
    lb_err err;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    err = db_read_box(world.db, &id, world.now_s, ret_box);
    db_read_end(world.db);
    return err;
}

static uint32_t due(void)
{
    uint32_t count;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    count = db_due_count(world.db->reader, world.db->due, DUE_BOX, NULL, UINT64_MAX, 1000) +
            db_due_count(world.db->reader, world.db->due, DUE_MAIL, NULL, UINT64_MAX, 1000) +
            db_due_count(world.db->reader, world.db->due, DUE_CERTIFICATE, NULL, UINT64_MAX, 1000);
    db_read_end(world.db);
    return count;
}

static void mail_waits_for_its_recipient_alone(void **state)
{
    struct box_mail mail = mail_of('b', 2);
    struct box_mail_record record;
    struct bytes data;

    (void)state;
    assert_int_equal(keep('b', 2, DAY_S), LB_OK);
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    assert_int_equal(keep('c', 7, DAY_S), LB_OK);
    assert_string_equal(heads('b', 0), "1 2");
    assert_string_equal(heads('b', 1), "2");
    assert_string_equal(heads('c', 0), "7");
    assert_string_equal(heads('a', 0), "");
    world_close(&world);
    world_open(&world); /* it is on disk */
    assert_int_equal(db_read_begin(world.db), LB_OK);
    assert_int_equal(db_read_mail(world.db, &mail, world.now_s, &record, &data), LB_OK);
    assert_int_equal(data.size, SIZE);
    assert_int_equal(record.ends_s, world.now_s + DAY_S);
    db_read_end(world.db);
}

static void lists_come_in_pages(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 20; i++)
        assert_int_equal(keep('b', i, DAY_S), LB_OK);
    assert_string_equal(heads('b', 0), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 +");
    assert_string_equal(heads('b', 16), "17 18 19 20");
    assert_string_equal(heads('b', 4), "5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
}

/* The life that was said first counts: nobody prolongs what others have sent. */
static void what_is_kept_already_stays_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    world.now_s += 10;
    assert_int_equal(keep('b', 1, 20 * DAY_S), LB_OK);
    assert_int_equal(stats().mails, 1);
    world.now_s += DAY_S;
    assert_string_equal(heads('b', 0), "");
}

static void what_was_dropped_does_not_come_back(void **state)
{
    struct box_record box;

    (void)state;
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    assert_int_equal(keep('b', 2, DAY_S), LB_OK);
    assert_int_equal(drop('c', 1), 0); /* somebody else's */
    assert_int_equal(drop('b', 1), 1);
    assert_int_equal(drop('b', 1), 0);
    assert_int_equal(drop('b', 9), 0);
    assert_string_equal(heads('b', 0), "2");
    assert_int_equal(stats().mails, 1);
    assert_int_equal(keep('b', 1, 5 * DAY_S), LB_OK); /* another holder brings it */
    assert_string_equal(heads('b', 0), "2");
    assert_int_equal(drop('b', 2), 1);
    assert_int_equal(read_box('b', &box), LB_NOT_FOUND);
    assert_int_equal(stats().bytes, 0);
    world.now_s += DAY_S + 1;
    assert_int_equal(world_sweep(&world), 2); /* the names go too */
    assert_int_equal(due(), 0);
}

static void mail_ends_and_leaves_nothing(void **state)
{
    struct box_record box;

    (void)state;
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    assert_int_equal(keep('b', 2, 2 * DAY_S), LB_OK);
    assert_int_equal(certify('b', 1, 1, DAY_S), LB_OK);
    assert_int_equal(read_box('b', &box), LB_OK);
    assert_int_equal(box.mails, 2);
    assert_true(box.has_certificate);
    world.now_s += DAY_S + 1;
    assert_string_equal(heads('b', 0), "2");
    assert_int_equal(world_sweep(&world), 2);
    assert_int_equal(read_box('b', &box), LB_OK);
    assert_int_equal(box.mails, 1);
    assert_false(box.has_certificate);
    world.now_s += DAY_S;
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(stats().mails, 0);
    assert_int_equal(due(), 0);
}

/* What ended, and was not swept yet, gives its place to the same mail sent again. */
static void mail_may_come_again_after_its_end(void **state)
{
    (void)state;
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    world.now_s += DAY_S + 1;
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    assert_string_equal(heads('b', 0), "1");
    assert_int_equal(stats().mails, 1);
    assert_int_equal(due(), 2);
}

/* 16 MiB of store: 2 MiB of mail, of a sender 128 KiB, of a neighbour 512, of a recipient 256. */
static const struct full_row {
    const char *what;
    bool is_neighbour;
    unsigned senders, recipients;
    unsigned kept; /* of 1000 of one page each, which cost 4608 */
    enum box_limit limit;
} full_rows[] = {
    { "one sender to many", false, 1, 40, 28, BOX_SENDER_FULL },
    { "a neighbour to many", true, 1, 40, 113, BOX_SENDER_FULL },
    { "many to one recipient", false, 40, 1, 56, BOX_RECIPIENT_FULL },
    { "many to many", true, 40, 40, 455, BOX_FULL },
};

static void full(void **state)
{
    const struct full_row *row = *state;
    enum box_limit last = BOX_ROOM;
    unsigned kept = 0;

    world_init(&world, WORLD_MAP);
    for (unsigned i = 0; i < 1000; i++) {
        struct db_op op =
            keep_op((char)(1 + i % row->recipients), i, (char)(1 + i % row->senders), DAY_S);

        op.keep.is_neighbour = row->is_neighbour;
        world_apply(&world, &op);
        kept += op.err == LB_OK;
        if (op.err != LB_OK) {
            assert_int_equal(op.err, LB_FULL);
            last = op.keep.limit;
        }
    }
    assert_int_equal(kept, row->kept);
    assert_int_equal(last, row->limit);
    world.now_s += DAY_S + 1;
    while (world_sweep(&world) > 0) {
    }
    assert_int_equal(stats().bytes, 0);
    assert_int_equal(keep(1, 5000, DAY_S), LB_OK); /* and there is room again */
    world_done(&world);
}

static const struct certificate_row {
    const char *what;
    uint64_t from_s, serial;
    lb_err err;
    uint64_t stays; /* the serial of what is there then; before it is 5, from 1000 on */
} certificate_rows[] = {
    { "a later one takes its place", 1001, 4, LB_OK, 4 },
    { "of the same date the higher serial", 1000, 6, LB_OK, 6 },
    { "the same changes nothing", 1000, 5, LB_OK, 5 },
    { "an earlier one is refused", 999, 9, LB_CONFLICT, 5 },
    { "so is a lower serial of the date", 1000, 4, LB_CONFLICT, 5 },
};

static void certificate(void **state)
{
    const struct certificate_row *row = *state;
    const struct node_id node = id_of('b');
    struct box_certificate found;

    world_init(&world, WORLD_MAP);
    assert_int_equal(certify('b', 1000, 5, DAY_S), LB_OK);
    assert_int_equal(certify('b', row->from_s, row->serial, 2 * DAY_S), row->err);
    assert_int_equal(db_read_begin(world.db), LB_OK);
    assert_int_equal(db_read_certificate(world.db, &node, world.now_s, &found), LB_OK);
    assert_int_equal(found.serial, row->stays);
    db_read_end(world.db);
    assert_int_equal(due(), 2);
    world.now_s += 2 * DAY_S + 1;
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(due(), 0);
    world_done(&world);
}

static lb_err check(enum db_op_kind kind, char recipient, uint64_t changes)
{
    struct db_op op = { .kind = kind, .now_s = world.now_s };

    op.box = (struct db_box_check){ .recipient = id_of(recipient),
                                    .changes = changes,
                                    .check_s = world.now_s + 2 * CHECK_S,
                                    .checked_s = world.now_s,
                                    .calm = 1 };
    world_apply(&world, &op);
    return op.err;
}

static void boxes_come_up_for_their_checks(void **state)
{
    struct node_id recipient;
    struct box_record box;

    (void)state;
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    world.now_s += 5;
    assert_int_equal(certify('c', 1, 1, DAY_S), LB_OK);
    assert_int_equal(read_box('b', &box), LB_OK);
    assert_int_equal(check(DB_SET_BOX, 'b', box.changes), LB_OK);
    assert_int_equal(check(DB_SET_BOX, 'd', 0), LB_NOT_FOUND);
    assert_int_equal(db_read_begin(world.db), LB_OK);
    assert_int_equal(db_read_box_check(world.db, NULL, 0, world.now_s, &recipient, &box), LB_OK);
    assert_int_equal(recipient.bytes[0], 'c');
    assert_int_equal(db_read_box_check(world.db, NULL, 1, world.now_s, &recipient, &box), LB_OK);
    assert_int_equal(recipient.bytes[0], 'b');
    assert_int_equal(box.calm, 1);
    assert_int_equal(db_read_box_check(world.db, NULL, 2, world.now_s, &recipient, &box),
                     LB_NOT_FOUND);
    assert_int_equal(db_read_boxes_overdue(world.db, NULL, world.now_s + CHECK_S + 1, 100), 1);
    recipient = id_of('\0');
    assert_int_equal(db_read_next_box(world.db, &recipient, world.now_s, &recipient, &box), LB_OK);
    assert_int_equal(recipient.bytes[0], 'b');
    db_read_end(world.db);
}

static void a_box_that_others_keep_goes_whole(void **state)
{
    struct box_record box;

    (void)state;
    for (unsigned i = 1; i <= 20; i++)
        assert_int_equal(keep('b', i, DAY_S), LB_OK);
    assert_int_equal(keep('c', 1, DAY_S), LB_OK);
    assert_int_equal(drop('b', 3), 1);
    assert_int_equal(certify('b', 1, 1, DAY_S), LB_OK);
    assert_int_equal(read_box('b', &box), LB_OK);
    assert_int_equal(check(DB_DROP_BOX, 'b', box.changes - 1), LB_NOT_FOUND); /* something came */
    assert_int_equal(check(DB_DROP_BOX, 'b', box.changes), LB_OK);
    assert_int_equal(read_box('b', &box), LB_NOT_FOUND);
    assert_string_equal(heads('c', 0), "1");
    assert_int_equal(stats().mails, 1);
    assert_int_equal(due(), 2);
}

static void damaged_rows_are_left_out(void **state)
{
    struct box_mail mail = mail_of('b', 1);
    uint8_t key[BOX_KEY_SIZE];
    struct box_record box;

    (void)state;
    assert_int_equal(keep('b', 1, DAY_S), LB_OK);
    assert_int_equal(keep('b', 2, DAY_S), LB_OK);
    memcpy(key, mail.recipient.bytes, NODE_ID_SIZE);
    memcpy(key + NODE_ID_SIZE, mail.id, BOX_ID_SIZE);
    world_close(&world);
    world_write_row(&world, "mails", bytes_of(key, sizeof key), bytes_of_text("noise"));
    world_write_row(&world, "mails", bytes_of(key, 3), bytes_of_text("noise"));
    world_write_row(&world, "boxes", bytes_of(key, 3), bytes_of_text("noise"));
    world_open(&world);
    assert_string_equal(heads('b', 0), "2");
    assert_int_equal(read_box('b', &box), LB_OK);
    assert_int_equal(check(DB_DROP_BOX, 'b', box.changes), LB_OK);
    assert_string_equal(heads('b', 0), "");
    world.now_s += DAY_S + 1;
    (void)world_sweep(&world);
    assert_int_equal(due(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(set_up, mail_waits_for_its_recipient_alone),
        IN(set_up, lists_come_in_pages),
        IN(set_up, what_is_kept_already_stays_as_it_is),
        IN(set_up, what_was_dropped_does_not_come_back),
        IN(set_up, mail_ends_and_leaves_nothing),
        IN(set_up, mail_may_come_again_after_its_end),
        IN(set_up, boxes_come_up_for_their_checks),
        IN(set_up, a_box_that_others_keep_goes_whole),
        IN(set_up, damaged_rows_are_left_out),
    };

    return RUN_ROWS(full_rows, full) + RUN_ROWS(certificate_rows, certificate) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
