/*
 * What the parts do together, beyond what the simulator shows: challenges, a transport that is
 * away, limits, introductions.
 */
#include "services/routing/router.h"

#include "libcommon/secure_id.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

#define NOW_MS 1000000u

static struct contact contact(unsigned n)
{
    struct contact contact = { .address = address_v4(10, 0, (uint8_t)(n >> 8), (uint8_t)n, 6881) };

    contact.id.bytes[0] = 0x80;
    contact.id.bytes[18] = (uint8_t)(n >> 8);
    contact.id.bytes[19] = (uint8_t)n;
    return contact;
}

static struct router *begin(bool bootstrap)
{
    const struct node_id self = { { 0 } };
    struct router *router = router_new(&self, 1, bootstrap, NOW_MS);

    if (bootstrap) {
        struct contact first = contact(1);
        router_add_bootstrap(router, &first.address);
    }
    return router;
}

static void end(struct router **router)
{
    assert_null(router_check(*router));
    router_free(router);
}

static void answer(struct router *router, const struct query *query, const struct contact *from,
                   uint64_t now_ms)
{
    struct reply reply = { .outcome = REPLY_ANSWERED, .id = from->id, .rtt_us = 1000 };

    router_reply(router, query->ticket, &reply, now_ms);
}

static void fails(struct router *router, const struct query *query, enum reply_outcome outcome,
                  uint64_t now_ms)
{
    struct reply reply = { .outcome = outcome };

    router_reply(router, query->ticket, &reply, now_ms);
}

static lb_err search_for(struct router *router, enum lookup_kind kind, const struct node_id *target,
                         uint64_t deadline_ms, uint64_t now_ms)
{
    const struct search_order order = { .aim = { .kind = kind, .target = *target, .k = TABLE_K },
                                        .deadline_ms = deadline_ms };

    return router_search(router, &order, now_ms);
}

/* Answers every query as if all contacts of contact() lived, for a while. */
static void settle(struct router *router, uint64_t now_ms)
{
    struct query query;

    for (unsigned i = 0; i < 1000; i++) {
        while (router_next(router, now_ms, &query)) {
            struct contact from = contact((unsigned)query.to.ip[14] << 8 | query.to.ip[15]);
            answer(router, &query, &from, now_ms);
        }
        assert_null(router_finished(router, now_ms));
    }
}

static void a_bootstrap_node_becomes_a_contact(void **state)
{
    struct router *router = begin(true);
    struct query query;

    (void)state;
    assert_false(router_is_joined(router));
    assert_true(router_next(router, NOW_MS, &query));
    assert_int_equal(query.method, QUERY_FIND_NODE);
    assert_true(node_id_equal(&query.target, &router->self_id));
    struct contact first = contact(1);
    answer(router, &query, &first, NOW_MS + 5);
    settle(router, NOW_MS + 5);
    assert_true(router_is_joined(router));
    assert_int_equal(router_view(router).contacts, 1);
    end(&router);
}

static void a_transport_that_is_away_is_no_silence(void **state)
{
    struct router *router = begin(true);
    struct query query;

    (void)state;
    assert_true(router_next(router, NOW_MS, &query));
    fails(router, &query, REPLY_UNSENT, NOW_MS);
    assert_false(router_next(router, NOW_MS, &query));
    assert_int_equal(router_deadline_ms(router), NOW_MS + ROUTER_PAUSE_MS);
    assert_true(router_next(router, NOW_MS + ROUTER_PAUSE_MS, &query));
    struct contact first = contact(1);
    answer(router, &query, &first, NOW_MS + ROUTER_PAUSE_MS);
    settle(router, NOW_MS + ROUTER_PAUSE_MS);
    struct table_entry *entry = &router->tables[ROUTING_V4].buckets[0]->places.entries[0];
    assert_int_equal(entry->unanswered, 0);
    end(&router);
}

static void who_queries_us_is_pinged_before_it_enters(void **state)
{
    struct router *router = begin(false);
    struct contact from = contact(7);
    struct query query;

    (void)state;
    assert_false(router_next(router, NOW_MS, &query));
    router_sighting(router, SIGHTING_QUERIED, &from, 0, NOW_MS);
    assert_int_equal(router_view(router).contacts, 0);
    assert_true(router_next(router, NOW_MS, &query));
    assert_int_equal(query.method, QUERY_PING);
    assert_true(address_equal(&query.to, &from.address));
    answer(router, &query, &from, NOW_MS + 1);
    assert_int_equal(router_view(router).contacts, 1);
    end(&router);
}

