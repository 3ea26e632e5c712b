#include "libcommon/options.h"

#include "libcommon/status_page.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define EXIT_USAGE 2

static void print_help(const char *service)
{
    printf("lb-%s %s: the %s service of a Littlebird node; littlebird up starts it.\n"
           "usage: lb-%s [--dir D | --system] [--instance N] [--set section.key=value]...\n"
           "  --dir D                  the node's folder\n"
           "  --system                 the system's node (/etc, /var/lib and /run/littlebird)\n"
           "  --instance N             which of several, from 0\n"
           "  --set section.key=value  override the configuration\n"
           "  --help, --version\n",
           service, LB_VERSION, service, service);
}

static bool usage_error(const char *service, const char *what, const char *value, int *ret_exit)
{
    fprintf(stderr, "lb-%s: %s%s%s (--help shows what there is)\n", service, what,
            value[0] != '\0' ? ": " : "", value);
    *ret_exit = EXIT_USAGE;
    return false;
}

static bool parse_instance(const char *text, unsigned *ret_instance)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number >= STATUS_INSTANCES_MAX)
        return false;
    *ret_instance = (unsigned)number;
    return true;
}

bool options_parse(struct options *ret_self, const char *service, int argc, char **argv,
                   int *ret_exit)
{
    static const struct option long_options[] = { { "dir", required_argument, NULL, 'd' },
                                                  { "system", no_argument, NULL, 's' },
                                                  { "instance", required_argument, NULL, 'i' },
                                                  { "set", required_argument, NULL, 'S' },
                                                  { "help", no_argument, NULL, 'h' },
                                                  { "version", no_argument, NULL, 'V' },
                                                  { NULL, 0, NULL, 0 } };
    unsigned overrides_count = 0;
    int option;

    *ret_self = (struct options){ .dir = NULL };
    optind = 0; /* begin anew: also for a second actor in one process */
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'd':
            ret_self->dir = optarg;
            break;
        case 's':
            ret_self->system = true;
            break;
        case 'i':
            if (!parse_instance(optarg, &ret_self->instance))
                return usage_error(service, "--instance needs a number from 0 to 15", optarg,
                                   ret_exit);
            break;
        case 'S':
            if (overrides_count == OPTIONS_SET_MAX)
                return usage_error(service, "too many --set", optarg, ret_exit);
            ret_self->overrides[overrides_count++] = optarg;
            break;
        case 'h':
            print_help(service);
            *ret_exit = 0;
            return false;
        case 'V':
            printf("lb-%s %s\n", service, LB_VERSION);
            *ret_exit = 0;
            return false;
        default:
            return usage_error(service, "unknown option or missing value", argv[optind - 1],
                               ret_exit);
        }
    }
    if (optind < argc)
        return usage_error(service, "unexpected argument", argv[optind], ret_exit);
    if (ret_self->dir != NULL && ret_self->system)
        return usage_error(service, "--dir and --system exclude each other", "", ret_exit);
    return true;
}

lb_err options_paths(const struct options *self, struct paths *ret_paths)
{
    if (!self->system)
        return paths_find(ret_paths, self->dir);
    paths_system(ret_paths);
    return LB_OK;
}
