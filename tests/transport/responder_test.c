#include "services/transport/responder.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/transport/world.h"

#include <stdio.h>

#define ID                       "2:id20:abcdefghij0123456789"
#define TARGET                   "6:target20:\5mnopqrstuvwxyz12345"
#define HASH                     "9:info_hash20:\5mnopqrstuvwxyz12345"
#define PEER                     "12:implied_porti1e"
#define QUERY(arguments, method) "d1:ad" ID arguments "e1:q" method "1:t2:aa1:y1:qe"

enum from { V4, V6 };
enum world_kind { WHOLE, PRESENT, NO_PRESENCE, NO_TABLE, MEMBER };

/*
 * What a query gets: "drop", "ask", or the reply drawn as its keys, nodes with the first bytes of
 * their ids. TOKENTOK in a query becomes a token of ours for its sender.
 */
static const struct row {
    const char *what, *query;
    enum from from;
    enum world_kind world;
    const char *reply;
} rows[] = {
    { "ping", QUERY("", "4:ping"), V4, WHOLE, "id" },
    { "ping over IPv6", QUERY("", "4:ping"), V6, WHOLE, "id" },
    { "find_node: the eight closest", QUERY(TARGET, "9:find_node"), V4, WHOLE,
      "id nodes 0 1 2 3 4 5 6 7" },
    { "over IPv6 it is IPv6 nodes", QUERY(TARGET, "9:find_node"), V6, WHOLE,
      "id nodes6 0 1 2 3 4 5 6 7" },
    { "both families, when both are wanted", QUERY(TARGET "4:wantl2:n42:n6e", "9:find_node"), V4,
      WHOLE, "id nodes 0 1 2 3 4 5 6 7 nodes6 0 1 2 3 4 5 6 7" },
    { "the other family, when that is wanted", QUERY(TARGET "4:wantl2:n6e", "9:find_node"), V4,
      WHOLE, "id nodes6 0 1 2 3 4 5 6 7" },
    { "a want of nothing we know is none", QUERY(TARGET "4:wantl2:n9e", "9:find_node"), V4, WHOLE,
      "id nodes 0 1 2 3 4 5 6 7" },
    { "get_peers of what is surely not there", QUERY(HASH, "9:get_peers"), V4, WHOLE,
      "id nodes 0 1 2 3 4 5 6 7 token" },
    { "get of what is surely not there", QUERY(TARGET, "3:get"), V4, WHOLE,
      "id nodes 0 1 2 3 4 5 6 7 token" },
    { "get_peers of what may be there", QUERY(HASH, "9:get_peers"), V4, PRESENT, "ask" },
    { "get of what may be there", QUERY(TARGET, "3:get"), V4, PRESENT, "ask" },
    { "find_node of what may be there", QUERY(TARGET, "9:find_node"), V4, PRESENT,
      "id nodes 0 1 2 3 4 5 6 7" },
    { "get_peers when nobody says what is there", QUERY(HASH, "9:get_peers"), V4, NO_PRESENCE,
      "ask" },
    { "announce_peer with a token", QUERY(PEER HASH "5:token8:TOKENTOK", "13:announce_peer"), V4,
      WHOLE, "ask" },
    { "announce_peer with a forged one", QUERY(PEER HASH "5:token8:forgedtk", "13:announce_peer"),
      V4, WHOLE, "203 bad token" },
    { "announce_peer with an empty one", QUERY(PEER HASH "5:token0:", "13:announce_peer"), V4,
      WHOLE, "203 bad token" },
    { "put with a token", QUERY("5:token8:TOKENTOK1:v1:x", "3:put"), V4, WHOLE, "ask" },
    { "put with a forged one", QUERY("5:token8:forgedtk1:v1:x", "3:put"), V4, WHOLE,
      "203 bad token" },
    { "lb_offer needs no token",
      QUERY("5:offer28:\5mnopqrstuvwxyz12345\1\1\1\1\1\1\1\1", "8:lb_offer"), V4, WHOLE, "ask" },
    { "sample_infohashes", QUERY(TARGET, "17:sample_infohashes"), V4, WHOLE, "ask" },
    { "a method nobody knows", QUERY("", "4:vote"), V4, WHOLE, "204 method unknown" },
    { "one with a target is find_node", QUERY(TARGET, "4:vote"), V4, PRESENT,
      "id nodes 0 1 2 3 4 5 6 7" },
    { "one with an infohash, which wants IPv6", QUERY(HASH "4:wantl2:n6e", "4:vote"), V4, PRESENT,
      "id nodes6 0 1 2 3 4 5 6 7" },
    { "get of who sees to it, of what is surely not there", QUERY("3:chki60e" TARGET, "3:get"), V4,
      WHOLE, "id nodes 0 1 2 3 4 5 6 7 token" },
    { "a call among members", QUERY("1:b3:abc2:to6:member", "7:lb_call"), V4, MEMBER, "ask" },
    { "one to nobody there", QUERY("1:b3:abc2:to6:nobody", "7:lb_call"), V4, MEMBER,
      "203 to must be member or storage" },
    { "a call on the open network", QUERY("1:b3:abc2:to6:member", "7:lb_call"), V4, WHOLE,
      "204 method unknown" },
    { "one to nobody there, too", QUERY("1:b3:abc2:to6:nobody", "7:lb_call"), V4, WHOLE,
      "204 method unknown" },
    { "an argument missing", QUERY("", "9:find_node"), V4, WHOLE, "203 an argument is missing" },
    { "no table, no answer", QUERY("", "4:ping"), V4, NO_TABLE, "drop" },
    { "no table, no error either", QUERY("", "4:vote"), V4, NO_TABLE, "drop" },
};

