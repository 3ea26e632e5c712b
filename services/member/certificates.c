#include "services/member/certificates.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/member/ask.h"
#include "services/member/service.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define KNOWN_MAX 64u /* others', verified; the one longest unused gives way */
/*
 * Ours is put out again after this, with a tenth more or less, then after twice that and so on, up
 * to PUT_MS: a node that has just come, or whose network has, meets nearer ones all the time.
 */
#define FIRST_MS  2000u
#define PUT_MS    3600000u
#define LOOKUP_MS 20000u

/* Bytes of a leaf and its intermediate in one call (proto/peer.proto). */
#define TOGETHER_MAX 960u

struct known {
    struct node_id node;
    X509 *leaf; /* NULL: free */
    uint64_t used_ms;
};

struct certificates {
    struct member *member;
    struct known known[KNOWN_MAX];
    uint64_t put_ms;   /* when ours is put out next */
    uint64_t pause_ms; /* after that round */
    bool is_putting;
    uint64_t again_ms;     /* after a round in which nobody took it */
    unsigned asked, taken; /* of this round */
    unsigned under_way;
};

/* ---- ours ---- */

static void end_round(struct certificates *self)
{
    struct member *member = self->member;

    self->is_putting = false;
    self->put_ms = member_now_ms(member) + self->pause_ms * 9 / 10 +
                   random_below(&member->random, self->pause_ms / 5);
    self->pause_ms = self->pause_ms * 2 < PUT_MS ? self->pause_ms * 2 : PUT_MS;
    log_debug("own certificate kept by %u of %u nodes", self->taken, self->asked);
}

static void on_put(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct certificates *self = ctx;

    self->under_way--;
    if (err == LB_OK && reply->body_case == LB__PEER__REPLY__BODY_MAIL_TAKEN) {
        self->taken++;
    }
    if (self->under_way == 0) {
        end_round(self);
    }
}

/* Ours, as it goes out. */
struct ours {
    uint8_t leaf[CERTIFICATE_DER_MAX];
    uint8_t intermediate[CERTIFICATE_DER_MAX];
    size_t leaf_size, intermediate_size;
};

/* Together they fit into one call: a coordinator's of the longest name is 940 bytes. */
static bool take_ours(const struct membership *membership, struct ours *ret_ours)
{
    return certificate_to_der(membership_leaf(membership), ret_ours->leaf, &ret_ours->leaf_size) ==
               LB_OK &&
           certificate_to_der(membership_intermediate(membership), ret_ours->intermediate,
                              &ret_ours->intermediate_size) == LB_OK &&
           ret_ours->leaf_size + ret_ours->intermediate_size <= TOGETHER_MAX;
}

/* Our own store is no other: alone with it, somebody else is looked for soon. */
static void on_put_here(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    (void)reply;
    on_put(ctx, err != LB_OK ? err : LB_UNSUPPORTED, NULL);
}

static void put_at(struct certificates *self, const struct contact *to, const struct ours *ours)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__PutCertificate put = LB__PEER__PUT_CERTIFICATE__INIT;

    put.leaf = ask_binary(bytes_of(ours->leaf, ours->leaf_size));
    put.intermediate = ask_binary(bytes_of(ours->intermediate, ours->intermediate_size));
    request.body_case = LB__PEER__REQUEST__BODY_PUT_CERTIFICATE;
    request.put_certificate = &put;
    ask_node(self->member, to, ASK_STORAGE, &request,
             address_is_usable(&to->address) ? on_put : on_put_here, self);
}

static void put_everywhere(struct certificates *self, const struct contact *closest, unsigned count)
{
    struct ours ours;

    if (!take_ours(self->member->membership, &ours)) {
        log_warn("our certificate is too long to be kept by others: nobody can send us a message "
                 "while we are away");
        count = 0;
    }
    for (unsigned i = 0; i < count; i++) {
        self->asked++;
        self->under_way++;
        put_at(self, &closest[i], &ours);
    }
    if (count == 0) {
        end_round(self);
    }
}

static void on_closest(void *ctx, lb_err err, const struct contact *closest, unsigned count)
{
    struct certificates *self = ctx;

    if (err == LB_CANCELLED) {
        return;
    }
    if (err != LB_OK || self->member->is_stopping) {
        end_round(self);
        return;
    }
    put_everywhere(self, closest, count);
}

