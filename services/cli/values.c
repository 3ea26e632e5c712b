/* littlebird put and get. */
#include "libcommon/bytes.h"
#include "libcommon/config.h"
#include "libcommon/node_id.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/input.h"
#include "services/cli/json.h"
#include "services/cli/session.h"
#include "services/cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_BYTES_MAX (1024u * 1024)
#define KEY_BYTES_MAX   1024u
#define PUBLIC_KEY_SIZE 32
#define SEQ_MAX         (UINT64_MAX / 2)
#define TTL_MAX_S       (365u * 24 * 3600)

static void print_stored(const struct session *session, const Littlebird__V1__PutResponse *stored)
{
    char target[NODE_ID_TEXT_SIZE] = "", key[2 * PUBLIC_KEY_SIZE + 1] = "";

    if (session->json) {
        json_print(json_of_message(&stored->base));
        return;
    }
    if (stored->target.len == NODE_ID_SIZE)
        hex_encode(stored->target.data, NODE_ID_SIZE, target);
    printf("%s on %u of %u nodes", target, stored->acknowledged, stored->asked);
    if (stored->public_key.len == PUBLIC_KEY_SIZE)
        printf(", sequence number %llu", (unsigned long long)stored->seq);
    if (stored->public_key.len == PUBLIC_KEY_SIZE && args_has(session->args, "own")) {
        hex_encode(stored->public_key.data, PUBLIC_KEY_SIZE, key);
        printf(", public key %s", key);
    }
    printf("\n");
}

static int put(struct session *session, const Littlebird__V1__PutRequest *request)
{
    struct client_call call = {
        .method = "StorageService/Put",
        .request = &request->base,
        .response = &littlebird__v1__put_response__descriptor,
        .timeout_ms = SESSION_TIMEOUT_MS,
        /* A compare-and-set that was carried out would fail the second time. */
        .once = request->compare_case == LITTLEBIRD__V1__PUT_REQUEST__COMPARE_CAS,
    };
    const void *response;
    int code = session_call(session, &call, &response);

    if (code == EXIT_DONE)
        print_stored(session, response);
    return code;
}

/* EXIT_DONE when the API takes it as a key. */
static int check_key(const struct args *args, const char *key)
{
    if (key[0] == '\0')
        return args_usage(args, "the key is empty");
    if (strlen(key) > KEY_BYTES_MAX)
        return args_usage(args, "the key is too long: it may have %u bytes", KEY_BYTES_MAX);
    if (!text_is_utf8((const uint8_t *)key, strlen(key)))
        return args_usage(args, "the key is no UTF-8 text");
    return EXIT_DONE;
}

/* Part of a second is a second more. */
static int take_ttl(const struct args *args, uint32_t *ret_ttl_s)
{
    const char *text = args_value(args, "ttl");
    uint64_t ttl_ms;

    if (text == NULL)
        return EXIT_DONE;
    if (config_parse_time(text, &ttl_ms) != LB_OK)
        return args_usage(args, "--ttl needs a time such as 30s, 5 min, 2h or 7d, not '%s'", text);
    if (ttl_ms < 1000 || ttl_ms > TTL_MAX_S * UINT64_C(1000))
        return args_usage(args, "--ttl: a value lives 1s to 365d, not '%s'", text);
    *ret_ttl_s = (uint32_t)((ttl_ms + 999) / 1000);
    return EXIT_DONE;
}

static int take_cas(const struct args *args, bool *ret_has_cas, uint64_t *ret_cas)
{
    const char *text = args_value(args, "cas");

    *ret_has_cas = text != NULL;
    if (text != NULL && !args_number(text, SEQ_MAX, ret_cas))
        return args_usage(args, "--cas needs a sequence number, not '%s'", text);
    return EXIT_DONE;
}