/* THREATS 2.4: what a node says of others is not believed. */
static void what_others_name_is_pinged_too(void **state)
{
    struct router *router = begin(true);
    struct contact named = contact(9), first = contact(1);
    struct reply reply = {
        .outcome = REPLY_ANSWERED, .id = first.id, .nodes = &named, .nodes_count = 1
    };
    struct query query;

    (void)state;
    assert_true(router_next(router, NOW_MS, &query));
    router_reply(router, query.ticket, &reply, NOW_MS);
    assert_int_equal(router_view(router).contacts, 1);
    while (router_next(router, NOW_MS + ROUTER_MET_DELAY_MS, &query)) {
        if (address_equal(&query.to, &named.address)) {
            fails(router, &query, REPLY_SILENT, NOW_MS + 3000);
        } else {
            answer(router, &query, &first, NOW_MS + 1000);
        }
    }
    assert_int_equal(router_view(router).contacts, 1);
    end(&router);
}

/* JOB B29: the holder of an id is asked; who answers stays. */
static const struct challenge {
    const char *what;
    bool holder_answers;
    unsigned stays; /* last byte of the address that has the id in the end */
} challenges[] = {
    { "a holder that answers keeps its id", true, 5 },
    { "one that is silent loses it to the rival", false, 77 },
};

static void an_id_from_two_addresses(void **state)
{
    const struct challenge *row = *state;
    struct router *router = begin(false);
    struct contact holder = contact(5), rival = holder;
    struct query query;

    rival.address.ip[15] = 77;
    router_sighting(router, SIGHTING_ANSWERED, &holder, 1000, NOW_MS);
    settle(router, NOW_MS);
    router_sighting(router, SIGHTING_ANSWERED, &rival, 1000, NOW_MS + 10);
    assert_int_equal(router->stats.conflicts, 1);
    assert_true(router_next(router, NOW_MS + 10, &query));
    assert_true(address_equal(&query.to, &holder.address));
    if (row->holder_answers) {
        answer(router, &query, &holder, NOW_MS + 20);
    } else {
        fails(router, &query, REPLY_SILENT, NOW_MS + 2000);
    }
    const struct table_row *places = &router->tables[ROUTING_V4].buckets[0]->places;
    assert_int_equal(places->count, 1);
    assert_int_equal(places->entries[0].contact.address.ip[15], row->stays);
    end(&router);
}

static void lookups_are_bounded(void **state)
{
    const struct node_id target = { { 1 } };
    struct router *router = begin(false);
    struct contact from = contact(5);
    struct search *search;
    struct query query;

    (void)state;
    router_sighting(router, SIGHTING_ANSWERED, &from, 1000, NOW_MS);
    settle(router, NOW_MS);
    for (unsigned i = 0; i < ROUTER_LOOKUPS_MAX + ROUTER_WAITING_MAX; i++) {
        assert_int_equal(search_for(router, LOOKUP_NODES, &target, UINT64_MAX, NOW_MS), LB_OK);
    }
    assert_int_equal(search_for(router, LOOKUP_NODES, &target, UINT64_MAX, NOW_MS), LB_FULL);
    assert_null(router_check(router));
    unsigned finished = 0, rounds = 0;
    for (; finished < ROUTER_LOOKUPS_MAX + ROUTER_WAITING_MAX && rounds < 1000; rounds++) {
        while (router_next(router, NOW_MS, &query)) {
            answer(router, &query, &from, NOW_MS);
        }
        while ((search = router_finished(router, NOW_MS)) != NULL) {
            finished++;
            search_free(&search);
        }
    }
    assert_int_equal(finished, ROUTER_LOOKUPS_MAX + ROUTER_WAITING_MAX);
    assert_int_equal(router->searches_asked, 0);
    assert_int_equal(router->searches_running, 0);
    end(&router);
}

