#include "services/swarm/webseed_http.h"

#include "libcommon/library.h"
#include "libcommon/memory.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#define LIBRARY     "libcurl.so.4"
#define REASON_SIZE 128

/* What is used of libcurl, by the types of its own header. */
struct library {
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_easy_init) *easy_init;
    __typeof__(curl_easy_cleanup) *easy_cleanup;
    __typeof__(curl_easy_setopt) *easy_setopt;
    __typeof__(curl_easy_getinfo) *easy_getinfo;
    __typeof__(curl_easy_strerror) *easy_strerror;
    __typeof__(curl_multi_init) *multi_init;
    __typeof__(curl_multi_cleanup) *multi_cleanup;
    __typeof__(curl_multi_setopt) *multi_setopt;
    __typeof__(curl_multi_add_handle) *multi_add_handle;
    __typeof__(curl_multi_remove_handle) *multi_remove_handle;
    __typeof__(curl_multi_assign) *multi_assign;
    __typeof__(curl_multi_socket_action) *multi_socket_action;
    __typeof__(curl_multi_info_read) *multi_info_read;
};

/* A socket of libcurl's that is watched. */
struct watched {
    uv_poll_t poll;
    struct webseed_http *http;
    curl_socket_t fd;
};

struct webseed_http {
    struct library curl;
    uv_loop_t *loop;
    uv_timer_t timer;
    CURLM *multi;
};

struct webseed_get {
    struct webseed_http *http;
    CURL *easy;
    struct webseed_range range;
    uint32_t came;
    bool ranged; /* the answer says that it is the range asked for */
    bool unwanted;
    char reason[REASON_SIZE]; /* why it is refused; "": it is not */
};

/* ---- the library ---- */

static bool load(struct library *self)
{
    const struct library_symbol symbols[] = {
        { "curl_global_init", &self->global_init },
        { "curl_easy_init", &self->easy_init },
        { "curl_easy_cleanup", &self->easy_cleanup },
        { "curl_easy_setopt", &self->easy_setopt },
        { "curl_easy_getinfo", &self->easy_getinfo },
        { "curl_easy_strerror", &self->easy_strerror },
        { "curl_multi_init", &self->multi_init },
        { "curl_multi_cleanup", &self->multi_cleanup },
        { "curl_multi_setopt", &self->multi_setopt },
        { "curl_multi_add_handle", &self->multi_add_handle },
        { "curl_multi_remove_handle", &self->multi_remove_handle },
        { "curl_multi_assign", &self->multi_assign },
        { "curl_multi_socket_action", &self->multi_socket_action },
        { "curl_multi_info_read", &self->multi_info_read },
    };
    const char *problem;
    return library_load(LIBRARY, symbols, sizeof symbols / sizeof symbols[0], &problem) == LB_OK &&
           self->global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

/* ---- one get ---- */

static void get_free(struct webseed_get **self)
{
    struct webseed_get *freed = *self;
    *self = NULL;
    if (freed->easy != NULL)
        freed->http->curl.easy_cleanup(freed->easy);
    free((char *)(uintptr_t)freed->range.url);
    free(freed);
}

static bool refuse(struct webseed_get *self, const char *reason)
{
    snprintf(self->reason, sizeof self->reason, "%s", reason);
    return false;
}

/* RFC 9110, 14.4: "Content-Range: bytes FIRST-LAST/LENGTH". Each answer of a row of redirects
 * begins with its status line. */
static size_t on_header(char *data, size_t one, size_t size, void *ctx)
{
    static const char name[] = "content-range:";
    struct webseed_get *self = ctx;
    char line[128];
    uint64_t first = 0;
    uint64_t last = 0;
    (void)one;
    if (size >= 5 && memcmp(data, "HTTP/", 5) == 0)
        self->ranged = false;
    if (size < sizeof name || strncasecmp(data, name, sizeof name - 1) != 0)
        return size;
    snprintf(line, sizeof line, "%.*s", (int)(size - (sizeof name - 1)), data + sizeof name - 1);
    self->ranged = sscanf(line, " bytes %" SCNu64 "-%" SCNu64, &first, &last) == 2 &&
                   first == self->range.offset && last == first + self->range.size - 1;
    return size;
}

static bool is_range(struct webseed_get *self)
{
    long status = 0;
    (void)self->http->curl.easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 206 && self->ranged)
        return true;
    if (status == 200 && self->range.whole)
        return true;
    if (status == 200)
        return refuse(self, "it gives no ranges of files");
    if (status == 206)
        return refuse(self, "it gives another range than it was asked for");
    snprintf(self->reason, sizeof self->reason, "it answers %ld", status);
    return false;
}

