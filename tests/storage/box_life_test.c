/*
 * Mail and certificates through the life of a network, on a virtual clock: real upkeep.h,
 * box_spread.h and box_drafts.h of every node, a network that loses what a row says, and lookups
 * that find the k closest who live. Nodes go, drained or killed, others come; what was kept must be
 * there when all who were there at first have gone.
 */
#include "libcommon/memory.h"
#include "services/storage/box_drafts.h"
#include "services/storage/box_spread.h"
#include "services/storage/upkeep.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX  160u
#define RECIPIENTS 8u
#define MAILS      4u /* of each: of 1 to 4 parts */
#define LEAST_S    600u
#define STEP_MS    500u
#define BEGIN_S    1000000u
#define LIFE_S     (20u * 24 * 3600)
#define FROM_S     77u  /* notBefore of the certificates */
#define SETTLE_S   120u /* the tables have filled */

struct box {
    uint64_t changes, check_s, checked_s;
    uint8_t calm;
    bool has[MAILS], dropped[MAILS], certificate;
};

struct node {
    bool lives;
    struct contact contact;
    struct upkeep *upkeep;
    struct box boxes[RECIPIENTS];
    struct box_drafts drafts;
};

static struct network {
    struct node nodes[NODES_MAX];
    unsigned count; /* that ever were */
    struct node_id recipients[RECIPIENTS];
    uint64_t now_ms;
    unsigned loss_percent;
    struct random random;
    unsigned parts, offers, checks;
} net;

static uint64_t now_s(void)
{
    return net.now_ms / 1000;
}

static bool is_held(const struct box *box)
{
    bool any = box->certificate;

    for (unsigned m = 0; m < MAILS; m++)
        any |= box->has[m];
    return any;
}

/* ---- one node's store ---- */

static int recipient_of(const struct node_id *id)
{
    for (unsigned r = 0; r < RECIPIENTS; r++) {
        if (node_id_equal(&net.recipients[r], id))
            return (int)r;
    }
    return -1;
}

static struct upkeep_item item_of(const struct node *node, unsigned r)
{
    const struct box *box = &node->boxes[r];

    return (struct upkeep_item){ .target = net.recipients[r],
                                 .seq = box->changes,
                                 .ends_s = BEGIN_S + LIFE_S,
                                 .check_s = box->check_s,
                                 .checked_s = box->checked_s,
                                 .calm = box->calm };
}

/* The recipients ascend. */
static bool next_box(void *ctx, const struct node_id *from, struct upkeep_item *ret_item)
{
    const struct node *node = ctx;

    for (unsigned r = 0; r < RECIPIENTS; r++) {
        if (is_held(&node->boxes[r]) && node_id_compare(&net.recipients[r], from) >= 0) {
            *ret_item = item_of(node, r);
            return true;
        }
    }
    return false;
}

static bool due_box(void *ctx, uint32_t skip, struct upkeep_item *ret_item)
{
    const struct node *node = ctx;
    bool taken[RECIPIENTS] = { false };

    for (uint32_t i = 0; i <= skip; i++) {
        int first = -1;

        for (unsigned r = 0; r < RECIPIENTS; r++) {
            if (is_held(&node->boxes[r]) && !taken[r] &&
                (first < 0 || node->boxes[r].check_s < node->boxes[first].check_s))
                first = (int)r;
        }
        if (first < 0)
            return false;
        taken[first] = true;
        *ret_item = item_of(node, (unsigned)first);
    }
    return true;
}

static uint32_t overdue_boxes(void *ctx, uint64_t before_s)
{
    const struct node *node = ctx;
    uint32_t count = 0;

    for (unsigned r = 0; r < RECIPIENTS; r++)
        count += is_held(&node->boxes[r]) && node->boxes[r].check_s < before_s;
    return count;
}

static void add_to(struct node *node, struct box *box)
{
    if (!is_held(box)) {
        box->check_s = upkeep_first_check_s(node->upkeep, now_s());
        box->checked_s = now_s();
        box->calm = 0;
    }
    box->changes++;
}

/* ---- mail ---- */

static uint32_t size_of(unsigned m)
{
    return m * BOX_PART_SIZE + 10;
}

static struct box_head head_of(unsigned m)
{
    return (struct box_head){ .id = { (uint8_t)(m + 1) }, .size = size_of(m), .keep_s = 1000 };
}