static void a_lookup_ends_at_its_deadline_with_what_it_has(void **state)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    const struct node_id target = { { 0x81 } };
    struct router *router = begin(false);
    struct contact one = contact(1), two = contact(2);
    struct query query;

    (void)state;
    router_sighting(router, SIGHTING_ANSWERED, &one, 1000, NOW_MS);
    router_sighting(router, SIGHTING_ANSWERED, &two, 1000, NOW_MS);
    settle(router, NOW_MS);
    assert_int_equal(search_for(router, LOOKUP_NODES, &target, NOW_MS + 500, NOW_MS), LB_OK);
    while (router_next(router, NOW_MS, &query)) {
        if (query.to.ip[15] == 1) {
            answer(router, &query, &one, NOW_MS);
        }
    }
    assert_null(router_finished(router, NOW_MS + 499));
    assert_true(router_deadline_ms(router) <= NOW_MS + 500);
    struct search *search = router_finished(router, NOW_MS + 500);
    assert_non_null(search);
    assert_int_equal(search_closest(search, closest), 1);
    assert_true(search_self_is_close(search));
    search_free(&search);
    /* The query still on its way finds nobody to tell. */
    struct reply late = { .outcome = REPLY_ANSWERED, .id = two.id };
    router_reply(router, query.ticket, &late, NOW_MS + 600);
    end(&router);
}

static void a_search_goes_as_many_paths_as_is_set(void **state)
{
    struct router *router = begin(false);

    (void)state;
    for (unsigned i = 1; i <= 20; i++) {
        struct contact from = contact(i);
        router_sighting(router, SIGHTING_ANSWERED, &from, 1000, NOW_MS);
    }
    settle(router, NOW_MS);
    router->paths = 3;
    for (unsigned paths = 0; paths <= SEARCH_PATHS_MAX; paths += 4) {
        struct search_order order = { .aim = { .kind = LOOKUP_NODES, .k = TABLE_K },
                                      .paths = paths,
                                      .deadline_ms = UINT64_MAX };
        assert_int_equal(router_search(router, &order, NOW_MS), LB_OK);
        struct search *search = router_drop_search(router);
        unsigned count = 0;
        for (unsigned i = 0; i < SEARCH_LOOKUPS_MAX; i++) {
            count += search->lookups[i] != NULL;
        }
        assert_int_equal(count, paths == 0 ? 3 : paths);
        search_free(&search);
    }
    end(&router);
}

/* Liars who captured one path would be where all of the next search begin. */
static void several_paths_do_not_begin_where_the_last_ended(void **state)
{
    struct router *router = begin(false);
    struct contact there = contact(7);
    struct query query;

    (void)state;
    for (unsigned paths = 1; paths <= 2; paths++) {
        router->paths = paths;
        recall_keep(&router->recall, &there.id, ROUTING_V4, &there, 1, NOW_MS);
        assert_int_equal(
            search_for(router, LOOKUP_VALUE, &there.id, NOW_MS + 9000, NOW_MS + ROUTER_JOIN_MS),
            LB_OK);
        assert_int_equal(router_next(router, NOW_MS + 8000, &query), paths == 1);
    }
    end(&router);
}

static void a_lookup_where_nobody_is_known_ends_at_once(void **state)
{
    const struct node_id target = { { 1 } };
    struct router *router = begin(false);
    struct search *search;
    struct query query;

    (void)state;
    assert_int_equal(search_for(router, LOOKUP_PEERS, &target, UINT64_MAX, NOW_MS), LB_OK);
    assert_false(router_next(router, NOW_MS, &query));
    search = router_finished(router, NOW_MS);
    assert_non_null(search);
    assert_true(search_self_is_close(search));
    search_free(&search);
    end(&router);
}

/* In virtual milliseconds after the router began. */
static const struct join_row {
    const char *what;
    bool bootstrap;       /* one is configured */
    uint64_t answered_ms; /* when it answers; 0: never */
    uint64_t asked_ms;    /* when the lookup is asked for */
    uint64_t time_ms;     /* that it is given */
    uint64_t ended_ms;
    size_t found;
} join_rows[] = {
    { "a node alone on purpose finds nobody at once", false, 0, 0, 10000, 0, 0 },
    { "a lookup waits for the join", true, 300, 0, 10000, 300, 1 },
    { "it waits half of its time at most", true, 0, 0, 1000, 500, 0 },
    { "and two seconds", true, 0, 100, 60000, 100 + ROUTER_JOIN_MS, 0 },
    { "nobody waits for a bootstrap node that has long been away", true, 0, 3000, 60000, 3000, 0 },
    { "after the join nobody waits", true, 300, 400, 60000, 400, 1 },
};

