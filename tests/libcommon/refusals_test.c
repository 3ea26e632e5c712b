/*
 * The thirteen refusals of THREATS 3.5, over real handshakes in memory: a member with the contexts
 * all of us use, and a rogue that keeps to none of our rules. TLS 1.3 and DTLS 1.2, the rogue as
 * client and as server.
 */
#include "libcommon/pki/membership.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/pki_fixture.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX 40
#define MTU        1200

static struct pki_network network;
static struct pki_member honest;
static struct membership *membership;
static uint64_t now_s;

static void make_world(void)
{
    now_s = (uint64_t)time(NULL); /* TLS verifies at the real time */
    pki_network_make(&network, "lab", now_s);
    pki_member_make(&network, 1, CERTIFICATE_MEMBER, PKI_SOUND, &honest);
    membership = pki_membership(&network, &honest);
}

static void end_world(void)
{
    membership_free(&membership);
    pki_member_done(&honest);
    pki_network_done(&network);
}

/* ---- two ends ---- */

struct end {
    SSL *ssl;
    bool done, failed;
    enum certificate_refusal refusal; /* of the handshake, when it failed */
};

struct pair {
    struct end client, server;
};

static void open_end(struct end *self, SSL_CTX *context, BIO *in, BIO *out, bool is_server)
{
    memset(self, 0, sizeof(*self));
    self->refusal = REFUSED_NOT;
    self->ssl = SSL_new(context);
    assert_non_null(self->ssl);
    BIO_set_mem_eof_return(in, -1);
    assert_int_equal(BIO_up_ref(in) & BIO_up_ref(out), 1);
    SSL_set_bio(self->ssl, in, out);
    if (SSL_is_dtls(self->ssl)) {
        SSL_set_options(self->ssl, SSL_OP_NO_QUERY_MTU);
        SSL_set_mtu(self->ssl, MTU);
    }
    if (is_server) {
        SSL_set_accept_state(self->ssl);
    } else {
        SSL_set_connect_state(self->ssl);
    }
}

static void open_pair(struct pair *self, SSL_CTX *client, SSL_CTX *server)
{
    BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());

    open_end(&self->client, client, to_client, to_server, false);
    open_end(&self->server, server, to_server, to_client, true);
    BIO_free(to_server);
    BIO_free(to_client);
}

