#include "libcommon/identity.h"
#include "libcommon/options.h"
#include "services/transport/member.h"
#include "services/transport/service.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MEMBER_PROGRAM "/lb-transport-member" /* beside this one */

const struct member_ops *const transport_member = NULL;

static bool is_member(const struct options *options)
{
    struct identity identity;
    struct paths paths;

    /* What goes wrong is found again, and said, by who starts. */
    return options_paths(options, &paths) == LB_OK && identity_load(&paths, &identity) == LB_OK;
}

static void become_member(char **argv)
{
    char program[PATH_MAX + sizeof(MEMBER_PROGRAM)];
    ssize_t size = readlink("/proc/self/exe", program, PATH_MAX);
    char *name;

    if (size > 0) {
        program[size] = '\0';
        name = strrchr(program, '/');
        memcpy(name ? name : program, MEMBER_PROGRAM, sizeof(MEMBER_PROGRAM));
        (void)execv(program, argv);
    }
    fprintf(stderr, "lb-transport: cannot start %s: %s\n", &MEMBER_PROGRAM[1], strerror(errno));
}

int main(int argc, char **argv)
{
    struct options options;
    int exit_code;

    if (!options_parse(&options, "transport", argc, argv, &exit_code))
        return exit_code;
    if (is_member(&options)) {
        become_member(argv);
        return 1;
    }
    return actor_main(&transport_service, argc, argv);
}
