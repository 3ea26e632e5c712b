#include "services/supervisor/hidden.h"

#include "libcommon/paths.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_LINE_MAX 16384 /* bytes; --dir stands before what --set says */

/* /proc/PID itself is root's when the process is hidden. */
static bool is_of_our_user(pid_t pid)
{
    char path[64], line[256];
    unsigned uid = 0;
    bool found = false;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        found = sscanf(line, "Uid: %u", &uid) == 1;
    }
    if (file) {
        fclose(file);
    }
    return found && uid == getuid();
}

/* Its arguments, each with its NUL; 0: none. */
static size_t read_command_line(pid_t pid, char ret_text[COMMAND_LINE_MAX])
{
    char path[64];
    ssize_t size;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    size = read(fd, ret_text, COMMAND_LINE_MAX - 1);
    close(fd);
    if (size <= 0) {
        return 0;
    }
    ret_text[size] = '\0';
    return (size_t)size;
}

/* What follows --dir; NULL: nothing does. */
static const char *find_dir(const char *text, size_t size)
{
    for (const char *at = text; at < text + size; at += strlen(at) + 1) {
        if (strcmp(at, "--dir") == 0) {
            at += strlen(at) + 1;
            return at < text + size ? at : NULL;
        }
    }
    return NULL;
}

bool hidden_is_of(pid_t pid, const char *notify_socket)
{
    char text[COMMAND_LINE_MAX];
    size_t size = is_of_our_user(pid) ? read_command_line(pid, text) : 0;
    const char *dir = find_dir(text, size);
    struct paths paths;

    if (size == 0 || strncmp(text, "lb-", 3) != 0 || (dir && dir[0] != '/') ||
        paths_find(&paths, dir) != LB_OK) {
        return false; /* a relative folder may be any: it is left alone */
    }
    size = strlen(paths.run_folder);
    return strncmp(notify_socket, paths.run_folder, size) == 0 && notify_socket[size] == '/' &&
           !strchr(notify_socket + size + 1, '/');
}
