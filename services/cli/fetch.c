/* littlebird fetch: give the order, then watch it until it is complete. */
#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/memory.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/device.h"
#include "services/cli/exit.h"
#include "services/cli/infohash.h"
#include "services/cli/json.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/transfers.h"
#include "services/cli/units.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define METAINFO_BYTES_MAX (10u * 1024 * 1024)
#define POLL_MS            250
#define LINE_MS            10000 /* between two lines when stderr is no terminal */
#define UNKNOWN_MS         5000 /* a transfer the node does not know: how long until it is ordered anew */

struct fetch {
    struct session session;
    Littlebird__V1__FetchRequest request;
    char *select[ARGS_GIVEN_MAX], *peers[ARGS_GIVEN_MAX]; /* borrowed */
    uint8_t *metainfo;
    char *target; /* folder or device */
    char *base;
    uint8_t infohash[INFOHASH_SIZE];
    uint64_t begin_ms, line_ms, unknown_ms; /* 0: not */
    bool ordered_anew;
    bool live; /* stderr is a terminal */
    bool drawn;
};

/* ---- what to fetch, and where to ---- */

static int read_torrent(const struct args *args, const char *path, uint8_t **ret_data,
                        size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    uint8_t *data;
    size_t size;
    int code = EXIT_DONE;

    if (file == NULL)
        return args_failed(args, "%s: %s", path, strerror(errno));
    data = xmalloc(METAINFO_BYTES_MAX + 1);
    size = fread(data, 1, METAINFO_BYTES_MAX + 1, file);
    if (ferror(file))
        code = args_failed(args, "%s: %s", path, strerror(errno));
    else if (size > METAINFO_BYTES_MAX)
        code = args_failed(args, "%s: larger than a .torrent file may be (10 MiB)", path);
    else if (size == 0 || data[0] != 'd')
        code = args_failed(args, "%s: no .torrent file", path);
    fclose(file);
    if (code != EXIT_DONE) {
        free(data);
        return code;
    }
    *ret_data = xrealloc(data, size);
    *ret_size = size;
    return EXIT_DONE;
}

static int choose_source(struct fetch *self, const struct args *args)
{
    const char *word = args->words[0];
    uint8_t infohash[INFOHASH_SIZE];
    lb_err err = infohash_parse(word, infohash);

    if (err != LB_OK && infohash_is_magnet(word))
        return args_failed(args, "the magnet link names nothing: it needs xt=urn:btih:INFOHASH "
                                 "or xt=urn:btmh:1220HASH");
    if (err == LB_OK && (infohash_is_magnet(word) || access(word, F_OK) != 0)) {
        self->request.source_case = LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET;
        self->request.magnet =
            infohash_is_magnet(word) ? xstrdup(word) : xasprintf("magnet:?xt=urn:btih:%s", word);
        return EXIT_DONE;
    }
    self->request.source_case = LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_METAINFO;
    self->request.metainfo.data = NULL;
    return read_torrent(args, word, &self->metainfo, &self->request.metainfo.len);
}

static int choose_device(struct fetch *self, const struct args *args, dev_t number)
{
    int code = device_confirm(args, self->target, number);

    self->request.device = self->target;
    return code;
}

static int choose_target(struct fetch *self, const struct args *args)
{
    const char *to = args_value(args, "to");
    struct stat info;

    if (to == NULL)
        to = ".";
    if (mkdir(to, 0777) != 0 && errno != EEXIST)
        return args_failed(args, "cannot make the folder %s: %s", to, strerror(errno));
    self->target = realpath(to, NULL);
    if (self->target == NULL || stat(self->target, &info) != 0)
        return args_failed(args, "%s: %s", to, strerror(errno));
    if (S_ISBLK(info.st_mode))
        return choose_device(self, args, info.st_rdev);
    if (!S_ISDIR(info.st_mode))
        return args_failed(args, "%s is no folder", to);
    self->request.folder = self->target;
    return EXIT_DONE;
}

static int choose_base(struct fetch *self, const struct args *args)
{
    const char *base = args_value(args, "base");

    if (base == NULL)
        return EXIT_DONE;
    self->base = realpath(base, NULL);
    if (self->base == NULL)
        return args_failed(args, "%s: %s", base, strerror(errno));
    self->request.base_path = self->base;
    return EXIT_DONE;
}

