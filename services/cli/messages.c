/* littlebird send and inbox: private messages among members. */
#include "libcommon/bytes.h"
#include "libcommon/config.h"
#include "libcommon/memory.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/input.h"
#include "services/cli/json.h"
#include "services/cli/members.h"
#include "services/cli/text.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES_MAX      (32u * 1024)
#define KEEP_S_MAX          (30u * 24 * 3600)
#define FOLLOW_WAIT_MS      20000u
#define MESSAGE_NUMBERS_MAX 500 /* of one answer: proto/littlebird/v1/network.proto */

/* ---- send ---- */

static int take_keep(const struct args *args, uint32_t *ret_keep_s)
{
    const char *text = args_value(args, "keep");
    uint64_t keep_ms;

    if (text == NULL)
        return EXIT_DONE;
    if (config_parse_time(text, &keep_ms) != LB_OK || keep_ms < 1000 ||
        keep_ms > KEEP_S_MAX * UINT64_C(1000))
        return args_usage(args, "--keep needs a time from 1s to 30d, not '%.60s'", text);
    *ret_keep_s = (uint32_t)((keep_ms + 999) / 1000);
    return EXIT_DONE;
}

/* By the beginning of its id only where the list of members is: nobody else knows that no other
 * begins so. */
static int find_recipient(struct session *session, const struct member_name *name,
                          struct node_id *ret_node)
{
    struct member_found member;
    int code;

    if (name->is_whole) {
        *ret_node = name->node;
        return EXIT_DONE;
    }
    code = members_find(session, name, &member);
    if (code == EXIT_DONE)
        *ret_node = member.node;
    else if (code == EXIT_FAILED)
        (void)args_failed(session->args,
                          "only a coordinator knows whose id begins with %s: give all 40 digits",
                          name->digits);
    return code;
}

static void print_sent(const struct session *session,
                       const Littlebird__V1__SendMessageResponse *sent)
{
    if (session->json)
        json_print(json_of_message(&sent->base));
    else if (sent->delivered)
        printf("delivered\n");
    else
        printf("it is away; %u node%s keep%s the message for it, sealed\n", sent->holders,
               text_plural(sent->holders), sent->holders == 1 ? "s" : "");
}

static int send_message(struct session *session, const struct member_name *name,
                        Littlebird__V1__SendMessageRequest *request)
{
    struct client_call call = { .method = "NetworkService/SendMessage",
                                .request = &request->base,
                                .response = &littlebird__v1__send_message_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS,
                                .once = true }; /* sent twice it arrives twice */
    struct node_id node;
    const void *response;
    int code = find_recipient(session, name, &node);

    if (code != EXIT_DONE)
        return code;
    request->node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, node.bytes };
    code = session_call(session, &call, &response);
    if (code == EXIT_DONE)
        print_sent(session, response);
    return code;
}

int command_send(const struct args *args)
{
    Littlebird__V1__SendMessageRequest request = LITTLEBIRD__V1__SEND_MESSAGE_REQUEST__INIT;
    struct member_name name;
    struct session session;
    int code = take_keep(args, &request.keep_s);

    if (code != EXIT_DONE)
        return code;
    if (!member_name_parse(args->words[0], &name))
        return args_usage(args, "'%.60s' is no node id: it has 40 hexadecimal digits",
                          args->words[0]);
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = input_read(args, args->words_count > 1 ? args->words[1] : NULL, "message",
                      TEXT_BYTES_MAX, &request.text.data, &request.text.len);
    if (code == EXIT_DONE && request.text.len == 0)
        code = args_failed(args, "the message is empty");
    if (code == EXIT_DONE)
        code = send_message(&session, &name, &request);
    free(request.text.data);
    session_close(&session);
    return code;
}

/* ---- inbox ---- */

/* As it was sent, and as text when it is text. */
static void print_json(const Littlebird__V1__ReadMessageResponse *mail)
{
    json_t *object = json_of_message(&mail->message->base), *text, *whole;

    whole = json_of_message(&mail->base);
    json_object_set(object, "text", json_object_get(whole, "text"));
    json_decref(whole);
    text = mail->text.len == 0 ? json_string("")
           : text_is_utf8(mail->text.data, mail->text.len)
               ? json_stringn((const char *)mail->text.data, mail->text.len)
               : json_null();
    json_object_set_new(object, "utf8", text);
    json_print(object);
}

/* Each line of it is indented: none can look like the head of another message. */
static void print_text(const ProtobufCBinaryData *text)
{
    uint8_t *copy = xmalloc(text->len + 1);
    char *rest = (char *)copy;

    if (text->len > 0)
        memcpy(copy, text->data, text->len);
    text_make_harmless(copy, text->len);
    copy[text->len] = '\0';
    while (rest != NULL && *rest != '\0')
        printf("    %s\n", strsep(&rest, "\n"));
    free(copy);
}

