/* littlebird list --files and --peers: one transfer from inside. */
#include "libcommon/bytes.h"
#include "services/cli/exit.h"
#include "services/cli/infohash.h"
#include "services/cli/json.h"
#include "services/cli/slow.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/transfers.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <time.h>

static ProtobufCBinaryData bytes_of_infohash(const uint8_t *infohash)
{
    return (ProtobufCBinaryData){ INFOHASH_SIZE, (uint8_t *)(uintptr_t)infohash };
}

/* ---- files ---- */

int transfers_files(struct session *session, const uint8_t *infohash,
                    const Littlebird__V1__ListTransferFilesResponse **ret_files)
{
    Littlebird__V1__ListTransferFilesRequest request =
        LITTLEBIRD__V1__LIST_TRANSFER_FILES_REQUEST__INIT;
    struct client_call call = { .method = "SwarmService/ListTransferFiles",
                                .request = &request.base,
                                .response =
                                    &littlebird__v1__list_transfer_files_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;
    int code;

    request.infohash = bytes_of_infohash(infohash);
    code = session_call(session, &call, &response);
    if (code == EXIT_DONE)
        *ret_files = response;
    return code;
}

static void print_files(const Littlebird__V1__ListTransferFilesResponse *files)
{
    static const struct table_column columns[] = { { "INDEX", true }, { "DONE", true },
                                                   { "SIZE", true },  { "SELECTED", false },
                                                   { "PATH", false }, { NULL, false } };
    struct table *table = table_new(columns);
    char text[UNITS_SIZE];

    for (size_t i = 0; i < files->n_files; i++) {
        const Littlebird__V1__TransferFile *file = files->files[i];

        table_add(table, "%u", file->index);
        table_add(table, "%s", units_percent(file->have_bytes, file->size_bytes, text));
        table_add(table, "%s", units_bytes(file->size_bytes, text));
        table_add(table, "%s", file->selected ? "yes" : "no");
        table_add(table, "%s", file->path);
    }
    table_print(table, stdout);
    table_free(&table);
}

int transfers_print_files(struct session *session, const uint8_t *infohash)
{
    const Littlebird__V1__ListTransferFilesResponse *files;
    int code = transfers_files(session, infohash, &files);

    if (code == EXIT_DONE && session->json)
        json_print(json_of_message(&files->base));
    else if (code == EXIT_DONE)
        print_files(files);
    return code;
}

/* ---- peers ---- */

static void format_time(uint64_t wall_s, char ret_text[UNITS_SIZE])
{
    const time_t time = (time_t)wall_s;
    struct tm parts;

    ret_text[0] = '\0';
    if (wall_s != 0 && localtime_r(&time, &parts) != NULL)
        strftime(ret_text, UNITS_SIZE, "%Y-%m-%d %H:%M:%S", &parts);
}

/* A web seed is a source, not somebody who is to have it. */
static void add_web_seed(struct table *table, const Littlebird__V1__WebSeed *seed)
{
    char text[UNITS_SIZE];

    table_add(table, "%s", seed->host);
    table_add(table, "web seed");
    table_add(table, "%s", "");
    table_add(table, "%s", units_rate(seed->receive_rate, text));
    table_add(table, "%s", "");
    table_add(table, "%s", seed->why);
    for (unsigned i = 0; i < 3; i++)
        table_add(table, "%s", "");
}

static void print_peers(const Littlebird__V1__ListTransferPeersResponse *peers, uint64_t size_bytes)
{
    static const struct table_column columns[] = { { "HOST", false },     { "ADDRESS", false },
                                                   { "DONE", true },      { "IN", true },
                                                   { "OUT", true },       { "WHY", false },
                                                   { "FINISHED", false }, { "VERIFIED", false },
                                                   { "CLIENT", false },   { NULL, false } };
    struct table *table = table_new(columns);
    char text[UNITS_SIZE];

    for (size_t i = 0; i < peers->n_peers; i++) {
        const Littlebird__V1__TransferPeer *peer = peers->peers[i];

        table_add(table, "%s", peer->host);
        table_add(table, "%s", peer->address);
        table_add(table, "%s", units_percent(peer->have_bytes, size_bytes, text));
        table_add(table, "%s", peer->connected ? units_rate(peer->receive_rate, text) : "");
        table_add(table, "%s", peer->connected ? units_rate(peer->send_rate, text) : "");
        table_add(table, "%s", slow_why_text(peer->why));
        format_time(peer->finished_s, text);
        table_add(table, "%s", text);
        table_add(table, "%s", peer->verified ? "yes" : "");
        table_add(table, "%s", peer->client);
    }
    for (size_t i = 0; i < peers->n_web_seeds; i++)
        add_web_seed(table, peers->web_seeds[i]);
    if (peers->n_peers + peers->n_web_seeds > 0)
        table_print(table, stdout);
    table_free(&table);
}

static void print_summary(const Littlebird__V1__ListTransferPeersResponse *peers)
{
    char line[SLOW_LINE_SIZE];

    slow_summary(peers, line);
    printf("%s\n", line);
}

int transfers_print_peers(struct session *session, const uint8_t *infohash)
{
    Littlebird__V1__ListTransferPeersRequest request =
        LITTLEBIRD__V1__LIST_TRANSFER_PEERS_REQUEST__INIT;
    struct client_call call = { .method = "SwarmService/ListTransferPeers",
                                .request = &request.base,
                                .response =
                                    &littlebird__v1__list_transfer_peers_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__ListTransferPeersResponse *peers;
    const Littlebird__V1__Transfer *transfer;
    const void *response;
    uint64_t size_bytes;
    int code = transfers_find(session, infohash, &transfer);

    if (code != EXIT_DONE)
        return code;
    size_bytes = transfer->size_bytes; /* the next call takes the answer's memory */
    request.infohash = bytes_of_infohash(infohash);
    code = session_call(session, &call, &response);
    if (code != EXIT_DONE)
        return code;
    peers = response;
    if (session->json) {
        json_print(json_of_message(&peers->base));
        return EXIT_DONE;
    }
    print_peers(peers, size_bytes);
    print_summary(peers);
    return EXIT_DONE;
}