static void draw_nodes(const struct krpc_message *reply, unsigned family, char *text, size_t size)
{
    bool here[WORLD_NODES] = { false };
    struct contact contact;
    size_t offset = 0;

    snprintf(text + strlen(text), size - strlen(text), family == 4 ? " nodes" : " nodes6");
    while (krpc_next_node(reply, family, &offset, &contact))
        here[contact.id.bytes[0] % WORLD_NODES] = true;
    for (int i = 0; i < WORLD_NODES; i++) {
        if (here[i])
            snprintf(text + strlen(text), size - strlen(text), " %d", i);
    }
}

static void draw(struct bytes datagram, const struct address *to, char *text, size_t size)
{
    struct krpc_message reply;
    struct address seen;

    assert_int_equal(krpc_decode(datagram, &reply), LB_OK);
    assert_true(bytes_equal_text(reply.transaction, "aa"));
    if (reply.type == KRPC_ERROR) {
        snprintf(text, size, "%d %.*s", (int)reply.error_code, (int)reply.error_text.size,
                 (const char *)reply.error_text.data);
        return;
    }
    assert_memory_equal(reply.id.data, world_id.bytes, NODE_ID_SIZE);
    assert_int_equal(address_from_compact(reply.ip, &seen), LB_OK);
    assert_true(address_equal(&seen, to));
    snprintf(text, size, "id");
    if (reply.present & KRPC_HAS_NODES)
        draw_nodes(&reply, 4, text, size);
    if (reply.present & KRPC_HAS_NODES6)
        draw_nodes(&reply, 6, text, size);
    if (reply.token.size > 0)
        snprintf(text + strlen(text), size - strlen(text), " token");
    if (reply.need.size > 0)
        snprintf(text + strlen(text), size - strlen(text), " need %.*s", (int)reply.need.size,
                 (const char *)reply.need.data);
    if (reply.present & KRPC_HAS_SEQ)
        snprintf(text + strlen(text), size - strlen(text), " seq %d", (int)reply.seq);
    if (reply.present & KRPC_HAS_TTL)
        snprintf(text + strlen(text), size - strlen(text), " ttl %d", (int)reply.ttl);
    if (reply.value.size > 0)
        snprintf(text + strlen(text), size - strlen(text), " v");
    if (reply.present & KRPC_HAS_SAMPLES)
        snprintf(text + strlen(text), size - strlen(text), " samples %d of %d for %d",
                 (int)(reply.samples.size / NODE_ID_SIZE), (int)reply.total, (int)reply.interval);
}

