#include "services/cli/confirm.h"

#include "services/cli/exit.h"
#include "services/cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int confirm(const struct args *args, const char *format, ...)
{
    char text[512], answer[16] = "";
    va_list arguments;

    if (args_has(args, "yes") || isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0)
        return EXIT_DONE;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    table_sanitize(text);
    fprintf(stderr, "%s\nType yes to go on: ", text);
    if (fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0)
        return EXIT_DONE;
    return args_failed(args, "nothing was done");
}