/* All values of an option that may be repeated. */
static size_t collect(const struct args *args, const char *name, char **ret_values)
{
    size_t count = 0;

    for (const char *value; (value = args_value_at(args, name, (unsigned)count)) != NULL; count++)
        ret_values[count] = (char *)(uintptr_t)value;
    return count;
}

static int choose_how(struct fetch *self, const struct args *args)
{
    const char *priority = args_value(args, "priority");
    Littlebird__V1__FetchRequest *request = &self->request;

    request->verify = args_has(args, "verify");
    request->select = self->select;
    request->n_select = collect(args, "select", self->select);
    request->peers = self->peers;
    request->n_peers = collect(args, "peer", self->peers);
    if (priority != NULL && !transfers_parse_priority(priority, &request->priority))
        return args_usage(args, "--priority is low, normal or high, not '%.60s'", priority);
    for (size_t i = 0; i < request->n_peers; i++) {
        struct address address;

        if (address_parse(request->peers[i], &address) != LB_OK || !address_is_usable(&address))
            return args_usage(args, "--peer needs ADDR:PORT, numeric, not '%.60s'",
                              request->peers[i]);
    }
    for (size_t i = 0; i < request->n_select; i++) {
        if (request->select[i][0] == '\0' ||
            !text_is_utf8((const uint8_t *)request->select[i], strlen(request->select[i])))
            return args_usage(args, "--select needs a path, a pattern or indices");
    }
    return EXIT_DONE;
}

static int choose_seeding(struct fetch *self, const struct args *args)
{
    const char *text = args_value(args, "seed-for");
    uint64_t time_ms;

    if (text == NULL)
        return EXIT_DONE;
    if (config_parse_time(text, &time_ms) != LB_OK || time_ms / 1000 > UINT32_MAX)
        return args_usage(args, "--seed-for needs a time such as 30s, 10 min or 2h, not '%s'",
                          text);
    self->request.seeding_case = LITTLEBIRD__V1__FETCH_REQUEST__SEEDING_SEED_FOR_S;
    self->request.seed_for_s = (uint32_t)((time_ms + 999) / 1000);
    return EXIT_DONE;
}

/* A metainfo too large for the API would only end the connection. */
static int check_size(struct fetch *self)
{
    Littlebird__V1__GetServerInfoRequest request = LITTLEBIRD__V1__GET_SERVER_INFO_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/GetServerInfo",
                                .request = &request.base,
                                .response = &littlebird__v1__get_server_info_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__GetServerInfoResponse *info;
    const void *response;
    int code;

    if (self->metainfo == NULL)
        return EXIT_DONE;
    code = session_call(&self->session, &call, &response);
    if (code != EXIT_DONE)
        return code;
    info = response;
    if (littlebird__v1__fetch_request__get_packed_size(&self->request) > info->message_bytes_max)
        return args_failed(self->session.args,
                           "the .torrent file is too big for this node (%llu bytes); fetch it by "
                           "its magnet link",
                           (unsigned long long)info->message_bytes_max);
    return EXIT_DONE;
}

