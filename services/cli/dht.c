/* lb-admin peers, table and lookup. */
#include "libcommon/bytes.h"
#include "libcommon/node_id.h"
#include "proto/littlebird/v1/dht.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/table.h"
#include "services/cli/text.h"
#include "services/cli/transfers.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <string.h>

static void format_id(const ProtobufCBinaryData *id, char ret_text[NODE_ID_TEXT_SIZE])
{
    ret_text[0] = '\0';
    if (id->len == NODE_ID_SIZE)
        hex_encode(id->data, NODE_ID_SIZE, ret_text);
}

/* ---- table ---- */

static int get_table(struct session *session, const Littlebird__V1__GetTableResponse **ret_table)
{
    Littlebird__V1__GetTableRequest request = LITTLEBIRD__V1__GET_TABLE_REQUEST__INIT;
    struct client_call call = { .method = "DhtService/GetTable",
                                .request = &request.base,
                                .response = &littlebird__v1__get_table_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;
    int code = session_call(session, &call, &response);

    if (code == EXIT_DONE)
        *ret_table = response;
    return code;
}

static void print_routing_table(const Littlebird__V1__GetTableResponse *routing)
{
    static const struct table_column columns[] = { { "BUCKET", true },   { "STATE", false },
                                                   { "ADDRESS", false }, { "RTT", true },
                                                   { "HEARD", true },    { "AGE", true },
                                                   { "NODE", false },    { NULL, false } };
    struct table *table = table_new(columns);
    char id[NODE_ID_TEXT_SIZE], text[UNITS_SIZE];

    format_id(&routing->node_id, id);
    printf("node %s, %zu contact%s, %s\n", id, routing->n_nodes, text_plural(routing->n_nodes),
           routing->joined ? "joined" : "not joined");
    for (size_t i = 0; i < routing->n_nodes; i++) {
        const Littlebird__V1__DhtNode *node = routing->nodes[i];

        format_id(&node->node_id, id);
        table_add(table, "%u", node->bucket);
        table_add(table, "%s", node->state);
        table_add(table, "%s", node->address);
        table_add(table, "%.1f ms", (double)node->rtt_us / 1000);
        table_add(table, "%s", units_duration(node->last_answer_s, text));
        table_add(table, "%s", units_duration(node->age_s, text));
        table_add(table, "%s", id);
    }
    if (routing->n_nodes > 0)
        table_print(table, stdout);
    table_free(&table);
}

int command_table(const struct args *args)
{
    const Littlebird__V1__GetTableResponse *table;
    struct session session;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = get_table(&session, &table);
    if (code == EXIT_DONE && session.json)
        json_print(json_of_message(&table->base));
    else if (code == EXIT_DONE)
        print_routing_table(table);
    session_close(&session);
    return code;
}

/* ---- lookup ---- */

static void print_found(const Littlebird__V1__LookupResponse *found)
{
    static const struct table_column columns[] = { { "ADDRESS", false },
                                                   { "NODE", false },
                                                   { NULL, false } };
    struct table *table = table_new(columns);
    char id[NODE_ID_TEXT_SIZE];

    for (size_t i = 0; i < found->n_closest; i++) {
        format_id(&found->closest[i]->node_id, id);
        table_add(table, "%s", found->closest[i]->address);
        table_add(table, "%s", id);
    }
    table_print(table, stdout);
    table_free(&table);
    printf("%zu node%s, nearest first; %u quer%s, %u answer%s, %u round%s, %u ms\n",
           found->n_closest, text_plural(found->n_closest), found->queries,
           found->queries == 1 ? "y" : "ies", found->answers, text_plural(found->answers),
           found->rounds, text_plural(found->rounds), found->elapsed_ms);
}

int command_lookup(const struct args *args)
{
    Littlebird__V1__LookupRequest request = LITTLEBIRD__V1__LOOKUP_REQUEST__INIT;
    struct client_call call = { .method = "DhtService/Lookup",
                                .request = &request.base,
                                .response = &littlebird__v1__lookup_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    uint8_t target[NODE_ID_SIZE];
    struct session session;
    const void *response;
    int code;

    if (hex_decode(args->words[0], target, sizeof target) != LB_OK)
        return args_usage(args, "a target has 40 hexadecimal digits, not '%.60s'", args->words[0]);
    request.target = (ProtobufCBinaryData){ sizeof target, target };
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = session_call(&session, &call, &response);
    if (code == EXIT_DONE && session.json)
        json_print(json_of_message(response));
    else if (code == EXIT_DONE)
        print_found(response);
    session_close(&session);
    return code;
}

/* ---- peers ---- */

static size_t count_good(const Littlebird__V1__GetTableResponse *table)
{
    size_t good = 0;

    for (size_t i = 0; i < table->n_nodes; i++)
        good += strcmp(table->nodes[i]->state, "good") == 0;
    return good;
}

static json_t *json_of_peers(const Littlebird__V1__Transfer *transfer)
{
    char infohash[NODE_ID_TEXT_SIZE];

    format_id(&transfer->infohash, infohash);
    return json_pack(
        "{s:s, s:o, s:I, s:I, s:I, s:I}", "infohash", infohash, "name", json_text(transfer->name),
        "peers", (json_int_t)transfer->peers, "seeds", (json_int_t)transfer->seeds, "receive_rate",
        (json_int_t)transfer->receive_rate, "send_rate", (json_int_t)transfer->send_rate);
}

static void print_peers(const Littlebird__V1__ListTransfersResponse *list)
{
    static const struct table_column columns[] = { { "TRANSFER", false }, { "PEERS", true },
                                                   { "SEEDS", true },     { "IN", true },
                                                   { "OUT", true },       { NULL, false } };
    struct table *table = table_new(columns);
    char text[UNITS_SIZE];

    for (size_t i = 0; i < list->n_transfers; i++) {
        const Littlebird__V1__Transfer *transfer = list->transfers[i];

        table_add(table, "%s", transfer->name);
        table_add(table, "%u", transfer->peers);
        table_add(table, "%u", transfer->seeds);
        table_add(table, "%s", units_rate(transfer->receive_rate, text));
        table_add(table, "%s", units_rate(transfer->send_rate, text));
    }
    table_print(table, stdout);
    table_free(&table);
}

static int show_peers(struct session *session)
{
    const Littlebird__V1__ListTransfersResponse *list;
    const Littlebird__V1__GetTableResponse *table;
    size_t nodes, good;
    json_t *transfers;
    int code = get_table(session, &table);

    if (code != EXIT_DONE)
        return code;
    nodes = table->n_nodes;
    good = count_good(table); /* the next call takes its memory */
    code = transfers_list(session, NULL, &list);
    if (code != EXIT_DONE)
        return code;
    if (!session->json) {
        printf("DHT: %zu contact%s, %zu good (lb-admin table shows them)\n", nodes,
               text_plural(nodes), good);
        if (list->n_transfers > 0)
            print_peers(list);
        return EXIT_DONE;
    }
    transfers = json_array();
    for (size_t i = 0; i < list->n_transfers; i++)
        json_array_append_new(transfers, json_of_peers(list->transfers[i]));
    json_print(json_pack("{s:I, s:I, s:o}", "dht_contacts", (json_int_t)nodes, "dht_good",
                         (json_int_t)good, "transfers", transfers));
    return EXIT_DONE;
}

int command_peers(const struct args *args)
{
    struct session session;
    int code = session_open(&session, args);

    if (code != EXIT_DONE)
        return code;
    code = show_peers(&session);
    session_close(&session);
    return code;
}
