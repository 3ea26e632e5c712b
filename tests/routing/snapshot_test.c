#include "services/routing/snapshot.h"

#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

static struct snapshot *two_contacts(void)
{
    struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));

    memset(snapshot->self_id.bytes, 0xab, NODE_ID_SIZE);
    snapshot->count = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct snapshot_contact *contact = &snapshot->contacts[i];
        contact->contact.id.bytes[0] = (uint8_t)(i + 1);
        contact->contact.address = address_v4(10, 0, 0, (uint8_t)(i + 1), (uint16_t)(7000 + i));
        contact->silent_s = 10 + i;
        contact->age_s = 1000 + i;
    }
    return snapshot;
}

/* What is done to the bytes of a good snapshot of two contacts before it is read. */
static const struct row {
    const char *what;
    int cut;    /* bytes taken off the end */
    int at;     /* this byte is changed; -1: none; from the end: -2 is the last */
    int change; /* added to it */
    lb_err err;
    size_t count;
} rows[] = {
    { "what was written is read", 0, -1, 0, LB_OK, 2 },
    { "a foreign file is told", 0, 0, 1, LB_CORRUPT, 0 },
    { "a later version is not understood", 0, 11, 1, LB_UNSUPPORTED, 0 },
    { "a torn file is told", 1, -1, 0, LB_CORRUPT, 0 },
    { "an empty file is told", 136, -1, 0, LB_CORRUPT, 0 },
    { "a header alone is too short", 100, -1, 0, LB_CORRUPT, 0 },
    { "a count beyond the file is told", 0, 35, 1, LB_CORRUPT, 0 },
    { "an absurd count is told", 0, 32, 0x7f, LB_CORRUPT, 0 },
    { "a changed address is told", 0, 70, 1, LB_CORRUPT, 0 },
    { "a changed checksum is told", 0, -2, 1, LB_CORRUPT, 0 },
};

static void is_read(void **state)
{
    const struct row *row = *state;
    struct snapshot *before = two_contacts(), *after = xcalloc(1, sizeof(*after));
    uint8_t *data = xcalloc(1, SNAPSHOT_SIZE_MAX);
    size_t size = snapshot_write(before, data);

    assert_int_equal(size, 136);
    if (row->at != -1) {
        uint8_t *byte = row->at >= 0 ? &data[row->at] : &data[size - 1];
        *byte = (uint8_t)(*byte + row->change);
    }
    assert_int_equal(snapshot_read(bytes_of(data, size - (size_t)row->cut), after), row->err);
    assert_int_equal(after->count, row->count);
    if (row->err == LB_OK) {
        assert_memory_equal(&after->self_id, &before->self_id, sizeof(after->self_id));
        for (size_t i = 0; i < row->count; i++) {
            assert_true(
                node_id_equal(&after->contacts[i].contact.id, &before->contacts[i].contact.id));
            assert_true(address_equal(&after->contacts[i].contact.address,
                                      &before->contacts[i].contact.address));
            assert_int_equal(after->contacts[i].silent_s, before->contacts[i].silent_s);
            assert_int_equal(after->contacts[i].age_s, before->contacts[i].age_s);
        }
    }
    free(data);
    free(before);
    free(after);
}

static void unusable_addresses_are_left_out(void **state)
{
    struct snapshot *before = two_contacts(), *after = xcalloc(1, sizeof(*after));
    uint8_t *data = xcalloc(1, SNAPSHOT_SIZE_MAX);

    (void)state;
    before->contacts[0].contact.address.port = 0;
    size_t size = snapshot_write(before, data);
    assert_int_equal(snapshot_read(bytes_of(data, size), after), LB_OK);
    assert_int_equal(after->count, 1);
    assert_int_equal(after->contacts[0].contact.id.bytes[0], 2);
    free(data);
    free(before);
    free(after);
}

static void a_full_one_fits(void **state)
{
    struct snapshot *before = two_contacts(), *after = xcalloc(1, sizeof(*after));
    uint8_t *data = xcalloc(1, SNAPSHOT_SIZE_MAX);

    (void)state;
    before->count = SNAPSHOT_CONTACTS_MAX;
    for (size_t i = 0; i < before->count; i++) {
        before->contacts[i] = before->contacts[i % 2];
    }
    assert_int_equal(snapshot_write(before, data), SNAPSHOT_SIZE_MAX);
    assert_int_equal(snapshot_read(bytes_of(data, SNAPSHOT_SIZE_MAX), after), LB_OK);
    assert_int_equal(after->count, SNAPSHOT_CONTACTS_MAX);
    free(data);
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unusable_addresses_are_left_out),
        cmocka_unit_test(a_full_one_fits),
    };

    return RUN_ROWS(rows, is_read) + cmocka_run_group_tests(tests, NULL, NULL);
}
