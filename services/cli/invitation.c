#include "services/cli/invitation.h"

#include "libcommon/bytes.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum invitation_name invitation_parse(const char *text, uint8_t ret_id[INVITATION_ID_SIZE])
{
    if (strncmp(text, "lb1.", 4) == 0)
        return INVITATION_IS_TOKEN;
    return hex_decode(text, ret_id, INVITATION_ID_SIZE) == LB_OK ? INVITATION_NAMED
                                                                 : INVITATION_NOT_NAMED;
}

const char *invitation_state_text(const Littlebird__V1__Invitation *self, uint64_t now_s)
{
    if (self->withdrawn)
        return "withdrawn";
    if (now_s >= self->expires_s)
        return "expired";
    return self->uses_left == 0 ? "used up" : "open";
}

const char *invitation_uses_text(const Littlebird__V1__Invitation *self,
                                 char ret_text[INVITATION_TEXT_SIZE])
{
    if (self->uses == 0)
        snprintf(ret_text, INVITATION_TEXT_SIZE, "%u", self->uses_left);
    else
        snprintf(ret_text, INVITATION_TEXT_SIZE, "%u of %u", self->uses_left, self->uses);
    return ret_text;
}

const char *invitation_expiry_text(const Littlebird__V1__Invitation *self, uint64_t now_s,
                                   char ret_text[INVITATION_TEXT_SIZE])
{
    char moment[UNITS_SIZE], left[UNITS_SIZE];

    (void)units_moment(self->expires_s, moment);
    if (now_s >= self->expires_s)
        snprintf(ret_text, INVITATION_TEXT_SIZE, "%s", moment);
    else
        snprintf(ret_text, INVITATION_TEXT_SIZE, "%s, in %s", moment,
                 units_duration(self->expires_s - now_s, left));
    return ret_text;
}

static int compare(const void *a, const void *b)
{
    const struct invitation_row *x = a, *y = b;

    if (x->invitation.made_s != y->invitation.made_s)
        return x->invitation.made_s < y->invitation.made_s ? -1 : 1;
    return memcmp(x->id, y->id, INVITATION_ID_SIZE);
}

void invitation_sort(struct invitation_row *rows, size_t count)
{
    if (count > 0)
        qsort(rows, count, sizeof *rows, compare);
    /* Not before: they move, and the ids in them. */
    for (size_t i = 0; i < count; i++)
        rows[i].invitation.invitation_id = (ProtobufCBinaryData){ INVITATION_ID_SIZE, rows[i].id };
}
