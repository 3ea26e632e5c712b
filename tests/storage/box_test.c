#include "services/storage/box.h"

#include "services/storage/box_drafts.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct node_id id_of(uint8_t byte)
{
    return (struct node_id){ .bytes = { byte } };
}

/* ---- parts ---- */

static const struct part_row {
    const char *what;
    uint32_t size, keep_s, offset, data_size;
    lb_err err;
} part_rows[] = {
    { "a mail of one part", 100, 60, 0, 100, LB_OK },
    { "a full part", 901, 60, 0, 900, LB_OK },
    { "the last part has the rest", 901, 60, 900, 1, LB_OK },
    { "the largest mail", BOX_MAIL_MAX, BOX_KEEP_MAX_S, 40500, 460, LB_OK },
    { "a larger one", BOX_MAIL_MAX + 1, 60, 0, 900, LB_TOO_BIG },
    { "a size beyond all", UINT32_MAX, 60, 0, 900, LB_TOO_BIG },
    { "a mail of nothing", 0, 60, 0, 0, LB_INVALID },
    { "a part behind the end", 900, 60, 900, 0, LB_INVALID },
    { "an offset beyond all", 900, 60, UINT32_MAX, 1, LB_INVALID },
    { "an offset between two parts", 1800, 60, 450, 900, LB_INVALID },
    { "a part that is too short", 1800, 60, 0, 899, LB_INVALID },
    { "a part that is too long", 1800, 60, 0, 901, LB_INVALID },
    { "a last part that is too long", 901, 60, 900, 2, LB_INVALID },
    { "no time to keep it", 100, 0, 0, 100, LB_INVALID },
    { "more than 30 days", 100, BOX_KEEP_MAX_S + 1, 0, 100, LB_INVALID },
};

static void part(void **state)
{
    static const uint8_t bytes[1000];
    const struct part_row *row = *state;
    const struct box_part checked = { .size = row->size,
                                      .keep_s = row->keep_s,
                                      .offset = row->offset,
                                      .data = bytes_of(bytes, row->data_size) };
    const char *reason = NULL;

    assert_int_equal(box_part_check(&checked, &reason), row->err);
    assert_int_equal(*reason == '\0', row->err == LB_OK);
    assert_true(strlen(reason) <= 100); /* proto/peer.proto */
}

/* ---- limits ---- */

#define MAP (1024u * 1024 * 1024) /* so 128 MiB of mail, of a recipient 16, of a sender 8 */
#define MIB (1024u * 1024)

static const struct limit_row {
    const char *what;
    struct quota_record all, recipient, sender;
    bool is_neighbour;
    enum box_limit limit;
} limit_rows[] = {
    { "an empty box", { 0, 0 }, { 0, 0 }, { 0, 0 }, false, BOX_ROOM },
    { "all is full by count", { BOX_MAILS_MAX, 0 }, { 0, 0 }, { 0, 0 }, true, BOX_FULL },
    { "one less", { BOX_MAILS_MAX - 1, 0 }, { 0, 0 }, { 0, 0 }, true, BOX_ROOM },
    { "all is full by bytes", { 1, 128 * MIB }, { 0, 0 }, { 0, 0 }, true, BOX_FULL },
    { "room for one more", { 1, 128 * MIB - 4608 }, { 0, 0 }, { 0, 0 }, true, BOX_ROOM },
    { "a recipient has too many", { 1, 0 }, { 512, 0 }, { 0, 0 }, true, BOX_RECIPIENT_FULL },
    { "or too much", { 1, 0 }, { 1, 16 * MIB }, { 0, 0 }, true, BOX_RECIPIENT_FULL },
    { "a sender has sent too many", { 1, 0 }, { 0, 0 }, { 256, 0 }, false, BOX_SENDER_FULL },
    { "or too much", { 1, 0 }, { 0, 0 }, { 1, 8 * MIB }, false, BOX_SENDER_FULL },
    { "a neighbour may bring more", { 1, 0 }, { 0, 0 }, { 256, 8 * MIB }, true, BOX_ROOM },
    { "but not all", { 1, 0 }, { 0, 0 }, { 4096, 0 }, true, BOX_SENDER_FULL },
    { "nor in bytes", { 1, 0 }, { 0, 0 }, { 1, 32 * MIB }, true, BOX_SENDER_FULL },
};

static void limit(void **state)
{
    const struct limit_row *row = *state;
    const struct box_usage usage = { .all = row->all,
                                     .recipient = row->recipient,
                                     .sender = row->sender };

    assert_int_equal(box_cost(1), 4608);
    assert_int_equal(box_admit(&usage, box_cost(1), row->is_neighbour, MAP), row->limit);
}