static struct address sender(enum from from)
{
    return from == V4 ? address_v4(192, 0, 2, 9, 1234) : world_v6(99);
}

static struct krpc_message query_of(char *text, const struct responder *responder,
                                    const struct address *from, uint64_t now_ms)
{
    char *place = strstr(text, "TOKENTOK");
    size_t size = strlen(text); /* before a token, which may hold a NUL, stands there */
    struct krpc_message query;

    if (place)
        tokens_give(&responder->tokens, from, now_ms, (uint8_t *)place);
    assert_int_equal(krpc_decode(bytes_of(text, size), &query), LB_OK);
    return query;
}

static void is_answered(void **state)
{
    const struct row *row = *state;
    const struct address from = sender(row->from);
    const struct node_id target = node_id_from((const uint8_t *)"\5mnopqrstuvwxyz12345");
    struct world world;
    struct responder *responder = &world.endpoint.responder;
    struct responder_ask ask;
    struct krpc_message query;
    char text[256], drawn[256] = "drop";
    size_t size = 0;

    world_init(&world);
    if (row->world == PRESENT)
        presence_page_add(world.presence, &target);
    if (row->world == NO_PRESENCE)
        responder->presence = NULL;
    if (row->world == NO_TABLE)
        responder->routing = NULL;
    responder->is_member = row->world == MEMBER;
    snprintf(text, sizeof(text), "%s", row->query);
    query = query_of(text, responder, &from, 1000);
    switch (responder_query(responder, &query, &from, 1000, world.reply, &size, &ask)) {
    case RESPONDER_REPLY:
    case RESPONDER_REFUSAL:
        draw(bytes_of(world.reply, size), &from, drawn, sizeof(drawn));
        break;
    case RESPONDER_ASK:
        snprintf(drawn, sizeof(drawn), "ask");
        assert_true(address_equal(&ask.from, &from));
        assert_memory_equal(ask.transaction, "aa", 2);
        break;
    default:
        break;
    }
    assert_string_equal(drawn, row->reply);
    world_done(&world);
}

static const uint8_t infohashes[RESPONDER_SAMPLES_MAX * NODE_ID_SIZE];
static const struct krpc_item immutable = { .value = { (const uint8_t *)"1:x", 3 }, .ttl_s = 60 };
static const struct krpc_item not_sent = { .seq = 4, .ttl_s = 60 };
static const struct krpc_item immutable_not_sent = { .seq = 0 };
static const struct krpc_samples samples = { .infohashes = { infohashes, 2 * NODE_ID_SIZE },
                                             .total = 70,
                                             .interval_s = 600 };

