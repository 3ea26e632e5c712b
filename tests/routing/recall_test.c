/*
 * Stories of steps: "k1 7 8" keeps nodes 7 and 8 of target
 * 1; "f7" node 7 left a query unanswered; "w9" nine minutes pass; "?1 7 8" exactly these are found
 * of target 1. "*" keeps RECALL_TARGETS_MAX - 1 other targets.
 */
#include "services/routing/recall.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>

#define STEPS_MAX 8

static const struct story {
    const char *what;
    const char *steps[STEPS_MAX];
} stories[] = {
    { "where a lookup ended is known again", { "k1 7 8 9", "?1 7 8 9", "?2" } },
    { "the last lookup of a target counts", { "k1 7 8", "k1 9", "?1 9" } },
    { "one that found nobody changes nothing", { "k1 7 8", "k1", "?1 7 8" } },
    { "it is forgotten after ten minutes", { "k1 7", "w9", "?1 7", "w1", "?1" } },
    { "also when it was looked up from there again: who has captured it once does not keep it",
      { "k1 7", "w9", "k1 7 8", "?1 7 8", "w1", "?1", "k1 9", "?1 9" } },
    { "a node that is silent is forgotten at once, of all targets",
      { "k1 7 8", "k2 8 9", "f8", "?1 7", "?2 9" } },
    { "a target gives way to many others", { "k1 7", "*", "?1 7", "k200 8", "?1" } },
    { "but not when it was looked up again", { "k1 7", "*", "k1 7", "k200 8", "?1 7" } },
};

static struct node_id target(unsigned long n)
{
    return (struct node_id){ { (uint8_t)n } };
}

static struct contact node(unsigned long n)
{
    return (struct contact){ target(n), address_v4(10, 0, 0, (uint8_t)n, 6881) };
}

static void keep(struct recall *recall, unsigned long n, const char *nodes, uint64_t now_ms)
{
    struct contact contacts[RECALL_NODES_MAX];
    struct node_id id = target(n);
    size_t count = 0;
    char *rest;

    for (n = strtoul(nodes, &rest, 10); n != 0; n = strtoul(rest, &rest, 10)) {
        contacts[count++] = node(n);
    }
    recall_keep(recall, &id, ROUTING_V4, contacts, count, now_ms);
}

static void check(const struct recall *recall, unsigned long n, const char *nodes, uint64_t now_ms)
{
    struct contact contacts[RECALL_NODES_MAX];
    struct node_id id = target(n);
    size_t count = recall_find(recall, &id, ROUTING_V4, now_ms, contacts), at = 0;
    char *rest;

    assert_int_equal(recall_find(recall, &id, ROUTING_V6, now_ms, contacts), 0);
    assert_int_equal(recall_find(recall, &id, ROUTING_V4, now_ms, contacts), count);
    for (n = strtoul(nodes, &rest, 10); n != 0; n = strtoul(rest, &rest, 10)) {
        assert_true(at < count);
        assert_int_equal(contacts[at++].address.ip[15], n);
    }
    assert_int_equal(at, count);
}

static void goes(void **state)
{
    const struct story *story = *state;
    struct recall recall = { .targets = { NULL } };
    uint64_t now_ms = 1000;

    for (unsigned i = 0; i < STEPS_MAX && story->steps[i] != NULL; i++) {
        char *rest;
        unsigned long n = strtoul(story->steps[i] + 1, &rest, 10);
        struct address address = node(n).address;
        switch (story->steps[i][0]) {
        case 'k':
            keep(&recall, n, rest, now_ms);
            break;
        case 'f':
            recall_forget(&recall, &address);
            break;
        case 'w':
            now_ms += n * 60000;
            break;
        case '*':
            for (n = 100; n < 100 + RECALL_TARGETS_MAX - 1; n++) {
                keep(&recall, n, "5", now_ms);
            }
            break;
        default:
            check(&recall, n, rest, now_ms);
            now_ms++;
        }
    }
    recall_done(&recall);
}

int main(void)
{
    return RUN_ROWS(stories, goes);
}
