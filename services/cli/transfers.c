#include "services/cli/transfers.h"

#include "libcommon/bytes.h"
#include "libcommon/config.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/infohash.h"
#include "services/cli/json.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/units.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define SHARE_TIMEOUT_MS (24u * 3600 * 1000) /* hashing is as fast as the disk */

static const char *const state_texts[] = {
    [LITTLEBIRD__V1__TRANSFER__STATE__STATE_CHECKING] = "checking",
    [LITTLEBIRD__V1__TRANSFER__STATE__STATE_METADATA] = "looking for it",
    [LITTLEBIRD__V1__TRANSFER__STATE__STATE_FETCHING] = "fetching",
    [LITTLEBIRD__V1__TRANSFER__STATE__STATE_SEEDING] = "seeding",
    [LITTLEBIRD__V1__TRANSFER__STATE__STATE_PAUSED] = "paused",
    [LITTLEBIRD__V1__TRANSFER__STATE__STATE_FAILED] = "failed",
};

const char *transfer_state_text(const Littlebird__V1__Transfer *transfer)
{
    unsigned state = (unsigned)transfer->state;

    if (state >= sizeof state_texts / sizeof state_texts[0] || state_texts[state] == NULL)
        return "unknown";
    return state_texts[state];
}

int transfers_list(struct session *session, const uint8_t *infohash,
                   const Littlebird__V1__ListTransfersResponse **ret_list)
{
    Littlebird__V1__ListTransfersRequest request = LITTLEBIRD__V1__LIST_TRANSFERS_REQUEST__INIT;
    struct client_call call = { .method = "SwarmService/ListTransfers",
                                .request = &request.base,
                                .response = &littlebird__v1__list_transfers_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;
    int code;

    if (infohash != NULL)
        request.infohash = (ProtobufCBinaryData){ INFOHASH_SIZE, (uint8_t *)(uintptr_t)infohash };
    code = session_call(session, &call, &response);
    if (code == EXIT_DONE)
        *ret_list = response;
    return code;
}

int transfers_parse_name(const struct args *args, const char *text, uint8_t *ret_infohash)
{
    if (infohash_parse(text, ret_infohash) == LB_OK)
        return EXIT_DONE;
    return args_usage(args, "'%.60s' is no magnet link and no info-hash of 40 digits", text);
}

bool transfers_parse_priority(const char *text, uint32_t *ret_priority)
{
    static const char *const names[] = { [1] = "low", [2] = "normal", [3] = "high" };

    for (uint32_t i = 1; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_priority = i;
            return true;
        }
    }
    return false;
}

int transfers_find(struct session *session, const uint8_t *infohash,
                   const Littlebird__V1__Transfer **ret_transfer)
{
    const Littlebird__V1__ListTransfersResponse *list;
    int code = transfers_list(session, infohash, &list);

    if (code != EXIT_DONE)
        return code;
    if (list->n_transfers == 0) {
        (void)args_failed(session->args, "there is no such transfer");
        return EXIT_NOT_FOUND;
    }
    *ret_transfer = list->transfers[0];
    return EXIT_DONE;
}

uint64_t transfer_wanted(const Littlebird__V1__Transfer *transfer)
{
    return transfer->wanted_bytes > 0 ? transfer->wanted_bytes : transfer->size_bytes;
}

/* What is left at the present rate; "" when that says nothing. */
static void format_left(const Littlebird__V1__Transfer *transfer, char ret_text[UNITS_SIZE + 16])
{
    char duration[UNITS_SIZE];

    ret_text[0] = '\0';
    if (transfer->receive_rate == 0 || transfer->have_bytes >= transfer_wanted(transfer))
        return;
    units_duration((transfer_wanted(transfer) - transfer->have_bytes) / transfer->receive_rate + 1,
                   duration);
    snprintf(ret_text, UNITS_SIZE + 16, "  %s left", duration);
}

/* What it does, and why: while it is looked for, the note says both. */
static void format_doing(const Littlebird__V1__Transfer *transfer, char ret_text[256])
{
    const char *state = transfer_state_text(transfer);

    if (transfer->note[0] == '\0')
        snprintf(ret_text, 256, "%s", state);
    else if (transfer->state == LITTLEBIRD__V1__TRANSFER__STATE__STATE_METADATA)
        snprintf(ret_text, 256, "%.200s", transfer->note);
    else
        snprintf(ret_text, 256, "%s: %.200s", state, transfer->note);
}