/* What storage said, and what becomes of it. */
static const struct answer_row {
    const char *what;
    enum krpc_method method;
    struct responder_outcome outcome;
    const char *reply;
} answer_rows[] = {
    { "stored", KRPC_PUT, { 0 }, "id" },
    { "announced", KRPC_ANNOUNCE_PEER, { 0 }, "id" },
    { "a CAS mismatch",
      KRPC_PUT,
      { .error = 301, .error_text = { (const uint8_t *)"cas", 3 } },
      "301 cas" },
    { "no storage, nothing stored",
      KRPC_PUT,
      { .unavailable = true },
      "202 storage is not available" },
    { "no storage, but nodes, and no token",
      KRPC_GET_PEERS,
      { .unavailable = true },
      "id nodes 0 1 2 3 4 5 6 7" },
    { "nothing there after all", KRPC_GET, { 0 }, "id nodes 0 1 2 3 4 5 6 7 token" },
    { "an item, and how long it lives",
      KRPC_GET,
      { .item = &immutable },
      "id nodes 0 1 2 3 4 5 6 7 token ttl 60 v" },
    { "stored, not sent",
      KRPC_GET,
      { .item = &not_sent },
      "id nodes 0 1 2 3 4 5 6 7 token seq 4 ttl 60" },
    { "an immutable one, stored, not sent",
      KRPC_GET,
      { .item = &immutable_not_sent },
      "id nodes 0 1 2 3 4 5 6 7 token seq 0" },
    { "what is needed, and a token for it",
      KRPC_OFFER,
      { .need = { (const uint8_t *)"0120", 4 } },
      "id token need 0120" },
    { "no storage, nothing needed",
      KRPC_OFFER,
      { .unavailable = true },
      "202 storage is not available" },
    { "an offer that is refused",
      KRPC_OFFER,
      { .error = 204, .error_text = { (const uint8_t *)"no", 2 } },
      "204 no" },
    { "samples, and no token",
      KRPC_SAMPLE_INFOHASHES,
      { .samples = &samples },
      "id nodes 0 1 2 3 4 5 6 7 samples 2 of 70 for 600" },
    { "no storage, no samples",
      KRPC_SAMPLE_INFOHASHES,
      { .unavailable = true },
      "id nodes 0 1 2 3 4 5 6 7" },
};

static struct responder_ask ask_of(enum krpc_method method, const struct address *from)
{
    struct responder_ask ask = { .method = method,
                                 .from = *from,
                                 .target = node_id_from((const uint8_t *)"\5mnopqrstuvwxyz12345"),
                                 .want_v4 = address_is_v4(from),
                                 .want_v6 = !address_is_v4(from),
                                 .transaction_size = 2,
                                 .transaction = "aa" };

    return ask;
}

static void is_passed_on(void **state)
{
    const struct answer_row *row = *state;
    const struct address from = sender(V4);
    const struct responder_ask ask = ask_of(row->method, &from);
    enum responder_verdict verdict;
    struct world world;
    char drawn[256];
    size_t size;

    world_init(&world);
    verdict =
        responder_answer(&world.endpoint.responder, &ask, &row->outcome, 1000, world.reply, &size);
    assert_int_equal(verdict, row->reply[0] == 'i' ? RESPONDER_REPLY : RESPONDER_REFUSAL);
    draw(bytes_of(world.reply, size), &from, drawn, sizeof(drawn));
    assert_string_equal(drawn, row->reply);
    world_done(&world);
}

/* As many peers as were asked for always fit, whatever else the reply holds (BEP 32: 1024 bytes).
 */
static void the_peers_asked_for_fit(void **state)
{
    static const uint8_t filter[KRPC_FILTER_SIZE], compact[] = "777777777777777777";
    struct bytes peers[RESPONDER_PEERS_MAX];
    struct world world;

    (void)state;
    world_init(&world);
    for (unsigned kind = 0; kind < 16; kind++) {
        const struct address from = sender(kind & 1 ? V6 : V4);
        struct responder_ask ask = ask_of(KRPC_GET_PEERS, &from);
        struct responder_outcome outcome = { .peers = peers };
        struct krpc_message reply;
        struct address peer;
        size_t size, offset = 0, count = 0;

        ask.scrape = kind & 2;
        ask.want_v4 = kind & 4;
        ask.want_v6 = kind & 8;
        ask.transaction_size = KRPC_TRANSACTION_MAX;
        outcome.peers_count = responder_peers_max(&ask);
        if (ask.scrape)
            outcome.seeds_filter = outcome.peers_filter = bytes_of(filter, sizeof(filter));
        for (size_t i = 0; i < outcome.peers_count; i++)
            peers[i] = bytes_of(compact, kind & 1 ? ADDRESS_COMPACT_V6 : ADDRESS_COMPACT_V4);
        assert_int_equal(
            responder_answer(&world.endpoint.responder, &ask, &outcome, 1000, world.reply, &size),
            RESPONDER_REPLY);
        assert_in_range(size, 1, KRPC_REPLY_MAX);
        assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
        while (krpc_next_peer(&reply, &offset, &peer))
            count++;
        assert_int_equal(count, outcome.peers_count);
    }
    world_done(&world);
}

