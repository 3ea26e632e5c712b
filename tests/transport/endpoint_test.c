#include "services/transport/endpoint.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/transport/world.h"

#include <stdio.h>

#define ID   "2:id20:abcdefghij0123456789"
#define PING "d1:ad" ID "e1:q4:ping1:t2:aa1:y1:qe"

/*
 * A datagram from 10.0.0.9 and what is told to routing: q queried, a answered, s silent; and the
 * counter that grew besides packets_in. '*' stands for the id of our query to that node, which is
 * expected to be "abcdefghij0123456789".
 */
static const struct row {
    const char *what, *datagram;
    enum endpoint_verdict verdict;
    const char *told;
    enum endpoint_counter counter;
} rows[] = {
    { "who asks is told of", PING, ENDPOINT_SEND, "q", COUNT_PING },
    { "who is read-only is answered and not told of", "d1:ad" ID "e1:q4:ping2:roi1e1:t2:aa1:y1:qe",
      ENDPOINT_SEND, "", COUNT_PING },
    { "we are not told of ourselves",
      "d1:ad2:id20:\xff\1\2\3"
      "SELFSELFSELFSELF"
      "e1:q4:ping1:t2:aa1:y1:qe",
      ENDPOINT_SEND, "", COUNT_ANSWERED },
    { "who asks nonsense is not told of", "d1:ad" ID "e1:q4:vote1:t2:aa1:y1:qe", ENDPOINT_SEND, "",
      COUNT_REFUSED },
    { "an answer is told of", "d1:rd" ID "e1:t4:****1:y1:re", ENDPOINT_ANSWERED, "a",
      COUNT_REPLIES },
    { "who answers under another id is told of, and that the one expected is gone",
      "d1:rd2:id20:ABCDEFGHIJ0123456789e1:t4:****1:y1:re", ENDPOINT_ANSWERED, "as", COUNT_REPLIES },
    { "an error is an answer", "d1:eli202e3:huhe1:t4:****1:y1:ee", ENDPOINT_ANSWERED, "a",
      COUNT_ERRORS },
    { "an answer to nothing changes nothing", "d1:rd" ID "e1:t4:abcd1:y1:re", ENDPOINT_NOTHING, "",
      COUNT_STRANGE },
    { "a malformed datagram changes nothing", "d1:rd" ID "e1:t4:****1:y1:r", ENDPOINT_NOTHING, "",
      COUNT_MALFORMED },
};

static void told(const struct endpoint_result *result, char ret_text[3])
{
    static const char letters[] = {
        [SIGHTING_QUERIED] = 'q', [SIGHTING_ANSWERED] = 'a', [SIGHTING_SILENT] = 's'
    };

    for (unsigned i = 0; i < result->sightings_count; i++)
        ret_text[i] = letters[result->sightings[i].kind];
    ret_text[result->sightings_count] = '\0';
}

static void is_received(void **state)
{
    const struct row *row = *state;
    uint8_t id[KRPC_OWN_TRANSACTION];
    char datagram[128], text[3], *place;
    struct world world;
    uint64_t before;

    world_init(&world);
    world_start_ping(&world, id);
    snprintf(datagram, sizeof(datagram), "%s", row->datagram);
    place = strstr(datagram, "****");
    if (place)
        memcpy(place, id, sizeof(id));
    place = strstr(datagram, "\xff\1\2\3");
    if (place)
        memcpy(place, world_id.bytes, NODE_ID_SIZE);
    before = world.endpoint.counters[row->counter];
    world_receive(&world, &world_node, bytes_of(datagram, strlen(row->datagram)));
    assert_int_equal(world.result.verdict, row->verdict);
    told(&world.result, text);
    assert_string_equal(text, row->told);
    assert_int_equal(world.endpoint.counters[row->counter], before + 1);
    assert_int_equal(world.endpoint.counters[COUNT_PACKETS_IN], 1);
    world_done(&world);
}