static void joining(void **state)
{
    const struct join_row *row = *state;
    const struct node_id target = { { 1 } };
    struct router *router = begin(row->bootstrap);
    struct contact first = contact(1);
    struct search *search = NULL;
    struct query query, seed = { 0 };
    bool is_asked = false;

    for (uint64_t ms = 0; search == NULL && ms < 70000; ms++) {
        uint64_t now_ms = NOW_MS + ms;
        if (ms == row->asked_ms) {
            assert_int_equal(
                search_for(router, LOOKUP_NODES, &target, now_ms + row->time_ms, now_ms), LB_OK);
        }
        if (is_asked && ms == row->answered_ms) {
            answer(router, &seed, &first, now_ms);
        }
        for (unsigned turn = 0; turn < 4 && search == NULL; turn++) {
            while (router_next(router, now_ms, &query)) {
                if (row->answered_ms > 0 && ms >= row->answered_ms) {
                    answer(router, &query, &first, now_ms);
                } else if (row->answered_ms > 0 && !is_asked) {
                    is_asked = true;
                    seed = query;
                } else {
                    fails(router, &query, REPLY_SILENT, now_ms);
                }
            }
            search = router_finished(router, now_ms);
        }
        if (search != NULL) {
            assert_int_equal(ms, row->ended_ms);
        } else {
            assert_true(row->answered_ms > 0 || ms < row->asked_ms ||
                        router_deadline_ms(router) <= NOW_MS + row->ended_ms);
        }
    }
    assert_non_null(search);
    assert_int_equal(search_effort(search).answers, row->found);
    search_free(&search);
    end(&router);
}

static void introductions(void **state)
{
    struct router *router = begin(false);
    struct contact from = contact(3);
    struct intro intro;
    struct query query;

    (void)state;
    for (unsigned i = 0; i < ROUTER_INTROS_MAX; i++) {
        assert_int_equal(router_introduce(router, &from.address, &from), LB_OK);
    }
    assert_int_equal(router_introduce(router, &from.address, &from), LB_FULL);
    assert_false(router_introduced(router, &intro));
    assert_true(router_next(router, NOW_MS, &query));
    answer(router, &query, &from, NOW_MS);
    assert_true(router_introduced(router, &intro));
    assert_int_equal(intro.state, INTRO_ANSWERED);
    assert_ptr_equal(intro.ctx, &from);
    assert_true(node_id_equal(&intro.id, &from.id));
    assert_true(router_next(router, NOW_MS, &query));
    fails(router, &query, REPLY_SILENT, NOW_MS);
    assert_true(router_introduced(router, &intro));
    assert_int_equal(intro.state, INTRO_SILENT);
    end(&router);
}

/* BEP 32: what stands in both families is one node. */
static void families_are_merged(void **state)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    const struct node_id target = { { 0x80 } };
    struct router *router = begin(false);
    struct contact v4 = contact(1), v6 = contact(1), only_v6 = contact(2);
    struct search *search = NULL;
    struct query query;

    (void)state;
    memset(v6.address.ip, 0, 16);
    v6.address.ip[0] = 0xfd;
    v6.address.ip[15] = 1;
    only_v6.address = v6.address;
    only_v6.address.ip[15] = 2;
    router_sighting(router, SIGHTING_ANSWERED, &v4, 1000, NOW_MS);
    router_sighting(router, SIGHTING_ANSWERED, &v6, 1000, NOW_MS);
    router_sighting(router, SIGHTING_ANSWERED, &only_v6, 1000, NOW_MS);
    settle(router, NOW_MS);
    assert_int_equal(search_for(router, LOOKUP_NODES, &target, UINT64_MAX, NOW_MS), LB_OK);
    for (unsigned i = 0; i < 100 && search == NULL; i++) {
        while (router_next(router, NOW_MS, &query)) {
            answer(router, &query, query.to.ip[15] == 2 ? &only_v6 : &v4, NOW_MS);
        }
        search = router_finished(router, NOW_MS);
    }
    assert_non_null(search);
    assert_int_equal(search_closest(search, closest), 2);
    assert_int_equal(closest[0]->contact.id.bytes[19], 1);
    assert_int_equal(closest[1]->contact.id.bytes[19], 2);
    search_free(&search);
    end(&router);
}

/* As storage sees it: k that are nearer in the one network are no reason to be absent in the other.
 */
