/* What a service is asked, and what a client is told. */
#include "services/gateway/methods.h"

#include "proto/littlebird/v1/dht.pb-c.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "proto/littlebird/v1/swarm.pb-c.h"
#include "proto/routing.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/supervisor.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ProtobufCServiceDescriptor *const services[] = {
    &littlebird__v1__node_service__descriptor,    &littlebird__v1__storage_service__descriptor,
    &littlebird__v1__swarm_service__descriptor,   &littlebird__v1__dht_service__descriptor,
    &littlebird__v1__network_service__descriptor,
};

/* Every rpc of the proto files has its row, with its own request; and there are no others. */
static void every_rpc_has_a_row(void **state)
{
    unsigned rpcs = 0;

    (void)state;
    for (size_t s = 0; s < sizeof(services) / sizeof(services[0]); s++) {
        for (unsigned m = 0; m < services[s]->n_methods; m++, rpcs++) {
            const ProtobufCMethodDescriptor *rpc = &services[s]->methods[m];
            const struct method *method;
            char name[128];

            snprintf(name, sizeof(name), "%s/%s", services[s]->name, rpc->name);
            method = method_find(name);
            if (!method)
                fail_msg("%s has no row", name);
            assert_ptr_equal(method->request, rpc->input);
            assert_int_equal(method->local != NULL, method->service == SERVICE_GATEWAY);
            assert_int_equal(method->local == NULL,
                             method->ask && method->translate && method->may_repeat);
        }
    }
    assert_int_equal(rpcs, API_METHODS_COUNT);
    assert_null(method_find("littlebird.v1.NodeService"));
    assert_null(method_find(""));
}

/* What a person must be let do for each: change how the node runs, use it, or look. */
static void every_method_has_its_level(void **state)
{
    static const char *const levels[] = {
        [ACCESS_CHANGE] = "NodeService/RestartService NodeService/ScaleService "
                          "NodeService/SetLogLevel NodeService/Reload NodeService/Stop "
                          "SwarmService/SetTransferLimits "
                          "NetworkService/Renew NetworkService/Invite NetworkService/ListMembers "
                          "NetworkService/ListInvitations NetworkService/WithdrawInvitation "
                          "NetworkService/DecideMember NetworkService/RevokeMember "
                          "NetworkService/GetCoordinators NetworkService/AddCoordinator "
                          "NetworkService/RemoveCoordinator ",
        [ACCESS_USE] = "StorageService/Put StorageService/Get StorageService/Remove "
                       "SwarmService/Share SwarmService/Fetch SwarmService/RemoveTransfer "
                       "SwarmService/CheckTransfer "
                       "NetworkService/SendMessage NetworkService/ReadMessage "
                       "NetworkService/RemoveMessage ",
        [ACCESS_LOOK] = "NodeService/GetServerInfo NodeService/GetStatus StorageService/AuditKeys "
                        "SwarmService/ListTransfers SwarmService/GetMetainfo "
                        "SwarmService/ListTransferPeers SwarmService/ListTransferFiles "
                        "DhtService/Lookup DhtService/GetTable "
                        "NetworkService/GetMembership NetworkService/ListMessages ",
    };

    (void)state;
    for (size_t i = 0; i < API_METHODS_COUNT; i++) {
        const struct method *method = &api_methods[i];
        char word[128];

        snprintf(word, sizeof(word), "%s ", method->name + strlen("littlebird.v1."));
        for (int level = ACCESS_CHANGE; level <= ACCESS_LOOK; level++) {
            if ((strstr(levels[level], word) != NULL) != ((int)method->level == level))
                fail_msg("%s: level %d", method->name, (int)method->level);
        }
    }
}

/* A message as its receiver would unpack it. */
static void keep(void *ctx, const ProtobufCMessage *message)
{
    ProtobufCMessage **kept = ctx;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);

    assert_non_null(packed);
    assert_null(*kept);
    protobuf_c_message_pack(message, packed);
    *kept = protobuf_c_message_unpack(message->descriptor, NULL, size, packed);
    assert_non_null(*kept);
    free(packed);
}

static void *ask(const char *name, const void *request, lb_err expected)
{
    const char *problem = NULL;
    ProtobufCMessage *asked = NULL;
    const struct method *method = method_find(name);

    assert_int_equal(method->ask(request, keep, &asked, &problem), expected);
    assert_int_equal(asked != NULL, expected == LB_OK);
    if (expected != LB_OK)
        assert_non_null(problem);
    return asked;
}

static void *translate(const char *name, const void *reply)
{
    ProtobufCMessage *response = NULL;

    bool understood = method_find(name)->translate(reply, keep, &response);

    assert_int_equal(understood, response != NULL);
    return response;
}