static void the_samples_asked_for_fit_beside_the_nodes(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    for (unsigned kind = 0; kind < 8; kind++) {
        const struct address from = sender(kind & 1 ? V6 : V4);
        struct responder_ask ask = ask_of(KRPC_SAMPLE_INFOHASHES, &from);
        struct krpc_samples most = { .total = INT64_MAX, .interval_s = 21600 };
        const struct responder_outcome outcome = { .samples = &most };
        struct krpc_message reply;
        size_t size;

        ask.want_v4 = kind & 2;
        ask.want_v6 = kind & 4;
        ask.transaction_size = KRPC_TRANSACTION_MAX;
        most.infohashes = bytes_of(infohashes, responder_samples_max(&ask) * NODE_ID_SIZE);
        assert_in_range(most.infohashes.size, 10 * NODE_ID_SIZE, sizeof(infohashes));
        assert_int_equal(
            responder_answer(&world.endpoint.responder, &ask, &outcome, 1000, world.reply, &size),
            RESPONDER_REPLY);
        assert_in_range(size, 1, KRPC_REPLY_MAX);
        assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
        assert_true(bytes_equal(reply.samples, most.infohashes));
        assert_int_equal(reply.nodes.size, ask.want_v4 ? 26 * RESPONDER_NODES : 0);
        assert_int_equal(reply.nodes6.size, ask.want_v6 ? 38 * RESPONDER_NODES : 0);
    }
    world_done(&world);
}

/* Who has not shown that its address is its own must not draw more than it sends (THREATS 2.6). */
static void an_offer_is_answered_with_no_more_than_it_brought(void **state)
{
    static const uint8_t digests[KRPC_DIGESTS_MAX * KRPC_DIGEST_SIZE], transaction[] = "abcd";
    const struct node_id id = { { 1 } };
    struct world world;

    (void)state;
    world_init(&world);
    for (size_t count = 1; count <= KRPC_DIGESTS_MAX; count++) {
        const struct krpc_query query = { .method = KRPC_OFFER,
                                          .id = &id,
                                          .offer = bytes_of(digests, count * KRPC_DIGEST_SIZE) };
        const struct address from = sender(V6);
        struct responder_ask ask = ask_of(KRPC_OFFER, &from);
        struct responder_outcome outcome = { 0 };
        uint8_t datagram[KRPC_SEND_MAX], need[KRPC_DIGESTS_MAX];
        size_t size, sent = krpc_encode_query(&query, transaction, datagram, sizeof(datagram));

        memset(need, KRPC_NEED_WANTS, sizeof(need));
        outcome.need = bytes_of(need, count);
        ask.transaction_size = KRPC_OWN_TRANSACTION;
        assert_int_equal(
            responder_answer(&world.endpoint.responder, &ask, &outcome, 1000, world.reply, &size),
            RESPONDER_REPLY);
        assert_in_range(size, 1, sent);
    }
    world_done(&world);
}

static void the_largest_item_goes_out_with_fewer_nodes(void **state)
{
    static uint8_t value[KRPC_VALUE_MAX], key[KRPC_KEY_SIZE], signature[KRPC_SIGNATURE_SIZE];
    const struct krpc_item item = { .value = bytes_of(value, sizeof(value)),
                                    .key = bytes_of(key, sizeof(key)),
                                    .signature = bytes_of(signature, sizeof(signature)),
                                    .seq = INT64_MAX,
                                    .ttl_s = INT32_MAX };
    const struct responder_outcome outcome = { .item = &item };
    const struct address from = sender(V6);
    struct responder_ask ask = ask_of(KRPC_GET, &from);
    struct krpc_message reply;
    struct world world;
    struct contact contact;
    size_t size, offset = 0, nodes = 0;

    (void)state;
    world_init(&world);
    memcpy(value, "996:", 4);
    ask.want_v4 = ask.want_v6 = true;
    assert_int_equal(
        responder_answer(&world.endpoint.responder, &ask, &outcome, 1000, world.reply, &size),
        RESPONDER_REPLY);
    assert_in_range(size, sizeof(value), KRPC_SEND_MAX);
    assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
    assert_int_equal(reply.value.size, sizeof(value));
    assert_true(reply.token.size > 0);
    while (krpc_next_node(&reply, 4, &offset, &contact))
        nodes++;
    assert_in_range(nodes, 1, RESPONDER_NODES);
    world_done(&world);
}

