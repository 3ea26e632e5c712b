#include "services/storage/box.h"

#include <assert.h>
#include <string.h>

#define PAGE_BYTES         4096u
#define ROW_BYTES          512u /* head, row of due, place in the box */
#define SHARE_SENDER       16u
#define SHARE_NEIGHBOUR    4u
#define SHARE_RECIPIENT    8u
#define MAIL_RECORD_SIZE   42u
#define BOX_RECORD_SIZE    39u
#define CERTIFICATE_HEAD   27u
#define MAIL_FLAG_DROPPED  1u
#define BOX_FLAG_CERTIFIED 1u

_Static_assert(BOX_PARTS_MAX == (BOX_MAIL_MAX + BOX_PART_SIZE - 1) / BOX_PART_SIZE, "all parts");
_Static_assert(BOX_KEY_SIZE <= RECORD_DUE_ID_MAX, "a key fits into a row of due");

/* ---- mail, as it comes ---- */

unsigned box_parts(uint32_t size)
{
    return (size + BOX_PART_SIZE - 1) / BOX_PART_SIZE;
}

uint32_t box_part_size(uint32_t size, uint32_t offset)
{
    uint32_t rest = offset < size ? size - offset : 0;

    return rest < BOX_PART_SIZE ? rest : BOX_PART_SIZE;
}

lb_err box_part_check(const struct box_part *part, const char **ret_reason)
{
    *ret_reason = "a mail has at most 40960 bytes";
    if (part->size > BOX_MAIL_MAX)
        return LB_TOO_BIG;
    *ret_reason = "a part begins at a multiple of 900 and has 900 bytes, the last the rest";
    if (part->size == 0 || part->offset >= part->size || part->offset % BOX_PART_SIZE != 0 ||
        part->data.size != box_part_size(part->size, part->offset))
        return LB_INVALID;
    *ret_reason = "mail is kept for 1 second to 30 days";
    if (part->keep_s == 0 || part->keep_s > BOX_KEEP_MAX_S)
        return LB_INVALID;
    *ret_reason = "";
    return LB_OK;
}

/* ---- limits ---- */

const char *box_limit_text(enum box_limit limit)
{
    static const char *const texts[] = {
        [BOX_ROOM] = "",
        [BOX_SENDER_FULL] = "no more mail of this sender is kept here",
        [BOX_RECIPIENT_FULL] = "no more mail for this recipient is kept here",
        [BOX_FULL] = "no more mail is kept here",
    };

    return texts[limit];
}

static struct policy_key key_of(char kind, const struct node_id *id)
{
    struct policy_key key = { .bytes = { (uint8_t)kind }, .size = 1 };

    if (id != NULL) {
        memcpy(key.bytes + 1, id->bytes, NODE_ID_SIZE);
        key.size += NODE_ID_SIZE;
    }
    return key;
}

struct policy_key box_key_of_sender(const struct node_id *sender)
{
    return key_of(POLICY_MAIL_OF_SENDER, sender);
}

struct policy_key box_key_of_recipient(const struct node_id *recipient)
{
    return key_of(POLICY_MAIL_OF_RECIPIENT, recipient);
}

struct policy_key box_key_of_all(void)
{
    return key_of(POLICY_MAIL, NULL);
}

struct policy_key box_key_of_dropped(void)
{
    return key_of(POLICY_MAIL_DROPPED, NULL);
}

