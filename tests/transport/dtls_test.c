#include "services/transport/dtls_inside.h"

#include "libcommon/pki/membership_inside.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/transport/dtls_world.h"

#include <stdlib.h>
#include <string.h>

#define S 1000000u

static void two_members_open_a_session(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 1);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_has(b, a));
    assert_int_equal(a->opened, 1);
    assert_int_equal(b->opened, 1);
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_end_talks(b, a));
    assert_in_range(a->largest, 1, DTLS_MTU);
    assert_in_range(b->largest, 1, DTLS_MTU);
    dtls_net_done(&net);
}

static uint64_t counted(const struct dtls_end *end, enum dtls_counter counter)
{
    return dtls_counters(end->dtls)[counter];
}

static void a_session_is_resumed(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 1);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_unanswered(a->dtls, &b->address));
    assert_false(dtls_end_has(a, b));
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(counted(a, DTLS_COUNT_RESUMED), 1);
    assert_int_equal(counted(b, DTLS_COUNT_RESUMED), 1);
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_end_talks(b, a));
    assert_in_range(a->largest, 1, DTLS_MTU);
    assert_in_range(b->largest, 1, DTLS_MTU);
    dtls_net_done(&net);
}

static void who_was_started_anew_resumes(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 2);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    dtls_end_restart(b);
    assert_true(dtls_unanswered(a->dtls, &b->address));
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(counted(b, DTLS_COUNT_RESUMED), 1);
    b->secrets.ticket[0] ^= 1; /* two hours later neither key is the one of the ticket */
    b->secrets.ticket_before[0] ^= 1;
    assert_true(dtls_unanswered(a->dtls, &b->address));
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(counted(b, DTLS_COUNT_RESUMED), 1);
    assert_int_equal(counted(b, DTLS_COUNT_HANDSHAKES), 2);
    assert_true(dtls_end_talks(a, b));
    dtls_net_done(&net);
}

/* Both begin, and both have one session at the end: the same. */
static void both_open_at_once(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        dtls_net_make(&net, 2, NULL, seed);
        net.delay_most_us = 20000;
        assert_int_equal(dtls_reach(a->dtls, &b->address, NULL, net.now_us), DTLS_OPENING);
        assert_true(dtls_end_open(b, a, 5 * S));
        dtls_net_run(&net, 5 * S);
        assert_int_equal(counted(a, DTLS_COUNT_UNDER_WAY), 0);
        assert_int_equal(counted(b, DTLS_COUNT_UNDER_WAY), 0);
        assert_int_equal(counted(a, DTLS_COUNT_SESSIONS), 1);
        assert_int_equal(counted(b, DTLS_COUNT_SESSIONS), 1);
        assert_true(dtls_end_talks(a, b));
        assert_true(dtls_end_talks(b, a));
        dtls_net_done(&net);
    }
}

/* It has no session for the record it gets, so it opens one: both can speak again. */
static void a_record_for_who_we_were_opens_another_session(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 3);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    dtls_end_restart(b);
    assert_false(dtls_end_talks(a, b));
    assert_int_equal(counted(b, DTLS_COUNT_STRAY), 1);
    dtls_net_run(&net, 1 * S);
    assert_int_equal(a->opened, 2); /* what was sent meanwhile is to be sent again */
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_end_talks(b, a));
    dtls_net_done(&net);
}

static void strays_make_us_open_one_once_a_second(void **state)
{
    static const uint8_t stray[80] = { 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 5, 0, 67 };
    const struct address nobody = address_v4(10, 0, 1, 1, 999);
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0];

    (void)state;
    dtls_net_make(&net, 1, NULL, 4);
    for (int i = 0; i < 100; i++)
        dtls_net_inject(&net, &nobody, &a->address, bytes_of(stray, sizeof(stray)));
    dtls_net_run(&net, 9 * S / 10);
    assert_int_equal(counted(a, DTLS_COUNT_STRAY), 100);
    assert_in_range(a->sent, 1, 4); /* its hello, and again while nobody answers */
    for (unsigned i = 0; i < 2 * a->dtls->limits.recoveries_max; i++) {
        struct address other = address_v4(10, 0, 2, (uint8_t)i, 999);

        dtls_net_inject(&net, &other, &a->address, bytes_of(stray, sizeof(stray)));
    }
    dtls_net_run(&net, S / 100);
    assert_in_range(counted(a, DTLS_COUNT_UNDER_WAY), 2, a->dtls->limits.recoveries_max);
    dtls_net_run(&net, 10 * S);
    assert_int_equal(counted(a, DTLS_COUNT_UNDER_WAY), 0);
    dtls_net_done(&net);
}