static void a_huge_store_keeps_no_more_than_256_mib(void **state)
{
    const struct box_usage usage = { .all = { 1, BOX_BYTES_MAX } };

    (void)state;
    assert_int_equal(box_admit(&usage, 1, true, UINT64_C(1) << 40), BOX_FULL);
}

/* ---- records ---- */

/* Whatever is cut off or changed in a record: it is read or refused, never trusted. */
static void records_survive_damage(void **state)
{
    const struct box_mail_record mail = { .sender = id_of(7), .size = 900, .ends_s = 5 };
    const struct box_record box = { .mails = 3, .changes = 9, .ends_s = 8, .calm = 2 };
    const struct box_certificate certificate = { .not_before_s = 4,
                                                 .serial = 5,
                                                 .ends_s = 6,
                                                 .leaf = bytes_of_text("leaf"),
                                                 .intermediate = bytes_of_text("between") };
    uint8_t buffers[3][128];
    struct writer writers[3];
    struct box_mail_record mail_back;
    struct box_record box_back;
    struct box_certificate certificate_back;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        writer_init(&writers[i], buffers[i], sizeof buffers[i]);
    box_mail_put(&mail, &writers[0]);
    box_record_put(&box, &writers[1]);
    box_certificate_put(&certificate, &writers[2]);
    assert_int_equal(box_mail_get(bytes_of(buffers[0], writers[0].size), &mail_back), LB_OK);
    assert_memory_equal(mail_back.sender.bytes, mail.sender.bytes, NODE_ID_SIZE);
    assert_int_equal(mail_back.ends_s, 5);
    assert_int_equal(box_record_get(bytes_of(buffers[1], writers[1].size), &box_back), LB_OK);
    assert_int_equal(box_back.changes, 9);
    assert_int_equal(box_back.calm, 2);
    assert_int_equal(box_certificate_get(bytes_of(buffers[2], writers[2].size), &certificate_back),
                     LB_OK);
    assert_true(bytes_equal(certificate_back.leaf, certificate.leaf));
    assert_true(bytes_equal(certificate_back.intermediate, certificate.intermediate));
    for (size_t size = 0; size < writers[0].size; size++)
        assert_int_equal(box_mail_get(bytes_of(buffers[0], size), &mail_back), LB_CORRUPT);
    for (size_t size = 0; size < writers[1].size; size++)
        assert_int_equal(box_record_get(bytes_of(buffers[1], size), &box_back), LB_CORRUPT);
    for (size_t size = 0; size < 32; size++)
        assert_int_equal(box_certificate_get(bytes_of(buffers[2], size), &certificate_back),
                         LB_CORRUPT);
    for (size_t i = 0; i < 3; i++)
        buffers[i][0]++; /* a version to come */
    assert_int_equal(box_mail_get(bytes_of(buffers[0], writers[0].size), &mail_back), LB_CORRUPT);
    assert_int_equal(box_record_get(bytes_of(buffers[1], writers[1].size), &box_back), LB_CORRUPT);
    assert_int_equal(box_certificate_get(bytes_of(buffers[2], writers[2].size), &certificate_back),
                     LB_CORRUPT);
}

/* ---- drafts ---- */

/*
 * Parts come: sender, mail and number of the part, as "a1.0"; each mail has 3 parts. Mails in
 * capitals have another size. What is complete then stands in `complete`, in its order. "~" is ten
 * minutes.
 */
static const struct draft_row {
    const char *what, *parts, *complete;
} draft_rows[] = {
    { "parts make a mail", "a1.0 a1.1 a1.2", "a1" },
    { "in any order", "a1.2 a1.0 a1.1", "a1" },
    { "one that is missing keeps it back", "a1.0 a1.1 a1.1 a1.0", "" },
    { "the same part twice changes nothing", "a1.0 a1.0 a1.1 a1.2", "a1" },
    { "two mails of one sender", "a1.0 a2.0 a1.1 a2.1 a2.2 a1.2", "a2 a1" },
    { "two senders of one mail do not mix", "a1.0 b1.1 a1.2", "" },
    { "each brings its own", "a1.0 b1.0 a1.1 b1.1 b1.2 a1.2", "b1 a1" },
    { "a sender has eight, then its oldest goes",
      "a1.0 a2.0 a3.0 a4.0 a5.0 a6.0 a7.0 a8.0 a9.0 a1.1 a1.2 a3.1 a3.2", "a3" },
    { "those of others stay", "b1.0 a1.0 a2.0 a3.0 a4.0 a5.0 a6.0 a7.0 a8.0 a9.0 b1.1 b1.2", "b1" },
    { "after ten minutes it is forgotten", "a1.0 a1.1 ~ a1.2", "" },
    { "and begun anew", "a1.0 a1.1 ~ a1.2 a1.0 a1.1", "a1" },
    { "what is complete can come again", "a1.0 a1.1 a1.2 a1.0 a1.1 a1.2", "a1 a1" },
};

