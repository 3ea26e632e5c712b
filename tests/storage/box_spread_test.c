/* A box brought to nodes that answer as a row says. */
#include "services/storage/box_spread.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define MAIL_SIZE 2000u /* three parts */

static struct world {
    unsigned mails;
    bool certificate;
    unsigned offers, certificates, parts;
    unsigned node_parts[256], node_taken[256]; /* of the mail that is being brought */
    unsigned asked[256];
    unsigned under_way, most_under_way;
} world;

static size_t heads(void *ctx, const struct node_id *recipient, const uint8_t *after,
                    struct box_head ret_heads[BOX_HEADS_MAX], bool *ret_more)
{
    size_t count = 0;

    (void)ctx;
    (void)recipient;
    for (unsigned m = after != NULL ? after[0] : 0; m < world.mails && count < BOX_HEADS_MAX; m++)
        ret_heads[count++] =
            (struct box_head){ .id = { (uint8_t)(m + 1) }, .size = MAIL_SIZE, .keep_s = 60 };
    *ret_more = (after != NULL ? after[0] : 0) + count < world.mails;
    return count;
}

static uint64_t certificate_from_s(void *ctx, const struct node_id *recipient)
{
    (void)ctx;
    (void)recipient;
    return world.certificate ? 5 : 0;
}

/*
 * One letter a node: h has all, w wants all, c only the certificate, o every other mail, r refuses,
 * f is full (takes the offer, refuses parts), n says never that a mail is complete, s is silent, d
 * falls silent after the offer, l loses every third datagram, x wants what was not offered, g: what
 * it wants is gone here.
 */
static const struct row {
    const char *what, *nodes;
    unsigned mails;
    bool certificate;
    struct box_spread_result result;
    unsigned offers, certificates, parts;
} rows[] = {
    { "an empty box is brought nowhere", "hw", 0, false, { 0, 0, 0, 0 }, 0, 0, 0 },
    { "who has all is asked once", "hhh", 2, true, { 3, 3, 0, 0 }, 3, 0, 0 },
    { "who has nothing gets all", "w", 2, true, { 1, 0, 1, 1 }, 1, 1, 6 },
    { "a box of a certificate alone", "wh", 0, true, { 2, 1, 1, 1 }, 2, 1, 0 },
    { "who lacks the certificate gets no mail", "c", 2, true, { 1, 0, 1, 1 }, 1, 1, 0 },
    { "who lacks some gets these", "o", 4, false, { 1, 0, 1, 1 }, 1, 0, 6 },
    { "forty mails are offered in three lists", "w", 40, false, { 1, 0, 1, 1 }, 3, 0, 120 },
    { "sixteen in one", "h", 16, false, { 1, 1, 0, 0 }, 1, 0, 0 },
    { "who refuses is no holder", "rh", 2, true, { 2, 1, 1, 0 }, 2, 0, 0 },
    { "who is full is asked for no more of that mail", "f", 1, false, { 1, 0, 1, 0 }, 1, 0, 3 },
    { "what does not become complete is sent twice", "n", 1, false, { 1, 0, 1, 0 }, 1, 0, 6 },
    { "who is silent is asked three times", "sh", 1, true, { 1, 1, 0, 0 }, 4, 0, 0 },
    { "who falls silent is given up", "d", 1, false, { 1, 0, 1, 0 }, 1, 0, 5 },
    { "what is lost is sent again", "l", 3, false, { 1, 0, 1, 1 }, 1, 0, 13 },
    { "what was not offered is not sent", "x", 2, false, { 1, 1, 0, 0 }, 1, 0, 0 },
    { "what is gone here is passed over", "g", 2, false, { 1, 0, 1, 1 }, 1, 0, 6 },
    { "many at once", "whwhwhwhsrhwhw", 1, false, { 13, 6, 7, 6 }, 16, 0, 18 },
};

static bool lacks(char letter, unsigned mail)
{
    return strchr("wfndlg", letter) != NULL || (letter == 'o' && mail % 2 == 0);
}