/* ---- a network that loses, copies and mixes ---- */

static const struct weather {
    const char *what;
    unsigned loss, copies; /* in thousand */
    uint64_t most_us;
} weathers[] = {
    { "a good network", 0, 0, 500 },
    { "one that mixes", 0, 0, 60000 },
    { "one that copies", 0, 300, 20000 },
    { "one that loses a tenth", 100, 0, 5000 },
    { "one that loses a fifth, copies and mixes", 200, 50, 60000 },
};

/* All open to all, in both directions at once. */
static void sessions_open(void **state)
{
    const struct weather *weather = *state;
    struct dtls_net net;
    unsigned open = 0;

    dtls_net_make(&net, 5, NULL, 5);
    net.loss = weather->loss;
    net.copies = weather->copies;
    net.delay_most_us = weather->most_us;
    for (unsigned i = 0; i < net.count; i++) {
        for (unsigned j = 0; j < net.count; j++) {
            if (i != j)
                (void)dtls_reach(net.ends[i].dtls, &net.ends[j].address, NULL, net.now_us);
        }
    }
    dtls_net_run(&net, 30 * S);
    net.loss = net.copies = 0;
    net.delay_most_us = 500;
    for (unsigned i = 0; i < net.count; i++) {
        assert_int_equal(counted(&net.ends[i], DTLS_COUNT_UNDER_WAY), 0);
        for (unsigned j = 0; j < net.count; j++)
            open += i != j && dtls_end_has(&net.ends[i], &net.ends[j]) &&
                    dtls_end_has(&net.ends[j], &net.ends[i]);
    }
    assert_in_range(open, weather->loss >= 200 ? 18 : 20, 20);
    assert_true(dtls_end_open(&net.ends[0], &net.ends[1], 10 * S));
    (void)dtls_end_talks(&net.ends[0], &net.ends[1]); /* one of them may know nothing of it */
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_talks(&net.ends[0], &net.ends[1]));
    dtls_net_done(&net);
}

/* ---- who is refused, and why ---- */

/* Its end speaks as somebody would who does not keep to our rules. */
static void turn_rogue(struct dtls_end *end, SSL_CTX *context)
{
    SSL_CTX_free(end->dtls->context);
    end->dtls->context = context;
}

static const struct refusal {
    const char *what;
    enum pki_flaw flaw;
    enum certificate_refusal refusal;
} refusals[] = {
    { "its certificate is of another CA", PKI_OTHER_CA, REFUSED_OTHER_CA },
    { "its certificate is signed by itself", PKI_SELF_SIGNED, REFUSED_SELF_SIGNED },
    { "its certificate has expired", PKI_EXPIRED, REFUSED_EXPIRED },
    { "its certificate does not count yet", PKI_NOT_YET_VALID, REFUSED_NOT_YET_VALID },
    { "its certificate is for signing code", PKI_WRONG_USAGE, REFUSED_WRONG_USAGE },
    { "its certificate is for servers only", PKI_SERVER_ONLY, REFUSED_WRONG_USAGE },
    { "its certificate names another network", PKI_OTHER_NETWORK, REFUSED_WRONG_ID },
    { "its certificate names no node", PKI_NO_ID, REFUSED_WRONG_ID },
    { "its certificate names two nodes", PKI_TWO_IDS, REFUSED_WRONG_ID },
    { "its certificate is a CA's", PKI_CA_AS_LEAF, REFUSED_CA_AS_LEAF },
    { "its key is weak", PKI_WEAK_KEY, REFUSED_WEAK },
    { "its signature is weak", PKI_WEAK_DIGEST, REFUSED_WEAK },
};

static struct dtls_end *add_rogue(struct dtls_net *net, enum pki_flaw flaw)
{
    struct dtls_end *rogue = dtls_net_add(net, PKI_SOUND, NULL);
    struct pki_member flawed;