static struct box_part part_of(const char *text, const uint8_t *bytes)
{
    uint32_t offset = (uint32_t)(text[3] - '0') * BOX_PART_SIZE;
    struct box_part part = { .size = 2 * BOX_PART_SIZE + 5, .keep_s = 60, .offset = offset };

    part.mail.recipient = id_of(1);
    part.mail.id[0] = (uint8_t)text[1];
    part.data = bytes_of(bytes + offset, box_part_size(part.size, offset));
    return part;
}

static void drafts(void **state)
{
    static uint8_t bytes[BOX_MAIL_MAX];
    static struct box_drafts self;
    const struct draft_row *row = *state;
    char complete[64] = "";
    uint64_t now_ms = 1000;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 / 5);
    for (const char *at = row->parts; *at != '\0'; at += strcspn(at, " "), at += *at == ' ') {
        const struct node_id sender = id_of((uint8_t)*at);
        struct box_part part;
        bool is_complete;
        uint8_t *data;
        uint32_t keep_s;

        now_ms++;
        if (*at == '~') {
            now_ms += BOX_DRAFT_MS;
            box_drafts_expire(&self, now_ms);
            continue;
        }
        part = part_of(at, bytes);
        assert_int_equal(
            box_drafts_add(&self, &part, &sender, now_ms, &is_complete, &data, &keep_s), LB_OK);
        assert_int_equal(box_drafts_has(&self, &part.mail, &sender), !is_complete);
        if (!is_complete)
            continue;
        assert_memory_equal(data, bytes, part.size);
        assert_int_equal(keep_s, 60);
        free(data);
        snprintf(complete + strlen(complete), sizeof complete - strlen(complete), "%s%.2s",
                 *complete != '\0' ? " " : "", at);
    }
    assert_string_equal(complete, row->complete);
    box_drafts_done(&self);
}

static void a_part_of_another_size_is_refused(void **state)
{
    static uint8_t bytes[BOX_MAIL_MAX];
    static struct box_drafts self;
    const struct node_id sender = id_of(9);
    struct box_part part = part_of("a1.0", bytes);
    bool is_complete;
    uint8_t *data;
    uint32_t keep_s;

    (void)state;
    assert_int_equal(box_drafts_add(&self, &part, &sender, 1, &is_complete, &data, &keep_s), LB_OK);
    part.size += BOX_PART_SIZE;
    assert_int_equal(box_drafts_add(&self, &part, &sender, 1, &is_complete, &data, &keep_s),
                     LB_CONFLICT);
    box_drafts_done(&self);
}

/* Sixty-four in all; the one begun first gives way to what comes. */
static void when_all_places_are_taken_the_oldest_goes(void **state)
{
    static uint8_t bytes[BOX_MAIL_MAX];
    static struct box_drafts self;
    struct box_part part = part_of("a1.0", bytes);
    bool is_complete;
    uint8_t *data;
    uint32_t keep_s;

    (void)state;
    for (unsigned i = 0; i <= BOX_DRAFTS_MAX; i++) {
        const struct node_id sender = id_of((uint8_t)i);

        assert_int_equal(
            box_drafts_add(&self, &part, &sender, 100 + i, &is_complete, &data, &keep_s), LB_OK);
    }
    for (unsigned i = 0; i <= BOX_DRAFTS_MAX; i++) {
        const struct node_id sender = id_of((uint8_t)i);

        assert_int_equal(box_drafts_has(&self, &part.mail, &sender), i > 0);
    }
    box_drafts_done(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_huge_store_keeps_no_more_than_256_mib),
        cmocka_unit_test(records_survive_damage),
        cmocka_unit_test(a_part_of_another_size_is_refused),
        cmocka_unit_test(when_all_places_are_taken_the_oldest_goes),
    };

    return RUN_ROWS(part_rows, part) + RUN_ROWS(limit_rows, limit) + RUN_ROWS(draft_rows, drafts) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
