#include "services/gateway/http.h"

#include "libcommon/address.h"
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/library.h"
#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/node_self.h"
#include "libcommon/notify.h"
#include "services/gateway/metrics.h"
#include "services/gateway/view.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define LIBRARY    "libmicrohttpd.so.12"
#define TEXT_PLAIN "text/plain; charset=utf-8"
#define LOOK_MS    250u /* at most, between two looks at who has been there for too long */

/* What is used of libmicrohttpd, by the types of its own header. */
struct library {
    __typeof__(MHD_start_daemon) *start_daemon;
    __typeof__(MHD_stop_daemon) *stop_daemon;
    __typeof__(MHD_run) *run;
    __typeof__(MHD_get_timeout) *get_timeout;
    __typeof__(MHD_get_daemon_info) *get_daemon_info;
    __typeof__(MHD_get_connection_info) *get_connection_info;
    __typeof__(MHD_create_response_from_buffer) *create_response;
    __typeof__(MHD_add_response_header) *add_header;
    __typeof__(MHD_queue_response) *queue_response;
    __typeof__(MHD_destroy_response) *destroy_response;
};

/* Who is connected: a descriptor and its time. */
struct visitor {
    struct MHD_Connection *connection; /* NULL: a free place */
    int fd;
    uint64_t since_ms;
};

struct http {
    struct library mhd;
    struct actor *actor;
    const struct page *status;
    struct MHD_Daemon *daemon;
    struct visitor visitors[HTTP_CONNECTIONS_MAX];
    uv_poll_t *poll; /* the library's own epoll descriptor */
    uv_timer_t *timer;
    struct status_counter *requests;
};

/* ---- the library ---- */

static lb_err load(struct library *self, const char **ret_problem)
{
    const struct library_symbol symbols[] = {
        { "MHD_start_daemon", &self->start_daemon },
        { "MHD_stop_daemon", &self->stop_daemon },
        { "MHD_run", &self->run },
        { "MHD_get_timeout", &self->get_timeout },
        { "MHD_get_daemon_info", &self->get_daemon_info },
        { "MHD_get_connection_info", &self->get_connection_info },
        { "MHD_create_response_from_buffer", &self->create_response },
        { "MHD_add_response_header", &self->add_header },
        { "MHD_queue_response", &self->queue_response },
        { "MHD_destroy_response", &self->destroy_response },
    };

    return library_load(LIBRARY, symbols, sizeof symbols / sizeof symbols[0], ret_problem);
}

/* ---- pages ---- */

struct page_text {
    unsigned status;
    char *text; /* ours until the response takes it */
    size_t size;
    const char *type;
};

static struct page_text plain(unsigned status, char *text)
{
    return (struct page_text){ status, text, strlen(text), TEXT_PLAIN };
}

static struct page_text show_index(const struct view *view)
{
    (void)view;
    return plain(MHD_HTTP_OK,
                 xasprintf("Littlebird %s\n/metrics  for Prometheus\n/healthz  200 while the "
                           "gateway lives\n/readyz   200 while the node serves, else 503\n",
                           LB_VERSION));
}

static struct page_text show_metrics(const struct view *view)
{
    struct page_text page = { MHD_HTTP_OK, NULL, 0, "text/plain; version=0.0.4; charset=utf-8" };

    page.text = metrics_render(view, clock_wall_ms(), &page.size);
    return page;
}

/* That we answer says it. */
static struct page_text show_health(const struct view *view)
{
    (void)view;
    return plain(MHD_HTTP_OK, xstrdup("ok\n"));
}

static struct page_text show_readiness(const struct view *view)
{
    char why[VIEW_WHY_SIZE];
    enum view_level level = view_level(view, why);

    if (level == VIEW_WELL)
        return plain(MHD_HTTP_OK, xstrdup("ready\n"));
    return plain(level == VIEW_DEGRADED ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                 xasprintf("%s: %s\n", level == VIEW_DEGRADED ? "degraded" : "not ready", why));
}

static const struct {
    const char *path;
    struct page_text (*show)(const struct view *view);
} pages[] = {
    { "/", show_index },
    { "/metrics", show_metrics },
    { "/healthz", show_health },
    { "/readyz", show_readiness },
};

static struct page_text find_page(struct http *self, const char *path, const char *method)
{
    struct node_id id;
    struct view view = { .status = self->status, .now_ms = clock_monotonic_ms() };

    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return plain(MHD_HTTP_METHOD_NOT_ALLOWED, xstrdup("GET is all there is\n"));
    if (node_self_id(actor_paths(self->actor)->pages_folder, &id))
        view.node_id = &id;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(path, pages[i].path) == 0)
            return pages[i].show(&view);
    }
    return plain(MHD_HTTP_NOT_FOUND, xstrdup("there is no such page\n"));
}

/* ---- requests ---- */

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **memory)
{
    struct http *self = ctx;
    struct page_text page = find_page(self, path, method);
    struct MHD_Response *response =
        self->mhd.create_response(page.size, page.text, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result result = MHD_NO;

    (void)version;
    (void)data;
    (void)size;
    (void)memory;
    status_counter_add(self->requests, 1);
    if (response == NULL) {
        free(page.text);
        return MHD_NO;
    }
    if (self->mhd.add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page.type) == MHD_YES &&
        self->mhd.add_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES)
        result = self->mhd.queue_response(connection, page.status, response);
    self->mhd.destroy_response(response);
    return result;
}

static void on_visitor(void *ctx, struct MHD_Connection *connection, void **memory,
                       enum MHD_ConnectionNotificationCode what)
{
    struct http *self = ctx;
    bool comes = what == MHD_CONNECTION_NOTIFY_STARTED;
    const union MHD_ConnectionInfo *info;

