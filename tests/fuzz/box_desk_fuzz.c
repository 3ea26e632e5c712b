/*
 * What other members ask of a holder of mail (proto/peer.proto), over a real store: each call is
 * answered, within a datagram.
 *
 * Input: u8 caller | u16 size, the request; again and again. The store goes on from one input to
 * the next.
 */
#include "services/coordinator/cursor.h"
#include "services/storage/box_desk.h"
#include "services/storage/presence.h"
#include "tests/libcommon/pki_fixture.h"
#include "tests/storage/db_world.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <uv.h>

#define NOW_S  1800000000u
#define OTHERS 60u
#define SELF   0x80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world world;
static struct presence presence;
static struct box_desk desk;
static struct pki_network network;
static uv_loop_t loop;

static struct node_id id_of(unsigned byte)
{
    return (struct node_id){ .bytes = { (uint8_t)byte } };
}

static bool no_next(void *ctx, const struct node_id *from, struct upkeep_item *ret_item)
{
    (void)ctx, (void)from, (void)ret_item;
    return false;
}

static bool no_due(void *ctx, uint32_t skip, struct upkeep_item *ret_item)
{
    (void)ctx, (void)skip, (void)ret_item;
    return false;
}

static uint32_t none_overdue(void *ctx, uint64_t before_s)
{
    (void)ctx, (void)before_s;
    return 0;
}

static void end(void)
{
    commits_free(&desk.commits);
    uv_run(&loop, UV_RUN_DEFAULT);
    upkeep_free(&desk.upkeep);
    box_drafts_done(&desk.drafts);
    presence_done(&presence);
    world_done(&world);
    pki_network_done(&network);
}

static void begin(void)
{
    const struct upkeep_options options = { .self_id = id_of(SELF),
                                            .store = { NULL, no_next, no_due, none_overdue },
                                            .check_least_s = 600,
                                            .seed = 1 };
    struct contact view[OTHERS];
    unsigned count = 0;

    world_init(&world, WORLD_MAP);
    presence_init(&presence, world.folder);
    pki_network_make(&network, "lab", NOW_S);
    if (uv_loop_init(&loop) != 0) {
        abort();
    }
    desk.db = world.db;
    desk.commits = commits_new(&loop, world.db, &presence);
    desk.root = network.root;
    desk.upkeep = upkeep_new(&options, world.now_s * 1000);
    for (unsigned i = 0; count < OTHERS; i++) {
        if (4 * i + 4 != SELF) {
            view[count++] = (struct contact){ .id = id_of(4 * i + 4),
                                              .address = address_v4(10, 0, 0, 1, 6881) };
        }
    }
    upkeep_view(desk.upkeep, ROUTING_V4, view, count, world.now_s * 1000);
    atexit(end);
}

static void on_written(void *ctx)
{
    *(bool *)ctx = true;
}

static void check_answer(struct bytes packed)
{
    Lb__Peer__Reply *reply = lb__peer__reply__unpack(NULL, packed.size, packed.data);

    assert(reply != NULL && packed.size <= BOX_BODY_MAX);
    lb__peer__reply__free_unpacked(reply, NULL);
}

static void ask(uint8_t caller, struct bytes body)
{
    const struct node_id from = id_of(caller);
    bool is_written = false, waits;
    struct box_call *call =
        box_call_begin(&desk, &from, body, world.now_s, on_written, &is_written, &waits);

    while (waits && !is_written) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    if (db_read_begin(world.db) != LB_OK) {
        abort();
    }
    check_answer(box_call_answer(call, world.now_s));
    db_read_end(world.db);
    box_call_free(&call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = { .data = data, .left = size };

    if (desk.db == NULL) {
        begin();
    }
    while (in.left > 0 && !in.failed) {
        uint8_t caller = cursor_u8(&in);
        struct bytes body = cursor_blob(&in, 2 * BOX_BODY_MAX);

        if (!in.failed) {
            ask(caller, body);
        }
    }
    ERR_clear_error();
    return 0;
}
