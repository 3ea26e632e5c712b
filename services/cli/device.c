#include "services/cli/device.h"

#include "services/cli/exit.h"
#include "services/cli/table.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR_BYTES 512u /* of sysfs, whatever the device has */

/* The first line of a file of sysfs without blanks around it; "" when there is none. */
static void read_line(dev_t number, const char *name, char *ret_text, size_t size)
{
    char path[128];
    FILE *file;

    ret_text[0] = '\0';
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s", major(number), minor(number), name);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(ret_text, (int)size, file) == NULL)
        ret_text[0] = '\0';
    fclose(file);
    for (size_t used = strlen(ret_text); used > 0 && strchr(" \n", ret_text[used - 1]) != NULL;
         used--)
        ret_text[used - 1] = '\0';
    memmove(ret_text, ret_text + strspn(ret_text, " "),
            strlen(ret_text + strspn(ret_text, " ")) + 1);
}

void device_describe(const char *path, dev_t number, char ret_line[DEVICE_LINE_SIZE])
{
    char sectors[32], model[64], size[UNITS_SIZE] = "";
    uint64_t count;

    read_line(number, "size", sectors, sizeof sectors);
    read_line(number, "device/model", model, sizeof model);
    if (model[0] == '\0')
        read_line(number, "../device/model", model, sizeof model); /* of a partition */
    if (args_number(sectors, UINT64_MAX / SECTOR_BYTES, &count))
        units_bytes(count * SECTOR_BYTES, size);
    snprintf(ret_line, DEVICE_LINE_SIZE, "%.100s%s%s%s%s%s", path,
             size[0] != '\0' || model[0] != '\0' ? " (" : "", size,
             size[0] != '\0' && model[0] != '\0' ? ", " : "", model,
             size[0] != '\0' || model[0] != '\0' ? ")" : "");
    table_sanitize(ret_line);
}

int device_confirm(const struct args *args, const char *path, dev_t number)
{
    char line[DEVICE_LINE_SIZE], answer[16] = "";

    device_describe(path, number, line);
    if (args_has(args, "yes"))
        return EXIT_DONE;
    if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0)
        return args_usage(args,
                          "%s is a block device: all that is on it would be lost; --yes says "
                          "that this is meant",
                          line);
    fprintf(stderr, "%s\nAll that is on it will be lost. Type yes to go on: ", line);
    if (fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0)
        return EXIT_DONE;
    return args_failed(args, "nothing was written");
}
