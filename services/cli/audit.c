/* lb-admin audit keys. */
#include "libcommon/bytes.h"
#include "libcommon/node_id.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/session.h"
#include "services/cli/table.h"
#include "services/cli/text.h"

#include <stdio.h>

#define SHOWN_MAX 20u /* rows of the table */
#define AUDIT_TIMEOUT_MS                                                                           \
    (60u * 60 * 1000) /* a lookup for each of, perhaps, many thousand values                       \
                       */

static bool is_well(const Littlebird__V1__AuditKeysResponse *audit)
{
    return audit->short_count == 0 && audit->overdue == 0 && audit->failed == 0;
}

static void print_short(const Littlebird__V1__AuditKeysResponse *audit)
{
    static const struct table_column columns[] = {
        { "REPLICAS", true }, { "SEQ", true }, { "TARGET", false }, { NULL, false }
    };
    struct table *table = table_new(columns);
    size_t rows = 0;

    for (size_t i = 0; i < audit->n_keys; i++) {
        const Littlebird__V1__AuditedKey *key = audit->keys[i];
        char target[NODE_ID_TEXT_SIZE] = "";

        if (key->replicas >= audit->wanted || rows == SHOWN_MAX)
            break; /* those with the fewest come first */
        if (key->target.len == NODE_ID_SIZE)
            hex_encode(key->target.data, NODE_ID_SIZE, target);
        table_add(table, "%u", key->replicas);
        table_add(table, "%llu", (unsigned long long)key->seq);
        table_add(table, "%s", target);
        rows++;
    }
    if (rows > 0)
        table_print(table, stdout);
    table_free(&table);
    if (rows > 0 && audit->short_count > rows)
        printf("and %zu more; --json lists up to 100\n", (size_t)audit->short_count - rows);
}

static void print_advice(const Littlebird__V1__AuditKeysResponse *audit)
{
    if (audit->short_count > 0)
        printf("Every holder checks its values within the hour and stores what lacks; look again "
               "then.\nIf it stays so, see with lb-admin table whether this node reaches the "
               "others.\n");
    if (audit->overdue > 0)
        printf("This node is behind with its checks: see lb-admin status and the log of "
               "lb-storage.\n");
    if (audit->failed > 0)
        printf("Some could not be counted: is the node joined? (lb-admin table)\n");
}

static void print_audit(const Littlebird__V1__AuditKeysResponse *audit)
{
    if (audit->held == 0) {
        printf("this node holds no value for the network\n");
        return;
    }
    printf("%u value%s held, %u counted: %u replica%s wanted of each, the fewest %u, the median "
           "%u\n",
           audit->held, text_plural(audit->held), audit->counted, audit->wanted,
           text_plural(audit->wanted), audit->replicas_min, audit->replicas_median);
    printf("%u with fewer, %u overdue for a check, %u not counted: %s\n", audit->short_count,
           audit->overdue, audit->failed, is_well(audit) ? "well" : "degraded");
    print_short(audit);
    print_advice(audit);
}

int command_audit_keys(const struct args *args)
{
    Littlebird__V1__AuditKeysRequest request = LITTLEBIRD__V1__AUDIT_KEYS_REQUEST__INIT;
    struct client_call call = { .method = "StorageService/AuditKeys",
                                .request = &request.base,
                                .response = &littlebird__v1__audit_keys_response__descriptor,
                                .timeout_ms = AUDIT_TIMEOUT_MS };
    const char *sample = args_value(args, "sample");
    const Littlebird__V1__AuditKeysResponse *audit;
    const void *response;
    struct session session;
    uint64_t sample_max = 0;
    int code;

    if (sample != NULL && (!args_number(sample, UINT32_MAX, &sample_max) || sample_max == 0))
        return args_usage(args, "--sample needs a number from 1, not '%s'", sample);
    request.sample_max = (uint32_t)sample_max;
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    session_catch_interrupt();
    code = session_call(&session, &call, &response);
    audit = response;
    if (code == EXIT_DONE && session.json)
        json_print(json_of_message(&audit->base));
    else if (code == EXIT_DONE)
        print_audit(audit);
    if (code == EXIT_DONE && !is_well(audit))
        code = EXIT_FAILED;
    session_close(&session);
    return code;
}
