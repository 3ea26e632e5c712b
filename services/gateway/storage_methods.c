#include "services/gateway/storage_methods.h"

#include "libcommon/memory.h"
#include "libcommon/owner.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "proto/storage.pb-c.h"
#include "services/gateway/dedupe.h"

#include <stdlib.h>
#include <string.h>

static ProtobufCBinaryData bytes_from_text(const char *text)
{
    return (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)(uintptr_t)text };
}

static lb_err check_key(const char *key, const char **ret_problem)
{
    if (strlen(key) <= API_KEY_MAX)
        return LB_OK;
    *ret_problem = "the key has more than 1024 bytes";
    return LB_TOO_BIG;
}

static lb_err check_put(const Littlebird__V1__PutRequest *from, const char **ret_problem)
{
    bool immutable = from->key[0] == '\0';

    if (from->value.len > API_VALUE_MAX) {
        *ret_problem = "the value has more than 1 MiB";
        return LB_TOO_BIG;
    }
    if (from->ttl_s > API_TTL_S_MAX) {
        *ret_problem = "ttl_s is more than 365 days";
        return LB_INVALID;
    }
    if (immutable &&
        (from->own || from->compare_case != LITTLEBIRD__V1__PUT_REQUEST__COMPARE__NOT_SET)) {
        *ret_problem = "own and cas need a key";
        return LB_INVALID;
    }
    return check_key(from->key, ret_problem);
}

lb_err storage_ask_put(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__PutRequest *from = request;
    Lb__Storage__ImmutablePut immutable = LB__STORAGE__IMMUTABLE_PUT__INIT;
    Lb__Storage__Put put = LB__STORAGE__PUT__INIT;
    Lb__Storage__Request message = LB__STORAGE__REQUEST__INIT;
    lb_err err = check_put(from, ret_problem);

    if (err != LB_OK)
        return err;
    if (from->key[0] != '\0') {
        put.name_case = LB__STORAGE__PUT__NAME_KEY;
        put.key = bytes_from_text(from->key);
    } else {
        put.name_case = LB__STORAGE__PUT__NAME_IMMUTABLE;
        put.immutable = &immutable;
    }
    put.value = from->value;
    put.own = from->own;
    if (from->compare_case == LITTLEBIRD__V1__PUT_REQUEST__COMPARE_CAS) {
        put.compare_case = LB__STORAGE__PUT__COMPARE_CAS;
        put.cas = from->cas;
    }
    put.ttl_s = from->ttl_s;
    message.body_case = LB__STORAGE__REQUEST__BODY_PUT;
    message.put = &put;
    send(ctx, &message.base);
    return LB_OK;
}

static uint16_t place_of(struct bytes name)
{
    uint64_t hash = dedupe_fingerprint(bytes_of(NULL, 0), name);

    return (uint16_t)(hash >> 48 ^ hash >> 32 ^ hash >> 16 ^ hash);
}

uint16_t storage_place_put(const void *request)
{
    const Littlebird__V1__PutRequest *put = request;

    return put->key[0] != '\0' ? place_of(bytes_of_text(put->key))
                               : place_of(bytes_of(put->value.data, put->value.len));
}

uint16_t storage_place_get(const void *request)
{
    const Littlebird__V1__GetRequest *get = request;

    if (get->name_case == LITTLEBIRD__V1__GET_REQUEST__NAME_KEY)
        return place_of(bytes_of_text(get->key));
    if (get->name_case != LITTLEBIRD__V1__GET_REQUEST__NAME_TARGET || get->target.len < 2)
        return 0;
    return owner_place(get->target.data);
}

uint16_t storage_place_remove(const void *request)
{
    return place_of(bytes_of_text(((const Littlebird__V1__RemoveRequest *)request)->key));
}

bool storage_put_may_repeat(const void *request)
{
    const Littlebird__V1__PutRequest *put = request;

    return put->compare_case == LITTLEBIRD__V1__PUT_REQUEST__COMPARE__NOT_SET;
}

bool storage_translate_put(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Storage__Reply *from = reply;
    Littlebird__V1__PutResponse response = LITTLEBIRD__V1__PUT_RESPONSE__INIT;

    if (from->body_case != LB__STORAGE__REPLY__BODY_STORED)
        return false;
    response.target = from->stored->target;
    response.acknowledged = from->stored->acknowledged;
    response.asked = from->stored->asked;
    response.seq = from->stored->seq;
    response.public_key = from->stored->public_key;
    respond(ctx, &response.base);
    return true;
}

lb_err storage_ask_get(const void *request, message_take_fn *send, void *ctx,
                       const char **ret_problem)
{
    const Littlebird__V1__GetRequest *from = request;
    Lb__Storage__Get get = LB__STORAGE__GET__INIT;
    Lb__Storage__Request message = LB__STORAGE__REQUEST__INIT;

    switch (from->name_case) {
    case LITTLEBIRD__V1__GET_REQUEST__NAME_KEY:
        get.name_case = LB__STORAGE__GET__NAME_KEY;
        get.key = bytes_from_text(from->key);
        break;
    case LITTLEBIRD__V1__GET_REQUEST__NAME_TARGET:
        get.name_case = LB__STORAGE__GET__NAME_TARGET;
        get.target = from->target;
        break;
    default:
        *ret_problem = "a key or a target is needed";
        return LB_INVALID;
    }
    if (from->own &&
        (from->name_case != LITTLEBIRD__V1__GET_REQUEST__NAME_KEY || from->public_key.len > 0)) {
        *ret_problem = "own needs a key, and no public key beside it";
        return LB_INVALID;
    }
    get.public_key = from->public_key;
    get.own = from->own;
    if (from->newer_case == LITTLEBIRD__V1__GET_REQUEST__NEWER_AFTER_SEQ) {
        if (from->name_case != LITTLEBIRD__V1__GET_REQUEST__NAME_KEY) {
            *ret_problem = "after_seq needs a key: what a target names never changes";
            return LB_INVALID;
        }
        get.newer_case = LB__STORAGE__GET__NEWER_AFTER_SEQ;
        get.after_seq = from->after_seq;
    }
    message.body_case = LB__STORAGE__REQUEST__BODY_GET;
    message.get = &get;
    send(ctx, &message.base);
    return LB_OK;
}