static void answer_offer(char letter, const struct box_action *action, struct bytes *lacking,
                         struct box_answer *said)
{
    static const uint8_t other[BOX_ID_SIZE] = { 250 };

    world.offers++;
    said->outcome = letter == 'r' ? BOX_REFUSED : BOX_ANSWERED;
    said->lacking = lacking;
    for (size_t i = 0; i < action->heads_count; i++) {
        if (lacks(letter, action->heads[i].id[0]))
            lacking[said->lacking_count++] = bytes_of(action->heads[i].id, BOX_ID_SIZE);
    }
    if (letter == 'x')
        lacking[said->lacking_count++] = bytes_of(other, sizeof other);
    said->wants_certificate = action->certificate_from_s > 0 && strchr("wc", letter) != NULL;
}

static void answer_part(char letter, unsigned node, struct box_answer *said)
{
    world.parts++;
    said->outcome = letter == 'f' ? BOX_REFUSED : letter == 'g' ? BOX_GONE : BOX_ANSWERED;
    said->complete = ++world.node_parts[node] == 3 && letter != 'n';
    world.node_parts[node] %= 3;
}

/* Is this one lost on the way? */
static bool is_silent(char letter, unsigned node, const struct box_action *action)
{
    if (letter == 'l')
        return action->step == BOX_PART && ++world.asked[node] % 3 == 0;
    return letter == 's' || (letter == 'd' && action->step == BOX_PART);
}

static void answer(const char *nodes, struct box_spread *spread, const struct box_action *action)
{
    unsigned node = action->contact.id.bytes[0];
    struct box_answer said = { .outcome = BOX_SILENT };
    struct bytes lacking[BOX_HEADS_MAX + 1];

    if (is_silent(nodes[node], node, action)) {
        world.offers += action->step == BOX_OFFER;
        world.parts += action->step == BOX_PART;
    } else if (action->step == BOX_OFFER) {
        answer_offer(nodes[node], action, lacking, &said);
    } else if (action->step == BOX_CERTIFICATE) {
        world.certificates++;
        said.outcome = BOX_ANSWERED;
    } else {
        answer_part(nodes[node], node, &said);
    }
    box_spread_answered(spread, action->ticket, &said);
    box_spread_answered(spread, action->ticket + (1u << 16), &said); /* none of ours */
    box_spread_answered(spread, 200, &said);
}

static void spread(void **state)
{
    const struct row *row = *state;
    struct contact nodes[BOX_SPREAD_NODES_MAX] = { 0 };
    const struct box_spread_options options = {
        .store = { NULL, heads, certificate_from_s },
        .nodes = nodes,
        .nodes_count = strlen(row->nodes),
    };
    struct box_action queue[BOX_SPREAD_NODES_MAX * BOX_SPREAD_WINDOW];
    struct box_spread_result result;
    struct box_spread *self;
    size_t count = 0;

    memset(&world, 0, sizeof world);
    world.mails = row->mails;
    world.certificate = row->certificate;
    for (size_t i = 0; i < options.nodes_count; i++)
        nodes[i].id.bytes[0] = (uint8_t)i;
    self = box_spread_new(&options);
    /* All that may be under way is, then the answers come in their order. */
    for (;;) {
        while (box_spread_next(self, &queue[count])) {
            count++;
            assert_true(count <= BOX_SPREAD_ACTIVE * BOX_SPREAD_WINDOW);
        }
        if (count == 0)
            break;
        answer(row->nodes, self, &queue[0]);
        memmove(queue, queue + 1, --count * sizeof *queue);
    }
    assert_true(box_spread_is_done(self));
    result = box_spread_result(self);
    assert_int_equal(result.reached, row->result.reached);
    assert_int_equal(result.holders, row->result.holders);
    assert_int_equal(result.lacking, row->result.lacking);
    assert_int_equal(result.repaired, row->result.repaired);
    assert_int_equal(world.offers, row->offers);
    assert_int_equal(world.certificates, row->certificates);
    assert_int_equal(world.parts, row->parts);
    box_spread_free(&self);
}

int main(void)
{
    return RUN_ROWS(rows, spread);
}