void transfer_format_progress(const Littlebird__V1__Transfer *transfer,
                              char ret_line[TRANSFER_LINE_SIZE])
{
    char percent[UNITS_SIZE], have[UNITS_SIZE], size[UNITS_SIZE], rate[UNITS_SIZE];
    char left[UNITS_SIZE + 16], doing[256];
    const char *name = transfer->name[0] != '\0' ? transfer->name : "the description";

    format_left(transfer, left);
    format_doing(transfer, doing);
    if (transfer->state == LITTLEBIRD__V1__TRANSFER__STATE__STATE_FETCHING)
        snprintf(ret_line, TRANSFER_LINE_SIZE, "%.200s  %s  %s of %s  %s  %u peer%s%s", name,
                 units_percent(transfer->have_bytes, transfer_wanted(transfer), percent),
                 units_bytes(transfer->have_bytes, have),
                 units_bytes(transfer_wanted(transfer), size),
                 units_rate(transfer->receive_rate, rate), transfer->peers,
                 text_plural(transfer->peers), left);
    else
        snprintf(ret_line, TRANSFER_LINE_SIZE, "%.200s  %s  %u peer%s", name, doing,
                 transfer->peers, text_plural(transfer->peers));
    table_sanitize(ret_line);
}

/* ---- list ---- */

__attribute__((format(printf, 2, 3))) static void say(char note[512], const char *format, ...)
{
    size_t used = strlen(note);
    va_list arguments;

    if (used > 0 && used + 2 < 512) {
        strcpy(note + used, "; ");
        used += 2;
    }
    va_start(arguments, format);
    vsnprintf(note + used, 512 - used, format, arguments);
    va_end(arguments);
}

/* Why it stands where it stands, and what is not as usual. */
static void format_note(const Littlebird__V1__Transfer *transfer, char ret_note[512])
{
    char part[UNITS_SIZE], rate[UNITS_SIZE];

    snprintf(ret_note, 512, "%.300s", transfer->note);
    if (transfer->wanted_bytes > 0 && transfer->wanted_bytes < transfer->size_bytes)
        say(ret_note, "%s selected", units_bytes(transfer->wanted_bytes, part));
    if (transfer->priority == 1 || transfer->priority == 3)
        say(ret_note, "priority %s", transfer->priority == 1 ? "low" : "high");
    if (transfer->receive_limit > 0)
        say(ret_note, "in at most %s", units_rate(transfer->receive_limit, rate));
    if (transfer->send_limit > 0)
        say(ret_note, "out at most %s", units_rate(transfer->send_limit, rate));
    if (transfer->reused_bytes > 0)
        say(ret_note, "%s were here", units_bytes(transfer->reused_bytes, part));
    if (transfer->state == LITTLEBIRD__V1__TRANSFER__STATE__STATE_FETCHING &&
        transfer->copies_permille < 1000)
        say(ret_note, "%.2f copies are here and with the peers",
            (double)transfer->copies_permille / 1000);
    if (transfer->finished > 0)
        say(ret_note, "%u finished", transfer->finished);
    if (transfer->verified_s > 0)
        say(ret_note, "read back");
}

static void print_transfers(const Littlebird__V1__ListTransfersResponse *list)
{
    static const struct table_column columns[] = { { "INFOHASH", false }, { "STATE", false },
                                                   { "DONE", true },      { "SIZE", true },
                                                   { "IN", true },        { "OUT", true },
                                                   { "PEERS", true },     { "NAME", false },
                                                   { "NOTE", false },     { NULL, false } };
    struct table *table = table_new(columns);
    char text[UNITS_SIZE], infohash[2 * INFOHASH_SIZE + 1], note[512];

    for (size_t i = 0; i < list->n_transfers; i++) {
        const Littlebird__V1__Transfer *transfer = list->transfers[i];

        infohash[0] = '\0';
        if (transfer->infohash.len == INFOHASH_SIZE)
            hex_encode(transfer->infohash.data, INFOHASH_SIZE, infohash);
        table_add(table, "%s", infohash);
        table_add(table, "%s", transfer_state_text(transfer));
        table_add(table, "%s",
                  units_percent(transfer->have_bytes, transfer_wanted(transfer), text));
        table_add(table, "%s", units_bytes(transfer->size_bytes, text));
        table_add(table, "%s", units_rate(transfer->receive_rate, text));
        table_add(table, "%s", units_rate(transfer->send_rate, text));
        table_add(table, "%u", transfer->peers);
        table_add(table, "%s", transfer->name);
        format_note(transfer, note);
        table_add(table, "%s", note);
    }
    table_print(table, stdout);
    table_free(&table);
}

