#include "services/transport/secrets.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium/crypto_auth_hmacsha256.h>
#include <sodium/utils.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_SIZE (HELLO_KEY_SIZE + 8 + SECRETS_TICKET_KEY_SIZE)

_Static_assert(SECRETS_TICKET_KEY_SIZE == crypto_auth_hmacsha256_BYTES, "a key makes the next one");
_Static_assert(SECRETS_TICKET_KEY_SIZE == crypto_auth_hmacsha256_KEYBYTES, "likewise");

/* The file holds the oldest key that still opens something: that of the period before. */
static void write_to(const struct secrets *self, uint8_t ret_data[FILE_SIZE])
{
    memcpy(ret_data, self->hello.bytes, HELLO_KEY_SIZE);
    store_u64(ret_data + HELLO_KEY_SIZE, self->period - 1);
    memcpy(ret_data + HELLO_KEY_SIZE + 8, self->ticket_before, SECRETS_TICKET_KEY_SIZE);
}

static void step(struct secrets *self)
{
    static const uint8_t next[] = "littlebird next ticket key";

    memcpy(self->ticket_before, self->ticket, sizeof(self->ticket));
    crypto_auth_hmacsha256(self->ticket, next, sizeof(next), self->ticket_before);
    self->period++;
}

/* The first period has none before it: counting begins with 1. */
static uint64_t period_at(uint64_t now_ms)
{
    return now_ms / SECRETS_PERIOD_MS + 1;
}

static bool read_from(const uint8_t data[FILE_SIZE], uint64_t period, struct secrets *ret_self)
{
    struct secrets self = { .period = load_u64(data + HELLO_KEY_SIZE) };

    if (self.period >= period || period - self.period > SECRETS_PERIODS_MAX)
        return false;
    memcpy(self.hello.bytes, data, HELLO_KEY_SIZE);
    memcpy(self.ticket, data + HELLO_KEY_SIZE + 8, SECRETS_TICKET_KEY_SIZE);
    while (self.period < period)
        step(&self);
    *ret_self = self;
    return true;
}

static bool read_file(const char *path, uint64_t period, struct secrets *ret_self)
{
    uint8_t data[FILE_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool read_whole;

    if (fd < 0)
        return false;
    read_whole =
        read(fd, data, sizeof(data)) == (ssize_t)sizeof(data) && read_from(data, period, ret_self);
    close(fd);
    sodium_memzero(data, sizeof(data));
    return read_whole;
}

static bool write_file(const char *path, const struct secrets *self)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    uint8_t data[FILE_SIZE];
    bool whole;

    if (fd < 0)
        return false;
    write_to(self, data);
    whole = write(fd, data, sizeof(data)) == (ssize_t)sizeof(data);
    sodium_memzero(data, sizeof(data));
    return close(fd) == 0 && whole;
}

struct places {
    char path[PATHS_SIZE + 32], fresh[PATHS_SIZE + 64];
};

static struct places places_of(const char *folder)
{
    struct places places;

    snprintf(places.path, sizeof(places.path), "%s/dtls.key", folder);
    snprintf(places.fresh, sizeof(places.fresh), "%s.new-%ld", places.path, (long)getpid());
    return places;
}

static void make(struct secrets *self, uint64_t period)
{
    *self = (struct secrets){ .period = period - 1 };
    clock_entropy_bytes(self->hello.bytes, sizeof(self->hello.bytes));
    clock_entropy_bytes(self->ticket, sizeof(self->ticket));
    step(self);
}

void secrets_load(const char *folder, uint64_t now_ms, struct secrets *ret_self)
{
    const struct places places = places_of(folder);
    uint64_t period = period_at(now_ms);

    if (read_file(places.path, period, ret_self))
        return;
    make(ret_self, period);
    /* Of workers that start together the first link wins, and all read that one. */
    if (write_file(places.fresh, ret_self) && link(places.fresh, places.path) != 0 &&
        errno == EEXIST && !read_file(places.path, period, ret_self))
        rename(places.fresh, places.path); /* what stood there was no such file, or too old */
    unlink(places.fresh);
    if (!read_file(places.path, period, ret_self))
        log_warn("cookies and tickets are this worker's own: cannot keep %s", places.path);
}

bool secrets_rotate(struct secrets *self, const char *folder, uint64_t now_ms)
{
    const struct places places = places_of(folder);
    uint64_t period = period_at(now_ms);

    if (self->period >= period)
        return false;
    while (self->period < period)
        step(self);
    /* Another worker writes the same; a file that cannot be written is made anew at a start. */
    if (!write_file(places.fresh, self) || rename(places.fresh, places.path) != 0)
        unlink(places.fresh);
    return true;
}

void secrets_done(struct secrets *self)
{
    sodium_memzero(self, sizeof(*self));
}
