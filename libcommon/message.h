/*
 * The two frames of an internal message, decoded and encoded: lb.Header, then a Request or Reply
 * with one oneof. No socket and no loop, so that the fuzzer runs what the dispatcher runs.
 *
 * Unpacking takes its memory from one bump allocator with a cap: a megabyte of empty submessages
 * would otherwise become 52 of them (THREATS 0.6), and everything is freed at once.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_MEMORY_MAX (64u * 1024 * 1024) /* bytes one unpacked message may take */

struct message_chunk;

struct message_memory {
    uint8_t *next; /* free bytes: [next, next + left) */
    size_t left;
    size_t taken; /* bytes of all chunks */
    size_t taken_max;
    struct message_chunk *chunks;
};

/* Begin with the caller's buffer, which outlives it; chunks of taken_max bytes at most are added.
 */
void message_memory_init(struct message_memory *self, void *buffer, size_t size, size_t taken_max);
void message_memory_done(struct message_memory *self);

/*
 * Unpack into memory; NULL when malformed or when it would take too much. Never free_unpacked() it:
 * message_memory_done() does.
 */
ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes packed,
                                 struct message_memory *memory);

/* The case of the message's oneof, 0 when none is set, and its member. */
uint32_t message_case(const ProtobufCMessage *message, const void **ret_body);

/* The name of a case, from the descriptor; "none" for 0. */
const char *message_case_name(const ProtobufCMessageDescriptor *descriptor, uint32_t oneof_case);

/* A header without its frame. */
struct message_header {
    uint64_t call_id;
    uint32_t timeout_ms;
    lb_err err;
    const char *reason; /* never NULL; in memory */
};

LB_MUST_CHECK lb_err message_header_unpack(struct bytes packed, struct message_memory *memory,
                                           struct message_header *ret_header);

#define MESSAGE_REASON_MAX 500 /* bytes */
#define MESSAGE_HEADER_MAX (MESSAGE_REASON_MAX + 32)

/* Returns the size; a longer reason is cut. */
size_t message_header_pack(const struct message_header *header,
                           uint8_t ret_packed[MESSAGE_HEADER_MAX]);
