#include "services/swarm/report.h"

#include "libcommon/bencode.h"
#include "services/swarm/name.h"

#include <string.h>

#define TOKENS_MAX 64

void report_put(struct writer *to, const struct report *report)
{
    bencode_put_dict(to);
    bencode_put_text(to, "have");
    bencode_put_int(to, (int64_t)report->have_bytes);
    bencode_put_text(to, "host");
    bencode_put_text(to, report->host);
    bencode_put_text(to, "state");
    bencode_put_int(to, report->state);
    bencode_put_text(to, "verified");
    bencode_put_int(to, report->verified);
    bencode_put_text(to, "why");
    bencode_put_int(to, report->why);
    bencode_put_end(to);
}

static uint64_t number(const struct bencode *dict, const char *key, uint64_t most)
{
    int64_t value = 0;
    if (!bencode_int(dict, bencode_find(dict, 0, key), &value) || value < 0 ||
        (uint64_t)value > most)
        return 0;
    return (uint64_t)value;
}

lb_err report_read(struct bytes payload, struct report *ret_report)
{
    const struct bencode_limits limits = { .depth_max = 2, .strict_order = false };
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode dict;
    if (payload.size > REPORT_MESSAGE_MAX)
        return LB_TOO_BIG;
    if (bencode_parse(&dict, payload, tokens, TOKENS_MAX, limits, NULL) != LB_OK ||
        tokens[0].type != BENCODE_DICT)
        return LB_INVALID;
    *ret_report = (struct report){
        .state = (enum report_state)number(&dict, "state", REPORT_VERIFYING),
        .why = (enum report_why)number(&dict, "why", REPORT_WHY_LIMITED),
        .verified = number(&dict, "verified", 1) != 0,
        .have_bytes = number(&dict, "have", INT64_MAX),
    };
    /* What does not fit is cut. */
    (void)!name_make_safe(bencode_string(&dict, bencode_find(&dict, 0, "host")), ret_report->host,
                          sizeof ret_report->host);
    return LB_OK;
}

bool report_same(const struct report *a, const struct report *b)
{
    return a->state == b->state && a->why == b->why && a->verified == b->verified &&
           strcmp(a->host, b->host) == 0;
}

/* The nearest link in the chain comes first: what is wrong there hides the rest. */
enum report_why report_why_self(const struct report_self *self)
{
    if (self->complete)
        return REPORT_WHY_NONE;
    if (self->paused)
        return REPORT_WHY_PAUSED;
    if (self->disk_behind)
        return REPORT_WHY_DISK;
    if (self->limited)
        return REPORT_WHY_LIMITED;
    if (self->useful == 0)
        return REPORT_WHY_NO_PEERS;
    if (self->serving == 0)
        return REPORT_WHY_CHOKED;
    return self->silent == self->serving ? REPORT_WHY_SILENT : REPORT_WHY_LINK;
}

/* It knows best itself; but that we hold it back it cannot tell from a slow link. */
enum report_why report_why_peer(const struct report_view *view)
{
    if (view->complete)
        return REPORT_WHY_NONE;
    if (view->limited && (view->said == REPORT_WHY_UNSAID || view->said == REPORT_WHY_LINK))
        return REPORT_WHY_LIMITED;
    if (view->said != REPORT_WHY_UNSAID)
        return view->said;
    if (view->interested && view->am_choking)
        return REPORT_WHY_CHOKED;
    if (view->snubbed)
        return REPORT_WHY_SILENT;
    return view->interested && view->sending ? REPORT_WHY_LINK : REPORT_WHY_NONE;
}