/* 10 s of forged queries, 10 a millisecond, that ask for both families: bytes in, bytes out. */
static void flood(struct world *world, const struct address *victim, size_t *ret_in,
                  size_t *ret_out)
{
    char text[] = QUERY(TARGET "4:wantl2:n42:n6e", "9:find_node");
    struct responder *responder = &world->endpoint.responder;
    struct krpc_message query = query_of(text, responder, victim, 0);
    struct responder_ask ask;

    *ret_in = *ret_out = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        size_t size;

        *ret_in += query.size;
        if (responder_query(responder, &query, victim, 1000000 + i / 10, world->reply, &size,
                            &ask) == RESPONDER_REPLY)
            *ret_out += size;
    }
}

static void a_flood_of_forged_queries_is_not_amplified(void **state)
{
    const struct address victim = address_v4(198, 51, 100, 7, 53);
    struct world world;
    size_t in, out;

    (void)state;
    world_init(&world);
    flood(&world, &victim, &in, &out);
    assert_in_range(out, in, 3 * in + 16384);
    world_done(&world);
}

/* Who has brought back a token or answered our query has what it takes to be answered at length. */
static void who_has_proved_itself_has_more(void **state)
{
    const struct address from = sender(V4);
    char put[] = QUERY("5:token8:TOKENTOK1:v1:x", "3:put");
    struct krpc_message query;
    struct responder_ask ask;
    struct world world;
    size_t size, room;

    (void)state;
    world_init(&world);
    room = budget_room(&world.endpoint.responder.budget, &from, 0, 1000);
    query = query_of(put, &world.endpoint.responder, &from, 1000);
    assert_int_equal(
        responder_query(&world.endpoint.responder, &query, &from, 1000, world.reply, &size, &ask),
        RESPONDER_ASK);
    assert_int_equal(ask.asked, query.size);
    assert_in_range(budget_room(&world.endpoint.responder.budget, &from, 0, 1000), 16 * room,
                    SIZE_MAX);
    world_done(&world);
}

/* When the burst is spent, a reply holds what three times the query pays for. */
static void what_is_too_dear_goes_out_shorter(void **state)
{
    const struct address from = sender(V6);
    const struct krpc_item item = { .value = bytes_of_text("5:hello") };
    char text[] = QUERY(TARGET, "9:find_node");
    struct krpc_message query, reply;
    struct responder_ask ask;
    struct world world;
    struct contact contact;
    size_t size, offset = 0, nodes = 0;

    (void)state;
    world_init(&world);
    assert_true(budget_take(&world.endpoint.responder.budget, &from, 8192, 0, 1000));
    query = query_of(text, &world.endpoint.responder, &from, 1000);
    assert_int_equal(
        responder_query(&world.endpoint.responder, &query, &from, 1000, world.reply, &size, &ask),
        RESPONDER_REPLY);
    assert_in_range(size, 2u * query.size, 3u * query.size);
    assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
    while (krpc_next_node(&reply, 6, &offset, &contact))
        nodes++;
    assert_in_range(nodes, 3, RESPONDER_NODES - 1);
    /* An item is never left out: that would say that there is none. */
    ask = ask_of(KRPC_GET, &from);
    ask.asked = 30;
    assert_int_equal(responder_answer(&world.endpoint.responder, &ask,
                                      &(struct responder_outcome){ .item = &item }, 1000,
                                      world.reply, &size),
                     RESPONDER_OVER_BUDGET);
    ask.asked = 100;
    assert_int_equal(responder_answer(&world.endpoint.responder, &ask,
                                      &(struct responder_outcome){ .item = &item }, 1000,
                                      world.reply, &size),
                     RESPONDER_REPLY);
    assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
    assert_true(bytes_equal_text(reply.value, "5:hello"));
    world_done(&world);
}