static size_t store_heads(void *ctx, const struct node_id *recipient, const uint8_t *after,
                          struct box_head ret_heads[BOX_HEADS_MAX], bool *ret_more)
{
    const struct node *node = ctx;
    const struct box *box = &node->boxes[recipient_of(recipient)];
    size_t count = 0;

    *ret_more = false;
    for (unsigned m = after != NULL ? after[0] : 0; m < MAILS; m++) {
        if (box->has[m])
            ret_heads[count++] = head_of(m);
    }
    return count;
}

static uint64_t store_certificate_from_s(void *ctx, const struct node_id *recipient)
{
    const struct node *node = ctx;

    return node->boxes[recipient_of(recipient)].certificate ? FROM_S : 0;
}

/* ---- the network ---- */

static struct node *node_at(const struct contact *contact)
{
    for (unsigned n = 0; n < net.count; n++) {
        if (net.nodes[n].lives && node_id_equal(&net.nodes[n].contact.id, &contact->id))
            return &net.nodes[n];
    }
    return NULL;
}

static bool is_near(const struct node *node, unsigned r)
{
    return upkeep_is_near(node->upkeep, &node->contact.id, &net.recipients[r], BOX_SLACK);
}

static void hear(struct node *node, unsigned r, uint32_t check_s)
{
    struct upkeep_item item = item_of(node, r);

    if (check_s > 0 && is_held(&node->boxes[r]) &&
        upkeep_postpone(node->upkeep, &item, check_s, now_s())) {
        node->boxes[r].check_s = item.check_s;
        node->boxes[r].calm = item.calm;
    }
}

/* What a node answers: the desk's rules, box_desk.c. */
static void answer(struct node *node, unsigned r, const struct node_id *from,
                   const struct box_action *action, struct bytes *lacking, struct box_answer *said)
{
    static uint8_t bytes[BOX_MAIL_MAX];
    struct box *box = &node->boxes[r];
    struct box_part part = { .mail.recipient = net.recipients[r],
                             .size = action->mail.size,
                             .keep_s = 1000,
                             .offset = action->offset };
    bool is_whole;
    uint8_t *data;
    uint32_t keep_s;

    said->outcome = is_near(node, r) ? BOX_ANSWERED : BOX_REFUSED;
    if (said->outcome == BOX_REFUSED)
        return;
    switch (action->step) {
    case BOX_OFFER:
        net.offers++;
        said->lacking = lacking;
        for (size_t i = 0; i < action->heads_count; i++) {
            unsigned m = action->heads[i].id[0] - 1u;

            if (!box->has[m] && !box->dropped[m])
                lacking[said->lacking_count++] = bytes_of(action->heads[i].id, BOX_ID_SIZE);
        }
        said->wants_certificate = action->certificate_from_s > 0 && !box->certificate;
        break;
    case BOX_CERTIFICATE:
        add_to(node, box);
        box->certificate = true;
        break;
    case BOX_PART:
        net.parts++;
        memcpy(part.mail.id, action->mail.id, BOX_ID_SIZE);
        part.data = bytes_of(bytes, box_part_size(part.size, part.offset));
        assert_int_equal(
            box_drafts_add(&node->drafts, &part, from, net.now_ms, &is_whole, &data, &keep_s),
            LB_OK);
        said->complete = is_whole;
        if (is_whole) {
            free(data);
            add_to(node, box);
            box->has[action->mail.id[0] - 1] = true;
        }
        break;
    }
}

static bool is_lost(void)
{
    return random_below(&net.random, 100) < net.loss_percent;
}

/* A box is brought to these nodes, now. */
static struct box_spread_result bring(struct node *node, unsigned r, const struct contact *nodes,
                                      size_t count, uint32_t check_s)
{
    const struct box_spread_options options = {
        .recipient = net.recipients[r],
        .store = { node, store_heads, store_certificate_from_s },
        .nodes = nodes,
        .nodes_count = count,
    };
    struct box_spread *spread = box_spread_new(&options);
    struct box_spread_result result;
    struct box_action action;

    while (box_spread_next(spread, &action)) {
        struct box_answer said = { .outcome = BOX_SILENT };
        struct bytes lacking[BOX_HEADS_MAX];
        struct node *to = node_at(&action.contact);

        if (to != NULL && !is_lost()) {
            answer(to, r, &node->contact.id, &action, lacking, &said);
            if (said.outcome == BOX_ANSWERED && action.step == BOX_OFFER)
                hear(to, r, check_s);
            if (is_lost())
                said = (struct box_answer){ .outcome = BOX_SILENT };
        }
        box_spread_answered(spread, action.ticket, &said);
    }
    assert_true(box_spread_is_done(spread));
    result = box_spread_result(spread);
    box_spread_free(&spread);
    return result;
}

