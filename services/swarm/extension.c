#include "services/swarm/extension.h"

#include "libcommon/bencode.h"
#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Handshakes of real clients have some 30 values; a message beyond these is not one. */
#define TOKENS_MAX 256
#define DEPTH_MAX  8

static const struct bencode_limits limits = { .depth_max = DEPTH_MAX, .strict_order = false };

static lb_err parse_dict(struct bencode *ret, struct bytes payload, struct bencode_token *tokens,
                         size_t *ret_used)
{
    const lb_err err = bencode_parse(ret, payload, tokens, TOKENS_MAX, limits, ret_used);
    if (err != LB_OK)
        return err;
    return ret->tokens[0].type == BENCODE_DICT ? LB_OK : LB_INVALID;
}

/* An integer within 0 and most, else 0. */
static uint32_t number(const struct bencode *dict, uint32_t parent, const char *key, uint32_t most)
{
    int64_t value = 0;
    if (!bencode_int(dict, bencode_find(dict, parent, key), &value) || value < 0 || value > most)
        return 0;
    return (uint32_t)value;
}

lb_err extension_read_handshake(struct bytes payload, struct extension_handshake *ret_handshake)
{
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode dict;
    size_t used = 0;
    const lb_err err = parse_dict(&dict, payload, tokens, &used);
    if (err != LB_OK)
        return err;
    const uint32_t messages = bencode_find_type(&dict, 0, "m", BENCODE_DICT);
    *ret_handshake = (struct extension_handshake){
        .ut_metadata = (uint8_t)number(&dict, messages, "ut_metadata", UINT8_MAX),
        .ut_pex = (uint8_t)number(&dict, messages, "ut_pex", UINT8_MAX),
        .lb_plan = (uint8_t)number(&dict, messages, "lb_plan", UINT8_MAX),
        .lb_report = (uint8_t)number(&dict, messages, "lb_report", UINT8_MAX),
        .donthave = (uint8_t)number(&dict, messages, "lt_donthave", UINT8_MAX),
        .upload_only = number(&dict, 0, "upload_only", UINT8_MAX) != 0,
        .port = (uint16_t)number(&dict, 0, "p", UINT16_MAX),
        .requests_max = number(&dict, 0, "reqq", UINT32_MAX),
        .metadata_size = number(&dict, 0, "metadata_size", EXTENSION_METADATA_MAX),
        .yourip = bencode_string(&dict, bencode_find(&dict, 0, "yourip")),
        .version = bencode_string(&dict, bencode_find(&dict, 0, "v")),
    };
    if (ret_handshake->yourip.size != 4 && ret_handshake->yourip.size != 16)
        ret_handshake->yourip = (struct bytes){ 0 };
    if (ret_handshake->version.size > EXTENSION_VERSION_SIZE)
        ret_handshake->version.size = EXTENSION_VERSION_SIZE;
    return LB_OK;
}

static void put_pair(struct writer *to, const char *key, int64_t value)
{
    bencode_put_text(to, key);
    bencode_put_int(to, value);
}

void extension_put_handshake(struct writer *to, const struct extension_handshake *handshake)
{
    bencode_put_dict(to);
    bencode_put_text(to, "m");
    bencode_put_dict(to);
    if (handshake->lb_plan != 0)
        put_pair(to, "lb_plan", handshake->lb_plan);
    if (handshake->lb_report != 0)
        put_pair(to, "lb_report", handshake->lb_report);
    if (handshake->donthave != 0)
        put_pair(to, "lt_donthave", handshake->donthave);
    if (handshake->ut_metadata != 0)
        put_pair(to, "ut_metadata", handshake->ut_metadata);
    if (handshake->ut_pex != 0)
        put_pair(to, "ut_pex", handshake->ut_pex);
    bencode_put_end(to);
    if (handshake->metadata_size != 0)
        put_pair(to, "metadata_size", handshake->metadata_size);
    if (handshake->port != 0)
        put_pair(to, "p", handshake->port);
    if (handshake->requests_max != 0)
        put_pair(to, "reqq", handshake->requests_max);
    if (handshake->upload_only)
        put_pair(to, "upload_only", 1);
    if (handshake->version.size != 0) {
        bencode_put_text(to, "v");
        bencode_put_string(to, handshake->version);
    }
    if (handshake->yourip.size != 0) {
        bencode_put_text(to, "yourip");
        bencode_put_string(to, handshake->yourip);
    }
    bencode_put_end(to);
}

