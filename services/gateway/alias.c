#include "services/gateway/alias.h"

#include "libcommon/bytes.h"
#include "libcommon/owner.h"
#include "proto/littlebird/v1/swarm.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "services/gateway/swarm_methods.h"

#include <string.h>

#define V1_NAME   "urn:btih:"
#define V2_NAME   "urn:btmh:1220" /* multihash: SHA-256, 32 bytes */
#define V2_DIGITS 64u

static bool of_magnet(const char *magnet, uint8_t ret_hash[ALIAS_SIZE])
{
    const char *name = strstr(magnet, V2_NAME);
    char digits[2 * ALIAS_SIZE + 1];

    if (name == NULL || strstr(magnet, V1_NAME) != NULL ||
        strnlen(name + strlen(V2_NAME), V2_DIGITS) < V2_DIGITS)
        return false;
    memcpy(digits, name + strlen(V2_NAME), 2 * ALIAS_SIZE);
    digits[2 * ALIAS_SIZE] = '\0';
    return hex_decode(digits, ret_hash, ALIAS_SIZE) == LB_OK;
}

bool alias_is_first(const struct method *method)
{
    return method->request == &littlebird__v1__fetch_request__descriptor;
}

bool alias_of(const struct method *method, const void *request, uint8_t ret_hash[ALIAS_SIZE])
{
    const ProtobufCBinaryData *infohash;

    if (method->service != SERVICE_SWARM)
        return false;
    if (alias_is_first(method)) {
        const Littlebird__V1__FetchRequest *fetch = request;

        return fetch->source_case == LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET &&
               of_magnet(fetch->magnet, ret_hash);
    }
    infohash = swarm_infohash(request);
    if (infohash == NULL || infohash->len != ALIAS_SIZE)
        return false;
    memcpy(ret_hash, infohash->data, ALIAS_SIZE);
    return true;
}

bool alias_found(const void *reply, uint8_t ret_hash[ALIAS_SIZE])
{
    const Lb__Swarm__Reply *from = reply;
    const ProtobufCBinaryData *infohash;

    if (from->body_case != LB__SWARM__REPLY__BODY_TRANSFERS || from->transfers->n_transfers == 0)
        return false;
    infohash = &from->transfers->transfers[0]->infohash;
    if (infohash->len != ALIAS_SIZE)
        return false;
    memcpy(ret_hash, infohash->data, ALIAS_SIZE);
    return true;
}

void alias_put(const struct method *method, void *request, const uint8_t hash[ALIAS_SIZE])
{
    const ProtobufCBinaryData *infohash = alias_is_first(method) ? NULL : swarm_infohash(request);

    if (infohash != NULL && infohash->len == ALIAS_SIZE)
        memcpy(infohash->data, hash, ALIAS_SIZE);
}

uint16_t alias_place(const uint8_t hash[ALIAS_SIZE])
{
    return owner_place(hash);
}
