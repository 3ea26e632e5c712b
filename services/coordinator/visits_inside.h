/* Visits' own: what their parts share. See visits.h. */
#pragma once

#include "services/coordinator/frames.h"
#include "services/coordinator/inside.h"
#include "services/coordinator/visits.h"

struct visit {
    struct coordinator *coordinator;
    struct secure *secure;
    struct frames frames;
    struct asked *asked; /* what is being answered */
    unsigned asked_count;
    uint64_t since_ms;
    bool is_reading;
    void (*on_gone)(void *ctx);
    void *ctx;
};

/* One request; it outlives a visit that ends before it is answered. */
struct asked {
    struct asked *next, **self;
    struct visit *visit; /* NULL: nobody waits */
    struct coordinator *coordinator;
    bool is_forward;
    uint64_t tag; /* of a forward */
    uint8_t key[KEY_PUBLIC_SIZE];
    uint8_t key_digest[32];
    struct node_id node; /* who enlists */
};

/*
 * Its certificate: REFUSED_NOT, also when it has ended less than CERTIFICATE_RENEW_LATE_S ago
 * (*ret_late). Whether such a one is still a member only the register knows: the deny list has
 * forgotten whom it put out by then.
 */
enum certificate_refusal visit_who_asks(const struct visit *self,
                                        struct certificate_claims *ret_claims, bool *ret_late);

/* Answered: asked is gone, and the next request of the visit begun, if it is there already. */
void asked_answer(struct asked *self, const Lb__Join__Reply *reply);
void asked_refuse(struct asked *self, lb_err err, const char *reason);
void asked_refuse_certificate(struct asked *self, enum certificate_refusal refusal);
void asked_answer_pending(struct asked *self, const uint8_t key_digest[32]);

/* The key of a signing request, into asked. */
bool asked_take_key(struct asked *self, const ProtobufCBinaryData *request);

/* ---- visits_coordinators.c ---- */

void asked_enlist(struct asked *self, const Lb__Join__Enlist *enlist);
void asked_forward(struct asked *self, const Lb__Join__Forward *forward);
