#include "services/coordinator/register_command.h"

#include "services/coordinator/cursor.h"

#include <assert.h>

#define VERSION 1

#define F(name)                           (1u << FIELD_##name)
#define VERB_FIELDS(name, number, fields) [number] = (fields),
static const unsigned fields_of[VERBS_END] = { REGISTER_VERBS(VERB_FIELDS) };
#undef VERB_FIELDS

#define VERB_TEXT(name, number, fields) [number] = #name,
static const char *const texts[VERBS_END] = { REGISTER_VERBS(VERB_TEXT) };
#undef VERB_TEXT

const char *register_verb_text(enum register_verb verb)
{
    const char *text = (unsigned)verb < VERBS_END ? texts[verb] : NULL;

    return text != NULL ? text : "none";
}

static void write_field(const struct register_command *self, enum register_field field,
                        struct writer *out)
{
    switch (field) {
    case FIELD_NAME:
        writer_text(out, self->network_name);
        break;
    case FIELD_NETWORK:
        writer_put(out, self->network, sizeof self->network);
        break;
    case FIELD_INVITE:
        writer_put(out, self->invite, sizeof self->invite);
        break;
    case FIELD_SECRET:
        writer_put(out, self->secret, sizeof self->secret);
        break;
    case FIELD_USES:
        writer_u32(out, self->uses);
        break;
    case FIELD_EXPIRES:
        writer_u64(out, self->expires_s);
        break;
    case FIELD_NODE:
        writer_put(out, self->node.bytes, sizeof self->node.bytes);
        break;
    case FIELD_KEY:
        writer_blob(out, self->key.data, self->key.size);
        break;
    case FIELD_KEY_DIGEST:
        writer_put(out, self->key_digest, sizeof self->key_digest);
        break;
    case FIELD_KEY_ID:
        writer_put(out, self->key_id, sizeof self->key_id);
        break;
    case FIELD_HOST:
        writer_text(out, self->host_name);
        break;
    case FIELD_NOT_AFTER:
        writer_u64(out, self->not_after_s);
        break;
    case FIELD_ADDRESS:
        writer_text(out, self->address);
        writer_u16(out, self->node_port);
        break;
    case FIELD_REQUEST:
        assert(self->request.size <= REGISTER_REQUEST_MAX);
        writer_blob(out, self->request.data, self->request.size);
        break;
    case FIELD_INTERMEDIATE:
        assert(self->intermediate.size <= REGISTER_CERTIFICATE_MAX);
        writer_blob(out, self->intermediate.data, self->intermediate.size);
        break;
    case FIELD_YES:
        writer_u8(out, self->yes);
        break;
    case FIELDS_COUNT:
        break;
    }
}

size_t register_command_write(const struct register_command *self,
                              uint8_t ret_data[REGISTER_COMMAND_MAX])
{
    struct writer out;

    assert(self->verb > 0 && self->verb < VERBS_END);
    writer_init(&out, ret_data, REGISTER_COMMAND_MAX);
    writer_u8(&out, VERSION);
    writer_u8(&out, (uint8_t)self->verb);
    writer_u64(&out, self->now_s);
    for (int i = 0; i < FIELDS_COUNT; i++) {
        if ((fields_of[self->verb] & 1u << i) != 0) {
            write_field(self, (enum register_field)i, &out);
        }
    }
    assert(!out.overflow);
    return out.size;
}

static void read_key(struct cursor *in, struct register_key *ret_key)
{
    struct bytes key = cursor_blob(in, REGISTER_KEY_MAX);

    if (key.size == 0) {
        in->failed = true;
        return;
    }
    ret_key->size = (uint8_t)key.size;
    memcpy(ret_key->data, key.data, key.size);
}

static void read_field(struct register_command *self, enum register_field field, struct cursor *in)
{
    switch (field) {
    case FIELD_NAME:
        cursor_text(in, self->network_name, sizeof self->network_name);
        break;
    case FIELD_NETWORK:
        cursor_copy(in, self->network, sizeof self->network);
        break;
    case FIELD_INVITE:
        cursor_copy(in, self->invite, sizeof self->invite);
        break;
    case FIELD_SECRET:
        cursor_copy(in, self->secret, sizeof self->secret);
        break;
    case FIELD_USES:
        self->uses = cursor_u32(in);
        break;
    case FIELD_EXPIRES:
        self->expires_s = cursor_u64(in);
        break;
    case FIELD_NODE:
        cursor_copy(in, self->node.bytes, sizeof self->node.bytes);
        break;
    case FIELD_KEY:
        read_key(in, &self->key);
        break;
    case FIELD_KEY_DIGEST:
        cursor_copy(in, self->key_digest, sizeof self->key_digest);
        break;
    case FIELD_KEY_ID:
        cursor_copy(in, self->key_id, sizeof self->key_id);
        break;
    case FIELD_HOST:
        cursor_text(in, self->host_name, sizeof self->host_name);
        break;
    case FIELD_NOT_AFTER:
        self->not_after_s = cursor_u64(in);
        break;
    case FIELD_ADDRESS:
        cursor_text(in, self->address, sizeof self->address);
        self->node_port = cursor_u16(in);
        break;
    case FIELD_REQUEST:
        self->request = cursor_blob(in, REGISTER_REQUEST_MAX);
        break;
    case FIELD_INTERMEDIATE:
        self->intermediate = cursor_blob(in, REGISTER_CERTIFICATE_MAX);
        break;
    case FIELD_YES:
        self->yes = cursor_bool(in);
        break;
    case FIELDS_COUNT:
        break;
    }
}

lb_err register_command_parse(struct bytes data, struct register_command *ret_self)
{
    struct cursor in = { .data = data.data, .left = data.size };
    struct register_command command = { 0 };
    unsigned version = cursor_u8(&in);
    unsigned verb = cursor_u8(&in);

    command.now_s = cursor_u64(&in);
    if (in.failed) {
        return LB_INVALID;
    }
    if (version != VERSION || verb == 0 || verb >= VERBS_END) {
        return LB_UNSUPPORTED;
    }
    command.verb = (enum register_verb)verb;
    for (int i = 0; i < FIELDS_COUNT; i++) {
        if ((fields_of[verb] & 1u << i) != 0) {
            read_field(&command, (enum register_field)i, &in);
        }
    }
    if (in.failed || in.left != 0) {
        return LB_INVALID;
    }
    *ret_self = command;
    return LB_OK;
}
