#include "services/storage/box_drafts.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(BOX_PARTS_MAX < 64, "a bit for each part");

static void forget(struct box_draft *draft)
{
    free(draft->data);
    *draft = (struct box_draft){ .data = NULL };
}

void box_drafts_done(struct box_drafts *self)
{
    for (size_t i = 0; i < BOX_DRAFTS_MAX; i++)
        forget(&self->places[i]);
}

static struct box_draft *find(const struct box_drafts *self, const struct box_mail *mail,
                              const struct node_id *sender)
{
    for (size_t i = 0; i < BOX_DRAFTS_MAX; i++) {
        const struct box_draft *draft = &self->places[i];

        if (draft->data != NULL && memcmp(draft->mail.id, mail->id, BOX_ID_SIZE) == 0 &&
            node_id_equal(&draft->mail.recipient, &mail->recipient) &&
            node_id_equal(&draft->sender, sender))
            return (struct box_draft *)(uintptr_t)draft;
    }
    return NULL;
}

bool box_drafts_has(const struct box_drafts *self, const struct box_mail *mail,
                    const struct node_id *sender)
{
    return find(self, mail, sender) != NULL;
}

/* The one begun first, of this sender or, when it is NULL, of all. */
static struct box_draft *oldest(struct box_drafts *self, const struct node_id *sender)
{
    struct box_draft *first = NULL;

    for (size_t i = 0; i < BOX_DRAFTS_MAX; i++) {
        struct box_draft *draft = &self->places[i];

        if (draft->data != NULL && (sender == NULL || node_id_equal(&draft->sender, sender)) &&
            (first == NULL || draft->began_ms < first->began_ms))
            first = draft;
    }
    return first;
}

static struct box_draft *free_place(struct box_drafts *self)
{
    for (size_t i = 0; i < BOX_DRAFTS_MAX; i++) {
        if (self->places[i].data == NULL)
            return &self->places[i];
    }
    return NULL;
}

static unsigned count_of(const struct box_drafts *self, const struct node_id *sender)
{
    unsigned count = 0;

    for (size_t i = 0; i < BOX_DRAFTS_MAX; i++)
        count += self->places[i].data != NULL && node_id_equal(&self->places[i].sender, sender);
    return count;
}

static struct box_draft *begin(struct box_drafts *self, const struct box_part *part,
                               const struct node_id *sender, uint64_t now_ms)
{
    struct box_draft *place;

    if (count_of(self, sender) >= BOX_DRAFTS_OF_SENDER_MAX)
        forget(oldest(self, sender));
    place = free_place(self);
    if (place == NULL) {
        place = oldest(self, NULL);
        forget(place);
    }
    *place = (struct box_draft){ .mail = part->mail,
                                 .sender = *sender,
                                 .size = part->size,
                                 .keep_s = part->keep_s,
                                 .began_ms = now_ms,
                                 .missing = (UINT64_C(1) << box_parts(part->size)) - 1,
                                 .data = xmalloc(part->size) };
    return place;
}

lb_err box_drafts_add(struct box_drafts *self, const struct box_part *part,
                      const struct node_id *sender, uint64_t now_ms, bool *ret_complete,
                      uint8_t **ret_data, uint32_t *ret_keep_s)
{
    struct box_draft *draft = find(self, &part->mail, sender);
    uint64_t bit = UINT64_C(1) << (part->offset / BOX_PART_SIZE);

    if (draft != NULL && draft->size != part->size)
        return LB_CONFLICT;
    if (draft == NULL)
        draft = begin(self, part, sender, now_ms);
    if ((draft->missing & bit) != 0)
        memcpy(draft->data + part->offset, part->data.data, part->data.size);
    draft->missing &= ~bit;
    *ret_complete = draft->missing == 0;
    if (*ret_complete) {
        *ret_data = draft->data;
        *ret_keep_s = draft->keep_s;
        *draft = (struct box_draft){ .data = NULL };
    }
    return LB_OK;
}

void box_drafts_expire(struct box_drafts *self, uint64_t now_ms)
{
    for (size_t i = 0; i < BOX_DRAFTS_MAX; i++) {
        struct box_draft *draft = &self->places[i];

        if (draft->data != NULL && now_ms >= draft->began_ms + BOX_DRAFT_MS)
            forget(draft);
    }
}