    pki_member_make(&net->pki, 9, CERTIFICATE_MEMBER, flaw, &flawed);
    turn_rogue(rogue, pki_rogue_context(&flawed, DTLS_method()));
    pki_member_done(&flawed);
    return rogue;
}

static void is_refused(void **state)
{
    const struct refusal *row = *state;
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *rogue;

    dtls_net_make(&net, 1, NULL, 6);
    rogue = add_rogue(&net, row->flaw);
    (void)dtls_end_open(rogue, a, 5 * S);
    dtls_net_run(&net, 15 * S);
    assert_false(dtls_end_has(a, rogue));
    assert_int_equal(dtls_end_refusals(a, row->refusal), 1);
    assert_int_equal(a->received, 0);
    assert_int_equal(counted(a, DTLS_COUNT_SESSIONS), 0);
    dtls_net_done(&net);
}

static void who_has_no_certificate_is_refused(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *rogue;

    (void)state;
    dtls_net_make(&net, 1, NULL, 6);
    rogue = dtls_net_add(&net, PKI_SOUND, NULL);
    turn_rogue(rogue, membership_joiner_context(DTLS_method()));
    (void)dtls_end_open(rogue, a, 5 * S);
    dtls_net_run(&net, 15 * S);
    assert_false(dtls_end_has(a, rogue));
    assert_int_equal(dtls_end_refusals(a, REFUSED_NONE), 1);
    dtls_net_done(&net);
}

static void an_old_protocol_is_refused(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *rogue;

    (void)state;
    dtls_net_make(&net, 1, NULL, 6);
    rogue = add_rogue(&net, PKI_SOUND);
    assert_int_equal(SSL_CTX_set_max_proto_version(rogue->dtls->context, DTLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(rogue->dtls->context, "ALL:@SECLEVEL=0"), 1);
    (void)dtls_end_open(rogue, a, 1 * S);
    dtls_net_run(&net, 5 * S);
    assert_false(dtls_end_has(a, rogue));
    assert_true(dtls_end_refusals(a, REFUSED_OLD_PROTOCOL) > 0);
    assert_int_equal(counted(a, DTLS_COUNT_CHALLENGED), 0);
    dtls_net_done(&net);
}

static void renegotiation_is_refused(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *rogue;
    SSL *ssl;

    (void)state;
    dtls_net_make(&net, 1, NULL, 6);
    rogue = add_rogue(&net, PKI_SOUND);
    assert_true(dtls_end_open(rogue, a, 5 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_has(a, rogue));
    ssl = dtls_find(rogue->dtls, &a->address)->live->ssl;
    (void)SSL_renegotiate(ssl);
    (void)SSL_do_handshake(ssl);
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_refusals(a, REFUSED_RENEGOTIATED) > 0);
    dtls_net_done(&net);
}

static void who_has_our_own_certificate_is_refused(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 6);
    turn_rogue(b, membership_new_context(a->membership, DTLS_method()));
    (void)dtls_end_open(b, a, 5 * S);
    dtls_net_run(&net, 5 * S);
    assert_false(dtls_end_has(a, b));
    assert_int_equal(dtls_end_refusals(a, REFUSED_WRONG_ID), 1);
    dtls_net_done(&net);
}

static void deny_row(struct dtls_end *end, const struct node_id *row)
{
    struct dtls_net *net = end->net;
    struct deny_list *list;
    size_t size;
    uint8_t *data = pki_deny_list(&net->pki, 1, row, 1, &size);

    assert_int_equal(deny_list_parse(bytes_of(data, size), net->pki.root, net->now_s, &list),
                     LB_OK);
    assert_true(membership_take_denied(end->membership, &list));
    free(data);
    dtls_care(end->dtls, MEMBERSHIP_NEW_DENIED, net->now_s);
}

static void deny(struct dtls_end *end, const struct dtls_end *whom)
{
    deny_row(end, &whom->member.identity.node);
}