lb_err extension_read_metadata(struct bytes payload, struct extension_metadata *ret_message)
{
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode dict;
    size_t used = 0;
    const lb_err err = parse_dict(&dict, payload, tokens, &used);
    if (err != LB_OK)
        return err;
    int64_t type = 0;
    int64_t part = 0;
    if (!bencode_int(&dict, bencode_find(&dict, 0, "msg_type"), &type) ||
        !bencode_int(&dict, bencode_find(&dict, 0, "piece"), &part))
        return LB_INVALID;
    if (part < 0 || part > EXTENSION_METADATA_MAX / EXTENSION_METADATA_PART)
        return LB_INVALID;
    if (type < EXTENSION_METADATA_REQUEST || type > EXTENSION_METADATA_REJECT)
        return LB_UNSUPPORTED;
    *ret_message = (struct extension_metadata){
        .type = (enum extension_metadata_type)type,
        .part = (uint32_t)part,
        .total_size = number(&dict, 0, "total_size", EXTENSION_METADATA_MAX),
        .data = bytes_of(payload.data + used, payload.size - used),
    };
    return LB_OK;
}

void extension_put_metadata(struct writer *to, const struct extension_metadata *message)
{
    bencode_put_dict(to);
    put_pair(to, "msg_type", message->type);
    put_pair(to, "piece", message->part);
    if (message->type == EXTENSION_METADATA_DATA)
        put_pair(to, "total_size", message->total_size);
    bencode_put_end(to);
    if (message->type == EXTENSION_METADATA_DATA)
        writer_put(to, message->data.data, message->data.size);
}

/* Append the compact addresses of one string; flags, one byte each, may be absent. */
static void read_addresses(struct bytes compact, size_t each, struct bytes flags,
                           struct address *addresses, uint8_t *ret_flags, uint32_t *count)
{
    for (size_t at = 0, i = 0; at + each <= compact.size && *count < EXTENSION_PEX_MAX;
         at += each, i++) {
        struct address address;
        if (address_from_compact(bytes_of(compact.data + at, each), &address) != LB_OK ||
            !address_is_usable(&address))
            continue;
        if (ret_flags != NULL)
            ret_flags[*count] = i < flags.size ? flags.data[i] : 0;
        addresses[(*count)++] = address;
    }
}

lb_err extension_read_pex(struct bytes payload, struct extension_pex *ret_pex)
{
    struct bencode_token tokens[TOKENS_MAX];
    struct bencode dict;
    size_t used = 0;
    const lb_err err = parse_dict(&dict, payload, tokens, &used);
    if (err != LB_OK)
        return err;
#define TEXT(key) bencode_string(&dict, bencode_find(&dict, 0, key))
    ret_pex->added_count = 0;
    ret_pex->dropped_count = 0;
    read_addresses(TEXT("added"), ADDRESS_COMPACT_V4, TEXT("added.f"), ret_pex->added,
                   ret_pex->flags, &ret_pex->added_count);
    read_addresses(TEXT("added6"), ADDRESS_COMPACT_V6, TEXT("added6.f"), ret_pex->added,
                   ret_pex->flags, &ret_pex->added_count);
    read_addresses(TEXT("dropped"), ADDRESS_COMPACT_V4, TEXT(""), ret_pex->dropped, NULL,
                   &ret_pex->dropped_count);
    read_addresses(TEXT("dropped6"), ADDRESS_COMPACT_V6, TEXT(""), ret_pex->dropped, NULL,
                   &ret_pex->dropped_count);
#undef TEXT
    return LB_OK;
}