void certificates_tick(struct certificates *self, uint64_t now_ms)
{
    if (self->is_putting || now_ms < self->put_ms || !link_is_up(self->member->routing)) {
        return;
    }
    self->is_putting = true;
    self->asked = self->taken = 0;
    ask_closest(self->member, &self->member->identity.node, LOOKUP_MS, on_closest, self);
}

void certificates_renewed(struct certificates *self)
{
    self->put_ms = 0;
    self->pause_ms = FIRST_MS;
}

bool certificates_own(const struct certificates *self, bool intermediate_only,
                      struct certificates_own *ret_own)
{
    struct ours ours;

    if (!take_ours(self->member->membership, &ours)) {
        return false;
    }
    memcpy(ret_own->leaf, ours.leaf, ours.leaf_size);
    memcpy(ret_own->intermediate, ours.intermediate, ours.intermediate_size);
    lb__peer__certificate__init(&ret_own->message);
    if (!intermediate_only) {
        ret_own->message.leaf = ask_binary(bytes_of(ret_own->leaf, ours.leaf_size));
    }
    ret_own->message.intermediate =
        ask_binary(bytes_of(ret_own->intermediate, ours.intermediate_size));
    return true;
}

/* ---- others' ---- */

struct getting {
    struct certificates *self;
    struct node_id node;
    certificate_fn *on_got; /* NULL: it was told */
    void *ctx;
    unsigned under_way;
    bool was_denied;
};

static enum certificate_refusal verify(const struct certificates *self, X509 *leaf,
                                       X509 *intermediate, struct certificate_claims *ret_claims)
{
    const struct membership *membership = self->member->membership;
    STACK_OF(X509) *chain = sk_X509_new_null();
    enum certificate_refusal refusal;

    if (!chain || (intermediate && sk_X509_push(chain, intermediate) != 1)) {
        abort();
    }
    refusal = certificate_verify(leaf, chain, membership_root(membership),
                                 membership_denied(membership), clock_wall_s(), ret_claims);
    sk_X509_free(chain);
    return refusal;
}

/* Is it still good? The deny list and the time may have changed since it was verified. */
static bool still_counts(const struct certificates *self, const X509 *leaf)
{
    struct certificate_claims claims;
    uint64_t now_s = clock_wall_s();

    return certificate_read(leaf, &claims) == LB_OK && now_s >= claims.not_before_s &&
           certificate_still_counts(&claims, membership_denied(self->member->membership), now_s) ==
               REFUSED_NOT;
}

static X509 *find_known(struct certificates *self, const struct node_id *node)
{
    for (unsigned i = 0; i < KNOWN_MAX; i++) {
        struct known *known = &self->known[i];

        if (!known->leaf || !node_id_equal(&known->node, node)) {
            continue;
        }
        if (still_counts(self, known->leaf)) {
            known->used_ms = member_now_ms(self->member);
            return known->leaf;
        }
        X509_free(known->leaf);
        known->leaf = NULL;
    }
    return NULL;
}

/* Takes leaf. */
static void remember(struct certificates *self, const struct node_id *node, X509 *leaf)
{
    struct known *place = &self->known[0];

    for (unsigned i = 1; i < KNOWN_MAX && place->leaf; i++) {
        if (!self->known[i].leaf || self->known[i].used_ms < place->used_ms) {
            place = &self->known[i];
        }
    }
    X509_free(place->leaf);
    *place = (struct known){ .node = *node, .leaf = leaf, .used_ms = member_now_ms(self->member) };
}

static void tell(struct getting *getting, lb_err err, X509 *leaf)
{
    certificate_fn *on_got = getting->on_got;

    getting->on_got = NULL;
    if (on_got) {
        on_got(getting->ctx, err, leaf);
    }
}

/* One of those asked. */
struct source {
    struct getting *getting;
    struct contact at;
    X509 *leaf; /* without its intermediate, which is asked for */
};