static int print_list(struct session *session)
{
    const Littlebird__V1__ListTransfersResponse *list;
    int code = transfers_list(session, NULL, &list);

    if (code == EXIT_DONE && session->json)
        json_print(json_of_message(&list->base));
    else if (code == EXIT_DONE && list->n_transfers > 0)
        print_transfers(list);
    return code;
}

int command_list(const struct args *args)
{
    const char *files = args_value(args, "files"), *peers = args_value(args, "peers");
    uint8_t infohash[INFOHASH_SIZE];
    struct session session;
    int code = EXIT_DONE;

    if (files != NULL && peers != NULL)
        return args_usage(args, "--files and --peers exclude each other");
    if (files != NULL || peers != NULL)
        code = transfers_parse_name(args, files != NULL ? files : peers, infohash);
    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    if (files != NULL)
        code = transfers_print_files(&session, infohash);
    else if (peers != NULL)
        code = transfers_print_peers(&session, infohash);
    else
        code = print_list(&session);
    session_close(&session);
    return code;
}

/* ---- remove ---- */

int command_remove(const struct args *args)
{
    Littlebird__V1__RemoveTransferRequest request = LITTLEBIRD__V1__REMOVE_TRANSFER_REQUEST__INIT;
    struct client_call call = { .method = "SwarmService/RemoveTransfer",
                                .request = &request.base,
                                .response = &littlebird__v1__remove_transfer_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    uint8_t infohash[INFOHASH_SIZE];
    struct session session;
    const void *response;
    int code = transfers_parse_name(args, args->words[0], infohash);

    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    request.infohash = (ProtobufCBinaryData){ sizeof infohash, infohash };
    code = session_call(&session, &call, &response);
    session_close(&session);
    return code;
}

/* ---- share ---- */

static int write_file(const struct args *args, const char *path, const ProtobufCBinaryData *content)
{
    FILE *file = fopen(path, "we");
    bool written = file != NULL && fwrite(content->data, 1, content->len, file) == content->len;
    int failed = file != NULL ? fclose(file) : -1;

    if (!written || failed != 0)
        return args_failed(args, "cannot write %s: %s", path, strerror(errno));
    return EXIT_DONE;
}

static int write_torrent(struct session *session, const uint8_t infohash[INFOHASH_SIZE],
                         const char *path)
{
    Littlebird__V1__GetMetainfoRequest request = LITTLEBIRD__V1__GET_METAINFO_REQUEST__INIT;
    struct client_call call = { .method = "SwarmService/GetMetainfo",
                                .request = &request.base,
                                .response = &littlebird__v1__get_metainfo_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;
    int code;

    request.infohash = (ProtobufCBinaryData){ INFOHASH_SIZE, (uint8_t *)(uintptr_t)infohash };
    code = session_call(session, &call, &response);
    if (code != EXIT_DONE)
        return code;
    return write_file(session->args, path,
                      &((const Littlebird__V1__GetMetainfoResponse *)response)->metainfo);
}

/* Hashing takes as long as reading it: a terminal is told what it waits for, and rid of it then. */
static void show_hashing(const char *path, bool done)
{
    char text[PATH_MAX];

    if (isatty(STDERR_FILENO) == 0)
        return;
    snprintf(text, sizeof text, "%s", path);
    table_sanitize(text);
    if (done)
        fputs("\r\033[K", stderr);
    else
        fprintf(stderr, "hashing %.60s ...", text);
}

static int share(struct session *session, const Littlebird__V1__ShareRequest *request)
{
    const char *torrent = args_value(session->args, "torrent");
    struct client_call call = { .method = "SwarmService/Share",
                                .request = &request->base,
                                .response = &littlebird__v1__share_response__descriptor,
                                .timeout_ms = SHARE_TIMEOUT_MS };
    const Littlebird__V1__ShareResponse *shared;
    uint8_t infohash[INFOHASH_SIZE];
    const void *response;
    int code;

    show_hashing(request->path, false);
    code = session_call(session, &call, &response);
    show_hashing(request->path, true);
    if (code == EXIT_INTERRUPTED)
        fprintf(stderr, "interrupted; the node goes on and shares it then: littlebird list shows "
                        "it, littlebird remove ends it\n");
    if (code != EXIT_DONE)
        return code;
    shared = response;
    if (shared->infohash.len != INFOHASH_SIZE)
        return args_failed(session->args, "the node's answer is malformed");
    memcpy(infohash, shared->infohash.data, sizeof infohash);
    if (session->json)
        json_print(json_of_message(&shared->base));
    else
        printf("%s\n", shared->magnet);
    return torrent != NULL ? write_torrent(session, infohash, torrent) : EXIT_DONE;
}

/* What other systems cannot have as a name is refused: the last part of the path becomes one. */
static bool name_is_shareable(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;

    return text_is_harmless((const uint8_t *)name, strlen(name)) && strpbrk(name, "\t\n") == NULL;
}

static int choose_piece(const struct args *args, uint32_t *ret_bytes)
{
    const char *text = args_value(args, "piece");
    uint64_t bytes;

    if (text == NULL)
        return EXIT_DONE;
    if (config_parse_size(text, &bytes) != LB_OK || bytes < 16384 || bytes > 16u * 1024 * 1024 ||
        (bytes & (bytes - 1)) != 0)
        return args_usage(args,
                          "--piece needs a size from 16 KiB to 16 MiB, a power of two, not "
                          "'%.60s'",
                          text);
    *ret_bytes = (uint32_t)bytes;
    return EXIT_DONE;
}

static int choose_web_seeds(const struct args *args, char **ret_urls, size_t *ret_count)
{
    const char *url;

    for (*ret_count = 0; (url = args_value_at(args, "web-seed", (unsigned)*ret_count)) != NULL;
         ++*ret_count) {
        if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
            return args_usage(args, "--web-seed needs a URL of http or https, not '%.60s'", url);
        ret_urls[*ret_count] = (char *)(uintptr_t)url;
    }
    return EXIT_DONE;
}

int command_share(const struct args *args)
{
    static const struct {
        const char *option;
        Littlebird__V1__ShareRequest__Kind kind;
    } kinds[] = { { "v1", LITTLEBIRD__V1__SHARE_REQUEST__KIND__KIND_V1 },
                  { "v2", LITTLEBIRD__V1__SHARE_REQUEST__KIND__KIND_V2 },
                  { "hybrid", LITTLEBIRD__V1__SHARE_REQUEST__KIND__KIND_HYBRID } };
    Littlebird__V1__ShareRequest request = LITTLEBIRD__V1__SHARE_REQUEST__INIT;
    char *web_seeds[ARGS_GIVEN_MAX];
    struct session session;
    int code, kinds_given = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!args_has(args, kinds[i].option))
            continue;
        request.kind = kinds[i].kind;
        kinds_given++;
    }
    if (kinds_given > 1)
        return args_usage(args, "--v1, --v2 and --hybrid exclude each other");
    request.is_private = args_has(args, "private");
    request.web_seeds = web_seeds;
    code = choose_piece(args, &request.piece_length_bytes);
    if (code == EXIT_DONE)
        code = choose_web_seeds(args, web_seeds, &request.n_web_seeds);
    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    request.path = realpath(args->words[0], NULL);
    session_catch_interrupt();
    if (request.path == NULL)
        code = args_failed(args, "%s: %s", args->words[0], strerror(errno));
    else if (!text_is_utf8((const uint8_t *)request.path, strlen(request.path)) ||
             !name_is_shareable(request.path))
        code = args_failed(args, "%s: this name cannot be shared (no UTF-8, or control characters)",
                           args->words[0]);
    else
        code = share(&session, &request);
    free(request.path);
    session_close(&session);
    return code;
}
