#include "services/routing/names.h"

#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/stored.h"
#include "proto/transport.pb-c.h"
#include "services/routing/service.h"

#include <stdlib.h>
#include <string.h>

#define HOST_SIZE_MAX      253
#define RESOLVE_TIMEOUT_MS 20000
#define FILE_SIZE_MAX      16384

/* One question under way. */
struct asking {
    struct names *names;
    size_t index;
};

/* "HOST:PORT" in parts. */
static bool split(const char *text, char ret_host[HOST_SIZE_MAX + 1], uint32_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    char *end;

    if (colon == NULL || colon == text || colon - text > HOST_SIZE_MAX || colon[1] < '0' ||
        colon[1] > '9') {
        return false;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port == 0 || port > UINT16_MAX) {
        return false;
    }
    memcpy(ret_host, text, (size_t)(colon - text));
    ret_host[colon - text] = '\0';
    *ret_port = (uint32_t)port;
    return true;
}

/* Takes the entry. */
static void add(struct names *self, char *entry)
{
    if (self->count < NAMES_MAX) {
        self->entries[self->count++] = entry;
        return;
    }
    log_warn("bootstrap: only the first %d are used", NAMES_MAX);
    free(entry);
}

/* What littlebird join has written; there is none on the open network. */
static void read_file(struct names *self, const char *path)
{
    struct stored file;
    lb_err err = stored_read(path, FILE_SIZE_MAX, STORED_TRUSTED, &file);
    char *rest;

    if (err == LB_NOT_FOUND) {
        return;
    }
    if (err != LB_OK) {
        log_warn("bootstrap: cannot read %s: %s", path, lb_err_text(err));
        return;
    }
    rest = (char *)file.data;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (line[0] != '\0') {
            add(self, xstrdup(line));
        }
    }
    stored_free(&file);
}

void names_read(struct names *self, struct routing *routing)
{
    const struct config *config = actor_config(routing->actor);

    *self = (struct names){ .routing = routing, .interval_ms = NAMES_RETRY_LEAST_MS };
    for (size_t i = 0; i < config_list_count(config, CONFIG_BOOTSTRAP); i++) {
        add(self, xstrdup(config_list_item(config, CONFIG_BOOTSTRAP, i)));
    }
    if (routing->is_member) {
        read_file(self, actor_paths(routing->actor)->bootstrap_file);
    }
}

void names_done(struct names *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->entries[i]);
    }
    self->count = 0;
}

void names_open(struct names *self)
{
    char host[HOST_SIZE_MAX + 1];
    struct address address;
    uint32_t port;

    for (size_t i = 0; i < self->count; i++) {
        if (address_parse(self->entries[i], &address) == LB_OK) {
            self->found[i] = true;
            router_add_bootstrap(self->routing->router, &address);
        } else if (!split(self->entries[i], host, &port)) {
            self->found[i] = true;
            log_error("bootstrap: '%.60s' is not HOST:PORT", self->entries[i]);
        }
    }
}

static void on_addresses(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct asking *asking = ctx;
    struct names *self = asking->names;
    const Lb__Transport__Reply *reply = body;
    struct address address;

    self->asking[asking->index] = false;
    if (self->routing->stopping) {
        free(asking);
        return;
    }
    if (err != LB_OK || reply->body_case != LB__TRANSPORT__REPLY__BODY_ADDRESSES) {
        log_warn("bootstrap node not found name=%s: %s", self->entries[asking->index],
                 reason != NULL && reason[0] != '\0' ? reason : lb_err_text(err));
        free(asking);
        return;
    }
    for (size_t i = 0; i < reply->addresses->n_addresses; i++) {
        ProtobufCBinaryData compact = reply->addresses->addresses[i];
        if (address_from_compact(bytes_of(compact.data, compact.len), &address) == LB_OK) {
            router_add_bootstrap(self->routing->router, &address);
            self->found[asking->index] = true;
        }
    }
    free(asking);
}

static void ask(struct names *self, size_t index)
{
    char host[HOST_SIZE_MAX + 1];
    Lb__Transport__Resolve body = LB__TRANSPORT__RESOLVE__INIT;
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    struct asking *asking;

    if (!split(self->entries[index], host, &body.port)) {
        return;
    }
    self->asking[index] = true;
    asking = xmalloc(sizeof(*asking));
    *asking = (struct asking){ self, index };
    body.host = host;
    request.body_case = LB__TRANSPORT__REQUEST__BODY_RESOLVE;
    request.resolve = &body;
    link_call(instances_pick(&self->routing->transports, 0), &request.base, RESOLVE_TIMEOUT_MS,
              on_addresses, asking);
}

uint64_t names_update(struct names *self, uint64_t now_ms)
{
    bool open = false;

    for (size_t i = 0; i < self->count; i++) {
        open |= !self->found[i];
        if (!self->found[i] && !self->asking[i] && now_ms >= self->retry_ms) {
            ask(self, i);
        }
    }
    if (!open) {
        return UINT64_MAX;
    }
    if (now_ms >= self->retry_ms) {
        self->retry_ms = now_ms + self->interval_ms;
        self->interval_ms = self->interval_ms * 2 < NAMES_RETRY_MOST_MS ? self->interval_ms * 2
                                                                        : NAMES_RETRY_MOST_MS;
    }
    return self->retry_ms;
}
