/* Answers that reach another worker of the node than the one that asked. */
#include "tests/libcommon/cmocka_row.h"
#include "tests/transport/world.h"

#define ID "2:id20:abcdefghij0123456789"

static const struct address stranger = { .ip = { [10] = 0xff, 0xff, 10, 0, 0, 8 }, .port = 6881 };

/*
 * Worker `asker` asks the node; the datagram ('*' stands for the id of its query) comes to worker
 * `receiver`, which knows those of `others`, and, if it says so, goes on to the asker.
 */
static const struct row {
    const char *what;
    unsigned asker, receiver;
    uint16_t others;
    const char *datagram;
    bool from_stranger;
    enum endpoint_verdict received, forwarded;
} rows[] = {
    { "an answer goes on to who asked", 2, 0, 0xe, "d1:rd" ID "e1:t4:****1:y1:re", false,
      ENDPOINT_FORWARD, ENDPOINT_ANSWERED },
    { "an error does, too", 1, 15, 0x7fff, "d1:eli202e3:huhe1:t4:****1:y1:ee", false,
      ENDPOINT_FORWARD, ENDPOINT_ANSWERED },
    { "the first worker is one like the others", 0, 3, 0x7, "d1:rd" ID "e1:t4:****1:y1:re", false,
      ENDPOINT_FORWARD, ENDPOINT_ANSWERED },
    { "what came where it was asked stays", 2, 2, 0xb, "d1:rd" ID "e1:t4:****1:y1:re", false,
      ENDPOINT_ANSWERED, ENDPOINT_NOTHING },
    { "who asked is not there any more", 2, 0, 0x2, "d1:rd" ID "e1:t4:****1:y1:re", false,
      ENDPOINT_NOTHING, ENDPOINT_NOTHING },
    { "one alone hands nothing on", 2, 0, 0, "d1:rd" ID "e1:t4:****1:y1:re", false,
      ENDPOINT_NOTHING, ENDPOINT_NOTHING },
    { "a stranger's answer is found out by who asked", 2, 0, 0xe, "d1:rd" ID "e1:t4:****1:y1:re",
      true, ENDPOINT_FORWARD, ENDPOINT_NOTHING },
    { "an id that is none of ours is nobody's", 2, 0, 0xe, "d1:rd" ID "e1:t2:aa1:y1:re", false,
      ENDPOINT_NOTHING, ENDPOINT_NOTHING },
    { "a query is answered where it comes", 2, 0, 0xe, "d1:ad" ID "e1:q4:ping1:t4:****1:y1:qe",
      false, ENDPOINT_SEND, ENDPOINT_NOTHING },
};

static void crosses(void **state)
{
    const struct row *row = *state;
    const struct address *from = row->from_stranger ? &stranger : &world_node;
    uint8_t id[KRPC_OWN_TRANSACTION];
    struct world asker, other, *receiver = row->asker == row->receiver ? &asker : &other;
    char datagram[128], *place;
    struct bytes bytes;

    world_init_worker(&asker, row->asker);
    world_init_worker(&other, row->receiver);
    receiver->endpoint.others = row->others;
    world_start_ping(&asker, id);
    strcpy(datagram, row->datagram);
    place = strstr(datagram, "****");
    if (place)
        memcpy(place, id, sizeof(id));
    bytes = bytes_of(datagram, strlen(row->datagram));

    world_receive(receiver, from, bytes);
    assert_int_equal(receiver->result.verdict, row->received);
    if (row->received == ENDPOINT_FORWARD) {
        assert_int_equal(receiver->result.worker, row->asker);
        assert_int_equal(receiver->result.sightings_count, 0);
        assert_int_equal(receiver->endpoint.counters[COUNT_FORWARDED], 1);
        assert_int_equal(receiver->endpoint.counters[COUNT_STRANGE], 0);
    }
    /* Also what should not have been handed on. */
    endpoint_forwarded(&asker.endpoint, from, bytes, asker.now_us, &asker.result);
    if (row->received == ENDPOINT_FORWARD || row->received == ENDPOINT_SEND)
        assert_int_equal(asker.result.verdict, row->forwarded);
    if (row->forwarded == ENDPOINT_ANSWERED)
        assert_int_equal(asker.result.sightings_count, 1);
    world_done(&asker);
    world_done(&other);
}

static void an_id_says_whose_it_is_and_little_else(void **state)
{
    uint8_t id[KRPC_OWN_TRANSACTION], before[KRPC_OWN_TRANSACTION] = { 0 };

    (void)state;
    for (unsigned worker = 0; worker < TRANSACTIONS_WORKERS; worker++) {
        struct world world;

        world_init_worker(&world, worker);
        for (int i = 0; i < 4; i++) {
            world_start_ping(&world, id);
            assert_int_equal(transactions_worker(bytes_of(id, sizeof(id))), worker);
            assert_memory_not_equal(id, before, sizeof(id));
            memcpy(before, id, sizeof(id));
        }
        world_done(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_says_whose_it_is_and_little_else),
    };

    return RUN_ROWS(rows, crosses) + cmocka_run_group_tests(tests, NULL, NULL);
}
