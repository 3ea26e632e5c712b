/* littlebird join: this node becomes a member of a private network. */
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/identity.h"
#include "libcommon/pki/enrol.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/input.h"
#include "services/cli/json.h"
#include "services/cli/offline.h"
#include "services/cli/table.h"
#include "services/coordinator/create.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the token ---- */

/* In place: the word of which the text consists; false when it is not one. */
static bool cut_word(char *text)
{
    size_t begin = strspn(text, " \t\r\n"), size = strcspn(text + begin, " \t\r\n");
    bool alone = text[begin + size + strspn(text + begin + size, " \t\r\n")] == '\0';

    memmove(text, text + begin, size);
    text[size] = '\0';
    return alone && size > 0;
}

/* The token is a secret: what it was read into is wiped. */
static int take_token(const struct args *args, struct join_token *ret_token)
{
    char text[JOIN_TOKEN_SIZE + 1];
    uint8_t *data;
    size_t size;
    bool is_word;
    lb_err err = LB_INVALID;
    int code = input_read(args, args->words[0], "token", JOIN_TOKEN_SIZE, &data, &size);

    if (code != EXIT_DONE)
        return code;
    memcpy(text, data, size);
    text[size] = '\0';
    OPENSSL_cleanse(data, size);
    free(data);
    is_word = strlen(text) == size && cut_word(text);
    if (is_word)
        err = join_token_parse(text, ret_token);
    OPENSSL_cleanse(text, sizeof text);
    if (err != LB_OK)
        return args_failed(args,
                           "this is no join token, or one that was cut or mistyped: it is the "
                           "one word that lb-admin invite prints, lb1....");
    return EXIT_DONE;
}

/* ---- joining ---- */

struct joining {
    const struct args *args;
    struct paths paths;
    struct join_token token;
    struct offline_reach reach; /* --coordinator; address "": no */
    bool told;                  /* that it waits */
};

static void tell_pending(void *ctx, const char *fingerprint, unsigned ask_again_s)
{
    struct joining *self = ctx;
    char text[KEY_FINGERPRINT_SIZE];

    if (self->told)
        return;
    self->told = true;
    snprintf(text, sizeof text, "%s", fingerprint);
    table_sanitize(text);
    fprintf(stderr,
            "it waits for approval, under the fingerprint %s\n"
            "    -> on a coordinator: lb-admin members pending shows the same, lb-admin members "
            "approve %s admits it\n"
            "asking again every %u s; Ctrl-C ends this, and the same command goes on from here\n",
            text, text, ask_again_s);
}

static void tell_waiting(void *ctx, const char *why)
{
    char text[sizeof((struct enrol_report *)NULL)->text];

    (void)ctx;
    snprintf(text, sizeof text, "%s", why);
    table_sanitize(text);
    fprintf(stderr, "%s\nasking again for half a minute; Ctrl-C ends this\n", text);
}

static void warn_of_clock(const struct enrol_report *report)
{
    if (report->has_skew && llabs(report->skew_s) > ENROL_SKEW_WARN_S)
        fprintf(stderr,
                "this machine's clock is %lld s %s the coordinator's: set it, or certificates will "
                "not count\n",
                (long long)llabs(report->skew_s), report->skew_s > 0 ? "ahead of" : "behind");
}

static int is_member_already(const struct joining *self)
{
    struct identity identity;
    char id[NODE_ID_TEXT_SIZE];

    if (identity_load(&self->paths, &identity) != LB_OK)
        return args_failed(self->args,
                           "there is an identity already in %s, which is not to be used",
                           self->paths.identity_file);
    node_id_format(&identity.node, id);
    return args_failed(self->args, "this node is a member of %s already, as %s",
                       identity.network_name, id);
}

