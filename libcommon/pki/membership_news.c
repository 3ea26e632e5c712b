/* A membership: how old what it knows of the network is, and whom it lets in by that. */
#include "libcommon/bytes.h"
#include "libcommon/memory.h"
#include "libcommon/pki/membership_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_SIZE 24 /* of a number */

/* ---- news ---- */

lb_err membership_put_reached(const char *folder, uint64_t now_s)
{
    char text[TEXT_SIZE];
    int size = snprintf(text, sizeof(text), "%" PRIu64 "\n", now_s);

    return membership_put_file(folder, FILE_REACHED, bytes_of(text, (size_t)size), 0644);
}

void membership_parse_reached(struct membership *self, struct bytes text)
{
    uint64_t reached_s = 0;
    size_t i = 0;

    for (; i < text.size && i < TEXT_SIZE - 4 && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
        reached_s = reached_s * 10 + (uint64_t)(text.data[i] - '0');
    }
    self->reached_s = i > 0 && i < text.size && text.data[i] == '\n' ? reached_s : 0;
}

/* A moment that is yet to come is of a clock that was wrong. */
static uint64_t later(uint64_t a, uint64_t b, uint64_t now_s)
{
    return b > a && b <= now_s + CERTIFICATE_CLOCK_OFF_S ? b : a;
}

uint64_t membership_news_s(const struct membership *self, uint64_t now_s)
{
    uint64_t news_s =
        later(0, membership_claims(self)->not_before_s + CERTIFICATE_BACKDATE_S, now_s);

    news_s = later(news_s, self->denied ? deny_list_made_s(self->denied) : 0, now_s);
    return later(news_s, self->reached_s, now_s);
}

bool membership_is_alone(const struct membership *self, uint64_t now_s)
{
    return now_s >= membership_news_s(self, now_s) + MEMBERSHIP_ALONE_S;
}

/* ---- who is let in ---- */

/* Ids are random, and nobody chooses its own. */
static struct node_id *place_of(const struct membership *self, const struct node_id *node)
{
    return &self->known[load_u32(node->bytes) % MEMBERSHIP_KNOWN_MAX];
}

static bool is_known(const struct membership *self, const struct node_id *node)
{
    return self->known && node_id_equal(place_of(self, node), node);
}

static void know(struct membership *self, const struct node_id *node)
{
    if (!self->known) {
        self->known = xcalloc(MEMBERSHIP_KNOWN_MAX, sizeof(*self->known));
    }
    *place_of(self, node) = *node;
}

enum certificate_refusal membership_admit(struct membership *self,
                                          const struct certificate_claims *peer, bool is_resumed,
                                          uint64_t now_s)
{
    uint64_t vouched_s = peer->not_before_s + CERTIFICATE_BACKDATE_S;

    if (membership_is_alone(self, now_s) && !is_resumed && !is_known(self, &peer->node) &&
        now_s >= vouched_s + MEMBERSHIP_ALONE_S) {
        return REFUSED_NO_NEWS;
    }
    know(self, &peer->node);
    return REFUSED_NOT;
}
