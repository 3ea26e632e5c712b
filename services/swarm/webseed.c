#include "services/swarm/webseed.h"

#include "libcommon/memory.h"
#include "services/swarm/uri.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- URLs ---- */

/* Where the host begins; 0: no URL of http or https. */
static size_t scheme_size(const char *url)
{
    if (strncasecmp(url, "http://", 7) == 0)
        return 7;
    return strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
}

static bool is_usable(struct bytes url)
{
    char text[WEBSEED_URL_SIZE];
    if (url.size == 0 || url.size >= sizeof text)
        return false;
    for (size_t i = 0; i < url.size; i++)
        if (url.data[i] <= ' ' || url.data[i] >= 0x7f)
            return false;
    memcpy(text, url.data, url.size);
    text[url.size] = '\0';
    const size_t scheme = scheme_size(text);
    return scheme > 0 && text[scheme] != '\0' && text[scheme] != '/';
}

bool webseed_urls_add(struct webseed_urls *self, struct bytes url)
{
    if (!is_usable(url))
        return false;
    for (uint32_t i = 0; i < self->count; i++)
        if (strlen(self->items[i]) == url.size && memcmp(self->items[i], url.data, url.size) == 0)
            return true;
    if (self->count == WEBSEEDS_MAX)
        return false;
    self->items = xrealloc(self->items, (self->count + 1) * sizeof *self->items);
    char *copy = xmalloc(url.size + 1);
    memcpy(copy, url.data, url.size);
    copy[url.size] = '\0';
    self->items[self->count++] = copy;
    return true;
}

void webseed_urls_add_all(struct webseed_urls *self, const struct webseed_urls *more)
{
    for (uint32_t i = 0; i < more->count; i++)
        (void)webseed_urls_add(self, bytes_of(more->items[i], strlen(more->items[i])));
}

void webseed_urls_done(struct webseed_urls *self)
{
    for (uint32_t i = 0; i < self->count; i++)
        free(self->items[i]);
    free(self->items);
    *self = (struct webseed_urls){ 0 };
}

void webseed_host(const char *url, char *ret_host, size_t size)
{
    const char *host = url + scheme_size(url);
    size_t length = strcspn(host, "/?#");
    const char *at = memchr(host, '@', length);
    if (at != NULL) {
        length -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    snprintf(ret_host, size, "%.*s", (int)length, host);
}

char *webseed_file_url(const char *url, const char *path, bool is_folder)
{
    const size_t length = strlen(url);
    const bool slash = length > 0 && url[length - 1] == '/';
    if (!slash && !is_folder)
        return xstrdup(url);
    const size_t capacity = length + 3 * strlen(path) + 2;
    char *text = xmalloc(capacity);
    struct writer writer;
    writer_init(&writer, text, capacity);
    writer_put(&writer, url, length);
    if (!slash)
        writer_u8(&writer, '/');
    /* RFC 3986, 3.3, lets more stand in a path: ';' and the like would be of use to nobody. */
    uri_put(&writer, path, "/");
    writer_u8(&writer, '\0');
    assert(!writer.overflow);
    return text;
}

/* ---- what becomes of it ---- */

bool webseed_is_ready(struct webseed *self, uint64_t now_ms)
{
    if (self->state == WEBSEED_RESTING && now_ms >= self->rest_until_ms)
        self->state = WEBSEED_IDLE;
    return self->state == WEBSEED_IDLE;
}

void webseed_begin(struct webseed *self, uint32_t piece)
{
    assert(self->state == WEBSEED_IDLE);
    self->state = WEBSEED_FETCHING;
    self->piece = piece;
}

void webseed_pause(struct webseed *self, uint64_t now_ms)
{
    if (self->state == WEBSEED_DROPPED)
        return;
    self->state = WEBSEED_RESTING;
    self->rest_until_ms = now_ms + WEBSEED_LOOK_MS;
}

void webseed_came(struct webseed *self)
{
    if (self->state == WEBSEED_DROPPED)
        return;
    self->state = WEBSEED_IDLE;
    self->failures = 0;
}

void webseed_failed(struct webseed *self, uint64_t now_ms)
{
    if (self->state == WEBSEED_DROPPED)
        return;
    uint64_t rest_ms = WEBSEED_REST_MAX_MS;
    if (self->failures < 16 && ((uint64_t)WEBSEED_REST_MIN_MS << self->failures) < rest_ms)
        rest_ms = (uint64_t)WEBSEED_REST_MIN_MS << self->failures;
    self->failures++;
    self->state = WEBSEED_RESTING;
    self->rest_until_ms = now_ms + rest_ms;
}

void webseed_drop(struct webseed *self)
{
    self->state = WEBSEED_DROPPED;
}

uint64_t webseed_deadline_ms(const struct webseed *self)
{
    if (self->state == WEBSEED_IDLE)
        return 0;
    return self->state == WEBSEED_RESTING ? self->rest_until_ms : UINT64_MAX;
}