/* Key and options into the request; the value comes later. EXIT_DONE or EXIT_USAGE. */
static int prepare_put(const struct args *args, Littlebird__V1__PutRequest *request,
                       const char **ret_value)
{
    const char *cas = args_value(args, "cas");
    bool has_cas;
    int code = take_ttl(args, &request->ttl_s);

    if (code != EXIT_DONE)
        return code;
    *ret_value = args->words_count > 1 ? args->words[1] : NULL;
    request->own = args_has(args, "own");
    if (args_has(args, "immutable")) {
        if (args->words_count > 1 || request->own || cas != NULL)
            return args_usage(args, "--immutable goes with a value alone: no key, --own or --cas");
        *ret_value = args->words[0]; /* NULL: none was given */
        return EXIT_DONE;
    }
    if (args->words_count == 0)
        return args_usage(args, "it needs a key");
    code = check_key(args, args->words[0]);
    if (code != EXIT_DONE)
        return code;
    request->key = (char *)(uintptr_t)args->words[0];
    code = take_cas(args, &has_cas, &request->cas);
    if (has_cas)
        request->compare_case = LITTLEBIRD__V1__PUT_REQUEST__COMPARE_CAS;
    return code;
}

static int prepare_remove(const struct args *args, Littlebird__V1__RemoveRequest *request)
{
    bool has_cas;
    int code;

    if (args->words_count != 1 || args_has(args, "immutable") || args_has(args, "ttl"))
        return args_usage(args, "--remove goes with a key alone: no value, --immutable or --ttl");
    code = check_key(args, args->words[0]);
    if (code == EXIT_DONE)
        code = take_cas(args, &has_cas, &request->cas);
    if (code != EXIT_DONE)
        return code;
    request->key = (char *)(uintptr_t)args->words[0];
    request->own = args_has(args, "own");
    if (has_cas)
        request->compare_case = LITTLEBIRD__V1__REMOVE_REQUEST__COMPARE_CAS;
    return EXIT_DONE;
}