/* Inside DTLS: the certificate names who sent it. */
static const struct certified_row {
    const char *what, *datagram;
    bool is_same; /* the certificate names "abcdefghij0123456789" */
    enum endpoint_verdict verdict;
    const char *told;
    enum endpoint_counter counter;
} certified_rows[] = {
    { "who asks under its own id is told of", PING, true, ENDPOINT_SEND, "q", COUNT_PING },
    { "who asks under another's is not heard", PING, false, ENDPOINT_NOTHING, "", COUNT_OTHER_ID },
    { "nor who says none", "d1:ade1:q4:ping1:t2:aa1:y1:qe", true, ENDPOINT_NOTHING, "",
      COUNT_OTHER_ID },
    { "an answer under its own id ends our query", "d1:rd" ID "e1:t4:****1:y1:re", true,
      ENDPOINT_ANSWERED, "a", COUNT_REPLIES },
    { "one under another's does not", "d1:rd" ID "e1:t4:****1:y1:re", false, ENDPOINT_NOTHING, "",
      COUNT_OTHER_ID },
    { "an error is of whom we meant", "d1:eli202e3:huhe1:t4:****1:y1:ee", true, ENDPOINT_ANSWERED,
      "a", COUNT_ERRORS },
    { "an error of another says that the one we meant is gone", "d1:eli202e3:huhe1:t4:****1:y1:ee",
      false, ENDPOINT_ANSWERED, "s", COUNT_ERRORS },
};

static void is_certified(void **state)
{
    const struct certified_row *row = *state;
    const struct node_id same = node_id_from((const uint8_t *)"abcdefghij0123456789");
    const struct node_id other = node_id_from((const uint8_t *)"ABCDEFGHIJ0123456789");
    uint8_t id[KRPC_OWN_TRANSACTION];
    char datagram[128], text[3], *place;
    struct world world;

    world_init(&world);
    world_start_ping(&world, id);
    snprintf(datagram, sizeof(datagram), "%s", row->datagram);
    place = strstr(datagram, "****");
    if (place)
        memcpy(place, id, sizeof(id));
    world.endpoint.certified = row->is_same ? &same : &other;
    world_receive(&world, &world_node, bytes_of(datagram, strlen(row->datagram)));
    assert_int_equal(world.result.verdict, row->verdict);
    told(&world.result, text);
    assert_string_equal(text, row->told);
    assert_int_equal(world.endpoint.counters[row->counter], 1);
    world_done(&world);
}

static void who_asks_often_is_told_of_once_a_minute(void **state)
{
    struct world world;
    unsigned count = 0;

    (void)state;
    world_init(&world);
    for (int second = 0; second < 150; second++) {
        world_receive(&world, &world_node, bytes_of_text(PING));
        count += world.result.sightings_count;
        world.now_us += 1000000;
    }
    assert_int_equal(count, 3);
    world_done(&world);
}

static void forged_askers_are_not_all_told_of(void **state)
{
    struct world world;
    unsigned count = 0;

    (void)state;
    world_init(&world);
    for (uint32_t i = 0; i < 65536; i++) { /* within a second */
        struct address from = address_v4(10, 9, (uint8_t)(i >> 8), (uint8_t)i, 1000);

        world_receive(&world, &from, bytes_of_text(PING));
        count += world.result.sightings_count;
    }
    assert_in_range(count, 1, SIGHTINGS_PER_SECOND);
    world_done(&world);
}

static void nothing_is_sent_where_nothing_can_be(void **state)
{
    const struct address nowhere[] = { address_v4(10, 0, 0, 1, 0), address_v4(224, 0, 0, 1, 1),
                                       address_v4(255, 255, 255, 255, 1) };
    struct krpc_query query = { .method = KRPC_PING };
    struct bytes datagram;
    struct world world;

    (void)state;
    world_init(&world);
    for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
        const struct contact to = { .address = nowhere[i] };
        const struct transaction_start start = { .query = &query, .to = &to };

        assert_int_equal(endpoint_start(&world.endpoint, &query, &start, world.now_us, &datagram),
                         LB_INVALID);
        world_receive(&world, &nowhere[i], bytes_of_text(PING));
        assert_int_equal(world.result.verdict, ENDPOINT_NOTHING);
    }
    assert_int_equal(world.endpoint.counters[COUNT_MALFORMED], 3);
    world_done(&world);
}