static void put_addresses(struct writer *to, const char *key, bool v4,
                          const struct address *addresses, uint32_t count)
{
    uint8_t compact[EXTENSION_PEX_MAX * ADDRESS_COMPACT_V6];
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (address_is_v4(&addresses[i]) == v4) {
            uint8_t one[ADDRESS_COMPACT_V6];
            const size_t one_size = address_to_compact(&addresses[i], one);
            memcpy(compact + size, one, one_size);
            size += one_size;
        }
    }
    bencode_put_text(to, key);
    bencode_put_string(to, bytes_of(compact, size));
}

static void put_flags(struct writer *to, const char *key, bool v4, const struct extension_pex *pex)
{
    uint8_t flags[EXTENSION_PEX_MAX];
    size_t size = 0;
    for (uint32_t i = 0; i < pex->added_count; i++)
        if (address_is_v4(&pex->added[i]) == v4)
            flags[size++] = pex->flags[i];
    bencode_put_text(to, key);
    bencode_put_string(to, bytes_of(flags, size));
}

void extension_put_pex(struct writer *to, const struct extension_pex *pex)
{
    bencode_put_dict(to);
    put_addresses(to, "added", true, pex->added, pex->added_count);
    put_flags(to, "added.f", true, pex);
    put_addresses(to, "added6", false, pex->added, pex->added_count);
    put_flags(to, "added6.f", false, pex);
    put_addresses(to, "dropped", true, pex->dropped, pex->dropped_count);
    put_addresses(to, "dropped6", false, pex->dropped, pex->dropped_count);
    bencode_put_end(to);
}

enum part_state { PART_MISSING, PART_ASKED, PART_HERE };

void metadata_init(struct metadata *self)
{
    *self = (struct metadata){ 0 };
}

void metadata_done(struct metadata *self)
{
    free(self->data);
    free(self->states);
    *self = (struct metadata){ 0 };
}

lb_err metadata_start(struct metadata *self, uint32_t size)
{
    if (size == 0)
        return LB_INVALID;
    if (size > EXTENSION_METADATA_MAX)
        return LB_TOO_BIG;
    if (self->size != 0)
        return LB_OK;
    self->size = size;
    self->parts = (size + EXTENSION_METADATA_PART - 1) / EXTENSION_METADATA_PART;
    self->have = 0;
    self->data = xmalloc(size);
    self->states = xcalloc(self->parts, 1);
    return LB_OK;
}

bool metadata_next(struct metadata *self, uint32_t *ret_part)
{
    for (uint32_t i = 0; i < self->parts; i++) {
        if (self->states[i] == PART_MISSING) {
            self->states[i] = PART_ASKED;
            *ret_part = i;
            return true;
        }
    }
    return false;
}

void metadata_give_back(struct metadata *self, uint32_t part)
{
    if (part < self->parts && self->states[part] == PART_ASKED)
        self->states[part] = PART_MISSING;
}

bool metadata_take(struct metadata *self, const struct extension_metadata *message)
{
    if (message->part >= self->parts || self->states[message->part] == PART_HERE)
        return false;
    if (message->total_size != 0 && message->total_size != self->size)
        return false;
    const uint32_t start = message->part * EXTENSION_METADATA_PART;
    const uint32_t left = self->size - start;
    const uint32_t expected = left < EXTENSION_METADATA_PART ? left : EXTENSION_METADATA_PART;
    if (message->data.size != expected)
        return false;
    memcpy(self->data + start, message->data.data, expected);
    self->states[message->part] = PART_HERE;
    self->have++;
    return true;
}

bool metadata_complete(const struct metadata *self)
{
    return self->size != 0 && self->have == self->parts;
}

struct bytes metadata_bytes(const struct metadata *self)
{
    return bytes_of(self->data, self->size);
}
