#include "services/storage/record.h"

#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define BUFFER_MAX 2048

static const struct record_source self_source = { .is_self = true };

static struct record_source source_v4(uint8_t last)
{
    return (struct record_source){ .address = address_v4(192, 0, 2, last, 6881) };
}

static struct item_record an_item(bool is_mutable)
{
    struct item_record record = { .item = { .value = bytes_of_text("5:hello"),
                                            .is_mutable = is_mutable },
                                  .first_s = 10,
                                  .stored_s = 20,
                                  .ends_s = 30,
                                  .check_s = 40,
                                  .checked_s = 50,
                                  .calm = 3,
                                  .source = source_v4(1) };

    if (is_mutable) {
        record.item.seq = ITEM_SEQ_MAX;
        record.item.salt = bytes_of_text("salt");
        memset(record.item.public_key, 'k', sizeof record.item.public_key);
        memset(record.item.signature, 's', sizeof record.item.signature);
    }
    return record;
}

static size_t pack_item(const struct item_record *record, uint8_t buffer[BUFFER_MAX])
{
    struct writer writer;

    writer_init(&writer, buffer, BUFFER_MAX);
    item_record_put(record, &writer);
    assert_false(writer.overflow);
    return writer.size;
}

static void check_item(const struct item_record *record)
{
    struct item_record back;
    uint8_t buffer[BUFFER_MAX];
    size_t size = pack_item(record, buffer);

    assert_in_range(size, 1, RECORD_ITEM_MAX);
    assert_int_equal(item_record_get(bytes_of(buffer, size), &back), LB_OK);
    assert_true(item_is_same(&back.item, &record->item));
    assert_memory_equal(back.item.signature, record->item.signature, ED25519_SIGN_SIZE);
    assert_int_equal(back.first_s, record->first_s);
    assert_int_equal(back.stored_s, record->stored_s);
    assert_int_equal(back.ends_s, record->ends_s);
    assert_int_equal(back.check_s, record->check_s);
    assert_int_equal(back.checked_s, record->checked_s);
    assert_int_equal(back.calm, record->calm);
    assert_true(record_source_equal(&back.source, &record->source));
}

static void items_are_read_back(void **state)
{
    struct item_record record = an_item(false);

    (void)state;
    check_item(&record);
    record = an_item(true);
    check_item(&record);
    record.source = self_source;
    check_item(&record);
    assert_int_equal(address_parse("[2001:db8::1]:5", &record.source.address), LB_OK);
    record.source.is_self = false;
    check_item(&record);
}

static void the_largest_item_fits(void **state)
{
    static uint8_t value[ITEM_VALUE_MAX] = "996:";
    static uint8_t salt[ITEM_SALT_MAX];
    struct item_record record = an_item(true);

    (void)state;
    record.item.value = bytes_of(value, sizeof value);
    record.item.salt = bytes_of(salt, sizeof salt);
    assert_int_equal(address_parse("[2001:db8::1]:5", &record.source.address), LB_OK);
    check_item(&record);
}

static void an_item_cut_anywhere_is_damage(void **state)
{
    struct item_record record = an_item(true);
    struct item_record back;
    uint8_t buffer[BUFFER_MAX];
    size_t size = pack_item(&record, buffer);

    (void)state;
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(item_record_get(bytes_of(buffer, cut), &back), LB_CORRUPT);
    assert_int_equal(item_record_get(bytes_of(buffer, size + 1), &back), LB_CORRUPT);
}

/* One byte of an immutable item's record set to another value. */
static const struct damage_row {
    const char *what;
    size_t at;
    uint8_t byte;
} damage_rows[] = {
    { "a version to come", 0, 3 },
    { "a version before, but the times of this one", 0, 1 },
    { "no version", 0, 0 },
    { "an unknown flag", 1, 2 },
    { "mutable, but no key is there", 1, 1 },
    { "an address of 5 bytes", 43, 5 },
    { "an address of 255 bytes", 43, 255 },
    { "a salt where none may be", 50, 1 },
    { "a value longer than the record", 51, 0xff },
    { "a value that is no bencode", 53, 'x' },
};