static void close_pair(struct pair *self)
{
    /* As if both had said goodbye: of a broken connection OpenSSL does not resume the session. */
    SSL_set_shutdown(self->client.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_shutdown(self->server.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(self->client.ssl);
    SSL_free(self->server.ssl);
}

static void step(struct end *self)
{
    int result;

    if (self->done || self->failed) {
        return;
    }
    result = SSL_do_handshake(self->ssl);
    self->done = result == 1;
    if (result != 1 && SSL_get_error(self->ssl, result) == SSL_ERROR_SSL) {
        self->failed = true;
        self->refusal = membership_handshake_refusal(self->ssl);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void shake_hands(struct pair *self)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        step(&self->client);
        step(&self->server);
    }
}

/* What this end makes of the other. */
static enum certificate_refusal verdict(const struct membership *who, const struct end *self,
                                        struct certificate_claims *ret_claims)
{
    enum certificate_refusal refusal;

    if (self->failed) {
        return self->refusal;
    }
    assert_true(self->done);
    refusal = membership_check_peer(who, self->ssl, now_s, ret_claims);
    assert_int_equal(ERR_peek_error(), 0);
    return refusal;
}

/* Read what there is, so that what is no data takes its effect; the number of bytes of data. */
static int read_some(struct end *self)
{
    char data[64];
    int got = SSL_read(self->ssl, data, sizeof(data));

    if (got <= 0 && SSL_get_error(self->ssl, got) == SSL_ERROR_SSL) {
        self->failed = true;
        self->refusal = membership_handshake_refusal(self->ssl);
    }
    return got > 0 ? got : 0;
}

/* ---- the first ten: what a certificate is refused for ---- */

enum wire { OVER_TLS, OVER_DTLS };

static const SSL_METHOD *method_of(enum wire wire)
{
    return wire == OVER_TLS ? TLS_method() : DTLS_method();
}

static const struct flaw_row {
    const char *what;
    enum pki_flaw flaw;
    enum certificate_refusal refusal;
    bool denied;
} flaw_rows[] = {
    { "a member is let in", PKI_SOUND, REFUSED_NOT, false },
    { "one signed by itself is not", PKI_SELF_SIGNED, REFUSED_SELF_SIGNED, false },
    { "one of another CA is not", PKI_OTHER_CA, REFUSED_OTHER_CA, false },
    { "one that has expired is not", PKI_EXPIRED, REFUSED_EXPIRED, false },
    { "one that is not yet valid is not", PKI_NOT_YET_VALID, REFUSED_NOT_YET_VALID, false },
    { "one that was revoked is not", PKI_SOUND, REFUSED_REVOKED, true },
    { "one for signing programs is not", PKI_WRONG_USAGE, REFUSED_WRONG_USAGE, false },
    { "one for servers alone is not", PKI_SERVER_ONLY, REFUSED_WRONG_USAGE, false },
    { "one for clients alone is not", PKI_CLIENT_ONLY, REFUSED_WRONG_USAGE, false },
    { "one that names another network is not", PKI_OTHER_NETWORK, REFUSED_WRONG_ID, false },
    { "one that names no node is not", PKI_NO_ID, REFUSED_WRONG_ID, false },
    { "one that names two nodes is not", PKI_TWO_IDS, REFUSED_WRONG_ID, false },
    { "a CA as a leaf is not", PKI_CA_AS_LEAF, REFUSED_CA_AS_LEAF, false },
    { "one with SHA-1 is not", PKI_WEAK_DIGEST, REFUSED_WEAK, false },
};

static void deny(unsigned number)
{
    const struct node_id node = pki_node(number);
    struct deny_list *denied = NULL;
    size_t size;
    uint8_t *data = pki_deny_list(&network, deny_list_number(membership_denied(membership)) + 1,
                                  &node, 1, &size);

    assert_int_equal(deny_list_parse(bytes_of(data, size), network.root, now_s, &denied), LB_OK);
    assert_true(membership_take_denied(membership, &denied));
    free(data);
}

static void forgive(void)
{
    end_world();
    make_world();
}

static enum certificate_refusal meet(enum wire wire, bool rogue_is_server,
                                     const struct pki_member *rogue,
                                     struct certificate_claims *ret_claims)
{
    SSL_CTX *ours = membership_new_context(membership, method_of(wire));
    SSL_CTX *theirs = pki_rogue_context(rogue, method_of(wire));
    enum certificate_refusal refusal;
    struct pair pair;

    open_pair(&pair, rogue_is_server ? ours : theirs, rogue_is_server ? theirs : ours);
    shake_hands(&pair);
    refusal = verdict(membership, rogue_is_server ? &pair.client : &pair.server, ret_claims);
    close_pair(&pair);
    SSL_CTX_free(ours);
    SSL_CTX_free(theirs);
    return refusal;
}

static void flaws(void **state)
{
    const struct flaw_row *row = *state;
    struct certificate_claims claims;
    struct pki_member rogue;

    pki_member_make(&network, 2, CERTIFICATE_MEMBER, row->flaw, &rogue);
    if (row->denied) {
        deny(2);
    }
    for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
        for (int is_server = 0; is_server <= 1; is_server++) {
            assert_string_equal(
                certificate_refusal_text(meet((enum wire)wire, is_server != 0, &rogue, &claims)),
                certificate_refusal_text(row->refusal));
            assert_true(row->refusal != REFUSED_NOT ||
                        node_id_equal(&claims.node, &rogue.identity.node));
        }
    }
    if (row->denied) {
        forgive();
    }
    pki_member_done(&rogue);
}

/* Who has none can only be a client: a server without one cannot even begin. */
static void no_certificate_is_refused(void **state)
{
    struct certificate_claims claims;

    (void)state;
    assert_int_equal(meet(OVER_TLS, false, NULL, &claims), REFUSED_NONE);
    assert_int_equal(meet(OVER_DTLS, false, NULL, &claims), REFUSED_NONE);
    assert_int_not_equal(meet(OVER_TLS, true, NULL, &claims), REFUSED_NOT);
    assert_int_equal(meet(OVER_DTLS, true, NULL, &claims), REFUSED_OTHER);
}

/* We offer no RSA to a DTLS server, so that one is refused before it shows its certificate. */
static void rsa_of_1024_bits_is_refused(void **state)
{
    struct certificate_claims claims;
    struct pki_member rogue;

    (void)state;
    pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_WEAK_KEY, &rogue);
    assert_int_equal(meet(OVER_TLS, false, &rogue, &claims), REFUSED_WEAK);
    assert_int_equal(meet(OVER_TLS, true, &rogue, &claims), REFUSED_WEAK);
    assert_int_equal(meet(OVER_DTLS, false, &rogue, &claims), REFUSED_WEAK);
    assert_int_equal(meet(OVER_DTLS, true, &rogue, &claims), REFUSED_OTHER);
    pki_member_done(&rogue);
}

