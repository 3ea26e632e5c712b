#include "services/transport/token_key.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool read_key(const char *path, uint8_t ret_key[TOKENS_KEY_SIZE])
{
    uint8_t key[TOKENS_KEY_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool whole;

    if (fd < 0)
        return false;
    whole = read(fd, key, sizeof(key)) == (ssize_t)sizeof(key);
    close(fd);
    if (whole)
        memcpy(ret_key, key, sizeof(key));
    return whole;
}

static bool write_key(const char *path, const uint8_t key[TOKENS_KEY_SIZE])
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool whole;

    if (fd < 0)
        return false;
    whole = write(fd, key, TOKENS_KEY_SIZE) == TOKENS_KEY_SIZE;
    return close(fd) == 0 && whole;
}

void token_key_load(const char *folder, uint8_t ret_key[TOKENS_KEY_SIZE])
{
    char path[PATHS_SIZE + 32], fresh[PATHS_SIZE + 64];
    uint8_t key[TOKENS_KEY_SIZE];

    snprintf(path, sizeof(path), "%s/transport.key", folder);
    snprintf(fresh, sizeof(fresh), "%s.new-%ld", path, (long)getpid());
    if (read_key(path, ret_key))
        return;
    clock_entropy_bytes(key, sizeof(key));
    /* Of workers that start together the first link wins, and all read that one. */
    if (write_key(fresh, key) && link(fresh, path) != 0 && errno == EEXIST &&
        !read_key(path, ret_key))
        rename(fresh, path); /* what stood there is no key */
    unlink(fresh);
    if (!read_key(path, ret_key)) {
        log_warn("tokens are this worker's own: cannot keep %s", path);
        memcpy(ret_key, key, sizeof(key));
    }
}
