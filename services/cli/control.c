/* littlebird limit and check, lb-admin limit. */
#include "libcommon/rate.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/infohash.h"
#include "services/cli/json.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/transfers.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 200

/* ---- limit ---- */

static int choose_rate(const struct args *args, const char *option, uint64_t *ret_rate,
                       bool *ret_given)
{
    const char *text = args_value(args, option);

    *ret_given = text != NULL;
    if (text != NULL && rate_parse(text, ret_rate) != LB_OK)
        return args_usage(args,
                          "--%s needs a rate such as 10 Mbit/s, 5 MB/s or none, not "
                          "'%.60s'",
                          option, text);
    return EXIT_DONE;
}

static int choose_limits(const struct args *args, Littlebird__V1__SetTransferLimitsRequest *request)
{
    const char *priority = args_value(args, "priority");
    bool up, down;
    int code = choose_rate(args, "down", &request->receive_limit, &down);

    if (code == EXIT_DONE)
        code = choose_rate(args, "up", &request->send_limit, &up);
    if (code != EXIT_DONE)
        return code;
    if (down)
        request->receive_case = LITTLEBIRD__V1__SET_TRANSFER_LIMITS_REQUEST__RECEIVE_RECEIVE_LIMIT;
    if (up)
        request->send_case = LITTLEBIRD__V1__SET_TRANSFER_LIMITS_REQUEST__SEND_SEND_LIMIT;
    if (priority != NULL && !transfers_parse_priority(priority, &request->priority))
        return args_usage(args, "--priority is low, normal or high, not '%.60s'", priority);
    if (!up && !down && priority == NULL)
        return args_usage(args, "what is to be limited? --down, --up%s",
                          request->infohash.len > 0 ? " or --priority" : "");
    return EXIT_DONE;
}

static int limit(const struct args *args, uint8_t *infohash)
{
    Littlebird__V1__SetTransferLimitsRequest request =
        LITTLEBIRD__V1__SET_TRANSFER_LIMITS_REQUEST__INIT;
    struct client_call call = { .method = "SwarmService/SetTransferLimits",
                                .request = &request.base,
                                .response =
                                    &littlebird__v1__set_transfer_limits_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    struct session session;
    const void *response;
    int code;

    if (infohash != NULL)
        request.infohash = (ProtobufCBinaryData){ INFOHASH_SIZE, infohash };
    code = choose_limits(args, &request);
    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = session_call(&session, &call, &response);
    session_close(&session);
    return code;
}

int command_limit(const struct args *args)
{
    uint8_t infohash[INFOHASH_SIZE];
    int code = transfers_parse_name(args, args->words[0], infohash);

    return code == EXIT_DONE ? limit(args, infohash) : code;
}

int command_limit_node(const struct args *args)
{
    return limit(args, NULL);
}

/* ---- check ---- */

struct check {
    struct session session;
    uint8_t infohash[INFOHASH_SIZE];
    bool live; /* stderr is a terminal */
    bool drawn;
};

static void show_progress(struct check *self, const Littlebird__V1__Transfer *transfer)
{
    char line[TRANSFER_LINE_SIZE];

    if (!self->live)
        return;
    transfer_format_progress(transfer, line);
    fprintf(stderr, "\r%s\033[K", line);
    self->drawn = true;
}

static void end_progress(struct check *self)
{
    if (self->drawn)
        fputs("\r\033[K", stderr);
    self->drawn = false;
}

static int begin(struct check *self)
{
    Littlebird__V1__CheckTransferRequest request = LITTLEBIRD__V1__CHECK_TRANSFER_REQUEST__INIT;
    struct client_call call = { .method = "SwarmService/CheckTransfer",
                                .request = &request.base,
                                .response = &littlebird__v1__check_transfer_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;

    request.infohash = (ProtobufCBinaryData){ INFOHASH_SIZE, self->infohash };
    return session_call(&self->session, &call, &response);
}

/* What is shared is not as it was: the files are named. */
static int name_differing(struct check *self)
{
    const Littlebird__V1__ListTransferFilesResponse *files;
    int code = transfers_files(&self->session, self->infohash, &files);

    if (code != EXIT_DONE)
        return code;
    if (self->session.json)
        json_print(json_of_message(&files->base));
    for (size_t i = 0; i < files->n_files && !self->session.json; i++) {
        char path[1024];

        if (files->files[i]->have_bytes >= files->files[i]->size_bytes)
            continue;
        snprintf(path, sizeof path, "%s", files->files[i]->path);
        table_sanitize(path);
        printf("%s\n", path);
    }
    (void)args_failed(self->session.args, "%s",
                      "what is on disk differs from what is shared; it is not served until it is "
                      "as it was, or shared anew");
    return EXIT_PARTLY;
}

static int say_well(struct check *self, const Littlebird__V1__Transfer *transfer)
{
    char bad[UNITS_SIZE], have[UNITS_SIZE];

    if (self->session.json)
        json_print(json_of_message(&transfer->base));
    if (transfer->damaged_bytes > 0)
        fprintf(stderr, "%s were bad, and have been fetched again\n",
                units_bytes(transfer->damaged_bytes, bad));
    else
        fprintf(stderr, "all %s are as they should be\n",
                units_bytes(transfer->checked_bytes, have));
    return EXIT_DONE;
}

/* False: not at an end. */
static bool is_over(struct check *self, const Littlebird__V1__Transfer *transfer, int *ret_code)
{
    if (transfer->state == LITTLEBIRD__V1__TRANSFER__STATE__STATE_FAILED) {
        end_progress(self);
        *ret_code = name_differing(self);
        return true;
    }
    if (transfer->state == LITTLEBIRD__V1__TRANSFER__STATE__STATE_SEEDING ||
        (transfer->damaged_bytes == 0 &&
         transfer->state != LITTLEBIRD__V1__TRANSFER__STATE__STATE_CHECKING)) {
        end_progress(self);
        *ret_code = say_well(self, transfer);
        return true;
    }
    show_progress(self, transfer);
    return false;
}

static int check(struct check *self)
{
    static const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
    const Littlebird__V1__Transfer *transfer;
    int code = transfers_find(&self->session, self->infohash, &transfer);

    if (code == EXIT_DONE)
        code = begin(self);
    while (code == EXIT_DONE) {
        code = transfers_find(&self->session, self->infohash, &transfer);
        if (code == EXIT_INTERRUPTED || session_interrupted()) {
            end_progress(self);
            fprintf(stderr, "interrupted; the check goes on in the node\n");
            return EXIT_INTERRUPTED;
        }
        if (code != EXIT_DONE || is_over(self, transfer, &code))
            break;
        nanosleep(&pause, NULL);
    }
    end_progress(self);
    return code;
}

int command_check(const struct args *args)
{
    struct check self = { .live = isatty(STDERR_FILENO) != 0 };
    int code = transfers_parse_name(args, args->words[0], self.infohash);

    if (code == EXIT_DONE)
        code = session_open(&self.session, args);
    if (code != EXIT_DONE)
        return code;
    session_catch_interrupt();
    code = check(&self);
    session_close(&self.session);
    return code;
}