static int order(struct fetch *self)
{
    struct client_call call = { .method = "SwarmService/Fetch",
                                .request = &self->request.base,
                                .response = &littlebird__v1__fetch_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__FetchResponse *started;
    const void *response;
    int code = session_call(&self->session, &call, &response);

    if (code != EXIT_DONE)
        return code;
    started = response;
    if (started->infohash.len != INFOHASH_SIZE)
        return args_failed(self->session.args, "the node's answer is malformed");
    memcpy(self->infohash, started->infohash.data, INFOHASH_SIZE);
    return EXIT_DONE;
}

/* ---- progress ---- */

static void show_progress(struct fetch *self, const Littlebird__V1__Transfer *transfer)
{
    uint64_t now_ms = clock_monotonic_ms();
    char line[TRANSFER_LINE_SIZE];

    if (!self->live && self->line_ms != 0 && now_ms - self->line_ms < LINE_MS)
        return;
    self->line_ms = now_ms;
    transfer_format_progress(transfer, line);
    fprintf(stderr, self->live ? "\r%s\033[K" : "%s\n", line);
    self->drawn = self->live;
}

/* Leave the line that is redrawn. */
static void end_progress(struct fetch *self)
{
    if (self->drawn)
        fputc('\n', stderr);
    self->drawn = false;
}

static void say_complete(struct fetch *self, const Littlebird__V1__Transfer *transfer)
{
    uint64_t elapsed_ms = clock_monotonic_ms() - self->begin_ms;
    uint64_t wanted = transfer_wanted(transfer);
    bool watched = self->line_ms != 0; /* else it was here already: no time of ours to tell */
    char size[UNITS_SIZE], rate[UNITS_SIZE], path[PATH_MAX];

    end_progress(self);
    if (self->session.json)
        json_print(json_of_message(&transfer->base));
    snprintf(path, sizeof path, "%s", transfer->path);
    table_sanitize(path);
    fprintf(stderr, "complete and verified: %s (%s", path, units_bytes(wanted, size));
    if (watched)
        fprintf(stderr, " in %.1f s, %s", (double)elapsed_ms / 1000,
                units_rate(wanted * 1000 / (elapsed_ms + 1), rate));
    fputs(")\n", stderr);
}

enum step { STEP_GO_ON, STEP_END };

static enum step look_at(struct fetch *self, const Littlebird__V1__Transfer *transfer,
                         int *ret_code)
{
    self->unknown_ms = 0;
    if (transfer->state == LITTLEBIRD__V1__TRANSFER__STATE__STATE_SEEDING) {
        say_complete(self, transfer);
        *ret_code = EXIT_DONE;
        return STEP_END;
    }
    if (transfer->state == LITTLEBIRD__V1__TRANSFER__STATE__STATE_FAILED) {
        end_progress(self);
        *ret_code = args_failed(self->session.args, "%s", transfer->note);
        return STEP_END;
    }
    show_progress(self, transfer);
    return STEP_GO_ON;
}

/* The node took the order and does not know it: it is given anew once, in case state was lost. */
static enum step look_at_nothing(struct fetch *self, int *ret_code)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (self->unknown_ms == 0)
        self->unknown_ms = now_ms;
    if (now_ms - self->unknown_ms < UNKNOWN_MS)
        return STEP_GO_ON;
    if (self->ordered_anew) {
        end_progress(self);
        *ret_code = args_failed(self->session.args, "the transfer was removed");
        return STEP_END;
    }
    self->ordered_anew = true;
    self->unknown_ms = 0;
    *ret_code = order(self);
    return *ret_code == EXIT_DONE ? STEP_GO_ON : STEP_END;
}

static int say_interrupted(struct fetch *self)
{
    end_progress(self);
    fprintf(stderr, "interrupted; the transfer goes on in the node: littlebird list shows it, "
                    "littlebird remove ends it\n");
    return EXIT_INTERRUPTED;
}

static int watch(struct fetch *self)
{
    static const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
    const Littlebird__V1__ListTransfersResponse *list;
    int code;

    for (;;) {
        enum step step;

        code = transfers_list(&self->session, self->infohash, &list);
        if (code == EXIT_INTERRUPTED || session_interrupted())
            return say_interrupted(self);
        if (code != EXIT_DONE) {
            end_progress(self);
            return code;
        }
        step = list->n_transfers > 0 ? look_at(self, list->transfers[0], &code)
                                     : look_at_nothing(self, &code);
        if (step == STEP_END)
            return code;
        nanosleep(&pause, NULL); /* Ctrl-C ends it early */
    }
}

static int fetch(struct fetch *self)
{
    int code;

    self->request.metainfo.data = self->metainfo;
    code = check_size(self);
    if (code == EXIT_DONE)
        code = order(self);
    if (code != EXIT_DONE)
        return code;
    self->begin_ms = clock_monotonic_ms();
    return watch(self);
}

int command_fetch(const struct args *args)
{
    struct fetch self = { .request = LITTLEBIRD__V1__FETCH_REQUEST__INIT,
                          .live = isatty(STDERR_FILENO) != 0 };
    int code = choose_seeding(&self, args);

    if (code == EXIT_DONE)
        code = choose_how(&self, args);
    if (code == EXIT_DONE)
        code = choose_source(&self, args);
    if (code == EXIT_DONE)
        code = session_open(&self.session, args);
    if (code == EXIT_DONE) {
        session_catch_interrupt();
        code = choose_target(&self, args);
        if (code == EXIT_DONE)
            code = choose_base(&self, args);
        if (code == EXIT_DONE)
            code = fetch(&self);
        session_close(&self.session);
    }
    if (self.metainfo == NULL &&
        self.request.source_case == LITTLEBIRD__V1__FETCH_REQUEST__SOURCE_MAGNET)
        free(self.request.magnet);
    free(self.metainfo);
    free(self.target);
    free(self.base);
    return code;
}
