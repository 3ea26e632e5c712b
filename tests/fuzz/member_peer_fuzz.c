/*
 * What other members say to lb-member (proto/peer.proto): parts of messages and of deny lists, from
 * several nodes, over time. What is put together is what its id says; nothing grows beyond bounds.
 *
 * Input: u8 node (its high bit: a reply, else a request) | u8 seconds that pass | u16 size, the
 * message; again and again.
 */
#include "libcommon/crypto.h"
#include "libcommon/message.h"
#include "proto/peer.pb-c.h"
#include "services/coordinator/cursor.h"
#include "services/member/parts.h"
#include "services/member/rumour.h"

#include <assert.h>
#include <stdlib.h>

#define MESSAGE_MAX 1000u
#define NODES       8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct parts parts;
    struct rumour rumour;
    uint64_t now_ms;
};

static struct bytes bytes_in(const ProtobufCBinaryData *binary)
{
    return bytes_of(binary->data, binary->len);
}

static struct contact node_of(uint8_t number)
{
    return (struct contact){ .id = { .bytes = { number } },
                             .address = address_v4(10, 0, 0, number, 6881) };
}

static void take_part(struct world *self, const struct contact *from,
                      const Lb__Peer__MailPart *part)
{
    const struct parts_piece piece = { .sender = from->id,
                                       .id = bytes_in(&part->id),
                                       .size = part->size,
                                       .offset = part->offset,
                                       .data = bytes_in(&part->data) };
    uint8_t digest[SHA256_SIZE];
    uint8_t *whole = NULL;

    if (parts_add(&self->parts, &piece, self->now_ms, &whole) == PARTS_WHOLE) {
        assert(part->size <= PARTS_MESSAGE_MAX);
        sha256(bytes_of(whole, part->size), digest);
        assert(memcmp(digest, part->id.data, sizeof digest) == 0);
        free(whole);
    } else {
        assert(whole == NULL);
    }
}

static void take_request(struct world *self, const struct contact *from, struct bytes data)
{
    _Alignas(16) uint8_t buffer[8192];
    struct message_memory memory;
    const Lb__Peer__Request *request;

    message_memory_init(&memory, buffer, sizeof buffer, 64 * 1024);
    request =
        (const Lb__Peer__Request *)message_unpack(&lb__peer__request__descriptor, data, &memory);
    if (request != NULL && request->body_case == LB__PEER__REQUEST__BODY_DELIVER) {
        take_part(self, from, request->deliver);
    } else if (request != NULL && request->body_case == LB__PEER__REQUEST__BODY_DENY_NUMBER) {
        rumour_heard(&self->rumour, from, request->deny_number->number, self->now_ms);
    }
    message_memory_done(&memory);
}

static void take_reply(struct world *self, const struct contact *from, struct bytes data)
{
    Lb__Peer__Reply *reply = lb__peer__reply__unpack(NULL, data.size, data.data);
    uint8_t *list = NULL;
    size_t size;

    if (reply != NULL && reply->body_case == LB__PEER__REPLY__BODY_DENY_PART) {
        const struct rumour_part part = { .from = from->id,
                                          .number = reply->deny_part->number,
                                          .size = reply->deny_part->size,
                                          .offset = reply->deny_part->offset,
                                          .data = bytes_in(&reply->deny_part->data) };

        if (rumour_take(&self->rumour, &part, self->now_ms, &list, &size)) {
            assert(size > 0 && size <= RUMOUR_LIST_MAX);
            if (list[0] == 'L') {
                rumour_set_number(&self->rumour, part.number, self->now_ms);
            } else {
                rumour_shun(&self->rumour, &from->id, self->now_ms);
            }
            free(list);
        }
    }
    if (reply != NULL) {
        lb__peer__reply__free_unpacked(reply, NULL);
    }
}

static void turn(struct world *self)
{
    struct rumour_action action;
    unsigned actions = 0;

    while (rumour_next(&self->rumour, self->now_ms, &action)) {
        assert(action.kind != RUMOUR_GET_PART || action.number > self->rumour.number);
        assert(action.offset < RUMOUR_LIST_MAX);
        actions++;
        assert(actions <= RUMOUR_FETCHES_MAX * RUMOUR_WINDOW + 2);
    }
    assert(rumour_deadline_ms(&self->rumour, self->now_ms) > self->now_ms);
    assert(self->rumour.sources_count <= RUMOUR_SOURCES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = { .data = data, .left = size };
    struct world self = { .now_ms = 1000 };

    rumour_init(&self.rumour, 0, 1, self.now_ms);
    while (in.left > 0 && !in.failed) {
        uint8_t who = cursor_u8(&in);
        struct contact from = node_of(who % NODES);
        struct bytes message;

        self.now_ms += cursor_u8(&in) * UINT64_C(1000);
        message = cursor_blob(&in, MESSAGE_MAX);
        if (message.size > 0 && who >= 0x80) {
            take_reply(&self, &from, message);
        } else if (message.size > 0) {
            take_request(&self, &from, message);
        }
        turn(&self);
    }
    parts_done(&self.parts);
    rumour_done(&self.rumour);
    return 0;
}