static const struct node_id *sorting_by;

static int compare_distance(const void *a, const void *b)
{
    return node_id_compare_distance(sorting_by, &((const struct contact *)a)->id,
                                    &((const struct contact *)b)->id);
}

/* The k closest who live, but for one; whether that one is among them. */
static size_t look_up(const struct node *but, const struct node_id *target,
                      struct contact ret_nodes[UPKEEP_K], bool *ret_is_close)
{
    struct contact all[NODES_MAX];
    size_t count = 0;

    for (unsigned n = 0; n < net.count; n++) {
        if (net.nodes[n].lives && &net.nodes[n] != but)
            all[count++] = net.nodes[n].contact;
    }
    sorting_by = target;
    qsort(all, count, sizeof *all, compare_distance);
    count = count < UPKEEP_K ? count : UPKEEP_K;
    memcpy(ret_nodes, all, count * sizeof *all);
    *ret_is_close = count < UPKEEP_K ||
                    node_id_compare_distance(target, &but->contact.id, &all[count - 1].id) < 0;
    return count;
}

/* ---- the steps of a node ---- */

static void check(struct node *node, const struct upkeep_action *action)
{
    unsigned r = (unsigned)recipient_of(&action->target);
    struct contact nodes[UPKEEP_K];
    bool is_close;
    size_t count = look_up(node, &action->target, nodes, &is_close);
    struct box_spread_result result = bring(node, r, nodes, count, action->check_s);
    const struct upkeep_check found = {
        .seq = node->boxes[r].changes,
        .nodes = result.reached,
        .holders = result.holders,
        .lacking = result.lacking,
        .may_drop = !is_close && !is_near(node, r) && result.holders + result.repaired >= UPKEEP_K,
    };

    net.checks++;
    upkeep_checked(node->upkeep, action->ticket, &found, net.now_ms);
}

static void write_box(struct node *node, const struct upkeep_action *action)
{
    struct box *box = &node->boxes[recipient_of(&action->target)];

    if (action->step == UPKEEP_DROP && box->changes == action->seq) {
        memset(box->has, 0, sizeof box->has);
        box->certificate = false;
    } else if (action->step == UPKEEP_SET) {
        box->check_s = action->item.check_s;
        box->checked_s = action->item.checked_s;
        box->calm = action->item.calm;
    }
    upkeep_written(node->upkeep, action->ticket, true, net.now_ms);
}

/* As boxes_steps.c. */
static void act(struct node *node, const struct upkeep_action *action)
{
    char need[UPKEEP_DIGESTS_MAX];
    struct upkeep_answer said = { .outcome = UPKEEP_DONE,
                                  .littlebird = true,
                                  .need = need,
                                  .need_size = action->digests_count,
                                  .token = (const uint8_t *)"t",
                                  .token_size = 1 };

    memset(need, UPKEEP_WANTS, sizeof need);
    switch (action->step) {
    case UPKEEP_CHECK:
        check(node, action);
        return;
    case UPKEEP_SET:
    case UPKEEP_DROP:
        write_box(node, action);
        return;
    case UPKEEP_PUT:
        if (bring(node, (unsigned)recipient_of(&action->target), &action->contact, 1, 0).reached ==
            0)
            said.outcome = UPKEEP_SILENT;
        break;
    default:
        break;
    }
    upkeep_answered(node->upkeep, action->ticket, &said, net.now_ms);
}

static void step(struct node *node)
{
    struct upkeep_action action;

    if (upkeep_deadline_ms(node->upkeep) > net.now_ms)
        return;
    while (upkeep_next(node->upkeep, net.now_ms, &action))
        act(node, &action);
}

static void run(uint64_t seconds)
{
    for (uint64_t end_ms = net.now_ms + seconds * 1000; net.now_ms < end_ms;
         net.now_ms += STEP_MS) {
        for (unsigned n = 0; n < net.count; n++) {
            if (net.nodes[n].lives)
                step(&net.nodes[n]);
        }
    }
}

/* ---- coming and going ---- */

static int compare_ids(const void *a, const void *b)
{
    return node_id_compare(&((const struct contact *)a)->id, &((const struct contact *)b)->id);
}