/* Its certificate is by a coordinator that was put out: until it has another, it is no member. */
static void so_is_who_was_certified_by_one(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1], *c = &net.ends[2];
    uint8_t key_id[DENY_LIST_KEY_SIZE];
    X509 *first;
    EVP_PKEY *first_key;
    struct node_id row;

    (void)state;
    dtls_net_make(&net, 1, NULL, 7);
    first = net.pki.intermediate;
    first_key = net.pki.intermediate_key;
    pki_intermediate_make(&net.pki, &net.pki.intermediate_key, &net.pki.intermediate);
    assert_int_equal(certificate_key_id(net.pki.intermediate, key_id), LB_OK);
    row = deny_list_key(key_id);
    (void)dtls_net_add(&net, PKI_SOUND, NULL);
    X509_free(net.pki.intermediate);
    EVP_PKEY_free(net.pki.intermediate_key);
    net.pki.intermediate = first;
    net.pki.intermediate_key = first_key;
    (void)dtls_net_add(&net, PKI_SOUND, NULL);
    assert_true(dtls_end_open(b, a, 1 * S));
    assert_true(dtls_end_open(c, a, 1 * S));
    dtls_net_run(&net, 1 * S);
    deny_row(a, &row);
    assert_false(dtls_end_has(a, b));
    assert_true(dtls_end_has(a, c));
    assert_int_equal(dtls_end_refusals(a, REFUSED_REVOKED), 1);
    dtls_net_run(&net, 1 * S);
    (void)dtls_end_open(b, a, 1 * S);
    dtls_net_run(&net, 15 * S);
    assert_false(dtls_end_has(a, b));
    assert_int_equal(dtls_end_refusals(a, REFUSED_RESUMED_REVOKED), 1);
    dtls_net_done(&net);
}

static void who_is_denied_is_gone_at_once_and_stays_away(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1], *c = &net.ends[2];

    (void)state;
    dtls_net_make(&net, 3, NULL, 7);
    assert_true(dtls_end_open(b, a, 1 * S));
    assert_true(dtls_end_open(c, a, 1 * S));
    dtls_net_run(&net, 1 * S);
    deny(a, b);
    assert_false(dtls_end_has(a, b));
    assert_true(dtls_end_has(a, c));
    assert_int_equal(dtls_end_refusals(a, REFUSED_REVOKED), 1);
    dtls_net_run(&net, 1 * S);
    assert_false(dtls_end_has(b, a)); /* it was told */
    (void)dtls_end_open(b, a, 1 * S); /* by its ticket */
    dtls_net_run(&net, 15 * S);
    assert_false(dtls_end_has(a, b));
    assert_int_equal(dtls_end_refusals(a, REFUSED_RESUMED_REVOKED), 1);
    dtls_tickets_done(b->dtls);
    (void)dtls_unanswered(b->dtls, &a->address);
    (void)dtls_end_open(b, a, 1 * S);
    dtls_net_run(&net, 15 * S);
    assert_false(dtls_end_has(a, b));
    assert_true(dtls_end_refusals(a, REFUSED_REVOKED) >= 2);
    assert_int_equal(dtls_reach(a->dtls, &b->address, &b->member.identity.node, net.now_us),
                     DTLS_OTHER);
    dtls_net_done(&net);
}

/* A day after the last word of a coordinator: a knows b, not c. */
static void without_news_who_is_new_is_refused(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1], *c = &net.ends[2];

    (void)state;
    dtls_net_make(&net, 3, NULL, 7);
    assert_true(dtls_end_open(b, a, 1 * S));
    dtls_net_run(&net, 1 * S);
    net.now_s += MEMBERSHIP_ALONE_S + 60;
    dtls_care(a->dtls, MEMBERSHIP_SAME, net.now_s);
    assert_true(dtls_end_talks(a, b)); /* what lives goes on */
    (void)dtls_end_open(c, a, 1 * S);
    dtls_net_run(&net, 1 * S);
    assert_false(dtls_end_has(a, c));
    assert_int_equal(dtls_end_refusals(a, REFUSED_NO_NEWS), 1);
    dtls_end_restart(a);
    dtls_care(a->dtls, MEMBERSHIP_SAME, net.now_s);
    assert_true(dtls_unanswered(b->dtls, &a->address));
    assert_true(dtls_end_open(b, a, 1 * S)); /* resumed */
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_has(a, b));
    dtls_tickets_done(b->dtls);
    assert_true(dtls_unanswered(b->dtls, &a->address));
    assert_true(dtls_end_open(b, a, 1 * S)); /* known */
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_has(a, b));
    a->membership->reached_s = net.now_s;
    (void)dtls_unanswered(c->dtls, &a->address);
    assert_true(dtls_end_open(c, a, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_has(a, c));
    dtls_net_done(&net);
}

