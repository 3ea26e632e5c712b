#include "libcommon/routing_page.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const struct node_id self_id = { { 0xaa } };

static struct routing_page *make_page(void)
{
    struct routing_page *page = xcalloc(1, sizeof(*page));

    routing_page_init(page, &self_id, 3);
    return page;
}

/* `count` contacts whose ids begin with 0, 1, 2 ... and whose ports are all `mark`. */
static void publish(struct routing_page *page, uint32_t count_v4, uint32_t count_v6, uint16_t mark)
{
    static struct contact contacts[ROUTING_PAGE_CONTACTS_MAX];
    const struct contact *families[ROUTING_FAMILIES] = { contacts, contacts };
    const uint32_t counts[ROUTING_FAMILIES] = { count_v4, count_v6 };

    for (uint32_t i = 0; i < ROUTING_PAGE_CONTACTS_MAX; i++) {
        contacts[i].id = (struct node_id){ { (uint8_t)(i >> 8), (uint8_t)i, (uint8_t)mark } };
        contacts[i].address = address_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, mark);
    }
    routing_page_publish(page, families, counts);
}

static void nothing_published_answers_nothing(void **state)
{
    struct routing_page *page = make_page();
    struct contact found[8];

    (void)state;
    assert_true(routing_page_is_valid(page, sizeof(*page)));
    assert_true(node_id_equal(&page->self_id, &self_id));
    assert_int_equal(page->generation, 3);
    assert_int_equal(routing_page_closest(page, ROUTING_V4, &self_id, 8, found), 0);
    free(page);
}

static void addresses_are_found_in_either_family(void **state)
{
    struct routing_page *page = make_page();
    const struct address first = address_v4(10, 0, 0, 0, 7), last = address_v4(10, 0, 0, 19, 7);
    const struct address other_port = address_v4(10, 0, 0, 19, 8);
    struct contact v6 = { .address = { .ip = { 0x20, 1 }, .port = 7 } };
    const struct contact *families[ROUTING_FAMILIES] = { NULL, &v6 };
    const uint32_t counts[ROUTING_FAMILIES] = { 0, 1 };

    (void)state;
    assert_int_equal(routing_page_count(page), 0);
    assert_false(routing_page_holds(page, &first));
    publish(page, 20, 2, 7);
    assert_int_equal(routing_page_count(page), 22);
    assert_true(routing_page_holds(page, &first));
    assert_true(routing_page_holds(page, &last));
    assert_false(routing_page_holds(page, &other_port));
    routing_page_publish(page, families, counts);
    assert_int_equal(routing_page_count(page), 1);
    assert_false(routing_page_holds(page, &first));
    assert_true(routing_page_holds(page, &v6.address));
    free(page);
}

static void the_last_publication_is_read(void **state)
{
    struct routing_page *page = make_page();
    struct node_id target = { { 0, 5 } };
    struct contact found[32];

    (void)state;
    for (uint16_t mark = 1; mark < 6; mark++) {
        publish(page, 20, 2, mark);
        assert_int_equal(routing_page_closest(page, ROUTING_V4, &target, 8, found), 8);
        assert_int_equal(found[0].id.bytes[1], 5);
        assert_int_equal(found[1].id.bytes[1], 4);
        assert_int_equal(found[0].address.port, mark);
        assert_int_equal(routing_page_closest(page, ROUTING_V6, &target, 8, found), 2);
    }
    publish(page, 0, ROUTING_PAGE_CONTACTS_MAX, 9);
    assert_int_equal(routing_page_closest(page, ROUTING_V4, &target, 8, found), 0);
    assert_int_equal(routing_page_closest(page, ROUTING_V6, &target, 32, found), 32);
    assert_int_equal(routing_page_closest(page, ROUTING_V6, &target, 1000, found), 32);
    free(page);
}

