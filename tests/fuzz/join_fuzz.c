/*
 * What anybody may send to a coordinator's door: frames with requests (proto/join.proto), in
 * whatever pieces they come. What is taken from them fits its bounds, and whatever command the
 * register is given leaves it whole.
 *
 * Input: pieces, each with a u8 size before it.
 */
#include "libcommon/pki/certificate.h"
#include "libcommon/pki/join_token.h"
#include "proto/join.pb-c.h"
#include "services/coordinator/cursor.h"
#include "services/coordinator/frames.h"
#include "services/coordinator/host_port.h"
#include "services/coordinator/inside.h"
#include "services/coordinator/join_message.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_key(const ProtobufCBinaryData *request)
{
    uint8_t public_key[KEY_PUBLIC_SIZE];
    EVP_PKEY *key;

    if (certificate_request_parse(bytes_of(request->data, request->len), &key) == LB_OK) {
        key_public(key, public_key);
        key_free(&key);
    }
    assert(ERR_peek_error() == 0);
}

static void take_enlist(const Lb__Join__Enlist *enlist)
{
    char host[REGISTER_ADDRESS_SIZE], port[HOST_PORT_PORT_SIZE];

    take_key(&enlist->request);
    if (host_port_split(enlist->address, host, sizeof host, port)) {
        assert(strlen(host) < sizeof host && strlen(port) < sizeof port);
    }
}

static void take_command(struct network_register *reg, struct bytes data)
{
    uint8_t again[REGISTER_COMMAND_MAX];
    struct register_command command;

    if (register_command_parse(data, &command) == LB_OK) {
        assert(bytes_equal(bytes_of(again, register_command_write(&command, again)), data));
    }
    (void)register_apply(reg, data);
    register_check(reg);
}

static void take_request(struct network_register *reg, const Lb__Join__Request *request)
{
    switch (request->body_case) {
    case LB__JOIN__REQUEST__BODY_JOIN:
        take_key(&request->join->request);
        (void)coordinator_skew_s(1800000000, request->join->now_s);
        break;
    case LB__JOIN__REQUEST__BODY_RENEW:
        take_key(&request->renew->request);
        (void)coordinator_skew_s(1800000000, request->renew->now_s);
        break;
    case LB__JOIN__REQUEST__BODY_ENLIST:
        take_enlist(request->enlist);
        break;
    case LB__JOIN__REQUEST__BODY_FORWARD:
        take_command(reg, bytes_of(request->forward->command.data, request->forward->command.len));
        break;
    default:
        break;
    }
}

static bool take_frames(struct frames *frames, struct network_register *reg)
{
    struct join_message message;
    struct bytes frame;
    lb_err err;

    while ((err = frames_next(frames, &frame)) == LB_OK) {
        const Lb__Join__Request *request =
            join_message_unpack(&message, &lb__join__request__descriptor, frame);
        bool is_request = request != NULL;

        assert(frame.size <= COORDINATOR_ASKED_MAX);
        assert(message.memory.taken <= JOIN_MESSAGE_MEMORY_MAX);
        if (is_request) {
            take_request(reg, request);
        }
        join_message_done(&message);
        if (!is_request) {
            return false;
        }
    }
    return err == LB_NOT_FOUND;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = { .data = data, .left = size };
    struct network_register *reg = register_new();
    struct frames frames;
    bool goes_on = true;

    frames_init(&frames, COORDINATOR_ASKED_MAX);
    while (goes_on && in.left > 0) {
        size_t piece = cursor_u8(&in);

        piece = piece < in.left ? piece : in.left;
        frames_add(&frames, bytes_of(cursor_take(&in, piece), piece));
        goes_on = take_frames(&frames, reg);
    }
    frames_done(&frames);
    register_free(&reg);
    return 0;
}
