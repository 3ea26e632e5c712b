/* Who is put out of the network leaves the routing table. */
#include "services/transport/denials.h"

#include "libcommon/memory.h"
#include "libcommon/pki/deny_list.h"
#include "libcommon/routing_page.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/pki_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MANY 100u

static struct pki_network network;
static struct routing_page *page;

static struct node_id id_of(unsigned number)
{
    return (struct node_id){ .bytes = { (uint8_t)number } };
}

/* The table: contacts with these letters for ids, IPv4, a capital IPv6. They ascend. */
static void publish(const char *letters)
{
    static struct contact contacts[ROUTING_FAMILIES][MANY];
    const struct contact *lists[ROUTING_FAMILIES] = { contacts[0], contacts[1] };
    uint32_t counts[ROUTING_FAMILIES] = { 0, 0 };

    for (; *letters != '\0'; letters++) {
        unsigned family = *letters < 'a' ? ROUTING_V6 : ROUTING_V4;

        contacts[family][counts[family]++].id = id_of((uint8_t)(*letters | 0x20));
    }
    routing_page_publish(page, lists, counts);
}

static struct deny_list *deny(uint64_t number, const char *letters)
{
    struct node_id nodes[MANY];
    struct deny_list *list;
    size_t size;
    uint8_t *data;

    for (size_t i = 0; letters[i] != '\0'; i++)
        nodes[i] = id_of((uint8_t)letters[i]);
    data = pki_deny_list(&network, number, nodes, strlen(letters), &size);
    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, network.now_s, &list),
                     LB_OK);
    free(data);
    return list;
}

static const char *look(struct denials *self, const struct deny_list *denied)
{
    static char text[DENIALS_MAX + 1];
    struct node_id ids[DENIALS_MAX];
    size_t count = denials_find(self, page, denied, ids);

    for (size_t i = 0; i < count; i++)
        text[i] = (char)ids[i].bytes[0];
    text[count] = '\0';
    return text;
}

static int set_up(void **state)
{
    const struct node_id self = id_of(1);

    (void)state;
    page = xcalloc(1, sizeof(*page));
    routing_page_init(page, &self, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(page);
    return 0;
}

static void each_is_told_of_once(void **state)
{
    struct denials self = { 0 };
    struct deny_list *first = deny(1, "cz");
    struct deny_list *second = deny(2, "cez");

    (void)state;
    publish("abcDE");
    assert_string_equal(look(&self, NULL), "");
    assert_string_equal(look(&self, first), "c");
    assert_string_equal(look(&self, first), ""); /* nothing is new */
    publish("abDE");
    assert_string_equal(look(&self, first), "");
    assert_string_equal(look(&self, second), "e"); /* a newer list */
    publish("abcD");                               /* it took one up again */
    assert_string_equal(look(&self, second), "c");
    deny_list_free(&first);
    deny_list_free(&second);
}

static void a_table_made_anew_is_looked_through(void **state)
{
    const struct node_id id = id_of(1);
    struct denials self = { 0 };
    struct deny_list *denied = deny(1, "c");

    (void)state;
    publish("abc");
    assert_string_equal(look(&self, denied), "c");
    routing_page_init(page, &id, 2);
    publish("bc");
    assert_string_equal(look(&self, denied), "c");
    deny_list_free(&denied);
}

/* A whole class is put out: so many a message; what is told leaves the table. */
static void many_take_several_seconds(void **state)
{
    static struct contact contacts[MANY];
    const struct contact *lists[ROUTING_FAMILIES] = { contacts, NULL };
    uint32_t counts[ROUTING_FAMILIES] = { MANY, 0 };
    struct node_id nodes[MANY];
    struct node_id ids[DENIALS_MAX];
    struct denials self = { 0 };
    struct deny_list *denied;
    size_t size;
    uint8_t *data;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        nodes[i] = id_of((unsigned)i + 2);
        contacts[i].id = nodes[i];
    }
    data = pki_deny_list(&network, 1, nodes, MANY, &size);
    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, network.now_s, &denied),
                     LB_OK);
    routing_page_publish(page, lists, counts);
    assert_int_equal(denials_find(&self, page, denied, ids), DENIALS_MAX);
    assert_int_equal(denials_find(&self, page, denied, ids), DENIALS_MAX); /* not yet forgotten */
    lists[0] = contacts + DENIALS_MAX;
    counts[0] = MANY - DENIALS_MAX;
    routing_page_publish(page, lists, counts);
    assert_int_equal(denials_find(&self, page, denied, ids), MANY - DENIALS_MAX);
    assert_int_equal(denials_find(&self, page, denied, ids), 0);
    deny_list_free(&denied);
    free(data);
}

static void nobody_is_there_yet(void **state)
{
    struct denials self = { 0 };
    struct deny_list *denied = deny(1, "c");
    struct node_id ids[DENIALS_MAX];

    (void)state;
    assert_int_equal(denials_find(&self, NULL, denied, ids), 0);
    assert_string_equal(look(&self, denied), ""); /* nothing was published */
    publish("c");
    assert_string_equal(look(&self, denied), "c");
    deny_list_free(&denied);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(each_is_told_of_once),
        WITH(a_table_made_anew_is_looked_through),
        WITH(many_take_several_seconds),
        WITH(nobody_is_there_yet),
    };
    int failed;

    pki_network_make(&network, "lab", (uint64_t)time(NULL));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pki_network_done(&network);
    return failed;
}
