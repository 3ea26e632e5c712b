#include "services/storage/node_key.h"

#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE (2 * ED25519_SEED_SIZE + 1) /* digits and a newline */

struct key_paths {
    char folder[PATHS_SIZE + 16];
    char key[PATHS_SIZE + 32];
    char fresh[PATHS_SIZE + 64];
};

static lb_err read_open(int fd, struct node_key *ret_key)
{
    char line[LINE_SIZE + 1];
    struct stat status;
    ssize_t size;

    if (fstat(fd, &status) != 0)
        return LB_IO;
    if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0)
        return LB_DENIED;
    size = read(fd, line, sizeof line);
    if (size < 0)
        return LB_IO;
    if (size != LINE_SIZE || line[LINE_SIZE - 1] != '\n')
        return LB_CORRUPT;
    line[LINE_SIZE - 1] = '\0';
    if (hex_decode(line, ret_key->seed, sizeof ret_key->seed) != LB_OK)
        return LB_CORRUPT;
    ed25519_public_key(ret_key->seed, ret_key->public_key);
    return LB_OK;
}

static lb_err read_key(const struct key_paths *paths, struct node_key *ret_key)
{
    int fd = open(paths->key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    lb_err err;

    if (fd < 0)
        return lb_err_of_errno(errno);
    err = read_open(fd, ret_key);
    close(fd);
    return err;
}

static lb_err write_fresh(const struct key_paths *paths)
{
    uint8_t seed[ED25519_SEED_SIZE];
    char line[LINE_SIZE + 1];
    lb_err err = LB_OK;
    int fd = open(paths->fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return lb_err_of_errno(errno);
    clock_entropy_bytes(seed, sizeof seed);
    hex_encode(seed, sizeof seed, line);
    line[LINE_SIZE - 1] = '\n';
    if (write(fd, line, LINE_SIZE) != LINE_SIZE || fsync(fd) != 0)
        err = lb_err_of_errno(errno);
    if (close(fd) != 0 && err == LB_OK)
        err = LB_IO;
    return err;
}

static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

/* link() gives the name to one of several that start together; all then read that one. */
static lb_err make_key(const struct key_paths *paths)
{
    lb_err err = write_fresh(paths);

    if (err == LB_OK && link(paths->fresh, paths->key) != 0 && errno != EEXIST)
        err = lb_err_of_errno(errno);
    (void)unlink(paths->fresh);
    if (err == LB_OK)
        sync_folder(paths->folder);
    return err;
}

lb_err node_key_load(const char *state_folder, struct node_key *ret_key)
{
    struct key_paths paths;
    lb_err err;

    snprintf(paths.folder, sizeof paths.folder, "%s/keys", state_folder);
    snprintf(paths.key, sizeof paths.key, "%s/node.key", paths.folder);
    snprintf(paths.fresh, sizeof paths.fresh, "%s.new-%ld", paths.key, (long)getpid());
    if (mkdir(paths.folder, 0700) != 0 && errno != EEXIST)
        return lb_err_of_errno(errno);
    err = read_key(&paths, ret_key);
    if (err != LB_NOT_FOUND)
        return err;
    err = make_key(&paths);
    return err == LB_OK ? read_key(&paths, ret_key) : err;
}