static int remove_value(const struct args *args)
{
    Littlebird__V1__RemoveRequest request = LITTLEBIRD__V1__REMOVE_REQUEST__INIT;
    struct client_call call = { .method = "StorageService/Remove",
                                .request = &request.base,
                                .response = &littlebird__v1__remove_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__RemoveResponse *removed;
    const void *response;
    struct session session;
    int code = prepare_remove(args, &request);

    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    call.once = request.compare_case == LITTLEBIRD__V1__REMOVE_REQUEST__COMPARE_CAS;
    code = session_call(&session, &call, &response);
    removed = response;
    if (code == EXIT_DONE && session.json)
        json_print(json_of_message(&removed->base));
    else if (code == EXIT_DONE && removed->asked == 0)
        printf("removed\n"); /* by an earlier try, whose answer was lost */
    else if (code == EXIT_DONE)
        printf("removed on %u of %u nodes, sequence number %llu\n", removed->acknowledged,
               removed->asked, (unsigned long long)removed->seq);
    session_close(&session);
    return code;
}

static int put_value(const struct args *args)
{
    Littlebird__V1__PutRequest request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    struct session session;
    const char *word;
    int code = prepare_put(args, &request, &word);

    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code =
        input_read(args, word, "value", VALUE_BYTES_MAX, &request.value.data, &request.value.len);
    if (code == EXIT_DONE) {
        code = put(&session, &request);
        free(request.value.data);
    }
    session_close(&session);
    return code;
}

int command_put(const struct args *args)
{
    return args_has(args, "remove") ? remove_value(args) : put_value(args);
}

/*
 * Anybody may have put it. A program gets its bytes; a terminal only what it shows and does not
 * obey, and the line end that a short answer lacks.
 */
static int print_value(const struct args *args, const ProtobufCBinaryData *value)
{
    bool terminal = isatty(STDOUT_FILENO) != 0;

    if (terminal && !text_is_harmless(value->data, value->len))
        return args_failed(args,
                           "the value is no plain text (%zu bytes) and not for a terminal: put "
                           "it in a file with > FILE, or see it with --json",
                           value->len);
    fwrite(value->data, 1, value->len, stdout); /* args_main() checks the stream */
    if (terminal && value->len > 0 && value->data[value->len - 1] != '\n')
        putchar('\n');
    return EXIT_DONE;
}

static int get(struct session *session, const Littlebird__V1__GetRequest *request)
{
    struct client_call call = { .method = "StorageService/Get",
                                .request = &request->base,
                                .response = &littlebird__v1__get_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__GetResponse *value;
    const void *response;
    int code = session_call(session, &call, &response);

    if (code != EXIT_DONE)
        return code;
    value = response;
    if (!session->json)
        return print_value(session->args, &value->value);
    json_print(json_of_message(&value->base));
    return EXIT_DONE;
}

/* One version of a watched key; false when nobody reads our output any more. */
static bool print_version(const struct session *session, const Littlebird__V1__GetResponse *value)
{
    if (session->json) {
        json_print(json_of_message(&value->base));
    } else if (value->removed) {
        fprintf(stderr, "removed, sequence number %llu\n", (unsigned long long)value->seq);
    } else if (print_value(session->args, &value->value) == EXIT_DONE) {
        bool ended = isatty(STDOUT_FILENO) != 0 && value->value.len > 0; /* print_value() did */

        if (!ended)
            putchar('\n');
    }
    return fflush(stdout) == 0;
}

/* Nothing new for a minute; or a service is away that its supervisor starts again. */
static bool may_come_again(const struct session *session, lb_err err)
{
    return err == LB_TIMEOUT || (err == LB_UNAVAILABLE && !client_node_is_gone(session->client));
}

/* The first call reads what stands; those after it wait for something newer, a minute at most. */
static int watch(struct session *session, Littlebird__V1__GetRequest *request)
{
    struct client_call call = { .method = "StorageService/Get",
                                .request = &request->base,
                                .response = &littlebird__v1__get_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };

    session_catch_interrupt();
    while (!session_interrupted()) {
        const void *response;
        lb_err err = client_call(session->client, &call, &response);
        bool is_first = request->newer_case == LITTLEBIRD__V1__GET_REQUEST__NEWER__NOT_SET;

        if (err == LB_OK) {
            const Littlebird__V1__GetResponse *value = response;

            if (!print_version(session, value))
                return EXIT_FAILED;
            request->after_seq = value->seq;
        } else if (err == LB_NOT_FOUND && is_first) {
            fprintf(stderr, "%s; waiting for one\n", client_problem(session->client));
        } else if (!session_interrupted() && !may_come_again(session, err)) {
            return session_failed(session, err);
        }
        request->newer_case = LITTLEBIRD__V1__GET_REQUEST__NEWER_AFTER_SEQ;
    }
    return EXIT_DONE;
}

int command_get(const struct args *args)
{
    Littlebird__V1__GetRequest request = LITTLEBIRD__V1__GET_REQUEST__INIT;
    const char *public_key = args_value(args, "public-key");
    uint8_t target[NODE_ID_SIZE], key[PUBLIC_KEY_SIZE];
    struct session session;
    int code;

    if (args_has(args, "immutable")) {
        if (args_has(args, "watch"))
            return args_usage(args, "--watch needs a key: what --immutable names never changes");
        if (hex_decode(args->words[0], target, sizeof target) != LB_OK)
            return args_usage(args, "with --immutable, KEY is 40 hexadecimal digits");
        request.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_TARGET;
        request.target = (ProtobufCBinaryData){ sizeof target, target };
    } else {
        code = check_key(args, args->words[0]);
        if (code != EXIT_DONE)
            return code;
        request.name_case = LITTLEBIRD__V1__GET_REQUEST__NAME_KEY;
        request.key = (char *)(uintptr_t)args->words[0];
    }
    request.own = args_has(args, "own");
    if (request.own && (public_key != NULL || args_has(args, "immutable")))
        return args_usage(args, "--own goes with a key by name alone");
    if (public_key != NULL) {
        if (args_has(args, "immutable") || hex_decode(public_key, key, sizeof key) != LB_OK)
            return args_usage(args, "--public-key needs 64 hexadecimal digits, and a key by name");
        request.public_key = (ProtobufCBinaryData){ sizeof key, key };
    }
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = args_has(args, "watch") ? watch(&session, &request) : get(&session, &request);
    session_close(&session);
    return code;
}
