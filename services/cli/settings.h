/* The configuration as the programs for people check and show it. */
#pragma once

#include "libcommon/config.h"
#include "libcommon/paths.h"
#include "services/cli/args.h"

#define SETTINGS_OVERRIDES_MAX (ARGS_GIVEN_MAX + 2)

/* What --listen, --bootstrap, --client and --set ask for, as overrides of the configuration. */
struct settings {
    char *overrides[SETTINGS_OVERRIDES_MAX + 1]; /* NULL-terminated */
};

/* Collect them and check the whole configuration with them; what is wrong is said on stderr. */
int settings_check(struct settings *ret_self, const struct args *args, const struct paths *paths);
void settings_done(struct settings *self);
