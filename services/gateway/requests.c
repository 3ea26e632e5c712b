#include "services/gateway/requests.h"

#include <assert.h>
#include <string.h>

static uint32_t count_of(const struct requests *self, const struct asker *asker)
{
    struct bytes identity = bytes_of(asker->identity, asker->identity_size);
    uint32_t count = 0;

    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        const struct request *request = &self->slots[i];

        count +=
            request->state != REQUEST_FREE &&
            bytes_equal(identity, bytes_of(request->asker.identity, request->asker.identity_size));
    }
    return count;
}

struct request *requests_add(struct requests *self, const struct asker *asker, size_t bytes,
                             uint64_t deadline_ms, const char **ret_limit)
{
    struct request *request = self->slots;

    if (self->count == REQUESTS_MAX)
        *ret_limit = "too many calls are under way";
    else if (bytes > REQUESTS_BYTES_MAX - self->bytes)
        *ret_limit = "the calls under way are too big together";
    else if (count_of(self, asker) >= REQUESTS_CLIENT_MAX)
        *ret_limit = "too many calls of this client are under way";
    else {
        while (request->state != REQUEST_FREE)
            request++;
        *request = (struct request){
            .state = REQUEST_ASKED, .asker = *asker, .deadline_ms = deadline_ms, .bytes = bytes
        };
        self->count++;
        self->bytes += bytes;
        return request;
    }
    return NULL;
}

void requests_remove(struct requests *self, struct request *request)
{
    assert(request->state != REQUEST_FREE);
    self->count--;
    self->bytes -= request->bytes;
    memset(request, 0, sizeof(*request));
}

bool request_pause(struct request *self, bool may_repeat, uint64_t now_ms)
{
    if (self->give_up_ms == 0)
        self->give_up_ms = now_ms + REQUEST_PATIENCE_MS;
    if (!may_repeat || now_ms >= self->give_up_ms || now_ms >= self->deadline_ms)
        return false;
    self->state = REQUEST_PAUSED;
    self->retry_ms = now_ms + REQUEST_PAUSE_MS;
    return true;
}

static enum request_due due(const struct request *request, uint64_t now_ms)
{
    if (request->state != REQUEST_PAUSED && request->state != REQUEST_JOINED)
        return DUE_NOTHING;
    if (now_ms >= request->deadline_ms)
        return DUE_TIMEOUT;
    return request->state == REQUEST_PAUSED && now_ms >= request->retry_ms ? DUE_RETRY
                                                                           : DUE_NOTHING;
}

enum request_due requests_next_due(struct requests *self, uint64_t now_ms,
                                   struct request **ret_request)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        enum request_due what = due(&self->slots[i], now_ms);

        if (what != DUE_NOTHING) {
            *ret_request = &self->slots[i];
            return what;
        }
    }
    return DUE_NOTHING;
}

bool requests_waiting(const struct requests *self)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        enum request_state state = self->slots[i].state;

        if (state == REQUEST_PAUSED || state == REQUEST_JOINED)
            return true;
    }
    return false;
}

struct request *requests_joined(struct requests *self, uint32_t dedupe)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        struct request *request = &self->slots[i];

        if (request->state == REQUEST_JOINED && request->dedupe == dedupe)
            return request;
    }
    return NULL;
}