static void damage_is_found(void **state)
{
    const struct damage_row *row = *state;
    struct item_record record = an_item(false);
    struct item_record back;
    uint8_t buffer[BUFFER_MAX];
    size_t size = pack_item(&record, buffer);

    assert_true(row->at < size && buffer[row->at] != row->byte);
    buffer[row->at] = row->byte;
    assert_int_equal(item_record_get(bytes_of(buffer, size), &back), LB_CORRUPT);
}

/* As lb-storage wrote it when an item lived from put to put: no end, no check. */
static const uint8_t item_of_version_1[] = { 1, 0,                                  /* immutable */
                                             0, 0,   0,   0,   0,   0,    0,    10, /* first_s */
                                             0, 0,   0,   0,   0,   0,    0,    20, /* stored_s */
                                             6, 192, 0,   2,   1,   0x1a, 0xe1,     /* from there */
                                             0,                                     /* no salt */
                                             0, 7,   '5', ':', 'h', 'e',  'l',  'l', 'o' };

static void an_item_of_version_1_is_read(void **state)
{
    const struct item_record record = an_item(false);
    struct item_record back;

    (void)state;
    assert_int_equal(item_record_get(bytes_of(item_of_version_1, sizeof item_of_version_1), &back),
                     LB_OK);
    assert_true(item_is_same(&back.item, &record.item));
    assert_int_equal(back.first_s, 10);
    assert_int_equal(back.stored_s, 20);
    assert_int_equal(back.ends_s, 0);
    assert_int_equal(back.check_s, 0);
    assert_true(record_source_equal(&back.source, &record.source));
    for (size_t cut = 0; cut < sizeof item_of_version_1; cut++)
        assert_int_equal(item_record_get(bytes_of(item_of_version_1, cut), &back), LB_CORRUPT);
}

static size_t pack_peer(const struct peer_record *record, uint8_t buffer[RECORD_PEER_MAX])
{
    struct writer writer;

    writer_init(&writer, buffer, RECORD_PEER_MAX);
    peer_record_put(record, &writer);
    assert_false(writer.overflow);
    return writer.size;
}

static void peers_are_read_back(void **state)
{
    static const char *const addresses[] = { "10.0.0.1:6881", "[2001:db8::1]:1", "0.0.0.0:7" };
    uint8_t buffer[RECORD_PEER_MAX];
    uint8_t head[RECORD_PEER_HEAD];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct peer_record record = { .seed = i == 1, .announced_s = 99, .source = source_v4(7) };
        struct peer_record back;
        struct writer writer;
        size_t size;

        assert_int_equal(address_parse(addresses[i], &record.peer), LB_OK);
        size = pack_peer(&record, buffer);
        assert_int_equal(peer_record_get(bytes_of(buffer, size), &back), LB_OK);
        assert_true(address_equal(&back.peer, &record.peer));
        assert_int_equal(back.seed, record.seed);
        assert_int_equal(back.is_self, i == 2);
        assert_int_equal(back.announced_s, 99);
        writer_init(&writer, head, sizeof head);
        peer_record_put_head(&record.peer, &writer);
        assert_false(writer.overflow);
        assert_memory_equal(buffer, head, writer.size);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(peer_record_get(bytes_of(buffer, cut), &back), LB_CORRUPT);
    }
}