uint64_t box_cost(uint32_t size)
{
    return ((uint64_t)size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES + ROW_BYTES;
}

static bool has_room(const struct quota_record *used, uint64_t cost, uint64_t count_max,
                     uint64_t bytes_max)
{
    return used->count < count_max && used->bytes + cost <= bytes_max;
}

enum box_limit box_admit(const struct box_usage *usage, uint64_t cost, bool is_neighbour,
                         uint64_t map_bytes)
{
    uint64_t share = map_bytes / BOX_PART_OF_MAP;
    uint64_t bytes_max = share < BOX_BYTES_MAX ? share : BOX_BYTES_MAX;
    uint64_t sender_max = bytes_max / (is_neighbour ? SHARE_NEIGHBOUR : SHARE_SENDER);
    uint64_t count_max = is_neighbour ? BOX_OF_NEIGHBOUR_MAX : BOX_OF_SENDER_MAX;

    if (!has_room(&usage->all, cost, BOX_MAILS_MAX, bytes_max))
        return BOX_FULL;
    if (!has_room(&usage->recipient, cost, BOX_OF_RECIPIENT_MAX, bytes_max / SHARE_RECIPIENT))
        return BOX_RECIPIENT_FULL;
    if (!has_room(&usage->sender, cost, count_max, sender_max))
        return BOX_SENDER_FULL;
    return BOX_ROOM;
}

/* ---- records ---- */

void box_mail_put(const struct box_mail_record *self, struct writer *to)
{
    writer_u8(to, RECORD_VERSION);
    writer_u8(to, self->is_dropped ? MAIL_FLAG_DROPPED : 0);
    writer_u32(to, self->size);
    writer_u64(to, self->first_s);
    writer_u64(to, self->ends_s);
    writer_put(to, self->sender.bytes, NODE_ID_SIZE);
}

lb_err box_mail_get(struct bytes from, struct box_mail_record *ret_self)
{
    const uint8_t *data = from.data;

    if (from.size != MAIL_RECORD_SIZE || data[0] != RECORD_VERSION || data[1] > MAIL_FLAG_DROPPED ||
        load_u32(data + 2) == 0 || load_u32(data + 2) > BOX_MAIL_MAX)
        return LB_CORRUPT;
    ret_self->is_dropped = data[1] == MAIL_FLAG_DROPPED;
    ret_self->size = load_u32(data + 2);
    ret_self->first_s = load_u64(data + 6);
    ret_self->ends_s = load_u64(data + 14);
    ret_self->sender = node_id_from(data + 22);
    return LB_OK;
}

void box_record_put(const struct box_record *self, struct writer *to)
{
    writer_u8(to, RECORD_VERSION);
    writer_u8(to, self->has_certificate ? BOX_FLAG_CERTIFIED : 0);
    writer_u32(to, self->mails);
    writer_u64(to, self->changes);
    writer_u64(to, self->ends_s);
    writer_u64(to, self->check_s);
    writer_u64(to, self->checked_s);
    writer_u8(to, self->calm);
}

lb_err box_record_get(struct bytes from, struct box_record *ret_self)
{
    const uint8_t *data = from.data;

    if (from.size != BOX_RECORD_SIZE || data[0] != RECORD_VERSION || data[1] > BOX_FLAG_CERTIFIED)
        return LB_CORRUPT;
    ret_self->has_certificate = data[1] == BOX_FLAG_CERTIFIED;
    ret_self->mails = load_u32(data + 2);
    ret_self->changes = load_u64(data + 6);
    ret_self->ends_s = load_u64(data + 14);
    ret_self->check_s = load_u64(data + 22);
    ret_self->checked_s = load_u64(data + 30);
    ret_self->calm = data[38];
    return LB_OK;
}

void box_certificate_put(const struct box_certificate *self, struct writer *to)
{
    writer_u8(to, RECORD_VERSION);
    writer_u64(to, self->not_before_s);
    writer_u64(to, self->serial);
    writer_u64(to, self->ends_s);
    writer_u16(to, (uint16_t)self->leaf.size);
    writer_put(to, self->leaf.data, self->leaf.size);
    writer_put(to, self->intermediate.data, self->intermediate.size);
}

lb_err box_certificate_get(struct bytes from, struct box_certificate *ret_self)
{
    const uint8_t *data = from.data;
    size_t leaf_size;

    if (from.size < CERTIFICATE_HEAD || from.size > CERTIFICATE_HEAD + BOX_CHAIN_MAX ||
        data[0] != RECORD_VERSION)
        return LB_CORRUPT;
    leaf_size = load_u16(data + 25);
    if (leaf_size == 0 || leaf_size >= from.size - CERTIFICATE_HEAD)
        return LB_CORRUPT;
    ret_self->not_before_s = load_u64(data + 1);
    ret_self->serial = load_u64(data + 9);
    ret_self->ends_s = load_u64(data + 17);
    ret_self->leaf = bytes_of(data + CERTIFICATE_HEAD, leaf_size);
    ret_self->intermediate =
        bytes_of(data + CERTIFICATE_HEAD + leaf_size, from.size - CERTIFICATE_HEAD - leaf_size);
    return LB_OK;
}

bool box_certificate_is_newer(const struct box_certificate *a, const struct box_certificate *b)
{
    if (a->not_before_s != b->not_before_s)
        return a->not_before_s > b->not_before_s;
    return a->serial > b->serial;
}