/* ---- the eleventh: older protocols ---- */

static const struct version_row {
    const char *what;
    enum wire wire;
    int version;
    enum certificate_refusal by_client; /* when the rogue is the server */
} version_rows[] = {
    /* That one gives up itself: it knows none of our ciphers. */
    { "DTLS 1.0", OVER_DTLS, DTLS1_VERSION, REFUSED_OTHER },
    { "TLS 1.0", OVER_TLS, TLS1_VERSION, REFUSED_OLD_PROTOCOL },
    { "TLS 1.1", OVER_TLS, TLS1_1_VERSION, REFUSED_OLD_PROTOCOL },
    { "TLS 1.2", OVER_TLS, TLS1_2_VERSION, REFUSED_OLD_PROTOCOL },
};

static void versions(void **state)
{
    const struct version_row *row = *state;
    struct certificate_claims claims;
    struct pki_member rogue;
    struct pair pair;

    pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &rogue);
    for (int is_server = 0; is_server <= 1; is_server++) {
        SSL_CTX *ours = membership_new_context(membership, method_of(row->wire));
        SSL_CTX *theirs = pki_rogue_context(&rogue, method_of(row->wire));

        assert_int_equal(SSL_CTX_set_min_proto_version(theirs, row->version), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(theirs, row->version), 1);
        open_pair(&pair, is_server ? ours : theirs, is_server ? theirs : ours);
        shake_hands(&pair);
        assert_int_equal(verdict(membership, is_server ? &pair.client : &pair.server, &claims),
                         is_server ? row->by_client : REFUSED_OLD_PROTOCOL);
        close_pair(&pair);
        SSL_CTX_free(ours);
        SSL_CTX_free(theirs);
    }
    pki_member_done(&rogue);
}

/* ---- the twelfth: resumption ---- */

enum later { NOTHING_HAPPENED, CLIENT_DENIED, SERVER_DENIED, A_WEEK_WENT_BY };

static const struct resumption_row {
    const char *what;
    enum later later;
    enum certificate_refusal by_server, by_client;
} resumption_rows[] = {
    { "a session is resumed", NOTHING_HAPPENED, REFUSED_NOT, REFUSED_NOT },
    { "a client revoked since is refused", CLIENT_DENIED, REFUSED_RESUMED_REVOKED, REFUSED_NOT },
    { "a server revoked since is refused", SERVER_DENIED, REFUSED_NOT, REFUSED_RESUMED_REVOKED },
    { "a certificate expired since is refused", A_WEEK_WENT_BY, REFUSED_EXPIRED, REFUSED_EXPIRED },
};

static SSL_CTX *resuming_context(enum wire wire)
{
    SSL_CTX *context = membership_new_context(membership, method_of(wire));

    SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
    assert_int_equal(SSL_CTX_set_num_tickets(context, 1), 1);
    return context;
}

static struct pair meet_again(SSL_CTX *client, SSL_CTX *server)
{
    SSL_SESSION *session;
    struct pair first, second;

