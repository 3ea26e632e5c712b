#include "tests/swarm/played.h"

#include "services/swarm/extension.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void played_say_hello(struct torrent *torrent, uint32_t peer, uint32_t metadata, uint64_t now_ms)
{
    const struct extension_handshake hello = { .lb_plan = PLAYED_PLAN,
                                               .metadata_size = metadata,
                                               .requests_max = PEER_ASKS_MAX,
                                               .version = bytes_of_text("x") };
    uint8_t buffer[EXTENSION_MESSAGE_MAX];
    struct writer writer;
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_handshake(&writer, &hello);
    const struct wire_message message = { .kind = WIRE_EXTENDED,
                                          .extended = EXTENSION_HANDSHAKE,
                                          .payload = bytes_of(buffer, writer.size) };
    (void)torrent_message(torrent, peer, &message, now_ms);
}

uint32_t played_join(struct torrent *torrent, uint32_t i, uint32_t metadata, uint64_t now_ms)
{
    struct wire_handshake hello = { .fast = true, .extended = true };
    uint32_t peer = 0;
    hello.peer_id[0] = (uint8_t)('a' + i);
    const struct torrent_hello join = { .address = address_v4(10, 0, 0, (uint8_t)(i + 1), 9),
                                        .handshake = &hello };
    assert_int_equal(torrent_join(torrent, &join, now_ms, &peer), LB_OK);
    played_say_hello(torrent, peer, metadata, now_ms);
    return peer;
}