static void a_session_ends_with_its_certificate(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 8);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    dtls_care(a->dtls, MEMBERSHIP_SAME, net.now_s + CERTIFICATE_LEAF_S - 3600);
    assert_true(dtls_end_has(a, b));
    dtls_care(a->dtls, MEMBERSHIP_SAME, net.now_s + CERTIFICATE_LEAF_S + 1);
    assert_false(dtls_end_has(a, b));
    assert_int_equal(dtls_end_refusals(a, REFUSED_EXPIRED), 1);
    dtls_net_done(&net);
}

static void a_new_certificate_leaves_sessions_open(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 8);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    dtls_care(a->dtls, MEMBERSHIP_NEW_CERTIFICATE, net.now_s);
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_unanswered(a->dtls, &b->address));
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(counted(b, DTLS_COUNT_RESUMED), 0); /* that would be the old certificate */
    assert_true(dtls_end_talks(a, b));
    dtls_net_done(&net);
}

static void another_node_than_the_one_that_is_meant_is_told_apart(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1], *c = &net.ends[2];

    (void)state;
    dtls_net_make(&net, 3, NULL, 9);
    assert_true(dtls_end_open(a, b, 1 * S));
    assert_int_equal(dtls_reach(a->dtls, &b->address, &b->member.identity.node, net.now_us),
                     DTLS_OPEN);
    assert_int_equal(dtls_reach(a->dtls, &b->address, &c->member.identity.node, net.now_us),
                     DTLS_OTHER);
    dtls_net_done(&net);
}

/* ---- limits ---- */

static void the_session_used_longest_ago_gives_way(void **state)
{
    struct dtls_limits limits = DTLS_LIMITS_DEFAULT;
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0];

    (void)state;
    limits.sessions_max = 3;
    dtls_net_make(&net, 5, &limits, 10);
    for (unsigned i = 1; i <= 3; i++)
        assert_true(dtls_end_open(a, &net.ends[i], 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_talks(&net.ends[1], a)); /* so the second was used longest ago */
    assert_true(dtls_end_open(a, &net.ends[4], 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_true(dtls_end_has(a, &net.ends[1]));
    assert_false(dtls_end_has(a, &net.ends[2]));
    assert_false(dtls_end_has(&net.ends[2], a)); /* it was told */
    assert_true(dtls_end_has(a, &net.ends[3]));
    assert_int_equal(counted(a, DTLS_COUNT_EVICTED), 1);
    assert_int_equal(counted(a, DTLS_COUNT_SESSIONS), 3);
    dtls_net_done(&net);
}

/* One member at many addresses. */
static void one_node_has_few_sessions(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0];

    (void)state;
    dtls_net_make(&net, 8, NULL, 11);
    for (unsigned i = 2; i < net.count; i++)
        turn_rogue(&net.ends[i], membership_new_context(net.ends[1].membership, DTLS_method()));
    for (unsigned i = 1; i < net.count; i++)
        assert_true(dtls_end_open(&net.ends[i], a, 1 * S));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(counted(a, DTLS_COUNT_SESSIONS), DTLS_NODE_SESSIONS_MAX);
    assert_int_equal(counted(a, DTLS_COUNT_EVICTED), 7 - DTLS_NODE_SESSIONS_MAX);
    dtls_net_done(&net);
}

static void an_idle_session_is_closed(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 12);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 800 * S);
    assert_true(dtls_end_talks(a, b));
    dtls_net_run(&net, 899 * S);
    assert_true(dtls_end_has(a, b));
    dtls_net_run(&net, 2 * S);
    assert_false(dtls_end_has(a, b));
    assert_false(dtls_end_has(b, a));
    dtls_net_done(&net);
}