static int say_joined(const struct joining *self)
{
    struct identity identity;
    char network[2 * NETWORK_ID_SIZE + 1], node[NODE_ID_TEXT_SIZE];
    lb_err err = identity_load(&self->paths, &identity);

    if (err != LB_OK)
        return args_failed(self->args, "cannot read %s: %s", self->paths.identity_file,
                           lb_err_text(err));
    hex_encode(identity.network, NETWORK_ID_SIZE, network);
    node_id_format(&identity.node, node);
    if (args_has(self->args, "json"))
        json_print(json_pack("{s:s, s:s, s:s, s:s}", "network_name", identity.network_name,
                             "network_id", network, "node_id", node, "coordinator",
                             self->reach.address));
    else
        printf("member of %s as %s\n", identity.network_name, node);
    if (self->reach.address[0] != '\0')
        fprintf(stderr,
                "it offers itself as a coordinator at %s once it runs: lb-admin coordinator add %s "
                "--root-key FILE on another one takes it into the group\n",
                self->reach.address, self->reach.address);
    fprintf(stderr, "start it: %s\n", offline_start_text(&self->paths));
    return EXIT_DONE;
}

static int offer(const struct joining *self)
{
    struct create_problem problem = { "" };
    lb_err err;

    if (self->reach.address[0] == '\0')
        return EXIT_DONE;
    err = create_offer(&self->paths, self->reach.address, self->reach.node_port, &problem);
    return err == LB_OK ? EXIT_DONE : args_failed(self->args, "%s", problem.text);
}

static int join(struct joining *self, const struct enrol_limits *limits)
{
    const struct enrol_place place = { .member_folder = self->paths.member_folder,
                                       .identity_file = self->paths.identity_file,
                                       .bootstrap_file = self->paths.bootstrap_file };
    struct enrol_joining joining = {
        .token = self->token, .on_pending = tell_pending, .on_waiting = tell_waiting, .ctx = self
    };
    char host[OFFLINE_HOST_SIZE];
    struct enrol_report report;
    int code;
    lb_err err;

    offline_host_name(host);
    joining.host_name = host;
    err = enrol_join(&place, &joining, limits, &report);
    OPENSSL_cleanse(&joining.token, sizeof joining.token);
    warn_of_clock(&report);
    if (err == LB_EXISTS)
        return is_member_already(self);
    if (err == LB_UNAVAILABLE && report.coordinator[0] == '\0')
        return args_failed(self->args,
                           "no coordinator can be reached: %s; is it on, and does this machine "
                           "reach it at this address, by TCP?",
                           report.text);
    if (err != LB_OK)
        return args_failed(self->args, "%s",
                           report.text[0] != '\0' ? report.text : lb_err_text(err));
    code = offer(self);
    return code == EXIT_DONE ? say_joined(self) : code;
}

static int take_timeout(const struct args *args, struct enrol_limits *ret_limits)
{
    const char *text = args_value(args, "timeout");
    uint64_t timeout_ms;

    if (text == NULL)
        return EXIT_DONE;
    if (config_parse_time(text, &timeout_ms) != LB_OK || timeout_ms == 0)
        return args_usage(args, "--timeout needs a time such as 30s or 5 min, not '%.60s'", text);
    ret_limits->deadline_ms = clock_monotonic_ms() + timeout_ms;
    return EXIT_DONE;
}

int command_join(const struct args *args)
{
    struct enrol_limits limits = { .deadline_ms = UINT64_MAX, .cancel_fd = -1 };
    struct joining self = { .args = args };
    const char *coordinator = args_value(args, "coordinator");
    int code = take_timeout(args, &limits);

    if (code == EXIT_DONE)
        code = offline_paths(args, &self.paths);
    if (code == EXIT_DONE && coordinator != NULL)
        code = offline_reach(args, &self.paths, coordinator, &self.reach);
    if (code == EXIT_DONE)
        code = take_token(args, &self.token);
    if (code == EXIT_DONE)
        code = join(&self, &limits);
    OPENSSL_cleanse(&self.token, sizeof self.token);
    return code;
}