    open_pair(&first, client, server);
    shake_hands(&first);
    assert_true(first.client.done && first.server.done);
    (void)read_some(&first.client); /* of TLS 1.3 the ticket comes after the handshake */
    session = SSL_get1_session(first.client.ssl);
    assert_int_equal(SSL_SESSION_is_resumable(session), 1);
    close_pair(&first);

    open_pair(&second, client, server);
    assert_int_equal(SSL_set_session(second.client.ssl, session), 1);
    shake_hands(&second);
    assert_int_equal(SSL_session_reused(second.server.ssl), 1);
    assert_int_equal(SSL_session_reused(second.client.ssl), 1);
    SSL_SESSION_free(session);
    return second;
}

static void resumptions(void **state)
{
    const struct resumption_row *row = *state;
    uint64_t at_s = now_s + (row->later == A_WEEK_WENT_BY ? CERTIFICATE_LEAF_S + 60 : 0);
    struct certificate_claims claims;
    struct pki_member peer;

    for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
        SSL_CTX *ours = resuming_context((enum wire)wire), *theirs;
        struct membership *own = membership, *other;
        struct pair pair;

        pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &peer);
        other = pki_membership(&network, &peer);
        membership = other; /* the peer keeps to the rules */
        theirs = resuming_context((enum wire)wire);
        membership = own;
        pair = meet_again(theirs, ours);
        if (row->later == CLIENT_DENIED) {
            deny(2);
        } else if (row->later == SERVER_DENIED) {
            membership = other;
            deny(1);
            membership = own;
        }
        assert_string_equal(certificate_refusal_text(
                                membership_check_peer(membership, pair.server.ssl, at_s, &claims)),
                            certificate_refusal_text(row->by_server));
        assert_string_equal(
            certificate_refusal_text(membership_check_peer(other, pair.client.ssl, at_s, &claims)),
            certificate_refusal_text(row->by_client));
        assert_int_equal(ERR_peek_error(), 0);
        close_pair(&pair);
        SSL_CTX_free(ours);
        SSL_CTX_free(theirs);
        membership_free(&other);
        pki_member_done(&peer);
        forgive();
    }
}

static void nothing_is_resumed_unasked(void **state)
{
    struct certificate_claims claims;
    struct pair pair;

    (void)state;
    for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
        SSL_CTX *ours = membership_new_context(membership, method_of((enum wire)wire));
        SSL_SESSION *session;

        open_pair(&pair, ours, ours);
        shake_hands(&pair);
        (void)read_some(&pair.client);
        session = SSL_get1_session(pair.client.ssl);
        close_pair(&pair);
        open_pair(&pair, ours, ours);
        (void)SSL_set_session(pair.client.ssl, session);
        ERR_clear_error();
        shake_hands(&pair);
        assert_int_equal(SSL_session_reused(pair.server.ssl), 0);
        assert_int_equal(verdict(membership, &pair.server, &claims), REFUSED_NOT);
        SSL_SESSION_free(session);
        close_pair(&pair);
        SSL_CTX_free(ours);
    }
}

/* ---- on live sessions ---- */

static void a_live_session_is_refused_once_its_node_is_denied(void **state)
{
    struct certificate_claims claims;
    struct pki_member rogue;
    struct pair pair;

    (void)state;
    for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
        SSL_CTX *ours = membership_new_context(membership, method_of((enum wire)wire)), *theirs;

        pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &rogue);
        theirs = pki_rogue_context(&rogue, method_of((enum wire)wire));
        open_pair(&pair, theirs, ours);
        shake_hands(&pair);
        assert_int_equal(verdict(membership, &pair.server, &claims), REFUSED_NOT);
        deny(3);
        assert_int_equal(verdict(membership, &pair.server, &claims), REFUSED_NOT);
        deny(2);
        assert_int_equal(verdict(membership, &pair.server, &claims), REFUSED_REVOKED);
        close_pair(&pair);
        SSL_CTX_free(ours);
        SSL_CTX_free(theirs);
        pki_member_done(&rogue);
        forgive();
    }
}

/* ---- the thirteenth: renegotiation ---- */

static unsigned renegotiations;