/* All know all: these are few. */
static void tell_views(void)
{
    struct contact all[NODES_MAX];

    for (unsigned n = 0; n < net.count; n++) {
        uint32_t count = 0;

        if (!net.nodes[n].lives)
            continue;
        for (unsigned i = 0; i < net.count; i++) {
            if (i != n && net.nodes[i].lives)
                all[count++] = net.nodes[i].contact;
        }
        qsort(all, count, sizeof *all, compare_ids);
        upkeep_view(net.nodes[n].upkeep, ROUTING_V4, all, count, net.now_ms);
    }
}

static void come(void)
{
    struct node *node = &net.nodes[net.count];
    struct upkeep_options options = { .check_least_s = LEAST_S, .seed = net.count + 1 };

    assert_true(net.count < NODES_MAX);
    node->lives = true;
    node->contact = (struct contact){ .id = node_id_random(&net.random),
                                      .address = address_v4(10, 0, (uint8_t)(net.count >> 8),
                                                            (uint8_t)net.count, 6881) };
    options.self_id = node->contact.id;
    options.store = (struct upkeep_store){ node, next_box, due_box, overdue_boxes };
    node->upkeep = upkeep_new(&options, net.now_ms);
    net.count++;
}

static void go(unsigned n, bool drains)
{
    struct node *node = &net.nodes[n];
    struct upkeep_action action;

    if (drains) {
        upkeep_drain(node->upkeep);
        for (unsigned i = 0; i < 100 && !upkeep_is_drained(node->upkeep); i++) {
            while (upkeep_next(node->upkeep, net.now_ms, &action))
                act(node, &action);
            net.now_ms += 10;
        }
        assert_true(upkeep_is_drained(node->upkeep));
    }
    node->lives = false;
    upkeep_free(&node->upkeep);
    box_drafts_done(&node->drafts);
    memset(node->boxes, 0, sizeof node->boxes);
}

static void begin(unsigned nodes, unsigned loss_percent)
{
    memset(&net, 0, sizeof net);
    net.now_ms = BEGIN_S * 1000ull;
    net.loss_percent = loss_percent;
    random_init(&net.random, 7);
    for (unsigned r = 0; r < RECIPIENTS; r++) {
        net.recipients[r] = node_id_random(&net.random);
        net.recipients[r].bytes[0] = (uint8_t)(r * (256 / RECIPIENTS) + 5);
    }
    for (unsigned n = 0; n < nodes; n++)
        come();
    tell_views();
    run(SETTLE_S);
}

/* Senders bring each mail to `holders` of the k closest to its recipient. */
static void post(unsigned holders)
{
    struct node none = { .lives = false };

    for (unsigned r = 0; r < RECIPIENTS; r++) {
        struct contact nodes[UPKEEP_K];
        bool is_close;
        size_t count = look_up(&none, &net.recipients[r], nodes, &is_close);

        for (size_t i = 0; i < count && i < holders; i++) {
            struct node *node = node_at(&nodes[i]);

            add_to(node, &node->boxes[r]);
            memset(node->boxes[r].has, true, sizeof node->boxes[r].has);
            node->boxes[r].certificate = true;
        }
    }
}

static void end(void)
{
    for (unsigned n = 0; n < net.count; n++) {
        if (net.nodes[n].lives)
            go(n, false);
    }
}

/* The fewest of the k closest that have a mail, or a certificate, whole; all counts in *ret_all. */
static unsigned fewest(unsigned *ret_most)
{
    struct node none = { .lives = false };
    unsigned least = UINT32_MAX;

    *ret_most = 0;
    for (unsigned r = 0; r < RECIPIENTS; r++) {
        struct contact nodes[UPKEEP_K];
        bool is_close;
        size_t count = look_up(&none, &net.recipients[r], nodes, &is_close);

        for (unsigned m = 0; m <= MAILS; m++) {
            unsigned near = 0;
            unsigned all = 0;

            for (size_t i = 0; i < count; i++) {
                const struct box *box = &node_at(&nodes[i])->boxes[r];

                near += m < MAILS ? box->has[m] : box->certificate;
            }
            for (unsigned n = 0; n < net.count; n++)
                all += m < MAILS ? net.nodes[n].boxes[r].has[m] : net.nodes[n].boxes[r].certificate;
            least = near < least ? near : least;
            *ret_most = all > *ret_most ? all : *ret_most;
        }
    }
    return least;
}

