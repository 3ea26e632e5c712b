/*
 * DTLS between three members of a network that does whatever it likes with their datagrams: order,
 * loss, copies, other senders, other bytes, other times, ends that are started anew. What arrives
 * was sent by who is said to have sent it; bounds and tables hold (dtls_check()).
 *
 * Input: u8 what is done, u8 to what.
 */
#include "tests/transport/dtls_world.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define ENDS      3u
#define STEPS_MAX 400u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dtls_net net;
static bool is_made;

static void begin(void)
{
    if (!is_made) {
        dtls_net_make(&net, ENDS, NULL, 1);
        is_made = true;
    }
    net.packets_count = 0;
    for (unsigned i = 0; i < ENDS; i++) {
        dtls_end_restart(&net.ends[i]);
        net.ends[i].received = 0;
    }
}

/* The text says who has sent it and to whom. */
static void say(struct dtls_end *from, struct dtls_end *to)
{
    char text[32];

    snprintf(text, sizeof text, "d%zu to %zu", (size_t)(from - net.ends), (size_t)(to - net.ends));
    (void)dtls_send(from->dtls, &to->address, NULL, bytes_of_text(text), net.now_us);
}

static void check(void)
{
    for (unsigned i = 0; i < ENDS; i++) {
        struct dtls_end *end = &net.ends[i];
        size_t from, to;
        char text[32];

        if (end->received > 0) {
            assert(end->payload_size < sizeof text);
            memcpy(text, end->payload, end->payload_size);
            text[end->payload_size] = '\0';
            assert(sscanf(text, "d%zu to %zu", &from, &to) == 2);
            assert(from < ENDS && to == i);
            assert(node_id_equal(&end->payload_node, &net.ends[from].member.identity.node));
        }
    }
    dtls_net_check(&net);
}

static struct dtls_packet *packet_of(uint8_t which)
{
    return net.packets_count > 0 ? &net.packets[which % net.packets_count] : NULL;
}

static void deliver(uint8_t which)
{
    struct dtls_packet *packet = packet_of(which);

    if (packet != NULL) {
        packet->at_us = net.now_us;
    }
    dtls_net_run(&net, 0);
}

static void alter(uint8_t which, uint8_t at, uint8_t by)
{
    struct dtls_packet *packet = packet_of(which);

    if (packet != NULL && packet->size > 0) {
        packet->data[at % packet->size] ^= by;
    }
}

static void cut(uint8_t which, uint8_t size)
{
    struct dtls_packet *packet = packet_of(which);

    if (packet != NULL && packet->size > size) {
        packet->size = size;
    }
}

static void copy(uint8_t which)
{
    const struct dtls_packet *packet = packet_of(which);

    if (packet != NULL && net.packets_count < DTLS_PACKETS_MAX / 2) {
        dtls_net_inject(&net, &packet->from, &packet->to, bytes_of(packet->data, packet->size));
    }
}

static void step(uint8_t verb, uint8_t what, uint8_t more)
{
    struct dtls_end *one = &net.ends[what % ENDS], *other = &net.ends[more % ENDS];
    struct dtls_packet *packet = packet_of(what);

    switch (verb % 12) {
    case 0:
        if (one != other) {
            (void)dtls_reach(one->dtls, &other->address, NULL, net.now_us);
        }
        break;
    case 1:
        say(one, other);
        break;
    case 2:
        deliver(what);
        break;
    case 3:
        dtls_net_run(&net, what * UINT64_C(1000));
        break;
    case 4:
        copy(what);
        break;
    case 5:
        alter(what, more, (uint8_t)(1 + verb / 12));
        break;
    case 6:
        cut(what, more);
        break;
    case 7:
        if (packet != NULL) {
            packet->from = other->address;
        }
        break;
    case 8:
        if (packet != NULL) {
            *packet = net.packets[--net.packets_count];
        }
        break;
    case 9:
        (void)dtls_unanswered(one->dtls, &other->address);
        break;
    case 10:
        if (more < 32) {
            dtls_end_restart(one);
        }
        break;
    default:
        dtls_net_run(&net, what * UINT64_C(1000000));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    for (size_t i = 0; i + 3 <= size && i / 3 < STEPS_MAX; i += 3) {
        step(data[i], data[i + 1], data[i + 2]);
        check();
    }
    return 0;
}