static void count_renegotiations(const SSL *ssl, int where, int ret)
{
    (void)ssl;
    renegotiations += membership_is_renegotiation(where, ret);
}

static void renegotiation_is_refused_and_the_session_goes_on(void **state)
{
    struct pki_member rogue;
    struct pair pair;

    (void)state;
    pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &rogue);
    for (int is_server = 0; is_server <= 1; is_server++) {
        SSL_CTX *ours = membership_new_context(membership, DTLS_method());
        SSL_CTX *theirs = pki_rogue_context(&rogue, DTLS_method());
        struct end *we, *they;

        open_pair(&pair, is_server ? ours : theirs, is_server ? theirs : ours);
        we = is_server ? &pair.client : &pair.server;
        they = is_server ? &pair.server : &pair.client;
        SSL_set_info_callback(we->ssl, count_renegotiations);
        shake_hands(&pair);
        assert_true(we->done && they->done);
        renegotiations = 0;
        assert_int_equal(SSL_renegotiate(they->ssl), 1);
        (void)SSL_do_handshake(they->ssl);
        assert_int_equal(read_some(we), 0);
        assert_int_equal(renegotiations, 1);
        assert_false(we->failed);
        assert_int_equal(SSL_write(we->ssl, "on", 2), 2); /* it still stands, for us */
        ERR_clear_error();
        close_pair(&pair);
        SSL_CTX_free(ours);
        SSL_CTX_free(theirs);
    }
    pki_member_done(&rogue);
}

static void tls_1_3_has_no_renegotiation(void **state)
{
    struct pki_member rogue;
    SSL_CTX *ours = membership_new_context(membership, TLS_method()), *theirs;
    struct pair pair;

    (void)state;
    pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &rogue);
    theirs = pki_rogue_context(&rogue, TLS_method());
    open_pair(&pair, theirs, ours);
    shake_hands(&pair);
    assert_true(pair.client.done && pair.server.done);
    assert_int_equal(SSL_version(pair.server.ssl), TLS1_3_VERSION);
    assert_int_equal(SSL_renegotiate(pair.client.ssl), 0);
    ERR_clear_error();
    close_pair(&pair);
    SSL_CTX_free(ours);
    SSL_CTX_free(theirs);
    pki_member_done(&rogue);
}

/* ---- what else a session must be ---- */

static void members_speak_one_version_with_aead(void **state)
{
    struct pair pair;

    (void)state;
    for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
        SSL_CTX *ours = membership_new_context(membership, method_of((enum wire)wire));

        open_pair(&pair, ours, ours);
        shake_hands(&pair);
        assert_true(pair.client.done && pair.server.done);
        assert_int_equal(SSL_version(pair.client.ssl),
                         wire == OVER_TLS ? TLS1_3_VERSION : DTLS1_2_VERSION);
        assert_int_equal(SSL_CIPHER_is_aead(SSL_get_current_cipher(pair.client.ssl)), 1);
        assert_string_equal(SSL_get_cipher_name(pair.client.ssl),
                            wire == OVER_TLS ? "TLS_AES_128_GCM_SHA256"
                                             : "ECDHE-ECDSA-AES128-GCM-SHA256");
        close_pair(&pair);
        SSL_CTX_free(ours);
    }
}

static void ciphers_without_authentication_are_refused(void **state)
{
    struct certificate_claims claims;
    struct pki_member rogue;
    SSL_CTX *ours = membership_new_context(membership, DTLS_method()), *theirs;
    struct pair pair;

    (void)state;
    pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &rogue);
    theirs = pki_rogue_context(&rogue, DTLS_method());
    assert_int_equal(SSL_CTX_set_cipher_list(theirs, "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"), 1);
    open_pair(&pair, theirs, ours);
    shake_hands(&pair);
    assert_int_equal(verdict(membership, &pair.server, &claims), REFUSED_OTHER);
    close_pair(&pair);
    SSL_CTX_free(ours);
    SSL_CTX_free(theirs);
    pki_member_done(&rogue);
}

