#include "services/cli/input.h"

#include "libcommon/error.h"
#include "libcommon/memory.h"
#include "services/cli/exit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All of standard input, at most one byte more than it may have. */
static lb_err read_all(size_t most, uint8_t **ret_data, size_t *ret_size)
{
    uint8_t *data = xmalloc(most + 1);
    size_t size = 0;

    while (size <= most) {
        ssize_t got = read(STDIN_FILENO, data + size, most + 1 - size);

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

int input_read(const struct args *args, const char *word, const char *what, size_t most,
               uint8_t **ret_data, size_t *ret_size)
{
    uint8_t *data;
    size_t size;

    if (word != NULL && strcmp(word, "-") != 0) {
        size = strlen(word);
        data = xmemdup(word, size + 1);
    } else if (read_all(most, &data, &size) != LB_OK) {
        return args_failed(args, "cannot read standard input: %s", strerror(errno));
    }
    if (size > most) {
        free(data);
        return args_failed(args, "the %s is too big: it may have %zu bytes", what, most);
    }
    *ret_data = data;
    *ret_size = size;
    return EXIT_DONE;
}