static void silence_ends_a_handshake_sooner_than_slowness(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 13);
    b->is_cut = true;
    assert_int_equal(dtls_reach(a->dtls, &b->address, NULL, net.now_us), DTLS_OPENING);
    dtls_net_run(&net, 2400000);
    assert_int_equal(counted(a, DTLS_COUNT_UNDER_WAY), 1);
    assert_true(dtls_unanswered(a->dtls, &b->address)); /* so it counts against that node */
    dtls_net_run(&net, 200000);
    assert_int_equal(counted(a, DTLS_COUNT_UNDER_WAY), 0);
    assert_int_equal(counted(a, DTLS_COUNT_TIMED_OUT), 1);
    assert_in_range(a->sent, 3, 5);
    b->is_cut = false;
    net.delay_least_us = net.delay_most_us = 900000;
    assert_int_equal(dtls_reach(a->dtls, &b->address, NULL, net.now_us), DTLS_OPENING);
    dtls_net_run(&net, 3 * S);
    assert_int_equal(counted(a, DTLS_COUNT_UNDER_WAY), 1);
    assert_false(dtls_unanswered(a->dtls, &b->address)); /* it is there, and slow */
    dtls_net_run(&net, 5 * S);
    assert_true(dtls_end_has(a, b));
    dtls_net_done(&net);
}

static const struct limit {
    const char *what;
    struct dtls_limits limits;
    bool same_ip;
    enum dtls_counter counter;
    unsigned open; /* of 6 that begin at once, within a quarter of a second */
} limits_rows[] = {
    { "more wait than may be under way",
      { 1024, 2, 5, 200, 16, 900 * S, 10 * S, 5 * S / 2 },
      false,
      DTLS_COUNT_MANY_NOW,
      2 },
    { "more wait than may come from one address",
      { 1024, 64, 3, 200, 16, 900 * S, 10 * S, 5 * S / 2 },
      true,
      DTLS_COUNT_MANY_IP,
      3 },
    { "more wait than may begin in a second",
      { 1024, 64, 5, 4, 16, 900 * S, 10 * S, 5 * S / 2 },
      false,
      DTLS_COUNT_MANY_SECOND,
      4 },
};

/* Who finds it full asks again, and has its turn. */
static void has_its_turn_later(void **state)
{
    const struct limit *row = *state;
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0];

    dtls_net_make(&net, 1, &row->limits, 14);
    while (net.count < 7) {
        struct dtls_end *end = dtls_net_add(&net, PKI_SOUND, NULL);

        if (row->same_ip)
            end->address = address_v4(10, 0, 0, 99, (uint16_t)(7000 + net.count));
    }
    for (unsigned i = 1; i < net.count; i++)
        (void)dtls_reach(net.ends[i].dtls, &a->address, NULL, net.now_us);
    dtls_net_run(&net, 100000);
    assert_int_equal(counted(a, DTLS_COUNT_SESSIONS), row->open);
    assert_true(counted(a, row->counter) > 0);
    dtls_net_run(&net, 5 * S);
    assert_int_equal(counted(a, DTLS_COUNT_SESSIONS), 6);
    dtls_net_done(&net);
}

/* ---- hostile datagrams ---- */

/* What somebody on the way does to the datagrams. */
enum attack { ATTACK_FLIP, ATTACK_CUT, ATTACK_REPLAY, ATTACK_SWAP };

struct attacker {
    struct dtls_net *net;
    enum attack attack;
    unsigned seen;
    struct dtls_packet kept;
};

static bool attack(void *ctx, struct dtls_packet *packet)
{
    struct attacker *self = ctx;
    struct dtls_net *net = self->net;
    struct dtls_packet altered = *packet;

    if (self->seen++ % 4 > 0)
        return true;
    switch (self->attack) {
    case ATTACK_FLIP:
        altered.data[random_below(&net->random, altered.size)] ^=
            (uint8_t)(1u << random_below(&net->random, 8));
        break;
    case ATTACK_CUT:
        altered.size = random_below(&net->random, altered.size);
        break;
    case ATTACK_SWAP:
        altered.from = packet->to;
        altered.to = packet->from;
        break;
    case ATTACK_REPLAY:
        break;
    }
    if (altered.size > 0)
        dtls_net_inject(net, &altered.from, &altered.to, bytes_of(altered.data, altered.size));
    if (self->seen % 12 == 0)
        self->kept = *packet;
    if (self->kept.size > 0)
        dtls_net_inject(net, &self->kept.from, &self->kept.to,
                        bytes_of(self->kept.data, self->kept.size));
    return true;
}