static const struct row {
    const char *what;
    unsigned nodes, loss_percent, holders;
    unsigned go, at_once; /* of the first nodes, so many at a time ... */
    bool drains;
    unsigned every_s; /* ... each time */
    bool are_replaced;
    uint64_t heal_s;      /* before it is looked at */
    unsigned least, most; /* holders then: of the k closest, and in all */
} rows[] = {
    { "nobody comes or goes", 40, 0, 20, 0, 0, false, 0, false, 2 * 3600, 20, 22 },
    { "what found few holders is brought to all of the closest", 40, 0, 3, 0, 0, false, 0, false,
      3600, 20, 22 },
    { "also through a network that loses a fifth", 40, 20, 3, 0, 0, false, 0, false, 2 * 3600, 20,
      22 },
    { "all leave one by one, drained, a minute apart; as many come", 40, 0, 20, 40, 1, true, 60,
      true, 3 * 3600, 20, 22 },
    { "the same while a tenth is lost", 40, 10, 20, 40, 1, true, 60, true, 3 * 3600, 20, 22 },
    { "all are killed one by one, a minute apart; as many come", 40, 0, 20, 40, 1, false, 60, true,
      3 * 3600, 20, 22 },
    { "all are killed one by one, while a tenth is lost", 40, 10, 20, 40, 1, false, 60, true,
      3 * 3600, 20, 22 },
    { "half are killed at once", 60, 0, 20, 30, 30, false, 10, false, 2 * 3600, 20, 22 },
    { "all but one leave, drained, and nobody comes", 24, 0, 20, 23, 1, true, 60, false, 0, 1, 1 },
    { "a class of five keeps all everywhere", 5, 0, 5, 0, 0, false, 0, false, 3600, 5, 5 },
    { "five more come to it", 5, 0, 5, 0, 5, false, 1, true, 3600, 10, 10 },
};

static void life(void **state)
{
    const struct row *row = *state;
    unsigned most;
    unsigned gone = 0;
    unsigned least;

    begin(row->nodes, row->loss_percent);
    post(row->holders);
    run(SETTLE_S);
    do {
        for (unsigned i = 0; i < row->at_once && gone < row->go; i++)
            go(gone++, row->drains);
        for (unsigned i = 0; i < row->at_once && row->are_replaced; i++)
            come();
        tell_views();
        run(row->every_s);
    } while (gone < row->go);
    run(row->heal_s);
    least = fewest(&most);
    print_message("    %u parts, %u offers, %u checks\n", net.parts, net.offers, net.checks);
    assert_int_equal(least, row->least);
    assert_true(most >= row->least && most <= row->most);
    end();
}

/* B has read its mail, and one holder did not hear of it: no other who did takes it again. */
static void what_was_dropped_is_not_brought_back(void **state)
{
    struct node *deaf = NULL;
    unsigned told = 0;

    (void)state;
    begin(40, 0);
    post(UPKEEP_K);
    for (unsigned n = 0; n < net.count; n++) {
        struct box *box = &net.nodes[n].boxes[0];

        if (!box->has[0])
            continue;
        if (deaf == NULL) {
            deaf = &net.nodes[n];
            continue;
        }
        box->has[0] = false;
        box->dropped[0] = true;
        told++;
    }
    assert_int_equal(told, UPKEEP_K - 1);
    run(6 * 3600);
    for (unsigned n = 0; n < net.count; n++)
        assert_false(net.nodes[n].boxes[0].has[0] && net.nodes[n].boxes[0].dropped[0]);
    assert_true(deaf->boxes[0].has[0]);
    end();
}

/* ---- pace ---- */

static void parts_go_at_a_steady_rate(void **state)
{
    (void)state;
    for (unsigned leaving = 0; leaving < 2; leaving++) {
        struct box_pace pace = { 0 };
        unsigned sent = 0;
        unsigned at_once = 0;

        for (uint64_t now_ms = 5000; now_ms < 15000; now_ms++) {
            uint64_t wait_ms = 0;

            while (box_pace_may(&pace, leaving, now_ms, &wait_ms)) {
                box_pace_take(&pace);
                sent++;
            }
            assert_true(wait_ms > 0);
            at_once = now_ms == 5000 ? sent : at_once;
        }
        assert_int_equal(at_once, (leaving ? 4 : 1) * BOX_PARTS_S / 4);
        assert_in_range(sent, (leaving ? 40 : 10) * BOX_PARTS_S, (leaving ? 42 : 11) * BOX_PARTS_S);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_dropped_is_not_brought_back),
        cmocka_unit_test(parts_go_at_a_steady_rate),
    };

    return RUN_ROWS(rows, life) + cmocka_run_group_tests(tests, NULL, NULL);
}