/* libtorrent sends its leaf without the intermediate. */
static void a_leaf_alone_is_known_by_our_own_intermediate(void **state)
{
    struct certificate_claims claims;
    struct pki_member rogue;
    struct pair pair;

    (void)state;
    pki_member_make(&network, 2, CERTIFICATE_MEMBER, PKI_SOUND, &rogue);
    for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
        SSL_CTX *ours = membership_new_context(membership, method_of((enum wire)wire));
        SSL_CTX *theirs = pki_rogue_context(&rogue, method_of((enum wire)wire));

        assert_int_equal(SSL_CTX_clear_chain_certs(theirs), 1);
        open_pair(&pair, theirs, ours);
        shake_hands(&pair);
        assert_int_equal(verdict(membership, &pair.server, &claims), REFUSED_NOT);
        close_pair(&pair);
        SSL_CTX_free(ours);
        SSL_CTX_free(theirs);
    }
    pki_member_done(&rogue);
}

/* Members of two coordinators are members of one network. */
static void another_coordinators_members_are_members(void **state)
{
    EVP_PKEY *first_key = network.intermediate_key;
    X509 *first = network.intermediate;
    struct certificate_claims claims;
    struct pki_member peer;

    (void)state;
    pki_intermediate_make(&network, &network.intermediate_key, &network.intermediate);
    pki_member_make(&network, 2, CERTIFICATE_COORDINATOR, PKI_SOUND, &peer);
    for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
        for (int is_server = 0; is_server <= 1; is_server++) {
            assert_int_equal(meet((enum wire)wire, is_server != 0, &peer, &claims), REFUSED_NOT);
            assert_int_equal(claims.role, CERTIFICATE_COORDINATOR);
        }
    }
    pki_member_done(&peer);
    X509_free(network.intermediate);
    key_free(&network.intermediate_key);
    network.intermediate = first;
    network.intermediate_key = first_key;
}

/* A member that signs a leaf for a friend with its own key, and sends its own leaf beside it. */
static void a_members_friend_is_none(void **state)
{
    struct pki_member member, friend;
    struct certificate_claims claims;

    (void)state;
    for (int flaw = 0; flaw <= 1; flaw++) {
        pki_member_make(&network, 2, CERTIFICATE_MEMBER, flaw ? PKI_CA_AS_LEAF : PKI_SOUND,
                        &member);
        pki_member_make(&network, 9, CERTIFICATE_MEMBER, PKI_SOUND, &friend);
        assert_true(X509_set_issuer_name(friend.leaf, X509_get_subject_name(member.leaf)) == 1 &&
                    X509_sign(friend.leaf, member.key, EVP_sha256()) > 0);
        X509_free(friend.intermediate);
        friend.intermediate = member.leaf;
        for (int wire = OVER_TLS; wire <= OVER_DTLS; wire++) {
            for (int is_server = 0; is_server <= 1; is_server++) {
                assert_int_equal(meet((enum wire)wire, is_server != 0, &friend, &claims),
                                 REFUSED_OTHER_CA);
            }
        }
        friend.intermediate = NULL;
        pki_member_done(&friend);
        pki_member_done(&member);
    }
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(no_certificate_is_refused),
        cmocka_unit_test(rsa_of_1024_bits_is_refused),
        cmocka_unit_test(nothing_is_resumed_unasked),
        cmocka_unit_test(a_live_session_is_refused_once_its_node_is_denied),
        cmocka_unit_test(renegotiation_is_refused_and_the_session_goes_on),
        cmocka_unit_test(tls_1_3_has_no_renegotiation),
        cmocka_unit_test(members_speak_one_version_with_aead),
        cmocka_unit_test(ciphers_without_authentication_are_refused),
        cmocka_unit_test(a_leaf_alone_is_known_by_our_own_intermediate),
        cmocka_unit_test(another_coordinators_members_are_members),
        cmocka_unit_test(a_members_friend_is_none),
    };
    int failed;

    make_world();
    failed = RUN_ROWS(flaw_rows, flaws) + RUN_ROWS(version_rows, versions) +
             RUN_ROWS(resumption_rows, resumptions) + cmocka_run_group_tests(others, NULL, NULL);
    end_world();
    return failed;
}