/* It receives what we send there: its replies may be longer (budget.h). */
static void who_answers_has_proved_its_address(void **state)
{
    const struct address stranger = address_v4(198, 51, 100, 7, 6881);
    struct krpc_query query = { .method = KRPC_PING };
    const struct contact to = { .address = stranger };
    const struct transaction_start start = { .query = &query, .to = &to };
    char answer[] = "d1:rd" ID "e1:t4:****1:y1:re";
    struct bytes datagram;
    struct krpc_message message;
    struct world world;
    size_t room;

    (void)state;
    world_init(&world);
    room = budget_room(&world.endpoint.responder.budget, &stranger, 0, world.now_us / 1000);
    assert_int_equal(endpoint_start(&world.endpoint, &query, &start, world.now_us, &datagram),
                     LB_OK);
    assert_int_equal(krpc_decode(datagram, &message), LB_OK);
    world_receive(&world, &stranger, bytes_of_text(answer));
    assert_int_equal(
        budget_room(&world.endpoint.responder.budget, &stranger, 0, world.now_us / 1000), room);
    memcpy(strstr(answer, "****"), message.transaction.data, KRPC_OWN_TRANSACTION);
    world_receive(&world, &stranger, bytes_of(answer, sizeof(answer) - 1));
    assert_int_equal(world.result.verdict, ENDPOINT_ANSWERED);
    assert_in_range(
        budget_room(&world.endpoint.responder.budget, &stranger, 0, world.now_us / 1000), 16 * room,
        SIZE_MAX);
    world_done(&world);
}

/* Telling routing of somebody makes it ping there: that is paid for as a reply is. */
static void who_has_drawn_its_budget_is_not_told_of(void **state)
{
    const struct address stranger = address_v4(198, 51, 100, 7, 6881);
    struct world world;

    (void)state;
    world_init(&world);
    assert_true(
        budget_take(&world.endpoint.responder.budget, &stranger, 8000, 0, world.now_us / 1000));
    world_receive(&world, &stranger, bytes_of_text(PING));
    assert_int_equal(world.result.verdict, ENDPOINT_SEND);
    assert_int_equal(world.result.sightings_count, 0);
    world_done(&world);
}

static void without_a_table_we_ask_nobody(void **state)
{
    struct krpc_query query = { .method = KRPC_PING };
    const struct contact to = { .address = world_node };
    const struct transaction_start start = { .query = &query, .to = &to };
    struct bytes datagram;
    struct world world;

    (void)state;
    world_init(&world);
    world.endpoint.responder.routing = NULL;
    assert_int_equal(endpoint_start(&world.endpoint, &query, &start, world.now_us, &datagram),
                     LB_UNAVAILABLE);
    world_receive(&world, &world_node, bytes_of_text(PING));
    assert_int_equal(world.result.verdict, ENDPOINT_NOTHING);
    assert_int_equal(world.endpoint.counters[COUNT_NO_TABLE], 1);
    world_done(&world);
}

static void a_silent_node_is_told_of(void **state)
{
    uint8_t id[KRPC_OWN_TRANSACTION];
    struct world world;
    char text[3];

    (void)state;
    world_init(&world);
    world_start_ping(&world, id);
    world.now_us = endpoint_deadline_us(&world.endpoint);
    assert_true(endpoint_next(&world.endpoint, world.now_us, &world.result));
    assert_int_equal(world.result.verdict, ENDPOINT_RESEND);
    assert_int_equal(world.result.sightings_count, 0);
    world.now_us = endpoint_deadline_us(&world.endpoint);
    assert_true(endpoint_next(&world.endpoint, world.now_us, &world.result));
    assert_int_equal(world.result.verdict, ENDPOINT_SILENT);
    told(&world.result, text);
    assert_string_equal(text, "s");
    assert_false(endpoint_next(&world.endpoint, world.now_us, &world.result));
    assert_true(endpoint_deadline_us(&world.endpoint) == UINT64_MAX);
    world_done(&world);
}

