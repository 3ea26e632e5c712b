/* littlebird put and get. */
#include "libcommon/bytes.h"
#include "libcommon/memory.h"
#include "libcommon/node_id.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/session.h"
#include "services/cli/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_BYTES_MAX (1024u * 1024)
#define KEY_BYTES_MAX   1024u
#define PUBLIC_KEY_SIZE 32
#define SEQ_MAX         (UINT64_MAX / 2)

/* All of standard input, at most one byte more than a value may have. */
static lb_err read_input(uint8_t **ret_data, size_t *ret_size)
{
    uint8_t *data = xmalloc(VALUE_BYTES_MAX + 1);
    size_t size = 0;

    while (size <= VALUE_BYTES_MAX) {
        ssize_t got = read(STDIN_FILENO, data + size, VALUE_BYTES_MAX + 1 - size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(data);
            return LB_IO;
        }
        if (got == 0)
            break;
        size += (size_t)got;
    }
    *ret_data = data;
    *ret_size = size;
    return LB_OK;
}

/* word: NULL or "-" is standard input. */
static int read_value(const struct args *args, const char *word, uint8_t **ret_data,
                      size_t *ret_size)
{
    uint8_t *data;
    size_t size;

    if (word != NULL && strcmp(word, "-") != 0) {
        size = strlen(word);
        data = xmemdup(word, size + 1);
    } else if (read_input(&data, &size) != LB_OK) {
        return args_failed(args, "cannot read standard input: %s", strerror(errno));
    }
    if (size > VALUE_BYTES_MAX) {
        free(data);
        return args_failed(args, "the value is too big: it may have %u bytes", VALUE_BYTES_MAX);
    }
    *ret_data = data;
    *ret_size = size;
    return EXIT_DONE;
}

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

/* Key and options into the request; the value comes later. EXIT_DONE or EXIT_USAGE. */
static int prepare_put(const struct args *args, Littlebird__V1__PutRequest *request,
                       const char **ret_value)
{
    const char *cas = args_value(args, "cas");

    int code;

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
    if (cas != NULL) {
        if (!args_number(cas, SEQ_MAX, &request->cas))
            return args_usage(args, "--cas needs a sequence number, not '%s'", cas);
        request->compare_case = LITTLEBIRD__V1__PUT_REQUEST__COMPARE_CAS;
    }
    return EXIT_DONE;
}

int command_put(const struct args *args)
{
    Littlebird__V1__PutRequest request = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    struct session session;
    const char *word;
    int code = prepare_put(args, &request, &word);

    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = read_value(args, word, &request.value.data, &request.value.len);
    if (code == EXIT_DONE) {
        code = put(&session, &request);
        free(request.value.data);
    }
    session_close(&session);
    return code;
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

int command_get(const struct args *args)
{
    Littlebird__V1__GetRequest request = LITTLEBIRD__V1__GET_REQUEST__INIT;
    const char *public_key = args_value(args, "public-key");
    uint8_t target[NODE_ID_SIZE], key[PUBLIC_KEY_SIZE];
    struct session session;
    int code;

    if (args_has(args, "immutable")) {
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
    if (public_key != NULL) {
        if (args_has(args, "immutable") || hex_decode(public_key, key, sizeof key) != LB_OK)
            return args_usage(args, "--public-key needs 64 hexadecimal digits, and a key by name");
        request.public_key = (ProtobufCBinaryData){ sizeof key, key };
    }
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = get(&session, &request);
    session_close(&session);
    return code;
}