static size_t on_data(char *data, size_t one, size_t size, void *ctx)
{
    struct webseed_get *self = ctx;
    (void)one;
    if (self->came == 0 && !is_range(self))
        return CURL_WRITEFUNC_ERROR;
    if (size > self->range.size - self->came) {
        (void)refuse(self, "it gives more than it was asked for");
        return CURL_WRITEFUNC_ERROR;
    }
    self->came += (uint32_t)size;
    if (size > 0 && !self->range.data(self->range.ctx, bytes_of(data, size))) {
        self->unwanted = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return size;
}

/* In our words what people meet most often; the rest in libcurl's. */
static void say_why(struct webseed_get *self, CURLcode code)
{
    curl_off_t connected_us = 0;
    (void)self->http->curl.easy_getinfo(self->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
    if (code == CURLE_OK || code == CURLE_PARTIAL_FILE)
        (void)refuse(self, "its answer is too short");
    else if (code == CURLE_PEER_FAILED_VERIFICATION)
        (void)refuse(self, "its certificate is not of an authority known here, or of another host");
    else if (code == CURLE_OPERATION_TIMEDOUT && connected_us > 0)
        snprintf(self->reason, sizeof self->reason, "it sends less than %d bytes per second",
                 HTTP_SLOW);
    else
        (void)refuse(self, self->http->curl.easy_strerror(code));
}

/* The range it ended with is what it says, or why not. */
static lb_err outcome(struct webseed_get *self, CURLcode code)
{
    if (self->unwanted)
        return LB_CANCELLED;
    if (self->reason[0] == '\0' && code == CURLE_OK && self->came == self->range.size)
        return LB_OK;
    if (self->reason[0] == '\0' && (code == CURLE_HTTP_RETURNED_ERROR || code == CURLE_OK) &&
        self->came == 0 && is_range(self))
        (void)refuse(self, "its answer is empty");
    if (self->reason[0] == '\0')
        say_why(self, code);
    return LB_UNAVAILABLE;
}

static bool set_options(struct webseed_get *self)
{
    const struct library *curl = &self->http->curl;
    CURL *easy = self->easy;
    char range[64];
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, self->range.offset,
             self->range.offset + self->range.size - 1);
    return curl->easy_setopt(easy, CURLOPT_URL, self->range.url) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_MAXREDIRS, (long)HTTP_REDIRECTS_MAX) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_RANGE, range) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_FAILONERROR, 1L) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_SLOW) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)HTTP_SLOW_S) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_USERAGENT, "Littlebird/" LB_VERSION) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_HEADERDATA, self) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_WRITEDATA, self) == CURLE_OK &&
           curl->easy_setopt(easy, CURLOPT_PRIVATE, self) == CURLE_OK;
}

struct webseed_get *webseed_http_get(struct webseed_http *self, const struct webseed_range *range)
{
    struct webseed_get *get = xcalloc(1, sizeof *get);
    get->http = self;
    get->range = *range;
    get->range.url = xstrdup(range->url);
    get->easy = self->curl.easy_init();
    if (get->easy == NULL || !set_options(get) ||
        self->curl.multi_add_handle(self->multi, get->easy) != CURLM_OK)
        get_free(&get);
    return get;
}

void webseed_get_cancel(struct webseed_get **self)
{
    if (*self == NULL)
        return;
    (void)(*self)->http->curl.multi_remove_handle((*self)->http->multi, (*self)->easy);
    get_free(self);
}

/* ---- the loop ---- */

static void end_gets(struct webseed_http *self)
{
    CURLMsg *message = NULL;
    int left = 0;
    while ((message = self->curl.multi_info_read(self->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct webseed_get *get = NULL;
        (void)self->curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&get);
        const lb_err err = outcome(get, message->data.result);
        (void)self->curl.multi_remove_handle(self->multi, get->easy);
        get->range.ended(get->range.ctx, err, get->reason);
        get_free(&get);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = poll->data;
    struct webseed_http *self = watched->http;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    int running = 0;
    if ((events & UV_READABLE) != 0)
        flags |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0)
        flags |= CURL_CSELECT_OUT;
    (void)self->curl.multi_socket_action(self->multi, watched->fd, flags, &running);
    end_gets(self);
}

static void on_timer(uv_timer_t *timer)
{
    struct webseed_http *self = timer->data;
    int running = 0;
    (void)self->curl.multi_socket_action(self->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    end_gets(self);
}

static int on_timeout(CURLM *multi, long timeout_ms, void *ctx)
{
    struct webseed_http *self = ctx;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&self->timer);
    else
        uv_timer_start(&self->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_watched_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watched *watch(struct webseed_http *self, curl_socket_t fd)
{
    struct watched *watched = xcalloc(1, sizeof *watched);
    watched->http = self;
    watched->fd = fd;
    if (uv_poll_init_socket(self->loop, &watched->poll, fd) != 0) {
        free(watched);
        return NULL;
    }
    watched->poll.data = watched;
    (void)self->curl.multi_assign(self->multi, fd, watched);
    return watched;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *of_socket)
{
    struct webseed_http *self = ctx;
    struct watched *watched = of_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL) {
            (void)self->curl.multi_assign(self->multi, fd, NULL);
            uv_poll_stop(&watched->poll);
            uv_close((uv_handle_t *)&watched->poll, on_watched_closed);
        }
        return 0;
    }
    if (watched == NULL && (watched = watch(self, fd)) == NULL)
        return -1;
    const int events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
                       ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
    return uv_poll_start(&watched->poll, events, on_poll) == 0 ? 0 : -1;
}

/* ---- life ---- */

struct webseed_http *webseed_http_new(struct uv_loop_s *loop)
{
    struct webseed_http *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    if (load(&self->curl))
        self->multi = self->curl.multi_init();
    if (self->multi == NULL) {
        free(self);
        return NULL;
    }
    uv_timer_init(loop, &self->timer);
    self->timer.data = self;
    (void)self->curl.multi_setopt(self->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)self->curl.multi_setopt(self->multi, CURLMOPT_SOCKETDATA, self);
    (void)self->curl.multi_setopt(self->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    (void)self->curl.multi_setopt(self->multi, CURLMOPT_TIMERDATA, self);
    (void)self->curl.multi_setopt(self->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_IDLE_MAX);
    return self;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void webseed_http_free(struct webseed_http **self)
{
    struct webseed_http *freed = *self;
    *self = NULL;
    if (freed == NULL)
        return;
    (void)freed->curl.multi_cleanup(freed->multi);
    uv_timer_stop(&freed->timer);
    uv_close((uv_handle_t *)&freed->timer, on_timer_closed);
}