    (void)memory;
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct visitor *visitor = &self->visitors[i];

        if (visitor->connection != (comes ? NULL : connection))
            continue;
        visitor->connection = comes ? connection : NULL;
        if (!comes)
            return;
        info = self->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        visitor->fd = info->connect_fd;
        visitor->since_ms = clock_monotonic_ms();
        return;
    }
}

/* Its own limit is on silence: who sends a byte now and then would stay. */
static void end_old_visitors(struct http *self)
{
    uint64_t now_ms = clock_monotonic_ms();

    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct visitor *visitor = &self->visitors[i];

        if (visitor->connection != NULL && now_ms - visitor->since_ms >= HTTP_LIFE_MS)
            shutdown(visitor->fd, SHUT_RDWR);
    }
}

/* ---- on the loop ---- */

static unsigned count_visitors(const struct http *self)
{
    unsigned count = 0;

    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++)
        count += self->visitors[i].connection != NULL;
    return count;
}

static void on_timer(uv_timer_t *timer);

static void go_on(struct http *self)
{
    unsigned before = count_visitors(self), after;
    MHD_UNSIGNED_LONG_LONG due_ms = LOOK_MS;
    enum MHD_Result is_due;

    (void)self->mhd.run(self->daemon);
    after = count_visitors(self);
    is_due = self->mhd.get_timeout(self->daemon, &due_ms);
    /* At its limit it does not listen, and begins to only in the turn after somebody left. */
    if (after < before)
        due_ms = 0;
    else if (is_due != MHD_YES && after == 0) {
        uv_timer_stop(self->timer);
        return;
    }
    uv_timer_start(self->timer, on_timer, due_ms < LOOK_MS ? due_ms : LOOK_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct http *self = timer->data;

    end_old_visitors(self);
    go_on(self);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    go_on(poll->data);
}

static void on_log(void *ctx, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void on_log(void *ctx, const char *format, va_list arguments)
{
    char line[256];

    (void)ctx;
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\r\n")] = '\0';
    log_debug("http: %s", line);
}

/* ---- life ---- */

/* LB_NOT_FOUND: off. */
static lb_err open_socket(struct actor *actor, int *ret_fd)
{
    const char *text = config_text(actor_config(actor), CONFIG_METRICS_LISTEN);
    struct address address, bound;
    lb_err err;

    if (notify_listen_fd(LISTEN_METRICS, 0, ret_fd) == LB_OK)
        return LB_OK;
    if (text[0] == '\0')
        return LB_NOT_FOUND;
    if (address_parse(text, &address) != LB_OK) {
        log_error("gateway.metrics_listen: '%s' is not ADDR:PORT", text);
        return LB_INVALID;
    }
    err = listen_tcp(&address, ret_fd, &bound);
    if (err != LB_OK)
        log_error("cannot listen on %s for metrics: %s%s", text, strerror(errno),
                  errno == EAFNOSUPPORT ? "; under systemd: systemctl enable "
                                          "littlebird-metrics.socket"
                                        : "");
    return err;
}

static void say_where(struct actor *actor, int fd)
{
    struct address address;
    char text[ADDRESS_TEXT_SIZE];

    if (listen_bound(fd, &address) != LB_OK)
        return;
    address_format(&address, text);
    status_slot_listens(actor_status(actor), "HTTP", text);
    log_info("metrics on http://%s/metrics", text);
}

static lb_err start_daemon(struct http *self, int fd)
{
    self->daemon = self->mhd.start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, self, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(HTTP_LIFE_MS / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_MEMORY_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_visitor, self,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_END);
    if (self->daemon == NULL) {
        log_error("cannot serve metrics: libmicrohttpd does not start");
        close(fd);
        return LB_IO;
    }
    return LB_OK;
}

static void watch(struct http *self)
{
    struct uv_loop_s *loop = actor_loop(self->actor);
    const union MHD_DaemonInfo *info =
        self->mhd.get_daemon_info(self->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    self->poll = xcalloc(1, sizeof *self->poll);
    self->timer = xcalloc(1, sizeof *self->timer);
    self->poll->data = self->timer->data = self;
    uv_timer_init(loop, self->timer);
    uv_poll_init(loop, self->poll, info->epoll_fd);
    uv_poll_start(self->poll, UV_READABLE, on_readable);
}

lb_err http_new(struct actor *actor, const struct page *status, struct http **ret_self)
{
    struct http *self;
    const char *problem;
    int fd = -1;
    lb_err err = open_socket(actor, &fd);

    *ret_self = NULL;
    if (err != LB_OK)
        return err == LB_NOT_FOUND ? LB_OK : err;
    self = xcalloc(1, sizeof *self);
    self->actor = actor;
    self->status = status;
    self->requests = actor_counter(actor, "http_requests");
    if (load(&self->mhd, &problem) != LB_OK) {
        log_error("cannot serve metrics: %s", problem);
        close(fd);
        free(self);
        return LB_UNSUPPORTED;
    }
    say_where(actor, fd);
    err = start_daemon(self, fd);
    if (err != LB_OK) {
        free(self);
        return err;
    }
    watch(self);
    *ret_self = self;
    return LB_OK;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void http_free(struct http **self)
{
    struct http *freed = *self;

    *self = NULL;
    if (freed == NULL)
        return;
    uv_poll_stop(freed->poll);
    uv_close((uv_handle_t *)freed->poll, on_closed);
    uv_close((uv_handle_t *)freed->timer, on_closed);
    freed->mhd.stop_daemon(freed->daemon);
    free(freed); /* the library stays loaded: the process ends */
}