/* A writer that dies in the middle has touched only the copy nobody reads. */
static void a_dead_writer_leaves_the_published_copy(void **state)
{
    struct routing_page *page = make_page();
    struct node_id target = { { 0, 5 } };
    struct contact found[8];

    (void)state;
    publish(page, 20, 20, 1);
    memset(&page->copies[(page->version + 1) % 2], 0xee, sizeof(page->copies[0]));
    assert_int_equal(routing_page_closest(page, ROUTING_V4, &target, 8, found), 8);
    assert_int_equal(found[0].address.port, 1);
    free(page);
}

static void a_count_out_of_bounds_answers_nothing(void **state)
{
    struct routing_page *page = make_page();
    struct contact found[8];

    (void)state;
    publish(page, 20, 20, 1);
    page->copies[1].family[ROUTING_V4].count = ROUTING_PAGE_CONTACTS_MAX + 1;
    assert_int_equal(routing_page_closest(page, ROUTING_V4, &self_id, 8, found), 0);
    assert_false(routing_page_is_valid(page, sizeof(*page)));
    free(page);
}

static void what_is_no_page_is_refused(void **state)
{
    struct routing_page *page = make_page();

    (void)state;
    assert_false(routing_page_is_valid(page, sizeof(*page) - 1));
    assert_false(routing_page_is_valid(page, 0));
    page->layout++;
    assert_false(routing_page_is_valid(page, sizeof(*page)));
    page->layout--;
    page->magic ^= 1;
    assert_false(routing_page_is_valid(page, sizeof(*page)));
    free(page);
}

/* The owner of the mapping watches `retired`; the old page goes on answering until it is let go. */
static void a_retired_page_still_answers(void **state)
{
    struct routing_page *page = make_page();
    struct node_id target = { { 0, 5 } };
    struct contact found[8];

    (void)state;
    publish(page, 20, 20, 1);
    atomic_store(&page->retired, 1);
    assert_true(routing_page_is_valid(page, sizeof(*page)));
    assert_int_equal(routing_page_closest(page, ROUTING_V4, &target, 8, found), 8);
    free(page);
}

#define PUBLICATIONS 3000

static void *write_many(void *arg)
{
    for (uint16_t mark = 2; mark < PUBLICATIONS; mark++)
        publish(arg, mark % 100 + 20, 10, mark);
    return NULL;
}

/* Every answer comes from one publication: ids and ports carry its mark. */
static void reader_and_writer_agree(void **state)
{
    struct routing_page *page = make_page();
    struct random random;
    pthread_t writer;
    unsigned answers = 0;

    (void)state;
    random_init(&random, 5);
    publish(page, 20, 10, 1);
    assert_int_equal(pthread_create(&writer, NULL, write_many, page), 0);
    while (atomic_load(&page->version) < PUBLICATIONS - 1 || answers < 1000) {
        struct node_id target = node_id_random(&random);
        struct contact found[8];
        size_t count;

        target.bytes[0] = 0;
        count = routing_page_closest(page, ROUTING_V4, &target, 8, found);
        assert_true(count == 0 || count == 8); /* 0: torn eight times */
        answers += count > 0;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(found[i].address.port, found[0].address.port);
            assert_int_equal(found[i].id.bytes[2], found[0].address.port & 0xff);
            assert_int_equal(found[i].id.bytes[1], found[i].address.ip[15]);
            if (i > 0)
                assert_true(node_id_compare_distance(&target, &found[i - 1].id, &found[i].id) < 0);
        }
    }
    pthread_join(writer, NULL);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_published_answers_nothing),
        cmocka_unit_test(addresses_are_found_in_either_family),
        cmocka_unit_test(the_last_publication_is_read),
        cmocka_unit_test(a_dead_writer_leaves_the_published_copy),
        cmocka_unit_test(a_count_out_of_bounds_answers_nothing),
        cmocka_unit_test(what_is_no_page_is_refused),
        cmocka_unit_test(a_retired_page_still_answers),
        cmocka_unit_test(reader_and_writer_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