bool storage_translate_get(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Storage__Reply *from = reply;
    Littlebird__V1__GetResponse response = LITTLEBIRD__V1__GET_RESPONSE__INIT;

    if (from->body_case != LB__STORAGE__REPLY__BODY_VALUE)
        return false;
    response.value = from->value->value;
    response.seq = from->value->seq;
    response.public_key = from->value->public_key;
    response.target = from->value->target;
    response.holders = from->value->holders;
    response.ttl_s = from->value->ttl_s;
    response.removed = from->value->removed;
    respond(ctx, &response.base);
    return true;
}

lb_err storage_ask_remove(const void *request, message_take_fn *send, void *ctx,
                          const char **ret_problem)
{
    const Littlebird__V1__RemoveRequest *from = request;
    Lb__Storage__Remove remove = LB__STORAGE__REMOVE__INIT;
    Lb__Storage__Request message = LB__STORAGE__REQUEST__INIT;
    lb_err err = check_key(from->key, ret_problem);

    if (err != LB_OK)
        return err;
    if (from->key[0] == '\0') {
        *ret_problem = "a key is needed: what a target names cannot be removed";
        return LB_INVALID;
    }
    remove.key = bytes_from_text(from->key);
    remove.own = from->own;
    if (from->compare_case == LITTLEBIRD__V1__REMOVE_REQUEST__COMPARE_CAS) {
        remove.compare_case = LB__STORAGE__REMOVE__COMPARE_CAS;
        remove.cas = from->cas;
    }
    message.body_case = LB__STORAGE__REQUEST__BODY_REMOVE;
    message.remove = &remove;
    send(ctx, &message.base);
    return LB_OK;
}

bool storage_remove_may_repeat(const void *request)
{
    const Littlebird__V1__RemoveRequest *remove = request;

    return remove->compare_case == LITTLEBIRD__V1__REMOVE_REQUEST__COMPARE__NOT_SET;
}

bool storage_translate_remove(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Storage__Reply *from = reply;
    Littlebird__V1__RemoveResponse response = LITTLEBIRD__V1__REMOVE_RESPONSE__INIT;

    if (from->body_case != LB__STORAGE__REPLY__BODY_STORED)
        return false;
    response.target = from->stored->target;
    response.acknowledged = from->stored->acknowledged;
    response.asked = from->stored->asked;
    response.seq = from->stored->seq;
    respond(ctx, &response.base);
    return true;
}

lb_err storage_ask_audit(const void *request, message_take_fn *send, void *ctx,
                         const char **ret_problem)
{
    const Littlebird__V1__AuditKeysRequest *from = request;
    Lb__Storage__Audit audit = LB__STORAGE__AUDIT__INIT;
    Lb__Storage__Request message = LB__STORAGE__REQUEST__INIT;

    (void)ret_problem;
    audit.sample_max = from->sample_max;
    message.body_case = LB__STORAGE__REQUEST__BODY_AUDIT;
    message.audit = &audit;
    send(ctx, &message.base);
    return LB_OK;
}

static void audited_keys(const Lb__Storage__Audited *from, Littlebird__V1__AuditedKey *ret_keys,
                         Littlebird__V1__AuditedKey **ret_pointers)
{
    for (size_t i = 0; i < from->n_keys; i++) {
        littlebird__v1__audited_key__init(&ret_keys[i]);
        ret_keys[i].target = from->keys[i]->target;
        ret_keys[i].seq = from->keys[i]->seq;
        ret_keys[i].replicas = from->keys[i]->replicas;
        ret_pointers[i] = &ret_keys[i];
    }
}

bool storage_translate_audit(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Storage__Reply *from = reply;
    const Lb__Storage__Audited *audited = from->audited;
    Littlebird__V1__AuditKeysResponse response = LITTLEBIRD__V1__AUDIT_KEYS_RESPONSE__INIT;
    Littlebird__V1__AuditedKey *keys;

    if (from->body_case != LB__STORAGE__REPLY__BODY_AUDITED)
        return false;
    keys = xcalloc(audited->n_keys, sizeof *keys);
    response.keys = xcalloc(audited->n_keys, sizeof(Littlebird__V1__AuditedKey *));
    response.n_keys = audited->n_keys;
    audited_keys(audited, keys, response.keys);
    response.held = audited->held;
    response.counted = audited->counted;
    response.wanted = audited->wanted;
    response.replicas_min = audited->replicas_min;
    response.replicas_median = audited->replicas_median;
    response.short_count = audited->short_count;
    response.overdue = audited->overdue;
    response.failed = audited->failed;
    respond(ctx, &response.base);
    free(response.keys);
    free(keys);
    return true;
}