/* BEP 43: who is read-only says so in its queries, and leaves those of others unanswered. */
static void a_read_only_endpoint_asks_and_does_not_answer(void **state)
{
    struct krpc_query query = { .method = KRPC_PING };
    const struct contact to = { .address = world_node };
    const struct transaction_start start = { .query = &query, .to = &to };
    const struct address client_address = address_v4(10, 0, 1, 1, 1);
    struct world client, other;
    struct bytes datagram;

    (void)state;
    world_init(&client);
    world_init(&other);
    client.endpoint.read_only = true;
    world_receive(&client, &world_node, bytes_of_text(PING));
    assert_int_equal(client.result.verdict, ENDPOINT_NOTHING);
    assert_int_equal(client.result.sightings_count, 0);
    assert_int_equal(client.endpoint.counters[COUNT_PING], 1);
    assert_int_equal(client.endpoint.counters[COUNT_ANSWERED], 0);

    assert_int_equal(endpoint_start(&client.endpoint, &query, &start, client.now_us, &datagram),
                     LB_OK);
    other.endpoint.responder.routing = client.routing; /* whoever it is */
    world_receive(&other, &client_address, datagram);
    assert_int_equal(other.result.verdict, ENDPOINT_SEND);
    assert_true(other.result.message.read_only);
    assert_int_equal(other.result.sightings_count, 0);
    world_receive(&client, &world_node, bytes_of(other.reply, other.result.reply_size));
    assert_int_equal(client.result.verdict, ENDPOINT_ANSWERED);
    assert_true(client.result.message.littlebird);
    world_done(&client);
    world_done(&other);
}

static void two_endpoints_talk(void **state)
{
    const struct address a_address = address_v4(10, 0, 1, 1, 1),
                         b_address = address_v4(10, 0, 1, 2, 2);
    struct krpc_query query = { .method = KRPC_FIND_NODE, .target = { { 5 } } };
    const struct contact to = { .address = b_address };
    const struct transaction_start start = { .query = &query, .to = &to, .ctx = &query };
    struct world a, b;
    struct bytes datagram;
    struct contact contact;
    size_t offset = 0, count = 0;

    (void)state;
    world_init(&a);
    world_init(&b);
    assert_int_equal(endpoint_start(&a.endpoint, &query, &start, a.now_us, &datagram), LB_OK);
    world_receive(&b, &a_address, datagram);
    assert_int_equal(b.result.verdict, ENDPOINT_SEND);
    a.now_us += 1500;
    world_receive(&a, &b_address, bytes_of(b.reply, b.result.reply_size));
    assert_int_equal(a.result.verdict, ENDPOINT_ANSWERED);
    assert_ptr_equal(a.result.end.ctx, &query);
    assert_int_equal(a.result.end.rtt_us, 1500);
    while (krpc_next_node(&a.result.message, 4, &offset, &contact))
        count++;
    assert_int_equal(count, RESPONDER_NODES);
    world_done(&a);
    world_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_often_is_told_of_once_a_minute),
        cmocka_unit_test(forged_askers_are_not_all_told_of),
        cmocka_unit_test(nothing_is_sent_where_nothing_can_be),
        cmocka_unit_test(who_answers_has_proved_its_address),
        cmocka_unit_test(who_has_drawn_its_budget_is_not_told_of),
        cmocka_unit_test(without_a_table_we_ask_nobody),
        cmocka_unit_test(a_silent_node_is_told_of),
        cmocka_unit_test(a_read_only_endpoint_asks_and_does_not_answer),
        cmocka_unit_test(two_endpoints_talk),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(rows, is_received) + RUN_ROWS(certified_rows, is_certified);
}
