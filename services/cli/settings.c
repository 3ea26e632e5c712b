#include "services/cli/settings.h"

#include "libcommon/memory.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- of littlebird up ---- */

static void collect(struct settings *self, const struct args *args)
{
    char *listen = args_joined(args, "listen"), *bootstrap = args_joined(args, "bootstrap");
    size_t count = 0;

    for (unsigned i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].name, "set") == 0)
            self->overrides[count++] = xstrdup(args->given[i].value);
    }
    if (listen != NULL)
        self->overrides[count++] = xasprintf("node.listen=%s", listen);
    if (bootstrap != NULL)
        self->overrides[count++] = xasprintf("node.bootstrap=%s", bootstrap);
    if (args_has(args, "client"))
        self->overrides[count++] = xstrdup("node.client=yes");
    free(listen);
    free(bootstrap);
}

static int check(const struct args *args, const char *file, const char *const *overrides)
{
    struct config *config = NULL;
    struct config_problem problem;
    lb_err err = config_load(&config, file, overrides, &problem);

    if (err == LB_OK)
        err = config_check_addresses(config, &problem);
    config_free(&config);
    return err == LB_OK ? EXIT_DONE : args_failed(args, "%s", problem.text);
}

/* The files alone first: a wrong value there is wrong, also when it is overridden today. */
int settings_check(struct settings *ret_self, const struct args *args, const struct paths *paths)
{
    int code = check(args, paths->config_file, NULL);

    *ret_self = (struct settings){ { NULL } };
    collect(ret_self, args);
    if (code == EXIT_DONE)
        code = check(args, paths->config_file, (const char *const *)ret_self->overrides);
    return code;
}

void settings_done(struct settings *self)
{
    for (size_t i = 0; i < SETTINGS_OVERRIDES_MAX; i++)
        free(self->overrides[i]);
}

/* ---- lb-admin config ---- */

static int load(const struct args *args, const char *file, struct config **ret_config)
{
    struct config *config = NULL;
    struct config_problem problem;
    lb_err err = config_load(&config, file, NULL, &problem);

    if (err == LB_OK)
        err = config_check_addresses(config, &problem);
    if (err == LB_OK) {
        *ret_config = config;
        return EXIT_DONE;
    }
    config_free(&config);
    (void)args_failed(args, "%s", problem.text);
    return EXIT_CONFIG;
}

int command_config_check(const struct args *args)
{
    const char *file = args->words_count > 0 ? args->words[0] : NULL;
    struct config *config = NULL;
    struct paths paths;
    int code = EXIT_DONE;

    if (file == NULL)
        code = session_paths(args, &paths);
    else if (access(file, R_OK) != 0) {
        (void)args_failed(args, "%s: %s", file, strerror(errno));
        return EXIT_CONFIG;
    }
    if (code == EXIT_DONE)
        code = load(args, file != NULL ? file : paths.config_file, &config);
    if (code == EXIT_DONE)
        printf("%s: correct%s\n", file != NULL ? file : paths.config_file,
               access(file != NULL ? file : paths.config_file, F_OK) == 0
                   ? ""
                   : " (there is none: the defaults hold)");
    config_free(&config);
    return code;
}

static void show_json(const struct config *config)
{
    json_t *keys = json_array();

    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        enum config_key key = (enum config_key)i;
        json_t *entry = json_object();

        json_object_set_new(entry, "section", json_text(config_section_name(key)));
        json_object_set_new(entry, "key", json_text(config_key_name(key)));
        json_object_set_new(entry, "value", json_text(config_text(config, key)));
        json_object_set_new(entry, "origin", json_text(config_origin(config, key)));
        json_array_append_new(keys, entry);
    }
    json_print(json_pack("{s:o}", "settings", keys));
}

static void show_text(const struct config *config, bool with_origin)
{
    const char *section = "";

    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        enum config_key key = (enum config_key)i;

        if (strcmp(section, config_section_name(key)) != 0) {
            section = config_section_name(key);
            printf("%s[%s]\n", i > 0 ? "\n" : "", section);
        }
        if (with_origin)
            printf("# %s\n", config_origin(config, key));
        printf("%s = %s\n", config_key_name(key), config_text(config, key));
    }
}

int command_config_show(const struct args *args)
{
    struct config *config = NULL;
    struct paths paths;
    int code = session_paths(args, &paths);

    if (code == EXIT_DONE)
        code = load(args, paths.config_file, &config);
    if (code != EXIT_DONE)
        return code;
    if (args_has(args, "json"))
        show_json(config);
    else
        show_text(config, args_has(args, "origin"));
    config_free(&config);
    return EXIT_DONE;
}