/* Samples and filters are what can be done without; that the method is known is not. */
static void samples_and_filters_give_way_when_they_are_too_dear(void **state)
{
    static const uint8_t filter[KRPC_FILTER_SIZE] = { 1 };
    const struct krpc_samples most = { .infohashes = bytes_of(infohashes, sizeof(infohashes)),
                                       .total = 70 };
    const struct responder_outcome sampled = { .samples = &most };
    const struct responder_outcome scraped = { .seeds_filter = bytes_of(filter, sizeof(filter)),
                                               .peers_filter = bytes_of(filter, sizeof(filter)) };
    const struct address from = sender(V4);
    struct responder_ask ask = ask_of(KRPC_SAMPLE_INFOHASHES, &from);
    struct krpc_message reply;
    struct world world;
    size_t size;

    (void)state;
    world_init(&world);
    assert_true(budget_take(&world.endpoint.responder.budget, &from, 8192, 0, 1000));
    ask.asked = 130;
    assert_int_equal(
        responder_answer(&world.endpoint.responder, &ask, &sampled, 1000, world.reply, &size),
        RESPONDER_REPLY);
    assert_in_range(size, 1, 3u * ask.asked);
    assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
    assert_in_range(reply.samples.size, NODE_ID_SIZE, sizeof(infohashes) - NODE_ID_SIZE);
    assert_int_equal(reply.total, 70);
    assert_int_equal(reply.nodes.size, 26 * RESPONDER_NODES);

    ask.method = KRPC_GET_PEERS;
    assert_int_equal(
        responder_answer(&world.endpoint.responder, &ask, &scraped, 1000, world.reply, &size),
        RESPONDER_REPLY);
    assert_in_range(size, 1, 3u * ask.asked);
    assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
    assert_int_equal(reply.present & (KRPC_HAS_SEEDS_FILTER | KRPC_HAS_PEERS_FILTER), 0);
    assert_true(reply.token.size > 0);
    assert_int_equal(reply.nodes.size, 26 * RESPONDER_NODES);

    /* Both families and the filters are more than a packet may have, whoever asks. */
    ask.asked = KRPC_REPLY_MAX;
    ask.want_v6 = true;
    assert_int_equal(
        responder_answer(&world.endpoint.responder, &ask, &scraped, 1000, world.reply, &size),
        RESPONDER_REPLY);
    assert_int_equal(krpc_decode(bytes_of(world.reply, size), &reply), LB_OK);
    assert_true(bytes_equal(reply.seeds_filter, scraped.seeds_filter));
    assert_int_equal(reply.nodes.size, 26 * RESPONDER_NODES);
    assert_int_equal(reply.nodes6.size, 0);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_peers_asked_for_fit),
        cmocka_unit_test(the_samples_asked_for_fit_beside_the_nodes),
        cmocka_unit_test(an_offer_is_answered_with_no_more_than_it_brought),
        cmocka_unit_test(samples_and_filters_give_way_when_they_are_too_dear),
        cmocka_unit_test(the_largest_item_goes_out_with_fewer_nodes),
        cmocka_unit_test(a_flood_of_forged_queries_is_not_amplified),
        cmocka_unit_test(who_has_proved_itself_has_more),
        cmocka_unit_test(what_is_too_dear_goes_out_shorter),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(rows, is_answered);
    return failed + RUN_ROWS(answer_rows, is_passed_on);
}
