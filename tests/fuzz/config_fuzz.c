/* littlebird.conf, by way of a file in memory; the first line is also taken as an override. */
#include "libcommon/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *file, const char *const *overrides)
{
    struct config_problem problem = { "" };
    struct config *config = NULL;

    if (config_load(&config, file, overrides, &problem) != LB_OK) {
        if (config != NULL || problem.text[0] == '\0')
            abort();
        return;
    }
    for (int key = 0; key < CONFIG_KEYS_COUNT; key++) {
        size_t count = config_list_count(config, (enum config_key)key);

        if (config_text(config, (enum config_key)key) == NULL ||
            (count > 0 && config_list_item(config, (enum config_key)key, count - 1) == NULL))
            abort();
    }
    config_free(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], line[512];
    const char *overrides[] = { line, NULL };
    size_t line_size = strnlen((const char *)data, size < sizeof line - 1 ? size : sizeof line - 1);
    int fd = memfd_create("littlebird.conf", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    load(path, NULL);
    memcpy(line, data, line_size);
    line[line_size] = '\0';
    load(NULL, overrides);
    close(fd);
    return 0;
}