static void each_family_has_its_own_closest(void **state)
{
    const struct node_id target = { { 0x80 } };

    (void)state;
    for (unsigned v6 = 0; v6 < 2; v6++) {
        struct router *router = begin(false);
        struct search *search = NULL;

        for (unsigned n = 1; n <= TABLE_K + v6; n++) {
            struct contact there = contact(n);
            if (n > TABLE_K) {
                memset(there.address.ip, 0, 16);
                there.address.ip[0] = 0xfd;
                there.address.ip[15] = (uint8_t)n;
            }
            router_sighting(router, SIGHTING_ANSWERED, &there, 1000, NOW_MS);
        }
        settle(router, NOW_MS);
        assert_int_equal(search_for(router, LOOKUP_NODES, &target, UINT64_MAX, NOW_MS), LB_OK);
        for (unsigned i = 0; i < 100 && search == NULL; i++) {
            struct query query;
            while (router_next(router, NOW_MS, &query)) {
                struct contact from = contact(query.to.ip[15]);
                answer(router, &query, &from, NOW_MS);
            }
            search = router_finished(router, NOW_MS);
        }
        assert_non_null(search);
        assert_int_equal(search_self_is_close(search), v6);
        search_free(&search);
        end(&router);
    }
}

static void what_is_saved_is_asked_again(void **state)
{
    struct router *router = begin(false), *again = begin(false);
    static struct snapshot snapshot;
    struct query query;
    unsigned asked = 0;

    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        struct contact from = contact(i);
        router_sighting(router, SIGHTING_ANSWERED, &from, 1000, NOW_MS + i);
    }
    router_save(router, NOW_MS + 60000, &snapshot);
    assert_int_equal(snapshot.count, 5);
    assert_int_equal(snapshot.contacts[0].contact.id.bytes[19], 1);
    router_load(again, &snapshot);
    assert_false(router_is_joined(again));
    while (router_next(again, NOW_MS, &query)) {
        asked++;
    }
    assert_int_equal(asked, 5);
    assert_int_equal(router_view(again).contacts, 0);
    end(&router);
    end(&again);
}

/* BEP 42: what many say of our public address is compared with our id. */
static void our_public_address_is_learnt_from_answers(void **state)
{
    struct router *router = begin(false);
    struct address seen = address_v4(203, 0, 113, 7, 4000), found;
    struct query query;

    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        struct contact from = contact(i);
        from.address = address_v4(198, 51, (uint8_t)i, 1, 6881);
        assert_false(router_is_misfit(router, &found));
        router_sighting(router, SIGHTING_QUERIED, &from, 0, NOW_MS);
        while (router_next(router, NOW_MS, &query)) {
            struct reply reply = { .outcome = REPLY_ANSWERED,
                                   .id = contact(query.to.ip[14]).id,
                                   .observed = &seen };
            router_reply(router, query.ticket, &reply, NOW_MS);
        }
    }
    assert_true(router_is_misfit(router, &found));
    assert_true(address_same_ip(&found, &seen));
    router->self_id = secure_id_random(&seen, &router->random);
    assert_false(router_is_misfit(router, &found));
    router->self_id = (struct node_id){ { 0 } };
    end(&router);
}

/* A flood of queries from made-up addresses draws a bounded number of pings. */
static void pings_are_bounded(void **state)
{
    struct router *router = begin(false);
    struct query query;
    unsigned pings = 0;

    (void)state;
    for (unsigned i = 1; i < 10000; i++) {
        struct contact from = contact(i);
        router_sighting(router, SIGHTING_QUERIED, &from, 0, NOW_MS + i / 10);
        while (router_next(router, NOW_MS + i / 10, &query)) {
            pings++;
            fails(router, &query, REPLY_SILENT, NOW_MS + i / 10);
        }
    }
    assert_true(pings <= PROBES_BURST + PROBES_PER_S + 1);
    assert_int_equal(router_view(router).contacts, 0);
    end(&router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bootstrap_node_becomes_a_contact),
        cmocka_unit_test(a_transport_that_is_away_is_no_silence),
        cmocka_unit_test(who_queries_us_is_pinged_before_it_enters),
        cmocka_unit_test(what_others_name_is_pinged_too),
        cmocka_unit_test(lookups_are_bounded),
        cmocka_unit_test(a_lookup_ends_at_its_deadline_with_what_it_has),
        cmocka_unit_test(a_search_goes_as_many_paths_as_is_set),
        cmocka_unit_test(several_paths_do_not_begin_where_the_last_ended),
        cmocka_unit_test(a_lookup_where_nobody_is_known_ends_at_once),
        cmocka_unit_test(introductions),
        cmocka_unit_test(families_are_merged),
        cmocka_unit_test(each_family_has_its_own_closest),
        cmocka_unit_test(what_is_saved_is_asked_again),
        cmocka_unit_test(our_public_address_is_learnt_from_answers),
        cmocka_unit_test(pings_are_bounded),
    };

    return RUN_ROWS(challenges, an_id_from_two_addresses) + RUN_ROWS(join_rows, joining) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