static void drop(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

#define BYTES(text) ((ProtobufCBinaryData){ sizeof(text) - 1, (uint8_t *)(uintptr_t)(text) })
#define TEXT(text)  ((char *)(uintptr_t)(text))
#define PUT         "littlebird.v1.StorageService/Put"
#define GET         "littlebird.v1.StorageService/Get"
#define REMOVE      "littlebird.v1.StorageService/Remove"
#define AUDIT       "littlebird.v1.StorageService/AuditKeys"
#define TWENTY      "abcdefghijklmnopqrst"

static void put_under_a_key(void **state)
{
    Littlebird__V1__PutRequest request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    Lb__Storage__Request *asked;

    (void)state;
    request.key = TEXT("name");
    request.value = BYTES("va\0lue");
    request.own = 1;
    assert_true(method_find(PUT)->may_repeat(&request));
    asked = ask(PUT, &request, LB_OK);
    assert_int_equal(asked->body_case, LB__STORAGE__REQUEST__BODY_PUT);
    assert_int_equal(asked->put->name_case, LB__STORAGE__PUT__NAME_KEY);
    assert_memory_equal(asked->put->key.data, "name", 4);
    assert_int_equal(asked->put->value.len, 6);
    assert_true(asked->put->own);
    assert_int_equal(asked->put->compare_case, LB__STORAGE__PUT__COMPARE__NOT_SET);
    drop(asked);
}

/* CAS 0 means "only if there is none": presence must survive, and it is not repeated. */
static void put_with_cas(void **state)
{
    Littlebird__V1__PutRequest request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    Lb__Storage__Request *asked;

    (void)state;
    request.key = TEXT("name");
    request.compare_case = LITTLEBIRD__V1__PUT_REQUEST__COMPARE_CAS;
    request.cas = 0;
    assert_false(method_find(PUT)->may_repeat(&request));
    asked = ask(PUT, &request, LB_OK);
    assert_int_equal(asked->put->compare_case, LB__STORAGE__PUT__COMPARE_CAS);
    drop(asked);
    request.key = TEXT("");
    ask(PUT, &request, LB_INVALID);
}

static void put_without_a_key(void **state)
{
    Littlebird__V1__PutRequest request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    Lb__Storage__Request *asked;

    (void)state;
    request.value = BYTES("x");
    asked = ask(PUT, &request, LB_OK);
    assert_int_equal(asked->put->name_case, LB__STORAGE__PUT__NAME_IMMUTABLE);
    drop(asked);
}

static void put_within_limits(void **state)
{
    Littlebird__V1__PutRequest request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    uint8_t *big = calloc(1, API_VALUE_MAX + 1);
    char key[API_KEY_MAX + 2];

    (void)state;
    assert_non_null(big);
    request.value = (ProtobufCBinaryData){ API_VALUE_MAX, big };
    drop(ask(PUT, &request, LB_OK));
    request.value.len++;
    ask(PUT, &request, LB_TOO_BIG);
    request.value.len = 1;
    memset(key, 'k', sizeof(key));
    key[API_KEY_MAX] = '\0';
    request.key = key;
    drop(ask(PUT, &request, LB_OK));
    key[API_KEY_MAX] = 'k';
    key[API_KEY_MAX + 1] = '\0';
    ask(PUT, &request, LB_TOO_BIG);
    free(big);
}

/* So that who waits for a new version is told by the one that stores it. */
static void all_about_a_key_goes_to_one_place(void **state)
{
    const struct method *put = method_find("littlebird.v1.StorageService/Put");
    const struct method *get = method_find("littlebird.v1.StorageService/Get");
    const struct method *del = method_find("littlebird.v1.StorageService/Remove");
    unsigned share[4] = { 0 };

    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        Littlebird__V1__PutRequest put_request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
        Littlebird__V1__GetRequest get_request = LITTLEBIRD__V1__GET_REQUEST__INIT;
        Littlebird__V1__RemoveRequest remove_request = LITTLEBIRD__V1__REMOVE_REQUEST__INIT;
        char key[16];
        uint16_t place;

        snprintf(key, sizeof(key), "key %u", i);
        put_request.key = get_request.key = remove_request.key = key;
        get_request.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_KEY;
        place = put->place(&put_request);
        assert_int_equal(get->place(&get_request), place);
        assert_int_equal(del->place(&remove_request), place);
        share[place >> 14]++;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(share[i], 70, 130);
}

static void what_a_target_names_is_asked_of_its_owner(void **state)
{
    const struct method *get = method_find("littlebird.v1.StorageService/Get");
    Littlebird__V1__GetRequest request = LITTLEBIRD__V1__GET_REQUEST__INIT;
    uint8_t target[20] = { 0xab, 0xcd };

    (void)state;
    request.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_TARGET;
    request.target = (ProtobufCBinaryData){ .len = sizeof(target), .data = target };
    assert_int_equal(get->place(&request), 0xabcd);
    request.target.len = 1; /* refused later */
    assert_int_equal(get->place(&request), 0);
}

static void stored_is_told(void **state)
{
    Lb__Storage__Stored stored = LB__STORAGE__STORED__INIT;
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Littlebird__V1__PutResponse *response;

    (void)state;
    assert_null(translate(PUT, &reply));
    stored.target = BYTES(TWENTY);
    stored.acknowledged = 7;
    stored.asked = 8;
    stored.seq = 3;
    reply.body_case = LB__STORAGE__REPLY__BODY_STORED;
    reply.stored = &stored;
    response = translate(PUT, &reply);
    assert_int_equal(response->acknowledged, 7);
    assert_int_equal(response->asked, 8);
    assert_int_equal(response->seq, 3);
    assert_memory_equal(response->target.data, TWENTY, 20);
    assert_null(translate("littlebird.v1.StorageService/Get", &reply));
    drop(response);
}

static void get_needs_a_name(void **state)
{
    Littlebird__V1__GetRequest request = LITTLEBIRD__V1__GET_REQUEST__INIT;
    Lb__Storage__Request *asked;

    (void)state;
    ask("littlebird.v1.StorageService/Get", &request, LB_INVALID);
    request.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_TARGET;
    request.target = BYTES(TWENTY);
    asked = ask("littlebird.v1.StorageService/Get", &request, LB_OK);
    assert_int_equal(asked->get->name_case, LB__STORAGE__GET__NAME_TARGET);
    assert_int_equal(asked->get->target.len, 20);
    drop(asked);
}

static void put_with_a_ttl(void **state)
{
    Littlebird__V1__PutRequest request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    Lb__Storage__Request *asked;

    (void)state;
    request.key = TEXT("name");
    request.ttl_s = API_TTL_S_MAX;
    asked = ask(PUT, &request, LB_OK);
    assert_int_equal(asked->put->ttl_s, API_TTL_S_MAX);
    drop(asked);
    request.ttl_s++;
    ask(PUT, &request, LB_INVALID);
}

/* after_seq 0 means "as soon as there is one": presence must survive. */
static void a_watch_is_for_a_key(void **state)
{
    Littlebird__V1__GetRequest request = LITTLEBIRD__V1__GET_REQUEST__INIT;
    Lb__Storage__Request *asked;

    (void)state;
    request.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_KEY;
    request.key = TEXT("name");
    asked = ask(GET, &request, LB_OK);
    assert_int_equal(asked->get->newer_case, LB__STORAGE__GET__NEWER__NOT_SET);
    drop(asked);
    request.newer_case = LITTLEBIRD__V1__GET_REQUEST__NEWER_AFTER_SEQ;
    asked = ask(GET, &request, LB_OK);
    assert_int_equal(asked->get->newer_case, LB__STORAGE__GET__NEWER_AFTER_SEQ);
    assert_int_equal(asked->get->after_seq, 0);
    drop(asked);
    request.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_TARGET;
    request.target = BYTES(TWENTY);
    ask(GET, &request, LB_INVALID);
}

static void a_value_is_told(void **state)
{
    Lb__Storage__Value value = LB__STORAGE__VALUE__INIT;
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Littlebird__V1__GetResponse *response;

    (void)state;
    value.value = BYTES("va\0lue");
    value.seq = 7;
    value.holders = 3;
    value.ttl_s = 60;
    value.removed = 1;
    reply.body_case = LB__STORAGE__REPLY__BODY_VALUE;
    reply.value = &value;
    response = translate(GET, &reply);
    assert_int_equal(response->value.len, 6);
    assert_int_equal(response->seq, 7);
    assert_int_equal(response->holders, 3);
    assert_int_equal(response->ttl_s, 60);
    assert_true(response->removed);
    drop(response);
}

static void a_key_is_removed(void **state)
{
    Littlebird__V1__RemoveRequest request = LITTLEBIRD__V1__REMOVE_REQUEST__INIT;
    Lb__Storage__Request *asked;
    char key[API_KEY_MAX + 2];

    (void)state;
    ask(REMOVE, &request, LB_INVALID);
    memset(key, 'k', sizeof(key));
    key[API_KEY_MAX + 1] = '\0';
    request.key = key;
    ask(REMOVE, &request, LB_TOO_BIG);
    request.key = TEXT("name");
    request.own = 1;
    assert_true(method_find(REMOVE)->may_repeat(&request));
    asked = ask(REMOVE, &request, LB_OK);
    assert_int_equal(asked->body_case, LB__STORAGE__REQUEST__BODY_REMOVE);
    assert_memory_equal(asked->remove->key.data, "name", 4);
    assert_true(asked->remove->own);
    assert_int_equal(asked->remove->compare_case, LB__STORAGE__REMOVE__COMPARE__NOT_SET);
    drop(asked);
    request.compare_case = LITTLEBIRD__V1__REMOVE_REQUEST__COMPARE_CAS;
    request.cas = 9;
    assert_false(method_find(REMOVE)->may_repeat(&request));
    asked = ask(REMOVE, &request, LB_OK);
    assert_int_equal(asked->remove->cas, 9);
    drop(asked);
}

static void a_removal_is_told(void **state)
{
    Lb__Storage__Stored stored = LB__STORAGE__STORED__INIT;
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Littlebird__V1__RemoveResponse *response;

    (void)state;
    assert_null(translate(REMOVE, &reply));
    stored.target = BYTES(TWENTY);
    stored.acknowledged = 19;
    stored.asked = 20;
    stored.seq = 3;
    reply.body_case = LB__STORAGE__REPLY__BODY_STORED;
    reply.stored = &stored;
    response = translate(REMOVE, &reply);
    assert_int_equal(response->acknowledged, 19);
    assert_int_equal(response->asked, 20);
    assert_int_equal(response->seq, 3);
    drop(response);
}

static void an_audit_is_told(void **state)
{
    Littlebird__V1__AuditKeysRequest request = LITTLEBIRD__V1__AUDIT_KEYS_REQUEST__INIT;
    Lb__Storage__AuditedKey one = LB__STORAGE__AUDITED_KEY__INIT;
    Lb__Storage__AuditedKey two = LB__STORAGE__AUDITED_KEY__INIT;
    Lb__Storage__AuditedKey *both[] = { &one, &two };
    Lb__Storage__Audited audited = LB__STORAGE__AUDITED__INIT;
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Request *asked;
    Littlebird__V1__AuditKeysResponse *response;

    (void)state;
    request.sample_max = 50;
    asked = ask(AUDIT, &request, LB_OK);
    assert_int_equal(asked->body_case, LB__STORAGE__REQUEST__BODY_AUDIT);
    assert_int_equal(asked->audit->sample_max, 50);
    drop(asked);
    assert_null(translate(AUDIT, &reply));
    one.target = BYTES(TWENTY);
    one.replicas = 3;
    two.target = BYTES(TWENTY);
    two.seq = 8;
    audited = (Lb__Storage__Audited){ .base = audited.base,
                                      .held = 100,
                                      .counted = 49,
                                      .wanted = 20,
                                      .replicas_min = 3,
                                      .replicas_median = 20,
                                      .short_count = 2,
                                      .overdue = 4,
                                      .failed = 1,
                                      .n_keys = 2,
                                      .keys = both };
    reply.body_case = LB__STORAGE__REPLY__BODY_AUDITED;
    reply.audited = &audited;
    response = translate(AUDIT, &reply);
    assert_int_equal(response->held, 100);
    assert_int_equal(response->counted, 49);
    assert_int_equal(response->wanted, 20);
    assert_int_equal(response->replicas_min, 3);
    assert_int_equal(response->replicas_median, 20);
    assert_int_equal(response->short_count, 2);
    assert_int_equal(response->overdue, 4);
    assert_int_equal(response->failed, 1);
    assert_int_equal(response->n_keys, 2);
    assert_int_equal(response->keys[0]->replicas, 3);
    assert_memory_equal(response->keys[0]->target.data, TWENTY, 20);
    assert_int_equal(response->keys[1]->seq, 8);
    drop(response);
}

static void fetch_keeps_its_parts(void **state)
{
    Littlebird__V1__FetchRequest request = LITTLEBIRD__V1__FETCH_REQUEST__INIT;
    Lb__Swarm__Request *asked;

    (void)state;
    request.folder = TEXT("here");
    request.source_case = LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET;
    request.magnet = TEXT("magnet:?xt=urn:btih:00");
    ask("littlebird.v1.SwarmService/Fetch", &request, LB_INVALID);
    request.folder = TEXT("/there");
    request.seeding_case = LITTLEBIRD__V1__FETCH_REQUEST__SEEDING_SEED_FOR_S;
    asked = ask("littlebird.v1.SwarmService/Fetch", &request, LB_OK);
    assert_string_equal(asked->fetch->magnet, request.magnet);
    assert_int_equal(asked->fetch->seeding_case, LB__SWARM__FETCH__SEEDING_SEED_FOR_S);
    drop(asked);
    request.source_case = LITTLEBIRD__V1__FETCH_REQUEST__SOURCE__NOT_SET;
    ask("littlebird.v1.SwarmService/Fetch", &request, LB_INVALID);
}

static void fetch_says_what_and_how(void **state)
{
    Littlebird__V1__FetchRequest request = LITTLEBIRD__V1__FETCH_REQUEST__INIT;
    char *select[] = { TEXT("*.iso"), TEXT("2") };
    char *peers[] = { TEXT("10.0.0.1:6881"), TEXT("[fd00::1]:7000") };
    const char *name = "littlebird.v1.SwarmService/Fetch";
    Lb__Swarm__Request *asked;

    (void)state;
    request.source_case = LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET;
    request.magnet = TEXT("magnet:?xt=urn:btih:00");
    request.device = TEXT("/dev/sdz");
    request.select = select;
    request.n_select = 2;
    request.peers = peers;
    request.n_peers = 2;
    request.base_path = TEXT("/srv/old");
    request.verify = 1;
    request.priority = 3;
    asked = ask(name, &request, LB_OK);
    assert_string_equal(asked->fetch->device, "/dev/sdz");
    assert_string_equal(asked->fetch->base_path, "/srv/old");
    assert_int_equal(asked->fetch->n_select, 2);
    assert_string_equal(asked->fetch->select[0], "*.iso");
    assert_int_equal(asked->fetch->n_peers, 2);
    assert_int_equal(asked->fetch->peers[0].len, 6);
    assert_int_equal(asked->fetch->peers[1].len, 18);
    assert_true(asked->fetch->verify);
    assert_int_equal(asked->fetch->priority, 3);
    drop(asked);
    request.folder = TEXT("/there");
    ask(name, &request, LB_INVALID);
    request.device = TEXT("");
    request.priority = 4;
    ask(name, &request, LB_INVALID);
    request.priority = 0;
    request.base_path = TEXT("old");
    ask(name, &request, LB_INVALID);
    request.base_path = TEXT("");
    peers[1] = TEXT("elsewhere:1");
    ask(name, &request, LB_INVALID);
    request.n_peers = 65;
    ask(name, &request, LB_TOO_BIG);
}

static void share_needs_an_absolute_path(void **state)
{
    Littlebird__V1__ShareRequest request = LITTLEBIRD__V1__SHARE_REQUEST__INIT;
    Lb__Swarm__Request *asked;

    (void)state;
    request.path = TEXT("image.iso");
    ask("littlebird.v1.SwarmService/Share", &request, LB_INVALID);
    request.path = TEXT("/srv/image.iso");
    request.kind = LITTLEBIRD__V1__SHARE_REQUEST__KIND__KIND_V2;
    asked = ask("littlebird.v1.SwarmService/Share", &request, LB_OK);
    assert_int_equal(asked->share->kind, LB__SWARM__SHARE__KIND__V2);
    drop(asked);
}

static void share_says_how(void **state)
{
    Littlebird__V1__ShareRequest request = LITTLEBIRD__V1__SHARE_REQUEST__INIT;
    char *seeds[] = { TEXT("http://school.example/image.iso") };
    Lb__Swarm__Request *asked;

    (void)state;
    request.path = TEXT("/srv/image.iso");
    request.piece_length_bytes = 65536;
    request.is_private = 1;
    request.web_seeds = seeds;
    request.n_web_seeds = 1;
    asked = ask("littlebird.v1.SwarmService/Share", &request, LB_OK);
    assert_int_equal(asked->share->piece_length, 65536);
    assert_true(asked->share->is_private);
    assert_string_equal(asked->share->web_seeds[0], seeds[0]);
    drop(asked);
    request.n_web_seeds = 65;
    ask("littlebird.v1.SwarmService/Share", &request, LB_TOO_BIG);
}

static void peers_are_told(void **state)
{
    Littlebird__V1__ListTransferPeersRequest request =
        LITTLEBIRD__V1__LIST_TRANSFER_PEERS_REQUEST__INIT;
    const char *name = "littlebird.v1.SwarmService/ListTransferPeers";
    Lb__Swarm__Peer one = LB__SWARM__PEER__INIT, two = LB__SWARM__PEER__INIT;
    Lb__Swarm__Peer *both[] = { &one, &two };
    Lb__Swarm__WebSeed seed = LB__SWARM__WEB_SEED__INIT;
    Lb__Swarm__WebSeed *seeds[] = { &seed };
    Lb__Swarm__Peers peers = LB__SWARM__PEERS__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    Littlebird__V1__ListTransferPeersResponse *response;
    Lb__Swarm__Request *asked;

    (void)state;
    request.infohash = BYTES(TWENTY);
    asked = ask(name, &request, LB_OK);
    assert_int_equal(asked->list_peers->infohash.len, 20);
    drop(asked);
    assert_null(translate(name, &reply));
    one.address = BYTES("\x7f\0\0\1\x1a\xe1");
    one.why = LB__SWARM__PEER__WHY__DISK;
    one.host = TEXT("lab3-pc07");
    one.connected = 1;
    two.finished_s = 77;
    two.verified = 1;
    peers.peers = both;
    peers.n_peers = 2;
    seed.host = TEXT("www.school.example");
    seed.state = LB__SWARM__WEB_SEED__STATE__RESTING;
    seed.received_bytes = 9;
    seed.why = TEXT("it answers 404");
    peers.web_seeds = seeds;
    peers.n_web_seeds = 1;
    reply.body_case = LB__SWARM__REPLY__BODY_PEERS;
    reply.peers = &peers;
    response = translate(name, &reply);
    assert_int_equal(response->n_peers, 2);
    assert_string_equal(response->peers[0]->address, "127.0.0.1:6881");
    assert_int_equal(response->peers[0]->why, LITTLEBIRD__V1__TRANSFER_PEER__WHY__WHY_DISK);
    assert_string_equal(response->peers[0]->host, "lab3-pc07");
    assert_string_equal(response->peers[1]->address, "");
    assert_int_equal(response->peers[1]->finished_s, 77);
    assert_true(response->peers[1]->verified);
    assert_int_equal(response->n_web_seeds, 1);
    assert_string_equal(response->web_seeds[0]->host, "www.school.example");
    assert_int_equal(response->web_seeds[0]->state, LITTLEBIRD__V1__WEB_SEED__STATE__STATE_RESTING);
    assert_int_equal(response->web_seeds[0]->received_bytes, 9);
    assert_string_equal(response->web_seeds[0]->why, "it answers 404");
    drop(response);
}

static void files_are_told(void **state)
{
    const char *name = "littlebird.v1.SwarmService/ListTransferFiles";
    Lb__Swarm__File file = LB__SWARM__FILE__INIT;
    Lb__Swarm__File *one[] = { &file };
    Lb__Swarm__Files files = LB__SWARM__FILES__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    Littlebird__V1__ListTransferFilesResponse *response;

    (void)state;
    assert_null(translate(name, &reply));
    file.index = 3;
    file.path = TEXT("a/b");
    file.size_bytes = 10;
    file.selected = 1;
    files.files = one;
    files.n_files = 1;
    reply.body_case = LB__SWARM__REPLY__BODY_FILES;
    reply.files = &files;
    response = translate(name, &reply);
    assert_int_equal(response->n_files, 1);
    assert_int_equal(response->files[0]->index, 3);
    assert_string_equal(response->files[0]->path, "a/b");
    assert_true(response->files[0]->selected);
    drop(response);
}

/* 0 means "no limit", absent "as it is": presence must survive. */
static void limits_keep_their_presence(void **state)
{
    Littlebird__V1__SetTransferLimitsRequest request =
        LITTLEBIRD__V1__SET_TRANSFER_LIMITS_REQUEST__INIT;
    const char *name = "littlebird.v1.SwarmService/SetTransferLimits";
    Lb__Swarm__Request *asked;

    (void)state;
    request.send_case = LITTLEBIRD__V1__SET_TRANSFER_LIMITS_REQUEST__SEND_SEND_LIMIT;
    asked = ask(name, &request, LB_OK);
    assert_int_equal(asked->set_limits->send_case, LB__SWARM__SET_LIMITS__SEND_SEND_LIMIT);
    assert_int_equal(asked->set_limits->receive_case, LB__SWARM__SET_LIMITS__RECEIVE__NOT_SET);
    drop(asked);
    request.priority = 4;
    ask(name, &request, LB_INVALID);
}

static void a_check_is_begun(void **state)
{
    Littlebird__V1__CheckTransferRequest request = LITTLEBIRD__V1__CHECK_TRANSFER_REQUEST__INIT;
    const char *name = "littlebird.v1.SwarmService/CheckTransfer";
    Lb__Swarm__Checked checked = LB__SWARM__CHECKED__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    Lb__Swarm__Request *asked;

    (void)state;
    request.infohash = BYTES(TWENTY);
    asked = ask(name, &request, LB_OK);
    assert_int_equal(asked->body_case, LB__SWARM__REQUEST__BODY_CHECK);
    drop(asked);
    assert_null(translate(name, &reply));
    reply.body_case = LB__SWARM__REPLY__BODY_CHECKED;
    reply.checked = &checked;
    drop(translate(name, &reply));
}

static void transfers_are_told(void **state)
{
    Lb__Swarm__Transfer one = LB__SWARM__TRANSFER__INIT, two = LB__SWARM__TRANSFER__INIT;
    Lb__Swarm__Transfer *both[] = { &one, &two };
    Lb__Swarm__Transfers transfers = LB__SWARM__TRANSFERS__INIT;
    Lb__Swarm__Reply reply = LB__SWARM__REPLY__INIT;
    Littlebird__V1__ListTransfersResponse *response;

    (void)state;
    one.name = TEXT("one");
    two.name = TEXT("two");
    two.state = LB__SWARM__TRANSFER__STATE__SEEDING;
    two.size_bytes = 1ull << 40;
    two.wasted_bytes = 5;
    transfers.n_transfers = 2;
    transfers.transfers = both;
    reply.body_case = LB__SWARM__REPLY__BODY_TRANSFERS;
    reply.transfers = &transfers;
    response = translate("littlebird.v1.SwarmService/ListTransfers", &reply);
    assert_int_equal(response->n_transfers, 2);
    assert_string_equal(response->transfers[0]->name, "one");
    assert_int_equal(response->transfers[1]->state, LITTLEBIRD__V1__TRANSFER__STATE__STATE_SEEDING);
    assert_true(response->transfers[1]->size_bytes == 1ull << 40);
    assert_int_equal(response->transfers[1]->wasted_bytes, 5);
    drop(response);
    transfers.n_transfers = 0;
    drop(translate("littlebird.v1.SwarmService/ListTransfers", &reply));
}

static void a_table_is_told(void **state)
{
    Lb__Contact contact = LB__CONTACT__INIT;
    Lb__Routing__Entry known = LB__ROUTING__ENTRY__INIT, broken = LB__ROUTING__ENTRY__INIT;
    Lb__Routing__Entry *entries[] = { &known, &broken };
    Lb__Routing__Table table = LB__ROUTING__TABLE__INIT;
    Lb__Routing__Reply reply = LB__ROUTING__REPLY__INIT;
    Littlebird__V1__GetTableResponse *response;

    (void)state;
    contact.node_id = BYTES(TWENTY);
    contact.address = BYTES("\x7f\0\0\1\x1a\xe1");
    known.contact = &contact;
    known.state = LB__ROUTING__ENTRY__STATE__GOOD;
    known.bucket = 3;
    table.entries = entries;
    table.n_entries = 2;
    table.joined = 1;
    reply.body_case = LB__ROUTING__REPLY__BODY_TABLE;
    reply.table = &table;
    response = translate("littlebird.v1.DhtService/GetTable", &reply);
    assert_string_equal(response->nodes[0]->address, "127.0.0.1:6881");
    assert_string_equal(response->nodes[0]->state, "good");
    assert_int_equal(response->nodes[0]->bucket, 3);
    assert_string_equal(response->nodes[1]->address, "");
    assert_true(response->joined);
    drop(response);
}

static void a_lookup_is_for_twenty_bytes(void **state)
{
    Littlebird__V1__LookupRequest request = LITTLEBIRD__V1__LOOKUP_REQUEST__INIT;
    Lb__Routing__Request *asked;

    (void)state;
    request.target = BYTES("short");
    ask("littlebird.v1.DhtService/Lookup", &request, LB_INVALID);
    request.target = BYTES(TWENTY);
    asked = ask("littlebird.v1.DhtService/Lookup", &request, LB_OK);
    assert_int_equal(asked->lookup->kind, LB__ROUTING__LOOKUP__KIND__NODES);
    drop(asked);
}

/* A method of lb-supervisor's whose response has nothing in it. */
static void assert_done_is_told(const char *name)
{
    Lb__Supervisor__Done done = LB__SUPERVISOR__DONE__INIT;
    Lb__Supervisor__Reply reply = LB__SUPERVISOR__REPLY__INIT;

    assert_null(translate(name, &reply));
    reply.body_case = LB__SUPERVISOR__REPLY__BODY_DONE;
    reply.done = &done;
    drop(translate(name, &reply));
}

static void a_restart_is_of_one_or_all(void **state)
{
    Littlebird__V1__RestartServiceRequest request = LITTLEBIRD__V1__RESTART_SERVICE_REQUEST__INIT;
    Lb__Supervisor__Request *asked;
    const char *name = "littlebird.v1.NodeService/RestartService";

    (void)state;
    request.service = TEXT("tranport");
    ask(name, &request, LB_INVALID);
    request.service = TEXT("transport");
    asked = ask(name, &request, LB_OK);
    assert_int_equal(asked->restart->which_case, LB__SUPERVISOR__RESTART__WHICH__NOT_SET);
    drop(asked);
    request.which_case = LITTLEBIRD__V1__RESTART_SERVICE_REQUEST__WHICH_INSTANCE;
    asked = ask(name, &request, LB_OK);
    assert_int_equal(asked->restart->which_case, LB__SUPERVISOR__RESTART__WHICH_INSTANCE);
    drop(asked);
    assert_false(method_find(name)->may_repeat(&request));
    assert_done_is_told(name);
}

static void a_log_level_is_of_one_or_all(void **state)
{
    Littlebird__V1__SetLogLevelRequest request = LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__INIT;
    Lb__Supervisor__Request *asked;
    const char *name = "littlebird.v1.NodeService/SetLogLevel";

    (void)state;
    request.service = TEXT("tranport");
    ask(name, &request, LB_INVALID);
    request.service = TEXT("storage");
    request.level = 5;
    ask(name, &request, LB_INVALID);
    request.level = LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__LEVEL__LEVEL_DEBUG;
    request.seconds = 600;
    asked = ask(name, &request, LB_OK);
    assert_int_equal(asked->set_log_level->which_case,
                     LB__SUPERVISOR__SET_LOG_LEVEL__WHICH__NOT_SET);
    assert_int_equal(asked->set_log_level->level, 4);
    assert_int_equal(asked->set_log_level->seconds, 600);
    drop(asked);
    request.which_case = LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__WHICH_INSTANCE;
    request.instance = 2;
    asked = ask(name, &request, LB_OK);
    assert_int_equal(asked->set_log_level->instance, 2);
    drop(asked);
    assert_done_is_told(name);
}

static void a_reload_is_told(void **state)
{
    Littlebird__V1__ReloadRequest request = LITTLEBIRD__V1__RELOAD_REQUEST__INIT;
    Lb__Supervisor__Reloaded reloaded = LB__SUPERVISOR__RELOADED__INIT;
    Lb__Supervisor__Reply reply = LB__SUPERVISOR__REPLY__INIT;
    Littlebird__V1__ReloadResponse *response;
    char *keys[] = { TEXT("node.listen") };
    const char *name = "littlebird.v1.NodeService/Reload";

    (void)state;
    drop(ask(name, &request, LB_OK));
    assert_null(translate(name, &reply));
    reply.body_case = LB__SUPERVISOR__REPLY__BODY_RELOADED;
    reply.reloaded = &reloaded;
    reloaded.n_needs_restart = 1;
    reloaded.needs_restart = keys;
    reloaded.problem = TEXT("why");
    response = translate(name, &reply);
    assert_int_equal(response->n_needs_restart, 1);
    assert_string_equal(response->needs_restart[0], "node.listen");
    assert_string_equal(response->problem, "why");
    drop(response);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rpc_has_a_row),
        cmocka_unit_test(every_method_has_its_level),
        cmocka_unit_test(put_under_a_key),
        cmocka_unit_test(put_with_cas),
        cmocka_unit_test(put_without_a_key),
        cmocka_unit_test(put_within_limits),
        cmocka_unit_test(all_about_a_key_goes_to_one_place),
        cmocka_unit_test(what_a_target_names_is_asked_of_its_owner),
        cmocka_unit_test(stored_is_told),
        cmocka_unit_test(get_needs_a_name),
        cmocka_unit_test(put_with_a_ttl),
        cmocka_unit_test(a_watch_is_for_a_key),
        cmocka_unit_test(a_value_is_told),
        cmocka_unit_test(a_key_is_removed),
        cmocka_unit_test(a_removal_is_told),
        cmocka_unit_test(an_audit_is_told),
        cmocka_unit_test(fetch_keeps_its_parts),
        cmocka_unit_test(fetch_says_what_and_how),
        cmocka_unit_test(share_needs_an_absolute_path),
        cmocka_unit_test(share_says_how),
        cmocka_unit_test(peers_are_told),
        cmocka_unit_test(files_are_told),
        cmocka_unit_test(limits_keep_their_presence),
        cmocka_unit_test(a_check_is_begun),
        cmocka_unit_test(transfers_are_told),
        cmocka_unit_test(a_table_is_told),
        cmocka_unit_test(a_lookup_is_for_twenty_bytes),
        cmocka_unit_test(a_restart_is_of_one_or_all),
        cmocka_unit_test(a_log_level_is_of_one_or_all),
        cmocka_unit_test(a_reload_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
