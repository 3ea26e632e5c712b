#include "tests/bench/dht_load.h"

#include "libcommon/clock.h"
#include "libcommon/crypto.h"
#include "libcommon/random.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOST_US    100000 /* what has not come by then is lost */
#define VALUE_SIZE 100    /* bytes of a value put */

static const enum krpc_method methods[] = {
    [LOAD_PING] = KRPC_PING,
    [LOAD_FIND_NODE] = KRPC_FIND_NODE,
    [LOAD_GET_PEERS] = KRPC_GET_PEERS,
    [LOAD_GET] = KRPC_GET,
    [LOAD_PUT] = KRPC_PUT,
};

const char *load_method_text(enum load_method method)
{
    return krpc_method_text(methods[method]);
}

static struct sockaddr_in name_of(const char *address, uint16_t port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };

    if (inet_pton(AF_INET, address, &name.sin_addr) != 1) {
        fprintf(stderr, "bench-dht: '%s' is no IPv4 address\n", address);
        exit(2);
    }
    return name;
}

int load_socket(const char *address, uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_in name = name_of(address, port);
    socklen_t size = sizeof(name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 4 << 20;

    if (fd < 0 || bind(fd, (struct sockaddr *)&name, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) != 0) {
        perror("bench-dht: socket");
        exit(1);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    *ret_port = ntohs(name.sin_port);
    return fd;
}

/* ---- queries ---- */

static void make_query(struct load *self, enum load_method method, unsigned which,
                       struct krpc_query *query)
{
    uint8_t transaction[KRPC_OWN_TRANSACTION];

    store_u32(transaction, which);
    query->method = methods[method];
    query->id = &self->id;
    self->sizes[method][which] = (uint16_t)krpc_encode_query(
        query, transaction, self->queries[method][which], LOAD_QUERY_SIZE);
}

/* "100:" and as many bytes that begin with its number. */
static struct bytes item_value(unsigned item, char ret_text[VALUE_SIZE + 8])
{
    int head = snprintf(ret_text, VALUE_SIZE + 8, "%d:item %04u ", VALUE_SIZE, item);

    memset(ret_text + head, '.', VALUE_SIZE + 8 - (size_t)head);
    return bytes_of(ret_text, 4 + VALUE_SIZE);
}

void load_make_puts(struct load *self, unsigned item, struct bytes token)
{
    char text[VALUE_SIZE + 8];
    struct krpc_query query = { .token = token };

    query.item.value = item_value(item, text);
    for (unsigned i = item; i < LOAD_QUERIES; i += LOAD_ITEMS)
        make_query(self, LOAD_PUT, i, &query);
}

void load_open(struct load *self, const char *address)
{
    struct random random;
    struct node_id id;

    random_init(&random, 2);
    id = node_id_random(&random);
    load_open_as(self, address, &id);
}

void load_open_as(struct load *self, const char *address, const struct node_id *id)
{
    struct random random;
    uint16_t port;

    random_init(&random, 3);
    self->id = *id;
    for (unsigned i = 0; i < LOAD_ITEMS; i++) {
        char text[VALUE_SIZE + 8];

        sha1(item_value(i, text), self->targets[i].bytes);
    }
    for (unsigned i = 0; i < LOAD_QUERIES; i++) {
        struct krpc_query query = { .target = node_id_random(&random) };

        for (enum load_method method = LOAD_PING; method < LOAD_GET; method++)
            make_query(self, method, i, &query);
        query.target = self->targets[i % LOAD_ITEMS];
        make_query(self, LOAD_GET, i, &query);
    }
    self->fd = load_socket(address, 0, &port);
    for (unsigned i = 0; i < LOAD_BATCH; i++) {
        self->in_parts[i] = (struct iovec){ self->in[i], sizeof(self->in[i]) };
        self->in_messages[i].msg_hdr.msg_iov = &self->in_parts[i];
        self->out_messages[i].msg_hdr.msg_iov = &self->out_parts[i];
        self->in_messages[i].msg_hdr.msg_iovlen = self->out_messages[i].msg_hdr.msg_iovlen = 1;
    }
}

/* ---- sending ---- */

void load_aim(struct load *self, const char *address, uint16_t port)
{
    struct sockaddr_in name = name_of(address, port);

    if (connect(self->fd, (struct sockaddr *)&name, sizeof(name)) != 0) {
        perror("bench-dht: connect");
        exit(1);
    }
    while (recvmmsg(self->fd, self->in_messages, LOAD_BATCH, MSG_DONTWAIT, NULL) > 0)
        ;
}

static unsigned send_some(struct load *self, enum load_method method, unsigned count)
{
    int sent;

    for (unsigned i = 0; i < count; i++, self->next++) {
        self->out_parts[i].iov_base = self->queries[method][self->next % LOAD_QUERIES];
        self->out_parts[i].iov_len = self->sizes[method][self->next % LOAD_QUERIES];
    }
    sent = sendmmsg(self->fd, self->out_messages, count, 0);
    return sent > 0 ? (unsigned)sent : 0;
}

/*
 * Spins: a load that sleeps would have to be woken by the server, which would pay for it. 0 when
 * nothing comes: what was under way is lost.
 */
static unsigned receive_some(struct load *self)
{
    uint64_t until_us = clock_monotonic_us() + LOST_US;
    int count;

    do
        count = recvmmsg(self->fd, self->in_messages, LOAD_BATCH, MSG_DONTWAIT, NULL);
    while (count <= 0 && clock_monotonic_us() < until_us);
    return count > 0 ? (unsigned)count : 0;
}

bool load_ask(struct load *self, enum load_method method, unsigned which,
              struct krpc_message *ret_reply)
{
    uint8_t transaction[KRPC_OWN_TRANSACTION];

    store_u32(transaction, which);
    (void)send(self->fd, self->queries[method][which], self->sizes[method][which], 0);
    for (;;) {
        unsigned count = receive_some(self);

        if (count == 0)
            return false;
        for (unsigned i = 0; i < count; i++) {
            struct bytes datagram = bytes_of(self->in[i], self->in_messages[i].msg_len);

            if (krpc_decode(datagram, ret_reply) == LB_OK && ret_reply->type != KRPC_QUERY &&
                bytes_equal(ret_reply->transaction, bytes_of(transaction, sizeof(transaction))))
                return true;
        }
    }
}

unsigned load_step(struct load *self, enum load_method method, unsigned *under_way)
{
    int count;

    while (*under_way + LOAD_BATCH <= LOAD_WINDOW) {
        unsigned sent = send_some(self, method, LOAD_BATCH);

        *under_way += sent;
        if (sent < LOAD_BATCH)
            break;
    }
    count = recvmmsg(self->fd, self->in_messages, LOAD_BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0)
        return 0;
    *under_way -= (unsigned)count < *under_way ? (unsigned)count : *under_way;
    return (unsigned)count;
}

uint64_t load_run(struct load *self, enum load_method method, uint64_t duration_us, uint64_t most,
                  uint64_t *ret_elapsed_us)
{
    uint64_t begin_us = clock_monotonic_us(), end_us, replies = 0, sent = 0;
    unsigned under_way = 0;

    do {
        unsigned count;

        while (under_way + LOAD_BATCH <= LOAD_WINDOW && (most == 0 || sent + LOAD_BATCH <= most)) {
            count = send_some(self, method, LOAD_BATCH);
            under_way += count;
            sent += count;
            if (count < LOAD_BATCH)
                break;
        }
        count = receive_some(self);
        end_us = clock_monotonic_us();
        if (count == 0 && most > 0) { /* the rest of so few is lost */
            end_us -= LOST_US;
            break;
        }
        replies += count;
        under_way = count > 0 && count <= under_way ? under_way - count : 0;
    } while (end_us - begin_us < duration_us &&
             (most == 0 || sent + LOAD_BATCH <= most || under_way > 0));
    *ret_elapsed_us = end_us - begin_us;
    return replies;
}