static void print_mail(const Littlebird__V1__ReadMessageResponse *mail)
{
    const Littlebird__V1__Message *message = mail->message;
    char sender[NODE_ID_TEXT_SIZE] = "?", sent[UNITS_SIZE], received[UNITS_SIZE];

    if (message->sender.len == NODE_ID_SIZE)
        hex_encode(message->sender.data, NODE_ID_SIZE, sender);
    printf("%llu  from %s  sent %s, received %s\n", (unsigned long long)message->number, sender,
           units_moment(message->sent_s, sent), units_moment(message->received_s, received));
    print_text(&mail->text);
}

/* One that is removed meanwhile is nobody's concern. */
static int show_mail(struct session *session, uint64_t number)
{
    Littlebird__V1__ReadMessageRequest request = LITTLEBIRD__V1__READ_MESSAGE_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/ReadMessage",
                                .request = &request.base,
                                .response = &littlebird__v1__read_message_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const Littlebird__V1__ReadMessageResponse *mail;
    const void *response;
    lb_err err;

    request.number = number;
    err = client_call(session->client, &call, &response);
    if (err == LB_NOT_FOUND)
        return EXIT_DONE;
    if (err != LB_OK)
        return session_failed(session, err);
    mail = response;
    if (mail->message == NULL)
        return args_failed(session->args, "the answer is malformed");
    if (session->json)
        print_json(mail);
    else
        print_mail(mail);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* Those of one answer; *after is the last one's number then. */
static int show_page(struct session *session, const Littlebird__V1__ListMessagesResponse *page,
                     uint64_t *after)
{
    uint64_t numbers[MESSAGE_NUMBERS_MAX];
    size_t count = page->n_messages < MESSAGE_NUMBERS_MAX ? page->n_messages : MESSAGE_NUMBERS_MAX;
    int code = EXIT_DONE;

    for (size_t i = 0; i < count; i++) /* the next answer takes its memory */
        numbers[i] = page->messages[i]->number;
    for (size_t i = 0; i < count && code == EXIT_DONE && !session_interrupted(); i++) {
        code = show_mail(session, numbers[i]);
        *after = numbers[i];
    }
    return code;
}

/* A service is away that its supervisor starts again. */
static bool may_come_again(const struct session *session, lb_err err)
{
    return err == LB_TIMEOUT || (err == LB_UNAVAILABLE && !client_node_is_gone(session->client));
}

static int show_inbox(struct session *session, bool follow)
{
    Littlebird__V1__ListMessagesRequest request = LITTLEBIRD__V1__LIST_MESSAGES_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/ListMessages",
                                .request = &request.base,
                                .response = &littlebird__v1__list_messages_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    bool more = true;
    int code = EXIT_DONE;

    while (code == EXIT_DONE && (more || follow) && !session_interrupted()) {
        const Littlebird__V1__ListMessagesResponse *page;
        const void *response;
        lb_err err;

        request.wait_ms = more ? 0 : FOLLOW_WAIT_MS;
        err = client_call(session->client, &call, &response);
        if (err != LB_OK && follow && !session_interrupted() && may_come_again(session, err))
            continue;
        if (err != LB_OK)
            return session_interrupted() ? EXIT_DONE : session_failed(session, err);
        page = response;
        more = page->more && page->n_messages > 0;
        code = show_page(session, page, &request.after);
    }
    return code;
}

static int remove_mail(struct session *session, uint64_t number)
{
    Littlebird__V1__RemoveMessageRequest request = LITTLEBIRD__V1__REMOVE_MESSAGE_REQUEST__INIT;
    struct client_call call = { .method = "NetworkService/RemoveMessage",
                                .request = &request.base,
                                .response = &littlebird__v1__remove_message_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;

    request.number = number;
    return session_call(session, &call, &response);
}

int command_inbox(const struct args *args)
{
    const char *remove_text = args_value(args, "remove");
    uint64_t number = 0;
    struct session session;
    int code;

    if (remove_text != NULL &&
        (!args_number(remove_text, UINT64_MAX, &number) || args_has(args, "follow")))
        return args_usage(args, "--remove needs the number of a message, and no --follow");
    code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    if (args_has(args, "follow"))
        session_catch_interrupt();
    code = remove_text != NULL ? remove_mail(&session, number)
                               : show_inbox(&session, args_has(args, "follow"));
    session_close(&session);
    return code;
}