static const struct attack_row {
    const char *what;
    enum attack attack;
} attacks[] = {
    { "each fourth datagram comes with one that has a bit turned", ATTACK_FLIP },
    { "each fourth datagram comes with one that is cut", ATTACK_CUT },
    { "each fourth datagram comes twice and again later", ATTACK_REPLAY },
    { "each fourth datagram goes back to its sender too", ATTACK_SWAP },
};

/*
 * Who sits on the way can end a handshake, as it can take its datagrams out; the next one comes to
 * its end. An open session it cannot touch.
 */

static void does_no_harm(void **state)
{
    const struct attack_row *row = *state;
    struct attacker attacker = { .attack = row->attack };
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];
    unsigned received = 0;

    dtls_net_make(&net, 2, NULL, 15);
    attacker.net = &net;
    net.tap = attack;
    net.tap_ctx = &attacker;
    net.delay_most_us = 2000;
    for (unsigned tries = 0; tries < 30 && !(dtls_end_has(a, b) && dtls_end_has(b, a)); tries++) {
        (void)dtls_end_open(a, b, 10 * S);
        dtls_net_run(&net, 1 * S);
        if (!dtls_end_has(b, a))
            (void)dtls_unanswered(a->dtls, &b->address);
    }
    for (unsigned i = 0; i < 200; i++) {
        received += dtls_end_talks(a, b);
        received += dtls_end_talks(b, a);
    }
    assert_int_equal(received, 400); /* each once, and whole */
    dtls_net_done(&net);
}

static void nothing_is_kept_of_who_brings_no_cookie(void **state)
{
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];
    struct association *association;
    struct dtls_packet hello;

    (void)state;
    dtls_net_make(&net, 2, NULL, 16);
    (void)dtls_reach(b->dtls, &a->address, NULL, net.now_us);
    assert_int_equal(net.packets_count, 1);
    hello = net.packets[0];
    net.packets_count = 0;
    association = dtls_find(b->dtls, &a->address);
    dtls_end_fresh(b->dtls, association);
    dtls_drop_if_empty(b->dtls, association);
    for (unsigned i = 0; i < 2000; i++) {
        struct address forged = address_v4(10, 9, (uint8_t)(i >> 8), (uint8_t)i, (uint16_t)(i + 1));

        dtls_net_inject(&net, &forged, &a->address, bytes_of(hello.data, hello.size));
        dtls_net_run(&net, 1000);
        assert_int_equal(counted(a, DTLS_COUNT_UNDER_WAY), 0);
    }
    assert_int_equal(counted(a, DTLS_COUNT_CHALLENGED), 2000);
    assert_in_range(a->sent_bytes, 1, 2000 * hello.size);
    assert_true(dtls_end_open(b, a, 1 * S)); /* others are served */
    dtls_net_done(&net);
}

static const struct rubbish {
    const char *what;
    uint8_t data[64];
    size_t size;
    enum dtls_counter counter;
} rubbish[] = {
    { "KRPC in the clear", "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", 56,
      DTLS_COUNT_PLAIN },
    { "nothing at all", "", 0, DTLS_COUNT_MALFORMED },
    { "a zero", { 0 }, 1, DTLS_COUNT_MALFORMED },
    { "a forged record of 17 bytes",
      { 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4 },
      17,
      DTLS_COUNT_MALFORMED },
    { "one that is long enough",
      { 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 40, 1, 2, 3, 4 },
      53,
      DTLS_COUNT_FORGED },
    { "a forged alert of the session",
      { 21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26, 2, 0 },
      39,
      DTLS_COUNT_FORGED },
    { "an alert in the clear",
      { 21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40 },
      15,
      DTLS_COUNT_STRAY },
    { "data in the clear",
      { 23, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40 },
      15,
      DTLS_COUNT_MALFORMED },
    { "a hello that says nothing",
      { 22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 12, 1 },
      25,
      DTLS_COUNT_MALFORMED },
};

/* As if it came from the other end of an open session. */
static void does_not_end_a_session(void **state)
{
    const struct rubbish *row = *state;
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    dtls_net_make(&net, 2, NULL, 17);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    for (unsigned i = 0; i < 10; i++)
        dtls_net_inject(&net, &a->address, &b->address, bytes_of(row->data, row->size));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(counted(b, row->counter), 10);
    assert_int_equal(b->received, 0);
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_end_talks(b, a));
    dtls_net_done(&net);
}