/* Takes leaf and intermediate; tells, if they count. */
static void judge(struct getting *getting, X509 *leaf, X509 *intermediate)
{
    struct certificate_claims claims;
    enum certificate_refusal refusal = verify(getting->self, leaf, intermediate, &claims);
    bool counts = refusal == REFUSED_NOT && node_id_equal(&claims.node, &getting->node);

    X509_free(intermediate);
    getting->was_denied =
        getting->was_denied || refusal == REFUSED_EXPIRED || refusal == REFUSED_REVOKED;
    if (!counts || !getting->on_got) {
        X509_free(leaf);
        return;
    }
    tell(getting, LB_OK, leaf);
    remember(getting->self, &getting->node, leaf);
}

static void came_back(struct source *source, lb_err err)
{
    struct getting *getting = source->getting;

    X509_free(source->leaf);
    free(source);
    if (--getting->under_way > 0) {
        return;
    }
    if (err != LB_CANCELLED) {
        err = getting->was_denied ? LB_DENIED : LB_NOT_FOUND;
    }
    tell(getting, err, NULL);
    free(getting);
}

static void ask_source(struct source *source, bool intermediate, ask_fn *on_answer)
{
    struct getting *getting = source->getting;
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__GetCertificate get = LB__PEER__GET_CERTIFICATE__INIT;

    get.node_id = ask_binary(bytes_of(getting->node.bytes, NODE_ID_SIZE));
    get.intermediate = intermediate;
    request.body_case = LB__PEER__REQUEST__BODY_GET_CERTIFICATE;
    request.get_certificate = &get;
    /* The node itself knows it best, and needs no store for that. */
    ask_node(getting->self->member, &source->at,
             node_id_equal(&source->at.id, &getting->node) ? ASK_MEMBER : ASK_STORAGE, &request,
             on_answer, source);
}

static void on_intermediate(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct source *source = ctx;
    X509 *intermediate = NULL;

    if (err == LB_OK && reply->body_case == LB__PEER__REPLY__BODY_CERTIFICATE &&
        certificate_from_der(ask_bytes(&reply->certificate->intermediate), &intermediate) ==
            LB_OK) {
        judge(source->getting, source->leaf, intermediate);
        source->leaf = NULL;
    }
    came_back(source, err);
}

static void on_certificate(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct source *source = ctx;
    const Lb__Peer__Certificate *answer =
        err == LB_OK && reply->body_case == LB__PEER__REPLY__BODY_CERTIFICATE ? reply->certificate
                                                                              : NULL;
    X509 *leaf = NULL;
    X509 *intermediate = NULL;

    if (!answer || certificate_from_der(ask_bytes(&answer->leaf), &leaf) != LB_OK) {
        came_back(source, err);
        return;
    }
    if (answer->intermediate.len == 0 && source->getting->on_got) {
        source->leaf = leaf;
        ask_source(source, true, on_intermediate);
        return;
    }
    if (certificate_from_der(ask_bytes(&answer->intermediate), &intermediate) == LB_OK) {
        judge(source->getting, leaf, intermediate);
    } else {
        X509_free(leaf);
    }
    came_back(source, err);
}

void certificates_get(struct certificates *self, const struct node_id *node,
                      const struct contact *closest, unsigned count, certificate_fn *on_got,
                      void *ctx)
{
    X509 *known = find_known(self, node);
    struct getting *getting;

    if (known) {
        on_got(ctx, LB_OK, known);
        return;
    }
    if (count == 0) {
        on_got(ctx, LB_NOT_FOUND, NULL);
        return;
    }
    getting = xcalloc(1, sizeof(*getting));
    *getting = (struct getting){
        .self = self, .node = *node, .on_got = on_got, .ctx = ctx, .under_way = count
    };
    for (unsigned i = 0; i < count; i++) {
        struct source *source = xcalloc(1, sizeof(*source));

        *source = (struct source){ .getting = getting, .at = closest[i] };
        ask_source(source, false, on_certificate);
    }
}

/* ---- life ---- */

struct certificates *certificates_new(struct member *member)
{
    struct certificates *self = xcalloc(1, sizeof(*self));

    self->member = member;
    self->pause_ms = FIRST_MS;
    return self;
}

void certificates_free(struct certificates **self)
{
    if (!*self) {
        return;
    }
    for (unsigned i = 0; i < KNOWN_MAX; i++) {
        X509_free((*self)->known[i].leaf);
    }
    free(*self);
    *self = NULL;
}
