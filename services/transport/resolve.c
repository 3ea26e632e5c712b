#include "services/transport/resolve.h"

#include "libcommon/memory.h"
#include "proto/transport.pb-c.h"
#include "services/transport/service.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX      253 /* bytes of a name, RFC 1035 */
#define ADDRESSES_MAX 16  /* proto/transport.proto */

struct resolve {
    uv_getaddrinfo_t request;
    struct resolver *resolver; /* NULL: nobody waits any more */
    struct transport *transport;
    struct call *call;
    uint16_t port;
};

struct found {
    struct address list[ADDRESSES_MAX];
    size_t count;
};

/* One of a family we can send to, once. */
static void add(struct transport *self, struct found *found, const struct address *address)
{
    if (found->count == ADDRESSES_MAX || !transport_port(self, address) ||
        !address_is_usable(address))
        return;
    for (size_t i = 0; i < found->count; i++) {
        if (address_equal(&found->list[i], address))
            return;
    }
    found->list[found->count++] = *address;
}

static void reply_found(struct call *call, const struct found *found)
{
    Lb__Transport__Addresses addresses = LB__TRANSPORT__ADDRESSES__INIT;
    Lb__Transport__Reply reply = LB__TRANSPORT__REPLY__INIT;
    ProtobufCBinaryData list[ADDRESSES_MAX];
    uint8_t compact[ADDRESSES_MAX][ADDRESS_COMPACT_V6];

    if (found->count == 0) {
        call_fail(&call, LB_NOT_FOUND, "no address of a family that we serve");
        return;
    }
    for (size_t i = 0; i < found->count; i++) {
        list[i].len = address_to_compact(&found->list[i], compact[i]);
        list[i].data = compact[i];
    }
    addresses.n_addresses = found->count;
    addresses.addresses = list;
    reply.body_case = LB__TRANSPORT__REPLY__BODY_ADDRESSES;
    reply.addresses = &addresses;
    call_reply(&call, &reply.base);
}

static bool is_numeric(const char *host, uint32_t port, struct address *ret_address)
{
    char text[HOST_MAX + 16];

    snprintf(text, sizeof(text), strchr(host, ':') && host[0] != '[' ? "[%s]:%u" : "%s:%u", host,
             (unsigned)port);
    return address_parse(text, ret_address) == LB_OK;
}

static void forget(struct resolve *resolve)
{
    for (unsigned i = 0; i < RESOLVES_MAX; i++) {
        if (resolve->resolver->under_way[i] == resolve)
            resolve->resolver->under_way[i] = NULL;
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct resolve *resolve = request->data;
    struct found found = { .count = 0 };

    if (resolve->resolver && status != 0) {
        forget(resolve);
        call_fail(&resolve->call, status == UV_EAI_AGAIN ? LB_UNAVAILABLE : LB_NOT_FOUND, "%s",
                  uv_strerror(status));
    } else if (resolve->resolver) {
        forget(resolve);
        for (const struct addrinfo *at = list; at; at = at->ai_next) {
            struct address address;

            if (address_from_sockaddr(at->ai_addr, &address) != LB_OK)
                continue;
            address.port = resolve->port;
            add(resolve->transport, &found, &address);
        }
        reply_found(resolve->call, &found);
    }
    if (list)
        uv_freeaddrinfo(list);
    free(resolve);
}

static struct resolve **free_place(struct resolver *self)
{
    for (unsigned i = 0; i < RESOLVES_MAX; i++) {
        if (!self->under_way[i])
            return &self->under_way[i];
    }
    return NULL;
}

static void resolve_name(struct transport *self, struct call *call, const char *host, uint16_t port)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM };
    struct resolve **place = free_place(&self->resolver), *resolve;

    if (!place) {
        call_fail(&call, LB_FULL, "%d names are being resolved", RESOLVES_MAX);
        return;
    }
    resolve = xcalloc(1, sizeof(*resolve));
    *resolve = (struct resolve){
        .resolver = &self->resolver, .transport = self, .call = call, .port = port
    };
    resolve->request.data = resolve;
    if (uv_getaddrinfo(actor_loop(self->actor), &resolve->request, on_resolved, host, NULL,
                       &hints) != 0) {
        free(resolve);
        call_fail(&call, LB_INVALID, "this is no host name");
        return;
    }
    *place = resolve;
}

void resolve_on_resolve(void *ctx, struct call *call, const void *body)
{
    const Lb__Transport__Resolve *from = body;
    struct transport *self = ctx;
    size_t size = strlen(from->host);
    struct found found = { .count = 0 };
    struct address address;

    if (size < 1 || size > HOST_MAX || from->port < 1 || from->port > UINT16_MAX) {
        call_fail(&call, LB_INVALID, "a host has 1 to 253 bytes, a port is 1 to 65535");
        return;
    }
    if (is_numeric(from->host, from->port, &address)) {
        add(self, &found, &address);
        reply_found(call, &found);
        return;
    }
    if (self->stopping) {
        call_fail(&call, LB_UNAVAILABLE, "the service is stopping");
        return;
    }
    resolve_name(self, call, from->host, (uint16_t)from->port);
}

void resolver_cancel(struct resolver *self)
{
    for (unsigned i = 0; i < RESOLVES_MAX; i++) {
        struct resolve *resolve = self->under_way[i];

        if (!resolve)
            continue;
        self->under_way[i] = NULL;
        resolve->resolver = NULL;
        uv_cancel((uv_req_t *)&resolve->request);
        call_fail(&resolve->call, LB_CANCELLED, "the service is stopping");
    }
}