/* While a handshake is under way, it is still the one that was meant. */
static void does_not_end_a_handshake(void **state)
{
    const struct rubbish *row = *state;
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    dtls_net_make(&net, 2, NULL, 18);
    (void)dtls_reach(a->dtls, &b->address, NULL, net.now_us);
    for (unsigned i = 0; i < 10; i++) {
        dtls_net_run(&net, 300);
        dtls_net_inject(&net, &a->address, &b->address, bytes_of(row->data, row->size));
        dtls_net_inject(&net, &b->address, &a->address, bytes_of(row->data, row->size));
    }
    dtls_net_run(&net, 5 * S);
    assert_true(dtls_end_talks(a, b));
    assert_true(dtls_end_talks(b, a));
    dtls_net_done(&net);
}

/* A payload of the most bytes there may be is one datagram that Ethernet takes (KRPC_SEND_MAX). */
static void a_record_has_the_overhead_we_count(void **state)
{
    static const uint8_t payload[1415];
    struct dtls_net net;
    struct dtls_end *a = &net.ends[0], *b = &net.ends[1];

    (void)state;
    dtls_net_make(&net, 2, NULL, 19);
    assert_true(dtls_end_open(a, b, 1 * S));
    dtls_net_run(&net, 1 * S);
    a->largest = 0;
    assert_true(
        dtls_send(a->dtls, &b->address, NULL, bytes_of(payload, sizeof(payload)), net.now_us));
    dtls_net_run(&net, 1 * S);
    assert_int_equal(a->largest, sizeof(payload) + DTLS_RECORD_OVERHEAD);
    assert_int_equal(b->payload_size, sizeof(payload));
    dtls_net_done(&net);
}

/* The answer is of this machine's OpenSSL; that there is one is ours. */
static void the_probe_comes_to_an_end(void **state)
{
    struct dtls_net net;
    lb_err err;

    (void)state;
    dtls_net_make(&net, 1, NULL, 20);
    err = dtls_probe(net.ends[0].membership);
    assert_true(err == LB_OK || err == LB_UNSUPPORTED);
    dtls_net_done(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_members_open_a_session),
        cmocka_unit_test(a_session_is_resumed),
        cmocka_unit_test(who_was_started_anew_resumes),
        cmocka_unit_test(both_open_at_once),
        cmocka_unit_test(a_record_for_who_we_were_opens_another_session),
        cmocka_unit_test(strays_make_us_open_one_once_a_second),
        cmocka_unit_test(who_has_no_certificate_is_refused),
        cmocka_unit_test(an_old_protocol_is_refused),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(who_has_our_own_certificate_is_refused),
        cmocka_unit_test(who_is_denied_is_gone_at_once_and_stays_away),
        cmocka_unit_test(so_is_who_was_certified_by_one),
        cmocka_unit_test(without_news_who_is_new_is_refused),
        cmocka_unit_test(a_session_ends_with_its_certificate),
        cmocka_unit_test(a_new_certificate_leaves_sessions_open),
        cmocka_unit_test(another_node_than_the_one_that_is_meant_is_told_apart),
        cmocka_unit_test(the_session_used_longest_ago_gives_way),
        cmocka_unit_test(one_node_has_few_sessions),
        cmocka_unit_test(an_idle_session_is_closed),
        cmocka_unit_test(silence_ends_a_handshake_sooner_than_slowness),
        cmocka_unit_test(nothing_is_kept_of_who_brings_no_cookie),
        cmocka_unit_test(a_record_has_the_overhead_we_count),
        cmocka_unit_test(the_probe_comes_to_an_end),
    };

    return (RUN_ROWS(weathers, sessions_open) + RUN_ROWS(refusals, is_refused) +
            RUN_ROWS(limits_rows, has_its_turn_later) + RUN_ROWS(attacks, does_no_harm) +
            RUN_ROWS(rubbish, does_not_end_a_session) +
            RUN_ROWS(rubbish, does_not_end_a_handshake) +
            cmocka_run_group_tests(tests, NULL, NULL)) != 0;
}