/* Neighbours must not sit together, or a random start would always give the same few. */
static void neighbours_are_spread(void **state)
{
    unsigned quarters[4] = { 0 };
    uint8_t head[RECORD_PEER_HEAD];

    (void)state;
    for (unsigned i = 0; i < 250; i++) {
        struct address peer = address_v4(10, 0, 0, (uint8_t)(i + 1), 6881);
        struct writer writer;

        writer_init(&writer, head, sizeof head);
        peer_record_put_head(&peer, &writer);
        quarters[head[0] / 64]++;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(quarters[i], 40, 85);
}

static void publications_are_read_back(void **state)
{
    struct item_record item = an_item(true);
    struct publication_record record = { .version = 5, .due_s = 77, .tries = 3, .renewed_s = 66 };
    struct publication_record back;
    uint8_t packed[BUFFER_MAX];
    uint8_t buffer[BUFFER_MAX];
    struct writer writer;

    (void)state;
    record.item = bytes_of(packed, pack_item(&item, packed));
    writer_init(&writer, buffer, sizeof buffer);
    publication_record_put(&record, &writer);
    assert_int_equal(publication_record_get(bytes_of(buffer, writer.size), &back), LB_OK);
    assert_int_equal(back.version, 5);
    assert_int_equal(back.due_s, 77);
    assert_int_equal(back.tries, 3);
    assert_int_equal(back.renewed_s, 66);
    assert_true(bytes_equal(back.item, record.item));
    for (size_t cut = 0; cut < writer.size; cut++)
        assert_int_equal(publication_record_get(bytes_of(buffer, cut), &back), LB_CORRUPT);
}

static void a_publication_of_version_1_is_read(void **state)
{
    struct publication_record back;
    uint8_t buffer[BUFFER_MAX];
    struct writer writer;

    (void)state;
    writer_init(&writer, buffer, sizeof buffer);
    writer_u8(&writer, 1);
    writer_u64(&writer, 5);
    writer_u64(&writer, 77);
    writer_u8(&writer, 3);
    writer_put(&writer, item_of_version_1, sizeof item_of_version_1);
    assert_int_equal(publication_record_get(bytes_of(buffer, writer.size), &back), LB_OK);
    assert_int_equal(back.due_s, 77);
    assert_int_equal(back.renewed_s, 0);
    assert_int_equal(back.item.size, sizeof item_of_version_1);
}

static void small_records_are_read_back(void **state)
{
    const struct seen_record seen = { .seq = 3, .until_s = 4 };
    const struct quota_record quota = { .count = 5, .bytes = 6 };
    struct seen_record seen_back;
    struct quota_record quota_back;
    uint8_t buffer[64];
    struct writer writer;

    (void)state;
    writer_init(&writer, buffer, sizeof buffer);
    seen_record_put(&seen, &writer);
    assert_int_equal(seen_record_get(bytes_of(buffer, writer.size), &seen_back), LB_OK);
    assert_memory_equal(&seen_back, &seen, sizeof seen);
    assert_int_equal(seen_record_get(bytes_of(buffer, writer.size - 1), &seen_back), LB_CORRUPT);
    writer_init(&writer, buffer, sizeof buffer);
    quota_record_put(&quota, &writer);
    assert_int_equal(quota_record_get(bytes_of(buffer, writer.size), &quota_back), LB_OK);
    assert_memory_equal(&quota_back, &quota, sizeof quota);
    assert_int_equal(quota_record_get(bytes_of(NULL, 0), &quota_back), LB_CORRUPT);
}

static void due_rows_sort_by_kind_and_time(void **state)
{
    static const uint8_t id[NODE_ID_SIZE] = { 1 };
    const struct due_record early = { .kind = DUE_ITEM,
                                      .due_s = 255,
                                      .id = bytes_of(id, sizeof id) };
    const struct due_record late = { .kind = DUE_ITEM,
                                     .due_s = 256,
                                     .id = bytes_of(id, sizeof id) };
    uint8_t a[RECORD_DUE_MAX];
    uint8_t b[RECORD_DUE_MAX];
    struct due_record back;
    struct writer writer;

    (void)state;
    writer_init(&writer, a, sizeof a);
    due_record_put(&early, &writer);
    writer_init(&writer, b, sizeof b);
    due_record_put(&late, &writer);
    assert_true(memcmp(a, b, writer.size) < 0);
    assert_int_equal(due_record_get(bytes_of(b, writer.size), &back), LB_OK);
    assert_int_equal(back.kind, DUE_ITEM);
    assert_int_equal(back.due_s, 256);
    assert_true(bytes_equal(back.id, late.id));
    assert_int_equal(due_record_get(bytes_of(b, writer.size - 1), &back), LB_CORRUPT);
    b[0] = DUE_KINDS;
    assert_int_equal(due_record_get(bytes_of(b, writer.size), &back), LB_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_read_back),
        cmocka_unit_test(the_largest_item_fits),
        cmocka_unit_test(an_item_cut_anywhere_is_damage),
        cmocka_unit_test(an_item_of_version_1_is_read),
        cmocka_unit_test(a_publication_of_version_1_is_read),
        cmocka_unit_test(peers_are_read_back),
        cmocka_unit_test(neighbours_are_spread),
        cmocka_unit_test(publications_are_read_back),
        cmocka_unit_test(small_records_are_read_back),
        cmocka_unit_test(due_rows_sort_by_kind_and_time),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(damage_rows, damage_is_found);
}
