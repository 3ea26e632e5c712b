/*
 * record: what stands in the database may have been damaged. Whatever parses is within its bounds
 * and comes back the same when it is written and parsed again.
 */
#include "services/storage/box.h"
#include "services/storage/record.h"
#include "services/storage/store_clock.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buffer[4096];

static void item(struct bytes from)
{
    struct item_record record;
    struct item_record again;
    struct writer writer;

    if (item_record_get(from, &record) != LB_OK)
        return;
    writer_init(&writer, buffer, RECORD_ITEM_MAX);
    item_record_put(&record, &writer);
    assert(!writer.overflow);
    assert(item_record_get(bytes_of(buffer, writer.size), &again) == LB_OK);
    assert(item_is_same(&record.item, &again.item) && record.stored_s == again.stored_s);
    assert(record.ends_s == again.ends_s && record.check_s == again.check_s);
    assert(record.checked_s == again.checked_s && record.calm == again.calm);
    assert(record_source_equal(&record.source, &again.source));
}

static void peer(struct bytes from)
{
    struct peer_record record;
    struct peer_record again;
    struct writer writer;

    if (peer_record_get(from, &record) != LB_OK)
        return;
    writer_init(&writer, buffer, RECORD_PEER_MAX);
    peer_record_put(&record, &writer);
    assert(!writer.overflow);
    assert(peer_record_get(bytes_of(buffer, writer.size), &again) == LB_OK);
    assert(address_equal(&record.peer, &again.peer) && record.seed == again.seed);
}

static void publication(struct bytes from)
{
    struct publication_record record;
    struct publication_record again;
    struct writer writer;

    if (publication_record_get(from, &record) != LB_OK)
        return;
    writer_init(&writer, buffer, sizeof buffer);
    publication_record_put(&record, &writer);
    assert(publication_record_get(bytes_of(buffer, writer.size), &again) == LB_OK);
    assert(record.version == again.version && record.due_s == again.due_s);
    assert(record.tries == again.tries && record.renewed_s == again.renewed_s);
    assert(bytes_equal(record.item, again.item));
}

static void due(struct bytes from)
{
    struct due_record record;
    struct writer writer;

    if (due_record_get(from, &record) != LB_OK)
        return;
    assert(record.id.size <= RECORD_DUE_ID_MAX);
    writer_init(&writer, buffer, RECORD_DUE_MAX);
    due_record_put(&record, &writer);
    assert(bytes_equal(bytes_of(buffer, writer.size), from));
}

static void clock_record(struct bytes from)
{
    struct store_clock clock;
    struct writer writer;

    if (store_clock_get(from, &clock) != LB_OK)
        return;
    writer_init(&writer, buffer, STORE_CLOCK_RECORD);
    store_clock_put(&clock, &writer);
    assert(bytes_equal(bytes_of(buffer, writer.size), from));
}

/* Each of the three has one form. */
static void box(struct bytes from)
{
    struct box_mail_record mail;
    struct box_record record;
    struct box_certificate certificate;
    struct writer writer;

    writer_init(&writer, buffer, BOX_RECORD_MAX);
    if (box_mail_get(from, &mail) == LB_OK)
        box_mail_put(&mail, &writer);
    else if (box_record_get(from, &record) == LB_OK)
        box_record_put(&record, &writer);
    else if (box_certificate_get(from, &certificate) == LB_OK)
        box_certificate_put(&certificate, &writer);
    else
        return;
    assert(!writer.overflow && bytes_equal(bytes_of(buffer, writer.size), from));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen_record seen;
    struct quota_record quota;
    struct bytes from;

    if (size == 0)
        return 0;
    from = bytes_of(data + 1, size - 1);
    if (data[0] == 'b') {
        box(from);
        return 0;
    }
    switch (data[0] % 6) {
    case 0:
        item(from);
        break;
    case 1:
        peer(from);
        break;
    case 2:
        publication(from);
        break;
    case 3:
        due(from);
        break;
    case 4:
        clock_record(from);
        break;
    default:
        (void)!seen_record_get(from, &seen);
        (void)!quota_record_get(from, &quota);
    }
    return 0;
}
